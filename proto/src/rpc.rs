//! The gRPC messages, client and server, generated from `schema/synapsenet/v1`.

#![allow(missing_docs, clippy::all, clippy::unwrap_used)]

tonic::include_proto!("synapsenet.v1");

/// The schema as an encoded `google.protobuf.FileDescriptorSet`, for gRPC reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] =
    include_bytes!(concat!(env!("OUT_DIR"), "/synapsenet_v1_descriptors.bin"));

/// Names synapsenet in the details of a status (`google.rpc.ErrorInfo.domain`), whose `reason` is the name of an [`ErrorReason`]
/// without `ERROR_REASON_`.
pub const ERROR_DOMAIN: &str = "synapsenet";
/// The key of what to do next, in `google.rpc.ErrorInfo.metadata`.
pub const ERROR_HINT: &str = "hint";
/// The name under which the health service (`grpc.health.v1`) tells whether something can be changed.
pub const HEALTH_OF_WRITES: &str = "synapsenet.v1.writes";

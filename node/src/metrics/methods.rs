//! The names of calls and of how they end, as labels have them. A method that is served, of the schema, of health or of reflection, is named
//! by its path. A call of any other path is counted as one unknown method, so that strangers make no series.

use std::collections::HashMap;
use std::sync::LazyLock;

use prost::Message;
use prost_types::FileDescriptorSet;
use tonic::Code;

use super::doors::UNKNOWN_METHOD;

/// The package that needs no naming: its services are this node's own.
const OWN_PACKAGE: &str = "synapsenet.v1";

/// Names by paths.
static METHODS: LazyLock<HashMap<String, String>> = LazyLock::new(|| {
    let sets = [
        synapsenet_proto::rpc::FILE_DESCRIPTOR_SET,
        tonic_health::pb::FILE_DESCRIPTOR_SET,
        tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET,
        tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET,
    ];
    sets.into_iter().flat_map(methods_of).collect()
});

/// Paths and names of what an encoded set of descriptors has.
fn methods_of(set: &[u8]) -> Vec<(String, String)> {
    let files = FileDescriptorSet::decode(set).unwrap_or_default().file;
    let services = files.into_iter().flat_map(|file| {
        let package = file.package().to_owned();
        file.service.into_iter().map(move |service| (package.clone(), service))
    });
    let methods = services.flat_map(|(package, service)| {
        let shown = if package == OWN_PACKAGE { String::new() } else { format!("{package}.") };
        let name = service.name().to_owned();
        service.method.into_iter().map(move |method| {
            let method = format!("{name}/{}", method.name());
            (format!("/{package}.{method}"), format!("{shown}{method}"))
        })
    });
    methods.collect()
}

/// The name under which calls of a path are counted.
pub(crate) fn method_of(path: &str) -> &'static str {
    METHODS.get(path).map_or(UNKNOWN_METHOD, String::as_str)
}

/// Every method that has a name.
pub(crate) fn methods() -> impl Iterator<Item = &'static str> {
    METHODS.values().map(String::as_str)
}

/// The name that gRPC has for a code, in small letters as metrics have it.
pub(crate) fn name_of(code: Code) -> &'static str {
    match code {
        Code::Ok => "ok",
        Code::Cancelled => "cancelled",
        Code::Unknown => "unknown",
        Code::InvalidArgument => "invalid_argument",
        Code::DeadlineExceeded => "deadline_exceeded",
        Code::NotFound => "not_found",
        Code::AlreadyExists => "already_exists",
        Code::PermissionDenied => "permission_denied",
        Code::ResourceExhausted => "resource_exhausted",
        Code::FailedPrecondition => "failed_precondition",
        Code::Aborted => "aborted",
        Code::OutOfRange => "out_of_range",
        Code::Unimplemented => "unimplemented",
        Code::Internal => "internal",
        Code::Unavailable => "unavailable",
        Code::DataLoss => "data_loss",
        Code::Unauthenticated => "unauthenticated",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_served_has_a_name_and_nothing_else() {
        assert_eq!(method_of("/synapsenet.v1.NodeService/Put"), "NodeService/Put");
        assert_eq!(method_of("/grpc.health.v1.Health/Check"), "grpc.health.v1.Health/Check");
        assert_eq!(
            method_of("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"),
            "grpc.reflection.v1.ServerReflection/ServerReflectionInfo"
        );
        for unknown in [
            "",
            "/",
            "/metrics",
            "/synapsenet.v1.NodeService/put",
            "/synapsenet.v1.NodeService/Put/",
            "NodeService/Put",
        ] {
            assert_eq!(method_of(unknown), UNKNOWN_METHOD, "{unknown}");
        }
        let own = methods().filter(|name| !name.contains('.')).count();
        let schema = methods_of(synapsenet_proto::rpc::FILE_DESCRIPTOR_SET).len();
        assert!(own == schema && schema > 40, "{own} of {schema}");
        assert!(methods().count() - own >= 4);
    }
}

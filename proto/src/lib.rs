//! The words of synapsenet: grains, identities, vectors, and the messages that carry them.
//!
//! A [`Grain`] is a short text, signed by its author and immutable; [`Grain::seal`] and [`Grain::open`] make one, so
//! a `Grain` in hand is well-formed, within limits and correctly signed. A [`Vector`] says where a text lies in the
//! space of one model; a [`Claim`] is one that an author vouches for. [`rpc`] holds the gRPC messages and service and what
//! nodes say to each other, generated from `schema/`.
//!
//! This crate refuses to know disks, sockets and models: bytes come in, values or a [`Refusal`] go out.

#![warn(missing_docs)]

mod claim;
mod grain;
mod hex;
mod identity;
#[cfg(test)]
mod page_tests;
mod refusal;
pub mod rpc;
#[cfg(test)]
mod test_vectors;
mod topic;
mod vector;

pub use claim::{Announcement, Claim, MAX_ANNOUNCEMENT_BYTES, MAX_UNKNOWN_CLAIM_FIELD_BYTES};
pub use grain::{
    Body, Draft, Grain, GrainId, Kind, Link, MAX_CLOCK_ERROR_MS, MAX_CLOCK_SKEW_MS, MAX_GRAIN_BYTES,
    MAX_LANG_BYTES, MAX_LINKS, MAX_METADATA, MAX_METADATA_KEY_BYTES, MAX_METADATA_VALUE_BYTES,
    MAX_MIME_BYTES, MAX_PASSED_SKEW_MS, MAX_RELATION_BYTES, MAX_SOURCE_URI_BYTES, MAX_TAG_BYTES, MAX_TAGS,
    MAX_TEXT_BYTES, MAX_TITLE_BYTES, PASSAGE_RULE, RETRACTS, Source, is_metadata,
};
pub use identity::{AuthorId, Identity};
pub use refusal::Refusal;
pub use topic::{DEFAULT_TOPIC, MAX_TOPIC_BYTES, Topic};
pub use vector::{EncodedVector, Encoding, MAX_DIMENSION, SpaceId, Vector, VectorError};

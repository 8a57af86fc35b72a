//! What the tasks share: the store and what is derived from it. Plain synchronous values, called through
//! [`crate::blocking`].

use std::path::PathBuf;

use synapsenet_index::{Hnsw, Model};
use synapsenet_proto::Encoding;
use synapsenet_storage::Store;

use crate::metrics::Metrics;

/// How vectors are kept in the store: the scores that search answers are computed from these.
pub(crate) const VECTOR_ENCODING: Encoding = Encoding::F16;

/// The store, the index over it, the model that the index belongs to, and the metrics of all.
pub(crate) struct Memory {
    /// The truth.
    pub store: Store,
    /// Derived from the store's vectors.
    pub hnsw: Hnsw,
    /// The model of the index and of new vectors.
    pub model: Model,
    /// Where the index is saved.
    pub index_dir: PathBuf,
    /// What is counted and timed.
    pub metrics: Metrics,
}

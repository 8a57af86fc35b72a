//! Text to vectors, vectors to neighbours, words to texts.
//!
//! Three parts, of which the first two share [`Vector`](synapsenet_proto::Vector):
//!
//! - *text -> vector*: a [`Model`] (description, ONNX graph and tokenizer, checked by hash) is read by a [`Tokenizer`]
//!   and run by an [`Embedder`] on a [`Runtime`] (the ONNX Runtime library). [`split`] cuts documents into chunks that
//!   the model sees whole, [`plan_batches`] groups texts so that little time goes into padding.
//! - *vector -> neighbours*: [`Hnsw`], an approximate nearest-neighbour graph with snapshots. It is derived: whoever
//!   keeps the vectors can rebuild it, and rescores what it finds.
//! - *word -> texts*: [`Words`], an inverted index with snapshots, for a [`WordQuestion`] with phrases and exclusions. It
//!   is derived as well.
//!
//! Everything is synchronous; keys are `u64`. The crate refuses to know what a grain is, and the network.

mod chunk;
mod column;
mod embed;
mod environment;
mod error;
mod gate;
mod hnsw;
mod language;
mod models;
mod onnx;
mod processor;
mod provider;
mod quantised;
mod snapshot;
mod weights;
mod words;

pub use chunk::{Chunk, Section, split};
pub use column::Column;
pub use embed::{Embedder, Purpose, Tokenized, Tokenizer, plan_batches};
pub use environment::{TELEMETRY_OFF, restart_with};
pub use error::IndexError;
pub use hnsw::{Hnsw, HnswOptions, Neighbour};
pub use language::guess_language;
pub use models::{Arithmetic, DESCRIPTION, Graph, HubFile, Model, Pooling, Weights};
pub use onnx::{Runtime, find_runtime};
pub use processor::is_quick_at_integers;
pub use provider::{Compute, Provider, Runs};
pub use words::{Text, WordDigests, WordHit, WordQuestion, Words, WordsFound, folded_digest};

//! A synapsenet node: the store, the index, the model and the gRPC API joined into one process.
//!
//! Start reading at [`node`], which builds the parts, runs them and stops them in order; then `calls` (what may be asked)
//! and in `memory` the files `ingest` (the one door in), `indexer` (from stored to searchable) and `search`.

#![warn(missing_docs)]

mod backup;
mod blocking;
mod calls;
pub mod cli;
mod composed;
pub mod config;
mod connections;
mod data_folder;
mod files;
mod filter;
mod http;
mod identity;
mod log;
mod machine;
mod mcp;
mod memory;
mod mesh;
mod metrics;
mod models;
pub mod node;
#[doc(hidden)]
pub mod rehearsal;
mod rpc;
mod sources;
mod tasks;
#[cfg(test)]
mod testing;
mod traces;
mod wire;

pub use config::{Config, ConfigError, Settings};
pub use data_folder::SOCKET;
pub use node::Node;

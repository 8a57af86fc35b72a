//! The truth on disk: grains, their vectors, what is still to be embedded, and the orders to find them in.
//!
//! A [`Store`] is one redb file. [`Store::write`] applies a list of [`Change`]s in one transaction that is on disk when
//! it returns; [`Store::view`] gives a [`View`], one consistent snapshot that reads go through, as many at once as one
//! likes. Everything is synchronous. This crate refuses to know the network and the models: vectors come in encoded,
//! with the id of the model that made them.
//!
//! | question | module |
//! |---|---|
//! | What can be asked of the file as a whole? | `store` |
//! | What can be changed? | `change` |
//! | Whose grains are these, and of whom does the owner think what? | `authors` |
//! | What does a change do to each table, a retraction above all? | `write` |
//! | What can be read? | `view`; by filter and page in `select` and `filter` |
//! | Which vectors are there, and which notes wait for one? | `vectors` |
//! | What lies where in the file? | `tables` |
//! | How does all of it get into a file of its own? | `copy` |
//! | How does a grain become a few bytes? | `compress` |
//! | Is the file still whole? | `verify` |
//! | What went wrong and what is to be done? | `error` |

#![warn(missing_docs)]

mod authors;
mod change;
mod compress;
mod copy;
mod error;
mod filter;
mod select;
mod store;
mod tables;
mod vectors;
mod verify;
mod view;
mod write;

#[cfg(test)]
mod crash_tests;
#[cfg(test)]
mod model_tests;
#[cfg(test)]
mod testing;

pub use change::{AuthorRule, Change, Occasions, Origin, Outcome, Standing, TopicPolicy};
pub use error::StorageError;
pub use filter::{BadPosition, Filter, ListQuery, Page, Position, Selection};
pub use redb::StorageBackend;
pub use store::{Store, StoreOptions};
pub use verify::{MAX_PROBLEMS, Problem};
pub use view::{Counts, DocumentPlace, Documents, IndexEvent, IndexEventKind, MAX_CHUNKS, Record, View};

/// A queue of notes that wait for their vectors; see [`Change::Put`].
pub type Lane = u32;
/// The lane of what was put at this node.
pub const LANE_OWN: Lane = 0;
/// The lane of notes whose vectors went, so that they wait again. Those of peers come after it.
pub const LANE_AGAIN: Lane = 1;

/// Where a grain lies in this store: its local arrival number, from 1, never given twice. It never leaves the node.
pub type Slot = u64;

//! The mesh: the libp2p swarm with its peers, its topics and its protocols.
//!
//! [`Net::start`] spawns the one task that owns the swarm. [`Net`] is the handle to it: cheap to clone, every method a
//! message to the task. What happens on the network comes out of it as [`Event`]s: grains that were announced, questions
//! of peers that want a [`Reply`], peers that come and go.
//!
//! | question | module |
//! |---|---|
//! | What can be asked of the mesh, and what does it tell? | `handle`, `event` |
//! | Who decides what happens next? | `task` |
//! | Which protocols are spoken, with which limits? | `behaviour`, `codec`, `transport` |
//! | Who may connect, and who has to go when it is full? | `entrance`, `gate`, `place` |
//! | Is a message welcome, and what does misbehaving cost? | `verdict`, `score` |
//! | Whom to dial, when, after how many failures? | `dial`, `near` |
//! | Is this machine's clock wrong, does another one run with this identity? | `clock`, `twin` |
//! | How many bytes went where, and how many may? | `meter` |
//! | How much may pass in a time? | `bucket` |
//! | How much may a connection hold unread? | `window` |
//! | Who provides which topic, as others say? | `providers` |
//!
//! This crate refuses to know the store and the index: bytes come in, a verdict or an [`Event`] goes out. The swarm's task
//! never waits for whoever uses it: when the queue of events is full, announcements are dropped and counted, and questions
//! are answered "busy".

#![warn(missing_docs)]

mod behaviour;
mod bucket;
mod clock;
mod codec;
mod config;
mod dial;
mod entrance;
mod error;
mod event;
#[cfg(test)]
mod forwarding_tests;
mod gate;
mod handle;
mod meter;
mod metrics;
mod near;
#[cfg(test)]
mod page_tests;
mod place;
mod providers;
mod score;
mod status;
mod subscriptions;
mod task;
mod transport;
mod twin;
#[cfg(test)]
mod vector_tests;
mod verdict;
mod window;

pub use bucket::Bucket;
pub use config::{Caps, Config, Layer};
pub use dial::{KnownPeer, Saved};
pub use error::{AskError, DialError, NetError};
pub use event::{Event, Reply, Request, Response};
pub use handle::{Net, peer_of};
pub use libp2p::{Multiaddr, PeerId, identity::Keypair};
pub use meter::{PROTOCOLS, Traffic};
pub use metrics::Metrics;
pub use score::{Ban, Offence};
pub use status::{Direction, NetStatus, PeerStatus, Transport, Warning};

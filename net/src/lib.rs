//! The mesh side of a node. Nothing lives here yet.
//!
//! This crate will own the libp2p swarm: topics over gossipsub, peers and the providers of a topic over Kademlia,
//! the `max_peers` cap, and the request/response protocols for synchronisation and questions. It will refuse to know
//! the store and the index: bytes come in, a verdict or an answer goes out. Until it exists a node keeps to itself,
//! and says so in its `status`.

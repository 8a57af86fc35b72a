//! What the swarm tells about itself and its peers.

use std::time::Duration;

use libp2p::{Multiaddr, PeerId};
use synapsenet_proto::Topic;

use crate::meter::Traffic;

/// Who dialled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// The peer dialled this node.
    Inbound,
    /// This node dialled the peer.
    Outbound,
}

/// What a connection runs over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// TCP, noise and yamux.
    Tcp,
    /// QUIC.
    Quic,
    /// Through another peer.
    Relayed,
    /// Something else, such as a transport of the tests.
    Other,
}

/// A connected peer.
#[derive(Debug, Clone)]
pub struct PeerStatus {
    /// Who it is.
    pub peer: PeerId,
    /// Where it is, as this end of the connection sees it.
    pub address: Multiaddr,
    /// Who dialled.
    pub direction: Direction,
    /// What the first connection runs over.
    pub transport: Transport,
    /// The time of the latest ping there and back, when there was one.
    pub latency: Option<Duration>,
    /// Gossipsub's score with what this crate adds to it; below 0 it misbehaved.
    pub score: f64,
    /// Topics that it is subscribed to.
    pub topics: Vec<Topic>,
    /// Bytes to and from it since it connected.
    pub traffic: Traffic,
    /// How long it has been connected.
    pub connected: Duration,
    /// Program and version, as it says.
    pub agent: String,
    /// Whether it only has a short-lived seat, to find others through this node.
    pub visiting: bool,
    /// Whether it is one of those that always have a seat.
    pub reserved: bool,
}

/// How the node stands in the network.
#[derive(Debug, Clone)]
pub struct NetStatus {
    /// This node's id.
    pub peer: PeerId,
    /// Addresses that it listens on.
    pub listening: Vec<Multiaddr>,
    /// Addresses at which others are known to reach it.
    pub external: Vec<Multiaddr>,
    /// Whether it is reachable, as far as it knows; none when nothing is known yet.
    pub reachable: Option<bool>,
    /// Why it is not, or how that is known, in a sentence.
    pub reachability: String,
    /// Whether others find peers through it: Kademlia's server mode.
    pub serves_kademlia: bool,
    /// Peers in Kademlia's routing table.
    pub routing_peers: usize,
    /// Relays on which it has a place.
    pub relays: Vec<Multiaddr>,
    /// Whether the router forwards a port, when that was asked: the address, or why not.
    pub upnp: Option<Result<Multiaddr, String>>,
    /// Peers connected.
    pub peers: usize,
    /// At most so many.
    pub max_peers: usize,
    /// Peers whose addresses are known.
    pub known_peers: usize,
    /// Bytes by protocol since the start, in the order of [`crate::PROTOCOLS`].
    pub traffic: Vec<Traffic>,
    /// Topics subscribed here, with the number of connected peers that are, too.
    pub topics: Vec<(Topic, usize)>,
}

//! What the swarm is told when it starts.

use std::sync::Arc;

use libp2p::core::muxing::StreamMuxerBox;
use libp2p::core::transport::Boxed;
use libp2p::{Multiaddr, PeerId};

/// Puts something between the swarm and its connections: the tests' delays, losses and partitions.
pub type Layer =
    Arc<dyn Fn(Boxed<(PeerId, StreamMuxerBox)>) -> Boxed<(PeerId, StreamMuxerBox)> + Send + Sync>;

/// Every setting of the swarm. The defaults are those of a node that keeps to itself until it is told more: it listens
/// nowhere and knows nobody.
#[derive(Clone)]
pub struct Config {
    /// Addresses to listen on. A port of 0 takes a free one.
    pub listen: Vec<Multiaddr>,
    /// Whether an address of a family that this machine has not (IPv6, say) is passed over: for addresses that nobody chose.
    pub listen_where_possible: bool,
    /// Where others reach this node, when it is known: told to peers without being tested.
    pub external: Vec<Multiaddr>,
    /// Peers to begin with, with or without `/p2p/PEER`. They are dialled again whenever too few peers are connected.
    pub bootstrap: Vec<Multiaddr>,
    /// Peers that always have a seat, with `/p2p/PEER`; they are dialled whenever they are not connected.
    pub reserved: Vec<Multiaddr>,
    /// Peers connected at the same time, never more.
    pub max_peers: usize,
    /// Peers connected from one IP address, loopback apart. Behind one home router live a few nodes.
    pub max_per_address: usize,
    /// When there are any, only these may connect.
    pub allow: Vec<PeerId>,
    /// These may not.
    pub block: Vec<PeerId>,
    /// The key of a private mesh: only those who have it can talk to each other. TCP only, QUIC is not offered then.
    pub pre_shared_key: Option<[u8; 32]>,
    /// Finds peers on the local network by multicast DNS.
    pub mdns: bool,
    /// Asks the router to forward a port.
    pub upnp: bool,
    /// Lets peers test whether this node can be reached, and tests it for them.
    pub autonat: bool,
    /// Is reached through relays where it cannot be reached directly, and then tries to make the connection direct.
    pub relay_client: bool,
    /// Relays for others.
    pub relay_server: bool,
    /// Bytes a second sent at most; none means without limit.
    pub max_upload: Option<u64>,
    /// Bytes a second received at most; none means without limit.
    pub max_download: Option<u64>,
    /// Resident memory of the process in bytes above which no new connection is made; none means without limit.
    pub max_memory: Option<usize>,
    /// Put between the swarm and its connections.
    pub layer: Option<Layer>,
}

/// How much of everything there may be: what of the settings can be changed while the swarm runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caps {
    /// Peers connected at the same time, at least 1.
    pub max_peers: usize,
    /// Peers connected from one IP address, loopback apart, at least 1.
    pub max_per_address: usize,
    /// Bytes a second sent at most; none means without limit.
    pub max_upload: Option<u64>,
    /// Bytes a second received at most; none means without limit.
    pub max_download: Option<u64>,
    /// Resident memory of the process in bytes above which no new connection is made; none means without limit.
    pub max_memory: Option<usize>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: Vec::new(),
            listen_where_possible: false,
            external: Vec::new(),
            bootstrap: Vec::new(),
            reserved: Vec::new(),
            max_peers: 50,
            max_per_address: 8,
            allow: Vec::new(),
            block: Vec::new(),
            pre_shared_key: None,
            mdns: false,
            upnp: false,
            autonat: false,
            relay_client: false,
            relay_server: false,
            max_upload: None,
            max_download: None,
            max_memory: None,
            layer: None,
        }
    }
}

impl std::fmt::Debug for Config {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The key of a private mesh is a secret.
        f.debug_struct("Config")
            .field("listen", &self.listen)
            .field("max_peers", &self.max_peers)
            .finish_non_exhaustive()
    }
}

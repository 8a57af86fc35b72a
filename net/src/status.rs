//! What the swarm tells about itself and its peers.

use std::fmt;
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

/// What the owner of a node should know and do something about. It reads as a sentence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Warning {
    /// Most peers' clocks disagree with this machine's.
    Clock {
        /// By how many milliseconds they are ahead of it; negative when they are behind.
        ahead_ms: i64,
    },
    /// Another machine runs with this node's identity.
    Twin,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Clock { ahead_ms } => {
                let minutes = ahead_ms.unsigned_abs().saturating_add(30_000) / 60_000;
                let way = if *ahead_ms > 0 { "behind that" } else { "ahead of that" };
                write!(
                    f,
                    "this machine's clock seems {minutes} minutes {way} of its peers, so that they do not take what it \
                     seals or it does not take what they seal: set it, for example with `timedatectl set-ntp true`"
                )
            }
            Self::Twin => write!(
                f,
                "another machine runs with this node's identity, on a copy of its data folder: stop one of the two and \
                 start it on a new data folder; what is shared comes over the mesh, the rest with `export` and `import`"
            ),
        }
    }
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
    /// Connections to it: one, but for a short time after another was made.
    pub connections: usize,
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
    /// What the owner should know.
    pub warnings: Vec<Warning>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warning_says_which_way_the_clock_is_off_and_what_to_do() {
        let behind = Warning::Clock { ahead_ms: 12 * 60_000 + 7 }.to_string();
        assert!(behind.contains("clock seems 12 minutes behind that of its peers"), "{behind}");
        assert!(behind.contains("timedatectl"), "{behind}");
        let ahead = Warning::Clock { ahead_ms: -3 * 60_000 }.to_string();
        assert!(ahead.contains("3 minutes ahead of that of its peers"), "{ahead}");
        assert!(Warning::Clock { ahead_ms: i64::MIN }.to_string().contains("minutes"));
        assert!(Warning::Twin.to_string().contains("a new data folder"));
    }
}

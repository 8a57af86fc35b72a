//! What can go wrong, as far as a caller acts on it.

use libp2p::{Multiaddr, PeerId};

/// Why the swarm cannot start.
#[derive(Debug, thiserror::Error)]
pub enum NetError {
    /// An address cannot be listened on.
    #[error("cannot listen on {address}: {reason}")]
    Listen {
        /// The address.
        address: Multiaddr,
        /// What the system said.
        reason: String,
    },
    /// The transports cannot be made.
    #[error("cannot set up the network: {0}")]
    Setup(String),
    /// The swarm's task has ended.
    #[error("the network is stopping")]
    Stopped,
}

/// Why a peer cannot be dialled.
#[derive(Debug, Clone, thiserror::Error)]
pub enum DialError {
    /// The address is not one that can be dialled.
    #[error("{0} cannot be dialled: give an address such as /ip4/192.168.1.20/tcp/7716/p2p/PEER")]
    BadAddress(Multiaddr),
    /// This peer is banned or blocked, or not among those allowed.
    #[error("peer {0} is banned or not allowed here: `synapsenet peers unban {0}` lets it in again")]
    Forbidden(PeerId),
    /// It has this node's id.
    #[error("that is this node itself, or another machine that runs with a copy of its data folder")]
    Myself,
    /// There is no seat left.
    #[error(
        "as many peers as network.max_peers allows are connected: raise it, or remove one with `synapsenet peers remove`"
    )]
    Full,
    /// Nobody answered there, or somebody else did, or it refused.
    #[error("no connection: {0}")]
    Failed(String),
    /// The swarm's task has ended.
    #[error("the network is stopping")]
    Stopped,
}

/// Why a peer did not answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// It is not connected, or the connection broke.
    #[error("the peer is not connected")]
    NotConnected,
    /// It did not answer in time.
    #[error("the peer did not answer in time")]
    TimedOut,
    /// It does not speak the protocol.
    #[error("the peer does not speak this protocol")]
    Unsupported,
    /// Its answer cannot be read.
    #[error("the peer's answer cannot be read: {0}")]
    BadAnswer(String),
    /// Too many questions are on their way already.
    #[error("too many questions are on their way to peers already")]
    Busy,
    /// The swarm's task has ended.
    #[error("the network is stopping")]
    Stopped,
}

//! What the swarm tells whoever uses it, and what peers ask each other.

use libp2p::PeerId;
use synapsenet_proto::{Announcement, Topic, rpc};
use tokio::sync::oneshot;

/// Something that happened on the network.
#[derive(Debug)]
pub enum Event {
    /// A peer announced a grain of a topic that is subscribed here. It is well-formed and signed, and was passed on already, if
    /// others may take it by their clocks, too.
    Announced {
        /// The peer that it came from, which need not be its author.
        from: PeerId,
        /// The grain and its author's claim.
        announcement: Box<Announcement>,
    },
    /// A peer asks something.
    Asked {
        /// Which one.
        peer: PeerId,
        /// What it asks.
        request: Box<Request>,
        /// Takes the answer. Dropped without one, the peer sees its question fail.
        reply: Reply,
    },
    /// A peer is connected that was not before, and said who it is.
    Joined {
        /// Which one.
        peer: PeerId,
    },
    /// The last connection to a peer is gone.
    Left {
        /// Which one.
        peer: PeerId,
    },
    /// A connected peer subscribed to a topic that is subscribed here, too.
    Shares {
        /// Which one.
        peer: PeerId,
        /// The topic.
        topic: Topic,
    },
    /// A peer was banned for what it did.
    Banned {
        /// Which one.
        peer: PeerId,
    },
}

/// A question to a peer.
#[derive(Debug, Clone, PartialEq)]
pub enum Request {
    /// What is it that I lack? On /synapsenet/sync/1.
    Sync(rpc::SyncRequest),
    /// Give me these grains. On /synapsenet/fetch/1.
    Fetch(rpc::FetchRequest),
    /// Which of your grains are near to this? On /synapsenet/search/2.
    Search(rpc::Question),
}

/// The answer to a question of the same name.
#[derive(Debug, Clone, PartialEq)]
pub enum Response {
    /// To [`Request::Sync`].
    Sync(rpc::SyncResponse),
    /// To [`Request::Fetch`].
    Fetch(rpc::FetchResponse),
    /// To [`Request::Search`].
    Search(rpc::Answer),
}

/// Takes the answer to one question.
#[derive(Debug)]
pub struct Reply {
    pub(crate) answer: oneshot::Sender<Response>,
}

impl Reply {
    /// Sends the answer. When the peer has gone meanwhile, nothing happens.
    pub fn send(self, response: Response) {
        // Nobody waits any more.
        let _ = self.answer.send(response);
    }
}

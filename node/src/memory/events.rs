//! What happens on the node, told to whoever listens: the API's streams of events, and tests that wait for something.

use synapsenet_net::PeerId;
use synapsenet_proto::{AuthorId, GrainId, Topic};
use tokio::sync::broadcast;

use crate::mesh::sync::SyncProgress;

/// Happenings that a slow listener may be behind. One that is behind further misses the oldest and is told so.
const MAX_BEHIND: usize = 1024;

/// Something that happened.
#[derive(Debug, Clone)]
pub(crate) enum Happening {
    /// A grain is on disk that was not before.
    GrainAdded {
        /// Which one.
        id: GrainId,
        /// Where it belongs.
        topic: Topic,
        /// Who sealed it.
        author: AuthorId,
        /// Whether it withdraws another.
        retraction: bool,
        /// The peer that it came from; none when it was put in here.
        peer: Option<PeerId>,
    },
    /// A peer connected.
    PeerJoined {
        /// Which one.
        peer: PeerId,
    },
    /// A peer is gone.
    PeerLeft {
        /// Which one.
        peer: PeerId,
    },
    /// A peer was banned for what it did.
    PeerBanned {
        /// Which one.
        peer: PeerId,
    },
    /// A synchronisation went on, or ended.
    Sync(SyncProgress),
}

/// Tells what happens. Cheap to clone; clones tell the same listeners.
#[derive(Debug, Clone)]
pub(crate) struct Events {
    sender: broadcast::Sender<Happening>,
}

impl Events {
    /// Events that nobody listens to yet.
    pub fn new() -> Self {
        Self { sender: broadcast::Sender::new(MAX_BEHIND) }
    }

    /// Tells everybody who listens now; never waits.
    pub fn tell(&self, happening: Happening) {
        // Without listeners there is nobody to tell.
        let _ = self.sender.send(happening);
    }

    /// What happens from now on.
    pub fn listen(&self) -> broadcast::Receiver<Happening> {
        self.sender.subscribe()
    }
}

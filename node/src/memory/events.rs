//! What happens on the node, told to whoever listens: the API's streams of events, and tests that wait for something.

use std::path::PathBuf;
use std::time::Duration;

use synapsenet_net::PeerId;
use synapsenet_proto::{AuthorId, GrainId, Topic};
use synapsenet_storage::Slot;
use tokio::sync::broadcast;

/// Happenings that a slow listener may be behind. One that is behind further misses the oldest and is told so.
const MAX_BEHIND: usize = 1024;

/// How far a synchronisation is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SyncState {
    /// Under way.
    Running,
    /// Everything that could be fetched is here.
    Done,
    /// It ended early, and this is why.
    Failed(String),
}

/// One synchronisation with one peer about one topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SyncProgress {
    /// What about.
    pub topic: Topic,
    /// With whom.
    pub peer: PeerId,
    /// How far it is.
    pub state: SyncState,
    /// Grains that were found to be missing so far.
    pub missing: u64,
    /// Of those, the ones that are here now.
    pub fetched: u64,
    /// Of those, the ones that came and were refused.
    pub refused: u64,
    /// Grains that came with a claim that is of use here.
    pub with_claim: u64,
    /// Messages of the comparison that were answered.
    pub round_trips: u32,
    /// Bytes of the comparison alone, both ways.
    pub comparison_bytes: u64,
    /// Batches of grains that came.
    pub fetches: u32,
    /// Bytes of questions.
    pub bytes_sent: u64,
    /// Bytes of answers.
    pub bytes_received: u64,
    /// Since it began.
    pub elapsed: Duration,
    /// Whether it ended because this node takes no more grains.
    pub quota_reached: bool,
}

impl SyncProgress {
    /// One that begins.
    pub fn of_start(topic: Topic, peer: PeerId) -> Self {
        Self {
            topic,
            peer,
            state: SyncState::Running,
            missing: 0,
            fetched: 0,
            refused: 0,
            with_claim: 0,
            round_trips: 0,
            comparison_bytes: 0,
            fetches: 0,
            bytes_sent: 0,
            bytes_received: 0,
            elapsed: Duration::ZERO,
            quota_reached: false,
        }
    }

    /// How it turned out, as a metric label.
    pub fn outcome(&self) -> &'static str {
        match self.state {
            _ if self.quota_reached => "quota",
            SyncState::Running => "running",
            SyncState::Done => "done",
            SyncState::Failed(_) => "failed",
        }
    }
}

/// Something that happened.
#[derive(Debug, Clone)]
pub(crate) enum Happening {
    /// A grain is on disk that was not before.
    GrainAdded {
        /// Where it lies: slots only grow, and grains are told in their order.
        slot: Slot,
        /// Which one.
        id: GrainId,
        /// Where it belongs.
        topic: Topic,
        /// Who sealed it.
        author: AuthorId,
        /// The grain that it withdraws, if it is a retraction.
        retracts: Option<GrainId>,
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
    /// Something changed in a folder that is remembered, and what is known of it with it.
    SourceChanged(SourceChange),
}

/// What a look at a remembered folder changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SourceChange {
    /// Which one.
    pub folder: PathBuf,
    /// Files that are new.
    pub added: u64,
    /// Files that say something else.
    pub edited: u64,
    /// Files that lie elsewhere.
    pub moved: u64,
    /// Files that are gone, and whose grains were withdrawn.
    pub withdrawn: u64,
    /// Grains that are new.
    pub grains_added: u64,
    /// Grains that were withdrawn.
    pub grains_retracted: u64,
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

//! Synchronisation, the side that asks: compares the shared grains of each topic with those of peers, and fetches what is
//! missing. Gossip alone loses what a node missed.
//!
//! ```text
//!  a peer appears, has news, the timer --> schedule --> pull (at most 3) --> ingest
//!                                                         |  session: which ids are missing
//!                                                         |  source: fetch, open, hand in
//!                                                         `--> news to the peer, and to others
//! ```
//!
//! One task owns the schedule. It asks only: when a comparison shows that the peer lacks something, the peer is told
//! that there is news, and comes for it when it likes. What was new here is news for others; so grains spread like an
//! epidemic, and no node waits for its timer.

mod board;
pub(crate) mod items;
mod pull;
mod schedule;
pub(crate) mod session;
pub(crate) mod source;
mod task;
#[cfg(test)]
mod task_tests;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use synapsenet_net::{Net, PeerId};
use synapsenet_proto::Topic;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use crate::memory::Memory;
use crate::memory::events::Events;
use crate::memory::ingest::Ingest;
use board::Board;
use schedule::Pair;
use task::{Parts, Task};

pub(crate) use pull::MAX_FETCHED_IDS;

/// Wishes that may wait for the task, which takes them in microseconds.
const COMMANDS: usize = 256;

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
    fn of_start(topic: Topic, peer: PeerId) -> Self {
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

#[derive(Debug)]
enum Command {
    Want(Pair),
    Now { topic: Option<Topic>, reply: oneshot::Sender<Vec<SyncProgress>> },
}

/// The way to the task that synchronises. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Sync {
    commands: mpsc::Sender<Command>,
    board: Board,
}

impl Sync {
    /// The handle, and the task to spawn. It ends when `stop` is cancelled.
    pub fn start(
        memory: Arc<Memory>,
        ingest: Ingest,
        net: Net,
        topics: watch::Receiver<BTreeSet<Topic>>,
        events: Events,
        stop: CancellationToken,
        interval: Duration,
    ) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let (commands, receiver) = mpsc::channel(COMMANDS);
        let board = Board::default();
        let handle = Self { commands, board: board.clone() };
        let task = Task::new(Parts { memory, ingest, net, topics, events, stop, board }, interval);
        (handle, task.run(receiver))
    }

    /// A peer that serves a subscribed topic appeared.
    pub fn shares(&self, peer: PeerId, topic: Topic) {
        // When too many wait, the timer makes up for it.
        let _ = self.commands.try_send(Command::Want((topic, peer)));
    }

    /// A peer says that it has something new.
    pub fn news(&self, peer: PeerId, topic: Topic) {
        self.shares(peer, topic);
    }

    /// Synchronises with every peer of a topic, or of every topic, and waits until that is done.
    pub async fn now(&self, topic: Option<Topic>) -> Vec<SyncProgress> {
        let (reply, done) = oneshot::channel();
        if self.commands.send(Command::Now { topic, reply }).await.is_err() {
            return Vec::new();
        }
        // A task that stops has done nothing that it could tell.
        done.await.unwrap_or_default()
    }

    /// What runs now, then the latest that finished of each topic.
    pub fn progress(&self) -> Vec<SyncProgress> {
        self.board.read()
    }
}

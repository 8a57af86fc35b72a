//! Synchronisation, the side that asks: compares the shared grains of each topic with those of peers, and fetches what is
//! missing. Gossip alone loses what a node missed.
//!
//! ```text
//!  a peer appears, has news, the timer --> schedule --> pull (at most 4) --> ingest
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
mod pace;
mod pull;
mod refused;
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
use crate::memory::events::{Events, SyncProgress};
use crate::memory::ingest::Ingest;
use board::Board;
use schedule::Pair;
use task::{Parts, Task};

pub(crate) use pull::MAX_FETCHED_IDS;

/// Wishes that may wait for the task, which takes them in microseconds.
const COMMANDS: usize = 256;

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

    /// How long ago a synchronisation of each topic was complete, or this node began to take part in it.
    pub fn ages(&self) -> Vec<(Topic, Duration)> {
        self.board.ages()
    }

    /// What runs now, then the latest that finished of each topic.
    pub fn progress(&self) -> Vec<SyncProgress> {
        self.board.read()
    }
}

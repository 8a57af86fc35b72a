//! The one door in: every change of the store goes through this thread, many in one commit.
//!
//! ```text
//! put, add_vectors, ... --queue--> ingest thread --one transaction, one sync--> store
//!                                     `--oneshot replies once it is on disk
//! ```
//!
//! Rules that need state are checked here (the clock, the capacity); a [`Grain`] in hand is already well-formed and
//! signed. While one commit is being written, the next changes gather in the queue and share the commit after it.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{SystemTime, UNIX_EPOCH};

use synapsenet_proto::{Grain, GrainId, Kind, Refusal};
use synapsenet_storage::{Change, Outcome, StorageError, Store};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::metrics::{Metrics, timed};

/// Changes that may wait: at 32 KiB a grain at most 32 MiB.
const QUEUE: usize = 1024;
/// Changes in one commit: a commit of this many takes some tens of milliseconds, which bounds a single caller's wait.
const MAX_COMMIT: usize = 1024;
/// How far ahead of this node's clock a grain may be dated, in milliseconds: clocks of home machines drift by
/// minutes when they lose their time server.
const MAX_CLOCK_SKEW_MS: u64 = 10 * 60 * 1000;

/// Why a change was not made.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum IngestError {
    /// The grain breaks a rule.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The store could not write. The grain is not stored.
    #[error("not stored: {0}")]
    Storage(Arc<StorageError>),
    /// The node is stopping.
    #[error("the node is stopping")]
    Stopped,
}

/// What became of a grain that was handed in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Put {
    /// It is on disk now.
    Added,
    /// The grain named here says the same and was there already.
    Duplicate {
        /// Which one.
        id: GrainId,
        /// Whether that one may leave the node.
        shared: bool,
    },
}

type Reply<T> = oneshot::Sender<Result<T, IngestError>>;

enum Command {
    Put { grain: Box<Grain>, shared: bool, reply: Reply<Put> },
    Apply { changes: Vec<Change>, reply: Reply<Vec<Outcome>> },
    Compact { reply: Reply<(u64, u64)> },
    Stop,
}

/// The way to the ingest thread. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Ingest {
    queue: mpsc::Sender<Command>,
}

impl Ingest {
    /// Starts the thread. `max_notes` bounds the notes held; `changed` is told after each commit; `ended` is cancelled
    /// when the thread ends, asked or not.
    pub fn start(
        store: Store,
        metrics: Metrics,
        max_notes: u64,
        changed: Arc<Notify>,
        ended: CancellationToken,
    ) -> (Self, JoinHandle<()>) {
        let (queue, commands) = mpsc::channel(QUEUE);
        let writer = Writer { store, metrics, max_notes, changed };
        let run = move || {
            let _ended = ended.drop_guard();
            writer.run(commands);
        };
        let thread = std::thread::Builder::new().name("ingest".into()).spawn(run);
        (Self { queue }, thread.expect("the system starts a thread at start-up"))
    }

    /// Lets the thread end once everything before this in the queue is on disk. What comes later is answered
    /// [`IngestError::Stopped`].
    pub async fn stop(&self) {
        // A thread that has ended already needs no word.
        let _ = self.queue.send(Command::Stop).await;
    }

    /// Stores a grain and answers once it is on disk.
    ///
    /// # Errors
    /// [`IngestError`]; then the grain is not stored.
    pub async fn put(&self, grain: Grain, shared: bool) -> Result<Put, IngestError> {
        self.ask(|reply| Command::Put { grain: Box::new(grain), shared, reply }).await
    }

    /// Makes changes that are no grains (vectors, marks), all in one commit.
    ///
    /// # Errors
    /// [`IngestError`]; then none is made.
    pub async fn apply(&self, changes: Vec<Change>) -> Result<Vec<Outcome>, IngestError> {
        self.ask(|reply| Command::Apply { changes, reply }).await
    }

    /// Compacts the database file. Answers its size before and after, in bytes.
    ///
    /// # Errors
    /// [`IngestError::Storage`].
    pub async fn compact(&self) -> Result<(u64, u64), IngestError> {
        self.ask(|reply| Command::Compact { reply }).await
    }

    async fn ask<T>(&self, command: impl FnOnce(Reply<T>) -> Command) -> Result<T, IngestError> {
        let (reply, answer) = oneshot::channel();
        self.queue.send(command(reply)).await.map_err(|_| IngestError::Stopped)?;
        answer.await.map_err(|_| IngestError::Stopped)?
    }
}

struct Writer {
    store: Store,
    metrics: Metrics,
    max_notes: u64,
    changed: Arc<Notify>,
}

/// Who waits for which part of a commit's outcomes.
enum Waiting {
    Put { id: GrainId, shared: bool, reply: Reply<Put> },
    Apply { count: usize, reply: Reply<Vec<Outcome>> },
}

impl Waiting {
    /// How many changes of the commit are its.
    fn changes(&self) -> usize {
        match self {
            Self::Put { .. } => 1,
            Self::Apply { count, .. } => *count,
        }
    }

    fn fail(self, error: &Arc<StorageError>) {
        match self {
            Self::Put { reply, .. } => answer(reply, Err(IngestError::Storage(error.clone()))),
            Self::Apply { reply, .. } => answer(reply, Err(IngestError::Storage(error.clone()))),
        }
    }
}

impl Writer {
    fn run(self, mut commands: mpsc::Receiver<Command>) {
        while let Some(first) = commands.blocking_recv() {
            let mut next = Some(first);
            let mut changes = Vec::new();
            let mut waiting = Vec::new();
            let mut notes = match self.notes() {
                Ok(notes) => notes,
                Err(error) => {
                    tracing::error!(%error, "the store cannot be read; the node stops");
                    return;
                }
            };
            while let Some(command) = next {
                match command {
                    Command::Put { grain, shared, reply } => match self.admit(&grain, notes) {
                        Ok(()) => {
                            notes += u64::from(grain.kind() == Kind::Note);
                            waiting.push(Waiting::Put { id: grain.id(), shared, reply });
                            changes.push(Change::Put {
                                grain: *grain,
                                shared,
                                received_ms: now_ms(),
                                claim: None,
                                once: true,
                            });
                        }
                        Err(refusal) => {
                            self.metrics.refused(&refusal);
                            answer(reply, Err(refusal.into()));
                        }
                    },
                    Command::Apply { changes: more, reply } => {
                        waiting.push(Waiting::Apply { count: more.len(), reply });
                        changes.extend(more);
                    }
                    Command::Stop => commands.close(),
                    Command::Compact { reply } => answer(reply, self.store.compact().map_err(storage_error)),
                }
                next = if changes.len() < MAX_COMMIT { commands.try_recv().ok() } else { None };
            }
            if !changes.is_empty() && !self.commit(changes, waiting) {
                return;
            }
        }
    }

    fn notes(&self) -> Result<u64, StorageError> {
        Ok(self.store.view()?.counts()?.notes)
    }

    /// Checks the rules that need state.
    fn admit(&self, grain: &Grain, notes: u64) -> Result<(), Refusal> {
        let ahead = grain.created_ms().saturating_sub(now_ms());
        if ahead > MAX_CLOCK_SKEW_MS {
            return Err(Refusal::FromTheFuture(ahead));
        }
        if grain.kind() == Kind::Note && notes >= self.max_notes {
            return Err(Refusal::NodeFull(notes));
        }
        Ok(())
    }

    /// Writes all of it in one transaction and answers everybody. False when the store can be written no more.
    fn commit(&self, changes: Vec<Change>, waiting: Vec<Waiting>) -> bool {
        // Only needed when one damaged record spoils the transaction of all; a copy of a grain shares its bytes.
        let copy = if waiting.len() > 1 { changes.clone() } else { Vec::new() };
        match timed(&self.metrics.commit, || self.store.write(changes)) {
            Ok(outcomes) => {
                self.reply(outcomes, waiting);
                self.changed.notify_one();
                true
            }
            Err(error) if !error.is_fatal() && !copy.is_empty() => {
                tracing::warn!(%error, "a commit failed; its parts are written one by one");
                let mut changes = copy.into_iter();
                waiting.into_iter().all(|waiting| {
                    let part = changes.by_ref().take(waiting.changes()).collect();
                    self.commit(part, vec![waiting])
                })
            }
            Err(error) => {
                let fatal = error.is_fatal();
                tracing::error!(%error, fatal, "a commit failed; nothing of it is stored");
                let error = Arc::new(error);
                waiting.into_iter().for_each(|waiting| waiting.fail(&error));
                !fatal
            }
        }
    }

    fn reply(&self, outcomes: Vec<Outcome>, waiting: Vec<Waiting>) {
        let mut outcomes = outcomes.into_iter();
        for waiting in waiting {
            match waiting {
                Waiting::Put { id, shared, reply } => {
                    let outcome = outcomes.next().expect("the store answers every change");
                    answer(reply, self.put_outcome(outcome, id, shared));
                }
                Waiting::Apply { count, reply } => answer(reply, Ok(outcomes.by_ref().take(count).collect())),
            }
        }
    }

    fn put_outcome(&self, outcome: Outcome, id: GrainId, shared: bool) -> Result<Put, IngestError> {
        match outcome {
            Outcome::Added { .. } => {
                self.metrics.grains.inc();
                Ok(Put::Added)
            }
            Outcome::Duplicate { id, shared } => Ok(Put::Duplicate { id, shared }),
            Outcome::Retracted => {
                self.metrics.refused(&Refusal::Retracted);
                Err(Refusal::Retracted.into())
            }
            Outcome::Unchanged | Outcome::Changed | Outcome::Requeued { .. } => {
                Ok(Put::Duplicate { id, shared })
            }
        }
    }
}

/// Answers a caller. One that hung up meanwhile no longer wants to know.
fn answer<T>(reply: Reply<T>, value: Result<T, IngestError>) {
    let _ = reply.send(value);
}

fn storage_error(error: StorageError) -> IngestError {
    IngestError::Storage(Arc::new(error))
}

/// The time in milliseconds since 1970-01-01 UTC, by this machine's clock.
pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

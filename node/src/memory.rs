//! What the tasks share: the store and what is derived from it. Plain synchronous values, called through
//! [`crate::blocking`].

pub(crate) mod admission;
pub(crate) mod announcer;
pub(crate) mod claims;
pub(crate) mod document;
pub(crate) mod emergence;
pub(crate) mod events;
pub(crate) mod heard;
pub(crate) mod indexer;
pub(crate) mod ingest;
pub(crate) mod library;
pub(crate) mod opening;
pub(crate) mod places;
pub(crate) mod search;
pub(crate) mod spaces;
pub(crate) mod switch;
pub(crate) mod words;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use synapsenet_index::HnswOptions;
use synapsenet_proto::Encoding;
use synapsenet_storage::{Slot, StorageError, Store};
use tokio::sync::watch;

use crate::memory::admission::Rules;
use crate::memory::emergence::{Emergence, Scores, Uses};
use crate::memory::heard::Heard;
use crate::memory::spaces::{Space, Spaces};
use crate::memory::words::WordIndex;
use crate::metrics::Metrics;

/// How vectors are kept in the store: the scores that search answers are computed from these.
pub(crate) const VECTOR_ENCODING: Encoding = Encoding::F16;
/// How long whoever gives way to the owner of this node waits while the owner asks something.
const MAX_HELD_UP: Duration = Duration::from_millis(250);

/// The store, the spaces over it, and the metrics of all.
pub(crate) struct Memory {
    /// The truth.
    pub store: Store,
    /// Derived from the store's texts.
    pub words: WordIndex,
    /// Derived from vectors, links and uses.
    pub scores: Scores,
    /// How often each grain was of use.
    pub uses: Uses,
    /// Where indexes are saved.
    pub index_dir: PathBuf,
    /// How an index is made.
    pub hnsw: HnswOptions,
    /// What is counted and timed.
    pub metrics: Metrics,
    /// Derived from the store's vectors.
    spaces: watch::Sender<Arc<Spaces>>,
    /// What the owner says about authors and topics, as it is stored.
    rules: watch::Sender<Arc<Rules>>,
    /// While the share of strangers is full: the time of the oldest grain of theirs, before which none is taken.
    floor_ms: AtomicU64,
    started: Instant,
    /// When the latest question came, in milliseconds since `started`.
    asked_ms: AtomicU64,
    /// How many questions of this node's owner are being answered.
    questions: watch::Sender<usize>,
    /// Vectors of what peers told of, computed here.
    pub heard: Heard,
}

impl Memory {
    /// Joins a store and the spaces that were opened over it.
    pub fn new(
        store: Store,
        words: WordIndex,
        (scores, uses): (Scores, Uses),
        spaces: Spaces,
        index_dir: PathBuf,
        hnsw: HnswOptions,
        metrics: Metrics,
    ) -> Self {
        let spaces = watch::Sender::new(Arc::new(spaces));
        Self {
            store,
            words,
            scores,
            uses,
            index_dir,
            hnsw,
            metrics,
            spaces,
            rules: watch::Sender::default(),
            floor_ms: AtomicU64::new(0),
            started: Instant::now(),
            asked_ms: AtomicU64::new(0),
            questions: watch::Sender::new(0),
            heard: Heard::default(),
        }
    }

    /// What a grain adds to what is known here. None while that is not known.
    pub fn emergence(&self, slot: Slot) -> Option<Emergence> {
        self.scores.of(slot, &self.uses)
    }

    /// What the owner says about authors and topics.
    pub fn rules(&self) -> Arc<Rules> {
        self.rules.borrow().clone()
    }

    /// Tells whoever waits that the rules are others.
    pub fn watch_rules(&self) -> watch::Receiver<Arc<Rules>> {
        self.rules.subscribe()
    }

    /// The time before which no grain of a stranger is taken, in milliseconds since 1970-01-01 UTC; 0 while there is room.
    pub fn floor_ms(&self) -> u64 {
        self.floor_ms.load(Ordering::Relaxed)
    }

    /// Says from when on grains of strangers are taken.
    pub fn set_floor_ms(&self, floor_ms: u64) {
        self.floor_ms.store(floor_ms, Ordering::Relaxed);
    }

    /// Reads the rules anew.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn read_rules(&self) -> Result<(), StorageError> {
        self.rules.send_replace(Arc::new(Rules::read(&self.store.view()?)?));
        Ok(())
    }

    /// The spaces as they are now. A search works with one answer of this from its beginning to its end.
    pub fn spaces(&self) -> Arc<Spaces> {
        self.spaces.borrow().clone()
    }

    /// The space that new grains are embedded for.
    pub fn current(&self) -> Arc<Space> {
        self.spaces.borrow().current.clone()
    }

    /// Tells whoever waits that the spaces are others.
    pub fn watch_spaces(&self) -> watch::Receiver<Arc<Spaces>> {
        self.spaces.subscribe()
    }

    /// Puts other spaces in the place of these, by what `change` makes of them; None leaves them. No two changes overlap.
    pub fn change_spaces(&self, change: impl FnOnce(&Spaces) -> Option<Spaces>) {
        self.spaces.send_if_modified(|spaces| match change(spaces) {
            Some(changed) => {
                *spaces = Arc::new(changed);
                true
            }
            None => false,
        });
    }

    /// Notes that somebody asks something just now. Peers' questions wait until what this gives is dropped.
    pub fn note_question(self: &Arc<Self>) -> Asking {
        self.questions.send_modify(|count| *count += 1);
        let asking = Asking(self.clone());
        self.note_time();
        asking
    }

    /// Waits until no question of this node's owner is being answered.
    pub async fn wait_for_owner(&self) {
        // The other end is held here, so it does not end.
        let _ = self.questions.subscribe().wait_for(|count| *count == 0).await;
    }

    /// Lets a question of this node's owner go first, for a while: for a question, not for many, since one may follow the other without
    /// an end.
    pub async fn give_way(&self) {
        let _ = tokio::time::timeout(MAX_HELD_UP, self.wait_for_owner()).await;
    }

    fn note_time(&self) {
        let now = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        // 0 is never.
        self.asked_ms.store(now.max(1), Ordering::Relaxed);
    }

    /// How long ago somebody asked something. None when nobody has.
    pub fn quiet_for(&self) -> Option<Duration> {
        match self.asked_ms.load(Ordering::Relaxed) {
            0 => None,
            asked => Some(self.started.elapsed().saturating_sub(Duration::from_millis(asked))),
        }
    }
}

/// A question of this node's owner that is being answered.
pub(crate) struct Asking(Arc<Memory>);

impl Drop for Asking {
    fn drop(&mut self) {
        self.0.questions.send_modify(|count| *count -= 1);
    }
}

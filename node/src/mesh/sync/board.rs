//! Where it is written how far synchronisation is.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use synapsenet_net::PeerId;
use synapsenet_proto::Topic;

use crate::memory::events::{Events, Happening, SyncProgress, SyncState};

/// How often progress is told at most: as often as somebody who watches can read it.
const TELL_EVERY: Duration = Duration::from_millis(500);

/// What runs, and how the latest of each topic ended. Clones share it.
#[derive(Debug, Clone, Default)]
pub(super) struct Board {
    latest: Arc<Mutex<Latest>>,
}

#[derive(Debug, Default)]
struct Latest {
    running: BTreeMap<(Topic, PeerId), SyncProgress>,
    finished: BTreeMap<Topic, SyncProgress>,
    /// When the latest of each topic was complete, or this node began to take part in it.
    complete: BTreeMap<Topic, Instant>,
}

impl Board {
    /// What runs, then what finished, by topic.
    pub fn read(&self) -> Vec<SyncProgress> {
        let latest = self.lock();
        latest.running.values().chain(latest.finished.values()).cloned().collect()
    }

    /// How long ago the latest of each topic was complete, or this node began to take part in it.
    pub fn ages(&self) -> Vec<(Topic, Duration)> {
        self.lock().complete.iter().map(|(topic, at)| (topic.clone(), at.elapsed())).collect()
    }

    /// Knows these topics from now on, and no others.
    pub fn retain(&self, topics: &BTreeSet<Topic>) {
        let (mut latest, now) = (self.lock(), Instant::now());
        latest.finished.retain(|topic, _| topics.contains(topic));
        latest.complete.retain(|topic, _| topics.contains(topic));
        for topic in topics {
            latest.complete.entry(topic.clone()).or_insert(now);
        }
    }

    fn write(&self, progress: &SyncProgress) {
        let mut latest = self.lock();
        let (topic, progress) = (progress.topic.clone(), progress.clone());
        if progress.state == SyncState::Running {
            latest.running.insert((topic, progress.peer), progress);
        } else {
            latest.running.remove(&(topic.clone(), progress.peer));
            // One that ends late may be of a topic that was left meanwhile.
            if let (SyncState::Done, Some(complete)) = (&progress.state, latest.complete.get_mut(&topic)) {
                *complete = Instant::now();
            }
            latest.finished.insert(topic, progress);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Latest> {
        // Both maps are whole between any two changes.
        self.latest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes the progress of one synchronisation, and tells it to whoever listens.
#[derive(Debug)]
pub(super) struct Teller {
    board: Board,
    events: Events,
    told: Option<Instant>,
}

impl Teller {
    pub fn new(board: Board, events: Events) -> Self {
        Self { board, events, told: None }
    }

    /// Writes and tells it now.
    pub fn tell(&mut self, progress: &SyncProgress) {
        self.board.write(progress);
        self.told = Some(Instant::now());
        self.events.tell(Happening::Sync(progress.clone()));
    }

    /// As [`Teller::tell`], unless the last time is not long ago.
    pub fn tell_sometimes(&mut self, progress: &SyncProgress) {
        if self.told.is_none_or(|told| told.elapsed() >= TELL_EVERY) {
            self.tell(progress);
        }
    }
}

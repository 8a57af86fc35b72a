//! Scoring what has become searchable, when nothing is pending and nothing came for a moment: what comes is to be found first. What a
//! step has not done yet is noted in the column, and made again from the store when that is lost.

use std::time::{Duration, Instant};

use synapsenet_storage::{Change, Slot};

use super::{Indexer, IndexerError};
use crate::blocking::blocking;
use crate::memory::emergence::uses::{DAYS, today};

/// Grains of one step while nobody asks: some tens of milliseconds, after which new notes are seen.
const STEP: usize = 128;
/// Where notes were taken in, more may come: none is scored for so long ...
const SETTLED: Duration = Duration::from_millis(150);
/// ... but in a stream without end no longer than this after all were.
const MAX_UNSETTLED: Duration = Duration::from_secs(2);
/// Slots whose old occasions are dropped in one commit, once a day.
const DROPPED_AT_ONCE: Slot = 16_384;

/// How far scoring has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scoring {
    /// There is nothing to do now.
    Done,
    /// There may be more to do.
    Busy,
    /// More notes may come first: for so long.
    HeldBack(Duration),
}

impl Indexer {
    /// Scores some grains, unless more may come.
    pub(super) async fn score_some(&mut self) -> Result<Scoring, IndexerError> {
        if !self.memory.scores.is_on() {
            return Ok(Scoring::Done);
        }
        self.begin_day().await?;
        if self.memory.scores.is_idle(&self.memory.current()) {
            self.level = Instant::now();
            return Ok(Scoring::Done);
        }
        let left = self.unsettled();
        if !left.is_zero() {
            return Ok(Scoring::HeldBack(left));
        }
        // What comes meanwhile is not to wait until nobody asks.
        let most = tokio::select! {
            most = self.tokens_now(STEP) => most,
            () = self.changed.notified() => return Ok(Scoring::Busy),
        };
        let memory = self.memory.clone();
        let step = move || {
            let view = memory.store.view()?;
            memory.scores.step(&view, &memory.current(), (&memory.metrics, &memory.uses), most)
        };
        Ok(if blocking(step).await? { Scoring::Busy } else { Scoring::Done })
    }

    /// How long it is to be waited still for what may come.
    fn unsettled(&self) -> Duration {
        let settled = self.took.map(|took| (took + SETTLED).min(self.level + MAX_UNSETTLED));
        settled.map_or(Duration::ZERO, |settled| settled.saturating_duration_since(Instant::now()))
    }

    /// Waits until more comes, or nothing came for so long.
    pub(super) async fn wait_for_more(&self, left: Duration) {
        tokio::select! {
            () = tokio::time::sleep(left) => {}
            () = self.changed.notified() => {}
            () = self.stop.cancelled() => {}
        }
    }

    /// Once a day, takes what is too old out of the occasions on which grains were of use.
    async fn begin_day(&self) -> Result<(), IndexerError> {
        let (memory, day) = (self.memory.clone(), today());
        if !memory.uses.is_stale(day) {
            return Ok(());
        }
        let last = blocking(move || -> Result<Slot, IndexerError> {
            let view = memory.store.view()?;
            memory.uses.begin(&view, day)?;
            Ok(view.last_slot()?)
        });
        let (last, before_day) = (last.await?, day.saturating_sub(DAYS));
        for first in (0..=last).step_by(DROPPED_AT_ONCE as usize) {
            let slots = first..first + DROPPED_AT_ONCE;
            self.ingest.apply(vec![Change::DropUses { before_day, slots }]).await?;
        }
        Ok(())
    }
}

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
/// ... but of a stream without end some are, as often as this.
const MAX_UNSETTLED: Duration = Duration::from_secs(2);
/// Slots whose old occasions are dropped in one commit, once a day.
const DROPPED_AT_ONCE: Slot = 16_384;

impl Indexer {
    /// Scores some grains. True when there may be more to do.
    pub(super) async fn score_some(&mut self) -> Result<bool, IndexerError> {
        if !self.memory.scores.is_on() {
            return Ok(false);
        }
        self.begin_day().await?;
        if self.memory.scores.is_idle(&self.memory.current()) {
            return Ok(false);
        }
        // What comes meanwhile is not to wait until nobody asks.
        let most = tokio::select! {
            biased;
            most = self.settled() => most,
            () = self.changed.notified() => return Ok(true),
        };
        self.scored = Instant::now();
        let memory = self.memory.clone();
        let step = move || {
            let view = memory.store.view()?;
            memory.scores.step(&view, &memory.current(), (&memory.metrics, &memory.uses), most)
        };
        Ok(blocking(step).await?)
    }

    /// Waits until nothing came and nobody asked for a moment, and answers how many grains to score.
    pub(super) async fn settled(&self) -> usize {
        let settled = self.took.map(|took| (took + SETTLED).min(self.scored + MAX_UNSETTLED));
        if let Some(left) = settled.and_then(|settled| settled.checked_duration_since(Instant::now())) {
            tokio::time::sleep(left).await;
        }
        self.tokens_now(STEP).await
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

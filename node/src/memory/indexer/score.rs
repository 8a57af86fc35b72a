//! Scoring what has become searchable, when nothing is pending. What a step has not done yet is noted in the column, and made
//! again from the store when that is lost.

use synapsenet_storage::{Change, Slot};

use super::{Indexer, IndexerError};
use crate::blocking::blocking;
use crate::memory::emergence::uses::{DAYS, today};

/// Grains of one step while nobody asks: some tens of milliseconds, after which new notes are seen.
const STEP: usize = 128;
/// Slots whose old occasions are dropped in one commit, once a day.
const DROPPED_AT_ONCE: Slot = 16_384;

impl Indexer {
    /// Scores some grains. True when there may be more to do.
    pub(super) async fn score_some(&self) -> Result<bool, IndexerError> {
        if !self.memory.scores.is_on() {
            return Ok(false);
        }
        self.begin_day().await?;
        if self.memory.scores.is_idle(&self.memory.current()) {
            return Ok(false);
        }
        // What comes meanwhile is not to wait until nobody asks.
        let most = tokio::select! {
            most = self.tokens_now(STEP) => most,
            () = self.changed.notified() => return Ok(true),
        };
        let memory = self.memory.clone();
        let step = move || {
            let view = memory.store.view()?;
            memory.scores.step(&view, &memory.current(), (&memory.metrics, &memory.uses), most)
        };
        Ok(blocking(step).await?)
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

//! Scoring what has become searchable, when nothing is pending. What a step has not done yet is noted in the column, and made
//! again from the store when that is lost.

use super::{Indexer, IndexerError};
use crate::blocking::blocking;

/// Grains of one step while nobody asks: some tens of milliseconds, after which new notes are seen.
const STEP: usize = 128;

impl Indexer {
    /// Scores some grains. True when there may be more to do.
    pub(super) async fn score_some(&self) -> Result<bool, IndexerError> {
        if !self.memory.scores.is_on() {
            return Ok(false);
        }
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
            memory.scores.step(&view, &memory.current(), &memory.metrics, most)
        };
        Ok(blocking(step).await?)
    }
}

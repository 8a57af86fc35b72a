//! Reading one's own writes: waiting until search finds a grain by its meaning, within a bound.

use std::time::Duration;

use synapsenet_proto::GrainId;
use tokio::time::timeout;

use crate::calls::error::invalid;
use crate::calls::grains::Stored;
use crate::calls::{Call, CallError};

/// How long is waited when a call does not say, and at most: a model that is loaded reads a text in a fraction of a second.
const DEFAULT_WAIT: Duration = Duration::from_secs(30);
const MAX_WAIT: Duration = Duration::from_secs(60);

/// What a call that stores waits for. What is stored is on disk and found by its words in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Wait {
    /// Nothing more.
    #[default]
    Words,
    /// That it is found by its meaning, for so long.
    Searchable(Duration),
}

impl Wait {
    /// Waits until it is found by its meaning, for so many milliseconds; 0 is [`DEFAULT_WAIT`].
    ///
    /// # Errors
    /// When that is too long.
    pub fn searchable(wait_ms: u32) -> Result<Self, CallError> {
        match Duration::from_millis(wait_ms.into()) {
            Duration::ZERO => Ok(Self::Searchable(DEFAULT_WAIT)),
            wait if wait <= MAX_WAIT => Ok(Self::Searchable(wait)),
            _ => Err(invalid(format!("wait_ms is {wait_ms}; at most {} are allowed", MAX_WAIT.as_millis()))),
        }
    }
}

impl Call {
    /// Waits for what was stored as it is wished. Answers whether it is found by its meaning; false also where nobody asked.
    ///
    /// # Errors
    /// [`CallError`]. It is stored, whatever comes of waiting.
    pub async fn wait_for(&self, stored: Stored, wait: Wait) -> Result<bool, CallError> {
        let Wait::Searchable(patience) = wait else { return Ok(false) };
        timeout(patience, self.is_searchable(stored.id, stored.is_new)).await.unwrap_or(Ok(false))
    }

    /// Answers when it is decided whether a grain is found by its meaning.
    async fn is_searchable(&self, id: GrainId, is_new: bool) -> Result<bool, CallError> {
        let Some(slot) = self.read(move |_, view| Ok(view.slot_of(&id)?)).await? else { return Ok(false) };
        let mut progress = self.parts.progress.clone();
        let stopping = |_| CallError::Stopping;
        progress.wait_for(|progress| progress.own_done_slot >= slot).await.map(drop).map_err(stopping)?;
        let is_read =
            || self.read(move |_, view| Ok(view.record(slot)?.is_some_and(|record| record.searchable)));
        // What was put here just now the model has looked at. What was here before may wait in the turns of peers.
        if is_read().await? || is_new {
            return is_read().await;
        }
        progress.wait_for(|progress| progress.done_slot >= slot).await.map(drop).map_err(stopping)?;
        is_read().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_that_is_not_given_is_half_a_minute_and_one_too_long_is_refused() {
        assert_eq!(Wait::searchable(0).unwrap(), Wait::Searchable(DEFAULT_WAIT));
        assert_eq!(Wait::searchable(60_000).unwrap(), Wait::Searchable(MAX_WAIT));
        assert!(Wait::searchable(60_001).unwrap_err().to_string().contains("at most 60000"));
    }
}

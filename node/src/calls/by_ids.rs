//! Withdrawing and sharing grains that are named one by one: an answer for each, and none stops the others.

use futures::{Stream, StreamExt};
use synapsenet_proto::GrainId;

use crate::calls::error::invalid;
use crate::calls::{Call, CallError};

/// Ids in one call: some seconds of work, and an answer of less than 1 MiB.
const MAX_IDS: usize = 1000;
/// How many are under way at the same time: enough to fill a commit.
const MAX_IN_FLIGHT: usize = 256;

/// What became of one that was named.
pub(crate) type Each<T> = Result<T, CallError>;

impl Call {
    /// Withdraws grains of this node's own author. Answers the id of each retraction, in the order of the ids.
    ///
    /// # Errors
    /// When there are none or too many, or the node cannot go on: what was done before is done.
    pub async fn retract_each(&self, ids: Vec<String>) -> Result<Vec<Each<GrainId>>, CallError> {
        check_count(ids.len())?;
        let retractions = ids.into_iter().map(|id| {
            let call = self.clone();
            async move { call.retract(id).await }
        });
        gathered(futures::stream::iter(retractions).buffered(MAX_IN_FLIGHT)).await
    }

    /// Lets grains leave the node. Answers of each whether it was private before, in the order of the ids.
    ///
    /// # Errors
    /// As [`Call::retract_each`].
    pub async fn share_each(&self, ids: Vec<String>) -> Result<Vec<Each<bool>>, CallError> {
        check_count(ids.len())?;
        let shares = ids.into_iter().map(|id| {
            let call = self.clone();
            async move { call.share(id).await.map(|(_, changed)| changed) }
        });
        gathered(futures::stream::iter(shares).buffered(MAX_IN_FLIGHT)).await
    }
}

fn check_count(count: usize) -> Result<(), CallError> {
    match count {
        1..=MAX_IDS => Ok(()),
        _ => Err(invalid(format!("there are {count} ids; 1 to {MAX_IDS} are allowed"))),
    }
}

/// All that came of it, unless nothing of the kind can succeed any more.
async fn gathered<T>(answers: impl Stream<Item = Each<T>>) -> Result<Vec<Each<T>>, CallError> {
    let mut answers = std::pin::pin!(answers);
    let mut gathered = Vec::new();
    while let Some(answer) = answers.next().await {
        match answer {
            Err(error) if error.ends_a_batch() => return Err(error),
            answer => gathered.push(answer),
        }
    }
    Ok(gathered)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_refusal_stops_no_other_and_a_full_disk_all() {
        let refused = || Err(CallError::NotTheAuthor);
        let answers = gathered(futures::stream::iter([Ok(1), refused(), Ok(3)])).await.unwrap();
        assert!(matches!(answers[..], [Ok(1), Err(CallError::NotTheAuthor), Ok(3)]));
        let ended = gathered(futures::stream::iter([Ok(1), Err(CallError::Stopping), Ok(3)])).await;
        assert!(matches!(ended, Err(CallError::Stopping)));
        assert!(check_count(0).is_err() && check_count(MAX_IDS).is_ok() && check_count(MAX_IDS + 1).is_err());
    }
}

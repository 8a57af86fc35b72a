//! A search as a stream: what is known here, then what peers know, then the summary.

use std::sync::Arc;
use std::time::Duration;

use synapsenet_proto::rpc;
use synapsenet_proto::rpc::search_response::Item;
use synapsenet_storage::Filter;
use tokio::sync::mpsc::error::SendError;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tonic::Status;

use super::convert::{hit_message, plain_message, summary_message};
use super::status::{CallError, invalid};
use super::{Parts, check_search};
use crate::memory::query::{self, Answer};
use crate::mesh::Mesh;
use crate::mesh::ask::{MAX_PEER_HITS, MAX_PEERS, Outcome, PeerOutcome, Question, RemoteHit, ask_peers};

type Messages = mpsc::Sender<Result<rpc::SearchResponse, Status>>;

/// How long peers' answers are waited for when a search does not say, and at most.
const DEFAULT_WAIT: Duration = Duration::from_secs(2);
const MAX_WAIT: Duration = Duration::from_secs(60);
/// Hits of peers that may wait for a slow client: all that one question can bring.
const REMOTE_HITS: usize = MAX_PEERS * MAX_PEER_HITS;

/// Answers a search. What is known here is computed when this returns.
///
/// # Errors
/// [`CallError`].
pub(super) async fn search(
    parts: &Arc<Parts>,
    request: rpc::SearchRequest,
    permit: OwnedSemaphorePermit,
) -> Result<mpsc::Receiver<Result<rpc::SearchResponse, Status>>, CallError> {
    let (k, filter) = check_search(&request)?;
    let patience = read_wait(request.mesh_wait_ms)?;
    let mesh = match (&parts.mesh, request.mesh) {
        (None, true) => return Err(CallError::Offline),
        (mesh, true) => mesh.clone(),
        (_, false) => None,
    };
    let answer = query::search(parts.memory.clone(), &parts.models, &request.text, k, filter.clone()).await?;
    let (sender, messages) = mpsc::channel(k + 1);
    let parts = parts.clone();
    tokio::spawn(async move {
        let _permit = permit;
        // A client that hung up no longer wants to know.
        let _ = tell(&parts, answer, mesh, Wish { k, filter, patience }, sender).await;
    });
    Ok(messages)
}

/// What is asked of the mesh.
struct Wish {
    k: usize,
    filter: Filter,
    patience: Duration,
}

/// The client hung up.
struct HungUp;

impl<T> From<SendError<T>> for HungUp {
    fn from(_: SendError<T>) -> Self {
        Self
    }
}

async fn tell(
    parts: &Parts,
    answer: Answer,
    mesh: Option<Mesh>,
    wish: Wish,
    sender: Messages,
) -> Result<(), HungUp> {
    let message = |item| Ok(rpc::SearchResponse { item: Some(item) });
    for hit in &answer.hits {
        sender.send(message(Item::Hit(hit_message(hit)))).await?;
    }
    let mut summary = summary_message(&answer);
    if let Some(mesh) = mesh {
        let known = answer.hits.iter().map(|hit| hit.record.grain.id()).collect();
        let Wish { k, filter, patience } = wish;
        // The mesh is asked in the current space.
        let Some(asked) = answer.asked.into_iter().next() else { return Ok(()) };
        let (vector, model) = (asked.vector, asked.space.model.clone());
        let model_id = model.id().to_string();
        let question = Question { vector, model, k, filter, patience, known };
        let (found, mut hits) = mpsc::channel::<RemoteHit>(REMOTE_HITS);
        let asking = ask_peers(parts.memory.clone(), &mesh.net, &parts.models, question, found);
        let forwarding = async {
            while let Some(hit) = hits.recv().await {
                summary.hits += 1;
                sender.send(message(Item::Hit(remote_message(&hit, &model_id)))).await?;
            }
            Ok::<_, HungUp>(())
        };
        let (outcomes, ()) = tokio::try_join!(async { Ok(asking.await) }, forwarding)?;
        summary.peers = outcomes.into_iter().map(outcome_message).collect();
    }
    sender.send(message(Item::Summary(summary))).await?;
    Ok(())
}

fn read_wait(ms: u32) -> Result<Duration, CallError> {
    match Duration::from_millis(ms.into()) {
        Duration::ZERO => Ok(DEFAULT_WAIT),
        wait if wait <= MAX_WAIT => Ok(wait),
        wait => Err(invalid(format!(
            "mesh_wait_ms is {}; at most {} are allowed",
            wait.as_millis(),
            MAX_WAIT.as_millis()
        ))),
    }
}

fn remote_message(hit: &RemoteHit, model_id: &str) -> rpc::Hit {
    let grain = rpc::Grain { shared: true, ..plain_message(&hit.grain) };
    let (score, peer_id) = (f64::from(hit.score), hit.peer.to_string());
    rpc::Hit { grain: Some(grain), score, peer_id, model_id: model_id.to_owned() }
}

fn outcome_message(outcome: PeerOutcome) -> rpc::PeerAnswer {
    let PeerOutcome { peer, outcome, elapsed } = outcome;
    let mut answer = rpc::PeerAnswer {
        peer_id: peer.to_string(),
        outcome: outcome.label().to_owned(),
        elapsed_us: elapsed.as_micros() as u64,
        ..Default::default()
    };
    match outcome {
        Outcome::Answered { hits, left_out } => {
            (answer.hits, answer.left_out) = (hits as u32, left_out as u32);
        }
        Outcome::Failed(reason) | Outcome::Refused(reason) => answer.reason = reason,
        Outcome::Late => {}
    }
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_that_is_not_given_is_two_seconds_and_one_too_long_is_refused() {
        assert_eq!(read_wait(0).unwrap(), Duration::from_secs(2));
        assert_eq!(read_wait(60_000).unwrap(), MAX_WAIT);
        assert!(read_wait(60_001).unwrap_err().to_string().contains("at most 60000"));
    }
}

//! Finding grains by meaning: the question becomes a vector, the index gives candidates, the store's vectors give the
//! scores.

use std::sync::Arc;
use std::time::{Duration, Instant};

use synapsenet_index::{IndexError, Neighbour};
use synapsenet_proto::Vector;
use synapsenet_storage::{Filter, Record, Selection, Slot, StorageError, View};

use crate::blocking::blocking;
use crate::embedder::{EmbedError, EmbedderHandle};
use crate::memory::Memory;

/// Hits that one search may ask for.
pub(crate) const MAX_HITS: usize = 1000;
/// Candidates rescored for each hit asked for: the graph's vectors are coarser than the store's. More than twice as many
/// found no more on 117,000 real vectors.
const OVERSAMPLING: usize = 2;
/// Candidates rescored at least.
const MIN_CANDIDATES: usize = 20;
/// A filter that leaves at most this many grains is answered by comparing all of them, which is exact.
const MIN_BRUTE_FORCE: usize = 10_000;
/// So is one that leaves at most this fraction of all: a walk through the graph would pass over so many forbidden
/// grains that it is slower.
const BRUTE_FORCE_FRACTION: usize = 20;

/// Why a search has no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum QueryError {
    #[error(transparent)]
    Embed(#[from] EmbedError),
    #[error(transparent)]
    Index(#[from] IndexError),
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// A grain that was found.
#[derive(Debug)]
pub(crate) struct Hit {
    /// The grain and what is known of it here.
    pub record: Record,
    /// Cosine between question and grain.
    pub score: f32,
}

/// What a search gives.
#[derive(Debug)]
pub(crate) struct Answer {
    /// Best first.
    pub hits: Vec<Hit>,
    /// Grains in the index.
    pub searched: u64,
    /// Grains that could not be found because they have no vector yet.
    pub pending: u64,
    /// The whole search.
    pub elapsed: Duration,
    /// The part of it that the model took.
    pub embed: Duration,
    /// Where the question lies.
    pub question: Vector,
}

/// The `k` grains nearest in meaning to `text` among those that `filter` lets through.
///
/// # Errors
/// [`QueryError`].
pub(crate) async fn search(
    memory: Arc<Memory>,
    embedder: &EmbedderHandle,
    text: &str,
    k: usize,
    filter: Filter,
) -> Result<Answer, QueryError> {
    let start = Instant::now();
    let question = embedder.embed_question(text).await?;
    let embed = start.elapsed();
    blocking(move || {
        let view = memory.store.view()?;
        let hits = find(&memory, &view, &question, k, &filter)?;
        let counts = view.counts()?;
        let elapsed = start.elapsed();
        memory.metrics.query.observe(elapsed.as_secs_f64());
        memory.metrics.queries.inc();
        let (searched, pending) = (memory.hnsw.len() as u64, counts.pending);
        Ok(Answer { hits, searched, pending, elapsed, embed, question })
    })
    .await
}

/// Candidates from the index, scored by the store's vectors, with their grains: at most `k`, best first.
///
/// # Errors
/// [`QueryError`].
pub(crate) fn find(
    memory: &Memory,
    view: &View,
    question: &Vector,
    k: usize,
    filter: &Filter,
) -> Result<Vec<Hit>, QueryError> {
    let candidates = candidates(memory, view, question, k, filter)?;
    let mut hits = Vec::with_capacity(k);
    for (slot, score) in rescore(memory, view, question, candidates)? {
        if hits.len() == k {
            break;
        }
        // The index may lag a moment behind a retraction; the store decides.
        match view.record(slot) {
            Ok(Some(record)) => hits.push(Hit { record, score }),
            Ok(None) => {}
            Err(StorageError::DamagedRecord { slot, why }) => {
                tracing::warn!(slot, why, "a damaged grain is left out of an answer; run `verify`");
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(hits)
}

fn candidates(
    memory: &Memory,
    view: &View,
    question: &Vector,
    k: usize,
    filter: &Filter,
) -> Result<Vec<Neighbour>, QueryError> {
    let hnsw = &memory.hnsw;
    let wanted = (k * OVERSAMPLING).max(MIN_CANDIDATES);
    let few = MIN_BRUTE_FORCE.max(hnsw.len() / BRUTE_FORCE_FRACTION);
    let neighbours = match view.select(filter, few)? {
        Selection::All => hnsw.search(question, wanted, None)?,
        Selection::Few(slots) => return Ok(hnsw.search_among(question, wanted, &slots)?),
        Selection::Many => {
            // A slot whose record cannot be read is not let through; `verify` finds it.
            let allow = |slot: Slot| view.matches(slot, filter).unwrap_or(false);
            hnsw.search_filtered(question, wanted, &allow, None)?
        }
    };
    if neighbours.len() >= k.min(hnsw.len()) && !is_caught(&neighbours) {
        return Ok(neighbours);
    }
    // The walk ended early, among forbidden grains or hundreds that say the same: compare all, so that none is missed.
    // It takes time in proportion to all grains; it is needed where boilerplate stands in hundreds of documents.
    let all = Filter { created_from_ms: filter.created_from_ms.or(Some(0)), ..filter.clone() };
    match view.select(&all, usize::MAX)? {
        Selection::Few(slots) => Ok(hnsw.search_among(question, wanted, &slots)?),
        Selection::All | Selection::Many => Ok(neighbours),
    }
}

/// Whether many of the candidates, best first, are one text again and again. A graph links a grain to its nearest, so
/// hundreds of equal ones link to each other alone: a walk that enters them does not come out, and cuts off what lies
/// behind them.
fn is_caught(neighbours: &[Neighbour]) -> bool {
    /// So many with one score are no chance.
    const MAX_EQUAL: usize = 8;
    /// More than the rounding to 8 bits changes between vectors of one text, less than lies between different texts.
    const TOLERANCE: f32 = 2e-4;
    let is_equal = |a: &Neighbour, b: &Neighbour| (a.similarity - b.similarity).abs() < TOLERANCE;
    neighbours.chunk_by(is_equal).any(|equal| equal.len() > MAX_EQUAL)
}

/// The exact cosine of each candidate, best first; equal scores in the order of arrival.
fn rescore(
    memory: &Memory,
    view: &View,
    question: &Vector,
    candidates: Vec<Neighbour>,
) -> Result<Vec<(Slot, f32)>, QueryError> {
    let mut scored = Vec::with_capacity(candidates.len());
    for candidate in candidates {
        let Some(vector) = view.vector(candidate.key, memory.model.id())? else { continue };
        match vector.decode().and_then(|vector| question.cosine(&vector)) {
            Ok(score) => scored.push((candidate.key, score)),
            Err(error) => {
                tracing::warn!(slot = candidate.key, %error, "a stored vector is damaged; run `verify`")
            }
        }
    }
    scored.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    Ok(scored)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_walk_among_equal_grains_is_noticed() {
        let neighbours = |similarities: &[f32]| -> Vec<Neighbour> {
            similarities.iter().map(|&similarity| Neighbour { key: 1, similarity }).collect()
        };
        assert!(is_caught(&neighbours(&[0.5; 20])));
        assert!(is_caught(&neighbours(&[[0.9, 0.8, 0.7, 0.6, 0.55].as_slice(), &[0.5; 15]].concat())));
        assert!(!is_caught(&neighbours(&[0.5; 8])), "a few that are equal may be all there is");
        let mixed: Vec<f32> = (0..20).map(|n| 1.0 - n as f32 / 20.0).collect();
        assert!(!is_caught(&neighbours(&mixed)));
    }
}

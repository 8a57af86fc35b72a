//! Finding grains by meaning: the question becomes a vector, the index gives candidates, the store's vectors give the
//! scores.
//!
//! While a model is being changed, the question becomes a vector of each model whose space holds grains, and what the
//! spaces find is merged: a grain that stands in two counts in the current one.

use std::sync::Arc;
use std::time::{Duration, Instant};

use synapsenet_index::{IndexError, Neighbour};
use synapsenet_proto::{ModelId, Vector};
use synapsenet_storage::{Filter, Record, Selection, Slot, StorageError, Store, View};

use crate::blocking::blocking;
use crate::embedder::EmbedError;
use crate::memory::Memory;
use crate::models::Models;
use crate::spaces::{Space, Spaces};

/// Hits that one search may ask for.
pub(crate) const MAX_HITS: usize = 1000;
/// Candidates rescored for each hit asked for: the graph's vectors are coarser than the store's. More than twice as many
/// found no more on 117,000 real vectors.
const OVERSAMPLING: usize = 2;
/// Candidates rescored at least.
const MIN_CANDIDATES: usize = 20;
/// So many grains are compared one by one: it takes half a millisecond, and misses none. A graph misses one in a hundred, more
/// among texts that say nearly the same.
const MAX_COMPARED_WHOLE: usize = 2000;
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
    /// The model of both vectors.
    pub model: ModelId,
}

/// A question as it lies in one space.
pub(crate) struct Asked {
    /// The space.
    pub space: Arc<Space>,
    /// The question's vector in it.
    pub vector: Vector,
}

/// What a search gives.
pub(crate) struct Answer {
    /// Best first.
    pub hits: Vec<Hit>,
    /// Grains in the index.
    pub searched: u64,
    /// Grains that could not be found because they have no vector yet.
    pub pending: u64,
    /// The whole search.
    pub elapsed: Duration,
    /// The part of it that the models took.
    pub embed: Duration,
    /// Where the question lies in each space that was searched, the current one first.
    pub asked: Vec<Asked>,
}

/// The `k` grains nearest in meaning to `text` among those that `filter` lets through.
///
/// # Errors
/// [`QueryError`].
pub(crate) async fn search(
    memory: Arc<Memory>,
    models: &Models,
    text: &str,
    k: usize,
    filter: Filter,
) -> Result<Answer, QueryError> {
    let start = Instant::now();
    memory.is_asked();
    let spaces = memory.spaces();
    let asked = ask(&spaces, models, text).await?;
    let embed = start.elapsed();
    blocking(move || {
        let hits = find(&memory.store, &spaces, &asked, k, &filter)?;
        let counts = memory.store.view()?.counts()?;
        let elapsed = start.elapsed();
        memory.metrics.query.observe(elapsed.as_secs_f64());
        memory.metrics.queries.inc();
        let (searched, pending) = (spaces.searchable(counts), counts.pending);
        Ok(Answer { hits, searched, pending, elapsed, embed, asked })
    })
    .await
}

/// The question in each space. A former model that cannot be used leaves its grains out, which the answer shows.
async fn ask(spaces: &Spaces, models: &Models, text: &str) -> Result<Vec<Asked>, QueryError> {
    let of = |space: &Arc<Space>| {
        let space = space.clone();
        async move {
            let vector = models.question(&space.model, text).await;
            (space, vector)
        }
    };
    let vectors = futures::future::join_all(spaces.all().map(of)).await;
    let mut asked = Vec::with_capacity(vectors.len());
    for (space, vector) in vectors {
        match vector {
            Ok(vector) => asked.push(Asked { space, vector }),
            Err(error) if asked.is_empty() => return Err(error.into()),
            Err(error) => {
                tracing::warn!(model = space.model.full_name(), %error, "a search goes without a model")
            }
        }
    }
    Ok(asked)
}

/// Candidates from the indexes, scored by the store's vectors, with their grains: at most `k`, best first. `asked` has
/// some of `spaces`, in their order.
///
/// # Errors
/// [`QueryError`].
pub(crate) fn find(
    store: &Store,
    spaces: &Spaces,
    asked: &[Asked],
    k: usize,
    filter: &Filter,
) -> Result<Vec<Hit>, QueryError> {
    let view = store.view()?;
    let mut found = Vec::with_capacity(asked.len());
    // The current space comes last: what it is given meanwhile is found there, though the former ones left it out.
    for at in (0..asked.len()).rev() {
        found.push((at, candidates(&view, spaces, &asked[..at], &asked[at], k, filter)?));
    }
    // A view from before would lack the vectors of what an index was given since.
    let view = store.view()?;
    let mut ranked = Vec::new();
    for (at, candidates) in found {
        let Asked { space, vector } = &asked[at];
        let scored = rescore(&view, space.id(), vector, candidates)?;
        // What this score is beside those of the first space.
        let anchors = spaces.anchors.iter().find(|anchors| at > 0 && anchors.former == space.id());
        let scale = anchors.and_then(|anchors| anchors.scale(&asked[0].vector, vector));
        let rank = |score| scale.as_ref().map_or(score, |scale| scale(score));
        // In several spaces, it counts in the first.
        ranked.retain(|ranked: &Ranked| scored.iter().all(|(slot, _)| *slot != ranked.slot));
        let model = space.id();
        ranked.extend(scored.into_iter().map(|(slot, score)| Ranked {
            rank: rank(score),
            slot,
            score,
            model,
        }));
    }
    ranked.sort_by(|a, b| b.rank.total_cmp(&a.rank).then(a.slot.cmp(&b.slot)));
    let mut hits = Vec::with_capacity(k);
    for Ranked { slot, score, model, .. } in ranked {
        if hits.len() == k {
            break;
        }
        // The index may lag a moment behind a retraction; the store decides.
        match view.record(slot) {
            Ok(Some(record)) => hits.push(Hit { record, score, model }),
            Ok(None) => {}
            Err(StorageError::DamagedRecord { slot, why }) => {
                tracing::warn!(slot, why, "a damaged grain is left out of an answer; run `verify`");
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(hits)
}

/// A candidate of one space among those of all.
struct Ranked {
    /// Its score, brought to the scale of the first space.
    rank: f32,
    slot: Slot,
    score: f32,
    model: ModelId,
}

/// Candidates in one space, without what an earlier one holds.
fn candidates(
    view: &View,
    spaces: &Spaces,
    earlier: &[Asked],
    asked: &Asked,
    k: usize,
    filter: &Filter,
) -> Result<Vec<Neighbour>, QueryError> {
    let Asked { space, vector: question } = asked;
    let hnsw = &space.hnsw;
    let wanted = (k * OVERSAMPLING).max(MIN_CANDIDATES);
    let few = MIN_BRUTE_FORCE.max(hnsw.len() / BRUTE_FORCE_FRACTION);
    let is_held = |slot: Slot| earlier.iter().any(|asked| asked.space.hnsw.contains(slot));
    let among = |slots: Vec<Slot>| -> Result<Vec<Neighbour>, QueryError> {
        let slots = missing_from(earlier, slots);
        Ok(hnsw.search_among(question, wanted, &slots)?)
    };
    let all = Filter { created_from_ms: filter.created_from_ms.or(Some(0)), ..filter.clone() };
    let selected = if hnsw.len() <= MAX_COMPARED_WHOLE { &all } else { filter };
    // Of a former space, what the current one is still to be given is all that counts.
    let rest = if earlier.is_empty() { None } else { spaces.rest().filter(|rest| rest.len() <= few) };
    // A slot whose record cannot be read is not let through; `verify` finds it.
    let fits = |slot: Slot| view.matches(slot, filter).unwrap_or(false);
    let neighbours = match (view.select(selected, few)?, rest) {
        (Selection::All, None) if earlier.is_empty() => hnsw.search(question, wanted, None)?,
        (Selection::All, None) => hnsw.search_filtered(question, wanted, &|slot| !is_held(slot), None)?,
        (Selection::All, Some(rest)) => return among(rest.to_vec()),
        (Selection::Few(slots), _) => return among(slots),
        (Selection::Many, Some(rest)) => {
            return among(rest.iter().copied().filter(|&slot| fits(slot)).collect());
        }
        (Selection::Many, None) => {
            let allow = |slot: Slot| fits(slot) && !is_held(slot);
            hnsw.search_filtered(question, wanted, &allow, None)?
        }
    };
    if neighbours.len() >= k.min(hnsw.len()) && !is_caught(&neighbours) {
        return Ok(neighbours);
    }
    // The walk ended early, among forbidden grains or hundreds that say the same: compare all, so that none is missed.
    // It takes time in proportion to all grains; it is needed where boilerplate stands in hundreds of documents.
    match view.select(&all, usize::MAX)? {
        Selection::Few(slots) => among(slots),
        Selection::All | Selection::Many => Ok(neighbours),
    }
}

/// Those of `slots` that none of these spaces holds.
fn missing_from(earlier: &[Asked], slots: Vec<Slot>) -> Vec<Slot> {
    earlier.iter().fold(slots, |slots, asked| asked.space.hnsw.missing(&slots))
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
    view: &View,
    model: ModelId,
    question: &Vector,
    candidates: Vec<Neighbour>,
) -> Result<Vec<(Slot, f32)>, QueryError> {
    let mut scored = Vec::with_capacity(candidates.len());
    for candidate in candidates {
        let Some(vector) = view.vector(candidate.key, model)? else { continue };
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

//! Proof of Emergence: what a grain adds to what is known here, computed when it is asked for, from what is here.

use synapsenet_storage::{Record, View};

use crate::memory::Memory;
use crate::memory::search::SearchError;
use crate::metrics::timed;

/// Neighbours that are looked at: enough for a mean, few enough to stay near.
const NEIGHBOURS: usize = 8;
/// Links that make half of the full score for reuse.
const LINKS_FOR_HALF: f64 = 3.0;
/// How much novelty, coherence and reuse count.
const WEIGHTS: [f64; 3] = [0.4, 0.3, 0.3];

/// What a grain adds to what is known here. Each part is in 0..1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Emergence {
    /// Weighted mean of the parts.
    pub score: f64,
    /// One minus the highest cosine to a grain that is older.
    pub novelty: f64,
    /// Mean cosine to its nearest neighbours.
    pub coherence: f64,
    /// Grows with the number of grains that link to it.
    pub reuse: f64,
}

/// Scores a searchable note. None when it has no vector (yet).
///
/// Novelty is one minus the highest cosine to an older grain, coherence the mean cosine to the nearest neighbours,
/// reuse `links / (links + 3)`. Each is in 0..1.
///
/// # Errors
/// When the store or the index cannot be read.
pub(crate) fn score(memory: &Memory, view: &View, record: &Record) -> Result<Option<Emergence>, SearchError> {
    timed(&memory.metrics.poe_calculation, || {
        let spaces = memory.spaces();
        let Some(space) = spaces.holding(record.slot) else { return Ok(None) };
        let Some(vector) = view.vector(record.slot, space.id())? else { return Ok(None) };
        let Ok(vector) = vector.decode() else { return Ok(None) };
        let neighbours = space.hnsw.search(&vector, NEIGHBOURS + 1, None)?;
        let others: Vec<_> = neighbours.iter().filter(|neighbour| neighbour.key != record.slot).collect();
        let older = others.iter().filter(|neighbour| neighbour.key < record.slot);
        let nearest_older = older.map(|neighbour| f64::from(neighbour.similarity)).fold(0.0, f64::max);
        let novelty = (1.0 - nearest_older).clamp(0.0, 1.0);
        let sum: f64 = others.iter().map(|neighbour| f64::from(neighbour.similarity).clamp(0.0, 1.0)).sum();
        let coherence = if others.is_empty() { 0.0 } else { sum / others.len() as f64 };
        let links = view.links_to(&record.grain.id())? as f64;
        let reuse = links / (links + LINKS_FOR_HALF);
        let score = WEIGHTS[0] * novelty + WEIGHTS[1] * coherence + WEIGHTS[2] * reuse;
        Ok(Some(Emergence { score, novelty, coherence, reuse }))
    })
}

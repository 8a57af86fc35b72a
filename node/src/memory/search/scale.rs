//! Scores: the exact cosine of each candidate, and what it is beside those of another space.

use synapsenet_index::Neighbour;
use synapsenet_proto::{SpaceId, Vector};
use synapsenet_storage::{Slot, View};

use super::{Asked, SearchError};
use crate::memory::spaces::Spaces;

/// A candidate of one space among those of all.
pub(super) struct Ranked {
    /// Its score, brought to the scale of the first space.
    pub rank: f32,
    pub slot: Slot,
    pub score: f32,
    pub model: SpaceId,
    /// Whether its vector was only claimed when the candidates were gathered.
    pub is_unchecked: bool,
}

/// The candidates of all spaces, best first.
///
/// # Errors
/// [`SearchError`].
pub(super) fn rank(
    view: &View,
    spaces: &Spaces,
    asked: &[Asked],
    found: Vec<(usize, Vec<Neighbour>)>,
) -> Result<Vec<Ranked>, SearchError> {
    let mut ranked = Vec::new();
    for (at, candidates) in found {
        let Asked { space, vector } = &asked[at];
        let scored = rescore(view, space.id(), vector, candidates)?;
        // What this score is beside those of the first space.
        let anchors = spaces.anchors.iter().find(|anchors| at > 0 && anchors.former == space.id());
        let scale = anchors.and_then(|anchors| anchors.scale(&asked[0].vector, vector));
        let rank = |score| scale.as_ref().map_or(score, |scale| scale(score));
        // In several spaces, it counts in the first.
        ranked.retain(|ranked: &Ranked| scored.iter().all(|(slot, _)| *slot != ranked.slot));
        let model = space.id();
        let of = |(slot, score)| Ranked { rank: rank(score), slot, score, model, is_unchecked: false };
        ranked.extend(scored.into_iter().map(of));
    }
    ranked.sort_by(|a, b| b.rank.total_cmp(&a.rank).then(a.slot.cmp(&b.slot)));
    Ok(ranked)
}

/// The exact cosine of each candidate, best first; equal scores in the order of arrival.
fn rescore(
    view: &View,
    model: SpaceId,
    question: &Vector,
    candidates: Vec<Neighbour>,
) -> Result<Vec<(Slot, f32)>, SearchError> {
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

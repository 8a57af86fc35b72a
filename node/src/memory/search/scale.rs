//! Scores: the exact cosine of each candidate, and what it is beside those of another space.

use synapsenet_index::Neighbour;
use synapsenet_proto::{SpaceId, Vector};
use synapsenet_storage::{Slot, View};

use super::{Asked, SearchError};
use crate::memory::spaces::Spaces;

/// A candidate of one space among those of all.
pub(super) struct Near {
    pub slot: Slot,
    pub model: SpaceId,
    /// The exact cosine in its space ...
    pub cosine: f32,
    /// ... and as it would be in the first one.
    pub scaled: f32,
    /// Whether its vector was only claimed when the candidates were gathered.
    pub is_unchecked: bool,
}

/// The candidates of all spaces, each once: in several spaces, it counts in the first.
///
/// # Errors
/// [`SearchError`].
pub(super) fn compare(
    view: &View,
    spaces: &Spaces,
    asked: &[Asked],
    found: Vec<(usize, Vec<Neighbour>)>,
) -> Result<Vec<Near>, SearchError> {
    let mut near: Vec<Near> = Vec::new();
    for (at, candidates) in found {
        let Asked { space, vector } = &asked[at];
        let scored = rescore(view, space.id(), vector, candidates)?;
        let scale = scale(spaces, asked, at);
        near.retain(|near| scored.iter().all(|(slot, _)| *slot != near.slot));
        let model = space.id();
        near.extend(scored.into_iter().map(|(slot, cosine)| Near {
            slot,
            model,
            cosine,
            scaled: scale(cosine),
            is_unchecked: false,
        }));
    }
    Ok(near)
}

/// A note that was found otherwise, beside the question in the first space that holds a vector of it. None where none does.
///
/// # Errors
/// [`SearchError`].
pub(super) fn compare_one(
    view: &View,
    spaces: &Spaces,
    asked: &[Asked],
    slot: Slot,
) -> Result<Option<Near>, SearchError> {
    for (at, Asked { space, vector }) in asked.iter().enumerate() {
        // Before the vector is read: a lie that is found out meanwhile is unchecked no more, and its vector was read.
        let is_unchecked = space.unchecked.contains(slot);
        let candidate = Neighbour { key: slot, similarity: 0.0 };
        let scored = rescore(view, space.id(), vector, vec![candidate])?;
        if let Some(&(_, cosine)) = scored.first() {
            let scaled = scale(spaces, asked, at)(cosine);
            return Ok(Some(Near { slot, model: space.id(), cosine, scaled, is_unchecked }));
        }
    }
    Ok(None)
}

/// What a cosine in the space at this place is beside those of the first one.
fn scale(spaces: &Spaces, asked: &[Asked], at: usize) -> impl Fn(f32) -> f32 {
    let Asked { space, vector } = &asked[at];
    let anchors = spaces.anchors.iter().find(|anchors| at > 0 && anchors.former == space.id());
    let scale = anchors.and_then(|anchors| anchors.scale(&asked[0].vector, vector));
    move |cosine| scale.as_ref().map_or(cosine, |scale| scale(cosine))
}

/// The exact cosine of each candidate.
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
    Ok(scored)
}

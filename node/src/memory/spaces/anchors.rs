//! How scores of two models are brought to one scale.

use synapsenet_proto::{SpaceId, Vector};

/// Grains with vectors of two models by which their scores are made comparable ...
pub(super) const MAX_ANCHORS: usize = 128;
/// ... and fewer than these say nothing.
const MIN_ANCHORS: usize = 16;

/// Grains that have vectors of two models. A cosine of one model says nothing beside one of another: some call everything
/// alike above 0.6. So the distances (1 - cosine) of a question to these grains are compared in both spaces, and those of
/// the former space are stretched until their mean is that of the current one. What is the same stays the same.
pub(crate) struct Anchors {
    /// The former model.
    pub former: SpaceId,
    pairs: Vec<(Vector, Vector)>,
}

impl Anchors {
    /// Anchors of grains with a vector of the current and one of the former model.
    pub fn new(former: SpaceId, pairs: Vec<(Vector, Vector)>) -> Self {
        Self { former, pairs }
    }

    /// What turns a score of the former space into one that stands beside the current one's, for a question that lies
    /// here in the one and there in the other. None when too few grains are known, or they say nothing.
    pub fn scale(&self, current: &Vector, former: &Vector) -> Option<impl Fn(f32) -> f32 + use<>> {
        let distances = self
            .pairs
            .iter()
            .filter_map(|(new, old)| Some((1.0 - current.cosine(new).ok()?, 1.0 - former.cosine(old).ok()?)));
        let distances: Vec<(f32, f32)> = distances.collect();
        let (new, old) = distances.iter().fold((0.0, 0.0), |sum, each| (sum.0 + each.0, sum.1 + each.1));
        let is_known = distances.len() >= MIN_ANCHORS && old > f32::EPSILON;
        is_known.then_some(move |score: f32| 1.0 - (1.0 - score) * new / old)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_score_of_another_model_is_brought_to_the_scale_of_this_one() {
        let model = |byte| SpaceId::from_bytes([byte; 32]);
        // Vectors in a plane, so that a cosine is that of the angle between them.
        let at = |model, degrees: f32| {
            let angle = degrees.to_radians();
            Vector::new(model, vec![angle.cos(), angle.sin()]).unwrap()
        };
        // The former model sees every angle as a third of what it is for the current one.
        let pairs = (0..40).map(|n| {
            let angle = 10.0 + 2.0 * n as f32;
            (at(model(1), angle), at(model(2), angle / 3.0))
        });
        let anchors = Anchors::new(model(2), pairs.collect());
        let (here, there) = (at(model(1), 0.0), at(model(2), 0.0));
        let scale = anchors.scale(&here, &there).unwrap();
        for angle in [20.0_f32, 45.0, 80.0] {
            let truth = angle.to_radians().cos();
            let raw = (angle / 3.0).to_radians().cos();
            assert!((scale(raw) - truth).abs() < 0.1, "{angle}: {} and not {truth}", scale(raw));
            assert!((raw - truth).abs() > (scale(raw) - truth).abs());
        }
        assert_eq!(scale(1.0), 1.0, "what is the same stays the same");
        let few = Anchors::new(model(2), vec![(at(model(1), 1.0), at(model(2), 1.0)); MIN_ANCHORS - 1]);
        assert!(few.scale(&here, &there).is_none());
    }
}

//! How good a hit is: one number for meaning and words together.

use synapsenet_index::Weights;

/// A hit below this answers nothing, unless a search says otherwise. By words alone, any word counts.
const MIN_SCORE: f32 = 0.1;

/// By what grains are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Mode {
    /// Meaning and words: half the cosine, and half of what words score. 1 is what cannot be better; above 0.5, both agree.
    #[default]
    Hybrid,
    /// The cosine between question and grain, -1 to 1.
    Meaning,
    /// What words score, 0 to 1.
    Words,
}

impl Mode {
    /// Whether the index of words is asked.
    pub fn counts_words(self) -> bool {
        self != Self::Meaning
    }

    /// Whether the question is read by a model.
    pub fn counts_meaning(self) -> bool {
        self != Self::Words
    }

    /// As a metric label.
    pub fn label(self) -> &'static str {
        match self {
            Self::Hybrid => "hybrid",
            Self::Meaning => "meaning",
            Self::Words => "words",
        }
    }

    /// The least score of an answer, where nobody says otherwise.
    pub fn min_score(self) -> f32 {
        if self == Self::Words { 0.0 } else { MIN_SCORE }
    }
}

/// What scores mean in one search. They do not depend on what else is found, so hits from anywhere merge.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Measure {
    /// What counts.
    pub mode: Mode,
    /// The share of the words where both count.
    words_share: f32,
    /// The BM25 score that counts half of what words can count. It grows with the logarithm of how many notes there are, as much as a
    /// word weighs by being rare: by default some 15 where there are 400, 29 where there are 100,000.
    half_words: f32,
}

impl Measure {
    /// Makes the measure for a space and a node that holds so many notes.
    pub fn new(mode: Mode, weights: Weights, notes: usize) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "of so many, a few make no difference")]
        let notes = notes as f32;
        let half_words = weights.half_words * (notes + 1.0).ln().max(1.0);
        Self { mode, words_share: weights.words, half_words }
    }

    /// The score of a hit: `cosine` in the scale of the current space, `words` by BM25.
    pub fn score(self, cosine: Option<f32>, words: f32) -> f32 {
        let words = words / (words + self.half_words.max(f32::MIN_POSITIVE));
        match self.mode {
            Mode::Meaning => cosine.unwrap_or_default(),
            Mode::Words => words,
            Mode::Hybrid => (1.0 - self.words_share) * cosine.unwrap_or_default() + self.words_share * words,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_meaning_count_half_each_and_neither_hides_the_other() {
        let by = |mode| Measure { mode, words_share: 0.5, half_words: 15.0 };
        assert_eq!(by(Mode::Meaning).score(Some(0.6), 30.0), 0.6);
        assert_eq!(by(Mode::Words).score(Some(0.6), 15.0), 0.5);
        assert_eq!(by(Mode::Hybrid).score(Some(0.6), 0.0), 0.3);
        assert_eq!(by(Mode::Hybrid).score(None, 15.0), 0.25);
        assert_eq!(by(Mode::Hybrid).score(Some(0.6), 15.0), 0.55);
        let other = Measure { words_share: 0.25, ..by(Mode::Hybrid) };
        assert_eq!(other.score(Some(0.8), 15.0), 0.725);
        assert!(by(Mode::Words).score(None, 1e9) <= 1.0 && by(Mode::Words).score(None, 0.0) == 0.0);
    }

    #[test]
    fn a_word_that_only_one_note_has_counts_alike_in_a_small_node_and_a_large_one() {
        // BM25 of a word of one note in a text of mean length.
        let rare = |notes: f32| (1.0 + (notes - 0.5) / 1.5_f32).ln();
        for notes in [2_usize, 20, 400, 100_000, 1_000_000] {
            let score = Measure::new(Mode::Words, Weights::default(), notes).score(None, rare(notes as f32));
            assert!((0.15..0.35).contains(&score), "{notes}: {score}");
        }
    }
}

//! Languages and what their words come down to.

use std::borrow::Cow;

use rust_stemmers::{Algorithm, Stemmer};

use crate::words::tokens::MAX_TOKEN_BYTES;

/// The languages that Snowball (<https://snowballstem.org>) has a stemmer for, by the first part of their tags. The
/// order is that of [`Languages`] and of snapshots: new ones go to the end.
const LANGUAGES: [(&[&str], Algorithm); 18] = [
    (&["en"], Algorithm::English),
    (&["ar"], Algorithm::Arabic),
    (&["da"], Algorithm::Danish),
    (&["nl"], Algorithm::Dutch),
    (&["fi"], Algorithm::Finnish),
    (&["fr"], Algorithm::French),
    (&["de"], Algorithm::German),
    (&["el"], Algorithm::Greek),
    (&["hu"], Algorithm::Hungarian),
    (&["it"], Algorithm::Italian),
    (&["no", "nb", "nn"], Algorithm::Norwegian),
    (&["pt"], Algorithm::Portuguese),
    (&["ro"], Algorithm::Romanian),
    (&["ru"], Algorithm::Russian),
    (&["es"], Algorithm::Spanish),
    (&["sv"], Algorithm::Swedish),
    (&["ta"], Algorithm::Tamil),
    (&["tr"], Algorithm::Turkish),
];

/// Words that stand in nearly every English text: the list of Lucene's `EnglishAnalyzer`.
const STOP_WORDS: [&str; 33] = [
    "a", "an", "and", "are", "as", "at", "be", "but", "by", "for", "if", "in", "into", "is", "it", "no",
    "not", "of", "on", "or", "such", "that", "the", "their", "then", "there", "these", "they", "this", "to",
    "was", "will", "with",
];

/// Words that make a question of a sentence and say nothing of what it is about, in the order of their bytes.
const QUESTION_WORDS: [&str; 32] = [
    "am", "any", "can", "could", "did", "do", "does", "doing", "done", "from", "had", "has", "have", "how",
    "i", "me", "my", "our", "should", "so", "we", "were", "what", "when", "where", "which", "who", "whom",
    "whose", "why", "would", "you",
];

/// A language with a stemmer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Language(u8);

impl Language {
    /// What texts of unknown language are read as.
    pub(crate) const ENGLISH: Self = Self(0);

    /// The language of a BCP 47 tag; English where it says nothing, or a language without a stemmer.
    pub(crate) fn of(tag: &str) -> Self {
        let primary = tag.split(['-', '_']).next().unwrap_or_default();
        let place =
            LANGUAGES.iter().position(|(tags, _)| tags.iter().any(|tag| primary.eq_ignore_ascii_case(tag)));
        place.map_or(Self::ENGLISH, |place| Self(place as u8))
    }

    /// The stem of a folded word. A word of which none is left is its own, and one whose stem were longer than a token may be, as some
    /// endings are exchanged for others.
    pub(crate) fn stem(self, word: &str) -> Cow<'_, str> {
        let stem = Stemmer::create(LANGUAGES[usize::from(self.0)].1).stem(word);
        if stem.is_empty() || stem.len() > MAX_TOKEN_BYTES { Cow::Borrowed(word) } else { stem }
    }
}

/// A set of languages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Languages(u32);

impl Languages {
    /// English alone, which every set has.
    pub(crate) const ENGLISH: Self = Self(1);

    pub(crate) fn insert(&mut self, language: Language) {
        self.0 |= 1 << language.0;
    }

    /// The set of these bits, `None` if some stand for no language.
    pub(crate) fn from_bits(bits: u32) -> Option<Self> {
        (bits & 1 == 1 && bits >> LANGUAGES.len() == 0).then_some(Self(bits))
    }

    pub(crate) fn bits(self) -> u32 {
        self.0
    }

    pub(crate) fn iter(self) -> impl Iterator<Item = Language> {
        (0..LANGUAGES.len() as u8).filter(move |place| self.0 >> place & 1 == 1).map(Language)
    }
}

/// Whether a folded word is so frequent that it is not indexed.
pub(crate) fn is_stop_word(word: &str) -> bool {
    word.len() <= 5 && STOP_WORDS.binary_search(&word).is_ok()
}

/// Whether a folded word only makes a question of a sentence.
pub(crate) fn is_question_word(word: &str) -> bool {
    QUESTION_WORDS.binary_search(&word).is_ok()
}

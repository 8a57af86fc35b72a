//! Texts by their words: an inverted index in memory that ranks by BM25.
//!
//! - *text -> terms*: [`folding`] makes letters comparable, [`tokens`] cuts them into words, names and pairs of
//!   characters, [`stems`] takes endings off, [`terms`] does all of it for a text.
//! - *term -> texts*: [`dictionary`] numbers the terms, [`postings`] holds where each stands, [`inverted`] joins both
//!   with the documents, [`content`] makes bytes of them, which [`snapshot`] keeps on disk.
//! - *question -> texts*: [`question`] reads what was typed, [`ranking`] scores, [`conditions`] looks for phrases in a
//!   text and [`marks`] for words.
//!
//! Like the graph it is derived: whoever keeps the texts can build it anew. It keeps no text itself, so phrases are
//! looked for in texts that the caller has at hand.

mod conditions;
mod content;
mod dictionary;
mod folding;
mod inverted;
mod marks;
mod postings;
mod question;
mod ranking;
mod snapshot;
mod stems;
mod terms;
mod tokens;

use std::collections::HashSet;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};

pub use folding::folded_digest;
pub use question::WordQuestion;
pub use terms::Text;

use crate::IndexError;
use crate::gate::{Gate, Shared};
use inverted::Inverted;
use ranking::Scratch;
use terms::Terms;
use tokens::Tokens;

/// Bytes of terms that are added before waiting searches get their turn: less than a millisecond of work.
const SLICE_BYTES: usize = 16 * 1024;
/// Working memories of searches that are kept for the next ones; each takes about four bytes a text.
const MAX_KEPT_SCRATCHES: usize = 4;
/// The least candidates that a search has ready for its filter.
const MIN_CANDIDATES: usize = 256;
/// By how much a search widens when its filter let too few through.
const WIDENING: usize = 16;

/// A text that was found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct WordHit {
    /// The key it was added with.
    pub key: u64,
    /// Its BM25 score, above 0. Scores of one question can be compared, those of different ones cannot.
    pub score: f32,
}

/// What a search found.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct WordsFound {
    /// The best texts, best first; of equal ones that with the higher key first.
    pub best: Vec<WordHit>,
    /// The scores of the keys that were asked for beside, in their order: 0 where no word of the question stands.
    pub also: Vec<f32>,
}

/// An inverted index in memory. All of it may be used from many threads: searches run at the same time, and wait while
/// a few texts are being added.
pub struct Words {
    /// Lets searches pass between the slices of an addition, which the lock within would not.
    gate: Gate,
    index: RwLock<Inverted>,
    /// Held by whoever adds, removes or saves. Who goes through the gate as exclusive holds it.
    writer: Mutex<Tokens>,
    scratches: Mutex<Vec<Scratch>>,
}

impl Default for Words {
    fn default() -> Self {
        Self::new()
    }
}

/// The index, while nobody changes it.
struct Reading<'a> {
    // In this order they are given back: the lock first, as the gate tells writers that the lock is free.
    index: RwLockReadGuard<'a, Inverted>,
    _pass: Shared<'a>,
}

impl Words {
    /// Makes an empty index.
    #[must_use]
    pub fn new() -> Self {
        Self::with(Inverted::new())
    }

    fn with(index: Inverted) -> Self {
        Self {
            gate: Gate::new(usize::MAX),
            index: RwLock::new(index),
            writer: Mutex::default(),
            scratches: Mutex::default(),
        }
    }

    /// Adds texts under their keys. A key that is there gets the new text; when a key stands twice in `items`, the last
    /// one counts. Many are added in slices between which searches run.
    pub fn add(&self, items: &[(u64, Text<'_>)]) {
        let mut tokens = lock(&self.writer);
        let mut slice: Vec<(u64, Terms)> = Vec::new();
        let mut bytes = 0;
        for (place, (key, text)) in items.iter().enumerate() {
            let terms = Terms::of(text, &mut tokens);
            bytes += terms.bytes();
            slice.push((*key, terms));
            if bytes >= SLICE_BYTES || place + 1 == items.len() {
                self.change(|index| slice.iter().for_each(|(key, terms)| index.add(*key, terms)));
                slice.clear();
                bytes = 0;
            }
        }
    }

    /// Removes the texts of these keys; keys that are not there are passed over.
    pub fn remove(&self, keys: &[u64]) {
        let _writer = lock(&self.writer);
        for slice in keys.chunks(SLICE_BYTES / size_of::<u64>()) {
            self.change(|index| {
                for &key in slice {
                    index.remove(key);
                }
            });
        }
    }

    /// Changes the index, and compacts it if a quarter of it is removed texts. The caller is the writer.
    fn change(&self, change: impl FnOnce(&mut Inverted)) {
        let is_sparse = {
            let _alone = self.gate.exclusive();
            let mut index = self.index.write().unwrap_or_else(PoisonError::into_inner);
            change(&mut index);
            index.is_sparse()
        };
        if is_sparse {
            // Made beside the old one, which takes as much memory again for a moment. Searches go on in the old one
            // meanwhile; they only wait while the two change places.
            let mut compacted = self.reading().index.compacted();
            let _alone = self.gate.exclusive();
            std::mem::swap(&mut *self.index.write().unwrap_or_else(PoisonError::into_inner), &mut compacted);
        }
    }

    fn reading(&self) -> Reading<'_> {
        let _pass = self.gate.shared();
        Reading { index: self.index.read().unwrap_or_else(PoisonError::into_inner), _pass }
    }

    /// Whether it holds a text under `key`.
    #[must_use]
    pub fn contains(&self, key: u64) -> bool {
        self.reading().index.doc(key).is_some()
    }

    /// How many texts it holds.
    #[must_use]
    pub fn len(&self) -> usize {
        self.reading().index.len()
    }

    /// Whether it holds no text.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The keys of all texts, sorted.
    #[must_use]
    pub fn keys(&self) -> Vec<u64> {
        let reading = self.reading();
        let mut keys: Vec<u64> = reading.index.living().map(|doc| reading.index.key(doc)).collect();
        drop(reading);
        keys.sort_unstable();
        keys
    }

    /// The memory that it takes, in bytes, without the working memory of searches: about four bytes a text for each of
    /// those that run at once.
    #[must_use]
    pub fn memory_bytes(&self) -> u64 {
        self.reading().index.memory_bytes() as u64
    }

    /// The `k` best texts whose keys `allow` lets through, and the scores of `also`, whether let through or not.
    ///
    /// A text is found when one of the question's words stands in it, in any form that its language gives it. A word
    /// that stands in no text at all also finds those that it begins (from three letters on) or, if there are none,
    /// those it is a typing error of (from five letters on). Of a long question the first 256 words are looked up, and
    /// the 64 rarest of them count.
    ///
    /// `allow` is called for the best candidates first and as seldom as can be, and never while the index is locked, so
    /// it may be slow. When it lets few through, the search begins again with more candidates.
    #[must_use]
    pub fn search(
        &self,
        question: &WordQuestion,
        k: usize,
        allow: &dyn Fn(u64) -> bool,
        also: &[u64],
    ) -> WordsFound {
        let mut wanted = if k == 0 { 0 } else { k.saturating_mul(2).max(MIN_CANDIDATES) };
        let mut found = WordsFound::default();
        let mut judged = HashSet::new();
        let mut is_first = true;
        loop {
            let (candidates, scores) = self.scored(question, |index, scratch| {
                let also = if is_first { also } else { &[] };
                (scratch.best(index, wanted), scores_of(index, scratch, also))
            });
            if is_first {
                found.also = scores;
            }
            is_first = false;
            let are_all = candidates.len() < wanted;
            for hit in candidates {
                if found.best.len() == k {
                    return found;
                }
                if judged.insert(hit.key) && allow(hit.key) {
                    found.best.push(hit);
                }
            }
            if are_all || found.best.len() >= k {
                // What was added meanwhile may stand behind what it should be before.
                ranking::sort_best(&mut found.best, k);
                return found;
            }
            wanted = wanted.saturating_mul(WIDENING);
        }
    }

    /// As [`Words::search`], but only among these keys. Keys that the index does not hold are passed over.
    #[must_use]
    pub fn search_among(&self, question: &WordQuestion, k: usize, keys: &[u64], also: &[u64]) -> WordsFound {
        let mut keys = keys.to_vec();
        keys.sort_unstable();
        keys.dedup();
        let (mut best, also) = self.scored(question, |index, scratch| {
            let scores = scores_of(index, scratch, &keys);
            let hits = keys.iter().zip(scores).map(|(&key, score)| WordHit { key, score });
            let best: Vec<WordHit> = hits.filter(|hit| hit.score > 0.0).collect();
            (best, scores_of(index, scratch, also))
        });
        ranking::sort_best(&mut best, k);
        WordsFound { best, also }
    }

    /// Scores all texts and gives them to `read`.
    fn scored<T>(&self, question: &WordQuestion, read: impl FnOnce(&Inverted, &Scratch) -> T) -> T {
        let mut scratch = lock(&self.scratches).pop().unwrap_or_default();
        let reading = self.reading();
        ranking::score(&reading.index, question, &mut scratch);
        let answer = read(&reading.index, &scratch);
        drop(reading);
        scratch.clear();
        let mut scratches = lock(&self.scratches);
        if scratches.len() < MAX_KEPT_SCRATCHES {
            scratches.push(scratch);
        }
        answer
    }

    /// The score that `text` would have if it were indexed here: for texts that come from elsewhere.
    #[must_use]
    pub fn score(&self, question: &WordQuestion, text: &Text<'_>) -> f32 {
        let terms = Terms::of(text, &mut Tokens::default());
        ranking::score_text(&self.reading().index, question, &terms)
    }

    /// Whether the text under `key` is indexed under the words of `text` exactly, and no others. Looks through the whole
    /// index: for many texts, [`Words::digests`] does so once.
    #[must_use]
    pub fn holds(&self, key: u64, text: &Text<'_>) -> bool {
        let terms = Terms::of(text, &mut Tokens::default());
        self.reading().index.holds(key, &terms)
    }

    /// What is needed to compare many texts with the index as it is now; eight bytes a text.
    #[must_use]
    pub fn digests(&self) -> WordDigests {
        WordDigests { digests: self.reading().index.digests() }
    }

    /// Writes a snapshot into the folder `dir`, which is made if need be; a snapshot that is there is replaced at once
    /// or not at all, whenever the machine stops. `store` tells the caller's store from others, and `seq` is its mark of
    /// how far the index has come. Searches go on meanwhile; additions wait until it is encoded, and not for the disk.
    ///
    /// # Errors
    /// [`IndexError::File`].
    pub fn save(&self, dir: &Path, store: u64, seq: u64) -> Result<(), IndexError> {
        let content = content::encode(&self.reading().index);
        snapshot::save(dir, &content, store, seq)
    }

    /// Reads the snapshot in `dir` with the mark it was saved under. `None` when there is none, or when it does not fit
    /// (another store, another format, or damaged), which is logged with the reason: build it anew.
    #[must_use]
    pub fn load(dir: &Path, store: u64) -> Option<(Self, u64)> {
        let (index, seq) = snapshot::load(dir, store)?;
        Some((Self::with(index), seq))
    }
}

/// Of each text of an index a digest of the terms that it is indexed under, to compare many texts with it.
#[derive(Debug, Clone)]
pub struct WordDigests {
    digests: std::collections::HashMap<u64, u64>,
}

impl WordDigests {
    /// Whether the text under `key` is indexed under the words of `text` exactly, and no others; by 64 bits, which are
    /// no defence against texts that are made to collide.
    #[must_use]
    pub fn holds(&self, key: u64, text: &Text<'_>) -> bool {
        let terms = Terms::of(text, &mut Tokens::default());
        self.digests.get(&key) == Some(&inverted::digest(&terms))
    }
}

/// The scores of keys in their order; 0 for those that the index does not hold.
fn scores_of(index: &Inverted, scratch: &Scratch, keys: &[u64]) -> Vec<f32> {
    keys.iter().map(|&key| index.doc(key).map_or(0.0, |doc| scratch.score(doc))).collect()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;

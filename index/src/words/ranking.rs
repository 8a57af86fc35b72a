//! Which texts have the words of a question, and how well they answer it: BM25.
//!
//! Robertson and Zaragoza, "The Probabilistic Relevance Framework: BM25 and Beyond" (2009), with the inverse document
//! frequency of Lucene, which is never negative. Every posting of every word is scored, one word after the other, into
//! an array with a place for each document.

use std::cmp::Ordering;

use crate::words::WordHit;
use crate::words::inverted::Inverted;
use crate::words::postings::Posting;
use crate::words::question::{QuestionWord, WordQuestion};
use crate::words::tokens::Kind;

/// How soon a word that stands in a text again stops to count more (k1 of the paper).
const SATURATION: f32 = 1.2;
/// How much longer texts are held to have a word by chance (b of the paper).
const LENGTH_WEIGHT: f32 = 0.75;
/// What a word counts that is found in place of one that stands nowhere.
const EXPANSION_WEIGHT: f32 = 0.8;
/// The most words that are scored: the rarest ones.
const MAX_SCORED_WORDS: usize = 64;
/// The most words that others are found in place of: the first ones that stand nowhere.
const MAX_EXPANDED_WORDS: usize = 8;
/// The most terms that are found in place of one word: the most frequent ones.
const MAX_EXPANSIONS: usize = 32;
/// The most terms that are looked at for it.
const MAX_CANDIDATE_TERMS: usize = 10_000;
/// The least letters of a word that may be the beginning of another.
const MIN_PREFIX_CHARS: usize = 3;
/// The least letters of a word that may be a typing error.
const MIN_EDITED_CHARS: usize = 5;
/// Documents of a block, for which is noted whether any was scored.
const BLOCK_DOCS: usize = 256;

/// The working memory of a search.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    /// Of each document its score, 0 between searches.
    scores: Vec<f32>,
    /// Of each block whether a document of it has a score.
    blocks: Vec<bool>,
    /// The postings of a word.
    postings: Vec<Posting>,
}

/// What is looked up for a word of the question.
struct Wanted {
    /// Terms whose postings are united.
    terms: Vec<u32>,
    /// Postings of them all, some perhaps of removed documents.
    postings: u64,
    weight: f32,
}

/// Scores all documents for a question into `scratch`, which [`Scratch::clear`] must clear.
pub(crate) fn score(index: &Inverted, question: &WordQuestion, scratch: &mut Scratch) {
    scratch.scores.resize(index.docs(), 0.0);
    scratch.blocks.resize(index.docs().div_ceil(BLOCK_DOCS), false);
    let mut wanted = wanted(index, question.words());
    wanted.sort_by_key(|wanted| wanted.postings);
    wanted.truncate(MAX_SCORED_WORDS);
    let spread = SATURATION * LENGTH_WEIGHT / index.mean_length();
    for word in &wanted {
        unite(index, &word.terms, &mut scratch.postings);
        let idf = inverse_frequency(index.len(), scratch.postings.len());
        let most = word.weight * idf * (SATURATION + 1.0);
        for posting in &scratch.postings {
            let length = f32::from(index.length(posting.doc).unwrap_or_default());
            let count = posting.count as f32;
            let score = most * count / (count + SATURATION * (1.0 - LENGTH_WEIGHT) + spread * length);
            scratch.scores[posting.doc as usize] += score;
            scratch.blocks[posting.doc as usize / BLOCK_DOCS] = true;
        }
    }
}

/// How telling a word is that stands in `having` of `all` texts.
fn inverse_frequency(all: usize, having: usize) -> f32 {
    let (all, having) = (all as f64, having as f64);
    (1.0 + (all - having + 0.5) / (having + 0.5)).ln() as f32
}

/// The postings of these terms in documents that are not removed, in the order of documents; where a document has
/// several of the terms, the one that it has most often counts.
fn unite(index: &Inverted, terms: &[u32], postings: &mut Vec<Posting>) {
    postings.clear();
    let has_removed = index.len() < index.docs();
    for &term in terms {
        index.lists.for_each(term, |posting| {
            if !has_removed || index.length(posting.doc).is_some() {
                postings.push(posting);
            }
        });
    }
    if terms.len() > 1 {
        // Lists that follow each other, each in order: the sort merges them.
        postings.sort_by_key(|posting| posting.doc);
        postings.dedup_by(|next, kept| {
            let is_same = next.doc == kept.doc;
            kept.count = if is_same { kept.count.max(next.count) } else { kept.count };
            is_same
        });
    }
}

/// The terms to look up. No term is looked up for two words.
fn wanted(index: &Inverted, words: &[QuestionWord]) -> Vec<Wanted> {
    let mut taken: Vec<u32> = Vec::new();
    let mut wanted = Vec::new();
    let mut missing = Vec::new();
    for word in words {
        let forms = word.forms(index.languages.iter());
        let terms: Vec<u32> = forms.iter().filter_map(|form| index.dictionary.number(form)).collect();
        if terms.iter().all(|&term| !has_text(index, term)) {
            missing.push(word);
            continue;
        }
        take(index, &terms, 1.0, &mut taken, &mut wanted);
    }
    for word in missing.into_iter().take(MAX_EXPANDED_WORDS) {
        take(index, &expansions(index, word), EXPANSION_WEIGHT, &mut taken, &mut wanted);
    }
    wanted
}

fn take(index: &Inverted, terms: &[u32], weight: f32, taken: &mut Vec<u32>, wanted: &mut Vec<Wanted>) {
    let mut free: Vec<u32> = terms.iter().filter(|&term| !taken.contains(term)).copied().collect();
    free.sort_unstable();
    free.dedup();
    if free.is_empty() {
        return;
    }
    taken.extend(&free);
    let postings = free.iter().map(|&term| u64::from(index.lists.count(term))).sum();
    wanted.push(Wanted { terms: free, postings, weight });
}

/// Whether a text that is not removed has the term.
fn has_text(index: &Inverted, term: u32) -> bool {
    let mut has = false;
    if index.len() == index.docs() {
        return index.lists.count(term) > 0;
    }
    index.lists.for_each(term, |posting| has |= index.length(posting.doc).is_some());
    has
}

/// Terms in place of a word that stands nowhere: those that it begins, or else those that it is a typing error of. A
/// number or a name with one sign changed is another one, so only words are held to be typing errors.
fn expansions(index: &Inverted, word: &QuestionWord) -> Vec<u32> {
    let chars = word.form.chars().count();
    let least = if word.kind == Kind::Gram { 1 } else { MIN_PREFIX_CHARS };
    let mut terms: Vec<u32> = Vec::new();
    if chars >= least {
        terms.extend(index.dictionary.with_prefix(&word.form).take(MAX_CANDIDATE_TERMS));
        terms.retain(|&term| has_text(index, term));
    }
    if terms.is_empty() && chars >= MIN_EDITED_CHARS && word.kind == Kind::Word {
        for form in word.forms(index.languages.iter()) {
            if form.chars().count() >= MIN_EDITED_CHARS {
                terms.extend(index.dictionary.one_edit_from(&form));
            }
        }
        terms.sort_unstable();
        terms.dedup();
        terms.retain(|&term| has_text(index, term));
    }
    terms.sort_by_key(|&term| std::cmp::Reverse(index.lists.count(term)));
    terms.truncate(MAX_EXPANSIONS);
    terms
}

/// Best first: the higher score, then the higher key.
fn best_first(a: &WordHit, b: &WordHit) -> Ordering {
    b.score.total_cmp(&a.score).then(b.key.cmp(&a.key))
}

impl Scratch {
    /// The score of a document.
    pub(crate) fn score(&self, doc: u32) -> f32 {
        self.scores.get(doc as usize).copied().unwrap_or_default()
    }

    /// The `most` best documents, best first.
    pub(crate) fn best(&self, index: &Inverted, most: usize) -> Vec<WordHit> {
        let mut hits: Vec<WordHit> = Vec::new();
        let room = most.saturating_mul(2).max(64);
        // Nothing below this is among the best.
        let mut least = 0.0;
        for block in (0..self.blocks.len()).filter(|&block| self.blocks[block]) {
            let first = block * BLOCK_DOCS;
            let scores = &self.scores[first..self.scores.len().min(first + BLOCK_DOCS)];
            for (at, &score) in scores.iter().enumerate() {
                if score > 0.0 && score >= least {
                    hits.push(WordHit { key: index.key((first + at) as u32), score });
                    if hits.len() >= room {
                        least = keep_best(&mut hits, most);
                    }
                }
            }
        }
        keep_best(&mut hits, most);
        hits.sort_unstable_by(best_first);
        hits
    }

    /// Makes it ready for the next search.
    pub(crate) fn clear(&mut self) {
        for (block, scored) in self.blocks.iter_mut().enumerate() {
            if std::mem::take(scored) {
                let first = block * BLOCK_DOCS;
                let end = self.scores.len().min(first + BLOCK_DOCS);
                self.scores[first..end].fill(0.0);
            }
        }
    }
}

/// Keeps the `most` best and says the least score among them.
pub(crate) fn keep_best(hits: &mut Vec<WordHit>, most: usize) -> f32 {
    if most == 0 || hits.len() <= most {
        hits.truncate(most);
        return if most == 0 { f32::INFINITY } else { 0.0 };
    }
    let (_, last, _) = hits.select_nth_unstable_by(most - 1, best_first);
    let least = last.score;
    hits.truncate(most);
    least
}

/// Sorts hits best first and keeps `most`.
pub(crate) fn sort_best(hits: &mut Vec<WordHit>, most: usize) {
    keep_best(hits, most);
    hits.sort_unstable_by(best_first);
}

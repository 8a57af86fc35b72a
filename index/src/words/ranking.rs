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
use crate::words::terms::Terms;
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
/// The most letters at the end of a word that may be a typing error where stems have lost theirs.
const MAX_ENDING_CHARS: usize = 3;
/// Documents of a block, for which is noted whether any was scored.
const BLOCK_DOCS: usize = 256;
/// Documents whose scores are compared at once.
const ROW_DOCS: usize = 32;

/// The working memory of a search.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    /// Of each document its score, 0 between searches.
    scores: Vec<f32>,
    /// Of each block whether a document of it has a score.
    blocks: Vec<bool>,
    /// The postings of a word.
    postings: Vec<Posting>,
    /// Documents that have the words that are required, and their scores.
    having: Vec<(u32, f32)>,
}

/// What is looked up for a word of the question.
struct Wanted {
    /// Terms whose postings are united.
    terms: Vec<u32>,
    /// Postings of them all, some perhaps of removed documents.
    postings: u64,
    weight: f32,
}

/// Scores all documents for a question into `scratch`, which [`Scratch::clear`] must clear. Those in which its phrases cannot stand, as they
/// lack a word of one, have no score.
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
    if !question.required().is_empty() {
        keep_having(index, question.required(), scratch);
    }
}

/// Takes their scores from documents that lack one of these words.
fn keep_having(index: &Inverted, required: &[QuestionWord], scratch: &mut Scratch) {
    let terms_of = |word: &QuestionWord| {
        let mut terms: Vec<u32> = word
            .forms(index.languages.iter())
            .iter()
            .filter_map(|form| index.dictionary.number(form))
            .collect();
        terms.sort_unstable();
        terms.dedup();
        terms
    };
    let mut lists: Vec<Vec<u32>> = required.iter().map(terms_of).collect();
    let count = |terms: &[u32]| terms.iter().map(|&term| u64::from(index.lists.count(term))).sum::<u64>();
    lists.sort_by_cached_key(|terms| count(terms));
    let mut having = std::mem::take(&mut scratch.having);
    having.clear();
    for (nth, terms) in lists.iter().enumerate() {
        unite(index, terms, &mut scratch.postings);
        if nth == 0 {
            having.extend(scratch.postings.iter().map(|posting| (posting.doc, scratch.score(posting.doc))));
        } else {
            let mut postings = scratch.postings.iter().map(|posting| posting.doc).peekable();
            having.retain(|(doc, _)| {
                while postings.next_if(|other| other < doc).is_some() {}
                postings.peek() == Some(doc)
            });
        }
    }
    scratch.clear();
    for &(doc, score) in &having {
        scratch.scores[doc as usize] = score;
        scratch.blocks[doc as usize / BLOCK_DOCS] = true;
    }
    scratch.having = having;
}

/// The score that a text with these terms would have if it were one of the index, in which words are as rare as they are.
pub(crate) fn score_text(index: &Inverted, question: &WordQuestion, terms: &Terms) -> f32 {
    let spread = SATURATION * LENGTH_WEIGHT / index.mean_length();
    let length = terms.length() as f32;
    let mut postings = Vec::new();
    let mut languages = index.languages;
    languages.insert(terms.language());
    let mut sum = 0.0;
    for word in question.words().iter().take(MAX_SCORED_WORDS) {
        let forms = word.forms(languages.iter());
        let count_of = |form: &String| terms.iter().filter(|term| *term == form.as_str()).count();
        let count = forms.iter().map(count_of).max().unwrap_or_default() as f32;
        if count == 0.0 {
            continue;
        }
        let known: Vec<u32> = forms.iter().filter_map(|form| index.dictionary.number(form)).collect();
        unite(index, &known, &mut postings);
        let idf = inverse_frequency(index.len(), postings.len());
        let score = count / (count + SATURATION * (1.0 - LENGTH_WEIGHT) + spread * length);
        sum += f32::from(word.count) * idf * (SATURATION + 1.0) * score;
    }
    sum
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

/// The terms to look up, each once: another form of a word that was met makes that one count more.
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
        take(index, &terms, f32::from(word.count), &mut taken, &mut wanted);
    }
    for word in missing.into_iter().take(MAX_EXPANDED_WORDS) {
        let weight = EXPANSION_WEIGHT * f32::from(word.count);
        take(index, &expansions(index, word), weight, &mut taken, &mut wanted);
    }
    wanted
}

fn take(index: &Inverted, terms: &[u32], weight: f32, taken: &mut Vec<u32>, wanted: &mut Vec<Wanted>) {
    let mut free: Vec<u32> = terms.iter().filter(|&term| !taken.contains(term)).copied().collect();
    free.sort_unstable();
    free.dedup();
    if free.is_empty() {
        if let Some(same) =
            wanted.iter_mut().find(|wanted| terms.iter().any(|term| wanted.terms.contains(term)))
        {
            same.weight += weight;
        }
        return;
    }
    taken.extend(&free);
    let postings = free.iter().map(|&term| u64::from(index.lists.count(term))).sum();
    wanted.push(Wanted { terms: free, postings, weight });
}

/// Whether a text that is not removed has the term.
fn has_text(index: &Inverted, term: u32) -> bool {
    index.lists.any(term, |posting| index.length(posting.doc).is_some())
}

/// Terms in place of a word that stands nowhere: those that it begins, or else those that it is a typing error of, or
/// else, as the terms are stems and the error may be in the ending, the longest that begins it. A number or a name with
/// one sign changed is another one, so only words are held to be typing errors.
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
        if terms.is_empty() {
            let most = MAX_ENDING_CHARS.min(chars - MIN_EDITED_CHARS);
            let starts = word.form.char_indices().rev().take(most).map(|(at, _)| &word.form[..at]);
            let mut known = starts.filter_map(|start| index.dictionary.number(start));
            terms.extend(known.find(|&term| has_text(index, term)));
        }
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
        // Nothing that is not before this is among the best.
        let mut last = WordHit { key: 0, score: f32::MIN_POSITIVE };
        // The newest first: among equals they win, so the others are passed over.
        for block in (0..self.blocks.len()).rev().filter(|&block| self.blocks[block]) {
            let first = block * BLOCK_DOCS;
            let scores = &self.scores[first..self.scores.len().min(first + BLOCK_DOCS)];
            for (row, scores) in scores.chunks(ROW_DOCS).enumerate().rev() {
                // Without a branch for each, so that a row is compared at once.
                if !scores.iter().fold(false, |any, &score| any | (score >= last.score)) {
                    continue;
                }
                for (at, &score) in scores.iter().enumerate().rev().filter(|(_, score)| **score >= last.score)
                {
                    let hit = WordHit { key: index.key((first + row * ROW_DOCS + at) as u32), score };
                    if score > last.score || best_first(&hit, &last).is_lt() {
                        hits.push(hit);
                    }
                }
                if hits.len() >= room {
                    last = keep_best(&mut hits, most).unwrap_or(last);
                }
            }
        }
        sort_best(&mut hits, most);
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

/// Keeps the `most` best and says which is the last of them, if some had to go.
fn keep_best(hits: &mut Vec<WordHit>, most: usize) -> Option<WordHit> {
    let last = if most > 0 && hits.len() > most {
        Some(*hits.select_nth_unstable_by(most - 1, best_first).1)
    } else {
        None
    };
    hits.truncate(most);
    last
}

/// Sorts hits best first and keeps `most`.
pub(crate) fn sort_best(hits: &mut Vec<WordHit>, most: usize) {
    keep_best(hits, most);
    hits.sort_unstable_by(best_first);
}

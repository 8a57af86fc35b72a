//! The index itself, for one user at a time: documents, their terms and where each term stands.
//!
//! A document is a text under a key; it has a number, in the order in which texts came. A removed document stays in the
//! lists of its terms and is passed over, until [`Inverted::compacted`] makes an index without it.

use std::collections::HashMap;
use std::hash::BuildHasher as _;

use hashbrown::hash_table::Entry;
use hashbrown::{DefaultHashBuilder, HashTable};

use crate::words::dictionary::Dictionary;
use crate::words::postings::{Lists, Posting, push_tight};
use crate::words::stems::Languages;
use crate::words::terms::Terms;

/// The length of a removed document. Longer texts count as one position shorter than this.
const REMOVED: u16 = u16::MAX;

/// Texts by their words.
#[derive(Debug)]
pub(crate) struct Inverted {
    pub(crate) dictionary: Dictionary,
    /// Where each term of the dictionary stands.
    pub(crate) lists: Lists,
    /// Of each document, its key.
    keys: Vec<u64>,
    /// Of each document, how many positions of indexed words it has, or [`REMOVED`].
    lengths: Vec<u16>,
    /// The documents that are not removed, found by their keys.
    docs: HashTable<u32>,
    hasher: DefaultHashBuilder,
    /// The lengths of documents that are not removed, together.
    positions: u64,
    /// The languages of texts that were added. One stays when its last text goes: a question then has a few forms too
    /// many.
    pub(crate) languages: Languages,
}

impl Inverted {
    pub(crate) fn new() -> Self {
        Self {
            dictionary: Dictionary::default(),
            lists: Lists::default(),
            keys: Vec::new(),
            lengths: Vec::new(),
            docs: HashTable::new(),
            hasher: DefaultHashBuilder::default(),
            positions: 0,
            languages: Languages::ENGLISH,
        }
    }

    /// How many documents are not removed.
    pub(crate) fn len(&self) -> usize {
        self.docs.len()
    }

    /// How many documents there are, removed ones included. Their numbers are less.
    pub(crate) fn docs(&self) -> usize {
        self.keys.len()
    }

    /// The mean length of documents in positions, at least 1.
    pub(crate) fn mean_length(&self) -> f32 {
        (self.positions as f64 / self.len().max(1) as f64).max(1.0) as f32
    }

    /// The length of a document in positions, `None` when it is removed.
    pub(crate) fn length(&self, doc: u32) -> Option<u16> {
        let length = self.lengths[doc as usize];
        (length != REMOVED).then_some(length)
    }

    pub(crate) fn key(&self, doc: u32) -> u64 {
        self.keys[doc as usize]
    }

    /// The document of a key.
    pub(crate) fn doc(&self, key: u64) -> Option<u32> {
        self.docs.find(self.hasher.hash_one(key), |&doc| self.keys[doc as usize] == key).copied()
    }

    /// The documents that are not removed, in their order.
    pub(crate) fn living(&self) -> impl Iterator<Item = u32> {
        (0..self.docs() as u32).filter(|&doc| self.length(doc).is_some())
    }

    /// Adds a text under a key, in place of what was there.
    pub(crate) fn add(&mut self, key: u64, terms: &Terms) {
        self.remove(key);
        let Some(doc) = self.push_doc(key, terms.length()) else { return };
        self.languages.insert(terms.language());
        let mut numbers: Vec<u32> = terms
            .iter()
            .filter_map(|term| self.dictionary.number(term).or_else(|| self.push_term(term)))
            .collect();
        numbers.sort_unstable();
        for same in numbers.chunk_by(|a, b| a == b) {
            let _has_room = self.lists.push(same[0], Posting { doc, count: same.len() as u32 });
        }
    }

    /// Appends a document; `None` if there are as many as there are numbers, or one with this key.
    pub(crate) fn push_doc(&mut self, key: u64, length: usize) -> Option<u32> {
        let doc = u32::try_from(self.keys.len()).ok()?;
        let Self { keys, docs, hasher, .. } = self;
        let hash = hasher.hash_one(key);
        let rehash = |&doc: &u32| hasher.hash_one(keys[doc as usize]);
        let Entry::Vacant(vacant) = docs.entry(hash, |&doc| keys[doc as usize] == key, rehash) else {
            return None;
        };
        vacant.insert(doc);
        let length = bounded(length);
        push_tight(&mut self.keys, key);
        push_tight(&mut self.lengths, length);
        self.positions += u64::from(length);
        Some(doc)
    }

    /// Makes a term that is not there the next; `None` if there is no room.
    pub(crate) fn push_term(&mut self, term: &str) -> Option<u32> {
        let number = self.dictionary.push(term)?;
        self.lists.push_list();
        debug_assert_eq!(self.lists.len(), self.dictionary.len());
        Some(number)
    }

    /// Makes room for documents.
    pub(crate) fn reserve(&mut self, docs: usize) {
        let Self { keys, docs: table, hasher, .. } = self;
        table.reserve(docs, |&doc| hasher.hash_one(keys[doc as usize]));
        self.keys.reserve_exact(docs);
        self.lengths.reserve_exact(docs);
    }

    /// Whether the document of a key has exactly these terms.
    pub(crate) fn holds(&self, key: u64, terms: &Terms) -> bool {
        let Some(doc) = self.doc(key) else { return false };
        let mut wanted: HashMap<&str, u32> = HashMap::new();
        for term in terms.iter() {
            *wanted.entry(term).or_default() += 1;
        }
        let mut is_same = self.lengths[doc as usize] == bounded(terms.length());
        for number in self.dictionary.in_order() {
            let mut count = 0;
            self.lists.for_each(number, |posting| {
                if posting.doc == doc {
                    count = posting.count;
                }
            });
            is_same &= count == wanted.remove(self.dictionary.term(number)).unwrap_or_default();
        }
        is_same && wanted.is_empty()
    }

    /// Of each key what [`digest`] is for its terms.
    pub(crate) fn digests(&self) -> HashMap<u64, u64> {
        let start = |doc: u32| digest_of_length(usize::from(self.lengths[doc as usize]));
        let mut digests: Vec<u64> = (0..self.docs() as u32).map(start).collect();
        for number in self.dictionary.in_order() {
            let hash = hash_of(self.dictionary.term(number));
            self.lists.for_each(number, |posting| {
                let digest = &mut digests[posting.doc as usize];
                *digest = digest.wrapping_add(digest_of_term(hash, posting.count));
            });
        }
        self.living().map(|doc| (self.key(doc), digests[doc as usize])).collect()
    }

    /// Removes the text of a key; says whether there was one.
    pub(crate) fn remove(&mut self, key: u64) -> bool {
        let Self { keys, docs, hasher, .. } = self;
        let Ok(entry) = docs.find_entry(hasher.hash_one(key), |&doc| keys[doc as usize] == key) else {
            return false;
        };
        let (doc, _) = entry.remove();
        let length = std::mem::replace(&mut self.lengths[doc as usize], REMOVED);
        self.positions -= u64::from(length);
        true
    }

    /// Whether so many documents are removed that an index without them is worth making.
    pub(crate) fn is_sparse(&self) -> bool {
        let removed = self.docs() - self.len();
        removed > 0 && removed * 4 >= self.docs()
    }

    /// For each document its number in an index without the removed ones.
    pub(crate) fn numbers_without_removed(&self) -> Vec<Option<u32>> {
        let mut next = 0;
        let number = |doc| {
            self.length(doc)?;
            next += 1;
            Some(next - 1)
        };
        (0..self.docs() as u32).map(number).collect()
    }

    /// The same index without what is left of removed documents.
    pub(crate) fn compacted(&self) -> Self {
        let mut compacted = Self::new();
        compacted.languages = self.languages;
        for doc in self.living() {
            compacted.push_doc(self.key(doc), usize::from(self.lengths[doc as usize]));
        }
        let numbers = self.numbers_without_removed();
        let mut list = Vec::new();
        for term in self.dictionary.in_order() {
            list.clear();
            self.lists.for_each(term, |posting| {
                list.extend(numbers[posting.doc as usize].map(|doc| Posting { doc, count: posting.count }));
            });
            if list.is_empty() {
                continue;
            }
            if let Some(number) = compacted.push_term(self.dictionary.term(term)) {
                for &posting in &list {
                    let _has_room = compacted.lists.push(number, posting);
                }
            }
        }
        compacted
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        self.dictionary.memory_bytes()
            + self.lists.memory_bytes()
            + self.keys.capacity() * size_of::<u64>()
            + self.lengths.capacity() * size_of::<u16>()
            + self.docs.allocation_size()
    }
}

/// A length as it is kept.
fn bounded(length: usize) -> u16 {
    length.min(usize::from(REMOVED) - 1) as u16
}

/// What stands for terms, the number of times each occurs, and their text's length, in any order.
pub(crate) fn digest(terms: &Terms) -> u64 {
    let mut counts: HashMap<&str, u32> = HashMap::new();
    for term in terms.iter() {
        *counts.entry(term).or_default() += 1;
    }
    let start = digest_of_length(usize::from(bounded(terms.length())));
    counts
        .iter()
        .fold(start, |digest, (term, count)| digest.wrapping_add(digest_of_term(hash_of(term), *count)))
}

fn hash_of(term: &str) -> u64 {
    let mut hash = [0; 8];
    hash.copy_from_slice(&blake3::hash(term.as_bytes()).as_bytes()[..8]);
    u64::from_le_bytes(hash)
}

/// The finalizer of SplitMix64 (Steele et al., 2014), so that counts do not cancel each other out.
fn digest_of_term(hash: u64, count: u32) -> u64 {
    let mut mixed = hash.wrapping_add(u64::from(count).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    mixed = (mixed ^ mixed >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ mixed >> 31
}

fn digest_of_length(length: usize) -> u64 {
    digest_of_term(0, length as u32)
}

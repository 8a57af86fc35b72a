//! The terms that occur, each with a number: found by their letters, by how they begin, and by what is nearly them.

use std::hash::BuildHasher as _;

use hashbrown::{DefaultHashBuilder, HashTable};

use crate::words::postings::push_tight;

/// The most terms of a block of the order, so that one is quickly put between others.
const MAX_BLOCK_TERMS: usize = 256;
/// The most characters that are tried in one place of a word; scripts with alphabets have fewer.
const MAX_TRIED_CHARS: usize = 128;

/// Terms, numbered as they came.
#[derive(Debug, Default)]
pub(crate) struct Dictionary {
    /// All terms, one after the other.
    text: String,
    /// Where each ends in `text`.
    ends: Vec<u32>,
    /// The numbers, found by their terms.
    numbers: HashTable<u32>,
    hasher: DefaultHashBuilder,
    /// The numbers in the order of their terms, in blocks of which none is empty.
    order: Vec<Vec<u32>>,
}

impl Dictionary {
    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    /// The term of a number.
    pub(crate) fn term(&self, number: u32) -> &str {
        term(&self.text, &self.ends, number)
    }

    pub(crate) fn number(&self, wanted: &str) -> Option<u32> {
        let hash = self.hasher.hash_one(wanted);
        self.numbers.find(hash, |&number| self.term(number) == wanted).copied()
    }

    /// Makes room for terms.
    pub(crate) fn reserve(&mut self, terms: usize) {
        let Self { text, ends, numbers, hasher, .. } = self;
        numbers.reserve(terms, |&number| hasher.hash_one(term(text, ends, number)));
    }

    /// Makes `wanted`, which is not there, the next term; `None` if 4 GiB of terms are there already.
    pub(crate) fn push(&mut self, wanted: &str) -> Option<u32> {
        let number = u32::try_from(self.ends.len()).ok()?;
        let end = u32::try_from(self.text.len() + wanted.len()).ok()?;
        self.place(wanted, number);
        if self.text.len() + wanted.len() > self.text.capacity() {
            self.text.reserve_exact((self.text.len() / 8).max(1024) + wanted.len());
        }
        self.text.push_str(wanted);
        push_tight(&mut self.ends, end);
        let Self { text, ends, numbers, hasher, .. } = self;
        let hash = hasher.hash_one(wanted);
        numbers.insert_unique(hash, number, |&number| hasher.hash_one(term(text, ends, number)));
        Some(number)
    }

    /// Puts a number where its term belongs in the order.
    fn place(&mut self, wanted: &str, number: u32) {
        let last = self.order.last().and_then(|terms| terms.last());
        // Those of a snapshot come in order.
        let is_last = last.is_none_or(|&last| self.term(last) < wanted);
        let (block, at) = if is_last { (self.order.len(), 0) } else { self.seek(wanted) };
        match self.order.get_mut(block) {
            Some(terms) => terms.insert(at, number),
            // Behind all others.
            None => match self.order.last_mut() {
                Some(terms) if terms.len() < MAX_BLOCK_TERMS => return push_tight(terms, number),
                _ => return self.order.push(vec![number]),
            },
        }
        let terms = &mut self.order[block];
        if terms.len() > MAX_BLOCK_TERMS {
            let rest = terms.split_off(MAX_BLOCK_TERMS / 2);
            terms.shrink_to_fit();
            self.order.insert(block + 1, rest);
        }
    }

    /// The first place in the order whose term is not less than `wanted`: a block and a place in it.
    fn seek(&self, wanted: &str) -> (usize, usize) {
        let less = |&number: &u32| self.term(number) < wanted;
        let block = self.order.partition_point(|terms| terms.last().is_some_and(less));
        (block, self.order.get(block).map_or(0, |terms| terms.partition_point(less)))
    }

    /// The numbers of the terms from `first` on, in the order of the terms.
    fn from(&self, first: &str) -> impl Iterator<Item = u32> {
        let (block, at) = self.seek(first);
        self.order.iter().skip(block).flatten().skip(at).copied()
    }

    /// All numbers, in the order of their terms.
    pub(crate) fn in_order(&self) -> impl Iterator<Item = u32> {
        self.order.iter().flatten().copied()
    }

    /// The terms that begin with `prefix`, in their order.
    pub(crate) fn with_prefix(&self, prefix: &str) -> impl Iterator<Item = u32> {
        self.from(prefix).take_while(move |&number| self.term(number).starts_with(prefix))
    }

    /// The terms that become `word` by one edit: a character that is left out, put in or another, or two neighbours
    /// that change places (Damerau, 1964). In no order, some of them more than once.
    pub(crate) fn one_edit_from(&self, word: &str) -> Vec<u32> {
        let borders: Vec<usize> = word.char_indices().map(|(at, _)| at).chain([word.len()]).collect();
        let mut found = Vec::new();
        let mut tried = String::with_capacity(word.len() + 8);
        let mut find = |parts: [&str; 3]| {
            tried.clear();
            tried.extend(parts);
            found.extend(self.number(&tried));
        };
        for (place, &at) in borders.iter().enumerate() {
            let (head, rest) = word.split_at(at);
            let next = borders.get(place + 1).copied();
            if let Some(next) = next {
                find([head, &word[next..], ""]);
                if let Some(&after) = borders.get(place + 2) {
                    find([head, &word[next..after], &format!("{}{}", &word[at..next], &word[after..])]);
                }
            }
            for ch in self.chars_after(head) {
                let ch = ch.encode_utf8(&mut [0; 4]).to_owned();
                find([head, &ch, rest]);
                if let Some(next) = next {
                    find([head, &ch, &word[next..]]);
                }
            }
        }
        found
    }

    /// The characters that follow `head` in terms, found by leaps through the order.
    fn chars_after(&self, head: &str) -> Vec<char> {
        let mut chars: Vec<char> = Vec::new();
        let mut from = head.to_owned();
        while chars.len() < MAX_TRIED_CHARS {
            let next = self.from(&from).map(|number| self.term(number)).find(|&term| term != head);
            let Some(next) = next.and_then(|term| term.strip_prefix(head)?.chars().next()) else { break };
            chars.push(next);
            let Some(after) = following(next) else { break };
            from.truncate(head.len());
            from.push(after);
        }
        chars
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        let order: usize = self.order.iter().map(|terms| terms.capacity() * size_of::<u32>()).sum();
        self.text.capacity()
            + self.ends.capacity() * size_of::<u32>()
            + self.numbers.allocation_size()
            + order
            + self.order.capacity() * size_of::<Vec<u32>>()
    }
}

fn term<'a>(text: &'a str, ends: &[u32], number: u32) -> &'a str {
    let number = number as usize;
    let start = number.checked_sub(1).map_or(0, |before| ends[before] as usize);
    &text[start..ends[number] as usize]
}

/// The character after another, `None` after the last.
fn following(ch: char) -> Option<char> {
    (ch as u32 + 1..=char::MAX as u32).find_map(char::from_u32)
}

#[cfg(test)]
mod tests;

//! The index as bytes.
//!
//! All numbers are little-endian: how many documents and terms there are and their languages, 32 bits each; the keys, 64
//! bits each; the lengths, 16 bits each; then each term in ascending order: the number of its bytes (8 bits) and those,
//! the number of bytes of its postings (32 bits) and those, as in [`postings`]. No removed document is in it. The reader
//! believes nothing, and reserves no more than the bytes it was given can fill.

use crate::words::inverted::Inverted;
use crate::words::postings;
use crate::words::stems::Languages;
use crate::words::tokens::MAX_TOKEN_BYTES;

/// An index as bytes.
pub(crate) struct Content {
    pub(crate) bytes: Vec<u8>,
    /// How many documents they hold.
    pub(crate) docs: usize,
}

/// The index as bytes.
pub(crate) fn encode(index: &Inverted) -> Content {
    let mut bytes = Vec::new();
    let mut put = |number: u32| bytes.extend(number.to_le_bytes());
    put(index.len() as u32);
    put(0);
    put(index.languages.bits());
    for doc in index.living() {
        bytes.extend(index.key(doc).to_le_bytes());
    }
    for doc in index.living() {
        bytes.extend(index.length(doc).unwrap_or_default().to_le_bytes());
    }
    let numbers = index.numbers_without_removed();
    let mut list = Vec::new();
    let mut terms: u32 = 0;
    for term in index.dictionary.in_order() {
        list.clear();
        let mut next = 0;
        index.lists.for_each(term, |posting| {
            let Some(doc) = numbers[posting.doc as usize] else { return };
            let (code, length) = postings::encode(doc - next, posting.count);
            list.extend_from_slice(&code[..length]);
            next = doc + 1;
        });
        if list.is_empty() {
            continue;
        }
        terms += 1;
        let term = index.dictionary.term(term);
        bytes.push(term.len() as u8);
        bytes.extend(term.as_bytes());
        bytes.extend((list.len() as u32).to_le_bytes());
        bytes.extend(&list);
    }
    bytes[4..8].copy_from_slice(&terms.to_le_bytes());
    Content { bytes, docs: index.len() }
}

/// The index of these bytes; `None` if they make none.
pub(crate) fn decode(mut bytes: &[u8]) -> Option<Inverted> {
    let [docs, terms, languages] = [take_u32(&mut bytes)?, take_u32(&mut bytes)?, take_u32(&mut bytes)?];
    let mut index = Inverted::new();
    index.languages = Languages::from_bits(languages)?;
    let keys = take(&mut bytes, (docs as usize).checked_mul(8)?)?;
    let lengths = take(&mut bytes, docs as usize * 2)?;
    index.reserve(docs as usize);
    for (key, length) in keys.as_chunks().0.iter().zip(lengths.as_chunks().0) {
        let length = u16::from_le_bytes(*length);
        let doc = index.push_doc(u64::from_le_bytes(*key), usize::from(length))?;
        // The length of a removed document is no length.
        (index.length(doc) == Some(length)).then_some(())?;
    }
    // Each takes six bytes at least.
    index.dictionary.reserve((terms as usize).min(bytes.len() / 6));
    let mut before = "";
    for _ in 0..terms {
        let length = usize::from(*take(&mut bytes, 1)?.first()?);
        let term = str::from_utf8(take(&mut bytes, length)?).ok()?;
        if term <= before || term.len() > MAX_TOKEN_BYTES {
            return None;
        }
        let length = take_u32(&mut bytes)? as usize;
        let list = take(&mut bytes, length)?;
        let number = index.push_term(term)?;
        index.lists.fill(number, list, docs)?;
        before = term;
    }
    bytes.is_empty().then_some(index)
}

fn take<'a>(bytes: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some(taken)
}

fn take_u32(bytes: &mut &[u8]) -> Option<u32> {
    let taken = bytes.split_off(..4)?;
    Some(u32::from_le_bytes(taken.try_into().ok()?))
}

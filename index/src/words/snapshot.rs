//! The index on disk.
//!
//! The content, all numbers little-endian: the number of documents and of terms and the languages, 32 bits each; the
//! keys, 64 bits each; the lengths, 16 bits each; then each term in ascending order: its bytes and their number (8
//! bits), the number of bytes of its postings (32 bits) and those, as in [`postings`](super::postings). No removed
//! document is in it. The reader believes nothing and reserves no more than the bytes it was given can fill.

use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::IndexError;
use crate::snapshot::{self, Names};
use crate::words::inverted::Inverted;
use crate::words::postings::{self, Posting};
use crate::words::stems::Languages;
use crate::words::tokens::MAX_TOKEN_BYTES;

/// The version of what is on disk, and of how texts are read, since a question read in another way would miss them;
/// another one is not read.
const FORMAT: u32 = 1;
const NAMES: Names = Names {
    description: "words.json",
    partial_description: "words-partial.json",
    prefix: "words-",
    partial: "words-partial",
};

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Description {
    format: u32,
    store: u64,
    seq: u64,
    count: usize,
    words: String,
    blake3: String,
}

/// Writes an encoded index into `dir`.
pub(crate) fn save(
    dir: &Path,
    (bytes, count): &(Vec<u8>, usize),
    store: u64,
    seq: u64,
) -> Result<(), IndexError> {
    snapshot::save(
        dir,
        &NAMES,
        |path| fs::write(path, bytes).map_err(IndexError::file(path)),
        |content| Description {
            format: FORMAT,
            store,
            seq,
            count: *count,
            words: content.name,
            blake3: content.blake3,
        },
    )
}

/// Reads the snapshot in `dir`, with the caller's mark.
pub(crate) fn load(dir: &Path, store: u64) -> Option<(Inverted, u64)> {
    snapshot::load(dir, &NAMES, || try_load(dir, store))
}

/// Loads, or says why not.
fn try_load(dir: &Path, store: u64) -> Result<(Inverted, u64), String> {
    let description: Description = snapshot::read_description(dir, &NAMES)?;
    if description.format != FORMAT {
        return Err(format!("it has format {}, this program reads {FORMAT}", description.format));
    }
    if description.store != store {
        return Err(format!("it was made for the store {}, not for {store}", description.store));
    }
    let path = snapshot::path_of(dir, &description.words)?;
    let bytes = fs::read(path).map_err(|error| format!("its words are unreadable: {error}"))?;
    if blake3::hash(&bytes).to_string() != description.blake3 {
        return Err("its words are damaged: the hash differs".to_owned());
    }
    let index = decode(&bytes).ok_or("its words make no index")?;
    if index.len() != description.count {
        return Err("its words are not the ones described".to_owned());
    }
    Ok((index, description.seq))
}

/// The index as bytes, and how many documents they hold.
pub(crate) fn encode(index: &Inverted) -> (Vec<u8>, usize) {
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
    (bytes, index.len())
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
    let mut before = "";
    for _ in 0..terms {
        let length = usize::from(*take(&mut bytes, 1)?.first()?);
        let term = str::from_utf8(take(&mut bytes, length)?).ok()?;
        if term <= before || term.len() > MAX_TOKEN_BYTES {
            return None;
        }
        let length = take_u32(&mut bytes)? as usize;
        let list = take(&mut bytes, length)?;
        read_list(&mut index, term, list, docs)?;
        before = term;
    }
    bytes.is_empty().then_some(index)
}

/// Appends a term with its list.
fn read_list(index: &mut Inverted, term: &str, list: &[u8], docs: u32) -> Option<()> {
    let number = index.push_term(term)?;
    let (mut at, mut next) = (0, 0u32);
    while at < list.len() {
        let (gap, count) = postings::decode(list, &mut at)?;
        let doc = next.checked_add(gap).filter(|&doc| doc < docs)?;
        index.lists.push(number, Posting { doc, count }).then_some(())?;
        next = doc + 1;
    }
    (next > 0).then_some(())
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

//! The index on disk: its content as bytes, and what describes them.

use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::IndexError;
use crate::snapshot::{self, Names};
use crate::words::content::{self, Content};
use crate::words::inverted::Inverted;

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
pub(crate) fn save(dir: &Path, content: &Content, store: u64, seq: u64) -> Result<(), IndexError> {
    snapshot::save(
        dir,
        &NAMES,
        |path| fs::write(path, &content.bytes).map_err(IndexError::file(path)),
        |file| Description {
            format: FORMAT,
            store,
            seq,
            count: content.docs,
            words: file.name,
            blake3: file.blake3,
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
    let index = content::decode(&bytes).ok_or("its words make no index")?;
    if index.len() != description.count {
        return Err("its words are not the ones described".to_owned());
    }
    Ok((index, description.seq))
}

#[cfg(test)]
mod tests;

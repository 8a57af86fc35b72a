//! A snapshot of bytes that somebody else derives from a store, one number or a few for each key.
//!
//! What the bytes mean is its caller's; here is only that they are whole, of the same store, and how far they had come.

use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::IndexError;
use crate::snapshot::{self, Names};

const NAMES: Names = Names {
    description: "column.json",
    partial_description: "column-partial.json",
    prefix: "column-",
    partial: "column-partial",
};

/// Bytes of a column, and what they were derived from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// How its caller lays out the bytes: another number is not read.
    pub format: u32,
    /// Tells the caller's store from others.
    pub store: u64,
    /// How far it has come.
    pub seq: u64,
    /// What it says.
    pub bytes: Vec<u8>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Description {
    format: u32,
    store: u64,
    seq: u64,
    column: String,
    blake3: String,
}

impl Column {
    /// Writes a snapshot into the folder `dir`, which is made if need be; one that is there is replaced at once or not at all,
    /// whenever the machine stops.
    ///
    /// # Errors
    /// [`IndexError::File`].
    pub fn save(&self, dir: &Path) -> Result<(), IndexError> {
        let Self { format, store, seq, .. } = *self;
        snapshot::save(
            dir,
            &NAMES,
            |path| fs::write(path, &self.bytes).map_err(IndexError::file(path)),
            |file| Description { format, store, seq, column: file.name, blake3: file.blake3 },
        )
    }

    /// Reads the snapshot in `dir`. None when there is none, or when it does not fit (another store, another format, or damaged),
    /// which is logged with the reason.
    #[must_use]
    pub fn load(dir: &Path, format: u32, store: u64) -> Option<Self> {
        snapshot::load(dir, &NAMES, || {
            let description: Description = snapshot::read_description(dir, &NAMES)?;
            if (description.format, description.store) != (format, store) {
                return Err("it is of another format or another store".to_owned());
            }
            let path = snapshot::path_of(dir, &description.column)?;
            let bytes = fs::read(path).map_err(|error| format!("it is unreadable: {error}"))?;
            if blake3::hash(&bytes).to_string() != description.blake3 {
                return Err("it is damaged: the hash differs".to_owned());
            }
            Ok(Self { format, store, seq: description.seq, bytes })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_comes_back_whole_and_only_for_its_store_and_format() {
        let dir = tempfile::tempdir().unwrap();
        let column = Column { format: 3, store: 7, seq: 11, bytes: b"numbers".to_vec() };
        assert_eq!(Column::load(dir.path(), 3, 7), None);
        column.save(dir.path()).unwrap();
        assert_eq!(Column::load(dir.path(), 3, 7), Some(column.clone()));
        assert_eq!(Column::load(dir.path(), 3, 8), None);
        assert_eq!(Column::load(dir.path(), 4, 7), None);
        for entry in fs::read_dir(dir.path()).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_none() {
                fs::write(path, b"numbery").unwrap();
            }
        }
        assert_eq!(Column::load(dir.path(), 3, 7), None);
    }
}

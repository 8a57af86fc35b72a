//! What is known of a folder's files, kept from one start to the next. It is derived: without it, every file is read once more,
//! and what the store holds of the folder stands for what was known.

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::difference::Known;
use super::list::Source;
use crate::data_folder::{self, INDEX, private_dir};

/// The folder of all states, below that of the indexes.
const FOLDER: &str = "sources";

/// What is kept of a file, as a part of the terms: states that were made before it was have every file read once more.
const WHAT_IS_KEPT: &str = "links";

/// What is known of a folder.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct State {
    /// The terms under which its files were read. Where they differ from now, all are read again.
    pub terms: String,
    /// When the last look at it ended, in milliseconds since 1970-01-01 UTC.
    pub looked_ms: u64,
    /// Its files.
    pub files: Known,
}

/// Where the states are.
#[derive(Debug, Clone)]
pub(super) struct States {
    dir: PathBuf,
}

impl States {
    /// The states in a data folder.
    pub fn new(data_dir: &Path) -> Self {
        Self { dir: data_dir.join(INDEX).join(FOLDER) }
    }

    /// What is known of a folder; None when nothing is, or it cannot be read.
    pub fn load(&self, source: &Source) -> Option<State> {
        let bytes = std::fs::read(self.path(source)).ok()?;
        serde_json::from_slice(&bytes)
            .inspect_err(
                |error| tracing::warn!(%error, folder = %source.folder.display(), "every file is read again"),
            )
            .ok()
    }

    /// Keeps what is known.
    ///
    /// # Errors
    /// What the system says.
    pub fn save(&self, source: &Source, state: &State) -> io::Result<()> {
        private_dir(&self.dir)?;
        data_folder::write(&self.path(source), &serde_json::to_vec(state)?)
    }

    /// Forgets what is known.
    pub fn remove(&self, source: &Source) {
        // One that stays is harmless: it is read when the folder is added again.
        let _ = std::fs::remove_file(self.path(source));
    }

    fn path(&self, source: &Source) -> PathBuf {
        let folder = source.folder.as_os_str().as_encoded_bytes();
        self.dir.join(format!("{}.json", &blake3::hash(folder).to_hex()[..16]))
    }
}

/// A mark of the terms that is another when any of them is.
pub(super) fn mark(source: &Source) -> String {
    let mut terms = serde_json::to_vec(&source.terms).unwrap_or_default();
    terms.extend(WHAT_IS_KEPT.as_bytes());
    blake3::hash(&terms).to_hex()[..16].to_owned()
}

#[cfg(test)]
mod tests {
    use super::super::difference::{Seen, Stamp};
    use super::super::list::tests::source;
    use super::*;
    use crate::memory::document::Neighbour;

    #[test]
    fn what_is_known_is_found_again_and_a_damaged_file_is_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let (states, one, two) = (States::new(dir.path()), source("/a"), source("/b"));
        assert_eq!(states.load(&one), None);
        let seen = Seen {
            stamp: Stamp { bytes: 1, modified_ns: 2 },
            hash: "ab".into(),
            is_added: true,
            refused: None,
            missing_since_ms: Some(3),
            links: vec![Neighbour { to: "b".into(), ..Neighbour::default() }],
        };
        let files = [("file:///a/x.md".to_owned(), seen)].into();
        let state = State { terms: mark(&one), looked_ms: 8, files };
        states.save(&one, &state).unwrap();
        assert_eq!((states.load(&one), states.load(&two)), (Some(state), None));
        std::fs::write(states.path(&one), "{").unwrap();
        assert_eq!(states.load(&one), None);
        states.remove(&one);
        assert!(!states.path(&one).exists());
    }

    #[test]
    fn other_terms_have_another_mark() {
        let one = source("/a");
        let mut other = one.clone();
        other.terms.tags.clear();
        assert_ne!(mark(&one), mark(&other));
        other = Source { folder: "/b".into(), is_paused: true, ..one.clone() };
        assert_eq!(mark(&one), mark(&other));
    }
}

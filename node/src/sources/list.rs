//! Which folders are remembered, and how: a small file beside the database. Losing it loses no grain; the folders have to be
//! added again.

use std::path::{Path, PathBuf};

use anyhow::Context;
use serde::{Deserialize, Serialize};

use crate::data_folder::{self, SOURCES};

/// Folders that may be remembered.
pub(super) const MAX_SOURCES: usize = 256;

/// What is said of all that a folder holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Terms {
    /// The topic of its grains.
    pub topic: String,
    /// Their tags.
    #[serde(default)]
    pub tags: Vec<String>,
    /// The language of the texts, a BCP 47 tag; empty when it is not known.
    #[serde(default)]
    pub lang: String,
    /// Whether they may leave the node.
    #[serde(default)]
    pub share: bool,
    /// How bytes are read that are not UTF-8, a label of the WHATWG encoding standard; empty finds it out.
    #[serde(default)]
    pub encoding: String,
    /// Take what ignore files name, what is hidden, and folders that programs filled, too.
    #[serde(default)]
    pub no_ignore: bool,
    /// Take keys and tokens, too.
    #[serde(default)]
    pub include_secrets: bool,
    /// What else is left out: globs, counted from the folder.
    #[serde(default)]
    pub exclude: Vec<String>,
}

/// When a folder is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Rhythm {
    /// When somebody says so.
    Manual,
    /// Whenever so many seconds have passed.
    Every(u64),
    /// Soon after something changed in it, and now and then in full.
    Watch,
}

/// A folder that is remembered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Source {
    /// Where it lies: an absolute path without links.
    pub folder: PathBuf,
    /// What is said of its grains.
    pub terms: Terms,
    /// When it is looked at.
    pub rhythm: Rhythm,
    /// Whether it is left as it is until somebody says otherwise.
    #[serde(default)]
    pub is_paused: bool,
}

/// The file and what is in it, by the folders' paths.
#[derive(Debug)]
pub(crate) struct List {
    path: PathBuf,
    sources: Vec<Source>,
}

impl List {
    /// Reads the file in `data_dir`; there need not be one.
    ///
    /// # Errors
    /// When it is there and cannot be read or understood: somebody may have changed it, and it is not begun anew over that.
    pub fn load(data_dir: &Path) -> anyhow::Result<Self> {
        let path = data_dir.join(SOURCES);
        let sources = match std::fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text)
                .with_context(|| format!("{} cannot be understood: mend or remove it", path.display()))?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
        };
        Ok(Self { path, sources })
    }

    /// All of them.
    pub fn sources(&self) -> &[Source] {
        &self.sources
    }

    /// The one with this folder.
    pub fn get(&self, folder: &Path) -> Option<&Source> {
        self.sources.iter().find(|source| source.folder == folder)
    }

    /// Changes what is remembered and writes the file, whole or not at all.
    ///
    /// # Errors
    /// What the system says; then nothing is changed.
    pub fn change(&mut self, change: impl FnOnce(&mut Vec<Source>)) -> anyhow::Result<()> {
        let mut sources = self.sources.clone();
        change(&mut sources);
        sources.sort_by(|a, b| a.folder.cmp(&b.folder));
        let write = || -> std::io::Result<()> {
            data_folder::write(&self.path, &serde_json::to_vec_pretty(&sources)?)
        };
        write().with_context(|| format!("cannot write {}", self.path.display()))?;
        self.sources = sources;
        Ok(())
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::sources) fn source(folder: &str) -> Source {
        let terms = Terms {
            topic: "notes".into(),
            tags: vec!["vault".into()],
            lang: String::new(),
            share: false,
            encoding: String::new(),
            no_ignore: false,
            include_secrets: false,
            exclude: vec!["*.tmp".into()],
        };
        Source { folder: folder.into(), terms, rhythm: Rhythm::Every(600), is_paused: false }
    }

    #[test]
    fn what_is_remembered_survives_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let mut list = List::load(dir.path()).unwrap();
        list.change(|sources| sources.extend([source("/b"), source("/a")])).unwrap();
        let list = List::load(dir.path()).unwrap();
        assert_eq!(list.sources(), [source("/a"), source("/b")]);
        assert_eq!(list.get(Path::new("/b")), Some(&source("/b")));
        assert_eq!(list.get(Path::new("/c")), None);
    }

    #[test]
    fn a_file_that_cannot_be_understood_is_not_written_over() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(SOURCES), "[{").unwrap();
        let error = format!("{:#}", List::load(dir.path()).unwrap_err());
        assert!(error.contains("sources.json") && error.contains("mend or remove"), "{error}");
    }

    #[test]
    fn what_cannot_be_written_is_not_changed() {
        let dir = tempfile::tempdir().unwrap();
        let mut list = List::load(&dir.path().join("gone")).unwrap();
        list.change(|sources| sources.push(source("/a"))).unwrap_err();
        assert!(list.sources().is_empty());
    }
}

//! The walk through a folder: what is found there, what is passed over and why, and what cannot be looked at.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ignore::{DirEntry, WalkBuilder};

use super::{Found, Rules, glob, junk, secrets};
use crate::data_folder::{is_data_folder, is_part_of_one};

/// Names what is left out of a folder, in the syntax of .gitignore, without being in the way of other programs.
const IGNORE_FILE: &str = ".synapseignore";

/// What a walk comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Entry {
    /// A file to read.
    Found {
        /// Where it lies.
        path: PathBuf,
        /// How it was when the walk came by.
        found: Found,
    },
    /// Nobody asked for this one in particular, and it is hardly meant.
    Skipped {
        /// Where it lies.
        path: PathBuf,
        /// Why.
        reason: SkipReason,
    },
    /// It may be meant, and cannot be looked at. The walk goes on after it.
    Refused {
        /// Where it lies.
        path: PathBuf,
        /// Why.
        reason: String,
    },
}

/// Why something is passed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SkipReason {
    /// A node keeps its grains and its keys there.
    #[error("it is a node's data folder")]
    DataFolder,
    /// It leads elsewhere, or round in circles.
    #[error("links are not followed")]
    Link,
    /// A pipe, a socket or a device.
    #[error("it is not a file")]
    NotAFile,
    /// It is kept back unless somebody insists.
    #[error("{0}")]
    Secret(&'static str),
}

/// What a walk left out without naming each: a folder counts once, whatever is in it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct LeftOut {
    /// Hidden files.
    pub files: u64,
    /// Hidden folders, and those that programs filled.
    pub folders: u64,
    /// The name of one of these folders; where there is one that is not hidden, of such a one.
    pub example: Option<String>,
}

impl LeftOut {
    /// Whether nothing was left out.
    pub fn is_empty(&self) -> bool {
        self.files == 0 && self.folders == 0
    }

    /// Counts what another walk left out, too.
    pub fn add(&mut self, other: Self) {
        self.files += other.files;
        self.folders += other.folders;
        if let Some(name) = other.example {
            self.name(&name);
        }
    }

    fn name(&mut self, name: &str) {
        if self.example.as_ref().is_none_or(|known| is_hidden(known) && !is_hidden(name)) {
            self.example = Some(name.to_owned());
        }
    }
}

fn is_hidden(name: &str) -> bool {
    name.starts_with('.')
}

/// As people read it: "3 files and 2 folders such as node_modules".
impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = |count: u64, one: &str| format!("{count} {one}{}", if count == 1 { "" } else { "s" });
        let like = self.example.as_ref().map(|name| format!(" such as {name}")).unwrap_or_default();
        let folders = count(self.folders, "folder");
        match (self.files, self.folders) {
            (files, 0) => f.write_str(&count(files, "hidden file")),
            (0, _) => write!(f, "{folders}{like}"),
            (files, _) => write!(f, "{} and {folders}{like}", count(files, "hidden file")),
        }
    }
}

/// What the walk passed over since somebody looked.
#[derive(Debug, Default)]
struct Passed {
    left_out: LeftOut,
    /// Data folders. As many as lie side by side, whose names the walk holds anyway.
    skipped: VecDeque<PathBuf>,
}

/// A walk that is under way.
pub(crate) struct Walk {
    /// None when the folder is not walked.
    inner: Option<ignore::Walk>,
    folder: PathBuf,
    include_secrets: bool,
    passed: Arc<Mutex<Passed>>,
    /// What comes after that which was skipped before it.
    held: Option<Entry>,
}

impl Walk {
    /// Begins a walk below `folder`.
    pub(super) fn new(rules: &Rules, folder: &Path) -> Self {
        let passed = Arc::<Mutex<Passed>>::default();
        let (inner, held) = match builder(rules, folder, passed.clone()) {
            Ok(builder) => (Some(builder.build()), None),
            Err(reason) => (None, Some(Entry::Refused { path: folder.to_owned(), reason })),
        };
        let include_secrets = rules.include_secrets;
        Self { inner, folder: folder.to_owned(), include_secrets, passed, held }
    }

    /// What was left out so far, without having been named.
    pub fn left_out(&self) -> LeftOut {
        lock(&self.passed).left_out.clone()
    }

    fn skipped(&self) -> Option<Entry> {
        let path = lock(&self.passed).skipped.pop_front()?;
        Some(Entry::Skipped { path, reason: SkipReason::DataFolder })
    }

    /// What becomes of something that the walk came to; nothing of a folder, into which it goes.
    fn read(&self, entry: Result<DirEntry, ignore::Error>) -> Option<Entry> {
        let entry = match entry {
            Ok(entry) => entry,
            Err(error) => {
                let (path, reason) = (path_of(&error).unwrap_or(&self.folder).to_owned(), reason_of(&error));
                return Some(Entry::Refused { path, reason });
            }
        };
        let kind = entry.file_type();
        if kind.is_some_and(|kind| kind.is_dir()) {
            return None;
        }
        let skipped = |reason| Entry::Skipped { path: entry.path().to_owned(), reason };
        if entry.path_is_symlink() {
            return Some(skipped(SkipReason::Link));
        }
        if !kind.is_some_and(|kind| kind.is_file()) {
            return Some(skipped(SkipReason::NotAFile));
        }
        if let Some(reason) = secrets::reason_by_path(entry.path()).filter(|_| !self.include_secrets) {
            return Some(skipped(SkipReason::Secret(reason)));
        }
        Some(match entry.metadata() {
            Ok(metadata) => Entry::Found { found: Found::of(&metadata), path: entry.into_path() },
            Err(error) => Entry::Refused { reason: reason_of(&error), path: entry.into_path() },
        })
    }
}

impl Iterator for Walk {
    type Item = Entry;

    fn next(&mut self) -> Option<Entry> {
        loop {
            if let Some(entry) = self.skipped().or_else(|| self.held.take()) {
                return Some(entry);
            }
            match self.inner.as_mut()?.next() {
                Some(entry) => self.held = self.read(entry),
                None => {
                    self.inner = None;
                    return self.skipped();
                }
            }
        }
    }
}

fn builder(rules: &Rules, folder: &Path, passed: Arc<Mutex<Passed>>) -> Result<WalkBuilder, String> {
    if is_part_of_one(folder) {
        return Err("it belongs to a node's data folder: export and import move grains".to_owned());
    }
    let respect = !rules.no_ignore;
    let mut builder = WalkBuilder::new(folder);
    builder
        .git_ignore(respect)
        .git_exclude(respect)
        .git_global(respect)
        .ignore(respect)
        .parents(respect)
        .require_git(false)
        // They are left out below, where they are counted.
        .hidden(false)
        .overrides(glob::overrides(folder, &rules.exclude)?)
        .sort_by_file_name(OsStr::cmp)
        .filter_entry(move |entry| entry.depth() == 0 || is_entered(entry, respect, &passed));
    if respect {
        builder.add_custom_ignore_filename(IGNORE_FILE);
    }
    Ok(builder)
}

/// Whether the walk takes a file, or goes into a folder. What it passes over is counted or kept.
fn is_entered(entry: &DirEntry, respect: bool, passed: &Mutex<Passed>) -> bool {
    let is_folder = entry.file_type().is_some_and(|kind| kind.is_dir());
    let name = entry.file_name().to_string_lossy();
    if respect && is_hidden(&name) && !is_folder {
        lock(passed).left_out.files += 1;
        return false;
    }
    if is_folder && is_data_folder(entry.path()) {
        lock(passed).skipped.push_back(entry.path().to_owned());
        return false;
    }
    if respect && is_folder && (is_hidden(&name) || junk::is_junk(entry.path())) {
        let mut passed = lock(passed);
        passed.left_out.folders += 1;
        passed.left_out.name(&name);
        return false;
    }
    true
}

fn lock(passed: &Mutex<Passed>) -> MutexGuard<'_, Passed> {
    passed.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What an error is about.
fn path_of(error: &ignore::Error) -> Option<&Path> {
    match error {
        ignore::Error::WithPath { path, .. } => Some(path),
        ignore::Error::WithDepth { err, .. } | ignore::Error::WithLineNumber { err, .. } => path_of(err),
        _ => None,
    }
}

/// What the system says, without the path, which is told beside it.
fn reason_of(error: &ignore::Error) -> String {
    match error.io_error() {
        Some(error) => format!("it cannot be read: {}", error.kind()),
        None => format!("it cannot be read: {error}"),
    }
}

#[cfg(test)]
mod tests;

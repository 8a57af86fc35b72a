//! Which files of a folder are meant: the one walk, whoever asks for it, and what it leaves out.

mod secrets;

use std::ffi::OsStr;
use std::path::Path;

use ignore::{DirEntry, WalkBuilder};

use crate::data_folder::is_data_folder;

/// Which files of a folder are left out.
#[derive(Debug, Clone)]
pub(crate) struct Rules {
    /// Take what .gitignore names, too.
    pub(crate) no_ignore: bool,
    /// Take keys and tokens, too.
    pub(crate) include_secrets: bool,
}

impl Rules {
    /// Everything below `folder` that is not left out, in the order of the names. A node's data folder is one entry.
    pub(crate) fn walk(&self, folder: &Path) -> impl Iterator<Item = Result<DirEntry, ignore::Error>> {
        let respect = !self.no_ignore;
        WalkBuilder::new(folder)
            .git_ignore(respect)
            .git_exclude(respect)
            .git_global(respect)
            .ignore(respect)
            .require_git(false)
            .sort_by_file_name(OsStr::cmp)
            .filter_entry(|entry| entry.depth() < 2 || !entry.path().parent().is_some_and(is_data_folder))
            .build()
            .filter(|entry| {
                !entry.as_ref().is_ok_and(|entry| is_folder(entry) && !is_data_folder(entry.path()))
            })
    }

    /// Why a file is kept back, by its name or by its text.
    ///
    /// # Errors
    /// The reason.
    pub(crate) fn check(&self, path: &Path, text: &str) -> Result<(), String> {
        if self.include_secrets {
            return Ok(());
        }
        let reason = secrets::reason_by_path(path).or_else(|| secrets::reason_by_text(text));
        reason.map_or(Ok(()), |reason| Err(kept_back(reason)))
    }
}

/// Why a file is not handed on, unless somebody insists.
fn kept_back(reason: &str) -> String {
    format!("{reason} ({} takes it)", secrets::FLAG)
}

/// Whether an entry is a folder.
pub(crate) fn is_folder(entry: &DirEntry) -> bool {
    entry.file_type().is_some_and(|kind| kind.is_dir())
}

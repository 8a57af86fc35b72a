//! What is in a backup, and how does one become a data folder again?
//!
//! A backup is a tar archive of the very files that a data folder holds, packed by zstd, and sealed with a passphrase in the format
//! of `age` if its owner wants that: also where this program is not at hand, `age -d FILE | tar --zstd -x` brings everything back.
//! It begins with `backup.json`, the [`Plan`] of what follows, and ends with `SHA256SUMS`; without that end it is cut off.
//!
//! The indexes are not in it, since they can be made again. The secret behind the author key goes with what lets clients in, the tokens and
//! the certificate that they know: both are there, and it becomes the same node, or neither, and it becomes another.

pub(crate) mod archive;
pub(crate) mod restore;
pub(crate) mod seal;

use std::io;

use serde::{Deserialize, Serialize};
use synapsenet_storage::StorageError;

use crate::data_folder::{
    API_CERTIFICATE, API_KEY, CONFIG, DATABASE, FOLDERS, IDENTITY, MESH, MODELS, SOURCES, TOKEN, TOKENS,
};

/// What each backup holds, where there is such a file, beside the database.
pub(crate) const ALWAYS: [&str; 4] = [MESH, SOURCES, FOLDERS, CONFIG];
/// What makes a node the one that it is.
pub(crate) const SECRETS: [&str; 5] = [IDENTITY, TOKEN, TOKENS, API_CERTIFICATE, API_KEY];

/// The rules by which an archive is laid out; raised by every change that an older program would misread.
const FORMAT: u32 = 1;
/// The first member: the plan.
const PLAN: &str = "backup.json";
/// The last member: the hash of each before it.
const SUMS: &str = "SHA256SUMS";
/// The most files of a backup: those of the data folder, and some of each model that was added.
pub(crate) const MAX_FILES: usize = 2048;
/// The longest name of a file in it.
const MAX_NAME_BYTES: usize = 200;

/// What a backup holds, and of whom.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Plan {
    /// The rules by which it is laid out.
    pub format: u32,
    /// The version of the program that made it.
    pub version: String,
    /// The author key of the node: 64 hexadecimal digits.
    pub author: String,
    /// When it was made, in milliseconds since 1970-01-01 UTC.
    pub created_ms: u64,
    /// How many notes there are.
    pub grains: u64,
    /// And how many retractions.
    pub retractions: u64,
    /// The files, in the order in which they come.
    pub files: Vec<PlannedFile>,
}

/// A file of a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PlannedFile {
    /// Its name in a data folder, with `/` between the parts.
    pub name: String,
    /// How long it is.
    pub size_bytes: u64,
}

impl Default for Plan {
    /// An empty one by the rules of this program.
    fn default() -> Self {
        Self {
            format: FORMAT,
            version: String::new(),
            author: String::new(),
            created_ms: 0,
            grains: 0,
            retractions: 0,
            files: Vec::new(),
        }
    }
}

impl Plan {
    /// Whether the secret behind the author key is in it.
    pub fn has_identity(&self) -> bool {
        self.files.iter().any(|file| file.name == IDENTITY)
    }

    /// How long its files are together. What is longer than anything can be counts as that.
    pub fn size_bytes(&self) -> u64 {
        self.files.iter().fold(0, |sum, file| sum.saturating_add(file.size_bytes))
    }

    /// Refuses a plan that no node made: one whose files would lie elsewhere than in a data folder, above all.
    ///
    /// # Errors
    /// [`BackupError::NoBackup`] and [`BackupError::Newer`].
    pub fn check(&self) -> Result<(), BackupError> {
        if self.format != FORMAT {
            return Err(BackupError::Newer(self.format));
        }
        let mut names: Vec<&str> = self.files.iter().map(|file| file.name.as_str()).collect();
        if names.len() > MAX_FILES || !names.contains(&DATABASE) {
            return Err(BackupError::NoBackup("it names no database, or too many files"));
        }
        if !names.iter().all(|name| is_name_of_backup(name)) {
            return Err(BackupError::NoBackup("it names files that no data folder has"));
        }
        names.sort_unstable();
        if names.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(BackupError::NoBackup("it names a file twice"));
        }
        Ok(())
    }
}

/// Whether a backup may hold a file of this name. None leads out of the folder that it is unpacked into.
pub(crate) fn is_name_of_backup(name: &str) -> bool {
    let is_part = |part: &str| {
        let plain = |c: char| c.is_ascii_alphanumeric() || "._-+".contains(c);
        !part.is_empty() && !part.starts_with('.') && part.chars().all(plain)
    };
    name == DATABASE
        || ALWAYS.contains(&name)
        || SECRETS.contains(&name)
        || name.strip_prefix(MODELS).and_then(|rest| rest.strip_prefix('/')).is_some_and(|rest| {
            name.len() <= MAX_NAME_BYTES && rest.split('/').count() <= 4 && rest.split('/').all(is_part)
        })
}

/// Why a backup was not made or not brought back.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BackupError {
    /// It is something else, or was tampered with.
    #[error("it is no backup of a node: {0}")]
    NoBackup(&'static str),
    /// It was made by rules that this program does not know.
    #[error("it has the format {0}, and this program knows {FORMAT}: take a later version of synapsenet")]
    Newer(u32),
    /// It ends too early.
    #[error("it is cut off: copy it once more, or take another backup")]
    CutOff,
    /// It cannot be unpacked to its end.
    #[error("it is damaged, cut off, or something else: copy it once more, or take another backup")]
    Spoiled,
    /// What is in it is not what was put in.
    #[error("{0} is damaged in it: copy it once more, or take another backup")]
    Damaged(String),
    /// It is sealed, and nobody says with what.
    #[error("it is sealed with a passphrase")]
    Sealed,
    /// The passphrase is another one.
    #[error("the passphrase is wrong")]
    WrongPassphrase,
    /// The folder that it should come to is in use.
    #[error("{0} is not empty: a backup is brought back into a folder of its own")]
    NotEmpty(String),
    /// The disk has too little room.
    #[error("it needs {needed} bytes, and the disk of {folder} has {free}")]
    NoRoom {
        /// Where it should come to.
        folder: String,
        /// What it takes.
        needed: u64,
        /// What there is.
        free: u64,
    },
    /// The database that is in it cannot be used.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// A file could not be read or written.
    #[error("{0}")]
    Io(#[from] io::Error),
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn plan(files: &[(&str, u64)]) -> Plan {
        let file = |&(name, size_bytes): &(&str, u64)| PlannedFile { name: name.to_owned(), size_bytes };
        Plan { files: files.iter().map(file).collect(), ..Plan::default() }
    }

    #[test]
    fn a_plan_names_files_of_a_data_folder_and_nothing_else() {
        assert!(
            plan(&[(DATABASE, 1), (IDENTITY, 64), ("models/chosen", 3), ("models/a-1.5/onnx/model.onnx", 9)])
                .check()
                .is_ok()
        );
        assert!(plan(&[(IDENTITY, 64)]).check().is_err(), "without a database it is none");
        assert!(plan(&[(DATABASE, 1), (DATABASE, 1)]).check().is_err());
        for name in [
            "/etc/passwd",
            "../grains.redb",
            "models/../identity.seed",
            "models/.partial-x/a",
            "models//a",
            "models/",
            "models",
            "api.sock",
            "audit.log",
            "index/words",
            "models/a/b/c/d/e",
            "models/a\0",
            "",
        ] {
            assert!(plan(&[(DATABASE, 1), (name, 1)]).check().is_err(), "{name:?}");
        }
        let later = Plan { format: FORMAT + 1, ..plan(&[(DATABASE, 1)]) };
        assert!(matches!(later.check(), Err(BackupError::Newer(2))));
        assert_eq!(plan(&[(DATABASE, u64::MAX), (MESH, 5)]).size_bytes(), u64::MAX);
    }
}

//! What can go wrong with the store, and what to do about it.

use std::io;

use crate::Slot;

/// Why the store could not be opened, read or written.
///
/// After an I/O error redb refuses everything until the file is closed and opened again, because it can no longer know
/// which of its pages reached the disk. When the disk is only full the store does that by itself; else see
/// [`StorageError::is_fatal`].
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// Another process (or this one, a second time) has the file open.
    #[error("the database is already open in another process: stop that node, or use another data folder")]
    AlreadyOpen,
    /// The file was made by rules that this program does not know.
    #[error(
        "the database has format {found} and this program reads format {known}: open it with the version of synapsenet \
         that made it, or a later one, and use its `export` to move the grains"
    )]
    UnknownVersion {
        /// The format that the file names.
        found: u64,
        /// The format that this program reads and writes.
        known: u64,
    },
    /// The file is no database of this program.
    #[error("the file is not a synapsenet database: move it away, or use another data folder")]
    NotADatabase,
    /// The file is a database, and its content contradicts itself.
    #[error(
        "the database is damaged ({0}): restore it from a backup, or export what `verify` can still read"
    )]
    Damaged(String),
    /// One record cannot be read; the others can.
    #[error(
        "the record of slot {slot} is damaged ({why}): run `verify`, and restore the database from a backup"
    )]
    DamagedRecord {
        /// Where it lies.
        slot: Slot,
        /// What is wrong with it.
        why: String,
    },
    /// There is no space left for the file. The store goes on, and takes changes again when there is.
    #[error("the disk is full: make room on it; what was acknowledged is safe")]
    Full(#[source] io::Error),
    /// The system does not let this user read or write the file or its folder.
    #[error(
        "the database may not be used ({0}): start the node as the user whom its folder belongs to, or use another data folder"
    )]
    Denied(io::Error),
    /// Reading or writing the file failed.
    #[error("the disk failed ({0}): check it, then start the node again; what was acknowledged is safe")]
    Io(io::Error),
    /// Another read or write failed meanwhile, and the file must be opened again before anything else can be done. A view
    /// that was open when the disk was full says so, too: a new one does not.
    #[error(
        "a disk error closed the database: ask again, or start the node again; what was acknowledged is safe"
    )]
    Closed,
    /// Views stayed open for too long, so the file could not be compacted.
    #[error(
        "the database is in use and was not compacted: try again when fewer searches and exports are running"
    )]
    Busy,
    /// The database refused for another reason.
    #[error("the database refused: {0}")]
    Other(redb::Error),
}

impl StorageError {
    /// Whether the store is of no more use until it has been opened again: the node is to stop.
    ///
    /// Whether the changes of a [`crate::Store::write`] that failed in this way are in the file is known only after
    /// that; they are in it all together or not at all.
    #[must_use]
    pub fn is_fatal(&self) -> bool {
        match self {
            Self::AlreadyOpen | Self::DamagedRecord { .. } | Self::Full(_) | Self::Busy => false,
            Self::UnknownVersion { .. }
            | Self::NotADatabase
            | Self::Damaged(_)
            | Self::Denied(_)
            | Self::Io(_)
            | Self::Closed
            | Self::Other(_) => true,
        }
    }

    /// Says that a value which this program wrote does not read back.
    pub(crate) fn bad_record(slot: Slot, why: impl ToString) -> Self {
        Self::DamagedRecord { slot, why: why.to_string() }
    }
}

impl From<io::Error> for StorageError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full(error),
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => Self::Denied(error),
            // What redb answers for a file that does not begin as its files do, and only for that.
            io::ErrorKind::InvalidData => Self::NotADatabase,
            _ => Self::Io(error),
        }
    }
}

impl From<redb::Error> for StorageError {
    fn from(error: redb::Error) -> Self {
        match error {
            redb::Error::DatabaseAlreadyOpen | redb::Error::LockProtocolMismatch => Self::AlreadyOpen,
            redb::Error::Io(error) => error.into(),
            redb::Error::PreviousIo | redb::Error::DatabaseClosed => Self::Closed,
            redb::Error::Corrupted(why) => Self::Damaged(why),
            error @ (redb::Error::TableTypeMismatch { .. } | redb::Error::TableIsMultimap(_)) => {
                Self::Damaged(error.to_string())
            }
            redb::Error::TransactionInProgress => Self::Busy,
            other => Self::Other(other),
        }
    }
}

/// redb has an error type for each of its operations, all of which fit into one.
macro_rules! from_redb {
    ($($error:ident),*) => {$(
        impl From<redb::$error> for StorageError {
            fn from(error: redb::$error) -> Self {
                redb::Error::from(error).into()
            }
        }
    )*};
}

from_redb!(StorageError, DatabaseError, TransactionError, TableError, CommitError, CompactionError);
from_redb!(SetDurabilityError);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_permission_that_is_missing_is_not_a_disk_that_failed() {
        for kind in [io::ErrorKind::PermissionDenied, io::ErrorKind::ReadOnlyFilesystem] {
            let error = StorageError::from(redb::Error::Io(kind.into()));
            assert!(matches!(error, StorageError::Denied(_)) && error.is_fatal(), "{error}");
            assert!(!error.to_string().contains("disk"), "{error}");
            assert!(std::error::Error::source(&error).is_none(), "its words say it already");
        }
        assert!(matches!(StorageError::from(io::Error::other("x")), StorageError::Io(_)));
    }
}

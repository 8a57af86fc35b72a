//! The file as a whole: opening it, changing it, looking at it, compacting it.

use std::fs::OpenOptions;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};
use std::time::{Duration, Instant};

use redb::{Builder, Database, Durability, ReadableDatabase, StorageBackend};

use crate::tables::{self, ReadTables, WriteTables};
use crate::write::Writer;
use crate::{Change, Outcome, StorageError, View};

/// How long [`Store::compact`] waits for views to end: longer than any one search, short enough that the searches which
/// wait behind it are still answered.
const MAX_COMPACT_WAIT: Duration = Duration::from_secs(10);

/// How to open a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreOptions {
    /// How much of the file redb keeps in memory, in bytes. The default, 64 MiB, is more than half of a store of 100,000
    /// dictionary entries with their vectors (105 MB); the rest is left to the page cache of the system.
    pub cache_bytes: usize,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self { cache_bytes: 64 << 20 }
    }
}

/// The grains of a node, their vectors and what is still to be done about them, in one redb file.
///
/// A clone is the same store. The file closes when the last clone and the last [`View`] are dropped.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    /// Locked for writing only by `compact`, which is the one thing that needs redb for itself.
    db: RwLock<Database>,
    gate: Arc<Gate>,
    /// The file; none when the bytes are kept elsewhere.
    path: Option<PathBuf>,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("path", &self.inner.path).finish()
    }
}

impl Store {
    /// Opens the store in the file `path`, or makes it there; its folder must exist. A new file is readable by its
    /// owner alone. A file that was not closed in order is repaired first.
    ///
    /// # Errors
    /// [`StorageError::AlreadyOpen`], [`StorageError::UnknownVersion`], [`StorageError::NotADatabase`],
    /// [`StorageError::Damaged`], or an error of the disk.
    pub fn open(path: &Path, options: &StoreOptions) -> Result<Self, StorageError> {
        if std::fs::metadata(path).map_or(true, |file| file.len() == 0) {
            create(path, options)?;
        }
        let db = builder(options).open(path)?;
        Self::with_database(db, Some(path.to_owned()))
    }

    /// Opens the store whose bytes `backend` keeps, or makes it there when it is empty: for tests with backends that
    /// fail.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn with_backend(backend: impl StorageBackend, options: &StoreOptions) -> Result<Self, StorageError> {
        Self::with_database(builder(options).create_with_backend(backend)?, None)
    }

    fn with_database(db: Database, path: Option<PathBuf>) -> Result<Self, StorageError> {
        tables::prepare(&db)?;
        Ok(Self { inner: Arc::new(Inner { db: RwLock::new(db), gate: Arc::default(), path }) })
    }

    /// Applies all changes, in order, in one transaction that is on disk when this returns; gives an outcome for each,
    /// in order. A transaction costs one flush of the disk however many changes it has, so callers bring many.
    ///
    /// Writers wait for each other.
    ///
    /// # Errors
    /// None of the changes is applied. When the error [is fatal](StorageError::is_fatal), whether they are in the file
    /// (all of them or none) shows when it is opened again, and until then every call gives an error.
    pub fn write(&self, changes: Vec<Change>) -> Result<Vec<Outcome>, StorageError> {
        let db = self.database();
        let mut txn = db.begin_write()?;
        txn.set_durability(Durability::Immediate)?;
        // The state of redb's page allocator goes into each commit, so that a store which was killed opens without
        // walking all of its pages. `examples/measure_store.rs`, 100,000 grains: 63 ms to open rather than 172 ms, for
        // 0.85 ms rather than 0.66 ms to commit one grain.
        txn.set_quick_repair(true);
        let outcomes = {
            let mut writer = Writer::new(WriteTables::open(&txn)?)?;
            let outcomes =
                changes.into_iter().map(|change| writer.apply(change)).collect::<Result<_, _>>()?;
            writer.finish()?;
            outcomes
        };
        txn.commit()?;
        Ok(outcomes)
    }

    /// Takes a snapshot of what is stored now, for reading. Any number may be open at once, and none holds up a writer;
    /// but the space of what is overwritten while one is open is not reused before it is dropped, and
    /// [`Store::compact`] waits for all of them.
    ///
    /// # Errors
    /// An error of the disk.
    pub fn view(&self) -> Result<View, StorageError> {
        let pass = self.inner.gate.enter();
        let txn = self.database().begin_read()?;
        Ok(View::new(ReadTables::open(&txn)?, pass))
    }

    /// Moves what is stored together and gives the rest of the file back to the system; gives the size before and
    /// after, in bytes. Waits up to ten seconds until no view is open; new views and writes wait meanwhile.
    ///
    /// # Errors
    /// [`StorageError::Busy`] when views stayed open for so long, or an error of the disk.
    pub fn compact(&self) -> Result<(u64, u64), StorageError> {
        let _closed = self.inner.gate.close(MAX_COMPACT_WAIT)?;
        let mut db = self.inner.db.write().unwrap_or_else(PoisonError::into_inner);
        let before = self.size_bytes();
        while db.compact()? {}
        Ok((before, self.size_bytes()))
    }

    /// The size of the file in bytes; 0 for a store that was opened with a backend.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        let size = |path: &PathBuf| std::fs::metadata(path).map(|metadata| metadata.len()).ok();
        self.inner.path.as_ref().and_then(size).unwrap_or(0)
    }

    fn database(&self) -> RwLockReadGuard<'_, Database> {
        // A panic inside redb is caught by redb's own checks; the lock adds nothing to them.
        self.inner.db.read().unwrap_or_else(PoisonError::into_inner)
    }
}

fn builder(options: &StoreOptions) -> Builder {
    let mut builder = Database::builder();
    builder.set_cache_size(options.cache_bytes);
    builder
}

/// Makes an empty store in the file `path`. It is made under another name first and given its own when it is whole: redb
/// does not open a file of its own whose first writing was cut off.
fn create(path: &Path, options: &StoreOptions) -> Result<(), StorageError> {
    let mut unfinished = path.as_os_str().to_owned();
    unfinished.push(".new");
    let unfinished = PathBuf::from(unfinished);
    let db = match create_private(&unfinished, options) {
        // Another process is about to make the same store.
        Err(StorageError::AlreadyOpen) => return Err(StorageError::AlreadyOpen),
        Err(_) if unfinished.exists() => {
            tracing::debug!(file = %unfinished.display(), "removing what an interrupted first start left");
            std::fs::remove_file(&unfinished)?;
            create_private(&unfinished, options)?
        }
        other => other?,
    };
    tables::prepare(&db)?;
    db.close()?;
    std::fs::rename(&unfinished, path)?;
    // A name is on disk when its folder is; elsewhere than on Unix a folder cannot be flushed.
    #[cfg(unix)]
    if let Some(folder) = path.parent() {
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        std::fs::File::open(folder)?.sync_all()?;
    }
    Ok(())
}

/// Opens or makes a database in a file that only its owner can read: redb would let others read it.
fn create_private(path: &Path, options: &StoreOptions) -> Result<Database, StorageError> {
    let mut open = OpenOptions::new();
    open.write(true).create_new(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        open.mode(0o600);
    }
    match open.open(path) {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(error.into()),
    }
    Ok(builder(options).create(path)?)
}

/// Counts the open views, and keeps new ones out while the file is compacted.
#[derive(Default)]
struct Gate {
    state: Mutex<GateState>,
    changed: Condvar,
}

#[derive(Default)]
struct GateState {
    views: usize,
    closed: bool,
}

/// One open view; the gate forgets it when this is dropped.
pub(crate) struct Pass {
    gate: Arc<Gate>,
}

/// The gate is closed; it opens when this is dropped.
struct Closed<'a> {
    gate: &'a Gate,
}

impl Gate {
    fn lock(&self) -> MutexGuard<'_, GateState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enter(self: &Arc<Self>) -> Pass {
        let state = self.lock();
        let mut state =
            self.changed.wait_while(state, |state| state.closed).unwrap_or_else(PoisonError::into_inner);
        state.views += 1;
        Pass { gate: Arc::clone(self) }
    }

    fn close(&self, max_wait: Duration) -> Result<Closed<'_>, StorageError> {
        let deadline = Instant::now() + max_wait;
        let mut state = self.lock();
        if state.closed {
            return Err(StorageError::Busy);
        }
        state.closed = true;
        let closed = Closed { gate: self };
        while state.views > 0 {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                // The guard locks the gate again to open it.
                drop(state);
                drop(closed);
                return Err(StorageError::Busy);
            }
            (state, _) = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner);
        }
        Ok(closed)
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        self.gate.lock().views -= 1;
        self.gate.changed.notify_all();
    }
}

impl Drop for Closed<'_> {
    fn drop(&mut self) {
        self.gate.lock().closed = false;
        self.gate.changed.notify_all();
    }
}

#[cfg(test)]
mod tests;

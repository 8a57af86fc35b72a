//! The file as a whole: opening it, changing it, looking at it, compacting it.

mod place;

use std::io;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, TryLockError};
use std::time::{Duration, Instant};

use redb::{Database, Durability, ReadableDatabase, StorageBackend};

use self::place::{Place, Shared};
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
    /// Locked for writing only by what needs redb for itself: `compact`, and opening the file again. None when there was not
    /// even room for that.
    db: RwLock<Option<Database>>,
    /// Held by whoever writes until it is known what came of it, and the file is open again if the disk was full: who finds it
    /// closed waits for this and looks again.
    writing: Mutex<()>,
    gate: Arc<Gate>,
    place: Place,
    options: StoreOptions,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("place", &self.inner.place).finish()
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
            place::create(path, options)?;
        }
        Self::in_place(Place::File(path.to_owned()), options)
    }

    /// Opens the store whose bytes `backend` keeps, or makes it there when it is empty: for tests with backends that
    /// fail.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn with_backend(backend: impl StorageBackend, options: &StoreOptions) -> Result<Self, StorageError> {
        Self::in_place(Place::Backend(Shared(Arc::new(backend))), options)
    }

    fn in_place(place: Place, options: &StoreOptions) -> Result<Self, StorageError> {
        let db = place.open(options)?;
        tables::prepare(&db)?;
        let (db, writing, gate) = (RwLock::new(Some(db)), Mutex::default(), Arc::default());
        Ok(Self { inner: Arc::new(Inner { db, writing, gate, place, options: options.clone() }) })
    }

    /// Applies all changes, in order, in one transaction that is on disk when this returns; gives an outcome for each,
    /// in order. A transaction costs one flush of the disk however many changes it has, so callers bring many.
    ///
    /// Writers wait for each other.
    ///
    /// # Errors
    /// None of the changes is applied. When the error [is fatal](StorageError::is_fatal), whether they are in the file
    /// (all of them or none) shows when it is opened again, and until then every call gives an error. When it is
    /// [`StorageError::Full`], the file has been opened again: it can be read, and written once there is room.
    pub fn write(&self, changes: Vec<Change>) -> Result<Vec<Outcome>, StorageError> {
        let _writing = self.writing();
        if self.database().is_none() {
            self.reopen()?;
        }
        let written = self.commit(changes);
        if let Err(StorageError::Full(_)) = &written {
            self.reopen()?;
        }
        written
    }

    fn commit(&self, changes: Vec<Change>) -> Result<Vec<Outcome>, StorageError> {
        let db = self.database();
        let db = db.as_ref().ok_or_else(no_room_to_open)?;
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
        match self.view_now() {
            Err(StorageError::Closed) => {
                // Perhaps the disk was full for somebody who writes, and who opens the file again.
                drop(self.writing());
                self.view_now()
            }
            viewed => viewed,
        }
    }

    /// As [`Store::view`] for those who only measure and must not wait: None where somebody has the file for itself just now,
    /// to compact it or to open it again.
    ///
    /// # Errors
    /// As [`Store::view`].
    pub fn view_at_once(&self) -> Result<Option<View>, StorageError> {
        let Some(pass) = self.inner.gate.try_enter() else { return Ok(None) };
        let db = match self.inner.db.try_read() {
            Ok(db) => db,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return Ok(None),
        };
        let begun = db.as_ref().ok_or_else(no_room_to_open)?.begin_read().map_err(StorageError::from);
        match begun.and_then(|txn| ReadTables::open(&txn)) {
            // Whoever writes is about to open it again.
            Err(StorageError::Closed) => Ok(None),
            tables => Ok(Some(View::new(tables?, pass))),
        }
    }

    fn view_now(&self) -> Result<View, StorageError> {
        let pass = self.inner.gate.enter();
        let txn = self.database().as_ref().ok_or_else(no_room_to_open)?.begin_read()?;
        Ok(View::new(ReadTables::open(&txn)?, pass))
    }

    /// Whether the disk has room for some more changes now. Asked when it was full: it writes a megabyte to find out.
    #[must_use]
    pub fn has_room(&self) -> bool {
        let room = self.inner.place.make_sure_of_room();
        if let Err(error) = &room {
            tracing::debug!(%error, "there is no room on the disk");
        }
        room.is_ok()
    }

    /// Moves what is stored together and gives the rest of the file back to the system; gives the size before and
    /// after, in bytes. Waits up to ten seconds until no view is open; new views and writes wait meanwhile.
    ///
    /// # Errors
    /// [`StorageError::Busy`] when views stayed open for so long, or an error of the disk.
    pub fn compact(&self) -> Result<(u64, u64), StorageError> {
        let _closed = self.inner.gate.close(MAX_COMPACT_WAIT)?;
        let _writing = self.writing();
        let before = self.size_bytes();
        let compacted = self.compact_alone();
        if let Err(StorageError::Full(_)) = &compacted {
            self.reopen()?;
        }
        compacted?;
        Ok((before, self.size_bytes()))
    }

    fn compact_alone(&self) -> Result<(), StorageError> {
        let mut db = self.inner.db.write().unwrap_or_else(PoisonError::into_inner);
        let db = db.as_mut().ok_or_else(no_room_to_open)?;
        while db.compact()? {}
        Ok(())
    }

    /// The size of the file in bytes; 0 for a store that was opened with a backend.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        match &self.inner.place {
            Place::File(path) => std::fs::metadata(path).map_or(0, |metadata| metadata.len()),
            Place::Backend(_) => 0,
        }
    }

    /// Closes the file and opens it again. Whoever calls it holds `writing`, and no transaction is open for writing.
    ///
    /// # Errors
    /// What keeps it from being opened. When that is the full disk once more, the next write tries again.
    fn reopen(&self) -> Result<(), StorageError> {
        let mut db = self.inner.db.write().unwrap_or_else(PoisonError::into_inner);
        // redb opens no file that is open.
        drop(db.take());
        *db = Some(self.inner.place.open(&self.inner.options)?);
        Ok(())
    }

    fn writing(&self) -> MutexGuard<'_, ()> {
        self.inner.writing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn database(&self) -> RwLockReadGuard<'_, Option<Database>> {
        // A panic inside redb is caught by redb's own checks; the lock adds nothing to them.
        self.inner.db.read().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is said of a file that could not be opened again for lack of room.
fn no_room_to_open() -> StorageError {
    StorageError::Full(io::ErrorKind::StorageFull.into())
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

    /// As [`Gate::enter`], unless it is closed.
    fn try_enter(self: &Arc<Self>) -> Option<Pass> {
        let mut state = self.lock();
        if state.closed {
            return None;
        }
        state.views += 1;
        Some(Pass { gate: Arc::clone(self) })
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

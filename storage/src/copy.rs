//! How does all that one view shows get into a file of its own?
//!
//! The copy is a store like the one that it was made of, entry by entry: a backup that needs no program of its own to be read.

use std::fs::File;
use std::ops::ControlFlow;

use redb::backends::FileBackend;
use redb::{Builder, Durability};

use crate::{StorageError, View};

/// How much of the copy redb keeps in memory, in bytes: it is written from its beginning to its end, and never read.
const CACHE_BYTES: usize = 8 << 20;
/// Entries from one word about the progress to the next.
const STEP: u64 = 4096;

impl View {
    /// Writes everything that this view shows into `file`, which is empty, as a store that [`crate::Store::open`] opens.
    /// It is on disk when this returns. `tell` hears how many entries are copied, and of how many, and may break it off.
    /// Answers whether it was finished.
    ///
    /// The file takes about what the store would take after [`crate::Store::compact`].
    ///
    /// # Errors
    /// [`StorageError::Full`], or another error of a disk. The store that is copied goes on in any case.
    pub fn copy_to(
        &self,
        file: File,
        tell: &mut dyn FnMut(u64, u64) -> ControlFlow<()>,
    ) -> Result<bool, StorageError> {
        let total = self.tables.entries()?;
        let db = Builder::new().set_cache_size(CACHE_BYTES).create_with_backend(FileBackend::new(file)?)?;
        let mut txn = db.begin_write()?;
        txn.set_durability(Durability::Immediate)?;
        txn.set_quick_repair(true);
        let (mut copied, mut is_wanted) = (0, true);
        let done = self.tables.copy_to(&txn, &mut || {
            copied += 1;
            is_wanted = copied % STEP != 0 || tell(copied, total).is_continue();
            // Only what ends the copying: it is told by `is_wanted`.
            if is_wanted { Ok(()) } else { Err(StorageError::Closed) }
        });
        if !is_wanted {
            txn.abort()?;
            return Ok(false);
        }
        done?;
        txn.commit()?;
        Ok(tell(total, total).is_continue())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{note, put, store};
    use crate::{Store, StoreOptions};

    /// A store with so many notes.
    fn of(notes: u64) -> Store {
        let store = store();
        for n in 0..notes {
            put(&store, &note(&format!("note {n}"), n));
        }
        store
    }

    #[test]
    fn a_copy_holds_what_the_view_showed_and_nothing_that_came_later() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("copy.redb");
        let store = of(50);
        let view = store.view().unwrap();
        put(&store, &note("too late", 99));
        let mut last = None;
        let copied = view.copy_to(File::create_new(&path).unwrap(), &mut |done, total| {
            last = Some((done, total));
            ControlFlow::Continue(())
        });
        assert!(copied.unwrap());
        let entries = view.tables.dump();
        assert_eq!(last, Some((entries.len() as u64, entries.len() as u64)));
        let copy = Store::open(&path, &StoreOptions::default()).unwrap();
        let copied = copy.view().unwrap();
        assert!(copied.tables.dump() == entries && copied.counts().unwrap().notes == 50);
        assert_eq!(copied.store_id().unwrap(), view.store_id().unwrap());
        assert!(copied.verify(&mut |_, _| ()).unwrap().is_empty());
        // It goes on like any store.
        drop(copied);
        put(&copy, &note("later", 100));
        assert_eq!(copy.view().unwrap().counts().unwrap().notes, 51);
    }

    #[test]
    fn who_needs_it_no_more_breaks_it_off() {
        // More entries than one step has.
        let store = of(STEP / 8);
        let view = store.view().unwrap();
        let mut told = 0;
        let copied = view.copy_to(tempfile::tempfile().unwrap(), &mut |_, _| {
            told += 1;
            ControlFlow::Break(())
        });
        assert!(!copied.unwrap() && told == 1);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_copy_that_does_not_fit_says_so_and_the_store_goes_on() {
        let store = of(3);
        let full = std::fs::OpenOptions::new().read(true).write(true).open("/dev/full").unwrap();
        let copied = store.view().unwrap().copy_to(full, &mut |_, _| ControlFlow::Continue(()));
        assert!(copied.is_err());
        put(&store, &note("still here", 7));
        assert_eq!(store.view().unwrap().counts().unwrap().notes, 4);
    }
}

//! One model, and the index over the store's vectors of it.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Instant, UNIX_EPOCH};

use anyhow::Context;
use synapsenet_index::{Hnsw, HnswOptions, IndexError, Model};
use synapsenet_proto::{EncodedVector, SpaceId, Vector};
use synapsenet_storage::{IndexEvent, IndexEventKind, Slot, StorageError, Store, View};

use super::Unchecked;
use crate::data_folder::private_dir;
use crate::memory::ingest::now_ms;

/// Log entries, or stored vectors, that are taken into an index at once.
const MAX_STEP: usize = 4096;
/// Hexadecimal digits of the id in the name of its folder.
const FOLDER_DIGITS: usize = 16;

/// Why a space is not what it should be.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SpaceError {
    #[error(transparent)]
    Storage(#[from] StorageError),
    #[error(transparent)]
    Index(#[from] IndexError),
}

/// A model, and the index over the store's vectors of it.
pub(crate) struct Space {
    /// The model.
    pub model: Model,
    /// Derived from the store's vectors.
    pub hnsw: Hnsw,
    /// Which of its vectors are claimed and not compared. It has a mark before the graph has the vector.
    pub unchecked: Unchecked,
    dir: PathBuf,
    /// The last entry of the store's log that the index has.
    applied: AtomicU64,
    /// The last one that its snapshot has.
    saved: AtomicU64,
    /// When that was saved, or this was opened where there was none, in milliseconds since 1970-01-01 UTC.
    saved_ms: AtomicU64,
}

/// What becomes of stored vectors that the snapshot of an index does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fill {
    /// They are put in before the space is used.
    Now,
    /// The indexer puts them in while it is used; see [`Backlog`].
    Later,
}

impl Space {
    /// Opens the space of `model`: its snapshot below `index_dir` if that fits the store, else an empty index.
    ///
    /// # Errors
    /// When the store or the folder cannot be read.
    pub fn open(
        store: &Store,
        model: Model,
        index_dir: &Path,
        options: HnswOptions,
        fill: Fill,
    ) -> anyhow::Result<Self> {
        let (id, dimension) = (model.id(), model.dimension());
        let dir = index_dir.join(&id.to_string()[..FOLDER_DIGITS]);
        let view = store.view()?;
        let unchecked = Unchecked::new(&view.unchecked(id)?);
        let space = |hnsw, at| Self {
            model,
            hnsw,
            unchecked,
            dir: dir.clone(),
            applied: AtomicU64::new(at),
            saved: AtomicU64::new(at),
            saved_ms: AtomicU64::new(now_ms()),
        };
        if let Some((hnsw, seq)) = Hnsw::load(&dir, view.store_id()?, id, dimension, options)? {
            // A snapshot that the log does not reach back to, or that is newer than the store, is of another time.
            if view.index_log(seq)?.is_some() {
                let space = space(hnsw, seq);
                if let Some(saved_ms) = changed_ms(&dir) {
                    space.saved_ms.store(saved_ms, Ordering::Relaxed);
                }
                space.apply_log(&view)?;
                return Ok(space);
            }
            tracing::info!("the saved index is of another time than the database; it is built anew");
        }
        // What did not fit now must not fit by chance when the log has grown.
        if dir.exists() {
            std::fs::remove_dir_all(&dir).with_context(|| format!("cannot remove {}", dir.display()))?;
        }
        let space = space(Hnsw::new(id, dimension, options)?, view.last_index_seq()?);
        if fill == Fill::Now {
            space.rebuild(&view)?;
        }
        space.saved.store(0, Ordering::Relaxed);
        Ok(space)
    }

    /// The id of its model.
    pub fn id(&self) -> SpaceId {
        self.model.id()
    }

    /// The last entry of the store's log that the index has.
    pub fn applied(&self) -> u64 {
        self.applied.load(Ordering::Relaxed)
    }

    /// The last entry of the store's log that its snapshot has.
    pub fn saved(&self) -> u64 {
        self.saved.load(Ordering::Relaxed)
    }

    /// When its snapshot was saved, or it was opened where it had none, in milliseconds since 1970-01-01 UTC.
    pub fn saved_ms(&self) -> u64 {
        self.saved_ms.load(Ordering::Relaxed)
    }

    /// Brings the index up to the store's log as far as `view` shows it. Only the indexer calls this once the node runs.
    ///
    /// # Errors
    /// When the store cannot be read or the index cannot take a vector.
    pub fn apply_log(&self, view: &View) -> Result<(), SpaceError> {
        let Some(events) = view.index_log(self.applied())? else {
            // The log is pruned behind the indexes in use, and this one was not yet when that happened. It begins here; what
            // it lacks is found by the backlog that is made for every space that comes into use.
            self.applied.store(view.last_index_seq()?, Ordering::Relaxed);
            return Ok(());
        };
        for step in events.chunks(MAX_STEP) {
            self.apply_step(view, step)?;
        }
        if let Some(last) = events.last() {
            self.applied.store(last.seq, Ordering::Relaxed);
        }
        Ok(())
    }

    fn apply_step(&self, view: &View, step: &[IndexEvent]) -> Result<(), SpaceError> {
        let mut added = Vec::with_capacity(step.len());
        for event in step {
            // The store never replaces a vector without telling that it went, and `view` is newer than any entry: so what
            // the index was given since the last removal is right, and a slot without a vector here has been removed
            // since, or never had one of this model.
            match (event.kind, self.hnsw.contains(event.slot)) {
                (IndexEventKind::Added, false) => added.extend(self.stored(view, event.slot)?),
                (IndexEventKind::Removed, held) => {
                    if held {
                        self.hnsw.remove(event.slot)?;
                    }
                    self.unchecked.remove(event.slot);
                    added.extend(self.stored(view, event.slot)?);
                }
                (IndexEventKind::Added, true) | (IndexEventKind::Moved | IndexEventKind::Claimed, _) => {}
            }
        }
        Ok(self.add(&added)?)
    }

    /// Puts the stored vectors of these slots into the index. Answers the slots that have none.
    ///
    /// # Errors
    /// As [`Space::apply_log`].
    pub fn take_stored(&self, view: &View, slots: &[Slot]) -> Result<Vec<Slot>, SpaceError> {
        let (mut added, mut without) = (Vec::new(), Vec::new());
        for &slot in slots {
            match self.stored(view, slot)? {
                Some(vector) => added.push(vector),
                None => without.push(slot),
            }
        }
        self.add(&added)?;
        Ok(without)
    }

    /// The stored vector of a slot. A damaged one is told and passed over.
    fn stored(&self, view: &View, slot: Slot) -> Result<Option<(Slot, Vector)>, SpaceError> {
        match view.vector(slot, self.id())?.map(|vector| vector.decode()) {
            Some(Ok(vector)) => {
                if view.is_unchecked(slot, self.id())? {
                    self.unchecked.insert(slot);
                }
                Ok(Some((slot, vector)))
            }
            Some(Err(error)) => {
                tracing::warn!(slot, %error, "a stored vector is damaged; run `verify`");
                Ok(None)
            }
            None => Ok(None),
        }
    }

    fn add(&self, vectors: &[(Slot, Vector)]) -> Result<(), IndexError> {
        let vectors: Vec<_> = vectors.iter().map(|(slot, vector)| (*slot, vector)).collect();
        self.hnsw.add(&vectors)
    }

    /// Fills the index with all stored vectors.
    fn rebuild(&self, view: &View) -> Result<(), SpaceError> {
        let start = Instant::now();
        let mut result = Ok(());
        let mut batch: Vec<(Slot, EncodedVector)> = Vec::new();
        let add = |batch: &mut Vec<(Slot, EncodedVector)>| {
            let decoded = batch.drain(..).filter_map(|(slot, vector)| Some((slot, vector.decode().ok()?)));
            self.add(&decoded.collect::<Vec<_>>())
        };
        view.for_each_vector(self.id(), &mut |slot, vector| {
            batch.push((slot, vector));
            if batch.len() == MAX_STEP {
                result = add(&mut batch);
            }
            if result.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        result.and_then(|()| add(&mut batch))?;
        let grains = self.hnsw.len();
        if grains > 0 {
            let seconds = start.elapsed().as_secs_f64();
            tracing::info!(grains, seconds, "the index was rebuilt from the store");
        }
        Ok(())
    }

    /// Saves the index, when it changed since it was saved last. True when it was saved.
    ///
    /// # Errors
    /// When the folder cannot be written. The snapshot only makes the next start quick.
    pub fn save(&self, store: &Store) -> Result<bool, SpaceError> {
        let applied = self.applied();
        if applied == self.saved() {
            return Ok(false);
        }
        private_dir(&self.dir).map_err(|source| IndexError::File { path: self.dir.clone(), source })?;
        self.hnsw.save(&self.dir, store.view()?.store_id()?, applied)?;
        self.saved.store(applied, Ordering::Relaxed);
        self.saved_ms.store(now_ms(), Ordering::Relaxed);
        Ok(true)
    }

    /// Removes what is saved of it.
    ///
    /// # Errors
    /// What the system says.
    pub fn forget(index_dir: &Path, model: SpaceId) -> std::io::Result<()> {
        let dir = index_dir.join(&model.to_string()[..FOLDER_DIGITS]);
        if dir.exists() { std::fs::remove_dir_all(dir) } else { Ok(()) }
    }
}

/// When something was put into a folder last, or replaced, in milliseconds since 1970-01-01 UTC.
fn changed_ms(dir: &Path) -> Option<u64> {
    let since = std::fs::metadata(dir).ok()?.modified().ok()?.duration_since(UNIX_EPOCH).ok()?;
    u64::try_from(since.as_millis()).ok()
}

//! Spaces: each model with the index over its vectors. Vectors of two models are never compared.
//!
//! One space is *current*: what comes in is embedded for it. When the model is changed, the space before it becomes a
//! *former* one. It goes on answering for the grains that the current one does not hold yet, while the indexer embeds
//! these anew; then it is let go. A grain that stands in several spaces counts in the first of them only.

use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use anyhow::Context;
use synapsenet_index::{Hnsw, HnswOptions, IndexError, Model};
use synapsenet_proto::{EncodedVector, ModelId, Vector};
use synapsenet_storage::{Counts, IndexEvent, IndexEventKind, Slot, StorageError, Store, View};

use crate::data_folder::private_dir;

/// Spaces beside the current one: each costs the memory of an index, and a question one more run of a model.
pub(crate) const MAX_FORMER: usize = 2;
/// Log entries, or stored vectors, that are taken into an index at once.
const MAX_STEP: usize = 4096;
/// Hexadecimal digits of a model's id in the name of its folder.
const FOLDER_DIGITS: usize = 16;
/// Grains with vectors of two models by which their scores are made comparable ...
const MAX_ANCHORS: usize = 128;
/// ... and fewer than these say nothing.
const MIN_ANCHORS: usize = 16;

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
    dir: PathBuf,
    /// The last entry of the store's log that the index has.
    applied: AtomicU64,
    /// The last one that its snapshot has.
    saved: AtomicU64,
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
        let space = |hnsw, at| Self {
            model,
            hnsw,
            dir: dir.clone(),
            applied: AtomicU64::new(at),
            saved: AtomicU64::new(at),
        };
        if let Some((hnsw, seq)) = Hnsw::load(&dir, view.store_id()?, id, dimension, options)? {
            // A snapshot that the log does not reach back to, or that is newer than the store, is of another time.
            if view.index_log(seq)?.is_some() {
                let space = space(hnsw, seq);
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
    pub fn id(&self) -> ModelId {
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
            // The store never replaces a vector, and `view` is newer than any entry: so what the index has is right, and
            // a slot without a vector here has been removed since, or never had one of this model.
            match (event.kind, self.hnsw.contains(event.slot)) {
                (IndexEventKind::Added, false) => added.extend(self.stored(view, event.slot)?),
                (IndexEventKind::Removed, true) if view.vector(event.slot, self.id())?.is_none() => {
                    self.hnsw.remove(event.slot)?;
                }
                (IndexEventKind::Added | IndexEventKind::Removed, _) => {}
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
            Some(Ok(vector)) => Ok(Some((slot, vector))),
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
        Ok(true)
    }

    /// Removes what is saved of it.
    ///
    /// # Errors
    /// What the system says.
    pub fn forget(index_dir: &Path, model: ModelId) -> std::io::Result<()> {
        let dir = index_dir.join(&model.to_string()[..FOLDER_DIGITS]);
        if dir.exists() { std::fs::remove_dir_all(dir) } else { Ok(()) }
    }
}

/// The spaces that searches go through.
#[derive(Clone)]
pub(crate) struct Spaces {
    /// What new grains are embedded for.
    pub current: Arc<Space>,
    /// What holds grains that the current one does not, the latest first.
    pub former: Vec<Arc<Space>>,
    /// Which grains these are. None before the indexer has looked.
    pub backlog: Option<Arc<Backlog>>,
    /// How scores of the former spaces compare with those of the current one; one for each of them that is known.
    pub anchors: Vec<Arc<Anchors>>,
    /// Whether the current one holds every grain that is not pending.
    pub is_complete: bool,
}

impl Spaces {
    /// One space, which holds all.
    pub fn one(current: Arc<Space>) -> Self {
        Self { current, former: Vec::new(), backlog: None, anchors: Vec::new(), is_complete: true }
    }

    /// A current space that does not hold all yet, with those that hold the rest.
    pub fn incomplete(current: Arc<Space>, former: Vec<Arc<Space>>) -> Self {
        Self { current, former, backlog: None, anchors: Vec::new(), is_complete: false }
    }

    /// All, the current one first.
    pub fn all(&self) -> impl Iterator<Item = &Arc<Space>> {
        std::iter::once(&self.current).chain(&self.former)
    }

    /// The space of a model.
    pub fn of(&self, model: ModelId) -> Option<&Arc<Space>> {
        self.all().find(|space| space.id() == model)
    }

    /// These with another current space. The one before it stays as a former one, though it may hold nothing yet: the indexer
    /// may be at work for it. Older ones that hold nothing are let go.
    pub fn with_current(&self, current: Arc<Space>) -> Self {
        let older = self.former.iter().filter(|space| !space.hnsw.is_empty());
        let former = std::iter::once(&self.current).chain(older).filter(|space| space.id() != current.id());
        Self::incomplete(current.clone(), former.cloned().collect())
    }

    /// The first that holds a slot.
    pub fn holding(&self, slot: Slot) -> Option<&Arc<Space>> {
        self.all().find(|space| space.hnsw.contains(slot))
    }

    /// How many grains can be found, of a store that has so many.
    pub fn searchable(&self, counts: Counts) -> u64 {
        // Former spaces hold what the current one does not, but for what is pending.
        if self.former.is_empty() { self.held() } else { self.held() + self.to_embed_anew(counts) }
    }

    /// How many grains the current space still has to be given, of a store that has so many.
    pub fn to_embed_anew(&self, counts: Counts) -> u64 {
        let all = if self.is_complete { 0 } else { counts.notes.saturating_sub(counts.pending) };
        all.saturating_sub(self.held())
    }

    /// How many grains the current space holds.
    pub fn held(&self) -> u64 {
        self.current.hnsw.len() as u64
    }
}

/// The grains that only former spaces hold, newest first, and how far they have been embedded anew.
pub(crate) struct Backlog {
    slots: Vec<Slot>,
    /// Where each stands in `slots`.
    places: HashMap<Slot, usize>,
    /// Some that the current space and a former one held before, newest first.
    had: Vec<Slot>,
    next: AtomicUsize,
    /// The places, in order, of those that the model was not able to embed.
    failed: Mutex<Vec<usize>>,
}

impl Backlog {
    /// Looks through the store for grains that the current space does not hold.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn find(view: &View, spaces: &Spaces) -> Result<Self, StorageError> {
        let mut slots = Vec::new();
        view.notes_newest_first(&mut |slot| {
            slots.push(slot);
            ControlFlow::Continue(())
        })?;
        let missing: HashSet<Slot> = spaces.current.hnsw.missing(&slots).into_iter().collect();
        let is_former = |slot: Slot| spaces.former.iter().any(|former| former.hnsw.contains(slot));
        let is_held_twice = |slot: &Slot| !missing.contains(slot) && is_former(*slot);
        let had = slots.iter().copied().filter(is_held_twice).take(MAX_ANCHORS).collect();
        slots.retain(|slot| missing.contains(slot));
        let places = slots.iter().enumerate().map(|(place, &slot)| (slot, place)).collect();
        Ok(Self { slots, places, had, next: AtomicUsize::new(0), failed: Mutex::default() })
    }

    /// What is still to be tried.
    pub fn remaining(&self) -> &[Slot] {
        &self.slots[self.next.load(Ordering::Relaxed)..]
    }

    /// What only former spaces hold now.
    pub fn left(self: Arc<Self>) -> Left {
        let next = self.next.load(Ordering::Relaxed);
        let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner).clone();
        failed.retain(|place| *place < next);
        Left { backlog: self, next, failed }
    }

    /// At most [`MAX_ANCHORS`] grains that the current space and a former one hold: what was done last, and what it had before.
    pub fn held_twice(&self) -> Vec<Slot> {
        let done = &self.slots[..self.next.load(Ordering::Relaxed)];
        done.iter().rev().chain(&self.had).take(MAX_ANCHORS).copied().collect()
    }

    /// Whether the model was not able to embed some.
    pub fn has_failed(&self) -> bool {
        !self.failed.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// How many it had.
    pub fn total(&self) -> usize {
        self.slots.len()
    }

    /// Goes on by `count`, of which the model was not able to embed `failed`. The current space has been given the others, as
    /// far as their vectors are sound.
    pub fn advance(&self, count: usize, failed: &[Slot]) {
        let places = failed.iter().filter_map(|slot| self.places.get(slot).copied());
        let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        failed.extend(places);
        failed.sort_unstable();
        drop(failed);
        let next = self.next.load(Ordering::Relaxed) + count;
        self.next.store(next.min(self.slots.len()), Ordering::Relaxed);
    }
}

/// What is left of a backlog at one moment.
pub(crate) struct Left {
    backlog: Arc<Backlog>,
    next: usize,
    /// Places, in order.
    failed: Vec<usize>,
}

impl Left {
    /// How many grains.
    pub fn len(&self) -> usize {
        self.backlog.slots.len() - self.next + self.failed.len()
    }

    /// Which.
    pub fn slots(&self) -> Vec<Slot> {
        let slots = &self.backlog.slots;
        slots[self.next..].iter().copied().chain(self.failed.iter().map(|&place| slots[place])).collect()
    }

    /// Whether this is one.
    pub fn contains(&self, slot: Slot) -> bool {
        let place = self.backlog.places.get(&slot);
        place.is_some_and(|place| *place >= self.next || self.failed.binary_search(place).is_ok())
    }
}

/// Grains that have vectors of two models. A cosine of one model says nothing beside one of another: some call everything
/// alike above 0.6. So the distances (1 - cosine) of a question to these grains are compared in both spaces, and those of
/// the former space are stretched until their mean is that of the current one. What is the same stays the same.
pub(crate) struct Anchors {
    /// The former model.
    pub former: ModelId,
    pairs: Vec<(Vector, Vector)>,
}

impl Anchors {
    /// Anchors of grains with a vector of the current and one of the former model.
    pub fn new(former: ModelId, pairs: Vec<(Vector, Vector)>) -> Self {
        Self { former, pairs }
    }

    /// What turns a score of the former space into one that stands beside the current one's, for a question that lies
    /// here in the one and there in the other. None when too few grains are known, or they say nothing.
    pub fn scale(&self, current: &Vector, former: &Vector) -> Option<impl Fn(f32) -> f32 + use<>> {
        let distances = self
            .pairs
            .iter()
            .filter_map(|(new, old)| Some((1.0 - current.cosine(new).ok()?, 1.0 - former.cosine(old).ok()?)));
        let distances: Vec<(f32, f32)> = distances.collect();
        let (new, old) = distances.iter().fold((0.0, 0.0), |sum, each| (sum.0 + each.0, sum.1 + each.1));
        let is_known = distances.len() >= MIN_ANCHORS && old > f32::EPSILON;
        is_known.then_some(move |score: f32| 1.0 - (1.0 - score) * new / old)
    }
}

#[cfg(test)]
mod tests {
    use synapsenet_storage::Change;

    use super::*;
    use crate::memory::VECTOR_ENCODING;
    use crate::testing::{Fixture, author, note};

    #[tokio::test]
    async fn a_space_that_was_opened_before_the_log_was_pruned_gets_what_it_lacks_from_the_backlog() {
        let node = Fixture::new();
        let id = {
            let grain = note(&author(0), "said meanwhile");
            node.ingest.put(grain.clone(), false).await.unwrap();
            grain.id()
        };
        let slot = node.slot_of(id);
        let memory = node.memory.clone();
        let model = memory.current().model.clone();
        let late = Space::open(&memory.store, model, &memory.index_dir, memory.hnsw, Fill::Later).unwrap();
        let vector = node.vector(3).encode(VECTOR_ENCODING);
        node.ingest.apply(vec![Change::AddVector { slot, vector }]).await.unwrap();
        let up_to = node.view().last_index_seq().unwrap();
        node.ingest.apply(vec![Change::PruneIndexLog { up_to }]).await.unwrap();
        late.apply_log(&node.view()).unwrap();
        assert_eq!((late.applied(), late.hnsw.len()), (up_to, 0));
        let spaces = Spaces::incomplete(Arc::new(late), vec![memory.current()]);
        let late = &spaces.current;
        let backlog = Backlog::find(&node.view(), &spaces).unwrap();
        assert_eq!((backlog.remaining(), backlog.held_twice()), ([slot].as_slice(), Vec::new()));
        assert!(late.take_stored(&node.view(), backlog.remaining()).unwrap().is_empty());
        assert!(late.hnsw.contains(slot));
    }

    #[test]
    fn the_space_that_was_in_use_stays_though_it_holds_nothing_yet() {
        let node = Fixture::new();
        let memory = node.memory.clone();
        let open = |model| {
            Arc::new(Space::open(&memory.store, model, &memory.index_dir, memory.hnsw, Fill::Later).unwrap())
        };
        let first = memory.current();
        let second = open(Model::all_built_in().unwrap().remove(1));
        let third = open(Model::known().unwrap().remove(0));
        let ids = |spaces: &Spaces| spaces.all().map(|space| space.id()).collect::<Vec<_>>();
        let spaces = Spaces::one(first.clone()).with_current(second.clone());
        assert_eq!(ids(&spaces), [second.id(), first.id()]);
        // The indexer may be at work for the second one still; the first is empty and older.
        let spaces = spaces.with_current(third.clone());
        assert_eq!(ids(&spaces), [third.id(), second.id()]);
        assert_eq!(ids(&spaces.with_current(second.clone())), [second.id(), third.id()]);
    }

    #[test]
    fn a_score_of_another_model_is_brought_to_the_scale_of_this_one() {
        let model = |byte| ModelId::from_bytes([byte; 32]);
        // Vectors in a plane, so that a cosine is that of the angle between them.
        let at = |model, degrees: f32| {
            let angle = degrees.to_radians();
            Vector::new(model, vec![angle.cos(), angle.sin()]).unwrap()
        };
        // The former model sees every angle as a third of what it is for the current one.
        let pairs = (0..40).map(|n| {
            let angle = 10.0 + 2.0 * n as f32;
            (at(model(1), angle), at(model(2), angle / 3.0))
        });
        let anchors = Anchors::new(model(2), pairs.collect());
        let (here, there) = (at(model(1), 0.0), at(model(2), 0.0));
        let scale = anchors.scale(&here, &there).unwrap();
        for angle in [20.0_f32, 45.0, 80.0] {
            let truth = angle.to_radians().cos();
            let raw = (angle / 3.0).to_radians().cos();
            assert!((scale(raw) - truth).abs() < 0.1, "{angle}: {} and not {truth}", scale(raw));
            assert!((raw - truth).abs() > (scale(raw) - truth).abs());
        }
        assert_eq!(scale(1.0), 1.0, "what is the same stays the same");
        let few = Anchors::new(model(2), vec![(at(model(1), 1.0), at(model(2), 1.0)); MIN_ANCHORS - 1]);
        assert!(few.scale(&here, &there).is_none());
    }
}

//! How far the column has come, and the steps in which it is brought further: the indexer takes them when it has nothing better to
//! do, so that neither adding nor searching waits for one.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant};

use synapsenet_index::{Column as Snapshot, IndexError, folded_digest};
use synapsenet_proto::{AuthorId, Grain, GrainId, Kind, Refusal, SpaceId};
use synapsenet_storage::{IndexEvent, IndexEventKind, Record, Slot, StorageError, Store, View};

use super::arithmetic::Millionths;
use super::column::{Column, Said};
use super::lowest::Kept;
use super::neighbours::{self, Vectors};
use super::refusals::Refusals;
use super::uses::day_of;
use super::worth::{Emergence, Used};
use super::{Uses, Weights, snapshot};
use crate::config::EmergenceConfig;
use crate::data_folder::private_dir;
use crate::memory::spaces::{Space, SpaceError};
use crate::metrics::{Metrics, timed};

/// The folder of the snapshot, below that of all indexes.
const FOLDER: &str = "emergence";
/// Links to a grain that are looked at for who made them, the first that came first.
const MAX_LINKS: usize = 1024;
/// Strangers whose links count: keys cost nothing to make.
const MAX_STRANGERS: usize = 3;
/// In a column of more than so many grains ...
const LARGE: usize = 100_000;
/// ... those that counted what went are gone through no more often than this, as all have to be: a tenth of a second.
const PARTING_EVERY: Duration = Duration::from_secs(10);
/// A step ends after so long, and leaves the rest to the next: new notes are not to wait for it.
const STEP_TIME: Duration = Duration::from_millis(50);

/// The scores of all grains that have a vector.
pub(crate) struct Scores {
    /// None when they are switched off.
    weights: Option<Weights>,
    /// How much a score raises a hit.
    ranking_weight: f32,
    dir: PathBuf,
    column: RwLock<Column>,
    place: Mutex<Place>,
    /// The last entry of the store's log that the snapshot has.
    saved: AtomicU64,
    /// How many have no score yet.
    unscored: AtomicU64,
    /// As it was when somebody was of use last.
    voices: Mutex<Arc<Voices>>,
    refusals: Arc<Refusals>,
}

/// How often authors were of use to the owner.
#[derive(Debug, Default)]
pub(super) struct Voices {
    /// [`Uses::version`] when they were counted.
    version: u64,
    of: HashMap<AuthorId, u64>,
    refusals: Arc<Refusals>,
}

impl Voices {
    /// How often one was, less what was refused of it today.
    pub fn of(&self, author: &AuthorId) -> u64 {
        match self.of.get(author) {
            Some(uses) => uses.saturating_sub(self.refusals.of(author)),
            None => 0,
        }
    }
}

/// How far it has come. Held while it is brought further.
#[derive(Debug, Default)]
pub(super) struct Place {
    /// Whose vectors are compared. None before the first step.
    pub space: Option<SpaceId>,
    /// The last entry of the store's log.
    pub seq: u64,
    /// Slots that have or had a vector, and were not read since.
    pub unread: BTreeSet<Slot>,
    /// What went, and may still be counted by others.
    pub gone: HashSet<Slot>,
    /// When these were gone through last.
    pub parted: Option<Instant>,
    /// Whether anything changed since it was saved.
    pub is_changed: bool,
}

impl Scores {
    /// Opens the column: its snapshot below `index_dir` if that fits the store, else an empty one, which the indexer fills.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn open(store: &Store, index_dir: &Path, config: &EmergenceConfig) -> Result<Self, StorageError> {
        let dir = index_dir.join(FOLDER);
        let view = store.view()?;
        let mut opened = (Column::default(), Place { seq: view.last_index_seq()?, ..Place::default() }, 0);
        let saved = match config.enabled {
            true => Snapshot::load(&dir, snapshot::FORMAT, view.store_id()?),
            false => None,
        };
        if let Some(saved) = saved {
            let seq = saved.seq;
            match snapshot::decode(&saved.bytes) {
                Some((column, place)) if view.index_log(seq)?.is_some() => {
                    opened = (column, Place { seq, ..place }, seq);
                }
                Some(_) => {
                    tracing::info!(
                        "the saved scores are of another time than the database; they are made anew"
                    );
                }
                None => tracing::warn!("the saved scores are not readable; they are made anew"),
            }
        }
        let (column, place, saved) = opened;
        let weights = config.enabled.then(|| Weights::of(config));
        let (column, place, saved) = (RwLock::new(column), Mutex::new(place), AtomicU64::new(saved));
        let (unscored, voices, refusals) = (AtomicU64::new(0), Mutex::default(), Arc::default());
        let ranking_weight = if config.enabled { config.ranking_weight as f32 } else { 0.0 };
        Ok(Self { weights, ranking_weight, dir, column, place, saved, unscored, voices, refusals })
    }

    /// Whether grains are scored at all.
    pub fn is_on(&self) -> bool {
        self.weights.is_some()
    }

    /// What a grain adds that was of use so often. None for one that was not looked at yet, and always when nothing is scored.
    pub fn of(&self, slot: Slot, uses: &Uses) -> Option<Emergence> {
        let column = self.reading();
        let entry = column.entries.get(&slot)?;
        let of_author =
            column.authors.name(entry.author).map_or(0, |author| self.voices(uses, &column).of(author));
        column.emergence(slot, Used { occasions: uses.of(slot), of_author }, self.weights.as_ref()?)
    }

    /// How much higher a hit stands for what it adds, by the owner's choice: at most `emergence.ranking_weight`.
    pub fn raise(&self, slot: Slot, uses: &Uses) -> f32 {
        match self.ranking_weight {
            weight if weight > 0.0 => {
                let score = self.of(slot, uses).map_or(Millionths(0), |emergence| emergence.score);
                weight * score.min(Millionths::ONE).as_f64() as f32
            }
            _ => 0.0,
        }
    }

    /// Whether hits are raised at all.
    pub fn raises(&self) -> bool {
        self.ranking_weight > 0.0
    }

    /// How often each author was of use to the owner.
    pub(super) fn voices(&self, uses: &Uses, column: &Column) -> Arc<Voices> {
        let mut voices = self.voices.lock().unwrap_or_else(PoisonError::into_inner);
        let version = uses.version();
        if voices.version != version {
            let mut of = HashMap::new();
            uses.for_each_of_owner(|slot, occasions| {
                let author = column.entries.get(&slot).and_then(|entry| column.authors.name(entry.author));
                if let Some(author) = author {
                    *of.entry(*author).or_default() += u64::from(occasions);
                }
            });
            *voices = Arc::new(Voices { version, of, refusals: self.refusals.clone() });
        }
        voices.clone()
    }

    /// Notes that a peer brought a grain that was refused.
    pub fn refused(&self, grain: &Grain, why: &Refusal) {
        self.refusals.note(grain, why);
    }

    /// How many grains of an author were refused today for what it did itself.
    pub(super) fn refused_of(&self, author: &AuthorId) -> u64 {
        self.refusals.of(author)
    }

    /// How often an author was of use to the owner of this node, in the days that are remembered, less what was refused of it today.
    pub fn uses_of_author(&self, uses: &Uses, author: &AuthorId) -> u64 {
        self.voices(uses, &self.reading()).of(author)
    }

    /// The grains that made the score of one, the nearest older one first, and the cosines to them.
    pub fn neighbours(&self, slot: Slot) -> Vec<(Slot, Millionths)> {
        let column = self.reading();
        let Some(entry) = column.entries.get(&slot) else { return Vec::new() };
        let others =
            entry.near.iter().filter(|near| entry.older.is_none_or(|older| older.slot() != near.slot()));
        entry.older.iter().chain(others).map(|near| (near.slot(), near.cosine())).collect()
    }

    /// Whether there is nothing to do for it.
    pub fn is_idle(&self, space: &Space) -> bool {
        let place = self.place();
        let is_level = place.space == Some(space.id()) && place.seq >= space.applied();
        !self.is_on()
            || is_level
                && place.unread.is_empty()
                && place.gone.is_empty()
                && self.reading().waiting.is_empty()
    }

    /// How many grains that have a vector wait for their first score, as of the last step.
    pub fn unscored(&self) -> u64 {
        self.unscored.load(Ordering::Relaxed)
    }

    /// Those of the lowest scores, the lowest first and of the same ones the oldest, but for authors whose grains are kept; at most
    /// `most`; by what [`Column::worth`] says, so that no date costs another's grain its place. None while nothing was of use to the
    /// owner: nothing tells a crowd of keys from many people then. It looks at all: a tenth of a second for a million.
    pub fn lowest(&self, uses: &Uses, judge: &dyn Fn(&AuthorId) -> Kept, most: usize) -> Vec<Slot> {
        let Some(weights) = &self.weights else { return Vec::new() };
        let column = self.reading();
        let voices = self.voices(uses, &column);
        if voices.of.is_empty() {
            return Vec::new();
        }
        let echoes = column.echoes();
        let mut kept = HashMap::new();
        let mut lowest = Vec::new();
        for (&slot, entry) in &column.entries {
            let (kept, of_author) = *kept.entry(entry.author).or_insert_with(|| {
                let author = column.authors.name(entry.author);
                author.map_or((Kept::Always, 0), |author| (judge(author), voices.of(author)))
            });
            let used = Used { occasions: uses.of(slot), of_author };
            let worth = || column.worth(slot, used, weights, &echoes).map(|worth| worth.score);
            let worth = match kept {
                Kept::Always => None,
                Kept::ForItsWorth => worth(),
                Kept::ForNothing => worth().map(|_| Millionths(0)),
            };
            lowest.extend(worth.map(|worth| (worth, entry.order, slot)));
        }
        if lowest.len() > most && most > 0 {
            lowest.select_nth_unstable(most - 1);
        }
        lowest.truncate(most);
        lowest.sort_unstable();
        lowest.into_iter().map(|(_, _, slot)| slot).collect()
    }

    /// Takes in what changed, as far as the index of `space` has it, and looks for the neighbours of at most `most` grains, or of fewer
    /// where that takes long. True when there may be more to do. Only the indexer calls this.
    ///
    /// # Errors
    /// When the store or the graph cannot be read.
    pub fn step(
        &self,
        view: &View,
        space: &Space,
        observed: (&Metrics, &Uses),
        most: usize,
    ) -> Result<bool, SpaceError> {
        self.step_within(view, space, observed, (most, STEP_TIME))
    }

    /// As [`Scores::step`], in about so much time: one grain is read and one is compared however little it is.
    pub(super) fn step_within(
        &self,
        view: &View,
        space: &Space,
        (metrics, uses): (&Metrics, &Uses),
        (most, time): (usize, Duration),
    ) -> Result<bool, SpaceError> {
        if !self.is_on() {
            return Ok(false);
        }
        let mut place = self.place();
        self.follow(view, space, &mut place)?;
        let began = Instant::now();
        let ready = place.unread.iter().filter(|slot| !place.gone.contains(slot)).take(most);
        let ready: Vec<Slot> = ready.copied().collect();
        for &slot in &ready {
            self.take(view, space, slot)?;
            place.unread.remove(&slot);
            if began.elapsed() >= time {
                break;
            }
        }
        let waiting: Vec<Slot> = self.reading().waiting.iter().take(most).copied().collect();
        let mut vectors = Vectors::new(view, space);
        for &slot in &waiting {
            let found = timed(&metrics.poe_calculation, || {
                neighbours::find(&self.reading(), &mut vectors, space, slot)
            })?;
            match found {
                Some(found) => {
                    self.writing().found(slot, &found);
                    if let Some(emergence) = self.of(slot, uses) {
                        metrics.scored(emergence.score.as_f64());
                    }
                }
                // It waits for its vector elsewhere, or is damaged.
                None => drop(self.writing().waiting.remove(&slot)),
            }
            if began.elapsed() >= time {
                break;
            }
        }
        let is_busy = !ready.is_empty() || !waiting.is_empty() || self.part(&mut place);
        place.is_changed |= is_busy;
        let unscored = place.unread.len() + self.reading().waiting.len();
        self.unscored.store(unscored as u64, Ordering::Relaxed);
        Ok(is_busy)
    }

    /// Reads what the log says.
    fn follow(&self, view: &View, space: &Space, place: &mut Place) -> Result<(), SpaceError> {
        let applied = space.applied();
        let events = view.index_log(place.seq)?;
        if place.space != Some(space.id()) || events.is_none() {
            let mut column = self.writing();
            column.begin_anew();
            place.unread.extend(column.entries.keys());
            view.for_each_vector(space.id(), &mut |slot, _| {
                place.unread.insert(slot);
                ControlFlow::Continue(())
            })?;
            place.space = Some(space.id());
        }
        let Some(events) = events else {
            place.seq = applied;
            return Ok(());
        };
        for IndexEvent { seq, slot, kind } in events.into_iter().take_while(|event| event.seq <= applied) {
            match kind {
                IndexEventKind::Added | IndexEventKind::Claimed => drop(place.unread.insert(slot)),
                IndexEventKind::Removed => {
                    let removed = self.writing().remove(slot);
                    if let Some(entry) = removed {
                        place.gone.insert(slot);
                        self.count_citations_of(view, &entry.cites)?;
                    }
                    // It may have a vector again, or one of another model.
                    place.unread.insert(slot);
                }
                IndexEventKind::Moved => {}
            }
            (place.seq, place.is_changed) = (seq, true);
        }
        Ok(())
    }

    /// Reads a note that has a vector of the space.
    fn take(&self, view: &View, space: &Space, slot: Slot) -> Result<(), SpaceError> {
        let record = match view.record(slot) {
            Ok(record) => record,
            Err(error @ StorageError::DamagedRecord { .. }) => {
                tracing::warn!(slot, %error, "a damaged grain is not scored; run `verify`");
                None
            }
            Err(error) => return Err(error.into()),
        };
        let Some(record) = record.filter(|record| record.grain.kind() == Kind::Note) else { return Ok(()) };
        if view.vector(slot, space.id())?.is_none() {
            return Ok(());
        }
        let said = said(&record, view.is_strangers(slot)?);
        let cites = said.cites.clone();
        self.writing().insert(slot, said);
        self.count_citations(view, slot, &record.grain.id())?;
        Ok(self.count_citations_of(view, &cites)?)
    }

    fn count_citations_of(&self, view: &View, cited: &[GrainId]) -> Result<(), StorageError> {
        for id in cited {
            if let Some(slot) = view.slot_of(id)? {
                self.count_citations(view, slot, id)?;
            }
        }
        Ok(())
    }

    /// Counts who links to a grain: each author once, and not its own; of strangers, as they are when it is counted, no more than
    /// [`MAX_STRANGERS`].
    fn count_citations(&self, view: &View, slot: Slot, id: &GrainId) -> Result<(), StorageError> {
        let linking = view.linking_to(id, MAX_LINKS)?;
        let (mut counted, mut strangers) = (HashSet::new(), HashSet::new());
        {
            let column = self.reading();
            let author_of = |slot| column.entries.get(&slot).map(|entry| entry.author);
            let Some(own) = author_of(slot) else { return Ok(()) };
            for slot in linking {
                let Some(author) = author_of(slot).filter(|author| *author != own) else { continue };
                if counted.contains(&author) || strangers.contains(&author) {
                    continue;
                }
                match view.is_strangers(slot)? {
                    true => strangers.insert(author),
                    false => counted.insert(author),
                };
            }
        }
        let citations = counted.len() + strangers.len().min(MAX_STRANGERS);
        let mut column = self.writing();
        if let Some(entry) = column.entries.get_mut(&slot) {
            entry.citations = citations as u32;
        }
        Ok(())
    }

    /// Takes what went out of what others counted. True when there is more to do then.
    fn part(&self, place: &mut Place) -> bool {
        if place.gone.is_empty() {
            return false;
        }
        let is_large = self.reading().entries.len() > LARGE;
        if is_large && place.parted.is_some_and(|parted| parted.elapsed() < PARTING_EVERY) {
            return false;
        }
        self.writing().part_from(&place.gone);
        place.gone.clear();
        place.parted = Some(Instant::now());
        true
    }

    /// The last entry of the store's log that need not be kept for this.
    pub fn saved(&self) -> u64 {
        if self.is_on() { self.saved.load(Ordering::Relaxed) } else { u64::MAX }
    }

    /// Saves the column, when something changed since it was saved last. True when it was saved.
    ///
    /// # Errors
    /// When the folder cannot be written. The snapshot only makes the next start quick.
    pub fn save(&self, store: &Store) -> Result<bool, SpaceError> {
        let mut place = self.place();
        if !self.is_on() || place.space.is_none() || !place.is_changed && self.dir.exists() {
            return Ok(false);
        }
        private_dir(&self.dir).map_err(|source| IndexError::File { path: self.dir.clone(), source })?;
        let bytes = snapshot::encode(&self.reading(), &place);
        let (format, store, seq) = (snapshot::FORMAT, store.view()?.store_id()?, place.seq);
        Snapshot { format, store, seq, bytes }.save(&self.dir)?;
        self.saved.store(seq, Ordering::Relaxed);
        place.is_changed = false;
        Ok(true)
    }

    fn place(&self) -> MutexGuard<'_, Place> {
        // Whoever panicked had noted no more than it did.
        self.place.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How much each part counts. None when nothing is scored.
    pub fn weights(&self) -> Option<&Weights> {
        self.weights.as_ref()
    }

    pub(super) fn reading(&self) -> RwLockReadGuard<'_, Column> {
        self.column.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn writing(&self) -> RwLockWriteGuard<'_, Column> {
        self.column.write().unwrap_or_else(PoisonError::into_inner)
    }
}

fn said(record: &Record, is_strangers: bool) -> Said {
    let (grain, draft) = (&record.grain, &record.grain.body().draft);
    let mut id = [0; 16];
    id.copy_from_slice(&grain.id().as_bytes()[..16]);
    let mut cites: Vec<GrainId> = draft.links.iter().map(|link| link.target).collect();
    cites.sort_unstable();
    cites.dedup();
    Said {
        order: (grain.created_ms(), id),
        topic: grain.topic().clone(),
        author: grain.author(),
        // Of the text alone: a title or tags make nothing new of it.
        words: folded_digest(&draft.text),
        cites,
        came: day_of(record.received_ms),
        is_strangers,
    }
}

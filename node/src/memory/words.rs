//! The index of words over all notes of the store. A note is in it when it is acknowledged: the thread that writes brings it up
//! to each commit, and no model has to be there.
//!
//! It is derived: what its snapshot lacks is read from the store, and without one all is. What came is found by slots, which only
//! grow, and what went is told by the store's log.

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use synapsenet_index::{IndexError, Text, WordQuestion, Words};
use synapsenet_proto::Grain;
use synapsenet_storage::{Filter, IndexEventKind, Record, Slot, StorageError, Store, View};

use crate::data_folder::private_dir;
use crate::memory::spaces::SpaceError;

/// The folder of the snapshot, below that of all indexes.
const FOLDER: &str = "words";
/// Notes that are taken in at once: what a search may have to wait for.
const MAX_STEP: usize = 1024;

/// The words of all notes.
pub(crate) struct WordIndex {
    words: Words,
    dir: PathBuf,
    place: Mutex<Place>,
    /// The last entry of the store's log that the snapshot has.
    saved: AtomicU64,
}

/// How far it has come. Held while it is brought further.
struct Place {
    /// The last slot that was looked at.
    slot: Slot,
    /// The last entry of the store's log.
    seq: u64,
}

impl WordIndex {
    /// Opens the index: its snapshot below `index_dir` if that fits the store, else an empty one; then brings it up to the store.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn open(store: &Store, index_dir: &Path) -> Result<Self, StorageError> {
        let start = Instant::now();
        let dir = index_dir.join(FOLDER);
        let view = store.view()?;
        let loaded = Words::load(&dir, view.store_id()?);
        let fits = |(words, seq): (Words, u64)| match view.index_log(seq) {
            Ok(Some(_)) => Ok(Some((words, seq))),
            Ok(None) => Ok(None),
            Err(error) => Err(error),
        };
        let loaded = loaded.map(fits).transpose()?.flatten();
        let is_new = loaded.is_none();
        let (words, seq) = loaded.unwrap_or_default();
        // A slot above the last that is held was a retraction's, or is empty: it is looked at again.
        let slot = words.keys().last().copied().unwrap_or(0);
        let seq = if is_new { view.last_index_seq()? } else { seq };
        let saved = AtomicU64::new(if is_new { 0 } else { seq });
        let index = Self { words, dir, place: Mutex::new(Place { slot, seq }), saved };
        index.follow(&view)?;
        let notes = index.len();
        if is_new && notes > 0 {
            let seconds = start.elapsed().as_secs_f64();
            tracing::info!(notes, seconds, "the index of words was made from the store");
        }
        Ok(index)
    }

    /// Brings the index up to the store as far as `view` shows it.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn follow(&self, view: &View) -> Result<(), StorageError> {
        // Whoever panicked had not gone further.
        let mut place = self.place.lock().unwrap_or_else(PoisonError::into_inner);
        let last_seq = view.last_index_seq()?;
        if last_seq > place.seq {
            self.take_out(view, place.seq)?;
            place.seq = last_seq;
        }
        let last = view.last_slot()?;
        while place.slot < last {
            let notes = view.notes_after(place.slot, MAX_STEP)?;
            let is_end = notes.len() < MAX_STEP;
            let end = notes.last().map_or(last, |(slot, _)| *slot);
            self.take_in(&notes);
            place.slot = if is_end { last } else { end };
        }
        Ok(())
    }

    /// Removes what went after this entry of the log.
    fn take_out(&self, view: &View, seq: u64) -> Result<(), StorageError> {
        let Some(events) = view.index_log(seq)? else {
            // It was pruned behind this index, which must not be: it is compared with the store, slot by slot.
            let gone: Vec<Slot> = self.words.keys();
            return self.take_out_missing(view, gone);
        };
        let slots = |kind| events.iter().filter(move |event| event.kind == kind).map(|event| event.slot);
        self.take_out_missing(view, slots(IndexEventKind::Removed).collect())?;
        let mut moved = Vec::new();
        for slot in slots(IndexEventKind::Moved) {
            // One that is gone by now, or damaged, is another event's, or told when it is read next.
            if let Ok(Some(record)) = view.record(slot) {
                moved.push((slot, Some(record)));
            }
        }
        self.take_in(&moved);
        Ok(())
    }

    /// Of these slots, those that hold nothing any more: a note that only lost its vector stays.
    fn take_out_missing(&self, view: &View, slots: Vec<Slot>) -> Result<(), StorageError> {
        let mut gone = Vec::with_capacity(slots.len());
        for slot in slots {
            // One that cannot be read is still there.
            if !view.matches(slot, &Filter::default()).unwrap_or(true) {
                gone.push(slot);
            }
        }
        self.words.remove(&gone);
        Ok(())
    }

    fn take_in(&self, notes: &[(Slot, Option<Record>)]) {
        let readable: Vec<(Slot, Parts<'_>)> = notes
            .iter()
            .filter_map(|(slot, record)| match record {
                Some(record) => Some((*slot, Parts::of(record))),
                None => {
                    tracing::warn!(slot, "a damaged grain is not found by its words; run `verify`");
                    None
                }
            })
            .collect();
        let slices: Vec<Vec<&str>> = readable.iter().map(|(_, parts)| parts.slices()).collect();
        let items: Vec<(u64, Text<'_>)> = readable
            .iter()
            .zip(&slices)
            .map(|((slot, parts), slices)| (*slot, Text { parts: slices, language: parts.language }))
            .collect();
        self.words.add(&items);
    }

    /// How many notes it holds.
    pub fn len(&self) -> usize {
        self.words.len()
    }

    /// The index itself, to be searched.
    pub fn words(&self) -> &Words {
        &self.words
    }

    /// The score of a grain that is not stored here, as if it were.
    pub fn score(&self, question: &WordQuestion, grain: &Grain) -> f32 {
        Parts::of_grain(grain).with_text(|text| self.words.score(question, text))
    }

    /// The last entry of the store's log that the snapshot has.
    pub fn saved(&self) -> u64 {
        self.saved.load(Ordering::Relaxed)
    }

    /// Saves the index, when something came or went since it was saved last. True when it was saved.
    ///
    /// # Errors
    /// When the folder cannot be written. The snapshot only makes the next start quick.
    pub fn save(&self, store: &Store) -> Result<bool, SpaceError> {
        // Not held meanwhile, as the thread that writes would wait for the disk. What is saved may have come further than its
        // mark says: taking out again what is gone changes nothing, and what came is found by its slot.
        let seq = self.place.lock().unwrap_or_else(PoisonError::into_inner).seq;
        if seq == self.saved() && self.dir.exists() {
            return Ok(false);
        }
        private_dir(&self.dir).map_err(|source| IndexError::File { path: self.dir.clone(), source })?;
        self.words.save(&self.dir, store.view()?.store_id()?, seq)?;
        self.saved.store(seq, Ordering::Relaxed);
        Ok(true)
    }
}

/// What of a note is found by its words.
pub(crate) struct Parts<'a> {
    parts: Vec<Cow<'a, str>>,
    language: &'a str,
}

impl<'a> Parts<'a> {
    /// Of a note that is stored: text, title, tags, and the name that the file or page which it was taken from has now.
    pub fn of(record: &'a Record) -> Self {
        Self::named(&record.grain, record.source_uri())
    }

    /// Of a note that is not: as its author says.
    pub fn of_grain(grain: &'a Grain) -> Self {
        Self::named(grain, grain.body().draft.source.as_ref().map(|source| source.uri.as_str()))
    }

    fn named(grain: &'a Grain, source: Option<&'a str>) -> Self {
        let draft = &grain.body().draft;
        let mut parts = vec![Cow::from(&draft.text)];
        if !draft.title.is_empty() {
            parts.push(Cow::from(&draft.title));
        }
        parts.extend(draft.tags.iter().map(Cow::from));
        // A title that is the name of the file is not counted twice.
        let file = source.map(file_name);
        parts.extend(file.filter(|file| *file != draft.title));
        Self { parts, language: &draft.lang }
    }

    /// Gives `take` what the index takes.
    pub fn with_text<T>(&self, take: impl FnOnce(&Text<'_>) -> T) -> T {
        take(&Text { parts: &self.slices(), language: self.language })
    }

    /// The parts as slices.
    pub fn slices(&self) -> Vec<&str> {
        self.parts.iter().map(|part| &**part).collect()
    }
}

/// The last part of a path or URI, as it was before it was percent-encoded.
fn file_name(uri: &str) -> Cow<'_, str> {
    let name = uri.trim_end_matches('/').rsplit('/').next().unwrap_or(uri);
    percent_encoding::percent_decode_str(name).decode_utf8_lossy()
}

#[cfg(test)]
mod tests {
    use synapsenet_index::WordQuestion;
    use synapsenet_proto::{Draft, Source};
    use synapsenet_storage::{Change, LANE_OWN, StoreOptions};

    use super::*;
    use crate::testing::{author, note};

    fn put(store: &Store, grain: Grain) {
        let change = Change::Put {
            grain,
            shared: false,
            received_ms: 1,
            claim: None,
            origin: synapsenet_storage::Origin::Here,
            lane: LANE_OWN,
        };
        store.write(vec![change]).unwrap();
    }

    fn found(index: &WordIndex, text: &str) -> Vec<Slot> {
        let hits = index.words().search(&WordQuestion::parse(text), 10, &|_| true, &[]).best;
        hits.into_iter().map(|hit| hit.key).collect()
    }

    #[test]
    fn a_snapshot_is_brought_up_to_what_came_and_went_since_and_losing_it_loses_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("grains.redb"), &StoreOptions::default()).unwrap();
        let withdrawn = note(&author(1), "the quince tree");
        put(&store, note(&author(1), "the apple tree"));
        put(&store, withdrawn.clone());
        {
            let index = WordIndex::open(&store, dir.path()).unwrap();
            assert_eq!(found(&index, "tree"), [2, 1]);
            assert!(index.save(&store).unwrap());
            assert!(!index.save(&store).unwrap(), "nothing changed");
        }
        // This has no vector, so that only its slot tells of it; what goes is told by the log.
        put(&store, note(&author(1), "the pear tree"));
        let retraction = Grain::retract(withdrawn.id(), withdrawn.topic().clone(), &author(1), 9).unwrap();
        put(&store, retraction);
        let index = WordIndex::open(&store, dir.path()).unwrap();
        assert_eq!((found(&index, "tree"), index.len()), (vec![3, 1], 2));
        std::fs::remove_dir_all(dir.path().join(FOLDER)).unwrap();
        let index = WordIndex::open(&store, dir.path()).unwrap();
        assert_eq!((found(&index, "tree"), index.len()), (vec![3, 1], 2));
        // A log that was pruned behind it makes it begin anew.
        index.save(&store).unwrap();
        put(&store, note(&author(1), "the plum tree"));
        let gone = store.view().unwrap().record(3).unwrap().unwrap().grain;
        put(&store, Grain::retract(gone.id(), gone.topic().clone(), &author(1), 10).unwrap());
        let up_to = store.view().unwrap().last_index_seq().unwrap();
        store.write(vec![Change::PruneIndexLog { up_to }]).unwrap();
        index.follow(&store.view().unwrap()).unwrap();
        assert_eq!(found(&index, "tree"), [5, 1], "also while it runs");
        let index = WordIndex::open(&store, dir.path()).unwrap();
        assert_eq!(found(&index, "tree"), [5, 1]);
    }

    #[test]
    fn a_note_is_found_by_its_title_its_tags_and_the_name_of_its_file() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("grains.redb"), &StoreOptions::default()).unwrap();
        let uri = "file:q5zv3w7a/boiler%20service.md".to_owned();
        let draft = Draft {
            text: "Ask for Ilse.".into(),
            title: "Whom to ring".into(),
            tags: vec!["heating".into()],
            source: Some(Source { uri, ordinal: 0 }),
            ..Draft::default()
        };
        put(&store, Grain::seal(draft, &author(1), 1_790_000_000_000).unwrap());
        let index = WordIndex::open(&store, dir.path()).unwrap();
        for word in ["ilse", "ring", "heating", "boiler", "service.md"] {
            assert_eq!(found(&index, word), [1], "{word}");
        }
        assert!(found(&index, "q5zv3w7a").is_empty(), "folders are no words");
    }
}

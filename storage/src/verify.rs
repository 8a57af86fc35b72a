//! Is the file still whole? Every record is opened, and every table is held against the records.

use std::collections::BTreeMap;
use std::fmt;

use redb::{ReadableTable, ReadableTableMetadata};
use synapsenet_proto::{EncodedVector, Grain, Kind, SpaceId};

use crate::tables::{Header, meta, pair};
use crate::write::link_targets;
use crate::{Slot, StorageError, View, compress};

/// How many problems [`View::verify`] tells of: whoever has more needs a backup, not a longer list.
pub const MAX_PROBLEMS: usize = 1_000;

/// Something in the store that does not fit together, as a sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem(String);

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl View {
    /// Opens every stored grain with [`Grain::open`], decodes every vector, and holds every table against the records;
    /// gives what does not fit together, at most [`MAX_PROBLEMS`] of it. `progress` is told how many records and
    /// vectors are checked, and of how many, after each.
    ///
    /// # Errors
    /// An error of the disk. What is wrong with single records is no error but a [`Problem`].
    pub fn verify(&self, progress: &mut dyn FnMut(u64, u64)) -> Result<Vec<Problem>, StorageError> {
        let total = self.tables.records.len()? + self.tables.vectors.len()?;
        let mut check = Check { view: self, problems: Vec::new(), expected: Expected::default(), checked: 0 };
        let mut report = |checked| progress(checked, total);
        check.records(&mut report)?;
        check.vectors(&mut report)?;
        check.pending()?;
        check.claims()?;
        check.uses()?;
        check.pins()?;
        check.unchecked()?;
        check.index_log()?;
        check.strangers()?;
        check.sizes()?;
        Ok(check.problems)
    }
}

/// How many entries each table must have, counted from the records. A table in which every entry that a record calls for
/// was found, and which has no more than these, is right.
#[derive(Default)]
struct Expected {
    notes: u64,
    retractions: u64,
    tags: u64,
    metadata: u64,
    sources: u64,
    moved: u64,
    langs: u64,
    links: u64,
    shared: u64,
    /// Retractions whose tombstone names them; of two that withdraw one grain, only the later is named.
    tombstones: u64,
    topics: BTreeMap<String, u64>,
    authors: BTreeMap<[u8; 32], u64>,
}

struct Check<'v> {
    view: &'v View,
    problems: Vec<Problem>,
    expected: Expected,
    checked: u64,
}

impl Check<'_> {
    fn problem(&mut self, text: String) {
        if self.problems.len() < MAX_PROBLEMS {
            self.problems.push(Problem(text));
        }
    }

    fn require(&mut self, holds: bool, text: impl FnOnce() -> String) {
        if !holds {
            self.problem(text());
        }
    }

    fn step(&mut self, report: &mut dyn FnMut(u64)) {
        self.checked += 1;
        report(self.checked);
    }

    fn records(&mut self, report: &mut dyn FnMut(u64)) -> Result<(), StorageError> {
        let view = self.view;
        for entry in view.tables.records.iter()? {
            let (slot, record) = entry?;
            self.record(slot.value(), record.value())?;
            self.step(report);
        }
        Ok(())
    }

    fn record(&mut self, slot: Slot, record: &[u8]) -> Result<(), StorageError> {
        let last_slot = self.view.number(meta::LAST_SLOT)?;
        self.require(slot >= 1 && slot <= last_slot, || {
            format!("Slot {slot} was never given: the last one was {last_slot}.")
        });
        let (header, packed) = match Header::split(slot, record) {
            Ok(parts) => parts,
            Err(error) => {
                self.problem(format!("{error}."));
                return Ok(());
            }
        };
        let grain = match open(&header, packed) {
            Ok(grain) => grain,
            Err(why) => {
                self.problem(format!("The grain in slot {slot} is not readable: {why}."));
                return Ok(());
            }
        };
        let lang = grain.body().draft.lang.to_ascii_lowercase();
        let said = (grain.kind(), grain.created_ms(), lang.as_str());
        self.require(said == (header.kind, header.created_ms, header.lang), || {
            format!("The record in slot {slot} says another kind, time or language than its grain.")
        });
        let found = self.view.slot_of(&grain.id())?;
        self.require(found == Some(slot), || {
            format!("The id {} leads to {found:?}, not to slot {slot}.", grain.id())
        });
        self.orders(slot, &grain)?;
        *self.expected.authors.entry(*grain.author().as_bytes()).or_default() += 1;
        if header.shared {
            self.expected.shared += 1;
            let id = grain.id();
            let key = (grain.topic().as_str(), grain.created_ms(), id.as_bytes());
            let found = self.view.tables.shared.get(key)?.map(|slot| slot.value());
            self.require(found == Some(slot), || {
                format!("The grain in slot {slot} may leave the node and is not entered as such.")
            });
        }
        match grain.kind() {
            Kind::Note => self.note(slot, &grain),
            Kind::Retraction => self.retraction(slot, &grain),
        }
    }

    fn orders(&mut self, slot: Slot, grain: &Grain) -> Result<(), StorageError> {
        let tables = &self.view.tables;
        let (created_ms, draft) = (grain.created_ms(), &grain.body().draft);
        let mut missing = Vec::new();
        if tables.by_time.get((created_ms, slot))?.is_none() {
            missing.push("time");
        }
        if tables.by_topic.get((grain.topic().as_str(), created_ms, slot))?.is_none() {
            missing.push("topic");
        }
        if tables.by_author.get((grain.author().as_bytes(), created_ms, slot))?.is_none() {
            missing.push("author");
        }
        if grain.kind() == Kind::Note {
            for tag in &draft.tags {
                self.expected.tags += 1;
                if tables.by_tag.get((tag.as_str(), created_ms, slot))?.is_none() {
                    missing.push("tag");
                }
            }
            for (key, value) in &draft.metadata {
                self.expected.metadata += 1;
                if tables.by_metadata.get((pair(key, value).as_str(), created_ms, slot))?.is_none() {
                    missing.push("metadata");
                }
            }
            if let Some(source) = &draft.source {
                self.expected.sources += 1;
                let moved = tables.moved.get(slot)?;
                self.expected.moved += u64::from(moved.is_some());
                let uri = moved.as_ref().map_or(source.uri.as_str(), |uri| uri.value());
                if tables.by_source.get((uri, created_ms, slot))?.is_none() {
                    missing.push("source");
                }
            }
            if !draft.lang.is_empty() {
                self.expected.langs += 1;
                if tables.by_lang.get((draft.lang.to_ascii_lowercase().as_str(), created_ms, slot))?.is_none()
                {
                    missing.push("language");
                }
            }
        }
        for order in missing {
            self.problem(format!("The grain in slot {slot} is missing from the order by {order}."));
        }
        Ok(())
    }

    fn note(&mut self, slot: Slot, grain: &Grain) -> Result<(), StorageError> {
        let view = self.view;
        let tables = &view.tables;
        self.expected.notes += 1;
        *self.expected.topics.entry(grain.topic().to_string()).or_default() += 1;
        let is_known = tables.by_words.get((&grain.body().fingerprint(), slot))?.is_some();
        self.require(is_known, || format!("The note in slot {slot} is missing from the order by words."));
        for target in link_targets(grain) {
            self.expected.links += 1;
            let is_known = tables.links.get((target.as_bytes(), slot))?.is_some();
            self.require(is_known, || format!("The link from slot {slot} to {target} is not entered."));
        }
        let withdrawn = tables.tombstones.get((grain.id().as_bytes(), grain.author().as_bytes()))?.is_some();
        self.require(!withdrawn, || {
            format!("The note in slot {slot} was withdrawn by its author and is still here.")
        });
        let mut has_vector = false;
        for entry in tables.models.iter()? {
            let (number, _) = entry?.1.value();
            has_vector |= tables.vectors.get((number, slot))?.is_some();
        }
        let is_pending = view.is_pending(slot)?;
        self.require(has_vector || is_pending, || {
            format!("The note in slot {slot} has no vector and is not pending: no search will ever find it.")
        });
        Ok(())
    }

    fn retraction(&mut self, slot: Slot, grain: &Grain) -> Result<(), StorageError> {
        self.expected.retractions += 1;
        let Some(target) = grain.retracted() else { return Ok(()) };
        let author = grain.author();
        let named =
            self.view.tables.tombstones.get((target.as_bytes(), author.as_bytes()))?.map(|slot| slot.value());
        self.expected.tombstones += u64::from(named == Some(slot));
        self.require(named.is_some(), || {
            format!("What the retraction in slot {slot} withdraws can come back in.")
        });
        Ok(())
    }

    fn vectors(&mut self, report: &mut dyn FnMut(u64)) -> Result<(), StorageError> {
        let view = self.view;
        let mut numbers = BTreeMap::new();
        for entry in view.tables.models.iter()? {
            let (model, entry) = entry?;
            let (number, count) = entry.value();
            let former = numbers.insert(number, (SpaceId::from_bytes(*model.value()), count));
            self.require(former.is_none(), || format!("Two models have the number {number}."));
        }
        let mut counts = BTreeMap::<u16, u64>::new();
        for entry in view.tables.vectors.iter()? {
            let (key, bytes) = entry?;
            let (number, slot) = key.value();
            *counts.entry(number).or_default() += 1;
            self.vector(number, numbers.get(&number).map(|&(model, _)| model), slot, bytes.value())?;
            self.step(report);
        }
        for (number, (model, count)) in numbers {
            let found = counts.get(&number).copied().unwrap_or(0);
            self.require(found == count, || {
                format!("The model {model} has {found} vectors and is said to have {count}.")
            });
        }
        Ok(())
    }

    fn vector(
        &mut self,
        number: u16,
        model: Option<SpaceId>,
        slot: Slot,
        bytes: &[u8],
    ) -> Result<(), StorageError> {
        let Some(model) = model else {
            self.problem(format!(
                "The vector of slot {slot} belongs to model number {number}, which is unknown."
            ));
            return Ok(());
        };
        if let Err(why) = EncodedVector::from_bytes(model, bytes.to_vec()).decode() {
            self.problem(format!(
                "The vector of slot {slot} in the space of {model} is not readable: {why}."
            ));
        }
        let is_note = self.is_note(slot)?;
        self.require(is_note, || format!("Slot {slot} has a vector and no note."));
        Ok(())
    }

    fn pending(&mut self) -> Result<(), StorageError> {
        let view = self.view;
        for entry in view.tables.waiting.iter()? {
            let (slot, lane) = entry?;
            let (slot, lane) = (slot.value(), lane.value());
            let is_note = self.is_note(slot)?;
            self.require(is_note, || format!("Slot {slot} is pending and has no note."));
            let is_in_lane = view.tables.lanes.get((lane, slot))?.is_some();
            self.require(is_in_lane, || format!("Slot {slot} is pending and missing from lane {lane}."));
        }
        Ok(())
    }

    /// Each mark must be of a vector that is there.
    fn unchecked(&mut self) -> Result<(), StorageError> {
        let view = self.view;
        for entry in view.tables.unchecked.iter()? {
            let (slot, number) = entry?;
            let (slot, number) = (slot.value(), number.value());
            let is_there = view.tables.vectors.get((number, slot))?.is_some();
            self.require(is_there, || format!("Slot {slot} is marked as unchecked and has no such vector."));
        }
        Ok(())
    }

    fn claims(&mut self) -> Result<(), StorageError> {
        let view = self.view;
        for entry in view.tables.claims.iter()? {
            let slot = entry?.0.value();
            let is_note = self.is_note(slot)?;
            self.require(is_note, || format!("Slot {slot} has a claim and no note."));
        }
        Ok(())
    }

    fn pins(&mut self) -> Result<(), StorageError> {
        let view = self.view;
        for entry in view.tables.pins.iter()? {
            let slot = entry?.0.value();
            let is_note = self.is_note(slot)?;
            self.require(is_note, || format!("Slot {slot} is pinned and has no note."));
            let counts = view.is_strangers(slot)?;
            self.require(!counts, || format!("Slot {slot} is pinned and counts as a stranger's."));
        }
        Ok(())
    }

    fn uses(&mut self) -> Result<(), StorageError> {
        let view = self.view;
        for entry in view.tables.grain_access.iter()? {
            let (slot, _) = entry?.0.value();
            let is_note = self.is_note(slot)?;
            self.require(is_note, || format!("Slot {slot} was of use and has no note."));
        }
        for entry in view.tables.owner_access.iter()? {
            let (key, by_owner) = entry?;
            let all = view.tables.grain_access.get(key.value())?.map_or(0, |count| count.value());
            let slot = key.value().0;
            self.require(by_owner.value() <= all, || {
                format!("Slot {slot} was of use to the owner more often than to anybody.")
            });
        }
        Ok(())
    }

    /// Whether a slot has a note, or a record whose header is not readable, which is told of elsewhere.
    fn is_note(&self, slot: Slot) -> Result<bool, StorageError> {
        let Some(record) = self.view.tables.records.get(slot)? else { return Ok(false) };
        Ok(Header::split(slot, record.value()).map_or(true, |(header, _)| header.kind == Kind::Note))
    }

    fn index_log(&mut self) -> Result<(), StorageError> {
        let view = self.view;
        let (pruned, last) = (view.number(meta::PRUNED_SEQ)?, view.last_index_seq()?);
        let mut expected = pruned;
        for entry in view.tables.index_log.iter()? {
            expected += 1;
            let seq = entry?.0.value();
            if seq != expected {
                self.problem(format!("The index log goes on with {seq} where {expected} was expected."));
                return Ok(());
            }
        }
        self.require(expected == last, || format!("The index log ends with {expected}, not with {last}."));
        Ok(())
    }

    fn strangers(&mut self) -> Result<(), StorageError> {
        let view = self.view;
        let (mut sum, mut notes) = (0, 0);
        for entry in view.tables.strangers.iter()? {
            let (key, value) = entry?;
            let (created_ms, slot) = key.value();
            let (bytes, is_note) = value.value();
            sum += bytes;
            notes += u64::from(is_note);
            let is_there = view.tables.by_time.get((created_ms, slot))?.is_some();
            self.require(is_there, || format!("Slot {slot} counts as a stranger's and is empty."));
        }
        let counted = (view.number(meta::STRANGER_BYTES)?, view.number(meta::STRANGER_NOTES)?);
        self.require((sum, notes) == counted, || {
            format!(
                "Strangers' grains are counted for {counted:?} bytes and notes in all, and for {:?} one by one.",
                (sum, notes)
            )
        });
        for entry in view.tables.forgotten.iter()? {
            let (id, place) = entry?;
            let found = view.tables.forgotten_order.get(place.value())?.map(|id| *id.value());
            self.require(found == Some(*id.value()), || {
                "A forgotten grain has no place in the order in which they are kept out.".to_owned()
            });
        }
        Ok(())
    }

    fn sizes(&mut self) -> Result<(), StorageError> {
        let view = self.view;
        let tables = &view.tables;
        let Expected {
            notes,
            retractions,
            tags,
            metadata,
            sources,
            moved,
            langs,
            links,
            shared,
            tombstones,
            ..
        } = self.expected;
        let all = notes + retractions;
        let sizes = [
            ("ids", tables.ids.len()?, all),
            ("the order by time", tables.by_time.len()?, all),
            ("the order by topic", tables.by_topic.len()?, all),
            ("the order by author", tables.by_author.len()?, all),
            ("the order by tag", tables.by_tag.len()?, tags),
            ("the order by metadata", tables.by_metadata.len()?, metadata),
            ("the order by source", tables.by_source.len()?, sources),
            ("the order by language", tables.by_lang.len()?, langs),
            ("documents that were moved", tables.moved.len()?, moved),
            ("the order by words", tables.by_words.len()?, notes),
            ("what may leave the node", tables.shared.len()?, shared),
            ("links", tables.links.len()?, links),
            ("tombstones", tables.tombstones.len()?, tombstones),
            ("the order of what was forgotten", tables.forgotten_order.len()?, tables.forgotten.len()?),
            ("lanes", tables.lanes.len()?, tables.waiting.len()?),
            ("counted retractions", view.number(meta::RETRACTIONS)?, retractions),
            ("counted notes", view.counts()?.notes, notes),
        ];
        for (table, found, expected) in sizes {
            self.require(found == expected, || {
                format!("There are {found} entries in {table}, and the records call for {expected}.")
            });
        }
        let topics: BTreeMap<String, u64> =
            view.topics()?.into_iter().map(|(topic, count)| (topic.to_string(), count)).collect();
        let is_right = topics == self.expected.topics;
        self.require(is_right, || "The number of notes that each topic is said to have is wrong.".to_owned());
        let mut authors = BTreeMap::new();
        for entry in tables.authors.iter()? {
            let (author, count) = entry?;
            authors.insert(*author.value(), count.value());
        }
        let is_right = authors == self.expected.authors;
        self.require(is_right, || {
            "The number of grains that each author is said to have is wrong.".to_owned()
        });
        Ok(())
    }
}

/// Reads a grain and, other than everywhere else, checks its signature too.
fn open(header: &Header<'_>, packed: &[u8]) -> Result<Grain, String> {
    let bytes = compress::unpack(header.dictionary, packed).map_err(|why| why.to_string())?;
    Grain::open(&bytes).map_err(|why| why.to_string())
}

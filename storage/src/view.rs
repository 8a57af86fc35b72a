//! What can be read: one consistent snapshot of the store.

use std::collections::BTreeSet;

use redb::{ReadableTable, ReadableTableMetadata};
use synapsenet_proto::{AuthorId, Grain, GrainId, Kind, Topic};

use crate::store::Pass;
use crate::tables::{self, Header, LOG_ADDED, LOG_CLAIMED, LOG_MOVED, ReadTables, meta};
use crate::{Occasions, Slot, Standing, StorageError};

/// How many chunks of one document [`View::chunks_of`] gives: a book of four million characters in chunks of 250.
pub const MAX_CHUNKS: usize = 16_384;

/// A snapshot of the store: what is written later does not show in it.
///
/// It keeps space from being reused and [`crate::Store::compact`] from beginning, so it is to be dropped soon.
pub struct View {
    pub(crate) tables: ReadTables,
    /// Dropped after the tables, so that no table is open once the gate has counted this view out.
    _pass: Pass,
}

/// A stored grain and what this node knows about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Where it lies.
    pub slot: Slot,
    /// What its author said.
    pub grain: Grain,
    /// Whether it may leave the node.
    pub shared: bool,
    /// When it came in, in milliseconds since 1970-01-01 UTC by this node's clock.
    pub received_ms: u64,
    /// Whether it is a note that has its vector, so that a search can find it.
    pub searchable: bool,
    /// Where the document lies that a note was taken from, if it was moved since. The grain itself says where it lay before.
    pub moved_to: Option<String>,
    /// Whether the owner wants it kept, whoever wrote it.
    pub pinned: bool,
}

impl Record {
    /// The source by which a note is found: where its document lies now.
    #[must_use]
    pub fn source_uri(&self) -> Option<&str> {
        let said = || self.grain.body().draft.source.as_ref().map(|source| source.uri.as_str());
        self.moved_to.as_deref().or_else(said)
    }
}

/// Documents in the order of their names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Documents {
    /// Those that were found. They may be none though there are more.
    pub found: Vec<DocumentPlace>,
    /// The name behind which the walk goes on: of a document that was looked at, found or not. None when that was all.
    pub next_after: Option<String>,
}

/// A document that an author has notes of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DocumentPlace {
    /// Where it lies now, as its notes name it.
    pub uri: String,
    /// Where its oldest note lies.
    pub oldest: Slot,
    /// How many notes it has.
    pub grains: u64,
    /// When the oldest was sealed, in milliseconds since 1970-01-01 UTC.
    pub created_ms: u64,
    /// When the newest was.
    pub updated_ms: u64,
}

/// How much there is. Kept along with every change, never counted anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Notes.
    pub notes: u64,
    /// Retractions.
    pub retractions: u64,
    /// Notes that are not searchable yet.
    pub pending: u64,
    /// Vectors, of all models.
    pub vectors: u64,
    /// Grains of strangers: brought by peers, and not of this node's author or one that is followed.
    pub strangers: u64,
    /// How many of these are notes.
    pub stranger_notes: u64,
    /// The bytes that these are counted for: what they take in the file, at a guess.
    pub stranger_bytes: u64,
}

/// Something that the index is to do, in the order in which it happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IndexEvent {
    /// Its number: one more than that of the event before.
    pub seq: u64,
    /// The note that it is about. A later event may be about the same one, so its vector may be gone by now.
    pub slot: Slot,
    /// What happened.
    pub kind: IndexEventKind,
}

/// What happened to a note, as far as the index is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum IndexEventKind {
    /// A vector of some model was stored for it, and it had none of that model.
    Added,
    /// It went, with the vectors that it had, if it had any; or its last vector was dropped.
    Removed,
    /// Its document lies elsewhere now: the name of its source, whose words count, changed.
    Moved,
    /// It has a vector, and its author vouches for one from now on.
    Claimed,
}

impl View {
    pub(crate) fn new(tables: ReadTables, pass: Pass) -> Self {
        Self { tables, _pass: pass }
    }

    /// How much there is, in constant time.
    ///
    /// # Errors
    /// As every method of a view: an error of the disk, [`StorageError::Damaged`] or [`StorageError::DamagedRecord`].
    pub fn counts(&self) -> Result<Counts, StorageError> {
        let retractions = self.number(meta::RETRACTIONS)?;
        Ok(Counts {
            notes: self.tables.records.len()?.saturating_sub(retractions),
            retractions,
            pending: self.tables.waiting.len()?,
            vectors: self.tables.vectors.len()?,
            strangers: self.tables.strangers.len()?,
            stranger_notes: self.number(meta::STRANGER_NOTES)?,
            stranger_bytes: self.number(meta::STRANGER_BYTES)?,
        })
    }

    /// The topics that have notes, by name, with the number of their notes.
    ///
    /// # Errors
    /// As [`View::counts`].
    pub fn topics(&self) -> Result<Vec<(Topic, u64)>, StorageError> {
        let mut topics = Vec::new();
        for entry in self.tables.topics.iter()? {
            let (topic, count) = entry?;
            let topic = Topic::new(topic.value()).map_err(|why| StorageError::Damaged(why.to_string()))?;
            topics.push((topic, count.value()));
        }
        Ok(topics)
    }

    /// How many notes there are of a topic.
    ///
    /// # Errors
    /// As [`View::counts`].
    pub fn notes_of(&self, topic: &Topic) -> Result<u64, StorageError> {
        Ok(self.tables.topics.get(topic.as_str())?.map_or(0, |count| count.value()))
    }

    /// Where a grain lies.
    ///
    /// # Errors
    /// As [`View::counts`].
    pub fn slot_of(&self, id: &GrainId) -> Result<Option<Slot>, StorageError> {
        Ok(self.tables.ids.get(id.as_bytes())?.map(|slot| slot.value()))
    }

    /// The ids that begin with these hexadecimal digits (of either case), in order, at most `limit`; none when
    /// `prefix_hex` has other characters or more than 64.
    ///
    /// # Errors
    /// As [`View::counts`].
    pub fn ids_with_prefix(&self, prefix_hex: &str, limit: usize) -> Result<Vec<GrainId>, StorageError> {
        let Some((first, last)) = id_range(prefix_hex) else { return Ok(Vec::new()) };
        let mut ids = Vec::new();
        for entry in self.tables.ids.range::<&[u8; 32]>(&first..=&last)?.take(limit) {
            ids.push(GrainId::from_bytes(*entry?.0.value()));
        }
        Ok(ids)
    }

    /// A random number that this store got when it was made: what is derived from one store does not fit another.
    ///
    /// # Errors
    /// As [`View::counts`].
    pub fn store_id(&self) -> Result<u64, StorageError> {
        self.number(meta::STORE_ID)
    }

    /// What lies at a slot. A grain whose words are not those that it was stored under is not given out.
    ///
    /// # Errors
    /// As [`View::counts`].
    pub fn record(&self, slot: Slot) -> Result<Option<Record>, StorageError> {
        let Some(record) = self.tables.records.get(slot)? else { return Ok(None) };
        let (header, packed) = Header::split(slot, record.value())?;
        let grain = tables::decode_grain(slot, &header, packed)?;
        if self.slot_of(&grain.id())? != Some(slot) {
            return Err(StorageError::bad_record(slot, "its words are not those that it was stored with"));
        }
        let searchable = header.kind == Kind::Note && !self.is_pending(slot)?;
        let Header { shared, received_ms, .. } = header;
        let moved_to = self.tables.moved.get(slot)?.map(|uri| uri.value().to_owned());
        let pinned = self.tables.pins.get(slot)?.is_some();
        Ok(Some(Record { slot, grain, shared, received_ms, searchable, moved_to, pinned }))
    }

    /// When what lies at a slot came in, in milliseconds since 1970-01-01 UTC by this node's clock. Nothing is unpacked.
    ///
    /// # Errors
    /// As [`View::counts`].
    pub fn received_ms(&self, slot: Slot) -> Result<Option<u64>, StorageError> {
        let Some(record) = self.tables.records.get(slot)? else { return Ok(None) };
        Ok(Some(Header::split(slot, record.value())?.0.received_ms))
    }

    /// What an index is to do after it has done `after`, in order. None when a part of that was pruned: the index must
    /// be rebuilt, one of vectors from [`View::for_each_vector`], one of words from [`View::notes_after`]; after that it has done
    /// [`View::last_index_seq`]. That a note came is not told here: slots only grow.
    ///
    /// # Errors
    /// As [`View::counts`].
    pub fn index_log(&self, after: u64) -> Result<Option<Vec<IndexEvent>>, StorageError> {
        // An index that has done what this log never said belongs to another store.
        if after < self.number(meta::PRUNED_SEQ)? || after > self.last_index_seq()? {
            return Ok(None);
        }
        let mut events = Vec::new();
        for entry in self.tables.index_log.range(after.saturating_add(1)..)? {
            let (seq, event) = entry?;
            let (slot, kind) = event.value();
            let kind = match kind {
                LOG_ADDED => IndexEventKind::Added,
                LOG_MOVED => IndexEventKind::Moved,
                LOG_CLAIMED => IndexEventKind::Claimed,
                _ => IndexEventKind::Removed,
            };
            events.push(IndexEvent { seq: seq.value(), slot, kind });
        }
        Ok(Some(events))
    }

    /// The slot that was given last; 0 when none was yet. Slots only grow.
    ///
    /// # Errors
    /// As [`View::counts`].
    pub fn last_slot(&self) -> Result<Slot, StorageError> {
        self.number(meta::LAST_SLOT)
    }

    /// The number of the latest event for the index; 0 when there was none yet.
    ///
    /// # Errors
    /// As [`View::counts`].
    pub fn last_index_seq(&self) -> Result<u64, StorageError> {
        self.number(meta::LAST_SEQ)
    }

    /// What may leave the node of a topic, sealed at or after `from_ms` and before `before_ms`, in the order of
    /// (created_ms, id). No grain is unpacked: a hundred thousand take some tens of milliseconds.
    ///
    /// # Errors
    /// As [`View::counts`].
    pub fn shared_items(
        &self,
        topic: &Topic,
        from_ms: u64,
        before_ms: Option<u64>,
    ) -> Result<Vec<(u64, GrainId)>, StorageError> {
        let (topic, first, last) = (topic.as_str(), [0; 32], [0xff; 32]);
        let end = match before_ms {
            Some(0) => return Ok(Vec::new()),
            Some(before) => before - 1,
            None => u64::MAX,
        };
        let mut items = Vec::new();
        if from_ms > end {
            return Ok(items);
        }
        for entry in self.tables.shared.range((topic, from_ms, &first)..=(topic, end, &last))? {
            let key = entry?.0;
            let (_, created_ms, id) = key.value();
            items.push((created_ms, GrainId::from_bytes(*id)));
        }
        Ok(items)
    }

    /// A number that grows whenever something is added to or taken from what may leave the node.
    ///
    /// # Errors
    /// As [`View::counts`].
    pub fn shared_seq(&self) -> Result<u64, StorageError> {
        self.number(meta::SHARED_SEQ)
    }

    /// The grain of this id, when it is stored and may leave the node.
    ///
    /// # Errors
    /// As [`View::counts`].
    pub fn shared_record(&self, id: &GrainId) -> Result<Option<Record>, StorageError> {
        let Some(slot) = self.slot_of(id)? else { return Ok(None) };
        let Some(record) = self.tables.records.get(slot)? else { return Ok(None) };
        let is_shared = Header::split(slot, record.value())?.0.shared;
        if is_shared { self.record(slot) } else { Ok(None) }
    }

    /// Whether the author of a grain withdrew it, stored here or not.
    ///
    /// # Errors
    /// As [`View::counts`].
    pub fn is_withdrawn(&self, grain: &Grain) -> Result<bool, StorageError> {
        let key = (grain.id(), grain.author());
        Ok(self.tables.tombstones.get((key.0.as_bytes(), key.1.as_bytes()))?.is_some())
    }

    /// What the author of a note claims about its vector.
    ///
    /// # Errors
    /// As [`View::counts`].
    pub fn claim(&self, slot: Slot) -> Result<Option<Vec<u8>>, StorageError> {
        Ok(self.tables.claims.get(slot)?.map(|claim| claim.value().to_vec()))
    }

    /// How far the claims of an author are believed.
    ///
    /// # Errors
    /// As [`View::counts`].
    pub fn author_standing(&self, author: &AuthorId) -> Result<Standing, StorageError> {
        let standing = self.tables.standings.get(author.as_bytes())?.map(|standing| standing.value());
        Ok(standing.map(|(agreed, distrusted)| Standing { agreed, distrusted }).unwrap_or_default())
    }

    /// Where the note with this `Body::fingerprint` lies; of several, the one that came first.
    ///
    /// # Errors
    /// As [`View::counts`].
    pub fn find_fingerprint(&self, fingerprint: &[u8; 32]) -> Result<Option<Slot>, StorageError> {
        let mut same = self.tables.by_words.range((fingerprint, 0)..=(fingerprint, u64::MAX))?;
        Ok(same.next().transpose()?.map(|entry| entry.0.value().1))
    }

    /// The notes of an author whose document lies exactly there, by their place in it; of a document in more
    /// than [`MAX_CHUNKS`] chunks, those of the lowest times.
    ///
    /// # Errors
    /// As [`View::counts`].
    pub fn chunks_of(&self, author: AuthorId, uri: &str) -> Result<Vec<Record>, StorageError> {
        let mut chunks = Vec::new();
        for entry in self.tables.by_source.range((uri, 0, 0)..=(uri, u64::MAX, u64::MAX))? {
            let (_, created_ms, slot) = entry?.0.value();
            if self.tables.by_author.get((author.as_bytes(), created_ms, slot))?.is_none() {
                continue;
            }
            if chunks.len() == MAX_CHUNKS {
                break;
            }
            chunks.push(self.existing_record(slot)?);
        }
        let ordinal =
            |record: &Record| record.grain.body().draft.source.as_ref().map(|source| source.ordinal);
        chunks.sort_by_key(|record| (ordinal(record), record.slot));
        Ok(chunks)
    }

    /// The sources that begin with `prefix` and that an author has notes of, by where their documents lie now.
    ///
    /// # Errors
    /// As [`View::counts`].
    pub fn sources_of(&self, author: AuthorId, prefix: &str) -> Result<BTreeSet<String>, StorageError> {
        let mut sources = BTreeSet::new();
        for entry in self.tables.by_source.range((prefix, 0, 0)..)? {
            let key = entry?.0;
            let (uri, created_ms, slot) = key.value();
            if !uri.starts_with(prefix) {
                break;
            }
            if !sources.contains(uri)
                && self.tables.by_author.get((author.as_bytes(), created_ms, slot))?.is_some()
            {
                sources.insert(uri.to_owned());
            }
        }
        Ok(sources)
    }

    /// The documents whose names begin with `prefix` and that an author has notes of, by where they lie now: at most `limit` after
    /// the one named `after`, counting only the notes that `is_meant`. Nothing is unpacked.
    ///
    /// The walk ends behind a document once it has looked at `most` notes, meant or not, so that what is passed over costs no more.
    ///
    /// # Errors
    /// As [`View::counts`], and what `is_meant` says.
    pub fn documents_of(
        &self,
        author: AuthorId,
        prefix: &str,
        after: Option<&str>,
        (limit, most): (usize, usize),
        is_meant: &dyn Fn(Slot) -> Result<bool, StorageError>,
    ) -> Result<Documents, StorageError> {
        let mut found: Vec<DocumentPlace> = Vec::new();
        // The document that the walk has come to.
        let mut at = String::new();
        let start = match after.filter(|after| *after >= prefix) {
            Some(after) => (after, u64::MAX, u64::MAX),
            None => (prefix, 0, 0),
        };
        for (looked_at, entry) in self.tables.by_source.range(start..)?.enumerate() {
            let key = entry?.0;
            let (uri, created_ms, slot) = key.value();
            if !uri.starts_with(prefix) {
                break;
            }
            if at != uri {
                if looked_at >= most {
                    return Ok(Documents { found, next_after: Some(at) });
                }
                uri.clone_into(&mut at);
            }
            let is_authors = self.tables.by_author.get((author.as_bytes(), created_ms, slot))?.is_some();
            if !is_authors || !is_meant(slot)? {
                continue;
            }
            let is_full = found.len() == limit;
            match found.last_mut().filter(|document| document.uri == uri) {
                Some(document) => {
                    document.grains += 1;
                    document.updated_ms = created_ms;
                }
                None if is_full => {
                    let last = found.last().map(|document| document.uri.clone());
                    return Ok(Documents { found, next_after: last });
                }
                None => found.push(DocumentPlace {
                    uri: uri.to_owned(),
                    oldest: slot,
                    grains: 1,
                    created_ms,
                    updated_ms: created_ms,
                }),
            }
        }
        Ok(Documents { found, next_after: None })
    }

    /// How many notes link to a grain. Its time grows with that number.
    ///
    /// # Errors
    /// As [`View::counts`].
    pub fn links_to(&self, id: &GrainId) -> Result<u64, StorageError> {
        let mut count = 0;
        for entry in self.tables.links.range((id.as_bytes(), 0)..=(id.as_bytes(), u64::MAX))? {
            entry?;
            count += 1;
        }
        Ok(count)
    }

    /// The notes that link to a grain, the first that came first, at most `limit`.
    ///
    /// # Errors
    /// As [`View::counts`].
    pub fn linking_to(&self, id: &GrainId, limit: usize) -> Result<Vec<Slot>, StorageError> {
        let links = self.tables.links.range((id.as_bytes(), 0)..=(id.as_bytes(), u64::MAX))?;
        links.take(limit).map(|entry| Ok(entry?.0.value().1)).collect()
    }

    /// How many notes are pinned.
    ///
    /// # Errors
    /// As [`View::counts`].
    pub fn pinned_count(&self) -> Result<u64, StorageError> {
        Ok(self.tables.pins.len()?)
    }

    /// Shows on how many occasions each note was of use from a day on (since 1970-01-01 UTC), in the order of slots.
    ///
    /// # Errors
    /// As [`View::counts`].
    pub fn for_each_use(
        &self,
        from_day: u32,
        visit: &mut dyn FnMut(Slot, Occasions),
    ) -> Result<(), StorageError> {
        for entry in self.tables.grain_access.iter()? {
            let (key, all) = entry?;
            let (slot, day) = key.value();
            if day >= from_day {
                let by_owner = self.tables.owner_access.get((slot, day))?.map_or(0, |count| count.value());
                let by_others = all.value().saturating_sub(by_owner);
                visit(slot, Occasions { by_owner, by_others });
            }
        }
        Ok(())
    }

    /// The record of a slot that some table names.
    pub(crate) fn existing_record(&self, slot: Slot) -> Result<Record, StorageError> {
        self.record(slot)?
            .ok_or_else(|| StorageError::bad_record(slot, "it is named elsewhere and is not there"))
    }

    pub(crate) fn is_pending(&self, slot: Slot) -> Result<bool, StorageError> {
        Ok(self.tables.waiting.get(slot)?.is_some())
    }

    /// One of the numbers of [`meta`].
    pub(crate) fn number(&self, key: &str) -> Result<u64, StorageError> {
        let number = self.tables.meta.get(key)?.map(|number| number.value());
        number.ok_or_else(|| StorageError::Damaged(format!("the number {key} is missing")))
    }
}

/// The lowest and the highest id that begin with these digits.
fn id_range(prefix_hex: &str) -> Option<([u8; 32], [u8; 32])> {
    if prefix_hex.len() > 64 {
        return None;
    }
    let (mut first, mut last) = ([0x00; 32], [0xff; 32]);
    for (i, digit) in prefix_hex.chars().enumerate() {
        let digit = u8::try_from(digit.to_digit(16)?).ok()?;
        for (id, other) in [(&mut first, 0x0), (&mut last, 0xf)] {
            id[i / 2] = if i % 2 == 0 { digit << 4 | other } else { id[i / 2] & 0xf0 | digit };
        }
    }
    Some((first, last))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_of_an_id_spans_all_ids_that_begin_so() {
        let (first, last) = id_range("aB3").unwrap();
        assert_eq!((first[0], first[1], first[2]), (0xab, 0x30, 0x00));
        assert_eq!((last[0], last[1], last[2]), (0xab, 0x3f, 0xff));
        assert_eq!(id_range(""), Some(([0; 32], [0xff; 32])));
        assert_eq!(id_range("xy"), None);
        assert_eq!(id_range(&"0".repeat(65)), None);
    }
}

//! The column as bytes. All numbers are little-endian: the space; then lists, each begun by the number of its items (32 bits):
//! topics, authors, entries, slots whose neighbours are to be looked for, slots that are to be read, and slots that went. The reader
//! believes nothing, and reserves no more than the bytes it was given can fill.

use std::collections::HashMap;

use synapsenet_proto::{AuthorId, GrainId, SpaceId, Topic};
use synapsenet_storage::Slot;

use super::column::{Column, Entry, MAX_NEAR, Near};
use super::scores::Place;

/// The version of what is on disk, and of how scores are made; another one is not read.
pub(super) const FORMAT: u32 = 3;

const SCORED: u8 = 1;
const HAS_OLDER: u8 = 2;
const HAS_BEFORE: u8 = 4;
const STRANGERS: u8 = 8;

/// The column, and what is still to be done for it.
pub(super) fn encode(column: &Column, place: &Place) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend(place.space.map_or([0; 32], |space| *space.as_bytes()));
    let mut slots: Vec<Slot> = column.entries.keys().copied().collect();
    slots.sort_unstable();
    let entries: Vec<(Slot, &Entry)> =
        slots.iter().filter_map(|slot| Some((*slot, column.entries.get(slot)?))).collect();
    let (mut topics, mut authors) = (Names::default(), Names::default());
    let numbers: Vec<(u32, u32)> =
        entries.iter().map(|(_, entry)| (topics.number(entry.topic), authors.number(entry.author))).collect();
    put_count(&mut bytes, topics.names.len());
    for &topic in &topics.names {
        let name = column.topics.name(topic).map_or("", Topic::as_str);
        bytes.push(name.len() as u8);
        bytes.extend(name.as_bytes());
    }
    put_count(&mut bytes, authors.names.len());
    for &author in &authors.names {
        bytes.extend(column.authors.name(author).map_or([0; 32], |author| *author.as_bytes()));
    }
    put_count(&mut bytes, entries.len());
    for ((slot, entry), (topic, author)) in entries.into_iter().zip(numbers) {
        put_entry(&mut bytes, slot, entry, topic, author);
    }
    put_slots(&mut bytes, column.waiting.iter());
    put_slots(&mut bytes, place.unread.iter());
    put_slots(&mut bytes, place.gone.iter());
    bytes
}

/// Numbers without those that nobody has, in the order in which they are met.
#[derive(Default)]
struct Names {
    numbers: HashMap<u32, u32>,
    names: Vec<u32>,
}

impl Names {
    fn number(&mut self, of: u32) -> u32 {
        let next = self.names.len() as u32;
        *self.numbers.entry(of).or_insert_with(|| {
            self.names.push(of);
            next
        })
    }
}

fn put_count(bytes: &mut Vec<u8>, count: usize) {
    bytes.extend((count as u32).to_le_bytes());
}

fn put_slots<'a>(bytes: &mut Vec<u8>, slots: impl ExactSizeIterator<Item = &'a Slot>) {
    put_count(bytes, slots.len());
    for slot in slots {
        bytes.extend(slot.to_le_bytes());
    }
}

fn put_entry(bytes: &mut Vec<u8>, slot: Slot, entry: &Entry, topic: u32, author: u32) {
    bytes.extend(slot.to_le_bytes());
    bytes.extend(entry.order.0.to_le_bytes());
    bytes.extend(entry.order.1);
    bytes.extend(topic.to_le_bytes());
    bytes.extend(author.to_le_bytes());
    bytes.extend(entry.words.to_le_bytes());
    bytes.extend(entry.citations.to_le_bytes());
    bytes.extend(entry.came.to_le_bytes());
    let flags = [
        (entry.is_scored, SCORED),
        (entry.older.is_some(), HAS_OLDER),
        (entry.before.is_some(), HAS_BEFORE),
        (entry.is_strangers, STRANGERS),
    ];
    bytes.push(flags.iter().filter(|(is_set, _)| *is_set).map(|(_, flag)| flag).sum());
    bytes.extend(entry.older.iter().chain(&entry.before).flat_map(|near| near.0.to_le_bytes()));
    bytes.push(entry.near.len() as u8);
    bytes.extend(entry.near.iter().flat_map(|near| near.0.to_le_bytes()));
    bytes.push(entry.cites.len() as u8);
    entry.cites.iter().for_each(|id| bytes.extend(id.as_bytes()));
}

/// Reads what [`encode`] wrote. None when it is something else.
pub(super) fn decode(bytes: &[u8]) -> Option<(Column, Place)> {
    let mut reader = Reader(bytes);
    let space = SpaceId::from_bytes(reader.array()?);
    let topics: Vec<Topic> = reader.list(|reader| {
        let length = reader.byte()?;
        let name = std::str::from_utf8(reader.take(usize::from(length))?).ok()?;
        Topic::new(name).ok()
    })?;
    let authors: Vec<AuthorId> = reader.list(|reader| Some(AuthorId::from_bytes(reader.array()?)))?;
    let mut column = Column::default();
    let count = reader.count()?;
    for _ in 0..count {
        let (slot, mut entry) = reader.entry()?;
        let (topic, author) = (topics.get(entry.topic as usize)?, authors.get(entry.author as usize)?);
        (entry.topic, entry.author) = column.number(topic, author);
        column.put(slot, entry);
    }
    column.waiting = reader.list(Reader::number)?.into_iter().collect();
    let unread = reader.list(Reader::number)?.into_iter().collect();
    let gone = reader.list(Reader::number)?.into_iter().collect();
    reader.0.is_empty().then(|| (column, Place { space: Some(space), unread, gone, ..Place::default() }))
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.first_chunk().copied()
    }

    fn byte(&mut self) -> Option<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn number(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    fn count(&mut self) -> Option<usize> {
        self.array().map(u32::from_le_bytes).map(|count| count as usize)
    }

    fn list<T>(&mut self, read: impl Fn(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        let count = self.count()?;
        let mut items = Vec::new();
        for _ in 0..count {
            items.push(read(self)?);
        }
        Some(items)
    }

    fn entry(&mut self) -> Option<(Slot, Entry)> {
        let slot = self.number()?;
        let order = (self.number()?, self.array()?);
        let (topic, author) = (self.count()? as u32, self.count()? as u32);
        let (words, citations) = (self.number()?, self.count()? as u32);
        let came = self.count()? as u32;
        let flags = self.byte()?;
        if flags & !(SCORED | HAS_OLDER | HAS_BEFORE | STRANGERS) != 0 {
            return None;
        }
        let older = if flags & HAS_OLDER == 0 { None } else { Some(Near(self.number()?)) };
        let before = if flags & HAS_BEFORE == 0 { None } else { Some(Near(self.number()?)) };
        let near_count = usize::from(self.byte()?);
        if near_count > MAX_NEAR {
            return None;
        }
        let near = (0..near_count).map(|_| self.number().map(Near)).collect::<Option<_>>()?;
        let cited = self.byte()?;
        let cites = (0..cited).map(|_| self.array().map(GrainId::from_bytes)).collect::<Option<_>>()?;
        let (is_scored, is_strangers) = (flags & SCORED != 0, flags & STRANGERS != 0);
        let entry = Entry {
            order,
            topic,
            author,
            words,
            came,
            is_strangers,
            is_scored,
            older,
            before,
            near,
            citations,
            cites,
        };
        Some((slot, entry))
    }
}

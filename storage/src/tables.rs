//! What lies where in the file.
//!
//! A grain has one record, under its slot, and one entry in each order that it belongs to; an order's key ends in
//! `(created_ms, slot)`, so that every order is also one by time. All of a grain's entries are written and removed in
//! one transaction with its record, and `verify` checks that they fit together.

use redb::{
    Key, ReadOnlyTable, ReadTransaction, ReadableDatabase, ReadableTable, ReadableTableMetadata, Table,
    TableDefinition, Value, WriteTransaction,
};
use synapsenet_proto::{Claim, Grain, Kind};

use crate::{LANE_AGAIN, LANE_OWN, Slot, StorageError, compress};

/// The rules by which the file is laid out. It is raised by every change that an older program would misread.
pub(crate) const FORMAT_VERSION: u64 = 6;

/// Names the tables once, and makes of them the set for a writing and the set for a reading transaction.
macro_rules! tables {
    ($($(#[$doc:meta])* $name:ident: $key:ty => $value:ty;)*) => {
        /// Every table, open for writing.
        pub(crate) struct WriteTables<'txn> { $($(#[$doc])* pub(crate) $name: Table<'txn, $key, $value>,)* }

        impl<'txn> WriteTables<'txn> {
            /// Opens every table, making those that are not there yet.
            pub(crate) fn open(txn: &'txn WriteTransaction) -> Result<Self, StorageError> {
                Ok(Self { $($name: txn.open_table(TableDefinition::new(stringify!($name)))?,)* })
            }
        }

        /// Every table of one snapshot.
        pub(crate) struct ReadTables { $($(#[$doc])* pub(crate) $name: ReadOnlyTable<$key, $value>,)* }

        impl ReadTables {
            /// Opens every table; [`crate::Store::open`] has made them all.
            pub(crate) fn open(txn: &ReadTransaction) -> Result<Self, StorageError> {
                Ok(Self { $($name: txn.open_table(TableDefinition::new(stringify!($name)))?,)* })
            }

            /// How many entries all of them have.
            pub(crate) fn entries(&self) -> Result<u64, StorageError> {
                Ok(0 $(+ self.$name.len()?)*)
            }

            /// Writes every entry into another file's tables of the same names, and counts each with `each`.
            pub(crate) fn copy_to(
                &self,
                txn: &WriteTransaction,
                each: &mut dyn FnMut() -> Result<(), StorageError>,
            ) -> Result<(), StorageError> {
                let mut to = WriteTables::open(txn)?;
                $(copy(&self.$name, &mut to.$name, each)?;)*
                Ok(())
            }

            /// Every entry of every table, as bytes.
            #[cfg(test)]
            pub(crate) fn dump(&self) -> Vec<(&'static str, Vec<u8>, Vec<u8>)> {
                let mut all = Vec::new();
                $(dump(stringify!($name), &self.$name, &mut all);)*
                all
            }
        }
    };
}

/// Copies one table.
fn copy<K: Key, V: Value>(
    from: &ReadOnlyTable<K, V>,
    to: &mut Table<'_, K, V>,
    each: &mut dyn FnMut() -> Result<(), StorageError>,
) -> Result<(), StorageError> {
    for entry in from.iter()? {
        let (key, value) = entry?;
        to.insert(key.value(), value.value())?;
        each()?;
    }
    Ok(())
}

#[cfg(test)]
fn dump<K: Key, V: Value>(
    name: &'static str,
    table: &ReadOnlyTable<K, V>,
    all: &mut Vec<(&'static str, Vec<u8>, Vec<u8>)>,
) {
    for entry in table.iter().unwrap() {
        let (key, value) = entry.unwrap();
        let (key, value) = (key.value(), value.value());
        all.push((name, K::as_bytes(&key).as_ref().to_vec(), V::as_bytes(&value).as_ref().to_vec()));
    }
}

tables! {
    /// The numbers named by the constants of [`meta`].
    meta: &'static str => u64;
    /// slot -> [`Header`], then the packed `SignedGrain`.
    records: u64 => &'static [u8];
    /// grain id -> slot.
    ids: &'static [u8; 32] => u64;
    /// Every grain by time: (created_ms, slot).
    by_time: (u64, u64) => ();
    /// Every grain by topic: (topic, created_ms, slot).
    by_topic: (&'static str, u64, u64) => ();
    /// Every grain by author: (author, created_ms, slot).
    by_author: (&'static [u8; 32], u64, u64) => ();
    /// Notes by each of their tags: (tag, created_ms, slot).
    by_tag: (&'static str, u64, u64) => ();
    /// Notes that name a source: (uri, created_ms, slot); by where it was moved to, where it was.
    by_source: (&'static str, u64, u64) => ();
    /// slot of a note whose document was moved -> where it lies now.
    moved: u64 => &'static str;
    /// Notes that name a language: (language tag in lower case, created_ms, slot).
    by_lang: (&'static str, u64, u64) => ();
    /// Notes by each pair of their metadata: (the pair as [`pair`] writes it, created_ms, slot).
    by_metadata: (&'static str, u64, u64) => ();
    /// Notes by what they say: (`Body::fingerprint`, slot). Peers may bring several that say the same.
    by_words: (&'static [u8; 32], u64) => ();
    /// What was withdrawn: (target, author of the retraction) -> slot of the latest retraction that says so. A grain
    /// whose id and author stand here is not let in.
    tombstones: (&'static [u8; 32], &'static [u8; 32]) => u64;
    /// Which notes link to a grain: (target, slot of the note that links).
    links: (&'static [u8; 32], u64) => ();
    /// topic -> how many notes it has; a topic without any has no entry.
    topics: &'static str => u64;
    /// id of a space -> (its number in this file, how many vectors of it are stored). An entry stays when there are none any
    /// more, so that no number is given twice.
    models: &'static [u8; 32] => (u16, u64);
    /// (number of the model, slot) -> the encoded vector.
    vectors: (u16, u64) => &'static [u8];
    /// The notes that are not searchable yet: slot -> the lane that each waits in.
    waiting: u64 => u32;
    /// The same by their lanes: (lane, slot).
    lanes: (u32, u64) => ();
    /// What may leave the node: (topic, created_ms, grain id) -> slot. In the order in which sets are compared.
    shared: (&'static str, u64, &'static [u8; 32]) => u64;
    /// slot of a note -> the claim that its author made about its vector, as it came.
    claims: u64 => &'static [u8];
    /// slot of a note -> the number of the model whose vector was claimed by its author, and not compared here.
    unchecked: u64 => u16;
    /// author -> (claims of it that were found right, whether one was found false).
    standings: &'static [u8; 32] => (u32, bool);
    /// Grains of strangers, the oldest first: (created_ms, slot) -> (the bytes that it is counted for, whether it is a note).
    strangers: (u64, u64) => (u64, bool);
    /// author -> how many grains of it are stored.
    authors: &'static [u8; 32] => u64;
    /// author -> [`RULE_FOLLOWED`] or [`RULE_BLOCKED`].
    author_rules: &'static [u8; 32] => u8;
    /// topic -> [`POLICY_KNOWN`] or [`POLICY_LISTED`]; a topic that is open has no entry.
    topic_policies: &'static str => u8;
    /// Who is listed for a topic: (topic, author).
    topic_authors: (&'static str, &'static [u8; 32]) => ();
    /// id of a grain that was forgotten -> its place in `forgotten_order`.
    forgotten: &'static [u8; 32] => u64;
    /// place -> id: the eldest gives way when there are too many.
    forgotten_order: u64 => &'static [u8; 32];
    /// Authors that were caught, whose unchecked vectors are still to go: author -> (created_ms, slot) of the first grain that
    /// was not looked at.
    purges: &'static [u8; 32] => (u64, u64);
    /// How often a note was of use on a day: (slot, day since 1970-01-01 UTC) -> occasions.
    grain_access: (u64, u32) => u32;
    /// How many of these occasions were the owner's, where some were: (slot, day) -> occasions.
    owner_access: (u64, u32) => u32;
    /// slot of a note that the owner pinned -> whether it would be a stranger's if it were not. It does not stand in `strangers`.
    pins: u64 => bool;
    /// sequence number -> (slot, [`LOG_ADDED`], [`LOG_REMOVED`], [`LOG_MOVED`] or [`LOG_CLAIMED`]): what the indexes are still to hear.
    index_log: u64 => (u64, u8);
}

/// The keys of the table of numbers.
pub(crate) mod meta {
    /// [`super::FORMAT_VERSION`] of the program that made the file.
    pub(crate) const FORMAT: &str = "format";
    /// The slot that was given last; 0 in a new store.
    pub(crate) const LAST_SLOT: &str = "last_slot";
    /// How many of the records are retractions.
    pub(crate) const RETRACTIONS: &str = "retractions";
    /// The sequence number that the index log gave last; 0 in a new store.
    pub(crate) const LAST_SEQ: &str = "last_seq";
    /// The highest sequence number that was pruned from the index log.
    pub(crate) const PRUNED_SEQ: &str = "pruned_seq";
    /// Counts the changes of what may leave the node.
    pub(crate) const SHARED_SEQ: &str = "shared_seq";
    /// The sum of `strangers`.
    pub(crate) const STRANGER_BYTES: &str = "stranger_bytes";
    /// How many of `strangers` are notes.
    pub(crate) const STRANGER_NOTES: &str = "stranger_notes";
    /// The last place that was given in `forgotten_order`; 0 in a new store.
    pub(crate) const FORGOTTEN_SEQ: &str = "forgotten_seq";
    /// A random number that tells this store from others; see [`crate::View::store_id`].
    pub(crate) const STORE_ID: &str = "store_id";
    /// All of them.
    pub(crate) const ALL: [&str; 10] = [
        FORMAT,
        LAST_SLOT,
        RETRACTIONS,
        LAST_SEQ,
        PRUNED_SEQ,
        SHARED_SEQ,
        STRANGER_BYTES,
        STRANGER_NOTES,
        FORGOTTEN_SEQ,
        STORE_ID,
    ];
}

/// An author is followed.
pub(crate) const RULE_FOLLOWED: u8 = 1;
/// An author is blocked.
pub(crate) const RULE_BLOCKED: u8 = 2;
/// A topic takes grains of authors that are followed.
pub(crate) const POLICY_KNOWN: u8 = 1;
/// A topic takes grains of those listed.
pub(crate) const POLICY_LISTED: u8 = 2;

/// What a stranger's grain is counted for: its record and its claim, and the rest that it takes in the file, at a guess: a
/// vector of 384 components, its places in eight orders, and what pages hold of nothing.
pub(crate) fn counted_bytes(record: usize, claim: usize) -> u64 {
    const REST: usize = 2048;
    (record + claim + REST) as u64
}

/// A vector was stored where there was none of its model.
pub(crate) const LOG_ADDED: u8 = 1;
/// A note went, or lost the last vector that it had.
pub(crate) const LOG_REMOVED: u8 = 2;
/// A note lies elsewhere from now on: the name of its source changed.
pub(crate) const LOG_MOVED: u8 = 3;
/// The author of a note that has a vector vouches for one from now on.
pub(crate) const LOG_CLAIMED: u8 = 4;

/// What is said about a record before its packed grain, so that most filters need not unpack it.
///
/// On disk: one byte of flags, one for the dictionary, `received_ms` and `created_ms` as little-endian u64, one byte
/// for the length of the language tag, the tag in lower case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header<'a> {
    /// Whether the grain may leave the node.
    pub(crate) shared: bool,
    /// Note or retraction.
    pub(crate) kind: Kind,
    /// The dictionary that the grain is packed with; see [`compress`].
    pub(crate) dictionary: u8,
    /// When it came in, in milliseconds since 1970-01-01 UTC by this node's clock.
    pub(crate) received_ms: u64,
    /// As the grain says.
    pub(crate) created_ms: u64,
    /// As the grain says, in lower case.
    pub(crate) lang: &'a str,
}

/// Where the flags lie in a record.
const FLAGS_AT: usize = 0;
const FLAG_SHARED: u8 = 1;
const FLAG_RETRACTION: u8 = 2;
const FIXED_BYTES: usize = 19;

impl<'a> Header<'a> {
    /// Takes a record apart into its header and the packed grain.
    pub(crate) fn split(slot: Slot, record: &'a [u8]) -> Result<(Self, &'a [u8]), StorageError> {
        Self::parse(record).ok_or_else(|| StorageError::bad_record(slot, "its header is cut off or unknown"))
    }

    fn parse(record: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let (fixed, rest) = record.split_at_checked(FIXED_BYTES)?;
        let flags = fixed[FLAGS_AT];
        if flags & !(FLAG_SHARED | FLAG_RETRACTION) != 0 {
            return None;
        }
        let number = |at: usize| fixed[at..].first_chunk::<8>().map(|bytes| u64::from_le_bytes(*bytes));
        let (lang, packed) = rest.split_at_checked(usize::from(fixed[18]))?;
        let header = Self {
            shared: flags & FLAG_SHARED != 0,
            kind: if flags & FLAG_RETRACTION == 0 { Kind::Note } else { Kind::Retraction },
            dictionary: fixed[1],
            received_ms: number(2)?,
            created_ms: number(10)?,
            lang: std::str::from_utf8(lang).ok()?,
        };
        Some((header, packed))
    }

    fn write(&self, record: &mut Vec<u8>) {
        let shared = if self.shared { FLAG_SHARED } else { 0 };
        let retraction = if self.kind == Kind::Retraction { FLAG_RETRACTION } else { 0 };
        record.extend([shared | retraction, self.dictionary]);
        record.extend(self.received_ms.to_le_bytes());
        record.extend(self.created_ms.to_le_bytes());
        record.push(u8::try_from(self.lang.len()).expect("a language tag has at most 35 bytes"));
        record.extend(self.lang.as_bytes());
    }
}

/// A pair of metadata in the order by these: no key has an equals sign.
pub(crate) fn pair(key: &str, value: &str) -> String {
    format!("{key}={value}")
}

/// Makes the record of a grain.
pub(crate) fn encode_record(grain: &Grain, shared: bool, received_ms: u64) -> Vec<u8> {
    let (dictionary, packed) = compress::pack(grain.as_bytes());
    let lang = grain.body().draft.lang.to_ascii_lowercase();
    let created_ms = grain.created_ms();
    let header = Header { shared, kind: grain.kind(), dictionary, received_ms, created_ms, lang: &lang };
    let mut record = Vec::with_capacity(FIXED_BYTES + lang.len() + packed.len());
    header.write(&mut record);
    record.extend(packed);
    record
}

/// The same record, marked as shared.
pub(crate) fn mark_shared(record: &[u8]) -> Vec<u8> {
    let mut record = record.to_vec();
    record[FLAGS_AT] |= FLAG_SHARED;
    record
}

/// Reads the grain of a record. Its signature was checked when it came in.
pub(crate) fn decode_grain(slot: Slot, header: &Header<'_>, packed: &[u8]) -> Result<Grain, StorageError> {
    let bytes =
        compress::unpack(header.dictionary, packed).map_err(|why| StorageError::bad_record(slot, why))?;
    Grain::reopen(&bytes).map_err(|why| StorageError::bad_record(slot, why))
}

/// Makes the tables of a new file, or checks that this program knows the format of an old one.
pub(crate) fn prepare(db: &redb::Database) -> Result<(), StorageError> {
    const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
    let read = db.begin_read()?;
    match read.open_table(META) {
        Ok(meta) => {
            let found = meta.get(meta::FORMAT)?.map_or(0, |format| format.value());
            match found {
                FORMAT_VERSION => return Ok(()),
                1..=5 => {
                    drop(meta);
                    drop(read);
                    if found == 1 {
                        migrate_from_1(db)?;
                    }
                    if found <= 2 {
                        migrate_from_2(db)?;
                    }
                    if found <= 3 {
                        migrate_from_3(db)?;
                    }
                    if found <= 4 {
                        migrate_from_4(db)?;
                    }
                    return migrate_from_5(db);
                }
                _ => {}
            }
            return Err(StorageError::UnknownVersion { found, known: FORMAT_VERSION });
        }
        Err(redb::TableError::TableDoesNotExist(_)) => {}
        Err(error) => return Err(error.into()),
    }
    if read.list_tables()?.next().is_some() || read.list_multimap_tables()?.next().is_some() {
        return Err(StorageError::NotADatabase);
    }
    drop(read);
    let txn = db.begin_write()?;
    {
        let mut tables = WriteTables::open(&txn)?;
        for key in meta::ALL {
            let value = match key {
                meta::FORMAT => FORMAT_VERSION,
                // The standard library seeds its hashers at random.
                meta::STORE_ID => std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), key),
                _ => 0,
            };
            tables.meta.insert(key, value)?;
        }
    }
    Ok(txn.commit()?)
}

/// Version 1 knew one note for the same words, and did not keep what may leave the node in an order of its own. All in
/// one transaction.
fn migrate_from_1(db: &redb::Database) -> Result<(), StorageError> {
    const FINGERPRINTS: TableDefinition<'_, &[u8; 32], u64> = TableDefinition::new("fingerprints");
    tracing::info!("bringing the database from format 1 to format 2");
    let txn = db.begin_write()?;
    {
        let mut tables = WriteTables::open(&txn)?;
        for entry in tables.records.iter()? {
            let (slot, record) = entry?;
            let slot = slot.value();
            let (header, packed) = Header::split(slot, record.value())?;
            if header.shared {
                let Ok(grain) = decode_grain(slot, &header, packed) else {
                    tracing::warn!(slot, "a damaged grain stays where it is; `verify` tells of it");
                    continue;
                };
                let key = (grain.topic().as_str(), grain.created_ms(), grain.id());
                tables.shared.insert((key.0, key.1, key.2.as_bytes()), slot)?;
            }
        }
        for entry in txn.open_table(FINGERPRINTS)?.iter()? {
            let (words, slot) = entry?;
            tables.by_words.insert((words.value(), slot.value()), ())?;
        }
        tables.meta.insert(meta::SHARED_SEQ, 1)?;
        tables.meta.insert(meta::FORMAT, 2)?;
    }
    txn.delete_table(FINGERPRINTS)?;
    Ok(txn.commit()?)
}

/// Version 2 did not count the grains of each author, nor those of strangers: what it holds counts as the owner's. It believed
/// claims of authors that had made true ones, and had one queue for all that was pending. All in one
/// transaction.
fn migrate_from_2(db: &redb::Database) -> Result<(), StorageError> {
    tracing::info!("bringing the database from format 2 to format 3");
    let txn = db.begin_write()?;
    {
        let mut tables = WriteTables::open(&txn)?;
        tables.authors.retain(|_, _| false)?;
        for entry in tables.by_author.iter()? {
            let key = entry?.0;
            let (author, _, _) = key.value();
            let count = tables.authors.get(author)?.map_or(0, |count| count.value());
            tables.authors.insert(author, count + 1)?;
        }
        tables.meta.insert(meta::STRANGER_BYTES, 0)?;
        tables.meta.insert(meta::STRANGER_NOTES, 0)?;
        tables.meta.insert(meta::FORGOTTEN_SEQ, 0)?;
        mark_claimed(&mut tables)?;
        sort_pending(&txn, &mut tables)?;
        tables.meta.insert(meta::FORMAT, 3)?;
    }
    Ok(txn.commit()?)
}

/// Version 3 knew no documents that were moved: there are none.
fn migrate_from_3(db: &redb::Database) -> Result<(), StorageError> {
    tracing::info!("bringing the database from format 3 to format 4");
    let txn = db.begin_write()?;
    WriteTables::open(&txn)?.meta.insert(meta::FORMAT, 4)?;
    Ok(txn.commit()?)
}

/// Version 4 did not count how often a grain was of use: none was.
fn migrate_from_4(db: &redb::Database) -> Result<(), StorageError> {
    tracing::info!("bringing the database from format 4 to format 5");
    let txn = db.begin_write()?;
    WriteTables::open(&txn)?.meta.insert(meta::FORMAT, 5)?;
    Ok(txn.commit()?)
}

/// Version 5 knew no metadata and no pins, and did not tell the owner's occasions from those of others: no note has any, nothing was
/// pinned, and all occasions are of others.
fn migrate_from_5(db: &redb::Database) -> Result<(), StorageError> {
    tracing::info!("bringing the database from format 5 to format 6");
    let txn = db.begin_write()?;
    WriteTables::open(&txn)?.meta.insert(meta::FORMAT, FORMAT_VERSION)?;
    Ok(txn.commit()?)
}

/// Whatever has a claim and a vector of the same model is unchecked.
fn mark_claimed(tables: &mut WriteTables<'_>) -> Result<(), StorageError> {
    for entry in tables.claims.iter()? {
        let (slot, claim) = entry?;
        let slot = slot.value();
        // One that cannot be read was never believed.
        let Ok(claim) = Claim::reopen(claim.value()) else { continue };
        let model = claim.vector().model();
        let number = tables.models.get(model.as_bytes())?.map(|entry| entry.value().0);
        if let Some(number) = number
            && tables.vectors.get((number, slot))?.is_some()
        {
            tables.unchecked.insert(slot, number)?;
        }
    }
    Ok(())
}

/// Who delivered a note is not known any more. What is private was put here.
fn sort_pending(txn: &WriteTransaction, tables: &mut WriteTables<'_>) -> Result<(), StorageError> {
    const PENDING: TableDefinition<'_, u64, ()> = TableDefinition::new("pending");
    for entry in txn.open_table(PENDING)?.iter()? {
        let slot = entry?.0.value();
        let is_shared = match tables.records.get(slot)? {
            Some(record) => Header::split(slot, record.value())?.0.shared,
            None => continue,
        };
        let lane = if is_shared { LANE_AGAIN } else { LANE_OWN };
        tables.waiting.insert(slot, lane)?;
        tables.lanes.insert((lane, slot), ())?;
    }
    txn.delete_table(PENDING)?;
    Ok(())
}

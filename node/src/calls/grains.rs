//! Calls about grains: putting, sharing, withdrawing, looking at them.

use futures::Stream;
use synapsenet_proto::{Draft, Grain, GrainId, Topic, Vector};
use synapsenet_storage::{Change, Filter, ListQuery, Outcome, Page, Record, Slot, View};
use tokio::sync::OwnedSemaphorePermit;

use crate::blocking::blocking;
use crate::calls::access::{Topics, Who};
use crate::calls::error::{invalid, invalid_in};
pub(crate) use crate::calls::links::{GrainLinks, Linked};
use crate::calls::{Call, CallError};
use crate::composed::composed_draft;
use crate::memory::Memory;
use crate::memory::document;
pub(crate) use crate::memory::document::{
    Added, By, Document, EncodingError, Format, MAX_DOCUMENT_BYTES, Omission, decode, is_label,
};
use crate::memory::emergence::uses::today;
pub(crate) use crate::memory::emergence::{Emergence, Nothing};
use crate::memory::ingest::{IngestError, Put, Shared, now_ms};

/// Grains on a page at most, and when a list names no number.
pub(crate) const MAX_PAGE: usize = 1000;
pub(crate) const DEFAULT_PAGE: usize = 100;
/// Bytes of grains on a page, so that the answer of any door stays below the 4 MiB that clients of gRPC take by default: what
/// is added to a grain there (its id, its author in words, the path of its file) is less than 1,000 bytes, 1 MB on a full page.
pub(super) const MAX_PAGE_BYTES: usize = 3 << 20;
/// Items of one bulk stream that are being stored at the same time: enough to fill a commit.
pub(crate) const MAX_PUTS_IN_FLIGHT: usize = 256;

/// Parts of a document that are shown before a grain and after it: with 32 KiB each, an answer stays below 4 MiB.
const MAX_CONTEXT: usize = 50;

/// The part of the room for pins that those who are limited to topics may fill, one of so many: the owner has the rest.
const PINS_OF_LIMITED: u64 = 4;

/// A grain that was asked for.
#[derive(Debug)]
pub(crate) struct Got {
    /// The grain.
    pub record: Record,
    /// Its score, where its neighbours were looked at.
    pub emergence: Option<Emergence>,
    /// Parts of its document before it, in the order of the document.
    pub before: Vec<Record>,
    /// Those after it.
    pub after: Vec<Record>,
    /// Its links, when they were asked for.
    pub links: GrainLinks,
    /// Its vector, when it was asked for and there is one.
    pub vector: Option<Vector>,
}

/// What is asked for besides a grain.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Besides {
    /// So many parts of its document before it and after it.
    pub context: usize,
    /// The notes that it leads to, and that lead to it.
    pub links: bool,
    /// Its vector.
    pub vector: bool,
}

/// A grain that was handed in and is on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stored {
    /// Its id, or that of the grain that says the same and was there already.
    pub id: GrainId,
    /// Whether it was not there before.
    pub is_new: bool,
    /// Whether it may leave the node.
    pub shared: bool,
}

/// How far the node is with what was stored before a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Indexing {
    /// Grains that search cannot find yet; at least one until all that were stored before the call are found.
    pub pending: u64,
    /// Whether all of these are found.
    pub is_done: bool,
    /// Notes that are found by their words only, because the model cannot read them, or failed on them.
    pub unreadable: u64,
}

impl Call {
    /// Seals a draft as this node's author and stores it.
    ///
    /// # Errors
    /// [`CallError`]; then it is not stored.
    pub async fn put(&self, draft: Draft, share: bool) -> Result<Stored, CallError> {
        let mut draft = composed_draft(draft);
        self.check_caller(&draft.topic)?;
        let mut path = None;
        if let Some(source) = &mut draft.source {
            let signed = self.parts.places.signed(&source.uri);
            path = Some(std::mem::replace(&mut source.uri, signed));
        }
        let sealed = Grain::seal(draft, &self.parts.identity, now_ms()).map_err(CallError::from);
        let stored = self.put_grain(sealed, share).await?;
        if let Some(path) = path.filter(|_| !self.topics_of_caller().is_limited()) {
            self.remember_folder(path).await;
        }
        Ok(stored)
    }

    /// Stores a grain that was sealed elsewhere, given as an encoded `SignedGrain`.
    ///
    /// # Errors
    /// [`CallError`]; then it is not stored.
    pub async fn put_sealed(&self, bytes: &[u8], share: bool) -> Result<Stored, CallError> {
        self.put_grain(Grain::open(bytes).map_err(CallError::from), share).await
    }

    /// Counts a refusal of what was handed in, also when a door found it.
    ///
    /// # Errors
    /// As it was.
    pub fn counted<T>(&self, result: Result<T, CallError>) -> Result<T, CallError> {
        if let Err(CallError::Ingest(IngestError::Refused(refusal))) = &result {
            self.parts.memory.metrics.refused(refusal);
        }
        result
    }

    async fn put_grain(&self, grain: Result<Grain, CallError>, share: bool) -> Result<Stored, CallError> {
        let grain = self.counted(grain)?;
        self.check_sealed(&grain)?;
        self.check_path(&grain, share)?;
        let (id, topic) = (grain.id(), grain.topic().clone());
        self.check_topic(&topic, share)?;
        let stored = match self.parts.ingest.put(grain, share).await? {
            Put::Added => Stored { id, is_new: true, shared: share },
            Put::Duplicate { id, shared } => Stored { id, is_new: false, shared },
        };
        self.note_grain(&stored.id, &topic);
        self.take_part(topic, share).await?;
        Ok(stored)
    }

    /// Splits a document into grains and stores what is new in it.
    ///
    /// # Errors
    /// [`CallError`]; what was stored before an error is stored, and doing it again goes on.
    pub async fn add_document(&self, mut document: Document) -> Result<Added, CallError> {
        document.draft = composed_draft(document.draft);
        let (topic, share) = (document.draft.topic.clone(), document.share);
        self.check_caller(&topic)?;
        document.by = self.adds_by();
        document.held.push(self.place.clone());
        self.check_topic(&topic, share)?;
        let added = self.parts.library.add(document).await?;
        added.ids.iter().for_each(|id| self.note_grain(id, &topic));
        self.take_part(topic, share).await?;
        Ok(added)
    }

    /// Waits for room for a document that is larger than a text may be; what is answered keeps it.
    pub async fn room_for_large(&self) -> Option<OwnedSemaphorePermit> {
        self.parts.library.room(self.adds_by()).await
    }

    fn adds_by(&self) -> By {
        match self.caller.who() {
            Who::Socket(_) => By::Owner,
            _ if self.topics_of_caller().is_limited() => By::Limited,
            _ => By::Guest,
        }
    }

    /// Lets a private grain leave the node from now on. Answers its id, and whether it was private before.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn share(&self, id: String) -> Result<(GrainId, bool), CallError> {
        let grain = self.record(id).await?.grain;
        if grain.retracted().is_some() {
            return Err(CallError::NotANote("this is a retraction; it goes where the grain went"));
        }
        Ok((grain.id(), self.share_grain(&grain).await?))
    }

    /// Lets a stored note leave the node. Answers whether it was private before.
    pub(super) async fn share_grain(&self, grain: &Grain) -> Result<bool, CallError> {
        self.check_path(grain, true)?;
        let (id, topic) = (grain.id(), grain.topic().clone());
        self.check_topic(&topic, true)?;
        let is_new = match self.parts.ingest.share(id).await? {
            Shared::Now => true,
            Shared::Already => false,
            Shared::NotFound => return Err(CallError::NoGrain(id.to_string())),
        };
        self.note_grain(&id, &topic);
        self.take_part(topic, true).await?;
        Ok(is_new)
    }

    /// Keeps a note from now on, whoever wrote it, or keeps it no more. Answers its id, and whether that was otherwise before. There may
    /// be as many pins as strangers may have grains here: then pins take no more than what was theirs. Who is limited to topics pins
    /// within them, and no more once a part of that room is full.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn pin(&self, id: String, pinned: bool) -> Result<(GrainId, bool), CallError> {
        let topics = self.topics_of_caller().clone();
        let room = self.parts.limits.borrow().max_strangers;
        let most = if topics.is_limited() { room / PINS_OF_LIMITED } else { room };
        let record = self.read(move |_, view| find_record(view, &id, &topics)).await?;
        if record.grain.retracted().is_some() {
            return Err(CallError::NotANote("this is a retraction, which is no note to be kept"));
        }
        let (id, slot) = (record.grain.id(), record.slot);
        let outcomes = self.parts.ingest.apply(vec![Change::Pin { slot, pinned, most }]).await?;
        if outcomes.first() == Some(&Outcome::NoRoom) {
            return Err(CallError::TooManyPins { most, room });
        }
        self.note_grain(&id, record.grain.topic());
        Ok((id, outcomes.first() == Some(&Outcome::Changed)))
    }

    /// Remembers where the file lies that a stored grain was taken from, to show it: what is signed tells no path, as it may be shared
    /// later.
    pub(super) async fn remember_folder(&self, uri: String) {
        let parts = self.parts.clone();
        blocking(move || parts.places.sign(&uri)).await;
    }

    /// Where the file lies that a grain of this node's own was taken from, as a URI; none when that is not known. `moved_to` is
    /// its source where that is another by now than the grain says.
    pub fn file_of(&self, grain: &Grain, moved_to: Option<&str>) -> Option<String> {
        self.parts.places.file_of(grain, moved_to)
    }

    /// What a filter that names a file or folder by its path means here.
    pub(super) fn by_signed_source(&self, filter: Filter) -> Filter {
        let of_all =
            |others: Vec<Filter>| others.into_iter().map(|other| self.by_signed_source(other)).collect();
        let source_prefix = filter.source_prefix.map(|prefix| self.parts.places.signed_beginning(&prefix));
        Filter { source_prefix, any: of_all(filter.any), none: of_all(filter.none), ..filter }
    }

    /// Refuses to share a path: a grain that was sealed elsewhere may tell one.
    pub(super) fn check_path(&self, grain: &Grain, share: bool) -> Result<(), CallError> {
        if share && self.parts.places.tells_path(grain) {
            return Err(invalid(
                "its source tells the path of a file on your machine: add the file again and share that",
            ));
        }
        Ok(())
    }

    /// Refuses what would be shared on a topic that there is no room for.
    pub(super) fn check_topic(&self, topic: &Topic, share: bool) -> Result<(), CallError> {
        match &self.parts.mesh {
            Some(mesh) if share => Ok(mesh.check_room(topic)?),
            _ => Ok(()),
        }
    }

    /// Whoever shares something on a topic takes part in it, once it is stored: what was refused has no part in anything.
    pub(super) async fn take_part(&self, topic: Topic, share: bool) -> Result<(), CallError> {
        match &self.parts.mesh {
            Some(mesh) if share && !mesh.topics().contains(&topic) => {
                Ok(mesh.subscribe(topic).await.map(drop)?)
            }
            _ => Ok(()),
        }
    }

    /// Withdraws a grain of this node's own author. Answers the id of the retraction.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn retract(&self, id: String) -> Result<GrainId, CallError> {
        let record = self.own_note(id).await?;
        self.retract_record(&record).await
    }

    /// A stored note of this node's own author.
    ///
    /// # Errors
    /// When it is none, or another's.
    pub(super) async fn own_note(&self, id: String) -> Result<Record, CallError> {
        let record = self.record(id).await?;
        if record.grain.author() != self.parts.identity.author() {
            return Err(CallError::NotTheAuthor);
        }
        if record.grain.retracted().is_some() {
            return Err(CallError::NotANote("this is a retraction itself, and cannot be withdrawn"));
        }
        Ok(record)
    }

    /// Withdraws a stored note of this node's own author. Answers the id of the retraction.
    pub(super) async fn retract_record(&self, record: &Record) -> Result<GrainId, CallError> {
        let retraction = document::retract(&self.parts.ingest, &self.parts.identity, record).await?;
        self.note_grain(&record.grain.id(), record.grain.topic());
        Ok(retraction)
    }

    /// One grain by its id or a beginning of it, with its score where it has one, and what stands
    /// around it. Who is limited to topics is told no score: it tells whether something like it is known anywhere.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn get(&self, id: String, besides: Besides) -> Result<Got, CallError> {
        let context = besides.context;
        if context > MAX_CONTEXT {
            return Err(invalid_in(
                "context",
                format!("context is {context}; at most {MAX_CONTEXT} are allowed"),
            ));
        }
        let (topics, who) = (self.topics_of_caller().clone(), self.caller.asker());
        let got = self.read(move |memory, view| {
            let record = find_record(view, &id, &topics)?;
            memory.uses.note_opened(who, record.slot, today());
            let emergence = match topics.is_limited() {
                true => None,
                false => memory.emergence(record.slot),
            };
            let (before, after) = neighbours(view, &record, context, &topics)?;
            let vector = match besides.vector {
                true => checked_vector(memory, view, record.slot)?,
                false => None,
            };
            Ok(Got { record, emergence, before, after, links: GrainLinks::default(), vector })
        });
        let mut got = got.await?;
        if self.parts.memory.uses.is_due() {
            self.parts.ingest.write_uses();
        }
        if besides.links {
            got.links = self.links_of(&got.record).await?;
        }
        Ok(got)
    }

    async fn record(&self, id: String) -> Result<Record, CallError> {
        let topics = self.topics_of_caller().clone();
        self.read(move |_, view| find_record(view, &id, &topics)).await
    }

    /// A page of grains, newest first. A limit of 0 is [`DEFAULT_PAGE`]. It has fewer when they are large, and counts them
    /// twice when their signed bytes are handed out beside what they say.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn list(&self, query: ListQuery, with_signed: bool) -> Result<Page, CallError> {
        let limit = match query.limit {
            0 => DEFAULT_PAGE,
            size if size <= MAX_PAGE => size,
            size => {
                return Err(invalid_in(
                    "page_size",
                    format!("page_size is {size}; at most {MAX_PAGE} are allowed"),
                ));
            }
        };
        let max_bytes = Some(if with_signed { MAX_PAGE_BYTES / 2 } else { MAX_PAGE_BYTES });
        let filter = self.topics_of_caller().narrow(self.by_signed_source(query.filter))?;
        self.read(move |_, view| Ok(view.list(&ListQuery { filter, limit, max_bytes, ..query })?)).await
    }

    /// How many grains a filter lets through; notes, and retractions where they are wanted.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn count(&self, filter: Filter, with_retractions: bool) -> Result<u64, CallError> {
        let filter = self.topics_of_caller().narrow(self.by_signed_source(filter))?;
        self.read(move |_, view| Ok(view.count(&filter, with_retractions)?)).await
    }

    /// Tells how far the node is, until every grain that was stored before is found by search; with `only_own` every one
    /// that was put at this node, which does not wait for those of others.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn wait_indexed(
        &self,
        only_own: bool,
    ) -> Result<impl Stream<Item = Result<Indexing, CallError>> + Send + use<>, CallError> {
        let target = self.read(|_, view| Ok(view.last_slot()?)).await?;
        let (call, progress) = (self.clone(), self.parts.progress.clone());
        let is_limited = self.topics_of_caller().is_limited();
        // The state is the receiver and whether anything was told, or None once the last message was.
        Ok(futures::stream::unfold(Some((progress, false)), move |state| {
            let _held_until_the_stream_ends = &call;
            async move {
                let (mut progress, was_told) = state?;
                if was_told && progress.changed().await.is_err() {
                    return Some((Err(CallError::Stopping), None));
                }
                let now = *progress.borrow_and_update();
                let (done_slot, pending) = match only_own {
                    true => (now.own_done_slot, now.own_pending),
                    false => (now.done_slot, now.pending),
                };
                let is_done = done_slot >= target;
                let pending = if is_done { 0 } else { pending.max(1) };
                // How many wait in all is not for who is limited to topics; only whether some do.
                let (pending, unreadable) =
                    if is_limited { (pending.min(1), 0) } else { (pending, now.unreadable) };
                Some((Ok(Indexing { pending, is_done, unreadable }), (!is_done).then_some((progress, true))))
            }
        }))
    }
}

/// The vector of a note in the first space that has one which is not only claimed.
fn checked_vector(memory: &Memory, view: &View, slot: Slot) -> Result<Option<Vector>, CallError> {
    for space in memory.spaces().all().filter(|space| !space.unchecked.contains(slot)) {
        if let Some(vector) = view.vector(slot, space.id())? {
            // One that is damaged is not told; `verify` tells of it.
            return Ok(vector.decode().ok());
        }
    }
    Ok(None)
}

/// The parts of a grain's document that come right before it and after it, at most `count` each. None for a grain without a source.
fn neighbours(
    view: &View,
    record: &Record,
    count: usize,
    topics: &Topics,
) -> Result<(Vec<Record>, Vec<Record>), CallError> {
    let Some(source) = record.source_uri().filter(|_| count > 0) else {
        return Ok(Default::default());
    };
    let mut before = view.chunks_of(record.grain.author(), source)?;
    before.retain(|chunk| topics.shows(chunk));
    let Some(place) = before.iter().position(|chunk| chunk.slot == record.slot) else {
        return Ok(Default::default());
    };
    let after = before.drain(place..).skip(1).take(count).collect();
    before.drain(..before.len().saturating_sub(count));
    Ok((before, after))
}

/// Finds a record by its whole id or by a beginning of it that is unique among what the topics show.
pub(crate) fn find_record(view: &View, id: &str, topics: &Topics) -> Result<Record, CallError> {
    /// Shorter beginnings name too many grains to be meant.
    const MIN_PREFIX: usize = 8;
    /// Ids that are looked at for those in the caller's topics: 32 bits that are the same are rare, unless somebody made them.
    const MAX_SAME: usize = 64;
    let id = id.to_ascii_lowercase();
    let hex = id.bytes().all(|b| b.is_ascii_hexdigit());
    if !hex || id.len() < MIN_PREFIX || id.len() > 64 {
        return Err(invalid_in(
            "id",
            format!("{id:?} is no id: give 64 hexadecimal digits, or at least {MIN_PREFIX} of them"),
        ));
    }
    let mut found = None;
    for same in view.ids_with_prefix(&id, if topics.is_limited() { MAX_SAME } else { 2 })? {
        let record = view.slot_of(&same)?.map(|slot| view.record(slot)).transpose()?.flatten();
        let Some(record) = record.filter(|record| topics.shows(record)) else { continue };
        if found.replace(record).is_some() {
            return Err(invalid_in("id", format!("more than one id begins with {id}: give more digits")));
        }
    }
    found.ok_or(CallError::NoGrain(id))
}

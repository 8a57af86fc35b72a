//! Documents as a whole: what of this node's own author was taken from one, in its order, and all of it withdrawn at once.

use synapsenet_proto::Topic;
use synapsenet_storage::{Filter, Record, Slot, View};

use crate::calls::error::{invalid, invalid_in};
use crate::calls::grains::{DEFAULT_PAGE, MAX_PAGE, MAX_PAGE_BYTES};
use crate::calls::sealed::Seal;
use crate::calls::{Call, CallError};
use crate::memory::document;

/// Notes that are looked at for one page of documents, of whomever they are: some 20 ms. A page ends there, and says how to go on.
const MAX_LOOKED_AT: usize = 10_000;
/// What tells the tokens of these pages from other uses of the store's number.
const CONTEXT: &str = "synapsenet v1 page of documents";

/// A document, as the notes that were taken from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DocumentReport {
    /// What its notes name as their source, and where it lies now.
    pub uri: String,
    /// Where the file lies, as a URI; none when that is not known.
    pub file: Option<String>,
    /// Of its oldest note.
    pub title: String,
    /// Of its oldest note.
    pub topic: Topic,
    /// How many notes it has.
    pub grains: u64,
    /// When the oldest was sealed, in milliseconds since 1970-01-01 UTC.
    pub created_ms: u64,
    /// When the newest was.
    pub updated_ms: u64,
}

/// Some parts of a document.
#[derive(Debug)]
pub(crate) struct Parts {
    pub document: DocumentReport,
    /// In the order of the document.
    pub records: Vec<Record>,
    /// How many come before the next ones; none when these are the last.
    pub next: Option<usize>,
}

impl Call {
    /// The parts of a document from this one on; a limit of 0 is [`DEFAULT_PAGE`].
    ///
    /// # Errors
    /// [`CallError::NoDocument`] and others.
    pub async fn document(&self, uri: String, from: usize, limit: usize) -> Result<Parts, CallError> {
        let limit = check_page(limit)?;
        let records = self.records_of(uri).await?;
        let document = self.report_of(&records);
        let count = records.len();
        let mut room = MAX_PAGE_BYTES;
        let fits = |record: &Record| {
            // The first is there however large it is.
            let left = room.checked_sub(record.grain.as_bytes().len());
            let is_first = room == MAX_PAGE_BYTES;
            room = left.unwrap_or(0);
            is_first || left.is_some()
        };
        let records: Vec<_> = records.into_iter().skip(from).take(limit).take_while(fits).collect();
        let next =
            Some(from.saturating_add(records.len())).filter(|next| *next < count && !records.is_empty());
        Ok(Parts { document, records, next })
    }

    /// Withdraws all notes of a document, in one commit: all or none. In a dry run it only tells what it is. Answers how many.
    ///
    /// # Errors
    /// [`CallError::NoDocument`] and others; then nothing was withdrawn.
    pub async fn delete_document(
        &self,
        uri: String,
        dry_run: bool,
    ) -> Result<(DocumentReport, usize), CallError> {
        let records = self.records_of(uri).await?;
        let document = self.report_of(&records);
        if dry_run {
            return Ok((document, 0));
        }
        document::retract_all(&self.parts.ingest, &self.parts.identity, records.clone()).await?;
        for record in &records {
            self.note_grain(&record.grain.id(), record.grain.topic());
        }
        Ok((document, records.len()))
    }

    /// Documents whose names begin so, by their names, from where the token of the page before says; a limit of 0 is [`DEFAULT_PAGE`].
    /// Answers the token of the next page, too, where there may be more: a page may have fewer, or none, since what is looked at and
    /// not meant costs as much.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn documents(
        &self,
        prefix: &str,
        token: String,
        limit: usize,
    ) -> Result<(Vec<DocumentReport>, Option<String>), CallError> {
        let limit = check_page(limit)?;
        let (places, author) = (self.parts.places.clone(), self.parts.identity.author());
        let (prefix, topics) = (places.signed_beginning(prefix), self.topics_of_caller().clone());
        let of_topic = |topic: &Topic| Filter { topic: Some(topic.clone()), ..Filter::default() };
        let of_topics: Vec<Filter> = topics.named().map(of_topic).collect();
        self.read(move |_, view| {
            let is_meant = |slot: Slot| {
                if !topics.is_limited() {
                    return Ok(true);
                }
                // By the order of each topic: nothing is unpacked.
                for meant in &of_topics {
                    if view.matches(slot, meant)? {
                        return Ok(true);
                    }
                }
                Ok(false)
            };
            let seal = Seal::new(CONTEXT, view.store_id()?);
            let after = match token.as_str() {
                "" => None,
                token => Some(name_of(&seal, token)?),
            };
            let bounds = (limit, MAX_LOOKED_AT);
            let walked = view.documents_of(author, &prefix, after.as_deref(), bounds, &is_meant)?;
            let mut documents = Vec::with_capacity(walked.found.len());
            for place in walked.found {
                let Some(oldest) = view.record(place.oldest)? else { continue };
                documents.push(DocumentReport {
                    file: places.file_of(&oldest.grain, oldest.moved_to.as_deref()),
                    title: oldest.grain.body().draft.title.clone(),
                    topic: oldest.grain.topic().clone(),
                    uri: place.uri,
                    grains: place.grains,
                    created_ms: place.created_ms,
                    updated_ms: place.updated_ms,
                });
            }
            // It may be of a document that this caller may not know of.
            Ok((documents, walked.next_after.map(|name| seal.close(name.as_bytes()))))
        })
        .await
    }

    /// The notes of a document that the caller may see, in its order; at least one.
    async fn records_of(&self, uri: String) -> Result<Vec<Record>, CallError> {
        if uri.is_empty() {
            return Err(invalid("the request names no document: give the URI or path that it was added by"));
        }
        let (author, topics) = (self.parts.identity.author(), self.topics_of_caller().clone());
        let signed = self.parts.places.signed(&uri);
        let records = self.read(move |_, view: &View| {
            let mut records = view.chunks_of(author, &signed)?;
            records.retain(|record| topics.shows(record));
            Ok(records)
        });
        let records = records.await?;
        if records.is_empty() { Err(CallError::NoDocument(uri)) } else { Ok(records) }
    }

    /// What is told of a document that has these notes.
    fn report_of(&self, records: &[Record]) -> DocumentReport {
        let time = |record: &&Record| (record.grain.created_ms(), record.slot);
        let (oldest, newest) = (records.iter().min_by_key(time), records.iter().max_by_key(time));
        let draft = oldest.map(|oldest| oldest.grain.body().draft.clone()).unwrap_or_default();
        DocumentReport {
            uri: oldest.and_then(Record::source_uri).unwrap_or_default().to_owned(),
            file: oldest.and_then(|record| self.file_of(&record.grain, record.moved_to.as_deref())),
            title: draft.title,
            topic: draft.topic,
            grains: records.len() as u64,
            created_ms: oldest.map_or(0, |record| record.grain.created_ms()),
            updated_ms: newest.map_or(0, |record| record.grain.created_ms()),
        }
    }
}

/// The name of the document behind which a page begins.
fn name_of(seal: &Seal, token: &str) -> Result<String, CallError> {
    let name = seal.open(token).and_then(|name| String::from_utf8(name).ok());
    name.ok_or_else(|| {
        invalid_in("page_token", "this is no page token: use the one that came with the page before")
    })
}

fn check_page(limit: usize) -> Result<usize, CallError> {
    match limit {
        0 => Ok(DEFAULT_PAGE),
        size if size <= MAX_PAGE => Ok(size),
        size => Err(invalid(format!("page_size is {size}; at most {MAX_PAGE} are allowed"))),
    }
}

//! Documents: read as what they are, split into chunks that the model reads whole, and kept in step with their source.

mod address;
mod blobs;
mod child;
mod docx;
mod elements;
mod encoding;
mod epub;
mod format;
mod front_matter;
mod html;
mod left_out;
mod links;
mod mail;
mod markdown;
mod neighbours;
mod notebook;
mod odt;
mod packed;
mod packed_xml;
mod pdf;
mod read;
mod table;
mod title;
mod writer;
mod yaml;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt};
use synapsenet_index::{Model, Section, Tokenizer, split};
use synapsenet_proto::{
    Draft, Grain, GrainId, Identity, MAX_SOURCE_URI_BYTES, MAX_TAG_BYTES, MAX_TAGS, MAX_TEXT_BYTES,
    MAX_TITLE_BYTES, Refusal, Source,
};
use synapsenet_storage::{Change, Record, StorageError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::blocking::blocking;
use crate::memory::Memory;
use crate::memory::ingest::{Ingest, IngestError, Put, now_ms};
use crate::models::embedder::EmbedError;
pub(crate) use child::keep_private;
pub(crate) use encoding::{EncodingError, decode, is_label};
pub(crate) use format::Format;
use left_out::LeftOut;
pub(crate) use left_out::Omission;
pub(crate) use neighbours::Neighbour;
pub(crate) use read::MAX_DOCUMENT_BYTES;
use read::{ReadError, Reading, prepend, read};
use title::file_name;

/// Chunks of one document that are being stored at the same time.
const MAX_PUTS_IN_FLIGHT: usize = 256;
/// Documents that other programs may read at the same time, of the owner and of others: each may take half a GiB of memory.
const MAX_PROGRAMS: usize = 2;
const MAX_PROGRAMS_OF_OTHERS: usize = 1;
/// Tokens that a title leaves to the text at least, however long the title is.
const MIN_CHUNK_TOKENS: usize = 64;

/// Turns of those that need a program. Of the process, as what they take is the machine's.
static PROGRAMS: Semaphore = Semaphore::const_new(MAX_PROGRAMS);
static PROGRAMS_OF_OTHERS: Semaphore = Semaphore::const_new(MAX_PROGRAMS_OF_OTHERS);

/// A document to be remembered.
#[derive(Debug)]
pub(crate) struct Document {
    /// What is said of it: topic, tags, language, title. The draft has no text.
    pub draft: Draft,
    /// All of it.
    pub content: Vec<u8>,
    /// Names the document.
    pub uri: String,
    /// How it is read; as its name says where that is not given.
    pub format: Option<Format>,
    /// The label of its encoding; empty where it is to be found out.
    pub encoding: String,
    /// Whether its grains may leave the node.
    pub share: bool,
    /// Who adds it.
    pub by: By,
    /// What is given back once it has been read, whether or not somebody still waits for that: room in memory, a place among the calls.
    pub held: Vec<Arc<OwnedSemaphorePermit>>,
}

/// Who adds a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum By {
    /// Whoever owns the node: never waits for what others add.
    Owner,
    /// The holder of a token.
    Guest,
    /// The holder of a token that is limited to topics: what an earlier version said in another topic is left as it is.
    Limited,
}

/// What adding a document did.
#[derive(Debug, Default)]
pub(crate) struct Added {
    /// Every chunk in the order of the document.
    pub ids: Vec<GrainId>,
    /// Chunks that are new.
    pub added: u32,
    /// Chunks that were there already.
    pub unchanged: u32,
    /// Chunks of an earlier version that the document no longer has.
    pub retracted: u32,
    /// The notes that its links lead to.
    pub neighbours: Vec<Neighbour>,
    /// What of the document is in no chunk.
    pub left_out: Vec<Omission>,
}

/// Why a document was not added.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DocumentError {
    /// The document as a whole breaks a rule.
    #[error("{0}")]
    Refused(String),
    /// It cannot be read.
    #[error(transparent)]
    Unreadable(#[from] ReadError),
    /// A chunk was not stored.
    #[error(transparent)]
    Ingest(#[from] IngestError),
    /// There is no tokenizer of the model in use.
    #[error(transparent)]
    Embed(#[from] EmbedError),
    /// The chunks of the earlier version cannot be read.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl Document {
    /// How it is read, whatever its name says where that was given.
    pub fn format(&self) -> Format {
        self.format.unwrap_or_else(|| Format::of_name(&file_name(&self.uri)))
    }
}

impl DocumentError {
    /// Whether it can be read as soon as a program is there that is not.
    pub fn is_about_program(&self) -> bool {
        matches!(self, Self::Unreadable(ReadError::NoReader(_)))
    }

    /// Whether it is no text, or it is not known in which encoding.
    pub fn is_about_encoding(&self) -> bool {
        matches!(self, Self::Unreadable(ReadError::Encoding(_)))
    }
}

/// Splits a document into what `model` reads whole, stores the chunks that are new, and retracts those of an earlier version that went. Adding it
/// again after an error goes on where it broke off. One without any text has no chunks.
///
/// # Errors
/// [`DocumentError`].
pub(crate) async fn add(
    memory: Arc<Memory>,
    ingest: &Ingest,
    identity: Arc<Identity>,
    (model, tokenizer): (Model, Tokenizer),
    mut document: Document,
) -> Result<Added, DocumentError> {
    check(&document)?;
    let share = document.share;
    let uri = document.uri.clone();
    let author = identity.author();
    let max_tokens = model.max_tokens();
    let (store, place) = (memory.clone(), uri.clone());
    let mut before = blocking(move || store.store.view()?.chunks_of(author, &place)).await?;
    if document.by == By::Limited {
        before.retain(|record| *record.grain.topic() == document.draft.topic);
    }
    // One that was moved keeps the name that its grains are signed with, so that they stay the same.
    let moved = before.iter().find(|record| record.moved_to.is_some()).and_then(signed_source);
    let is_moved = moved.is_some();
    let signed = moved.unwrap_or_else(|| uri.clone());
    let turn = match (document.format().may_need_program(), document.by) {
        // They are closed by nobody.
        (true, By::Owner) => PROGRAMS.acquire().await.ok(),
        (true, _) => PROGRAMS_OF_OTHERS.acquire().await.ok(),
        (false, _) => None,
    };
    // Reading goes on when nobody waits for it any more, and keeps its turn and its room for as long.
    let (drafts, neighbours, left_out) = blocking(move || {
        let (_turn, _held) = (turn, std::mem::take(&mut document.held));
        chunk(document, &signed, &tokenizer, max_tokens)
    })
    .await?;

    let mut added = Added { neighbours, left_out: left_out.into_list(), ..Added::default() };
    let mut kept = HashSet::new();
    // What was said before is told apart from the same words of a file that lies where this one lay.
    let known: HashMap<[u8; 32], Grain> =
        before.iter().map(|record| (record.grain.body().fingerprint(), record.grain.clone())).collect();
    let known_ids: HashSet<GrainId> = known.values().map(Grain::id).collect();
    let mut here = Vec::new();
    let puts = drafts.into_iter().map(|draft| put_chunk(ingest, &identity, draft, share, &known));
    let mut puts = futures::stream::iter(puts).buffered(MAX_PUTS_IN_FLIGHT);
    while let Some((id, new)) = puts.try_next().await? {
        added.ids.push(id);
        kept.insert(id);
        if new || known_ids.contains(&id) {
            here.push(id);
        }
        *if new { &mut added.added } else { &mut added.unchanged } += 1;
    }
    drop(puts);
    if is_moved {
        let slots = blocking(move || {
            let view = memory.store.view()?;
            here.iter().filter_map(|id| view.slot_of(id).transpose()).collect::<Result<Vec<_>, _>>()
        });
        let slots = slots.await?;
        ingest.apply(vec![Change::MoveSource { slots, uri }]).await?;
    }
    for record in before.iter().filter(|record| !kept.contains(&record.grain.id())) {
        retract(ingest, &identity, record).await?;
        added.retracted += 1;
    }
    Ok(added)
}

/// The source that a grain says itself.
fn signed_source(record: &Record) -> Option<String> {
    record.grain.body().draft.source.as_ref().map(|source| source.uri.clone())
}

/// Withdraws a grain of this node's own.
///
/// # Errors
/// When the retraction is not stored.
pub(crate) async fn retract(
    ingest: &Ingest,
    identity: &Identity,
    record: &Record,
) -> Result<GrainId, IngestError> {
    let retraction = Grain::retract(record.grain.id(), record.grain.topic().clone(), identity, now_ms())?;
    let id = retraction.id();
    ingest.put(retraction, record.shared).await?;
    Ok(id)
}

/// Withdraws notes of this node's own, in one commit: all or none.
///
/// # Errors
/// When the retractions are not stored.
pub(crate) async fn retract_all(
    ingest: &Ingest,
    identity: &Arc<Identity>,
    records: Vec<Record>,
) -> Result<(), IngestError> {
    let identity = identity.clone();
    let retractions = blocking(move || {
        let retract = |record: &Record| {
            let (id, topic) = (record.grain.id(), record.grain.topic().clone());
            Ok((Grain::retract(id, topic, &identity, now_ms())?, record.shared))
        };
        records.iter().map(retract).collect::<Result<Vec<_>, Refusal>>()
    });
    ingest.retract_together(retractions.await?).await.map(drop)
}

fn check(document: &Document) -> Result<(), DocumentError> {
    let (bytes, most) = (document.content.len(), document.format().max_bytes());
    if bytes > most {
        let reason = format!("the document has {bytes} bytes; at most {most} are allowed: split it");
        return Err(DocumentError::Refused(reason));
    }
    if document.uri.is_empty() || document.uri.len() > MAX_SOURCE_URI_BYTES {
        return Err(DocumentError::Refused(Refusal::BadSource.to_string()));
    }
    Ok(())
}

async fn put_chunk(
    ingest: &Ingest,
    identity: &Identity,
    draft: Draft,
    share: bool,
    known: &HashMap<[u8; 32], Grain>,
) -> Result<(GrainId, bool), IngestError> {
    let sealed = Grain::seal(draft, identity, now_ms())?;
    let grain = known.get(&sealed.body().fingerprint()).cloned().unwrap_or(sealed);
    let id = grain.id();
    Ok(match ingest.put(grain, share).await? {
        Put::Added => (id, true),
        Put::Duplicate { id, .. } => (id, false),
    })
}

/// Reads and splits a document into the drafts of its grains, which name `signed` as their source; names where its links lead, and
/// what is in no grain.
fn chunk(
    document: Document,
    signed: &str,
    tokenizer: &Tokenizer,
    max_tokens: usize,
) -> Result<(Vec<Draft>, Vec<Neighbour>, LeftOut), DocumentError> {
    let format = document.format();
    let Document { draft, content, uri, encoding, .. } = document;
    let name = file_name(&uri);
    let Reading { title, tags, mut sections, neighbours, mut left_out } = read(&content, format, &encoding)?;
    drop(content);
    let names = [draft.title.as_str(), &title, title::of_file(&name)];
    let document = names.iter().find(|name| !name.trim().is_empty()).copied().unwrap_or_default();
    keep_long_titles(document, &mut sections);
    let titles: Vec<String> =
        sections.iter().map(|section| title::title(document, &section.headings)).collect();
    // The model reads the title before the text, so each chunk leaves room for the longest one.
    let title_tokens = titles.iter().map(|title| tokenizer.count(title)).max();
    let room = max_tokens.saturating_sub(title_tokens.unwrap_or(0)).max(MIN_CHUNK_TOKENS.min(max_tokens));
    let tags = all_tags(draft.tags, tags, &mut left_out);
    let base = Draft { mime: format.mime().to_owned(), tags, title: String::new(), ..draft };
    let drafts = split(&sections, tokenizer, room, MAX_TEXT_BYTES)
        .into_iter()
        .map(|chunk| Draft {
            title: titles[chunk.section].clone(),
            text: chunk.text,
            source: Some(Source { uri: signed.to_owned(), ordinal: chunk.ordinal }),
            ..base.clone()
        })
        .collect();
    Ok((drafts, neighbours, left_out))
}

/// Puts what does not fit a title into the text: each heading once, in the first section below it.
fn keep_long_titles(document: &str, sections: &mut [Section]) {
    let mut above: Vec<Arc<str>> = Vec::new();
    for section in sections.iter_mut() {
        let headings = section.headings.clone();
        let known = headings.iter().zip(&above).take_while(|(heading, above)| heading == above).count();
        if !title::fits(document, &headings) && known < headings.len() {
            let lines: Vec<String> = headings[known..].iter().map(|heading| heading.to_string()).collect();
            prepend(std::slice::from_mut(section), &lines);
        }
        above = headings;
    }
    if document.len() > MAX_TITLE_BYTES
        && let Some(first) = sections.first_mut()
    {
        prepend(std::slice::from_mut(first), &[document.to_owned()]);
    }
}

/// The tags that were asked for and those that the document gives itself, as far as there may be so many.
fn all_tags(mut tags: Vec<String>, own: Vec<String>, left_out: &mut LeftOut) -> Vec<String> {
    for tag in own {
        if tags.contains(&tag) {
            continue;
        }
        if tag.len() > MAX_TAG_BYTES || tag.chars().any(char::is_control) {
            left_out.add(format!("the tag {tag}"), "no tag is so long");
        } else if tags.len() >= MAX_TAGS {
            left_out.add(format!("the tag {tag}"), "a grain has at most 16 tags");
        } else {
            tags.push(tag);
        }
    }
    tags
}

#[cfg(test)]
mod tests {
    use super::*;

    fn section(headings: &[&str], text: &str) -> Section {
        let headings = headings.iter().map(|&heading| heading.into()).collect();
        Section { headings, text: text.into(), headers: Vec::new() }
    }

    #[test]
    fn headings_that_no_title_has_room_for_are_text_once() {
        let long = "w".repeat(200);
        let mut sections = vec![
            section(&[&long], "a"),
            section(&[&long, &long.replace('w', "x")], "b"),
            section(&[&long, &long.replace('w', "x")], "c"),
        ];
        keep_long_titles("doc", &mut sections);
        assert_eq!(sections[0].text, "a");
        assert_eq!(sections[1].text, format!("{}\n\nb", "x".repeat(200)));
        assert_eq!(sections[2].text, "c");
        keep_long_titles(&"d".repeat(300), &mut sections);
        assert!(sections[0].text.starts_with(&"d".repeat(300)));
    }

    #[test]
    fn tags_of_the_document_are_taken_as_far_as_there_is_room_and_the_rest_is_named() {
        let mut left_out = LeftOut::default();
        let own = (0..20).map(|n| n.to_string()).chain(["t".repeat(65)]).collect();
        let tags = all_tags(vec!["3".into(), "mine".into()], own, &mut left_out);
        assert_eq!(tags.len(), MAX_TAGS);
        assert_eq!(tags[..3], ["3", "mine", "0"]);
        let named = left_out.into_list();
        assert_eq!(named.len(), 6, "{named:?}");
        assert!(named[0].what.contains("15") && named[0].reason.contains("16"));
    }
}

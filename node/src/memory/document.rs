//! Documents: read as plain text, Markdown or HTML, split into chunks that the model reads whole, and kept in step
//! with their source.

mod html;
mod read;

use std::collections::HashSet;
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt};
use synapsenet_index::{Model, Section, Tokenizer, split};
use synapsenet_proto::{
    Draft, Grain, GrainId, Identity, MAX_SOURCE_URI_BYTES, MAX_TEXT_BYTES, MAX_TITLE_BYTES, Refusal, Source,
};
use synapsenet_storage::{Record, StorageError};

use crate::blocking::blocking;
use crate::memory::Memory;
use crate::memory::ingest::{Ingest, IngestError, Put, now_ms};
use html::HtmlError;
pub(crate) use read::Format;
use read::read;

/// A whole document: a thick book is 2 MiB.
pub(crate) const MAX_DOCUMENT_BYTES: usize = 4 << 20;
/// Chunks of one document that are being stored at the same time.
const MAX_PUTS_IN_FLIGHT: usize = 256;
/// Tokens that a title leaves to the text at least, however long the title is.
const MIN_CHUNK_TOKENS: usize = 64;

/// A document to be remembered.
#[derive(Debug)]
pub(crate) struct Document {
    /// What it says besides its text: topic, tags, language, title. The text of the draft is the whole document.
    pub draft: Draft,
    /// Names the document.
    pub uri: String,
    /// How it is read.
    pub format: Format,
    /// Whether its grains may leave the node.
    pub share: bool,
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
}

/// Why a document was not added.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DocumentError {
    /// The document as a whole breaks a rule.
    #[error("{0}")]
    Refused(String),
    /// It is a page that cannot be read.
    #[error(transparent)]
    Html(#[from] HtmlError),
    /// A chunk was not stored.
    #[error(transparent)]
    Ingest(#[from] IngestError),
    /// The chunks of the earlier version cannot be read.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// Splits a document into what `model` reads whole, stores the chunks that are new, and retracts those of an earlier version that went. Adding it
/// again after an error goes on where it broke off.
///
/// # Errors
/// [`DocumentError`].
pub(crate) async fn add(
    memory: Arc<Memory>,
    ingest: &Ingest,
    identity: Arc<Identity>,
    (model, tokenizer): (Model, Tokenizer),
    document: Document,
) -> Result<Added, DocumentError> {
    check(&document)?;
    let share = document.share;
    let uri = document.uri.clone();
    let author = identity.author();
    let max_tokens = model.max_tokens();
    let drafts = blocking(move || chunk(document, &tokenizer, max_tokens)).await?;
    let before = blocking(move || memory.store.view()?.chunks_of(author, &uri)).await?;
    // A document that lost its text is an edited one; one that never had any is a mistake.
    if drafts.is_empty() && before.is_empty() {
        return Err(DocumentError::Refused("the document has no text".into()));
    }

    let mut added = Added::default();
    let mut kept = HashSet::new();
    let puts = drafts.into_iter().map(|draft| put_chunk(ingest, &identity, draft, share));
    let mut puts = futures::stream::iter(puts).buffered(MAX_PUTS_IN_FLIGHT);
    while let Some((id, new)) = puts.try_next().await? {
        added.ids.push(id);
        kept.insert(id);
        *if new { &mut added.added } else { &mut added.unchanged } += 1;
    }
    for record in before.iter().filter(|record| !kept.contains(&record.grain.id())) {
        retract(ingest, &identity, record).await?;
        added.retracted += 1;
    }
    Ok(added)
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

fn check(document: &Document) -> Result<(), DocumentError> {
    let bytes = document.draft.text.len();
    if bytes > MAX_DOCUMENT_BYTES {
        let reason =
            format!("the document has {bytes} bytes; at most {MAX_DOCUMENT_BYTES} are allowed: split it");
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
) -> Result<(GrainId, bool), IngestError> {
    let grain = Grain::seal(draft, identity, now_ms())?;
    let id = grain.id();
    Ok(match ingest.put(grain, share).await? {
        Put::Added => (id, true),
        Put::Duplicate { id, .. } => (id, false),
    })
}

/// Reads and splits a document into the drafts of its grains.
fn chunk(document: Document, tokenizer: &Tokenizer, max_tokens: usize) -> Result<Vec<Draft>, DocumentError> {
    let Document { draft, uri, format, .. } = document;
    let sections = read(&draft.text, format)?;
    // The model reads the title before the text, so each chunk leaves room for the longest one.
    let title_tokens = sections.iter().map(|section| tokenizer.count(&title_of(&draft.title, section))).max();
    let room = max_tokens.saturating_sub(title_tokens.unwrap_or(0)).max(MIN_CHUNK_TOKENS.min(max_tokens));
    let mime = match format {
        Format::Plain => "",
        Format::Markdown => "text/markdown",
        Format::Html => "text/html",
    };
    let base = Draft { text: String::new(), mime: mime.to_owned(), ..draft };
    let drafts = split(&sections, tokenizer, room, MAX_TEXT_BYTES)
        .into_iter()
        .map(|chunk| Draft {
            title: title(&base.title, &chunk.heading),
            text: chunk.text,
            source: Some(Source { uri: uri.clone(), ordinal: chunk.ordinal }),
            ..base.clone()
        })
        .collect();
    Ok(drafts)
}

fn title_of(document: &str, section: &Section) -> String {
    title(document, &section.headings.join(" > "))
}

/// The title of a chunk: its headings, or that of the document where it has none.
fn title(document: &str, headings: &str) -> String {
    let title = if headings.is_empty() { document } else { headings };
    let title: String = title.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    title[..title.floor_char_boundary(MAX_TITLE_BYTES)].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_title_fits_its_limit_and_has_no_control_characters() {
        assert_eq!(title("document", ""), "document");
        assert_eq!(title("document", "a\nb"), "a b");
        assert!(title(&"ä".repeat(300), "").len() <= MAX_TITLE_BYTES);
    }
}

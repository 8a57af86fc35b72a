//! What does a document say? Its title, its tags, its text in sections, and what of it is left out.
//!
//! Each word that a person sees in the document is in its sections, in order, or is named among what is left out.

use std::ffi::OsStr;
use std::time::{Duration, Instant};

use synapsenet_index::Section;

use super::blobs::without_blobs;
use super::encoding::{EncodingError, decode};
use super::format::Format;
use super::front_matter::{FrontMatter, front_matter};
use super::html::{Page, read_html};
use super::left_out::LeftOut;
use super::mail::{read_mail, read_mailbox};
use super::markdown::read_markdown;
use super::neighbours::Neighbour;
use super::notebook::read_notebook;
use super::packed::read_packed;
use super::pdf::read_pdf;
use super::writer::Written;
use crate::composed::composed;

/// How long one document may take. The largest that is no attack takes a second.
const MAX_READ: Duration = Duration::from_secs(10);
/// The same for a PDF, which another program reads, that may have to wait for the processor.
const MAX_READ_PDF: Duration = Duration::from_secs(30);
/// The most text that a document may have in bytes, also when it is packed: a thick book is 2 MiB.
pub(crate) const MAX_DOCUMENT_BYTES: usize = 4 << 20;
/// The most bytes of a document that are not all text: most of an illustrated book, or of a mailbox, are pictures.
pub(crate) const MAX_RAW_BYTES: usize = 64 << 20;

/// Where programs are, if nothing else is said.
const USUAL_PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// What a document says.
#[derive(Debug, Default)]
pub(super) struct Reading {
    /// The title that it gives itself; may be empty.
    pub title: String,
    /// The tags that it gives itself, as they were written.
    pub tags: Vec<String>,
    /// Its text.
    pub sections: Vec<Section>,
    /// The notes that its links lead to.
    pub neighbours: Vec<Neighbour>,
    /// What is not in it.
    pub left_out: LeftOut,
}

/// Why a document was not read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
    /// It takes longer than any document for people does.
    #[error("it takes too long to read: save it as plain text")]
    TooSlow,
    /// It is too long.
    #[error("its text has {0} bytes; at most {MAX_DOCUMENT_BYTES} are allowed: split it")]
    TooLong(usize),
    /// It is not what its name says.
    #[error("{0}")]
    Broken(&'static str),
    /// Another program reads such documents, and is not there.
    #[error("{0}")]
    NoReader(&'static str),
    /// It is no text, or it is not known in which encoding.
    #[error(transparent)]
    Encoding(#[from] EncodingError),
}

/// The time that is left for a document.
#[derive(Debug)]
pub(super) struct Clock(Instant);

impl Clock {
    /// A clock that gives a document this time.
    pub fn start(limit: Duration) -> Self {
        Self(Instant::now() + limit)
    }

    /// What is left of the time.
    pub fn left(&self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }

    /// Gives up when the time is over.
    ///
    /// # Errors
    /// [`ReadError::TooSlow`].
    pub fn check(&self) -> Result<(), ReadError> {
        if Instant::now() > self.0 { Err(ReadError::TooSlow) } else { Ok(()) }
    }
}

/// Reads a document. `encoding` is a label, or empty for finding it out.
///
/// # Errors
/// [`ReadError`].
pub(super) fn read(bytes: &[u8], format: Format, encoding: &str) -> Result<Reading, ReadError> {
    // Of whichever kind: a file that was emptied says nothing any more.
    if bytes.is_empty() {
        return Ok(Reading::default());
    }
    let limit = if format == Format::Pdf { MAX_READ_PDF } else { MAX_READ };
    let reading = read_within(bytes, format, encoding, &Clock::start(limit))?;
    let text: usize = reading.sections.iter().map(|section| section.text.len()).sum();
    if text > 2 * MAX_DOCUMENT_BYTES { Err(ReadError::TooLong(text)) } else { Ok(reading) }
}

/// As [`read`], within what is left of a time.
///
/// # Errors
/// [`ReadError`].
pub(super) fn read_within(
    bytes: &[u8],
    format: Format,
    encoding: &str,
    clock: &Clock,
) -> Result<Reading, ReadError> {
    match format {
        Format::Mail => read_mail(bytes, clock),
        Format::Mailbox => read_mailbox(bytes, clock),
        Format::Docx | Format::Odt | Format::Epub => Ok(Reading::of(read_packed(bytes, format, clock)?)),
        Format::Pdf => {
            let path = std::env::var_os("PATH");
            read_pdf(bytes, path.as_deref().unwrap_or(OsStr::new(USUAL_PATH)), clock)
        }
        _ => read_text(decode(bytes, encoding, format == Format::Html)?, format, clock),
    }
}

/// Reads what is text already.
///
/// # Errors
/// [`ReadError::TooLong`] and [`ReadError::TooSlow`].
pub(super) fn read_text(text: String, format: Format, clock: &Clock) -> Result<Reading, ReadError> {
    let text = composed(text);
    if text.len() > MAX_DOCUMENT_BYTES {
        return Err(ReadError::TooLong(text.len()));
    }
    if format == Format::Notebook {
        return Ok(Reading::of(read_notebook(&text, clock)?));
    }
    let mut left_out = LeftOut::default();
    let text = without_blobs(&text, &mut left_out);
    let mut reading = match format {
        // Those that are not one text were read before.
        Format::Plain
        | Format::Mail
        | Format::Mailbox
        | Format::Notebook
        | Format::Docx
        | Format::Odt
        | Format::Epub
        | Format::Pdf => Reading { sections: plain(&text), ..Reading::default() },
        Format::Markdown => {
            let (front, body) = front_matter(&text).unwrap_or((FrontMatter::default(), &text));
            let mut page = Page::default();
            read_markdown(body, &mut page, clock)?;
            let mut reading = Reading::of(page);
            if reading.sections.is_empty() {
                reading.sections = plain(&front.lines.join("\n"));
            } else {
                prepend(&mut reading.sections, &front.lines);
            }
            if !front.title.is_empty() {
                reading.title = front.title;
            }
            Reading { tags: front.tags, ..reading }
        }
        Format::Html => {
            let mut page = Page::default();
            read_html(&text, &mut page, clock)?;
            Reading::of(page)
        }
    };
    left_out.extend(reading.left_out);
    reading.left_out = left_out;
    Ok(reading)
}

impl Reading {
    /// What a page says.
    fn of(page: Page) -> Self {
        let title = page.title.split_whitespace().collect::<Vec<_>>().join(" ");
        let Written { sections, heading, neighbours, left_out } = page.writer.finish();
        let title = if title.is_empty() { heading.unwrap_or_default() } else { title };
        Self { title, tags: Vec::new(), sections, neighbours, left_out }
    }
}

/// Plain text as one section.
fn plain(text: &str) -> Vec<Section> {
    match text.trim().is_empty() {
        true => Vec::new(),
        false => vec![Section { headings: Vec::new(), text: text.to_owned(), headers: Vec::new() }],
    }
}

/// Puts lines before the text of the first section, so that what they say finds it.
pub(super) fn prepend(sections: &mut [Section], lines: &[String]) {
    let Some(first) = sections.first_mut().filter(|_| !lines.is_empty()) else { return };
    let lines = lines.join("\n");
    let shift = lines.len() + 2;
    first.text = format!("{lines}\n\n{}", first.text);
    first.headers.iter_mut().for_each(|header| *header = header.start + shift..header.end + shift);
}

#[cfg(test)]
mod tests;

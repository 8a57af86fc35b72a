//! One file of a folder: read, and handed to the library when it says something else than before.

use std::io;
use std::path::{Path, PathBuf};

use synapsenet_proto::{Draft, Topic};

use super::difference::{Uri, hash};
use super::list::Source;
use super::pass::{ends_pass, rules};
use crate::blocking::blocking;
use crate::files;
use crate::memory::document::{Document, Format, MAX_DOCUMENT_BYTES};
use crate::memory::library::Library;

/// How much of a file tells that it is no text: as much as git looks at.
const SNIFF_BYTES: usize = 8000;

/// What became of a file.
pub(super) struct Reading {
    /// The hash of what it says.
    pub hash: String,
    pub outcome: Outcome,
}

/// What became of what a file says.
pub(super) enum Outcome {
    /// It says what it said.
    Unchanged,
    /// It is stored.
    Stored {
        /// Grains that are new.
        added: u64,
        /// Grains that were withdrawn.
        retracted: u64,
    },
    /// It is no document.
    Skipped,
    /// It should have been stored and cannot be, and why.
    Refused(String),
}

/// Reads a file and stores what is new in it; `before` is the hash of what it said under the same terms.
///
/// # Errors
/// Why no other file can be stored now either.
pub(super) async fn read(
    library: &Library,
    source: &Source,
    uri: &Uri,
    path: PathBuf,
    before: Option<String>,
) -> Result<Reading, String> {
    let terms = source.terms.clone();
    let rules = rules(source)?;
    let at = path.clone();
    let read = blocking(move || {
        let bytes = bytes_of(&at)?;
        let hash = hash(&bytes);
        let kept_back = rules.check(&at, &String::from_utf8_lossy(&bytes)).err();
        Ok::<_, io::Error>((bytes, hash, kept_back))
    });
    let (bytes, hash, kept_back) = match read.await {
        Ok(read) => read,
        // It may have gone since the walk came by, or may not be read.
        Err(error) => {
            return Ok(Reading { hash: String::new(), outcome: Outcome::Refused(error.to_string()) });
        }
    };
    let outcome = |outcome| Ok(Reading { hash: hash.clone(), outcome });
    if before.as_ref() == Some(&hash) {
        return outcome(Outcome::Unchanged);
    }
    if kept_back.is_some() {
        return outcome(Outcome::Skipped);
    }
    let topic = Topic::new(terms.topic.as_str()).map_err(|error| error.to_string())?;
    // A film is no text, however long it is.
    if bytes.len() > MAX_DOCUMENT_BYTES && bytes[..SNIFF_BYTES].contains(&0) {
        return outcome(Outcome::Skipped);
    }
    let draft = Draft { topic, tags: terms.tags, lang: terms.lang, ..Draft::default() };
    let (share, encoding) = (terms.share, terms.encoding);
    let (format, in_topic_only) = (None, false);
    let document =
        Document { draft, content: bytes, uri: uri.clone(), format, encoding, share, in_topic_only };
    match library.add(document).await {
        Ok(added) if added.ids.is_empty() && added.retracted == 0 => outcome(Outcome::Skipped),
        Ok(added) => {
            outcome(Outcome::Stored { added: added.added.into(), retracted: added.retracted.into() })
        }
        Err(error) if ends_pass(&error) => Err(error.to_string()),
        // What is hardly a text was hardly meant.
        Err(error) if error.is_about_encoding() && !Format::is_named(uri) => outcome(Outcome::Skipped),
        Err(error) => outcome(Outcome::Refused(error.to_string())),
    }
}

/// All that a file says, or one byte more than a document may have.
///
/// # Errors
/// What the system says.
pub(super) fn bytes_of(path: &Path) -> io::Result<Vec<u8>> {
    files::read(path, MAX_DOCUMENT_BYTES as u64 + 1)
}

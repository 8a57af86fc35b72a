//! One file of a folder: read, and handed to the library when it says something else than before.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use synapsenet_proto::{Draft, Topic};

use super::difference::{Uri, hash, hash_all};
use super::list::Source;
use super::pass::{ends_pass, rules};
use crate::blocking::blocking;
use crate::files;
use crate::memory::document::{By, Document, Format, MAX_DOCUMENT_BYTES, Neighbour};
use crate::memory::library::Library;

/// How much of a file tells that it is no text: as much as git looks at.
const SNIFF_BYTES: usize = 8000;

/// What became of a file.
pub(super) struct Reading {
    /// The hash of what it says; empty where it is to be read again however it looks.
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
        /// The notes that its links lead to.
        links: Vec<Neighbour>,
    },
    /// It has no text.
    Empty,
    /// It is no document, and why not.
    NoDocument(String),
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
    let format = Format::of_name(uri);
    let at = path.clone();
    let size = blocking(move || at.metadata().map_or(0, |metadata| metadata.len())).await;
    let room = match size > MAX_DOCUMENT_BYTES as u64 && !format.is_text() {
        true => library.room(By::Owner).await,
        false => None,
    };
    let most = if room.is_some() { format.max_bytes() } else { MAX_DOCUMENT_BYTES };
    let at = path.clone();
    let read = blocking(move || {
        let bytes = files::read(&at, most as u64 + 1)?;
        let hash = hash(&bytes);
        let text = if format.is_binary() { Cow::default() } else { String::from_utf8_lossy(&bytes) };
        let kept_back = rules.check(&at, &text).err();
        Ok::<_, io::Error>((bytes, hash, kept_back))
    });
    let (bytes, hash, kept_back) = match read.await {
        Ok(read) => read,
        // It may have gone since the walk came by, or may not be read.
        Err(error) => {
            return Ok(Reading { hash: String::new(), outcome: Outcome::Refused(error.to_string()) });
        }
    };
    if !format.is_text() && room.is_none() && bytes.len() > most {
        let grown =
            Outcome::Refused("it grew while it was read: it is read again at the next look".to_owned());
        return Ok(Reading { hash: String::new(), outcome: grown });
    }
    let outcome = |outcome| Ok(Reading { hash: hash.clone(), outcome });
    if before.as_ref() == Some(&hash) {
        return outcome(Outcome::Unchanged);
    }
    if let Some(reason) = kept_back {
        return outcome(Outcome::NoDocument(reason.to_owned()));
    }
    let topic = Topic::new(terms.topic.as_str()).map_err(|error| error.to_string())?;
    // A film is no text, however long it is.
    if format.is_text() && bytes.len() > MAX_DOCUMENT_BYTES && bytes[..SNIFF_BYTES].contains(&0) {
        return outcome(Outcome::NoDocument("it is no text".to_owned()));
    }
    let draft = Draft { topic, tags: terms.tags, lang: terms.lang, ..Draft::default() };
    let (share, encoding) = (terms.share, terms.encoding);
    let (format, by) = (None, By::Owner);
    let held = room.map(Arc::new).into_iter().collect();
    let document = Document { draft, content: bytes, uri: uri.clone(), format, encoding, share, by, held };
    match library.add(document).await {
        Ok(added) if added.ids.is_empty() && added.retracted == 0 => outcome(Outcome::Empty),
        Ok(added) => outcome(Outcome::Stored {
            added: added.added.into(),
            retracted: added.retracted.into(),
            links: added.neighbours,
        }),
        Err(error) if ends_pass(&error) => Err(error.to_string()),
        // Somebody may install it.
        Err(error) if error.is_about_program() => {
            Ok(Reading { hash: String::new(), outcome: Outcome::Refused(error.to_string()) })
        }
        // What is hardly a text was hardly meant.
        Err(error) if error.is_about_encoding() && !Format::is_named(uri) => {
            outcome(Outcome::NoDocument(error.to_string()))
        }
        Err(error) => outcome(Outcome::Refused(error.to_string())),
    }
}

/// The hash of all that a file says, or of one byte more than a document may have; it is not held in memory.
///
/// # Errors
/// What the system says.
pub(super) fn hash_of(path: &Path) -> io::Result<String> {
    let most = Format::of_name(&path.to_string_lossy()).max_bytes() as u64 + 1;
    hash_all(File::open(path)?.take(most))
}

//! Which files of a folder are meant: the one walk, whoever asks for it, and what it leaves out.
//!
//! ```text
//!  Rules --walk(folder)--> Entry, Entry, ...     found, skipped or refused, in the order of the names
//!               `--------> LeftOut               only counted: what is hidden, and folders that programs filled
//! ```
//!
//! It knows no grain and no client: whoever walks says what becomes of a file.

mod glob;
mod junk;
mod secrets;
mod walk;

use std::fmt::Write;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::SystemTime;

pub(crate) use glob::Glob;
pub(crate) use walk::{Entry, LeftOut, SkipReason, Walk};

/// Which files of a folder are left out.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rules {
    /// Take what ignore files name, what is hidden, and folders that programs filled, too.
    pub no_ignore: bool,
    /// Take keys and tokens, too.
    pub include_secrets: bool,
    /// What else is left out, counted from the folder.
    pub exclude: Vec<Glob>,
}

impl Rules {
    /// Everything below `folder` that is not left out, in the order of the names. The folder itself is walked whatever it is
    /// called, unless it belongs to a node.
    pub fn walk(&self, folder: &Path) -> Walk {
        Walk::new(self, folder)
    }

    /// Looks whether a file may be read, by its name and by its text.
    ///
    /// # Errors
    /// Why it is kept back: it is a key or a token.
    pub fn check(&self, path: &Path, text: &str) -> Result<(), &'static str> {
        if self.include_secrets {
            return Ok(());
        }
        secrets::reason_by_path(path).or_else(|| secrets::reason_by_text(text)).map_or(Ok(()), Err)
    }
}

/// The URI of a file or folder. `path` must be absolute. Bytes that would end or change a URI are percent-encoded;
/// letters of any script stay readable (an IRI, RFC 3987), which also keeps deep paths within the limit of a source.
pub(crate) fn file_uri(path: &Path) -> String {
    let mut uri = "file://".to_owned();
    for chunk in path.as_os_str().as_bytes().utf8_chunks() {
        for c in chunk.valid().chars() {
            let kept = !c.is_control() && !c.is_whitespace() && !"\"#%<>?[\\]^`{|}".contains(c);
            if kept {
                uri.push(c);
            } else {
                push_encoded(&mut uri, c.encode_utf8(&mut [0; 4]).as_bytes());
            }
        }
        push_encoded(&mut uri, chunk.invalid());
    }
    uri
}

fn push_encoded(uri: &mut String, bytes: &[u8]) {
    for byte in bytes {
        write!(uri, "%{byte:02X}").expect("a String takes all that is written");
    }
}

/// A file that is there to be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    /// Bytes that it had when it was looked at.
    pub size: u64,
    /// When it was changed last; none where the file system does not tell.
    pub modified: Option<SystemTime>,
}

impl Found {
    /// Looks at a file, or at what a link leads to.
    ///
    /// # Errors
    /// What the system says.
    pub fn at(path: &Path) -> io::Result<Self> {
        path.metadata().map(|metadata| Self::of(&metadata))
    }

    fn of(metadata: &std::fs::Metadata) -> Self {
        Self { size: metadata.len(), modified: metadata.modified().ok() }
    }
}

/// The beginning of a file, as it is: at most `max_bytes`. Whoever wants all of it asks for one byte more than it may have.
///
/// # Errors
/// What the system says.
pub(crate) fn read(path: &Path, max_bytes: u64) -> io::Result<Vec<u8>> {
    let file = File::open(path)?;
    // As much as it takes and no more: a vector that grows has room for twice as much.
    let size = file.metadata()?.len().saturating_add(1).min(max_bytes);
    let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or(0));
    file.take(max_bytes).read_to_end(&mut bytes)?;
    Ok(bytes)
}

//! What do packed documents say: those of office programs (DOCX, ODT) and books (EPUB)? Each is an archive of XML files; its parts are
//! read one after the other, as they come, so that none is too deep.
//!
//! Bounds: what an archive unpacks to, and the time of a document. Pictures and what they are made of are not read.

use std::io::{Cursor, Read};

use zip::ZipArchive;
use zip::result::ZipError;

use super::docx::read_docx;
use super::encoding::decode;
use super::epub::read_epub;
use super::format::Format;
use super::html::Page;
use super::odt::read_odt;
use super::read::{Clock, ReadError};
use crate::composed::composed;

/// What the parts of a document that are read may unpack to, in bytes: a thick book has 5 MiB of XML.
const MAX_UNPACKED: u64 = 32 << 20;

/// What stands before each part in the list of them, and the parts that there may be: of each, some hundred bytes are kept.
const PART: &[u8; 4] = b"PK\x01\x02";
const MAX_PARTS: usize = 65_536;

/// Reads a packed document.
///
/// # Errors
/// [`ReadError`]; [`ReadError::Broken`] where it is none.
pub(super) fn read_packed(bytes: &[u8], format: Format, clock: &Clock) -> Result<Page, ReadError> {
    let mut archive = Archive::open(bytes)?;
    let mut page = Page::default();
    match format {
        Format::Docx => read_docx(&mut archive, &mut page, clock)?,
        Format::Odt => read_odt(&mut archive, &mut page, clock)?,
        _ => read_epub(&mut archive, &mut page, clock)?,
    }
    Ok(page)
}

/// The parts of a packed document.
pub(super) struct Archive<'a> {
    zip: ZipArchive<Cursor<&'a [u8]>>,
    /// Bytes that may still be unpacked.
    left: u64,
}

impl<'a> Archive<'a> {
    fn open(bytes: &'a [u8]) -> Result<Self, ReadError> {
        let broken = |_| ReadError::Broken("it is damaged, or not what its name says");
        let parts = bytes.windows(PART.len()).filter(|window| window == PART).count();
        if parts > MAX_PARTS {
            return Err(ReadError::Broken(
                "it has more parts than a document may have: save it as plain text",
            ));
        }
        let zip = ZipArchive::new(Cursor::new(bytes)).map_err(broken)?;
        Ok(Self { zip, left: MAX_UNPACKED })
    }

    /// A part by its name; None when there is none.
    ///
    /// # Errors
    /// When it is damaged, locked by a password, or the document unpacks to too much.
    pub fn part(&mut self, name: &str) -> Result<Option<Vec<u8>>, ReadError> {
        let file = match self.zip.by_name(name) {
            Ok(file) => file,
            Err(ZipError::FileNotFound) => return Ok(None),
            Err(ZipError::UnsupportedArchive(_)) => {
                return Err(ReadError::Broken(
                    "it is locked by a password, or packed in a way that is not read",
                ));
            }
            Err(_) => return Err(ReadError::Broken("it is damaged")),
        };
        let mut bytes = Vec::new();
        file.take(self.left + 1).read_to_end(&mut bytes).map_err(|_| ReadError::Broken("it is damaged"))?;
        let Some(left) = self.left.checked_sub(bytes.len() as u64) else {
            return Err(ReadError::Broken(
                "it unpacks to more than a document may have: save it as plain text",
            ));
        };
        self.left = left;
        Ok(Some(bytes))
    }

    /// A part that is XML.
    ///
    /// # Errors
    /// As [`Archive::part`], and when it is not UTF-8.
    pub fn xml(&mut self, name: &str) -> Result<Option<String>, ReadError> {
        let Some(bytes) = self.part(name)? else { return Ok(None) };
        let text = decode(&bytes, "", false).map_err(|_| ReadError::Broken("it is damaged"))?;
        Ok(Some(composed(text)))
    }
}

#[cfg(test)]
mod tests;

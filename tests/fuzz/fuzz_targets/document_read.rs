//! Arbitrary bytes as a document: they are read in every format, in bounded time, and split into chunks within their limits.
//!
//! The sources are those of the node and of the index, without what lies around them: ONNX Runtime, the graph and the network would
//! take longer to build than this runs. The first byte chooses the format and the limits.

#![no_main]
#![allow(dead_code, unreachable_pub, unused_imports, reason = "only a part of these sources is used here")]

use libfuzzer_sys::fuzz_target;

// What these sources import by the names that they have at home.
extern crate self as synapsenet_index;

#[path = "../../../index/src/chunk.rs"]
mod chunk;
#[path = "../../../node/src/composed.rs"]
mod composed;
#[path = "../../../node/src/memory/document/address.rs"]
mod address;
#[path = "../../../node/src/memory/document/blobs.rs"]
mod blobs;
#[path = "../../../node/src/memory/document/docx.rs"]
mod docx;
#[path = "../../../node/src/memory/document/elements.rs"]
mod elements;
#[path = "../../../node/src/memory/document/encoding.rs"]
mod encoding;
#[path = "../../../node/src/memory/document/epub.rs"]
mod epub;
#[path = "../../../node/src/memory/document/format.rs"]
mod format;
#[path = "../../../node/src/memory/document/front_matter.rs"]
mod front_matter;
#[path = "../../../node/src/memory/document/html.rs"]
mod html;
#[path = "../../../node/src/memory/document/left_out.rs"]
mod left_out;
#[path = "../../../node/src/memory/document/links.rs"]
mod links;
#[path = "../../../node/src/memory/document/mail.rs"]
mod mail;
#[path = "../../../node/src/memory/document/markdown.rs"]
mod markdown;
#[path = "../../../node/src/memory/document/neighbours.rs"]
mod neighbours;
#[path = "../../../node/src/memory/document/notebook.rs"]
mod notebook;
#[path = "../../../node/src/memory/document/odt.rs"]
mod odt;
#[path = "../../../node/src/memory/document/packed.rs"]
mod packed;
#[path = "../../../node/src/memory/document/packed_xml.rs"]
mod packed_xml;
#[path = "../../../node/src/memory/document/pdf.rs"]
mod pdf;
#[path = "../../../node/src/memory/document/read.rs"]
mod read;
#[path = "../../../node/src/memory/document/table.rs"]
mod table;
#[path = "../../../node/src/memory/document/writer.rs"]
mod writer;
#[path = "../../../node/src/memory/document/yaml.rs"]
mod yaml;

/// Stands in for what runs other programs: none is run here.
mod child {
    use std::ffi::OsStr;
    use std::io;
    use std::time::Instant;

    pub struct Bounds {
        pub until: Instant,
        pub cpu_seconds: u64,
        pub memory_kib: u64,
        pub output_bytes: usize,
    }

    pub enum Outcome {
        Ended {
            is_well: bool,
            output: Vec<u8>,
            complaint: String,
        },
        NotThere,
        TooSlow,
        TooMuch,
    }

    pub fn run(_: &[&str], _: &OsStr, _: &[u8], _: &Bounds) -> io::Result<Outcome> {
        Err(io::ErrorKind::NotFound.into())
    }
}

pub use chunk::Section;
use format::Format;
use read::read;

/// Stands in for a model's: a token for every three bytes, and two that frame a text.
pub struct Tokenizer {
    splits_at_spaces: bool,
}

impl Tokenizer {
    pub fn overhead(&self) -> usize {
        2
    }

    pub fn splits_at_spaces(&self) -> bool {
        self.splits_at_spaces
    }

    pub fn count_bare(&self, text: &str) -> usize {
        text.split_whitespace().map(|word| word.len().div_ceil(3)).sum()
    }
}

// A PDF is another program's to read, with fuzzing of its own.
fuzz_target!(|bytes: &[u8]| {
    let Some((&choice, bytes)) = bytes.split_first() else { return };
    let formats = [
        Format::Plain,
        Format::Markdown,
        Format::Html,
        Format::Mail,
        Format::Mailbox,
        Format::Notebook,
        Format::Docx,
        Format::Odt,
        Format::Epub,
    ];
    let format = formats[usize::from(choice) % formats.len()];
    // What is refused is refused for a reason.
    let Ok(reading) = read(bytes, format, "") else { return };
    let sections = reading.sections;
    let tokenizer = Tokenizer { splits_at_spaces: choice & 0x80 != 0 };
    let (max_tokens, max_bytes) = (8 + usize::from(choice & 0x3f), 64);
    let chunks = chunk::split(&sections, &tokenizer, max_tokens, max_bytes);
    for (place, chunk) in chunks.iter().enumerate() {
        assert_eq!(chunk.ordinal as usize, place);
        assert!(!chunk.text.trim().is_empty(), "a chunk says something");
        assert!(chunk.text.len() <= max_bytes, "a chunk fits");
    }
    // The header of a long table is said again.
    if sections.iter().any(|section| !section.headers.is_empty()) {
        return;
    }
    let words = |text: &str| text.chars().filter(|c| !c.is_whitespace()).count();
    let (before, after): (usize, usize) =
        (sections.iter().map(|section| words(&section.text)).sum(), chunks.iter().map(|chunk| words(&chunk.text)).sum());
    assert_eq!(before, after, "no text is lost and none is made up");
});

//! Arbitrary text as a document: it is read in every format, in bounded time, and split into chunks within their limits.
//!
//! The sources are those of the node and of the index, without what lies around them: ONNX Runtime, the graph and the network would
//! take longer to build than this runs. The first byte chooses the format and the limits.

#![no_main]
#![allow(dead_code, unreachable_pub, reason = "only a part of these sources is used here")]

use libfuzzer_sys::fuzz_target;

// What these sources import by the names that they have at home.
extern crate self as synapsenet_index;

#[path = "../../../index/src/chunk.rs"]
mod chunk;
#[path = "../../../node/src/memory/document/html.rs"]
mod html;
#[path = "../../../node/src/memory/document/read.rs"]
mod read;

pub use chunk::Section;
use read::{Format, read};

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

fuzz_target!(|bytes: &[u8]| {
    let Some((choice, bytes)) = bytes.split_first() else { return };
    let text = String::from_utf8_lossy(bytes);
    let format = [Format::Plain, Format::Markdown, Format::Html][usize::from(choice % 3)];
    // A page that is refused is refused for a reason.
    let Ok(sections) = read(&text, format) else { return };
    for section in &sections {
        assert!(section.headings.len() <= 6, "there are six levels of headings");
    }
    let tokenizer = Tokenizer { splits_at_spaces: choice & 0x80 != 0 };
    let (max_tokens, max_bytes) = (8 + usize::from(choice & 0x3f), 64);
    let chunks = chunk::split(&sections, &tokenizer, max_tokens, max_bytes);
    for (place, chunk) in chunks.iter().enumerate() {
        assert_eq!(chunk.ordinal as usize, place);
        assert!(!chunk.text.trim().is_empty(), "a chunk says something");
        assert!(chunk.text.len() <= max_bytes, "a chunk fits");
    }
    let words = |text: &str| text.chars().filter(|c| !c.is_whitespace()).count();
    let (before, after): (usize, usize) =
        (sections.iter().map(|section| words(&section.text)).sum(), chunks.iter().map(|chunk| words(&chunk.text)).sum());
    assert_eq!(before, after, "no text is lost and none is made up");
});

//! Documents to chunks that a model sees whole.
//!
//! A chunk is a stretch of one section: as many whole paragraphs as fit; of a paragraph that is too long, whole
//! sentences; of such a sentence, words; of such a word, characters. So each chunk is a slice of the text, and no text is
//! lost but white space at its ends. Of a table that is too long, whole rows; each of its chunks begins with its header, or its cells
//! would say nothing. Each part is tokenised once, and counts are added up, which keeps the time linear.

use std::ops::Range;
use std::sync::Arc;

use unicode_segmentation::{GraphemeCursor, UnicodeSegmentation};

use crate::Tokenizer;

/// A part of a document that stands between two headings. Plain text is one section without headings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section {
    /// The headings above the text, the outermost first.
    pub headings: Vec<Arc<str>>,
    /// The text; its paragraphs are separated by blank lines.
    pub text: String,
    /// Where in the text the header of each table stands, in order. A table is a paragraph with a row in each line; its header
    /// is the first.
    pub headers: Vec<Range<usize>>,
}

/// A piece of a document, short enough for the model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    /// The text, never empty.
    pub text: String,
    /// The place of its section among those of the document, from 0.
    pub section: usize,
    /// Its place among the chunks of the document, from 0.
    pub ordinal: u32,
}

/// Splits a document into chunks of at most `max_tokens` tokens, as [`Tokenizer::count`] counts them, and `max_bytes`
/// bytes. No chunk reaches over the end of a section. Joined, the chunks are the input but for white space and for headers of
/// tables, which are repeated where they take less than half of a chunk. Only a single code point is never cut, whatever the
/// limits.
///
/// Takes time in proportion to the length of the text.
#[must_use]
pub fn split(sections: &[Section], tokenizer: &Tokenizer, max_tokens: usize, max_bytes: usize) -> Vec<Chunk> {
    let limits =
        Limits { tokenizer, tokens: max_tokens.saturating_sub(tokenizer.overhead()), bytes: max_bytes };
    let mut chunks = Vec::new();
    for (place, section) in sections.iter().enumerate() {
        for Stretch { range, header } in limits.split_section(section) {
            let text = match header {
                Some(header) => format!("{}\n{}", &section.text[header], &section.text[range]),
                None => section.text[range].to_owned(),
            };
            let ordinal = u32::try_from(chunks.len()).unwrap_or(u32::MAX);
            chunks.push(Chunk { text, section: place, ordinal });
        }
    }
    chunks
}

/// What becomes a chunk.
struct Stretch {
    range: Range<usize>,
    /// What is put before it.
    header: Option<Range<usize>>,
}

/// How much a chunk may hold, without special tokens, and who counts.
struct Limits<'a> {
    tokenizer: &'a Tokenizer,
    tokens: usize,
    bytes: usize,
}

/// A stretch of a section without white space at its ends.
struct Piece {
    range: Range<usize>,
    tokens: usize,
    /// Cut out of a word, so that its tokens and its neighbour's may be others when they are joined.
    within_word: bool,
}

/// What is being filled: pieces that follow each other.
#[derive(Default)]
struct Chunking {
    done: Vec<(Option<Range<usize>>, Vec<Piece>)>,
    open: Vec<Piece>,
    open_tokens: usize,
    /// What each chunk is to begin with, from the open one on.
    header: Option<Range<usize>>,
}

impl Chunking {
    /// Whether `pieces`, or the whole stretch of them, can join the open chunk.
    fn has_room_for(&self, pieces: &[Piece], limits: &Limits) -> bool {
        let (Some(first), Some(last)) = (self.open.first().or(pieces.first()), pieces.last()) else {
            return true;
        };
        let tokens = self.open_tokens + pieces.iter().map(|piece| piece.tokens).sum::<usize>();
        tokens <= limits.tokens && last.range.end - first.range.start <= limits.bytes
    }

    fn push(&mut self, piece: Piece) {
        self.open_tokens += piece.tokens;
        self.open.push(piece);
    }

    fn close(&mut self) {
        if !self.open.is_empty() {
            self.done.push((self.header.clone(), std::mem::take(&mut self.open)));
        }
        self.open_tokens = 0;
    }
}

impl Limits<'_> {
    /// The chunks of a section.
    fn split_section(&self, section: &Section) -> Vec<Stretch> {
        let text = section.text.as_str();
        let mut headers = section.headers.iter().peekable();
        let mut chunking = Chunking::default();
        for paragraph in paragraphs(text) {
            while headers.next_if(|header| header.start < paragraph.start).is_some() {}
            let header = headers.next_if(|header| header.start == paragraph.start);
            let pieces = self.pieces(text, paragraph.clone());
            if !chunking.has_room_for(&pieces, self) {
                // A paragraph that fits a chunk of its own stays whole; a longer one fills up what is open.
                if Chunking::default().has_room_for(&pieces, self) {
                    chunking.close();
                } else if let Some((header, rest)) = header.and_then(|header| self.beside(text, header)) {
                    chunking.close();
                    chunking.header = Some(header.clone());
                    rest.fill(&mut chunking, rest.rows(text, header.end..paragraph.end));
                    chunking.close();
                    chunking.header = None;
                    continue;
                } else {
                    self.fill(&mut chunking, pieces);
                    continue;
                }
            }
            pieces.into_iter().for_each(|piece| chunking.push(piece));
        }
        chunking.close();
        let mut stretches = Vec::with_capacity(chunking.done.len());
        for (header, chunk) in &chunking.done {
            let mut ranges = Vec::new();
            match header.as_ref().and_then(|header| self.beside(text, header)) {
                Some((_, rest)) => rest.emit(text, chunk, &mut ranges),
                None => self.emit(text, chunk, &mut ranges),
            }
            stretches.extend(ranges.into_iter().map(|range| Stretch { range, header: header.clone() }));
        }
        stretches
    }

    /// A header, and how much a chunk may hold beside it and a line break; none where it takes half of the chunk.
    fn beside<'h>(&self, text: &str, header: &'h Range<usize>) -> Option<(&'h Range<usize>, Self)> {
        if header.len() > self.bytes / 2 {
            return None;
        }
        let tokens = self.tokenizer.count_bare(&text[header.clone()]) + 1;
        let rest = Limits {
            tokenizer: self.tokenizer,
            tokens: self.tokens.saturating_sub(tokens),
            bytes: self.bytes.saturating_sub(header.len() + 1),
        };
        (2 * tokens < self.tokens).then_some((header, rest))
    }

    /// The rows of a table: whole lines, or parts of those that do not fit.
    fn rows(&self, text: &str, rows: Range<usize>) -> Vec<Piece> {
        let mut pieces = Vec::new();
        let mut start = rows.start;
        for line in text[rows].split_inclusive('\n') {
            if let Some(range) = trimmed(text, start, line.len()) {
                match self.whole(text, range.clone(), false) {
                    Some(piece) => pieces.push(piece),
                    None => self.words(text, range, &mut pieces),
                }
            }
            start += line.len();
        }
        pieces
    }

    fn fill(&self, chunking: &mut Chunking, pieces: Vec<Piece>) {
        for piece in pieces {
            if !chunking.has_room_for(std::slice::from_ref(&piece), self) {
                chunking.close();
            }
            chunking.push(piece);
        }
    }

    /// Gives a chunk's range; in halves, where its tokens turn out to be more than those of its pieces.
    fn emit(&self, text: &str, pieces: &[Piece], ranges: &mut Vec<Range<usize>>) {
        let (Some(first), Some(last)) = (pieces.first(), pieces.last()) else { return };
        let range = first.range.start..last.range.end;
        let adds_up = self.tokenizer.splits_at_spaces() && !pieces.iter().any(|piece| piece.within_word);
        if pieces.len() == 1 || adds_up || self.tokenizer.count_bare(&text[range.clone()]) <= self.tokens {
            ranges.push(range);
            return;
        }
        let (left, right) = pieces.split_at(pieces.len() / 2);
        self.emit(text, left, ranges);
        self.emit(text, right, ranges);
    }

    /// The largest pieces of a paragraph that fit: its sentences, or parts of them.
    fn pieces(&self, text: &str, paragraph: Range<usize>) -> Vec<Piece> {
        let mut pieces = Vec::new();
        for (start, sentence) in text[paragraph.clone()].split_sentence_bound_indices() {
            let Some(range) = trimmed(text, paragraph.start + start, sentence.len()) else { continue };
            match self.whole(text, range.clone(), false) {
                Some(piece) => pieces.push(piece),
                None => self.words(text, range, &mut pieces),
            }
        }
        pieces
    }

    /// The words of a sentence that does not fit.
    fn words(&self, text: &str, sentence: Range<usize>, pieces: &mut Vec<Piece>) {
        let mut start = sentence.start;
        for word in text[sentence].split_inclusive(char::is_whitespace) {
            if let Some(range) = trimmed(text, start, word.len()) {
                match self.whole(text, range.clone(), false) {
                    Some(piece) => pieces.push(piece),
                    None => self.halves(text, range, pieces),
                }
            }
            start += word.len();
        }
    }

    /// A word that does not fit, halved until it does.
    fn halves(&self, text: &str, word: Range<usize>, pieces: &mut Vec<Piece>) {
        // On a stack rather than by recursion: the word may be the whole of a large text. Parts that are much too long
        // are halved by their bytes alone, so each byte is tokenised a few times at most.
        let mut stack = vec![word];
        while let Some(range) = stack.pop() {
            if let Some(piece) = self.whole(text, range.clone(), true) {
                pieces.push(piece);
                continue;
            }
            match middle(&text[range.clone()]) {
                Some(middle) => {
                    stack.push(range.start + middle..range.end);
                    stack.push(range.start..range.start + middle);
                }
                None => {
                    let tokens = self.tokenizer.count_bare(&text[range.clone()]);
                    pieces.push(Piece { range, tokens, within_word: true });
                }
            }
        }
    }

    /// The range as one piece, if it fits a chunk.
    fn whole(&self, text: &str, range: Range<usize>, within_word: bool) -> Option<Piece> {
        if range.len() > self.bytes {
            return None;
        }
        let tokens = self.tokenizer.count_bare(&text[range.clone()]);
        (tokens <= self.tokens).then_some(Piece { range, tokens, within_word })
    }
}

/// The paragraphs of a text: what stands between blank lines.
fn paragraphs(text: &str) -> Vec<Range<usize>> {
    let mut paragraphs = Vec::new();
    let (mut start, mut position) = (0, 0);
    for line in text.split_inclusive('\n') {
        if line.trim().is_empty() {
            paragraphs.extend(trimmed(text, start, position - start));
            start = position + line.len();
        }
        position += line.len();
    }
    paragraphs.extend(trimmed(text, start, position - start));
    paragraphs
}

/// The range of `length` bytes from `start` without white space at its ends; `None` if nothing else is in it.
fn trimmed(text: &str, start: usize, length: usize) -> Option<Range<usize>> {
    let part = &text[start..start + length];
    let content = part.trim();
    let start = start + (part.len() - part.trim_start().len());
    (!content.is_empty()).then_some(start..start + content.len())
}

/// Where to halve a word: near its middle, between characters as a reader sees them (grapheme clusters) if it has more
/// than one, else between code points; `None` for a single code point.
fn middle(word: &str) -> Option<usize> {
    let half = word.ceil_char_boundary(word.len() / 2);
    if half == word.len() {
        return word.char_indices().nth(1).map(|(start, _)| start);
    }
    let mut cursor = GraphemeCursor::new(half, word.len(), true);
    if cursor.is_boundary(word, 0) == Ok(true) {
        return Some(half);
    }
    let after = cursor.next_boundary(word, 0).ok().flatten().filter(|&border| border < word.len());
    let before = || GraphemeCursor::new(half, word.len(), true).prev_boundary(word, 0).ok().flatten();
    Some(after.or_else(before).filter(|&border| border > 0).unwrap_or(half))
}

#[cfg(test)]
mod tests;

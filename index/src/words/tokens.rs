//! Folded text to tokens, the pieces that are indexed and looked for.
//!
//! | text | tokens |
//! |---|---|
//! | `Running dogs` | `running`, `dogs`, which are then stemmed |
//! | `über` | `uber`, and `ueber` at the same place |
//! | `read_file` | `read_file`, `read`, `file` |
//! | `SN-4471-B`, `foo::bar`, `C++` | the whole, and its parts |
//! | `東京都` | `東京`, `京都` |
//!
//! A text and a question are cut by the same code, so they meet whatever the rules are.

use std::borrow::Cow;
use std::ops::Range;

use crate::words::folding::{Class, Folding, Glyph};

/// The most bytes of a token; of a longer one the beginning and a hash stay.
pub(crate) const MAX_TOKEN_BYTES: usize = 64;
/// Bytes of a long token that stay, before a mark of three bytes and 16 digits of its hash.
const LONG_TOKEN_HEAD_BYTES: usize = 45;

/// How a token is treated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    /// A word of a language, to be stemmed.
    Word,
    /// A name, a number or an address, which stays as it is.
    Verbatim,
    /// One or two characters of a script without spaces between words.
    Gram,
}

/// A piece of a text.
#[derive(Debug)]
pub(crate) struct Token<'a> {
    /// Folded, at most [`MAX_TOKEN_BYTES`].
    pub(crate) form: Cow<'a, str>,
    /// The same with umlauts written out, where it has any.
    pub(crate) spelt: Option<Cow<'a, str>>,
    pub(crate) kind: Kind,
    /// Whether it counts for the length of the text: the whole of what also stands in parts does not.
    pub(crate) counts: bool,
    /// Where in the text it stands, in bytes.
    pub(crate) range: Range<usize>,
}

/// Cuts texts into tokens, with the memory of the last one.
#[derive(Debug, Default)]
pub(crate) struct Tokens {
    folding: Folding,
    form: String,
    spelt: String,
}

impl Tokens {
    /// Gives each token of a text to `take`, in the order in which they begin but for a whole before its parts.
    pub(crate) fn cut(&mut self, text: &str, mut take: impl FnMut(Token<'_>)) {
        let glyphs = self.folding.fold(text);
        let mut cutter = Cutter { glyphs, form: &mut self.form, spelt: &mut self.spelt, take: &mut take };
        let mut at = 0;
        while at < glyphs.len() {
            let end = match glyphs[at].class {
                Class::Gram => {
                    let end = stretch(glyphs, at, |at| glyphs[at].class == Class::Gram);
                    cutter.grams(at..end);
                    end
                }
                Class::Word | Class::Joint => {
                    let end = stretch(glyphs, at, |at| is_of_run(glyphs, at));
                    cutter.run(at..end);
                    end.max(at + 1)
                }
                Class::Space | Class::Break => at + 1,
            };
            at = end;
        }
    }
}

/// Where the glyphs from `at` end for which `belongs`.
fn stretch(glyphs: &[Glyph], at: usize, belongs: impl Fn(usize) -> bool) -> usize {
    (at..glyphs.len()).find(|&at| !belongs(at)).unwrap_or(glyphs.len())
}

/// Whether the glyph continues a run: a comma only between digits, `1,000`.
fn is_of_run(glyphs: &[Glyph], at: usize) -> bool {
    match glyphs[at].class {
        Class::Joint if glyphs[at].ch == ',' => {
            let digit = |glyph: Option<&Glyph>| glyph.is_some_and(Glyph::is_numeric);
            digit(at.checked_sub(1).and_then(|before| glyphs.get(before))) && digit(glyphs.get(at + 1))
        }
        Class::Word | Class::Joint => true,
        _ => false,
    }
}

struct Cutter<'a, F> {
    glyphs: &'a [Glyph],
    form: &'a mut String,
    spelt: &'a mut String,
    take: &'a mut F,
}

impl<F: FnMut(Token<'_>)> Cutter<'_, F> {
    fn grams(&mut self, range: Range<usize>) {
        if range.len() == 1 {
            return self.emit(range, Kind::Gram, true);
        }
        for at in range.start..range.end - 1 {
            self.emit(at..at + 2, Kind::Gram, true);
        }
    }

    /// A run of letters, digits and signs: as a whole where it is more than a word, and in words.
    fn run(&mut self, run: Range<usize>) {
        let whole = trimmed(self.glyphs, run.clone());
        let glyphs = &self.glyphs[whole.clone()];
        let is_joined = glyphs.iter().any(|glyph| glyph.class == Class::Joint);
        if is_joined && glyphs.iter().any(is_telling) && glyphs.iter().any(is_letter) {
            self.emit(whole.clone(), Kind::Verbatim, false);
        }
        let mut at = run.start;
        while at < run.end {
            let end = stretch(&self.glyphs[..run.end], at, |at| self.glyphs[at].class == Class::Word);
            if end > at {
                self.word(at..end);
            }
            at = end + 1;
        }
    }

    /// A stretch of letters, digits and `_`: as a whole where it holds a `_`, and in parts.
    fn word(&mut self, word: Range<usize>) {
        if self.is_elided(&word) {
            return;
        }
        if !self.glyphs[word.clone()].iter().any(|glyph| glyph.ch == '_') {
            return self.part(word);
        }
        if self.glyphs[word.clone()].iter().any(is_letter) {
            self.emit(word.clone(), Kind::Verbatim, false);
        }
        let mut at = word.start;
        while at < word.end {
            let end = stretch(&self.glyphs[..word.end], at, |at| self.glyphs[at].ch != '_');
            if end > at {
                self.part(at..end);
            }
            at = end + 1;
        }
    }

    fn part(&mut self, part: Range<usize>) {
        let holds_digit = self.glyphs[part.clone()].iter().any(Glyph::is_numeric);
        self.emit(part, if holds_digit { Kind::Verbatim } else { Kind::Word }, true);
    }

    /// The letter that an apostrophe leaves alone: the `s` of `cat's`, the `l` of `l'homme`.
    fn is_elided(&self, word: &Range<usize>) -> bool {
        let glyph = |at: Option<usize>| at.and_then(|at| self.glyphs.get(at));
        let is_apostrophe = |at| glyph(at).is_some_and(|glyph| glyph.ch == '\'');
        let is_word = |at| glyph(at).is_some_and(|glyph| glyph.class == Class::Word);
        word.len() == 1
            && !self.glyphs[word.start].is_numeric()
            && ((is_apostrophe(word.start.checked_sub(1)) && is_word(word.start.checked_sub(2)))
                || (is_apostrophe(Some(word.end)) && is_word(Some(word.end + 1))))
    }

    fn emit(&mut self, range: Range<usize>, kind: Kind, counts: bool) {
        let glyphs = &self.glyphs[range];
        let (Some(first), Some(last)) = (glyphs.first(), glyphs.last()) else { return };
        self.form.clear();
        self.form.extend(glyphs.iter().map(|glyph| glyph.ch));
        self.spelt.clear();
        if glyphs.iter().any(|glyph| glyph.extra.is_some()) {
            self.spelt.extend(glyphs.iter().flat_map(|glyph| [Some(glyph.ch), glyph.extra]).flatten());
        }
        let range = first.range().start..last.range().end;
        let spelt = (!self.spelt.is_empty()).then(|| bounded(self.spelt));
        (self.take)(Token { form: bounded(self.form), spelt, kind, counts, range });
    }
}

/// Whether a sign or digit tells that a run is more than words: a name, a number, an address.
fn is_telling(glyph: &Glyph) -> bool {
    glyph.is_numeric()
        || matches!(glyph.ch, '_' | '+' | '#' | '@' | '/' | '\\' | ':' | '.' | '=' | '&' | '~' | '$' | '%')
}

fn is_letter(glyph: &Glyph) -> bool {
    glyph.class == Class::Word && glyph.ch != '_'
}

/// A run without the signs at its ends that belong to the sentence, but with those that begin or end names: `.env`,
/// `#tag`, `@name`, `$HOME`, `~/.ssh`, `C++`, `C#`, `50%`.
fn trimmed(glyphs: &[Glyph], mut run: Range<usize>) -> Range<usize> {
    let joint = |at: usize| glyphs[at].class == Class::Joint;
    while run.start < run.end && joint(run.start) {
        let keeps = match glyphs[run.start].ch {
            '#' | '@' | '$' | '~' | '/' | '\\' => true,
            '.' => run.len() > 1 && is_letter(&glyphs[run.start + 1]),
            _ => false,
        };
        if keeps {
            break;
        }
        run.start += 1;
    }
    while run.start < run.end && joint(run.end - 1) && !matches!(glyphs[run.end - 1].ch, '+' | '#' | '%') {
        run.end -= 1;
    }
    run
}

/// A token of at most [`MAX_TOKEN_BYTES`]: of a longer one the beginning, and a hash of all of it.
fn bounded(form: &str) -> Cow<'_, str> {
    if form.len() <= MAX_TOKEN_BYTES {
        return Cow::Borrowed(form);
    }
    let head = &form[..form.floor_char_boundary(LONG_TOKEN_HEAD_BYTES)];
    let hash = blake3::hash(form.as_bytes()).to_hex();
    Cow::Owned(format!("{head}\u{2026}{}", &hash[..16]))
}

#[cfg(test)]
mod tests;

//! Whether a phrase stands in a text, letter for letter but for case, accents and white space.

use crate::words::folding::{Class, Folding, Glyph};

/// A phrase, or a part of a text, as it is compared: folded, with one space for any white space.
#[derive(Debug, Clone, Default)]
pub(crate) struct Phrase {
    text: String,
    chars: Vec<char>,
    /// Of each character, whether it is of a word whose border it must not be cut from.
    is_word: Vec<bool>,
}

impl Phrase {
    /// Reads a phrase; `None` if no letter or digit is in it.
    pub(crate) fn read(text: &str) -> Option<Self> {
        let mut folding = Folding::default();
        let glyphs = folding.fold(text);
        let says_something = glyphs.iter().any(|glyph| matches!(glyph.class, Class::Word | Class::Gram));
        says_something.then(|| Self { text: text.trim().to_owned(), ..Self::folded(glyphs, false) })
    }

    /// Reads parts of a text; one with umlauts twice, once with them written out.
    pub(crate) fn read_parts(parts: &[&str]) -> Vec<Self> {
        let mut folding = Folding::default();
        let mut read = Vec::with_capacity(parts.len());
        for part in parts {
            let glyphs = folding.fold(part);
            read.push(Self::folded(glyphs, false));
            if glyphs.iter().any(|glyph| glyph.extra.is_some()) {
                read.push(Self::folded(glyphs, true));
            }
        }
        read
    }

    fn folded(glyphs: &[Glyph], is_spelt: bool) -> Self {
        let mut phrase = Self::default();
        for glyph in glyphs {
            if glyph.class == Class::Space {
                if phrase.chars.last().is_some_and(|&last| last != ' ') {
                    phrase.push(' ', false);
                }
                continue;
            }
            let is_word = glyph.class == Class::Word;
            phrase.push(glyph.ch, is_word);
            if let Some(extra) = glyph.extra.filter(|_| is_spelt) {
                phrase.push(extra, is_word);
            }
        }
        if phrase.chars.last() == Some(&' ') {
            phrase.chars.pop();
            phrase.is_word.pop();
        }
        phrase
    }

    fn push(&mut self, ch: char, is_word: bool) {
        self.chars.push(ch);
        self.is_word.push(is_word);
    }

    /// As it was typed.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// Whether it stands in `part`, beginning and ending at borders of words.
    pub(crate) fn stands_in(&self, part: &Self) -> bool {
        let last = part.chars.len().checked_sub(self.chars.len());
        last.is_some_and(|last| {
            (0..=last).any(|at| {
                part.is_border(at)
                    && part.chars[at..].starts_with(&self.chars)
                    && part.is_border(at + self.chars.len())
            })
        })
    }

    /// Whether no word reaches over the place before the character `at`.
    fn is_border(&self, at: usize) -> bool {
        at == 0 || at == self.chars.len() || !(self.is_word[at - 1] && self.is_word[at])
    }
}

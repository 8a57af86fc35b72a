//! A question in words: what is looked for, what must stand in a text, and what must not.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ops::Range;

use crate::words::conditions::Phrase;
use crate::words::marks;
use crate::words::stems::{Language, is_question_word, is_stop_word};
use crate::words::tokens::{Kind, Token, Tokens};

/// The most distinct words of a question that are looked up; those that come after are passed over.
const MAX_WORDS: usize = 256;
/// A question of more words is prose: its quotes and hyphens are no conditions, as they rarely are meant so there.
const MAX_CONDITIONED_WORDS: usize = 16;
/// A word that stands in the question again counts so often at most.
const MAX_COUNT: u8 = 8;
/// The most quoted phrases, and the most excluded words and phrases, that are heeded.
const MAX_CONDITIONS: usize = 32;

/// The most words of phrases by which texts are told apart before they are read.
const MAX_REQUIRED: usize = 16;

/// A question as it is typed: words, `"quoted phrases"` that must stand in a text, `-excluded` words and
/// `-"excluded phrases"` that must not. Typographic quotes are quotes. A quote that is not closed, and a hyphen within a
/// word or before a space, is what it looks like, and so are all in a question of more than 16 words.
#[derive(Debug, Clone, Default)]
pub struct WordQuestion {
    plain: String,
    phrases: Vec<Phrase>,
    excluded: Vec<Phrase>,
    words: Vec<QuestionWord>,
    /// Words of the quoted phrases that any text has in which these stand.
    required: Vec<QuestionWord>,
}

/// A word to look for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct QuestionWord {
    /// Folded, not stemmed.
    pub(crate) form: String,
    /// With umlauts written out, where it has any.
    spelt: Option<String>,
    pub(crate) kind: Kind,
    /// How often it stands in the question, at most [`MAX_COUNT`].
    pub(crate) count: u8,
}

impl QuestionWord {
    fn of(token: &Token<'_>) -> Self {
        let spelt = token.spelt.as_ref().map(|spelt| spelt.clone().into_owned());
        Self { form: token.form.clone().into_owned(), spelt, kind: token.kind, count: 1 }
    }

    /// The terms under which a text in one of `languages` has it: the word itself and its stems.
    pub(crate) fn forms(&self, languages: impl Iterator<Item = Language>) -> Vec<String> {
        let mut forms: Vec<String> =
            [Some(&self.form), self.spelt.as_ref()].into_iter().flatten().cloned().collect();
        if self.kind == Kind::Word {
            let words = forms.len();
            for language in languages {
                for word in 0..words {
                    let stem = language.stem(&forms[word]).into_owned();
                    if !forms.contains(&stem) {
                        forms.push(stem);
                    }
                }
            }
        }
        forms
    }
}

impl WordQuestion {
    /// Reads a question. Takes time in proportion to its length.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut question = Self::default();
        let mut plain = Vec::new();
        let mut tokens = Tokens::default();
        let mut words = Words::default();
        let is_prose = text.split_whitespace().nth(MAX_CONDITIONED_WORDS).is_some();
        let pieces = if is_prose { vec![Piece::Plain(text)] } else { pieces(text) };
        for piece in pieces {
            match piece {
                Piece::Plain(part) => {
                    tokens.cut(part, |token| words.take(&token, false));
                    plain.push(part);
                }
                Piece::Phrase(part) => {
                    tokens.cut(part, |token| {
                        words.take(&token, true);
                        question.require(&token);
                    });
                    plain.push(part);
                    push_condition(&mut question.phrases, part);
                }
                Piece::Excluded(part) => push_condition(&mut question.excluded, part),
            }
        }
        question.words = if words.telling.is_empty() { words.asking } else { words.telling };
        let plain: Vec<&str> = plain.into_iter().map(str::trim).filter(|part| !part.is_empty()).collect();
        question.plain = plain.join(" ");
        question
    }

    /// The question without the marks of quotes and without what is excluded: what a model should read.
    #[must_use]
    pub fn plain(&self) -> &str {
        &self.plain
    }

    /// The quoted phrases as they were typed, at most 32.
    pub fn phrases(&self) -> impl Iterator<Item = &str> {
        self.phrases.iter().map(Phrase::text)
    }

    /// The excluded words and phrases as they were typed, at most 32.
    pub fn excluded(&self) -> impl Iterator<Item = &str> {
        self.excluded.iter().map(Phrase::text)
    }

    /// Whether no word is left to look for: an index then finds nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    /// Whether every quoted phrase stands in one of the parts, and no excluded word or phrase in any. Case, accents, the
    /// kind and amount of white space and characters that show nothing do not matter, other signs do. A phrase begins
    /// and ends where words do; in scripts without spaces between words, anywhere.
    #[must_use]
    pub fn fits(&self, parts: &[&str]) -> bool {
        if !self.has_conditions() {
            return true;
        }
        let parts = Phrase::read_parts(parts);
        let stands = |phrase: &Phrase| parts.iter().any(|part| phrase.stands_in(part));
        self.phrases.iter().all(stands) && !self.excluded.iter().any(stands)
    }

    /// Whether [`WordQuestion::fits`] can ever be false.
    #[must_use]
    pub fn has_conditions(&self) -> bool {
        !self.phrases.is_empty() || !self.excluded.is_empty()
    }

    /// Where words of the question stand in a text of a language (a BCP 47 tag or nothing): ranges of bytes, sorted,
    /// with a gap between any two. Words that an index only finds as beginnings or typing errors are not among them.
    #[must_use]
    pub fn marks(&self, text: &str, language: &str) -> Vec<Range<usize>> {
        marks::marks(&self.words, text, Language::of(language))
    }

    pub(crate) fn words(&self) -> &[QuestionWord] {
        &self.words
    }

    /// Words that a text has in which all quoted phrases stand.
    pub(crate) fn required(&self) -> &[QuestionWord] {
        &self.required
    }

    /// Notes a token of a phrase. What is one token there is one in a text, too, where it is a whole stretch of letters and digits: a
    /// phrase begins and ends where these do. A single letter may be left out for what stands beside it, and of scripts without spaces
    /// the borders of a phrase are anywhere.
    fn require(&mut self, token: &Token<'_>) {
        let is_whole = token.counts && token.kind != Kind::Gram && token.form.chars().nth(1).is_some();
        let is_indexed = token.kind != Kind::Word || !is_stop_word(&token.form);
        if is_whole && is_indexed && self.required.len() < MAX_REQUIRED {
            let word = QuestionWord::of(token);
            if !self.required.contains(&word) {
                self.required.push(word);
            }
        }
    }
}

/// The distinct words of a question.
#[derive(Default)]
struct Words {
    /// Where each stands in `telling`.
    places: HashMap<(String, Kind), usize>,
    telling: Vec<QuestionWord>,
    /// Words such as `what`, which count where nothing else is left.
    asking: Vec<QuestionWord>,
}

impl Words {
    fn take(&mut self, token: &Token<'_>, is_quoted: bool) {
        if self.telling.len() >= MAX_WORDS || (token.kind == Kind::Word && is_stop_word(&token.form)) {
            return;
        }
        let asks = !is_quoted && token.kind == Kind::Word && is_question_word(&token.form);
        let word = QuestionWord::of(token);
        if asks {
            if !self.asking.contains(&word) {
                self.asking.push(word);
            }
            return;
        }
        match self.places.entry((word.form.clone(), word.kind)) {
            Entry::Occupied(place) => {
                let known = &mut self.telling[*place.get()];
                known.count = known.count.saturating_add(1).min(MAX_COUNT);
            }
            Entry::Vacant(place) => {
                place.insert(self.telling.len());
                self.telling.push(word);
            }
        }
    }
}

fn push_condition(conditions: &mut Vec<Phrase>, text: &str) {
    if conditions.len() < MAX_CONDITIONS {
        conditions.extend(Phrase::read(text));
    }
}

/// A stretch of a question.
#[derive(Debug, PartialEq, Eq)]
enum Piece<'a> {
    Plain(&'a str),
    Phrase(&'a str),
    Excluded(&'a str),
}

/// Cuts a question at its quotes and exclusions.
fn pieces(text: &str) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    let (mut plain, mut at) = (0, 0);
    // Once no quote is closed any more, none is looked for, which keeps the time linear.
    let mut closes = true;
    while let Some(ch) = text[at..].chars().next() {
        let before = text[..at].chars().next_back();
        let excludes = ch == '-' && before.is_none_or(char::is_whitespace);
        let start = at + usize::from(excludes);
        let rest = &text[start..];
        let may_open = excludes || before.is_none_or(|before| !before.is_alphanumeric());
        let opens = closes && may_open && rest.starts_with(is_quote);
        let found = match (opens, excludes) {
            (true, _) => quoted(rest),
            (false, true) => word(rest),
            (false, false) => None,
        };
        closes &= !opens || found.is_some();
        let Some((content, length)) = found else {
            at += ch.len_utf8();
            continue;
        };
        pieces.push(Piece::Plain(&text[plain..at]));
        pieces.push(if excludes { Piece::Excluded(content) } else { Piece::Phrase(content) });
        at = start + length;
        plain = at;
    }
    pieces.push(Piece::Plain(&text[plain..]));
    pieces
}

fn is_quote(ch: char) -> bool {
    matches!(ch, '"' | '\u{201C}' | '\u{201D}' | '\u{201E}')
}

/// What stands between the quote that `text` begins with and the one that closes it, which no letter follows; and the
/// bytes of it with its quotes.
fn quoted(text: &str) -> Option<(&str, usize)> {
    let mut chars = text.char_indices().skip(1).peekable();
    let start = chars.peek()?.0;
    while let Some((at, ch)) = chars.next() {
        if is_quote(ch) && chars.peek().is_none_or(|(_, next)| !next.is_alphanumeric()) {
            return Some((&text[start..at], at + ch.len_utf8()));
        }
    }
    None
}

/// The word that `text` begins with, without signs that end a sentence; and the bytes of it with them.
fn word(text: &str) -> Option<(&str, usize)> {
    if !text.starts_with(|first: char| first.is_alphanumeric() || first == '_') {
        return None;
    }
    let end = text.find(char::is_whitespace).unwrap_or(text.len());
    Some((text[..end].trim_end_matches([',', '.', ';', ':', '?', '!', ')']), end))
}

#[cfg(test)]
mod tests;

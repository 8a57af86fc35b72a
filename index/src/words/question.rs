//! A question in words: what is looked for, what must stand in a text, and what must not.

use std::collections::HashSet;
use std::ops::Range;

use crate::words::conditions::Phrase;
use crate::words::marks;
use crate::words::stems::{Language, is_question_word, is_stop_word};
use crate::words::tokens::{Kind, Token, Tokens};

/// The most distinct words of a question that are looked up; those that come after are passed over.
const MAX_WORDS: usize = 256;
/// The most quoted phrases, and the most excluded words and phrases, that are heeded.
const MAX_CONDITIONS: usize = 32;

/// A question as it is typed: words, `"quoted phrases"` that must stand in a text, `-excluded` words and
/// `-"excluded phrases"` that must not. Typographic quotes are quotes. A quote that is not closed, and a hyphen within a
/// word or before a space, is what it looks like.
#[derive(Debug, Clone, Default)]
pub struct WordQuestion {
    plain: String,
    phrases: Vec<Phrase>,
    excluded: Vec<Phrase>,
    words: Vec<QuestionWord>,
}

/// A word to look for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct QuestionWord {
    /// Folded, not stemmed.
    pub(crate) form: String,
    /// With umlauts written out, where it has any.
    spelt: Option<String>,
    pub(crate) kind: Kind,
}

impl QuestionWord {
    fn of(token: &Token<'_>) -> Self {
        let spelt = token.spelt.as_ref().map(|spelt| spelt.clone().into_owned());
        Self { form: token.form.clone().into_owned(), spelt, kind: token.kind }
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
        for piece in pieces(text) {
            match piece {
                Piece::Plain(part) => {
                    tokens.cut(part, |token| words.take(&token, false));
                    plain.push(part);
                }
                Piece::Phrase(part) => {
                    tokens.cut(part, |token| words.take(&token, true));
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
}

/// The distinct words of a question.
#[derive(Default)]
struct Words {
    seen: HashSet<QuestionWord>,
    telling: Vec<QuestionWord>,
    /// Words such as `what`, which count where nothing else is left.
    asking: Vec<QuestionWord>,
}

impl Words {
    fn take(&mut self, token: &Token<'_>, is_quoted: bool) {
        if self.seen.len() >= MAX_WORDS || (token.kind == Kind::Word && is_stop_word(&token.form)) {
            return;
        }
        let asks = !is_quoted && token.kind == Kind::Word && is_question_word(&token.form);
        let word = QuestionWord::of(token);
        if asks {
            if !self.asking.contains(&word) {
                self.asking.push(word);
            }
        } else if self.seen.insert(word.clone()) {
            self.telling.push(word);
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
        let hyphen = ch == '-' && before.is_none_or(char::is_whitespace);
        let rest = &text[at + if hyphen { 1 } else { 0 }..];
        let opens =
            closes && rest.starts_with(is_quote) && (hyphen || before.is_none_or(|ch| !ch.is_alphanumeric()));
        let content = if opens { quoted(rest) } else { None };
        closes &= !opens || content.is_some();
        let (content, is_phrase) = match content {
            Some(content) => (content, true),
            None if hyphen && rest.starts_with(|ch: char| ch.is_alphanumeric() || ch == '_') => {
                (word(rest), false)
            }
            None => {
                at += ch.len_utf8();
                continue;
            }
        };
        pieces.push(Piece::Plain(&text[plain..at]));
        pieces.push(if hyphen { Piece::Excluded(content) } else { Piece::Phrase(content) });
        // `content` is a slice of `rest`, so this is where it ends, with its closing quote.
        at = text.len() - rest.len() + opened(rest, is_phrase) + content.len();
        at += if is_phrase { text[at..].chars().next().map_or(0, char::len_utf8) } else { 0 };
        plain = at;
    }
    pieces.push(Piece::Plain(&text[plain..]));
    pieces
}

/// The bytes of the opening quote of a phrase.
fn opened(rest: &str, is_phrase: bool) -> usize {
    if is_phrase { rest.chars().next().map_or(0, char::len_utf8) } else { 0 }
}

fn is_quote(ch: char) -> bool {
    matches!(ch, '"' | '\u{201C}' | '\u{201D}' | '\u{201E}')
}

/// What stands between the quote that `text` begins with and the one that closes it, which no letter follows.
fn quoted(text: &str) -> Option<&str> {
    let mut chars = text.char_indices().skip(1).peekable();
    let start = chars.peek()?.0;
    while let Some((at, ch)) = chars.next() {
        if is_quote(ch) && chars.peek().is_none_or(|(_, next)| !next.is_alphanumeric()) {
            return Some(&text[start..at]);
        }
    }
    None
}

/// The word that `text` begins with, without signs that end a sentence.
fn word(text: &str) -> &str {
    let end = text.find(char::is_whitespace).unwrap_or(text.len());
    text[..end].trim_end_matches([',', '.', ';', ':', '?', '!', ')'])
}

//! The terms of a text: its tokens in the form in which they are indexed.

use crate::words::stems::{Language, is_stop_word};
use crate::words::tokens::{Kind, Token, Tokens};

/// A text to index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Text<'a> {
    /// All that it is to be found by: body, title, tags. No word reaches from one part into the next.
    pub parts: &'a [&'a str],
    /// A BCP 47 tag. The words of a text in no language, or in one without a stemmer, are stemmed as English.
    pub language: &'a str,
}

/// The terms of one text, in the order in which they stand there.
#[derive(Debug)]
pub(crate) struct Terms {
    text: String,
    /// Where each term ends in `text`.
    ends: Vec<usize>,
    length: usize,
    language: Language,
}

impl Terms {
    /// Reads a text.
    pub(crate) fn of(text: &Text<'_>, tokens: &mut Tokens) -> Self {
        let language = Language::of(text.language);
        let mut terms = Self { text: String::new(), ends: Vec::new(), length: 0, language };
        for part in text.parts {
            tokens.cut(part, |token| {
                let mut indexed = false;
                for_each_form(&token, language, |form| {
                    indexed = true;
                    terms.text.push_str(form);
                    terms.ends.push(terms.text.len());
                });
                terms.length += usize::from(indexed && token.counts);
            });
        }
        terms
    }

    /// How many positions the text has that are indexed.
    pub(crate) fn length(&self) -> usize {
        self.length
    }

    pub(crate) fn language(&self) -> Language {
        self.language
    }

    /// The terms, one as often as it stands in the text.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &str> {
        let mut start = 0;
        self.ends.iter().map(move |&end| {
            let term = &self.text[start..end];
            start = end;
            term
        })
    }

    /// The bytes of its terms.
    pub(crate) fn bytes(&self) -> usize {
        self.text.len()
    }
}

/// Gives `take` each form in which a token of a text is indexed: none for a stop word, two where umlauts can be written
/// out.
pub(crate) fn for_each_form(token: &Token<'_>, language: Language, mut take: impl FnMut(&str)) {
    let forms = [Some(&token.form), token.spelt.as_ref()];
    match token.kind {
        Kind::Word if is_stop_word(&token.form) => {}
        Kind::Word => {
            let [form, spelt] = forms.map(|form| form.map(|form| language.stem(form)));
            if let Some(form) = &form {
                take(form);
            }
            if let Some(spelt) = spelt.filter(|spelt| form.as_ref() != Some(spelt)) {
                take(&spelt);
            }
        }
        Kind::Verbatim | Kind::Gram => forms.into_iter().flatten().for_each(|form| take(form)),
    }
}

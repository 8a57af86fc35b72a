//! Where the words of a question stand in a text.

use std::collections::HashSet;
use std::ops::Range;

use crate::words::question::QuestionWord;
use crate::words::stems::{Language, Languages};
use crate::words::terms::for_each_form;
use crate::words::tokens::Tokens;

/// The ranges of bytes of `text` that words of the question stand in, sorted and apart.
pub(crate) fn marks(words: &[QuestionWord], text: &str, language: Language) -> Vec<Range<usize>> {
    let mut languages = Languages::ENGLISH;
    languages.insert(language);
    let wanted: HashSet<String> = words.iter().flat_map(|word| word.forms(languages.iter())).collect();
    let mut found: Vec<Range<usize>> = Vec::new();
    Tokens::default().cut(text, |token| {
        let mut matches = false;
        for_each_form(&token, language, |form| matches |= wanted.contains(form));
        if matches {
            found.push(token.range.clone());
        }
    });
    found.sort_unstable_by_key(|range| (range.start, range.end));
    let mut apart: Vec<Range<usize>> = Vec::with_capacity(found.len());
    for range in found {
        match apart.last_mut() {
            // Pairs of characters overlap or touch, and are one stretch to a reader.
            Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
            _ => apart.push(range),
        }
    }
    apart
}

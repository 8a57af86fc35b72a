//! Arbitrary text as a question and as a text that is searched, and arbitrary bytes as the content of a snapshot of words.
//!
//! The sources are those of the index, without what lies around them: ONNX Runtime and the graph would take longer to build than this
//! runs. The first byte chooses the language, the second how much of the rest is the question.

#![no_main]
#![allow(dead_code, unused_imports, unreachable_pub, reason = "only a part of these sources is used here")]

use libfuzzer_sys::fuzz_target;

#[path = "../../../index/src/words"]
mod words {
    pub mod conditions;
    pub mod content;
    pub mod dictionary;
    pub mod folding;
    pub mod inverted;
    pub mod marks;
    pub mod postings;
    pub mod question;
    pub mod stems;
    pub mod terms;
    pub mod tokens;
}

use words::content;
use words::inverted::{Inverted, digest};
use words::question::WordQuestion;
use words::terms::{Terms, Text};
use words::tokens::{MAX_TOKEN_BYTES, Tokens};

const LANGUAGES: [&str; 20] = [
    "", "en", "ar", "da", "nl", "fi", "fr", "de", "el", "hu", "it", "no", "pt", "ro", "ru", "es", "sv", "ta",
    "tr", "zh-Hant",
];

fuzz_target!(|bytes: &[u8]| {
    let [language, share, rest @ ..] = bytes else { return };
    if let Some(index) = content::decode(rest) {
        use_index(&index);
    }
    let language = LANGUAGES[usize::from(*language) % LANGUAGES.len()];
    let (question, text) = rest.split_at(rest.len() * usize::from(*share) / 256);
    let (question, text) = (String::from_utf8_lossy(question), String::from_utf8_lossy(text));

    Tokens::default().cut(&text, |token| {
        assert!(
            text.get(token.range.clone()).is_some_and(|word| !word.is_empty()),
            "a token stands in the text"
        );
        for form in [Some(&token.form), token.spelt.as_ref()].into_iter().flatten() {
            assert!(!form.is_empty() && form.len() <= MAX_TOKEN_BYTES, "a token is bounded");
            assert!(!form.contains(char::is_whitespace), "a token is one word");
        }
    });
    let parsed = WordQuestion::parse(&question);
    let parts = [&text[..], "a title"];
    if !parsed.has_conditions() {
        assert!(parsed.fits(&parts));
    }
    let marks = parsed.marks(&text, language);
    assert!(
        marks.iter().all(|mark| text.get(mark.clone()).is_some_and(|word| !word.is_empty())),
        "a mark lies between characters"
    );
    assert!(marks.is_sorted_by(|a, b| a.end < b.start), "marks are sorted and apart");

    let text = Text { parts: &parts, language };
    let terms = Terms::of(&text, &mut Tokens::default());
    let mut index = Inverted::new();
    index.add(7, &terms);
    index.add(8, &Terms::of(&Text { parts: &[&question], language: "" }, &mut Tokens::default()));
    assert!(
        index.holds(7, &terms) && index.digests()[&7] == digest(&terms),
        "a text is indexed under its own words"
    );
    let loaded = content::decode(&content::encode(&index).bytes).expect("what was written can be read");
    assert!(loaded.holds(7, &terms), "a snapshot comes back as it was");
});

/// Whatever was read can be worked with.
fn use_index(index: &Inverted) {
    let bytes = content::encode(index).bytes;
    let again = content::decode(&bytes).expect("what was written can be read");
    assert_eq!(content::encode(&again).bytes, bytes);
    let _ = (index.compacted(), index.digests());
}

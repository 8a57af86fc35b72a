use super::*;

fn text<'a>(parts: &'a [&'a str]) -> Text<'a> {
    Text { parts, language: "" }
}

/// The keys that a question finds, best first.
fn found(words: &Words, question: &str) -> Vec<u64> {
    let found = words.search(&WordQuestion::parse(question), 100, &|_| true, &[]);
    found.best.iter().map(|hit| hit.key).collect()
}

#[test]
fn a_text_is_found_by_a_word() {
    let words = Words::new();
    words.add(&[(1, text(&["The cat sat on the mat."])), (2, text(&["Dogs were running."]))]);
    assert_eq!(found(&words, "where do cats sit, cat"), [1]);
    assert_eq!(found(&words, "run"), [2]);
}

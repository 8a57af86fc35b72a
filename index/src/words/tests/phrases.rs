//! Texts that are passed over because they lack a word of a phrase, and none besides.

use proptest::prelude::*;

use super::{Text, WordQuestion, Words, add, found};

/// What texts are put together of, with and without space between: words in several forms, names, and signs.
fn piece() -> impl Strategy<Value = &'static str> {
    prop::sample::select(
        &[
            "server",
            "Server",
            "servers",
            "running",
            "the",
            "über",
            "ueber",
            "Straße",
            "read_file",
            "SN-4471-B",
            "l'homme",
            "cat's",
            "l",
            "s",
            "'",
            "C++",
            "e-mail",
            "1,000",
            "3.5",
            "2",
            "x",
            "東京都",
            "京",
            "дома",
            "-",
            "_",
            ".",
            ",",
            ":",
            "/",
            " ",
            " ",
            " ",
            "  ",
            "\n",
        ][..],
    )
}

#[test]
fn a_phrase_that_begins_or_ends_within_what_is_cut_otherwise_is_found() {
    for (text, phrase) in [
        ("東京 server", "京 server"),
        ("the server 東京都", "server 東"),
        ("the cat's server", "s server"),
        ("a server l'homme", "server l"),
        ("see SN-4471-B server", "B server"),
        ("a Straße server", "strasse server"),
    ] {
        let words = Words::new();
        add(&words, 1, text);
        let question = WordQuestion::parse(&format!("\"{phrase}\""));
        assert!(question.fits(&[text]), "{phrase} stands in {text}");
        assert_eq!(found(&words, &format!("\"{phrase}\"")), [1], "{phrase} in {text}");
    }
}

#[test]
fn texts_that_lack_a_word_of_a_phrase_are_not_asked_about() {
    let words = Words::new();
    (1..=100).for_each(|key| add(&words, key, "A server in the cellar."));
    (101..=200).for_each(|key| add(&words, key, "A home in the country."));
    add(&words, 201, "Home of a server.");
    add(&words, 202, "A home server in the cellar.");
    let asked = std::cell::RefCell::new(Vec::new());
    let allow = |key| {
        asked.borrow_mut().push(key);
        key == 202
    };
    let found = words.search(&WordQuestion::parse("cellar \"home server\""), 10, &allow, &[]).best;
    assert_eq!(found.iter().map(|hit| hit.key).collect::<Vec<_>>(), [202]);
    asked.borrow_mut().sort_unstable();
    assert_eq!(*asked.borrow(), [201, 202]);
}

proptest! {
    #[test]
    fn no_text_is_lost_in_which_a_phrase_stands(
        bodies in prop::collection::vec(prop::collection::vec(piece(), 1..8), 1..8),
        (of, from, to) in any::<[prop::sample::Index; 3]>().prop_map(|[of, from, to]| (of, from, to)),
        languages in prop::collection::vec(prop::sample::select(&["", "de", "ru", "fr", "tr"][..]), 8),
    ) {
        let words = Words::new();
        let bodies: Vec<String> = bodies.iter().map(|pieces| pieces.concat()).collect();
        for ((key, body), &language) in (1..).zip(&bodies).zip(&languages) {
            words.add(&[(key, Text { parts: &[body], language })]);
        }
        let chars: Vec<char> = of.get(&bodies).chars().collect();
        let (from, to) = (from.index(chars.len()), to.index(chars.len()));
        let phrase: String = chars[from.min(to)..=from.max(to)].iter().collect();
        let question = WordQuestion::parse(&format!("\"{phrase}\""));
        let found = found(&words, &format!("\"{phrase}\""));
        for ((key, body), &language) in (1..).zip(&bodies).zip(&languages) {
            let is_meant = question.fits(&[body])
                && words.score(&question, &Text { parts: &[body], language }) > 0.0;
            prop_assert!(!is_meant || found.contains(&key), "{:?} stands in {:?}", phrase, body);
        }
    }
}

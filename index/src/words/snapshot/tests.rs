use std::fs;

use proptest::prelude::*;

use crate::words::content::{decode, encode};
use crate::words::inverted::Inverted;
use crate::words::terms::{Terms, Text};
use crate::words::tokens::Tokens;
use crate::{WordQuestion, Words};

/// Of a word that ends so, the Turkish stemmer exchanges the ending for a vowel: its stem is longer than a token may be.
#[test]
fn a_word_whose_stem_is_longer_than_itself_comes_back() {
    let dir = tempfile::tempdir().expect("a folder");
    for length in 50..=64 {
        for ending in ["d", "g", "dnin", "ddan", "glar"] {
            let word = format!("ruru{}{ending}", "d".repeat(length - 4 - ending.len()));
            let words = Words::new();
            words.add(&[(1, Text { parts: &[&word], language: "tr" })]);
            words.save(dir.path(), 7, 11).expect("it saves");
            let (loaded, _) = Words::load(dir.path(), 7).expect("it loads");
            let found = loaded.search(&WordQuestion::parse(&word), 9, &|_| true, &[]).best;
            assert_eq!(found.len(), 1, "{word}");
        }
    }
}

fn sample() -> Words {
    let words = Words::new();
    let bodies: Vec<String> =
        (0..300).map(|number| format!("text number{number} of many, größer {}", number % 7)).collect();
    for (key, body) in bodies.iter().enumerate() {
        words.add(&[(key as u64 * 1000, Text { parts: &[body, "title"], language: "de" })]);
    }
    words.remove(&[0, 5000]);
    words
}

fn sample_bytes() -> Vec<u8> {
    let mut index = Inverted::new();
    for key in 0..20 {
        let body = format!("text number{key} of many, again and again a text {}", key % 7);
        index.add(key, &Terms::of(&Text { parts: &[&body], language: "fr" }, &mut Tokens::default()));
    }
    encode(&index).bytes
}

#[test]
fn a_snapshot_comes_back_as_it_was() {
    let dir = tempfile::tempdir().expect("a folder");
    let words = sample();
    words.save(dir.path(), 7, 42).expect("it saves");
    let (loaded, seq) = Words::load(dir.path(), 7).expect("it loads");
    assert_eq!(seq, 42);
    assert_eq!(loaded.keys(), words.keys());
    for question in ["many", "number7", "groesser 3", "title", "numbr9", "nothing"] {
        let search = |words: &Words| words.search(&WordQuestion::parse(question), 400, &|_| true, &[1000]);
        assert_eq!(search(&loaded), search(&words), "{question}");
    }
    // It takes on where the other was.
    loaded.add(&[(1000, Text { parts: &["replaced"], language: "" })]);
    assert!(loaded.len() == 298 && loaded.holds(1000, &Text { parts: &["replaced"], language: "" }));
    let empty = tempfile::tempdir().expect("a folder");
    Words::new().save(empty.path(), 7, 1).expect("it saves");
    assert!(Words::load(empty.path(), 7).is_some_and(|(words, seq)| words.is_empty() && seq == 1));
}

#[test]
fn the_same_texts_make_the_same_file_and_old_ones_are_swept() {
    let dir = tempfile::tempdir().expect("a folder");
    let names = || {
        let entries = fs::read_dir(dir.path()).expect("it is there");
        let mut names: Vec<String> =
            entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    };
    fs::write(dir.path().join("words-partial"), "left over").expect("it is written");
    fs::write(dir.path().join("graph-00"), "of another").expect("it is written");
    sample().save(dir.path(), 7, 1).expect("it saves");
    let first = names();
    assert_eq!(first.len(), 3, "{first:?}");
    sample().save(dir.path(), 7, 2).expect("it saves");
    assert_eq!(names(), first);
    Words::new().save(dir.path(), 7, 3).expect("it saves");
    assert!(names().len() == 3 && names() != first);
    #[cfg(unix)]
    for name in names().iter().filter(|name| name.starts_with("words")) {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = fs::metadata(dir.path().join(name)).expect("it is there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name} is private");
    }
}

#[test]
fn a_snapshot_that_does_not_fit_is_not_used() {
    let dir = tempfile::tempdir().expect("a folder");
    assert!(Words::load(dir.path(), 7).is_none());
    sample().save(dir.path(), 7, 42).expect("it saves");
    assert!(Words::load(dir.path(), 8).is_none(), "another store's");
    let description = dir.path().join("words.json");
    let text = fs::read_to_string(&description).expect("it is there");
    for (part, other) in [
        ("\"format\": 1", "\"format\": 2"),
        ("\"count\": 298", "\"count\": 299"),
        ("\"words\": \"", "\"words\": \"../"),
        ("\"seq\"", "\"more\": 1, \"seq\""),
        ("{", ""),
    ] {
        assert!(text.contains(part), "{part}");
        fs::write(&description, text.replacen(part, other, 1)).expect("it is written");
        assert!(Words::load(dir.path(), 7).is_none(), "{other}");
    }
    fs::write(&description, &text).expect("it is written");
    assert!(Words::load(dir.path(), 7).is_some());
    let content = fs::read_dir(dir.path()).expect("it is there").flatten().map(|entry| entry.path());
    let content = content.into_iter().find(|path| path.extension().is_none()).expect("it has a content");
    let mut bytes = fs::read(&content).expect("it is there");
    *bytes.last_mut().expect("it is not empty") ^= 1;
    fs::write(&content, bytes).expect("it is written");
    assert!(Words::load(dir.path(), 7).is_none(), "the hash differs");
}

#[test]
fn a_content_is_laid_out_as_it_is_described() {
    let mut index = Inverted::new();
    for (key, body) in [(5, "cat"), (9, "the cat, cat, dog")] {
        index.add(key, &Terms::of(&Text { parts: &[body], language: "" }, &mut Tokens::default()));
    }
    let numbers: Vec<u8> = [2u32, 2, 1].into_iter().flat_map(u32::to_le_bytes).collect();
    let keys: Vec<u8> = [5u64, 9].into_iter().flat_map(u64::to_le_bytes).collect();
    let lengths = [1, 0, 3, 0];
    // Once in the first document and then twice in the one after it.
    let cat = b"\x03cat\x03\0\0\0\x02\x03\x02";
    let dog = b"\x03dog\x01\0\0\0\x04";
    let bytes = [&numbers, &keys, &lengths[..], cat, dog].concat();
    assert_eq!(encode(&index).bytes, bytes);
    assert!(decode(&bytes).is_some_and(|index| index.doc(9) == Some(1)));
    // None of these is an index: a document twice, a removed one, terms out of order, a posting beyond the documents.
    for (place, byte) in [(12, 9), (28, 0xFF), (33, b'z'), (bytes.len() - 1, 6)] {
        let mut other = bytes.clone();
        other[place] = byte;
        if place == 28 {
            other[29] = 0xFF;
        }
        assert!(decode(&other).is_none(), "{place}");
    }
}

#[test]
fn a_content_that_is_cut_anywhere_is_no_index() {
    let bytes = sample_bytes();
    assert!(decode(&bytes).is_some_and(|index| index.len() == 20));
    for length in 0..bytes.len() {
        assert!(decode(&bytes[..length]).is_none(), "{length}");
    }
    assert!(decode(&[&bytes[..], &[0]].concat()).is_none());
}

#[test]
fn a_content_that_promises_much_reserves_little() {
    let head = [u32::MAX, u32::MAX, 1].map(u32::to_le_bytes).concat();
    assert!(decode(&head).is_none());
    let head = [0, u32::MAX, 1].map(u32::to_le_bytes).concat();
    assert!(decode(&head).is_none());
}

proptest! {
    #[test]
    fn any_bytes_are_an_index_or_none(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Some(index) = decode(&bytes) {
            prop_assert!(decode(&encode(&index).bytes).is_some());
        }
    }

    #[test]
    fn a_content_with_changed_bytes_is_an_index_or_none(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut bytes = sample_bytes();
        for (place, byte) in changes {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        if let Some(index) = decode(&bytes) {
            // Whatever it is, it can be worked with.
            let again = encode(&index).bytes;
            prop_assert!(decode(&again).is_some());
            let _ = (index.compacted(), index.digests());
        }
    }
}

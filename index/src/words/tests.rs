//! Whole searches, against a plain model where it can be had.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};

use proptest::prelude::*;

use super::*;

mod phrases;

const NONE: [u64; 0] = [];

fn text<'a>(parts: &'a [&'a str]) -> Text<'a> {
    Text { parts, language: "" }
}

fn add(words: &Words, key: u64, body: &str) {
    words.add(&[(key, text(&[body]))]);
}

fn hits(words: &Words, question: &str) -> Vec<WordHit> {
    words.search(&WordQuestion::parse(question), 1000, &|_| true, &[]).best
}

/// The keys that a question finds, best first.
fn found(words: &Words, question: &str) -> Vec<u64> {
    hits(words, question).iter().map(|hit| hit.key).collect()
}

#[test]
fn a_text_is_found_by_its_words_in_other_forms() {
    let words = Words::new();
    add(&words, 1, "The cat sat on the mat.");
    add(&words, 2, "Dogs were running.");
    assert_eq!(found(&words, "a mat for cats"), [1]);
    assert_eq!(found(&words, "run, dog!"), [2]);
    assert_eq!(found(&words, "birds"), NONE);
}

#[test]
fn the_score_is_bm25() {
    let words = Words::new();
    add(&words, 1, "red red apple");
    add(&words, 2, "red pear and the plum tart");
    add(&words, 3, "green grass");
    let hits = hits(&words, "red apple");
    // Lengths are 3, 4 and 2 positions: stop words do not count.
    let term = |having: f64, count: f64, length: f64| {
        let idf = (1.0 + (3.0 - having + 0.5) / (having + 0.5)).ln();
        idf * count * 2.2 / (count + 1.2 * (0.25 + 0.75 * length / 3.0))
    };
    let expected = [(1, term(2.0, 2.0, 3.0) + term(1.0, 1.0, 3.0)), (2, term(2.0, 1.0, 4.0))];
    assert_eq!(hits.len(), expected.len());
    for (hit, (key, score)) in hits.iter().zip(expected) {
        assert_eq!(hit.key, key);
        assert!((f64::from(hit.score) - score).abs() < 1e-5, "{hit:?} should have {score}");
    }
}

#[test]
fn among_equals_the_newest_is_first_and_what_is_asked_beside_is_scored_whatever_the_filter() {
    let words = Words::new();
    for key in 0..1000 {
        add(&words, key, "the same words");
    }
    let question = WordQuestion::parse("same");
    let best = words.search(&question, 3, &|_| true, &[]).best;
    assert_eq!(best.iter().map(|hit| hit.key).collect::<Vec<_>>(), [999, 998, 997]);
    // So few are let through that the first candidates do not do.
    let calls = Mutex::new(Vec::new());
    let allow = |key| {
        lock(&calls).push(key);
        key < 3
    };
    let few = words.search(&question, 2, &allow, &[500, 5000]);
    assert_eq!(few.best.iter().map(|hit| hit.key).collect::<Vec<_>>(), [2, 1]);
    assert_eq!(few.also, [best[0].score, 0.0]);
    let mut calls = calls.into_inner().expect("nobody panicked");
    assert_eq!(calls.len(), 999, "it is asked no more than needed");
    calls.dedup();
    assert_eq!(calls.len(), 999, "no key is judged twice");
    assert!(words.search(&question, 0, &|_| panic!("nothing is wanted"), &[1]).best.is_empty());
}

#[test]
fn the_best_are_the_first_of_all_however_few_are_wanted() {
    let words = Words::new();
    for place in 0..3000u64 {
        // Keys in no order, and few lengths, so that many scores are equal.
        let body = "wanted ".repeat(1 + place as usize % 3) + &"other ".repeat(place as usize % 5);
        add(&words, place * 7919 % 3001, &body);
    }
    let question = WordQuestion::parse("wanted");
    let all = words.search(&question, 5000, &|_| true, &[]).best;
    assert_eq!(all.len(), 3000);
    let best_first = |a: &WordHit, b: &WordHit| {
        a.score > b.score || (a.score.total_cmp(&b.score).is_eq() && a.key > b.key)
    };
    assert!(all.is_sorted_by(best_first));
    for k in [1, 10, 127, 128, 129, 300, 2999] {
        assert_eq!(words.search(&question, k, &|_| true, &[]).best, all[..k], "{k}");
        let odd: Vec<WordHit> = all.iter().filter(|hit| hit.key % 2 == 1).take(k).copied().collect();
        assert_eq!(words.search(&question, k, &|key| key % 2 == 1, &[]).best, odd, "{k}");
    }
}

#[test]
fn a_search_among_keys_finds_the_same_scores() {
    let words = Words::new();
    add(&words, 1, "one apple");
    add(&words, 2, "an apple and another apple pie");
    add(&words, 3, "no fruit");
    let question = WordQuestion::parse("apple");
    let all = words.search(&question, 10, &|_| true, &[1, 3]);
    let among = words.search_among(&question, 10, &[3, 2, 2, 77], &[1, 3]);
    assert_eq!(among.best, [*all.best.iter().find(|hit| hit.key == 2).expect("2 has an apple")]);
    assert_eq!(among.also, all.also);
    assert!(among.also[0] > 0.0 && among.also[1] == 0.0);
}

#[test]
fn forms_of_one_word_count_once() {
    let words = Words::new();
    words.add(&[
        (1, Text { parts: &["Die Universitäten"], language: "de" }),
        (2, Text { parts: &["the universities"], language: "en" }),
        (3, Text { parts: &["apple pie"], language: "en" }),
    ]);
    let once = hits(&words, "university");
    // They are one term, which counts as often as it is asked for.
    let thrice = hits(&words, "university universities university");
    assert_eq!(
        thrice.iter().map(|hit| hit.key).collect::<Vec<_>>(),
        once.iter().map(|hit| hit.key).collect::<Vec<_>>()
    );
    assert!(once.iter().zip(&thrice).all(|(once, thrice)| (thrice.score - 3.0 * once.score).abs() < 1e-5));
    // An umlaut in both of its spellings is one word as well.
    let spelt = Words::new();
    add(&spelt, 1, "über");
    add(&spelt, 2, "apple");
    let plain = Words::new();
    add(&plain, 1, "uber");
    add(&plain, 2, "apple");
    assert_eq!(hits(&spelt, "über"), hits(&plain, "uber"));
}

#[test]
fn each_language_takes_its_own_endings_off_and_a_question_needs_none() {
    let words = Words::new();
    for (key, language, body) in [
        (1, "de-AT", "Er läuft durch die Wälder"),
        (2, "ru", "Книги стоят на полках"),
        (3, "fr", "Ils mangeaient des gâteaux"),
        (4, "es", "Las canciones tradicionales"),
        (5, "xx", "walking"),
    ] {
        words.add(&[(key, Text { parts: &[body], language })]);
    }
    for (question, key) in [
        ("Wald", 1),
        ("waelder", 1),
        ("книга", 2),
        ("книгами", 2),
        ("gateau", 3),
        ("tradicional", 4),
        ("walks", 5),
    ] {
        assert_eq!(found(&words, question), [key], "{question}");
    }
}

#[test]
fn names_numbers_and_addresses_are_found_whole_before_their_parts() {
    let words = Words::new();
    let bodies = [
        "The host 192.168.1.44 is down",
        "192 of 168 hosts, 1 of 44",
        "Part SN-4471-B is broken.",
        "error[E0382]: use of moved value",
        "Write to a.smith@example.com, please",
        "see (https://example.org/page?z=1).",
        "call `foo::bar()` with read_file",
        "am 14.03.2026 um 12:30",
        "C++ and C# are languages, C is another",
        "put it in .env or $HOME",
    ];
    for (key, body) in bodies.iter().enumerate() {
        add(&words, key as u64, body);
    }
    for (question, key) in [
        ("192.168.1.44", 0),
        ("what is 192.168.1.44?", 0),
        ("sn-4471-b", 2),
        ("4471", 2),
        ("E0382", 3),
        ("a.smith@example.com", 4),
        ("smith", 4),
        ("https://example.org/page?z=1", 5),
        ("foo::bar", 6),
        ("bar", 6),
        ("read_file", 6),
        ("file", 6),
        ("14.03.2026", 7),
        ("C++", 8),
        ("c#", 8),
        (".env", 9),
        ("$home", 9),
    ] {
        assert_eq!(found(&words, question).first(), Some(&key), "{question}");
    }
    assert_eq!(found(&words, "192.168.1.44")[..2], [0, 1]);
    assert!(found(&words, "SN-4471-C").contains(&2), "its parts are found");
}

#[test]
fn a_word_that_stands_nowhere_is_held_to_be_a_beginning_and_then_a_typing_error() {
    let words = Words::new();
    add(&words, 1, "photosynthesis");
    add(&words, 2, "photography");
    add(&words, 3, "elephant");
    add(&words, 4, "pho");
    assert_eq!(found(&words, "phot"), [2, 1]);
    assert_eq!(found(&words, "pho"), [4], "what stands there is not expanded");
    assert_eq!(found(&words, "ph"), NONE, "two letters begin too much");
    add(&words, 5, "kubernetes");
    for error in
        ["kubernets", "kuberentes", "kubbernetes", "kubernetez", "ubernetes", "Kubernetis", "kubernetix"]
    {
        assert_eq!(found(&words, error), [5], "{error}");
    }
    assert_eq!(found(&words, "kubernet3s"), NONE, "a name with a digit is another name");
    assert_eq!(found(&words, "kubrntes"), NONE, "two errors are too many");
    add(&words, 6, "four");
    assert_eq!(found(&words, "foru"), NONE, "four letters are too few");
    let weight = hits(&words, "kuberentes")[0].score / hits(&words, "kubernetes")[0].score;
    assert!((weight - 0.8).abs() < 1e-5);
}

#[test]
fn at_most_32_words_are_found_in_place_of_one() {
    let words = Words::new();
    for key in 0..100 {
        add(
            &words,
            key,
            &format!("prefix{}", "abcdefghij".chars().nth(key as usize % 10).map_or('x', |c| c)),
        );
    }
    for key in 100..200 {
        add(&words, key, &format!("begin{key}x"));
    }
    assert_eq!(found(&words, "prefi").len(), 100);
    assert_eq!(found(&words, "begi").len(), 32);
}

#[test]
fn a_removed_text_is_not_found_and_counts_no_more() {
    let (words, fresh) = (Words::new(), Words::new());
    for key in 0..100 {
        add(&words, key, if key % 2 == 0 { "rare frequent words" } else { "frequent others" });
    }
    words.remove(&[0, 2, 4, 6, 8, 1000]);
    for key in (0..100).filter(|key| key % 2 == 1 || *key >= 10) {
        add(&fresh, key, if key % 2 == 0 { "rare frequent words" } else { "frequent others" });
    }
    assert_eq!(words.len(), 95);
    assert!(!words.contains(4) && words.contains(5));
    assert_eq!(hits(&words, "rare"), hits(&fresh, "rare"));
    assert_eq!(words.keys(), fresh.keys());
    let full = words.memory_bytes();
    words.remove(&(0..100).filter(|key| key % 2 == 0).collect::<Vec<_>>());
    assert_eq!(found(&words, "rare"), NONE);
    assert_eq!(found(&words, "word"), NONE, "a term of no text begins nothing");
    assert!(words.memory_bytes() <= full);
    words.remove(&words.keys());
    assert!(words.is_empty() && found(&words, "others").is_empty());
}

#[test]
fn the_index_says_whether_it_holds_a_text_exactly() {
    let words = Words::new();
    let long = "word ".repeat(70_000);
    words.add(&[
        (1, Text { parts: &["Running dogs", "title"], language: "en" }),
        (2, text(&["Running dogs and cats"])),
        (3, text(&[&long])),
    ]);
    let digests = words.digests();
    for (key, parts, is_held) in [
        (1, &["Running dogs", "title"][..], true),
        (1, &["title", "a RUNNING", "dog"], true),
        (1, &["Running dogs"], false),
        (1, &["Running dogs", "title", "more"], false),
        (1, &["Running dogs dogs", "title"], false),
        (2, &["Running dogs"], false),
        (2, &["cats, dogs, running"], true),
        (3, &[&long], true),
        (4, &["Running dogs", "title"], false),
    ] {
        assert_eq!(words.holds(key, &text(parts)), is_held, "{key}: {parts:?}");
        assert_eq!(digests.holds(key, &text(parts)), is_held, "{key}: {parts:?}");
    }
    assert!(!words.holds(1, &Text { parts: &["Running dogs", "title"], language: "fi" }));
}

#[test]
fn a_long_text_of_one_word_and_a_long_word_are_found() {
    let words = Words::new();
    let long = "x".repeat(16 * 1024);
    add(&words, 1, &long);
    add(&words, 2, &"again ".repeat(100_000));
    assert_eq!(found(&words, &long), [1]);
    assert_eq!(found(&words, &long[1..]), NONE, "a hash tells it from others that begin alike");
    assert_eq!(found(&words, "again"), [2]);
}

#[test]
fn hostile_texts_take_bounded_time_and_memory() {
    let words = Words::new();
    let mut random = 1u64;
    let mut next = || {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (random >> 33) as u32
    };
    let hostile = [
        format!("e{}", "\u{301}".repeat(8000)),
        "\u{FDFA}".repeat(5000),
        "\u{200B}\u{202E}\u{2066}".repeat(1800),
        format!("a{}b", "\u{200D}".repeat(5000)),
        (0..4000).map(|_| char::from_u32(next() % 0x11_0000).unwrap_or('-')).collect(),
        (0..2500).map(|_| format!("{:x} ", next())).collect(),
        "\"-".repeat(8000),
        "(\"a".repeat(5000),
        "a.".repeat(8000),
        "\u{1100}\u{1161}\u{11A8}".repeat(1800),
        "\u{1161}".repeat(5000),
        "1,".repeat(8000),
        "_".repeat(16_000),
        "'a".repeat(8000),
    ];
    let start = std::time::Instant::now();
    for (key, body) in hostile.iter().enumerate() {
        add(&words, key as u64, body);
        let question = WordQuestion::parse(body);
        let _ = words.search(&question, 10, &|_| true, &[0]);
        let _ = question.fits(&[body]);
        let marks = question.marks(body, "ar");
        assert!(marks.iter().all(|mark| body.get(mark.clone()).is_some()));
        assert!(words.holds(key as u64, &text(&[body])));
    }
    assert!(words.memory_bytes() < 4 << 20, "{} bytes", words.memory_bytes());
    assert!(start.elapsed().as_secs() < 20, "it took {:?}", start.elapsed());
    assert_eq!(found(&words, "ab"), [3], "what nobody sees does not part a word");
    assert!(found(&words, "É").contains(&0));
}

#[test]
fn searches_go_on_while_texts_are_added_removed_and_saved() {
    let words = Words::new();
    let dir = tempfile::tempdir().expect("a folder");
    add(&words, u64::MAX, "constant star");
    let is_done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let searching = || {
            let mut searches = 0;
            while !is_done.load(Ordering::Relaxed) || searches == 0 {
                assert_eq!(found(&words, "constant"), [u64::MAX]);
                assert!(words.contains(u64::MAX));
                for hit in hits(&words, "moving") {
                    assert!(hit.key < 2000 && hit.score > 0.0);
                }
                searches += 1;
            }
        };
        let searchers = [scope.spawn(searching), scope.spawn(searching)];
        let adders = [0, 1].map(|first| {
            let words = &words;
            scope.spawn(move || {
                for key in (first..2000).step_by(2) {
                    add(words, key, &format!("moving target number{key}"));
                    if key % 3 == 0 {
                        words.remove(&[key]);
                    }
                }
            })
        });
        words.save(dir.path(), 1, 1).expect("it saves");
        adders.into_iter().for_each(|adder| adder.join().expect("adding does not panic"));
        is_done.store(true, Ordering::Relaxed);
        searchers.into_iter().for_each(|searcher| searcher.join().expect("searching does not panic"));
    });
    assert_eq!(words.len(), 1 + (0..2000).filter(|key| key % 3 != 0).count());
    assert_eq!(found(&words, "number1999"), [1999]);
    assert!(Words::load(dir.path(), 1).is_some());
}

/// What the index is compared with: the terms of each text, and BM25 as it is written in books.
#[derive(Default)]
struct Model {
    texts: HashMap<u64, Vec<String>>,
}

/// The words of the model's texts: their own stems, no beginnings of each other, and far from each other.
const VOCABULARY: [&str; 12] = [
    "apricot", "blizzard", "cobra", "dolphin", "emerald", "falcon", "granit", "hammock", "iguana", "jackal",
    "kiwi", "lagoon",
];

impl Model {
    fn search(&self, question: &[String]) -> Vec<(u64, f64)> {
        let all = self.texts.len() as f64;
        let mean = self.texts.values().map(Vec::len).sum::<usize>() as f64 / all.max(1.0);
        let mut scores: HashMap<u64, f64> = HashMap::new();
        // A word that is asked for twice counts twice.
        for word in question {
            let count = |text: &Vec<String>| text.iter().filter(|term| *term == word).count() as f64;
            let having = self.texts.values().filter(|text| count(text) > 0.0).count() as f64;
            let idf = (1.0 + (all - having + 0.5) / (having + 0.5)).ln();
            for (&key, text) in self.texts.iter().filter(|(_, text)| count(text) > 0.0) {
                let norm = 1.2 * (0.25 + 0.75 * text.len() as f64 / mean.max(1.0));
                *scores.entry(key).or_default() += idf * count(text) * 2.2 / (count(text) + norm);
            }
        }
        scores.into_iter().collect()
    }
}

#[derive(Debug, Clone)]
enum Step {
    Add(Vec<(u64, Vec<String>)>),
    Remove(Vec<u64>),
    SaveAndLoad,
}

fn word() -> impl Strategy<Value = String> {
    prop::sample::select(&VOCABULARY[..]).prop_map(str::to_owned)
}

fn step() -> impl Strategy<Value = Step> {
    let key = 0..40u64;
    let item = (key.clone(), prop::collection::vec(word(), 0..12));
    prop_oneof![
        6 => prop::collection::vec(item, 1..30).prop_map(Step::Add),
        3 => prop::collection::vec(key, 1..12).prop_map(Step::Remove),
        1 => Just(Step::SaveAndLoad),
    ]
}

proptest! {
    #[test]
    fn searches_agree_with_a_plain_model_whatever_was_added_removed_and_saved(
        steps in prop::collection::vec(step(), 1..20),
        question in prop::collection::vec(word(), 1..5),
    ) {
        let dir = tempfile::tempdir().expect("a folder");
        let (mut words, mut model) = (Words::new(), Model::default());
        for step in &steps {
            match step {
                Step::Add(items) => {
                    let bodies: Vec<(u64, String)> = items.iter().map(|(key, text)| (*key, text.join(" "))).collect();
                    let parts: Vec<(u64, [&str; 1])> =
                        bodies.iter().map(|(key, body)| (*key, [body.as_str()])).collect();
                    words.add(&parts.iter().map(|(key, parts)| (*key, text(parts))).collect::<Vec<_>>());
                    model.texts.extend(items.iter().cloned());
                }
                Step::Remove(keys) => {
                    words.remove(keys);
                    model.texts.retain(|key, _| !keys.contains(key));
                }
                Step::SaveAndLoad => {
                    words.save(dir.path(), 7, 11).expect("it saves");
                    let (loaded, seq) = Words::load(dir.path(), 7).expect("it loads");
                    prop_assert_eq!(seq, 11);
                    words = loaded;
                }
            }
            prop_assert_eq!(words.len(), model.texts.len());
            let found = words.search(&WordQuestion::parse(&question.join(" ")), 100, &|_| true, &[]);
            let expected: HashMap<u64, f64> = model.search(&question).into_iter().collect();
            prop_assert_eq!(found.best.len(), expected.len());
            for hit in &found.best {
                let score = expected.get(&hit.key).copied().unwrap_or_default();
                prop_assert!((f64::from(hit.score) - score).abs() < 1e-4, "{:?} should have {}", hit, score);
            }
            let in_order = found.best.is_sorted_by(|a, b| a.score > b.score || (a.score == b.score && a.key > b.key));
            prop_assert!(in_order);
        }
        let digests = words.digests();
        for (key, terms) in &model.texts {
            let body = terms.join(" ");
            prop_assert!(words.holds(*key, &text(&[&body])) && digests.holds(*key, &text(&[&body])));
        }
    }

    #[test]
    fn every_word_of_a_text_finds_it(
        body in "([a-zA-ZäöüßéñøåÆ]{1,9}|[а-яёЁй]{1,8}|[α-ωάς]{1,7}|[ء-ي\u{64B}]{1,7}|[א-ת]{1,6}|[क-ह\u{93E}-\u{94D}]{2,6}|[一-三]{1,5}|[ぁ-ん]{1,5}|[가-힣]{1,5}|[ก-ฮ\u{E31}-\u{E3A}]{1,6}|[a-f0-9.:/_@+-]{1,12}|[!-~]{1,8}| |, ){1,20}",
        language in prop::sample::select(&["", "de", "ru", "ar", "el", "fr", "tr", "ta", "fi"][..]),
    ) {
        let words = Words::new();
        add(&words, 2, "nothing of it");
        words.add(&[(1, Text { parts: &[&body], language })]);
        for word in body.split_whitespace() {
            // As one types it, without what would make it a phrase or an exclusion.
            let word = word.replace(['"', '-'], " ");
            let question = WordQuestion::parse(&word);
            if !question.is_empty() {
                prop_assert!(found(&words, &word).contains(&1), "{} in {}", word, body);
            }
        }
    }
}

#[test]
fn the_same_words_have_one_digest_whatever_case_accents_and_punctuation_they_have() {
    let digest = folded_digest("The café is open, at 9!");
    for same in
        ["the cafe is open at 9", "THE  CAFÉ —is open: (at) 9...", "\u{201C}The café\u{201D} is\nopen at 9"]
    {
        assert_eq!(folded_digest(same), digest, "{same}");
    }
    for other in ["the cafe is open at 8", "is the cafe open at 9", "thecafe is open at 9"] {
        assert_ne!(folded_digest(other), digest, "{other}");
    }
    assert_ne!(folded_digest("!!!"), folded_digest("???"), "texts without words are no copies of each other");
}

use std::sync::OnceLock;

use proptest::prelude::*;
use serde::Deserialize;
use serde_json::{Value, json};

use super::*;
use crate::find_runtime;

/// What the reference stack gave: index/models/build/make_golden.py.
#[derive(Deserialize)]
struct Golden {
    texts: Vec<GoldenText>,
}

#[derive(Deserialize)]
struct GoldenText {
    text: String,
    token_ids: Vec<u32>,
    vector: Vec<f32>,
}

fn golden() -> Vec<GoldenText> {
    serde_json::from_str::<Golden>(include_str!("../../models/golden.json")).unwrap().texts
}

fn variants() -> Vec<Model> {
    Model::all_built_in().unwrap()
}

/// The folder of the built-in variant row8 with another description, and with a `reference.json` that may be another.
fn folder_of_row8(edit: impl Fn(&str) -> String, reference: Option<&[u8]>) -> tempfile::TempDir {
    let built_in = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("models");
    let folder = tempfile::tempdir().unwrap();
    let to = |name: &str| folder.path().join(name);
    for (from, name) in [
        ("all-MiniLM-L6-v2-row8/model.onnx", "model.onnx"),
        ("all-MiniLM-L6-v2/tokenizer.json", "tokenizer.json"),
    ] {
        std::os::unix::fs::symlink(built_in.join(from), to(name)).unwrap();
    }
    let right = std::fs::read(built_in.join("all-MiniLM-L6-v2/reference.json")).unwrap();
    std::fs::write(to("reference.json"), reference.unwrap_or(&right)).unwrap();
    let description = std::fs::read_to_string(built_in.join("all-MiniLM-L6-v2-row8/model.toml")).unwrap();
    std::fs::write(to("model.toml"), edit(&description)).unwrap();
    folder
}

fn sha256(bytes: &[u8]) -> String {
    use sha2::{Digest, Sha256};
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn model() -> &'static Model {
    static MODEL: OnceLock<Model> = OnceLock::new();
    MODEL.get_or_init(|| Model::built_in().unwrap())
}

fn tokenizer() -> &'static Tokenizer {
    static TOKENIZER: OnceLock<Tokenizer> = OnceLock::new();
    TOKENIZER.get_or_init(|| Tokenizer::new(model()).unwrap())
}

fn embedder() -> Embedder {
    embedder_of(model())
}

fn embedder_of(model: &Model) -> Embedder {
    // Where this fails, the message says how to get the library.
    let library = find_runtime(None).unwrap_or_else(|error| panic!("{error}"));
    let compute = Compute { threads: 1, ..Compute::default() };
    Embedder::new(&Runtime::load(&library).unwrap(), &model.graph().unwrap(), &compute).unwrap()
}

fn embed(embedder: &mut Embedder, text: &str) -> Vector {
    embedder.embed(&[tokenizer().tokenize(text, Purpose::Document)]).unwrap().remove(0)
}

/// The test vectors for other implementers: words, by their numbers, cut into windows.
const WINDOWS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../proto/vectors/windows.json");

fn window_vectors() -> Value {
    let word = |number: u32, tokens: usize| std::iter::repeat_n(Some(number), tokens);
    let one_each = |count: u32| (0..count).map(Some).collect::<Vec<_>>();
    let cases: [(&str, Vec<Option<u32>>, usize); 8] = [
        ("no token", Vec::new(), 6),
        ("as many as there is room for", one_each(6), 6),
        ("one more", one_each(7), 6),
        ("a word that does not fit begins the next window", word(0, 4).chain(word(1, 3)).collect(), 6),
        ("a border in the middle is taken", word(0, 2).chain(word(1, 1)).chain(word(2, 9)).collect(), 6),
        ("a word longer than half a window is cut", word(0, 2).chain(word(1, 12)).collect(), 6),
        ("an odd room is halved and rounded down", word(0, 3).chain(word(1, 9)).collect(), 7),
        ("a token of no word is a border", word(0, 4).chain([None]).chain(word(0, 4)).collect(), 6),
    ];
    let case = |(name, words, room): (&str, Vec<Option<u32>>, usize)| {
        let windows = cut_windows(&words, room);
        let windows: Vec<_> = windows.iter().map(|window| [window.start, window.end]).collect();
        json!({ "name": name, "words": words, "room": room, "windows": windows })
    };
    json!({ "cut": cases.map(case) })
}

#[test]
fn windows_are_cut_as_in_the_test_vectors() {
    let recorded: Value = serde_json::from_slice(&std::fs::read(WINDOWS).unwrap()).unwrap();
    assert_eq!(recorded, window_vectors());
}

#[test]
#[ignore = "it writes a test vector; it is recorded anew only when there are more cases, or a new rule"]
fn record_the_test_vectors_of_windows() {
    std::fs::write(WINDOWS, serde_json::to_string_pretty(&window_vectors()).unwrap() + "\n").unwrap();
}

#[test]
fn tokens_are_those_of_the_reference() {
    for golden in golden() {
        let tokenized = tokenizer().tokenize(&golden.text, Purpose::Document);
        if golden.token_ids.len() < model().max_tokens() {
            assert_eq!(tokenized.windows, [golden.token_ids], "{:?}", golden.text);
        } else {
            // The reference cuts at the limit; here the first window may end a word earlier, and more follow.
            let first = &tokenized.windows[0];
            assert!(tokenized.windows.len() > 1 || *first == golden.token_ids, "{:?}", golden.text);
            assert_eq!(first[..first.len() - 1], golden.token_ids[..first.len() - 1], "{:?}", golden.text);
        }
    }
}

#[test]
fn vectors_of_every_variant_are_those_of_the_published_weights_within_what_it_promises() {
    for model in variants() {
        let mut embedder = embedder_of(&model);
        let proved = embedder.prove(&model, tokenizer()).unwrap();
        assert!((model.least_cosine()..1.0).contains(&proved), "{model:?}: {proved}");
        for golden in golden() {
            let tokenized = tokenizer().tokenize(&golden.text, Purpose::Document);
            if tokenized.windows.len() > 1 {
                continue;
            }
            let vector = embedder.embed(&[tokenized]).unwrap().remove(0);
            let cosine = vector.cosine(&Vector::new(model.id(), golden.vector).unwrap()).unwrap();
            assert!(cosine >= model.least_cosine(), "{model:?}: {cosine} for {:?}", golden.text);
        }
    }
}

#[test]
fn a_graph_that_breaks_its_promise_is_refused_with_the_figure() {
    let strict = folder_of_row8(|toml| toml.replace("least_cosine = 0.995", "least_cosine = 0.9999"), None);
    let strict = Model::from_dir(strict.path()).unwrap();
    let error = embedder_of(&strict).prove(&strict, tokenizer()).unwrap_err().to_string();
    assert!(error.contains("0.99") && error.contains("0.9999 is promised"), "{error}");
    assert!(error.contains("another variant with ai.model"), "{error}");
    // A graph of other weights that says it is a variant, and brings vectors that it would pass by.
    let mut lie: Value =
        serde_json::from_str(include_str!("../../models/all-MiniLM-L6-v2/reference.json")).unwrap();
    let mut embedder = embedder_of(&variants()[1]);
    for entry in lie["texts"].as_array_mut().unwrap() {
        let text = entry["text"].as_str().unwrap().to_owned();
        entry["vector"] = json!(embed(&mut embedder, &text).values());
    }
    let lie = lie.to_string();
    let edit = |toml: &str| {
        let right = sha256(include_bytes!("../../models/all-MiniLM-L6-v2/reference.json"));
        toml.replace(&right, &sha256(lie.as_bytes())).replace("least_cosine = 0.995", "least_cosine = 0.9999")
    };
    let liar = folder_of_row8(edit, Some(lie.as_bytes()));
    let liar = Model::from_dir(liar.path()).unwrap();
    assert_eq!(liar.id(), model().id());
    assert!(embedder_of(&liar).prove(&liar, tokenizer()).is_err(), "held against what is built in");
    // In a space of its own, what it brings is what counts.
    let other = folder_of_row8(
        |toml| edit(toml).replace("question_prefix = \"\"", "question_prefix = \"q: \""),
        Some(lie.as_bytes()),
    );
    let other = Model::from_dir(other.path()).unwrap();
    assert_ne!(other.id(), model().id());
    assert!(embedder_of(&other).prove(&other, tokenizer()).unwrap() > 0.9999);
}

#[test]
fn vectors_of_two_variants_are_close_and_their_questions_find_the_same() {
    let [mut one, mut other] = <[Model; 2]>::try_from(variants()).unwrap().map(|model| embedder_of(&model));
    let mut least = 1.0f32;
    for golden in golden() {
        let (a, b) = (embed(&mut one, &golden.text), embed(&mut other, &golden.text));
        // They are of one space: comparing them is no error.
        least = least.min(a.cosine(&b).unwrap());
    }
    assert!(least > 0.99, "{least}");
}

#[test]
fn a_vector_does_not_depend_on_what_else_is_in_the_batch() {
    for model in variants() {
        assert!(model.is_batch_invariant());
        compare_with_batches(&mut embedder_of(&model));
    }
}

#[test]
fn a_provider_that_is_not_there_is_an_error_unless_the_processor_may_do_it() {
    let runtime = Runtime::load(&find_runtime(None).unwrap()).unwrap();
    let graph = model().graph().unwrap();
    for (provider, word) in [
        (Provider::Cuda, "deploy/provision --cuda"),
        (Provider::CoreMl, "macOS"),
        (Provider::DirectMl, "Windows"),
    ] {
        let compute = Compute { provider, threads: 1, ..Compute::default() };
        let error = Embedder::new(&runtime, &graph, &compute).err().expect("there is no device").to_string();
        assert!(error.contains(provider.name()) && error.contains(word), "{error}");
        let compute = Compute { fallback: true, ..compute };
        assert_eq!(Embedder::new(&runtime, &graph, &compute).unwrap().provider(), Provider::Cpu);
    }
}

fn compare_with_batches(embedder: &mut Embedder) {
    let texts: Vec<Tokenized> =
        golden().iter().map(|golden| tokenizer().tokenize(&golden.text, Purpose::Document)).collect();
    let together = embedder.embed(&texts).unwrap();
    for (text, vector) in texts.iter().zip(&together) {
        let alone = embedder.embed(std::slice::from_ref(text)).unwrap().remove(0);
        let furthest =
            alone.values().iter().zip(vector.values()).map(|(a, b)| (a - b).abs()).fold(0f32, f32::max);
        assert!(furthest < 1e-5, "{furthest}");
    }
}

#[test]
fn a_long_text_is_cut_into_windows_and_none_of_it_is_lost() {
    let words = |count: usize| (0..count).map(|word| format!("word{word}, ")).collect::<String>();
    for count in [1, 50, 80, 100, 1000] {
        let text = words(count);
        let tokenized = tokenizer().tokenize(&text, Purpose::Document);
        assert!(tokenized.windows.iter().all(|window| window.len() <= model().max_tokens()));
        assert!(tokenized.windows.iter().all(|window| window[0] == 101 && *window.last().unwrap() == 102));
        let inner: Vec<u32> =
            tokenized.windows.iter().flat_map(|window| &window[1..window.len() - 1]).copied().collect();
        assert_eq!(inner, tokenizer().shared.encode(&text).get_ids());
        assert_eq!(tokenized.windows.len() == 1, tokenizer().count(&text) <= model().max_tokens());
    }
}

#[test]
fn the_end_of_a_long_text_counts() {
    let mut embedder = embedder();
    let start = "The kettle stands on the stove and the water boils. ".repeat(40);
    let end = "Astronomers measured the mass of a black hole in a distant galaxy. ".repeat(40);
    let (kitchen, stars) = (embed(&mut embedder, &start), embed(&mut embedder, &end));
    let both = embed(&mut embedder, &format!("{start}{end}"));
    assert!(both.cosine(&stars).unwrap() > kitchen.cosine(&stars).unwrap() + 0.3);
    assert!(both.cosine(&kitchen).unwrap() > kitchen.cosine(&stars).unwrap() + 0.3);
}

#[test]
fn similar_meanings_lie_close() {
    let mut embedder = embedder();
    let [cat, kitten, tax] = ["a cat sleeps", "the kitten is dozing", "how to file a tax return"]
        .map(|text| embed(&mut embedder, text));
    assert!(cat.cosine(&kitten).unwrap() > cat.cosine(&tax).unwrap() + 0.3);
}

#[test]
fn odd_texts_have_vectors_too() {
    let mut embedder = embedder();
    assert!(embedder.embed(&[]).unwrap().is_empty());
    for text in [
        "",
        " ",
        "\0",
        "\u{10fffd}",
        "🦀🦀🦀",
        "[CLS] [SEP] [PAD] [UNK]",
        &"x".repeat(100_000),
        &"漢".repeat(2000),
    ] {
        assert_eq!(embed(&mut embedder, text).values().len(), 384);
    }
}

#[test]
fn a_script_that_the_vocabulary_does_not_hold_is_told_from_one_that_it_does() {
    let share = |text: &str| {
        let tokens = tokenizer().tokenize(text, Purpose::Question);
        tokenizer().unknown_share(&tokens)
    };
    for readable in ["Where is the main valve?", "Wo ist der Gashahn, und wer hat den Schlüssel?", "x", ""] {
        assert_eq!(share(readable), 0.0, "{readable}");
    }
    for unreadable in ["หนังสือเดินทางหมดอายุเมื่อไร", "🎉🚀"]
    {
        assert!(share(unreadable) > 0.9, "{unreadable}: {}", share(unreadable));
    }
    let mixed = share("The passport (หนังสือเดินทาง) is in the drawer of the desk.");
    assert!(mixed > 0.0 && mixed < 0.3, "{mixed}");
}

#[test]
fn a_prefix_is_put_before_the_text() {
    let mut shared = Shared {
        inner: tokenizer().shared.inner.clone(),
        max_tokens: 256,
        unknown: Some(100),
        before: vec![101],
        after: vec![102],
        question_prefix: "query: ".to_owned(),
        document_prefix: "a passage: ".to_owned(),
        prefix_tokens: 0,
        splits_at_spaces: true,
    };
    shared.prefix_tokens = shared.encode(&shared.document_prefix).len();
    let prefixed = Tokenizer { shared: Arc::new(shared) };
    assert_eq!(
        prefixed.tokenize("cats", Purpose::Question),
        tokenizer().tokenize("query: cats", Purpose::Document)
    );
    assert_eq!(
        prefixed.tokenize("cats", Purpose::Document),
        tokenizer().tokenize("a passage: cats", Purpose::Document)
    );
    assert_eq!(prefixed.count("cats"), tokenizer().count("a passage: cats"));
}

proptest! {
    #[test]
    fn windows_cover_all_tokens_in_order(
        words in proptest::collection::vec(proptest::option::of(0u32..400), 0..700), room in 2usize..300,
    ) {
        let windows = cut_windows(&words, room);
        prop_assert!(windows.iter().all(|window| window.len() <= room));
        prop_assert_eq!(windows.iter().flat_map(Clone::clone).collect::<Vec<_>>(), (0..words.len()).collect::<Vec<_>>());
        prop_assert!(windows.len() <= words.len() / (room / 2).max(1) + 1);
    }

    #[test]
    fn batches_hold_each_text_once_and_keep_the_limits(
        lengths in proptest::collection::vec(2usize..600, 0..200), max_tokens in 1usize..2000, cost in 0usize..100,
        texts in 1usize..40,
    ) {
        let batches = plan_batches(&lengths, Runs { max_tokens, cost }, texts);
        let mut all: Vec<usize> = batches.iter().flatten().copied().collect();
        prop_assert!(all.is_sorted_by_key(|&index| lengths[index]));
        all.sort_unstable();
        prop_assert_eq!(all, (0..lengths.len()).collect::<Vec<_>>());
        for batch in batches {
            let longest = batch.iter().map(|&index| lengths[index]).max().unwrap();
            prop_assert!(batch.len() == 1 || longest * batch.len() <= max_tokens);
            prop_assert!(batch.len() <= texts);
        }
    }

    #[test]
    fn no_other_batches_of_neighbours_cost_less(
        lengths in proptest::collection::vec(2usize..60, 1..9), max_tokens in 1usize..200, cost in 0usize..40,
        texts in 1usize..6,
    ) {
        let cost_of = |batches: &[&[usize]]| -> usize {
            batches.iter().map(|batch| cost + batch.iter().max().unwrap() * batch.len()).sum()
        };
        let planned = plan_batches(&lengths, Runs { max_tokens, cost }, texts);
        let planned: Vec<Vec<usize>> =
            planned.iter().map(|batch| batch.iter().map(|&index| lengths[index]).collect()).collect();
        let planned = cost_of(&planned.iter().map(Vec::as_slice).collect::<Vec<_>>());
        let mut sorted = lengths.clone();
        sorted.sort_unstable();
        // Each bit of a number says whether a batch ends behind that text.
        for ends in 0..1usize << (sorted.len() - 1) {
            let (mut batches, mut rest) = (Vec::new(), sorted.as_slice());
            let mut begin = 0;
            for at in 0..sorted.len() {
                if at + 1 == sorted.len() || ends >> at & 1 == 1 {
                    let (batch, others) = rest.split_at(at + 1 - begin);
                    batches.push(batch);
                    (begin, rest) = (at + 1, others);
                }
            }
            let is_allowed = |batch: &&[usize]| {
                batch.len() == 1 || batch.len() <= texts && batch.iter().max().unwrap() * batch.len() <= max_tokens
            };
            if batches.iter().all(is_allowed) {
                prop_assert!(planned <= cost_of(&batches), "{planned} but {batches:?}");
            }
        }
    }
}

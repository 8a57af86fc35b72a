use std::sync::OnceLock;

use proptest::prelude::*;

use super::*;
use crate::Model;

fn tokenizer() -> &'static Tokenizer {
    static TOKENIZER: OnceLock<Tokenizer> = OnceLock::new();
    TOKENIZER.get_or_init(|| Tokenizer::new(&Model::built_in().unwrap()).unwrap())
}

fn section(headings: &[&str], text: &str) -> Section {
    let headings = headings.iter().map(|&heading| heading.into()).collect();
    Section { headings, text: text.to_owned(), headers: Vec::new() }
}

fn texts(text: &str, max_tokens: usize) -> Vec<String> {
    split(&[section(&[], text)], tokenizer(), max_tokens, 16 * 1024)
        .into_iter()
        .map(|chunk| chunk.text)
        .collect()
}

fn without_space(text: &str) -> String {
    text.chars().filter(|c| !c.is_whitespace()).collect()
}

#[test]
fn a_short_text_is_one_chunk() {
    assert_eq!(texts("  One.\n\nTwo.\n", 256), ["One.\n\nTwo."]);
}

#[test]
fn no_text_gives_no_chunk() {
    assert!(split(&[], tokenizer(), 256, 1000).is_empty());
    assert!(texts(" \n\n\t ", 256).is_empty());
}

#[test]
fn chunks_are_filled_with_whole_paragraphs() {
    let paragraph = "This paragraph has seven words.";
    let tokens = tokenizer().count_bare(paragraph);
    let text = [paragraph; 5].join("\n\n");
    let pair = [paragraph; 2].join("\n\n");
    assert_eq!(texts(&text, 2 * tokens + 2), [&pair, &pair, paragraph]);
}

#[test]
fn a_long_paragraph_is_cut_between_sentences() {
    let text = "Dr. Smith paid 3.50 for it. He was glad! Was he? The end of it came soon after that.";
    let chunks = texts(text, 16);
    assert!(chunks.len() > 1);
    for chunk in &chunks {
        assert!(chunk.ends_with(['.', '!', '?']), "{chunk}");
    }
}

#[test]
fn a_long_sentence_is_cut_between_words_and_a_long_word_within() {
    let sentence = ["word"; 100].join(" ");
    let chunks = texts(&sentence, 22);
    assert_eq!(chunks.len(), 5);
    assert!(chunks.iter().all(|chunk| chunk.split(' ').all(|word| word == "word")));
    let word = "0123456789".repeat(9);
    let chunks = texts(&word, 12);
    assert!(chunks.len() > 1);
    assert_eq!(chunks.concat(), word);
}

#[test]
fn small_paragraphs_after_a_long_one_join_its_last_part() {
    let long = ["A sentence of a paragraph that is too long."; 8].join(" ");
    let chunks = texts(&format!("{long}\n\nA small one.\n\nAnother."), 3 * 11 + 2);
    let all: Vec<usize> = chunks.iter().map(|chunk| chunk.matches("sentence").count()).collect();
    assert_eq!(all, [3, 3, 2]);
    assert!(chunks[2].ends_with("too long.\n\nA small one.\n\nAnother."), "{:?}", chunks[2]);
}

#[test]
fn a_chunk_never_reaches_over_the_end_of_a_section_and_says_which_it_is_of() {
    let sections =
        [section(&["Animals", "Cats"], "They purr."), section(&["Animals"], "Many."), section(&[], "End.")];
    let chunks = split(&sections, tokenizer(), 256, 1000);
    let all: Vec<_> =
        chunks.iter().map(|chunk| (chunk.ordinal, chunk.section, chunk.text.as_str())).collect();
    assert_eq!(all, [(0, 0, "They purr."), (1, 1, "Many."), (2, 2, "End.")]);
}

#[test]
fn each_piece_of_a_long_table_begins_with_its_header_and_no_row_is_cut() {
    let header = "Part | Price | Place";
    let rows: Vec<String> =
        (0..40).map(|n| format!("Seal no. {n}. For the tap. | {n} euros | shelf {n}")).collect();
    let table = format!("{header}\n{}", rows.join("\n"));
    let text = format!("Before it.\n\n{table}\n\nAfter it.");
    let start = text.find(header).unwrap();
    let section = Section {
        headings: Vec::new(),
        text: text.clone(),
        headers: std::iter::once(start..start + header.len()).collect(),
    };
    let chunks = split(std::slice::from_ref(&section), tokenizer(), 100, 1000);
    assert_eq!(chunks.first().unwrap().text, "Before it.");
    assert_eq!(chunks.last().unwrap().text, "After it.");
    let pieces = &chunks[1..chunks.len() - 1];
    assert!(pieces.len() > 3);
    let mut found = Vec::new();
    for piece in pieces {
        let (first, rest) = piece.text.split_once('\n').unwrap();
        assert_eq!(first, header);
        found.extend(rest.split('\n').map(str::to_owned));
        assert!(tokenizer().count(&piece.text) <= 100 && piece.text.len() <= 1000);
    }
    assert_eq!(found, rows);
    // One that fits stays with what stands around it, and a header that would fill the chunk is said once.
    assert_eq!(
        split(
            &[Section {
                text: "Before.\n\na | b\n1 | 2".into(),
                headers: std::iter::once(9..14).collect(),
                headings: vec![]
            }],
            tokenizer(),
            100,
            1000
        )
        .len(),
        1
    );
    let once = split(&[section], tokenizer(), 14, 1000);
    assert_eq!(once.iter().filter(|chunk| chunk.text.contains("Price")).count(), 1);
}

#[test]
fn bytes_are_a_limit_of_their_own() {
    // More than 100 letters are one unknown token to this tokenizer, so only the bytes keep the chunks small; and a
    // letter under ten thousand accents is a single character to a reader.
    for word in ["x".repeat(50_000), format!("a{}", "\u{301}".repeat(10_000)), "🇩🇪".repeat(3000)] {
        let chunks = split(&[section(&[], &word)], tokenizer(), 256, 1000);
        assert!(chunks.iter().all(|chunk| chunk.text.len() <= 1000));
        assert_eq!(chunks.iter().map(|chunk| chunk.text.as_str()).collect::<String>(), word);
    }
}

#[test]
fn large_texts_of_any_shape_are_split_in_linear_time() {
    // Each of these would take minutes, not seconds, if a step looked at all that lies before it.
    let size = 256 * 1024;
    for unit in
        ["word ", "x", "A sentence. ", "Line\n", "Paragraph.\n\n", "漢字", "\u{301}", "🇩🇪", " ", "a. "]
    {
        let text = unit.repeat(size / unit.len());
        let chunks = split(&[section(&[], &text)], tokenizer(), 256, 16 * 1024);
        let joined: usize = chunks.iter().map(|chunk| without_space(&chunk.text).len()).sum();
        assert_eq!(joined, without_space(&text).len(), "{unit:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_text_is_lost_and_every_limit_is_kept(
        sections in proptest::collection::vec("([A-Za-z]{1,8}[ .,!?\n]{1,3}|\\PC|[a-z0-9]{1,200}|\n\n){0,60}", 1..4),
        max_tokens in 12usize..80,
        max_bytes in 16usize..2000,
    ) {
        let sections: Vec<Section> = sections.iter().map(|text| section(&["H"], text)).collect();
        let chunks = split(&sections, tokenizer(), max_tokens, max_bytes);
        for (place, chunk) in chunks.iter().enumerate() {
            prop_assert_eq!(chunk.ordinal as usize, place);
            prop_assert_eq!(chunk.text.trim(), &chunk.text);
            prop_assert!(!chunk.text.is_empty());
            prop_assert!(chunk.text.len() <= max_bytes);
            prop_assert!(tokenizer().count(&chunk.text) <= max_tokens, "{:?}", chunk.text);
        }
        let joined: String = chunks.iter().map(|chunk| without_space(&chunk.text)).collect();
        let given: String = sections.iter().map(|section| without_space(&section.text)).collect();
        prop_assert_eq!(joined, given);
    }
}

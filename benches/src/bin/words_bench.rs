//! The index of words: how long it takes to add texts, to search, to save and to load, and its memory. The last texts of
//! the file are not indexed: the questions are words of theirs.

use std::path::Path;
use std::time::Instant;

use anyhow::Context;
use synapsenet_benches::{Arguments, quantile, texts_in};
use synapsenet_index::{Text, WordQuestion, Words};

const USAGE: &str =
    "usage: words_bench --texts FILE [--pairs N] (one text a line; N pairs of them are indexed instead)";
const QUESTIONS: usize = 200;
/// Words of a question.
const QUESTION_WORDS: usize = 6;
/// Runs of the questions, after one that warms up.
const ROUNDS: usize = 5;
/// Texts that are added at once.
const CHUNK: usize = 1000;
/// Pairs are made of texts this far from each other.
const PAIR_DISTANCE: usize = 7919;

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::read(&["texts", "pairs"], USAGE)?;
    let mut texts = texts_in(Path::new(arguments.get("texts").context(USAGE)?))?;
    anyhow::ensure!(texts.len() > QUESTIONS, "the file has {} texts for {QUESTIONS} questions", texts.len());
    let held_out = texts.split_off(texts.len() - QUESTIONS);
    let pairs = arguments.number("pairs", 0)?;
    if pairs > 0 {
        let second = |at: usize| &texts[(at + PAIR_DISTANCE * (1 + at / texts.len())) % texts.len()];
        texts = (0..pairs).map(|at| format!("{}; {}", texts[at % texts.len()], second(at))).collect();
    }
    let count = texts.len() as f64;

    let adding = Instant::now();
    let words = indexed(&texts);
    let add_us = adding.elapsed().as_secs_f64() * 1e6 / count;
    let (mut micros, found) = searched(&words, &held_out);
    let (save_ms, load_ms, snapshot_bytes) = reloaded(&words)?;
    let row = serde_json::json!({
        "texts": texts.len(),
        "chars": texts.iter().map(String::len).sum::<usize>() as f64 / count,
        "add_us": add_us,
        "memory_bytes": words.memory_bytes() as f64 / count,
        "snapshot_bytes": snapshot_bytes as f64 / count,
        "found": found,
        "search_p50_us": quantile(&mut micros, 0.5),
        "search_p99_us": quantile(&mut micros, 0.99),
        "save_ms": save_ms,
        "load_ms": load_ms,
    });
    println!("{row}");
    Ok(())
}

/// An index of the texts, under their places.
fn indexed(texts: &[String]) -> Words {
    let words = Words::new();
    for (chunk, lines) in texts.chunks(CHUNK).enumerate() {
        let parts: Vec<[&str; 1]> = lines.iter().map(|line| [line.as_str()]).collect();
        let keys = (chunk * CHUNK) as u64..;
        let items: Vec<(u64, Text<'_>)> =
            keys.zip(&parts).map(|(key, parts)| (key, Text { parts, language: "en" })).collect();
        words.add(&items);
    }
    words
}

/// How long a question of the first words of each text takes, in microseconds, and how many texts it finds on average.
/// Of each question the median of its rounds counts, so that what else the machine does is not taken for a slow question.
fn searched(words: &Words, held_out: &[String]) -> (Vec<f64>, f64) {
    let mut rounds = vec![Vec::new(); held_out.len()];
    let mut found = 0;
    for round in 0..=ROUNDS {
        for (text, rounds) in held_out.iter().zip(&mut rounds) {
            let question: Vec<&str> = text.split_whitespace().take(QUESTION_WORDS).collect();
            let question = question.join(" ");
            let start = Instant::now();
            let hits = words.search(&WordQuestion::parse(&question), 10, &|_| true, &[]).best;
            if round > 0 {
                rounds.push(start.elapsed().as_secs_f64() * 1e6);
                found += hits.len();
            }
        }
    }
    let micros = rounds.iter_mut().map(|rounds| quantile(rounds, 0.5)).collect();
    (micros, found as f64 / (held_out.len() * ROUNDS) as f64)
}

/// Saves and loads: the milliseconds of each, and the bytes on disk.
fn reloaded(words: &Words) -> anyhow::Result<(f64, f64, usize)> {
    let dir = tempfile::tempdir()?;
    let saving = Instant::now();
    words.save(dir.path(), 0, 0)?;
    let save_ms = saving.elapsed().as_secs_f64() * 1e3;
    // Read once, so that it lies in the cache of the system as after a restart of the program alone.
    let mut bytes = 0;
    for entry in std::fs::read_dir(dir.path())? {
        bytes += std::fs::read(entry?.path())?.len();
    }
    let loading = Instant::now();
    let (loaded, _) = Words::load(dir.path(), 0).context("the snapshot does not load")?;
    let load_ms = loading.elapsed().as_secs_f64() * 1e3;
    anyhow::ensure!(loaded.len() == words.len(), "a snapshot comes back whole");
    Ok((save_ms, load_ms, bytes))
}

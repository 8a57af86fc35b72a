//! How much the index finds, how fast, and in how much memory, on real vectors:
//!
//! ```text
//! cargo run --release -p synapsenet-index --example recall -- VECTORS.f32 DIMENSION
//! ```
//!
//! `VECTORS.f32` holds vectors one after the other, as little-endian f32; every 100th is taken out and used as a
//! question. The truth is a comparison of each question with all others in f32. Times are of CPU, so that a busy
//! machine does not change them much; they are read from /proc, so this runs on Linux only.

use std::collections::HashSet;
use std::fs;
use std::thread;

use anyhow::{Context, Result, ensure};
use synapsenet_index::{Hnsw, HnswOptions};
use synapsenet_proto::{EncodedVector, Encoding, SpaceId, Vector};
use usearch::{Index, IndexOptions, MetricKind, ScalarKind};

const MODEL: SpaceId = SpaceId::from_bytes([0; 32]);
/// Neighbours that are asked for.
const K: usize = 10;
/// One vector in so many is a question.
const QUESTION_EVERY: usize = 100;
/// Searches that are measured for each setting.
const MAX_QUESTIONS: usize = 1000;
const EFS: [usize; 5] = [64, 96, 128, 192, 256];
/// How many candidates are ranked by the stored vectors.
const CANDIDATES: [usize; 4] = [10, 20, 40, 64];

/// The vectors of a file and, for each question, its true neighbours.
struct Corpus {
    vectors: Vec<Vector>,
    questions: Vec<Vector>,
    truth: Vec<HashSet<u64>>,
}

impl Corpus {
    fn read(path: &str, dimension: usize) -> Result<Self> {
        let bytes = fs::read(path).with_context(|| path.to_owned())?;
        let numbers: Vec<f32> =
            bytes.as_chunks::<4>().0.iter().map(|&chunk| f32::from_le_bytes(chunk)).collect();
        let (mut vectors, mut questions) = (Vec::new(), Vec::new());
        for (place, values) in numbers.chunks_exact(dimension).enumerate() {
            let vector = Vector::new(MODEL, values.to_vec())?;
            let is_question = place % QUESTION_EVERY == 0 && questions.len() < MAX_QUESTIONS;
            if is_question { &mut questions } else { &mut vectors }.push(vector);
        }
        ensure!(vectors.len() > K, "{path} holds too few vectors of {dimension} components");
        let truth =
            questions.iter().map(|question| nearest(question, 0..vectors.len() as u64, &vectors)).collect();
        Ok(Self { vectors, questions, truth })
    }

    /// Asks every question; gives the share of true neighbours found and the CPU time of a search in microseconds.
    fn measure(&self, search: impl Fn(&Vector) -> HashSet<u64>) -> (f64, f64) {
        let start = thread_cpu_seconds();
        let found: Vec<_> = self.questions.iter().map(search).collect();
        let seconds = thread_cpu_seconds() - start;
        let hits: usize =
            found.iter().zip(&self.truth).map(|(found, truth)| found.intersection(truth).count()).sum();
        let questions = self.questions.len() as f64;
        (hits as f64 / (K as f64 * questions), seconds * 1e6 / questions)
    }
}

/// The keys of the K vectors among `keys` that are nearest to `question`.
fn nearest(question: &Vector, keys: impl Iterator<Item = u64>, vectors: &[Vector]) -> HashSet<u64> {
    let cosine = |key: u64| vectors[key as usize].cosine(question).expect("all vectors are of one model");
    let mut all: Vec<(f32, u64)> = keys.map(|key| (cosine(key), key)).collect();
    all.sort_unstable_by(|a, b| b.0.total_cmp(&a.0));
    all.into_iter().take(K).map(|(_, key)| key).collect()
}

/// The K nearest among the candidates by the vectors as they are stored.
fn rescored(question: &Vector, candidates: &[u64], stored: &[EncodedVector]) -> HashSet<u64> {
    let decoded = |key: &u64| stored[*key as usize].decode().expect("this was encoded here");
    let vectors: Vec<Vector> = candidates.iter().map(decoded).collect();
    nearest(question, 0..vectors.len() as u64, &vectors)
        .iter()
        .map(|&place| candidates[place as usize])
        .collect()
}

/// Searches for the keys of the `count` nearest by a graph, weighing `ef` candidates.
type Search<'a> = dyn Fn(&Vector, usize, usize) -> Vec<u64> + 'a;

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let usage = "usage: recall VECTORS.f32 DIMENSION";
    let (path, dimension) = (arguments.next().context(usage)?, arguments.next().context(usage)?.parse()?);
    let corpus = Corpus::read(&path, dimension)?;
    println!(
        "{} vectors of {dimension}, {} questions, recall@{K}\n",
        corpus.vectors.len(),
        corpus.questions.len()
    );

    println!("stored as | bytes | recall by comparing all");
    let mut stored = Vec::new();
    for encoding in [Encoding::F16, Encoding::I8] {
        let encoded: Vec<EncodedVector> =
            corpus.vectors.iter().map(|vector| vector.encode(encoding)).collect();
        let decoded: Vec<Vector> = encoded.iter().map(EncodedVector::decode).collect::<Result<_, _>>()?;
        let (recall, _) = corpus.measure(|question| nearest(question, 0..decoded.len() as u64, &decoded));
        println!("{encoding:?} | {} | {recall:.4}", encoded[0].as_bytes().len());
        stored.push((encoding, encoded));
    }

    measure_ours(&corpus, dimension, &stored)?;
    for kind in [ScalarKind::I8, ScalarKind::BF16, ScalarKind::F16] {
        measure_usearch(kind, &corpus, dimension, &stored)?;
    }
    Ok(())
}

/// The index of this crate.
fn measure_ours(corpus: &Corpus, dimension: usize, stored: &[(Encoding, Vec<EncodedVector>)]) -> Result<()> {
    let (memory, cpu) = (resident_bytes()?, process_cpu_seconds()?);
    let index = Hnsw::new(MODEL, dimension, HnswOptions::default())?;
    let items: Vec<(u64, &Vector)> = (0..).zip(&corpus.vectors).collect();
    index.add(&items)?;
    report_building("Hnsw, i8 scaled by vector", corpus, cpu, memory)?;
    println!("memory_bytes() says {} a vector", index.memory_bytes() / corpus.vectors.len() as u64);
    report_searches(corpus, stored, &|question, count, ef| {
        let found = index.search(question, count, Some(ef)).expect("the question is of the model");
        found.iter().map(|neighbour| neighbour.key).collect()
    });
    let churned: Vec<u64> = (0..corpus.vectors.len() as u64).step_by(5).collect();
    for &key in &churned {
        index.remove(key)?;
    }
    index.add(&churned.iter().map(|&key| items[key as usize]).collect::<Vec<_>>())?;
    println!("after one vector in five was removed and added again:");
    report_searches(corpus, &stored[..1], &|question, count, ef| {
        let found = index.search(question, count, Some(ef)).expect("the question is of the model");
        found.iter().map(|neighbour| neighbour.key).collect()
    });
    Ok(())
}

/// The library beneath, with components of `kind` that it rounds by itself.
fn measure_usearch(
    kind: ScalarKind,
    corpus: &Corpus,
    dimension: usize,
    stored: &[(Encoding, Vec<EncodedVector>)],
) -> Result<()> {
    let (memory, cpu) = (resident_bytes()?, process_cpu_seconds()?);
    let options = HnswOptions::default();
    let index = Index::new(&IndexOptions {
        dimensions: dimension,
        metric: MetricKind::Cos,
        quantization: kind,
        connectivity: options.m,
        expansion_add: options.ef_construction,
        expansion_search: 1,
        multi: false,
    })?;
    let threads = thread::available_parallelism()?.get();
    index.reserve_capacity_and_threads(corpus.vectors.len(), threads)?;
    let part = corpus.vectors.len().div_ceil(threads);
    thread::scope(|scope| {
        for (number, vectors) in corpus.vectors.chunks(part).enumerate() {
            let index = &index;
            scope.spawn(move || {
                for (place, vector) in vectors.iter().enumerate() {
                    index.add((number * part + place) as u64, vector.values()).expect("there is room");
                }
            });
        }
    });
    report_building(&format!("usearch, {kind:?}"), corpus, cpu, memory)?;
    report_searches(corpus, stored, &|question, count, ef| {
        let mut keys =
            index.search(question.values(), count.max(ef)).expect("there is a thread's memory").keys;
        keys.truncate(count);
        keys
    });
    Ok(())
}

fn report_building(name: &str, corpus: &Corpus, cpu_before: f64, memory_before: u64) -> Result<()> {
    let count = corpus.vectors.len();
    let rate = count as f64 / (process_cpu_seconds()? - cpu_before);
    let bytes = resident_bytes()?.saturating_sub(memory_before) / count as u64;
    println!("\n## {name}: {rate:.0} adds a CPU second, {bytes} bytes of resident memory a vector");
    Ok(())
}

fn report_searches(corpus: &Corpus, stored: &[(Encoding, Vec<EncodedVector>)], search: &Search) {
    println!("ef | search us | recall | then ranked by the stored vectors, candidates: recall (us together)");
    for ef in EFS {
        let (recall, micros) = corpus.measure(|question| search(question, K, ef).into_iter().collect());
        print!("{ef} | {micros:.0} | {recall:.4} |");
        for (encoding, vectors) in stored {
            for count in CANDIDATES {
                let (recall, micros) =
                    corpus.measure(|question| rescored(question, &search(question, count, ef), vectors));
                print!(" {encoding:?} {count}: {recall:.4} ({micros:.0})");
            }
        }
        println!();
    }
}

/// CPU time of this thread; the kernel counts it in nanoseconds.
fn thread_cpu_seconds() -> f64 {
    let text = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    text.split(' ').next().and_then(|nanos| nanos.parse::<f64>().ok()).unwrap_or(f64::NAN) / 1e9
}

/// CPU time of all threads; the kernel counts it in hundredths of a second.
fn process_cpu_seconds() -> Result<f64> {
    let text = fs::read_to_string("/proc/self/stat")?;
    let fields: Vec<&str> = text.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let (user, system): (f64, f64) = (fields[11].parse()?, fields[12].parse()?);
    Ok((user + system) / 100.0)
}

fn resident_bytes() -> Result<u64> {
    let text = fs::read_to_string("/proc/self/status")?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? * 1024)
}

//! Our nearest-neighbour search for the side-by-side runs in `compare/`: the last vectors of a file are the questions,
//! the others are searched. Candidates of the graph are rescored by the f16 vectors that a store would hold, as the
//! node does; truth is every f32 vector compared.

use std::path::Path;
use std::time::Instant;

use anyhow::Context;
use synapsenet_benches::{Arguments, Matrix, quantile};
use synapsenet_index::{Hnsw, HnswOptions};
use synapsenet_proto::{EncodedVector, Encoding, SpaceId, Vector};

const USAGE: &str = "usage: ann_bench --vectors FILE.npy [--queries 1000] [--k 10] [--ef 32,64,128]";
const MODEL: SpaceId = SpaceId::from_bytes([0; 32]);

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::read(&["vectors", "queries", "k", "ef"], USAGE)?;
    let matrix = Matrix::read_npy(Path::new(arguments.get("vectors").context(USAGE)?))?;
    let (queries, k) = (arguments.number("queries", 1000)?, arguments.number("k", 10)?);
    let efs = arguments.get("ef").unwrap_or("32,64,128").split(',').map(str::parse);
    let efs: Vec<usize> = efs.collect::<Result<_, _>>().context(USAGE)?;

    let mut vectors: Vec<Vector> =
        matrix.rows().map(|row| Vector::new(MODEL, row.to_vec())).collect::<Result<_, _>>()?;
    anyhow::ensure!(
        vectors.len() > queries,
        "the file has {} vectors for {queries} questions",
        vectors.len()
    );
    let questions = vectors.split_off(vectors.len() - queries);
    let truth: Vec<Vec<u64>> = questions.iter().map(|question| nearest(question, &vectors, k)).collect();
    let stored: Vec<EncodedVector> = vectors.iter().map(|vector| vector.encode(Encoding::F16)).collect();

    let options = HnswOptions {
        m: 16,
        ef_construction: 200,
        ef_search: 112,
        max_elements: vectors.len(),
        max_searches: 4,
    };
    let hnsw = Hnsw::new(MODEL, matrix.columns, options)?;
    let building = Instant::now();
    // One at a time, so that one thread does the work as in the other libraries' runs.
    for (key, vector) in vectors.iter().enumerate() {
        hnsw.add(&[(key as u64, vector)])?;
    }
    let build_s = building.elapsed().as_secs_f64();

    for ef in efs {
        let mut micros = Vec::with_capacity(queries);
        let mut right = 0;
        for (question, truth) in questions.iter().zip(&truth) {
            let start = Instant::now();
            let candidates = hnsw.search(question, (2 * k).max(20).min(ef.max(k)), Some(ef))?;
            let mut scored = Vec::with_capacity(candidates.len());
            for candidate in candidates {
                let vector = stored[candidate.key as usize].decode()?;
                scored.push((question.cosine(&vector)?, candidate.key));
            }
            scored.sort_by(|a, b| b.0.total_cmp(&a.0));
            micros.push(start.elapsed().as_secs_f64() * 1e6);
            right += scored.iter().take(k).filter(|(_, key)| truth.contains(key)).count();
        }
        let recall = right as f64 / (queries * k) as f64;
        let (p50, p99) = (quantile(&mut micros, 0.5), quantile(&mut micros, 0.99));
        let row = serde_json::json!({ "ef": ef, "recall": recall, "p50_us": p50, "p99_us": p99, "build_s": build_s });
        println!("{row}");
    }
    Ok(())
}

/// The keys of the `k` nearest, every vector compared.
fn nearest(question: &Vector, vectors: &[Vector], k: usize) -> Vec<u64> {
    let mut scored: Vec<(f32, u64)> = vectors
        .iter()
        .enumerate()
        .filter_map(|(key, vector)| Some((question.cosine(vector).ok()?, key as u64)))
        .collect();
    scored.sort_by(|a, b| b.0.total_cmp(&a.0));
    scored.truncate(k);
    scored.into_iter().map(|(_, key)| key).collect()
}

//! Our embedding for the side-by-side runs in `compare/`: throughput, or the vectors themselves.
//!
//! `single` embeds one text a run, `batched` plans batches as the node's indexer does. Tokenizing is part of it.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context;
use synapsenet_benches::{Arguments, Matrix, text_set};
use synapsenet_index::{
    Compute, Embedder, Model, Provider, Purpose, Runs, Runtime, Tokenized, Tokenizer, find_runtime,
    plan_batches,
};
use synapsenet_proto::Vector;

const USAGE: &str = "usage: embed_bench --texts FILE.json [--set NAME] [--model DIR | --variant NAME] [--provider cpu] [--threads 1] [--sessions 1] \
[--mode single|batched] [--rounds 3] [--seconds 0] [--batch-tokens 256] [--batch-texts 64] [--dump FILE.npy]";

/// Texts that are tokenized and sorted together, as in a round of the node's indexer.
const ROUND: usize = 512;
/// Texts that are embedded before the clock starts.
const WARM_UP: usize = 64;

fn main() -> anyhow::Result<()> {
    synapsenet_index::restart_with(&[synapsenet_index::TELEMETRY_OFF]);
    let known = [
        "model",
        "variant",
        "provider",
        "texts",
        "set",
        "threads",
        "sessions",
        "mode",
        "rounds",
        "seconds",
        "batch-tokens",
        "batch-texts",
        "dump",
    ];
    let arguments = Arguments::read(&known, USAGE)?;
    let texts =
        text_set(Path::new(arguments.get("texts").context(USAGE)?), arguments.get("set").unwrap_or(""))?;
    let batched = match arguments.get("mode").unwrap_or("batched") {
        "batched" => true,
        "single" => false,
        _ => anyhow::bail!(USAGE),
    };
    let provider: Provider = arguments.get("provider").unwrap_or("cpu").parse()?;
    let limits = (provider.runs(arguments.number("batch-tokens", 0)?), arguments.number("batch-texts", 64)?);
    let (threads, sessions) = (arguments.number("threads", 1)?, arguments.number("sessions", 1)?);
    let rounds = arguments.number("rounds", 3)?;
    let at_least = Duration::from_secs(arguments.number("seconds", 0)? as u64);

    let loading = Instant::now();
    let model = match arguments.get("model") {
        Some(dir) => Model::from_dir(Path::new(dir))?,
        None => built_in(arguments.get("variant"), provider)?,
    };
    let tokenizer = Tokenizer::new(&model)?;
    let runtime = Runtime::load(&find_runtime(None)?)?;
    let (graph, compute) = (
        model.graph()?,
        Compute { provider, threads, run_tokens: limits.0.max_tokens, ..Compute::default() },
    );
    let mut embedders =
        (0..sessions).map(|_| Embedder::new(&runtime, &graph, &compute)).collect::<Result<Vec<_>, _>>()?;
    drop(graph);
    let load_s = loading.elapsed().as_secs_f64();
    // The first runs are slower than the rest.
    embed(&mut embedders, &tokenizer, &texts[..texts.len().min(WARM_UP)], batched.then_some(limits))?;

    let (mut rates, mut vectors) = (Vec::new(), Vec::new());
    let (begin, cpu) = (Instant::now(), cpu_seconds());
    while rates.len() < rounds || begin.elapsed() < at_least {
        let start = Instant::now();
        vectors.clear();
        for round in texts.chunks(ROUND) {
            vectors.extend(embed(&mut embedders, &tokenizer, round, batched.then_some(limits))?);
        }
        rates.push(texts.len() as f64 / start.elapsed().as_secs_f64());
    }
    let cpu_s = (cpu_seconds() - cpu) / rates.len() as f64;
    if let Some(file) = arguments.get("dump") {
        let values = vectors.iter().flat_map(|vector| vector.values().iter().copied()).collect();
        Matrix { columns: model.dimension(), values }.write_npy(Path::new(file))?;
    }
    let median = {
        let mut sorted = rates.clone();
        sorted.sort_by(f64::total_cmp);
        sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
    };
    println!(
        "{}",
        serde_json::json!({
            "texts": texts.len(), "texts_per_s": median, "rounds": rates, "cpu_s": cpu_s, "load_s": load_s,
            "rss_mb": peak_memory_mb(), "threads": threads, "sessions": sessions,
        })
    );
    Ok(())
}

/// The built-in variant of this name, or the one that suits what computes.
fn built_in(variant: Option<&str>, provider: Provider) -> anyhow::Result<Model> {
    let all = Model::all_built_in()?;
    let Some(name) = variant else { return Model::best(&all, provider).cloned().context("there are models") };
    let named = all.into_iter().find(|model| model.variant() == name);
    named.with_context(|| format!("there is no built-in variant {name}"))
}

/// The vectors of `texts` in their order: one a run, or in planned batches shared out among the sessions.
fn embed(
    embedders: &mut [Embedder],
    tokenizer: &Tokenizer,
    texts: &[String],
    limits: Option<(Runs, usize)>,
) -> anyhow::Result<Vec<Vector>> {
    let tokenized: Vec<Tokenized> =
        texts.iter().map(|text| tokenizer.tokenize(text, Purpose::Document)).collect();
    let lengths: Vec<usize> = tokenized.iter().map(Tokenized::len).collect();
    let batches = match limits {
        Some((runs, texts)) => plan_batches(&lengths, runs, texts),
        None => (0..texts.len()).map(|at| vec![at]).collect(),
    };
    let next = AtomicUsize::new(0);
    let worker = |embedder: &mut Embedder| -> anyhow::Result<Vec<(usize, Vector)>> {
        let mut done = Vec::new();
        while let Some(batch) = batches.get(next.fetch_add(1, Ordering::Relaxed)) {
            let texts: Vec<Tokenized> = batch.iter().map(|&at| tokenized[at].clone()).collect();
            done.extend(batch.iter().copied().zip(embedder.embed(&texts)?));
        }
        Ok(done)
    };
    let mut done = std::thread::scope(|scope| {
        let workers: Vec<_> = embedders.iter_mut().map(|embedder| scope.spawn(|| worker(embedder))).collect();
        let results = workers.into_iter().map(|worker| worker.join().expect("a worker does not panic"));
        results.collect::<anyhow::Result<Vec<_>>>()
    })?
    .concat();
    done.sort_by_key(|(at, _)| *at);
    Ok(done.into_iter().map(|(_, vector)| vector).collect())
}

/// User and system time of this process so far (proc(5), fields 14 and 15 of stat, in ticks of 1/100 s).
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    fields.skip(11).take(2).filter_map(|field| field.parse::<f64>().ok()).sum::<f64>() / 100.0
}

fn peak_memory_mb() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak =
        status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse().ok());
    peak.unwrap_or(f64::NAN) / 1e3
}

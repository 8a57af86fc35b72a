//! What scores are worth: what they cost a node that adds texts, what attackers gain by them beside honest authors, and what a node
//! keeps by them that holds a quarter of what comes.
//!
//! Attacks and retention are rehearsed in a memory without doors and peers, with the real admission, scores and store; texts are read
//! by the model once. Figures are quality and CPU time, so that they hold on a busy machine.

mod attacks;
mod cost;
mod crowd;
mod good;
mod material;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, ValueEnum};

use material::Material;

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// CPU time of adding with scores and without.
    Cost,
    /// Attackers beside honest authors.
    Attacks,
    /// What a node keeps of honest texts, copies and noise; and whether scores help to rank.
    Good,
}

/// Measures what scores are worth, and fails when a figure does not hold.
#[derive(Debug, Parser)]
struct Arguments {
    /// A folder of judged collections, each with docs.jsonl.gz, queries.jsonl and qrels.tsv; attacks and retention need it
    #[arg(long)]
    collections: Option<PathBuf>,
    /// One text a line, `word, word: meaning`: texts for the cost, and words that mean the same for paraphrases
    #[arg(long)]
    texts: PathBuf,
    /// Only these parts
    #[arg(long, value_enum, value_delimiter = ',')]
    parts: Vec<Part>,
    /// A folder where vectors are kept from one run to the next
    #[arg(long)]
    vectors: Option<PathBuf>,
    /// Threads that read texts
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// Texts that are added in each round of the cost
    #[arg(long, default_value_t = 2000)]
    added: usize,
    /// Rounds of the cost, each with scores and without
    #[arg(long, default_value_t = 4)]
    rounds: usize,
    /// Grains of each attacker, and of the honest authors beside it
    #[arg(long, default_value_t = 200)]
    grains: usize,
    /// Only the attacks whose names begin with this
    #[arg(long, default_value = "")]
    attack: String,
    /// Grains that come in the good case
    #[arg(long, default_value_t = 20_000)]
    stream: usize,
    /// Grains of strangers that are kept of them
    #[arg(long, default_value_t = 5_000)]
    quota: u64,
    /// Texts and choices follow from it
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

fn main() -> anyhow::Result<ExitCode> {
    synapsenet_index::restart_with(&[synapsenet_index::TELEMETRY_OFF]);
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(measure(&arguments))
}

async fn measure(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let wanted = |part| arguments.parts.is_empty() || arguments.parts.contains(&part);
    let mut holds = true;
    if wanted(Part::Cost) {
        holds &= cost::measure(arguments).await?;
    }
    if wanted(Part::Attacks) || wanted(Part::Good) {
        let mut material = Material::read(arguments)?;
        if wanted(Part::Attacks) {
            holds &= attacks::measure(&mut material, arguments).await?;
        }
        if wanted(Part::Good) {
            holds &= good::measure(&mut material, arguments).await?;
        }
    }
    Ok(if holds { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

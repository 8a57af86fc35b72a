//! What a mesh does: how fast a grain can be found elsewhere, how often it comes, what silence costs, and how fast a
//! newcomer gets everything.
//!
//! The nodes are whole ones in one process, each with its own store, model and swarm, over TCP on loopback; whoever asks
//! them does so over gRPC on their unix sockets. So N nodes share the cores and the disk of one machine.

mod newcomer;
mod report;
mod spread;
mod traffic;

use std::time::Duration;

use anyhow::Context;
use clap::{Parser, ValueEnum};
use futures::future::try_join_all;
use indicatif::{ProgressBar, ProgressStyle};
use synapsenet_benches::member::{Member, settle};
use synapsenet_benches::texts::{Random, Texts};

use report::Report;
use spread::{FIRST_GRAINS, Plan, become_known, spread};
use traffic::{Idle, idle};

/// One thread that computes for each node of a mesh: there are more nodes than cores.
const THREADS: usize = 1;

/// Measures meshes of whole nodes on loopback.
///
/// A table comes for each part. In a mesh, grains are published twice: when no node knows the others' authors yet, and embeds
/// what they say itself; and when every author was found honest, so that its vectors are believed.
#[derive(Parser)]
struct Arguments {
    /// What to measure.
    #[arg(long, value_enum, default_value = "all")]
    part: Part,
    /// Nodes of each mesh, at least 2.
    #[arg(long, value_delimiter = ',', default_value = "5,20,50", value_parser = clap::value_parser!(u16).range(2..=500))]
    nodes: Vec<u16>,
    /// Grains published in a mesh, each time.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..))]
    published: u32,
    /// Milliseconds from one grain to the next.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u64).range(1..))]
    pace_ms: u64,
    /// Nodes that look for each grain.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..))]
    askers: u16,
    /// Seconds for which a settled mesh is left alone. Some of what costs comes only every five minutes.
    #[arg(long, default_value_t = 330, value_parser = clap::value_parser!(u64).range(1..))]
    idle_seconds: u64,
    /// Grains that a newcomer lacks; 100000 take a quarter of an hour on two cores.
    #[arg(long, value_delimiter = ',', default_value = "10000", value_parser = clap::value_parser!(u32).range(1..))]
    grains: Vec<u32>,
    /// Whether those grains have vectors that their author vouches for.
    #[arg(long, value_enum, default_value = "both")]
    claims: Claims,
    /// Sentences in each text, of some 15 words each.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=20))]
    sentences: u8,
    /// Texts and choices follow from it.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// One JSON object a line instead of tables.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    All,
    /// Publishing and silence.
    Mesh,
    /// A newcomer.
    Newcomer,
}

#[derive(Clone, Copy, ValueEnum)]
enum Claims {
    Both,
    With,
    Without,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    synapsenet_index::restart_with(&[synapsenet_index::TELEMETRY_OFF]);
    let arguments = Arguments::parse();
    let mut report = Report::new(arguments.json);
    let measured = measure(&arguments, &mut report).await;
    // What was measured before something failed is worth telling, too.
    report.finish();
    measured
}

async fn measure(arguments: &Arguments, report: &mut Report) -> anyhow::Result<()> {
    let mut texts = Texts::new(arguments.seed, usize::from(arguments.sentences))?;
    let mut random = Random::new(arguments.seed);
    if arguments.part != Part::Newcomer {
        for &nodes in &arguments.nodes {
            let measured = mesh(arguments, usize::from(nodes), &mut texts, &mut random, report).await;
            measured.with_context(|| format!("a mesh of {nodes} nodes"))?;
        }
    }
    if arguments.part != Part::Mesh {
        let with_claims: &[bool] = match arguments.claims {
            Claims::Both => &[true, false],
            Claims::With => &[true],
            Claims::Without => &[false],
        };
        for &grains in &arguments.grains {
            for &with_claims in with_claims {
                newcomer(grains, with_claims, &mut texts, report)
                    .await
                    .with_context(|| format!("a newcomer that lacks {grains} grains"))?;
            }
        }
    }
    Ok(())
}

async fn mesh(
    arguments: &Arguments,
    nodes: usize,
    texts: &mut Texts,
    random: &mut Random,
    report: &mut Report,
) -> anyhow::Result<()> {
    let bar = progress(nodes as u64, format!("{nodes} nodes start"));
    let mut members = vec![Member::start(&[], THREADS).await?];
    let first = members[0].addresses();
    for started in 1..nodes {
        bar.set_position(started as u64);
        members.push(Member::start(&first, THREADS).await?);
    }
    bar.set_message(format!("{nodes} nodes find each other"));
    let peers = settle(&members).await?;
    bar.finish_and_clear();

    let idle = leave_alone(&members, arguments.idle_seconds).await?;
    report.idle(nodes, peers, &idle);

    let plan = Plan {
        grains: arguments.published as usize,
        pace: Duration::from_millis(arguments.pace_ms),
        askers: usize::from(arguments.askers),
    };
    for authors in ["new", "known"] {
        if authors == "known" {
            let all = nodes * (members[0].status().await?.grains as usize + FIRST_GRAINS * nodes);
            let bar = progress(all as u64, format!("{nodes} nodes become known"));
            become_known(&members, texts, |searchable| bar.set_position(searchable)).await?;
            bar.finish_and_clear();
        }
        let bar = progress(plan.grains as u64, format!("{nodes} nodes, {authors} authors: grains published"));
        let spread = spread(&members, plan, &idle, texts, random, |at| bar.set_position(at)).await?;
        bar.finish_and_clear();
        report.spread(nodes, authors, &spread);
    }
    try_join_all(members.into_iter().map(Member::stop)).await?;
    Ok(())
}

/// Watches what silence costs.
async fn leave_alone(members: &[Member], seconds: u64) -> anyhow::Result<Idle> {
    let bar = progress(seconds, format!("{} nodes are left alone", members.len()));
    let ticking = bar.clone();
    let ticks = tokio::spawn(async move {
        loop {
            tokio::time::sleep(Duration::from_secs(1)).await;
            ticking.inc(1);
        }
    });
    let idle = idle(members, Duration::from_secs(seconds)).await;
    ticks.abort();
    bar.finish_and_clear();
    idle
}

async fn newcomer(
    grains: u32,
    with_claims: bool,
    texts: &mut Texts,
    report: &mut Report,
) -> anyhow::Result<()> {
    let bar = progress(u64::from(grains), String::new());
    let tell = |what, at| {
        bar.set_message(what);
        bar.set_position(at);
    };
    let arrival = newcomer::arrive(grains as usize, with_claims, texts, tell).await;
    bar.finish_and_clear();
    report.arrival(&arrival?);
    Ok(())
}

/// A bar on standard error, if that is a terminal.
fn progress(length: u64, message: String) -> ProgressBar {
    let bar = ProgressBar::new(length).with_message(message);
    let style = ProgressStyle::with_template("{msg} [{bar:30}] {pos}/{len} {elapsed}");
    style.map_or_else(|_| bar.clone(), |style| bar.clone().with_style(style))
}

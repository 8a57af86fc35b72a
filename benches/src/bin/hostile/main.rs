//! What a mesh of honest nodes suffers from a crowd of hostile peers: whether their grains still get everywhere in time,
//! whether anybody honest is banned or any lie shown, and what it costs them in memory and on disk.
//!
//! The honest nodes are whole ones in one process, over TCP on loopback. The hostile peers are raw swarms in the same
//! process, which make all attacks at once; one that was cut off by all its victims comes again as somebody else, since
//! a peer id costs nothing. So the memory that is told is that of both sides together.

mod answers;
#[expect(dead_code, reason = "the tests attack in ways that this bench does not")]
#[path = "../../../../tests/integration/hostile/attacker.rs"]
mod attacker;
mod attacks;
mod bait;
mod front;
mod honest;
mod report;
mod watch;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Parser;
use futures::future::try_join_all;
use synapsenet_benches::member::{Member, catch_up, settle};
use synapsenet_benches::texts::{Random, Texts};
use synapsenet_proto::rpc;
use synapsenet_proto::rpc::bulk_put_request::Item;
use tokio::task::JoinSet;

use bait::Bait;
use front::{Front, Victim};
use honest::Heard;
use watch::Watch;

/// One thread that computes for each node: there are more nodes than cores.
const THREADS: usize = 1;
/// Grains that a node may hold: so few that the strangers' share of it is full within the time.
const MAX_GRAINS: usize = 2000;
/// Bytes that grains of strangers may take in a node, for the same reason.
const QUOTA_BYTES: u64 = 4 << 20;
/// Grains that every honest author says before the attack.
const FIRST_GRAINS: usize = 8;
/// Hostile peers that share one worker of the runtime: they compute little.
const HOSTILE_OF_A_WORKER: usize = 4;
/// Sentences in one text.
const SENTENCES: usize = 2;

/// Puts honest nodes among hostile peers, prints what became of them, and fails when a figure does not hold.
#[derive(Parser)]
struct Arguments {
    /// Whole nodes that keep to the rules.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u16).range(2..=40))]
    honest: u16,
    /// Peers that keep to none.
    #[arg(long, default_value_t = 40, value_parser = clap::value_parser!(u16).range(0..=200))]
    hostile: u16,
    /// Honest nodes that each hostile peer connects to.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=40))]
    reach: u16,
    /// For how long.
    #[arg(long, default_value_t = 120, value_parser = clap::value_parser!(u64).range(5..=3600))]
    seconds: u64,
    /// Milliseconds from one honest grain to the next, and from one question to the next.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u64).range(10..=60_000))]
    pace_ms: u64,
    /// How many times longer hostile peers pause from one attack to the next: all honest nodes share one machine, of which
    /// each has a small part.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
    slower: u32,
    /// Only the attacks whose names begin with this.
    #[arg(long, default_value = "")]
    attack: String,
    /// Texts and choices follow from it.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

fn main() -> anyhow::Result<ExitCode> {
    synapsenet_index::restart_with(&[synapsenet_index::TELEMETRY_OFF]);
    let arguments = Arguments::parse();
    // A node alone has a worker for each core. If all nodes shared so few, the models' threads, of which each node has
    // its own, would leave them next to nothing.
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let workers =
        cores * usize::from(arguments.honest) + usize::from(arguments.hostile) / HOSTILE_OF_A_WORKER;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(workers).enable_all().build()?;
    runtime.block_on(measure(arguments))
}

async fn measure(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let kinds = attacks::Kind::named(&arguments.attack)?;
    let mut texts = Texts::new(arguments.seed, SENTENCES)?;
    let mut random = Random::new(arguments.seed);
    let bait = Bait::prepare(texts.take(FIRST_GRAINS)?)?;

    eprintln!("{} honest nodes start", arguments.honest);
    let members = start(usize::from(arguments.honest)).await?;
    settle(&members).await?;
    prepare(&members, &bait, &mut texts).await?;
    let watch = Watch::begin(&members).await?;

    eprintln!("{} hostile peers come, for {} s", arguments.hostile, arguments.seconds);
    let victims = members.iter().filter_map(Victim::of).collect();
    let front = Arc::new(Front::new(victims, usize::from(arguments.reach), arguments.slower, bait));
    let mut hostile = JoinSet::new();
    for n in 0..usize::from(arguments.hostile) {
        let random = Random::new(arguments.seed << 32 | random.below(1 << 30) as u64);
        hostile.spawn(attacks::live(front.clone(), kinds[n % kinds.len()], n, random));
    }
    let pace = Duration::from_millis(arguments.pace_ms);
    let until = Instant::now() + Duration::from_secs(arguments.seconds);
    let heard: Heard = honest::live(&members, &front, &mut texts, pace, until).await?;
    let seen = watch.end(&members, &front).await?;
    // Whoever was still attacking ends with its task.
    hostile.shutdown().await;

    let holds = report::print(&arguments, heard, &seen, &front);
    try_join_all(members.into_iter().map(Member::stop)).await?;
    Ok(if holds { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Small nodes with a door for clients on loopback, the first of which the others begin with.
async fn start(count: usize) -> anyhow::Result<Vec<Member>> {
    let set = |config: &mut synapsenet::Config| {
        config.storage.hnsw_max_elements = MAX_GRAINS;
        config.storage.quota_bytes = QUOTA_BYTES;
        config.api.listen = "127.0.0.1:0".into();
    };
    let mut members = vec![Member::start_with(&[], THREADS, set).await?];
    let first = members[0].addresses();
    for _ in 1..count {
        members.push(Member::start_with(&first, THREADS, set).await?);
    }
    Ok(members)
}

/// Has every node share some grains, and note the answers to all questions for itself.
async fn prepare(members: &[Member], bait: &Bait, texts: &mut Texts) -> anyhow::Result<()> {
    for member in members {
        let draft = |text| Item::Draft(rpc::Draft { text, ..Default::default() });
        member.share_all(texts.take(FIRST_GRAINS)?.into_iter().map(draft).collect()).await?;
        for fact in &bait.facts {
            let draft = rpc::Draft { text: fact.answer.to_owned(), ..Default::default() };
            member
                .client
                .clone()
                .put(rpc::PutRequest { draft: Some(draft), share: false, ..Default::default() })
                .await?;
        }
    }
    let each = FIRST_GRAINS * members.len() + bait.facts.len();
    catch_up(members, each as u64, |_| ()).await
}

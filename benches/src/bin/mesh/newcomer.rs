//! How fast a newcomer gets what one node holds, with the vectors that its author vouches for and without them.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, ensure};
use synapsenet_benches::member::Member;
use synapsenet_benches::quantile;
use synapsenet_benches::texts::Texts;
use synapsenet_proto::rpc::bulk_put_request::Item;
use synapsenet_proto::{Draft, Grain, Identity, rpc};

/// Between two looks at how far the newcomer is: what a time may be too large.
const LOOK: Duration = Duration::from_millis(10);
/// A newcomer that gets nothing new for so long never will.
const PATIENCE: Duration = Duration::from_secs(120);
/// Questions asked while the newcomer has checked next to nothing, and the same at the node that has computed all.
const QUESTIONS: usize = 100;
/// All cores compute: there are two nodes, and one of them rests.
const THREADS: usize = 0;

/// One run.
pub struct Arrival {
    pub grains: u64,
    /// Whether the grains have claims.
    pub with_claims: bool,
    /// Until the node that has them could find them all.
    pub source_seconds: f64,
    /// Since the newcomer serves: until it holds all, and until it finds all.
    pub held_seconds: f64,
    pub searchable_seconds: f64,
    /// The synchronisation as the newcomer itself tells it.
    pub sync: rpc::SyncProgress,
    /// Claims that spared the model's work, and those that were compared with it.
    pub believed: f64,
    pub compared: f64,
    /// How long searches took inside the newcomer just after it found all, at the 99th percentile, and inside the source.
    pub unchecked_p99_ms: f64,
    pub checked_p99_ms: f64,
    /// Hits that these left out for being unchecked, per search.
    pub left_out: f64,
}

/// Fills one node with shared grains until it finds them all, then starts another that begins with it. Only an author
/// vouches for a vector, so grains of somebody else have no claims.
///
/// # Errors
/// When a node fails.
pub async fn arrive(
    grains: usize,
    with_claims: bool,
    texts: &mut Texts,
    mut tell: impl FnMut(&'static str, u64),
) -> anyhow::Result<Arrival> {
    let source = Member::start(&[], THREADS).await?;
    let start = Instant::now();
    source.share_all(items(texts.take(grains)?, with_claims)?).await?;
    let all = grains as u64;
    source.wait_indexed(|pending| tell("the source reads", all.saturating_sub(pending))).await?;
    let source_seconds = start.elapsed().as_secs_f64();
    // On a machine of its own, it would not take what the newcomer needs.
    source.wait_scored(all).await?;

    let newcomer = Member::start(&source.addresses(), THREADS).await?;
    let start = Instant::now();
    let (mut held, mut sync, mut last, mut useful) = (None, rpc::SyncProgress::default(), 0, start);
    let searchable = loop {
        let status = newcomer.status().await?;
        let passed = start.elapsed();
        for progress in status.mesh.context("it takes part in a mesh")?.syncs {
            if progress.fetched >= sync.fetched {
                sync = progress;
            }
        }
        if status.grains == all && held.is_none() {
            held = Some(passed);
        }
        tell("the newcomer", status.searchable);
        if status.searchable == all {
            break passed;
        }
        if status.grains + status.searchable > last {
            (last, useful) = (status.grains + status.searchable, Instant::now());
        }
        ensure!(
            useful.elapsed() < PATIENCE,
            "the newcomer stays at {} grains: {}",
            status.grains,
            sync.reason
        );
        tokio::time::sleep(LOOK).await;
    };
    let questions = texts.take(QUESTIONS)?;
    let (unchecked_p99_ms, left_out) = ask(&newcomer, &questions).await?;
    let (checked_p99_ms, _) = ask(&source, &questions).await?;
    let metrics = newcomer.metrics().await?;
    let claims = |outcome: &str| {
        metrics.get(&format!("syn_claims_total{{outcome=\"{outcome}\"}}")).copied().unwrap_or(0.0)
    };
    let (believed, compared) = (claims("believed"), claims("checked") + claims("false"));
    newcomer.stop().await?;
    source.stop().await?;
    let (held_seconds, searchable_seconds) =
        (held.context("what is found is held")?.as_secs_f64(), searchable.as_secs_f64());
    Ok(Arrival {
        grains: all,
        with_claims,
        source_seconds,
        held_seconds,
        searchable_seconds,
        sync,
        believed,
        compared,
        unchecked_p99_ms,
        checked_p99_ms,
        left_out,
    })
}

/// Asks one question after the other. Answers the 99th percentile of their times, and what each left out on average.
async fn ask(member: &Member, questions: &[String]) -> anyhow::Result<(f64, f64)> {
    let (mut times, mut left_out) = (Vec::new(), 0);
    for question in questions {
        let (ms, unchecked) = member.search_ms(question).await?;
        times.push(ms);
        left_out += unchecked;
    }
    Ok((quantile(&mut times, 0.99), left_out as f64 / questions.len() as f64))
}

/// What is put into the source: its own words, or those of somebody else.
fn items(texts: Vec<String>, own: bool) -> anyhow::Result<Vec<Item>> {
    if own {
        let draft = |text| Item::Draft(rpc::Draft { text, ..Default::default() });
        return Ok(texts.into_iter().map(draft).collect());
    }
    let stranger = Identity::from_seed(&[7; 32]);
    let now_ms = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis() as u64;
    let first = now_ms.saturating_sub(texts.len() as u64);
    let seal = |(n, text): (usize, String)| {
        let draft = Draft { text, ..Draft::default() };
        // A millisecond apart, as grains that are written one after the other are.
        Ok(Item::Grain(Grain::seal(draft, &stranger, first + n as u64)?.as_bytes().to_vec()))
    };
    texts.into_iter().enumerate().map(seal).collect()
}

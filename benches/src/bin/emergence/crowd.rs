//! Authors, and the grains that they seal.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use synapsenet::Config;
use synapsenet::rehearsal::Rehearsal;
use synapsenet_benches::texts::Random;
use synapsenet_proto::{AuthorId, Draft, Grain, GrainId, Identity, Link, Vector};
use tempfile::TempDir;

use super::material::{Question, Text};

/// Grains that a peer brings before they are scored: fewer than may wait for their scores.
const AT_ONCE: usize = 64;
/// Hits that the owner looks at.
pub(super) const HITS: usize = 10;
/// How long ago the first grain was sealed: all come soon after their dates, as they do on a node that runs.
const AGO: Duration = Duration::from_secs(20 * 3600);

/// The time of the first grain, in milliseconds since 1970-01-01 UTC.
pub(super) fn first_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    now.saturating_sub(AGO).as_millis() as u64
}

/// A grain with its vector, and the document that it says, where it says one.
#[derive(Clone)]
pub(super) struct Said {
    pub grain: Grain,
    pub vector: Vector,
    pub says: Option<usize>,
    /// Whether an attacker brings it.
    pub hostile: bool,
}

/// An author by its number; those of attackers are numbered from [`HOSTILE`] on.
pub(super) fn author(number: usize) -> Identity {
    let mut seed = [7; 32];
    seed[..8].copy_from_slice(&(number as u64).to_le_bytes());
    Identity::from_seed(&seed)
}

/// Where the numbers of attackers begin.
pub(super) const HOSTILE: usize = 1_000_000;

/// Seals a text at a time.
pub(super) fn seal(
    text: &Text,
    by: &Identity,
    created_ms: u64,
    dress: impl FnOnce(&mut Draft),
) -> anyhow::Result<Grain> {
    let mut draft = Draft { text: text.text.clone(), ..Draft::default() };
    dress(&mut draft);
    Ok(Grain::seal(draft, by, created_ms)?)
}

/// Links to grains, as who cites them has them.
pub(super) fn links(to: &[GrainId]) -> Vec<Link> {
    to.iter().map(|&target| Link { target, relation: "cites".to_owned() }).collect()
}

/// A memory that keeps so many grains of strangers, by their scores or their age. Its folder goes with it.
pub(super) fn memory(strangers: u64, retention: &str) -> anyhow::Result<(Rehearsal, TempDir)> {
    let dir = tempfile::tempdir()?;
    let mut config = Config::default();
    config.storage.hnsw_max_elements = strangers as usize * 2;
    config.storage.quota_bytes = 0;
    config.admission.reserved_percent = 50;
    // What is measured here is not what a day's budgets hold back.
    config.admission.author_grains = 1 << 30;
    config.admission.author_bytes = 1 << 40;
    config.admission.peer_grains = 1 << 30;
    config.admission.peer_bytes = 1 << 40;
    // Without scores the oldest go, in less time.
    config.emergence.enabled = retention == "score";
    config.emergence.retention = retention.to_owned();
    Ok((Rehearsal::open(&dir.path().join("data"), config)?, dir))
}

/// Brings all, in this order, and calls `between` after each part with how many came.
pub(super) async fn bring(
    memory: &Rehearsal,
    all: &[Said],
    mut between: impl FnMut(usize) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let peer = author(usize::MAX);
    let mut came = 0;
    for some in all.chunks(AT_ONCE) {
        let grains: Vec<_> = some.iter().map(|said| (said.grain.clone(), said.vector.clone())).collect();
        memory.bring(&grains, &peer).await?;
        came += some.len();
        between(came)?;
    }
    Ok(())
}

/// How near each grain is to a question.
pub(super) fn likeness(question: &Question, all: &[Said]) -> Vec<f32> {
    all.iter().map(|said| question.vector.cosine(&said.vector).unwrap_or(0.0)).collect()
}

/// The places of the largest numbers, the largest first, at most so many.
pub(super) fn largest(numbers: &[f32], count: usize) -> Vec<usize> {
    let mut places: Vec<usize> = (0..numbers.len()).collect();
    let order = |a: &usize, b: &usize| numbers[*b].total_cmp(&numbers[*a]).then(a.cmp(b));
    if count < places.len() {
        places.select_nth_unstable_by(count, order);
        places.truncate(count);
    }
    places.sort_unstable_by(order);
    places
}

/// The owner asks, and opens of the first ten hits those that people judged to answer it; and the first in any case. `like` is how near
/// each of those that came is to the question.
pub(super) fn ask(memory: &Rehearsal, question: &Question, all: &[Said], like: &[f32]) -> anyhow::Result<()> {
    /// Of those that came, so many of the nearest are looked for: most of them are held, or some of them.
    const LOOKED_FOR: usize = 2000;
    let near = largest(like, LOOKED_FOR);
    let ids: Vec<GrainId> = near.iter().map(|&at| all[at].grain.id()).collect();
    let held = memory.held(&ids)?;
    let hits: Vec<(usize, GrainId)> = near
        .into_iter()
        .zip(ids)
        .zip(held)
        .filter(|(_, held)| *held)
        .map(|(hit, _)| hit)
        .take(HITS)
        .collect();
    let answers = |at: usize| all[at].says.is_some_and(|says| question.grades.contains_key(&says));
    let opened = hits.iter().enumerate().filter(|(rank, (at, _))| *rank == 0 || answers(*at));
    let opened: Vec<GrainId> = opened.map(|(_, (_, id))| *id).collect();
    memory.open_hits(&hits.iter().map(|(_, id)| *id).collect::<Vec<_>>(), &opened)
}

/// Puts items into an order that follows from the numbers.
pub(super) fn shuffle<T>(items: &mut [T], random: &mut Random) {
    for at in (1..items.len()).rev() {
        items.swap(at, random.below(at + 1));
    }
}

/// The author of a grain.
pub(super) fn by(said: &Said) -> AuthorId {
    said.grain.author()
}

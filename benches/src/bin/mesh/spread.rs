//! How fast a grain that is published on one node can be found on another, and how often it comes there.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use futures::future::try_join_all;
use prost::Message;
use synapsenet_benches::member::{Member, catch_up, found_at};
use synapsenet_benches::quantile;
use synapsenet_benches::texts::{Random, Texts};
use synapsenet_proto::rpc::bulk_put_request::Item;
use synapsenet_proto::rpc::node_service_client::NodeServiceClient;
use synapsenet_proto::{Announcement, Claim, Grain, Identity, SpaceId, Vector, rpc};
use tokio::task::JoinSet;
use tonic::transport::Channel;

use crate::traffic::{Bytes, Idle};

/// A grain that is not found for so long counts as missed.
const PATIENCE: Duration = Duration::from_secs(60);
/// Grains that every author says before it counts as known: a node believes an author's claims once eight were right.
pub const FIRST_GRAINS: usize = 8;
/// Components of a vector of the built-in model.
const DIMENSION: usize = 384;
/// What gossipsub puts around an announcement of the topic "commons": the topic, and three tags with their lengths.
const GOSSIP_FRAME_BYTES: f64 = 17.0;

/// What is published.
#[derive(Clone, Copy)]
pub struct Plan {
    pub grains: usize,
    /// Between one grain and the next.
    pub pace: Duration,
    /// Nodes that look for each grain.
    pub askers: usize,
}

/// What came of it.
pub struct Spread {
    pub p50_ms: f64,
    pub p99_ms: f64,
    pub max_ms: f64,
    /// Lookings-for that found their grain, and those that gave up.
    pub found: usize,
    pub missed: usize,
    /// Of the announcement of one grain, on average.
    pub announcement_bytes: f64,
    /// Announcements received for each grain that came by gossip, at most: gossip's other messages are counted in.
    pub copies: f64,
    /// Grains that nodes got by gossip and by synchronisation.
    pub by_gossip: f64,
    pub by_sync: f64,
}

/// Publishes grains on random nodes, at a steady pace, and looks for each on some random other nodes. A time begins before
/// the call that puts the grain and ends with the answer of the first search that finds it elsewhere (see [`found_at`]).
///
/// # Errors
/// When a node fails, or the grains do not get everywhere.
pub async fn spread(
    members: &[Member],
    plan: Plan,
    idle: &Idle,
    texts: &mut Texts,
    random: &mut Random,
    mut tell: impl FnMut(u64),
) -> anyhow::Result<Spread> {
    let held = members.first().context("a mesh has nodes")?.status().await?.grains;
    let (before, start) = (Counted::of(members).await?, Instant::now());
    let mut looking = JoinSet::new();
    let mut pace = tokio::time::interval(plan.pace);
    pace.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    for published in 0..plan.grains {
        pace.tick().await;
        let mut clients: Vec<_> = members.iter().map(|member| member.client.clone()).collect();
        let publisher = clients.swap_remove(random.below(clients.len()));
        let askers = (0..plan.askers.min(clients.len()))
            .map(|_| clients.swap_remove(random.below(clients.len())))
            .collect();
        looking.spawn(publish(publisher, askers, texts.another()?));
        tell(published as u64 + 1);
    }
    let (mut times, mut missed, mut bytes) = (Vec::new(), 0, 0);
    while let Some(published) = looking.join_next().await {
        let Published { found, announcement_bytes } = published??;
        bytes += announcement_bytes;
        for time in found {
            match time {
                Some(time) => times.push(time.as_secs_f64() * 1e3),
                None => missed += 1,
            }
        }
    }
    catch_up(members, held + plan.grains as u64, |_| ()).await?;
    let after = Counted::of(members).await?;
    let idle_bytes = idle.gossip() * members.len() as f64 * start.elapsed().as_secs_f64();
    let announcement_bytes = bytes as f64 / plan.grains as f64;
    let message_bytes = announcement_bytes + GOSSIP_FRAME_BYTES;
    let by_gossip = after.by_gossip - before.by_gossip;
    Ok(Spread {
        p50_ms: quantile(&mut times, 0.5),
        p99_ms: quantile(&mut times, 0.99),
        max_ms: times.last().copied().unwrap_or(f64::NAN),
        found: times.len(),
        missed,
        announcement_bytes,
        copies: (after.gossip_bytes - before.gossip_bytes - idle_bytes) / message_bytes / by_gossip,
        by_gossip,
        by_sync: after.by_sync - before.by_sync,
    })
}

/// Has every node say so much that the others believe it from then on.
///
/// # Errors
/// When a node fails, or the grains do not get everywhere.
pub async fn become_known(
    members: &[Member],
    texts: &mut Texts,
    tell: impl FnMut(u64),
) -> anyhow::Result<()> {
    let held = members.first().context("a mesh has nodes")?.status().await?.grains;
    for member in members {
        let texts = texts.take(FIRST_GRAINS)?;
        let draft = |text| Item::Draft(rpc::Draft { text, ..Default::default() });
        member.share_all(texts.into_iter().map(draft).collect()).await?;
    }
    catch_up(members, held + (FIRST_GRAINS * members.len()) as u64, tell).await
}

struct Published {
    found: Vec<Option<Duration>>,
    announcement_bytes: usize,
}

async fn publish(
    mut publisher: NodeServiceClient<Channel>,
    askers: Vec<NodeServiceClient<Channel>>,
    text: String,
) -> anyhow::Result<Published> {
    let start = Instant::now();
    let draft = Some(rpc::Draft { text: text.clone(), ..Default::default() });
    let put = publisher.put(rpc::PutRequest { draft, share: true, ..Default::default() }).await?.into_inner();
    ensure!(put.outcome() == rpc::PutOutcome::Added, "a grain was not taken");
    let looks = askers.into_iter().map(|asker| found_at(asker, &put.id, &text, start, PATIENCE));
    let found = try_join_all(looks).await?;
    let request = rpc::GetRequest { id: put.id, with_signed: true, ..Default::default() };
    let grain = publisher.get(request).await?.into_inner().grain.context("a grain comes with the answer")?;
    Ok(Published { found, announcement_bytes: announcement_bytes(&grain.signed)? })
}

/// How long the announcement of a grain is: with a claim, which is as long as any other.
fn announcement_bytes(signed: &[u8]) -> anyhow::Result<usize> {
    let grain = Grain::open(signed)?;
    let vector = Vector::new(SpaceId::from_bytes([0; 32]), vec![1.0; DIMENSION])?;
    let claim = Some(Claim::seal(grain.id(), &vector, &Identity::from_seed(&[0; 32])));
    Ok(Announcement { grain, claim }.to_message().encoded_len())
}

/// Counters of all nodes together.
struct Counted {
    gossip_bytes: f64,
    by_gossip: f64,
    by_sync: f64,
}

impl Counted {
    async fn of(members: &[Member]) -> anyhow::Result<Self> {
        let gossip_bytes = Bytes::of(members).await?.sum(Some("gossip")).1;
        let (mut by_gossip, mut by_sync) = (0.0, 0.0);
        for metrics in try_join_all(members.iter().map(Member::metrics)).await? {
            // A counter that never counted is not on the page.
            let added = |via: &str| {
                let name = format!("syn_grains_received_total{{via=\"{via}\",outcome=\"added\"}}");
                metrics.get(&name).copied().unwrap_or(0.0)
            };
            by_gossip += added("gossip");
            by_sync += added("sync");
        }
        Ok(Self { gossip_bytes, by_gossip, by_sync })
    }
}

impl Idle {
    /// Bytes of gossip that a node receives in a second.
    fn gossip(&self) -> f64 {
        self.by_protocol.iter().find(|(name, _)| name == "gossip").map_or(0.0, |(_, bytes)| *bytes)
    }
}

//! What the honest nodes do meanwhile: they share grains, which are waited for everywhere, and ask what they know.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use futures::future::join_all;
use synapsenet_benches::member::{Member, found_at, searchable_at};
use synapsenet_benches::texts::Texts;
use synapsenet_proto::rpc;
use synapsenet_proto::rpc::node_service_client::NodeServiceClient;
use tokio::task::JoinSet;
use tonic::transport::Channel;

use crate::bait::{Fact, LIE, MAX_TRUE_SCORE};
use crate::front::Front;

/// A grain that is not found for so long counts as missed.
const PATIENCE: Duration = Duration::from_secs(30);
/// Of the questions, every so many goes to peers, too ...
const TO_PEERS: usize = 5;
/// ... who have so long to answer.
const PEERS_WAIT_MS: u32 = 2000;

/// What was heard.
#[derive(Default)]
pub struct Heard {
    /// Honest grains shared.
    pub shared: usize,
    /// From the acknowledgement of a grain until another node held it searchable, for each other node ...
    pub searchable_ms: Vec<f64>,
    /// ... and until a search found it, for one of these.
    pub found_ms: Vec<f64>,
    /// Nodes that did not come to hold a grain searchable, or to find it, each time.
    pub missed: usize,
    /// How long the call took that put a grain, and a question that was answered here.
    pub put_ms: Vec<f64>,
    pub search_ms: Vec<f64>,
    /// Questions asked, and those whose answer was not the first hit.
    pub questions: usize,
    pub unanswered: usize,
    /// Lies among hits, with a score that what they say does not have.
    pub lies: usize,
    /// Calls of owners that failed.
    pub failed: usize,
}

enum Done {
    Shared { put_ms: f64, searchable: Vec<Option<Duration>>, found: Option<Duration> },
    Asked { local_ms: Option<f64>, is_answered: bool, lies: usize },
}

/// Shares and asks at a steady pace, every time at the next node.
///
/// # Errors
/// When there are no more texts.
pub async fn live(
    members: &[Member],
    front: &Arc<Front>,
    texts: &mut Texts,
    pace: Duration,
    until: Instant,
) -> anyhow::Result<Heard> {
    let mut heard = Heard::default();
    let mut doing: JoinSet<anyhow::Result<Done>> = JoinSet::new();
    let mut pace = tokio::time::interval(pace);
    pace.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut round = 0;
    while Instant::now() < until {
        pace.tick().await;
        let mut others: Vec<_> = members.iter().map(|member| member.client.clone()).collect();
        let asker = others[(round + members.len() / 2) % others.len()].clone();
        let publisher = others.swap_remove(round % others.len());
        doing.spawn(share(publisher, others, texts.another()?, front.clone()));
        let (front, to_peers) = (front.clone(), round % TO_PEERS == TO_PEERS - 1);
        doing.spawn(async move {
            let fact = &front.bait.facts[round % front.bait.facts.len()];
            ask(asker, fact, to_peers).await
        });
        (heard.shared, heard.questions, round) = (heard.shared + 1, heard.questions + 1, round + 1);
        // What has ended is taken note of at once, so that what goes on is bounded by patience.
        while let Some(done) = doing.try_join_next() {
            heard.note(done?);
        }
    }
    while let Some(done) = doing.join_next().await {
        heard.note(done?);
    }
    Ok(heard)
}

impl Heard {
    fn note(&mut self, done: anyhow::Result<Done>) {
        match done {
            Ok(Done::Shared { put_ms, searchable, found }) => {
                self.put_ms.push(put_ms);
                let missed = searchable.iter().chain([&found]).filter(|time| time.is_none());
                self.missed += missed.count();
                let ms = |time: Duration| time.as_secs_f64() * 1e3;
                self.searchable_ms.extend(searchable.into_iter().flatten().map(ms));
                self.found_ms.extend(found.map(ms));
            }
            Ok(Done::Asked { local_ms, is_answered, lies }) => {
                self.search_ms.extend(local_ms);
                self.unanswered += usize::from(!is_answered);
                self.lies += lies;
            }
            Err(error) => {
                eprintln!("a call failed: {error:#}");
                self.failed += 1;
            }
        }
    }
}

async fn share(
    mut publisher: NodeServiceClient<Channel>,
    others: Vec<NodeServiceClient<Channel>>,
    text: String,
    front: Arc<Front>,
) -> anyhow::Result<Done> {
    let draft = Some(rpc::Draft { text: text.clone(), ..Default::default() });
    let start = Instant::now();
    let put = publisher.put(rpc::PutRequest { draft, share: true, ..Default::default() }).await?.into_inner();
    let (put_ms, acknowledged) = (start.elapsed().as_secs_f64() * 1e3, Instant::now());
    ensure!(put.outcome() == rpc::PutOutcome::Added, "a grain was not taken");
    front.aim_at(put.id.parse().ok().context("a grain has an id")?);
    // A search has the node compare what is claimed, so one for each grain and node would be an attack of its own.
    let asked = others.first().context("there are other nodes")?.clone();
    let looks = others.into_iter().map(|other| searchable_at(other, &put.id, acknowledged, PATIENCE));
    let found = found_at(asked, &put.id, &text, acknowledged, PATIENCE);
    let (searchable, found) = tokio::join!(join_all(looks), found);
    Ok(Done::Shared { put_ms, searchable: searchable.into_iter().map(time).collect(), found: time(found) })
}

/// What a failed call found, which is nothing.
fn time(found: anyhow::Result<Option<Duration>>) -> Option<Duration> {
    found.unwrap_or_else(|error| {
        eprintln!("a grain could not be looked for: {error:#}");
        None
    })
}

async fn ask(mut asker: NodeServiceClient<Channel>, fact: &Fact, to_peers: bool) -> anyhow::Result<Done> {
    let request = rpc::SearchRequest {
        text: fact.question.to_owned(),
        mesh: to_peers,
        mesh_wait_ms: PEERS_WAIT_MS,
        ..Default::default()
    };
    let start = Instant::now();
    let mut messages = asker.search(request).await?.into_inner();
    let (mut first, mut lies) = (None, 0);
    while let Some(message) = messages.message().await? {
        if let Some(rpc::search_response::Item::Hit(hit)) = message.item {
            let cosine = hit.cosine();
            let text = hit.grain.context("a hit has a grain")?.text;
            lies += usize::from(text.starts_with(LIE) && cosine > MAX_TRUE_SCORE);
            first.get_or_insert(text);
        }
    }
    let local_ms = (!to_peers).then(|| start.elapsed().as_secs_f64() * 1e3);
    Ok(Done::Asked { local_ms, is_answered: first.as_deref() == Some(fact.answer), lies })
}

//! What hostile peers cost: a counter and their place, never memory, and never the traffic of honest ones.
//!
//! The victim is a real process, so that its memory is its own. Beside it stands an honest node, whose grains must go on
//! arriving; the attacker is a raw swarm ([`attacker::Attacker`]).

mod attacker;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use futures::future::join_all;
use prost::Message;
use synapsenet_proto::{
    Announcement, Claim, Draft, Grain, Identity, MAX_CLOCK_SKEW_MS, ModelId, Vector, rpc,
};
use tempfile::TempDir;
use tokio::task::JoinHandle;

use super::harness::{Random, TestNode, TestProcess, folder, join, noise, now_ms, wait_for};
use super::metrics::scrape;
use attacker::{Answers, Attacker, Bytes, Line};

/// How much memory an attack may make the victim use: the swarm's queue of events holds 1,024 announcements of at most
/// 48 KiB, what waits for the disk is bounded likewise, and allocators keep some of what they had.
const MAX_GROWTH: u64 = 128 << 20;
const TOPIC: &str = synapsenet_proto::DEFAULT_TOPIC;

/// A node under attack, and an honest one beside it.
struct Victim {
    process: TestProcess,
    honest: TestNode,
    address: String,
    /// Resident bytes before the attack, and at most so far.
    before: u64,
    most: Arc<AtomicU64>,
    watching: JoinHandle<()>,
    _dir: TempDir,
}

impl Victim {
    async fn new() -> Self {
        let dir = folder();
        let arguments = ["--listen", "/ip4/127.0.0.1/tcp/0"];
        let environment = [("SYNAPSENET_NETWORK__MDNS", "false"), ("SYNAPSENET_NETWORK__SYNC_SECONDS", "2")];
        let process = TestProcess::start_with(dir.path(), &arguments, &environment).await;
        let address = process.ready["addresses"][0].as_str().unwrap().to_owned();
        let honest = join(std::slice::from_ref(&address)).await;
        honest.share("Before the attack, all is well.").await;
        // The model has been used then, so it is in memory.
        wait_for("honest traffic", async || process.status().await.searchable == 1).await;
        let before = process.status().await.memory_bytes;
        let most = Arc::new(AtomicU64::new(before));
        let (client, peak, mut pause) =
            (process.rpc.clone(), most.clone(), tokio::time::interval(std::time::Duration::from_millis(50)));
        let watching = tokio::spawn(async move {
            // Ends when the process does.
            while let Ok(status) = client.clone().status(rpc::StatusRequest {}).await {
                peak.fetch_max(status.into_inner().memory_bytes, Relaxed);
                pause.tick().await;
            }
        });
        Self { process, honest, address, before, most, watching, _dir: dir }
    }

    async fn attacker(&self, seed: u8) -> Attacker {
        self.attacker_that_answers(seed, Arc::new(|_, _| None)).await
    }

    async fn attacker_that_answers(&self, seed: u8, answers: Answers) -> Attacker {
        Attacker::connect(&self.address, seed, answers).await
    }

    async fn metric(&self, begin: &str, label: &str) -> f64 {
        let page = self.process.ready["metrics"].as_str().unwrap();
        let address = page.trim_start_matches("http://").trim_end_matches("/metrics").parse().unwrap();
        scrape(address).await.sum(begin, label)
    }

    async fn banned(&self) -> Vec<rpc::BannedPeer> {
        let request = rpc::ListPeersRequest { with_known: false, with_banned: true };
        self.process.mesh.clone().list_peers(request).await.unwrap().into_inner().banned
    }

    /// Attacks again and again until the attacker is banned for it, as [`Victim::wait_for_ban`] says.
    async fn attack(&self, attacker: &Attacker, reason: &str, mut attack: impl AsyncFnMut(u64)) {
        let mut times = 0;
        let peer = attacker.peer.to_string();
        wait_for(&format!("a ban for {reason}"), async || {
            attack(times).await;
            times += 1;
            self.banned().await.iter().any(|ban| ban.peer_id == peer)
        })
        .await;
        self.wait_for_ban(attacker, reason).await;
    }

    /// Waits until the attacker is banned for this reason, which is counted, and gone.
    async fn wait_for_ban(&self, attacker: &Attacker, reason: &str) {
        let peer = attacker.peer.to_string();
        wait_for(&format!("the ban for {reason}"), async || {
            self.banned().await.iter().any(|ban| ban.peer_id == peer && ban.reason == reason)
        })
        .await;
        wait_for("the attacker to be gone", async || {
            self.process.peers().await.iter().all(|other| other.peer_id != peer)
        })
        .await;
        assert!(self.metric("syn_offences_total{", &format!("reason=\"{reason}\"")).await > 0.0);
        assert!(self.metric("syn_bans_total", "").await >= 1.0);
    }

    /// Waits until something was counted so often, and shows that it cost the attacker neither a ban nor its place.
    async fn counts_without_a_ban(&self, attacker: &Attacker, reason: &str, times: f64) {
        wait_for(&format!("{reason} to be counted"), async || {
            self.metric("syn_offences_total{", &format!("reason=\"{reason}\"")).await >= times
        })
        .await;
        assert!(self.banned().await.is_empty(), "{:?}", self.banned().await);
        let peer = attacker.peer.to_string();
        let peers = self.process.peers().await;
        assert!(peers.iter().any(|other| other.peer_id == peer && other.score >= 0.0), "{peers:?}");
    }

    /// Shows that honest traffic goes on, that memory stayed within bounds, and that the store is whole.
    async fn stands(self, attack: &str) {
        let id = self.honest.share(format!("After {attack}, life goes on.")).await;
        wait_for("honest traffic to go on", async || self.process.try_get(&id).await.is_ok()).await;
        self.process.wait_indexed().await;
        let by_honest = rpc::Filter { author: self.honest.node.author().to_owned(), ..Default::default() };
        let found = self.process.search_in(&format!("what happens after {attack}"), 3, by_honest).await;
        assert!(found.ids().contains(&id.as_str()), "{:?}", found.texts());
        let growth = self.most.load(Relaxed).saturating_sub(self.before);
        println!("{attack}: {} KiB more memory at most, of {} KiB allowed", growth >> 10, MAX_GROWTH >> 10);
        assert!(growth < MAX_GROWTH, "{attack}: {growth} bytes more memory");
        self.process.verify_sound().await;
        self.watching.abort();
        self.process.stop().await;
    }
}

fn grain(author: &Identity, topic: &str, text: String) -> Grain {
    let draft = Draft { topic: topic.parse().unwrap(), text, ..Draft::default() };
    Grain::seal(draft, author, now_ms()).unwrap()
}

fn announcement(grain: Grain) -> Vec<u8> {
    Announcement { grain, claim: None }.to_message().encode_to_vec()
}

/// A message as the question protocols frame it.
fn framed(message: &impl Message) -> Vec<u8> {
    message.encode_length_delimited_to_vec()
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_costs_a_ban() {
    let victim = Victim::new().await;
    let attacker = victim.attacker(101).await;
    let garbage = async |n: u64| {
        attacker.publish(TOPIC, noise(n, 200).into_bytes()).await;
    };
    victim.attack(&attacker, "malformed", garbage).await;
    victim.stands("garbage").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_over_the_limit_cost_a_ban() {
    let victim = Victim::new().await;
    let attacker = victim.attacker(102).await;
    let large = async |n: u64| {
        attacker.publish(TOPIC, noise(n, 60 << 10).into_bytes()).await;
    };
    victim.attack(&attacker, "oversize", large).await;
    victim.stands("oversize").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn forged_grains_cost_a_ban() {
    let victim = Victim::new().await;
    let attacker = victim.attacker(103).await;
    let forge = async |n: u64| {
        let mut message =
            Announcement { grain: grain(&attacker.identity, TOPIC, format!("Forged {n}.")), claim: None }
                .to_message();
        let mut signed = rpc::SignedGrain::decode(message.grain.as_slice()).unwrap();
        signed.signature[0] ^= 1;
        message.grain = signed.encode_to_vec();
        attacker.publish(TOPIC, message.encode_to_vec()).await;
    };
    victim.attack(&attacker, "forged", forge).await;
    assert_eq!(victim.process.status().await.grains, 1, "none was taken in");
    victim.stands("forgery").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn grains_of_another_topic_cost_a_ban() {
    let victim = Victim::new().await;
    let attacker = victim.attacker(104).await;
    let misplace = async |n: u64| {
        let grain = grain(&attacker.identity, "elsewhere", format!("Out of place {n}."));
        attacker.publish(TOPIC, announcement(grain)).await;
    };
    victim.attack(&attacker, "foreign_topic", misplace).await;
    victim.stands("confusion").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grain_in_another_wrapping_costs_a_ban_and_goes_no_further() {
    let victim = Victim::new().await;
    let attacker = victim.attacker(105).await;
    let once = announcement(grain(&attacker.identity, TOPIC, "I said it before.".into()));
    let wrap = async |n: u64| {
        // A field that nobody knows makes other bytes of it, so that it is another message to gossipsub.
        let field = [&[0xa2, 0x06, 8][..], &n.to_le_bytes()].concat();
        attacker.publish(TOPIC, [&once[..], &field].concat()).await;
    };
    victim.attack(&attacker, "malformed", wrap).await;
    assert_eq!(victim.process.status().await.grains, 1, "it was not taken in");
    victim.stands("wrapping").await;
}

/// One stranger gave one valid grain to each of six honest nodes in another form, again and again. Each passed it on, met the
/// forms of the others, and banned them; after a second nobody had a peer left.
#[tokio::test(flavor = "multi_thread")]
async fn one_grain_in_a_form_for_each_of_six_nodes_turns_nobody_against_anybody() {
    const GRAINS: u64 = 150;
    let mut nodes = vec![join(&[]).await];
    for _ in 1..6 {
        let address = nodes[0].node.mesh_addresses();
        nodes.push(join(&address).await);
    }
    wait_for("six nodes that are all linked", async || {
        let links = join_all(nodes.iter().map(async |node| node.peers().await.len())).await;
        links.iter().all(|&links| links == 5)
    })
    .await;
    let mut attackers = Vec::new();
    for (n, node) in nodes.iter().enumerate() {
        let address = &node.node.mesh_addresses()[0];
        attackers.push(Attacker::connect(address, 120 + n as u8, Arc::new(|_, _| None)).await);
    }
    for n in 0..GRAINS {
        let grain = grain(&attackers[0].identity, TOPIC, format!("Grain {n}."));
        for (form, attacker) in attackers.iter().enumerate() {
            // Valid everywhere: a claim of a rule that nobody here knows. A stranger can make any number of these.
            let claim = rpc::Claim { passage_rule: 9, vector: vec![form as u8; 9], ..Default::default() };
            let message = rpc::Announcement { grain: grain.as_bytes().to_vec(), claim: Some(claim) };
            attacker.publish(TOPIC, message.encode_to_vec()).await;
        }
    }
    wait_for("the grains to be everywhere", async || {
        let held = join_all(nodes.iter().map(async |node| node.status().await.grains)).await;
        held.iter().all(|&grains| grains == GRAINS)
    })
    .await;
    let mut replayed = 0.0;
    for node in &nodes {
        let page = scrape(node.node.metrics_address().unwrap()).await;
        replayed += page.sum("syn_offences_total{", "reason=\"replayed\"");
        let request = rpc::ListPeersRequest { with_known: false, with_banned: true };
        let listed = node.mesh.clone().list_peers(request).await.unwrap().into_inner();
        assert!(listed.banned.is_empty(), "{:?}", listed.banned);
        let honest = nodes.iter().filter_map(|node| node.node.peer_id()).collect::<Vec<_>>();
        let linked = listed.peers.iter().filter(|peer| honest.contains(&peer.peer_id));
        assert!(linked.clone().all(|peer| peer.score >= 0.0), "{:?}", listed.peers);
        assert_eq!(linked.count(), 5);
    }
    assert!(replayed > GRAINS as f64, "the forms did meet: {replayed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn grains_of_tomorrow_are_not_taken_and_cost_nobody_anything() {
    let victim = Victim::new().await;
    let attacker = victim.attacker(115).await;
    for n in 0..120 {
        let draft = Draft { text: format!("Tomorrow, {n}."), ..Draft::default() };
        let ahead = MAX_CLOCK_SKEW_MS + 120_000;
        let grain = Grain::seal(draft, &attacker.identity, now_ms() + ahead).unwrap();
        attacker.publish(TOPIC, announcement(grain)).await;
    }
    victim.counts_without_a_ban(&attacker, "from_the_future", 120.0).await;
    assert_eq!(victim.process.status().await.grains, 1);
    victim.stands("tomorrow").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn most_clocks_against_ones_own_are_told_to_the_owner_and_cost_nobody_anything() {
    let victim = Victim::new().await;
    let ahead: Answers = Arc::new(|line, _| {
        let clock_ms = now_ms() + 12 * 60_000;
        // A comparison that ends with nothing missing.
        let answer = rpc::SyncResponse { message: vec![0x61], grains: 1, clock_ms, ..Default::default() };
        (line == Line::Sync).then(|| framed(&answer))
    });
    let mut peers = Vec::new();
    for seed in 130..133 {
        peers.push(victim.attacker_that_answers(seed, ahead.clone()).await);
    }
    // Three of four.
    let warnings = async || victim.process.status().await.mesh.unwrap().warnings;
    wait_for("the owner to be told", async || !warnings().await.is_empty()).await;
    let told = warnings().await.remove(0);
    assert_eq!(told.reason(), rpc::MeshWarningReason::Clock);
    assert!(told.text.contains("seems 12 minutes behind that of its peers"), "{}", told.text);
    assert!(victim.banned().await.is_empty());
    drop(peers);
    wait_for("it to be over", async || warnings().await.is_empty()).await;
    victim.stands("a wrong clock").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_is_dropped_and_honest_traffic_goes_on() {
    const MESSAGES: usize = 40_000;
    let victim = Victim::new().await;
    let attacker = victim.attacker(106).await;
    for n in 0..MESSAGES {
        attacker.publish(TOPIC, announcement(grain(&attacker.identity, TOPIC, format!("Buy {n}!")))).await;
        if n % 1000 == 0 && victim.metric("syn_offences_total{", "reason=\"flood\"").await > 0.0 {
            break;
        }
    }
    // It may all be of others who found this peer to pass it on.
    victim.counts_without_a_ban(&attacker, "flood", 1.0).await;
    victim.stands("the flood").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_subscriptions_cost_nothing() {
    let victim = Victim::new().await;
    let attacker = victim.attacker(107).await;
    for n in 0..10_000 {
        attacker.subscribe(format!("topic-{n}")).await;
    }
    let peers = victim.process.peers().await;
    let known = peers.iter().find(|peer| peer.peer_id == attacker.peer.to_string());
    assert!(known.is_none_or(|peer| peer.topics.len() <= 256), "what one peer may subscribe to");
    victim.stands("subscriptions").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn questions_that_never_end_hold_nobody_up() {
    let victim = Victim::new().await;
    let attacker = victim.attacker(108).await;
    for _ in 0..500 {
        for line in [Line::Sync, Line::Fetch, Line::Search] {
            attacker.ask(line, Bytes::Stalled).await;
        }
    }
    // Connections that do not even say who they are.
    let port = victim.address.split('/').nth(4).unwrap();
    let mut silent = Vec::new();
    for _ in 0..200 {
        // The victim may refuse some.
        silent.extend(tokio::net::TcpStream::connect(format!("127.0.0.1:{port}")).await);
    }
    let mut sync =
        victim.honest.mesh.clone().sync_now(rpc::SyncNowRequest::default()).await.unwrap().into_inner();
    let mut done = false;
    while let Some(message) = sync.message().await.unwrap() {
        if let Some(rpc::sync_now_response::Item::Summary(summary)) = message.item {
            done = summary.ended.iter().any(|sync| sync.state() == rpc::SyncState::Done);
        }
    }
    assert!(done, "an honest synchronisation ends");
    victim.stands("patience").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn questions_that_cannot_be_read_cost_a_ban() {
    let victim = Victim::new().await;
    let attacker = victim.attacker(109).await;
    let ask = async |n: u64| {
        for line in [Line::Sync, Line::Fetch, Line::Search] {
            attacker.ask(line, Bytes::Whole(noise(n, 300).into_bytes())).await;
        }
    };
    victim.attack(&attacker, "bad_request", ask).await;
    victim.stands("nonsense").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn endless_questions_leave_honest_ones_their_turn() {
    let victim = Victim::new().await;
    let attacker = victim.attacker(110).await;
    // The opening message of a comparison of nothing: protocol version 1, and no ranges.
    let opening = rpc::Reconcile { topic: TOPIC.into(), message: vec![0x61], ..Default::default() };
    let question = framed(&rpc::SyncRequest { item: Some(rpc::sync_request::Item::Reconcile(opening)) });
    let goes_on = Arc::new(AtomicBool::new(true));
    let asking = {
        let goes_on = goes_on.clone();
        tokio::spawn(async move {
            while goes_on.load(Relaxed) {
                attacker.ask(Line::Sync, Bytes::Whole(question.clone())).await;
                tokio::task::yield_now().await;
            }
        })
    };
    // Somebody new comes while it goes on, and gets what there is.
    let late = join(std::slice::from_ref(&victim.address)).await;
    wait_for("a newcomer to catch up", async || late.status().await.grains == 1).await;
    goes_on.store(false, Relaxed);
    asking.await.unwrap();
    victim.stands("endless questions").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_are_none_cost_a_ban() {
    let victim = Victim::new().await;
    let garbage = rpc::SyncResponse { message: vec![0x21; 40], grains: 7, ..Default::default() };
    let answers: Answers = Arc::new(move |line, _| (line == Line::Sync).then(|| framed(&garbage)));
    let attacker = victim.attacker_that_answers(111, answers).await;
    let news = rpc::News { topic: TOPIC.into() };
    let news = framed(&rpc::SyncRequest { item: Some(rpc::sync_request::Item::News(news)) });
    // It says that it has something new, again and again, so that it is asked.
    let tell = async |_| attacker.ask(Line::Sync, Bytes::Whole(news.clone())).await;
    victim.attack(&attacker, "bad_answer", tell).await;
    victim.stands("lies").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn false_claims_are_not_believed_and_cost_no_peer_anything() {
    let victim = Victim::new().await;
    let model = victim.process.status().await.model.unwrap();
    let (id, dimension) = (model.model_id.parse::<ModelId>().unwrap(), model.dimension as usize);
    let attacker = victim.attacker(112).await;
    let mut random = Random::new(112);
    for n in 0..20 {
        let values = (0..dimension).map(|_| random.below(2000) as f32 / 1000.0 - 1.0).collect();
        let grain =
            grain(&attacker.identity, TOPIC, format!("Bananas are yellow and sweet, says number {n}."));
        let claim = Claim::seal(grain.id(), &Vector::new(id, values).unwrap(), &attacker.identity);
        let message = Announcement { grain, claim: Some(claim) }.to_message().encode_to_vec();
        attacker.publish(TOPIC, message).await;
    }
    wait_for("the notes to come", async || victim.process.status().await.grains == 21).await;
    let found_out = async || {
        victim.metric("syn_unchecked_grains", "").await == 0.0
            && victim.metric("syn_claims_total{", "false").await >= 1.0
    };
    wait_for("the lies to be found out", found_out).await;
    victim.process.wait_indexed().await;
    // Which peer the author is, nobody knows; what its claims are worth, the node does.
    assert!(victim.metric("syn_claims_total{", "outcome=\"false\"").await > 0.0);
    assert!(victim.banned().await.is_empty());
    // Each is found by what it says, not by what was claimed.
    let found = victim.process.search_in("which fruit is yellow", 5, rpc::Filter::default()).await;
    assert!(found.best().text.starts_with("Bananas"), "{:?}", found.texts());
    assert!(found.hits[0].score > 0.4, "{:?}", found.hits[0].score);
    victim.stands("false claims").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lying_answers_to_a_question_are_scored_here_and_too_much_of_them_costs_a_ban() {
    let victim = Victim::new().await;
    let liar = Identity::from_seed(&[113; 32]);
    let too_many = Arc::new(AtomicBool::new(false));
    let answers: Answers = {
        let too_many = too_many.clone();
        Arc::new(move |line, _| {
            let count = if too_many.load(Relaxed) { 9 } else { 2 };
            let grains = (0..count).map(|n| {
                // The best one comes last.
                let text = if n == 1 { "A heat pump warms the house." } else { "Nothing to do with it" };
                let grain = grain(&liar, TOPIC, format!("{text} {n}"));
                Announcement { grain, claim: None }.to_message()
            });
            let answer = rpc::Answer { grains: grains.collect(), ..Default::default() };
            (line == Line::Search).then(|| framed(&answer))
        })
    };
    let attacker = victim.attacker_that_answers(113, answers).await;
    let ask = async || {
        let request = rpc::SearchRequest {
            text: "how is the house warmed".into(),
            k: 3,
            mesh: true,
            mesh_wait_ms: 20_000,
            ..Default::default()
        };
        victim.process.try_search(request).await.unwrap()
    };
    let found = ask().await;
    let mut lies: Vec<_> = found.hits.iter().filter(|hit| hit.peer_id == attacker.peer.to_string()).collect();
    assert_eq!(lies.len(), 2, "{:?}", found.summary);
    lies.sort_by(|a, b| b.score.total_cmp(&a.score));
    assert!(lies[0].grain.as_ref().unwrap().text.starts_with("A heat pump"));
    assert!(lies[1].score < 0.3, "unrelated words have a low score, whatever their place");
    too_many.store(true, Relaxed);
    let peer = attacker.peer.to_string();
    wait_for("the ban", async || {
        ask().await;
        victim.banned().await.iter().any(|ban| ban.peer_id == peer)
    })
    .await;
    victim.wait_for_ban(&attacker, "bad_answer").await;
    victim.stands("lying scores").await;
}

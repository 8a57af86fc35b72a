//! What hostile peers cost: a counter and their place, never memory, and never the traffic of honest ones.
//!
//! The victim is a real process, so that its memory is its own. Beside it stands an honest node, whose grains must go on
//! arriving; the attacker is a raw swarm ([`attacker::Attacker`]).

mod announcements;
mod answers;
mod attacker;
mod claims;
mod filling;
mod questions;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use prost::Message;
use synapsenet_proto::{Announcement, Draft, Grain, Identity, rpc};
use tempfile::TempDir;
use tokio::task::JoinHandle;

use super::harness::{TestNode, TestProcess, folder, join, now_ms, wait_for};
use super::metrics::scrape;
use attacker::{Answers, Attacker};

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
        Self::with(&[]).await
    }

    /// One that is set up otherwise than usual.
    async fn with(settings: &[(&str, &str)]) -> Self {
        let dir = folder();
        let arguments = ["--listen", "/ip4/127.0.0.1/tcp/0"];
        let usual = [("SYNAPSENET_NETWORK__MDNS", "false"), ("SYNAPSENET_NETWORK__SYNC_SECONDS", "2")];
        let environment = [&usual[..], settings].concat();
        let process = TestProcess::start_with(dir.path(), &arguments, &environment).await;
        let address = process.ready["addresses"][0].as_str().unwrap().to_owned();
        let honest = join(std::slice::from_ref(&address)).await;
        honest.share("Before the attack, all is well.").await;
        wait_for("honest traffic", async || process.status().await.searchable == 1).await;
        // So that the model is in memory: what was claimed may not have needed it.
        process.search("is all well").await;
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
        Attacker::connect(std::slice::from_ref(&self.address), Identity::from_seed(&[seed; 32]), answers)
            .await
            .unwrap()
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
        let by_honest = rpc::Filter { author: self.honest.node.author().to_owned(), ..Default::default() };
        let question = format!("what happens after {attack}");
        wait_for("it to be found", async || {
            let found = self.process.search_in(&question, 3, by_honest.clone()).await;
            found.ids().contains(&id.as_str())
        })
        .await;
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

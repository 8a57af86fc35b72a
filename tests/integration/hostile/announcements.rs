//! What is announced: garbage, forgeries, floods, and many forms of one thing.

use std::sync::Arc;

use futures::future::join_all;
use prost::Message;
use synapsenet_proto::{Announcement, Draft, Grain, Identity, MAX_CLOCK_SKEW_MS, rpc};

use super::super::harness::{join, noise, now_ms, wait_for};
use super::super::metrics::scrape;
use super::attacker::Attacker;
use super::{TOPIC, Victim, announcement, grain};

/// A grain with a claim of a rule that nobody here knows, so that it is valid everywhere. A stranger can make any number of
/// these.
fn in_form(grain: &Grain, form: &[u8]) -> Vec<u8> {
    let claim = rpc::Claim { passage_rule: 9, vector: form.to_vec(), ..Default::default() };
    rpc::Announcement { grain: grain.as_bytes().to_vec(), claim: Some(claim) }.encode_to_vec()
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
        let identity = Identity::from_seed(&[120 + n as u8; 32]);
        let connected = Attacker::connect(std::slice::from_ref(address), identity, Arc::new(|_, _| None));
        attackers.push(connected.await.unwrap());
    }
    for n in 0..GRAINS {
        let grain = grain(&attackers[0].identity, TOPIC, format!("Grain {n}."));
        for (form, attacker) in attackers.iter().enumerate() {
            attacker.publish(TOPIC, in_form(&grain, &[form as u8; 9])).await;
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
async fn a_flood_is_dropped_and_honest_traffic_goes_on() {
    const NEW: usize = 5000;
    const AT_ONCE: u64 = 10_000;
    let victim = Victim::new().await;
    let attacker = victim.attacker(106).await;
    for n in 0..NEW {
        attacker.publish(TOPIC, announcement(grain(&attacker.identity, TOPIC, format!("Buy {n}!")))).await;
    }
    // Faster than anybody can sign: one grain in ever new forms.
    let again = grain(&attacker.identity, TOPIC, "Buy again!".into());
    let mut forms = 0;
    wait_for("the flood to be noticed", async || {
        for n in forms..forms + AT_ONCE {
            attacker.publish(TOPIC, in_form(&again, &n.to_le_bytes())).await;
        }
        forms += AT_ONCE;
        victim.metric("syn_offences_total{", "reason=\"flood\"").await > 0.0
    })
    .await;
    println!("noticed after {} announcements", NEW as u64 + forms);
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

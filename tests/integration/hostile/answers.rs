//! What is answered: nothing that could be read, lies, and too little too slowly.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use prost::Message;
use synapsenet_proto::{Announcement, Draft, Grain, GrainId, Identity, MAX_CLOCK_SKEW_MS, rpc};

use super::super::harness::{join, nearest, noise, now_ms, wait_for};
use super::attacker::{Answers, Bytes, Line};
use super::{TOPIC, Victim, framed, grain};

#[tokio::test(flavor = "multi_thread")]
async fn most_clocks_against_ones_own_are_told_to_the_owner_and_cost_nobody_anything() {
    let victim = Victim::new().await;
    let ahead: Answers = Arc::new(|line, _| {
        let clock_ms = now_ms() + 12 * 60_000;
        // A comparison that ends with nothing missing.
        let answer = rpc::SyncResponse { message: vec![0x61], grains: 1, clock_ms, ..Default::default() };
        (line == Line::Sync).then(|| Bytes::Whole(framed(&answer)))
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
async fn answers_that_are_none_cost_a_ban() {
    let victim = Victim::new().await;
    let garbage = rpc::SyncResponse { message: vec![0x21; 40], grains: 7, ..Default::default() };
    let answers: Answers =
        Arc::new(move |line, _| (line == Line::Sync).then(|| Bytes::Whole(framed(&garbage))));
    let attacker = victim.attacker_that_answers(111, answers).await;
    let news = rpc::News { topic: TOPIC.into() };
    let news = framed(&rpc::SyncRequest { item: Some(rpc::sync_request::Item::News(news)) });
    // It says that it has something new, again and again, so that it is asked.
    let tell = async |_| {
        attacker.ask(Line::Sync, Bytes::Whole(news.clone())).await;
    };
    victim.attack(&attacker, "bad_answer", tell).await;
    victim.stands("lies").await;
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
            (line == Line::Search).then(|| Bytes::Whole(framed(&answer)))
        })
    };
    let attacker = victim.attacker_that_answers(113, answers).await;
    let ask = async || {
        let request = rpc::SearchRequest {
            k: 3,
            mesh: true,
            mesh_wait_ms: 20_000,
            ..nearest("how is the house warmed")
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

/// An answer to a comparison that lists these grains in the whole of time, as negentropy (version 1) writes it: one range without
/// end (0) and without an id (0), of mode 2, a list.
fn listed(ids: &[GrainId]) -> Bytes {
    let mut message = vec![0x61, 0, 0, 2, u8::try_from(ids.len()).expect("a varint of one byte")];
    assert!(ids.len() < 128);
    ids.iter().for_each(|id| message.extend_from_slice(id.as_bytes()));
    Bytes::Whole(framed(&rpc::SyncResponse { message, grains: ids.len() as u64, ..Default::default() }))
}

/// Whether it is a comparison that is asked for, and not news.
fn is_comparison(question: &[u8]) -> bool {
    let question = rpc::SyncRequest::decode_length_delimited(question);
    question.is_ok_and(|question| matches!(question.item, Some(rpc::sync_request::Item::Reconcile(_))))
}

fn given(grains: &[Grain]) -> Vec<u8> {
    let give = |grain: &Grain| Announcement { grain: grain.clone(), claim: None }.to_message();
    framed(&rpc::FetchResponse { grains: grains.iter().map(give).collect(), ..Default::default() })
}

/// Peers that have much to give and do not give it hold up nobody who does.
#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_drips_and_one_that_lists_tomorrow_hold_no_synchronisation_up() {
    const HONEST: u64 = 20;
    let victim = Victim::new().await;
    // It lists a hundred, and gives one at a time, a byte at a time.
    let slow = Identity::from_seed(&[140; 32]);
    let grains: Vec<Grain> = (0..100).map(|n| grain(&slow, TOPIC, format!("Drop number {n}."))).collect();
    let ids: Vec<GrainId> = grains.iter().map(Grain::id).collect();
    let is_asked = Arc::new(AtomicBool::new(false));
    let asked = is_asked.clone();
    let drips: Answers = Arc::new(move |line, question| match line {
        Line::Sync if is_comparison(question) => Some(listed(&ids)),
        Line::Fetch => {
            asked.store(true, Relaxed);
            let question = rpc::FetchRequest::decode_length_delimited(question).ok()?;
            let first = grains.iter().find(|grain| question.ids.starts_with(grain.id().as_bytes()))?;
            Some(Bytes::Dripping(given(std::slice::from_ref(first))))
        }
        _ => None,
    });
    let _slow = victim.attacker_that_answers(140, drips).await;
    wait_for("the slow one to be asked", async || is_asked.load(Relaxed)).await;

    // It lists long ones that are dated ahead, whatever span it is asked about, and gives them at once.
    let ahead = Identity::from_seed(&[141; 32]);
    let of_tomorrow = |n: u64| {
        let draft = Draft { text: noise(n, 15 << 10), ..Draft::default() };
        Grain::seal(draft, &ahead, now_ms() + 2 * MAX_CLOCK_SKEW_MS).unwrap()
    };
    let tomorrow: Vec<Grain> = (0..100).map(of_tomorrow).collect();
    let once: u64 = tomorrow.iter().map(|grain| grain.as_bytes().len() as u64).sum();
    let ids: Vec<GrainId> = tomorrow.iter().map(Grain::id).collect();
    let early: Answers = Arc::new(move |line, question| match line {
        Line::Sync if is_comparison(question) => Some(listed(&ids)),
        Line::Fetch => Some(Bytes::Whole(given(&tomorrow))),
        _ => None,
    });
    let early = victim.attacker_that_answers(141, early).await;

    // What was said before one meets anybody comes by synchronisation alone.
    let late = join(&[]).await;
    for n in 0..HONEST {
        late.share(format!("Fact number {n} that was known before.")).await;
    }
    late.wait_indexed().await;
    let add = rpc::AddPeerRequest { address: victim.address.clone() };
    late.mesh.clone().add_peer(add).await.unwrap();
    let by_late = rpc::Filter { author: late.node.author().to_owned(), ..Default::default() };
    wait_for("what the honest one has", async || {
        victim.process.list(by_late.clone()).await.len() as u64 == HONEST
    })
    .await;
    let dripped = victim.process.status().await.grains - HONEST - 1;
    println!("{dripped} of 100 dripped grains had come by then");
    assert!(dripped < 100, "the slow one is not through");

    let news = rpc::News { topic: TOPIC.into() };
    let news = framed(&rpc::SyncRequest { item: Some(rpc::sync_request::Item::News(news)) });
    let tell = async |_| {
        early.ask(Line::Sync, Bytes::Whole(news.clone())).await;
    };
    victim.attack(&early, "bad_answer", tell).await;
    let received = victim.metric("syn_sync_bytes_total{", "direction=\"received\"").await as u64;
    println!("{} KiB came by synchronisation, of {} KiB that are listed ahead", received >> 10, once >> 10);
    assert!(received < 10 * once, "a few times, until it is banned for it");
    victim.stands("slowness").await;
}

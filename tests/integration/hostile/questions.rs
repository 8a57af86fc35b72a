//! What is asked: questions that never end, cannot be read, or come without a pause.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use synapsenet_proto::rpc;

use super::super::harness::{join, noise, wait_for};
use super::attacker::{Bytes, Line};
use super::{TOPIC, Victim, framed};

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

//! What is said within all limits, and too much of it: more notes than fit, retractions, long notes, and what an author says whom
//! nobody here wants to hear.

use synapsenet_proto::{Grain, Identity, rpc};

use super::super::harness::{Client, ids, now_ms, wait_for};
use super::{TOPIC, Victim, announcement, grain};

async fn set_rule(client: &Client, author: &str, rule: rpc::AuthorRule) {
    let request = rpc::SetAuthorRuleRequest { author: author.to_owned(), rule: rule.into() };
    client.rpc.clone().set_author_rule(request).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_without_number_leave_the_owner_and_whom_it_follows_their_room() {
    const ROOM: u64 = 200;
    const AUTHORS: u8 = 30;
    const EACH: u64 = 20;
    let victim = Victim::with(&[("SYNAPSENET_STORAGE__HNSW_MAX_ELEMENTS", "200")]).await;
    set_rule(&victim.process, victim.honest.node.author(), rpc::AuthorRule::Followed).await;
    let before = victim.process.status().await;
    assert_eq!((before.max_grains, before.max_strangers, before.strangers), (ROOM, 150, 0));
    let attacker = victim.attacker(160).await;
    let (mut said, mut own) = (Vec::new(), Vec::new());
    for seed in 0..AUTHORS {
        let author = Identity::from_seed(&[seed; 32]);
        for n in 0..EACH {
            let text = format!("Number {n} of the many things that {seed} has to say.");
            attacker.publish(TOPIC, announcement(grain(&author, TOPIC, text))).await;
        }
        said.push(victim.honest.share(format!("Amid the noise, fact {seed}.")).await);
        own.push(victim.process.put(format!("The owner's own thought {seed}.")).await);
    }
    let brought = u64::from(AUTHORS) * EACH + said.len() as u64;
    wait_for("all to be judged", async || {
        victim.metric("syn_grains_received_total{", "").await >= brought as f64
    })
    .await;
    // What is passed on twice is counted twice: so the last of them may still be on their way.
    wait_for("whom the owner follows to be heard", async || {
        let held = ids(&victim.process).await;
        said.iter().all(|id| held.contains(id))
    })
    .await;
    // Beyond what is kept for the owner: strangers give way.
    for n in 0..60 {
        own.push(victim.process.put(format!("The owner's later thought {n}.")).await);
    }
    victim.process.wait_indexed().await;
    let status = victim.process.status().await;
    println!(
        "of {brought}: {} grains, {} of {} strangers, {} KiB on disk, {} KiB of index",
        status.grains,
        status.strangers,
        status.max_strangers,
        status.storage_bytes >> 10,
        status.index_bytes >> 10
    );
    assert!(status.grains <= ROOM && status.strangers <= status.max_strangers, "{status:?}");
    assert!(status.storage_bytes < 32 << 20, "{} bytes on disk", status.storage_bytes);
    let held = ids(&victim.process).await;
    assert!(said.iter().all(|id| held.contains(id)), "whom the owner follows keeps everything");
    for id in &own {
        victim.process.get(id).await;
    }
    let found = victim.process.search("the owner's later thought").await;
    assert!(found.texts().iter().all(|text| text.starts_with("The owner's")), "{:?}", found.texts());
    for reason in ["node_full", "author_over_budget", "peer_over_budget"] {
        let refused = victim.metric("syn_refusals_total{", &format!("reason=\"{reason}\"")).await;
        assert_eq!(refused, 0.0, "{reason}");
    }
    assert!(victim.banned().await.is_empty());
    victim.stands("the filling").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_retractions_without_number_one_of_each_own_note_is_kept_and_none_of_others() {
    const EACH: u64 = 1000;
    let victim = Victim::new().await;
    let theirs = victim.honest.list(rpc::Filter::default()).await.remove(0).id;
    let attacker = victim.attacker(161).await;
    let own = grain(&attacker.identity, TOPIC, "What I shall take back.".into());
    attacker.publish(TOPIC, announcement(own.clone())).await;
    wait_for("its note", async || victim.process.try_get(&own.id().to_string()).await.is_ok()).await;
    let now = now_ms();
    for n in 0..EACH {
        for target in [theirs.parse().unwrap(), own.id()] {
            let retraction =
                Grain::retract(target, TOPIC.parse().unwrap(), &attacker.identity, now - n).unwrap();
            attacker.publish(TOPIC, announcement(retraction)).await;
        }
    }
    wait_for("all to be judged", async || {
        victim.metric("syn_grains_received_total{", "").await >= (2 + 2 * EACH) as f64
    })
    .await;
    let status = victim.process.status().await;
    assert_eq!((status.grains, status.retractions), (1, 1), "{status:?}");
    assert!(victim.process.try_get(&theirs).await.is_ok(), "what somebody else says stays");
    assert!(victim.banned().await.is_empty());
    // What was passed on is worth no more elsewhere.
    wait_for("the honest one to hold the same", async || {
        let status = victim.honest.status().await;
        (status.grains, status.retractions) == (1, 1)
    })
    .await;
    victim.stands("the retractions").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn long_notes_of_a_stranger_wait_for_the_owners_next_note() {
    const LONG: u64 = 200;
    let victim = Victim::with(&[("SYNAPSENET_AI__THREADS", "1")]).await;
    let attacker = victim.attacker(162).await;
    for n in 0..LONG {
        let text = format!("Long note {n}: {}", "words and more words ".repeat(760));
        attacker.publish(TOPIC, announcement(grain(&attacker.identity, TOPIC, text))).await;
    }
    wait_for("the long ones", async || victim.process.status().await.grains == 1 + LONG).await;
    let id = victim.process.put("The spare key lies under the third flower pot.").await;
    wait_for("the owner's note to be found", async || {
        victim.process.search("where is the spare key").await.ids().first() == Some(&id.as_str())
    })
    .await;
    let pending = victim.process.status().await.pending;
    println!("{pending} of {LONG} long notes wait when the owner's note is found");
    assert!(pending > LONG / 2, "most of the strangers' wait: {pending}");
    victim.stands("the long notes").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_blocked_author_says_is_neither_kept_nor_passed_on() {
    let victim = Victim::new().await;
    let unwanted = Identity::from_seed(&[163; 32]);
    // Before anybody could bring something of it.
    set_rule(&victim.process, &unwanted.author().to_string(), rpc::AuthorRule::Blocked).await;
    let attacker = victim.attacker(164).await;
    for n in 0..50 {
        attacker.publish(TOPIC, announcement(grain(&unwanted, TOPIC, format!("Unwanted {n}.")))).await;
    }
    // The same peer brings something of somebody else after that, which goes its way: to the victim, and through it.
    let other = grain(&attacker.identity, TOPIC, "Nobody minds this one.".into());
    attacker.publish(TOPIC, announcement(other.clone())).await;
    for client in [&*victim.process, &*victim.honest] {
        wait_for("the other's note", async || client.try_get(&other.id().to_string()).await.is_ok()).await;
    }
    // Neither does it go through by synchronisation.
    let mut sync =
        victim.honest.mesh.clone().sync_now(rpc::SyncNowRequest::default()).await.unwrap().into_inner();
    while sync.message().await.unwrap().is_some() {}
    for client in [&*victim.process, &*victim.honest] {
        let by_unwanted = rpc::Filter { author: unwanted.author().to_string(), ..Default::default() };
        assert_eq!(client.list(by_unwanted).await.len(), 0);
        assert_eq!(client.status().await.grains, 2);
    }
    assert!(victim.banned().await.is_empty(), "whoever passes it on is not to blame");
    victim.stands("the blocking").await;
}

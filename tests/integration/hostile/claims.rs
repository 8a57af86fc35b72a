//! What is claimed about vectors: noise, and lies aimed at a question by those who said true things before.

use prost::Message;
use synapsenet_index::Purpose;
use synapsenet_proto::{Announcement, Claim, Grain, Identity, SpaceId, Vector, rpc};

use super::super::harness::{Random, wait_for};
use super::super::models::Reference;
use super::{TOPIC, Victim, grain};

#[tokio::test(flavor = "multi_thread")]
async fn false_claims_are_not_believed_and_cost_no_peer_anything() {
    let victim = Victim::new().await;
    let model = victim.process.status().await.model.unwrap();
    let (id, dimension) = (model.space_id.parse::<SpaceId>().unwrap(), model.dimension as usize);
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

fn claimed(grain: Grain, vector: &Vector, author: &Identity) -> Vec<u8> {
    let claim = Claim::seal(grain.id(), vector, author);
    Announcement { grain, claim: Some(claim) }.to_message().encode_to_vec()
}

/// Each liar has said true things before. Then all claim of what they sell that it answers one question exactly.
#[tokio::test(flavor = "multi_thread")]
async fn lies_aimed_at_a_question_are_not_among_what_is_shown() {
    const QUESTION: &str = "How do bees find flowers?";
    const LIARS: u8 = 6;
    const TRUE: usize = 8;
    const FALSE: usize = 5;
    let victim = Victim::new().await;
    let mut model = Reference::of(synapsenet_index::Model::built_in().unwrap());
    let attacker = victim.attacker(150).await;
    let liars: Vec<Identity> = (151..151 + LIARS).map(|seed| Identity::from_seed(&[seed; 32])).collect();
    for (line, liar) in liars.iter().enumerate() {
        for n in 0..TRUE {
            let text = format!("Trains of line {line} leave at {n}.");
            let truth = model.vector(&text, Purpose::Document);
            attacker.publish(TOPIC, claimed(grain(liar, TOPIC, text), &truth, liar)).await;
        }
    }
    let true_ones = 1 + liars.len() * TRUE;
    wait_for("what is true", async || victim.process.status().await.grains == true_ones as u64).await;
    let honest = victim.honest.share("Bees dance to tell where the flowers are.").await;
    wait_for("the honest answer", async || {
        victim.process.search(QUESTION).await.ids().first() == Some(&honest.as_str())
    })
    .await;
    let question = model.vector(QUESTION, Purpose::Question);
    let lies = liars.len() * FALSE;
    for n in 0..lies {
        let (liar, text) = (&liars[n % liars.len()], format!("Buy cheap watches, offer {n}."));
        attacker.publish(TOPIC, claimed(grain(liar, TOPIC, text), &question, liar)).await;
    }
    // It is asked again and again: while they come, while they are believed, and until each was looked at.
    let (mut searches, mut amid) = (0, 0);
    let all = (true_ones + 1 + lies) as u64;
    wait_for("all to be looked at, and no lie to be shown meanwhile", async || {
        let found = victim.process.search(QUESTION).await;
        let unchecked = victim.metric("syn_unchecked_grains", "").await;
        searches += 1;
        amid += u32::from(unchecked > 0.0);
        assert_eq!(found.best().id, honest, "search {searches}: {:?}", found.texts());
        // Who was caught is found by what it says, which is far from the question.
        let is_lie = |hit: &&rpc::Hit| hit.grain.as_ref().is_some_and(|grain| grain.text.starts_with("Buy"));
        let most = found.hits.iter().filter(is_lie).map(|hit| hit.score).fold(0.0, f64::max);
        assert!(most < 0.3, "search {searches}: a lie with a score of {most}");
        let status = victim.process.status().await;
        status.grains == all && status.pending == 0 && unchecked == 0.0
    })
    .await;
    println!("{searches} searches, {amid} of them while something was unchecked");
    wait_for("each to be found by what it says", async || {
        let found = victim.process.search("Where can I buy a cheap watch?").await;
        found.texts().iter().all(|text| text.starts_with("Buy"))
    })
    .await;
    assert!(victim.metric("syn_claims_total{", "outcome=\"false\"").await >= f64::from(LIARS));
    assert!(victim.banned().await.is_empty(), "which peer an author is, nobody knows");
    victim.stands("lies").await;
}

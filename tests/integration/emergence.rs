//! What grains add to what is known: computed once, kept, explained, and told to whom it may be.

use serde_json::json;
use synapsenet_proto::rpc;

use super::harness::{Ran, TestNode, config, note, synapsenet, wait_for};

async fn on(node: &TestNode, arguments: &[&str]) -> Ran {
    synapsenet(node.dir(), arguments).await
}

/// Three notes about a cat, one of them a copy, and one about something else; scored.
async fn scored() -> (TestNode, [String; 4]) {
    let node = TestNode::fresh().await;
    let mut ids = Vec::new();
    for (topic, text) in [
        ("home", "The cat sleeps on the sofa."),
        ("home", "A cat is sleeping on the couch."),
        ("home", "the cat sleeps: on the SOFA"),
        ("taxes", "The tax return is due in May."),
    ] {
        ids.push(node.put_draft(rpc::Draft { topic: topic.into(), ..note(text) }).await);
    }
    for id in &ids {
        node.emergence_of(id).await;
    }
    (node, ids.try_into().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_score_is_explained_term_by_term_with_the_grains_that_made_it() {
    let (node, [cat, same, copy, tax]) = scored().await;
    let record = on(&node, &["emergence", "--json", &same[..12]]).await.ended_with(0).record();
    assert_eq!((&record["id"], &record["weights"]["novelty"]), (&json!(same), &json!(0.5)));
    let nearest = &record["neighbours"][0];
    assert_eq!((&nearest["id"], &nearest["older"]), (&json!(cat), &json!(true)));
    let sum = nearest["cosine"].as_f64().unwrap() + record["emergence"]["novelty"].as_f64().unwrap();
    assert!((sum - 1.0).abs() < 2e-6, "{record}");
    let shown = on(&node, &["emergence", &same]).await.ended_with(0).out;
    for word in ["novelty", "coherence", "reuse", "score", "older", &cat[..12]] {
        assert!(shown.contains(word), "{word}: {shown}");
    }
    let shown = on(&node, &["emergence", &copy]).await.ended_with(0).out;
    assert!(shown.contains("an older grain says the same"), "{shown}");
    let alone = on(&node, &["emergence", "--json", &tax]).await.ended_with(0).record();
    assert_eq!(alone["neighbours"], json!([]), "another topic");
    on(&node, &["emergence", "--json", "abcdef0123"]).await.ended_with(1);
    on(&node, &["emergence"]).await.ended_with(2);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_highest_the_newest_and_the_authors_are_listed_and_digested() {
    let (node, [cat, same, copy, tax]) = scored().await;
    let ids = |ran: Ran| -> Vec<String> {
        let records = ran.ended_with(0).records();
        records.iter().map(|record| record["id"].as_str().unwrap().to_owned()).collect()
    };
    let top = ids(on(&node, &["emergence", "top", "--json"]).await);
    assert_eq!(top, [cat.clone(), tax.clone()], "what is worth nothing is not among them");
    let home = ids(on(&node, &["emergence", "top", "--json", "--topic", "home", "--limit", "1"]).await);
    assert_eq!((home.len(), home.first()), (1, Some(&cat)));
    let new = ids(on(&node, &["emergence", "new", "--json", "--since", "1h"]).await);
    assert_eq!(new, [tax, copy, same.clone(), cat.clone()]);
    assert!(ids(on(&node, &["emergence", "top", "--json", "--topic", "nowhere"]).await).is_empty());

    let authors = on(&node, &["emergence", "authors", "--json"]).await.ended_with(0).record();
    assert_eq!(
        (&authors["whose"], &authors["grains"], &authors["worthless"]),
        (&json!("own"), &json!(4), &json!(2))
    );
    assert_eq!(authors["author"], json!(node.node.author()));
    assert!(on(&node, &["emergence", "authors"]).await.ended_with(0).out.contains("own"));

    let digest = on(&node, &["digest", "--json"]).await.ended_with(0).record();
    assert_eq!((&digest["grains"], &digest["reused"]), (&json!(4), &json!([])));
    assert_eq!(digest["novel"].as_array().unwrap().len(), 2);
    let shown = on(&node, &["digest", "--since", "1d"]).await.ended_with(0).out;
    assert!(shown.contains("4 new grains") && shown.contains("tax return"), "{shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hit_that_is_opened_is_of_use_once_a_day_and_that_outlives_the_node() {
    let (node, [.., tax]) = scored().await;
    let occasions = async |node: &TestNode, id: &str| node.emergence_of(id).await.occasions;
    assert_eq!(occasions(&node, &tax).await, 0, "opened, but it was no hit");
    let asked = ["search", "--json", "-k", "1", "where is the cat asleep", "--topic", "home"];
    let hit = on(&node, &asked).await.ended_with(0).record()["id"].as_str().unwrap().to_owned();
    for _ in 0..3 {
        occasions(&node, &hit).await;
    }
    let counts = [occasions(&node, &hit).await, occasions(&node, &tax).await];
    assert_eq!(counts, [1, 0]);
    let digest = on(&node, &["digest", "--json"]).await.ended_with(0).record();
    assert_eq!(digest["reused"][0]["id"], json!(hit));
    let before = node.try_get(&hit).await.unwrap().emergence;
    let node = node.restart().await;
    assert_eq!(node.try_get(&hit).await.unwrap().emergence, before, "it is there at once, as it was");
    assert!(before.unwrap().reuse > 0.69);
    node.verify_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_wants_no_scores_has_none() {
    let mut off = config();
    off.emergence.enabled = false;
    let node = TestNode::fresh_with(off).await;
    let id = node.put("The cat sleeps on the sofa.").await;
    node.wait_indexed().await;
    assert_eq!(node.try_get(&id).await.unwrap().emergence, None);
    assert!(on(&node, &["emergence", &id]).await.ended_with(0).out.contains("emergence.enabled"));
    assert!(on(&node, &["emergence", "top", "--json"]).await.ended_with(0).out.is_empty());
    assert!(!node.dir().join("index/emergence").exists());
    // Whoever changes their mind has them soon.
    let node = node.restart().await;
    wait_for("a score", async || node.try_get(&id).await.unwrap().emergence.is_some()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pin_is_shown_outlives_the_node_and_is_refused_where_strangers_have_no_room() {
    let node = TestNode::fresh().await;
    let id = node.put("The fuse box is behind the coats.").await;
    let pin = on(&node, &["pin", &id[..12], "--json"]).await.ended_with(0).record();
    assert_eq!((&pin["id"], &pin["pinned"], &pin["changed"]), (&json!(id), &json!(true), &json!(true)));
    let again = on(&node, &["pin", &id, "--json"]).await.ended_with(0).record();
    assert_eq!(again["changed"], json!(false));
    let mut tight = config();
    // Nothing is left for strangers, and so nothing for pins.
    tight.admission.reserved_percent = 100;
    let node = node.restart_with(tight).await;
    assert_eq!(on(&node, &["get", &id, "--json"]).await.ended_with(0).record()["pinned"], json!(true));
    assert_eq!(on(&node, &["list", "--json"]).await.ended_with(0).record()["pinned"], json!(true));
    assert!(on(&node, &["list"]).await.ended_with(0).out.contains("[pinned]"));
    assert!(on(&node, &["get", &id]).await.ended_with(0).out.contains("it is kept"));
    let other = node.put("The main valve is in the cellar.").await;
    let refused = on(&node, &["pin", &other]).await.ended_with(1);
    assert!(refused.err.contains("no more may be") && refused.err.contains("unpin some"), "{}", refused.err);
    on(&node, &["unpin", &id]).await.ended_with(0);
    assert_eq!(on(&node, &["get", &id, "--json"]).await.ended_with(0).record()["pinned"], json!(false));
    node.verify_sound().await;
}

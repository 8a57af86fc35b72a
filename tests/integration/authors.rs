//! Whose grains a node holds, and what the owner says about them.

use serde_json::json;
use synapsenet_proto::rpc;
use tonic::Code;

use super::harness::{Client, Ran, TestNode, ids, join, mesh_config, nearest, synapsenet, wait_for};

async fn on(node: &TestNode, arguments: &[&str]) -> Ran {
    synapsenet(node.dir(), arguments).await
}

/// A node, and another that meets it.
async fn two() -> (TestNode, TestNode) {
    let one = join(&[]).await;
    let other = join(&one.node.mesh_addresses()).await;
    (one, other)
}

async fn wait_for_grain(node: &TestNode, id: &str) {
    wait_for("a grain to arrive", async || node.try_get(id).await.is_ok()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_gets_rid_of_an_author_and_of_all_it_said_in_one_command() {
    let (mine, bad) = two().await;
    let good = join(&mine.node.mesh_addresses()).await;
    let mut unwanted = Vec::new();
    for n in 0..5 {
        unwanted.push(bad.share(format!("Something that nobody may keep, number {n}.")).await);
    }
    for id in &unwanted {
        wait_for_grain(&mine, id).await;
        wait_for_grain(&good, id).await;
    }
    mine.put("Something of my own.").await;
    mine.wait_indexed().await;
    let found = mine.search("something that nobody may keep").await;
    let whose: Vec<(String, rpc::Whose)> = found
        .hits
        .iter()
        .filter_map(|hit| hit.grain.clone())
        .map(|grain| (grain.author.clone(), grain.whose()))
        .collect();
    assert_eq!(whose.len(), 6);
    for (author, whose) in whose {
        let expected = if author == mine.node.author() { rpc::Whose::Own } else { rpc::Whose::Stranger };
        assert_eq!(whose, expected);
    }

    let key = &bad.node.author()[..8];
    let listed = on(&mine, &["authors", "--json"]).await.ended_with(0).records();
    let theirs = listed.iter().find(|author| author["author"] == bad.node.author()).unwrap();
    assert_eq!((&theirs["grains"], &theirs["whose"]), (&json!(5), &json!("stranger")));
    let people = on(&mine, &["search", "something that nobody may keep"]).await.ended_with(0);
    assert!(people.out.contains(&format!("by stranger {key}")), "{people:?}");

    let meant = on(&mine, &["forget", "--author", key, "--dry-run", "--json"]).await.ended_with(0).record();
    assert_eq!(meant, json!({"event": "dry_run", "grains": 5, "blocked": false}));
    on(&mine, &["forget", "--author", key, "--block"])
        .await
        .ended_with(2)
        .assert_told("no terminal", "--yes");
    let command = ["forget", "--author", key, "--block", "--yes", "--json"];
    let forgotten = on(&mine, &command).await.ended_with(0).record();
    assert_eq!(forgotten, json!({"event": "forgotten", "grains": 5, "blocked": true}));

    // What it says later reaches the others, and what they say reaches this node.
    let later = bad.share("Something new by the same author.").await;
    wait_for_grain(&good, &later).await;
    let welcome = good.share("Something by somebody else.").await;
    wait_for_grain(&mine, &welcome).await;
    mine.wait_indexed().await;
    let found = mine.search("something").await;
    assert!(found.hits.iter().flat_map(|hit| &hit.grain).all(|grain| grain.author != bad.node.author()));
    let request = rpc::SearchRequest { mesh: true, ..nearest("something that nobody may keep") };
    let of_peers = mine.try_search(request).await.unwrap();
    assert!(of_peers.hits.iter().flat_map(|hit| &hit.grain).all(|grain| grain.author != bad.node.author()));
    assert!(unwanted.iter().chain([&later]).all(|id| !of_peers.ids().contains(&id.as_str())));
    mine.verify_sound().await;

    // That outlives a restart, and can be taken back.
    let again = mesh_config(&good.node.mesh_addresses());
    let mine = mine.restart_with(again).await;
    let shown = on(&mine, &["authors", "show", key, "--json"]).await.ended_with(0).record();
    assert_eq!((&shown["rule"], &shown["grains"]), (&json!("blocked"), &json!(0)));
    assert!(ids(&mine).await.iter().all(|id| !unwanted.contains(id)));
    on(&mine, &["authors", "clear", key]).await.ended_with(0);
    for id in unwanted.iter().chain([&later]) {
        wait_for_grain(&mine, id).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_forgotten_stays_away_and_other_nodes_keep_it() {
    let (mine, other) = two().await;
    let (unwanted, welcome) = (other.share("One to forget.").await, other.share("One to keep.").await);
    wait_for_grain(&mine, &unwanted).await;
    wait_for_grain(&mine, &welcome).await;
    on(&mine, &["forget", &unwanted[..12], "--yes"]).await.ended_with(0);
    Client::assert_refused(mine.try_get(&unwanted).await, Code::NotFound, "no grain");
    on(&mine, &["sync"]).await.ended_with(0);
    let later = other.share("One that comes later.").await;
    wait_for_grain(&mine, &later).await;
    assert!(!ids(&mine).await.contains(&unwanted) && ids(&other).await.contains(&unwanted));
    on(&mine, &["forget", &unwanted[..12], "--yes"]).await.ended_with(1);
    let nothing =
        on(&mine, &["forget", "--topic", "recipes", "--yes", "--json"]).await.ended_with(0).record();
    assert_eq!(nothing["grains"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_forgotten_can_be_taken_out_of_the_file_at_once() {
    let node = TestNode::fresh().await;
    let id = node.put("One to forget, and not to linger.").await;
    node.wait_indexed().await;
    let command = ["forget", &id[..12], "--compact", "--yes", "--json"];
    let forgotten = on(&node, &command).await.ended_with(0).record();
    assert_eq!(forgotten, json!({"event": "forgotten", "grains": 1, "blocked": false}));
    assert!(node.search("to forget").await.hits.is_empty());
    assert_eq!(node.put("One to forget, and not to linger.").await.len(), 64, "the owner may say it again");
    node.verify_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_takes_from_those_whom_the_owner_names() {
    let (mine, other) = two().await;
    let third = join(&mine.node.mesh_addresses()).await;
    let key = other.node.author();
    on(&mine, &["topics", "policy", "commons", "listed", key]).await.ended_with(0);
    let topics = on(&mine, &["topics", "--json"]).await.ended_with(0).records();
    assert_eq!((&topics[0]["policy"], &topics[0]["listed"]), (&json!("listed"), &json!([key])));
    let not_listed = third.share("By one who is not listed.").await;
    wait_for_grain(&other, &not_listed).await;
    let listed = other.share("By one who is listed.").await;
    wait_for_grain(&mine, &listed).await;
    assert!(!ids(&mine).await.contains(&not_listed));

    on(&mine, &["topics", "policy", "commons", "known"]).await.ended_with(0);
    on(&mine, &["authors", "follow", third.node.author()]).await.ended_with(0);
    wait_for_grain(&mine, &not_listed).await;
    assert_eq!(mine.get(&not_listed).await.whose(), rpc::Whose::Followed);
    assert_eq!(mine.status().await.strangers, 1, "of two grains of others, one is of a stranger");
    on(&mine, &["topics", "policy", "commons", "open", key]).await.ended_with(2);
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_fill_their_share_and_the_owner_still_has_room() {
    let mut config = mesh_config(&[]);
    config.storage.hnsw_max_elements = 40;
    let mine = TestNode::fresh_with(config).await;
    let other = join(&mine.node.mesh_addresses()).await;
    for n in 0..60 {
        other.share(format!("Number {n} of very many that a stranger says.")).await;
    }
    let last = other.share("The last that the stranger says.").await;
    wait_for_grain(&mine, &last).await;
    for n in 0..25 {
        mine.put(format!("My own number {n}.")).await;
    }
    mine.wait_indexed().await;
    let status = mine.status().await;
    assert!(status.grains <= 40 && status.strangers <= status.max_strangers, "{status:?}");
    assert_eq!(status.max_strangers, 30);
    assert_eq!(
        mine.search_in(
            "my own number",
            25,
            rpc::Filter { author: mine.node.author().to_owned(), ..Default::default() }
        )
        .await
        .hits
        .len(),
        25
    );
    mine.verify_sound().await;
}

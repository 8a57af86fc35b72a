//! The commands of the mesh, as people and scripts use them.

use serde_json::{Value, json};

use super::harness::{Ran, TestNode, folder, ids, join, program, ran, synapsenet, wait_for, within};

/// Runs a command on a node.
async fn on(node: &TestNode, arguments: &[&str]) -> Ran {
    synapsenet(node.dir(), arguments).await
}

async fn meet(one: &TestNode, two: &TestNode) {
    wait_for("the two to meet", async || !one.peers().await.is_empty() && !two.peers().await.is_empty())
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_tells_who_it_is_and_another_connects_to_it() {
    let (one, two) = (join(&[]).await, join(&[]).await);
    let id = on(&one, &["id", "--json"]).await.ended_with(0).record();
    assert_eq!(id["peer_id"], json!(one.node.peer_id()));
    assert_eq!(id["author"], one.node.author());
    let address = id["addresses"][0].as_str().unwrap();
    assert!(address.ends_with(&format!("/p2p/{}", one.node.peer_id().unwrap())), "{address}");

    let added = on(&two, &["peers", "add", address, "--json"]).await.ended_with(0).record();
    assert_eq!(added, json!({"event": "connected", "peer_id": id["peer_id"]}));
    let peers = on(&two, &["peers", "--json"]).await.ended_with(0).records();
    assert_eq!(peers.len(), 1);
    for (field, value) in
        [("peer_id", id["peer_id"].clone()), ("direction", json!("out")), ("transport", json!("tcp"))]
    {
        assert_eq!(peers[0][field], value, "{field}");
    }
    assert!(peers[0]["bytes_sent"].as_u64().unwrap() > 0);
    let people = on(&two, &["peers"]).await.ended_with(0);
    let end = &one.node.peer_id().unwrap()[44..];
    assert!(people.out.contains(end) && people.out.contains("tcp out"), "{people:?}");
    let known = on(&two, &["peers", "--known", "--json"]).await.ended_with(0).records();
    assert_eq!(known[0]["peer_id"], id["peer_id"]);

    let wrong = on(&two, &["peers", "add", "/ip4/127.0.0.1/tcp/1"]).await.ended_with(1);
    wrong.assert_told("Connection refused", "synapsenet id");
    on(&two, &["peers", "add", "127.0.0.1:1"]).await.ended_with(2).assert_told("no multiaddress", "--help");

    // Banned by the end of its id, then let in again.
    on(&two, &["peers", "ban", end]).await.ended_with(0);
    wait_for("the peer to go", async || two.peers().await.is_empty()).await;
    let banned = on(&two, &["peers", "--banned", "--json"]).await.ended_with(0).records();
    assert_eq!(banned[0]["peer_id"], id["peer_id"]);
    assert_eq!(banned[0]["until"], Value::Null);
    on(&two, &["peers", "add", address]).await.ended_with(4).assert_told("peers unban", "peers --banned");
    on(&two, &["peers", "unban", end]).await.ended_with(0);
    on(&two, &["peers", "unban", end]).await.ended_with(1);
    on(&two, &["peers", "add", address]).await.ended_with(0);
    on(&two, &["peers", "remove", end]).await.ended_with(0);
    on(&two, &["peers", "remove", ""]).await.ended_with(2).assert_told("too short", "last 8");
    on(&two, &["peers", "remove", "nobody00"]).await.ended_with(1).assert_told("no peer's id", "--known");
}

#[tokio::test(flavor = "multi_thread")]
async fn topics_are_joined_and_left_and_synchronised_by_hand() {
    let one = join(&[]).await;
    let two = join(&one.node.mesh_addresses()).await;
    meet(&one, &two).await;
    on(&one, &["add", "--share", "--topic", "recipes", "Salt the water."]).await.ended_with(0);
    let topics = on(&one, &["topics", "--json"]).await.ended_with(0).records();
    let recipes = topics.iter().find(|topic| topic["topic"] == "recipes").expect("whoever shares takes part");
    let expected = json!({
        "topic": "recipes", "joined": true, "grains": 1, "peers": 0, "policy": "open", "listed": []
    });
    assert_eq!(*recipes, expected);

    on(&two, &["sync", "recipes"])
        .await
        .ended_with(4)
        .assert_told("takes no part in the topic", "topics join");
    let joined = on(&two, &["topics", "join", "recipes", "--json"]).await.ended_with(0).record();
    assert_eq!(joined, json!({"event": "joined", "topic": "recipes", "changed": true}));
    wait_for("the grain", async || two.status().await.grains == 1).await;
    let sync = on(&two, &["sync", "recipes", "--json"]).await.ended_with(0).record();
    for (field, value) in [("state", json!("done")), ("missing", json!(0)), ("round_trips", json!(1))] {
        assert_eq!(sync[field], value, "{field}: {sync}");
    }
    let people = on(&two, &["sync"]).await.ended_with(0);
    assert!(people.out.contains("recipes with"), "{people:?}");
    let again = on(&two, &["topics", "join", "recipes"]).await.ended_with(0);
    assert!(again.out.contains("already"), "{again:?}");
    on(&two, &["topics", "leave", "recipes"]).await.ended_with(0);
    let shown = on(&two, &["topics"]).await.ended_with(0);
    assert!(shown.out.lines().any(|line| line.starts_with("recipes") && line.contains("no")), "{shown:?}");

    let alone = join(&[]).await;
    on(&alone, &["sync"]).await.ended_with(1).assert_told("no connected peer", "peers add");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_private_grain_is_shared_only_when_its_owner_says_so() {
    let one = join(&[]).await;
    let two = join(&one.node.mesh_addresses()).await;
    meet(&one, &two).await;
    let id = one.put("The heat pump's filter is cleaned every three months.").await;
    on(&one, &["share", &id]).await.ended_with(2).assert_told("no terminal", "--yes");
    assert_eq!(ids(&two).await.len(), 0);
    let shared = on(&one, &["share", &id[..12], "--yes", "--json"]).await.ended_with(0).record();
    assert_eq!(shared, json!({"id": id, "shared": true, "changed": true}));
    wait_for("the grain to arrive", async || two.try_get(&id).await.is_ok()).await;
    let again = on(&one, &["share", &id, "--yes", "--json"]).await.ended_with(0).record();
    assert_eq!(again["changed"], false);
    on(&one, &["share", &"0".repeat(64), "--yes"]).await.ended_with(1);

    // Two finds it by itself; one that takes no part in the topic asks it.
    let mut elsewhere = super::harness::mesh_config(&two.node.mesh_addresses());
    elsewhere.network.topics = vec!["elsewhere".into()];
    let three = TestNode::fresh_with(elsewhere).await;
    two.wait_indexed().await;
    wait_for("the third to meet them", async || three.peers().await.len() == 2).await;
    let question = ["search", "--mesh", "--wait", "10", "when to clean the filter"];
    let hits = on(&three, &[&question[..], &["--json"]].concat()).await.ended_with(0).records();
    assert_eq!(hits.len(), 1);
    assert_eq!(hits[0]["id"], id);
    assert!(hits[0]["peer_id"].is_string());
    let people = on(&three, &question).await.ended_with(0);
    assert!(people.out.starts_with("  1") && people.out.contains("from …"), "{people:?}");
    assert!(people.err.contains("answered in"), "{people:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_tells_how_it_stands_in_the_network() {
    let one = join(&[]).await;
    let two = join(&one.node.mesh_addresses()).await;
    meet(&one, &two).await;
    let status = on(&two, &["net", "status", "--json"]).await.ended_with(0).record();
    assert_eq!(status["peer_id"], json!(two.node.peer_id()));
    assert_eq!((&status["peers"], &status["max_peers"]), (&json!(1), &json!(50)));
    assert!(status["listening"][0].as_str().unwrap().starts_with("/ip4/127.0.0.1/tcp/"));
    let bytes = |protocol: &str| {
        let traffic = status["traffic"].as_array().unwrap();
        traffic.iter().find(|entry| entry["protocol"] == protocol).unwrap()["sent"].as_u64().unwrap()
    };
    assert!(bytes("identify") > 0 && bytes("gossip") > 0);
    let people = on(&two, &["net", "status"]).await.ended_with(0);
    for word in ["listens", "reachable", "kademlia", "identify"] {
        assert!(people.out.contains(word), "{word}: {people:?}");
    }
    let node = on(&two, &["status", "--json"]).await.ended_with(0).record();
    assert_eq!(node["mesh"]["topics"], json!(["commons"]));
    assert_eq!(node["mesh"]["peers"], 1);

    let offline = TestNode::fresh().await;
    let none = folder();
    for command in [&["peers"][..], &["topics"], &["sync"], &["net", "status"], &["search", "--mesh", "x"]] {
        on(&offline, command).await.ended_with(4).assert_told("takes no part in a mesh", "--offline");
        synapsenet(none.path(), command).await.ended_with(3).assert_told("no node answers", "synapsenet run");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happens_is_shown_as_it_happens() {
    let one = join(&[]).await;
    let dir = one.dir().to_owned();
    let watching = tokio::spawn(async move { ran(program(&dir, &[]), &["watch", "--json"], "").await });
    let two = join(&one.node.mesh_addresses()).await;
    meet(&one, &two).await;
    let mut told = 0;
    wait_for("somebody to have come and gone while it is watched", async || {
        // The watcher may not have begun to watch yet, so things go on happening.
        told += 1;
        two.share(format!("Happening {told}.")).await;
        one.status().await.grains >= 5 && told >= 5
    })
    .await;
    one.stop().await;
    let seen = within("the end of watch", watching).await.unwrap().ended_with(3);
    assert!(seen.err.contains("the node stopped"), "{seen:?}");
    let events: Vec<Value> = seen.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let added = events.iter().find(|event| event["event"] == "grain_added").expect("a grain was added");
    assert_eq!(added["peer_id"], json!(two.node.peer_id()));
    assert_eq!(added["topic"], "commons");
    assert!(added["time"].is_string());
}

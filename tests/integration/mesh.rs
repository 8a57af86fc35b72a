//! Grains spread, late joiners catch up, and questions reach others: whole nodes on loopback.

use std::collections::BTreeSet;
use std::time::Duration;

use futures::future::join_all;
use synapsenet::Node;
use synapsenet_proto::{Identity, rpc};

use super::harness::{Links, Random, TestNode, TestProcess, folder, mesh_config, note, wait_for, within};

/// Starts a node that dials `peers`.
async fn join(peers: &[String]) -> TestNode {
    TestNode::fresh_with(mesh_config(peers)).await
}

/// The ids of everything shared that a node holds, retractions included.
async fn ids(node: &TestNode) -> BTreeSet<String> {
    let request = rpc::ListRequest { page_size: 1000, with_retractions: true, ..Default::default() };
    let grains = node.list_pages(request).await.concat();
    grains.into_iter().filter(|grain| grain.shared).map(|grain| grain.id).collect()
}

async fn wait_for_same(nodes: &[TestNode], count: usize) {
    wait_for("every node to hold the same grains", async || {
        let sets = join_all(nodes.iter().map(ids)).await;
        sets[0].len() == count && sets.iter().all(|set| *set == sets[0])
    })
    .await;
}

fn shared(text: String) -> rpc::BulkPutRequest {
    rpc::BulkPutRequest { item: Some(rpc::bulk_put_request::Item::Draft(note(text))), share: true }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_shared_spreads_and_is_found_elsewhere_and_what_is_private_stays() {
    let one = join(&[]).await;
    let two = join(&one.node.mesh_addresses()).await;
    let secret = one.put("The safe opens with 4711.").await;
    let told = one.share("The router's address is 10.0.0.1.").await;
    wait_for("the grain to be searchable elsewhere", async || {
        two.search("how do I reach the router").await.ids() == [told.as_str()]
    })
    .await;
    assert!(two.try_get(&secret).await.is_err());
    let withdrawn = one.try_retract(&told).await.unwrap();
    wait_for("the retraction to arrive", async || two.try_get(&told).await.is_err()).await;
    assert!(ids(&two).await.contains(&withdrawn));
    two.verify_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_reaches_what_others_know() {
    let one = join(&[]).await;
    let known = one.share("Clean the heat pump's filter every three months.").await;
    one.put("A private note about the heat pump.").await;
    one.wait_indexed().await;
    // Takes part in another topic only, so that it gets nothing by itself.
    let mut config = mesh_config(&one.node.mesh_addresses());
    config.network.topics = vec!["elsewhere".into()];
    let two = TestNode::fresh_with(config).await;
    wait_for("the peer", async || two.peers().await.len() == 1).await;
    let request = rpc::SearchRequest {
        text: "when to clean the filter of the heat pump".into(),
        mesh: true,
        mesh_wait_ms: 10_000,
        ..Default::default()
    };
    let found = two.try_search(request).await.unwrap();
    assert_eq!(found.ids(), [known.as_str()], "{:?}", found.summary);
    assert_eq!(found.hits[0].peer_id, one.node.peer_id().unwrap());
    assert!(found.hits[0].score > 0.5);
}

/// Must be shown 1: 10 nodes, 1,000 grains published on random ones while nodes restart.
#[tokio::test(flavor = "multi_thread")]
async fn ten_nodes_that_restart_now_and_then_end_with_the_same_grains() {
    const NODES: usize = 10;
    const GRAINS: usize = 1000;
    let mut random = Random::from_environment();
    let mut nodes = vec![join(&[]).await];
    let first = nodes[0].node.mesh_addresses();
    for _ in 1..NODES {
        nodes.push(join(&first).await);
    }
    for round in 0..10 {
        let mut texts: Vec<Vec<rpc::BulkPutRequest>> = vec![Vec::new(); NODES];
        for n in 0..GRAINS / 10 {
            let at = random.below(NODES as u64) as usize;
            texts[at].push(shared(format!("Node {at} says {n} in round {round}.")));
        }
        join_all(nodes.iter().zip(texts).map(|(node, texts)| node.bulk_put(texts))).await;
        if round % 3 == 1 {
            // Not the first: its address is what the others begin with.
            let node = nodes.remove(1 + random.below(NODES as u64 - 1) as usize);
            nodes.push(node.restart_with(mesh_config(&first)).await);
        }
    }
    wait_for_same(&nodes, GRAINS).await;
}

/// Must be shown 2: a node that was away while 10,000 grains were published.
#[tokio::test(flavor = "multi_thread")]
async fn a_late_joiner_gets_everything() {
    const GRAINS: usize = 10_000;
    let one = join(&[]).await;
    for part in 0..10 {
        one.bulk_put((0..GRAINS / 10).map(|n| shared(format!("Fact {n} of part {part}."))).collect()).await;
    }
    let two = join(&one.node.mesh_addresses()).await;
    wait_for("the late joiner to have everything", async || two.status().await.grains == GRAINS as u64).await;
    assert_eq!(ids(&one).await, ids(&two).await);
}

/// Must be shown 3: writes on both sides of a cut, then it heals.
#[tokio::test(flavor = "multi_thread")]
async fn both_sides_of_a_cut_end_with_the_same_grains() {
    let (nodes, links) = linked(4, Duration::ZERO, 0.0).await;
    let peer = |node: &TestNode| node.node.peer_id().unwrap().parse().unwrap();
    links.cut_off(nodes[..2].iter().map(peer));
    wait_for("the links to break", async || {
        let counts = join_all(nodes.iter().map(async |node| node.peers().await.len())).await;
        counts.iter().all(|&count| count <= 1)
    })
    .await;
    for (n, node) in nodes.iter().enumerate() {
        node.bulk_put((0..100).map(|i| shared(format!("Side {n} goes on with {i}."))).collect()).await;
    }
    links.heal();
    wait_for_same(&nodes, 400).await;
}

/// Must be shown 7: 200 ms of delay and 5 % loss.
#[tokio::test(flavor = "multi_thread")]
async fn slow_lines_that_lose_packets_only_take_longer() {
    let (nodes, _links) = linked(4, Duration::from_millis(200), 0.05).await;
    for (n, node) in nodes.iter().enumerate() {
        node.bulk_put((0..50).map(|i| shared(format!("Node {n} says {i} over a bad line."))).collect()).await;
    }
    wait_for_same(&nodes, 200).await;
}

/// Nodes that all begin with the first, over links that the test holds.
async fn linked(count: u64, delay: Duration, loss: f64) -> (Vec<TestNode>, Links) {
    let links = Links::new(delay, loss, 7);
    let mut nodes: Vec<TestNode> = Vec::new();
    for _ in 0..count {
        let first = nodes.first().map(|node| node.node.mesh_addresses()).unwrap_or_default();
        let dir = folder();
        let identity = Identity::from_seed(&rand_seed(nodes.len()));
        std::fs::create_dir_all(dir.path().join("data")).unwrap();
        let seed = identity.seed().iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        write_private(&dir.path().join("data/identity.seed"), &seed);
        let me = synapsenet_net::peer_of(&identity.author()).unwrap();
        nodes.push(TestNode::layered(dir, mesh_config(&first), links.layer(me)).await);
    }
    wait_for("the nodes to meet", async || {
        let counts = join_all(nodes.iter().map(async |node| node.peers().await.len())).await;
        counts.iter().all(|&peers| peers as u64 == count - 1)
    })
    .await;
    (nodes, links)
}

fn rand_seed(n: usize) -> [u8; 32] {
    [n as u8 + 100; 32]
}

fn write_private(path: &std::path::Path, text: &str) {
    use std::os::unix::fs::OpenOptionsExt;
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).unwrap();
    std::io::Write::write_all(&mut file, text.as_bytes()).unwrap();
}

/// Must be shown 4: kill -9 of a node that is catching up.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_killed_while_it_catches_up_goes_on_where_it_was() {
    const GRAINS: usize = 6000;
    let one = join(&[]).await;
    for part in 0..6 {
        one.bulk_put((0..GRAINS / 6).map(|n| shared(format!("Line {n} of page {part}."))).collect()).await;
    }
    let dir = folder();
    let peer = one.node.mesh_addresses().remove(0);
    let arguments = ["--listen", "/ip4/127.0.0.1/tcp/0", "--peer", peer.as_str()];
    let environment = [("SYNAPSENET_NETWORK__MDNS", "false")];
    let mut before = 0;
    for _ in 0..3 {
        let process = TestProcess::start_with(dir.path(), &arguments, &environment).await;
        wait_for("it to catch up a little", async || {
            let grains = process.status().await.grains;
            grains > before || grains == GRAINS as u64
        })
        .await;
        let now = process.status().await.grains;
        assert!(now >= before, "what was acknowledged is there");
        before = now;
        process.kill().await;
    }
    let process = TestProcess::start_with(dir.path(), &arguments, &environment).await;
    wait_for("it to have everything", async || process.status().await.grains == GRAINS as u64).await;
    process.verify_sound().await;
    process.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_stops_in_order_while_it_synchronises() {
    let one = join(&[]).await;
    one.bulk_put((0..2000).map(|n| shared(format!("Number {n}."))).collect()).await;
    let two = join(&one.node.mesh_addresses()).await;
    wait_for("the first grains", async || two.status().await.grains > 0).await;
    within("the end of a node", two.stop()).await;
    let _: &Node = &one.node;
}

//! Whatever happens to nodes and lines, in the end all nodes hold the same grains.

use std::path::Path;
use std::time::Duration;

use futures::future::join_all;
use synapsenet_proto::{Identity, rpc};

use super::harness::{
    Links, Random, TestNode, TestProcess, folder, ids, join, mesh_config, private_folder, shared, wait_for,
    within,
};

async fn wait_for_same(nodes: &[TestNode], count: usize) {
    wait_for("every node to hold the same grains", async || {
        let sets = join_all(nodes.iter().map(|node| ids(node))).await;
        sets[0].len() == count && sets.iter().all(|set| *set == sets[0])
    })
    .await;
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

/// Starts a node on its folder again, connects it to `one`, and waits until it fetched what it missed, but for the few
/// that `one` announces meanwhile, because its model reads them only now. Gives what that cost.
async fn catch_up(dir: &Path, one: &TestNode, missed: u64) -> (TestNode, rpc::SyncProgress) {
    let two = TestNode::on(dir, mesh_config(&[])).await;
    let mut events = two.rpc.clone().watch(rpc::WatchRequest::default()).await.unwrap().into_inner();
    let address = one.node.mesh_addresses().remove(0);
    two.mesh.clone().add_peer(rpc::AddPeerRequest { address }).await.unwrap();
    let sync = within("the synchronisation to end", async {
        loop {
            let event = events.message().await.unwrap().expect("the node goes on").event;
            if let Some(rpc::watch_response::Event::Sync(sync)) = event
                && sync.fetched > missed / 10 * 9
                && sync.state() == rpc::SyncState::Done
            {
                return sync;
            }
        }
    })
    .await;
    (two, sync)
}

/// Must be shown 2: a node that was away while 10,000 grains were published. Run with --nocapture for the figures.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_was_away_gets_everything_for_some_bytes_a_grain() {
    const BEFORE: usize = 2000;
    const MISSED: usize = 10_000;
    let one = join(&[]).await;
    let two = join(&one.node.mesh_addresses()).await;
    one.bulk_put((0..BEFORE).map(|n| shared(format!("Fact {n} of before."))).collect()).await;
    wait_for("both to hold the same", async || two.status().await.grains == BEFORE as u64).await;
    let dir = two.dir().to_owned();
    let owned = two.stop().await;
    for part in 0..10 {
        one.bulk_put((0..MISSED / 10).map(|n| shared(format!("Fact {n} of part {part}."))).collect()).await;
    }
    let (two, sync) = catch_up(&dir, &one, MISSED as u64).await;
    let total = (BEFORE + MISSED) as u64;
    wait_for("it to have everything", async || two.status().await.grains == total).await;
    assert_eq!(ids(&one).await, ids(&two).await);
    let per_grain = sync.comparison_bytes as f64 / sync.missing as f64;
    let (trips, fetches, bytes) = (sync.round_trips, sync.fetches, sync.comparison_bytes);
    println!(
        "10,000 missed: {trips} round trips and {bytes} bytes to compare ({per_grain:.1} a grain), {fetches} batches"
    );
    // A page of some thousand grains is compared in about three round trips; a grain's id has 32 bytes.
    assert!(per_grain < 60.0, "{sync:?}");
    assert!(trips <= 30, "{sync:?}");

    // Nothing is missing any more.
    let mut stream = two.mesh.clone().sync_now(rpc::SyncNowRequest::default()).await.unwrap().into_inner();
    let mut ended = Vec::new();
    while let Some(message) = within("the summary", stream.message()).await.unwrap() {
        if let Some(rpc::sync_now_response::Item::Summary(summary)) = message.item {
            ended = summary.ended;
        }
    }
    assert_eq!(ended.len(), 1);
    println!("nothing missed: {} round trip, {} bytes", ended[0].round_trips, ended[0].comparison_bytes);
    assert_eq!((ended[0].missing, ended[0].round_trips, ended[0].fetches), (0, 1, 0));
    assert!(ended[0].comparison_bytes < 1000, "{ended:?}");
    drop(owned);
}

/// A gap that is recent and small costs three round trips.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_missed_lately_is_found_in_three_round_trips() {
    let one = join(&[]).await;
    let two = join(&one.node.mesh_addresses()).await;
    one.bulk_put((0..3000).map(|n| shared(format!("Fact {n} of before."))).collect()).await;
    wait_for("both to hold the same", async || two.status().await.grains == 3000).await;
    let dir = two.dir().to_owned();
    let owned = two.stop().await;
    one.bulk_put((0..200).map(|n| shared(format!("News {n}."))).collect()).await;
    let (two, sync) = catch_up(&dir, &one, 200).await;
    wait_for("it to have everything", async || two.status().await.grains == 3200).await;
    let per_grain = sync.comparison_bytes as f64 / sync.missing as f64;
    println!("200 missed: {} round trips, {per_grain:.1} bytes a grain", sync.round_trips);
    assert!(sync.round_trips <= 3 && per_grain < 80.0, "{sync:?}");
    drop(owned);
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
        private_folder(&dir.path().join("data"));
        let seed = identity.seed().iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        write_private(&dir.path().join("data/identity.seed"), &seed);
        let me = synapsenet_net::peer_of(&identity);
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

/// Bytes of grains that a node sent to those who fetch.
async fn fetch_bytes_sent(node: &TestNode) -> u64 {
    let status = node.mesh.clone().get_net_status(rpc::GetNetStatusRequest {}).await.unwrap().into_inner();
    let fetch = status.traffic.iter().find(|entry| entry.protocol == "fetch").unwrap();
    fetch.traffic.unwrap().sent
}

/// Must be shown 4: kill -9 of a node that is catching up: it goes on where it was, and fetches nothing twice beyond what
/// was on its way.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_killed_while_it_catches_up_goes_on_where_it_was() {
    const GRAINS: usize = 6000;
    const KILLS: u64 = 3;
    /// Grains that may be on their way to a node when it is killed: half are stored while the others come.
    const ON_THEIR_WAY: u64 = 512;
    let one = join(&[]).await;
    for part in 0..6 {
        one.bulk_put((0..GRAINS / 6).map(|n| shared(format!("Line {n} of page {part}."))).collect()).await;
    }
    // Claims that come later would make the same grains larger.
    one.wait_indexed().await;
    let two = join(&one.node.mesh_addresses()).await;
    wait_for("a node that is left alone", async || two.status().await.grains == GRAINS as u64).await;
    two.stop().await;
    let undisturbed = fetch_bytes_sent(&one).await;

    let dir = folder();
    let peer = one.node.mesh_addresses().remove(0);
    let arguments = ["--listen", "/ip4/127.0.0.1/tcp/0", "--peer", peer.as_str()];
    let environment = [("SYNAPSENET_NETWORK__MDNS", "false")];
    let mut before = 0;
    let mut kills = 0;
    for _ in 0..KILLS {
        let process = TestProcess::start_with(dir.path(), &arguments, &environment).await;
        wait_for("it to catch up a little", async || {
            let grains = process.status().await.grains;
            grains > before || grains == GRAINS as u64
        })
        .await;
        let now = process.status().await.grains;
        assert!(now >= before, "what was acknowledged is there");
        kills += u64::from(now < GRAINS as u64);
        before = now;
        process.kill().await;
    }
    let process = TestProcess::start_with(dir.path(), &arguments, &environment).await;
    wait_for("it to have everything", async || process.status().await.grains == GRAINS as u64).await;
    process.verify_sound().await;
    process.stop().await;
    let disturbed = fetch_bytes_sent(&one).await - undisturbed;
    let twice = disturbed.saturating_sub(undisturbed) * GRAINS as u64 / undisturbed;
    println!("{kills} of {KILLS} kills were in the middle; about {twice} of {GRAINS} grains were sent twice");
    assert!(
        twice <= kills * ON_THEIR_WAY + ON_THEIR_WAY / 10,
        "{twice} grains were sent twice in {kills} kills"
    );
}

/// Whoever has no more room says so and fetches nothing more; with more room it goes on.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_node_takes_no_more_from_peers_and_says_so() {
    let one = join(&[]).await;
    one.bulk_put((0..600).map(|n| shared(format!("Fact {n}."))).collect()).await;
    // Announced while nobody hears it: gossip that fills a node leaves nothing for a comparison to stop at.
    one.wait_indexed().await;
    let mut small = mesh_config(&one.node.mesh_addresses());
    small.storage.hnsw_max_elements = 100;
    let two = TestNode::fresh_with(small).await;
    let quota = async || {
        let syncs = two.status().await.mesh.unwrap().syncs;
        syncs.iter().any(|sync| sync.state() == rpc::SyncState::Quota)
    };
    wait_for("it to say that it is full", quota).await;
    let share = two.status().await.max_strangers;
    assert_eq!(share, 75);
    // It ends with the youngest. Comparing goes on, and fetching does not.
    let times = async |node: &TestNode| -> Vec<u64> {
        let request = rpc::ListRequest { page_size: 1000, ..Default::default() };
        node.list_pages(request).await.concat().iter().map(|grain| grain.created_ms).collect()
    };
    let all = times(&one).await;
    wait_for("those of the latest times", async || times(&two).await == all[..share as usize]).await;
    wait_for("fetching to end", async || {
        let fetched = fetch_bytes_sent(&one).await;
        let mut stream =
            two.mesh.clone().sync_now(rpc::SyncNowRequest::default()).await.unwrap().into_inner();
        while within("the end of it", stream.message()).await.unwrap().is_some() {}
        fetch_bytes_sent(&one).await == fetched
    })
    .await;
    let two = two.restart_with(mesh_config(&one.node.mesh_addresses())).await;
    wait_for("the rest", async || two.status().await.grains == 600).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_node_lets_go_what_is_worth_least_and_does_not_fetch_it_again() {
    let one = join(&[]).await;
    one.bulk_put((0..300).map(|n| shared(format!("Fact {n}."))).collect()).await;
    one.wait_indexed().await;
    let mut small = mesh_config(&one.node.mesh_addresses());
    small.storage.hnsw_max_elements = 100;
    small.emergence.retention = "score".into();
    let two = TestNode::fresh_with(small).await;
    let share = two.status().await.max_strangers;
    wait_for("its share to be full", async || two.status().await.strangers >= share).await;
    let ended = async || {
        let fetched = fetch_bytes_sent(&one).await;
        let mut stream =
            two.mesh.clone().sync_now(rpc::SyncNowRequest::default()).await.unwrap().into_inner();
        while within("the end of it", stream.message()).await.unwrap().is_some() {}
        fetch_bytes_sent(&one).await == fetched
    };
    wait_for("fetching to end", ended).await;
    // What is younger than the oldest that it holds is taken still.
    let newest = one.share("The ferry to the island leaves at noon.").await;
    wait_for("the newest", async || ids(&two).await.contains(&newest)).await;
    two.wait_indexed().await;
    two.emergence_of(&newest).await;
    wait_for("fetching to end", ended).await;
    let held = two.status().await;
    assert!(held.strangers <= share && ids(&two).await.contains(&newest), "{held:?}");
}

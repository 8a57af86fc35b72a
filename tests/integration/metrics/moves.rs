//! Real nodes do things, and each figure that an operator needs moves.

use futures::StreamExt;
use synapsenet_proto::rpc;
use synapsenet_proto::rpc::node_service_client::NodeServiceClient;
use synapsenet_proto::rpc::source_service_client::SourceServiceClient;
use tonic::client::Grpc;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};
use tonic_prost::ProstCodec;

use super::{Page, scrape};
use crate::integration::harness::{TestNode, config, join, note, wait_for, within};

/// Calls a path that the schema may not have.
async fn call(channel: Channel, path: String) -> Result<(), Status> {
    let mut grpc = Grpc::new(channel);
    grpc.ready().await.unwrap();
    let codec = ProstCodec::<rpc::StatusRequest, rpc::StatusResponse>::default();
    grpc.unary(Request::new(rpc::StatusRequest {}), path.parse().unwrap(), codec).await.map(drop)
}

/// A node with a TCP address, and a channel to that.
async fn over_tcp() -> (TestNode, Channel) {
    let mut config = config();
    config.api.listen = "127.0.0.1:0".into();
    let node = TestNode::fresh_with(config).await;
    let address = node.node.api_addresses()[1].clone();
    let channel = within("a connection", Endpoint::from_shared(address).unwrap().connect()).await.unwrap();
    (node, channel)
}

async fn page_of(node: &TestNode) -> Page {
    scrape(node.node.metrics_address().unwrap()).await
}

fn calls(method: &str, code: &str) -> String {
    format!("syn_api_calls_total{{method=\"{method}\",code=\"{code}\"}}")
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_are_counted_by_method_and_by_how_they_ended() {
    let (node, stranger) = over_tcp().await;
    node.put("The first one.").await;
    node.try_put(note("")).await.unwrap_err();
    node.wait_indexed().await;
    node.search("one").await;
    let before = page_of(&node).await;
    for _ in 0..7 {
        let refused = NodeServiceClient::new(stranger.clone()).status(rpc::StatusRequest {}).await;
        assert_eq!(refused.unwrap_err().code(), Code::Unauthenticated);
    }
    // Who hangs up before the answer ends.
    let (sender, requests) = tokio::sync::mpsc::channel::<rpc::BulkPutRequest>(1);
    let open =
        node.rpc.clone().bulk_put(tokio_stream::wrappers::ReceiverStream::new(requests)).await.unwrap();
    drop((open, sender));
    wait_for("the call that was given up", async || {
        page_of(&node).await.sum("syn_api_calls_total{method=\"NodeService/BulkPut\"", "") >= 1.0
    })
    .await;

    let page = page_of(&node).await;
    assert_eq!(page.value(&calls("NodeService/Put", "ok")), 1.0);
    assert_eq!(page.value(&calls("NodeService/Put", "invalid_argument")), 1.0);
    assert_eq!(page.value(&calls("NodeService/Search", "ok")), 1.0);
    assert_eq!(before.value(&calls("NodeService/Status", "unauthenticated")), 0.0, "it begins at nothing");
    assert_eq!(page.value(&calls("NodeService/Status", "unauthenticated")), 7.0);
    assert_eq!(page.value("syn_api_call_seconds_count{method=\"NodeService/Put\"}"), 2.0);
    assert!(page.value("syn_api_call_seconds_sum{method=\"NodeService/Search\"}") > 0.0);
    // They would make the times of those who are let in look short.
    assert_eq!(page.sum("syn_api_call_seconds_count{method=\"NodeService/Status\"", ""), 0.0);
    assert_eq!(page.value("syn_client_connections{door=\"tcp\"}"), 1.0);
    assert!(page.value("syn_client_connections{door=\"socket\"}") >= 1.0);
    assert_eq!(page.value("syn_searches_total{mode=\"meaning\",outcome=\"found\"}"), 1.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_over_the_limit_are_counted_with_their_method() {
    let mut config = config();
    config.api.max_calls = 1;
    let node = TestNode::fresh_with(config).await;
    let (_sender, requests) = tokio::sync::mpsc::channel::<rpc::BulkPutRequest>(1);
    let _open =
        node.rpc.clone().bulk_put(tokio_stream::wrappers::ReceiverStream::new(requests)).await.unwrap();
    for _ in 0..3 {
        assert_eq!(node.try_put(note("One too many.")).await.unwrap_err().code(), Code::ResourceExhausted);
    }
    let page = page_of(&node).await;
    assert_eq!(page.value(&calls("NodeService/Put", "resource_exhausted")), 3.0);
    assert_eq!(page.value("syn_calls_refused_total"), 3.0);
}

/// Strangers can ask for what they like: a series for each name would cost memory in proportion to what they send.
#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_methods_that_nobody_has_make_one_series() {
    let (node, stranger) = over_tcp().await;
    let series =
        |page: &Page| page.body.lines().filter(|line| line.starts_with("syn_api_calls_total{")).count();
    wait_for("the API", async || series(&page_of(&node).await) > 0).await;
    let before = page_of(&node).await;
    let ask = |number: usize| {
        // Half of them over the socket, whose callers may do everything.
        let channel = if number.is_multiple_of(2) { stranger.clone() } else { node.channel.clone() };
        let path = match number % 3 {
            0 => format!("/synapsenet.v1.NodeService/Method{number}"),
            1 => format!("/some.Service{number}/Method"),
            _ => format!("/{number}"),
        };
        call(channel, path)
    };
    let refused = futures::stream::iter((0..10_000).map(ask)).buffer_unordered(64);
    let refused =
        within("the answers", refused.filter(|answer| std::future::ready(answer.is_err())).count()).await;
    assert_eq!(refused, 10_000);
    let page = page_of(&node).await;
    assert_eq!(page.sum("syn_api_calls_total{method=\"unknown\"", ""), 10_000.0);
    assert_eq!(series(&page), series(&before));
    assert!(!page.body.contains("Method1") && !page.body.contains("Service1"), "no name of theirs is shown");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_held_and_what_may_be_held_is_told() {
    let mut config = config();
    config.storage.hnsw_max_elements = 1000;
    config.storage.quota_bytes = 1 << 20;
    let node = TestNode::fresh_with(config).await;
    let page = page_of(&node).await;
    assert_eq!((page.value("syn_held_notes"), page.value("syn_capacity_notes")), (0.0, 1000.0));
    assert_eq!(
        (page.value("syn_stranger_capacity_grains"), page.value("syn_quota_bytes")),
        (750.0, f64::from(1 << 20))
    );
    let first = node.put("The first one.").await;
    node.put("The second one.").await;
    // The model cannot read it, so it is found by its words and stays pending.
    node.put("วาล์วน้ำหลักอยู่หลังเครื่องซักผ้าในห้องใต้ดิน").await;
    node.try_retract(&first).await.unwrap();
    node.wait_indexed().await;
    wait_for("the note that is not readable", async || {
        page_of(&node).await.value("syn_unreadable_grains") == 1.0
    })
    .await;
    let page = page_of(&node).await;
    assert_eq!(page.value("syn_held_notes"), 2.0);
    assert_eq!(page.value("syn_held_retractions"), 1.0);
    assert_eq!(page.value("syn_held_grains{whose=\"own\"}"), 3.0);
    assert_eq!(page.sum("syn_held_grains{", "whose=\"stranger\""), 0.0);
    assert_eq!((page.value("syn_pending_grains"), page.value("syn_searchable_grains")), (1.0, 1.0));
    assert_eq!(page.value("syn_oldest_pending_age_seconds"), 0.0, "what cannot be read waits for nothing");
    assert!(page.value("syn_disk_free_bytes") > 0.0);
    assert!(page.value("syn_disk_size_bytes") >= page.value("syn_disk_free_bytes"));
    assert!(page.value("syn_index_memory_bytes") > 0.0 && page.value("syn_index_unsaved_changes") > 0.0);
    assert!(page.value("syn_measurements_total{part=\"store\",outcome=\"done\"}") >= 2.0);
    assert_eq!(page.sum("syn_measurements_total{", "late"), 0.0);

    // The index is saved when the node stops.
    let page = page_of(&node.restart().await).await;
    assert_eq!(page.value("syn_index_unsaved_changes"), 0.0);
    assert!(page.value("syn_index_snapshot_age_seconds") < 600.0);
    assert_eq!(page.value("syn_held_notes"), 2.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_process_is_told_under_the_names_that_all_programs_have() {
    let node = TestNode::fresh().await;
    let page = page_of(&node).await;
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
    let started = page.value("process_start_time_seconds");
    assert!(started <= now && started > now - 3600.0);
    assert!(page.value("process_cpu_seconds_total") > 0.0);
    assert!(
        page.value("process_open_fds") > 5.0
            && page.value("process_open_fds") < page.value("process_max_fds")
    );
    assert!(page.value("process_virtual_memory_bytes") > page.value("process_resident_memory_bytes"));
    assert_eq!(page.sum("syn_build_info{", concat!("version=\"", env!("CARGO_PKG_VERSION"), "\"")), 1.0);
    assert_eq!(page_of(&node).await.value("process_start_time_seconds"), started, "it does not move");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_to_be_embedded_is_told_with_how_long_it_waits() {
    let node = TestNode::fresh().await;
    let mut number = 0;
    // One thread computes: it cannot keep up with this for long.
    wait_for("something that waits", async || {
        let items = (0..64).map(|n| rpc::BulkPutRequest {
            item: Some(rpc::bulk_put_request::Item::Draft(note(format!(
                "Number {n} of {number}. {}",
                "and so on ".repeat(200)
            )))),
            share: false,
            ..Default::default()
        });
        node.bulk_put(items.collect()).await;
        number += 1;
        let page = page_of(&node).await;
        page.value("syn_pending_grains") > 0.0 && page.value("syn_oldest_pending_age_seconds") > 0.0
    })
    .await;
    // The rest is of no interest.
    within("the end of a node", node.stop()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn peers_topics_and_bans_are_told() {
    let one = join(&[]).await;
    let two = join(&one.node.mesh_addresses()).await;
    one.share("Clean the heat pump's filter every three months.").await;
    wait_for("the grain of a stranger", async || {
        page_of(&two).await.value("syn_held_grains{whose=\"stranger\"}") == 1.0
    })
    .await;
    let inbound = |page: &Page| page.value("syn_connected_peers{direction=\"inbound\",transport=\"tcp\"}");
    let outbound = |page: &Page| page.value("syn_connected_peers{direction=\"outbound\",transport=\"tcp\"}");
    let (page, other) = (page_of(&one).await, page_of(&two).await);
    assert_eq!((inbound(&page), outbound(&page)), (1.0, 0.0));
    assert_eq!((inbound(&other), outbound(&other)), (0.0, 1.0));
    assert!(other.value("syn_quota_used_bytes") > 0.0);
    assert!(other.value("syn_known_peers") >= 1.0);
    wait_for("both to take part", async || {
        page_of(&two).await.value("syn_topic_peers{topic=\"commons\"}") == 1.0
    })
    .await;
    // The latest is never long ago, as there is one every two seconds; the node has been there for longer.
    wait_for("a synchronisation", async || {
        page_of(&two).await.value("syn_syncs_total{outcome=\"done\"}") >= 2.0
    })
    .await;
    let before = page_of(&two).await;
    wait_for("another one", async || {
        let page = page_of(&two).await;
        page.value("syn_syncs_total{outcome=\"done\"}") > before.value("syn_syncs_total{outcome=\"done\"}")
            && page.value("syn_sync_age_seconds{topic=\"commons\"}") < 60.0
    })
    .await;
    assert!(page_of(&two).await.value("syn_measurements_total{part=\"mesh\",outcome=\"done\"}") > 1.0);

    let request = rpc::BanPeerRequest { peer_id: one.node.peer_id().unwrap(), seconds: None };
    two.mesh.clone().ban_peer(request).await.unwrap();
    wait_for("the ban", async || page_of(&two).await.value("syn_banned_peers") == 1.0).await;
    let page = page_of(&two).await;
    assert_eq!(page.value("syn_bans_total{reason=\"by_hand\"}"), 1.0);
    assert_eq!(page.sum("syn_bans_total{", ""), 1.0);
    wait_for("the peer to be gone", async || outbound(&page_of(&two).await) == 0.0).await;
    assert_eq!(page_of(&two).await.value("syn_topic_peers{topic=\"commons\"}"), 0.0);
    two.mesh
        .clone()
        .unban_peer(rpc::UnbanPeerRequest { peer_id: one.node.peer_id().unwrap() })
        .await
        .unwrap();
    assert_eq!(page_of(&two).await.value("syn_banned_peers"), 0.0);

    // A topic that is left has no series any more.
    let topic = "syn_sync_age_seconds{topic=\"recipes\"}";
    two.mesh.clone().join_topic(rpc::JoinTopicRequest { topic: "recipes".into() }).await.unwrap();
    wait_for("the topic", async || page_of(&two).await.body.contains(topic)).await;
    two.mesh.clone().leave_topic(rpc::LeaveTopicRequest { topic: "recipes".into() }).await.unwrap();
    wait_for("the topic to be gone", async || !page_of(&two).await.body.contains(topic)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn looks_at_remembered_folders_are_told() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["one.md", "two.md"] {
        std::fs::write(dir.path().join(name), format!("# {name}\n\nWhat the file {name} says.\n")).unwrap();
    }
    let node = TestNode::fresh().await;
    let folder = dir.path().canonicalize().unwrap().to_str().unwrap().to_owned();
    let source = rpc::RememberedSource { folder: folder.clone(), ..Default::default() };
    let client = SourceServiceClient::new(node.channel.clone());
    client.clone().add_source(rpc::AddSourceRequest { source: Some(source) }).await.unwrap();
    let look = async |dry_run| {
        let request = rpc::SyncSourceRequest { folder: folder.clone(), dry_run, withdraw: false };
        let mut told = client.clone().sync_source(request).await.unwrap().into_inner();
        while told.message().await.unwrap().is_some() {}
        page_of(&node).await
    };
    let page = look(true).await;
    assert_eq!(page.sum("syn_source_files_total{", ""), 0.0, "what would be done is not done");
    let page = look(false).await;
    assert_eq!(page.value("syn_source_files_total{outcome=\"added\"}"), 2.0);
    assert_eq!(page.value("syn_source_passes_total{outcome=\"sound\"}"), 1.0);
    assert_eq!(page.value("syn_sources{state=\"sound\"}"), 1.0);
    client
        .clone()
        .pause_source(rpc::PauseSourceRequest { folder: folder.clone(), paused: true })
        .await
        .unwrap();
    let page = page_of(&node).await;
    assert_eq!(
        (page.value("syn_sources{state=\"sound\"}"), page.value("syn_sources{state=\"paused\"}")),
        (0.0, 1.0)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn searches_are_told_by_mode_and_by_how_they_turned_out() {
    let node = TestNode::fresh().await;
    node.put("The main valve is behind the washing machine.").await;
    node.wait_indexed().await;
    let search = |text: &str, mode: rpc::SearchMode| rpc::SearchRequest {
        text: text.into(),
        mode: mode.into(),
        ..Default::default()
    };
    node.try_search(search("valve", rpc::SearchMode::Words)).await.unwrap();
    node.try_search(search("zebra", rpc::SearchMode::Words)).await.unwrap();
    node.try_search(search("where is the valve", rpc::SearchMode::Meaning)).await.unwrap();
    node.try_search(search("", rpc::SearchMode::Hybrid)).await.unwrap_err();
    let searches =
        vec![search("valve", rpc::SearchMode::Hybrid), search("washing machine", rpc::SearchMode::Hybrid)];
    let mut many =
        node.rpc.clone().search_many(rpc::SearchManyRequest { searches }).await.unwrap().into_inner();
    while many.message().await.unwrap().is_some() {}
    let page = page_of(&node).await;
    for (mode, outcome, count) in [
        ("words", "found", 1.0),
        ("words", "nothing", 1.0),
        ("meaning", "found", 1.0),
        ("hybrid", "refused", 1.0),
        ("hybrid", "found", 2.0),
        ("hybrid", "failed", 0.0),
    ] {
        let name = format!("syn_searches_total{{mode=\"{mode}\",outcome=\"{outcome}\"}}");
        assert_eq!(page.value(&name), count, "{mode} {outcome}");
    }
}

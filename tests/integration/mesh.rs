//! Grains spread, and questions reach others: whole nodes on loopback.

use std::collections::BTreeSet;

use synapsenet::Settings;
use synapsenet_net::{Config, Metrics, Net, Saved};
use synapsenet_proto::{Identity, rpc};

use super::harness::{
    TestNode, folder, ids, join, mesh_config, nearest, private_folder, shared, wait_for, within,
};
use super::metrics::scrape;

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
        mesh: true,
        mesh_wait_ms: 10_000,
        ..nearest("when to clean the filter of the heat pump")
    };
    let found = two.try_search(request).await.unwrap();
    assert_eq!(found.ids(), [known.as_str()], "{:?}", found.summary);
    assert_eq!(found.hits[0].peer_id, one.node.peer_id().unwrap());
    assert!(found.hits[0].score > 0.5);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_known_here_and_what_a_peer_knows_is_one_ranking() {
    let one = join(&[]).await;
    let best = one.share("Clean the filter of the heat pump every three months.").await;
    let last = one.share("The cat sleeps on the warm windowsill.").await;
    one.wait_indexed().await;
    let mut config = mesh_config(&one.node.mesh_addresses());
    config.network.topics = vec!["elsewhere".into()];
    let two = TestNode::fresh_with(config).await;
    let between = two.put("The heat pump stands behind the house.").await;
    two.wait_indexed().await;
    wait_for("the peer", async || two.peers().await.len() == 1).await;
    let ask = async |k| {
        let text = nearest("when to clean the filter of the heat pump");
        let request = rpc::SearchRequest { k, mesh: true, mesh_wait_ms: 10_000, ..text };
        two.try_search(request).await.unwrap()
    };
    let found = ask(10).await;
    assert_eq!(found.ids(), [best.as_str(), between.as_str(), last.as_str()], "{:?}", found.summary);
    assert!(found.hits.is_sorted_by(|a, b| a.score >= b.score));
    let peer = one.node.peer_id().unwrap();
    let from: Vec<&str> = found.hits.iter().map(|hit| hit.peer_id.as_str()).collect();
    assert_eq!(from, [peer.as_str(), "", peer.as_str()]);
    let found = ask(2).await;
    assert_eq!((found.ids(), found.summary.hits), (vec![best.as_str(), between.as_str()], 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_share_that_is_refused_joins_no_topic() {
    let node = join(&[]).await;
    let draft = rpc::Draft { text: "A recipe.".into(), topic: "recipes".into(), ..Default::default() };
    let id = node.put_draft(draft).await;
    let request = rpc::GetRequest { id: id.clone(), with_signed: true, ..Default::default() };
    let signed = node.rpc.clone().get(request).await.unwrap().into_inner().grain.unwrap().signed;
    node.try_retract(&id).await.unwrap();
    let item = Some(rpc::bulk_put_request::Item::Grain(signed));
    let answers = node.bulk_put(vec![rpc::BulkPutRequest { item, share: true, ..Default::default() }]).await;
    assert_eq!(answers[0].outcome(), rpc::PutOutcome::Refused, "{}", answers[0].reason);
    let topics = async || node.status().await.mesh.unwrap().topics;
    assert_eq!(topics().await, ["commons"]);
    let draft = rpc::Draft { text: "Another recipe.".into(), topic: "recipes".into(), ..Default::default() };
    let item = Some(rpc::bulk_put_request::Item::Draft(draft));
    node.bulk_put(vec![rpc::BulkPutRequest { item, share: true, ..Default::default() }]).await;
    assert_eq!(topics().await, ["commons", "recipes"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_stops_in_order_while_it_synchronises() {
    let one = join(&[]).await;
    one.bulk_put((0..2000).map(|n| shared(format!("Number {n}."))).collect()).await;
    let two = join(&one.node.mesh_addresses()).await;
    wait_for("the first grains", async || two.status().await.grains > 0).await;
    within("the end of a node", two.stop()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_metrics_of_the_mesh_count_what_they_name() {
    // Without a timer: a grain that was fetched before its author's model read it has no claim.
    let patient = |peers: &[String]| {
        let mut config = mesh_config(peers);
        config.network.sync_seconds = 3600;
        config
    };
    let one = TestNode::fresh_with(patient(&[])).await;
    let two = TestNode::fresh_with(patient(&one.node.mesh_addresses())).await;
    let two_syncs = async || scrape(two.node.metrics_address().unwrap()).await;
    wait_for("the two to meet and compare", async || {
        two_syncs().await.sum("syn_syncs_total{", "done") >= 1.0
    })
    .await;
    one.bulk_put((0..20).map(|n| shared(format!("Fact {n}."))).collect()).await;
    wait_for("all to be searchable elsewhere", async || two.status().await.searchable == 20).await;
    let request = rpc::SearchRequest { text: "facts".into(), mesh: true, ..Default::default() };
    let found = two.try_search(request).await.unwrap();
    assert_eq!(found.summary.peers.len(), 1);
    let (sent, received) = (one.node.metrics_address().unwrap(), two.node.metrics_address().unwrap());
    let page = scrape(sent).await;
    assert_eq!(page.value("syn_peers"), 1.0);
    assert_eq!(page.value("syn_announced_grains_total"), 20.0);
    // Bytes are written to the page once a second.
    let gossip = "syn_network_bytes_total{protocol=\"gossip\",direction=\"sent\"}";
    wait_for("the bytes", async || scrape(sent).await.value(gossip) > 0.0).await;
    let page = scrape(received).await;
    assert_eq!(page.value("syn_grains_received_total{via=\"gossip\",outcome=\"added\"}"), 20.0);
    let claims = |outcome: &str| page.sum("syn_claims_total{", &format!("outcome=\"{outcome}\""));
    assert_eq!(claims("believed"), 20.0, "each came with a claim");
    wait_for("all to be checked", async || {
        let page = scrape(received).await;
        page.sum("syn_claims_total{", "outcome=\"checked\"") >= 20.0
            && page.value("syn_unchecked_grains") == 0.0
    })
    .await;
    assert_eq!(claims("false"), 0.0);
    assert!(page.sum("syn_sync_bytes_total{", "") > 0.0);
    assert_eq!(page.value("syn_mesh_queries_total{outcome=\"answered\"}"), 1.0);
    assert_eq!(page.sum("syn_offences_total{", ""), 0.0);
}

/// Must be shown 5: never more than `max_peers`, whoever comes.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_with_eight_seats_never_has_more_than_eight_peers() {
    const COMING: u8 = 30;
    let mut config = mesh_config(&[]);
    config.network.max_peers = 8;
    config.network.max_per_address = 100;
    let one = TestNode::fresh_with(config).await;
    let address = one.node.mesh_addresses()[0].parse::<synapsenet_net::Multiaddr>().unwrap();
    let mut nets = Vec::new();
    for n in 0..COMING {
        let config = Config {
            listen: vec!["/ip4/127.0.0.1/tcp/0".parse().unwrap()],
            bootstrap: vec![address.clone()],
            max_per_address: 100,
            ..Config::default()
        };
        let metrics = Metrics::default();
        let identity = Identity::from_seed(&[n + 1; 32]);
        nets.push(Net::start(config, &identity, Saved::default(), metrics).await.unwrap());
    }
    let mut most = 0;
    // One seat is for newcomers that take the place of another group's peer, and here all are of one.
    wait_for("the seats to be taken and everybody to have found somebody", async || {
        let peers = one.peers().await.len();
        assert!(peers <= 8, "{peers} peers");
        most = most.max(peers);
        let mut lonely = 0;
        for (net, ..) in &nets {
            let others = net.peers().await.unwrap();
            lonely +=
                usize::from(others.iter().all(|peer| Some(peer.peer.to_string()) == one.node.peer_id()));
        }
        most >= 7 && lonely == 0
    })
    .await;
    for (net, ..) in &nets {
        net.stop().await;
    }
}

/// The configuration is read anew: what was closed for it is closed in order, and what is raised again fills again.
#[tokio::test(flavor = "multi_thread")]
async fn fewer_seats_hold_at_once_and_who_is_reserved_keeps_its_own() {
    let friend = join(&[]).await;
    let mut config = mesh_config(&[]);
    config.network.reserved = friend.node.mesh_addresses();
    let mut one = TestNode::fresh_with(config.clone()).await;
    let mut others = Vec::new();
    for _ in 0..4 {
        others.push(join(&one.node.mesh_addresses()).await);
    }
    wait_for("all to be there", async || one.peers().await.len() == 5).await;

    config.network.max_peers = 2;
    config.network.max_upload = 1 << 20;
    config.storage.hnsw_ef_search = 97;
    let reloaded = one.node.reload(Settings::from(config.clone())).await.unwrap();
    let changed: Vec<&str> = reloaded.changed.iter().map(|changed| changed.key.as_str()).collect();
    assert_eq!(changed, ["network.max_peers", "network.max_upload"]);
    assert_eq!(reloaded.waiting, ["storage.hnsw_ef_search"]);
    wait_for("the others to be gone", async || one.peers().await.len() <= 2).await;
    let friend_id = friend.node.peer_id().unwrap();
    assert!(one.peers().await.iter().any(|peer| peer.peer_id == friend_id), "the reserved one is here");
    let status = one.status().await.mesh.unwrap();
    assert_eq!(status.max_peers, 2);
    // Those who were sent away come again and again, and find no seat.
    let page = one.node.metrics_address().unwrap();
    let refused = async || scrape(page).await.value("syn_refused_connections_total");
    wait_for("them to be refused", async || refused().await >= 2.0 && one.peers().await.len() <= 2).await;

    config.network.max_peers = 50;
    one.node.reload(Settings::from(config)).await.unwrap();
    wait_for("all to be there again", async || one.peers().await.len() == 5).await;
}

/// Names of topics spread by Kademlia: who takes part in a rare one finds the others without being told where they are.
#[tokio::test(flavor = "multi_thread")]
async fn those_of_a_rare_topic_find_each_other_through_others() {
    let hub = join(&[]).await;
    let with_topic = |topic: &str| {
        let mut config = mesh_config(&hub.node.mesh_addresses());
        config.network.topics = vec![topic.into()];
        config
    };
    let one = TestNode::fresh_with(with_topic("rare")).await;
    let _others =
        [TestNode::fresh_with(with_topic("other")).await, TestNode::fresh_with(with_topic("third")).await];
    let two = TestNode::fresh_with(with_topic("rare")).await;
    let mut draft = super::harness::note("Found through Kademlia.");
    draft.topic = "rare".into();
    let request = rpc::PutRequest { draft: Some(draft), share: true, ..Default::default() };
    let id = one.rpc.clone().put(request).await.unwrap().into_inner().id;
    wait_for("the grain to arrive", async || two.try_get(&id).await.is_ok()).await;
    assert_eq!(ids(&hub).await, BTreeSet::new(), "who takes no part in it gets nothing of it");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ban_holds_after_a_restart_of_the_node_and_can_be_lifted() {
    let one = join(&[]).await;
    let two = join(&one.node.mesh_addresses()).await;
    wait_for("the two to meet", async || two.peers().await.len() == 1).await;
    let peer_id = one.node.peer_id().unwrap();
    let ban = rpc::BanPeerRequest { peer_id: peer_id.clone(), seconds: None };
    two.mesh.clone().ban_peer(ban).await.unwrap();
    wait_for("the peer to go", async || two.peers().await.is_empty()).await;
    let two = two.restart_with(mesh_config(&one.node.mesh_addresses())).await;
    let request = rpc::ListPeersRequest { with_known: false, with_banned: true };
    let banned = two.mesh.clone().list_peers(request).await.unwrap().into_inner().banned;
    assert_eq!(banned.iter().map(|ban| &ban.peer_id).collect::<Vec<_>>(), [&peer_id]);
    let address = one.node.mesh_addresses().remove(0);
    let add = rpc::AddPeerRequest { address };
    let refused = within("a refusal", two.mesh.clone().add_peer(add.clone())).await.unwrap_err();
    assert!(refused.message().contains("peers unban"), "{refused}");
    two.mesh.clone().unban_peer(rpc::UnbanPeerRequest { peer_id: peer_id.clone() }).await.unwrap();
    let added = within("a connection", two.mesh.clone().add_peer(add)).await.unwrap().into_inner();
    assert_eq!(added.peer_id, peer_id);
    assert_eq!(two.peers().await.len(), 1);
}

/// What an author vouches for need not be embedded again once the author was found honest.
#[tokio::test(flavor = "multi_thread")]
async fn claims_spare_others_the_work_of_the_model() {
    let one = join(&[]).await;
    one.bulk_put((0..400).map(|n| shared(format!("Fact {n}."))).collect()).await;
    one.wait_indexed().await;
    let two = join(&one.node.mesh_addresses()).await;
    wait_for("all to be searchable", async || two.status().await.searchable == 400).await;
    let page = scrape(two.node.metrics_address().unwrap()).await;
    let believed = page.value("syn_claims_total{outcome=\"believed\"}");
    assert!(believed > 300.0, "{believed} of 400 claims were believed");
    assert_eq!(two.search("fact 17").await.hits.len(), 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_takes_part_in_no_more_topics_than_peers_listen_to() {
    let one = join(&[]).await;
    let put = |n: usize| {
        let draft = rpc::Draft { topic: format!("topic-{n}"), ..super::harness::note(format!("About {n}.")) };
        rpc::BulkPutRequest {
            item: Some(rpc::bulk_put_request::Item::Draft(draft)),
            share: true,
            ..Default::default()
        }
    };
    let results = one.bulk_put((0..300).map(put).collect()).await;
    let refused: Vec<_> = results.iter().filter(|result| !result.reason.is_empty()).collect();
    // The default topic is one of the 256.
    assert_eq!(refused.len(), 300 - 255);
    assert!(refused[0].reason.contains("topics leave"), "{}", refused[0].reason);
    assert_eq!(one.status().await.mesh.unwrap().topics.len(), 256);
    let one = one.restart_with(mesh_config(&[])).await;
    assert_eq!(one.status().await.mesh.unwrap().topics.len(), 256, "they are kept");
}

/// Somebody copied a data folder to another machine and runs both. They never meet, but others take what one of them seals to
/// the other. (One node alone between them takes the two for one peer, and tells only the first what it takes part in.)
#[tokio::test(flavor = "multi_thread")]
async fn a_copied_data_folder_is_noticed_on_both_machines() {
    let near = join(&[]).await;
    let far = join(&near.node.mesh_addresses()).await;
    let config = |node: &TestNode| mesh_config(&node.node.mesh_addresses());
    let (first, second) = (folder(), folder());
    let one = TestNode::on(&first.path().join("data"), config(&near)).await;
    private_folder(&second.path().join("data"));
    // With its permissions.
    std::fs::copy(one.dir().join("identity.seed"), second.path().join("data/identity.seed")).unwrap();
    let two = TestNode::on(&second.path().join("data"), config(&far)).await;
    assert_eq!((one.node.author(), one.node.peer_id()), (two.node.author(), two.node.peer_id()));
    let warnings = async |node: &TestNode| node.status().await.mesh.unwrap().warnings;
    assert!(warnings(&one).await.is_empty() && warnings(&two).await.is_empty());

    for (node, text) in [(&one, "Said by the first."), (&two, "Said by its copy.")] {
        node.share(text).await;
    }
    for node in [&one, &two] {
        wait_for("the owner to be told", async || {
            let warnings = warnings(node).await;
            warnings.iter().any(|warning| warning.reason() == rpc::MeshWarningReason::Twin)
        })
        .await;
    }
    let told = warnings(&one).await;
    assert!(told[0].text.contains("a copy of its data folder"), "{told:?}");
    assert!(warnings(&near).await.is_empty() && warnings(&far).await.is_empty());
}

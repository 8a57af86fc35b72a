//! What the holder of a token may do, see and change, and for how long: each way round it is tried.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use futures::StreamExt;
use prost::Message;
use serde_json::Value;
use synapsenet_proto::rpc;
use synapsenet_proto::rpc::access_service_client::AccessServiceClient;
use synapsenet_proto::rpc::mesh_service_client::MeshServiceClient;
use synapsenet_proto::rpc::node_service_client::NodeServiceClient;
use synapsenet_proto::rpc::source_service_client::SourceServiceClient;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tonic_types::StatusExt;

use super::harness::{Client, TestNode, config, folder, mesh_config, note, synapsenet, wait_for, within};
use super::schema::{WATCH, call_raw_by, methods};

/// The calls that only look, and those that also write; all others administer.
const READS: [&str; 21] = [
    "NodeService/GetDocument",
    "NodeService/ListDocuments",
    "NodeService/Embed",
    "NodeService/WaitIndexed",
    "NodeService/Get",
    "NodeService/List",
    "NodeService/Search",
    "NodeService/SearchMany",
    "NodeService/Count",
    "NodeService/ListAuthors",
    "NodeService/ExplainEmergence",
    "NodeService/TopEmergence",
    "NodeService/EmergenceAuthors",
    "NodeService/Digest",
    "NodeService/Status",
    "MeshService/ListPeers",
    "MeshService/ListTopics",
    "MeshService/GetNetStatus",
    "ModelService/ListModels",
    "ModelService/GetModel",
    "SourceService/ListSources",
];
const WRITES: [&str; 11] = [
    "NodeService/Update",
    "NodeService/DeleteDocument",
    "NodeService/Put",
    "NodeService/BulkPut",
    "NodeService/AddDocument",
    "NodeService/AddLargeDocument",
    "NodeService/Share",
    "NodeService/Pin",
    "NodeService/Retract",
    "NodeService/RetractMatching",
    "NodeService/ShareMatching",
];
/// What nobody may over TCP.
const OF_THE_SOCKET: [&str; 4] =
    ["SourceService/AddSource", "AccessService/CreateToken", "NodeService/Backup", "ModelService/AddModel"];

/// Sends a token with each call.
#[derive(Clone)]
struct Bearer(MetadataValue<Ascii>);

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request.metadata_mut().insert("authorization", self.0.clone());
        Ok(request)
    }
}

type Guest = InterceptedService<Channel, Bearer>;

async fn node() -> TestNode {
    let mut config = config();
    config.api.listen = "127.0.0.1:0".into();
    TestNode::fresh_with(config).await
}

async fn channel(node: &TestNode) -> Channel {
    let endpoint = Endpoint::from_shared(node.node.api_addresses()[1].clone()).unwrap();
    within("a connection", endpoint.connect()).await.unwrap()
}

async fn try_create(
    node: &TestNode,
    name: &str,
    scope: rpc::TokenScope,
    topics: &[&str],
    expires_seconds: u64,
) -> Result<String, Status> {
    let topics = topics.iter().map(|&topic| topic.to_owned()).collect();
    let request = rpc::CreateTokenRequest { name: name.into(), scope: scope.into(), topics, expires_seconds };
    let mut access = AccessServiceClient::new(node.channel.clone());
    Ok(within("a token", access.create_token(request)).await?.into_inner().secret)
}

/// A new token of these topics.
async fn create(node: &TestNode, name: &str, scope: rpc::TokenScope, topics: &[&str]) -> String {
    try_create(node, name, scope, topics, 0).await.unwrap()
}

async fn revoke(node: &TestNode, name: &str) {
    let mut access = AccessServiceClient::new(node.channel.clone());
    within("the end of a token", access.revoke_token(rpc::RevokeTokenRequest { name: name.into() }))
        .await
        .unwrap();
}

async fn guest(node: &TestNode, secret: &str) -> NodeServiceClient<Guest> {
    let bearer = Bearer(format!("Bearer {secret}").parse().unwrap());
    NodeServiceClient::with_interceptor(channel(node).await, bearer)
}

fn reason(status: &Status) -> String {
    status.get_details_error_info().map(|info| info.reason).unwrap_or_default()
}

#[track_caller]
fn assert_reason<T: std::fmt::Debug>(result: Result<T, Status>, wanted: &str) {
    let status = result.expect_err("it is refused");
    assert_eq!(reason(&status), wanted, "{status:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_scope_opens_its_calls_and_no_others() {
    let node = node().await;
    let channel = channel(&node).await;
    for (scope, name) in
        [(rpc::TokenScope::Read, "r"), (rpc::TokenScope::Write, "w"), (rpc::TokenScope::Admin, "a")]
    {
        let secret = format!("Bearer {}", create(&node, name, scope, &[]).await);
        for method in methods() {
            if method == WATCH || (method == "NodeService/Compact" && name == "a") {
                continue;
            }
            let needed = match method.as_str() {
                method if READS.contains(&method) => rpc::TokenScope::Read,
                method if WRITES.contains(&method) => rpc::TokenScope::Write,
                _ => rpc::TokenScope::Admin,
            };
            let answer = call_raw_by(channel.clone(), &[&secret], &method, b"").await;
            let refusal = answer.as_ref().err().map(reason).unwrap_or_default();
            if OF_THE_SOCKET.contains(&method.as_str()) {
                assert_eq!(refusal, "SOCKET_NEEDED", "{method} {name}");
            } else if (scope as i32) < needed as i32 {
                assert_eq!(refusal, "SCOPE_NEEDED", "{method} {name}");
                let status = answer.unwrap_err();
                assert_eq!(status.code(), Code::PermissionDenied);
                let scope = needed.as_str_name().trim_start_matches("TOKEN_SCOPE_").to_lowercase();
                assert!(status.message().contains(&scope), "{status:?}");
            } else {
                assert!(!["SCOPE_NEEDED", "SOCKET_NEEDED"].contains(&refusal.as_str()), "{method} {name}");
                let is_known = answer.as_ref().err().map(Status::code) != Some(Code::Unauthenticated);
                assert!(is_known, "{method} {name}: {answer:?}");
            }
        }
    }
    assert_eq!(node.status().await.grains, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_opens_by_tricks_with_headers_and_paths() {
    let node = node().await;
    let channel = channel(&node).await;
    let read = format!("Bearer {}", create(&node, "read", rpc::TokenScope::Read, &[]).await);
    let root = std::fs::read_to_string(node.dir().join("api.token")).unwrap();
    let root = format!("Bearer {root}");
    let put = rpc::PutRequest { draft: Some(note("By a trick.")), share: false, ..Default::default() }
        .encode_to_vec();
    // Two authorizations are none, whichever comes first; nor are both in one.
    for both in [[&*read, &*root], [&*root, &*read]] {
        let refused = call_raw_by(channel.clone(), &both, "NodeService/Put", &put).await;
        assert_reason(refused, "TOKEN_UNKNOWN");
    }
    let joined = format!("{read}, {root}");
    assert_reason(call_raw_by(channel.clone(), &[&joined], "NodeService/Put", &put).await, "TOKEN_UNKNOWN");
    // A path that is nearly that of a call is no call.
    for path in [
        "NodeService/Put/",
        "NodeService//Put",
        "NodeService/%50ut",
        "NodeService/put",
        "NodeService/Status/../Put",
        "NodeService/Put?Status",
        "NodeService/Status?/synapsenet.v1.NodeService/Put",
    ] {
        let answer = call_raw_by(channel.clone(), &[&read], path, &put).await;
        assert!(path.contains("Status?") || answer.is_err(), "{path}: {answer:?}");
    }
    // What is too long to be a token is none, and costs the connection nothing.
    for length in [1_000, 12_000] {
        let long = format!("Bearer {}", "a".repeat(length));
        let refused = call_raw_by(channel.clone(), &[&long], "NodeService/Status", b"").await;
        assert_reason(refused, "TOKEN_UNKNOWN");
    }
    let huge = format!("Bearer {}", "a".repeat(1 << 20));
    assert!(call_raw_by(channel.clone(), &[&huge], "NodeService/Status", b"").await.is_err());
    assert_eq!(node.status().await.grains, 0, "nothing was written");
    call_raw_by(self::channel(&node).await, &[&read], "NodeService/Status", b"").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_over_is_told_so_and_what_was_begun_with_it_ends_at_once() {
    let node = node().await;
    let secret = create(&node, "phone", rpc::TokenScope::Write, &[]).await;
    let mut guest = guest(&node, &secret).await;
    let mut events = guest.watch(rpc::WatchRequest::default()).await.unwrap().into_inner();
    let (items, queue) = mpsc::channel(4);
    let mut bulk = guest.bulk_put(ReceiverStream::new(queue)).await.unwrap().into_inner();
    let item = |text: &str| rpc::BulkPutRequest {
        item: Some(rpc::bulk_put_request::Item::Draft(note(text))),
        share: false,
        ..Default::default()
    };
    items.send(item("Before.")).await.unwrap();
    assert_eq!(within("a result", bulk.message()).await.unwrap().unwrap().outcome(), rpc::PutOutcome::Added);
    for what in ["the beginning", "an event"] {
        within(what, events.message()).await.unwrap().unwrap();
    }

    revoke(&node, "phone").await;
    for ended in [
        within("the end of a watch", events.message()).await.map(drop),
        within("the end of a bulk put", bulk.message()).await.map(drop),
        guest.status(rpc::StatusRequest {}).await.map(drop),
    ] {
        Client::assert_refused(ended.clone(), Code::Unauthenticated, "revoked");
        assert_reason(ended, "TOKEN_REVOKED");
    }
    // What is sent after it is not stored.
    let _ = items.send(item("After.")).await;
    drop(items);
    assert_eq!(node.status().await.grains, 1);

    let secret = try_create(&node, "brief", rpc::TokenScope::Read, &[], 2).await.unwrap();
    let mut guest = self::guest(&node, &secret).await;
    if let Ok(events) = guest.watch(rpc::WatchRequest::default()).await {
        let mut events = events.into_inner();
        let mut told = within("the beginning", events.message()).await;
        while told.is_ok() {
            told = within("the end of a watch", events.message()).await;
        }
        assert_reason(told, "TOKEN_EXPIRED");
    }
    assert_reason(guest.status(rpc::StatusRequest {}).await, "TOKEN_EXPIRED");
    let never = format!("{secret}0");
    assert_reason(self::guest(&node, &never).await.status(rpc::StatusRequest {}).await, "TOKEN_UNKNOWN");
}

/// A draft in a topic.
fn draft(topic: &str, text: &str) -> rpc::Draft {
    rpc::Draft { topic: topic.into(), ..note(text) }
}

fn of(topic: &str) -> Option<rpc::Filter> {
    Some(rpc::Filter { topic: topic.into(), ..Default::default() })
}

fn document(topic: &str, uri: &str, text: &str) -> rpc::AddDocumentRequest {
    rpc::AddDocumentRequest {
        topic: topic.into(),
        uri: uri.into(),
        content: text.into(),
        ..Default::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_limited_to_a_topic_sees_nothing_of_others() {
    let mut config = mesh_config(&[]);
    config.api.listen = "127.0.0.1:0".into();
    let node = TestNode::fresh_with(config).await;
    let secret_id = node.put_draft(draft("secret", "The code of the safe is 4711.")).await;
    let open_id = node.put_draft(draft("open", "The kettle is in the kitchen.")).await;
    node.try_add_document(document("secret", "plan.md", "# Plan\n\nWe buy the bakery.")).await.unwrap();
    node.wait_indexed().await;
    let folder = folder();
    let source = rpc::RememberedSource {
        folder: folder.path().canonicalize().unwrap().to_str().unwrap().into(),
        topic: "secret".into(),
        ..Default::default()
    };
    let mut sources = SourceServiceClient::new(node.channel.clone());
    sources.add_source(rpc::AddSourceRequest { source: Some(source) }).await.unwrap();

    let token = create(&node, "one", rpc::TokenScope::Write, &["open"]).await;
    let mut one = guest(&node, &token).await;
    let bearer = Bearer(format!("Bearer {token}").parse().unwrap());

    // By id, by a beginning of it, and by its like: as if it were not there.
    let unknown = "0123456789abcdef".repeat(4);
    let absent = one.get(rpc::GetRequest { id: unknown.clone(), ..Default::default() }).await.unwrap_err();
    for id in [secret_id.as_str(), &secret_id[..8]] {
        let get = one.get(rpc::GetRequest { id: id.into(), context: 5, ..Default::default() }).await;
        let status = get.unwrap_err();
        assert_eq!(status.message(), absent.message().replace(&unknown, id), "no other words");
        let like = rpc::SearchRequest { like: id.into(), ..Default::default() };
        assert_reason(one.search(like).await.map(drop), "GRAIN_NOT_FOUND");
        assert_reason(
            one.retract(rpc::RetractRequest { id: id.into(), ..Default::default() }).await,
            "GRAIN_NOT_FOUND",
        );
        assert_reason(
            one.share(rpc::ShareRequest { id: id.into(), ..Default::default() }).await,
            "GRAIN_NOT_FOUND",
        );
    }
    let got = one.get(rpc::GetRequest { id: open_id.clone(), ..Default::default() }).await.unwrap();
    assert!(got.into_inner().emergence.is_none(), "how new it is tells what else is known");

    // By question: in the own topic when none is named, nowhere else.
    for text in ["the code of the safe", "4711", "kettle bakery"] {
        let request = rpc::SearchRequest { text: text.into(), min_score: Some(-1.0), ..Default::default() };
        let mut found = one.search(request.clone()).await.unwrap().into_inner();
        while let Some(message) = found.message().await.unwrap() {
            match message.item.unwrap() {
                rpc::search_response::Item::Hit(hit) => assert_eq!(hit.grain.unwrap().topic, "open"),
                rpc::search_response::Item::Summary(summary) => {
                    assert_eq!((summary.searched, summary.pending), (1, 0));
                }
            }
        }
        let elsewhere = rpc::SearchRequest { filter: of("secret"), ..request.clone() };
        assert_reason(one.search(elsewhere.clone()).await.map(drop), "TOPIC_FORBIDDEN");
        let many = rpc::SearchManyRequest { searches: vec![request, elsewhere] };
        assert_reason(one.search_many(many).await.map(drop), "TOPIC_FORBIDDEN");
    }

    // By lists and numbers.
    let list = one.list(rpc::ListRequest::default()).await.unwrap().into_inner().grains;
    assert_eq!(list.iter().map(|grain| grain.id.as_str()).collect::<Vec<_>>(), [open_id.as_str()]);
    let count = one.count(rpc::CountRequest { with_retractions: true, ..Default::default() }).await.unwrap();
    assert_eq!(count.into_inner().grains, 1);
    assert_reason(
        one.list(rpc::ListRequest { filter: of("secret"), ..Default::default() }).await,
        "TOPIC_FORBIDDEN",
    );
    assert_reason(
        one.count(rpc::CountRequest { filter: of("secret"), ..Default::default() }).await,
        "TOPIC_FORBIDDEN",
    );
    let status = one.status(rpc::StatusRequest {}).await.unwrap().into_inner();
    assert_eq!((status.grains, status.searchable, status.sources), (1, 1, 0));
    assert_eq!(status.topics.len(), 1);
    assert!(status.api_addresses.iter().all(|address| address.starts_with("http")), "{status:?}");
    assert!(status.data_dir.is_empty() && status.mesh.is_none() && status.storage_bytes == 0);
    let mut mesh = MeshServiceClient::with_interceptor(channel(&node).await, bearer.clone());
    let topics = mesh.list_topics(rpc::ListTopicsRequest {}).await.unwrap().into_inner().topics;
    assert!(topics.iter().all(|topic| topic.topic == "open"), "{topics:?}");
    let mut sources = SourceServiceClient::with_interceptor(channel(&node).await, bearer);
    let listed = sources.list_sources(rpc::ListSourcesRequest::default()).await.unwrap().into_inner();
    assert!(listed.sources.is_empty(), "{listed:?}");
    for method in ["NodeService/ListAuthors", "MeshService/ListPeers", "ModelService/ListModels"] {
        let token = format!("Bearer {token}");
        let refused = call_raw_by(channel(&node).await, &[&token], method, b"").await;
        assert_reason(refused, "TOPIC_FORBIDDEN");
    }

    // By what happens.
    let mut events = one.watch(rpc::WatchRequest::default()).await.unwrap().into_inner();
    let begun = within("the beginning", events.message()).await.unwrap().unwrap();
    node.put_draft(draft("secret", "Nobody hears of this.")).await;
    let heard = node.put_draft(draft("open", "This is heard.")).await;
    let event = within("an event", events.message()).await.unwrap().unwrap().event.unwrap();
    let rpc::watch_response::Event::GrainAdded(added) = event else { panic!("{event:?}") };
    assert_eq!(added.id, heard);
    // What was stored since is told of its topics, too.
    let since = rpc::WatchRequest { cursor: begun.cursor, ..Default::default() };
    let mut events = one.watch(since).await.unwrap().into_inner();
    let mut told = Vec::new();
    while told.len() < 2 {
        told.push(within("an event", events.message()).await.unwrap().unwrap().event);
    }
    let Some(rpc::watch_response::Event::GrainAdded(added)) = &told[1] else { panic!("{told:?}") };
    assert!(told[0].is_none() && added.id == heard);
    let mut waiting = one.wait_indexed(rpc::WaitIndexedRequest::default()).await.unwrap().into_inner();
    while let Some(progress) = within("the index", waiting.message()).await.unwrap() {
        assert!(progress.pending <= 1 && progress.unreadable == 0, "{progress:?}");
    }
}

/// Where a page ends may be at a document of another topic.
#[tokio::test(flavor = "multi_thread")]
async fn pages_of_documents_tell_no_names_of_other_topics() {
    let node = node().await;
    for (topic, uri) in [("open", "a.md"), ("secret", "plan.md"), ("open", "z.md")] {
        node.try_add_document(document(topic, uri, &format!("# Of {uri}\n\nWe buy bread."))).await.unwrap();
    }
    let secret = create(&node, "one", rpc::TokenScope::Read, &["open"]).await;
    let mut one = guest(&node, &secret).await;
    let page = |page_token: &str| rpc::ListDocumentsRequest {
        page_size: 1,
        page_token: page_token.into(),
        ..Default::default()
    };
    let uris = |page: &rpc::ListDocumentsResponse| {
        page.documents.iter().map(|one| one.uri.clone()).collect::<Vec<_>>()
    };
    let first = one.list_documents(page("")).await.unwrap().into_inner();
    let token = &first.next_page_token;
    assert!(!token.is_empty() && token.bytes().all(|byte| byte.is_ascii_hexdigit()), "{token}");
    let second = one.list_documents(page(token)).await.unwrap().into_inner();
    assert_eq!((uris(&first), uris(&second)), (vec!["a.md".to_owned()], vec!["z.md".to_owned()]));
    assert_eq!(second.next_page_token, "");
    for wrong in ["a.md", "plan.md", &token[2..]] {
        Client::assert_refused(one.list_documents(page(wrong)).await, Code::InvalidArgument, "page token");
    }
    let all =
        node.rpc.clone().list_documents(rpc::ListDocumentsRequest::default()).await.unwrap().into_inner();
    assert_eq!(uris(&all), ["a.md", "plan.md", "z.md"]);
}

/// A token of one topic could fill the room that there is for pins.
#[tokio::test(flavor = "multi_thread")]
async fn who_is_limited_to_a_topic_pins_within_it_and_leaves_room_to_the_owner() {
    let mut config = config();
    config.api.listen = "127.0.0.1:0".into();
    // Strangers may have four of these, and so there may be four pins.
    config.storage.hnsw_max_elements = 8;
    config.admission.reserved_percent = 50;
    let node = TestNode::fresh_with(config).await;
    let mut one = guest(&node, &create(&node, "one", rpc::TokenScope::Write, &["open"]).await).await;
    let elsewhere = node.put_draft(draft("secret", "The code of the safe is 4711.")).await;
    let mut ids = Vec::new();
    for n in 0..4 {
        ids.push(node.put_draft(draft("open", &format!("Kettle {n} is in the kitchen."))).await);
    }
    let pin = |id: &str| rpc::PinRequest { id: id.into(), pinned: true };
    assert_reason(one.pin(pin(&elsewhere)).await, "GRAIN_NOT_FOUND");
    assert!(one.pin(pin(&ids[0])).await.unwrap().into_inner().changed);
    let refused = one.pin(pin(&ids[1])).await.map(drop);
    Client::assert_refused(refused.clone(), Code::ResourceExhausted, "limited to topics");
    assert_reason(refused, "TOO_MANY_PINS");
    let mut owner = node.rpc.clone();
    for id in &ids[1..] {
        assert!(owner.pin(pin(id)).await.unwrap().into_inner().changed);
    }
    assert_reason(owner.pin(pin(&elsewhere)).await, "TOO_MANY_PINS");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_limited_to_a_topic_changes_nothing_in_others() {
    let node = node().await;
    node.put_draft(draft("secret", "Stays.")).await;
    node.try_add_document(document("secret", "plan.md", "# Plan\n\nStays, too.")).await.unwrap();
    let stays = || async { node.list(rpc::Filter { topic: "secret".into(), ..Default::default() }).await };
    let before = stays().await;
    assert_eq!(before.len(), 2);
    let mut one = guest(&node, &create(&node, "one", rpc::TokenScope::Write, &["open"]).await).await;

    let put = |draft| rpc::PutRequest { draft: Some(draft), share: false, ..Default::default() };
    for topic in ["secret", "", "commons"] {
        assert_reason(one.put(put(draft(topic, "Where it may not."))).await, "TOPIC_FORBIDDEN");
    }
    one.put(put(draft("open", "Where it may."))).await.unwrap();
    let item = |item| rpc::BulkPutRequest { item: Some(item), share: false, ..Default::default() };
    use rpc::bulk_put_request::Item;
    let sealed = |text: &str, topic: &str| {
        let draft = synapsenet_proto::Draft {
            text: text.into(),
            topic: synapsenet_proto::Topic::new(topic).unwrap(),
            ..Default::default()
        };
        let author = synapsenet_proto::Identity::from_seed(&[7; 32]);
        (synapsenet_proto::Grain::seal(draft, &author, super::harness::now_ms()).unwrap(), author)
    };
    let (of_other, author) = sealed("Of another author.", "secret");
    node.bulk_put(vec![item(Item::Grain(of_other.as_bytes().to_vec()))]).await;
    let before = [before, vec![node.get(&of_other.id().to_string()).await]].concat();
    // Its author could withdraw it; not by this token, and not under the name of another topic.
    let open = synapsenet_proto::Topic::new("open").unwrap();
    let retraction =
        synapsenet_proto::Grain::retract(of_other.id(), open, &author, super::harness::now_ms()).unwrap();
    let items = vec![
        item(Item::Draft(draft("secret", "Where it may not."))),
        item(Item::Grain(sealed("Sealed.", "secret").0.as_bytes().to_vec())),
        item(Item::Grain(retraction.as_bytes().to_vec())),
        item(Item::Grain(sealed("Sealed.", "open").0.as_bytes().to_vec())),
    ];
    let results = one.bulk_put(tokio_stream::iter(items)).await.unwrap().into_inner();
    let outcomes: Vec<_> = results.map(|result| result.unwrap().outcome()).collect().await;
    let refused = rpc::PutOutcome::Refused;
    assert_eq!(outcomes, [refused, refused, refused, rpc::PutOutcome::Added]);

    // A document of the same name there is another document here.
    assert_reason(one.add_document(document("secret", "plan.md", "Mine.")).await, "TOPIC_FORBIDDEN");
    let added = one.add_document(document("open", "plan.md", "# Plan\n\nMine.")).await.unwrap().into_inner();
    assert_eq!((added.added, added.retracted), (1, 0));
    let meant = |filter| rpc::RetractMatchingRequest { filter, ..Default::default() };
    assert_reason(one.retract_matching(meant(of("secret"))).await.map(drop), "TOPIC_FORBIDDEN");
    let meant = |filter| rpc::ShareMatchingRequest { filter, ..Default::default() };
    assert_reason(one.share_matching(meant(of("secret"))).await.map(drop), "TOPIC_FORBIDDEN");
    let by_source = rpc::Filter { source_prefix: "plan".into(), ..Default::default() };
    let request = rpc::RetractMatchingRequest { filter: Some(by_source), ..Default::default() };
    let mut tallies = one.retract_matching(request).await.unwrap().into_inner();
    while let Some(tally) = tallies.message().await.unwrap() {
        assert_eq!((tally.meant, tally.not_own), (1, 0), "{tally:?}");
    }
    let after = stays().await;
    assert_eq!(after.len(), 3);
    for grain in before {
        assert!(after.iter().any(|left| left.id == grain.id && !left.shared), "{}", grain.text);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_several_topics_says_which() {
    let node = node().await;
    for topic in ["a", "b", "c"] {
        node.put_draft(draft(topic, &format!("In {topic}."))).await;
    }
    let mut two = guest(&node, &create(&node, "two", rpc::TokenScope::Read, &["a", "b"]).await).await;
    let count = |filter| rpc::CountRequest { filter, ..Default::default() };
    for topic in ["a", "b"] {
        assert_eq!(two.count(count(of(topic))).await.unwrap().into_inner().grains, 1);
    }
    assert_reason(two.count(count(of("c"))).await, "TOPIC_FORBIDDEN");
    let unsaid = two.count(count(None)).await;
    Client::assert_refused(unsaid.map(drop), Code::PermissionDenied, "a, b");
    assert_eq!(two.status(rpc::StatusRequest {}).await.unwrap().into_inner().grains, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_token_makes_another() {
    let node = node().await;
    let root = std::fs::read_to_string(node.dir().join("api.token")).unwrap();
    let admin = create(&node, "admin", rpc::TokenScope::Admin, &[]).await;
    for secret in [root, admin] {
        let bearer = Bearer(format!("Bearer {secret}").parse().unwrap());
        let mut access = AccessServiceClient::with_interceptor(channel(&node).await, bearer);
        let request = rpc::CreateTokenRequest {
            name: "another".into(),
            scope: rpc::TokenScope::Read.into(),
            ..Default::default()
        };
        assert_reason(access.create_token(request).await, "SOCKET_NEEDED");
        let tokens = access.list_tokens(rpc::ListTokensRequest {}).await.unwrap().into_inner().tokens;
        assert_eq!(tokens.len(), 1, "{tokens:?}");
    }
    assert_reason(try_create(&node, "admin", rpc::TokenScope::Read, &[], 0).await, "INVALID_REQUEST");
    assert_reason(
        AccessServiceClient::new(node.channel.clone())
            .revoke_token(rpc::RevokeTokenRequest { name: "nobody".into() })
            .await,
        "TOKEN_NOT_FOUND",
    );
}

/// The lines of the audit log, which must be whole.
fn audited(dir: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(dir.join("audit.log")).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_recorded_who_changed_what_and_no_text_of_it() {
    let node = node().await;
    let secret = create(&node, "phone", rpc::TokenScope::Write, &["open"]).await;
    let mut guest = guest(&node, &secret).await;
    let put =
        |topic, text| rpc::PutRequest { draft: Some(draft(topic, text)), share: false, ..Default::default() };
    let id = guest.put(put("open", "Remember the milk.")).await.unwrap().into_inner().id;
    guest.put(put("secret", "Remember the milk.")).await.unwrap_err();
    guest.forget(rpc::ForgetRequest { ids: vec![id.clone()], ..Default::default() }).await.unwrap_err();
    guest.status(rpc::StatusRequest {}).await.unwrap();
    let items: Vec<_> = (0..40).map(|number| super::harness::shared(format!("Item {number}."))).collect();
    node.bulk_put(items).await;
    let dir = node.dir().to_owned();
    wait_for("the lines", async || audited(&dir).len() >= 5).await;
    let kept = node.stop().await;
    let lines = audited(&dir);
    drop(kept);
    let words = |line: &Value| {
        let word = |key: &str| line[key].as_str().unwrap_or_default().to_owned();
        (word("who"), word("call"), word("outcome"))
    };
    let uid = format!("socket uid {}", rustix::process::getuid().as_raw());
    let line = |who: &str, call: &str, outcome: &str| (who.to_owned(), call.to_owned(), outcome.to_owned());
    let expected = [
        line(&uid, "AccessService/CreateToken", "OK"),
        line("token phone", "NodeService/Put", "OK"),
        line("token phone", "NodeService/Put", "PERMISSION_DENIED"),
        line("token phone", "NodeService/Forget", "PERMISSION_DENIED"),
        line(&uid, "NodeService/BulkPut", "OK"),
    ];
    assert_eq!(lines.iter().map(words).collect::<Vec<_>>(), expected);
    assert_eq!(lines[0]["about"], "phone");
    assert_eq!((&lines[1]["ids"][0], &lines[1]["topics"][0]), (&id.into(), &"open".into()));
    assert_eq!((&lines[4]["grains"], lines[4]["ids"].as_array().unwrap().len()), (&40.into(), 16));
    let text = serde_json::to_string(&lines).unwrap();
    assert!(!text.contains("milk") && !text.contains("Item") && !text.contains(&secret), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_recorded_where_that_is_not_wanted() {
    let mut silent = config();
    silent.api.audit = false;
    let node = TestNode::fresh_with(silent).await;
    node.put("Not recorded.").await;
    let dir = node.dir().to_owned();
    let _kept = node.stop().await;
    assert!(!dir.join("audit.log").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn health_is_watched_without_a_token_by_so_many_and_looked_at_by_all() {
    let node = node().await;
    let mut watches = Vec::new();
    let refused = loop {
        let mut health = HealthClient::new(channel(&node).await);
        match health.watch(HealthCheckRequest::default()).await {
            Ok(watch) => watches.push(watch.into_inner()),
            Err(status) => break status,
        }
        assert!(watches.len() < 1000, "there is an end to it");
    };
    assert_eq!((refused.code(), watches.len()), (Code::ResourceExhausted, 64));
    let mut health = HealthClient::new(channel(&node).await);
    health.check(HealthCheckRequest::default()).await.unwrap();
    drop(watches);
    wait_for("a place", async || health.watch(HealthCheckRequest::default()).await.is_ok()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_are_made_shown_and_revoked_on_the_command_line() {
    let node = node().await;
    let dir = node.dir();
    let made = synapsenet(dir, &["token", "create", "phone", "--topic", "notes", "--expires", "90d"]).await;
    let made = made.ended_with(0);
    assert!(made.out.starts_with("syn_") && made.out.trim_end().len() == 68, "the secret alone: {made:?}");
    assert!(made.err.contains("shown once"), "{}", made.err);
    let elsewhere = folder();
    let file = elsewhere.path().join("token");
    std::fs::write(&file, &made.out).unwrap();
    let (address, file) = (&node.node.api_addresses()[1], file.to_str().unwrap());
    let at = ["--api", address, "--api-token-file", file];
    let from_there =
        async |command: &[&str]| synapsenet(elsewhere.path(), &[command, &at[..]].concat()).await;
    from_there(&["list", "--count"]).await.ended_with(0);
    from_there(&["status"]).await.ended_with(0);
    let refused = from_there(&["add", "Nothing.", "--topic", "notes"]).await.ended_with(1);
    assert!(refused.err.contains("needs write"), "{}", refused.err);
    from_there(&["token", "create", "more"]).await.ended_with(4).assert_told("socket", "machine");
    let listed = synapsenet(dir, &["token", "list", "--json"]).await.ended_with(0).record();
    assert_eq!((&listed["name"], &listed["scope"]), (&"phone".into(), &"read".into()));
    assert_eq!((&listed["state"], &listed["topics"][0]), (&"opens".into(), &"notes".into()));
    assert!(listed["last_used"].is_string() && listed["expires"].is_string(), "{listed}");
    assert!(listed.get("secret").is_none());
    // Into a file of its own, which takes no other's place.
    let kept = elsewhere.path().join("kept").to_str().unwrap().to_owned();
    let create = async |name: &str| synapsenet(dir, &["token", "create", name, "--out", &kept]).await;
    let made = create("desk").await.ended_with(0);
    assert!(made.out.is_empty() && made.err.contains(&kept), "the secret is shown nowhere: {made:?}");
    let secret = std::fs::read_to_string(&kept).unwrap();
    assert!(secret.starts_with("syn_") && secret.trim_end().len() == 68);
    let mode = std::fs::metadata(&kept).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    create("other").await.ended_with(1).assert_told("already", "new file");
    let by_it = ["status", "--api", address, "--api-token-file", &kept];
    synapsenet(elsewhere.path(), &by_it).await.ended_with(0);
    let names = synapsenet(dir, &["token", "list", "--json"]).await.ended_with(0).records();
    assert_eq!(names.len(), 2, "none was made that nobody has: {names:?}");
    synapsenet(dir, &["token", "revoke", "phone"]).await.ended_with(0);
    from_there(&["status"]).await.ended_with(4).assert_told("revoked", "token create");
    synapsenet(dir, &["token", "revoke", "phone"]).await.ended_with(1).assert_told("phone", "token list");
    let listed = synapsenet(dir, &["token"]).await.ended_with(0);
    assert!(listed.out.contains("revoked"), "{}", listed.out);
}

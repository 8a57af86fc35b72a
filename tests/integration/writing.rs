//! What programs write: waited for, found by its metadata, put in the place of something else, withdrawn by ids or with its document,
//! and told to whoever watches, also after a restart.

use std::collections::BTreeSet;

use serde_json::json;
use synapsenet_proto::rpc;
use synapsenet_proto::rpc::access_service_client::AccessServiceClient;
use synapsenet_proto::rpc::watch_response::Event;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tonic::Code;
use tonic::transport::Endpoint;

use super::harness::{Client, TestNode, config, folder, note, synapsenet, wait_for, within};

fn with_metadata(text: &str, pairs: &[(&str, &str)]) -> rpc::Draft {
    let metadata = pairs.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect();
    rpc::Draft { metadata, ..note(text) }
}

fn of_app(value: &str) -> rpc::Filter {
    rpc::Filter { metadata: [("app".into(), value.into())].into(), ..Default::default() }
}

async fn searchable(node: &TestNode, draft: rpc::Draft, share: bool) -> rpc::PutResponse {
    let wait = rpc::Wait::Searchable.into();
    let request = rpc::PutRequest { draft: Some(draft), share, wait, wait_ms: 60_000 };
    let put = node.rpc.clone().put(request).await.unwrap().into_inner();
    assert!(put.searchable, "{put:?}");
    put
}

async fn update(node: &TestNode, id: &str, draft: rpc::Draft) -> Result<rpc::UpdateResponse, tonic::Status> {
    let request = rpc::UpdateRequest { id: id.into(), draft: Some(draft), ..Default::default() };
    node.rpc.clone().update(request).await.map(tonic::Response::into_inner)
}

/// The next grains that somebody who watches from `cursor` on is told of, with the place behind the last, and the stream.
async fn told(node: &TestNode, request: rpc::WatchRequest, count: usize) -> (Vec<rpc::GrainAdded>, String) {
    let mut events = node.rpc.clone().watch(request).await.unwrap().into_inner();
    let (mut grains, mut cursor) = (Vec::new(), String::new());
    while cursor.is_empty() || grains.len() < count {
        let message = within("an event", events.message()).await.unwrap().unwrap();
        cursor = message.cursor;
        match message.event {
            None => assert!(grains.is_empty(), "only the beginning has no event"),
            Some(Event::GrainAdded(grain)) => grains.push(grain),
            other => panic!("{other:?}"),
        }
    }
    (grains, cursor)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_written_is_found_updated_and_told_after_a_restart() {
    let owned = folder();
    let dir = owned.path().join("data");
    let node = TestNode::on(&dir, config()).await;
    let (_, begun) = told(&node, rpc::WatchRequest::default(), 0).await;

    // Found by its meaning when it is answered, and by what a program said of it.
    let boiler =
        searchable(&node, with_metadata("The boiler runs at 1.5 bar.", &[("app", "a"), ("n", "1")]), true)
            .await;
    let found = node.search("pressure of the heating").await;
    assert_eq!(found.hits[0].grain.as_ref().unwrap().id, boiler.id);
    assert_eq!(found.hits[0].grain.as_ref().unwrap().metadata["app"], "a");
    let other = searchable(&node, with_metadata("The pump hums.", &[("app", "b")]), false).await;
    assert_eq!(node.list(of_app("a")).await.len(), 1);
    let request = rpc::CountRequest { filter: Some(of_app("b")), ..Default::default() };
    assert_eq!(node.rpc.clone().count(request).await.unwrap().into_inner().grains, 1);

    // Another in its place, as shared as it was, or nothing where it says the same.
    let draft = with_metadata("The boiler runs at 1.8 bar.", &[("app", "a"), ("n", "2")]);
    let updated = update(&node, &boiler.id, draft.clone()).await.unwrap();
    assert_eq!((updated.outcome(), updated.shared), (rpc::PutOutcome::Added, true));
    let again = update(&node, &updated.id, draft.clone()).await.unwrap();
    assert_eq!((&again.id, again.retraction.as_str()), (&updated.id, ""));
    Client::assert_refused(update(&node, &boiler.id, draft.clone()).await, Code::NotFound, "no grain");
    let elsewhere = rpc::Draft { topic: "elsewhere".into(), ..draft };
    Client::assert_refused(update(&node, &updated.id, elsewhere).await, Code::InvalidArgument, "topic");
    assert_eq!(node.list(of_app("a")).await[0].text, "The boiler runs at 1.8 bar.");

    // Each of several is answered.
    let ids = vec![other.id.clone(), other.id.clone(), updated.retraction.clone()];
    let request = rpc::RetractRequest { ids, ..Default::default() };
    let results = node.rpc.clone().retract(request).await.unwrap().into_inner().results;
    let reasons: Vec<_> = results.iter().map(rpc::RetractResult::reason).collect();
    // Both of the first two are under way at once, and one of them comes too late, or says the same twice.
    assert!(!results[0].retraction.is_empty() || !results[1].retraction.is_empty(), "{results:?}");
    assert_eq!(reasons[2], rpc::ErrorReason::NotANote);
    assert!(results[2].retraction.is_empty() && !results[2].hint.is_empty());
    let request = rpc::RetractRequest { ids: vec![other.id; 1001], ..Default::default() };
    Client::assert_refused(node.rpc.clone().retract(request).await, Code::InvalidArgument, "1 to 1000");

    node.stop().await;
    let node = TestNode::on(&dir, config()).await;
    let since = |filter, cursor: &str| rpc::WatchRequest { filter, cursor: cursor.into(), kinds: vec![] };
    // The notes that went are not there to be told; that they went is.
    let (all, end) = told(&node, since(None, &begun), 3).await;
    assert_eq!((&all[0].id, &all[1].retracted), (&updated.id, &boiler.id));
    let (of_a, _) = told(&node, since(Some(of_app("a")), &begun), 1).await;
    assert_eq!(of_a[0].id, updated.id);
    let put = node.put("Said live.").await;
    let (live, _) = told(&node, since(None, &end), 1).await;
    assert_eq!(live[0].id, put);
    let strange = since(None, "0123456789abcdef0123456789abcdef");
    let refused = node.rpc.clone().watch(strange).await;
    Client::assert_refused(refused, Code::OutOfRange, "not of this data folder");
}

/// A note with the tag that every other one has.
fn tagged(text: String, is_even: bool) -> rpc::Draft {
    rpc::Draft { tags: if is_even { vec!["even".into()] } else { vec![] }, ..note(text) }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_watches_and_falls_behind_is_told_so_and_misses_no_grain() {
    /// More than are kept for who is behind, and what is on its way to a client that reads nothing.
    const GRAINS: usize = 2500;
    let node = TestNode::fresh().await;
    // As little as HTTP/2 lets be on its way.
    let narrow = Endpoint::from_static("http://localhost").initial_stream_window_size(65_535);
    let mut slow = Client::unix_as(&node.dir().join("api.sock"), narrow).await.rpc.clone();
    let filter = |tags: &[&str]| rpc::Filter {
        tags: tags.iter().map(|&tag| tag.into()).collect(),
        ..Default::default()
    };
    let mut watches = Vec::new();
    for filter in [filter(&[]), filter(&["even"])] {
        let request = rpc::WatchRequest { filter: Some(filter), ..Default::default() };
        watches.push(slow.watch(request).await.unwrap().into_inner());
    }
    let item = |n: usize| rpc::BulkPutRequest {
        item: Some(rpc::bulk_put_request::Item::Draft(tagged(format!("Number {n}."), n.is_multiple_of(2)))),
        ..Default::default()
    };
    let put = node.bulk_put((0..GRAINS).map(item).collect()).await;
    for (events, step) in watches.iter_mut().zip([1, 2]) {
        let expected: BTreeSet<String> = put.iter().step_by(step).map(|put| put.id.clone()).collect();
        let (mut told, mut missed) = (Vec::new(), 0);
        while told.len() < expected.len() {
            match within("an event", events.message()).await.unwrap().unwrap().event {
                Some(Event::GrainAdded(grain)) => told.push(grain.id),
                Some(Event::Missed(count)) => missed += count,
                None => assert!(told.is_empty(), "only the beginning has no event"),
                other => panic!("{other:?}"),
            }
        }
        assert!(missed > 0, "it is told that it was too slow");
        assert_eq!(told.into_iter().collect::<BTreeSet<_>>(), expected, "each of them once");
    }
    let live = node.put_draft(tagged("Said live.".into(), true)).await;
    for events in &mut watches {
        // Falling behind may be told once more: what it was is told already.
        let grain = loop {
            match within("an event", events.message()).await.unwrap().unwrap().event {
                Some(Event::GrainAdded(grain)) => break grain,
                Some(Event::Missed(_)) => {}
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(grain.id, live);
    }
}

/// Each way of leaving gives back the place that a watch takes, though nothing happens that it would be told.
#[tokio::test(flavor = "multi_thread")]
async fn who_leaves_a_quiet_watch_gives_its_place_back() {
    let mut config = config();
    config.api.max_calls = 2;
    let node = TestNode::fresh_with(config).await;
    let socket = node.dir().join("api.sock");
    let wanted = rpc::CreateTokenRequest {
        name: "page".into(),
        scope: rpc::TokenScope::Read.into(),
        ..Default::default()
    };
    let mut access = AccessServiceClient::new(node.channel.clone());
    let token = access.create_token(wanted).await.unwrap().into_inner().secret;
    let is_served = async || node.rpc.clone().status(rpc::StatusRequest {}).await.is_ok();
    let other = Client::unix(&socket).await;
    let watch = async |client: &Client| {
        let mut events = client.rpc.clone().watch(rpc::WatchRequest::default()).await.unwrap().into_inner();
        within("the beginning", events.message()).await.unwrap().unwrap();
        events
    };
    let (one, two) = (watch(&node).await, watch(&other).await);
    assert!(!is_served().await);
    // The one ends its call, and the other its connection.
    drop(one);
    wait_for("a place", &is_served).await;
    let one = watch(&node).await;
    assert!(!is_served().await);
    drop((two, other));
    wait_for("a place", &is_served).await;
    // A page in a browser that is closed.
    let address = node.node.metrics_address().unwrap();
    let mut page = tokio::net::TcpStream::connect(address).await.unwrap();
    let request = format!(
        "GET /v1/events HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\nAccept: text/event-stream\r\n\r\n"
    );
    page.write_all(request.as_bytes()).await.unwrap();
    let mut told = Vec::new();
    while !told.windows(5).any(|word| word == b"data:") {
        within("the beginning", page.read_buf(&mut told)).await.unwrap();
    }
    assert!(!is_served().await);
    drop(page);
    wait_for("a place", &is_served).await;
    drop(one);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_is_shown_and_withdrawn_whole_and_a_command_does_all_of_it() {
    let node = TestNode::fresh().await;
    let on = async |arguments: &[&str]| synapsenet(node.dir(), arguments).await;
    let files = folder();
    let roof = files.path().canonicalize().unwrap().join("roof.md");
    let part = |n: usize| format!("## Part {n}\n\nTile {n} was laid in the year {}.\n\n", 1900 + n);
    std::fs::write(&roof, "# Roof\n\n".to_owned() + &(0..3).map(part).collect::<String>()).unwrap();
    let path = roof.to_str().unwrap();
    let meta = ["--meta", "app=a", "--json"];
    let added = on(&[&["add", path][..], &meta].concat()).await.ended_with(0).records();
    let ids = added[0]["ids"].clone();
    let listed = on(&["list", "--documents", "--json"]).await.ended_with(0).records();
    assert_eq!((listed.len(), &listed[0]["grains"]), (1, &json!(ids.as_array().unwrap().len())));
    assert_eq!(listed[0]["file"], format!("file://{path}"));
    let parts = on(&["get", "--document", path, "--json"]).await.ended_with(0).records();
    assert_eq!(json!(parts.iter().map(|part| part["id"].clone()).collect::<Vec<_>>()), ids);
    assert_eq!(parts[0]["metadata"], json!({"app": "a"}));
    assert_eq!(
        on(&["list", "--meta", "app=a", "--count"]).await.ended_with(0).out.trim(),
        parts.len().to_string()
    );
    on(&["add", files.path().to_str().unwrap(), "--meta", "app=a"]).await.ended_with(2);

    let request = |dry_run| rpc::DeleteDocumentRequest { uri: path.into(), dry_run };
    let mut client = node.rpc.clone();
    let deleted = client.delete_document(request(true)).await.unwrap().into_inner();
    assert_eq!((deleted.retracted, deleted.document.unwrap().grains as usize), (0, parts.len()));
    let deleted = client.delete_document(request(false)).await.unwrap().into_inner();
    assert_eq!(deleted.retracted as usize, parts.len());
    Client::assert_refused(client.delete_document(request(false)).await, Code::NotFound, "nothing here");
    on(&["get", "--document", path]).await.ended_with(1);

    let key = node.put("The key hangs in the hall.").await;
    let updated = on(&["update", &key, "The key lies in the drawer.", "--tag", "keys", "--json"]).await;
    let updated = updated.ended_with(0).records();
    assert_eq!((&updated[0]["outcome"], &updated[0]["searchable"]), (&json!("updated"), &json!(true)));
    let found = on(&["list", "--tag", "keys", "--json"]).await.ended_with(0).records();
    assert_eq!(
        (&found[0]["id"], &found[0]["text"]),
        (&updated[0]["id"], &json!("The key lies in the drawer."))
    );

    // What search compares with the vectors of notes, and what it asks with.
    let embed = async |texts: &[&str], role: rpc::EmbedRole| {
        let texts = texts.iter().map(|&text| text.into()).collect();
        let request = rpc::EmbedRequest { texts, role: role.into() };
        node.rpc.clone().embed(request).await.unwrap().into_inner()
    };
    let passages = embed(&["The key lies in the drawer.", "Snow fell."], rpc::EmbedRole::Passage).await;
    let question = embed(&["where is the key?"], rpc::EmbedRole::Question).await;
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
    let cosine = |at: usize| dot(&question.embeddings[0].values, &passages.embeddings[at].values);
    assert_eq!(passages.embeddings[0].values.len(), passages.dimension as usize);
    let found = node.search("where is the key?").await;
    assert!((cosine(0) - found.hits[0].cosine.unwrap() as f32).abs() < 0.02 && cosine(0) > cosine(1));
}

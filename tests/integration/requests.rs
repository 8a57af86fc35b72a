//! What wrong and excessive requests are told.

use std::collections::BTreeSet;

use futures::future::join_all;
use hyper_util::rt::{TokioExecutor, TokioIo};
use synapsenet_proto::rpc;
use synapsenet_proto::rpc::node_service_client::NodeServiceClient;
use synapsenet_proto::{MAX_LINKS, MAX_SOURCE_URI_BYTES, MAX_TAGS, MAX_TEXT_BYTES, MAX_TITLE_BYTES};
use tokio::net::UnixStream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::codec::CompressionEncoding;
use tonic::codegen::http;
use tonic::transport::Uri;
use tonic::{Code, Request};
use tonic_types::StatusExt;

use super::harness::{Client, TestNode, config, noise, note, wait_for, within};
use super::metrics::scrape;

#[tokio::test(flavor = "multi_thread")]
async fn a_draft_over_a_limit_is_refused_with_the_limit() {
    let node = TestNode::fresh().await;
    let with = |change: fn(&mut rpc::Draft)| {
        let mut draft = note("A good text.");
        change(&mut draft);
        draft
    };
    let link = |bytes: usize, relation: &str| rpc::Link { target: vec![0; bytes], relation: relation.into() };
    let source = |uri: String| Some(rpc::Source { uri, ordinal: 0 });
    let cases = [
        (note(""), "empty"),
        (note("\u{2003}\n"), "empty"),
        (note("ä".repeat(MAX_TEXT_BYTES / 2 + 1)), "16386 bytes"),
        (with(|draft| draft.topic = "Upper".into()), "topic"),
        (with(|draft| draft.topic = "../up".into()), "topic"),
        (with(|draft| draft.topic = "x".repeat(65)), "topic"),
        (with(|draft| draft.title = "x".repeat(MAX_TITLE_BYTES + 1)), "title"),
        (with(|draft| draft.tags = (0..=MAX_TAGS).map(|n| n.to_string()).collect()), "17 tags"),
        (with(|draft| draft.tags = vec!["same".into(), "same".into()]), "each tag once"),
        (with(|draft| draft.tags = vec![String::new()]), "tag"),
        (with(|draft| draft.tags = vec!["line\nbreak".into()]), "tag"),
        (with(|draft| draft.tags = vec!["x".repeat(65)]), "tag"),
        (with(|draft| draft.lang = "not a language".into()), "BCP 47"),
        (with(|draft| draft.lang = "e".repeat(36)), "BCP 47"),
        (with(|draft| draft.mime = "text/ünüsual".into()), "media type"),
        (rpc::Draft { source: source(String::new()), ..note("x") }, "source"),
        (rpc::Draft { source: source("x".repeat(MAX_SOURCE_URI_BYTES + 1)), ..note("x") }, "source"),
        (rpc::Draft { links: vec![link(31, "replies-to")], ..note("x") }, "link"),
        (rpc::Draft { links: vec![link(32, "")], ..note("x") }, "link"),
        (rpc::Draft { links: vec![link(32, "replies-to"); MAX_LINKS + 1], ..note("x") }, "17 links"),
    ];
    for (draft, word) in cases {
        Client::assert_refused(node.try_put(draft).await, Code::InvalidArgument, word);
    }
    let nothing = rpc::PutRequest { draft: None, share: true, ..Default::default() };
    Client::assert_refused(node.rpc.clone().put(nothing).await, Code::InvalidArgument, "no draft");
    assert_eq!(node.status().await.grains, 0, "nothing of it was stored");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_that_cannot_be_added_is_refused_with_the_reason() {
    let node = TestNode::fresh().await;
    let good = rpc::AddDocumentRequest {
        uri: "file:///a".into(),
        format: rpc::DocumentFormat::Markdown.into(),
        content: "# Title\n\nText.".into(),
        ..Default::default()
    };
    let with = |change: fn(&mut rpc::AddDocumentRequest)| {
        let mut request = good.clone();
        change(&mut request);
        request
    };
    let cases = [
        (with(|request| request.format = 99), Code::InvalidArgument, "format"),
        (with(|request| request.uri.clear()), Code::InvalidArgument, "source"),
        (with(|request| request.uri = "x".repeat(MAX_SOURCE_URI_BYTES + 1)), Code::InvalidArgument, "source"),
        (with(|request| request.content = "word ".repeat(838_861).into()), Code::InvalidArgument, "split it"),
        (with(|request| request.content = vec![b'x'; 5 << 20]), Code::OutOfRange, "too large"),
        (with(|request| request.content = b"caf\xe9".to_vec()), Code::InvalidArgument, "windows-1252"),
        (with(|request| request.content = b"a\0b".to_vec()), Code::InvalidArgument, "no text"),
        (with(|request| request.encoding = "klingon".into()), Code::InvalidArgument, "klingon"),
        (with(|request| request.topic = "Bad!".into()), Code::InvalidArgument, "topic"),
        (with(|request| request.tags = vec![String::new()]), Code::InvalidArgument, "tag"),
        (with(|request| request.lang = "?".into()), Code::InvalidArgument, "BCP 47"),
    ];
    for (request, code, word) in cases {
        Client::assert_refused(node.try_add_document(request).await, code, word);
    }
    for text in ["", " \n", "---\ntitle: stub\n---\n", "![](photo.jpg)", "<!-- nothing -->"] {
        let empty = with(|_| {});
        let answer =
            node.try_add_document(rpc::AddDocumentRequest { content: text.into(), ..empty }).await.unwrap();
        assert!(answer.empty && answer.ids.is_empty(), "{text:?}");
    }
    assert_eq!(node.status().await.grains, 0, "nothing of it was stored");
    assert_eq!(node.try_add_document(good).await.unwrap().added, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_that_cannot_be_answered_is_refused_with_the_reason() {
    let node = TestNode::fresh().await;
    let ask = |text: &str, k, filter| rpc::SearchRequest {
        text: text.into(),
        k,
        filter: Some(filter),
        ..Default::default()
    };
    let filter = rpc::Filter::default;
    let cases = [
        (ask("", 0, filter()), "question is empty"),
        (ask(" \n", 0, filter()), "question is empty"),
        (ask(&"x".repeat(MAX_TEXT_BYTES + 1), 0, filter()), "16385 bytes"),
        (ask("x", 1001, filter()), "at most 1000"),
        (ask("x", u32::MAX, filter()), "at most 1000"),
        (ask("x", 1, rpc::Filter { topic: "Bad!".into(), ..filter() }), "topic"),
        (ask("x", 1, rpc::Filter { author: "me".into(), ..filter() }), "64 hexadecimal digits"),
        (ask("x", 1, rpc::Filter { tags: vec!["t".into(); 17], ..filter() }), "17 tags"),
        (ask("x", 1, rpc::Filter { source_prefix: "x".repeat(1025), ..filter() }), "source"),
    ];
    for (request, word) in cases {
        Client::assert_refused(node.try_search(request).await, Code::InvalidArgument, word);
    }
    // The limits themselves are allowed.
    node.try_search(ask(&noise(1, MAX_TEXT_BYTES), 1000, filter())).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_cannot_be_given_is_refused_with_the_reason() {
    let node = TestNode::fresh().await;
    let list = rpc::ListRequest::default;
    let filter = |filter| rpc::ListRequest { filter: Some(filter), ..list() };
    let token = |token: &str| rpc::ListRequest { page_token: token.into(), ..list() };
    let cases = [
        (rpc::ListRequest { page_size: 1001, ..list() }, "at most 1000"),
        (token("?"), "page token"),
        (token("AAAA"), "page token"),
        (token(&"A".repeat(100)), "page token"),
        (token(&"_".repeat(21)), "page token"),
        (filter(rpc::Filter { topic: "Bad!".into(), ..Default::default() }), "topic"),
        (filter(rpc::Filter { author: "f".repeat(63), ..Default::default() }), "64 hexadecimal digits"),
    ];
    for (request, word) in cases {
        Client::assert_refused(node.try_list(request).await, Code::InvalidArgument, word);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_ids_of_grains_that_are_there_can_be_retracted() {
    let node = TestNode::fresh().await;
    for wrong in ["", "1234567", "not-an-id", &"0".repeat(65)] {
        Client::assert_refused(node.try_retract(wrong).await, Code::InvalidArgument, "64 hexadecimal digits");
    }
    Client::assert_refused(node.try_retract(&"0".repeat(64)).await, Code::NotFound, "no grain has the id");
    assert_eq!(node.status().await.retractions, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_clients_that_write_at_once_lose_nothing() {
    /// What each client writes, and how much of it at the same time.
    const EACH: usize = 150;
    const AT_ONCE: usize = 10;
    let node = TestNode::fresh().await;
    let clients = [node.dir().join("api.sock"), node.dir().join("api.sock")];
    let write = async |number: usize, path: &std::path::Path| {
        let client = Client::unix(path).await;
        let lines = (0..AT_ONCE).map(|line| {
            let client = client.clone();
            async move {
                let mut ids = Vec::new();
                for n in (line..EACH).step_by(AT_ONCE) {
                    ids.push(client.put(format!("Client {number} says {n}.")).await);
                }
                // What one says, the other says too: whoever comes second is told so.
                let both = client.try_put(note(format!("Both say {line}."))).await.unwrap();
                ids.push(both.id);
                ids
            }
        });
        join_all(lines).await.concat()
    };
    let [first, second] = &clients;
    let (first, second) = tokio::join!(write(1, first), write(2, second));
    let all: BTreeSet<String> = first.iter().chain(&second).cloned().collect();
    assert_eq!(all.len(), 2 * EACH + AT_ONCE, "ids are unique, but for what both said");
    let listed: BTreeSet<String> =
        node.list(rpc::Filter::default()).await.into_iter().map(|grain| grain.id).collect();
    assert_eq!(listed, all);
    node.wait_indexed().await;
    assert_eq!(node.status().await.searchable, all.len() as u64);
    node.verify_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_over_the_limit_are_turned_away_and_counted() {
    let mut config = config();
    config.api.max_calls = 2;
    let node = TestNode::fresh_with(config).await;
    let address = node.node.metrics_address().unwrap();
    assert_eq!(scrape(address).await.value("syn_calls_refused_total"), 0.0);

    // Two streams that stay open take both places.
    let mut open = Vec::new();
    for _ in 0..2 {
        let (sender, requests) = tokio::sync::mpsc::channel::<rpc::BulkPutRequest>(1);
        let results = node.rpc.clone().bulk_put(ReceiverStream::new(requests)).await.unwrap();
        open.push((sender, results));
    }
    for _ in 0..3 {
        Client::assert_refused(
            node.try_put(note("One too many.")).await,
            Code::ResourceExhausted,
            "api.max_calls",
        );
    }
    Client::assert_refused(
        node.rpc.clone().status(rpc::StatusRequest {}).await,
        Code::ResourceExhausted,
        "try again",
    );
    assert_eq!(scrape(address).await.value("syn_calls_refused_total"), 4.0);

    // A place that is given back is taken again.
    open.pop();
    wait_for("a free place", async || node.rpc.clone().status(rpc::StatusRequest {}).await.is_ok()).await;
    node.put("Now there is room.").await;
    drop(open);
    assert_eq!(node.list(rpc::Filter::default()).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_node_gives_up_a_call_when_its_deadline_is_over() {
    let mut config = config();
    config.api.max_calls = 1;
    let node = TestNode::fresh_with(config).await;
    // A client that passes the deadline on and does not watch it itself, as tonic's own channel would.
    let stream = UnixStream::connect(node.dir().join("api.sock")).await.unwrap();
    let (sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let service = tower::service_fn(move |request: http::Request<tonic::body::Body>| {
        let mut sender = sender.clone();
        async move { sender.send_request(request).await }
    });
    let mut client = NodeServiceClient::with_origin(service, Uri::from_static("http://localhost"));
    let ask = |deadline| {
        // Long enough to keep the model busy for longer than the deadline, on any machine.
        let question = rpc::SearchRequest { text: "word ".repeat(1000), ..Default::default() };
        let mut request = Request::new(question);
        request.set_timeout(deadline);
        request
    };
    // Deadlines of one to many ticks of the timer: tonic keeps them as well, and must never be first.
    for ms in [0, 1, 2, 3, 5, 8, 13, 21, 34] {
        let late = within("the deadline", client.search(ask(std::time::Duration::from_millis(ms)))).await;
        let status = late.expect_err("the deadline is over");
        assert_eq!(status.code(), Code::DeadlineExceeded, "{ms} ms: {status:?}");
        assert_eq!(status.get_details_error_info().unwrap().reason, "DEADLINE_PASSED");
    }
    // The call has given its place back, and one with time enough is answered.
    within("an answer", client.search(ask(std::time::Duration::from_secs(50)))).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn who_compresses_is_understood_and_answered_alike() {
    let node = TestNode::fresh().await;
    let text = "Said in few bytes. ".repeat(500);
    for encoding in [CompressionEncoding::Gzip, CompressionEncoding::Zstd] {
        let reads = node.rpc.clone().accept_compressed(encoding);
        let mut speaks = reads.clone().send_compressed(encoding);
        let draft = Some(note(format!("{encoding}: {text}")));
        let put =
            within("an answer", speaks.put(rpc::PutRequest { draft, share: false, ..Default::default() }))
                .await
                .unwrap();
        assert_eq!(put.metadata().get("grpc-encoding").unwrap(), encoding.to_string().as_str());
        assert!(node.get(&put.into_inner().id).await.text.ends_with(&text));
        // Many clients say that they could read it, in each call, and gain nothing by it on a socket.
        let plain = within("an answer", { reads }.status(rpc::StatusRequest {})).await.unwrap();
        assert!(plain.metadata().get("grpc-encoding").is_none());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_grows_beyond_the_limit_when_it_is_decompressed_is_refused() {
    let node = TestNode::fresh().await;
    for encoding in [CompressionEncoding::Gzip, CompressionEncoding::Zstd] {
        let mut client = node.rpc.clone().send_compressed(encoding);
        let draft = Some(note("0".repeat(64 << 20)));
        let put =
            within("an answer", client.put(rpc::PutRequest { draft, share: false, ..Default::default() }))
                .await;
        Client::assert_refused(put, Code::ResourceExhausted, "exceeded while decompressing");
    }
    assert_eq!(node.status().await.grains, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_node_refuses_more_and_loses_nothing() {
    let mut small = config();
    small.storage.hnsw_max_elements = 5;
    let node = TestNode::fresh_with(small.clone()).await;
    let item = |n: usize| rpc::BulkPutRequest {
        item: Some(rpc::bulk_put_request::Item::Draft(note(format!("Jar number {n} holds plums.")))),
        share: false,
        ..Default::default()
    };
    // Eight at once for five places.
    let results = node.bulk_put((0..8).map(item).collect()).await;
    let (added, refused): (Vec<_>, Vec<_>) =
        results.iter().partition(|result| result.outcome() == rpc::PutOutcome::Added);
    assert_eq!((added.len(), refused.len()), (5, 3));
    for result in refused {
        assert_eq!(result.outcome(), rpc::PutOutcome::Refused);
        assert!(result.reason.contains("storage.hnsw_max_elements"), "{}", result.reason);
    }
    let put = node.try_put(note("One more jar.")).await;
    Client::assert_refused(put, Code::ResourceExhausted, "storage.hnsw_max_elements");
    node.wait_indexed().await;
    assert_eq!(node.search("fruit").await.hits.len(), 5);

    // What goes makes room; the index takes its successor, also after a restart.
    node.try_retract(&added[0].id).await.unwrap();
    node.put("A jar of cherries.").await;
    node.wait_indexed().await;
    let node = node.restart_with(small.clone()).await;
    Client::assert_refused(node.try_put(note("One more jar.")).await, Code::ResourceExhausted, "5 grains");
    let status = node.status().await;
    assert_eq!((status.grains, status.searchable, status.max_grains), (5, 5, 5));
    assert_eq!(node.search("cherries").await.texts()[0], "A jar of cherries.");

    // A larger limit is taken, and one that is smaller than what is held loses nothing either.
    small.storage.hnsw_max_elements = 6;
    let node = node.restart_with(small.clone()).await;
    node.put("One more jar.").await;
    node.wait_indexed().await;
    small.storage.hnsw_max_elements = 3;
    let node = node.restart_with(small).await;
    assert_eq!(node.status().await.grains, 6);
    node.verify_sound().await;
    Client::assert_refused(node.try_put(note("Another jar.")).await, Code::ResourceExhausted, "6 grains");
}

//! Many items at once, good and bad.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use hyper::body::{Body, Frame};
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;
use prost::bytes::Bytes;
use synapsenet_proto::rpc::bulk_put_request::Item;
use synapsenet_proto::rpc::{BulkPutRequest, BulkPutResponse, PutOutcome};
use synapsenet_proto::{Draft, Grain, Identity, MAX_TEXT_BYTES, rpc};
use tokio::net::UnixStream;
use tonic::codec::Codec;
use tonic::codegen::http;
use tonic_prost::ProstCodec;

use super::harness::{TestNode, note, now_ms, within};

fn draft(text: impl Into<String>) -> BulkPutRequest {
    BulkPutRequest { item: Some(Item::Draft(note(text))), share: false, ..Default::default() }
}

fn sealed(bytes: impl Into<Vec<u8>>) -> BulkPutRequest {
    BulkPutRequest { item: Some(Item::Grain(bytes.into())), share: false, ..Default::default() }
}

fn grain_of(identity: &Identity, text: &str, created_ms: u64) -> Grain {
    Grain::seal(Draft { text: text.into(), ..Draft::default() }, identity, created_ms).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_item_is_refused_with_its_reason_and_the_others_go_in() {
    let node = TestNode::fresh().await;
    let stranger = Identity::from_seed(&[5; 32]);
    let foreign = grain_of(&stranger, "The ferry leaves at seven.", now_ms());
    let mut forged = grain_of(&stranger, "Pay the stranger.", now_ms()).as_bytes().to_vec();
    *forged.last_mut().unwrap() ^= 1;
    let future = grain_of(&stranger, "This comes from tomorrow.", now_ms() + 24 * 3600 * 1000);
    let slightly_ahead = grain_of(&stranger, "This clock is a minute fast.", now_ms() + 60_000);

    use PutOutcome::{Added, Duplicate, Refused};
    let cases = [
        (draft("The first good one."), Added, ""),
        (draft(""), Refused, "empty"),
        (draft(" \n\t "), Refused, "empty"),
        (draft("x".repeat(MAX_TEXT_BYTES + 1)), Refused, "at most 16384"),
        (sealed(foreign.as_bytes().to_vec()), Added, ""),
        (sealed(forged), Refused, "signature"),
        (sealed(b"garbage".to_vec()), Refused, "grain"),
        (sealed(Vec::new()), Refused, "grain"),
        (sealed(vec![0xff; 40_000]), Refused, "at most 32768"),
        (BulkPutRequest { item: None, share: true, ..Default::default() }, Refused, "neither"),
        (sealed(future.as_bytes().to_vec()), Refused, "clock"),
        (sealed(slightly_ahead.as_bytes().to_vec()), Added, ""),
        (draft("The first good one."), Duplicate, ""),
        (sealed(foreign.as_bytes().to_vec()), Duplicate, ""),
        (
            BulkPutRequest {
                item: Some(Item::Draft(rpc::Draft { topic: "Not A Topic".into(), ..note("x") })),
                share: false,
                ..Default::default()
            },
            Refused,
            "topic",
        ),
        (draft("The last good one."), Added, ""),
    ];
    let results = node.bulk_put(cases.iter().map(|(item, ..)| item.clone()).collect()).await;
    for (ordinal, (result, (item, outcome, reason))) in results.iter().zip(&cases).enumerate() {
        assert_eq!(result.ordinal, ordinal as u64, "results come in order");
        assert_eq!(result.outcome(), *outcome, "{ordinal}: {item:?} {}", result.reason);
        assert!(result.reason.contains(reason), "{reason:?} is not in {:?}", result.reason);
        assert_eq!(result.id.is_empty(), *outcome == Refused);
        assert_eq!(result.reason.is_empty(), *outcome != Refused);
    }
    assert_eq!(results[12].id, results[0].id, "a duplicate is named by the grain that is there");
    assert_eq!(results[4].id, foreign.id().to_string());

    let status = node.status().await;
    assert_eq!(status.grains, cases.iter().filter(|case| case.1 == Added).count() as u64);
    node.wait_indexed().await;
    assert_eq!(node.search("boat").await.best().author, stranger.author().to_string());
    assert_eq!(node.get(&results[4].id).await.signed, foreign.as_bytes().to_vec());
    node.verify_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hundreds_of_items_go_in_over_one_stream_in_order() {
    let node = TestNode::fresh().await;
    let items: Vec<_> = (0..400).map(|n| draft(format!("Item {n} of many."))).collect();
    let results = node.bulk_put(items.clone()).await;
    for (ordinal, result) in results.iter().enumerate() {
        assert_eq!((result.ordinal, result.outcome()), (ordinal as u64, PutOutcome::Added));
    }
    let ids: BTreeSet<&str> = results.iter().map(|result| result.id.as_str()).collect();
    assert_eq!(ids.len(), items.len());
    for n in [0, 137, 399] {
        assert_eq!(node.get(&results[n].id).await.text, format!("Item {n} of many."));
    }
    // The whole stream again adds nothing and names the same grains.
    let again = node.bulk_put(items).await;
    for (first, second) in results.iter().zip(&again) {
        assert_eq!((second.outcome(), &second.id), (PutOutcome::Duplicate, &first.id));
    }
    assert_eq!(node.status().await.grains, 400);
}

/// A body of a request that has a frame for each message.
struct Frames {
    messages: std::vec::IntoIter<BulkPutRequest>,
    sent: Arc<AtomicUsize>,
}

impl Body for Frames {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.messages.next().map(|message| {
            self.sent.fetch_add(1, Ordering::Relaxed);
            let message = message.encode_to_vec();
            let frame = [&[0], (message.len() as u32).to_be_bytes().as_slice(), &message].concat();
            Ok(Frame::data(frame.into()))
        }))
    }
}

/// h2 lets small frames that were not read yet cost more than large ones, and ended the connection of whoever sent short
/// texts faster than they were stored: GOAWAY, ENHANCE_YOUR_CALM, "too_many_data_frames".
#[tokio::test(flavor = "multi_thread")]
async fn short_texts_come_in_as_fast_as_a_client_can_send_them() {
    const TEXTS: usize = 5000;
    let node = TestNode::fresh().await;
    let stream = UnixStream::connect(node.dir().join("api.sock")).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    // Texts of 20 to 120 bytes, and requests without one, which are the smallest.
    let item = |n: usize| match n % 10 {
        0 => BulkPutRequest::default(),
        size => draft(format!("{n:020}{}", "x".repeat(size * 11))),
    };
    let sent = Arc::new(AtomicUsize::new(0));
    let messages = (0..TEXTS).map(item).collect::<Vec<_>>().into_iter();
    let request = http::Request::post("http://localhost/synapsenet.v1.NodeService/BulkPut")
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(Frames { messages, sent: sent.clone() });
    let answers = within("the answers", sender.send_request(request.unwrap())).await.unwrap().into_body();
    let mut answers = tonic::Streaming::<BulkPutResponse>::new_response(
        ProstCodec::<BulkPutRequest, BulkPutResponse>::default().decoder(),
        answers,
        http::StatusCode::OK,
        None,
        None,
    );
    for n in 0..TEXTS {
        let answer = within("an answer", answers.message()).await;
        let answer = answer.unwrap_or_else(|status| panic!("{n}: {status}")).unwrap();
        let outcome = if n % 10 == 0 { PutOutcome::Refused } else { PutOutcome::Added };
        assert_eq!((answer.ordinal, answer.outcome()), (n as u64, outcome));
    }
    assert!(within("the end", answers.message()).await.unwrap().is_none());
    assert_eq!(sent.load(Ordering::Relaxed), TEXTS);
}

#[tokio::test(flavor = "multi_thread")]
async fn results_come_while_the_stream_is_still_open() {
    let node = TestNode::fresh().await;
    let (sender, requests) = tokio::sync::mpsc::channel(1);
    let requests = tokio_stream::wrappers::ReceiverStream::new(requests);
    let mut results = node.rpc.clone().bulk_put(requests).await.unwrap().into_inner();
    for n in 0..5 {
        // The next item is only sent when the one before has been answered.
        sender.send(draft(format!("Step {n}."))).await.unwrap();
        let result = super::harness::within("a result", results.message()).await.unwrap().unwrap();
        assert_eq!((result.ordinal, result.outcome()), (n, PutOutcome::Added));
        assert_eq!(node.get(&result.id).await.text, format!("Step {n}."));
    }
    drop(sender);
    assert!(super::harness::within("the end", results.message()).await.unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_shared_is_decided_for_each_item() {
    let node = TestNode::fresh().await;
    let items = vec![
        BulkPutRequest { share: true, ..draft("This may be told.") },
        BulkPutRequest { share: false, ..draft("This may not.") },
    ];
    let results = node.bulk_put(items).await;
    let node = node.restart().await;
    assert!(node.get(&results[0].id).await.shared);
    assert!(!node.get(&results[1].id).await.shared);
}

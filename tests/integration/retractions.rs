//! What was withdrawn is gone, and only its author can withdraw it.

use synapsenet_proto::{Draft, Grain, Identity, rpc};
use tonic::Code;

use super::harness::{Client, TestNode, note, now_ms, wait_for};
use super::memory::{NOTES, put_notes};

#[tokio::test(flavor = "multi_thread")]
async fn a_retracted_grain_is_gone_and_stays_gone() {
    let node = TestNode::fresh().await;
    let ids = put_notes(&node).await;
    let retracted = ids[3].clone();
    let signed = node.get(&retracted).await.signed;
    let retraction = node.try_retract(&retracted).await.unwrap();

    let node = {
        assert_gone(&node, &retracted).await;
        node.restart().await
    };
    assert_gone(&node, &retracted).await;
    let status = node.status().await;
    assert_eq!((status.grains, status.retractions), (NOTES.len() as u64 - 1, 1));
    assert_eq!(node.search(NOTES[0].1).await.texts()[0], NOTES[0].0, "the others stay");

    // The retraction says by whom and what was withdrawn; it shows up only where it is asked for.
    let request = rpc::ListRequest { with_retractions: true, ..Default::default() };
    let all = node.list_pages(request).await.concat();
    let listed = all.iter().find(|grain| grain.id == retraction).expect("the retraction is listed");
    assert_eq!((listed.kind(), listed.text.as_str()), (rpc::GrainKind::Retraction, ""));
    assert_eq!(blake3::Hash::from_slice(&listed.links[0].target).unwrap().to_hex().as_str(), retracted);
    assert_eq!(all.len(), NOTES.len());

    // Twice is an error, and a retraction cannot be withdrawn.
    Client::assert_refused(node.try_retract(&retracted).await, Code::NotFound, "no grain");
    Client::assert_refused(node.try_retract(&retraction).await, Code::InvalidArgument, "retraction itself");

    // The very grain does not come back by the back door.
    let item = rpc::BulkPutRequest {
        item: Some(rpc::bulk_put_request::Item::Grain(signed)),
        share: false,
        ..Default::default()
    };
    let result = node.bulk_put(vec![item]).await.remove(0);
    assert_eq!(result.outcome(), rpc::PutOutcome::Refused);
    assert!(result.reason.contains("withdrew"), "{}", result.reason);
    assert_gone(&node, &retracted).await;
    node.verify_sound().await;
}

async fn assert_gone(client: &Client, id: &str) {
    Client::assert_refused(client.try_get(id).await, Code::NotFound, "no grain has the id");
    assert!(client.list(rpc::Filter::default()).await.iter().all(|grain| grain.id != id));
    let found = client.search(NOTES[3].1).await;
    assert!(!found.ids().contains(&id));
    assert_eq!(found.hits.len(), NOTES.len() - 1, "no place among the hits is lost to it");
}

#[tokio::test(flavor = "multi_thread")]
async fn words_that_were_withdrawn_can_be_said_again() {
    let node = TestNode::fresh().await;
    let text = "The bakery closes at noon on Saturdays.";
    let first = node.put(text).await;
    let created_ms = node.get(&first).await.created_ms;
    node.try_retract(&first).await.unwrap();
    // In the same millisecond it would be the very same grain, and that one is withdrawn.
    wait_for("the next millisecond", async || now_ms() > created_ms).await;
    let second = node.put(text).await;
    assert_ne!(first, second);
    node.wait_indexed().await;
    assert_eq!(node.search("opening hours").await.ids(), [second.as_str()]);
    let again = node.try_put(note(text)).await.unwrap();
    assert_eq!((again.outcome(), again.id), (rpc::PutOutcome::Duplicate, second));
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_withdraws_what_another_author_said() {
    let node = TestNode::fresh().await;
    let (stranger, mine) = (Identity::from_seed(&[9; 32]), node.put("This is mine.").await);
    let draft = Draft { text: "This is a stranger's.".into(), ..Draft::default() };
    let grain = Grain::seal(draft, &stranger, now_ms()).unwrap();
    let id = grain.id();
    let item = |bytes: &[u8]| rpc::BulkPutRequest {
        item: Some(rpc::bulk_put_request::Item::Grain(bytes.to_vec())),
        share: false,
        ..Default::default()
    };
    node.bulk_put(vec![item(grain.as_bytes())]).await;
    let refused = node.try_retract(&id.to_string()).await;
    Client::assert_refused(refused, Code::PermissionDenied, "only its author");

    // A retraction that a stranger signed withdraws nothing of mine, whether it comes before or after.
    let target = mine.parse().unwrap();
    let foreign = Grain::retract(target, Default::default(), &stranger, now_ms()).unwrap();
    node.bulk_put(vec![item(foreign.as_bytes())]).await;
    assert_eq!(node.get(&mine).await.text, "This is mine.");
    node.wait_indexed().await;
    assert_eq!(node.search("whose is this").await.hits.len(), 2);

    // The stranger's own does withdraw the stranger's.
    let own = Grain::retract(id, Default::default(), &stranger, now_ms()).unwrap();
    node.bulk_put(vec![item(own.as_bytes())]).await;
    Client::assert_refused(node.try_get(&id.to_string()).await, Code::NotFound, "no grain");
    node.verify_sound().await;
}

//! Many grains are withdrawn or shared at once: all that are meant, one's own alone, and again after an interruption.

use serde_json::json;
use synapsenet_proto::{Draft, Grain, Identity, rpc};
use tonic::Code;

use super::harness::{Client, Ran, TestNode, folder, note, now_ms, program, ran, synapsenet};

async fn on(node: &TestNode, arguments: &[&str]) -> Ran {
    synapsenet(node.dir(), arguments).await
}

/// A note of the topic `house` with the tag `a`.
fn of_house(text: &str) -> rpc::Draft {
    rpc::Draft { topic: "house".into(), tags: vec!["a".into()], ..note(text) }
}

/// Hands in a note of the topic `house` that somebody else sealed.
async fn put_strangers(node: &TestNode) -> String {
    let draft = Draft {
        topic: synapsenet_proto::Topic::new("house").unwrap(),
        text: "A stranger's.".into(),
        tags: vec!["a".into()],
        ..Draft::default()
    };
    let grain = Grain::seal(draft, &Identity::from_seed(&[9; 32]), now_ms()).unwrap();
    let item = rpc::bulk_put_request::Item::Grain(grain.as_bytes().to_vec());
    let put = node
        .bulk_put(vec![rpc::BulkPutRequest { item: Some(item), share: true, ..Default::default() }])
        .await;
    assert_eq!(put[0].outcome(), rpc::PutOutcome::Added);
    grain.id().to_string()
}

fn house() -> rpc::Filter {
    rpc::Filter { topic: "house".into(), ..Default::default() }
}

async fn retract_house(node: &TestNode, dry_run: bool) -> Vec<rpc::RetractMatchingResponse> {
    let request = rpc::RetractMatchingRequest { filter: Some(house()), dry_run, ..Default::default() };
    let mut answers = node.rpc.clone().retract_matching(request).await.unwrap().into_inner();
    let mut all = Vec::new();
    while let Some(answer) = answers.message().await.unwrap() {
        all.push(answer);
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn many_are_withdrawn_page_by_page_and_an_interrupted_call_is_made_again() {
    let node = TestNode::fresh().await;
    let drafts = (0..600).map(|n| rpc::BulkPutRequest {
        item: Some(rpc::bulk_put_request::Item::Draft(of_house(&format!("Room {n}.")))),
        share: false,
        ..Default::default()
    });
    node.bulk_put(drafts.collect()).await;
    let other = node.put("Of another topic.").await;
    let strangers = put_strangers(&node).await;

    let planned = retract_house(&node, true).await;
    assert_eq!((planned.len(), planned[0].finished), (1, true));
    assert_eq!((planned[0].meant, planned[0].not_own, planned[0].first.len()), (600, 1, 5));
    assert_eq!(node.status().await.retractions, 0);

    // Whoever hangs up ends it.
    let request = rpc::RetractMatchingRequest { filter: Some(house()), ..Default::default() };
    let mut answers = node.rpc.clone().retract_matching(request).await.unwrap().into_inner();
    let counted = answers.message().await.unwrap().unwrap();
    assert_eq!((counted.meant, counted.retracted, counted.finished), (600, 0, false));
    drop(answers);

    let answers = retract_house(&node, false).await;
    let end = answers.last().unwrap();
    // What the call before had under way may have been withdrawn by it since this one counted.
    assert!(end.finished && end.refused == 0 && end.retracted <= end.meant, "{end:?}");
    assert!(answers.is_sorted_by_key(|answer| answer.retracted), "it tells how far it is");
    assert_eq!(node.list(house()).await.iter().map(|grain| &grain.id).collect::<Vec<_>>(), [&strangers]);
    assert_eq!(node.get(&other).await.text, "Of another topic.");
    assert!(node.status().await.retractions >= 600);
    let again = retract_house(&node, false).await;
    assert_eq!((again.len(), again[0].meant, again[0].finished), (1, 0, true));
    node.verify_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_means_everything() {
    let node = TestNode::fresh().await;
    node.put("This stays.").await;
    let empty = node.rpc.clone().retract_matching(rpc::RetractMatchingRequest::default()).await;
    Client::assert_refused(empty.map(drop), Code::InvalidArgument, "which grains");
    let request = rpc::ShareMatchingRequest { filter: Some(house()), whole_source: true, dry_run: false };
    let shared = node.rpc.clone().share_matching(request).await;
    Client::assert_refused(shared.map(drop), Code::InvalidArgument, "names no source");
    assert_eq!(node.status().await.grains, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_taken_from_a_file_that_is_gone_is_withdrawn_by_its_name() {
    let node = TestNode::fresh().await;
    let notes = folder();
    let root = notes.path().canonicalize().unwrap();
    let write = |name: &str, text: &str| std::fs::write(root.join(name), text).unwrap();
    write("todo", "Buy batteries.");
    write("todo-archive", "Bought a lamp.");
    let path = root.to_str().unwrap();
    on(&node, &["add", "--quiet", path]).await.ended_with(0);
    std::fs::remove_file(root.join("todo")).unwrap();
    let gone = format!("{path}/todo");

    // Nothing goes without a yes, nor in a dry run.
    on(&node, &["retract", "--source", &gone]).await.ended_with(2).assert_told("no terminal", "--yes");
    let planned = on(&node, &["retract", "--json", "--source", &gone, "--dry-run"]).await.ended_with(0);
    let planned = planned.records();
    assert_eq!((planned.len(), &planned[0]["event"]), (2, &json!("first")));
    assert_eq!(planned[1], json!({"event": "dry_run", "grains": 1, "not_yours": 0, "refused": 0}));
    assert_eq!(node.status().await.grains, 2);

    // From its folder, by its name alone.
    let mut command = program(node.dir(), &[]);
    command.current_dir(&root);
    let ended = ran(command, &["retract", "--json", "--yes", "--source", "./todo"], "").await.ended_with(0);
    assert_eq!(ended.record(), json!({"event": "retracted", "grains": 1, "not_yours": 0, "refused": 0}));
    let texts =
        async || node.list(Default::default()).await.into_iter().map(|grain| grain.text).collect::<Vec<_>>();
    assert_eq!(texts().await, ["Bought a lamp."], "a file whose name begins so is another");
    on(&node, &["forget", "--yes", "--source", &gone]).await.ended_with(0);
    assert_eq!(texts().await, ["Bought a lamp."], "nor is it forgotten with the other");
    let people = on(&node, &["retract", "--yes", "--source", path]).await.ended_with(0);
    assert_eq!(people.out, "retracted 1 grain\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_a_tag_is_shared_once_and_only_ones_own() {
    let node = TestNode::fresh().await;
    for text in ["The boiler is serviced in May.", "The tiles are from 1987."] {
        node.put_draft(of_house(text)).await;
    }
    let private = node.put("Nobody's business.").await;
    put_strangers(&node).await;
    let share = ["share", "--tag", "a", "--topic", "house"];
    on(&node, &share).await.ended_with(2).assert_told("no terminal", "--yes");
    let planned = on(&node, &[&share[..], &["--dry-run"]].concat()).await.ended_with(0);
    assert!(planned.out.ends_with("2 grains would be shared, 1 not yours\n"), "{}", planned.out);
    assert!(node.list(house()).await.iter().filter(|grain| grain.shared).count() == 1, "nothing was done");

    let shared = on(&node, &[&share[..], &["--yes", "--json"]].concat()).await.ended_with(0).record();
    let expected = json!({"event": "shared", "grains": 2, "already": 0, "not_yours": 1, "refused": 0});
    assert_eq!(shared, expected);
    assert!(node.list(house()).await.iter().all(|grain| grain.shared));
    assert!(!node.get(&private).await.shared);
    let again = on(&node, &[&share[..], &["--yes"]].concat()).await.ended_with(0);
    assert_eq!(again.out, "shared 0 grains, 2 shared before, 1 not yours\n");
}

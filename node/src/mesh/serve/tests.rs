use std::collections::BTreeSet;

use proptest::prelude::*;
use prost::Message;
use synapsenet_net::{Request, Response};
use synapsenet_proto::{Announcement, Claim, Draft, Encoding, Grain, GrainId, Topic, rpc};
use synapsenet_storage::Change;
use tokio::sync::watch;

use super::*;
use crate::testing::{Fixture, assert_page_says, author, claimed, note, peer};

fn serve(node: &Fixture) -> Serve {
    Serve::new(node.memory.clone(), watch::Sender::new(BTreeSet::from([Topic::default()])).subscribe())
}

/// Computes an answer at once, without a turn.
fn sync(serve: &Serve, item: rpc::Reconcile) -> Result<rpc::SyncResponse, Refused> {
    let item = Some(rpc::sync_request::Item::Reconcile(item));
    serve.inner.sync(rpc::SyncRequest { item })
}

fn everything() -> rpc::Reconcile {
    // The list of no ids, in one range: the answer lists all.
    rpc::Reconcile { topic: "commons".into(), message: vec![0x61, 0, 0, 2, 0], ..Default::default() }
}

fn fetch(serve: &Serve, ids: &[GrainId], model: &[u8]) -> Result<Vec<Announcement>, Refused> {
    let ids = ids.iter().flat_map(|id| *id.as_bytes()).collect();
    let answer = serve.inner.fetch(&rpc::FetchRequest { ids, space_id: model.to_vec() })?;
    Ok(answer.grains.into_iter().map(|grain| Announcement::from_message(grain).unwrap()).collect())
}

fn question(node: &Fixture, towards: usize, k: u32) -> rpc::Question {
    let vector = node.vector(towards).encode(Encoding::I8);
    let model = node.model().as_bytes().to_vec();
    rpc::Question { space_id: model, vector: vector.as_bytes().to_vec(), k, filter: None }
}

/// Stores a grain with its vector, so that a search finds it.
async fn put_searchable(node: &Fixture, grain: &Grain, towards: usize, shared: bool) {
    node.ingest.put(grain.clone(), shared).await.unwrap();
    let (slot, vector) = (node.slot_of(grain.id()), node.vector(towards));
    let stored = Change::AddVector { slot, vector: vector.encode(Encoding::F16) };
    node.ingest.apply(vec![stored]).await.unwrap();
    node.memory.current().apply_log(&node.memory.store.view().unwrap()).unwrap();
}

#[tokio::test]
async fn a_private_grain_never_leaves() {
    let node = Fixture::new();
    let (private, shared) = (note(&author(1), "private"), note(&author(1), "shared"));
    put_searchable(&node, &private, 1, false).await;
    put_searchable(&node, &shared, 2, true).await;
    let serve = serve(&node);

    let answer = sync(&serve, everything()).unwrap();
    assert_eq!(answer.grains, 1);
    assert!(!answer.message.windows(32).any(|bytes| bytes == private.id().as_bytes()));
    assert!(answer.message.windows(32).any(|bytes| bytes == shared.id().as_bytes()));
    let fetched = fetch(&serve, &[private.id(), shared.id()], &[]).unwrap();
    assert_eq!(fetched.iter().map(|found| found.grain.id()).collect::<Vec<_>>(), [shared.id()]);
    let found = serve.inner.search(peer(7), question(&node, 1, 64)).unwrap().grains;
    let found: Vec<_> = found.into_iter().map(|grain| Announcement::from_message(grain).unwrap()).collect();
    assert_eq!(found.iter().map(|found| found.grain.id()).collect::<Vec<_>>(), [shared.id()]);
}

#[tokio::test]
async fn a_peer_that_asks_is_given_only_what_was_checked() {
    let node = Fixture::new();
    let (true_one, doubtful) = (note(&author(1), "checked"), note(&author(2), "claimed"));
    put_searchable(&node, &true_one, 2, true).await;
    node.ingest.put(doubtful.clone(), true).await.unwrap();
    let (slot, author) = (node.slot_of(doubtful.id()), author(2).author());
    let vector = node.vector(1).encode(Encoding::F16);
    node.ingest.apply(vec![Change::AddClaimed { slot, author, vector }]).await.unwrap();
    node.memory.current().apply_log(&node.memory.store.view().unwrap()).unwrap();
    let serve = serve(&node);
    let found = async || {
        let found = serve.inner.search(peer(7), question(&node, 1, 64)).unwrap().grains;
        found
            .into_iter()
            .map(|grain| Announcement::from_message(grain).unwrap().grain.id())
            .collect::<Vec<_>>()
    };
    assert_eq!(found().await, [true_one.id()]);
    node.memory.current().unchecked.remove(slot);
    assert_eq!(found().await, [doubtful.id(), true_one.id()]);
}

#[tokio::test]
async fn what_is_new_is_listed_at_once() {
    let node = Fixture::new();
    let serve = serve(&node);
    for n in 0..5 {
        assert_eq!(sync(&serve, everything()).unwrap().grains, n);
        node.ingest.put(note(&author(1), &format!("grain {n}")), true).await.unwrap();
        // A small topic takes less than a millisecond to read, and is used for twenty times that.
        let mut grains = n;
        while grains == n {
            grains = sync(&serve, everything()).unwrap().grains;
        }
    }
}

#[tokio::test]
async fn claims_are_given_to_those_who_can_use_them() {
    let node = Fixture::new();
    let announcement = claimed(&author(1), "a text", &node.vector(1));
    node.ingest.receive(announcement.clone(), peer(1)).await.unwrap();
    let (serve, id) = (serve(&node), announcement.grain.id());
    assert_eq!(fetch(&serve, &[id], node.model().as_bytes()).unwrap(), [announcement]);
    for model in [&[][..], &[9; 32]] {
        assert_eq!(fetch(&serve, &[id], model).unwrap()[0].claim, None);
    }
}

#[tokio::test]
async fn a_claim_of_another_rule_is_given_to_nobody_and_makes_room_for_one_of_this() {
    let mut node = Fixture::new();
    let note = note(&author(0), "a text");
    let id = note.id();
    put_searchable(&node, &note, 1, true).await;
    let claim = Claim::seal(id, &node.vector(1), &author(0)).to_message();
    let former = rpc::Claim { passage_rule: 0, ..claim };
    let stored = Change::AddClaim { slot: node.slot_of(id), claim: former.encode_to_vec() };
    node.ingest.apply(vec![stored]).await.unwrap();
    let serve = serve(&node);
    assert_eq!(fetch(&serve, &[id], node.model().as_bytes()).unwrap()[0].claim, None);
    let found = serve.inner.search(peer(7), question(&node, 1, 1)).unwrap().grains;
    assert_eq!((found.len(), found[0].claim.as_ref()), (1, None));

    // Whoever shares it once more vouches for it by this rule.
    node.ingest.offer(id, true).await.unwrap();
    let announced = node.announced.try_recv().unwrap().into_announcement();
    assert!(announced.claim.is_some());
    assert_eq!(fetch(&serve, &[id], node.model().as_bytes()).unwrap(), [announced]);
}

#[tokio::test]
async fn an_answer_holds_two_megabytes_in_the_order_asked() {
    let node = Fixture::new();
    let text = |n: u64| {
        let mut bytes = vec![0; 8000];
        blake3::Hasher::new().update(&n.to_le_bytes()).finalize_xof().fill(&mut bytes);
        bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>()
    };
    let grains: Vec<Grain> = (0..200).map(|n| note(&author(1), &text(n))).collect();
    let put = |grain: &Grain| {
        let grain = grain.clone();
        Change::Put {
            grain,
            shared: true,
            received_ms: 1,
            claim: None,
            origin: synapsenet_storage::Origin::Known,
            lane: 9,
        }
    };
    node.memory.store.write(grains.iter().map(put).collect()).unwrap();
    let ids: Vec<GrainId> = grains.iter().rev().map(Grain::id).collect();
    let fetched = fetch(&serve(&node), &ids, &[]).unwrap();
    let fetched: Vec<GrainId> = fetched.iter().map(|found| found.grain.id()).collect();
    assert!((120..132).contains(&fetched.len()), "{}", fetched.len());
    assert_eq!(fetched, ids[..fetched.len()]);
}

#[tokio::test]
async fn wrong_questions_are_refused() {
    let node = Fixture::new();
    let serve = serve(&node);
    let refused_sync = [
        rpc::Reconcile { topic: "elsewhere".into(), ..everything() },
        rpc::Reconcile { topic: "No Topic".into(), ..everything() },
        rpc::Reconcile { from_ms: 9, before_ms: 9, ..everything() },
        rpc::Reconcile { message: vec![], ..everything() },
        rpc::Reconcile { message: vec![1, 2, 3], ..everything() },
    ];
    for question in refused_sync {
        assert!(sync(&serve, question.clone()).is_err(), "{question:?}");
    }
    assert!(serve.inner.sync(rpc::SyncRequest { item: None }).is_err());
    for (ids, model) in [(33, 0), (32 * 513, 0), (32, 31)] {
        let question = rpc::FetchRequest { ids: vec![0; ids], space_id: vec![0; model] };
        assert!(serve.inner.fetch(&question).is_err());
    }
    let good = question(&node, 1, 1);
    assert!(serve.inner.search(peer(7), good.clone()).is_ok());
    let short = node.vector(1).encode(Encoding::I8).as_bytes()[..100].to_vec();
    let with_filter = |filter| rpc::Question { filter: Some(filter), ..good.clone() };
    let refused_search = [
        rpc::Question { k: 0, ..good.clone() },
        rpc::Question { k: 65, ..good.clone() },
        rpc::Question { space_id: vec![7; 32], ..good.clone() },
        rpc::Question { space_id: vec![], ..good.clone() },
        rpc::Question { vector: vec![], ..good.clone() },
        rpc::Question { vector: short, ..good.clone() },
        rpc::Question { vector: node.vector(1).encode(Encoding::F16).as_bytes().to_vec(), ..good.clone() },
        with_filter(rpc::QuestionFilter { topic: "No".into(), ..Default::default() }),
        with_filter(rpc::QuestionFilter { author: b"me".into(), ..Default::default() }),
        with_filter(rpc::QuestionFilter { tags: vec!["t".into(); 17], ..Default::default() }),
    ];
    for question in refused_search {
        assert!(
            serve.inner.search(peer(7), question.clone()).is_err(),
            "{:?} {}",
            question.filter,
            question.k
        );
    }
}

#[test]
fn the_page_for_implementers_says_what_an_answer_holds() {
    assert_page_says(
        "answers",
        &[
            ("bytes of the grains in a fetch or search answer", MAX_ANSWER_BYTES.to_string()),
            ("grains in a search answer", MAX_HITS.to_string()),
            ("peers asked with one question", crate::mesh::ask::MAX_PEERS.to_string()),
        ],
    );
    assert_eq!(crate::mesh::ask::MAX_PEER_HITS, MAX_HITS as usize, "what is asked for is given");
}

#[tokio::test]
async fn what_a_peer_is_told_was_of_use_once_a_day_for_each_peer() {
    let node = Fixture::new();
    let (told, private) = (note(&author(1), "told"), note(&author(1), "private"));
    put_searchable(&node, &told, 1, true).await;
    put_searchable(&node, &private, 1, false).await;
    let serve = serve(&node);
    for by in [1, 2, 1] {
        let asked = Request::Search(question(&node, 1, 9));
        let Response::Search(answer) = serve.answer(peer(by), asked).await else { panic!() };
        assert_eq!(answer.grains.len(), 1);
    }
    let uses = [told, private].map(|grain| node.memory.uses.of(node.slot_of(grain.id())).all());
    assert_eq!(uses, [2, 0]);
}

#[tokio::test]
async fn a_peer_that_asks_without_end_is_told_that_this_node_is_busy() {
    let node = Fixture::new();
    let serve = serve(&node);
    let question = Request::Search(question(&node, 1, 1));
    let mut busy = 0;
    for _ in 0..20 {
        let Response::Search(answer) = serve.answer(peer(1), question.clone()).await else { panic!() };
        busy += usize::from(answer.refused == BUSY);
    }
    assert!(busy > 0);
    let Response::Search(answer) = serve.answer(peer(2), question).await else { panic!() };
    assert_eq!(answer.refused, "", "others are not kept waiting");
}

#[tokio::test]
async fn pages_are_told_with_a_span_of_more_than_the_newest_one_only() {
    let node = Fixture::new();
    let put = |n: u64| {
        let draft = Draft { text: n.to_string(), ..Draft::default() };
        let grain = Grain::seal(draft, &author(1), n).unwrap();
        Change::Put {
            grain,
            shared: true,
            received_ms: 1,
            claim: None,
            origin: synapsenet_storage::Origin::Known,
            lane: 9,
        }
    };
    let count = crate::mesh::sync::items::PAGE_GRAINS as u64 * 2 + 1;
    node.memory.store.write((0..count).map(put).collect()).unwrap();
    let serve = serve(&node);
    let answer = sync(&serve, everything()).unwrap();
    assert_eq!((answer.grains, answer.pages.len()), (count, 3));
    let newest = sync(&serve, rpc::Reconcile { from_ms: answer.pages[0], ..everything() }).unwrap();
    assert_eq!((newest.grains, newest.pages.len()), (count, 0));
    let until_now = sync(&serve, rpc::Reconcile { before_ms: count + 1, ..everything() }).unwrap();
    assert_eq!(until_now.pages, answer.pages);
    let older = sync(&serve, rpc::Reconcile { before_ms: answer.pages[0], ..everything() }).unwrap();
    assert!(older.pages.is_empty());
    assert_eq!(newest.message.len() / 32, count as usize / 2);
}

#[test]
fn any_message_of_a_peer_is_answered_or_refused() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let node = Fixture::new();
    for n in 0..50 {
        runtime.block_on(node.ingest.put(note(&author(1), &format!("grain {n}")), true)).unwrap();
    }
    let serve = serve(&node);
    proptest!(|(mut message in proptest::collection::vec(any::<u8>(), 1..400), from_ms in any::<u64>(), before_ms in any::<u64>())| {
        message[0] = 0x61;
        let _ = sync(&serve, rpc::Reconcile { from_ms, before_ms, message, ..everything() });
    });
}

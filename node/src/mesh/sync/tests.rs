use std::collections::{BTreeSet, HashSet};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

use data_encoding::HEXLOWER;
use futures::FutureExt;
use proptest::prelude::*;
use prost::Message;
use synapsenet_net::{AskError, Offence, Request, Response};
use synapsenet_proto::{Announcement, Draft, Grain, GrainId, Topic, rpc};
use synapsenet_storage::Change;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::board::{Board, Teller};
use super::items::{Items, PAGE_GRAINS};
use super::pace::{self, Pace};
use super::pull::{Next, Pull, Pulled};
use super::refused::RefusedIds;
use super::source::{Ask, Source};
use crate::memory::events::{Events, Happening, SyncProgress, SyncState};
use crate::mesh::serve::Serve;
use crate::testing::{Fixture, assert_page_says, author, claimed, note, peer};

const START_MS: u64 = 1_700_000_000_000;

#[test]
fn the_page_for_implementers_says_the_limits_of_sync() {
    use super::session::Rounds;
    use super::{items, pull, schedule, session, source};
    assert_page_says(
        "sync",
        &[
            ("bytes of a negentropy message", session::MAX_FRAME_BYTES.to_string()),
            ("items from which on negentropy itself opens", session::FEW_GRAINS.to_string()),
            ("grains on a page", items::MAX_PAGE_GRAINS.to_string()),
            ("pages that are gone through", pull::MAX_PAGES.to_string()),
            ("rounds in a session", Rounds::MAX.to_string()),
            ("fruitless rounds in a row", Rounds::MAX_FRUITLESS.to_string()),
            ("ids in a fetch question, at most", pull::MAX_FETCHED_IDS.to_string()),
            ("ids in a fetch question of this program", pull::FETCHED_IDS.to_string()),
            ("fetches at the same time", pull::MAX_FETCHES.to_string()),
            ("times that a grain is asked for", source::MAX_TRIES.to_string()),
            ("times that a busy peer is asked", source::MAX_BUSY.to_string()),
            ("milliseconds before a busy peer is asked again", source::BUSY_PAUSE.as_millis().to_string()),
            ("seconds for a first answer", source::FIRST_PATIENCE.as_secs().to_string()),
            ("bytes for each second of waiting, at least", pace::MIN_BYTES_A_SECOND.to_string()),
            ("bytes that an answer counts at least", pace::MIN_ANSWER_BYTES.to_string()),
            ("seconds of waiting after which a pace is judged", pace::PACE_WINDOW.as_secs().to_string()),
            ("seconds for a synchronisation", pull::MAX_SYNC.as_secs().to_string()),
            ("seconds without a new grain", pull::MAX_BARREN.as_secs().to_string()),
            ("grains listed and not given", pull::MAX_NEVER_GIVEN.to_string()),
            (
                "seconds between two sessions with one peer on one topic",
                schedule::MIN_GAP.as_secs().to_string(),
            ),
            ("sessions at the same time", schedule::MAX_RUNNING.to_string()),
            ("of those, on one topic", schedule::MAX_OF_TOPIC.to_string()),
            ("of those, with one peer", schedule::MAX_OF_PEER.to_string()),
        ],
    );
}

/// The test vectors for other implementers: a newcomer's first question, and the answer of a node that has two grains.
#[tokio::test]
async fn a_newcomer_asks_and_is_answered_as_in_the_test_vectors() {
    let vectors = |name: &str| {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../proto/vectors").join(name);
        serde_json::from_slice::<serde_json::Value>(&std::fs::read(path).unwrap()).unwrap()
    };
    let bytes = |value: &serde_json::Value| HEXLOWER.decode(value.as_str().unwrap().as_bytes()).unwrap();
    let (recorded, exchanges) = (vectors("grains.json"), vectors("questions.json"));
    let exchange = &exchanges["exchanges"][1];
    let grains: Vec<Grain> =
        (1..3).map(|n| Grain::open(&bytes(&recorded["grains"][n]["grain"])).unwrap()).collect();
    let there = node_with(&grains);
    let topics = watch::Sender::new(BTreeSet::from([Topic::default()])).subscribe();
    let question =
        rpc::SyncRequest::decode_length_delimited(bytes(&exchange["question"]).as_slice()).unwrap();
    let Some(rpc::sync_request::Item::Reconcile(first)) = &question.item else { panic!("{question:?}") };
    let nothing = super::session::Session { items: Items::of_times(0..0), is_first: true };
    assert_eq!(first.message, nothing.open().unwrap());
    let answer = Serve::new(there.memory.clone(), topics).answer(peer(1), Request::Sync(question)).await;
    let Response::Sync(answer) = answer else { panic!("{answer:?}") };
    assert_eq!(answer.encode_length_delimited_to_vec(), bytes(&exchange["answer"]));
    let need = nothing.step(&answer.message).unwrap().need;
    assert_eq!(need.into_iter().collect::<BTreeSet<_>>(), ids(&grains));
}

fn grain(n: u64, created_ms: u64) -> Grain {
    Grain::seal(Draft { text: format!("grain {n}"), ..Draft::default() }, &author(1), created_ms).unwrap()
}

fn grains(count: u64) -> Vec<Grain> {
    (0..count).map(|n| grain(n, START_MS + n * 1000)).collect()
}

fn fill<'a>(node: &Fixture, grains: impl IntoIterator<Item = &'a Grain>) {
    let put = |grain: &Grain| Change::Put {
        grain: grain.clone(),
        shared: true,
        received_ms: 1,
        claim: None,
        origin: synapsenet_storage::Origin::Known,
        lane: 9,
    };
    node.memory.store.write(grains.into_iter().map(put).collect()).unwrap();
}

fn node_with<'a>(grains: impl IntoIterator<Item = &'a Grain>) -> Fixture {
    let node = Fixture::new();
    fill(&node, grains);
    node
}

fn shared(node: &Fixture) -> BTreeSet<GrainId> {
    let items = node.view().shared_items(&Topic::default(), 0, None).unwrap();
    items.into_iter().map(|(_, id)| id).collect()
}

fn ids<'a>(grains: impl IntoIterator<Item = &'a Grain>) -> BTreeSet<GrainId> {
    grains.into_iter().map(Grain::id).collect()
}

/// A peer that answers from this memory, through `change`.
fn changed(there: &Fixture, change: impl Fn(&Request, Response) -> Response + Send + Sync + 'static) -> Ask {
    let topics = watch::Sender::new(BTreeSet::from([Topic::default()])).subscribe();
    let serve = Serve::new(there.memory.clone(), topics);
    let change = Arc::new(change);
    Arc::new(move |request: Request| {
        let (serve, change) = (serve.clone(), change.clone());
        async move { Ok(change(&request, serve.answer(peer(2), request.clone()).await)) }.boxed()
    })
}

fn honest(there: &Fixture) -> Ask {
    changed(there, |_, answer| answer)
}

fn pull_with(here: &Fixture, ask: Ask, refused: Arc<RefusedIds>) -> Pull {
    pull_at_pace(here, ask, refused, Pace::default())
}

fn pull_at_pace(here: &Fixture, ask: Ask, refused: Arc<RefusedIds>, pace: Pace) -> Pull {
    let source = Source {
        memory: here.memory.clone(),
        ingest: here.ingest.clone(),
        refused,
        under_way: Arc::default(),
        pace,
        ask,
        topic: Topic::default(),
        peer: peer(3),
        round_trips: Default::default(),
        comparison_bytes: Default::default(),
        fetches: Default::default(),
        bytes_sent: Default::default(),
        bytes_received: Default::default(),
    };
    Pull::new(source, Teller::new(Board::default(), here.events.clone()))
}

async fn pull(here: &Fixture, ask: Ask) -> Pulled {
    pull_with(here, ask, Arc::default()).run(&CancellationToken::new()).await
}

async fn pulled(here: &Fixture, there: &Fixture) -> SyncProgress {
    let pulled = pull(here, honest(there)).await;
    assert_eq!((&pulled.progress.state, pulled.offence), (&SyncState::Done, None));
    pulled.progress
}

#[track_caller]
fn assert_offence(pulled: &Pulled, offence: Offence) {
    assert!(matches!(pulled.progress.state, SyncState::Failed(_)), "{:?}", pulled.progress);
    assert_eq!(pulled.offence, Some(offence), "{:?}", pulled.progress);
}

#[tokio::test]
async fn nothing_missing_costs_one_round_trip_and_few_bytes() {
    let grains = grains(2000);
    let (here, there) = (node_with(&grains), node_with(&grains));
    let progress = pulled(&here, &there).await;
    assert_eq!((progress.round_trips, progress.missing), (1, 0));
    let bytes = progress.bytes_sent + progress.bytes_received;
    assert!(bytes < 400, "{bytes} bytes");
}

#[tokio::test]
async fn two_that_have_nothing_agree_at_once() {
    let progress = pulled(&Fixture::new(), &Fixture::new()).await;
    assert_eq!(progress.round_trips, 1);
}

#[tokio::test]
async fn one_of_two_thousand_takes_three_round_trips() {
    let grains = grains(2000);
    let there = node_with(&grains);
    let here = node_with(grains.iter().filter(|grain| grain.id() != grains[1234].id()));
    let progress = pulled(&here, &there).await;
    assert_eq!((progress.missing, progress.fetched), (1, 1));
    assert!(progress.round_trips <= 3, "{}", progress.round_trips);
    assert_eq!(shared(&here), ids(&grains));
}

#[tokio::test]
async fn five_hundred_scattered_among_twenty_thousand_are_found() {
    let grains = grains(20_000);
    let there = node_with(&grains);
    let is_missing = |n: usize| n % 40 == 7;
    let here = node_with(grains.iter().enumerate().filter(|(n, _)| !is_missing(*n)).map(|(_, grain)| grain));
    let progress = pulled(&here, &there).await;
    assert_eq!((progress.missing, progress.fetched), (500, 500));
    assert_eq!(shared(&here), ids(&grains));
    // The ids of all would be 640,000 bytes.
    let bytes = progress.bytes_sent + progress.bytes_received;
    assert!(progress.round_trips < 10 && bytes < 500_000, "{progress:?}");
}

#[tokio::test]
async fn a_newcomer_fetches_the_newest_first() {
    let grains = grains(5 * PAGE_GRAINS as u64 / 2);
    let (here, there) = (Fixture::new(), node_with(&grains));
    let asked = Arc::new(Mutex::new(Vec::new()));
    let log = asked.clone();
    let ask = changed(&there, move |request, answer| {
        if let Request::Fetch(question) = request {
            log.lock().unwrap().extend(question.ids.chunks(32).map(<[u8]>::to_vec));
        }
        answer
    });
    let progress = pull(&here, ask).await.progress;
    assert_eq!((progress.state, progress.fetched), (SyncState::Done, grains.len() as u64));
    assert_eq!(shared(&here), ids(&grains));
    for (page, asked) in asked.lock().unwrap().chunks(PAGE_GRAINS).enumerate() {
        let end = grains.len() - page * PAGE_GRAINS;
        let newest = ids(&grains[end.saturating_sub(PAGE_GRAINS)..end]);
        assert!(asked.iter().all(|id| newest.iter().any(|newest| newest.as_bytes() == id.as_slice())));
    }
}

#[tokio::test]
async fn the_beginning_and_the_end_are_told() {
    let (here, there) = (Fixture::new(), node_with(&grains(10)));
    let mut told = here.events.listen();
    let last = pulled(&here, &there).await;
    let mut progress = Vec::new();
    while let Ok(happening) = told.try_recv() {
        if let Happening::Sync(told) = happening {
            progress.push(told);
        }
    }
    assert_eq!(progress.first().map(|first| &first.state), Some(&SyncState::Running));
    assert_eq!(progress.last(), Some(&last));
}

#[tokio::test]
async fn what_was_interrupted_goes_on_and_fetches_nothing_twice() {
    let grains = grains(5000);
    let (here, there) = (Fixture::new(), node_with(&grains));
    let answered = Arc::new(Mutex::new(Vec::new()));
    let counted = |ask: Ask, most: usize| -> Ask {
        let (answered, fetches) = (answered.clone(), Arc::new(AtomicUsize::new(0)));
        Arc::new(move |request: Request| {
            let (ask, answered) = (ask.clone(), answered.clone());
            if matches!(request, Request::Fetch(_)) && fetches.fetch_add(1, SeqCst) >= most {
                return async { Err(AskError::NotConnected) }.boxed();
            }
            async move {
                let answer = ask(request).await?;
                if let Response::Fetch(answer) = &answer {
                    let ids = answer.grains.iter().map(|grain| Grain::open(&grain.grain).unwrap().id());
                    answered.lock().unwrap().extend(ids);
                }
                Ok(answer)
            }
            .boxed()
        })
    };
    let first = pull(&here, counted(honest(&there), 5)).await;
    assert!(matches!(first.progress.state, SyncState::Failed(_)) && first.offence.is_none());
    assert!(first.added > 0 && first.added < 5000);
    let second = pull(&here, counted(honest(&there), usize::MAX)).await;
    assert_eq!(second.progress.state, SyncState::Done);
    assert_eq!(first.added + second.added, 5000);
    let answered = answered.lock().unwrap();
    assert_eq!(answered.len(), answered.iter().collect::<HashSet<_>>().len());
}

#[tokio::test]
async fn a_sync_that_is_cancelled_ends() {
    let (here, cancel) = (Fixture::new(), CancellationToken::new());
    let ask: Ask = Arc::new(|_| futures::future::pending().boxed());
    let pull = pull_with(&here, ask, Arc::default());
    let stop = cancel.clone();
    let (pulled, ()) = tokio::join!(pull.run(&cancel), async move { stop.cancel() });
    assert!(matches!(pulled.progress.state, SyncState::Failed(_)));
}

#[tokio::test]
async fn a_peer_that_answers_garbage_is_reported() {
    let (here, there) = (node_with(&grains(100)), Fixture::new());
    for garbage in [vec![], vec![7; 50], vec![0x61, 1, 2, 3], vec![0x61, 0, 0, 2, 0xff, 0xff, 0xff, 0x7f]] {
        let garble = move |_: &Request, _| {
            Response::Sync(rpc::SyncResponse { message: garbage.clone(), ..Default::default() })
        };
        assert_offence(&pull(&here, changed(&there, garble)).await, Offence::BadAnswer);
    }
}

#[tokio::test]
async fn pages_without_order_are_reported() {
    let (here, there) = (Fixture::new(), Fixture::new());
    let lie = |_: &Request, _| {
        let pages = vec![5, 9, 2];
        Response::Sync(rpc::SyncResponse { grains: 1 << 40, pages, ..Default::default() })
    };
    assert_offence(&pull(&here, changed(&there, lie)).await, Offence::BadAnswer);
}

#[tokio::test]
async fn a_session_that_leads_nowhere_is_reported() {
    let (here, there) = (node_with(&grains(100)), Fixture::new());
    // "I have something else in the whole range", whatever is asked.
    let lie = |_: &Request, _| {
        let message = [&[0x61, 0, 0, 1][..], &[9; 16]].concat();
        Response::Sync(rpc::SyncResponse { message, ..Default::default() })
    };
    let pulled = pull(&here, changed(&there, lie)).await;
    assert_offence(&pulled, Offence::EndlessSync);
    assert!(pulled.progress.round_trips <= 5, "{}", pulled.progress.round_trips);
}

#[tokio::test]
async fn a_peer_may_list_ids_that_it_does_not_have_for_a_while() {
    let (here, there) = (Fixture::new(), node_with(&grains(20)));
    let (fetches, counted) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let count = fetches.clone();
    let withhold = move |_: &Request, answer| match answer {
        Response::Fetch(_) => {
            count.fetch_add(1, SeqCst);
            Response::Fetch(rpc::FetchResponse::default())
        }
        other => other,
    };
    let pulled = pull(&here, changed(&there, withhold)).await;
    assert_eq!((pulled.progress.state, pulled.progress.fetched), (SyncState::Done, 0));
    assert_eq!((fetches.load(SeqCst), pulled.offence), (2, None), "each is asked for twice");

    // 32,000 ids that nobody has, in every answer.
    let lie = move |request: &Request, _| match request {
        Request::Sync(_) => {
            let n = counted.fetch_add(1, SeqCst) as u64;
            let id = |i: u64| *blake3::hash(&(n << 32 | i).to_le_bytes()).as_bytes();
            let list =
                [&[0x61, 0, 0, 2, 0xa0, 0x00][..], &(0..4096).flat_map(id).collect::<Vec<u8>>()].concat();
            Response::Sync(rpc::SyncResponse { message: list, ..Default::default() })
        }
        _ => Response::Fetch(rpc::FetchResponse::default()),
    };
    let pulled = pull(&here, changed(&there, lie)).await;
    // Whoever wrote them may have withdrawn them while they were asked for, which is not the peer's fault.
    assert_eq!(pulled.offence, None);
    let SyncState::Failed(reason) = pulled.progress.state else { panic!("it goes on without end") };
    assert!(reason.contains("does not give"), "{reason}");
}

/// A peer whose clock is ahead has grains that are not taken yet. They lie beyond the span that is compared.
#[tokio::test]
async fn a_grain_of_tomorrow_is_not_fetched_before_its_time_and_nobodys_fault() {
    let draft = Draft { text: "tomorrow".into(), ..Draft::default() };
    let ahead = synapsenet_proto::MAX_CLOCK_SKEW_MS + 600_000;
    let grain = Grain::seal(draft, &author(1), crate::memory::ingest::now_ms() + ahead).unwrap();
    let (here, there) = (Fixture::new(), Fixture::new());
    let put = synapsenet_storage::Change::Put {
        grain,
        shared: true,
        received_ms: 1,
        claim: None,
        origin: synapsenet_storage::Origin::Known,
        lane: 9,
    };
    there.ingest.apply(vec![put]).await.unwrap();
    let refused = Arc::<RefusedIds>::default();
    let pulled = pull_with(&here, honest(&there), refused.clone()).run(&CancellationToken::new()).await;
    assert_eq!((&pulled.progress.state, pulled.offence), (&SyncState::Done, None));
    assert_eq!((pulled.progress.missing, pulled.progress.refused), (0, 0));
}

#[tokio::test]
async fn a_grain_that_was_not_asked_for_or_is_of_another_topic_is_reported() {
    let other = Topic::new("other").unwrap();
    let foreign = Draft { text: "foreign".into(), topic: other, ..Draft::default() };
    let foreign = Grain::seal(foreign, &author(1), START_MS).unwrap();
    for wrong in [note(&author(1), "not asked for"), foreign] {
        let (here, there) = (Fixture::new(), node_with(&grains(3)));
        let slip_in = move |_: &Request, answer| match answer {
            Response::Fetch(mut answer) => {
                answer.grains.push(Announcement { grain: wrong.clone(), claim: None }.to_message());
                Response::Fetch(answer)
            }
            other => other,
        };
        assert_offence(&pull(&here, changed(&there, slip_in)).await, Offence::BadAnswer);
        assert!(shared(&here).is_empty());
    }
}

#[tokio::test]
async fn a_forged_grain_is_reported() {
    let (here, there) = (Fixture::new(), node_with(&grains(3)));
    let forge = |_: &Request, answer| match answer {
        Response::Fetch(mut answer) => {
            *answer.grains[1].grain.last_mut().unwrap() ^= 1;
            Response::Fetch(answer)
        }
        other => other,
    };
    assert_offence(&pull(&here, changed(&there, forge)).await, Offence::BadAnswer);
}

#[tokio::test]
async fn what_is_dated_ahead_is_not_asked_for_and_a_peer_that_lists_it_all_the_same_is_reported() {
    let ahead = grain(1, crate::memory::ingest::now_ms() + 3 * synapsenet_proto::MAX_CLOCK_SKEW_MS);
    let (here, there) = (Fixture::new(), node_with(&grains(3)));
    fill(&there, [&ahead]);
    let progress = pulled(&here, &there).await;
    assert_eq!((progress.missing, progress.fetched, progress.refused), (3, 3, 0));

    // It is asked up to now and answers about all of time.
    let (here, all) = (Fixture::new(), changed(&there, |_, answer| answer));
    let ask: Ask = Arc::new(move |request: Request| {
        let request = match request {
            Request::Sync(rpc::SyncRequest {
                item: Some(rpc::sync_request::Item::Reconcile(mut question)),
            }) => {
                question.before_ms = 0;
                Request::Sync(rpc::SyncRequest { item: Some(rpc::sync_request::Item::Reconcile(question)) })
            }
            other => other,
        };
        all(request)
    });
    assert_offence(&pull(&here, ask).await, Offence::BadAnswer);
}

#[tokio::test]
async fn a_peer_that_drips_gives_its_place_to_others_and_is_not_punished() {
    let (here, there) = (Fixture::new(), node_with(&grains(700)));
    // As after two answers of a few bytes each that took half a minute.
    let pace = Pace::default();
    pace.note(pace::PACE_WINDOW, 2);
    let pulled =
        pull_at_pace(&here, honest(&there), Arc::default(), pace).run(&CancellationToken::new()).await;
    assert!(matches!(&pulled.progress.state, SyncState::Failed(reason) if reason.contains("slow")));
    assert_eq!((pulled.offence, pulled.next), (None, Next::AfterRest));
    let pulled = pull(&here, honest(&there)).await;
    assert_eq!((pulled.progress.state, pulled.next), (SyncState::Done, Next::Usual));
}

#[tokio::test]
async fn what_was_refused_once_is_not_fetched_again() {
    let grains = grains(3);
    let (here, there) = (Fixture::new(), node_with(&grains));
    let withdrawn = Grain::retract(grains[1].id(), Topic::default(), &author(1), START_MS).unwrap();
    fill(&here, [&withdrawn]);
    let refused = Arc::<RefusedIds>::default();
    for (missing, was_refused) in [(3, 1), (0, 0)] {
        let pull = pull_with(&here, honest(&there), refused.clone());
        let pulled = pull.run(&CancellationToken::new()).await;
        assert_eq!((pulled.progress.missing, pulled.progress.refused), (missing, was_refused));
        assert!(!pulled.lacks.is_nothing(), "the retraction is news for the peer");
    }
}

#[tokio::test]
async fn a_full_node_asks_for_no_more() {
    let (here, there) = (Fixture::with_quota(1), node_with(&grains(900)));
    let pulled = pull(&here, honest(&there)).await;
    assert_eq!(pulled.progress.state, SyncState::Done);
    assert!(pulled.progress.quota_reached);
    assert_eq!(pulled.progress.fetched, 0);
    assert!(pulled.progress.refused <= 512, "{}", pulled.progress.refused);
    let again = pull(&here, honest(&there)).await;
    assert_eq!(
        (again.progress.missing, again.progress.refused),
        (0, 0),
        "what is too old is not even compared"
    );
}

#[tokio::test]
async fn a_busy_peer_is_asked_again() {
    let (here, there) = (Fixture::new(), node_with(&grains(3)));
    let asked = AtomicUsize::new(0);
    let busy = move |_: &Request, answer| {
        if asked.fetch_add(1, SeqCst) > 0 {
            return answer;
        }
        Response::Sync(rpc::SyncResponse { refused: "busy".into(), ..Default::default() })
    };
    let pulled = pull(&here, changed(&there, busy)).await;
    assert_eq!((pulled.progress.state, pulled.added), (SyncState::Done, 3));
}

#[tokio::test]
async fn claims_come_along() {
    let (here, there) = (Fixture::new(), Fixture::new());
    let announcement = claimed(&author(1), "a text", &there.vector(1));
    let id = announcement.grain.id();
    let claim = announcement.claim.clone().map(|claim| claim.to_bytes());
    there.ingest.receive(announcement, peer(1)).await.unwrap();
    let progress = pulled(&here, &there).await;
    assert_eq!((progress.fetched, progress.with_claim), (1, 1));
    assert_eq!(here.view().claim(here.slot_of(id)).unwrap(), claim);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]
    #[test]
    fn random_sets_become_equal_whoever_asks_first(
        // Many of one time, so that times alone part nothing.
        spread in prop_oneof![Just(1u64), Just(7), Just(1000)],
        holders in proptest::collection::vec(0u8..4, 0..600),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let pool: Vec<Grain> =
            (0..holders.len() as u64).map(|n| grain(n, START_MS + n % spread)).collect();
        let held_by = |bit: u8| pool.iter().zip(&holders).filter(move |(_, of)| **of & bit != 0).map(|(grain, _)| grain);
        let (one, two) = (node_with(held_by(1)), node_with(held_by(2)));
        let all: BTreeSet<GrainId> = held_by(3).map(Grain::id).collect();
        let lacks_something = runtime.block_on(async {
            let pulled = pull(&one, honest(&two)).await;
            assert_eq!(pulled.progress.state, SyncState::Done);
            !pulled.lacks.is_nothing()
        });
        prop_assert_eq!(&shared(&one), &all);
        prop_assert_eq!(lacks_something, shared(&two) != all);
        runtime.block_on(pulled(&two, &one));
        prop_assert_eq!(shared(&two), all);
    }
}

#[test]
fn progress_is_kept_by_topic() {
    let board = Board::default();
    let mut teller = Teller::new(board.clone(), Events::new());
    let mut progress = SyncProgress::of_start(Topic::default(), peer(1));
    teller.tell(&progress);
    assert_eq!(board.read(), [progress.clone()]);
    progress.fetched = 7;
    teller.tell_sometimes(&progress);
    assert_eq!(board.read()[0].fetched, 0, "it was told just before");
    progress.state = SyncState::Done;
    teller.tell(&progress);
    assert_eq!(board.read(), [progress]);
    board.retain(&BTreeSet::new());
    assert!(board.read().is_empty());
}

//! Strangers, budgets, shares and rules, against a store and its ingest thread.

use synapsenet_proto::{Announcement, Draft, GrainId, Identity};
use synapsenet_storage::Change;

use super::*;
use crate::memory::VECTOR_ENCODING;
use crate::memory::emergence::uses::{Asker, today};
use crate::memory::ingest::{IngestError, Put, now_ms};
use crate::testing::{Fixture, author, note, peer};

const PLENTY: Budget = Budget { grains: 100_000, bytes: 1 << 30 };

fn node(max_notes: u64, author: Budget, peer: Budget) -> Fixture {
    Fixture::with_limits(Limits::new(max_notes, 50, 0, author, peer))
}

fn dated(author: &Identity, text: &str, ago_ms: u64) -> Grain {
    let draft = Draft { text: text.to_owned(), ..Draft::default() };
    Grain::seal(draft, author, now_ms() - ago_ms).unwrap()
}

fn topic() -> Topic {
    Topic::default()
}

/// A node where those of the lowest scores go.
fn scoring(max_notes: u64) -> Fixture {
    let limits = Limits { by_score: true, ..Limits::new(max_notes, 50, 0, PLENTY, PLENTY) };
    Fixture::with_limits(limits)
}

impl Fixture {
    /// A peer brings a grain, whose vector points there, and which is scored.
    async fn brings_scored(&self, grain: Grain, towards: usize) -> Grain {
        self.brings(9, grain.clone()).await.unwrap();
        let slot = self.slot_of(grain.id());
        let vector = self.vector(towards).encode(VECTOR_ENCODING);
        self.ingest.apply(vec![Change::AddVector { slot, vector }]).await.unwrap();
        self.memory.current().apply_log(&self.view()).unwrap();
        self.score_all(9);
        grain
    }

    /// The owner opens grains that were hits.
    fn opens<'a>(&self, grains: impl IntoIterator<Item = &'a Grain>) {
        for slot in grains.into_iter().map(|grain| self.slot_of(grain.id())) {
            self.memory.uses.note_hits(Asker::Owner("owner"), [slot].into_iter(), today());
            self.memory.uses.note_opened(Asker::Owner("owner"), slot, today());
        }
    }

    async fn brings(&self, by: u8, grain: Grain) -> Result<Put, Refusal> {
        match self.ingest.receive(Announcement { grain, claim: None }, peer(by)).await {
            Ok(put) => Ok(put),
            Err(IngestError::Refused(refusal)) => Err(refusal),
            Err(error) => panic!("{error}"),
        }
    }

    async fn says(&self, text: &str) -> Result<Put, IngestError> {
        self.ingest.put(note(&author(0), text), false).await
    }

    fn holds(&self, id: GrainId) -> bool {
        self.view().slot_of(&id).unwrap().is_some()
    }

    async fn rule(&self, of: u8, rule: Option<AuthorRule>) {
        let author = author(of).author();
        self.ingest.apply(vec![Change::SetAuthorRule { author, rule }]).await.unwrap();
    }
}

#[tokio::test]
async fn strangers_fill_their_share_and_never_the_owners() {
    let node = node(20, PLENTY, PLENTY);
    for n in 0..30 {
        let brought = node
            .brings(9, dated(&author(n % 5 + 1), &format!("spam {n}"), 60_000 + 60_000 * u64::from(n)))
            .await;
        assert_eq!(brought.is_ok(), n < 10, "{n}: {brought:?}");
    }
    for n in 0..20 {
        node.says(&format!("my own {n}")).await.unwrap();
    }
    let held = node.view().counts().unwrap();
    assert!(held.notes <= 20 && held.strangers == 0, "theirs gave way: {held:?}");
    assert!(matches!(node.says("one more").await, Err(IngestError::Refused(Refusal::NodeFull(20)))));
}

#[tokio::test]
async fn when_scores_decide_what_is_worth_least_goes_and_does_not_come_back() {
    let node = scoring(20);
    let mut held = Vec::new();
    for n in 0..9 {
        held.push(node.brings_scored(dated(&author(1), &format!("old {n}"), 10_000 - n), n as usize).await);
    }
    node.opens(&held);
    let copy = node.brings_scored(dated(&author(2), "old 3!", 5000), 3).await;
    let newest = node.brings_scored(dated(&author(3), "young", 10), 20).await;
    assert!(!node.holds(copy.id()), "neither the oldest nor the newest, but a copy");
    assert!(node.holds(newest.id()) && held.iter().all(|grain| node.holds(grain.id())));
    assert_eq!(node.view().forgotten().unwrap(), 1);
    assert_eq!(node.brings(8, copy).await, Err(Refusal::Forgotten));
    assert_eq!(node.view().counts().unwrap().strangers, 10);
    // Older than all that is held is not taken, so that nobody fetches what was there before.
    assert_eq!(node.brings(9, dated(&author(2), "older", 20_000)).await, Err(Refusal::StrangersFull));
}

#[tokio::test]
async fn what_has_no_score_yet_outlives_what_has_one_and_whom_the_owner_follows_outlives_both() {
    let node = scoring(20);
    node.rule(7, Some(AuthorRule::Followed)).await;
    let followed = node.brings_scored(dated(&author(7), "followed", 20_000), 0).await;
    let echo = node.brings_scored(dated(&author(7), "followed!", 10_001), 0).await;
    node.opens([&followed]);
    let mut scored = Vec::new();
    for n in 1..4 {
        scored.push(
            node.brings_scored(dated(&author(1), &format!("scored {n}"), 10_000 - n), n as usize).await,
        );
    }
    for n in 0..10 {
        node.brings(9, dated(&author(2), &format!("new {n}"), 100 - n)).await.unwrap();
    }
    assert!(scored.iter().all(|grain| !node.holds(grain.id())), "they go first");
    assert!(node.holds(followed.id()) && node.holds(echo.id()), "a copy, and followed");
    assert_eq!(node.view().counts().unwrap().strangers, 10);
    // When nothing else is left, the oldest of those go.
    node.brings(9, dated(&author(2), "the newest", 1)).await.unwrap();
    let first = dated(&author(2), "new 0", 100);
    assert_eq!(node.view().counts().unwrap().strangers, 10);
    assert!(!node.holds(first.id()));
}

#[tokio::test]
async fn a_flood_waits_while_too_many_have_no_score_and_the_share_is_full() {
    let node = scoring(2 * LEAST_UNSCORED);
    for n in 0..LEAST_UNSCORED {
        node.brings(9, dated(&author(1), &format!("flood {n}"), 10_000 - n)).await.unwrap();
    }
    let more = dated(&author(2), "more", 10);
    assert_eq!(node.brings(9, more.clone()).await, Err(Refusal::StrangersFull));
    // Once one of them has a score, another may come.
    let slot = node.view().first_pending(None, &|_| false).unwrap().unwrap();
    let vector = node.vector(1).encode(VECTOR_ENCODING);
    node.ingest.apply(vec![Change::AddVector { slot, vector }]).await.unwrap();
    node.memory.current().apply_log(&node.view()).unwrap();
    node.score_all(9);
    assert_eq!(node.brings(9, more).await, Ok(Put::Added));
}

#[tokio::test]
async fn what_the_owner_puts_in_keeps_no_stranger_out() {
    let node = scoring(2 * LEAST_UNSCORED);
    for n in 0..LEAST_UNSCORED {
        node.brings_scored(dated(&author(1), &format!("held {n}"), 10_000 - n), n as usize).await;
    }
    for n in 0..LEAST_UNSCORED {
        node.says(&format!("my own {n}")).await.unwrap();
    }
    assert_eq!(node.view().counts().unwrap().pending, LEAST_UNSCORED);
    assert_eq!(node.brings(9, dated(&author(2), "more", 10)).await, Ok(Put::Added));
}

#[tokio::test]
async fn while_nothing_was_of_use_the_oldest_go_and_then_what_nobody_vouches_for() {
    let node = scoring(20);
    let mut held = Vec::new();
    for n in 0..11 {
        held.push(node.brings_scored(dated(&author(1), &format!("said {n}"), 10_000 - n), n as usize).await);
    }
    assert!(!node.holds(held[0].id()), "nothing tells what is worth keeping");
    node.opens([&held[1], &held[2]]);
    let limits = Limits { by_score: true, ..Limits::new(20, 50, 0, PLENTY, PLENTY) };
    node.ingest.limit(Limits { max_strangers: 3, ..limits }).await;
    let newer = node.brings_scored(dated(&author(2), "newer", 100), 30).await;
    let kept: Vec<usize> = (0..11).filter(|n| node.holds(held[*n].id())).collect();
    assert!(kept == [1, 2] && node.holds(newer.id()), "{kept:?}");
}

#[tokio::test]
async fn an_author_that_was_of_use_may_bring_more_in_a_day_and_no_more_than_four_times() {
    let node = node(8, Budget { grains: 2, bytes: 1 << 20 }, PLENTY);
    let brings = async |by: u8, n: u64| {
        node.brings(9, dated(&author(by), &format!("text {n}"), 10_000 - n)).await.is_ok()
    };
    let first = node.brings_scored(dated(&author(1), "of use", 20_000), 1).await;
    assert!(brings(1, 0).await && !brings(1, 1).await);
    node.opens([&first]);
    assert!(brings(1, 2).await && brings(1, 3).await && !brings(1, 4).await, "twice as much");
    assert!(brings(2, 5).await && brings(2, 6).await && !brings(2, 7).await, "as before");
    let author = Budget { grains: 2, bytes: 1 }.times(1 + 1000.min(MAX_USES_COUNTED));
    assert_eq!(author.grains, 8);
}

#[tokio::test]
async fn retractions_have_no_score_and_do_not_fill_the_share_for_ever() {
    let node = scoring(20);
    let mut last = None;
    for n in 0..40 {
        let grain =
            node.brings_scored(dated(&author(1), &format!("said {n}"), 10_000 - 100 * n), n as usize).await;
        let retraction =
            Grain::retract(grain.id(), grain.topic().clone(), &author(1), grain.created_ms() + 1).unwrap();
        node.brings(9, retraction).await.unwrap();
        let kept = dated(&author(2), &format!("kept {n}"), 9_950 - 100 * n);
        let kept = last.insert(node.brings_scored(kept, 50 + n as usize).await);
        node.opens([&*kept]);
    }
    let held = node.view().counts().unwrap();
    assert!(held.strangers <= 10 && held.stranger_notes * 2 + 2 >= held.strangers, "{held:?}");
    assert!(node.holds(last.unwrap().id()));
}

#[tokio::test]
async fn when_their_share_is_full_the_oldest_give_way_to_younger_ones_only() {
    let node = node(20, PLENTY, PLENTY);
    let old: Vec<Grain> = (0..10).map(|n| dated(&author(1), &format!("old {n}"), 10_000 - n)).collect();
    for grain in &old {
        node.brings(9, grain.clone()).await.unwrap();
    }
    assert_eq!(node.brings(9, dated(&author(2), "older", 20_000)).await, Err(Refusal::StrangersFull));
    assert_eq!(node.memory.floor_ms(), old[0].created_ms());
    let young = dated(&author(2), "younger", 10);
    assert_eq!(node.brings(9, young.clone()).await, Ok(Put::Added));
    assert!(node.holds(young.id()) && !node.holds(old[0].id()));
    let held = node.view().counts().unwrap();
    assert_eq!((held.strangers, node.view().forgotten().unwrap()), (10, 0), "one for one");
}

#[tokio::test]
async fn what_is_pinned_stays_whatever_makes_room_and_what_is_unpinned_goes_in_its_turn() {
    for node in [node(20, PLENTY, PLENTY), scoring(20)] {
        let oldest = node.brings_scored(dated(&author(1), "the oldest", 20_000), 1).await;
        let slot = node.slot_of(oldest.id());
        node.ingest.apply(vec![Change::Pin { slot, pinned: true, most: 9 }]).await.unwrap();
        for n in 0..15 {
            node.brings(9, dated(&author(2), &format!("younger {n}"), 10_000 - n)).await.unwrap();
        }
        assert!(node.holds(oldest.id()));
        assert_eq!(node.view().counts().unwrap().strangers, 10, "it takes none of their room");
        node.ingest.apply(vec![Change::Pin { slot, pinned: false, most: 9 }]).await.unwrap();
        node.brings(9, dated(&author(2), "the youngest", 1)).await.unwrap();
        assert!(!node.holds(oldest.id()));
    }
}

/// What comes in one commit is judged by what comes with it: a share that is filled within a commit ends with the youngest.
#[tokio::test]
async fn whatever_the_order_and_the_commits_the_youngest_are_kept() {
    let times: Vec<u64> = (0..60).map(|n| (n * 37 % 60) * 1000 + 5000).collect();
    let mut youngest = times.clone();
    youngest.sort_unstable();
    for at_once in [1, 7, 60] {
        let node = node(20, PLENTY, PLENTY);
        let grains: Vec<Grain> =
            times.iter().map(|&ago| dated(&author(1), &format!("{ago} ms ago"), ago)).collect();
        for some in grains.chunks(at_once) {
            futures::future::join_all(some.iter().map(|grain| node.brings(9, grain.clone()))).await;
        }
        let kept: HashSet<bool> = grains
            .iter()
            .zip(&times)
            .map(|(grain, ago)| node.holds(grain.id()) == youngest[..10].contains(ago))
            .collect();
        assert_eq!(kept, HashSet::from([true]), "{at_once} at once");
    }
}

#[tokio::test]
async fn an_author_and_a_peer_bring_no_more_in_a_day_than_they_may() {
    let (little, more) = (Budget { grains: 3, bytes: 1 << 20 }, Budget { grains: 8, bytes: 1 << 20 });
    let node = node(4, little, more);
    // Nothing of the room that is left is as much as these.
    let mut refused = Vec::new();
    for n in 0..12_u8 {
        let by = author(n / 4 + 1);
        refused.extend(node.brings(9, dated(&by, &format!("text {n}"), 1000 - u64::from(n))).await.err());
    }
    assert_eq!(
        refused,
        [
            Refusal::AuthorOverBudget,
            Refusal::AuthorOverBudget,
            Refusal::PeerOverBudget,
            Refusal::PeerOverBudget
        ]
    );
    assert_eq!(node.brings(8, dated(&author(4), "by another", 0)).await, Ok(Put::Added));
}

#[test]
fn with_much_room_a_fifth_of_it_is_one_authors_and_three_quarters_one_peers() {
    let day = Budget { grains: 10, bytes: 1 << 40 };
    let limits = Limits::new(2000, 50, 0, day, day);
    let most = |part: &dyn Fn(u64) -> u64| {
        (0..).find(|&spent| spent >= part(limits.max_strangers - spent).max(day.grains)).unwrap()
    };
    assert_eq!(most(&|room| room / AUTHOR_PART), 200);
    assert_eq!(most(&|room| room * PEER_TIMES), 750);
}

#[test]
fn a_budget_is_new_the_next_day_and_counted_for_no_more_than_may_be() {
    let (now, budget) = (Instant::now(), Budget { grains: 1, bytes: 10 });
    let mut spent = Spent::new(now);
    for who in 0..MAX_COUNTED {
        assert!(spent.has_left(&who, budget, now));
        spent.spend(who, 1);
        assert!(!spent.has_left(&who, budget, now));
    }
    assert!(spent.has_left(&MAX_COUNTED, budget, now), "the others have one together");
    spent.spend(MAX_COUNTED, 1);
    assert!(!spent.has_left(&(MAX_COUNTED + 7), budget, now));
    assert_eq!(spent.spent.len(), MAX_COUNTED);
    assert!(spent.has_left(&0, budget, now + DAY));
}

#[tokio::test]
async fn who_is_followed_is_no_stranger_and_who_is_blocked_is_not_heard() {
    let node = node(20, Budget { grains: 1, bytes: 1 << 20 }, PLENTY);
    node.rule(1, Some(AuthorRule::Followed)).await;
    for n in 0..12 {
        node.brings(9, dated(&author(1), &format!("followed {n}"), 1000)).await.unwrap();
    }
    assert_eq!(node.view().counts().unwrap().strangers, 0);
    node.rule(1, None).await;
    assert_eq!(node.view().counts().unwrap().strangers, 12);
    node.rule(2, Some(AuthorRule::Blocked)).await;
    assert_eq!(node.brings(9, dated(&author(2), "blocked", 0)).await, Err(Refusal::Blocked));
    assert!(node.memory.rules().blocks(&author(2).author()));
}

#[tokio::test]
async fn a_topic_takes_from_those_whom_its_policy_names() {
    let node = node(100, PLENTY, PLENTY);
    let set = async |policy| {
        node.ingest.apply(vec![Change::SetTopicPolicy { topic: topic(), policy }]).await.unwrap();
    };
    set(TopicPolicy::Listed(vec![author(1).author()])).await;
    assert_eq!(node.brings(9, dated(&author(1), "listed", 0)).await, Ok(Put::Added));
    assert_eq!(node.brings(9, dated(&author(2), "not listed", 0)).await, Err(Refusal::NotListed));
    set(TopicPolicy::Known).await;
    assert_eq!(node.brings(9, dated(&author(1), "unknown", 0)).await, Err(Refusal::NotListed));
    node.rule(2, Some(AuthorRule::Followed)).await;
    assert_eq!(node.brings(9, dated(&author(2), "followed", 0)).await, Ok(Put::Added));
    assert_eq!(node.brings(9, dated(&author(0), "the owner's own", 0)).await, Ok(Put::Added));
    set(TopicPolicy::Open).await;
    assert_eq!(node.brings(9, dated(&author(3), "anybody", 0)).await, Ok(Put::Added));
}

#[tokio::test]
async fn a_retraction_that_withdraws_nothing_is_not_kept() {
    let node = node(100, PLENTY, PLENTY);
    let own = note(&author(0), "mine");
    node.ingest.put(own.clone(), true).await.unwrap();
    let retraction = |of: &Grain, by: u8, ms| Grain::retract(of.id(), topic(), &author(by), ms).unwrap();
    for n in 0..50 {
        let idle = node.brings(9, retraction(&own, 1, n)).await;
        assert_eq!(idle, Err(Refusal::ForeignRetraction), "another wrote it");
    }
    let theirs = dated(&author(1), "theirs", 0);
    node.brings(9, theirs.clone()).await.unwrap();
    for n in 0..50 {
        // One is kept, whichever comes first.
        assert!(node.brings(9, retraction(&theirs, 1, n)).await.is_ok());
    }
    let held = node.view().counts().unwrap();
    assert_eq!((held.notes, held.retractions), (1, 1));
    assert!(node.view().verify(&mut |_, _| ()).unwrap().is_empty());
}

#[tokio::test]
async fn what_the_owner_says_is_kept_though_a_stranger_said_the_same() {
    let node = node(100, PLENTY, PLENTY);
    node.brings(9, dated(&author(1), "the same words", 5)).await.unwrap();
    assert_eq!(node.says("the same words").await.unwrap(), Put::Added);
    assert!(matches!(node.says("the same words").await.unwrap(), Put::Duplicate { .. }));
}

#[tokio::test]
async fn what_is_forgotten_does_not_come_back_unless_the_owner_puts_it() {
    let node = node(100, PLENTY, PLENTY);
    let grain = dated(&author(1), "unwanted", 5);
    node.brings(9, grain.clone()).await.unwrap();
    let slots = vec![node.slot_of(grain.id())];
    node.ingest.apply(vec![Change::Forget { slots, remember: true }]).await.unwrap();
    assert_eq!(node.brings(9, grain.clone()).await, Err(Refusal::Forgotten));
    assert_eq!(node.ingest.put(grain.clone(), false).await.unwrap(), Put::Added);
    assert!(node.holds(grain.id()));
}

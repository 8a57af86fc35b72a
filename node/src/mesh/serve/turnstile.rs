//! Who may ask now: how often, and how many at the same time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use synapsenet_net::{Bucket, PeerId};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::memory::Memory;

/// Answers computed at the same time: some milliseconds of work each, and the people at this node have work, too.
const MAX_ANSWERS: usize = 8;
/// Of those, for one peer.
const MAX_ANSWERS_PER_PEER: usize = 2;
/// Searches of peers that are computed at the same time, so that one core is left for the people at this node.
const MAX_SEARCHES: usize = 1;
/// How long a question waits for its turn. The swarm bounds how many there are that wait. While the owner of this node asks something, a
/// search waits for all of it, and a fetch or a comparison gives way for a moment.
const MAX_WAIT: Duration = Duration::from_secs(5);
/// Peers remembered: many times those that can be connected. One that is forgotten begins anew.
const MAX_PEERS: usize = 1024;

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Sync = 0,
    Fetch = 1,
    Search = 2,
}

/// Questions a second, and how many at once after a rest, by [`Kind`]: a session with many differences has tens of
/// messages in a few seconds; 50 full fetches are more than any line here carries; a search costs milliseconds.
const RATES: [(f64, f64); 3] = [(20.0, 60.0), (50.0, 100.0), (2.0, 10.0)];

struct Caller {
    buckets: [Bucket; 3],
    turns: Arc<Semaphore>,
    seen: Instant,
}

impl Caller {
    fn new(now: Instant) -> Self {
        let buckets = RATES.map(|(rate, burst)| Bucket::new(rate, burst, now));
        Self { buckets, turns: Arc::new(Semaphore::new(MAX_ANSWERS_PER_PEER)), seen: now }
    }
}

/// The right to compute one answer.
pub(super) struct Turn {
    _permits: (OwnedSemaphorePermit, OwnedSemaphorePermit, Option<OwnedSemaphorePermit>),
}

/// Lets questions in.
pub(super) struct Turnstile {
    callers: Mutex<HashMap<PeerId, Caller>>,
    turns: Arc<Semaphore>,
    searches: Arc<Semaphore>,
    /// Tells whether the owner of this node asks something, which comes first.
    memory: Arc<Memory>,
}

impl Turnstile {
    pub fn new(memory: Arc<Memory>) -> Self {
        let [turns, searches] = [MAX_ANSWERS, MAX_SEARCHES].map(|turns| Arc::new(Semaphore::new(turns)));
        Self { callers: Mutex::default(), turns, searches, memory }
    }

    /// Waits for a peer's turn. None when it asks too often, or it would wait too long.
    pub async fn enter(&self, peer: PeerId, kind: Kind) -> Option<Turn> {
        let own = self.admit(peer, kind, Instant::now())?;
        let wait = async {
            // Its own first: a peer that asks much must not keep places that others could have.
            let own = own.acquire_owned().await.ok()?;
            // Before a place among all, which those who fetch could have.
            let search = match kind {
                Kind::Search => Some(self.searches.clone().acquire_owned().await.ok()?),
                Kind::Sync | Kind::Fetch => None,
            };
            match kind {
                Kind::Search => self.memory.wait_for_owner().await,
                Kind::Sync | Kind::Fetch => self.memory.give_way().await,
            }
            let all = self.turns.clone().acquire_owned().await.ok()?;
            Some(Turn { _permits: (own, all, search) })
        };
        tokio::time::timeout(MAX_WAIT, wait).await.ok()?
    }

    fn admit(&self, peer: PeerId, kind: Kind, now: Instant) -> Option<Arc<Semaphore>> {
        let mut callers = self.callers.lock().unwrap_or_else(PoisonError::into_inner);
        if callers.len() >= MAX_PEERS && !callers.contains_key(&peer) {
            let oldest = callers.iter().min_by_key(|(_, caller)| caller.seen).map(|(peer, _)| *peer);
            if let Some(oldest) = oldest {
                callers.remove(&oldest);
            }
        }
        let caller = callers.entry(peer).or_insert_with(|| Caller::new(now));
        caller.seen = now;
        let is_in = caller.buckets[kind as usize].take(now);
        is_in.then(|| caller.turns.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Fixture, assert_page_says, peer};

    fn turnstile() -> Turnstile {
        Turnstile::new(Fixture::new().memory.clone())
    }

    #[tokio::test]
    async fn a_question_of_the_owner_comes_before_searches_of_peers() {
        let memory = Fixture::new().memory.clone();
        let turnstile = Turnstile::new(memory.clone());
        let asking = memory.note_question();
        let mut search = Box::pin(turnstile.enter(peer(1), Kind::Search));
        assert!(futures::poll!(&mut search).is_pending());
        // What only gives away is held up for a moment.
        assert!(turnstile.enter(peer(2), Kind::Fetch).await.is_some());
        assert!(futures::poll!(&mut search).is_pending());
        drop(asking);
        let turn = search.await;
        assert!(turn.is_some());
        let mut next = Box::pin(turnstile.enter(peer(3), Kind::Search));
        assert!(futures::poll!(&mut next).is_pending(), "one at a time");
        drop(turn);
        assert!(next.await.is_some());
    }

    #[test]
    fn the_page_for_implementers_says_whose_turn_it_is() {
        let rate = |kind: Kind| RATES[kind as usize].0.to_string();
        let burst = |kind: Kind| RATES[kind as usize].1.to_string();
        assert_page_says(
            "turns",
            &[
                ("sync questions a second", rate(Kind::Sync)),
                ("sync questions at once", burst(Kind::Sync)),
                ("fetch questions a second", rate(Kind::Fetch)),
                ("fetch questions at once", burst(Kind::Fetch)),
                ("search questions a second", rate(Kind::Search)),
                ("search questions at once", burst(Kind::Search)),
                ("answers computed at the same time", MAX_ANSWERS.to_string()),
                ("of those, for one peer", MAX_ANSWERS_PER_PEER.to_string()),
                ("searches computed at the same time", MAX_SEARCHES.to_string()),
                ("seconds that a question waits for its turn", MAX_WAIT.as_secs().to_string()),
            ],
        );
    }

    #[test]
    fn a_peer_that_asks_too_often_has_to_wait_and_the_others_do_not() {
        let (turnstile, now) = (turnstile(), Instant::now());
        let ask = |n: u8, kind, at| turnstile.admit(peer(n), kind, at).is_some();
        let asked = (0..100).filter(|_| ask(1, Kind::Search, now)).count();
        assert_eq!(asked, 10);
        assert!(ask(1, Kind::Sync, now), "another kind has its own measure");
        assert!(ask(2, Kind::Search, now));
        assert!(!ask(1, Kind::Search, now + Duration::from_millis(499)));
        assert!(ask(1, Kind::Search, now + Duration::from_millis(999)));
    }

    #[tokio::test]
    async fn one_peer_computes_two_answers_at_a_time() {
        let turnstile = turnstile();
        let first = turnstile.enter(peer(1), Kind::Fetch).await.unwrap();
        let _second = turnstile.enter(peer(1), Kind::Fetch).await.unwrap();
        let mut third = Box::pin(turnstile.enter(peer(1), Kind::Fetch));
        assert!(futures::poll!(&mut third).is_pending());
        assert!(turnstile.enter(peer(2), Kind::Fetch).await.is_some());
        drop(first);
        assert!(third.await.is_some());
    }

    #[test]
    fn no_more_peers_are_remembered_than_may_be() {
        let (turnstile, now) = (turnstile(), Instant::now());
        for _ in 0..MAX_PEERS + 10 {
            turnstile.admit(PeerId::random(), Kind::Sync, now);
        }
        assert_eq!(turnstile.callers.lock().unwrap().len(), MAX_PEERS);
    }
}

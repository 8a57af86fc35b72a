//! On how many distinct occasions was a grain of use? A hit that somebody opens, once a day for each who does; and what a peer is
//! told, once a day for each peer.
//!
//! It knows who asks as a number that it forgets with the day, and never what was asked. Peers cost nothing to make, so that a grain
//! is of use to no more than [`MAX_PEERS`] of them a day. Nobody but the owner uses up what is counted in a day.
//!
//! Kept in memory, and written with the next commit of others: what was counted in the minute before a crash is lost.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use synapsenet_storage::{Change, Occasions, Slot, StorageError, Store, View};

use crate::memory::ingest::now_ms;

/// How long it is remembered that a grain was of use.
pub(crate) const DAYS: u32 = 90;
/// Peers to whom one grain is of use in a day.
const MAX_PEERS: u8 = 3;
/// Hits that are remembered, and occasions that are counted, in a day: some megabytes. More are not.
const MAX_A_DAY: usize = 1 << 16;
/// Of these, so many at most for others than the owner, so that they never use up its own ...
const MAX_OF_OTHERS: usize = MAX_A_DAY / 4 * 3;
/// ... and for each of them, so that one does not use up all of theirs.
const MAX_OF_ONE: usize = MAX_A_DAY / 16;
/// What was counted is written once it is so old, and something else is written or somebody opens a grain ...
const MAX_AGE: Duration = Duration::from_secs(60);
const DAY_MS: u64 = 24 * 3600 * 1000;

/// How often each grain was of use.
pub(crate) struct Uses {
    is_on: bool,
    today: Mutex<Today>,
    /// By slot, the occasions of [`DAYS`] days.
    totals: RwLock<HashMap<Slot, Occasions>>,
    /// Grows with each occasion of the owner's, and with each day.
    version: AtomicU64,
    /// Makes numbers of who asks, others with each start.
    names: RandomState,
}

/// Who asks: the owner, or one of the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asker<T> {
    Owner(T),
    Other(T),
}

/// How much of a day each of the others used up, and all of them together.
#[derive(Default)]
struct Spent {
    by_one: HashMap<u64, usize>,
    by_others: usize,
}

impl Spent {
    /// How much one of the others may use up still.
    fn left(&self, who: u64) -> usize {
        let one = MAX_OF_ONE.saturating_sub(self.by_one.get(&who).copied().unwrap_or(0));
        one.min(MAX_OF_OTHERS.saturating_sub(self.by_others))
    }

    fn spend(&mut self, who: u64, count: usize) {
        if count > 0 {
            *self.by_one.entry(who).or_default() += count;
            self.by_others += count;
        }
    }
}

#[derive(Default)]
struct Today {
    day: u32,
    /// Grains that were hits.
    hits: HashSet<Slot>,
    /// What of these others than the owner used up.
    hits_spent: Spent,
    /// Who had which.
    had: HashSet<(u64, Slot)>,
    /// What of these others than the owner used up.
    had_spent: Spent,
    peers: HashMap<Slot, u8>,
    /// What is to be written.
    unwritten: HashMap<Slot, Occasions>,
    since: Option<Instant>,
    /// The day that the totals were read on.
    read: u32,
}

/// The day by this machine's clock, counted from 1970-01-01 UTC.
pub(crate) fn today() -> u32 {
    day_of(now_ms())
}

/// The day of a time in milliseconds since 1970-01-01 UTC.
pub(crate) fn day_of(ms: u64) -> u32 {
    u32::try_from(ms / DAY_MS).unwrap_or(u32::MAX)
}

impl Uses {
    /// Reads what was counted. Nothing is, and nothing comes of what was, when `is_on` is false.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn open(store: &Store, is_on: bool) -> Result<Self, StorageError> {
        let (totals, names, version) = (RwLock::default(), RandomState::new(), AtomicU64::new(1));
        let uses = Self { is_on, today: Mutex::default(), totals, version, names };
        if is_on {
            uses.begin(&store.view()?, today())?;
        }
        Ok(uses)
    }

    /// Whether a day began since the totals were read.
    pub fn is_stale(&self, day: u32) -> bool {
        self.is_on && self.lock(day).read != day
    }

    /// Begins a day: reads what counts on it.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn begin(&self, view: &View, day: u32) -> Result<(), StorageError> {
        let mut totals: HashMap<Slot, Occasions> = HashMap::new();
        view.for_each_use(day.saturating_sub(DAYS), &mut |slot, occasions| {
            let total = totals.entry(slot).or_default();
            *total = total.plus(occasions);
        })?;
        let mut today = self.lock(day);
        today.read = day;
        for (&slot, &occasions) in &today.unwritten {
            let total = totals.entry(slot).or_default();
            *total = total.plus(occasions);
        }
        self.version.fetch_add(1, Ordering::Relaxed);
        *self.totals.write().unwrap_or_else(PoisonError::into_inner) = totals;
        Ok(())
    }

    /// Remembers that these were hits, for when one is opened.
    pub fn note_hits(&self, asker: Asker<impl Hash>, slots: impl Iterator<Item = Slot>, day: u32) {
        if !self.is_on {
            return;
        }
        let other = self.number("opens", &asker);
        let mut today = self.lock(day);
        let today = &mut *today;
        let before = today.hits.len();
        let room = MAX_A_DAY.saturating_sub(before);
        let room = other.map_or(room, |who| room.min(today.hits_spent.left(who)));
        for slot in slots {
            if today.hits.len() - before >= room {
                break;
            }
            today.hits.insert(slot);
        }
        if let Some(who) = other {
            today.hits_spent.spend(who, today.hits.len() - before);
        }
    }

    /// The number of one of the others; the owner has none.
    fn number(&self, does: &str, asker: &Asker<impl Hash>) -> Option<u64> {
        match asker {
            Asker::Owner(_) => None,
            Asker::Other(who) => Some(self.names.hash_one((does, who))),
        }
    }

    /// Somebody at this node opens a grain.
    pub fn note_opened(&self, asker: Asker<impl Hash>, slot: Slot, day: u32) {
        if self.is_on {
            let other = self.number("opens", &asker);
            let (Asker::Owner(who) | Asker::Other(who)) = asker;
            let who = self.names.hash_one(("opens", who));
            let mut today = self.lock(day);
            if today.hits.contains(&slot) {
                self.count(&mut today, who, other.is_some(), slot);
            }
        }
    }

    /// A peer is told grains.
    pub fn note_told(&self, peer: impl Hash, slots: &[Slot], day: u32) {
        if !self.is_on || slots.is_empty() {
            return;
        }
        let who = self.names.hash_one(("is told", peer));
        let mut today = self.lock(day);
        for &slot in slots {
            if today.peers.get(&slot).is_none_or(|peers| *peers < MAX_PEERS)
                && self.count(&mut today, who, true, slot)
            {
                *today.peers.entry(slot).or_default() += 1;
            }
        }
    }

    /// True when it is one more occasion.
    fn count(&self, today: &mut Today, who: u64, is_other: bool, slot: Slot) -> bool {
        let is_full = today.had.len() >= MAX_A_DAY || is_other && today.had_spent.left(who) == 0;
        if is_full || !today.had.insert((who, slot)) {
            return false;
        }
        if is_other {
            today.had_spent.spend(who, 1);
        }
        let one = match is_other {
            true => Occasions { by_others: 1, ..Occasions::default() },
            false => Occasions { by_owner: 1, ..Occasions::default() },
        };
        let unwritten = today.unwritten.entry(slot).or_default();
        *unwritten = unwritten.plus(one);
        today.since.get_or_insert_with(Instant::now);
        let mut totals = self.totals.write().unwrap_or_else(PoisonError::into_inner);
        let total = totals.entry(slot).or_default();
        *total = total.plus(one);
        if !is_other {
            self.version.fetch_add(1, Ordering::Relaxed);
        }
        true
    }

    /// On how many occasions a grain was of use.
    pub fn of(&self, slot: Slot) -> Occasions {
        let totals = self.totals.read().unwrap_or_else(PoisonError::into_inner);
        totals.get(&slot).copied().unwrap_or_default()
    }

    /// Another number whenever the owner's occasions are others.
    pub fn version(&self) -> u64 {
        self.version.load(Ordering::Relaxed)
    }

    /// Shows on how many occasions each grain was of use to the owner.
    pub fn for_each_of_owner(&self, mut visit: impl FnMut(Slot, u32)) {
        let totals = self.totals.read().unwrap_or_else(PoisonError::into_inner);
        let by_owner = totals.iter().map(|(&slot, occasions)| (slot, occasions.by_owner));
        by_owner.filter(|(_, by_owner)| *by_owner > 0).for_each(|(slot, by_owner)| visit(slot, by_owner));
    }

    /// Whether what was counted is so old that it is to be written though nothing else is.
    pub fn is_due(&self) -> bool {
        let today = self.today.lock().unwrap_or_else(PoisonError::into_inner);
        today.since.is_some_and(|since| since.elapsed() >= MAX_AGE)
    }

    /// What was counted and not written yet, to be written now.
    pub fn take(&self) -> Option<Change> {
        let mut today = self.today.lock().unwrap_or_else(PoisonError::into_inner);
        today.since = None;
        let uses: Vec<(Slot, Occasions)> = today.unwritten.drain().collect();
        (!uses.is_empty()).then_some(Change::CountUses { day: today.day, uses })
    }

    /// What is counted today. With the first of a day, who had what the day before is forgotten; what is still to be written is
    /// written as of today.
    fn lock(&self, day: u32) -> MutexGuard<'_, Today> {
        let mut today = self.today.lock().unwrap_or_else(PoisonError::into_inner);
        if today.day != day {
            today.day = day;
            today.hits.clear();
            today.had.clear();
            (today.hits_spent, today.had_spent) = (Spent::default(), Spent::default());
            today.peers.clear();
        }
        today
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Fixture, author, note};

    impl Uses {
        fn all_of(&self, slot: Slot) -> u64 {
            self.of(slot).all().into()
        }
    }

    async fn two_notes(node: &Fixture) -> (Slot, Slot) {
        let notes = ["one", "two"].map(|text| note(&author(0), text));
        for grain in &notes {
            node.ingest.put(grain.clone(), false).await.unwrap();
        }
        (node.slot_of(notes[0].id()), node.slot_of(notes[1].id()))
    }

    #[tokio::test]
    async fn a_hit_that_is_opened_counts_once_a_day_for_each_who_does() {
        let node = Fixture::new();
        let (one, two) = two_notes(&node).await;
        let uses = Uses::open(&node.memory.store, true).unwrap();
        uses.note_opened(Asker::Owner("owner"), one, 7);
        assert_eq!(uses.all_of(one), 0, "it was no hit");
        uses.note_hits(Asker::Owner(0), [one].into_iter(), 7);
        for who in
            [Asker::Owner("owner"), Asker::Owner("owner"), Asker::Other("token"), Asker::Owner("owner")]
        {
            uses.note_opened(who, one, 7);
        }
        assert_eq!((uses.all_of(one), uses.all_of(two)), (2, 0));
        assert_eq!(uses.of(one), Occasions { by_owner: 1, by_others: 1 });
        uses.note_opened(Asker::Owner("owner"), one, 8);
        assert_eq!(uses.all_of(one), 2, "on another day it was no hit");
        uses.note_hits(Asker::Owner(0), [one].into_iter(), 8);
        uses.note_opened(Asker::Owner("owner"), one, 8);
        assert_eq!(uses.all_of(one), 3);
        let off = Uses::open(&node.memory.store, false).unwrap();
        off.note_hits(Asker::Owner(0), [one].into_iter(), 7);
        off.note_opened(Asker::Owner("owner"), one, 7);
        assert!(off.all_of(one) == 0 && off.take().is_none() && !off.is_stale(9));
    }

    #[tokio::test]
    async fn a_peer_counts_once_a_day_and_a_crowd_of_them_no_more_than_three() {
        let node = Fixture::new();
        let (one, two) = two_notes(&node).await;
        let uses = Uses::open(&node.memory.store, true).unwrap();
        uses.note_told(1, &[one, two, one], 7);
        uses.note_told(1, &[one], 7);
        assert_eq!((uses.all_of(one), uses.all_of(two)), (1, 1));
        for peer in 0..50 {
            uses.note_told(peer, &[one], 7);
        }
        assert_eq!((uses.all_of(one), uses.all_of(two)), (u64::from(MAX_PEERS), 1));
        uses.note_told(1, &[one], 8);
        assert_eq!(uses.all_of(one), u64::from(MAX_PEERS) + 1);
    }

    #[tokio::test]
    async fn what_was_counted_is_written_once_and_counts_for_ninety_days() {
        let node = Fixture::new();
        let (one, _) = two_notes(&node).await;
        let uses = Uses::open(&node.memory.store, true).unwrap();
        let day = 1000;
        uses.note_told(1, &[one], day);
        uses.note_told(2, &[one], day);
        let change = uses.take().unwrap();
        assert!(uses.take().is_none());
        node.ingest.apply(vec![change]).await.unwrap();
        for (later, expected) in [(0, 2), (DAYS, 2), (DAYS + 1, 0)] {
            assert!(uses.is_stale(day + later) || later == 0);
            uses.begin(&node.view(), day + later).unwrap();
            assert_eq!(uses.all_of(one), expected, "{later} days later");
        }
    }

    #[tokio::test]
    async fn what_is_counted_goes_with_the_next_commit_and_with_the_end() {
        let node = Fixture::new();
        let (one, two) = two_notes(&node).await;
        let stored = || {
            let mut sum = 0;
            node.view().for_each_use(0, &mut |_, occasions| sum += occasions.all()).unwrap();
            sum
        };
        node.memory.uses.note_told(1, &[one, two], today());
        assert_eq!(stored(), 0);
        node.ingest.put(note(&author(0), "three"), false).await.unwrap();
        assert_eq!(stored(), 2);
        node.memory.uses.note_told(2, &[one], today());
        node.ingest.write_uses();
        // It stands before this one in the queue.
        node.ingest.apply(vec![Change::PruneIndexLog { up_to: 0 }]).await.unwrap();
        assert_eq!(stored(), 3);
        node.memory.uses.note_told(3, &[one], today());
        node.ingest.stop().await;
        // Whoever comes later is told so once the queue is empty.
        while node.ingest.apply(vec![Change::PruneIndexLog { up_to: 0 }]).await.is_ok() {}
        crate::testing::until(|| stored() == 4).await;
    }

    #[test]
    fn no_more_is_remembered_of_a_day_than_fits_and_others_never_use_up_the_owners_part() {
        let node = Fixture::new();
        let uses = Uses::open(&node.memory.store, true).unwrap();
        let all = MAX_A_DAY as u64 + 9;
        uses.note_hits(Asker::Other("token"), 0..all, 7);
        assert_eq!(uses.lock(7).hits.len(), MAX_OF_ONE);
        for slot in 0..all {
            uses.note_told(1, &[slot], 7);
        }
        assert_eq!((uses.all_of(MAX_OF_ONE as u64 - 1), uses.all_of(MAX_OF_ONE as u64)), (1, 0));
        for peer in 2..30 {
            for n in 0..MAX_OF_ONE as u64 {
                uses.note_told(peer, &[peer * 100_000 + n], 7);
            }
        }
        assert_eq!(uses.lock(7).had.len(), MAX_OF_OTHERS, "all peers together");
        // The owner has its part, and no more than that.
        uses.note_hits(Asker::Owner("owner"), 0..all, 7);
        assert_eq!(uses.lock(7).hits.len(), MAX_A_DAY);
        for slot in 0..all {
            uses.note_opened(Asker::Owner("owner"), slot, 7);
        }
        assert_eq!(uses.lock(7).had.len(), MAX_A_DAY);
        assert_eq!(uses.all_of(MAX_OF_ONE as u64), 1);
        uses.note_hits(Asker::Other("token"), [1].into_iter(), 8);
        uses.note_told(1, &[1], 8);
        let today = uses.lock(8);
        assert_eq!((today.hits.len(), today.had.len()), (1, 1), "another day");
    }
}

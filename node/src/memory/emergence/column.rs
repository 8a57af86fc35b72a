//! What is kept of each grain that has a vector, and what follows from it for the others when one comes or goes.
//!
//! A pair of grains counts for both, whichever of the two found the other: so it makes no difference which came first, and
//! nothing has to be searched again when one comes.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap, HashSet};

use synapsenet_proto::{AuthorId, GrainId, Topic};
use synapsenet_storage::Slot;

use super::arithmetic::Millionths;
use super::numbers::Numbers;
use super::uses::day_of;

/// Neighbours that coherence counts ...
pub(super) const MAX_NEAR: usize = 20;
/// ... and those of them that one author has at most: keys are less cheap than grains, and nobody's flood hides the others.
pub(super) const MAX_NEAR_OF_ONE: usize = 5;
/// From this cosine on, a neighbour is near ...
pub(super) const LEAST_NEAR: Millionths = Millionths(600_000);
/// ... and from this one on it says the same.
pub(super) const SAME: Millionths = Millionths(980_000);
/// Where a grain stands among the others of its topic: what is less is older. Of the id, half is enough to tell two apart.
pub(super) type Order = (u64, [u8; 16]);

/// Another grain, and the cosine to it: 20 bits for its millionths, 44 for its slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Near(pub u64);

impl Near {
    const SLOT_BITS: u32 = 44;

    pub fn new(slot: Slot, cosine: Millionths) -> Self {
        Self(cosine.min(Millionths::ONE).0 << Self::SLOT_BITS | slot & ((1 << Self::SLOT_BITS) - 1))
    }

    pub fn slot(self) -> Slot {
        self.0 & ((1 << Self::SLOT_BITS) - 1)
    }

    pub fn cosine(self) -> Millionths {
        Millionths(self.0 >> Self::SLOT_BITS)
    }
}

/// What is kept of a grain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub order: Order,
    pub topic: u32,
    pub author: u32,
    /// A digest of its folded words.
    pub words: u64,
    /// The day on which it came here, counted from 1970-01-01 UTC.
    pub came: u32,
    /// Whether it was a stranger's when it was read.
    pub is_strangers: bool,
    /// Whether its neighbours were looked for.
    pub is_scored: bool,
    /// The nearest older one.
    pub older: Option<Near>,
    /// The nearest that takes from what it is worth here; see [`takes_from`].
    pub before: Option<Near>,
    /// The nearest of all, the nearest first and of these the oldest, at most [`MAX_NEAR`] and [`MAX_NEAR_OF_ONE`]; what says the same
    /// is not among them.
    pub near: Vec<Near>,
    /// Authors other than its own that link to it, few of them strangers.
    pub citations: u32,
    /// What it links to itself.
    pub cites: Vec<GrainId>,
}

impl Entry {
    /// Whether it came long after its date, as what a newcomer fetches does.
    pub fn is_history(&self) -> bool {
        self.came > day_of(self.order.0).saturating_add(1)
    }
}

/// Whether one grain takes from what another is worth here, which is near it. A date is no more than what an author says: of two
/// authors, one takes from the other if it came here first. Only of two that both came long after their dates and on one day, as when a
/// newcomer fetches what there is, the newest first, it has to be the older one, too: then neither may lose.
pub(super) fn takes_from((other_slot, other): (Slot, &Entry), (slot, entry): (Slot, &Entry)) -> bool {
    let is_older = other.order < entry.order;
    if other.author == entry.author {
        return is_older;
    }
    let tells_nothing = other.came == entry.came && other.is_history() && entry.is_history();
    other_slot < slot && (is_older || !tells_nothing)
}

/// What a note says of itself, as far as its score hangs on it.
#[derive(Debug, Clone)]
pub(super) struct Said {
    pub order: Order,
    pub topic: Topic,
    pub author: AuthorId,
    pub words: u64,
    pub cites: Vec<GrainId>,
    /// The day on which it came here.
    pub came: u32,
    pub is_strangers: bool,
}

/// Grains that say the same words.
#[derive(Debug, Clone, Default)]
pub(super) struct Group {
    /// The oldest first.
    pub members: BTreeSet<(Order, Slot)>,
    /// How many are of each author.
    pub by_author: HashMap<u32, usize>,
}

impl Group {
    fn insert(&mut self, slot: Slot, entry: &Entry) {
        if self.members.insert((entry.order, slot)) {
            *self.by_author.entry(entry.author).or_default() += 1;
        }
    }

    fn remove(&mut self, slot: Slot, entry: &Entry) {
        if self.members.remove(&(entry.order, slot))
            && let Some(count) = self.by_author.get_mut(&entry.author)
        {
            *count -= 1;
            if *count == 0 {
                self.by_author.remove(&entry.author);
            }
        }
    }
}

/// Every grain that has a vector.
#[derive(Debug, Clone, Default)]
pub(super) struct Column {
    pub entries: HashMap<Slot, Entry>,
    pub topics: Numbers<Topic>,
    pub authors: Numbers<AuthorId>,
    /// By the number of a topic, the slots in it.
    members: HashMap<u32, BTreeSet<Slot>>,
    /// By their words, the grains; most are alone, and stand in the first.
    alone: HashMap<u64, Slot>,
    pub together: HashMap<u64, Group>,
    /// Those whose neighbours are to be looked for.
    pub waiting: BTreeSet<Slot>,
}

impl Column {
    /// Takes a note in; its neighbours are to be looked for. One that is there is kept, and looked for again.
    pub fn insert(&mut self, slot: Slot, said: Said) {
        self.waiting.insert(slot);
        if self.entries.contains_key(&slot) {
            return;
        }
        let (topic, author) = (self.topics.take(&said.topic), self.authors.take(&said.author));
        self.put(
            slot,
            Entry {
                order: said.order,
                topic,
                author,
                words: said.words,
                came: said.came,
                is_strangers: said.is_strangers,
                is_scored: false,
                older: None,
                before: None,
                near: Vec::new(),
                citations: 0,
                cites: said.cites,
            },
        );
    }

    /// Enters one that is whole: its topic and author have their numbers.
    pub fn put(&mut self, slot: Slot, entry: Entry) {
        self.members.entry(entry.topic).or_default().insert(slot);
        if let Some(group) = self.together.get_mut(&entry.words) {
            group.insert(slot, &entry);
        } else if let Some(other) = self.alone.remove(&entry.words) {
            let group = self.together.entry(entry.words).or_default();
            group.insert(slot, &entry);
            if let Some(known) = self.entries.get(&other) {
                group.insert(other, known);
            }
        } else {
            self.alone.insert(entry.words, slot);
        }
        self.entries.insert(slot, entry);
    }

    /// Takes numbers for the topic and the author of an entry that was kept elsewhere.
    pub fn number(&mut self, topic: &Topic, author: &AuthorId) -> (u32, u32) {
        (self.topics.take(topic), self.authors.take(author))
    }

    /// Takes one out. Those that counted it hear of it by [`Column::part_from`].
    pub fn remove(&mut self, slot: Slot) -> Option<Entry> {
        let entry = self.entries.remove(&slot)?;
        self.waiting.remove(&slot);
        if let Some(members) = self.members.get_mut(&entry.topic) {
            members.remove(&slot);
            if members.is_empty() {
                self.members.remove(&entry.topic);
            }
        }
        if self.alone.get(&entry.words) == Some(&slot) {
            self.alone.remove(&entry.words);
        } else if let Some(group) = self.together.get_mut(&entry.words) {
            group.remove(slot, &entry);
            if group.members.len() == 1
                && let Some((_, last)) = group.members.pop_first()
            {
                self.together.remove(&entry.words);
                self.alone.insert(entry.words, last);
            }
        }
        self.topics.give_back(entry.topic);
        self.authors.give_back(entry.author);
        Some(entry)
    }

    /// Takes grains that went out of what the others counted. One that may have had others in their place is looked for again.
    pub fn part_from(&mut self, gone: &HashSet<Slot>) {
        if gone.is_empty() {
            return;
        }
        let has_gone = |near: &mut Near| gone.contains(&near.slot());
        let mut lost_near = Vec::new();
        for (slot, entry) in &mut self.entries {
            let before = entry.near.len();
            entry.near.retain(|near| !gone.contains(&near.slot()));
            if entry.near.len() < before {
                lost_near.push((*slot, before - entry.near.len()));
            }
            let lost = [entry.older.take_if(has_gone), entry.before.take_if(has_gone)];
            if lost.iter().any(Option::is_some) {
                self.waiting.insert(*slot);
            }
        }
        for (slot, lost) in lost_near {
            let Some(entry) = self.entries.get(&slot) else { continue };
            let was_full = entry.near.len() + lost == MAX_NEAR;
            // Its author had as many as may be, if it has so many still.
            if was_full || self.most_of_one(entry) + lost >= MAX_NEAR_OF_ONE {
                self.waiting.insert(slot);
            }
        }
    }

    pub fn author_of(&self, near: Near) -> Option<u32> {
        self.entries.get(&near.slot()).map(|entry| entry.author)
    }

    /// How many of an entry's neighbours the author has that has most.
    fn most_of_one(&self, entry: &Entry) -> usize {
        let authors: Vec<u32> = entry.near.iter().filter_map(|near| self.author_of(*near)).collect();
        authors
            .iter()
            .map(|author| authors.iter().filter(|other| *other == author).count())
            .max()
            .unwrap_or(0)
    }

    /// Has everybody's neighbours looked for anew, in another space.
    pub fn begin_anew(&mut self) {
        for (slot, entry) in &mut self.entries {
            (entry.is_scored, entry.older, entry.before) = (false, None, None);
            entry.near.clear();
            self.waiting.insert(*slot);
        }
    }

    /// The slots of a topic, those not looked at among them.
    pub fn members(&self, topic: u32) -> Option<&BTreeSet<Slot>> {
        self.members.get(&topic)
    }

    /// Says what neighbours a grain was found to have, in place of what was known. Each of them hears of it.
    pub fn found(&mut self, slot: Slot, found: &[(Slot, Millionths)]) {
        self.waiting.remove(&slot);
        let Some(entry) = self.entries.get_mut(&slot) else { return };
        entry.is_scored = true;
        (entry.older, entry.before) = (None, None);
        entry.near.clear();
        for &(other, cosine) in found {
            self.meet(slot, other, cosine);
            if self.meet(other, slot, cosine) {
                self.waiting.insert(other);
            }
        }
    }

    /// Tells a grain of another one and of the cosine to it. True when what it knew of that one was more, so that others may be in its
    /// place now.
    fn meet(&mut self, slot: Slot, other: Slot, cosine: Millionths) -> bool {
        let Some((of_other, entry)) = self.entries.get(&other).zip(self.entries.get(&slot)) else {
            return false;
        };
        let near = Near::new(other, cosine);
        let (older, lost_older) = match of_other.order < entry.order {
            true => self.nearer(entry.older, near),
            false => (entry.older, false),
        };
        let (before, lost_before) = match takes_from((other, of_other), (slot, entry)) {
            true => self.nearer(entry.before, near),
            false => (entry.before, false),
        };
        let known = entry.near.iter().find(|kept| kept.slot() == other);
        // Of what left no place for others, there may be some in its place.
        let lost_near =
            entry.near.len() >= MAX_NEAR_OF_ONE && known.is_some_and(|known| known.cosine() > cosine);
        let kept = match known.is_some() || self.is_wanted(entry, cosine) {
            true => Some(self.with_near(entry, near)),
            false => None,
        };
        if let Some(entry) = self.entries.get_mut(&slot) {
            (entry.older, entry.before) = (older, before);
            entry.near = kept.unwrap_or_else(|| std::mem::take(&mut entry.near));
        }
        lost_older || lost_before || lost_near
    }

    /// The nearer of a grain that is known and another one; of two that are as near the elder. True when the other is the known one and
    /// less near than was known.
    fn nearer(&self, known: Option<Near>, other: Near) -> (Option<Near>, bool) {
        let order = |near: Near| self.entries.get(&near.slot()).map(|entry| entry.order);
        match known {
            Some(known) if known.slot() == other.slot() => (Some(other), known.cosine() > other.cosine()),
            Some(known) if (other.cosine(), order(known)) <= (known.cosine(), order(other)) => {
                (Some(known), false)
            }
            _ => (Some(other), false),
        }
    }

    /// Whether one of this cosine may have a place among an entry's neighbours.
    fn is_wanted(&self, entry: &Entry, cosine: Millionths) -> bool {
        let is_far =
            entry.near.len() == MAX_NEAR && entry.near.last().is_some_and(|last| last.cosine() > cosine);
        cosine >= LEAST_NEAR && cosine < SAME && !is_far
    }

    /// An entry's neighbours with this one, which may be among them with another cosine: of all that it met, those that count,
    /// whichever came first.
    fn with_near(&self, entry: &Entry, near: Near) -> Vec<Near> {
        let mut all: Vec<Near> =
            entry.near.iter().copied().filter(|kept| kept.slot() != near.slot()).chain([near]).collect();
        all.sort_by_cached_key(|near| {
            (Reverse(near.cosine()), self.entries.get(&near.slot()).map(|entry| entry.order))
        });
        let mut authors: Vec<Option<u32>> = Vec::with_capacity(all.len());
        all.retain(|near| {
            let author = self.author_of(*near);
            authors.push(author);
            let of_one = authors.iter().filter(|other| **other == author).count();
            (LEAST_NEAR..SAME).contains(&near.cosine()) && of_one <= MAX_NEAR_OF_ONE
        });
        all.truncate(MAX_NEAR);
        all
    }
}

#[cfg(test)]
mod tests;

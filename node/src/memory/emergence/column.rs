//! What is kept of each grain that has a vector, and what follows from it for the others when one comes or goes.
//!
//! A pair of grains counts for both, whichever of the two found the other: so it makes no difference which came first, and
//! nothing has to be searched again when one comes.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::hash::Hash;

use synapsenet_proto::{AuthorId, GrainId, Topic};
use synapsenet_storage::Slot;

use super::Weights;
use super::arithmetic::{Millionths, ln_1p};

/// Neighbours that coherence counts.
pub(super) const MAX_NEAR: usize = 20;
/// From this cosine on, a neighbour is near ...
const LEAST_NEAR: Millionths = Millionths(600_000);
/// ... and from this one on it says the same.
const SAME: Millionths = Millionths(980_000);
/// Notes of one author that say the same words: so many are boilerplate, and the first of them earns nothing either.
const BOILERPLATE: usize = 100;

/// What a grain adds to what is known here, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Emergence {
    /// The sum of the weighted parts, or nothing.
    pub score: Millionths,
    /// One minus the highest cosine to an older grain of its topic.
    pub novelty: Millionths,
    /// The mean cosine of its near neighbours, times how many there are of 20.
    pub coherence: Millionths,
    /// The natural logarithm of one plus its occasions.
    pub reuse: Millionths,
    /// How often it was of use.
    pub occasions: u64,
    /// Why it earns nothing, whatever its parts are.
    pub nothing: Option<Nothing>,
}

/// Why a grain earns nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Nothing {
    /// An older grain says the same, in these words or others.
    SaidBefore,
    /// Its author says it in very many places.
    Boilerplate,
    /// It adds too little, and stands alone.
    TooLittle,
}

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
    /// Whether its neighbours were looked for.
    pub is_scored: bool,
    /// The nearest older one.
    pub older: Option<Near>,
    /// The nearest of all, the nearest first, at most [`MAX_NEAR`]; what says the same is not among them.
    pub near: Vec<Near>,
    /// Authors other than its own that link to it, few of them strangers.
    pub citations: u32,
    /// What it links to itself.
    pub cites: Vec<GrainId>,
}

/// Names with numbers, which are given again when nobody has them any more.
#[derive(Debug, Clone)]
pub(super) struct Numbers<T> {
    numbers: HashMap<T, u32>,
    names: Vec<(Option<T>, u32)>,
    free: Vec<u32>,
}

impl<T> Default for Numbers<T> {
    fn default() -> Self {
        Self { numbers: HashMap::new(), names: Vec::new(), free: Vec::new() }
    }
}

impl<T: Hash + Eq + Clone> Numbers<T> {
    fn take(&mut self, name: &T) -> u32 {
        if let Some(&number) = self.numbers.get(name) {
            self.names[number as usize].1 += 1;
            return number;
        }
        let number = self.free.pop().unwrap_or_else(|| {
            self.names.push((None, 0));
            (self.names.len() - 1) as u32
        });
        self.names[number as usize] = (Some(name.clone()), 1);
        self.numbers.insert(name.clone(), number);
        number
    }

    fn give_back(&mut self, number: u32) {
        let entry = &mut self.names[number as usize];
        entry.1 = entry.1.saturating_sub(1);
        if entry.1 == 0
            && let Some(name) = entry.0.take()
        {
            self.numbers.remove(&name);
            self.free.push(number);
        }
    }

    pub fn number(&self, name: &T) -> Option<u32> {
        self.numbers.get(name).copied()
    }

    pub fn name(&self, number: u32) -> Option<&T> {
        self.names.get(number as usize)?.0.as_ref()
    }
}

/// What a note says of itself, as far as its score hangs on it.
#[derive(Debug, Clone)]
pub(super) struct Said {
    pub order: Order,
    pub topic: Topic,
    pub author: AuthorId,
    pub words: u64,
    pub cites: Vec<GrainId>,
}

/// Grains that say the same words.
#[derive(Debug, Clone, Default)]
struct Group {
    /// The oldest first.
    members: BTreeSet<(Order, Slot)>,
    /// How many are of each author.
    by_author: HashMap<u32, usize>,
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
    together: HashMap<u64, Group>,
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
                is_scored: false,
                older: None,
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
        for (slot, entry) in &mut self.entries {
            let was_full = entry.near.len() == MAX_NEAR;
            let before = entry.near.len();
            entry.near.retain(|near| !gone.contains(&near.slot()));
            let lost_near = was_full && entry.near.len() < before;
            let lost_older = entry.older.is_some_and(|older| gone.contains(&older.slot()));
            if lost_older {
                entry.older = None;
            }
            if lost_near || lost_older {
                self.waiting.insert(*slot);
            }
        }
    }

    /// Has everybody's neighbours looked for anew, in another space.
    pub fn begin_anew(&mut self) {
        for (slot, entry) in &mut self.entries {
            (entry.is_scored, entry.older) = (false, None);
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
        entry.older = None;
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
        let Some(other_order) = self.entries.get(&other).map(|other| other.order) else { return false };
        let older_order =
            |older: Option<Near>| older.and_then(|older| Some(self.entries.get(&older.slot())?.order));
        let known = self.entries.get(&slot).and_then(|entry| entry.older);
        let known_order = older_order(known);
        let Some(entry) = self.entries.get_mut(&slot) else { return false };
        let near = Near::new(other, cosine);
        let mut knew_more = false;
        if other_order < entry.order {
            if known.is_some_and(|known| known.slot() == other && known.cosine() > cosine) {
                entry.older = Some(near);
                knew_more = true;
            } else if known.is_none_or(|known| {
                // Of two that are as near, the elder.
                (cosine, known_order) > (known.cosine(), Some(other_order)) || known.slot() == other
            }) {
                entry.older = Some(near);
            }
        }
        let was_full = entry.near.len() == MAX_NEAR;
        let before = entry.near.iter().position(|near| near.slot() == other);
        let before = before.map(|at| entry.near.remove(at));
        knew_more |= was_full && before.is_some_and(|before| before.cosine() > cosine);
        if cosine >= LEAST_NEAR && cosine < SAME {
            let at = entry.near.partition_point(|kept| kept.cosine() >= cosine);
            entry.near.insert(at, near);
            entry.near.truncate(MAX_NEAR);
        }
        knew_more
    }

    /// What a grain adds. None for one that has no vector, or whose neighbours were not looked for yet.
    pub fn emergence(&self, slot: Slot, accesses: u64, weights: &Weights) -> Option<Emergence> {
        let entry = self.entries.get(&slot).filter(|entry| entry.is_scored)?;
        let group = self.together.get(&entry.words);
        let is_echo =
            group.and_then(|group| group.members.first()).is_some_and(|(first, _)| *first < entry.order);
        Some(self.sum(entry, entry.older, is_echo, accesses, weights))
    }

    /// What a grain is worth keeping for. A date is no more than what an author says: what somebody else says and what came here later
    /// takes nothing from it, whatever its date. `echoes` is what [`Column::echoes`] says.
    pub fn worth(
        &self,
        slot: Slot,
        accesses: u64,
        weights: &Weights,
        echoes: &HashSet<Slot>,
    ) -> Option<Millionths> {
        let entry = self.entries.get(&slot).filter(|entry| entry.is_scored)?;
        let is_of_another =
            |other: Slot| self.entries.get(&other).is_some_and(|other| other.author != entry.author);
        let older = entry.older.filter(|older| older.slot() < slot || !is_of_another(older.slot()));
        Some(self.sum(entry, older, echoes.contains(&slot), accesses, weights).score)
    }

    /// Grains whose words an older one says too that came before them, or is of the same author.
    pub fn echoes(&self) -> HashSet<Slot> {
        let mut echoes = HashSet::new();
        for group in self.together.values() {
            let (mut first, mut authors) = (Slot::MAX, HashSet::new());
            for &(_, slot) in &group.members {
                let is_of_known = self.entries.get(&slot).is_some_and(|entry| !authors.insert(entry.author));
                if first < slot || is_of_known {
                    echoes.insert(slot);
                }
                first = first.min(slot);
            }
        }
        echoes
    }

    /// What a grain adds, when this is the nearest older one, and when its words were said before or not.
    fn sum(
        &self,
        entry: &Entry,
        older: Option<Near>,
        is_echo: bool,
        accesses: u64,
        weights: &Weights,
    ) -> Emergence {
        let novelty = Millionths::ONE.less(older.map_or(Millionths(0), Near::cosine));
        let sum: u64 = entry.near.iter().map(|near| near.cosine().0).sum();
        let coherence = Millionths(sum / MAX_NEAR as u64);
        let occasions = accesses.saturating_add(u64::from(entry.citations));
        let reuse = ln_1p(occasions);
        let nothing = if is_echo || older.is_some_and(|older| older.cosine() >= SAME) {
            Some(Nothing::SaidBefore)
        } else if self.is_boilerplate(entry) {
            Some(Nothing::Boilerplate)
        } else {
            let is_little = novelty < weights.least_novelty && coherence < weights.least_coherence;
            is_little.then_some(Nothing::TooLittle)
        };
        let sum = weights.novelty.times(novelty).plus(weights.coherence.times(coherence));
        let score = match nothing {
            Some(_) => Millionths(0),
            None => sum.plus(weights.reuse.times(reuse)),
        };
        Emergence { score, novelty, coherence, reuse, occasions, nothing }
    }

    /// Of its own author alone: nobody else makes boilerplate of what somebody says.
    fn is_boilerplate(&self, entry: &Entry) -> bool {
        let group = self.together.get(&entry.words);
        group
            .and_then(|group| group.by_author.get(&entry.author))
            .is_some_and(|&repeated| repeated >= BOILERPLATE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(by: u8, created_ms: u64, words: u64) -> Said {
        let author = AuthorId::from_bytes([by; 32]);
        let topic = Topic::new("a").unwrap();
        Said { order: (created_ms, [0; 16]), topic, author, words, cites: Vec::new() }
    }

    fn weights() -> Weights {
        Weights::of(&crate::config::EmergenceConfig::default())
    }

    fn nothing(column: &Column, slot: Slot) -> Option<Nothing> {
        column.emergence(slot, 0, &weights()).unwrap().nothing
    }

    #[test]
    fn many_that_say_the_same_words_are_each_looked_at_without_the_others() {
        const MANY: u64 = 20_000;
        let mut column = Column::default();
        for slot in 0..MANY {
            column.insert(slot, said(1, MANY - slot, 7));
            column.found(slot, &[]);
        }
        let group = &column.together[&7];
        assert_eq!((group.members.len() as u64, group.by_author[&0]), (MANY, MANY as usize));
        // Comparing each with all would take minutes here.
        assert!((0..MANY - 1).all(|slot| nothing(&column, slot) == Some(Nothing::SaidBefore)));
        assert_eq!(nothing(&column, MANY - 1), Some(Nothing::Boilerplate));
        assert_eq!(column.echoes().len() as u64, MANY - 1);
        for slot in 0..MANY - 1 {
            column.remove(slot);
        }
        assert_eq!(nothing(&column, MANY - 1), None);
        assert!(column.together.is_empty() && column.alone[&7] == MANY - 1);
    }

    #[test]
    fn what_others_bring_later_with_an_earlier_date_takes_nothing_from_what_is_kept() {
        let mut column = Column::default();
        // The same words, words that are nearly the same, and the author's own earlier ones.
        for (slot, by, created_ms, words) in
            [(1, 1, 100, 7), (2, 1, 100, 8), (3, 1, 100, 9), (4, 2, 99, 7), (5, 2, 99, 10), (6, 1, 99, 9)]
        {
            column.insert(slot, said(by, created_ms, words));
        }
        let same = Millionths(999_000);
        for (slot, others) in
            [(1, vec![]), (2, vec![(5, same)]), (3, vec![]), (4, vec![]), (5, vec![]), (6, vec![])]
        {
            column.found(slot, &others);
        }
        let echoes = column.echoes();
        let worth = |slot| column.worth(slot, 0, &weights(), &echoes).unwrap().0;
        for slot in 1..=3 {
            assert_eq!(nothing(&column, slot), Some(Nothing::SaidBefore), "{slot} is shown as all see it");
        }
        assert!(worth(1) > 0 && worth(2) > 0 && worth(4) > 0 && worth(5) > 0 && worth(6) > 0);
        assert_eq!(worth(3), 0, "its own author said it before");
        // What came before it counts, whoever says it.
        column.insert(7, said(3, 200, 7));
        column.found(7, &[]);
        assert_eq!(column.worth(7, 0, &weights(), &column.echoes()), Some(Millionths(0)));
    }
}

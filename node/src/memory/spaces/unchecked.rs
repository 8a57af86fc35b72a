//! Which slots of a space hold a vector that its author claims and nobody here has compared.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock};

use synapsenet_storage::Slot;

/// Slots in one word.
const WORD: u64 = u64::BITS as u64;

/// A bit for each slot, as slots are given one after the other: a million grains take 125 kB, and a walk through the graph
/// asks within some nanoseconds. The truth is in the store; a bit may stay for a moment longer than the mark there.
#[derive(Debug, Default)]
pub(crate) struct Unchecked {
    words: RwLock<Vec<u64>>,
    count: AtomicU64,
}

impl Unchecked {
    /// Those that are named.
    pub fn new(slots: &[Slot]) -> Self {
        let unchecked = Self::default();
        slots.iter().for_each(|&slot| unchecked.insert(slot));
        unchecked
    }

    /// How many there are.
    pub fn len(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether this one is unchecked.
    pub fn contains(&self, slot: Slot) -> bool {
        let (word, bit) = place(slot);
        let words = self.words.read().unwrap_or_else(PoisonError::into_inner);
        words.get(word).is_some_and(|word| word & bit != 0)
    }

    /// Marks a slot.
    pub fn insert(&self, slot: Slot) {
        let (word, bit) = place(slot);
        let mut words = self.words.write().unwrap_or_else(PoisonError::into_inner);
        if words.len() <= word {
            words.resize(word + 1, 0);
        }
        if words[word] & bit == 0 {
            words[word] |= bit;
            self.count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Takes a mark away.
    pub fn remove(&self, slot: Slot) {
        let (word, bit) = place(slot);
        let mut words = self.words.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(word) = words.get_mut(word).filter(|word| **word & bit != 0) {
            *word &= !bit;
            self.count.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Those after `slot`, in order, at most `limit`.
    pub fn after(&self, slot: Slot, limit: usize) -> Vec<Slot> {
        let words = self.words.read().unwrap_or_else(PoisonError::into_inner);
        let first = slot.saturating_add(1);
        let of_word = |(at, word): (usize, &u64)| {
            let (word, start) = (*word, at as u64 * WORD);
            (0..WORD).filter(move |bit| word & (1 << bit) != 0).map(move |bit| start + bit)
        };
        let from = place(first).0;
        let marked = words.iter().enumerate().skip(from).filter(|(_, word)| **word != 0).flat_map(of_word);
        marked.filter(|&slot| slot >= first).take(limit).collect()
    }

    /// The slots up to `last` that are not marked, whether or not a grain lies there. None when they are more than `limit`.
    pub fn others(&self, last: Slot, limit: usize) -> Option<Vec<Slot>> {
        if last.saturating_sub(self.len()) > limit as u64 {
            return None;
        }
        let words = self.words.read().unwrap_or_else(PoisonError::into_inner);
        let is_other = |slot: &Slot| {
            let (word, bit) = place(*slot);
            words.get(word).is_none_or(|word| word & bit == 0)
        };
        let others: Vec<Slot> = (1..=last).filter(is_other).take(limit + 1).collect();
        (others.len() <= limit).then_some(others)
    }
}

/// The word of a slot, and its bit there.
fn place(slot: Slot) -> (usize, u64) {
    ((slot / WORD) as usize, 1 << (slot % WORD))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_of_slots_says_what_it_was_told() {
        let set = Unchecked::new(&[3, 64, 65, 200, 3]);
        assert_eq!((set.len(), set.after(0, 9)), (4, vec![3, 64, 65, 200]));
        assert_eq!(set.after(64, 1), [65]);
        assert!(set.contains(200) && !set.contains(201) && !set.contains(9_000_000));
        set.remove(64);
        set.remove(64);
        set.remove(9_000_000);
        assert_eq!((set.len(), set.after(3, 9)), (3, vec![65, 200]));
        assert_eq!(set.others(6, 5).unwrap(), [1, 2, 4, 5, 6]);
        assert!(set.others(7, 5).is_none() && set.others(9_000_000, 1000).is_none());
    }
}

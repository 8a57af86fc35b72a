//! What a grain earns by its neighbours and its uses, and why it earns nothing. It knows entries of the column, and not where they come
//! from.

use std::collections::HashSet;

use synapsenet_storage::{Occasions, Slot};

use super::Weights;
use super::arithmetic::{Millionths, ln_1p};
use super::column::{Column, Entry, MAX_NEAR, Near, SAME};

/// Other authors near a stranger's grain from which on it has company enough.
const COMPANY: u64 = 3;
/// What a stranger's grain counts for whose author was never of use to the owner ...
const UNKNOWN_VOICE: Millionths = Millionths(100_000);
/// ... and how much more for each time that it was: three times, and it counts in full.
const VOICE_OF_A_USE: Millionths = Millionths(300_000);
/// Occasions of others than the owner that count: peers cost nothing to make, and a token may be given away.
const MAX_OCCASIONS_OF_OTHERS: u64 = 3;
/// Notes of one author that say the same words: so many are boilerplate, and the first of them earns nothing either.
const BOILERPLATE: usize = 100;

/// What a grain adds to what is known here, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Emergence {
    /// The sum of the weighted parts, as far as the grain is backed; or nothing.
    pub score: Millionths,
    /// Of a stranger's grain, how much others and its author's use vouch for it, 0 to 1. One for whom the owner knows, and for what was
    /// of use to the owner.
    pub backing: Millionths,
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
    /// A stranger's: no other author says anything near it, and it was of no use to the owner.
    Unbacked,
}

/// How often a grain was of use, and all those of its author together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Used {
    pub occasions: Occasions,
    /// To the owner.
    pub of_author: u64,
}

impl Column {
    /// What a grain adds. None for one that has no vector, or whose neighbours were not looked for yet.
    pub fn emergence(&self, slot: Slot, used: Used, weights: &Weights) -> Option<Emergence> {
        let entry = self.entries.get(&slot).filter(|entry| entry.is_scored)?;
        let group = self.together.get(&entry.words);
        let is_echo =
            group.and_then(|group| group.members.first()).is_some_and(|(first, _)| *first < entry.order);
        Some(self.sum(entry, entry.older, is_echo, used, weights))
    }

    /// What a grain is worth keeping for: as [`Column::emergence`], with what takes from it here in the place of what is older by its
    /// date. `echoes` is what [`Column::echoes`] says.
    pub fn worth(
        &self,
        slot: Slot,
        used: Used,
        weights: &Weights,
        echoes: &HashSet<Slot>,
    ) -> Option<Emergence> {
        let entry = self.entries.get(&slot).filter(|entry| entry.is_scored)?;
        Some(self.sum(entry, entry.before, echoes.contains(&slot), used, weights))
    }

    /// Grains whose words another one says too that takes from them; see [`super::column::takes_from`].
    pub fn echoes(&self) -> HashSet<Slot> {
        let mut echoes = HashSet::new();
        for group in self.together.values() {
            // Of each author the first by its own dates; its others are echoes of that.
            let (mut authors, mut firsts) = (HashSet::new(), Vec::new());
            for &(_, slot) in &group.members {
                match self.entries.get(&slot) {
                    Some(entry) if authors.insert(entry.author) => firsts.push((slot, entry)),
                    _ => drop(echoes.insert(slot)),
                }
            }
            let Some((first_slot, first)) = firsts.iter().min_by_key(|(slot, _)| *slot).copied() else {
                continue;
            };
            let live = firsts.iter().filter(|(_, entry)| !entry.is_history()).map(|(slot, _)| *slot);
            let (first_live, mut first_older) = (live.min().unwrap_or(Slot::MAX), Slot::MAX);
            for (slot, entry) in firsts {
                let came_later = first_slot < slot && (!entry.is_history() || first.came != entry.came);
                if first_older < slot || first_live < slot || came_later {
                    echoes.insert(slot);
                }
                first_older = first_older.min(slot);
            }
        }
        echoes
    }

    /// How much vouches for a grain, in millionths. Whom the owner knows needs nobody, nor does what was of use to it. Of a stranger's,
    /// others are to say something near it, and its author is to have been of use before.
    fn backing(&self, entry: &Entry, used: Used) -> Millionths {
        if !entry.is_strangers || used.occasions.by_owner > 0 {
            return Millionths::ONE;
        }
        let mut others: Vec<u32> = entry
            .near
            .iter()
            .filter_map(|near| self.author_of(*near))
            .filter(|by| *by != entry.author)
            .collect();
        others.sort_unstable();
        others.dedup();
        let company = Millionths(Millionths::ONE.0 * COMPANY.min(others.len() as u64) / COMPANY);
        let uses = used.of_author.min(Millionths::ONE.0);
        let voice = UNKNOWN_VOICE.plus(Millionths(VOICE_OF_A_USE.0 * uses)).min(Millionths::ONE);
        company.times(voice)
    }

    /// What a grain adds, when this is the nearest one before it, and when its words were said before or not.
    fn sum(
        &self,
        entry: &Entry,
        older: Option<Near>,
        is_echo: bool,
        used: Used,
        weights: &Weights,
    ) -> Emergence {
        let novelty = Millionths::ONE.less(older.map_or(Millionths(0), Near::cosine));
        let sum: u64 = entry.near.iter().map(|near| near.cosine().0).sum();
        let coherence = Millionths(sum / MAX_NEAR as u64);
        let by_others = u64::from(used.occasions.by_others).min(MAX_OCCASIONS_OF_OTHERS);
        let occasions = u64::from(used.occasions.by_owner) + by_others + u64::from(entry.citations);
        let reuse = ln_1p(occasions);
        let backing = self.backing(entry, used);
        let nothing = if is_echo || older.is_some_and(|older| older.cosine() >= SAME) {
            Some(Nothing::SaidBefore)
        } else if self.is_boilerplate(entry) {
            Some(Nothing::Boilerplate)
        } else if novelty < weights.least_novelty && coherence < weights.least_coherence {
            Some(Nothing::TooLittle)
        } else {
            (backing == Millionths(0)).then_some(Nothing::Unbacked)
        };
        let sum = weights.novelty.times(novelty).plus(weights.coherence.times(coherence));
        let score = match nothing {
            Some(_) => Millionths(0),
            None => backing.times(sum.plus(weights.reuse.times(reuse))),
        };
        Emergence { score, backing, novelty, coherence, reuse, occasions, nothing }
    }

    /// Of its own author alone: nobody else makes boilerplate of what somebody says.
    fn is_boilerplate(&self, entry: &Entry) -> bool {
        let group = self.together.get(&entry.words);
        group
            .and_then(|group| group.by_author.get(&entry.author))
            .is_some_and(|&repeated| repeated >= BOILERPLATE)
    }
}

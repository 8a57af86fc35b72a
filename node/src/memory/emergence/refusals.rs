//! Whose grains were refused today for what their author alone can have done: that it withdraws what others wrote, or dates its grains
//! into the future. Both are under its signature, so that no peer can lay them to somebody's charge; what a peer can bring about, such as
//! too many grains in a day, is not counted.
//!
//! Each grain counts once however often it is brought. It is forgotten with the day, or when the node stops.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use synapsenet_proto::{AuthorId, Grain, GrainId, Refusal};

use super::uses::today;

/// Authors that are counted one by one; what more there are is not counted.
const MAX_AUTHORS: usize = 8192;
/// Grains that are counted of one of them.
const MAX_OF_ONE: usize = 16;

/// Refused grains by author. At most some five megabytes.
#[derive(Debug, Default)]
pub(super) struct Refusals(Mutex<Day>);

#[derive(Debug, Default)]
struct Day {
    day: u32,
    of: HashMap<AuthorId, HashSet<GrainId>>,
}

impl Refusals {
    /// Notes that a peer brought a grain that was refused, if that is its author's doing.
    pub fn note(&self, grain: &Grain, why: &Refusal) {
        if matches!(why, Refusal::ForeignRetraction | Refusal::FromTheFuture(_)) {
            self.note_on(today(), grain.author(), grain.id());
        }
    }

    fn note_on(&self, day: u32, author: AuthorId, id: GrainId) {
        let mut today = self.on(day);
        let is_counted = today.of.len() < MAX_AUTHORS || today.of.contains_key(&author);
        if is_counted {
            let of = today.of.entry(author).or_default();
            if of.len() < MAX_OF_ONE {
                of.insert(id);
            }
        }
    }

    /// How many grains of an author were refused today.
    pub fn of(&self, author: &AuthorId) -> u64 {
        self.of_on(today(), author)
    }

    fn of_on(&self, day: u32, author: &AuthorId) -> u64 {
        self.on(day).of.get(author).map_or(0, |grains| grains.len() as u64)
    }

    /// What was counted on this day.
    fn on(&self, day: u32) -> MutexGuard<'_, Day> {
        let mut today = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if today.day != day {
            *today = Day { day, of: HashMap::new() };
        }
        today
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn author(n: u32) -> AuthorId {
        let mut bytes = [0; 32];
        bytes[..4].copy_from_slice(&n.to_le_bytes());
        AuthorId::from_bytes(bytes)
    }

    fn id(n: u8) -> GrainId {
        GrainId::from_bytes([n; 32])
    }

    #[test]
    fn a_grain_counts_once_and_until_the_day_ends() {
        let refusals = Refusals::default();
        for n in [1, 2, 1, 1] {
            refusals.note_on(7, author(1), id(n));
        }
        assert_eq!((refusals.of_on(7, &author(1)), refusals.of_on(7, &author(2))), (2, 0));
        assert_eq!(refusals.of_on(8, &author(1)), 0);
        (0..=255).for_each(|n| refusals.note_on(8, author(1), id(n)));
        assert_eq!(refusals.of_on(8, &author(1)), MAX_OF_ONE as u64);
    }

    #[test]
    fn a_flood_of_authors_takes_a_bounded_place() {
        let refusals = Refusals::default();
        (0..MAX_AUTHORS as u32 + 10).for_each(|n| refusals.note_on(7, author(n), id(1)));
        refusals.note_on(7, author(0), id(2));
        assert_eq!((refusals.of_on(7, &author(0)), refusals.of_on(7, &author(MAX_AUTHORS as u32))), (2, 0));
    }
}

//! Which grains of strangers are to go next? Those of the lowest scores, looked for some thousand at a time.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use synapsenet_proto::AuthorId;
use synapsenet_storage::{Slot, StorageError, View};

use crate::memory::Memory;

/// Those that are found at once: twice as many as go in a commit.
const FOUND_AT_ONCE: usize = 4096;
/// After so long they are looked for again, as others are scored meanwhile.
const MAX_AGE: Duration = Duration::from_secs(10);
/// When too few were found, it is looked again once so many times as long went by as looking took.
const REST: u32 = 20;

/// What the grains of an author are kept for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kept {
    /// The owner's, and of whom it follows.
    Always,
    /// A stranger's.
    ForItsWorth,
    /// One whose claim was found false.
    ForNothing,
}

/// Those that were found and have not gone yet, the lowest first.
#[derive(Debug, Default)]
pub(crate) struct Lowest {
    slots: VecDeque<Slot>,
    found: Option<Instant>,
    /// How long finding them took.
    cost: Duration,
}

impl Lowest {
    /// The next grains of strangers to go, at most `count`: fewer when no more have a score. `own` is this node's author.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn next(
        &mut self,
        memory: &Memory,
        view: &View,
        own: AuthorId,
        count: usize,
    ) -> Result<Vec<Slot>, StorageError> {
        if self.found.is_none_or(|found| found.elapsed() >= MAX_AGE) {
            self.find(memory, view, own);
        }
        let mut next = self.take(view, count)?;
        if next.len() < count && self.found.is_none_or(|found| found.elapsed() >= REST * self.cost) {
            // What the column does not know to be gone yet is passed over.
            self.find(memory, view, own);
            for slot in self.take(view, count)? {
                if next.len() < count && !next.contains(&slot) {
                    next.push(slot);
                }
            }
        }
        Ok(next)
    }

    fn find(&mut self, memory: &Memory, view: &View, own: AuthorId) {
        let rules = memory.rules();
        let judge = |author: &AuthorId| match view.author_standing(author) {
            _ if *author == own || rules.follows(author) => Kept::Always,
            Ok(standing) if standing.distrusted => Kept::ForNothing,
            _ => Kept::ForItsWorth,
        };
        let start = Instant::now();
        self.slots = memory.scores.lowest(&memory.uses, &judge, FOUND_AT_ONCE).into();
        (self.found, self.cost) = (Some(Instant::now()), start.elapsed());
    }

    fn take(&mut self, view: &View, count: usize) -> Result<Vec<Slot>, StorageError> {
        let mut taken = Vec::new();
        while taken.len() < count
            && let Some(slot) = self.slots.pop_front()
        {
            if view.is_strangers(slot)? {
                taken.push(slot);
            }
        }
        Ok(taken)
    }
}

//! What a current space still has to be given, while the model is being changed.

use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use synapsenet_storage::{Slot, StorageError, View};

use super::Spaces;
use super::anchors::MAX_ANCHORS;

/// The grains that only former spaces hold, newest first, and how far they have been embedded anew.
pub(crate) struct Backlog {
    slots: Vec<Slot>,
    /// Where each stands in `slots`.
    places: HashMap<Slot, usize>,
    /// Some that the current space and a former one held before, newest first.
    had: Vec<Slot>,
    next: AtomicUsize,
    /// The places, in order, of those that the model was not able to embed.
    failed: Mutex<Vec<usize>>,
}

impl Backlog {
    /// Looks through the store for grains that the current space does not hold.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn find(view: &View, spaces: &Spaces) -> Result<Self, StorageError> {
        let mut slots = Vec::new();
        view.notes_newest_first(&mut |slot| {
            slots.push(slot);
            ControlFlow::Continue(())
        })?;
        let missing: HashSet<Slot> = spaces.current.hnsw.missing(&slots).into_iter().collect();
        let is_former = |slot: Slot| spaces.former.iter().any(|former| former.hnsw.contains(slot));
        let is_held_twice = |slot: &Slot| !missing.contains(slot) && is_former(*slot);
        let had = slots.iter().copied().filter(is_held_twice).take(MAX_ANCHORS).collect();
        slots.retain(|slot| missing.contains(slot));
        let places = slots.iter().enumerate().map(|(place, &slot)| (slot, place)).collect();
        Ok(Self { slots, places, had, next: AtomicUsize::new(0), failed: Mutex::default() })
    }

    /// What is still to be tried.
    pub fn remaining(&self) -> &[Slot] {
        &self.slots[self.next.load(Ordering::Relaxed)..]
    }

    /// What only former spaces hold now.
    pub fn left(self: Arc<Self>) -> Left {
        let next = self.next.load(Ordering::Relaxed);
        let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner).clone();
        failed.retain(|place| *place < next);
        Left { backlog: self, next, failed }
    }

    /// At most [`MAX_ANCHORS`] grains that the current space and a former one hold: what was done last, and what it had before.
    pub fn held_twice(&self) -> Vec<Slot> {
        let done = &self.slots[..self.next.load(Ordering::Relaxed)];
        done.iter().rev().chain(&self.had).take(MAX_ANCHORS).copied().collect()
    }

    /// Whether the model was not able to embed some.
    pub fn has_failed(&self) -> bool {
        !self.failed.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// How many it had.
    pub fn total(&self) -> usize {
        self.slots.len()
    }

    /// Goes on by `count`, of which the model was not able to embed `failed`. The current space has been given the others, as
    /// far as their vectors are sound.
    pub fn advance(&self, count: usize, failed: &[Slot]) {
        let places = failed.iter().filter_map(|slot| self.places.get(slot).copied());
        let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        failed.extend(places);
        failed.sort_unstable();
        drop(failed);
        let next = self.next.load(Ordering::Relaxed) + count;
        self.next.store(next.min(self.slots.len()), Ordering::Relaxed);
    }
}

/// What is left of a backlog at one moment.
pub(crate) struct Left {
    backlog: Arc<Backlog>,
    next: usize,
    /// Places, in order.
    failed: Vec<usize>,
}

impl Left {
    /// How many grains.
    pub fn len(&self) -> usize {
        self.backlog.slots.len() - self.next + self.failed.len()
    }

    /// Which.
    pub fn slots(&self) -> Vec<Slot> {
        let slots = &self.backlog.slots;
        slots[self.next..].iter().copied().chain(self.failed.iter().map(|&place| slots[place])).collect()
    }

    /// Whether this is one.
    pub fn contains(&self, slot: Slot) -> bool {
        let place = self.backlog.places.get(&slot);
        place.is_some_and(|place| *place >= self.next || self.failed.binary_search(place).is_ok())
    }
}

//! Who may use the graph: many searches at once, or one writer alone.
//!
//! usearch's searches take no locks, "assuming read-only simultaneous access" (its `index.hpp`): while another thread
//! links a new vector they may read half a list of neighbours, and while one grows the graph they read freed memory.
//! Its calls also fail, rather than wait, when more threads call than it has working memory for. This gate is a
//! readers-writer lock that also counts the readers, and it is fair: a writer that adds slice after slice lets those
//! searches pass that came meanwhile, and searches that never end do not keep a writer out.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// A gate for `max_shared` readers at once or one writer.
pub(crate) struct Gate {
    state: Mutex<State>,
    changed: Condvar,
    max_shared: usize,
}

#[derive(Default)]
struct State {
    /// Readers inside.
    shared: usize,
    /// Readers that wait.
    waiting: usize,
    /// Whether a writer is inside.
    exclusive: bool,
    /// Writers that wait.
    writers: usize,
    /// Readers that may still pass before a waiting writer: those who waited when the last writer left.
    admitted: usize,
}

/// Leave to read; given back when dropped.
pub(crate) struct Shared<'a>(&'a Gate);

/// Leave to write; given back when dropped.
pub(crate) struct Exclusive<'a>(&'a Gate);

impl Gate {
    pub(crate) fn new(max_shared: usize) -> Self {
        Self { state: Mutex::default(), changed: Condvar::new(), max_shared }
    }

    /// Waits for a place among the readers.
    pub(crate) fn shared(&self) -> Shared<'_> {
        let mut state = self.lock();
        state.waiting += 1;
        while state.exclusive || state.shared >= self.max_shared || (state.writers > 0 && state.admitted == 0)
        {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.waiting -= 1;
        state.admitted = state.admitted.saturating_sub(1);
        state.shared += 1;
        Shared(self)
    }

    /// Waits until nobody else is inside.
    pub(crate) fn exclusive(&self) -> Exclusive<'_> {
        let mut state = self.lock();
        state.writers += 1;
        while state.exclusive || state.shared > 0 || state.admitted > 0 {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.writers -= 1;
        state.exclusive = true;
        Exclusive(self)
    }

    /// A poisoned lock is used on: the counts are right after every statement, and the guards' drops keep them so.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Shared<'_> {
    fn drop(&mut self) {
        self.0.lock().shared -= 1;
        self.0.changed.notify_all();
    }
}

impl Drop for Exclusive<'_> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.exclusive = false;
        state.admitted = state.waiting;
        drop(state);
        self.0.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
    use std::thread;

    use super::*;

    #[test]
    fn readers_are_counted_and_a_writer_is_alone() {
        let gate = Gate::new(3);
        let (readers, writers, most) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
        thread::scope(|scope| {
            for thread in 0..8 {
                let (gate, readers, writers, most) = (&gate, &readers, &writers, &most);
                scope.spawn(move || {
                    for _ in 0..500 {
                        if thread < 2 {
                            let _alone = gate.exclusive();
                            assert_eq!(writers.fetch_add(1, SeqCst), 0);
                            assert_eq!(readers.load(SeqCst), 0);
                            writers.fetch_sub(1, SeqCst);
                        } else {
                            let _among = gate.shared();
                            most.fetch_max(readers.fetch_add(1, SeqCst) + 1, SeqCst);
                            assert_eq!(writers.load(SeqCst), 0);
                            thread::yield_now();
                            readers.fetch_sub(1, SeqCst);
                        }
                    }
                });
            }
        });
        assert!(most.load(SeqCst) <= 3);
    }

    #[test]
    fn a_reader_that_waits_goes_before_the_next_writer() {
        let gate = Gate::new(4);
        let first = gate.exclusive();
        let done = AtomicUsize::new(0);
        thread::scope(|scope| {
            scope.spawn(|| {
                let _among = gate.shared();
                done.store(1, SeqCst);
            });
            while gate.lock().waiting == 0 {
                thread::yield_now();
            }
            drop(first);
            // Had the reader not gone first, this writer would have barged in and found nothing done.
            let _second = gate.exclusive();
            assert_eq!(done.load(SeqCst), 1);
        });
    }
}

//! Whether another machine runs with this node's identity: somebody copied the data folder.
//!
//! Two such nodes have one id, so libp2p refuses a connection between them on both ends. It does the same when a node dials
//! itself, which happens to honest ones: an address that was a peer's yesterday is its own today. Then this process has both
//! ends, and they fail within the same moment; an end without another is another machine's.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// The two ends of a connection to oneself fail within this time: both wait for the same handshake.
pub(crate) const SAME_CONNECTION: Duration = Duration::from_secs(if cfg!(test) { 3 } else { 10 });
/// Ends that wait for their other one. Nobody without this node's key can make more of them.
const MAX_ENDS: usize = 16;

/// Who began a connection to this node's own id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// This node dialled.
    Dialled,
    /// Somebody dialled this node.
    Came,
}

/// Ends of connections to this node's own id.
#[derive(Debug, Default)]
pub(crate) struct Ends {
    waiting: VecDeque<(Instant, End)>,
}

impl Ends {
    /// One end failed because the id at the other one is this node's own.
    pub(crate) fn failed(&mut self, end: End, now: Instant) {
        let other = self.waiting.iter().position(|(since, other)| {
            *other != end && now.saturating_duration_since(*since) < SAME_CONNECTION
        });
        if let Some(other) = other {
            self.waiting.remove(other);
            return;
        }
        self.waiting.push_back((now, end));
        if self.waiting.len() > MAX_ENDS {
            self.waiting.pop_front();
        }
    }

    /// Whether an end has waited in vain for its other one. It is forgotten then.
    pub(crate) fn is_another_machine(&mut self, now: Instant) -> bool {
        let before = self.waiting.len();
        self.waiting.retain(|(since, _)| now.saturating_duration_since(*since) < SAME_CONNECTION);
        self.waiting.len() < before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_that_dials_itself_has_both_ends() {
        let (mut ends, now) = (Ends::default(), Instant::now());
        for (first, second) in [(End::Dialled, End::Came), (End::Came, End::Dialled)] {
            ends.failed(first, now);
            ends.failed(second, now + Duration::from_millis(5));
        }
        assert!(!ends.is_another_machine(now + 2 * SAME_CONNECTION));
    }

    #[test]
    fn an_end_without_another_is_another_machines() {
        let (mut ends, now) = (Ends::default(), Instant::now());
        for end in [End::Dialled, End::Came] {
            ends.failed(end, now);
            assert!(!ends.is_another_machine(now + SAME_CONNECTION / 2), "the other one may come");
            assert!(ends.is_another_machine(now + SAME_CONNECTION));
            assert!(!ends.is_another_machine(now + SAME_CONNECTION), "it is told once");
        }
        // Two from elsewhere are no pair.
        ends.failed(End::Came, now);
        ends.failed(End::Came, now);
        assert!(ends.is_another_machine(now + SAME_CONNECTION));
    }

    #[test]
    fn ends_that_wait_are_bounded() {
        let (mut ends, now) = (Ends::default(), Instant::now());
        (0..1000).for_each(|_| ends.failed(End::Came, now));
        assert_eq!(ends.waiting.len(), MAX_ENDS);
    }
}

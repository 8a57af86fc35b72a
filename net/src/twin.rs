//! Whether another machine runs with this node's identity: somebody copied the data folder.
//!
//! Two such nodes have one id, so libp2p refuses a connection between them. It does the same when a node dials itself, which
//! happens to honest ones: an address that was a peer's yesterday is its own today. Then this process has both ends, and they
//! know each other within the same moment; an end without another is another machine's.
//!
//! Over TCP and relays each end says so as soon as encryption has told who is there. Later would be too late: the one that dialled
//! hangs up at once, and the other one may then fail for that before libp2p looks at the id.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use libp2p::core::ConnectedPoint;

/// The two ends of a connection to oneself are known within this time: both wait for the same handshake.
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

/// Ends that the transport and the swarm's task tell of.
#[derive(Debug, Clone, Default)]
pub(crate) struct SharedEnds(Arc<Mutex<Ends>>);

impl SharedEnds {
    /// Encryption told that the id at the other end is this node's own.
    pub(crate) fn met(&self, endpoint: &ConnectedPoint) {
        let end = if endpoint.is_dialer() { End::Dialled } else { End::Came };
        self.lock().met(end, Instant::now());
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Ends> {
        // They are whole between any two of their lines.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ends {
    /// The id at the other end of a connection is this node's own.
    pub(crate) fn met(&mut self, end: End, now: Instant) {
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
            ends.met(first, now);
            ends.met(second, now + Duration::from_millis(5));
        }
        assert!(!ends.is_another_machine(now + 2 * SAME_CONNECTION));
    }

    #[test]
    fn an_end_without_another_is_another_machines() {
        let (mut ends, now) = (Ends::default(), Instant::now());
        for end in [End::Dialled, End::Came] {
            ends.met(end, now);
            assert!(!ends.is_another_machine(now + SAME_CONNECTION / 2), "the other one may come");
            assert!(ends.is_another_machine(now + SAME_CONNECTION));
            assert!(!ends.is_another_machine(now + SAME_CONNECTION), "it is told once");
        }
        // Two from elsewhere are no pair.
        ends.met(End::Came, now);
        ends.met(End::Came, now);
        assert!(ends.is_another_machine(now + SAME_CONNECTION));
    }

    #[test]
    fn ends_that_wait_are_bounded() {
        let (mut ends, now) = (Ends::default(), Instant::now());
        (0..1000).for_each(|_| ends.met(End::Came, now));
        assert_eq!(ends.waiting.len(), MAX_ENDS);
    }
}

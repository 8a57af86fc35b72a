//! Whether this machine's clock agrees with those of its peers.
//!
//! Peers say what time it is when they answer a synchronisation. One of them may lie or be wrong; when most of them say that
//! this clock is off in one direction, its owner should know: what a node seals in the future nobody takes, and a node that
//! lives in the past takes nothing new, and neither costs anybody anything that would make it seen.

use std::collections::HashMap;
use std::time::Duration;

use libp2p::PeerId;
use synapsenet_proto::MAX_CLOCK_ERROR_MS;

/// Fewer peers say nothing about this machine's clock: it may be theirs that are wrong.
pub(crate) const LEAST_CLOCKS: usize = 3;

/// What the clocks of the connected peers say.
#[derive(Debug, Default)]
pub(crate) struct Clocks {
    /// By how many milliseconds each is ahead of this one.
    ahead: HashMap<PeerId, i64>,
}

impl Clocks {
    /// A connected peer's clock said `clock_ms` in an answer that took `elapsed` and came at `now_ms` by this clock.
    pub(crate) fn told(&mut self, peer: PeerId, clock_ms: u64, elapsed: Duration, now_ms: u64) {
        // It was said somewhere in between; half of the wait is at most 15 s.
        let then = now_ms.saturating_sub(elapsed.as_millis() as u64 / 2);
        let ahead = i128::from(clock_ms) - i128::from(then);
        let bounds = (i128::from(i64::MIN / 2), i128::from(i64::MAX / 2));
        self.ahead.insert(peer, ahead.clamp(bounds.0, bounds.1) as i64);
    }

    /// A peer is gone.
    pub(crate) fn forget(&mut self, peer: &PeerId) {
        self.ahead.remove(peer);
    }

    /// By how many milliseconds the clocks of the peers are ahead of this one, when most of at least [`LEAST_CLOCKS`]
    /// disagree with it in one direction by more than a clock may be off; negative when they are behind. Of several, the
    /// middle one counts.
    pub(crate) fn off_ms(&self) -> Option<i64> {
        let limit = MAX_CLOCK_ERROR_MS as i64;
        let mut ahead: Vec<i64> = self.ahead.values().copied().collect();
        let most = |count: usize| ahead.len() >= LEAST_CLOCKS && 2 * count > ahead.len();
        let is_behind = most(ahead.iter().filter(|&&ms| ms > limit).count());
        let is_ahead = most(ahead.iter().filter(|&&ms| ms < -limit).count());
        if !is_behind && !is_ahead {
            return None;
        }
        ahead.sort_unstable();
        Some(ahead[ahead.len() / 2])
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: u64 = 1_790_000_000_000;
    const MINUTE: i64 = 60_000;

    fn clocks(minutes: &[i64]) -> Clocks {
        let mut clocks = Clocks::default();
        for minutes in minutes {
            let clock_ms = NOW.saturating_add_signed(minutes * MINUTE);
            clocks.told(PeerId::random(), clock_ms, Duration::ZERO, NOW);
        }
        clocks
    }

    #[test]
    fn most_of_at_least_three_clocks_say_that_this_one_is_wrong() {
        assert_eq!(clocks(&[12, 12]).off_ms(), None, "two are few");
        assert_eq!(clocks(&[12, 12, 0]).off_ms(), Some(12 * MINUTE));
        assert_eq!(clocks(&[-12, -12, -11, 0]).off_ms(), Some(-11 * MINUTE));
        assert_eq!(clocks(&[12, -12, 0, 0, 1]).off_ms(), None, "they disagree with each other");
        assert_eq!(clocks(&[12, 12, 0, 0]).off_ms(), None, "half is not most");
        assert_eq!(clocks(&[1, 2, -2, -1, 2]).off_ms(), None, "all clocks are a little wrong");
    }

    #[test]
    fn the_latest_word_of_a_peer_counts_and_none_of_one_that_is_gone() {
        let mut clocks = clocks(&[12, 12]);
        let third = PeerId::random();
        clocks.told(third, NOW + 12 * MINUTE as u64, Duration::ZERO, NOW);
        assert!(clocks.off_ms().is_some());
        clocks.forget(&third);
        assert_eq!(clocks.off_ms(), None);
    }

    #[test]
    fn a_slow_answer_is_no_wrong_clock() {
        let mut clocks = clocks(&[]);
        for _ in 0..3 {
            clocks.told(PeerId::random(), NOW, Duration::from_secs(30), NOW + 30_000);
        }
        assert_eq!(clocks.off_ms(), None);
    }

    proptest! {
        #[test]
        fn whatever_they_say_a_minority_says_nothing(lies in proptest::collection::vec(any::<u64>(), 0..5)) {
            let mut clocks = clocks(&[0, 0, 0, 0, 0]);
            for lie in lies {
                clocks.told(PeerId::random(), lie, Duration::ZERO, NOW);
            }
            prop_assert_eq!(clocks.off_ms(), None);
        }
    }
}

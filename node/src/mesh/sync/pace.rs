//! How fast a peer gives, and which grains are on their way. Values without I/O.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use synapsenet_proto::GrainId;

use super::source::Wanted;

/// What a peer has to give, in bytes for each second in which an answer of it is waited for. Two fetches share its line, so
/// this is half of the slowest line that is reckoned with, 1 KiB a second.
pub(super) const MIN_BYTES_A_SECOND: u64 = 512;
/// What an answer counts at least, however short: where it takes two seconds to and fro, as over a satellite, a comparison
/// of answers without content is still no slow one.
pub(super) const MIN_ANSWER_BYTES: u64 = 1024;
/// How long a peer is waited for before its pace is judged, each time anew: a line may be cut for a while.
pub(super) const PACE_WINDOW: Duration = Duration::from_secs(60);

/// The pace of a peer. Only the time counts in which an answer of it is waited for.
#[derive(Debug, Default)]
pub(super) struct Pace {
    since: Mutex<(Duration, u64)>,
}

impl Pace {
    /// An answer of so many bytes came, or none (0), after this time.
    pub fn note(&self, waited: Duration, bytes: u64) {
        let mut since = self.lock();
        since.0 += waited;
        since.1 += if bytes == 0 { 0 } else { bytes.max(MIN_ANSWER_BYTES) };
    }

    /// Whether it was too slow over a whole window; then a new one begins.
    pub fn is_too_slow(&self) -> bool {
        let mut since = self.lock();
        if since.0 < PACE_WINDOW {
            return false;
        }
        let (waited, bytes) = std::mem::take(&mut *since);
        bytes < MIN_BYTES_A_SECOND * waited.as_secs()
    }

    fn lock(&self) -> MutexGuard<'_, (Duration, u64)> {
        self.since.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Grains that are being fetched by some synchronisation: another one about the same topic begins with others, so that two
/// at once bring twice as many. Bounded by what may be fetched at the same time.
#[derive(Debug, Default)]
pub(super) struct UnderWay(Mutex<HashSet<GrainId>>);

impl UnderWay {
    /// Takes those that nobody fetches, and leaves the others, if they are to be left.
    pub fn take(self: &Arc<Self>, wanted: Vec<Wanted>, leave: bool) -> (Taken, Vec<Wanted>) {
        let mut under_way = self.lock();
        let (taken, mut left): (Vec<_>, Vec<_>) =
            wanted.into_iter().partition(|wanted| under_way.insert(wanted.id));
        let ids = taken.iter().map(|wanted| wanted.id).collect();
        let mut taken = Taken { under_way: self.clone(), ids, wanted: taken };
        if !leave {
            taken.wanted.append(&mut left);
        }
        (taken, left)
    }

    fn lock(&self) -> MutexGuard<'_, HashSet<GrainId>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Grains that somebody fetches. Others may when it is dropped.
#[derive(Debug)]
pub(super) struct Taken {
    under_way: Arc<UnderWay>,
    ids: Vec<GrainId>,
    /// What is to be asked for.
    pub wanted: Vec<Wanted>,
}

impl Drop for Taken {
    fn drop(&mut self) {
        let mut ids = self.under_way.lock();
        for id in &self.ids {
            ids.remove(id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_that_drips_is_too_slow_and_a_slow_line_is_not() {
        let judged = |pause: Duration, bytes: u64| {
            let pace = Pace::default();
            (0..1000).any(|_| {
                pace.note(pause, bytes);
                pace.is_too_slow()
            })
        };
        assert!(judged(Duration::from_secs(25), 500), "a grain every 25 s");
        assert!(judged(Duration::from_secs(30), 0), "no answer at all");
        assert!(judged(Duration::from_secs(29), 10_000), "at the last moment");
        assert!(!judged(Duration::from_secs(25), 13_000), "half of a line of 1 KiB a second");
        assert!(!judged(Duration::from_secs(2), 150), "short answers over a long way");
        assert!(!judged(Duration::from_millis(1), 1));
    }

    #[test]
    fn two_synchronisations_fetch_each_grain_once_at_a_time() {
        let wanted =
            |ids: &[u8]| ids.iter().map(|n| Wanted::new(GrainId::from_bytes([*n; 32]))).collect::<Vec<_>>();
        let under_way = Arc::<UnderWay>::default();
        let (one, left) = under_way.take(wanted(&[1, 2]), true);
        assert_eq!((one.wanted.len(), left.len()), (2, 0));
        let (two, left) = under_way.take(wanted(&[2, 3]), true);
        assert_eq!((two.wanted[0].id, left[0].id), (GrainId::from_bytes([3; 32]), one.wanted[1].id));
        let (again, none) = under_way.take(left.clone(), false);
        assert_eq!((again.wanted.len(), none.len()), (1, 0), "it is not waited for");
        drop(again);
        assert_eq!(under_way.take(left.clone(), true).1.len(), 1, "it is still fetched by the first");
        drop(one);
        assert_eq!(under_way.take(left, true).1.len(), 0, "whoever stops leaves it to others");
        drop(two);
        assert!(under_way.lock().is_empty());
    }
}

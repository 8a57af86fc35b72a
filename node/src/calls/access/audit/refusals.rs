//! What is refused to the same caller again and again: the first refusals of a minute have a line each, the others are counted into
//! one. So whoever asks all the time for what it may not turns no page of the log.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::calls::access::Who;

/// How long refusals are counted together.
const TOGETHER: Duration = Duration::from_secs(60);
/// Refusals of a caller that have lines of their own in that time: what somebody tries by mistake.
const LINES: u32 = 4;
/// Callers whose refusals are counted at the same time: as many as there are tokens. Those of more are counted as one's.
const MAX_CALLERS: usize = 256;

/// Refusals of a caller that have no lines of their own.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refused {
    pub who: Who,
    /// The one that came last.
    pub call: &'static str,
    pub times: u64,
}

/// What is being counted. Clones share it.
#[derive(Debug, Clone, Default)]
pub(super) struct Refusals(Arc<Mutex<HashMap<Who, Counted>>>);

#[derive(Debug)]
struct Counted {
    since: Instant,
    /// Those that have a line of their own.
    lines: u32,
    call: &'static str,
    times: u64,
}

impl Refusals {
    /// Takes note of a refusal. True when it is to have a line of its own, as there were few of this caller lately; otherwise it is
    /// counted.
    pub fn begin(&self, who: &Who, call: &'static str, now: Instant) -> bool {
        let mut counted = self.lock();
        let is_crowded = counted.len() >= MAX_CALLERS && !counted.contains_key(who);
        // Of a token whose name says nothing: it has none.
        let who = if is_crowded { Who::Token("*".into()) } else { who.clone() };
        match counted.entry(who) {
            Entry::Vacant(new) => {
                let (lines, times) = if is_crowded { (LINES, 1) } else { (1, 0) };
                new.insert(Counted { since: now, lines, call, times });
                !is_crowded
            }
            Entry::Occupied(mut known) if known.get().lines < LINES => {
                known.get_mut().lines += 1;
                true
            }
            Entry::Occupied(mut known) => {
                let known = known.get_mut();
                (known.call, known.times) = (call, known.times.saturating_add(1));
                false
            }
        }
    }

    /// What was counted for long enough.
    pub fn take_due(&self, now: Instant) -> Vec<Refused> {
        self.take(|counted| now.saturating_duration_since(counted.since) >= TOGETHER)
    }

    /// All that was counted.
    pub fn take_all(&self) -> Vec<Refused> {
        self.take(|_| true)
    }

    fn take(&self, is_due: impl Fn(&Counted) -> bool) -> Vec<Refused> {
        let mut counted = self.lock();
        let due = counted.extract_if(|_, counted| is_due(counted));
        let told = due.map(|(who, Counted { call, times, .. })| Refused { who, call, times });
        told.filter(|refused| refused.times > 0).collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Who, Counted>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PUT: &str = "NodeService/Put";
    const SHARE: &str = "NodeService/Share";

    #[test]
    fn a_caller_has_few_lines_a_minute_whatever_it_asks() {
        let (refusals, start) = (Refusals::default(), Instant::now());
        let (one, other) = (Who::Token("one".into()), Who::Token("other".into()));
        let mut lines = 0;
        for second in 0..180 {
            let now = start + Duration::from_secs(second);
            for call in [PUT; 100] {
                lines += usize::from(refusals.begin(&one, call, now));
            }
            refusals.begin(&one, SHARE, now);
            for told in refusals.take_due(now) {
                assert_eq!((&told.who, told.call), (&one, SHARE));
                assert!(told.times >= 6000, "{told:?}");
                lines += 1;
            }
        }
        assert_eq!(lines, 3 * LINES as usize + 2, "in three minutes, of which two have ended");
        assert!((0..LINES).all(|_| refusals.begin(&other, PUT, start)), "of another the first are told");
        let mut left = refusals.take_all();
        left.sort_by_key(|refused| refused.who.to_string());
        assert_eq!(left.len(), 1, "what happened once has its line already");
        assert!(refusals.take_all().is_empty());
    }

    #[test]
    fn callers_without_number_are_counted_as_one() {
        let (refusals, now) = (Refusals::default(), Instant::now());
        let told =
            (0..1000).filter(|n| refusals.begin(&Who::Token(format!("t{n}").into()), PUT, now)).count();
        assert_eq!(told, MAX_CALLERS);
        let left = refusals.take_all();
        let most = left.iter().max_by_key(|refused| refused.times).unwrap();
        assert_eq!((most.who.to_string(), most.times), ("token *".to_owned(), 1000 - MAX_CALLERS as u64));
    }
}

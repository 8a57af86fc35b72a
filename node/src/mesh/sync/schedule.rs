//! When to synchronise which topic with whom. A value without I/O: the time is an argument.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::time::{Duration, Instant};

use synapsenet_net::PeerId;
use synapsenet_proto::Topic;

/// Synchronisations at the same time: each may hold some megabytes, and they share one line and one disk ...
pub(super) const MAX_RUNNING: usize = 4;
/// ... of those, about one topic: a slow peer does not hold up what others have ...
pub(super) const MAX_OF_TOPIC: usize = 2;
/// ... and with one peer, so that it never has all places.
pub(super) const MAX_OF_PEER: usize = 2;
/// Time between the end of one and the start of the next with the same peer about the same topic: what comes in between
/// is taken along by one.
pub(super) const MIN_GAP: Duration = Duration::from_secs(2);
/// The rest of a peer that was too slow, doubled each time that it is so again ...
pub(super) const FIRST_REST: Duration = Duration::from_secs(60);
/// ... and the longest.
const MAX_REST: Duration = Duration::from_secs(3600);
/// Pairs of which it is kept when they rest. Of more, all rests are forgotten.
const MAX_RESTS: usize = 4096;
/// Synchronisations that may wait. The timer makes up for those that do not fit.
const MAX_WANTED: usize = 4096;
/// The interval at least: a timer that never rests would only ask the same again.
const MIN_INTERVAL: Duration = Duration::from_secs(1);

/// A topic and a peer to synchronise it with.
pub(super) type Pair = (Topic, PeerId);

/// What is wanted, what runs, and when a topic's turn comes by itself.
#[derive(Debug)]
pub(super) struct Schedule {
    interval: Duration,
    wanted: VecDeque<Pair>,
    running: Vec<Pair>,
    /// Until when each pair rests, as long as that matters.
    rests: HashMap<Pair, Rest>,
    timers: BTreeMap<Topic, Instant>,
}

/// The rest of a pair.
#[derive(Debug, Clone, Copy)]
struct Rest {
    until: Instant,
    /// How long the next one is, if it is too slow again.
    next: Duration,
}

impl Schedule {
    pub fn new(interval: Duration) -> Self {
        Self {
            interval: interval.max(MIN_INTERVAL),
            wanted: VecDeque::new(),
            running: Vec::new(),
            rests: HashMap::new(),
            timers: BTreeMap::new(),
        }
    }

    /// These topics are subscribed now. `chance` gives random numbers.
    pub fn set_topics(&mut self, topics: &BTreeSet<Topic>, now: Instant, mut chance: impl FnMut() -> u64) {
        self.timers.retain(|topic, _| topics.contains(topic));
        self.wanted.retain(|(topic, _)| topics.contains(topic));
        for topic in topics {
            let first = self.interval.mul_f64(fraction(chance()));
            self.timers.entry(topic.clone()).or_insert(now + first);
        }
    }

    /// This is to be done as soon as may be. False when the topic is not subscribed or too much waits already.
    pub fn want(&mut self, pair: Pair) -> bool {
        if self.wanted.contains(&pair) {
            return true;
        }
        let is_taken = self.timers.contains_key(&pair.0) && self.wanted.len() < MAX_WANTED;
        if is_taken {
            self.wanted.push_back(pair);
        }
        is_taken
    }

    /// Topics whose turn it is by the timer, which begins anew: each time a little earlier or later, so that nodes that
    /// started together do not stay in step.
    pub fn take_timers(&mut self, now: Instant, mut chance: impl FnMut() -> u64) -> Vec<Topic> {
        let mut topics = Vec::new();
        for (topic, at) in &mut self.timers {
            if *at <= now {
                *at = now + self.interval.mul_f64(0.75 + fraction(chance()) / 2.0);
                topics.push(topic.clone());
            }
        }
        topics
    }

    /// The next one to start, which runs from now on.
    pub fn start(&mut self, now: Instant) -> Option<Pair> {
        let next = self
            .wanted
            .iter()
            .position(|pair| self.has_place(pair) && self.rested_at(pair).is_none_or(|at| at <= now))?;
        let pair = self.wanted.remove(next)?;
        self.running.push(pair.clone());
        Some(pair)
    }

    /// One that ran is over. Whoever was too slow rests, longer each time.
    pub fn ended(&mut self, pair: Pair, now: Instant, was_slow: bool) {
        self.running.retain(|running| *running != pair);
        let before = self.rests.get(&pair).map_or(FIRST_REST, |rest| rest.next);
        self.rests.retain(|_, rest| rest.until + rest.next > now);
        if self.rests.len() >= MAX_RESTS {
            self.rests.clear();
        }
        let (rest, next) =
            if was_slow { (before, (2 * before).min(MAX_REST)) } else { (MIN_GAP, FIRST_REST) };
        self.rests.insert(pair, Rest { until: now + rest, next });
    }

    /// The owner asks for it: no long rest is kept.
    pub fn wake(&mut self, pair: &Pair, now: Instant) {
        if let Some(rest) = self.rests.get_mut(pair) {
            rest.until = rest.until.min(now + MIN_GAP);
        }
    }

    /// Whether one more may run with this peer about this topic.
    fn has_place(&self, pair: &Pair) -> bool {
        let of_topic = self.running.iter().filter(|running| running.0 == pair.0).count();
        let of_peer = self.running.iter().filter(|running| running.1 == pair.1).count();
        self.running.len() < MAX_RUNNING
            && of_topic < MAX_OF_TOPIC
            && of_peer < MAX_OF_PEER
            && !self.running.contains(pair)
    }

    /// When there is something to do that does not come by itself; none when nothing is.
    pub fn wake_at(&self) -> Option<Instant> {
        let timer = self.timers.values().min().copied();
        let rested = self
            .wanted
            .iter()
            .filter(|pair| self.has_place(pair))
            .filter_map(|pair| self.rested_at(pair))
            .min();
        timer.into_iter().chain(rested).min()
    }

    fn rested_at(&self, pair: &Pair) -> Option<Instant> {
        self.rests.get(pair).map(|rest| rest.until)
    }
}

/// A random number as one from 0 to below 1.
fn fraction(chance: u64) -> f64 {
    (chance >> 11) as f64 / (1u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::peer;

    const INTERVAL: Duration = Duration::from_secs(60);

    fn topic(n: usize) -> Topic {
        Topic::new(format!("t{n}")).unwrap()
    }

    fn schedule(topics: usize, now: Instant) -> Schedule {
        let mut schedule = Schedule::new(INTERVAL);
        schedule.set_topics(&(0..topics).map(topic).collect(), now, || u64::MAX);
        schedule
    }

    #[test]
    fn a_slow_peer_holds_up_neither_a_topic_nor_a_node() {
        let now = Instant::now();
        let mut schedule = schedule(5, now);
        for n in 0..5 {
            schedule.want((topic(n), peer(1)));
        }
        for n in 2..5 {
            schedule.want((topic(0), peer(n)));
        }
        // Two of one peer, two of one topic, four in all.
        assert_eq!(schedule.start(now), Some((topic(0), peer(1))));
        assert_eq!(schedule.start(now), Some((topic(1), peer(1))));
        assert_eq!(schedule.start(now), Some((topic(0), peer(2))));
        assert_eq!(schedule.start(now), None);
        schedule.want((topic(2), peer(3)));
        assert_eq!(schedule.start(now), Some((topic(2), peer(3))));
        schedule.want((topic(3), peer(4)));
        assert_eq!(schedule.start(now), None, "four run");
        schedule.ended((topic(0), peer(2)), now, false);
        assert_eq!(schedule.start(now), Some((topic(0), peer(3))), "the one that waits longest");
    }

    #[test]
    fn whoever_is_slow_rests_longer_each_time_unless_the_owner_asks() {
        let mut now = Instant::now();
        let mut schedule = schedule(1, now);
        let pair = (topic(0), peer(1));
        for rest in [60, 120, 240, 480, 960, 1920, 3600, 3600].map(Duration::from_secs) {
            schedule.want(pair.clone());
            assert_eq!(schedule.start(now), Some(pair.clone()));
            schedule.ended(pair.clone(), now, true);
            schedule.want(pair.clone());
            assert_eq!(schedule.start(now + rest - Duration::from_millis(1)), None);
            now += rest;
        }
        schedule.start(now).unwrap();
        schedule.ended(pair.clone(), now, true);
        schedule.want(pair.clone());
        schedule.wake(&pair, now);
        assert_eq!(schedule.start(now + MIN_GAP), Some(pair.clone()));
        schedule.ended(pair.clone(), now, false);
        schedule.want(pair.clone());
        assert_eq!(schedule.start(now + MIN_GAP), Some(pair), "it did well");
    }

    #[test]
    fn what_is_wanted_again_at_once_is_done_after_a_rest() {
        let now = Instant::now();
        let mut schedule = schedule(1, now);
        let pair = (topic(0), peer(1));
        schedule.want(pair.clone());
        schedule.start(now).unwrap();
        assert!(schedule.want(pair.clone()) && schedule.want(pair.clone()));
        schedule.ended(pair.clone(), now, false);
        assert_eq!(schedule.start(now), None);
        assert_eq!(schedule.wake_at(), Some(now + MIN_GAP));
        assert_eq!(schedule.start(now + MIN_GAP), Some(pair.clone()));
        schedule.ended(pair, now + MIN_GAP, false);
        assert_eq!(schedule.start(now + INTERVAL), None, "twice wanted in one rest is once");
    }

    #[test]
    fn a_topic_comes_by_itself_about_once_an_interval() {
        let now = Instant::now();
        let mut schedule = schedule(1, now);
        let first = schedule.wake_at().unwrap();
        assert!(first <= now + INTERVAL);
        assert!(schedule.take_timers(first - Duration::from_nanos(1), || 0).is_empty());
        assert_eq!(schedule.take_timers(first, || 0), [topic(0)]);
        assert_eq!(schedule.wake_at(), Some(first + INTERVAL.mul_f64(0.75)));
    }

    #[test]
    fn a_topic_that_was_left_is_forgotten() {
        let now = Instant::now();
        let mut schedule = schedule(2, now);
        schedule.want((topic(0), peer(1)));
        schedule.set_topics(&[topic(1)].into(), now, || 0);
        assert_eq!(schedule.start(now), None);
        assert!(!schedule.want((topic(0), peer(1))));
    }

    #[test]
    fn no_more_wait_than_may() {
        let now = Instant::now();
        let mut schedule = schedule(MAX_WANTED + 1, now);
        let taken = (0..=MAX_WANTED).filter(|&n| schedule.want((topic(n), peer(1)))).count();
        assert_eq!(taken, MAX_WANTED);
    }
}

//! When to synchronise which topic with whom. A value without I/O: the time is an argument.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::time::{Duration, Instant};

use synapsenet_net::PeerId;
use synapsenet_proto::Topic;

/// Synchronisations at the same time: each may hold some megabytes, and they share one line and one disk.
pub(super) const MAX_RUNNING: usize = 3;
/// Time between the end of one and the start of the next with the same peer about the same topic: what comes in between
/// is taken along by one.
pub(super) const MIN_GAP: Duration = Duration::from_secs(2);
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
    running: BTreeMap<Topic, PeerId>,
    /// When the latest with each peer ended, as long as that matters.
    ended: HashMap<Pair, Instant>,
    timers: BTreeMap<Topic, Instant>,
}

impl Schedule {
    pub fn new(interval: Duration) -> Self {
        Self {
            interval: interval.max(MIN_INTERVAL),
            wanted: VecDeque::new(),
            running: BTreeMap::new(),
            ended: HashMap::new(),
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
        if self.running.len() >= MAX_RUNNING {
            return None;
        }
        let next = self.wanted.iter().position(|pair| {
            !self.running.contains_key(&pair.0) && self.rested_at(pair).is_none_or(|at| at <= now)
        })?;
        let pair = self.wanted.remove(next)?;
        self.running.insert(pair.0.clone(), pair.1);
        Some(pair)
    }

    /// One that ran is over.
    pub fn ended(&mut self, pair: Pair, now: Instant) {
        self.running.remove(&pair.0);
        self.ended.retain(|_, at| *at + MIN_GAP > now);
        self.ended.insert(pair, now);
    }

    /// When there is something to do that does not come by itself; none when nothing is.
    pub fn wake_at(&self) -> Option<Instant> {
        let timer = self.timers.values().min().copied();
        let is_free = |pair: &&Pair| self.running.len() < MAX_RUNNING && !self.running.contains_key(&pair.0);
        let rested = self.wanted.iter().filter(is_free).filter_map(|pair| self.rested_at(pair)).min();
        timer.into_iter().chain(rested).min()
    }

    fn rested_at(&self, pair: &Pair) -> Option<Instant> {
        self.ended.get(pair).map(|at| *at + MIN_GAP)
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
    fn one_at_a_time_for_a_topic_and_three_in_all() {
        let now = Instant::now();
        let mut schedule = schedule(5, now);
        for pair in [(topic(0), peer(1)), (topic(0), peer(2))] {
            assert!(schedule.want(pair));
        }
        assert_eq!(schedule.start(now), Some((topic(0), peer(1))));
        assert_eq!(schedule.start(now), None, "the topic is at it");
        for n in 1..5 {
            schedule.want((topic(n), peer(1)));
        }
        assert!(schedule.start(now).is_some() && schedule.start(now).is_some());
        assert_eq!(schedule.start(now), None, "three run");
        schedule.ended((topic(0), peer(1)), now);
        assert_eq!(schedule.start(now), Some((topic(0), peer(2))), "the one that waits longest");
    }

    #[test]
    fn what_is_wanted_again_at_once_is_done_after_a_rest() {
        let now = Instant::now();
        let mut schedule = schedule(1, now);
        let pair = (topic(0), peer(1));
        schedule.want(pair.clone());
        schedule.start(now).unwrap();
        assert!(schedule.want(pair.clone()) && schedule.want(pair.clone()));
        schedule.ended(pair.clone(), now);
        assert_eq!(schedule.start(now), None);
        assert_eq!(schedule.wake_at(), Some(now + MIN_GAP));
        assert_eq!(schedule.start(now + MIN_GAP), Some(pair.clone()));
        schedule.ended(pair, now + MIN_GAP);
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

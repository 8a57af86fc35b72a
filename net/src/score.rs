//! What misbehaving costs: penalties that fade and bans that grow.
//!
//! Only what a peer made itself costs it anything: an honest node passes on what others made, its clock may be wrong, and its
//! line may be slow or filled by somebody else. Such things are counted, too, and cost nothing.
//!
//! A peer collects penalties; they halve every [`HALF_LIFE`]. At [`BAN_AT`] it is disconnected and banned, each time for
//! twice as long as the time before. Gossipsub is told the penalties, too, so that a peer on its way there loses its place
//! in the mesh of a topic first.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use libp2p::PeerId;
use serde::{Deserialize, Serialize};

/// Penalties halve in this time: a burst from yesterday's bug is forgotten, a steady trickle adds up.
pub(crate) const HALF_LIFE: Duration = Duration::from_secs(600);
/// At this penalty (100, and what fades between two offences) a peer is banned: five forged messages.
pub(crate) const BAN_AT: f64 = 99.0;
/// The first ban. Each one after it is twice as long ...
pub(crate) const FIRST_BAN: Duration = Duration::from_secs(300);
/// ... up to this.
pub(crate) const LONGEST_BAN: Duration = Duration::from_secs(7 * 24 * 3600);
/// Peers whose penalties are remembered.
const MAX_PENALTIES: usize = 4096;
/// Bans that are remembered; beyond that the one that ends first is forgotten.
const MAX_BANS: usize = 4096;

/// Something that is out of order about what a peer sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Offence {
    /// A message that is no announcement, is not in its canonical form, or breaks a limit.
    Malformed,
    /// A message over the limit of size.
    Oversize,
    /// A signature that does not fit.
    Forged,
    /// A grain of another topic than the one that it was announced on.
    ForeignTopic,
    /// A grain that was announced before.
    Replayed,
    /// A grain dated too far ahead of this node's clock.
    FromTheFuture,
    /// More messages than are looked at.
    Flood,
    /// An answer that does not fit the question.
    BadAnswer,
    /// A request that cannot be read.
    BadRequest,
    /// A request that did not come to its end in time.
    Stalled,
    /// A synchronisation that leads nowhere.
    EndlessSync,
}

impl Offence {
    /// All there are.
    pub const ALL: [Self; 11] = [
        Self::Malformed,
        Self::Oversize,
        Self::Forged,
        Self::ForeignTopic,
        Self::Replayed,
        Self::FromTheFuture,
        Self::Flood,
        Self::BadAnswer,
        Self::BadRequest,
        Self::Stalled,
        Self::EndlessSync,
    ];

    /// The reason as a metric label.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Oversize => "oversize",
            Self::Forged => "forged",
            Self::ForeignTopic => "foreign_topic",
            Self::Replayed => "replayed",
            Self::FromTheFuture => "from_the_future",
            Self::Flood => "flood",
            Self::BadAnswer => "bad_answer",
            Self::BadRequest => "bad_request",
            Self::Stalled => "stalled",
            Self::EndlessSync => "endless_sync",
        }
    }

    /// What it costs. A ban comes at 100.
    #[must_use]
    pub fn penalty(self) -> f64 {
        match self {
            // No honest program sends these, but an older or newer one might, by mistake, now and then.
            Self::Malformed | Self::Oversize | Self::ForeignTopic | Self::BadRequest => 10.0,
            Self::Forged | Self::BadAnswer | Self::EndlessSync => 20.0,
            // Two peers may give one grain to this node, each for the first time: with another claim, or after a minute on a
            // slow line.
            Self::Replayed => 0.0,
            // Whose clock is wrong, this node cannot know.
            Self::FromTheFuture => 0.0,
            // What is over a peer's rate is dropped: it may all be of others, who found an honest peer to pass it on.
            Self::Flood => 0.0,
            // The line may be slow, or this node's own cap be used up by others.
            Self::Stalled => 0.0,
        }
    }
}

/// A peer that is kept away.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ban {
    /// Who, as text.
    pub peer: String,
    /// How much of it is left, in milliseconds; none means that it lasts until it is lifted. No date: a clock that is set
    /// would free or jail everybody.
    #[serde(default)]
    pub left_ms: Option<u64>,
    /// How often it was banned, this time included.
    pub times: u32,
    /// Why: an offence's label, or "by hand".
    pub reason: String,
}

/// A number that halves every [`HALF_LIFE`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct Penalty {
    value: f64,
    at: Instant,
}

impl Penalty {
    pub(crate) fn new(now: Instant) -> Self {
        Self { value: 0.0, at: now }
    }

    pub(crate) fn value(&self, now: Instant) -> f64 {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.value * 0.5f64.powf(passed / HALF_LIFE.as_secs_f64())
    }

    /// Adds what an offence costs. True when it is enough for a ban.
    pub(crate) fn add(&mut self, offence: Offence, now: Instant) -> bool {
        self.value = self.value(now) + offence.penalty();
        self.at = now;
        self.value >= BAN_AT
    }
}

/// The penalties of peers, connected or not: going away and coming back pays nothing off.
#[derive(Debug, Default)]
pub(crate) struct Penalties {
    penalties: HashMap<PeerId, Penalty>,
}

impl Penalties {
    /// Adds what an offence costs a peer. True when it is enough for a ban; then the account is closed.
    pub(crate) fn add(&mut self, peer: PeerId, offence: Offence, now: Instant) -> bool {
        if offence.penalty() == 0.0 {
            return false;
        }
        if self.penalties.len() >= MAX_PENALTIES && !self.penalties.contains_key(&peer) {
            // The least guilty are let off: those who have something to lose by a new name are the others.
            let mut values: Vec<f64> = self.penalties.values().map(|penalty| penalty.value(now)).collect();
            values.sort_by(f64::total_cmp);
            let middle = values[values.len() / 2];
            self.penalties.retain(|_, penalty| penalty.value(now) > middle);
        }
        let is_enough = self.penalties.entry(peer).or_insert_with(|| Penalty::new(now)).add(offence, now);
        if is_enough {
            self.penalties.remove(&peer);
        }
        is_enough
    }

    /// What a peer has collected.
    pub(crate) fn of(&self, peer: &PeerId, now: Instant) -> f64 {
        self.penalties.get(peer).map_or(0.0, |penalty| penalty.value(now))
    }
}

/// A ban, and when it ends by the clock that nobody sets; none when it does not.
#[derive(Debug)]
struct Running {
    ban: Ban,
    ends: Option<Instant>,
}

impl Running {
    /// As it is at `now`.
    fn at(&self, now: Instant) -> Ban {
        let left = self.ends.map(|ends| ends.saturating_duration_since(now).as_millis() as u64);
        Ban { left_ms: left, ..self.ban.clone() }
    }

    fn holds(&self, now: Instant) -> bool {
        self.ends.is_none_or(|ends| ends > now)
    }
}

/// The bans, those that have ended included for as long as they make the next one longer.
#[derive(Debug, Default)]
pub(crate) struct Bans {
    bans: HashMap<PeerId, Running>,
}

impl Bans {
    /// Takes up what was saved; what was left of each ban begins now. What cannot be read is left out.
    pub(crate) fn from_saved(saved: Vec<Ban>, now: Instant) -> Self {
        let read = |ban: Ban| {
            let left = ban.left_ms.map(Duration::from_millis);
            Some((ban.peer.parse().ok()?, Running { ends: end_of(left, now), ban }))
        };
        Self { bans: saved.into_iter().take(MAX_BANS).filter_map(read).collect() }
    }

    pub(crate) fn save(&self, now: Instant) -> Vec<Ban> {
        let mut bans: Vec<Ban> = self.bans.values().map(|running| running.at(now)).collect();
        bans.sort_by(|a, b| a.peer.cmp(&b.peer));
        bans
    }

    /// Bans a peer for what it did.
    pub(crate) fn offended(&mut self, peer: PeerId, offence: Offence, now: Instant) {
        let times = self.times(&peer) + 1;
        let factor = 1u32.checked_shl(times - 1).unwrap_or(u32::MAX);
        let time = FIRST_BAN.saturating_mul(factor).min(LONGEST_BAN);
        self.put(peer, Some(time), times, offence.label(), now);
    }

    /// Bans a peer because somebody says so: for a time, or until it is lifted.
    pub(crate) fn by_hand(&mut self, peer: PeerId, time: Option<Duration>, now: Instant) {
        let times = self.times(&peer) + 1;
        self.put(peer, time, times, "by hand", now);
    }

    fn times(&self, peer: &PeerId) -> u32 {
        self.bans.get(peer).map_or(0, |running| running.ban.times)
    }

    fn put(&mut self, peer: PeerId, time: Option<Duration>, times: u32, reason: &str, now: Instant) {
        if self.bans.len() >= MAX_BANS && !self.bans.contains_key(&peer) {
            let first = self.bans.iter().min_by_key(|(_, running)| (running.ends.is_none(), running.ends));
            if let Some(first) = first.map(|(peer, _)| *peer) {
                self.bans.remove(&first);
            }
        }
        let ban = Ban { peer: peer.to_string(), left_ms: None, times, reason: reason.to_owned() };
        self.bans.insert(peer, Running { ban, ends: end_of(time, now) });
    }

    /// Forgets a ban and those before it. True when there was one.
    pub(crate) fn lift(&mut self, peer: &PeerId) -> bool {
        self.bans.remove(peer).is_some()
    }

    /// The bans that hold at `now`.
    pub(crate) fn active(&self, now: Instant) -> Vec<Ban> {
        self.bans.values().filter(|running| running.holds(now)).map(|running| running.at(now)).collect()
    }

    /// Who is banned at `now`.
    pub(crate) fn banned(&self, now: Instant) -> HashSet<PeerId> {
        self.bans.iter().filter(|(_, running)| running.holds(now)).map(|(peer, _)| *peer).collect()
    }
}

/// When something ends that lasts so long; none when it does not end, or so late that no clock shows it.
fn end_of(time: Option<Duration>, now: Instant) -> Option<Instant> {
    time.and_then(|time| now.checked_add(time))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forgeries_end_in_a_ban_and_the_next_ban_is_longer() {
        let (peer, start) = (PeerId::random(), Instant::now());
        let mut penalty = Penalty::new(start);
        let banned_at = (1..).find(|_| penalty.add(Offence::Forged, start)).unwrap();
        assert_eq!(banned_at, 5);
        let mut bans = Bans::default();
        let mut lengths = Vec::new();
        for _ in 0..14 {
            bans.offended(peer, Offence::Forged, start);
            lengths.push(bans.active(start)[0].left_ms.unwrap() / 1000);
        }
        assert_eq!(lengths[..3], [300, 600, 1200]);
        assert_eq!(*lengths.last().unwrap(), LONGEST_BAN.as_secs());
    }

    #[test]
    fn penalties_are_bounded_and_the_guiltiest_are_kept() {
        let (now, guilty) = (Instant::now(), PeerId::random());
        let mut penalties = Penalties::default();
        assert!(!penalties.add(guilty, Offence::Forged, now));
        for _ in 0..MAX_PENALTIES + 100 {
            penalties.add(PeerId::random(), Offence::Malformed, now);
        }
        assert!(penalties.penalties.len() <= MAX_PENALTIES);
        assert_eq!(penalties.of(&guilty, now), 20.0);
        let is_enough = (0..4).map(|_| penalties.add(guilty, Offence::Forged, now)).last();
        assert_eq!((is_enough, penalties.of(&guilty, now)), (Some(true), 0.0));
    }

    #[test]
    fn what_costs_nothing_is_not_remembered() {
        let (now, peer) = (Instant::now(), PeerId::random());
        let mut penalties = Penalties::default();
        for offence in [Offence::Replayed, Offence::FromTheFuture, Offence::Flood, Offence::Stalled] {
            assert!((0..100_000).all(|_| !penalties.add(peer, offence, now)));
        }
        assert!(penalties.penalties.is_empty());
    }

    #[test]
    fn a_penalty_fades() {
        let start = Instant::now();
        let mut penalty = Penalty::new(start);
        penalty.add(Offence::Forged, start);
        assert!((penalty.value(start + HALF_LIFE) - 10.0).abs() < 1e-9);
    }

    #[test]
    fn a_ban_survives_a_restart_and_ends() {
        let (peer, start) = (PeerId::random(), Instant::now());
        let mut bans = Bans::default();
        bans.offended(peer, Offence::Malformed, start);
        let restart = start + Duration::from_secs(1);
        let bans = Bans::from_saved(bans.save(restart), restart);
        assert_eq!(bans.banned(start + FIRST_BAN - Duration::from_secs(1)), [peer].into());
        assert_eq!(bans.banned(start + FIRST_BAN), HashSet::new());
        let unreadable = Ban { peer: "?".into(), left_ms: None, times: 1, reason: String::new() };
        assert_eq!(Bans::from_saved(vec![unreadable], start).bans.len(), 0);
    }

    /// They used to end at a date, so that a clock that was an hour ahead for a moment freed everybody, and one that was a
    /// year ahead when somebody was banned kept it out for a year.
    #[test]
    fn no_date_is_kept_with_a_ban_so_no_clock_ends_it() {
        let (peer, start) = (PeerId::random(), Instant::now());
        let mut bans = Bans::default();
        bans.by_hand(peer, Some(Duration::from_secs(60)), start);
        let saved = bans.save(start + Duration::from_secs(20));
        assert_eq!(saved[0].left_ms, Some(40_000));
        // The machine was off meanwhile, for however long its clock says: what was left is still to come.
        let later = start + Duration::from_secs(1_000_000);
        let again = Bans::from_saved(saved, later);
        assert_eq!(again.active(later)[0].left_ms, Some(40_000));
        assert_eq!(again.active(later + Duration::from_secs(40)), []);
        bans.by_hand(peer, None, start);
        assert_eq!(Bans::from_saved(bans.save(start), start).active(later)[0].left_ms, None);
    }

    #[test]
    fn bans_are_bounded() {
        let (mut bans, now) = (Bans::default(), Instant::now());
        for n in 0..MAX_BANS as u64 + 50 {
            bans.by_hand(PeerId::random(), Some(Duration::from_millis(n)), now);
        }
        assert_eq!(bans.bans.len(), MAX_BANS);
    }
}

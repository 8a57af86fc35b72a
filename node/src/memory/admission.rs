//! Who may bring what: the owner's rules about authors and topics, the share that is kept for its own grains, and what a
//! stranger may bring in a day.
//!
//! A *stranger* is an author that is neither this node's own nor followed. Its grains have a share of the room; within
//! it, what one author and one peer may bring a day hangs on how much room is left, so that a newcomer fills quickly and
//! nobody fills it alone. When the share is full, the oldest grains give way to younger ones, so that nodes of the same size keep
//! the same; or, where the owner chose that, what is worth least gives way ([`crate::memory::emergence`]) and is kept out. In either
//! case nothing is taken that is older than all that is held. The owner's grains, and those of authors that it follows, are never let go for a
//! stranger's.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;
use std::time::{Duration, Instant};

use synapsenet_net::PeerId;
use synapsenet_proto::{AuthorId, Grain, Refusal, Topic};
use synapsenet_storage::{AuthorRule, Change, Counts, Origin, Slot, StorageError, TopicPolicy, View};

use crate::config::Config;

/// How long a budget lasts, by a clock that nobody sets.
const DAY: Duration = Duration::from_secs(24 * 3600);
/// Authors, and peers, whose budgets are counted one by one; beyond that the others of the day share one.
const MAX_COUNTED: usize = 8192;
/// An author may bring the fourth part of the room that is left, so that it has taken a fifth of all when it may no more ...
const AUTHOR_PART: u64 = 4;
/// ... and a peer, which passes on what many say, three times the room that is left: it ends at three quarters.
const PEER_TIMES: u64 = 3;
/// An author that was of use to the owner may bring as much more as it was of use, up to four times what nobody knows may.
const MAX_USES_COUNTED: u64 = 3;
/// Grains of strangers that go in one commit at most: twice as many as come, so that a share that was made smaller is reached.
const MAX_TRIMMED: usize = 2048;
/// While their share is full, so many of all, and at least so many, may wait for their scores: what comes without one takes the
/// place of what has one, and a flood must not take all places before it is seen to be worth nothing.
const UNSCORED_PART: u64 = 16;
const LEAST_UNSCORED: u64 = 64;
/// When more than this part of their share is free again, what is older than all that is held is worth fetching.
const ROOMY_PART: u64 = 16;

/// What may be brought in a day however little room is left: grains, and bytes of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Budget {
    pub grains: u64,
    pub bytes: u64,
}

impl Budget {
    fn times(self, times: u64) -> Self {
        Self { grains: self.grains.saturating_mul(times), bytes: self.bytes.saturating_mul(times) }
    }
}

/// What is taken in at most.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Notes held.
    pub max_notes: u64,
    /// Grains of strangers held, retractions included.
    pub max_strangers: u64,
    /// Bytes that these may be counted for; 0 is without limit.
    pub quota_bytes: u64,
    /// What one author that is a stranger may bring in a day at least.
    pub author: Budget,
    /// What one peer may bring of strangers in a day at least.
    pub peer: Budget,
    /// Whether those of the lowest score go when there are too many, or the oldest.
    pub by_score: bool,
}

impl Limits {
    /// The limits that a configuration sets.
    pub fn of(config: &Config) -> Self {
        let Config { storage, admission, .. } = config;
        let author = Budget { grains: admission.author_grains, bytes: admission.author_bytes };
        let peer = Budget { grains: admission.peer_grains, bytes: admission.peer_bytes };
        let max_notes = storage.hnsw_max_elements as u64;
        let by_score = config.emergence.enabled && config.emergence.retention == "score";
        let limits = Self::new(max_notes, admission.reserved_percent, storage.quota_bytes, author, peer);
        Self { by_score, ..limits }
    }

    /// Limits of a node that holds so many notes, of which a share in percent is kept for the owner; the oldest go.
    pub fn new(
        max_notes: u64,
        reserved_percent: u64,
        quota_bytes: u64,
        author: Budget,
        peer: Budget,
    ) -> Self {
        let max_strangers = max_notes - max_notes * reserved_percent.min(100) / 100;
        Self { max_notes, max_strangers, quota_bytes, author, peer, by_score: false }
    }

    /// The room that strangers have left: grains and bytes.
    fn room(&self, held: Counts) -> Budget {
        let all = self.max_notes.saturating_sub(held.notes);
        Budget {
            grains: self.max_strangers.saturating_sub(held.strangers).min(all),
            bytes: self.max_bytes().saturating_sub(held.stranger_bytes),
        }
    }

    fn max_bytes(&self) -> u64 {
        if self.quota_bytes == 0 { u64::MAX / 8 } else { self.quota_bytes }
    }

    /// How many grains of strangers are to go, at a guess: what is counted for bytes has at least two thousand of them.
    fn surplus(&self, held: Counts) -> usize {
        const LEAST_COUNTED: u64 = 2048;
        let grains = held.strangers.saturating_sub(self.max_strangers);
        let notes = held.notes.saturating_sub(self.max_notes);
        let bytes = held.stranger_bytes.saturating_sub(self.max_bytes()).div_ceil(LEAST_COUNTED);
        usize::try_from(grains.max(notes).max(bytes)).map_or(MAX_TRIMMED, |surplus| surplus.min(MAX_TRIMMED))
    }
}

/// What the owner says about authors and topics.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Rules {
    followed: HashSet<AuthorId>,
    blocked: HashSet<AuthorId>,
    policies: HashMap<Topic, TopicPolicy>,
}

impl Rules {
    /// Reads what is stored.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn read(view: &View) -> Result<Self, StorageError> {
        let mut rules = Self::default();
        for (author, rule) in view.author_rules()? {
            match rule {
                AuthorRule::Followed => rules.followed.insert(author),
                AuthorRule::Blocked => rules.blocked.insert(author),
            };
        }
        rules.policies = view.topic_policies()?.into_iter().collect();
        Ok(rules)
    }

    /// Whether the owner follows an author.
    pub fn follows(&self, author: &AuthorId) -> bool {
        self.followed.contains(author)
    }

    /// Whether the owner follows any author.
    pub fn follows_anybody(&self) -> bool {
        !self.followed.is_empty()
    }

    /// Whether the owner blocks an author.
    pub fn blocks(&self, author: &AuthorId) -> bool {
        self.blocked.contains(author)
    }

    /// The authors that are blocked.
    pub fn blocked(&self) -> &HashSet<AuthorId> {
        &self.blocked
    }

    /// All authors that have a rule.
    pub fn all(&self) -> impl Iterator<Item = AuthorId> {
        self.followed.iter().chain(&self.blocked).copied()
    }

    /// How many authors have a rule.
    pub fn len(&self) -> usize {
        self.followed.len() + self.blocked.len()
    }

    /// What the owner thinks of an author.
    pub fn of(&self, author: &AuthorId) -> Option<AuthorRule> {
        match author {
            author if self.follows(author) => Some(AuthorRule::Followed),
            author if self.blocks(author) => Some(AuthorRule::Blocked),
            _ => None,
        }
    }

    /// The topics that do not take from everybody.
    pub fn policies(&self) -> impl Iterator<Item = (&Topic, &TopicPolicy)> {
        self.policies.iter()
    }

    /// Whether a topic takes a grain of this author, which is not the node's own.
    fn lists(&self, topic: &Topic, author: &AuthorId) -> bool {
        match self.policies.get(topic) {
            None | Some(TopicPolicy::Open) => true,
            Some(TopicPolicy::Known) => self.follows(author),
            Some(TopicPolicy::Listed(authors)) => authors.contains(author),
        }
    }
}

/// What is brought, as far as it counts.
pub(crate) struct Brought<'a> {
    pub grain: &'a Grain,
    pub by: PeerId,
    /// With its claim.
    pub bytes: u64,
    /// Whether this node's own author sealed it.
    pub is_own: bool,
    /// How many grains of others than the owner have no score yet.
    pub unscored: u64,
    /// How often its author was of use to the owner.
    pub uses: u64,
}

/// Decides, and counts what was brought today.
pub(crate) struct Admission {
    limits: Limits,
    authors: Spent<AuthorId>,
    peers: Spent<PeerId>,
    /// The time of the oldest grain of strangers that is held or comes with this commit.
    oldest_ms: Option<u64>,
}

impl Admission {
    /// Nothing was brought yet.
    pub fn new(limits: Limits, now: Instant) -> Self {
        Self { limits, authors: Spent::new(now), peers: Spent::new(now), oldest_ms: None }
    }

    /// Other limits from now on; what was brought today counts as before.
    pub fn limit(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// Begins a commit, before which the oldest grain of strangers has this time.
    pub fn begin(&mut self, oldest_ms: Option<u64>) {
        self.oldest_ms = oldest_ms;
    }

    /// Whether there is so much room for strangers that older grains are worth fetching.
    pub fn is_roomy(&self, held: Counts) -> bool {
        let (limits, room) = (&self.limits, self.limits.room(held));
        room.grains > limits.max_strangers / ROOMY_PART && room.bytes > limits.max_bytes() / ROOMY_PART
    }

    /// Whether what is worth least goes first.
    pub fn is_by_score(&self) -> bool {
        self.limits.by_score
    }

    /// How many grains of strangers are to go by their scores, once those of a commit are in. None where that is not how they go:
    /// retractions have no score, and when most of what is theirs are these, the oldest go.
    pub fn goes_by_score(&self, held: Counts) -> usize {
        let is_mostly_notes = held.stranger_notes.saturating_mul(2) >= held.strangers;
        if self.limits.by_score && is_mostly_notes { self.limits.surplus(held) } else { 0 }
    }

    /// What lets grains of strangers go that are too many, after those of a commit: those at `first`, then the oldest.
    pub fn trim(&self, first: Vec<Slot>) -> Change {
        let Limits { max_strangers, max_notes, .. } = self.limits;
        // Where scores say what goes, younger ones go as well: they would be fetched again and again.
        let remember = !first.is_empty();
        Change::TrimStrangers {
            grains: max_strangers,
            notes: max_notes,
            bytes: self.limits.max_bytes(),
            limit: MAX_TRIMMED,
            first,
            remember,
        }
    }

    /// Whether the owner's grain finds room: strangers' give way to it.
    ///
    /// # Errors
    /// [`Refusal::NodeFull`].
    pub fn of_owner(&self, held: Counts) -> Result<Origin, Refusal> {
        let of_owner = held.notes.saturating_sub(held.stranger_notes);
        if of_owner < self.limits.max_notes { Ok(Origin::Here) } else { Err(Refusal::NodeFull(of_owner)) }
    }

    /// Whether a peer's grain may come in, and whose room it takes. What may is counted.
    ///
    /// # Errors
    /// Why not.
    pub fn of_peer(
        &mut self,
        brought: &Brought<'_>,
        rules: &Rules,
        view: &View,
        held: Counts,
        now: Instant,
    ) -> Result<Result<Origin, Refusal>, StorageError> {
        let Brought { grain, by, bytes, is_own, unscored, uses } = *brought;
        let author = grain.author();
        if rules.blocks(&author) {
            return Ok(Err(Refusal::Blocked));
        }
        if is_own || rules.follows(&author) {
            return Ok(self.of_owner(held).map(|_| Origin::Known));
        }
        if !rules.lists(grain.topic(), &author) {
            return Ok(Err(Refusal::NotListed));
        }
        if let Some(target) = grain.retracted() {
            match view.slot_of(&target)?.map(|slot| view.record(slot)).transpose()?.flatten() {
                // It makes room, and there can be no more of these than notes.
                Some(held) if held.grain.author() == author => {
                    return Ok(Ok(Origin::Stranger));
                }
                Some(_) => return Ok(Err(Refusal::ForeignRetraction)),
                None if view.grains_by(&author)? == 0 && !self.authors.knows(&author) => {
                    return Ok(Err(Refusal::IdleRetraction(author)));
                }
                None => {}
            }
        }
        let room = self.limits.room(held);
        let least = self.limits.author.times(1 + uses.min(MAX_USES_COUNTED));
        let of_author = widened(least, room.grains / AUTHOR_PART, room.bytes / AUTHOR_PART);
        let of_peer = widened(
            self.limits.peer,
            room.grains.saturating_mul(PEER_TIMES),
            room.bytes.saturating_mul(PEER_TIMES),
        );
        if !self.peers.has_left(&by, of_peer, now) {
            return Ok(Err(Refusal::PeerOverBudget));
        }
        if !self.authors.has_left(&author, of_author, now) {
            return Ok(Err(Refusal::AuthorOverBudget));
        }
        let is_full = room.grains == 0 || room.bytes < bytes;
        let is_older = self.oldest_ms.is_none_or(|oldest| grain.created_ms() <= oldest);
        let most = (self.limits.max_strangers / UNSCORED_PART).max(LEAST_UNSCORED);
        let is_behind = self.limits.by_score && unscored >= most;
        if is_full && (is_older || is_behind) {
            return Ok(Err(Refusal::StrangersFull));
        }
        self.oldest_ms =
            Some(self.oldest_ms.map_or(grain.created_ms(), |oldest| oldest.min(grain.created_ms())));
        self.peers.spend(by, bytes);
        self.authors.spend(author, bytes);
        Ok(Ok(Origin::Stranger))
    }
}

fn widened(least: Budget, grains: u64, bytes: u64) -> Budget {
    Budget { grains: least.grains.max(grains), bytes: least.bytes.max(bytes) }
}

/// What each of many brought since the day began.
struct Spent<K> {
    began: Instant,
    spent: HashMap<K, Budget>,
    /// Of those who came when as many as may be were counted.
    others: Budget,
}

impl<K: Hash + Eq> Spent<K> {
    fn new(now: Instant) -> Self {
        Self { began: now, spent: HashMap::new(), others: Budget { grains: 0, bytes: 0 } }
    }

    fn has_left(&mut self, who: &K, budget: Budget, now: Instant) -> bool {
        if now.saturating_duration_since(self.began) >= DAY {
            *self = Self::new(now);
        }
        let nothing = Budget { grains: 0, bytes: 0 };
        let is_counted = self.spent.len() < MAX_COUNTED;
        let spent = self.spent.get(who).copied().unwrap_or(if is_counted { nothing } else { self.others });
        spent.grains < budget.grains && spent.bytes < budget.bytes
    }

    /// Whether it brought something today that counted.
    fn knows(&self, who: &K) -> bool {
        self.spent.contains_key(who)
    }

    fn spend(&mut self, who: K, bytes: u64) {
        let spent = match self.spent.len() < MAX_COUNTED {
            true => self.spent.entry(who).or_insert(Budget { grains: 0, bytes: 0 }),
            false => self.spent.get_mut(&who).unwrap_or(&mut self.others),
        };
        spent.grains += 1;
        spent.bytes += bytes;
    }
}

#[cfg(test)]
mod tests;

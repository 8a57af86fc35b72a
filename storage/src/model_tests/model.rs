//! The plain model of the store.

use std::collections::{BTreeMap, BTreeSet};

use synapsenet_proto::{AuthorId, EncodedVector, Grain, GrainId, Kind, SpaceId, Topic};

use crate::tables::{counted_bytes, encode_record};
use crate::testing::MODEL;
use crate::write::MAX_FORGOTTEN;
use crate::{
    AuthorRule, Change, Counts, Filter, IndexEvent, IndexEventKind, LANE_AGAIN, Lane, Occasions, Origin,
    Outcome, Slot, Standing, TopicPolicy,
};

#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub grain: Grain,
    pub shared: bool,
    /// The lane that it waits in.
    pub pending: Option<Lane>,
    pub vectors: BTreeMap<SpaceId, EncodedVector>,
    /// Whether its vector of [`MODEL`] is marked.
    pub unchecked: bool,
    pub claim: Option<Vec<u8>>,
    /// What it is counted for when it is a stranger's.
    pub stranger_bytes: Option<u64>,
    /// Where its document was moved to.
    pub moved_to: Option<String>,
    /// Days and occasions.
    pub uses: BTreeMap<u32, Occasions>,
    /// Whether it would be a stranger's if it were not pinned; none when it is not.
    pub pin: Option<bool>,
}

impl Entry {
    /// Where its document lay when it was read.
    pub fn said_source(&self) -> Option<&str> {
        self.grain.body().draft.source.as_ref().map(|source| source.uri.as_str())
    }

    /// Where its document lies.
    pub fn source(&self) -> Option<&str> {
        self.said_source().map(|said| self.moved_to.as_deref().unwrap_or(said))
    }

    fn counted(&self) -> u64 {
        let record = encode_record(&self.grain, self.shared, 77);
        counted_bytes(record.len(), self.claim.as_ref().map_or(0, Vec::len))
    }
}

#[derive(Default)]
pub(super) struct Model {
    pub entries: BTreeMap<Slot, Entry>,
    pub withdrawn: BTreeSet<(GrainId, AuthorId)>,
    /// The eldest first.
    pub forgotten: Vec<GrainId>,
    pub rules: BTreeMap<AuthorId, AuthorRule>,
    pub policies: BTreeMap<Topic, TopicPolicy>,
    pub last_slot: Slot,
    pub log: Vec<IndexEvent>,
    pub pruned: u64,
    pub standings: BTreeMap<AuthorId, Standing>,
    /// Authors that were caught, and where to go on.
    pub purges: BTreeMap<AuthorId, (u64, Slot)>,
}

impl Model {
    pub fn apply(&mut self, change: &Change) -> Outcome {
        match change {
            Change::Put { grain, shared, claim, origin, lane, .. } => {
                let outcome = self.put(grain, *shared, *origin, *lane);
                let is_distrusted = self.standing(grain.author()).distrusted;
                if let Outcome::Added { slot } = outcome
                    && let Some(entry) = self.entries.get_mut(&slot)
                {
                    if grain.kind() == Kind::Note {
                        entry.claim = claim.clone().filter(|_| !is_distrusted);
                    }
                    entry.stranger_bytes = (*origin == Origin::Stranger).then(|| entry.counted());
                }
                outcome
            }
            Change::Replace { old, with, retraction, shared, lane, .. } => {
                let Some(entry) = self.entries.values().find(|entry| entry.grain.id() == *old) else {
                    return Outcome::Unchanged;
                };
                let (was_shared, was_pinned) = (entry.shared, entry.pin.is_some());
                if was_shared != *shared {
                    return Outcome::OtherwiseShared { id: *old };
                }
                let same = self.entries.values().position(|entry| entry.grain.id() == with.id());
                let same =
                    same.or_else(|| self.with_words_of(with)).and_then(|at| self.entries.values().nth(at));
                if let Some(same) = same.filter(|same| was_shared && !same.shared) {
                    return Outcome::OtherwiseShared { id: same.grain.id() };
                }
                let (id, is_new, shared) = match self.put(with, was_shared, Origin::Here, *lane) {
                    Outcome::Added { .. } => (with.id(), true, was_shared),
                    Outcome::Duplicate { id, shared } if id != *old => (id, false, shared),
                    outcome => return outcome,
                };
                self.put(retraction, was_shared, Origin::Here, *lane);
                let lies = |id: GrainId| {
                    let found = self.entries.iter().find(|(_, entry)| entry.grain.id() == id);
                    found.map_or(0, |(&slot, _)| slot)
                };
                let (slot, retraction) = (lies(id), lies(retraction.id()));
                if was_pinned
                    && lies(*old) == 0
                    && let Some(entry) = self.entries.get_mut(&slot)
                {
                    entry.pin = Some(false);
                }
                Outcome::Replaced { id, is_new, shared, slot, retraction }
            }
            Change::Forget { slots, remember } => self.forget(slots, *remember),
            Change::TrimStrangers { grains, notes, bytes, limit, first, remember } => {
                let mut count = 0;
                let mut first = first.iter();
                loop {
                    let counts = self.counts();
                    let is_within = counts.strangers <= *grains
                        && counts.notes <= *notes
                        && counts.stranger_bytes <= *bytes;
                    let strangers = self.entries.iter().filter(|(_, entry)| entry.stranger_bytes.is_some());
                    let oldest = strangers.map(|(&slot, entry)| (entry.grain.created_ms(), slot)).min();
                    let is_strangers = |slot: &&Slot| {
                        self.entries.get(slot).is_some_and(|entry| entry.stranger_bytes.is_some())
                    };
                    let next = first.find(is_strangers).copied().or(oldest.map(|(_, slot)| slot));
                    let Some(slot) = next.filter(|_| !is_within && count < *limit) else {
                        return Outcome::Dropped { count: count as u64 };
                    };
                    self.forget(&[slot], *remember);
                    count += 1;
                }
            }
            Change::Pin { slot, pinned, most } => match self.entries.get(slot) {
                Some(entry)
                    if entry.grain.kind() == Kind::Note
                        && *pinned
                        && entry.pin.is_none()
                        && self.entries.values().filter(|entry| entry.pin.is_some()).count() as u64
                            >= *most =>
                {
                    Outcome::NoRoom
                }
                Some(_) => self.pin(*slot, *pinned),
                None => Outcome::Unchanged,
            },
            Change::CountUses { day, uses } => {
                for (slot, occasions) in uses {
                    if let Some(entry) = self.entries.get_mut(slot)
                        && entry.grain.kind() == Kind::Note
                        && occasions.all() > 0
                    {
                        let uses = entry.uses.entry(*day).or_default();
                        *uses = uses.plus(*occasions);
                    }
                }
                Outcome::Changed
            }
            Change::DropUses { before_day, slots } => {
                for (_, entry) in self.entries.range_mut(slots.clone()) {
                    entry.uses.retain(|day, _| day >= before_day);
                }
                Outcome::Changed
            }
            Change::MoveSource { slots, uri } => {
                let mut outcome = Outcome::Unchanged;
                for slot in slots {
                    let Some(entry) = self.entries.get_mut(slot) else { continue };
                    let Some(before) = entry.source() else { continue };
                    if before != uri {
                        entry.moved_to = Some(uri.clone());
                        self.tell(*slot, IndexEventKind::Moved);
                        outcome = Outcome::Changed;
                    }
                }
                outcome
            }
            Change::SetAuthorRule { author, rule } => {
                let before = match rule {
                    Some(rule) => self.rules.insert(*author, *rule),
                    None => self.rules.remove(author),
                };
                let (was, is) = (before == Some(AuthorRule::Followed), *rule == Some(AuthorRule::Followed));
                for entry in self.entries.values_mut().filter(|entry| entry.grain.author() == *author) {
                    if was != is {
                        match &mut entry.pin {
                            Some(is_strangers) => *is_strangers = !is,
                            None => entry.stranger_bytes = (!is).then(|| entry.counted()),
                        }
                    }
                }
                Outcome::Changed
            }
            Change::SetTopicPolicy { topic, policy } => {
                match policy {
                    TopicPolicy::Open => drop(self.policies.remove(topic)),
                    _ => drop(self.policies.insert(topic.clone(), policy.clone())),
                }
                Outcome::Changed
            }
            Change::AddClaim { slot, claim } => match self.entries.get_mut(slot) {
                Some(entry) if entry.grain.kind() == Kind::Note => {
                    entry.claim = Some(claim.clone());
                    if entry.pending.is_none() {
                        self.tell(*slot, IndexEventKind::Claimed);
                    }
                    Outcome::Changed
                }
                _ => Outcome::Unchanged,
            },
            Change::DropClaim { slot } => {
                match self.entries.get_mut(slot).and_then(|entry| entry.claim.take()) {
                    Some(_) => Outcome::Changed,
                    None => Outcome::Unchanged,
                }
            }
            Change::AddClaimed { slot, author, vector } => {
                if self.standing(*author).distrusted {
                    if let Some(entry) = self.entries.get_mut(slot) {
                        entry.claim = None;
                    }
                    return Outcome::Unchanged;
                }
                let outcome = self.apply(&Change::AddVector { slot: *slot, vector: vector.clone() });
                if let (Outcome::Changed, Some(entry)) = (outcome, self.entries.get_mut(slot)) {
                    entry.unchecked = true;
                }
                outcome
            }
            Change::Checked { slot, author } => match self.entries.get_mut(slot) {
                Some(entry) if entry.unchecked => {
                    entry.unchecked = false;
                    self.standings.entry(*author).or_default().agreed += 1;
                    Outcome::Changed
                }
                _ => Outcome::Unchanged,
            },
            Change::Distrust { author } => {
                let standing = self.standings.entry(*author).or_default();
                if std::mem::replace(&mut standing.distrusted, true) {
                    return Outcome::Unchanged;
                }
                self.purges.insert(*author, (0, 0));
                Outcome::Changed
            }
            Change::PurgeClaims { limit } => self.purge(*limit),
            Change::Share { id } => match self.entries.values_mut().find(|entry| entry.grain.id() == *id) {
                Some(entry) if !entry.shared => {
                    entry.shared = true;
                    Outcome::Changed
                }
                _ => Outcome::Unchanged,
            },
            Change::AddVector { slot, vector } => match self.entries.get_mut(slot) {
                Some(entry) if entry.grain.kind() == Kind::Note => {
                    entry.pending = None;
                    if entry.vectors.contains_key(&vector.model()) {
                        return Outcome::Unchanged;
                    }
                    entry.vectors.insert(vector.model(), vector.clone());
                    self.tell(*slot, IndexEventKind::Added);
                    Outcome::Changed
                }
                _ => Outcome::Unchanged,
            },
            Change::RenameModel { .. } => unreachable!("it is not among the operations"),
            Change::DropVectors { model, limit } => self.drop_vectors(*model, *limit),
            Change::PruneIndexLog { up_to } => {
                let up_to = (*up_to).min(self.log.len() as u64);
                if up_to <= self.pruned {
                    return Outcome::Unchanged;
                }
                self.pruned = up_to;
                Outcome::Changed
            }
        }
    }

    pub fn standing(&self, author: AuthorId) -> Standing {
        self.standings.get(&author).copied().unwrap_or_default()
    }

    fn forget(&mut self, slots: &[Slot], remember: bool) -> Outcome {
        let mut count = 0;
        for slot in slots {
            let Some(entry) = self.entries.remove(slot) else { continue };
            count += 1;
            if let Some(target) = entry.grain.retracted() {
                self.withdrawn.remove(&(target, entry.grain.author()));
            }
            if entry.grain.kind() == Kind::Note {
                self.tell(*slot, IndexEventKind::Removed);
            }
            if remember {
                self.forgotten.retain(|id| *id != entry.grain.id());
                self.forgotten.push(entry.grain.id());
                if self.forgotten.len() as u64 > MAX_FORGOTTEN {
                    self.forgotten.remove(0);
                }
            }
        }
        Outcome::Dropped { count }
    }

    fn pin(&mut self, slot: Slot, pinned: bool) -> Outcome {
        match self.entries.get_mut(&slot) {
            Some(entry) if entry.grain.kind() == Kind::Note && pinned != entry.pin.is_some() => {
                match entry.pin.take() {
                    None => entry.pin = Some(entry.stranger_bytes.take().is_some()),
                    Some(is_strangers) => entry.stranger_bytes = is_strangers.then(|| entry.counted()),
                }
                Outcome::Changed
            }
            _ => Outcome::Unchanged,
        }
    }

    /// The first note that says the same, and is no stranger's.
    fn with_words_of(&self, grain: &Grain) -> Option<usize> {
        let same_words = |entry: &Entry| {
            entry.grain.kind() == Kind::Note
                && entry.stranger_bytes.is_none()
                && entry.pin != Some(true)
                && (entry.moved_to.is_none() || entry.source() == entry.said_source())
                && entry.grain.body().fingerprint() == grain.body().fingerprint()
        };
        self.entries.values().position(same_words)
    }

    pub fn put(&mut self, grain: &Grain, mut shared: bool, origin: Origin, lane: Lane) -> Outcome {
        let is_note = grain.kind() == Kind::Note;
        let once = origin == Origin::Here;
        let same_id = self.entries.values().position(|entry| entry.grain.id() == grain.id());
        if once {
            if let Some(entry) = same_id.and_then(|at| self.entries.values_mut().nth(at)) {
                entry.stranger_bytes = None;
                entry.pin = entry.pin.map(|_| false);
            } else {
                self.forgotten.retain(|id| *id != grain.id());
            }
        } else if same_id.is_none() && self.forgotten.contains(&grain.id()) {
            return Outcome::Forgotten;
        }
        if same_id.is_none() && is_note && self.withdrawn.contains(&(grain.id(), grain.author())) {
            return Outcome::Retracted;
        }
        let same = same_id.or_else(|| (is_note && once).then(|| self.with_words_of(grain)).flatten());
        if let Some(entry) = same.and_then(|at| self.entries.values_mut().nth(at)) {
            entry.shared |= shared;
            return Outcome::Duplicate { id: entry.grain.id(), shared: entry.shared };
        }
        if let Some(target) = grain.retracted() {
            let other = self.entries.iter().find(|(_, entry)| {
                entry.grain.retracted() == Some(target) && entry.grain.author() == grain.author()
            });
            if let Some((&slot, other)) = other {
                let id = other.grain.id();
                if id < grain.id() {
                    let entry = self.entries.get_mut(&slot).unwrap();
                    entry.shared |= shared;
                    return Outcome::Duplicate { id, shared: entry.shared };
                }
                shared |= other.shared;
                self.entries.remove(&slot);
            }
            self.withdrawn.insert((target, grain.author()));
            let gone = self.entries.iter().find(|(_, entry)| {
                entry.grain.kind() == Kind::Note
                    && entry.grain.id() == target
                    && entry.grain.author() == grain.author()
            });
            if let Some((&slot, _)) = gone {
                self.tell(slot, IndexEventKind::Removed);
                self.entries.remove(&slot);
            }
        }
        self.last_slot += 1;
        let (grain, pending) = (grain.clone(), is_note.then_some(lane));
        let entry = Entry {
            grain,
            shared,
            pending,
            vectors: BTreeMap::new(),
            unchecked: false,
            claim: None,
            stranger_bytes: None,
            moved_to: None,
            uses: BTreeMap::new(),
            pin: None,
        };
        self.entries.insert(self.last_slot, entry);
        Outcome::Added { slot: self.last_slot }
    }

    pub fn drop_vectors(&mut self, model: SpaceId, limit: usize) -> Outcome {
        let with_vector = self.entries.iter().filter(|(_, entry)| entry.vectors.contains_key(&model));
        let slots: Vec<Slot> = with_vector.map(|(&slot, _)| slot).take(limit).collect();
        for &slot in &slots {
            let entry = self.entries.get_mut(&slot).unwrap();
            entry.vectors.remove(&model);
            entry.unchecked &= model != MODEL;
            if entry.vectors.is_empty() {
                entry.pending = Some(LANE_AGAIN);
                self.tell(slot, IndexEventKind::Removed);
            }
        }
        Outcome::Dropped { count: slots.len() as u64 }
    }

    fn purge(&mut self, limit: usize) -> Outcome {
        let Some((&author, &from)) = self.purges.first_key_value() else {
            return Outcome::Dropped { count: 0 };
        };
        let of_author = self.entries.iter().filter(|(_, entry)| entry.grain.author() == author);
        let mut places: Vec<(u64, Slot)> =
            of_author.map(|(&slot, entry)| (entry.grain.created_ms(), slot)).collect();
        places.sort_unstable();
        places.retain(|place| *place >= from);
        places.truncate(limit);
        let mut count = 0;
        for &(_, slot) in &places {
            let entry = self.entries.get_mut(&slot).unwrap();
            entry.claim = None;
            if std::mem::take(&mut entry.unchecked) {
                entry.vectors.remove(&MODEL);
                if entry.vectors.is_empty() {
                    entry.pending = Some(LANE_AGAIN);
                }
                self.tell(slot, IndexEventKind::Removed);
                count += 1;
            }
        }
        match places.last().filter(|_| places.len() == limit) {
            Some(&(time, slot)) => self.purges.insert(author, (time, slot + 1)),
            None => self.purges.remove(&author),
        };
        Outcome::Dropped { count }
    }

    pub fn tell(&mut self, slot: Slot, kind: IndexEventKind) {
        self.log.push(IndexEvent { seq: self.log.len() as u64 + 1, slot, kind });
    }

    pub fn lets_through(entry: &Entry, filter: &Filter) -> bool {
        let body = entry.grain.body();
        let lang = body.draft.lang.to_lowercase();
        let of_lang = |wanted: &String| {
            let wanted = wanted.to_lowercase();
            lang == wanted || lang.starts_with(&format!("{wanted}-"))
        };
        let of_source =
            |prefix: &String| entry.source().is_some_and(|source| source.starts_with(prefix.as_str()));
        (entry.shared || !filter.shared_only)
            && filter.topic.as_ref().is_none_or(|topic| *topic == body.draft.topic)
            && filter.author.is_none_or(|author| author == body.author)
            && filter.tags.iter().all(|tag| body.draft.tags.contains(tag))
            && filter.metadata.iter().all(|(key, value)| body.draft.metadata.get(key) == Some(value))
            && filter.created_from_ms.is_none_or(|from| body.created_ms >= from)
            && filter.created_before_ms.is_none_or(|before| body.created_ms < before)
            && filter.lang.as_ref().is_none_or(of_lang)
            && filter.source_prefix.as_ref().is_none_or(of_source)
            && (filter.any.is_empty() || filter.any.iter().any(|other| Self::lets_through(entry, other)))
            && !filter.none.iter().any(|other| Self::lets_through(entry, other))
    }

    pub fn counts(&self) -> Counts {
        let retractions =
            self.entries.values().filter(|entry| entry.grain.kind() == Kind::Retraction).count() as u64;
        Counts {
            notes: self.entries.len() as u64 - retractions,
            retractions,
            pending: self.entries.values().filter(|entry| entry.pending.is_some()).count() as u64,
            vectors: self.entries.values().map(|entry| entry.vectors.len() as u64).sum(),
            strangers: self.entries.values().filter(|entry| entry.stranger_bytes.is_some()).count() as u64,
            stranger_notes: self
                .entries
                .values()
                .filter(|entry| entry.stranger_bytes.is_some() && entry.grain.kind() == Kind::Note)
                .count() as u64,
            stranger_bytes: self.entries.values().filter_map(|entry| entry.stranger_bytes).sum(),
        }
    }
}

//! What is told of many scores: the highest, the newest, by author, and what emerged since a time. Each looks at all grains that are
//! meant, a tenth of a second for a million, and answers no more than is asked for.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;

use synapsenet_proto::{AuthorId, Topic};
use synapsenet_storage::Slot;

use super::arithmetic::Millionths;
use super::column::{Column, Entry};
use super::scores::{Scores, Voices};
use super::worth::{Emergence, Used};
use super::{Uses, Weights};

/// New grains that are put into groups: of more, the newest.
const MAX_GROUPED: usize = 20_000;
/// From this cosine on, two new grains are of one group: above that of neighbours, so that few lead on to each other.
const LEAST_TOGETHER: Millionths = Millionths(700_000);

/// What a refusal takes from the standing of an author: as much as a grain adds that is like nothing else.
const OF_A_REFUSAL: Millionths = Millionths(500_000);

/// Which grains are meant.
#[derive(Debug, Clone, Default)]
pub(crate) struct Wanted {
    /// None is any.
    pub topic: Option<Topic>,
    /// Sealed from this time on, in milliseconds since 1970-01-01 UTC.
    pub since_ms: u64,
}

/// A grain and what it adds.
pub(crate) type Scored = (Slot, Emergence);

/// What the grains of an author are worth here.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Standing {
    /// The sum.
    pub sum: Millionths,
    /// Grains that have a score ...
    pub grains: u64,
    /// ... and those of them that earn nothing.
    pub worthless: u64,
    /// How many were refused today for what the author did itself: each takes from the sum.
    pub refused: u64,
}

/// New grains that are near to each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Group {
    /// The one that is nearest to the others.
    pub central: Slot,
    /// All of them, by their slots.
    pub slots: Vec<Slot>,
}

/// What emerged.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Emerged {
    /// New grains that have a score.
    pub grains: u64,
    /// The largest first.
    pub groups: Vec<Group>,
    /// Those that are least like what was there.
    pub novel: Vec<Scored>,
    /// What was of use most often.
    pub reused: Vec<Scored>,
}

impl Scores {
    /// The highest scores, or the newest grains that have one.
    pub fn top(&self, uses: &Uses, wanted: &Wanted, by_time: bool, most: usize) -> Vec<Scored> {
        let Some(weights) = self.weights() else { return Vec::new() };
        let column = self.reading();
        let looked = self.looked(&column, uses, weights);
        let scored = looked.scored(wanted);
        match by_time {
            true => best(scored, most, |entry, _| Some(entry.order)),
            false => best(scored, most, |entry, emergence| {
                (emergence.score.0 > 0).then_some((emergence.score, entry.order))
            }),
        }
    }

    /// What the grains of each author are worth on a topic, or in all; by [`Column::worth`], so that no date gives anybody standing.
    pub fn standings(&self, uses: &Uses, topic: Option<&Topic>) -> HashMap<AuthorId, Standing> {
        let Some(weights) = self.weights() else { return HashMap::new() };
        let column = self.reading();
        let looked = self.looked(&column, uses, weights);
        let (wanted, echoes) = (Wanted { topic: topic.cloned(), since_ms: 0 }, column.echoes());
        let mut numbers: HashMap<u32, Standing> = HashMap::new();
        for (slot, entry) in looked.meant(&wanted) {
            let Some(worth) = column.worth(slot, looked.used(slot, entry), weights, &echoes) else {
                continue;
            };
            let standing = numbers.entry(entry.author).or_default();
            standing.sum = standing.sum.plus(worth.score);
            standing.grains += 1;
            standing.worthless += u64::from(worth.nothing.is_some());
        }
        let named = |(number, mut standing): (u32, Standing)| {
            let author = *column.authors.name(number)?;
            standing.refused = self.refused_of(&author);
            standing.sum = standing.sum.less(Millionths(OF_A_REFUSAL.0 * standing.refused));
            Some((author, standing))
        };
        numbers.into_iter().filter_map(named).collect()
    }

    fn looked<'a>(&self, column: &'a Column, uses: &'a Uses, weights: &'a Weights) -> Looked<'a> {
        Looked { column, uses, weights, voices: self.voices(uses, column) }
    }

    /// What emerged, at most so many of each.
    pub fn emerged(&self, uses: &Uses, wanted: &Wanted, most: usize) -> Emerged {
        let Some(weights) = self.weights() else { return Emerged::default() };
        let column = self.reading();
        let anytime = Wanted { since_ms: 0, ..wanted.clone() };
        let looked = self.looked(&column, uses, weights);
        let new = || looked.scored(wanted);
        let grouped =
            best(new(), MAX_GROUPED, |entry, emergence| emergence.nothing.is_none().then_some(entry.order));
        Emerged {
            grains: new().count() as u64,
            groups: groups(&column, &grouped, most),
            novel: best(new(), most, |entry, emergence| {
                emergence.nothing.is_none().then_some((emergence.novelty, Reverse(entry.order)))
            }),
            reused: best(looked.scored(&anytime), most, |entry, emergence| {
                (emergence.occasions > 0).then_some((emergence.occasions, entry.order))
            }),
        }
    }
}

/// What scores are told from.
struct Looked<'a> {
    column: &'a Column,
    uses: &'a Uses,
    weights: &'a Weights,
    voices: Arc<Voices>,
}

impl Looked<'_> {
    fn used(&self, slot: Slot, entry: &Entry) -> Used {
        let author = self.column.authors.name(entry.author);
        Used { occasions: self.uses.of(slot), of_author: author.map_or(0, |author| self.voices.of(author)) }
    }

    /// The grains that are meant.
    fn meant(&self, wanted: &Wanted) -> impl Iterator<Item = (Slot, &Entry)> + use<'_> {
        let (since_ms, is_any) = (wanted.since_ms, wanted.topic.is_none());
        let topic = wanted.topic.as_ref().and_then(|topic| self.column.topics.number(topic));
        let entries = self.column.entries.iter().map(|(&slot, entry)| (slot, entry));
        entries.filter(move |(_, entry)| (is_any || topic == Some(entry.topic)) && entry.order.0 >= since_ms)
    }

    /// Those of them that have a score.
    fn scored(&self, wanted: &Wanted) -> impl Iterator<Item = (Slot, &Entry, Emergence)> + use<'_> {
        self.meant(wanted).filter_map(|(slot, entry)| {
            Some((slot, entry, self.column.emergence(slot, self.used(slot, entry), self.weights)?))
        })
    }
}

/// Those of the highest keys, the highest first; what has none is left out.
fn best<'a, K: Ord>(
    scored: impl Iterator<Item = (Slot, &'a Entry, Emergence)>,
    most: usize,
    key: impl Fn(&Entry, &Emergence) -> Option<K>,
) -> Vec<Scored> {
    let keyed =
        scored.filter_map(|(slot, entry, emergence)| Some((key(entry, &emergence)?, slot, emergence)));
    let mut keyed: Vec<(K, Slot, Emergence)> = keyed.collect();
    keyed.sort_unstable_by(|a, b| (&b.0, b.1).cmp(&(&a.0, a.1)));
    keyed.truncate(most);
    keyed.into_iter().map(|(_, slot, emergence)| (slot, emergence)).collect()
}

/// Puts grains that are near to each other together; one that is near to none is in no group.
fn groups(column: &Column, new: &[Scored], most: usize) -> Vec<Group> {
    let mut leader: HashMap<Slot, Slot> = new.iter().map(|&(slot, _)| (slot, slot)).collect();
    let mut pairs = Vec::new();
    for &(slot, _) in new {
        for near in column.entries.get(&slot).map_or(&[][..], |entry| &entry.near) {
            if near.cosine() >= LEAST_TOGETHER && leader.contains_key(&near.slot()) {
                pairs.push((slot, near.slot(), near.cosine()));
                let (a, b) = (find(&mut leader, slot), find(&mut leader, near.slot()));
                leader.insert(a.max(b), a.min(b));
            }
        }
    }
    let mut weight: HashMap<Slot, u64> = HashMap::new();
    for (a, b, cosine) in pairs {
        *weight.entry(a).or_default() += cosine.0;
        *weight.entry(b).or_default() += cosine.0;
    }
    let mut members: HashMap<Slot, Vec<Slot>> = HashMap::new();
    for slot in weight.keys() {
        members.entry(find(&mut leader, *slot)).or_default().push(*slot);
    }
    let mut groups: Vec<Group> = members
        .into_values()
        .filter_map(|mut slots| {
            slots.sort_unstable();
            let central = slots.iter().copied().max_by_key(|slot| (weight.get(slot), Reverse(*slot)))?;
            Some(Group { central, slots })
        })
        .collect();
    groups.sort_unstable_by_key(|group| (Reverse(group.slots.len()), group.central));
    groups.truncate(most);
    groups
}

/// Who leads a grain's group; the way there is made shorter.
fn find(leader: &mut HashMap<Slot, Slot>, slot: Slot) -> Slot {
    let mut at = slot;
    while let Some(&next) = leader.get(&at)
        && next != at
    {
        let over = leader.get(&next).copied().unwrap_or(next);
        leader.insert(at, over);
        at = over;
    }
    at
}

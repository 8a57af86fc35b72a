//! Which grains are near one: the graph names candidates, and their cosines are computed of the vectors that are stored.

use std::cell::Cell;
use std::collections::{BTreeSet, HashMap};

use synapsenet_index::Neighbour;
use synapsenet_proto::{Claim, EncodedVector, Encoding, SpaceId, Vector};
use synapsenet_storage::{Slot, StorageError, View};

use super::arithmetic::{Millionths, Whole};
use super::column::{Column, Entry, LEAST_NEAR, Near, takes_from};
use crate::memory::spaces::{Space, SpaceError};

/// In a topic of at most so many grains all are compared, by the graph's own vectors of one byte a component; that takes less than
/// half a millisecond. In a larger one the graph is walked.
pub(super) const COMPARE_ALL: usize = 2048;
/// The nearest of these whose cosines are computed: three times as many as count, as the graph's order is only roughly right.
const MAX_CANDIDATES: usize = 64;
/// Older ones whose cosines are computed, where none is among the nearest.
const MAX_OLDER: usize = 8;
/// Grains that a walk of the graph asks about before it takes what it has: those that are nearest it meets first, and where few of
/// those around are of the topic it would go through all there are.
const MAX_WALKED: usize = 4096;
/// Of the topic's grains, so many of the nearest are looked at for an older one.
const LOOKED_FOR_OLDER: usize = 512;
/// Vectors that are kept from one grain of a step to the next, as neighbours of one are neighbours of the other.
const MAX_KEPT: usize = 1024;

/// How far the graph's cosines are off: less than 0.02 by their rounding ([`Neighbour::similarity`]), and something more where the author
/// vouches for another vector than the graph has.
const ROUGH: f64 = 0.03;

/// The vectors of one view, as whole numbers.
pub(super) struct Vectors<'a> {
    view: &'a View,
    space: SpaceId,
    dimension: usize,
    kept: HashMap<Slot, Option<Whole>>,
}

impl<'a> Vectors<'a> {
    pub fn new(view: &'a View, space: &Space) -> Self {
        Self { view, space: space.id(), dimension: space.model.dimension(), kept: HashMap::new() }
    }

    /// The vector of a grain; none when it has none of this space.
    fn of(&mut self, slot: Slot) -> Result<Option<&Whole>, StorageError> {
        if !self.kept.contains_key(&slot) {
            if self.kept.len() >= MAX_KEPT {
                self.kept.clear();
            }
            let vector = self.read(slot)?;
            self.kept.insert(slot, vector);
        }
        Ok(self.kept.get(&slot).and_then(Option::as_ref))
    }

    fn read(&self, slot: Slot) -> Result<Option<Whole>, StorageError> {
        let Some(stored) = self.view.vector(slot, self.space)? else { return Ok(None) };
        let claimed = if is_from_here(&stored) { self.claimed(slot)? } else { None };
        let vector = claimed.unwrap_or(stored);
        Ok(Whole::of(&vector).ok())
    }

    /// What the author of a grain vouches for: others have that of it, and not what was computed here.
    fn claimed(&self, slot: Slot) -> Result<Option<EncodedVector>, StorageError> {
        let claim = self.view.claim(slot)?.and_then(|claim| Claim::reopen(&claim).ok());
        let vector = claim.map(|claim| claim.vector().clone()).filter(|vector| vector.model() == self.space);
        Ok(vector.filter(|vector| vector.decode().is_ok_and(|it| it.values().len() == self.dimension)))
    }
}

/// Whether a vector was computed here. One that was claimed came in a byte a component.
fn is_from_here(vector: &EncodedVector) -> bool {
    vector.as_bytes().first() == Some(&(Encoding::F16 as u8))
}

/// The grains of its topic that are nearest to one, and the cosines to them, beside those that it is known to be near. None when it has
/// no vector.
///
/// # Errors
/// When the store or the graph cannot be read.
pub(super) fn find(
    column: &Column,
    vectors: &mut Vectors<'_>,
    space: &Space,
    slot: Slot,
) -> Result<Option<Vec<(Slot, Millionths)>>, SpaceError> {
    let Some(entry) = column.entries.get(&slot) else { return Ok(None) };
    let Some(members) = column.members(entry.topic) else { return Ok(None) };
    let stored = vectors.view.vector(slot, vectors.space)?;
    let Some(question) = stored.and_then(|vector| vector.decode().ok()) else { return Ok(None) };
    let Some(whole) = vectors.of(slot)?.cloned() else { return Ok(None) };
    let neighbours = if members.len() <= COMPARE_ALL {
        let keys: Vec<Slot> = members.iter().copied().collect();
        space.hnsw.search_among(&question, MAX_CANDIDATES, &keys)?
    } else if members.len() == column.entries.len() {
        space.hnsw.search(&question, MAX_CANDIDATES, None)?
    } else {
        walk(space, &question, MAX_CANDIDATES, members)?
    };
    let is_older = |key: Slot| column.entries.get(&key).is_some_and(|other| other.order < entry.order);
    let mut neighbours = neighbours;
    if !neighbours.iter().any(|neighbour| is_older(neighbour.key)) {
        // Later ones, be they copies made for that, do not hide what is older.
        neighbours.extend(if members.len() <= COMPARE_ALL {
            let older: Vec<Slot> = members.iter().copied().filter(|&key| is_older(key)).collect();
            space.hnsw.search_among(&question, MAX_OLDER, &older)?
        } else {
            let mut nearest = walk(space, &question, LOOKED_FOR_OLDER, members)?;
            nearest.retain(|neighbour| is_older(neighbour.key));
            nearest.truncate(MAX_OLDER);
            nearest
        });
    }
    let candidates = Candidates::of(column, (slot, entry), &neighbours);
    let counting = neighbours.iter().filter(|neighbour| candidates.may_count(neighbour));
    let known = entry.near.iter().chain(&entry.older).chain(&entry.before).map(|near| near.slot());
    let mut others: Vec<Slot> = counting.map(|neighbour| neighbour.key).chain(known).collect();
    others.sort_unstable();
    others.dedup();
    let mut found = Vec::with_capacity(others.len());
    for other in others {
        if other != slot
            && members.contains(&other)
            && let Some(vector) = vectors.of(other)?
        {
            found.push((other, whole.cosine(vector)));
        }
    }
    Ok(Some(found))
}

/// Those that the graph names for a grain. Reading vectors and computing cosines takes most of the time, so it is done for those alone
/// whose cosine may count for one of the two: of most it is seen by the graph's rough one that it does not.
struct Candidates<'a> {
    column: &'a Column,
    slot: Slot,
    entry: &'a Entry,
    /// The highest rough cosine of those that are older ...
    older: f64,
    /// ... and of those that take from what the grain is worth.
    before: f64,
}

impl<'a> Candidates<'a> {
    fn of(column: &'a Column, (slot, entry): (Slot, &'a Entry), neighbours: &[Neighbour]) -> Self {
        let mut candidates = Self { column, slot, entry, older: -1.0, before: -1.0 };
        for neighbour in neighbours {
            let Some(other) = column.entries.get(&neighbour.key) else { continue };
            let rough = f64::from(neighbour.similarity);
            if other.order < entry.order {
                candidates.older = candidates.older.max(rough);
            }
            if takes_from((neighbour.key, other), (slot, entry)) {
                candidates.before = candidates.before.max(rough);
            }
        }
        candidates
    }

    /// Whether the cosine to this one may be the highest or one of the nearest of either.
    fn may_count(&self, neighbour: &Neighbour) -> bool {
        let (slot, entry) = (self.slot, self.entry);
        let Some(other) = self.column.entries.get(&neighbour.key) else { return false };
        let most = f64::from(neighbour.similarity) + ROUGH;
        let may_replace = |known: Option<Near>| {
            known.is_none_or(|known| known.slot() == slot || most >= known.cosine().as_f64())
        };
        let (is_older, is_before) =
            (other.order < entry.order, takes_from((neighbour.key, other), (slot, entry)));
        let takes = takes_from((slot, entry), (neighbour.key, other));
        most >= LEAST_NEAR.as_f64()
            || is_older && most >= self.older - ROUGH
            || is_before && most >= self.before - ROUGH
            || !is_older && may_replace(other.older)
            || takes && may_replace(other.before)
    }
}

/// The nearest of these that a walk of the graph finds before it has asked about [`MAX_WALKED`].
fn walk(
    space: &Space,
    question: &Vector,
    count: usize,
    members: &BTreeSet<Slot>,
) -> Result<Vec<Neighbour>, SpaceError> {
    Ok(walk_within(MAX_WALKED, space, question, count, members)?.0)
}

/// As [`walk`], within so many; and how many it asked about.
fn walk_within(
    most: usize,
    space: &Space,
    question: &Vector,
    count: usize,
    members: &BTreeSet<Slot>,
) -> Result<(Vec<Neighbour>, usize), SpaceError> {
    let asked = Cell::new(0);
    // What is let through so that it ends is left out again.
    let is_wanted = |key: Slot| {
        asked.set(asked.get() + 1);
        asked.get() > most || members.contains(&key)
    };
    let mut found = space.hnsw.search_filtered(question, count, &is_wanted, None)?;
    found.retain(|neighbour| members.contains(&neighbour.key));
    Ok((found, asked.get()))
}

#[cfg(test)]
mod tests {
    use synapsenet_storage::{Change, LANE_OWN, Origin};

    use super::*;
    use crate::memory::VECTOR_ENCODING;
    use crate::testing::{Fixture, author, note};

    /// Grains that turn away from the first component, each a little more than the one before.
    async fn fan(count: u64) -> Fixture {
        let node = Fixture::new();
        let mut changes = Vec::new();
        for n in 0..count {
            let angle = n as f32 / count as f32;
            let mut values = vec![0.0; 384];
            (values[0], values[1], values[2 + n as usize % 300]) = (angle.cos(), angle.sin(), 0.05);
            let vector = Vector::new(node.model(), values).unwrap().encode(VECTOR_ENCODING);
            let grain = note(&author(1), &format!("note {n}"));
            let (origin, claim) = (Origin::Known, None);
            changes.push(Change::Put { grain, shared: true, received_ms: 1, claim, origin, lane: LANE_OWN });
            changes.push(Change::AddVector { slot: n + 1, vector });
        }
        node.ingest.apply(changes).await.unwrap();
        node.memory.current().apply_log(&node.view()).unwrap();
        node
    }

    #[tokio::test]
    async fn a_walk_finds_the_nearest_of_a_topic_and_ends_where_few_of_it_are_around() {
        const ALL: u64 = 1500;
        let node = fan(ALL).await;
        let space = node.memory.current();
        let mut question = vec![0.0; 384];
        question[0] = 1.0;
        let question = Vector::new(node.model(), question).unwrap();
        let every_third: BTreeSet<Slot> = (1..=ALL).step_by(3).collect();
        let (found, _) = walk_within(MAX_WALKED, &space, &question, 5, &every_third).unwrap();
        assert!(found.len() == 5 && found.iter().all(|near| every_third.contains(&near.key)), "{found:?}");
        assert!(found.iter().all(|near| near.key < 150), "{found:?}");
        let far = BTreeSet::from([ALL - 1, ALL]);
        let (found, asked) = walk_within(100, &space, &question, 5, &far).unwrap();
        assert!(found.iter().all(|near| far.contains(&near.key)));
        assert!(asked < ALL as usize / 2, "it asked about {asked} of {ALL}");
    }
}

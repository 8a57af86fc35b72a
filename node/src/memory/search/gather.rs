//! Candidates: what the index of each space finds near a question, among the grains that a filter lets through.

use synapsenet_index::Neighbour;
use synapsenet_storage::{Filter, Selection, Slot, StorageError, View};

use super::{Asked, SearchError};
use crate::memory::spaces::{Backlog, Left, Spaces};

/// Candidates rescored for each hit asked for: the graph's vectors are coarser than the store's. More than twice as many
/// found no more on 117,000 real vectors.
const OVERSAMPLING: usize = 2;
/// Candidates rescored at least.
const MIN_CANDIDATES: usize = 20;

/// Which grains are compared one by one, which misses none, instead of by a walk through the graph.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// All of a space with at most so many: it takes half a millisecond. A graph misses one in a hundred, more among texts
    /// that say nearly the same.
    pub compared_whole: usize,
    /// What a filter leaves, when it is at most so many ...
    pub brute_force: usize,
    /// ... or at most this fraction of all: a walk would pass over so many forbidden grains that it is slower.
    pub brute_force_fraction: usize,
}

/// What holds for every search.
pub(super) const LIMITS: Limits =
    Limits { compared_whole: 2000, brute_force: 10_000, brute_force_fraction: 20 };

/// Candidates of each space: its place in `asked`, and what was found in it.
///
/// # Errors
/// [`SearchError`].
pub(super) fn gather(
    limits: Limits,
    view: &View,
    spaces: &Spaces,
    asked: &[Asked],
    (k, filter): (usize, &Filter),
) -> Result<Vec<(usize, Vec<Neighbour>)>, SearchError> {
    // What is done is in the current space before it is taken off this list, which is read before any space is asked; so
    // nothing is missed, and what is found twice counts once. There is none for a moment after the model was changed.
    let left = spaces.backlog.clone().filter(|_| asked.len() > 1).map(Backlog::left);
    let mut found = Vec::with_capacity(asked.len());
    // The current space comes last: what it is given meanwhile is found there, though the former ones left it out.
    for at in (0..asked.len()).rev() {
        let search = Candidates { limits, view, asked: &asked[at], k, filter };
        let candidates = match &left {
            _ if at == 0 => search.among_all()?,
            Some(left) => search.among_former(Some(left), &asked[1..at])?,
            None => search.among_former(None, &asked[..at])?,
        };
        found.push((at, candidates));
    }
    Ok(found)
}

/// A search for candidates in one space.
struct Candidates<'a> {
    limits: Limits,
    view: &'a View,
    asked: &'a Asked,
    k: usize,
    filter: &'a Filter,
}

impl Candidates<'_> {
    /// Candidates among all that the space holds.
    fn among_all(&self) -> Result<Vec<Neighbour>, SearchError> {
        let Asked { space, vector: question } = self.asked;
        let hnsw = &space.hnsw;
        let neighbours = match self.selection()? {
            Selection::Few(slots) => return self.compare(&slots),
            Selection::All => hnsw.search(question, self.wanted(), None)?,
            Selection::Many => {
                hnsw.search_filtered(question, self.wanted(), &|slot| self.fits(slot), None)?
            }
        };
        if neighbours.len() >= self.k.min(hnsw.len()) && !is_caught(&neighbours) {
            return Ok(neighbours);
        }
        // The walk ended early, among forbidden grains or hundreds that say the same: compare all, so that none is missed.
        // It takes time in proportion to all grains; it is needed where boilerplate stands in hundreds of documents.
        match self.view.select(&self.in_full(), usize::MAX)? {
            Selection::Few(slots) => self.compare(&slots),
            Selection::All | Selection::Many => Ok(neighbours),
        }
    }

    /// Candidates in a former space among what is `left` to be given to the current one, and without what the spaces
    /// `before` this one hold. Without a list of the former, the current one is among these.
    fn among_former(&self, left: Option<&Left>, before: &[Asked]) -> Result<Vec<Neighbour>, SearchError> {
        let Asked { space, vector: question } = self.asked;
        let is_left = |slot: Slot| left.is_none_or(|left| left.contains(slot));
        let compare = |mut slots: Vec<Slot>| {
            for asked in before {
                slots = asked.space.hnsw.missing(&slots);
            }
            self.compare(&slots)
        };
        let selection = self.selection()?;
        let fits = |slot: Slot| matches!(selection, Selection::All) || self.fits(slot);
        if let Selection::Few(slots) = &selection {
            return compare(slots.iter().copied().filter(|&slot| is_left(slot)).collect());
        }
        if let Some(left) = left.filter(|left| left.len() <= self.few()) {
            return compare(left.slots().into_iter().filter(|&slot| fits(slot)).collect());
        }
        let allow = |slot: Slot| is_left(slot) && fits(slot);
        let mut neighbours = space.hnsw.search_filtered(question, self.wanted(), &allow, None)?;
        // Not while the graph is walked: two walks that wait for each other's graph would wait for good.
        for asked in before {
            let keys: Vec<Slot> = neighbours.iter().map(|neighbour| neighbour.key).collect();
            let missing = asked.space.hnsw.missing(&keys);
            neighbours.retain(|neighbour| missing.contains(&neighbour.key));
        }
        let there = left.map_or(space.hnsw.len(), Left::len);
        if neighbours.len() >= self.k.min(there) && !is_caught(&neighbours) {
            return Ok(neighbours);
        }
        match (left, self.view.select(&self.in_full(), usize::MAX)?) {
            (None, Selection::Few(slots)) => compare(slots),
            (Some(left), _) => compare(left.slots().into_iter().filter(|&slot| fits(slot)).collect()),
            (None, Selection::All | Selection::Many) => Ok(neighbours),
        }
    }

    /// The question beside each of these.
    fn compare(&self, slots: &[Slot]) -> Result<Vec<Neighbour>, SearchError> {
        Ok(self.asked.space.hnsw.search_among(&self.asked.vector, self.wanted(), slots)?)
    }

    /// Which grains the filter leaves; of a small space they are always named.
    fn selection(&self) -> Result<Selection, StorageError> {
        match self.asked.space.hnsw.len() <= self.limits.compared_whole {
            true => self.view.select(&self.in_full(), self.few()),
            false => self.view.select(self.filter, self.few()),
        }
    }

    /// The filter in a form that never lets all through unnamed.
    fn in_full(&self) -> Filter {
        Filter { created_from_ms: self.filter.created_from_ms.or(Some(0)), ..self.filter.clone() }
    }

    /// A slot whose record cannot be read is not let through; `verify` finds it.
    fn fits(&self, slot: Slot) -> bool {
        self.view.matches(slot, self.filter).unwrap_or(false)
    }

    /// So many candidates.
    fn wanted(&self) -> usize {
        (self.k * OVERSAMPLING).max(MIN_CANDIDATES)
    }

    /// So many grains are compared one by one.
    fn few(&self) -> usize {
        self.limits.brute_force.max(self.asked.space.hnsw.len() / self.limits.brute_force_fraction)
    }
}

/// Whether many of the candidates, best first, are one text again and again. A graph links a grain to its nearest, so
/// hundreds of equal ones link to each other alone: a walk that enters them does not come out, and cuts off what lies
/// behind them.
pub(super) fn is_caught(neighbours: &[Neighbour]) -> bool {
    /// So many with one score are no chance.
    const MAX_EQUAL: usize = 8;
    /// More than the rounding to 8 bits changes between vectors of one text, less than lies between different texts.
    const TOLERANCE: f32 = 2e-4;
    let is_equal = |a: &Neighbour, b: &Neighbour| (a.similarity - b.similarity).abs() < TOLERANCE;
    neighbours.chunk_by(is_equal).any(|equal| equal.len() > MAX_EQUAL)
}

//! Candidates: what the index of each space finds near a question, among the grains that a filter lets through.

use std::cell::Cell;

use synapsenet_index::Neighbour;
use synapsenet_storage::{Filter, Selection, Slot, StorageError, View};

use super::{Asked, SearchError};
use crate::memory::spaces::{Backlog, Left, Spaces};

/// Candidates rescored for each hit asked for: the graph's vectors are coarser than the store's. More than twice as many
/// found no more on 117,000 real vectors.
pub(super) const OVERSAMPLING: usize = 2;
/// Candidates rescored at least.
pub(super) const MIN_CANDIDATES: usize = 20;

/// Which grains are compared one by one, which misses none, instead of by a walk through the graph.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// All of a space with at most so many: it takes half a millisecond. A graph misses one in a hundred, more among texts
    /// that say nearly the same.
    pub compared_whole: usize,
    /// What a filter leaves, when it is at most so many of those that there are: a walk would pass over so many forbidden grains that it
    /// is slower.
    pub few: fn(usize) -> usize,
    /// Grains that are compared after all when a walk was caught among copies, or found nothing beside lies: 50,000 take some
    /// 15 ms. Among more, the walk is made again, and wider. With 0, what a walk finds is the answer.
    pub compared_when_lost: usize,
}

/// What holds for every search.
pub(super) const LIMITS: Limits = Limits { compared_whole: 2000, few, compared_when_lost: 50_000 };

/// What holds for peers' questions, which anybody may ask: little is compared, and what a walk finds is the answer.
pub(super) const PEERS_LIMITS: Limits = Limits { compared_whole: 2000, few: |_| 2000, compared_when_lost: 0 };

/// What a walk looks at of those that a filter lets through, before it comes to its end.
const WALKED: usize = 112;
/// What a filter leaves that is compared after all when a walk was caught among copies, or came to an end before it found what it was to.
pub(super) const NAMED_AT_LAST: usize = 10_000;

/// Of so many, as many as a filter must leave so that a walk costs what comparing them does. Each that it leaves has to be found in its
/// order; a walk looks at [`WALKED`] of them, and for each at as many others as the filter leaves a part of all.
pub(super) fn few(all: usize) -> usize {
    (WALKED * all).isqrt()
}

/// Candidates weighed by a walk that is made again, because the first one found too few or was caught among grains that say
/// the same: it comes out of any thousand of them, in some milliseconds, however many grains there are.
const WIDE: usize = 1024;
/// Grains that a walk passes over because a filter forbids them, or they are unchecked, before it comes to an end with what it
/// has: some 20 ms when their records are read.
const MAX_PASSED_OVER: usize = 20_000;

/// Among which grains candidates are looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Among {
    /// All that the spaces hold.
    All,
    /// Those whose vectors were computed or compared here.
    Checked,
}

/// Candidates of each space: its place in `asked`, and what was found in it.
///
/// # Errors
/// [`SearchError`].
pub(super) fn gather(
    limits: Limits,
    view: &View,
    spaces: &Spaces,
    asked: &[Asked],
    (k, filter, among): (usize, &Filter, Among),
) -> Result<Vec<(usize, Vec<Neighbour>)>, SearchError> {
    // What is done is in the current space before it is taken off this list, which is read before any space is asked; so
    // nothing is missed, and what is found twice counts once. There is none for a moment after the model was changed.
    let left = spaces.backlog.clone().filter(|_| asked.len() > 1).map(Backlog::left);
    let mut found = Vec::with_capacity(asked.len());
    // The current space comes last: what it is given meanwhile is found there, though the former ones left it out.
    for at in (0..asked.len()).rev() {
        let search = Candidates { limits, view, asked: &asked[at], k, filter, among };
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
    among: Among,
}

impl Candidates<'_> {
    /// Candidates among all that the space holds.
    fn among_all(&self) -> Result<Vec<Neighbour>, SearchError> {
        let space = &self.asked.space;
        let unchecked = if self.passes_over() { space.unchecked.len() } else { 0 };
        let there = space.hnsw.len().saturating_sub(unchecked as usize);
        let selection = self.selection()?;
        let neighbours = match &selection {
            Selection::Few(slots) => return self.compare(&self.meant(slots.clone())),
            Selection::All if unchecked == 0 => {
                let walk = |ef| Ok(space.hnsw.search(&self.asked.vector, self.wanted(), ef)?);
                self.walk_out(there, &walk)?
            }
            Selection::All => {
                // A walk would pass over all the rest, and lies around the question lead it astray. There are slots of what
                // is gone, too; not where they are many.
                let little = self.few().max(self.limits.compared_when_lost);
                let named = if there <= little { self.named(2 * little.max(MAX_PASSED_OVER))? } else { None };
                if let Some(slots) = named {
                    return self.compare(&slots);
                }
                self.walk_out(there, &|ef| self.walk(&|slot| self.is_meant(slot), ef))?
            }
            Selection::Many => {
                self.walk_out(there, &|ef| self.walk(&|slot| self.is_meant(slot) && self.fits(slot), ef))?
            }
        };
        let most = self.limits.compared_when_lost;
        if self.is_enough(&neighbours, there) || most == 0 {
            return Ok(neighbours);
        }
        let named = match selection {
            // What so few fit must not be missed, however long it takes to find.
            Selection::Many if neighbours.len() < self.k.min(there) => {
                self.view.select(&self.in_full(), usize::MAX)?
            }
            Selection::Many => self.view.select(&self.in_full(), NAMED_AT_LAST)?,
            _ => self.named(most)?.map_or(Selection::All, Selection::Few),
        };
        match named {
            Selection::Few(slots) => self.compare(&self.meant(slots)),
            Selection::All | Selection::Many => Ok(neighbours),
        }
    }

    /// Candidates in a former space among what is `left` to be given to the current one, and without what the spaces
    /// `before` this one hold. Without a list of the former, the current one is among these.
    fn among_former(&self, left: Option<&Left>, before: &[Asked]) -> Result<Vec<Neighbour>, SearchError> {
        let is_left = |slot: Slot| left.is_none_or(|left| left.contains(slot));
        let compare = |mut slots: Vec<Slot>| {
            for asked in before {
                slots = asked.space.hnsw.missing(&slots);
            }
            self.compare(&self.meant(slots))
        };
        let selection = self.selection()?;
        let fits = |slot: Slot| matches!(selection, Selection::All) || self.fits(slot);
        if let Selection::Few(slots) = &selection {
            return compare(slots.iter().copied().filter(|&slot| is_left(slot)).collect());
        }
        if let Some(left) = left.filter(|left| left.len() <= self.few()) {
            return compare(left.slots().into_iter().filter(|&slot| fits(slot)).collect());
        }
        let allow = |slot: Slot| self.is_meant(slot) && is_left(slot) && fits(slot);
        let walk = |ef| {
            let mut neighbours = self.walk(&allow, ef)?;
            // Not while the graph is walked: two walks that wait for each other's graph would wait for good.
            for asked in before {
                let keys: Vec<Slot> = neighbours.iter().map(|neighbour| neighbour.key).collect();
                let missing = asked.space.hnsw.missing(&keys);
                neighbours.retain(|neighbour| missing.contains(&neighbour.key));
            }
            Ok(neighbours)
        };
        let there = left.map_or(self.asked.space.hnsw.len(), Left::len);
        let neighbours = self.walk_out(there, &walk)?;
        let most = self.limits.compared_when_lost;
        if self.is_enough(&neighbours, there) || there > most {
            return Ok(neighbours);
        }
        match (left, self.view.select(&self.in_full(), most)?) {
            (None, Selection::Few(slots)) => compare(slots),
            (Some(left), _) => compare(left.slots().into_iter().filter(|&slot| fits(slot)).collect()),
            (None, Selection::All | Selection::Many) => Ok(neighbours),
        }
    }

    /// A walk, and a wider one when it ended early, among forbidden grains or hundreds that say the same.
    fn walk_out(
        &self,
        there: usize,
        walk: &dyn Fn(Option<usize>) -> Result<Vec<Neighbour>, SearchError>,
    ) -> Result<Vec<Neighbour>, SearchError> {
        let neighbours = walk(None)?;
        // Where few enough are there, they are compared instead.
        let most = self.limits.compared_when_lost;
        if self.is_enough(&neighbours, there) || there <= most || most == 0 {
            return Ok(neighbours);
        }
        let wider = walk(Some(WIDE))?;
        Ok(if wider.len() >= neighbours.len() { wider } else { neighbours })
    }

    /// Whether a walk has found what it was to find, of so many that are there.
    fn is_enough(&self, neighbours: &[Neighbour], there: usize) -> bool {
        neighbours.len() >= self.k.min(there) && !is_caught(neighbours)
    }

    /// A walk among what `allow` lets through.
    fn walk(&self, allow: &dyn Fn(Slot) -> bool, ef: Option<usize>) -> Result<Vec<Neighbour>, SearchError> {
        let passed_over = Cell::new(0);
        // A walk only ends once it has found something: so then it is let find anything.
        let allow_at_last = |slot| {
            let is_over = passed_over.get() >= MAX_PASSED_OVER;
            let is_allowed = is_over || allow(slot);
            passed_over.set(passed_over.get() + usize::from(!is_allowed));
            is_allowed
        };
        let Asked { space, vector } = self.asked;
        let mut neighbours = space.hnsw.search_filtered(vector, self.wanted(), &allow_at_last, ef)?;
        if passed_over.get() >= MAX_PASSED_OVER {
            neighbours.retain(|neighbour| allow(neighbour.key));
        }
        Ok(neighbours)
    }

    /// Whether some of what the space holds is not meant because it is unchecked.
    fn passes_over(&self) -> bool {
        self.among == Among::Checked && !self.asked.space.unchecked.is_empty()
    }

    fn is_meant(&self, slot: Slot) -> bool {
        self.among == Among::All || !self.asked.space.unchecked.contains(slot)
    }

    /// Those of these that are meant.
    fn meant(&self, mut slots: Vec<Slot>) -> Vec<Slot> {
        if self.passes_over() {
            slots.retain(|&slot| self.is_meant(slot));
        }
        slots
    }

    /// All slots that are meant, whether or not the space holds them; read from memory, for a search without a filter. None
    /// when they are more than `most`.
    fn named(&self, most: usize) -> Result<Option<Vec<Slot>>, SearchError> {
        let last = self.view.last_slot()?;
        if self.passes_over() {
            return Ok(self.asked.space.unchecked.others(last, most));
        }
        Ok((last <= most as u64).then(|| (1..=last).collect()))
    }

    /// The question beside each of these.
    fn compare(&self, slots: &[Slot]) -> Result<Vec<Neighbour>, SearchError> {
        Ok(self.asked.space.hnsw.search_among(&self.asked.vector, self.wanted(), slots)?)
    }

    /// Which grains the filter leaves; of a small space they are always named.
    fn selection(&self) -> Result<Selection, StorageError> {
        match self.asked.space.hnsw.len() <= self.limits.compared_whole {
            true => self.view.select(&self.in_full(), self.few().max(self.limits.compared_whole)),
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
        (self.limits.few)(self.asked.space.hnsw.len())
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

//! Spaces: each model with the index over its vectors. Vectors of two models are never compared.
//!
//! One space is *current*: what comes in is embedded for it. When the model is changed, the space before it becomes a
//! *former* one. It goes on answering for the grains that the current one does not hold yet, while the indexer embeds
//! these anew; then it is let go. A grain that stands in several spaces counts in the first of them only.

mod anchors;
mod backlog;
mod space;
mod unchecked;

use std::sync::Arc;

use synapsenet_proto::SpaceId;
use synapsenet_storage::Counts;

pub(crate) use anchors::Anchors;
pub(crate) use backlog::{Backlog, Left};
pub(crate) use space::{Fill, Space, SpaceError};
pub(crate) use unchecked::Unchecked;

/// Spaces beside the current one: each costs the memory of an index, and a question one more run of a model.
pub(crate) const MAX_FORMER: usize = 2;

/// The spaces that searches go through.
#[derive(Clone)]
pub(crate) struct Spaces {
    /// What new grains are embedded for.
    pub current: Arc<Space>,
    /// What holds grains that the current one does not, the latest first.
    pub former: Vec<Arc<Space>>,
    /// Which grains these are. None before the indexer has looked.
    pub backlog: Option<Arc<Backlog>>,
    /// How scores of the former spaces compare with those of the current one; one for each of them that is known.
    pub anchors: Vec<Arc<Anchors>>,
    /// Whether the current one holds every grain that is not pending.
    pub is_complete: bool,
}

impl Spaces {
    /// One space, which holds all.
    pub fn one(current: Arc<Space>) -> Self {
        Self { current, former: Vec::new(), backlog: None, anchors: Vec::new(), is_complete: true }
    }

    /// A current space that does not hold all yet, with those that hold the rest.
    pub fn incomplete(current: Arc<Space>, former: Vec<Arc<Space>>) -> Self {
        Self { current, former, backlog: None, anchors: Vec::new(), is_complete: false }
    }

    /// All, the current one first.
    pub fn all(&self) -> impl Iterator<Item = &Arc<Space>> {
        std::iter::once(&self.current).chain(&self.former)
    }

    /// The space of a model.
    pub fn of(&self, model: SpaceId) -> Option<&Arc<Space>> {
        self.all().find(|space| space.id() == model)
    }

    /// These with another current space. The one before it stays as a former one, though it may hold nothing yet: the indexer
    /// may be at work for it. Older ones that hold nothing are let go.
    pub fn with_current(&self, current: Arc<Space>) -> Self {
        let older = self.former.iter().filter(|space| !space.hnsw.is_empty());
        let former = std::iter::once(&self.current).chain(older).filter(|space| space.id() != current.id());
        Self::incomplete(current.clone(), former.cloned().collect())
    }

    /// How many grains can be found, of a store that has so many.
    pub fn searchable(&self, counts: Counts) -> u64 {
        // Former spaces hold what the current one does not, but for what is pending.
        let held = self.held();
        if self.former.is_empty() { held } else { held + self.lacks(counts, held) }
    }

    /// How many grains the current space still has to be given, of a store that has so many.
    pub fn to_embed_anew(&self, counts: Counts) -> u64 {
        self.lacks(counts, self.held())
    }

    /// As [`Spaces::to_embed_anew`], when it holds so many. It grows while it is looked at.
    fn lacks(&self, counts: Counts, held: u64) -> u64 {
        let all = if self.is_complete { 0 } else { counts.notes.saturating_sub(counts.pending) };
        all.saturating_sub(held)
    }

    /// How many grains the current space holds.
    pub fn held(&self) -> u64 {
        self.current.hnsw.len() as u64
    }
}

#[cfg(test)]
mod tests {
    use synapsenet_index::Model;
    use synapsenet_storage::Change;

    use super::*;
    use crate::memory::VECTOR_ENCODING;
    use crate::testing::{Fixture, author, note};

    #[tokio::test]
    async fn a_space_that_was_opened_before_the_log_was_pruned_gets_what_it_lacks_from_the_backlog() {
        let node = Fixture::new();
        let id = {
            let grain = note(&author(0), "said meanwhile");
            node.ingest.put(grain.clone(), false).await.unwrap();
            grain.id()
        };
        let slot = node.slot_of(id);
        let memory = node.memory.clone();
        let model = memory.current().model.clone();
        let late = Space::open(&memory.store, model, &memory.index_dir, memory.hnsw, Fill::Later).unwrap();
        let vector = node.vector(3).encode(VECTOR_ENCODING);
        node.ingest.apply(vec![Change::AddVector { slot, vector }]).await.unwrap();
        let up_to = node.view().last_index_seq().unwrap();
        node.ingest.apply(vec![Change::PruneIndexLog { up_to }]).await.unwrap();
        late.apply_log(&node.view()).unwrap();
        assert_eq!((late.applied(), late.hnsw.len()), (up_to, 0));
        let spaces = Spaces::incomplete(Arc::new(late), vec![memory.current()]);
        let late = &spaces.current;
        let backlog = Backlog::find(&node.view(), &spaces).unwrap();
        assert_eq!((backlog.remaining(), backlog.held_twice()), ([slot].as_slice(), Vec::new()));
        assert!(late.take_stored(&node.view(), backlog.remaining()).unwrap().is_empty());
        assert!(late.hnsw.contains(slot));
    }

    #[test]
    fn the_space_that_was_in_use_stays_though_it_holds_nothing_yet() {
        let node = Fixture::new();
        let memory = node.memory.clone();
        let open = |model| {
            Arc::new(Space::open(&memory.store, model, &memory.index_dir, memory.hnsw, Fill::Later).unwrap())
        };
        let first = memory.current();
        let mut known = Model::known().unwrap();
        let second = open(known.remove(1));
        let third = open(known.remove(0));
        let ids = |spaces: &Spaces| spaces.all().map(|space| space.id()).collect::<Vec<_>>();
        let spaces = Spaces::one(first.clone()).with_current(second.clone());
        assert_eq!(ids(&spaces), [second.id(), first.id()]);
        // The indexer may be at work for the second one still; the first is empty and older.
        let spaces = spaces.with_current(third.clone());
        assert_eq!(ids(&spaces), [third.id(), second.id()]);
        assert_eq!(ids(&spaces.with_current(second.clone())), [second.id(), third.id()]);
    }
}

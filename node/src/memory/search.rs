//! Finding grains by meaning: the question becomes a vector, the index gives candidates, the store's vectors give the
//! scores.
//!
//! While a model is being changed, the question becomes a vector of each model whose space holds grains, and what the
//! spaces find is merged: a grain that stands in two counts in the current one.

mod gather;
mod scale;

use std::sync::Arc;
use std::time::{Duration, Instant};

use synapsenet_index::IndexError;
use synapsenet_proto::{ModelId, Vector};
use synapsenet_storage::{Filter, Record, StorageError, Store, View};

use crate::blocking::blocking;
use crate::memory::Memory;
use crate::memory::spaces::{Space, Spaces};
use crate::models::Models;
use crate::models::embedder::EmbedError;
use gather::{LIMITS, Limits};
use scale::Ranked;

/// Hits that one search may ask for.
pub(crate) const MAX_HITS: usize = 1000;
/// Why a search has no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SearchError {
    #[error(transparent)]
    Embed(#[from] EmbedError),
    #[error(transparent)]
    Index(#[from] IndexError),
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// A grain that was found.
#[derive(Debug)]
pub(crate) struct Hit {
    /// The grain and what is known of it here.
    pub record: Record,
    /// Cosine between question and grain.
    pub score: f32,
    /// The score as it would be in the current space: that of the space itself, unless this is a former one.
    pub rank: f32,
    /// The model of both vectors.
    pub model: ModelId,
}

/// A question as it lies in one space.
pub(crate) struct Asked {
    /// The space.
    pub space: Arc<Space>,
    /// The question's vector in it.
    pub vector: Vector,
}

/// What a search gives.
pub(crate) struct Answer {
    /// Best first.
    pub hits: Vec<Hit>,
    /// Grains in the index.
    pub searched: u64,
    /// Grains that could not be found because they have no vector yet.
    pub pending: u64,
    /// The whole search.
    pub elapsed: Duration,
    /// The part of it that the models took.
    pub embed: Duration,
    /// Where the question lies in each space that was searched, the current one first.
    pub asked: Vec<Asked>,
}

/// The `k` grains nearest in meaning to `text` among those that `filter` lets through.
///
/// # Errors
/// [`SearchError`].
pub(crate) async fn search(
    memory: Arc<Memory>,
    models: &Models,
    text: &str,
    k: usize,
    filter: Filter,
) -> Result<Answer, SearchError> {
    let start = Instant::now();
    memory.note_question();
    let spaces = memory.spaces();
    let asked = read_question(&spaces, models, text).await?;
    let embed = start.elapsed();
    blocking(move || {
        let hits = find(&memory.store, &spaces, &asked, k, &filter)?;
        let counts = memory.store.view()?.counts()?;
        let elapsed = start.elapsed();
        memory.metrics.query.observe(elapsed.as_secs_f64());
        memory.metrics.queries.inc();
        let (searched, pending) = (spaces.searchable(counts), counts.pending);
        Ok(Answer { hits, searched, pending, elapsed, embed, asked })
    })
    .await
}

/// The question in each space. A former model that cannot be used leaves its grains out, which the answer shows.
async fn read_question(spaces: &Spaces, models: &Models, text: &str) -> Result<Vec<Asked>, SearchError> {
    let of = |space: &Arc<Space>| {
        let space = space.clone();
        async move {
            let vector = models.question(&space.model, text).await;
            (space, vector)
        }
    };
    let vectors = futures::future::join_all(spaces.all().map(of)).await;
    let mut asked = Vec::with_capacity(vectors.len());
    for (space, vector) in vectors {
        match vector {
            Ok(vector) => asked.push(Asked { space, vector }),
            Err(error) if asked.is_empty() => return Err(error.into()),
            Err(error) => {
                tracing::warn!(model = space.model.full_name(), %error, "a search goes without a model")
            }
        }
    }
    Ok(asked)
}

/// Candidates from the indexes, scored by the store's vectors, with their grains: at most `k`, best first. `asked` has
/// some of `spaces`, in their order.
///
/// # Errors
/// [`SearchError`].
pub(crate) fn find(
    store: &Store,
    spaces: &Spaces,
    asked: &[Asked],
    k: usize,
    filter: &Filter,
) -> Result<Vec<Hit>, SearchError> {
    find_within(LIMITS, store, spaces, asked, k, filter)
}

fn find_within(
    limits: Limits,
    store: &Store,
    spaces: &Spaces,
    asked: &[Asked],
    k: usize,
    filter: &Filter,
) -> Result<Vec<Hit>, SearchError> {
    let found = gather::gather(limits, &store.view()?, spaces, asked, (k, filter))?;
    // A view from before would lack the vectors of what an index was given since.
    let view = store.view()?;
    let ranked = scale::rank(&view, spaces, asked, found)?;
    load(&view, ranked, k)
}

/// The grains of the best that the store still has.
fn load(view: &View, ranked: Vec<Ranked>, k: usize) -> Result<Vec<Hit>, SearchError> {
    let mut hits = Vec::with_capacity(k);
    for Ranked { rank, slot, score, model } in ranked {
        if hits.len() == k {
            break;
        }
        // The index may lag a moment behind a retraction; the store decides.
        match view.record(slot) {
            Ok(Some(record)) => hits.push(Hit { record, score, rank, model }),
            Ok(None) => {}
            Err(StorageError::DamagedRecord { slot, why }) => {
                tracing::warn!(slot, why, "a damaged grain is left out of an answer; run `verify`");
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(hits)
}

#[cfg(test)]
mod tests {
    use synapsenet_index::{Model, Neighbour};
    use synapsenet_proto::{Draft, Grain};
    use synapsenet_storage::{Change, Slot};

    use super::gather::is_caught;
    use super::*;
    use crate::memory::VECTOR_ENCODING;
    use crate::memory::spaces::{Backlog, Fill};
    use crate::testing::{Fixture, author};

    /// Notes, of which each points into a direction of its own.
    const NOTES: usize = 120;
    /// Never compares where a walk is possible, and never walks.
    const WALKS: Limits = Limits { compared_whole: 0, brute_force: 0, brute_force_fraction: usize::MAX };
    const COMPARES: Limits = Limits { compared_whole: 0, brute_force: 1000, brute_force_fraction: 1 };

    /// A change of model on its way: of the notes, the eldest are held by a model that was in use long ago, others by the
    /// one before this, and the newest by the current one.
    struct Changing {
        node: Fixture,
        slots: Vec<Slot>,
        /// The current one first.
        spaces: Vec<Arc<Space>>,
    }

    impl Changing {
        async fn new() -> Self {
            let node = Fixture::new();
            let mut slots = Vec::new();
            for n in 0..NOTES {
                let tags = if n % 2 == 0 { vec!["even".to_owned()] } else { Vec::new() };
                let draft = Draft { text: format!("note {n}"), tags, ..Draft::default() };
                let grain = Grain::seal(draft, &author(0), 1_790_000_000_000 + n as u64).unwrap();
                let id = grain.id();
                node.ingest.put(grain, false).await.unwrap();
                slots.push(node.slot_of(id));
            }
            let memory = node.memory.clone();
            let open = |model: Model| {
                let space = Space::open(&memory.store, model, &memory.index_dir, memory.hnsw, Fill::Later);
                Arc::new(space.unwrap())
            };
            let current = open(Model::all_built_in().unwrap().remove(1));
            let eldest = open(Model::known().unwrap().remove(0));
            let changing = Self { slots, spaces: vec![current, memory.current(), eldest], node };
            changing.give(0, 80..NOTES).await;
            changing.give(1, 40..80).await;
            changing.give(2, 0..80).await;
            changing
        }

        /// Two degrees lie between each note and the next.
        fn vector(&self, space: usize, n: usize) -> Vector {
            let space = &self.spaces[space];
            let mut values = vec![0.0; space.model.dimension()];
            (values[0], values[1]) = {
                let angle = (2.0 * n as f32).to_radians();
                (angle.cos(), angle.sin())
            };
            Vector::new(space.id(), values).unwrap()
        }

        /// Gives a space the vectors of these notes.
        async fn give(&self, space: usize, notes: std::ops::Range<usize>) {
            let change = |n: usize| {
                let vector = self.vector(space, n).encode(VECTOR_ENCODING);
                Change::AddVector { slot: self.slots[n], vector }
            };
            self.node.ingest.apply(notes.map(change).collect()).await.unwrap();
            self.spaces[space].apply_log(&self.node.view()).unwrap();
        }

        fn spaces(&self) -> Spaces {
            Spaces::incomplete(self.spaces[0].clone(), self.spaces[1..].to_vec())
        }

        /// What is nearest to note `n`: five notes, each once, the first of which is it. Answers the model that found it.
        fn nearest(
            &self,
            limits: Limits,
            spaces: &Spaces,
            n: usize,
            filter: &Filter,
        ) -> Vec<(usize, ModelId)> {
            let asked = |at: usize| Asked { space: self.spaces[at].clone(), vector: self.vector(at, n) };
            let asked: Vec<Asked> = (0..self.spaces.len()).map(asked).collect();
            let store = &self.node.memory.store;
            let hits = find_within(limits, store, spaces, &asked, 5, filter).unwrap();
            let place = |slot| self.slots.iter().position(|&other| other == slot).unwrap();
            hits.iter().map(|hit| (place(hit.record.slot), hit.model)).collect()
        }
    }

    #[tokio::test]
    async fn each_grain_is_found_once_by_the_latest_model_that_holds_it() {
        let changing = Changing::new().await;
        let (unknown, mut known) = (changing.spaces(), changing.spaces());
        let backlog = Arc::new(Backlog::find(&changing.node.view(), &known).unwrap());
        assert_eq!(backlog.remaining().len(), 80);
        known.backlog = Some(backlog);
        let all = Filter::default();
        let even = Filter { tags: vec!["even".into()], ..Filter::default() };
        for (n, held_by) in [(5, 2), (38, 2), (40, 1), (78, 1), (81, 0), (116, 0)] {
            let expected = changing.nearest(LIMITS, &known, n, &all);
            assert_eq!(expected[0], (n, changing.spaces[held_by].id()));
            let mut places: Vec<usize> = expected.iter().map(|(n, _)| *n).collect();
            places.sort_unstable();
            assert_eq!(places, (n - 2..=n + 2).collect::<Vec<_>>());
            for limits in [LIMITS, WALKS, COMPARES] {
                for spaces in [&unknown, &known] {
                    assert_eq!(changing.nearest(limits, spaces, n, &all), expected, "{limits:?}");
                    let hits = changing.nearest(limits, spaces, n, &even);
                    assert!(hits.len() == 5 && hits.iter().all(|(n, _)| n % 2 == 0), "{hits:?}");
                    assert_eq!(hits[0].0 == n, n % 2 == 0);
                }
            }
            // So it is the walk that answers, where one is made.
            let question = changing.vector(held_by, n);
            assert!(!is_caught(&changing.spaces[held_by].hnsw.search(&question, 20, None).unwrap()));
        }
    }

    #[tokio::test]
    async fn a_grain_that_the_current_model_failed_on_is_found_by_the_one_before() {
        let mut changing = Changing::new().await;
        changing.spaces.pop();
        let mut spaces = changing.spaces();
        let backlog = Arc::new(Backlog::find(&changing.node.view(), &spaces).unwrap());
        spaces.backlog = Some(backlog.clone());
        changing.give(0, 0..60).await;
        changing.give(0, 61..80).await;
        assert!(!backlog.has_failed());
        backlog.advance(80, &[changing.slots[60]]);
        assert_eq!(
            (backlog.remaining().len(), backlog.clone().left().slots()),
            (0, vec![changing.slots[60]])
        );
        for limits in [LIMITS, WALKS, COMPARES] {
            for (n, held_by) in [(60, 1), (59, 0), (61, 0), (3, 0)] {
                let hits = changing.nearest(limits, &spaces, n, &Filter::default());
                assert_eq!(hits[0], (n, changing.spaces[held_by].id()), "{limits:?}");
            }
        }
    }

    #[test]
    fn a_walk_among_equal_grains_is_noticed() {
        let neighbours = |similarities: &[f32]| -> Vec<Neighbour> {
            similarities.iter().map(|&similarity| Neighbour { key: 1, similarity }).collect()
        };
        assert!(is_caught(&neighbours(&[0.5; 20])));
        assert!(is_caught(&neighbours(&[[0.9, 0.8, 0.7, 0.6, 0.55].as_slice(), &[0.5; 15]].concat())));
        assert!(!is_caught(&neighbours(&[0.5; 8])), "a few that are equal may be all there is");
        let mixed: Vec<f32> = (0..20).map(|n| 1.0 - n as f32 / 20.0).collect();
        assert!(!is_caught(&neighbours(&mixed)));
    }
}

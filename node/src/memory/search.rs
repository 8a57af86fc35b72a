//! Finding grains by meaning: the question becomes a vector, the index gives candidates, the store's vectors give the
//! scores.
//!
//! While a model is being changed, the question becomes a vector of each model whose space holds grains, and what the
//! spaces find is merged: a grain that stands in two counts in the current one.
//!
//! Only what was checked is shown. What is best and only claimed is compared at once ([`check`]); where something falls away,
//! a second walk among what is checked fills its places, so that no number of lies hides what is true.

mod check;
mod gather;
mod scale;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use synapsenet_index::IndexError;
use synapsenet_proto::{SpaceId, Vector};
use synapsenet_storage::{Filter, Record, Slot, StorageError, Store, View};

use crate::blocking::blocking;
use crate::memory::Memory;
use crate::memory::ingest::Ingest;
use crate::memory::spaces::{Space, Spaces};
use crate::models::Models;
use crate::models::embedder::EmbedError;
use check::Picked;
#[cfg(test)]
pub(crate) use check::{MAX_CHECKED, MAX_CHECKED_TOKENS};
use gather::{Among, LIMITS, Limits, PEERS_LIMITS};
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
    pub model: SpaceId,
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
    /// Grains that may belong to the answer and are left out, because what their authors claim was not compared yet.
    pub unchecked: u64,
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
    ingest: &Ingest,
    text: &str,
    (k, filter): (usize, Filter),
) -> Result<Answer, SearchError> {
    let start = Instant::now();
    let _asking = memory.note_question();
    let spaces = memory.spaces();
    let asked = read_question(&spaces, models, text).await?;
    let embed = start.elapsed();
    let looking =
        Looking { memory: memory.clone(), spaces: spaces.clone(), asked: Arc::new(asked), k, filter };
    let first = looking.clone();
    let mut picked = blocking(move || first.pick()).await?;
    picked.check(&memory, models, ingest, &looking.asked).await?;
    blocking(move || {
        let hits = looking.fill(&mut picked)?;
        let asked = Arc::try_unwrap(looking.asked).unwrap_or_default();
        let unchecked = picked.missing(&hits, looking.k) as u64;
        let counts = memory.store.view()?.counts()?;
        let elapsed = start.elapsed();
        memory.metrics.query.observe(elapsed.as_secs_f64());
        memory.metrics.queries.inc();
        let (searched, pending) = (spaces.searchable(counts), counts.pending);
        Ok(Answer { hits, searched, pending, unchecked, elapsed, embed, asked })
    })
    .await
}

/// A question with all that it is answered from.
#[derive(Clone)]
struct Looking {
    memory: Arc<Memory>,
    spaces: Arc<Spaces>,
    asked: Arc<Vec<Asked>>,
    k: usize,
    filter: Filter,
}

impl Looking {
    /// The best candidates of all.
    fn pick(&self) -> Result<Picked, SearchError> {
        let Self { memory, spaces, asked, k, filter } = self;
        let ranked = rank(LIMITS, &memory.store, spaces, asked, (*k, filter, Among::All))?;
        Ok(Picked::pick(&memory.store.view()?, ranked, *k)?)
    }

    /// The hits, best first, once those that were only claimed are compared: where some fell away, with what else is checked.
    fn fill(&self, picked: &mut Picked) -> Result<Vec<Hit>, SearchError> {
        let Self { memory, spaces, asked, k, filter } = self;
        let mut hits = std::mem::take(&mut picked.checked);
        if hits.len() < *k && picked.has_lost() {
            let found: HashSet<Slot> = hits.iter().map(|hit| hit.record.slot).collect();
            let more = find_checked(LIMITS, &memory.store, spaces, asked, (*k, filter))?;
            hits.extend(more.into_iter().filter(|hit| !found.contains(&hit.record.slot)));
        }
        hits.sort_by(|a, b| b.rank.total_cmp(&a.rank).then(a.record.slot.cmp(&b.record.slot)));
        hits.truncate(*k);
        Ok(hits)
    }
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

/// What a peer that asks is told: at most `k` grains, best first. Only what was checked, with no more work than a walk.
///
/// # Errors
/// [`SearchError`].
pub(crate) fn find_for_peer(
    store: &Store,
    spaces: &Spaces,
    asked: &[Asked],
    k: usize,
    filter: &Filter,
) -> Result<Vec<Hit>, SearchError> {
    find_checked(PEERS_LIMITS, store, spaces, asked, (k, filter))
}

/// The best of what is checked, at most `k`. `asked` has some of `spaces`, in their order.
fn find_checked(
    limits: Limits,
    store: &Store,
    spaces: &Spaces,
    asked: &[Asked],
    (k, filter): (usize, &Filter),
) -> Result<Vec<Hit>, SearchError> {
    let ranked = rank(limits, store, spaces, asked, (k, filter, Among::Checked))?;
    let view = store.view()?;
    let mut hits = Vec::with_capacity(k.min(ranked.len()));
    for candidate in ranked {
        if hits.len() == k {
            break;
        }
        hits.extend(load_one(&view, candidate)?);
    }
    Ok(hits)
}

/// Candidates from the indexes, scored by the store's vectors, best first.
fn rank(
    limits: Limits,
    store: &Store,
    spaces: &Spaces,
    asked: &[Asked],
    wanted: (usize, &Filter, Among),
) -> Result<Vec<Ranked>, SearchError> {
    let found = gather::gather(limits, &store.view()?, spaces, asked, wanted)?;
    // Before the vectors are read: a lie that is found out meanwhile is unchecked no more, and its vector was read.
    let mut unchecked = HashSet::new();
    for (at, candidates) in &found {
        let space = &asked[*at].space;
        let slots = candidates.iter().map(|candidate| candidate.key);
        unchecked.extend(slots.filter(|slot| space.unchecked.contains(*slot)).map(|slot| (slot, space.id())));
    }
    // A view from before would lack the vectors of what an index was given since.
    let mut ranked = scale::rank(&store.view()?, spaces, asked, found)?;
    for candidate in &mut ranked {
        candidate.is_unchecked = unchecked.contains(&(candidate.slot, candidate.model));
    }
    Ok(ranked)
}

/// A candidate with its grain, if the store still has it.
fn load_one(view: &View, candidate: Ranked) -> Result<Option<Hit>, StorageError> {
    let Ranked { rank, slot, score, model, .. } = candidate;
    // The index may lag a moment behind a retraction; the store decides.
    match view.record(slot) {
        Ok(record) => Ok(record.map(|record| Hit { record, score, rank, model })),
        Err(StorageError::DamagedRecord { slot, why }) => {
            tracing::warn!(slot, why, "a damaged grain is left out of an answer; run `verify`");
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use synapsenet_index::{Model, Neighbour};
    use synapsenet_proto::{Draft, Grain};
    use synapsenet_storage::Change;

    use super::gather::is_caught;
    use super::*;
    use crate::memory::VECTOR_ENCODING;
    use crate::memory::spaces::{Backlog, Fill};
    use crate::testing::{Fixture, author, claimed, peer};

    /// Notes, of which each points into a direction of its own.
    const NOTES: usize = 120;
    /// Never compares where a walk is possible, and never walks.
    const WALKS: Limits =
        Limits { compared_whole: 0, brute_force: 0, brute_force_fraction: usize::MAX, compared_when_lost: 1 };
    const COMPARES: Limits =
        Limits { compared_whole: 0, brute_force: 1000, brute_force_fraction: 1, compared_when_lost: 1000 };

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
            let mut known = Model::known().unwrap();
            let current = open(known.remove(1));
            let eldest = open(known.remove(0));
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
        ) -> Vec<(usize, SpaceId)> {
            let asked = |at: usize| Asked { space: self.spaces[at].clone(), vector: self.vector(at, n) };
            let asked: Vec<Asked> = (0..self.spaces.len()).map(asked).collect();
            let store = &self.node.memory.store;
            let hits = find_checked(limits, store, spaces, &asked, (5, filter)).unwrap();
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

    /// Notes of a stranger with claimed vectors, each of which may or may not be compared.
    struct Crowd {
        node: Fixture,
    }

    impl Crowd {
        fn new() -> Self {
            Self { node: Fixture::new() }
        }

        /// A vector in the plane of the first component and another one.
        fn vector(&self, cosine: f32, towards: usize) -> Vector {
            let mut values = vec![0.0; self.node.memory.current().model.dimension()];
            (values[0], values[towards]) = (cosine, (1.0 - cosine * cosine).sqrt());
            Vector::new(self.node.model(), values).unwrap()
        }

        /// Stores notes with these vectors and gives their slots.
        async fn add(&self, vectors: Vec<Vector>, is_checked: bool) -> Vec<Slot> {
            let (mut slots, mut changes) = (Vec::new(), Vec::new());
            let first = self.node.view().last_slot().unwrap();
            for (n, vector) in vectors.into_iter().enumerate() {
                let grain = crate::testing::note(&author(5), &format!("note {}", first as usize + n));
                let lane = 9;
                changes.push(Change::Put {
                    grain,
                    shared: true,
                    received_ms: 1,
                    claim: None,
                    origin: synapsenet_storage::Origin::Known,
                    lane,
                });
                let (slot, author) = (first + 1 + n as Slot, author(5).author());
                let vector = vector.encode(VECTOR_ENCODING);
                changes.push(match is_checked {
                    true => Change::AddVector { slot, vector },
                    false => Change::AddClaimed { slot, author, vector },
                });
                slots.push(slot);
            }
            self.node.ingest.apply(changes).await.unwrap();
            self.node.memory.current().apply_log(&self.node.view()).unwrap();
            slots
        }

        fn found(&self, limits: Limits, among: Among) -> Vec<Slot> {
            let memory = &self.node.memory;
            let asked = [Asked { space: memory.current(), vector: self.vector(1.0, 1) }];
            let wanted = (5, &Filter::default(), among);
            let ranked = rank(limits, &memory.store, &memory.spaces(), &asked, wanted).unwrap();
            ranked.iter().take(5).map(|ranked| ranked.slot).collect()
        }
    }

    #[tokio::test]
    async fn what_is_checked_is_found_behind_any_number_of_claims() {
        let crowd = Crowd::new();
        let lies = crowd.add((0..600).map(|_| crowd.vector(1.0, 1)).collect(), false).await;
        let truth: Vec<Vector> = (0..300).map(|n| crowd.vector(0.9 - n as f32 / 400.0, 1 + n)).collect();
        let truth = crowd.add(truth, true).await;
        // A walk alone does not come out of what lies all around the question.
        let lost = Limits { compared_when_lost: 1000, ..WALKS };
        for limits in [LIMITS, PEERS_LIMITS, lost, COMPARES] {
            let found = crowd.found(limits, Among::Checked);
            assert_eq!(found, truth[..5], "{limits:?}");
        }
        assert!(crowd.found(WALKS, Among::All).iter().all(|slot| lies.contains(slot)));
        // A compared one is found from then on.
        crowd.node.memory.current().unchecked.remove(lies[7]);
        for limits in [LIMITS, PEERS_LIMITS, lost, COMPARES] {
            assert_eq!(crowd.found(limits, Among::Checked)[0], lies[7], "{limits:?}");
        }
    }

    #[tokio::test]
    async fn a_walk_that_is_caught_among_copies_comes_out_without_comparing_all() {
        let crowd = Crowd::new();
        let others = (0..300).map(|n| crowd.vector(0.5 - n as f32 / 1000.0, 1 + n));
        let copies = (0..60).map(|_| crowd.vector(0.8, 2));
        let others = others.chain(copies).collect();
        crowd.add(others, true).await;
        let nearest = crowd.add(vec![crowd.vector(0.95, 300)], true).await;
        // These limits compare nothing.
        let narrow = Limits { compared_when_lost: 0, ..WALKS };
        for limits in [WALKS, narrow] {
            let found = crowd.found(limits, Among::All);
            assert_eq!((found.len(), found[0]), (5, nearest[0]), "{limits:?}");
        }
    }

    #[tokio::test]
    async fn no_lie_is_shown_where_nine_authors_of_ten_lie() {
        const QUESTION: &str = "How do bees find flowers?";
        let node = Fixture::new();
        let models = node.models(true);
        let model = node.memory.current().model.clone();
        let question = models.question(&model, QUESTION).await.unwrap();
        let tokenizer = models.tokenizer(&model).await.unwrap();
        let truth = async |text: &str| {
            let tokens = tokenizer.tokenize(text, synapsenet_index::Purpose::Document);
            models.documents(&model, &[tokens]).await.unwrap().remove(0)
        };
        // Each author has said true things before.
        for by in 1..=40 {
            for n in 0..8 {
                let text = format!("Trains of line {by} leave at {n}.");
                let brought = claimed(&author(by), &text, &truth(&text).await);
                node.ingest.receive(brought, peer(1)).await.unwrap();
            }
        }
        for n in 0..360_usize {
            let liar = author(5 + (n % 36) as u8);
            let lie = claimed(&liar, &format!("Buy cheap watches, offer {n}."), &question);
            node.ingest.receive(lie, peer(1)).await.unwrap();
        }
        let mut honest = Vec::new();
        for by in 1..=4 {
            let text = format!("Bees dance to tell where the flowers are, says {by}.");
            honest.push(text.clone());
            let brought = claimed(&author(by), &text, &truth(&text).await);
            node.ingest.receive(brought, peer(1)).await.unwrap();
        }
        let own = crate::testing::note(&author(0), "Flowers are found by bees by their scent.");
        node.ingest.put(own.clone(), false).await.unwrap();
        let runs = node.runs();
        let indexer = node.indexer(&models);
        let mut indexer = node.index(indexer).await;
        assert_eq!(node.runs() - runs, 1, "only what nobody claims is embedded before all can be found");

        let ask = async || {
            let filter = Filter::default();
            super::search(node.memory.clone(), &models, &node.ingest, QUESTION, (10, filter)).await.unwrap()
        };
        for n in 0..30 {
            let answer = ask().await;
            // Who was caught is found by what it says, which is far from the question.
            let is_lie = |hit: &Hit| hit.record.grain.text().starts_with("Buy") && hit.score > 0.5;
            let texts: Vec<&str> = answer.hits.iter().map(|hit| hit.record.grain.text()).collect();
            assert!(!answer.hits.iter().any(is_lie), "search {n}: {:?}", answer.hits);
            assert!(texts.contains(&own.text()), "search {n}: {texts:?}");
            assert!(n > 0 || answer.unchecked > 0, "{}", answer.unchecked);
            // What was found out is in the store before the next one.
            indexer = node.index(indexer).await;
        }
        let texts = |answer: &Answer| -> Vec<String> {
            answer.hits.iter().take(5).map(|hit| hit.record.grain.text().to_owned()).collect()
        };
        let answer = ask().await;
        let mut first = texts(&answer);
        first.sort();
        honest.push(own.text().to_owned());
        assert_eq!(first, honest, "the liars are known by now, and what is true comes first");
        let distrusted = |by: u8| node.view().author_standing(&author(by).author()).unwrap().distrusted;
        assert!((5..=40).all(distrusted) && !(0..5).any(distrusted));
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

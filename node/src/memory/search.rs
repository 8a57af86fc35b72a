//! Finding grains by meaning and by words: the question becomes a vector, the graph gives candidates, and so does the index of
//! words; each candidate of either is scored by both.
//!
//! While a model is being changed, the question becomes a vector of each model whose space holds grains, and what the
//! spaces find is merged: a grain that stands in two counts in the current one.
//!
//! Only vectors that were checked count. What is best and only claimed is compared at once ([`check`]); where something falls
//! away, a second walk among what is checked fills its places, so that no number of lies hides what is true. The words
//! of a grain are read here and need no check.

mod check;
mod fold;
mod gather;
mod question;
mod scale;
mod score;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use synapsenet_index::{IndexError, Neighbour, Weights, WordQuestion};
use synapsenet_proto::{GrainId, SpaceId, Vector};
use synapsenet_storage::{Filter, Record, Selection, Slot, StorageError, Store, View};
use tokio::sync::OwnedSemaphorePermit;

use crate::blocking::blocking;
use crate::memory::Memory;
use crate::memory::ingest::Ingest;
use crate::memory::spaces::{Space, Spaces};
use crate::memory::words::{Parts, WordIndex};
use crate::models::Models;
use crate::models::embedder::EmbedError;
use crate::traces;
use check::Picked;
#[cfg(test)]
pub(crate) use check::{MAX_CHECKED, MAX_CHECKED_TOKENS};
use gather::{Among, LIMITS, Limits, MIN_CANDIDATES, NAMED_AT_LAST, OVERSAMPLING, PEERS_LIMITS};
pub(crate) use question::MAX_UNKNOWN_SHARE;
pub(crate) use score::{Measure, Mode};

/// Hits that one search may ask for.
pub(crate) const MAX_HITS: usize = 1000;
/// Candidates that are looked at to find hits which are no copies of each other, as a multiple of the hits: at first, and
/// where that is too few.
const CANDIDATES: [usize; 3] = [2, 8, 32];
/// Notes with words of the question that are looked at to see whether they meet a filter or a condition, such as a phrase, before a
/// search ends with what it has: a frequent word may stand in many that do not.
const MAX_JUDGED: usize = 10_000;
/// How many more candidates are looked at where a question has conditions.
const FOR_CONDITIONS: usize = 4;

/// Why a search has no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SearchError {
    #[error(transparent)]
    Embed(#[from] EmbedError),
    #[error(transparent)]
    Index(#[from] IndexError),
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The grain whose like is asked for has no vector.
    #[error("grain {0} was not read by the model yet, or cannot be read by it: what is like it is not known")]
    NotRead(GrainId),
    /// It is not here.
    #[error("grain {0} is not stored here")]
    NotHere(GrainId),
    /// Nothing lies near these numbers.
    #[error("{reason}")]
    NoVector {
        /// Which part of the question is wrong.
        field: &'static str,
        reason: String,
    },
}

/// What is looked for.
#[derive(Debug, Clone)]
pub(crate) struct Query {
    /// What is asked.
    pub question: Question,
    /// By what grains are found.
    pub mode: Mode,
    /// How many hits, at most [`MAX_HITS`].
    pub k: usize,
    /// Hits with less are left out; None is what suits the mode.
    pub min_score: Option<f32>,
    /// Whether hits that say what a better one says are hits of their own.
    pub all_copies: bool,
    /// Which grains are meant.
    pub filter: Filter,
    /// What is given back once it is answered, whether or not somebody still waits for that: a place among the calls, a turn.
    pub held: Vec<Arc<OwnedSemaphorePermit>>,
}

/// What is asked.
#[derive(Debug, Clone)]
pub(crate) enum Question {
    /// A text, with `"phrases"` and `-exclusions`.
    Text(String),
    /// What is like this grain.
    Like(GrainId),
    /// What lies near this vector of the space, which is the current one where none is named. Of any length.
    Vector { components: Vec<f32>, space: Option<SpaceId> },
}

/// A grain that was found.
#[derive(Debug)]
pub(crate) struct Hit {
    /// The grain and what is known of it here.
    pub record: Record,
    /// By what it is ranked; see [`Mode`].
    pub score: f32,
    /// Cosine between question and grain in the space of `model`. None where it was found by its words alone.
    pub cosine: Option<f32>,
    /// Its BM25 score.
    pub words: f32,
    /// The model of both vectors.
    pub model: Option<SpaceId>,
    /// How many hits that say the same are folded into it.
    pub copies: usize,
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
    /// The question in words.
    pub words: Arc<WordQuestion>,
    /// By what it was searched, by words alone where the model could not read the question, and what the scores mean.
    pub measure: Measure,
    /// Whether the model could not read the question.
    pub is_unreadable: bool,
    /// The language of the question as a BCP 47 tag, where the model was not made for it.
    pub foreign: Option<&'static str>,
    /// The best score among what was left out because it was too low.
    pub best_left_out: Option<f32>,
    /// Grains in the index.
    pub searched: u64,
    /// Grains that can be found by their words only, because they have no vector yet.
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

/// The best grains for a question among those that the filter lets through.
///
/// # Errors
/// [`SearchError`].
pub(crate) async fn search(
    memory: Arc<Memory>,
    models: &Models,
    ingest: &Ingest,
    query: Query,
) -> Result<Answer, SearchError> {
    let answers = search_many(memory, models, ingest, vec![query]).await?;
    answers.into_iter().next().ok_or(SearchError::Embed(EmbedError::Stopped))
}

/// As [`search`] for each of these, in their order; the model reads them together.
///
/// # Errors
/// [`SearchError`]; all fail together.
pub(crate) async fn search_many(
    memory: Arc<Memory>,
    models: &Models,
    ingest: &Ingest,
    queries: Vec<Query>,
) -> Result<Vec<Answer>, SearchError> {
    let start = Instant::now();
    let _asking = memory.note_question();
    let spaces = memory.spaces();
    let part = traces::part("model");
    let read = question::read(&memory, &spaces, models, &queries).await?;
    drop(part);
    let embed = start.elapsed();
    let mut answers = Vec::with_capacity(queries.len());
    for (query, read) in queries.into_iter().zip(read) {
        let times = (Instant::now(), embed);
        answers.push(answer((memory.clone(), &spaces), (models, ingest), query, read, times).await?);
    }
    Ok(answers)
}

/// The best grains for a question that was read, in the time `embed`; `start` is when that was done.
async fn answer(
    (memory, spaces): (Arc<Memory>, &Arc<Spaces>),
    (models, ingest): (&Models, &Ingest),
    query: Query,
    read: question::Read,
    (start, embed): (Instant, Duration),
) -> Result<Answer, SearchError> {
    let Query { k, min_score, all_copies, filter, held, .. } = query;
    let question::Read { asked, words, mode, is_unreadable, foreign, itself } = read;
    let measure = Measure::new(mode, spaces.current.model.search_weights(), memory.words.len());
    let min_score = min_score.unwrap_or(mode.min_score());
    let looking = Looking {
        memory: memory.clone(),
        spaces: spaces.clone(),
        asked: Arc::new(asked),
        words,
        measure,
        itself,
        k,
        filter,
        _held: held,
    };
    let mut best_left_out = None;
    let mut unchecked = 0;
    let mut hits = Vec::new();
    for more in CANDIDATES {
        let wanted = if all_copies { k } else { (k * more).min(MAX_HITS) };
        let looking = Looking { k: wanted, ..looking.clone() };
        let first = looking.clone();
        let mut picked = blocking(move || first.pick()).await?;
        picked.check(&memory, models, ingest, &looking.asked).await?;
        let (found, missing, left_out) = blocking(move || {
            let mut found = looking.fill(&mut picked)?;
            let is_all = found.len() < wanted;
            let missing = picked.missing(&found, k);
            let left_out = found.iter().find(|hit| hit.score < min_score).map(|hit| hit.score);
            found.retain(|hit| hit.score >= min_score);
            let is_end = is_all || left_out.is_some();
            raise(&looking.memory, &mut found);
            let found = if all_copies { found } else { fold::fold(&looking.memory.store.view()?, found)? };
            Ok::<_, SearchError>(((found, is_end), missing, left_out))
        })
        .await?;
        (best_left_out, unchecked) = (left_out, missing as u64);
        let is_enough = found.1 || found.0.len() >= k || wanted == MAX_HITS;
        hits = found.0;
        if is_enough || all_copies {
            break;
        }
    }
    hits.truncate(k);
    let (words, spaces) = (looking.words.clone(), spaces.clone());
    blocking(move || {
        let asked = Arc::try_unwrap(looking.asked).unwrap_or_default();
        let counts = memory.store.view()?.counts()?;
        let elapsed = start.elapsed() + embed;
        memory.metrics.query.observe(elapsed.as_secs_f64());
        memory.metrics.queries.inc();
        let (searched, pending) = (spaces.searchable(counts), counts.pending);
        Ok(Answer {
            hits,
            words,
            measure,
            is_unreadable,
            foreign,
            best_left_out,
            searched,
            pending,
            unchecked,
            elapsed,
            embed,
            asked,
        })
    })
    .await
}

/// Lets hits stand higher for what they add, where the owner wants that. Only those that are hits without it.
fn raise(memory: &Memory, hits: &mut [Hit]) {
    if memory.scores.raises() {
        hits.iter_mut().for_each(|hit| hit.score += memory.scores.raise(hit.record.slot, &memory.uses));
        hits.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.record.slot.cmp(&b.record.slot)));
    }
}

/// A question with all that it is answered from.
#[derive(Clone)]
struct Looking {
    memory: Arc<Memory>,
    spaces: Arc<Spaces>,
    asked: Arc<Vec<Asked>>,
    words: Arc<WordQuestion>,
    measure: Measure,
    /// The grain whose like is asked for: no hit.
    itself: Option<Slot>,
    k: usize,
    filter: Filter,
    /// Work that was begun goes on when nobody waits for it any more.
    _held: Vec<Arc<OwnedSemaphorePermit>>,
}

impl Looking {
    /// The best candidates of all.
    fn pick(&self) -> Result<Picked, SearchError> {
        let ranked = self.rank(Among::All)?;
        let _part = traces::part("store");
        Ok(Picked::pick(&self.memory.store.view()?, ranked, (self.k, self.measure))?)
    }

    /// The hits, best first, once those that were only claimed are compared: where some fell away, with what else is checked.
    fn fill(&self, picked: &mut Picked) -> Result<Vec<Hit>, SearchError> {
        let mut hits = picked.take_hits();
        if hits.len() < self.k && picked.has_lost() {
            let found: HashSet<Slot> = hits.iter().map(|hit| hit.record.slot).collect();
            let view = self.memory.store.view()?;
            let more = self.rank(Among::Checked)?;
            hits.extend(
                load(&view, more, self.k)?.into_iter().filter(|hit| !found.contains(&hit.record.slot)),
            );
        }
        hits.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.record.slot.cmp(&b.record.slot)));
        hits.truncate(self.k);
        Ok(hits)
    }

    /// Candidates of both indexes, scored by both, best first.
    fn rank(&self, among: Among) -> Result<Vec<Ranked>, SearchError> {
        let Self { memory, spaces, asked, measure, filter, .. } = self;
        let (words, conditions) = (&*self.words, self.words.has_conditions());
        let k = if conditions { (self.k * FOR_CONDITIONS).min(MAX_HITS) } else { self.k };
        let near = match asked.is_empty() {
            true => Vec::new(),
            false => {
                let _part = traces::part("graph");
                near(LIMITS, &memory.store, spaces, asked, (k, filter, among))?
            }
        };
        let view = memory.store.view()?;
        let is_meant = |slot| fits(&view, slot, words);
        let near: Vec<scale::Near> =
            near.into_iter().filter(|near| Some(near.slot) != self.itself && is_meant(near.slot)).collect();
        let found = match measure.mode.counts_words() {
            true => {
                let also: Vec<Slot> = near.iter().map(|near| near.slot).collect();
                let wanted = (k * OVERSAMPLING).max(MIN_CANDIDATES);
                by_words(&view, &memory.words, words, (wanted, filter), &also, MAX_JUDGED)?
            }
            false => synapsenet_index::WordsFound { best: Vec::new(), also: vec![0.0; near.len()] },
        };
        let known: HashSet<Slot> = near.iter().map(|near| near.slot).collect();
        let mut ranked: Vec<Ranked> = near
            .into_iter()
            .zip(found.also)
            .map(|(near, words)| Ranked::new(*measure, near.slot, Some(near), words))
            .collect();
        for hit in found.best.into_iter().filter(|hit| !known.contains(&hit.key)) {
            let near = scale::compare_one(&view, spaces, asked, hit.key)?;
            // What only its author says of it does not count, where only what is checked does.
            let near = near.filter(|near| among == Among::All || !near.is_unchecked);
            ranked.push(Ranked::new(*measure, hit.key, near, hit.score));
        }
        ranked.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.slot.cmp(&b.slot)));
        Ok(ranked)
    }
}

/// A candidate among those of both indexes.
struct Ranked {
    slot: Slot,
    score: f32,
    cosine: Option<f32>,
    words: f32,
    model: Option<SpaceId>,
    is_unchecked: bool,
}

impl Ranked {
    fn new(measure: Measure, slot: Slot, near: Option<scale::Near>, words: f32) -> Self {
        let score = measure.score(near.as_ref().map(|near| near.scaled), words);
        let (cosine, model) = (near.as_ref().map(|near| near.cosine), near.as_ref().map(|near| near.model));
        Self { slot, score, cosine, words, model, is_unchecked: near.is_some_and(|near| near.is_unchecked) }
    }
}

/// Candidates by words, and the scores of those that the graph found. Of those that have the words, `most_judged` are held against filter
/// and conditions one by one.
fn by_words(
    view: &View,
    index: &WordIndex,
    question: &WordQuestion,
    (wanted, filter): (usize, &Filter),
    also: &[Slot],
    most_judged: usize,
) -> Result<synapsenet_index::WordsFound, SearchError> {
    let left = std::cell::Cell::new(most_judged);
    let judge = |is_meant: &dyn Fn(Slot) -> bool, slot: Slot| {
        let less = left.get().checked_sub(1);
        less.is_some_and(|less| {
            left.set(less);
            is_meant(slot)
        })
    };
    let fits = |slot: Slot| fits(view, slot, question);
    let is_let_through = |slot: Slot| view.matches(slot, filter).unwrap_or(false) && fits(slot);
    let among = |slots: &[Slot]| {
        let most = if question.has_conditions() { slots.len() } else { wanted };
        let mut found = index.words().search_among(question, most, slots, also);
        found.best.retain(|hit| fits(hit.key));
        found.best.truncate(wanted);
        found
    };
    let found = match view.select_stored(filter, (LIMITS.few)(index.len()))? {
        Selection::All if !question.has_conditions() => {
            index.words().search(question, wanted, &|_| true, also)
        }
        Selection::All => index.words().search(question, wanted, &|slot| judge(&fits, slot), also),
        Selection::Few(slots) => among(&slots),
        Selection::Many => {
            let found = index.words().search(question, wanted, &|slot| judge(&is_let_through, slot), also);
            let is_cut_off = left.get() == 0 && found.best.len() < wanted;
            // Where the words stand in very many that are not meant, those that are must not be missed.
            match if is_cut_off { view.select_stored(filter, NAMED_AT_LAST)? } else { Selection::Many } {
                Selection::Few(slots) => among(&slots),
                Selection::All | Selection::Many => found,
            }
        }
    };
    Ok(found)
}

/// Whether a note meets the conditions of a question, if it has any. One that cannot be read does not.
fn fits(view: &View, slot: Slot, question: &WordQuestion) -> bool {
    if !question.has_conditions() {
        return true;
    }
    let record = view.record(slot).ok().flatten();
    record.is_some_and(|record| question.fits(&Parts::of(&record).slices()))
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

/// The best of what is checked by meaning alone, at most `k`. `asked` has some of `spaces`, in their order.
fn find_checked(
    limits: Limits,
    store: &Store,
    spaces: &Spaces,
    asked: &[Asked],
    (k, filter): (usize, &Filter),
) -> Result<Vec<Hit>, SearchError> {
    let near = near(limits, store, spaces, asked, (k, filter, Among::Checked))?;
    let measure = Measure::new(Mode::Meaning, Weights::default(), 0);
    let ranked = near.into_iter().map(|near| Ranked::new(measure, near.slot, Some(near), 0.0)).collect();
    Ok(load(&store.view()?, ranked, k)?)
}

/// Candidates from the graphs, scored by the store's vectors, best first.
fn near(
    limits: Limits,
    store: &Store,
    spaces: &Spaces,
    asked: &[Asked],
    wanted: (usize, &Filter, Among),
) -> Result<Vec<scale::Near>, SearchError> {
    let found: Vec<(usize, Vec<Neighbour>)> = gather::gather(limits, &store.view()?, spaces, asked, wanted)?;
    // Before the vectors are read: a lie that is found out meanwhile is unchecked no more, and its vector was read.
    let mut unchecked = HashSet::new();
    for (at, candidates) in &found {
        let space = &asked[*at].space;
        let slots = candidates.iter().map(|candidate| candidate.key);
        unchecked.extend(slots.filter(|slot| space.unchecked.contains(*slot)).map(|slot| (slot, space.id())));
    }
    // A view from before would lack the vectors of what an index was given since.
    let mut near = scale::compare(&store.view()?, spaces, asked, found)?;
    for candidate in &mut near {
        candidate.is_unchecked = unchecked.contains(&(candidate.slot, candidate.model));
    }
    near.sort_by(|a, b| b.scaled.total_cmp(&a.scaled).then(a.slot.cmp(&b.slot)));
    Ok(near)
}

/// The first `k` of these that the store still has.
fn load(view: &View, ranked: Vec<Ranked>, k: usize) -> Result<Vec<Hit>, StorageError> {
    let mut hits = Vec::with_capacity(k.min(ranked.len()));
    for candidate in ranked {
        if hits.len() == k {
            break;
        }
        hits.extend(load_one(view, candidate)?);
    }
    Ok(hits)
}

/// A candidate with its grain, if the store still has it.
fn load_one(view: &View, candidate: Ranked) -> Result<Option<Hit>, StorageError> {
    let Ranked { slot, score, cosine, words, model, .. } = candidate;
    // The indexes may lag a moment behind a retraction; the store decides.
    match view.record(slot) {
        Ok(record) => Ok(record.map(|record| Hit { record, score, cosine, words, model, copies: 0 })),
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
    use crate::config::EmergenceConfig;
    use crate::memory::VECTOR_ENCODING;
    use crate::memory::emergence::uses::Asker;
    use crate::memory::ingest::now_ms as ingest_now;
    use crate::memory::spaces::{Backlog, Fill};
    use crate::testing::{Fixture, author, claimed, peer};

    /// A question to which nothing is left out.
    fn query(text: &str) -> Query {
        let question = Question::Text(text.to_owned());
        Query {
            question,
            mode: Mode::Hybrid,
            k: 10,
            min_score: Some(-1.0),
            all_copies: true,
            filter: Filter::default(),
            held: Vec::new(),
        }
    }

    /// Notes, of which each points into a direction of its own.
    const NOTES: usize = 120;
    /// Never compares where a walk is possible, and never walks.
    const WALKS: Limits = Limits { compared_whole: 0, few: |_| 0, compared_when_lost: 1 };
    const COMPARES: Limits = Limits { compared_whole: 0, few: |all| all.max(1000), compared_when_lost: 1000 };

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
            hits.iter().map(|hit| (place(hit.record.slot), hit.model.unwrap())).collect()
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
                    let found = changing.nearest(limits, spaces, n, &all);
                    if limits.compared_when_lost == 1 {
                        // A walk may miss one of them, not the nearest, and finds each by the model that holds it.
                        let held = |n: usize| if n < 40 { 2 } else { usize::from(n < 80) };
                        let is_right =
                            |(n, model): &(usize, SpaceId)| *model == changing.spaces[held(*n)].id();
                        let each: HashSet<usize> = found.iter().map(|(n, _)| *n).collect();
                        assert!(found.iter().all(is_right) && each.len() == 5, "{found:?}");
                        assert_eq!(found[0], expected[0], "{limits:?}");
                    } else {
                        assert_eq!(found, expected, "{limits:?}");
                    }
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
            let near = near(limits, &memory.store, &memory.spaces(), &asked, wanted).unwrap();
            near.iter().take(5).map(|near| near.slot).collect()
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
            super::search(node.memory.clone(), &models, &node.ingest, query(QUESTION)).await.unwrap()
        };
        for n in 0..30 {
            let answer = ask().await;
            // Who was caught is found by what it says, which is far from the question.
            let is_lie = |hit: &Hit| {
                hit.record.grain.text().starts_with("Buy") && hit.cosine.is_some_and(|cosine| cosine > 0.5)
            };
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

    /// A node that holds these texts, all read by the model.
    async fn holding(texts: &[&str]) -> (Fixture, Models) {
        holding_in(Fixture::new(), texts).await
    }

    async fn holding_in(node: Fixture, texts: &[&str]) -> (Fixture, Models) {
        for text in texts {
            node.ingest.put(crate::testing::note(&author(0), text), false).await.unwrap();
        }
        let models = node.models(true);
        let indexer = node.indexer(&models);
        node.index(indexer).await;
        (node, models)
    }

    async fn ask(node: &Fixture, models: &Models, query: Query) -> Answer {
        super::search(node.memory.clone(), models, &node.ingest, query).await.unwrap()
    }

    fn texts(answer: &Answer) -> Vec<&str> {
        answer.hits.iter().map(|hit| hit.record.grain.text()).collect()
    }

    /// Whoever asked and hung up at once, again and again, had more searches computed at the same time than calls are served.
    #[test]
    fn a_search_that_was_broken_off_keeps_its_place_until_its_work_ends() {
        let one_at_a_time =
            tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(1).build();
        one_at_a_time.unwrap().block_on(async {
            let node = Fixture::new();
            let models = node.models(false);
            let (go, wait) = std::sync::mpsc::sync_channel::<()>(1);
            let busy = tokio::task::spawn_blocking(move || wait.recv());
            let places = Arc::new(tokio::sync::Semaphore::new(1));
            let held = vec![Arc::new(places.clone().try_acquire_owned().unwrap())];
            let query = Query { mode: Mode::Words, held, ..query("Is anybody there?") };
            let mut searching = Box::pin(search(node.memory.clone(), &models, &node.ingest, query));
            assert!(futures::poll!(&mut searching).is_pending());
            drop(searching);
            assert_eq!(places.available_permits(), 0);
            go.send(()).unwrap();
            busy.await.unwrap().unwrap();
            drop(places.acquire().await.unwrap());
        });
    }

    #[tokio::test]
    async fn what_is_meant_is_found_though_its_words_stand_in_very_much_that_is_not() {
        let node = Fixture::new();
        let tagged = |n: usize, text: String, tag: &str| {
            let draft = Draft { text, tags: vec![tag.to_owned()], ..Draft::default() };
            Grain::seal(draft, &author(0), 1_790_000_000_000 + n as u64).unwrap()
        };
        // Too many are meant to be named at once, and all others have more of the word.
        for n in 0..80 {
            node.ingest.put(tagged(n, format!("boiler boiler {n}"), "other"), false).await.unwrap();
        }
        for n in 80..260 {
            let text = format!("Of all that can be said of house {n}, one thing concerns the boiler");
            node.ingest.put(tagged(n, text, "meant"), false).await.unwrap();
        }
        let (view, question) = (node.view(), WordQuestion::parse("boiler"));
        let filter = Filter { tags: vec!["meant".into()], ..Filter::default() };
        assert_eq!(view.select_stored(&filter, (LIMITS.few)(260)).unwrap(), Selection::Many);
        for most_judged in [20, MAX_JUDGED] {
            let found =
                by_words(&view, &node.memory.words, &question, (10, &filter), &[], most_judged).unwrap();
            assert_eq!(found.best.len(), 10, "{most_judged}");
            assert!(found.best.iter().all(|hit| view.matches(hit.key, &filter).unwrap()));
        }
    }

    #[tokio::test]
    async fn what_is_named_comes_first_and_what_means_the_same_is_found_too() {
        let named = "The printer in the attic has the serial number SN-4471-B.";
        let alike = "The printer in the cellar has the serial number SN-4417-B.";
        let meant = "Rubber feet under the washing machine keep it from waking everybody.";
        let (node, models) = holding(&[alike, named, meant, "Tomatoes want lime."]).await;
        for question in ["SN-4471-B", "which device has serial number SN-4471-B?"] {
            let answer = ask(&node, &models, query(question)).await;
            assert_eq!(texts(&answer)[0], named, "{question}");
            let hit = &answer.hits[0];
            assert!(hit.words > 0.0 && hit.cosine.is_some_and(|cosine| cosine > 0.0), "{hit:?}");
        }
        let quiet = ask(&node, &models, query("the noise at night wakes me")).await;
        assert_eq!(texts(&quiet)[0], meant);
        let by_words = Query { mode: Mode::Words, ..query("lime tomatoes") };
        let answer = ask(&node, &models, by_words).await;
        assert_eq!((texts(&answer), answer.hits[0].cosine), (vec!["Tomatoes want lime."], None));
    }

    #[tokio::test]
    async fn a_note_is_found_by_its_words_before_any_model_has_read_it_and_gone_when_it_is_retracted() {
        let node = Fixture::new();
        let models = node.models(true);
        let grain = crate::testing::note(&author(0), "The spare key hangs behind the meter.");
        node.ingest.put(grain.clone(), false).await.unwrap();
        let answer = ask(&node, &models, query("spare key")).await;
        assert_eq!(texts(&answer), [grain.text()]);
        assert_eq!((answer.hits[0].model, answer.pending), (None, 1));
        let retraction = Grain::retract(grain.id(), grain.topic().clone(), &author(0), ingest_now()).unwrap();
        node.ingest.put(retraction, false).await.unwrap();
        assert!(texts(&ask(&node, &models, query("spare key")).await).is_empty());
    }

    #[tokio::test]
    async fn phrases_must_stand_in_a_hit_and_excluded_words_must_not() {
        let (node, models) = holding(&[
            "The annual service of the boiler is in May.",
            "The boiler needs service, and the annual meter reading is due.",
            "The annual service of the gas lamp is in June.",
        ])
        .await;
        let answer = ask(&node, &models, query("when is \"annual service\" -gas")).await;
        assert_eq!(texts(&answer), ["The annual service of the boiler is in May."]);
    }

    #[tokio::test]
    async fn copies_are_folded_and_notes_that_name_different_things_are_not() {
        let (node, models) = holding(&[
            "The key of the shed hangs by the door.",
            "The key of the shed  hangs by the door.",
            "The router stands at 192.168.1.44.",
            "The router stands at 192.168.1.45.",
        ])
        .await;
        let folded = |text| Query { all_copies: false, ..query(text) };
        let answer = ask(&node, &models, folded("key of the shed")).await;
        let keys: Vec<usize> = answer
            .hits
            .iter()
            .filter(|hit| hit.record.grain.text().contains("key"))
            .map(|hit| hit.copies)
            .collect();
        assert_eq!(keys, [1]);
        let answer = ask(&node, &models, folded("router")).await;
        assert_eq!(answer.hits.iter().filter(|hit| hit.record.grain.text().contains("router")).count(), 2);
        let all = ask(&node, &models, query("key of the shed")).await;
        assert_eq!(all.hits.len(), 4);
    }

    #[tokio::test]
    async fn a_question_that_nothing_answers_says_so() {
        let (node, models) = holding(&["Tomatoes want lime.", "The choir sings on Tuesdays."]).await;
        let query = Query { min_score: None, ..query("zxqv blorf wuggle snarp") };
        let answer = ask(&node, &models, query).await;
        assert!(answer.hits.is_empty() && answer.best_left_out.is_some(), "{:?}", answer.hits);
    }

    #[tokio::test]
    async fn what_the_model_cannot_read_is_found_by_its_words_alone() {
        let thai = "วาล์วน้ำหลักอยู่หลังเครื่องซักผ้าในห้องใต้ดิน";
        let (node, models) = holding(&[thai, "The main valve is behind the washing machine."]).await;
        let answer = ask(&node, &models, query("เครื่องซักผ้า")).await;
        assert_eq!(
            (texts(&answer), answer.is_unreadable, answer.measure.mode),
            (vec![thai], true, Mode::Words)
        );
        let other = ask(&node, &models, query("หนังสือเดินทางหมดอายุเมื่อไร")).await;
        // It shares some pairs of letters with the note, and is not held to mean the same.
        assert!(other.hits.iter().all(|hit| hit.cosine.is_none()), "{:?}", other.hits);
        let readable = ask(&node, &models, query("where is the valve?")).await;
        assert_eq!((texts(&readable).len(), readable.is_unreadable), (1, false), "it has no vector");
    }

    #[tokio::test]
    async fn what_is_like_a_grain_is_found_by_its_vector_without_itself() {
        let (node, models) =
            holding(&["Bees dance.", "Honey bees tell where flowers are.", "Rent is due."]).await;
        let bees = node.view().record(1).unwrap().unwrap().grain.id();
        let like = |id| Query { question: Question::Like(id), ..query("") };
        let answer = ask(&node, &models, like(bees)).await;
        assert_eq!(texts(&answer), ["Honey bees tell where flowers are.", "Rent is due."]);
        let unknown =
            super::search(node.memory.clone(), &models, &node.ingest, like(GrainId::from_bytes([7; 32])));
        assert!(matches!(unknown.await, Err(SearchError::NotHere(_))));
    }

    #[tokio::test]
    async fn what_was_of_use_stands_higher_where_the_owner_wants_that_and_no_more_come_in_by_it() {
        let texts = ["Bees dance.", "Honey bees tell where flowers are.", "Rent is due."];
        for (ranking_weight, moves) in [(0.0, false), (1.0, true)] {
            let config = EmergenceConfig { ranking_weight, ..EmergenceConfig::default() };
            let (node, models) = holding_in(Fixture::with_scores(&config), &texts).await;
            let asked = Query { min_score: Some(0.1), ..query("Where are the flowers of bees?") };
            let before = ask(&node, &models, asked.clone()).await;
            let (best, last) = (before.hits[0].record.slot, before.hits.last().unwrap().record.slot);
            assert!(best != last && before.hits.len() < texts.len(), "{:?}", before.hits);
            node.score_all(9);
            for day in 0..20 {
                node.memory.uses.note_hits(Asker::Owner(0), [last].into_iter(), day);
                node.memory.uses.note_opened(Asker::Owner(0), last, day);
            }
            let after = ask(&node, &models, asked).await;
            assert_eq!(after.hits.len(), before.hits.len());
            assert_eq!(after.hits[0].record.slot == last, moves);
            assert!(after.hits[0].score - before.hits[0].score <= ranking_weight as f32);
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

//! Searching: what is known here and what peers know, as one ranked answer.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use synapsenet_net::PeerId;
use synapsenet_proto::{Grain, SpaceId, Topic, Vector};
use synapsenet_storage::{Filter, View};
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use crate::blocking::blocking;
use crate::calls::authors::Whose;
use crate::calls::error::{invalid, invalid_in};
use crate::calls::grains::find_record;
use crate::calls::{Call, CallError};
use crate::memory::Memory;
use crate::memory::emergence::uses::today;
pub(crate) use crate::memory::search::Mode;
use crate::memory::search::{self, Answer, MAX_HITS, Query, Question};
use crate::memory::words::Parts;
use crate::mesh::Mesh;
use crate::mesh::ask::{self, MAX_PEER_HITS, MAX_PEERS, RemoteHit, ask_peers};
pub(crate) use crate::mesh::ask::{Outcome, PeerOutcome};

/// Hits when a search names no number.
const DEFAULT_HITS: usize = 10;
/// A question: as long as a grain's text, so that a grain can be asked with.
const MAX_QUESTION_BYTES: usize = synapsenet_proto::MAX_TEXT_BYTES;
/// How long peers' answers are waited for when a search does not say, and at most.
const DEFAULT_WAIT: Duration = Duration::from_secs(2);
const MAX_WAIT: Duration = Duration::from_secs(60);
/// Hits of peers that may wait to be ranked: all that one question can bring.
const REMOTE_HITS: usize = MAX_PEERS * MAX_PEER_HITS;

/// Searches of one call.
const MAX_SEARCHES: usize = 64;
/// Calls of others than the owner that are answered at the same time: their questions never fill the queue of the model, in which one of
/// the owner's waits behind them.
pub(crate) const MAX_ASKING: usize = 8;
/// Hits whose matching words are marked; of more, nobody looks at all.
const MAX_MARKED: usize = 100;

/// What is asked.
pub(crate) enum Sought {
    /// A text, 1 byte to [`MAX_QUESTION_BYTES`].
    Text(String),
    /// What is like the grain with this id, or with the only one that begins so.
    Like(String),
    /// What lies near this vector, of any length and as many components as the current space has; `space` names that, if anything.
    Vector { components: Vec<f32>, space: Option<SpaceId> },
}

/// What is looked for.
pub(crate) struct Search {
    pub asked: Sought,
    /// By what grains are found.
    pub mode: Mode,
    /// How many hits; 0 is [`DEFAULT_HITS`]. With those passed over at most [`MAX_HITS`].
    pub k: usize,
    /// How many of the best hits are passed over.
    pub offset: usize,
    /// Hits with less are left out; None is what suits the mode.
    pub min_score: Option<f32>,
    /// Whether hits that say what a better one says are hits of their own.
    pub all_copies: bool,
    /// Which grains are meant.
    pub filter: Filter,
    /// Whether peers are asked, too, and how long their answers are waited for; zero is [`DEFAULT_WAIT`].
    pub mesh: Option<Duration>,
    /// Whether the vectors of the hits are told.
    pub with_vectors: bool,
}

/// A grain that was found.
pub(crate) struct Hit {
    pub grain: Grain,
    /// By what it is ranked; see [`Mode`].
    pub score: f32,
    /// Cosine between question and grain, -1 to 1, computed here. None where it was found by its words alone.
    pub cosine: Option<f32>,
    /// Its BM25 score for the words of the question, among the grains here.
    pub words: f32,
    /// The model of both vectors.
    pub model: Option<SpaceId>,
    /// How many hits that say the same are folded into it.
    pub copies: usize,
    /// Where words of the question stand in the text: ranges of bytes, in order.
    pub marks: Vec<Range<usize>>,
    /// Who knew it.
    pub origin: Origin,
    /// Whose it is.
    pub whose: Whose,
    /// Its source, where its document was moved since.
    pub moved_to: Option<String>,
    /// Its vector in the space of the cosine, where it was asked for and is stored here.
    pub vector: Option<Vector>,
}

/// Who knew a grain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// It is stored here.
    Here {
        /// Whether it may leave the node.
        shared: bool,
    },
    /// A peer gave it.
    Peer(PeerId),
}

/// The answer to a search.
pub(crate) struct Found {
    /// Best first, whoever knew them.
    pub hits: Vec<Hit>,
    /// By what it was searched.
    pub mode: Mode,
    /// Whether the model could not read the question, so that it was searched by words alone.
    pub is_unreadable: bool,
    /// The language of the question as a BCP 47 tag, where the model was not made for it.
    pub foreign: Option<&'static str>,
    /// The best score among what was left out because it was too low.
    pub best_left_out: Option<f32>,
    /// Grains here that could be found by meaning, before the filter.
    pub searched: u64,
    /// Grains here that could be found by their words alone, because they have no vector yet.
    pub pending: u64,
    /// Grains here that may belong to the answer and are left out: what their authors claim was not compared yet.
    pub unchecked: u64,
    /// The whole search.
    pub elapsed: Duration,
    /// The part of it that the models took to read the question.
    pub embed: Duration,
    /// What became of each peer that was asked.
    pub peers: Vec<PeerOutcome>,
    /// The models by whose vectors it was searched, with their names, the current one first.
    pub models: Vec<(SpaceId, String)>,
}

impl Call {
    /// The best grains for a question.
    ///
    /// # Errors
    /// [`CallError`]. A peer that does not answer is no error.
    pub async fn search(&self, search: Search) -> Result<Found, CallError> {
        let mode = search.mode;
        let found = self.answer(search).await;
        self.parts
            .memory
            .metrics
            .searched(mode.label(), outcome_of(found.as_ref().map(|found| found.hits.len())));
        found
    }

    async fn answer(&self, search: Search) -> Result<Found, CallError> {
        let wish = self.wish(search).await?;
        let parts = &self.parts;
        let query = Query { held: self.turn_to_ask().await?, ..wish.query.clone() };
        let answer = search::search(parts.memory.clone(), &parts.models, &parts.ingest, query).await?;
        self.found(answer, wish).await
    }

    /// The answers to several searches, in their order. The model reads their questions together.
    ///
    /// # Errors
    /// [`CallError`] when one of them has no answer.
    pub async fn search_many(&self, searches: Vec<Search>) -> Result<Vec<Found>, CallError> {
        let modes: Vec<Mode> = searches.iter().map(|search| search.mode).take(MAX_SEARCHES).collect();
        let found = self.answer_many(searches).await;
        for (place, mode) in modes.into_iter().enumerate() {
            let hits = found.as_ref().map(|found| found.get(place).map_or(0, |found| found.hits.len()));
            self.parts.memory.metrics.searched(mode.label(), outcome_of(hits));
        }
        found
    }

    async fn answer_many(&self, searches: Vec<Search>) -> Result<Vec<Found>, CallError> {
        if searches.is_empty() || searches.len() > MAX_SEARCHES {
            let given = searches.len();
            return Err(invalid_in(
                "searches",
                format!("there are {given} searches; 1 to {MAX_SEARCHES} are allowed"),
            ));
        }
        let mut wishes = Vec::with_capacity(searches.len());
        for (place, search) in searches.into_iter().enumerate() {
            if search.mesh.is_some() {
                return Err(invalid("the mesh is asked one question at a time: use Search for that"));
            }
            wishes.push(self.wish(search).await.map_err(|error| match error {
                CallError::Invalid(reason) => invalid(format!("search {}: {reason}", place + 1)),
                CallError::InvalidField { field, reason } => {
                    invalid_in(field, format!("search {}: {reason}", place + 1)).within(&part(place))
                }
                error => error,
            })?);
        }
        let hits: usize = wishes.iter().map(|wish| wish.query.k).sum();
        if hits > MAX_HITS {
            return Err(invalid_in(
                "searches",
                format!("{hits} hits are asked for in all; at most {MAX_HITS} are allowed"),
            ));
        }
        let parts = &self.parts;
        let held = self.turn_to_ask().await?;
        let queries = wishes.iter().map(|wish| Query { held: held.clone(), ..wish.query.clone() }).collect();
        drop(held);
        let answers =
            search::search_many(parts.memory.clone(), &parts.models, &parts.ingest, queries).await?;
        let mut found = Vec::with_capacity(answers.len());
        for (answer, wish) in answers.into_iter().zip(wishes) {
            found.push(self.found(answer, wish).await?);
        }
        Ok(found)
    }

    /// Waits until the caller may ask. What is held for that is given back when its question is answered, whether or not somebody still
    /// waits for the answer.
    async fn turn_to_ask(&self) -> Result<Vec<Arc<OwnedSemaphorePermit>>, CallError> {
        let mut held = vec![self.place.clone()];
        if !self.caller.is_owner() {
            // Nobody closes it.
            let turn = self.parts.asking.clone().acquire_owned().await.map_err(|_| CallError::Stopping)?;
            held.push(Arc::new(turn));
        }
        Ok(held)
    }

    /// What a search wants, once all of it is checked.
    async fn wish(&self, search: Search) -> Result<Wish, CallError> {
        let Search { asked, mode, k, offset, min_score, all_copies, filter, mesh, with_vectors } = search;
        if mode == Mode::Words && matches!(asked, Sought::Vector { .. }) {
            return Err(invalid_in("mode", "a vector has no words: ask in the mode hybrid or meaning"));
        }
        let filter = self.topics_of_caller().narrow(self.by_signed_source(filter))?;
        let question = self.question(asked).await?;
        let k = check_hits(k, offset)?;
        check_score(min_score)?;
        let mesh = match mesh {
            Some(_) if mode == Mode::Words => {
                return Err(invalid_in(
                    "mode",
                    "peers are asked by meaning: ask them in the mode hybrid or meaning",
                ));
            }
            Some(wait) => Some((self.mesh()?.clone(), read_wait(wait)?)),
            None => None,
        };
        Ok(Wish {
            query: Query { question, mode, k: k + offset, min_score, all_copies, filter, held: vec![] },
            offset,
            mesh,
            with_vectors,
        })
    }

    /// What a client is told of an answer, with what peers add to it.
    async fn found(&self, answer: Answer, wish: Wish) -> Result<Found, CallError> {
        let start = Instant::now();
        let mut found = Found::here(&answer);
        let words = answer.words.clone();
        let hits = answer.hits.iter().map(|hit| hit.record.slot);
        self.parts.memory.uses.note_hits(self.caller.asker(), hits, today());
        let Wish { query, offset, mesh, with_vectors } = wish;
        if self.topics_of_caller().is_limited() {
            // What else is held is not for who asks.
            let topics: Vec<Topic> = query.filter.topics().into_iter().flatten().cloned().collect();
            let count = move |_: &Memory, view: &View| {
                topics.iter().try_fold(0, |sum, topic| Ok::<_, CallError>(sum + view.notes_of(topic)?))
            };
            (found.searched, found.pending) = (self.read(count).await?, 0);
        }
        if let Some((mesh, patience)) = mesh {
            self.ask_mesh(&mesh, answer, &mut found, (query, patience)).await;
        } else {
            self.take_hits(&mut found, answer);
        }
        found.hits.drain(..offset.min(found.hits.len()));
        let memory = self.parts.memory.clone();
        // A hundred of the longest texts take a tenth of a second.
        blocking(move || {
            if with_vectors {
                let view = memory.store.view()?;
                found.hits.iter_mut().try_for_each(|hit| {
                    hit.vector = vector_of(&view, hit)?;
                    Ok::<_, CallError>(())
                })?;
            }
            for hit in found.hits.iter_mut().take(MAX_MARKED) {
                hit.marks = words.marks(hit.grain.text(), &hit.grain.body().draft.lang);
            }
            found.elapsed += start.elapsed();
            Ok(found)
        })
        .await
    }

    async fn question(&self, asked: Sought) -> Result<Question, CallError> {
        match asked {
            Sought::Text(text) => {
                check_question(&text)?;
                Ok(Question::Text(text))
            }
            Sought::Vector { components, space } => Ok(Question::Vector { components, space }),
            Sought::Like(id) => {
                let topics = self.topics_of_caller().clone();
                let found = self.read(move |_, view| find_record(view, &id, &topics));
                Ok(Question::Like(found.await?.grain.id()))
            }
        }
    }

    fn take_hits(&self, found: &mut Found, answer: Answer) {
        let hit = |hit: search::Hit| Hit {
            origin: Origin::Here { shared: hit.record.shared },
            whose: self.whose(&hit.record.grain.author()),
            grain: hit.record.grain,
            score: hit.score,
            cosine: hit.cosine,
            words: hit.words,
            model: hit.model,
            copies: hit.copies,
            marks: Vec::new(),
            moved_to: hit.record.moved_to,
            vector: None,
        };
        found.hits = answer.hits.into_iter().map(hit).collect();
    }

    async fn ask_mesh(
        &self,
        mesh: &Mesh,
        mut answer: Answer,
        found: &mut Found,
        (query, patience): (Query, Duration),
    ) {
        let Query { k, mode, min_score, all_copies, filter, .. } = query;
        let min_score = min_score.unwrap_or(mode.min_score());
        let known: HashSet<_> = answer.hits.iter().map(|hit| hit.record.grain.id()).collect();
        // The mesh is asked in the current space.
        let asked = answer.asked.drain(..).next();
        let (words, measure) = (answer.words.clone(), answer.measure);
        self.take_hits(found, answer);
        let Some(asked) = asked else { return };
        let model = asked.space.model.clone();
        let id = model.id();
        let question = ask::Question { vector: asked.vector, model, k, filter, patience, known };
        let (brought, mut hits) = mpsc::channel::<RemoteHit>(REMOTE_HITS);
        let parts = &self.parts;
        let known = (parts.memory.clone(), parts.ingest.clone());
        let asking = ask_peers(known, &mesh.net, &parts.models, question, brought);
        let gathering = async {
            let rules = self.parts.memory.rules();
            while let Some(RemoteHit { grain, score: cosine, peer }) = hits.recv().await {
                if rules.blocks(&grain.author()) || !words.fits(&Parts::of_grain(&grain).slices()) {
                    continue;
                }
                let says_the_same =
                    |hit: &&mut Hit| hit.grain.body().fingerprint() == grain.body().fingerprint();
                if !all_copies && let Some(same) = found.hits.iter_mut().find(says_the_same) {
                    same.copies += 1;
                    continue;
                }
                // Whatever a peer says of it, its words are weighed here.
                let words = self.parts.memory.words.score(&words, &grain);
                let score = measure.score(Some(cosine), words);
                let (origin, whose) = (Origin::Peer(peer), self.whose(&grain.author()));
                let (cosine, model, copies, marks) = (Some(cosine), Some(id), 0, Vec::new());
                if score >= min_score {
                    let moved_to = None;
                    found.hits.push(Hit {
                        grain,
                        score,
                        cosine,
                        words,
                        model,
                        copies,
                        marks,
                        origin,
                        whose,
                        moved_to,
                        vector: None,
                    });
                }
            }
        };
        let (outcomes, ()) = tokio::join!(asking, gathering);
        found.peers = outcomes;
        found.hits.sort_by(|a, b| b.score.total_cmp(&a.score));
        found.hits.truncate(k);
    }
}

/// What a search wants.
struct Wish {
    query: Query,
    /// How many of the best hits are passed over.
    offset: usize,
    /// Whether peers are asked, too, and how long their answers are waited for.
    mesh: Option<(Mesh, Duration)>,
    /// Whether the vectors of the hits are told.
    with_vectors: bool,
}

/// The vector by which a hit was found here, as the store has it.
fn vector_of(view: &View, hit: &Hit) -> Result<Option<Vector>, CallError> {
    let (Some(space), Origin::Here { .. }) = (hit.model, hit.origin) else { return Ok(None) };
    let Some(slot) = view.slot_of(&hit.grain.id())? else { return Ok(None) };
    // One that is damaged was not compared either; `verify` tells of it.
    Ok(view.vector(slot, space)?.and_then(|vector| vector.decode().ok()))
}

/// A search in a request of several.
pub(crate) fn part(place: usize) -> String {
    format!("searches[{place}]")
}

impl Found {
    /// What an answer of this node says beside its hits.
    fn here(answer: &Answer) -> Self {
        let model = |asked: &search::Asked| (asked.space.id(), asked.space.model.full_name());
        Self {
            hits: Vec::new(),
            mode: answer.measure.mode,
            is_unreadable: answer.is_unreadable,
            foreign: answer.foreign,
            best_left_out: answer.best_left_out,
            searched: answer.searched,
            pending: answer.pending,
            unchecked: answer.unchecked,
            elapsed: answer.elapsed,
            embed: answer.embed,
            peers: Vec::new(),
            models: answer.asked.iter().map(model).collect(),
        }
    }
}

/// How a search turned out that found so many hits, as a metric label. Who asked wrongly was refused; else the node failed.
fn outcome_of(hits: Result<usize, &CallError>) -> &'static str {
    match hits {
        Ok(0) => "nothing",
        Ok(_) => "found",
        Err(
            CallError::Invalid(_)
            | CallError::InvalidField { .. }
            | CallError::NoGrain(_)
            | CallError::NotANote(_)
            | CallError::NoMesh,
        ) => "refused",
        Err(_) => "failed",
    }
}

fn check_question(text: &str) -> Result<(), CallError> {
    if text.trim().is_empty() {
        return Err(invalid_in("text", "the question is empty: say what to look for"));
    }
    if text.len() > MAX_QUESTION_BYTES {
        let bytes = text.len();
        return Err(invalid_in(
            "text",
            format!("the question has {bytes} bytes; at most {MAX_QUESTION_BYTES} are allowed"),
        ));
    }
    Ok(())
}

fn check_hits(k: usize, offset: usize) -> Result<usize, CallError> {
    let k = if k == 0 { DEFAULT_HITS } else { k };
    if k > MAX_HITS {
        return Err(invalid_in("k", format!("k is {k}; at most {MAX_HITS} hits are allowed")));
    }
    if offset > MAX_HITS - k {
        let most = MAX_HITS - k;
        return Err(invalid_in(
            "offset",
            format!(
                "offset is {offset}; with k = {k} at most {most} hits can be passed over, {MAX_HITS} in all"
            ),
        ));
    }
    Ok(k)
}

fn check_score(min_score: Option<f32>) -> Result<(), CallError> {
    match min_score {
        Some(score) if !(-1.0..=1.0).contains(&score) => {
            Err(invalid_in("min_score", format!("min_score is {score}; scores are -1 to 1")))
        }
        _ => Ok(()),
    }
}

fn read_wait(wait: Duration) -> Result<Duration, CallError> {
    match wait {
        Duration::ZERO => Ok(DEFAULT_WAIT),
        wait if wait <= MAX_WAIT => Ok(wait),
        wait => Err(invalid_in(
            "mesh_wait_ms",
            format!("mesh_wait_ms is {}; at most {} are allowed", wait.as_millis(), MAX_WAIT.as_millis()),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_that_is_not_given_is_two_seconds_and_one_too_long_is_refused() {
        assert_eq!(read_wait(Duration::ZERO).unwrap(), Duration::from_secs(2));
        assert_eq!(read_wait(MAX_WAIT).unwrap(), MAX_WAIT);
        let too_long = MAX_WAIT + Duration::from_millis(1);
        assert!(read_wait(too_long).unwrap_err().to_string().contains("at most 60000"));
    }

    #[test]
    fn a_question_says_something_and_asks_for_no_more_than_there_may_be() {
        check_question("x").unwrap();
        for text in [" \n", "", &"x".repeat(MAX_QUESTION_BYTES + 1)] {
            assert!(check_question(text).is_err());
        }
        assert_eq!(check_hits(0, 0).unwrap(), DEFAULT_HITS);
        assert_eq!(check_hits(MAX_HITS, 0).unwrap(), MAX_HITS);
        assert_eq!(check_hits(10, MAX_HITS - 10).unwrap(), 10);
        for (k, offset) in [(MAX_HITS + 1, 0), (MAX_HITS, 1), (1, usize::MAX)] {
            assert!(check_hits(k, offset).is_err());
        }
        assert!(check_score(None).is_ok() && check_score(Some(-1.0)).is_ok());
        assert!(check_score(Some(1.5)).is_err() && check_score(Some(f32::NAN)).is_err());
    }
}

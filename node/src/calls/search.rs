//! Searching: what is known here and what peers know, as one ranked answer.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use synapsenet_net::PeerId;
use synapsenet_proto::{Grain, SpaceId};
use synapsenet_storage::Filter;
use tokio::sync::mpsc;

use crate::calls::authors::Whose;
use crate::calls::error::invalid;
use crate::calls::{Call, CallError};
use crate::memory::search::{self, Answer, MAX_HITS};
use crate::mesh::Mesh;
use crate::mesh::ask::{MAX_PEER_HITS, MAX_PEERS, Question, RemoteHit, ask_peers};
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

/// What is looked for.
pub(crate) struct Search {
    /// The question, 1 byte to [`MAX_QUESTION_BYTES`].
    pub text: String,
    /// How many hits, at most [`MAX_HITS`]; 0 is [`DEFAULT_HITS`].
    pub k: usize,
    /// Which grains are meant.
    pub filter: Filter,
    /// Whether peers are asked, too, and how long their answers are waited for; zero is [`DEFAULT_WAIT`].
    pub mesh: Option<Duration>,
}

/// A grain that was found.
pub(crate) struct Hit {
    pub grain: Grain,
    /// Cosine between question and grain, -1 to 1, computed here.
    pub score: f32,
    /// The model of both vectors.
    pub model: SpaceId,
    /// Who knew it.
    pub origin: Origin,
    /// Whose it is.
    pub whose: Whose,
    /// By what it is ranked: its score as it would be in the current space.
    rank: f32,
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
    /// Grains here that could be found, before the filter.
    pub searched: u64,
    /// Grains here that could not be found because they have no vector yet.
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
    /// The grains nearest in meaning to a question.
    ///
    /// # Errors
    /// [`CallError`]. A peer that does not answer is no error.
    pub async fn search(&self, search: Search) -> Result<Found, CallError> {
        let start = Instant::now();
        let Search { text, k, filter, mesh } = search;
        let filter = self.by_signed_source(filter);
        let k = check(&text, k)?;
        let mesh = match mesh {
            Some(wait) => Some((self.mesh()?.clone(), read_wait(wait)?)),
            None => None,
        };
        let parts = &self.parts;
        let answer =
            search::search(parts.memory.clone(), &parts.models, &parts.ingest, &text, (k, filter.clone()))
                .await?;
        let mut found = Found::here(&answer);
        if let Some((mesh, patience)) = mesh {
            self.ask_mesh(&mesh, answer, &mut found, Wish { k, filter, patience }).await;
            found.elapsed = start.elapsed();
        } else {
            self.take_hits(&mut found, answer);
        }
        Ok(found)
    }

    fn take_hits(&self, found: &mut Found, answer: Answer) {
        let hit = |hit: search::Hit| Hit {
            origin: Origin::Here { shared: hit.record.shared },
            whose: self.whose(&hit.record.grain.author()),
            grain: hit.record.grain,
            score: hit.score,
            rank: hit.rank,
            model: hit.model,
        };
        found.hits = answer.hits.into_iter().map(hit).collect();
    }

    async fn ask_mesh(&self, mesh: &Mesh, mut answer: Answer, found: &mut Found, wish: Wish) {
        let Wish { k, filter, patience } = wish;
        let known: HashSet<_> = answer.hits.iter().map(|hit| hit.record.grain.id()).collect();
        // The mesh is asked in the current space.
        let asked = answer.asked.drain(..).next();
        self.take_hits(found, answer);
        let Some(asked) = asked else { return };
        let model = asked.space.model.clone();
        let id = model.id();
        let question = Question { vector: asked.vector, model, k, filter, patience, known };
        let (brought, mut hits) = mpsc::channel::<RemoteHit>(REMOTE_HITS);
        let parts = &self.parts;
        let known = (parts.memory.clone(), parts.ingest.clone());
        let asking = ask_peers(known, &mesh.net, &parts.models, question, brought);
        let gathering = async {
            let rules = self.parts.memory.rules();
            while let Some(RemoteHit { grain, score, peer }) = hits.recv().await {
                if rules.blocks(&grain.author()) {
                    continue;
                }
                let (origin, whose) = (Origin::Peer(peer), self.whose(&grain.author()));
                found.hits.push(Hit { grain, score, rank: score, model: id, origin, whose });
            }
        };
        let (outcomes, ()) = tokio::join!(asking, gathering);
        found.peers = outcomes;
        found.hits.sort_by(|a, b| b.rank.total_cmp(&a.rank));
        found.hits.truncate(k);
    }
}

/// What is asked of the mesh.
struct Wish {
    k: usize,
    filter: Filter,
    patience: Duration,
}

impl Found {
    /// What an answer of this node says beside its hits.
    fn here(answer: &Answer) -> Self {
        let model = |asked: &search::Asked| (asked.space.id(), asked.space.model.full_name());
        Self {
            hits: Vec::new(),
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

fn check(text: &str, k: usize) -> Result<usize, CallError> {
    if text.trim().is_empty() {
        return Err(invalid("the question is empty: say what to look for"));
    }
    if text.len() > MAX_QUESTION_BYTES {
        let bytes = text.len();
        return Err(invalid(format!(
            "the question has {bytes} bytes; at most {MAX_QUESTION_BYTES} are allowed"
        )));
    }
    match k {
        0 => Ok(DEFAULT_HITS),
        k if k <= MAX_HITS => Ok(k),
        k => Err(invalid(format!("k is {k}; at most {MAX_HITS} hits are allowed"))),
    }
}

fn read_wait(wait: Duration) -> Result<Duration, CallError> {
    match wait {
        Duration::ZERO => Ok(DEFAULT_WAIT),
        wait if wait <= MAX_WAIT => Ok(wait),
        wait => Err(invalid(format!(
            "mesh_wait_ms is {}; at most {} are allowed",
            wait.as_millis(),
            MAX_WAIT.as_millis()
        ))),
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
        assert_eq!(check("x", 0).unwrap(), DEFAULT_HITS);
        assert_eq!(check("x", MAX_HITS).unwrap(), MAX_HITS);
        for (text, k) in [(" \n", 1), ("", 1), ("x", MAX_HITS + 1)] {
            assert!(check(text, k).is_err());
        }
        assert!(check(&"x".repeat(MAX_QUESTION_BYTES + 1), 1).is_err());
    }
}

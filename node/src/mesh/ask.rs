//! Asking the mesh: a question goes to a few peers at once, and what they answer is weighed here.
//!
//! ```text
//! question --> peers --> open --> sift --> the nearest are embedded here --> score --> hits
//! ```
//!
//! No score of a peer is believed, nor the order of its answer, nor what authors claim: whoever made a claim could have done
//! so after seeing the question. Claims only say which grains to look at first; what is shown was embedded here and is scored
//! by that. A claim that turns out false costs its author all of its claims, and the grain is dropped.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use synapsenet_index::{Model, Purpose};
use synapsenet_net::{AskError, Net, NetError, Offence, PeerId, Request, Response};
use synapsenet_proto::{Announcement, AuthorId, Encoding, Grain, GrainId, Refusal, Vector, rpc};
use synapsenet_storage::{Change, Filter, StorageError, View};
use tokio::sync::mpsc;

use crate::blocking::blocking;
use crate::filter;
use crate::memory::Memory;
use crate::memory::claims::{is_right, tokens_in};
use crate::memory::ingest::Ingest;
use crate::models::Models;

/// Peers asked with one question: more would cost the network more than they add to what the best ones know.
pub(crate) const MAX_PEERS: usize = 8;
/// Grains that one peer is asked for: what one answer may hold.
pub(crate) const MAX_PEER_HITS: usize = 64;
/// Grains embedded for one question: at some 10 ms each, longer than this nobody waits.
const MAX_EMBEDDED: usize = 16;
/// Grains embedded for one answer, so that the first to answer leaves something to the others.
const MAX_EMBEDDED_AN_ANSWER: usize = MAX_EMBEDDED / 2;
/// Tokens of these, at a guess: half a second of work at most, within the time that answers are waited for.
const MAX_EMBEDDED_TOKENS: usize = 1 << 10;
/// Characters kept of what a peer says of why it does not answer.
const MAX_REASON_CHARS: usize = 200;

/// What is asked.
#[derive(Clone)]
pub(crate) struct Question {
    /// Where it lies.
    pub vector: Vector,
    /// The model of that.
    pub model: Model,
    /// How many hits are wanted.
    pub k: usize,
    /// Which grains are meant.
    pub filter: Filter,
    /// How long answers are waited for.
    pub patience: Duration,
    /// Grains that were found already.
    pub known: HashSet<GrainId>,
}

/// A grain that a peer found, scored here.
#[derive(Debug)]
pub(crate) struct RemoteHit {
    /// The grain.
    pub grain: Grain,
    /// Cosine between question and grain.
    pub score: f32,
    /// Who found it.
    pub peer: PeerId,
}

/// What became of asking one peer.
#[derive(Debug, Clone)]
pub(crate) struct PeerOutcome {
    /// Which one.
    pub peer: PeerId,
    /// How it turned out.
    pub outcome: Outcome,
    /// From asking to the last hit.
    pub elapsed: Duration,
}

/// How asking a peer turned out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It answered.
    Answered {
        /// Hits that were new.
        hits: usize,
        /// Grains that there was no time to embed.
        left_out: usize,
    },
    /// It did not answer in time.
    Late,
    /// It gave no answer of use, and this is why.
    Failed(String),
    /// It did not want to answer; its words.
    Refused(String),
}

impl Outcome {
    /// As a metric label.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Answered { .. } => "answered",
            Self::Late => "late",
            Self::Failed(_) => "failed",
            Self::Refused(_) => "refused",
        }
    }
}

/// Asks a few peers and sends what is new and fits down `found`, as answers come in. Answers what became of each peer
/// asked: those that take part in the filter's topics, best first, or any when it names none.
pub(crate) async fn ask_peers(
    (memory, ingest): (Arc<Memory>, Ingest),
    net: &Net,
    models: &Models,
    question: Question,
    found: mpsc::Sender<RemoteHit>,
) -> Vec<PeerOutcome> {
    let start = Instant::now();
    // A swarm that has ended knows no peers.
    let peers = choose(net, &question.filter).await.unwrap_or_default();
    let k = question.k.min(MAX_PEER_HITS);
    let request = Request::Search(question_message(&question, k));
    let patience = question.patience;
    let mut answers: FuturesUnordered<_> = peers
        .into_iter()
        .map(|peer| {
            let request = request.clone();
            async move { (peer, net.ask(peer, request, patience).await) }
        })
        .collect();
    let (budget, tokens) = (MAX_EMBEDDED, MAX_EMBEDDED_TOKENS);
    let mut weighing = Weighing { memory: memory.clone(), ingest, question, k, budget, tokens };
    let mut outcomes = Vec::new();
    while let Some((peer, answer)) = answers.next().await {
        let left = patience.saturating_sub(start.elapsed());
        let outcome = match read(answer, k).await {
            Ok(announcements) => {
                let weighed = tokio::time::timeout(left, weighing.weigh(announcements, peer, models));
                match weighed.await {
                    Ok(Ok(weighed)) => {
                        let outcome =
                            Outcome::Answered { hits: weighed.hits.len(), left_out: weighed.left_out };
                        for hit in weighed.hits {
                            // Whoever asked may have heard enough.
                            let _ = found.send(hit).await;
                        }
                        outcome
                    }
                    Ok(Err(error)) => Outcome::Failed(error.to_string()),
                    Err(_) => Outcome::Late,
                }
            }
            Err(NoAnswer { outcome, is_offence }) => {
                if is_offence {
                    net.report(peer, Offence::BadAnswer).await;
                }
                outcome
            }
        };
        memory.metrics.asked_peer(outcome.label());
        outcomes.push(PeerOutcome { peer, outcome, elapsed: start.elapsed() });
    }
    outcomes
}

async fn choose(net: &Net, filter: &Filter) -> Result<Vec<PeerId>, NetError> {
    let mut peers = match filter.topics() {
        Some(topics) => {
            let mut peers = Vec::new();
            for topic in topics {
                let of_topic = net.peers_of(topic.clone()).await?;
                peers.extend(of_topic.into_iter().filter(|peer| !peers.contains(peer)).collect::<Vec<_>>());
            }
            peers
        }
        None => {
            let mut peers = net.peers().await?;
            peers.retain(|peer| !peer.visiting);
            peers.sort_by(|a, b| b.score.total_cmp(&a.score));
            peers.into_iter().map(|peer| peer.peer).collect()
        }
    };
    peers.truncate(MAX_PEERS);
    Ok(peers)
}

fn question_message(question: &Question, k: usize) -> rpc::Question {
    let vector = question.vector.encode(Encoding::I8);
    rpc::Question {
        space_id: vector.model().as_bytes().to_vec(),
        vector: vector.as_bytes().to_vec(),
        k: k as u32,
        filter: Some(filter::write_peer(&question.filter)),
    }
}

/// Why there is nothing to weigh.
#[derive(Debug)]
struct NoAnswer {
    outcome: Outcome,
    is_offence: bool,
}

/// Reads what came back. The signatures of a whole answer take some milliseconds, away from the async threads.
async fn read(answer: Result<Response, AskError>, k: usize) -> Result<Vec<Announcement>, NoAnswer> {
    let failed = |reason: String| NoAnswer { outcome: Outcome::Failed(reason), is_offence: false };
    match answer {
        Ok(Response::Search(answer)) => blocking(move || open(answer, k)).await,
        Ok(_) => Err(failed("it answered another question".to_owned())),
        Err(AskError::TimedOut) => Err(NoAnswer { outcome: Outcome::Late, is_offence: false }),
        Err(error) => Err(failed(error.to_string())),
    }
}

/// Opens an answer: each grain and claim in it must be whole and signed, and it must not have more than was asked for. What
/// was sealed by rules that are not known here is left out: the peer may know them.
fn open(answer: rpc::Answer, k: usize) -> Result<Vec<Announcement>, NoAnswer> {
    let bad = |reason: String| NoAnswer { outcome: Outcome::Failed(reason), is_offence: true };
    if !answer.refused.is_empty() {
        let reason = answer.refused.chars().filter(|c| !c.is_control()).take(MAX_REASON_CHARS).collect();
        return Err(NoAnswer { outcome: Outcome::Refused(reason), is_offence: false });
    }
    if answer.grains.len() > k {
        return Err(bad(format!("it sent {} grains where {k} were asked for", answer.grains.len())));
    }
    let open = |message| match Announcement::from_message(message) {
        Err(Refusal::UnknownVersion(_) | Refusal::UnknownKind(_)) => None,
        opened => Some(opened.map_err(|refusal| bad(refusal.to_string()))),
    };
    answer.grains.into_iter().filter_map(open).collect()
}

/// A grain with the vector that its author claims, and how near to the question that lies.
#[derive(Debug)]
struct Claimed {
    grain: Grain,
    vector: Option<Vector>,
    score: f32,
}

/// Leaves out what does not fit, is known, withdrawn or found here by itself. What claims to be nearest comes first, and what
/// claims nothing last.
fn sift(
    view: &View,
    question: &Question,
    announcements: Vec<Announcement>,
) -> Result<Vec<Claimed>, StorageError> {
    let mut sifted = Vec::new();
    let mut in_answer = HashSet::new();
    for Announcement { grain, claim } in announcements {
        let id = grain.id();
        let is_new = !question.known.contains(&id) && in_answer.insert(id);
        if !is_new
            || !question.filter.fits(&grain)
            || view.is_withdrawn(&grain)?
            || view.is_forgotten(&id)?
            || is_searchable(view, &id)?
        {
            continue;
        }
        let vector = claim.and_then(|claim| claim.vector().decode().ok());
        let scored = vector.and_then(|vector| Some((question.vector.cosine(&vector).ok()?, vector)));
        let (score, vector) = match scored {
            Some((score, vector)) if !view.author_standing(&grain.author())?.distrusted => {
                (score, Some(vector))
            }
            _ => (f32::NEG_INFINITY, None),
        };
        sifted.push(Claimed { grain, vector, score });
    }
    sifted.sort_by(|a, b| b.score.total_cmp(&a.score));
    Ok(sifted)
}

/// Whether a search here finds this grain by itself; when it did not, others are nearer.
fn is_searchable(view: &View, id: &GrainId) -> Result<bool, StorageError> {
    let Some(slot) = view.slot_of(id)? else { return Ok(false) };
    Ok(view.record(slot)?.is_some_and(|record| record.searchable))
}

/// What an answer is worth.
#[derive(Debug, Default)]
struct Weighed {
    /// Best first.
    hits: Vec<RemoteHit>,
    /// Grains that there was no time to embed.
    left_out: usize,
    /// Authors whose claims are false.
    liars: HashSet<AuthorId>,
}

/// Scores an answer by the vectors computed here.
fn score(
    sifted: Vec<Claimed>,
    question: &Vector,
    vectors: &HashMap<GrainId, Vector>,
    peer: PeerId,
) -> Weighed {
    let mut weighed = Weighed::default();
    for Claimed { grain, vector: claimed, .. } in sifted {
        let Some(vector) = vectors.get(&grain.id()) else {
            weighed.left_out += 1;
            continue;
        };
        if claimed.is_some_and(|claimed| !is_right(&claimed, vector)) {
            weighed.liars.insert(grain.author());
        } else if let Ok(score) = question.cosine(vector) {
            weighed.hits.push(RemoteHit { grain, score, peer });
        }
    }
    weighed.hits.sort_by(|a, b| b.score.total_cmp(&a.score));
    weighed
}

/// Weighs one answer after the other.
struct Weighing {
    memory: Arc<Memory>,
    ingest: Ingest,
    question: Question,
    k: usize,
    /// Grains that may still be embedded ...
    budget: usize,
    /// ... and their tokens.
    tokens: usize,
}

impl Weighing {
    async fn weigh(
        &mut self,
        announcements: Vec<Announcement>,
        peer: PeerId,
        models: &Models,
    ) -> Result<Weighed, StorageError> {
        let (memory, question) = (self.memory.clone(), self.question.clone());
        let sifted = blocking(move || sift(&memory.store.view()?, &question, announcements)).await?;
        let vectors = self.vectors(&sifted, models).await;
        Ok(self.take(sifted, &vectors, peer))
    }

    /// The vectors of those that were embedded lately, and of the first of the others, as many as there is time for.
    async fn vectors(&mut self, sifted: &[Claimed], models: &Models) -> HashMap<GrainId, Vector> {
        let model = &self.question.model;
        let mut vectors = HashMap::new();
        let mut wanted: Vec<&Grain> = Vec::new();
        for Claimed { grain, .. } in sifted {
            if let Some(vector) = self.memory.heard.get(grain.id(), model.id()) {
                vectors.insert(grain.id(), vector);
                continue;
            }
            let tokens = tokens_in(grain);
            if wanted.len() < self.budget.min(MAX_EMBEDDED_AN_ANSWER) && tokens <= self.tokens {
                self.tokens -= tokens;
                wanted.push(grain);
            }
        }
        self.budget -= wanted.len();
        // What the model cannot embed, or has no time for, has no score.
        let Ok(tokenizer) = models.tokenizer(model).await else { return vectors };
        for grain in wanted {
            let tokenized = tokenizer.tokenize(&grain.passage(), Purpose::Document);
            if let Ok(mut computed) = models.documents_now(model, &[tokenized]).await
                && let Some(vector) = computed.pop()
            {
                self.memory.heard.keep(grain.id(), &vector);
                vectors.insert(grain.id(), vector);
            }
        }
        vectors
    }

    /// Takes what the answer is worth, and remembers it, so that the next peer's answer is merged into it.
    fn take(&mut self, sifted: Vec<Claimed>, vectors: &HashMap<GrainId, Vector>, peer: PeerId) -> Weighed {
        let mut weighed = score(sifted, &self.question.vector, vectors, peer);
        self.memory.metrics.claims("false", weighed.liars.len());
        let distrusted = weighed.liars.iter().map(|&author| Change::Distrust { author });
        self.ingest.try_apply(distrusted.collect());
        weighed.hits.truncate(self.k);
        self.question.known.extend(weighed.hits.iter().map(|hit| hit.grain.id()));
        weighed
    }
}

#[cfg(test)]
mod tests {
    use prost::Message;
    use synapsenet_proto::{Claim, Draft, Topic};

    use super::*;
    use crate::testing::{Fixture, author, claimed, note, peer};

    /// A vector at this cosine to `vector(0)`, leaning towards another direction.
    fn near(node: &Fixture, cosine: f32, towards: usize) -> Vector {
        let mut values = vec![0.0; node.memory.current().model.dimension()];
        values[0] = cosine;
        values[towards] = (1.0 - cosine * cosine).sqrt();
        Vector::new(node.model(), values).unwrap()
    }

    fn weighing(node: &Fixture, filter: Filter, k: usize) -> Weighing {
        let vector = near(node, 1.0, 1);
        let patience = Duration::from_secs(5);
        let model = node.memory.current().model.clone();
        let question = Question { vector, model, k, filter, patience, known: HashSet::new() };
        let (memory, ingest) = (node.memory.clone(), node.ingest.clone());
        Weighing { memory, ingest, question, k, budget: MAX_EMBEDDED, tokens: MAX_EMBEDDED_TOKENS }
    }

    fn sifted(node: &Fixture, weighing: &Weighing, answer: &[Announcement]) -> Vec<Claimed> {
        sift(&node.view(), &weighing.question, answer.to_vec()).unwrap()
    }

    /// What the model would say when every claim is true.
    fn truth(answer: &[Claimed]) -> HashMap<GrainId, Vector> {
        let of = |claimed: &Claimed| Some((claimed.grain.id(), claimed.vector.clone()?));
        answer.iter().filter_map(of).collect()
    }

    fn texts(weighed: &Weighed) -> Vec<&str> {
        weighed.hits.iter().map(|hit| hit.grain.text()).collect()
    }

    #[test]
    fn a_path_on_this_machine_is_not_told_to_peers() {
        let node = Fixture::with_quota(0);
        let filter = Filter {
            source_prefix: Some("file:///home/me/".into()),
            lang: Some("en".into()),
            ..Filter::default()
        };
        let question = weighing(&node, filter, 3).question;
        let told = question_message(&question, 3);
        assert_eq!(told.filter.as_ref().map(|filter| filter.lang.as_str()), Some("en"));
        assert!(!told.encode_to_vec().windows(8).any(|bytes| bytes == b"/home/me"));
    }

    #[tokio::test]
    async fn a_lying_order_is_put_right_and_two_answers_are_merged() {
        let node = Fixture::new();
        let far = claimed(&author(1), "far", &near(&node, 0.2, 2));
        let close = claimed(&author(1), "close", &near(&node, 0.9, 3));
        let middle = claimed(&author(1), "middle", &near(&node, 0.5, 4));
        let mut weighing = weighing(&node, Filter::default(), 10);

        let answer = sifted(&node, &weighing, &[far.clone(), close.clone(), far.clone()]);
        let vectors = truth(&answer);
        let first = weighing.take(answer, &vectors, peer(1));
        assert_eq!(texts(&first), ["close", "far"]);
        assert!((first.hits[0].score - 0.9).abs() < 0.01);

        let answer = sifted(&node, &weighing, &[close, middle, far]);
        let vectors = truth(&answer);
        let second = weighing.take(answer, &vectors, peer(2));
        assert_eq!(texts(&second), ["middle"], "what another peer brought is not brought again");
        assert_eq!(second.hits[0].peer, peer(2));
    }

    #[tokio::test]
    async fn what_does_not_fit_the_filter_or_was_withdrawn_or_is_found_here_is_left_out() {
        let node = Fixture::new();
        let topic = Topic::new("bees").unwrap();
        let seal = |text: &str, topic: &Topic| {
            let draft = Draft { text: text.into(), topic: topic.clone(), ..Draft::default() };
            let grain = Grain::seal(draft, &author(1), 5).unwrap();
            let claim = Some(Claim::seal(grain.id(), &near(&node, 0.9, 3), &author(1)));
            Announcement { grain, claim }
        };
        let fits = seal("fits", &topic);
        let (gone, here) = (seal("withdrawn", &topic), seal("here", &topic));
        let retraction = Grain::retract(gone.grain.id(), topic.clone(), &author(1), 6).unwrap();
        let of_retraction = Announcement { grain: retraction.clone(), claim: None };
        node.ingest.receive(here.clone(), peer(1)).await.unwrap();
        node.ingest.receive(of_retraction.clone(), peer(1)).await.unwrap();
        let (slot, vector) = (node.slot_of(here.grain.id()), here.claim.clone().unwrap().vector().clone());
        node.ingest.apply(vec![Change::AddVector { slot, vector }]).await.unwrap();

        let filter = Filter { topic: Some(topic.clone()), ..Filter::default() };
        let mut weighing = weighing(&node, filter, 10);
        let answer = [seal("foreign", &Topic::default()), gone, here, of_retraction, fits];
        let answer = sifted(&node, &weighing, &answer);
        let vectors = truth(&answer);
        assert_eq!(texts(&weighing.take(answer, &vectors, peer(1))), ["fits"]);
    }

    #[tokio::test]
    async fn a_lie_in_an_answer_is_not_shown_and_its_author_believed_no_more() {
        let node = Fixture::new();
        let models = node.models(true);
        let model = node.memory.current().model.clone();
        let mut weighing = weighing(&node, Filter::default(), 10);
        weighing.question.vector = models.question(&model, "How do bees find flowers?").await.unwrap();
        let text = "Bees dance to tell where the flowers are.";
        let tokens = models.tokenizer(&model).await.unwrap().tokenize(text, Purpose::Document);
        let truth = models.documents(&model, &[tokens]).await.unwrap().remove(0);
        let (honest, liar) = (author(1), author(2));
        let answer = vec![
            claimed(&honest, text, &truth),
            claimed(&liar, "Buy cheap watches.", &weighing.question.vector),
        ];
        let weighed = weighing.weigh(answer.clone(), peer(1), &models).await.unwrap();
        assert_eq!((texts(&weighed), weighed.left_out), (vec![text], 0));
        assert_eq!(weighed.liars, HashSet::from([liar.author()]));
        // The changes go through one queue.
        node.ingest.apply(vec![Change::PruneIndexLog { up_to: 0 }]).await.unwrap();
        assert!(node.view().author_standing(&liar.author()).unwrap().distrusted);
        assert!(!node.view().author_standing(&honest.author()).unwrap().distrusted);

        // The next question costs no run of the model, however little may be embedded for it.
        weighing.question.known.clear();
        (weighing.budget, weighing.tokens) = (0, 0);
        let runs = node.runs();
        let weighed = weighing.weigh(answer, peer(1), &models).await.unwrap();
        assert_eq!(weighed.hits[0].grain.text(), text);
        assert_eq!(weighed.hits.len(), 2, "what is claimed no more counts by what it says");
        assert_eq!(node.runs(), runs);
    }

    #[tokio::test]
    async fn there_is_time_for_so_many_and_what_claims_to_be_nearest_comes_first() {
        let node = Fixture::new();
        let models = node.models(true);
        let mut weighing = weighing(&node, Filter::default(), 64);
        let bare = Announcement { grain: note(&author(3), "bare"), claim: None };
        let mut answer = vec![bare];
        for n in 1..=20_u8 {
            answer.push(claimed(&author(n), &format!("lie {n}"), &near(&node, f32::from(n) / 20.0, 5)));
        }
        let first = weighing.weigh(answer.clone(), peer(1), &models).await.unwrap();
        assert_eq!(first.liars.len(), MAX_EMBEDDED_AN_ANSWER);
        assert!((13..=20).all(|n| first.liars.contains(&author(n).author())));
        assert_eq!((first.hits.len(), first.left_out), (0, 21 - MAX_EMBEDDED_AN_ANSWER));
    }

    #[tokio::test]
    async fn a_model_at_work_weighs_what_nobody_vouches_for() {
        let node = Fixture::new();
        let models = node.models(true);
        let model = node.memory.current().model.clone();
        let mut weighing = weighing(&node, Filter::default(), 2);
        weighing.question.vector = models.question(&model, "How do bees find flowers?").await.unwrap();
        let bare = |text| Announcement { grain: note(&author(3), text), claim: None };
        let answer = vec![
            bare("Interest rates rose again."),
            bare("Bees dance to tell where the flowers are."),
            bare("The train leaves at noon."),
        ];
        let weighed = weighing.weigh(answer, peer(3), &models).await.unwrap();
        assert_eq!(weighed.hits.len(), 2, "no more than were asked for");
        assert_eq!(weighed.hits[0].grain.text(), "Bees dance to tell where the flowers are.");
        assert_eq!(weighing.budget, MAX_EMBEDDED - 3);
    }

    #[test]
    fn an_answer_with_too_much_or_with_a_forged_grain_is_an_offence_and_a_refusal_is_none() {
        let vector = Vector::new(synapsenet_proto::SpaceId::from_bytes([1; 32]), vec![1.0, 2.0]).unwrap();
        let good = claimed(&author(1), "a text", &vector).to_message();
        let answer = |grains| rpc::Answer { grains, refused: String::new() };
        assert_eq!(open(answer(vec![good.clone()]), 1).unwrap().len(), 1);
        let too_many = open(answer(vec![good.clone(), good.clone()]), 1).unwrap_err();
        assert!(too_many.is_offence);
        let mut forged = good.clone();
        *forged.grain.last_mut().unwrap() ^= 1;
        assert!(open(answer(vec![forged]), 1).unwrap_err().is_offence);
        // Version 2 in the place of version 1, which is the first field of the body.
        let mut newer = rpc::SignedGrain::decode(good.grain.as_slice()).unwrap();
        newer.body[1] = 2;
        let newer = rpc::Announcement { grain: newer.encode_to_vec(), claim: None };
        assert_eq!(open(answer(vec![newer, good]), 2).unwrap().len(), 1, "a newer peer is no liar");
        let refused = open(rpc::Answer { grains: vec![], refused: "busy\u{7}".into() }, 1).unwrap_err();
        assert!(!refused.is_offence);
        assert_eq!(refused.outcome, Outcome::Refused("busy".into()));
    }
}

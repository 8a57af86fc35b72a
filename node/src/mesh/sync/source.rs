//! The peer that a synchronisation pulls from: questions that may be put off, and grains that are checked before they are
//! handed in.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use futures::future::{BoxFuture, join_all};
use prost::Message;
use synapsenet_net::{AskError, Offence, PeerId, Request, Response};
use synapsenet_proto::{Announcement, GrainId, MAX_CLOCK_SKEW_MS, Refusal, Topic, rpc};
use synapsenet_storage::StorageError;

use super::items::Span;
use super::pace::{Pace, UnderWay};
use super::refused::{RefusedIds, Until};
use crate::blocking::blocking;
use crate::memory::Memory;
use crate::memory::ingest::{Ingest, IngestError, Put};

/// How long the first answer of a peer may take. It is short, and while it is waited for nobody else is asked about the
/// topic: a peer behind a line that was cut, or one that says nothing, must not hold the others up.
pub(super) const FIRST_PATIENCE: Duration = Duration::from_secs(10);
/// Times that a grain is asked for. One that was listed may be withdrawn before it is fetched.
pub(super) const MAX_TRIES: u32 = 2;
/// How often a question is put to a peer that says it is busy ...
pub(super) const MAX_BUSY: u32 = 6;
/// ... the first time after this, then after twice as long each time: 13 s in all.
pub(super) const BUSY_PAUSE: Duration = Duration::from_millis(200);
/// What a busy peer says.
pub(crate) const BUSY: &str = "busy";
/// Characters kept of what a peer says of why it does not answer.
const MAX_REASON_CHARS: usize = 200;

/// Puts a question to the peer.
pub(super) type Ask = Arc<dyn Fn(Request) -> BoxFuture<'static, Result<Response, AskError>> + Send + Sync>;

/// Why a synchronisation ends early.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// This node takes no more grains.
    Full,
    /// It takes too long for now; what came is stored, and it goes on when others had their turn.
    Later,
    /// The peer gives so little of use that its place is worth more to others.
    Rest(&'static str),
    /// It failed.
    Failed {
        /// Why, in a sentence.
        reason: String,
        /// What the peer should not have done, if it is its fault.
        offence: Option<Offence>,
    },
}

impl Stop {
    pub fn failed(reason: impl ToString) -> Self {
        Self::Failed { reason: reason.to_string(), offence: None }
    }

    pub fn offence(offence: Offence, reason: impl ToString) -> Self {
        Self::Failed { reason: reason.to_string(), offence: Some(offence) }
    }
}

/// A grain that is to be fetched.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted {
    pub id: GrainId,
    tries: u32,
}

impl Wanted {
    /// One that was not asked for yet.
    pub fn new(id: GrainId) -> Self {
        Self { id, tries: 0 }
    }
}

/// What became of a batch of grains.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub added: u64,
    /// Came meanwhile by another way.
    pub known: u64,
    pub refused: u64,
    /// Of all that came, about so much.
    pub refused_bytes: u64,
    pub with_claim: u64,
    /// Whether any was refused because this node takes no more.
    pub is_full: bool,
    /// To be asked for again.
    pub again: Vec<Wanted>,
    /// Asked for often enough.
    pub given_up: u64,
}

/// The peer, the topic, and where grains go. Shared by the fetches that are under way.
pub(super) struct Source {
    pub memory: Arc<Memory>,
    pub ingest: Ingest,
    pub refused: Arc<RefusedIds>,
    pub under_way: Arc<UnderWay>,
    pub pace: Pace,
    pub ask: Ask,
    pub topic: Topic,
    pub peer: PeerId,
    pub round_trips: AtomicU32,
    pub comparison_bytes: AtomicU64,
    pub fetches: AtomicU32,
    pub bytes_sent: AtomicU64,
    pub bytes_received: AtomicU64,
}

impl Source {
    pub async fn reconcile(&self, question: rpc::Reconcile) -> Result<rpc::SyncResponse, Stop> {
        let item = Some(rpc::sync_request::Item::Reconcile(question));
        match self.ask_patiently(Request::Sync(rpc::SyncRequest { item })).await? {
            Response::Sync(answer) => Ok(answer),
            _ => Err(Stop::failed("the peer answered another question")),
        }
    }

    async fn fetch(&self, question: rpc::FetchRequest) -> Result<rpc::FetchResponse, Stop> {
        match self.ask_patiently(Request::Fetch(question)).await? {
            Response::Fetch(answer) => Ok(answer),
            _ => Err(Stop::failed("the peer answered another question")),
        }
    }

    /// Asks once. The first question of a comparison has less time: many a peer that seems connected is gone.
    async fn ask_once(&self, question: Request) -> Result<Response, AskError> {
        let (answer, asked) = ((self.ask)(question), Instant::now());
        let answer = match self.round_trips.load(Relaxed) {
            0 => tokio::time::timeout(FIRST_PATIENCE, answer).await.unwrap_or(Err(AskError::TimedOut)),
            _ => answer.await,
        };
        self.pace.note(asked.elapsed(), answer.as_ref().map_or(0, |answer| weigh(answer).0));
        answer
    }

    /// Asks, again and again while the peer is busy.
    async fn ask_patiently(&self, question: Request) -> Result<Response, Stop> {
        let metrics = &self.memory.metrics;
        let is_comparison = matches!(question, Request::Sync(_));
        let mut pause = BUSY_PAUSE;
        for _ in 0..MAX_BUSY {
            let sent = question_bytes(&question);
            match self.ask_once(question.clone()).await {
                Ok(answer) => {
                    let (received, refused) = weigh(&answer);
                    if is_comparison {
                        self.round_trips.fetch_add(1, Relaxed);
                        self.comparison_bytes.fetch_add(sent + received, Relaxed);
                    } else {
                        self.fetches.fetch_add(1, Relaxed);
                    }
                    self.bytes_sent.fetch_add(sent, Relaxed);
                    self.bytes_received.fetch_add(received, Relaxed);
                    metrics.sync_bytes("sent", sent);
                    metrics.sync_bytes("received", received);
                    match refused {
                        "" => return Ok(answer),
                        BUSY => {}
                        reason => {
                            return Err(Stop::failed(format!("the peer refused: {}", readable(reason))));
                        }
                    }
                }
                Err(AskError::Busy) => {}
                Err(error) => return Err(Stop::failed(error)),
            }
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
        Err(Stop::failed("the peer is busy"))
    }

    /// From when on grains are worth a comparison, in milliseconds since 1970-01-01 UTC: while the share of strangers is full
    /// and nobody is followed, older ones would be refused.
    pub fn oldest_wanted_ms(&self) -> u64 {
        if self.memory.rules().follows_anybody() { 0 } else { self.memory.floor_ms() }
    }

    /// Those of the ids that are neither here, free to leave, nor refused before.
    pub async fn missing(self: &Arc<Self>, ids: Vec<GrainId>) -> Result<Vec<Wanted>, Stop> {
        let source = self.clone();
        let missing = blocking(move || {
            let view = source.memory.store.view()?;
            let ids = source.refused.wanted(ids, &source.memory.rules(), &view)?;
            let mut missing = Vec::with_capacity(ids.len());
            for id in ids {
                if view.shared_record(&id)?.is_none() && !view.is_forgotten(&id)? {
                    missing.push(Wanted::new(id));
                }
            }
            Ok::<_, StorageError>(missing)
        });
        missing.await.map_err(Stop::failed)
    }

    /// Stops what goes on when this node takes no grains of peers now.
    pub fn need_room(&self) -> Result<(), Stop> {
        if self.ingest.is_disk_full() { Err(Stop::Full) } else { Ok(()) }
    }

    /// Those that did not come meanwhile by another way.
    pub async fn still_missing(self: &Arc<Self>, wanted: Vec<Wanted>) -> Result<Vec<Wanted>, Stop> {
        let source = self.clone();
        let missing = blocking(move || {
            let view = source.memory.store.view()?;
            let mut missing = Vec::with_capacity(wanted.len());
            for wanted in wanted {
                if view.shared_record(&wanted.id)?.is_none() {
                    missing.push(wanted);
                }
            }
            Ok::<_, StorageError>(missing)
        });
        missing.await.map_err(Stop::failed)
    }

    /// Fetches a batch that was listed in a span, checks every grain, and hands all in at once, so that they share commits.
    pub async fn bring(self: Arc<Self>, wanted: Vec<Wanted>, span: Span) -> Result<Batch, Stop> {
        let ids = wanted.iter().flat_map(|wanted| *wanted.id.as_bytes()).collect();
        let model = self.memory.current().id().as_bytes().to_vec();
        let answer = self.fetch(rpc::FetchRequest { ids, space_id: model }).await?;
        let bytes: usize = answer.grains.iter().map(Message::encoded_len).sum();
        let came = answer.grains.len().max(1) as u64;
        let topic = self.topic.clone();
        let (opened, wanted) = blocking(move || (open(answer.grains, &wanted, &topic, span), wanted)).await;
        let opened = opened.map_err(|reason| Stop::offence(Offence::BadAnswer, reason))?;
        let mut batch = Batch::default();
        opened.sort_out(&wanted, &mut batch);
        for id in opened.unknown {
            batch.refused += 1;
            self.refused.insert(id);
        }
        let receive = |announcement: Announcement| async {
            let (id, has_claim) = (announcement.grain.id(), announcement.claim.is_some());
            (id, has_claim, self.ingest.receive(announcement, self.peer).await)
        };
        for (id, has_claim, put) in join_all(opened.announcements.into_iter().map(receive)).await {
            match put {
                Ok(Put::Added) => {
                    batch.added += 1;
                    batch.with_claim += u64::from(has_claim);
                }
                Ok(Put::Duplicate { id: kept, .. }) => {
                    batch.known += 1;
                    if kept != id {
                        // Another retraction of the same.
                        self.refused.insert(id);
                    }
                }
                Err(IngestError::Refused(refusal)) => {
                    batch.refused += 1;
                    match refusal {
                        Refusal::NodeFull(_) | Refusal::PeerOverBudget => batch.is_full = true,
                        Refusal::StrangersFull => {
                            batch.is_full = true;
                            self.refused.put_off(id);
                        }
                        Refusal::AuthorOverBudget => self.refused.put_off(id),
                        // Its time comes. A peer whose clock is ahead lists it in every comparison until then.
                        Refusal::FromTheFuture(ahead_ms) => {
                            let wait = Duration::from_millis(ahead_ms.saturating_sub(MAX_CLOCK_SKEW_MS));
                            self.refused.insert_for(id, wait);
                        }
                        Refusal::IdleRetraction(author) => {
                            self.refused.insert_until(id, Until::Author(author));
                        }
                        _ => self.refused.insert(id),
                    }
                }
                Err(IngestError::Storage(error)) if matches!(*error, StorageError::Full(_)) => {
                    batch.refused += 1;
                    batch.is_full = true;
                }
                Err(error) => return Err(Stop::failed(error)),
            }
        }
        batch.refused_bytes = bytes as u64 * batch.refused / came;
        Ok(batch)
    }
}

/// Bytes of a question's message.
fn question_bytes(question: &Request) -> u64 {
    let bytes = match question {
        Request::Sync(message) => message.encoded_len(),
        Request::Fetch(message) => message.encoded_len(),
        Request::Search(message) => message.encoded_len(),
    };
    bytes as u64
}

/// Bytes of an answer's message, and why it is none.
fn weigh(answer: &Response) -> (u64, &str) {
    let (bytes, refused) = match answer {
        Response::Sync(message) => (message.encoded_len(), &message.refused),
        Response::Fetch(message) => (message.encoded_len(), &message.refused),
        Response::Search(message) => (message.encoded_len(), &message.refused),
    };
    (bytes as u64, refused)
}

fn readable(reason: &str) -> String {
    reason.chars().filter(|c| !c.is_control()).take(MAX_REASON_CHARS).collect()
}

/// The grains of an answer.
#[derive(Debug, Default)]
struct Opened {
    announcements: Vec<Announcement>,
    /// Sealed by rules that this program does not know.
    unknown: Vec<GrainId>,
    came: HashSet<GrainId>,
    /// Place among those asked for of the last that came.
    last: Option<usize>,
}

impl Opened {
    /// Sorts out which of those asked for did not come. Answers are in the order asked, so what lies behind the last
    /// that came was left out for its size, and does not count as tried.
    fn sort_out(&self, wanted: &[Wanted], batch: &mut Batch) {
        for (place, wanted) in wanted.iter().enumerate() {
            if self.came.contains(&wanted.id) {
                continue;
            }
            let is_left_out = self.last.is_some_and(|last| place > last);
            let tries = wanted.tries + u32::from(!is_left_out);
            if tries < MAX_TRIES {
                batch.again.push(Wanted { id: wanted.id, tries });
            } else {
                batch.given_up += 1;
            }
        }
    }
}

/// Opens what a peer sent: each grain must be whole and signed, of the topic and of the time that it was listed under, and asked
/// for, and come once.
fn open(
    messages: Vec<rpc::Announcement>,
    wanted: &[Wanted],
    topic: &Topic,
    span: Span,
) -> Result<Opened, String> {
    let places: HashMap<GrainId, usize> =
        wanted.iter().enumerate().map(|(place, wanted)| (wanted.id, place)).collect();
    let mut opened = Opened::default();
    for message in messages {
        let peeked = peek_id(&message);
        let id = match Announcement::from_message(message) {
            Ok(announcement) if announcement.grain.topic() != topic => {
                return Err(format!("it sent a grain of the topic {}", announcement.grain.topic()));
            }
            // It was asked for what this node's clock lets in, and lists what it does not.
            Ok(announcement) if !span.contains(announcement.grain.created_ms()) => {
                return Err("it listed a grain in a time that is not its own".to_owned());
            }
            Ok(announcement) => {
                let id = announcement.grain.id();
                opened.announcements.push(announcement);
                id
            }
            Err(refusal @ (Refusal::UnknownVersion(_) | Refusal::UnknownKind(_))) => {
                let id = peeked.ok_or_else(|| refusal.to_string())?;
                opened.unknown.push(id);
                id
            }
            Err(refusal) => return Err(refusal.to_string()),
        };
        let place = places.get(&id).copied().ok_or("it sent a grain that was not asked for")?;
        if !opened.came.insert(id) {
            return Err("it sent a grain twice".to_owned());
        }
        opened.last = opened.last.max(Some(place));
    }
    Ok(opened)
}

/// The id of a grain that need not be one.
fn peek_id(message: &rpc::Announcement) -> Option<GrainId> {
    let signed = rpc::SignedGrain::decode(message.grain.as_slice()).ok()?;
    Some(GrainId::from_bytes(blake3::hash(&signed.body).into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{author, note};

    fn wanted(ids: impl IntoIterator<Item = GrainId>) -> Vec<Wanted> {
        ids.into_iter().map(Wanted::new).collect()
    }

    fn sent(text: &str) -> (GrainId, rpc::Announcement) {
        let grain = note(&author(1), text);
        (grain.id(), Announcement { grain, claim: None }.to_message())
    }

    #[test]
    fn only_what_was_asked_for_is_taken_and_only_once() {
        let topic = Topic::default();
        let ((one, first), (_, second)) = (sent("one"), sent("two"));
        assert!(open(vec![first.clone()], &wanted([one]), &topic, Span::WHOLE).is_ok());
        assert!(
            open(vec![second], &wanted([one]), &topic, Span::WHOLE).unwrap_err().contains("not asked for")
        );
        assert!(
            open(vec![first.clone(), first.clone()], &wanted([one]), &topic, Span::WHOLE)
                .unwrap_err()
                .contains("twice")
        );
        let other = Topic::new("other").unwrap();
        assert!(
            open(vec![first.clone()], &wanted([one]), &other, Span::WHOLE).unwrap_err().contains("topic")
        );
        let passed = Span { from_ms: 0, before_ms: 1 };
        assert!(
            open(vec![first.clone()], &wanted([one]), &topic, passed).unwrap_err().contains("not its own")
        );
        let mut forged = first;
        *forged.grain.last_mut().unwrap() ^= 1;
        assert!(open(vec![forged], &wanted([one]), &topic, Span::WHOLE).is_err());
    }

    #[test]
    fn what_an_answer_leaves_out_for_its_size_is_asked_for_without_end_and_what_is_not_there_twice() {
        let ids = [[1; 32], [2; 32], [3; 32]].map(GrainId::from_bytes);
        let all = wanted(ids);
        let opened = Opened { came: [ids[1]].into(), last: Some(1), ..Opened::default() };
        let mut batch = Batch::default();
        opened.sort_out(&all, &mut batch);
        let again: Vec<_> = batch.again.iter().map(|wanted| (wanted.id, wanted.tries)).collect();
        assert_eq!(again, [(ids[0], 1), (ids[2], 0)]);
        let mut second = Batch::default();
        Opened::default().sort_out(&batch.again, &mut second);
        assert_eq!((second.again.len(), second.given_up), (1, 1));
    }
}

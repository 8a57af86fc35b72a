//! Answers what peers ask: what they lack, the grains themselves, and which are near to a question.
//!
//! Nothing is kept between two questions but the sorted ids of a few topics, which are dear to read. Everything that a
//! peer says is checked, every answer is bounded, and only grains that may leave the node do.

mod catalogue;
#[cfg(test)]
mod tests;
mod turnstile;

use std::collections::BTreeSet;
use std::sync::Arc;

use negentropy::Negentropy;
use prost::Message;
use synapsenet_net::{PeerId, Request, Response};
use synapsenet_proto::{Claim, EncodedVector, Encoding, GrainId, SpaceId, Topic, Vector, rpc};
use synapsenet_storage::{StorageError, View};
use tokio::sync::watch;

use crate::blocking::blocking;
use crate::filter;
use crate::memory::Memory;
use crate::memory::announcer::Outgoing;
use crate::memory::emergence::uses::today;
use crate::memory::search;
use crate::mesh::sync::MAX_FETCHED_IDS;
use crate::mesh::sync::items::Span;
use crate::mesh::sync::session::MAX_FRAME_BYTES;
use crate::mesh::sync::source::BUSY;
use catalogue::Catalogues;
use turnstile::{Kind, Turnstile};

/// Bytes of the grains in one answer: what the protocols carry.
const MAX_ANSWER_BYTES: usize = 2 << 20;
/// Bytes of protobuf around one grain in an answer: its tag and its length.
const GRAIN_OVERHEAD: usize = 1 + 4;
/// Grains that a peer may search for at once.
const MAX_HITS: u32 = 64;

/// Answers peers. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Serve {
    inner: Arc<Inner>,
}

struct Inner {
    memory: Arc<Memory>,
    topics: watch::Receiver<BTreeSet<Topic>>,
    turnstile: Turnstile,
    catalogues: Catalogues,
}

/// Why a question is not answered, in words for the peer.
type Refused = &'static str;

const NOT_SUBSCRIBED: Refused = "not subscribed";
const FAULT: Refused = "something is wrong here";

impl Serve {
    /// Answers from this memory, and about these topics.
    pub fn new(memory: Arc<Memory>, topics: watch::Receiver<BTreeSet<Topic>>) -> Self {
        let (turnstile, catalogues) = (Turnstile::new(memory.clone()), Catalogues::default());
        Self { inner: Arc::new(Inner { memory, topics, turnstile, catalogues }) }
    }

    /// Answers a peer once it is its turn. One that asks too much is told that this node is busy.
    pub async fn answer(&self, peer: PeerId, request: Request) -> Response {
        let kind = match &request {
            Request::Sync(_) => Kind::Sync,
            Request::Fetch(_) => Kind::Fetch,
            Request::Search(_) => Kind::Search,
        };
        let inner = self.inner.clone();
        match inner.turnstile.enter(peer, kind).await {
            Some(turn) => {
                blocking(move || {
                    let _turn = turn;
                    inner.answer(peer, request)
                })
                .await
            }
            None => refusal(kind, BUSY),
        }
    }
}

fn refusal(kind: Kind, reason: Refused) -> Response {
    let refused = reason.to_owned();
    match kind {
        Kind::Sync => Response::Sync(rpc::SyncResponse { refused, ..Default::default() }),
        Kind::Fetch => Response::Fetch(rpc::FetchResponse { refused, ..Default::default() }),
        Kind::Search => Response::Search(rpc::Answer { refused, ..Default::default() }),
    }
}

impl Inner {
    fn answer(&self, peer: PeerId, request: Request) -> Response {
        match request {
            Request::Sync(question) => {
                self.sync(question).map_or_else(|reason| refusal(Kind::Sync, reason), Response::Sync)
            }
            Request::Fetch(question) => {
                self.fetch(&question).map_or_else(|reason| refusal(Kind::Fetch, reason), Response::Fetch)
            }
            Request::Search(question) => self
                .search(peer, question)
                .map_or_else(|reason| refusal(Kind::Search, reason), Response::Search),
        }
    }

    fn sync(&self, question: rpc::SyncRequest) -> Result<rpc::SyncResponse, Refused> {
        use rpc::sync_request::Item;
        let rpc::Reconcile { topic, from_ms, before_ms, message } = match question.item {
            Some(Item::Reconcile(question)) => question,
            Some(Item::News(_)) => return Ok(rpc::SyncResponse::default()),
            None => return Err("the question is empty"),
        };
        let topic = Topic::new(topic).map_err(|_| "there is no such topic")?;
        if !self.topics.borrow().contains(&topic) {
            return Err(NOT_SUBSCRIBED);
        }
        let span = Span { from_ms, before_ms };
        if !span.is_valid() {
            return Err("the span of time ends before it begins");
        }
        let catalogue = self.catalogues.of(&self.memory.store, &topic).map_err(fault)?;
        let items = catalogue.items.within(span);
        let message = Negentropy::owned(items, MAX_FRAME_BYTES)
            .and_then(|mut negentropy| negentropy.reconcile(&message))
            .map_err(|_| "the message cannot be read")?;
        // Whoever asks about more than one page of it.
        let is_cut = catalogue.page_times.first().is_some_and(|newest| {
            span.from_ms < *newest && (span.before_ms == 0 || span.before_ms > *newest)
        });
        let pages = if is_cut { catalogue.page_times.to_vec() } else { Vec::new() };
        let grains = catalogue.items.len() as u64;
        // The swarm says what time it is.
        Ok(rpc::SyncResponse { message, grains, pages, ..Default::default() })
    }

    fn fetch(&self, question: &rpc::FetchRequest) -> Result<rpc::FetchResponse, Refused> {
        let (ids, rest) = question.ids.as_chunks::<32>();
        if !rest.is_empty() || ids.len() > MAX_FETCHED_IDS {
            return Err("ids are 32 bytes each, at most 512");
        }
        let model = match question.space_id.as_slice() {
            [] => None,
            model => Some(read_model(model)?),
        };
        let view = self.memory.store.view().map_err(fault)?;
        let mut answer = Grains::default();
        for id in ids {
            match view.shared_record(&GrainId::from_bytes(*id)).map(|record| record.and_then(Outgoing::of)) {
                Ok(Some(outgoing)) => {
                    if !answer.add(&view, &outgoing, model).map_err(fault)? {
                        break;
                    }
                }
                Ok(None) => {}
                Err(StorageError::DamagedRecord { slot, why }) => {
                    tracing::warn!(slot, why, "a damaged grain is not given to a peer; run `verify`");
                }
                Err(error) => return Err(fault(error)),
            }
        }
        Ok(rpc::FetchResponse { grains: answer.messages, refused: String::new() })
    }

    fn search(&self, peer: PeerId, question: rpc::Question) -> Result<rpc::Answer, Refused> {
        let model = read_model(&question.space_id)?;
        let spaces = self.memory.spaces();
        let Some(space) = spaces.of(model).cloned() else { return Err("another model") };
        if question.k == 0 || question.k > MAX_HITS {
            return Err("k is from 1 to 64");
        }
        let filter = filter::read_peer(question.filter).map_err(|_| "the filter cannot be read")?;
        let vector = read_vector(model, question.vector)?;
        if vector.values().len() != space.model.dimension() {
            return Err("the vector has another dimension than the model");
        }
        let asked = [search::Asked { space, vector }];
        let hits = search::find_for_peer(&self.memory.store, &spaces, &asked, question.k as usize, &filter)
            .map_err(fault)?;
        let view = self.memory.store.view().map_err(fault)?;
        let mut answer = Grains::default();
        let mut told = Vec::with_capacity(hits.len());
        for hit in hits {
            // The filter let only shared ones through; this is the last door before the network.
            let Some(outgoing) = Outgoing::of(hit.record) else { continue };
            let slot = outgoing.slot();
            if !answer.add(&view, &outgoing, Some(model)).map_err(fault)? {
                break;
            }
            told.push(slot);
        }
        self.memory.uses.note_told(peer, &told, today());
        Ok(rpc::Answer { grains: answer.messages, refused: String::new() })
    }
}

/// Logs what is this node's own fault; the peer is told no more than that there is one.
fn fault(error: impl std::fmt::Display) -> Refused {
    tracing::warn!(%error, "a peer's question cannot be answered");
    FAULT
}

fn read_model(bytes: &[u8]) -> Result<SpaceId, Refused> {
    bytes.try_into().map(SpaceId::from_bytes).map_err(|_| "the id of a model is 32 bytes")
}

fn read_vector(model: SpaceId, bytes: Vec<u8>) -> Result<Vector, Refused> {
    if bytes.first() != Some(&(Encoding::I8 as u8)) {
        return Err("the vector is not encoded in 8 bits");
    }
    EncodedVector::from_bytes(model, bytes).decode().map_err(|_| "the vector cannot be read")
}

/// Grains for a peer, as many as fit into one answer.
#[derive(Default)]
struct Grains {
    messages: Vec<rpc::Announcement>,
    bytes: usize,
}

impl Grains {
    /// Adds a grain, with its author's claim when that is about `model`. False when it does not fit any more.
    fn add(
        &mut self,
        view: &View,
        outgoing: &Outgoing,
        model: Option<SpaceId>,
    ) -> Result<bool, StorageError> {
        let claim = match model {
            // One of another rule, made before this program, is of no use to anybody.
            Some(_) => view.claim(outgoing.slot())?.and_then(|claim| Claim::reopen(&claim).ok()),
            None => None,
        };
        let claim =
            claim.filter(|claim| model == Some(claim.vector().model())).map(|claim| claim.to_message());
        let message = rpc::Announcement { grain: outgoing.grain().as_bytes().to_vec(), claim };
        self.bytes += message.encoded_len() + GRAIN_OVERHEAD;
        let fits = self.bytes <= MAX_ANSWER_BYTES;
        if fits {
            self.messages.push(message);
        }
        Ok(fits)
    }
}

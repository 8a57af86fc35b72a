//! The gRPC API: requests are checked here, errors become statuses here, and nowhere else.

mod convert;
pub(crate) mod listen;
mod mesh;
mod models;
mod report;
mod search;
mod status;
mod verify;

use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

use futures::{Stream, StreamExt};
use synapsenet_proto::rpc::node_service_server::NodeService;
use synapsenet_proto::{Draft, Grain, GrainId, Identity, Topic, rpc};
use synapsenet_storage::{Filter, ListQuery, Record, View};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio_stream::wrappers::{BroadcastStream, ReceiverStream};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

use crate::blocking::blocking;
use crate::memory::Memory;
use crate::memory::document::{self, Document};
use crate::memory::emergence;
use crate::memory::events::Events;
use crate::memory::indexer::Progress;
use crate::memory::ingest::{Ingest, IngestError, Put, Shared, now_ms};
use crate::memory::query::MAX_HITS;
use crate::memory::switch::Switch;
use crate::mesh::Mesh;
use crate::models::{Hub, Models};
pub(crate) use convert::read_filter;
use convert::{grain_message, read_draft, read_format, read_page_token};
use status::{CallError, invalid, status_of};

/// Hits when a search names no number.
const DEFAULT_HITS: usize = 10;
/// Grains on a page at most, and when a list names no number.
const MAX_PAGE: usize = 1000;
const DEFAULT_PAGE: usize = 100;
/// A question: as long as a grain's text, so that a grain can be asked with.
const MAX_QUESTION_BYTES: usize = synapsenet_proto::MAX_TEXT_BYTES;
/// Items of one bulk stream that are being stored at the same time: enough to fill a commit.
const MAX_PUTS_IN_FLIGHT: usize = 256;
/// Messages of a progress stream that may wait for a slow client.
const PROGRESS_QUEUE: usize = 16;

type Reply<T> = Result<Response<T>, Status>;
type ReplyStream<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// What the API needs of the node.
pub(crate) struct Parts {
    /// None when the node takes no part in a mesh.
    pub mesh: Option<Mesh>,
    pub memory: Arc<Memory>,
    pub ingest: Ingest,
    pub events: Events,
    /// Cancelled when the node stops: streams that would never end do.
    pub stopping: CancellationToken,
    pub models: Models,
    pub switch: Switch,
    /// Where models are fetched from.
    pub hub: Hub,
    pub identity: Arc<Identity>,
    pub progress: watch::Receiver<Progress>,
    pub started: Instant,
    pub data_dir: String,
    pub api_addresses: Vec<String>,
    pub metrics_address: String,
    pub max_grains: u64,
}

/// The service. Clones share one limit of calls.
#[derive(Clone)]
pub(crate) struct Api {
    parts: Arc<Parts>,
    calls: Arc<Semaphore>,
}

impl Api {
    /// A service that serves at most `max_calls` calls at the same time.
    pub fn new(parts: Parts, max_calls: usize) -> Self {
        Self { parts: Arc::new(parts), calls: Arc::new(Semaphore::new(max_calls)) }
    }

    /// Takes a place among the calls being served; it is given back when the permit drops.
    fn admit(&self) -> Result<OwnedSemaphorePermit, Status> {
        self.calls.clone().try_acquire_owned().map_err(|_| {
            self.parts.memory.metrics.calls_refused.inc();
            Status::resource_exhausted(
                "as many calls as api.max_calls allows are being served: try again in a moment",
            )
        })
    }

    /// Runs `read` with one consistent view of the store, away from the async threads.
    async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Memory, &View) -> Result<T, CallError> + Send + 'static,
    ) -> Result<T, Status> {
        let memory = self.parts.memory.clone();
        let result = blocking(move || {
            let view = memory.store.view()?;
            read(&memory, &view)
        });
        result.await.map_err(status_of)
    }

    async fn record(&self, id: String) -> Result<Record, Status> {
        self.read(move |_, view| find_record(view, &id)).await
    }

    async fn put(&self, draft: Option<rpc::Draft>, share: bool) -> Result<(GrainId, Put), CallError> {
        let parts = &self.parts;
        let sealed = read_draft(draft).and_then(|draft| Ok(Grain::seal(draft, &parts.identity, now_ms())?));
        self.count_refusal(&sealed);
        let grain = sealed?;
        self.join_topic_of(grain.topic(), share).await?;
        let id = grain.id();
        Ok((id, parts.ingest.put(grain, share).await?))
    }

    /// Whoever shares something on a topic takes part in it.
    async fn join_topic_of(&self, topic: &Topic, share: bool) -> Result<(), CallError> {
        match &self.parts.mesh {
            Some(mesh) if share && !mesh.topics().contains(topic) => {
                Ok(mesh.subscribe(topic.clone()).await.map(drop)?)
            }
            _ => Ok(()),
        }
    }

    async fn put_item(&self, item: rpc::BulkPutRequest) -> Result<(GrainId, Put), CallError> {
        match item.item {
            Some(rpc::bulk_put_request::Item::Draft(draft)) => self.put(Some(draft), item.share).await,
            Some(rpc::bulk_put_request::Item::Grain(bytes)) => {
                let opened = Grain::open(&bytes).map_err(CallError::from);
                self.count_refusal(&opened);
                let grain = opened?;
                self.join_topic_of(grain.topic(), item.share).await?;
                let id = grain.id();
                Ok((id, self.parts.ingest.put(grain, item.share).await?))
            }
            None => Err(invalid("the item is neither a draft nor a grain")),
        }
    }

    fn count_refusal<T>(&self, result: &Result<T, CallError>) {
        if let Err(CallError::Ingest(IngestError::Refused(refusal))) = result {
            self.parts.memory.metrics.refused(refusal);
        }
    }
}

/// Finds a record by its whole id or by a beginning of it that is unique.
fn find_record(view: &View, id: &str) -> Result<Record, CallError> {
    /// Shorter beginnings name too many grains to be meant.
    const MIN_PREFIX: usize = 8;
    let id = id.to_ascii_lowercase();
    let hex = id.bytes().all(|b| b.is_ascii_hexdigit());
    if !hex || id.len() < MIN_PREFIX || id.len() > 64 {
        return Err(invalid(format!(
            "{id:?} is no id: give 64 hexadecimal digits, or at least {MIN_PREFIX} of them"
        )));
    }
    let record = match view.ids_with_prefix(&id, 2)?.as_slice() {
        [] => None,
        [id] => view.slot_of(id)?.map(|slot| view.record(slot)).transpose()?.flatten(),
        _ => return Err(invalid(format!("more than one id begins with {id}: give more digits"))),
    };
    record.ok_or_else(|| CallError::NotFound(format!("no grain has the id {id} (retracted ones are gone)")))
}

#[tonic::async_trait]
impl NodeService for Api {
    async fn put(&self, request: Request<rpc::PutRequest>) -> Reply<rpc::PutResponse> {
        let _permit = self.admit()?;
        let rpc::PutRequest { draft, share } = request.into_inner();
        let (id, put) = Api::put(self, draft, share).await.map_err(status_of)?;
        Ok(Response::new(match put {
            Put::Added => {
                rpc::PutResponse { id: id.to_string(), outcome: rpc::PutOutcome::Added.into(), shared: share }
            }
            Put::Duplicate { id, shared } => {
                rpc::PutResponse { id: id.to_string(), outcome: rpc::PutOutcome::Duplicate.into(), shared }
            }
        }))
    }

    type BulkPutStream = ReplyStream<rpc::BulkPutResponse>;

    async fn bulk_put(&self, request: Request<Streaming<rpc::BulkPutRequest>>) -> Reply<Self::BulkPutStream> {
        let permit = self.admit()?;
        let api = self.clone();
        let results = request.into_inner().enumerate().map(move |(ordinal, item)| {
            let api = api.clone();
            async move {
                let result = api.put_item(item?).await;
                // A store that cannot be written ends the stream: nothing that follows could be stored either.
                if let Err(CallError::Ingest(IngestError::Storage(_) | IngestError::Stopped)) = &result {
                    return Err(result
                        .map(|_| ())
                        .map_err(status_of)
                        .err()
                        .unwrap_or_else(|| Status::internal("")));
                }
                Ok(convert::bulk_response(ordinal as u64, result))
            }
        });
        let results = results.buffered(MAX_PUTS_IN_FLIGHT).map(move |result| {
            let _held_until_the_stream_ends = &permit;
            result
        });
        Ok(Response::new(Box::pin(results)))
    }

    async fn add_document(
        &self,
        request: Request<rpc::AddDocumentRequest>,
    ) -> Reply<rpc::AddDocumentResponse> {
        let _permit = self.admit()?;
        let parts = &self.parts;
        let request = request.into_inner();
        let format = read_format(request.format()).map_err(status_of)?;
        let draft = rpc::Draft {
            topic: request.topic,
            text: request.text,
            title: request.title,
            tags: request.tags,
            lang: request.lang,
            ..rpc::Draft::default()
        };
        let draft = Draft::try_from(draft).map_err(|refusal| status_of(refusal.into()))?;
        self.join_topic_of(&draft.topic, request.share).await.map_err(status_of)?;
        let document = Document { draft, uri: request.uri, format, share: request.share };
        let model = parts.memory.current().model.clone();
        let tokenizer = parts.models.tokenizer(&model).await.map_err(|error| status_of(error.into()))?;
        let reader = (model, tokenizer);
        let added =
            document::add(parts.memory.clone(), &parts.ingest, parts.identity.clone(), reader, document);
        let added = added.await.map_err(|error| status_of(error.into()))?;
        Ok(Response::new(rpc::AddDocumentResponse {
            ids: added.ids.iter().map(GrainId::to_string).collect(),
            added: added.added,
            unchanged: added.unchanged,
            retracted: added.retracted,
        }))
    }

    type WaitIndexedStream = ReplyStream<rpc::WaitIndexedResponse>;

    async fn wait_indexed(&self, _: Request<rpc::WaitIndexedRequest>) -> Reply<Self::WaitIndexedStream> {
        let permit = self.admit()?;
        let target = self.read(|_, view| Ok(view.last_slot()?)).await?;
        let progress = self.parts.progress.clone();
        // The state is the receiver, or None once the last message was sent.
        let messages = futures::stream::unfold(Some(progress), move |state| {
            let _held_until_the_stream_ends = &permit;
            async move {
                let mut progress = state?;
                let now = *progress.borrow_and_update();
                if now.done_slot >= target {
                    return Some((Ok(rpc::WaitIndexedResponse { pending: 0 }), None));
                }
                if progress.changed().await.is_err() {
                    return Some((Err(Status::unavailable("the node is stopping")), None));
                }
                let now = *progress.borrow();
                let pending = if now.done_slot >= target { 0 } else { now.pending };
                let next = (now.done_slot < target).then_some(progress);
                Some((Ok(rpc::WaitIndexedResponse { pending }), next))
            }
        });
        Ok(Response::new(Box::pin(messages)))
    }

    async fn get(&self, request: Request<rpc::GetRequest>) -> Reply<rpc::GetResponse> {
        let _permit = self.admit()?;
        let rpc::GetRequest { id, with_signed } = request.into_inner();
        let response = self.read(move |memory, view| {
            let record = find_record(view, &id)?;
            let emergence = emergence::score(memory, view, &record)?;
            Ok(rpc::GetResponse { grain: Some(grain_message(&record, with_signed)), emergence })
        });
        Ok(Response::new(response.await?))
    }

    async fn list(&self, request: Request<rpc::ListRequest>) -> Reply<rpc::ListResponse> {
        let _permit = self.admit()?;
        let request = request.into_inner();
        let limit = match request.page_size as usize {
            0 => DEFAULT_PAGE,
            size if size <= MAX_PAGE => size,
            size => {
                return Err(status_of(invalid(format!(
                    "page_size is {size}; at most {MAX_PAGE} are allowed"
                ))));
            }
        };
        let after = read_page_token(&request.page_token).map_err(status_of)?;
        let filter = read_filter(request.filter).map_err(status_of)?;
        let query = ListQuery { filter, after, limit, with_retractions: request.with_retractions };
        let with_signed = request.with_signed;
        let response = self.read(move |_, view| {
            let page = view.list(&query)?;
            Ok(rpc::ListResponse {
                grains: page.records.iter().map(|record| grain_message(record, with_signed)).collect(),
                next_page_token: page.next.map(|position| position.to_string()).unwrap_or_default(),
            })
        });
        Ok(Response::new(response.await?))
    }

    type SearchStream = ReplyStream<rpc::SearchResponse>;

    async fn search(&self, request: Request<rpc::SearchRequest>) -> Reply<Self::SearchStream> {
        let permit = self.admit()?;
        let messages = search::search(&self.parts, request.into_inner(), permit).await.map_err(status_of)?;
        Ok(Response::new(Box::pin(ReceiverStream::new(messages))))
    }

    async fn share(&self, request: Request<rpc::ShareRequest>) -> Reply<rpc::ShareResponse> {
        let _permit = self.admit()?;
        let record = self.record(request.into_inner().id).await?;
        let id = record.grain.id();
        if record.grain.retracted().is_some() {
            return Err(status_of(invalid("this is a retraction; it goes where the grain went")));
        }
        self.join_topic_of(record.grain.topic(), true).await.map_err(status_of)?;
        let changed = match self.parts.ingest.share(id).await.map_err(|error| status_of(error.into()))? {
            Shared::Now => true,
            Shared::Already => false,
            Shared::NotFound => {
                return Err(status_of(CallError::NotFound(format!("grain {id} was withdrawn meanwhile"))));
            }
        };
        Ok(Response::new(rpc::ShareResponse { id: id.to_string(), changed }))
    }

    type WatchStream = ReplyStream<rpc::WatchResponse>;

    async fn watch(&self, _: Request<rpc::WatchRequest>) -> Reply<Self::WatchStream> {
        let permit = self.admit()?;
        let happenings = BroadcastStream::new(self.parts.events.listen());
        let stopping = self.parts.stopping.clone().cancelled_owned();
        let messages = happenings.take_until(stopping).map(move |happening| {
            let _held_until_the_stream_ends = &permit;
            Ok(convert::watch_message(happening))
        });
        Ok(Response::new(Box::pin(messages)))
    }

    async fn retract(&self, request: Request<rpc::RetractRequest>) -> Reply<rpc::RetractResponse> {
        let _permit = self.admit()?;
        let parts = &self.parts;
        let record = self.record(request.into_inner().id).await?;
        if record.grain.author() != parts.identity.author() {
            return Err(Status::permission_denied(
                "only its author can withdraw a grain, and this node is not that",
            ));
        }
        if record.grain.retracted().is_some() {
            return Err(status_of(invalid("this is a retraction itself, and cannot be withdrawn")));
        }
        let id = document::retract(&parts.ingest, &parts.identity, &record).await;
        let id = id.map_err(|error| status_of(error.into()))?;
        Ok(Response::new(rpc::RetractResponse { id: id.to_string() }))
    }

    async fn status(&self, _: Request<rpc::StatusRequest>) -> Reply<rpc::StatusResponse> {
        let _permit = self.admit()?;
        Ok(Response::new(report::report(self).await?))
    }

    type VerifyStream = ReplyStream<rpc::VerifyResponse>;

    async fn verify(&self, _: Request<rpc::VerifyRequest>) -> Reply<Self::VerifyStream> {
        let permit = self.admit()?;
        let memory = self.parts.memory.clone();
        let (sender, messages) = tokio::sync::mpsc::channel(PROGRESS_QUEUE);
        tokio::task::spawn_blocking(move || {
            let _permit = permit;
            let last = verify::verify(&memory, &sender).map_err(status_of);
            // A client that hung up no longer wants to know.
            let _ = sender.blocking_send(last);
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(messages))))
    }

    async fn compact(&self, _: Request<rpc::CompactRequest>) -> Reply<rpc::CompactResponse> {
        let _permit = self.admit()?;
        let sizes = self.parts.ingest.compact().await.map_err(|error| status_of(error.into()))?;
        Ok(Response::new(rpc::CompactResponse { bytes_before: sizes.0, bytes_after: sizes.1 }))
    }
}

fn check_search(request: &rpc::SearchRequest) -> Result<(usize, Filter), CallError> {
    if request.text.trim().is_empty() {
        return Err(invalid("the question is empty: say what to look for"));
    }
    if request.text.len() > MAX_QUESTION_BYTES {
        let bytes = request.text.len();
        return Err(invalid(format!(
            "the question has {bytes} bytes; at most {MAX_QUESTION_BYTES} are allowed"
        )));
    }
    let k = match request.k as usize {
        0 => DEFAULT_HITS,
        k if k <= MAX_HITS => k,
        k => return Err(invalid(format!("k is {k}; at most {MAX_HITS} hits are allowed"))),
    };
    Ok((k, read_filter(request.filter.clone())?))
}

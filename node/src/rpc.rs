//! The gRPC door: translates between the messages of the schema and the calls of the node, and nothing else.

mod access;
mod answer;
mod authority;
mod by_ids;
mod convert;
mod counted;
mod documents;
mod emergence;
mod entrance;
mod guard;
mod large;
pub(crate) mod listen;
mod mesh;
mod models;
mod sources;
mod status;
mod tls;
mod watch;

use std::pin::Pin;

use futures::{Stream, StreamExt};
use synapsenet_proto::rpc;
use synapsenet_proto::rpc::node_service_server::NodeService;
use synapsenet_storage::{Filter, ListQuery, Record};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use crate::calls::access::Caller;
use crate::calls::authors::{AuthorQuery, Forget};
use crate::calls::backup::Extent;
use crate::calls::grains::{Besides, Indexing, MAX_PUTS_IN_FLIGHT, Stored};
use crate::calls::many::{Deed, Meant};
use crate::calls::search::part;
use crate::calls::{Call, CallError, Calls};
use crate::filter;
use convert::{grain_message, read_draft, read_page_token};
use status::status_of;

/// Messages of a progress stream that may wait for a slow client.
const PROGRESS_QUEUE: usize = 16;

type Reply<T> = Result<Response<T>, Status>;
type ReplyStream<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// The services.
#[derive(Clone)]
pub(crate) struct Api {
    calls: Calls,
}

impl Api {
    /// Services that hand their requests to these calls.
    pub fn new(calls: Calls) -> Self {
        Self { calls }
    }

    /// The calls behind it.
    fn calls(&self) -> &Calls {
        &self.calls
    }

    /// Begins the call of a request, with the caller that the listener found.
    fn begin<T>(&self, request: &Request<T>) -> Result<Call, Status> {
        let caller = request.extensions().get::<Caller>().cloned().ok_or(CallError::NoToken);
        caller.and_then(|caller| self.calls.begin(caller)).map_err(status_of)
    }
}

#[tonic::async_trait]
impl NodeService for Api {
    async fn put(&self, request: Request<rpc::PutRequest>) -> Reply<rpc::PutResponse> {
        let call = self.begin(&request)?;
        let rpc::PutRequest { draft, share, wait, wait_ms } = request.into_inner();
        let wait = convert::read_wait(wait, wait_ms).map_err(status_of)?;
        let refused = |error: CallError| status_of(error.within("draft"));
        let draft = call.counted(read_draft(draft)).map_err(refused)?;
        let stored = call.put(draft, share).await.map_err(refused)?;
        let searchable = call.wait_for(stored, wait).await.map_err(status_of)?;
        let Stored { id, shared, .. } = stored;
        let outcome = convert::outcome_message(stored).into();
        Ok(Response::new(rpc::PutResponse { id: id.to_string(), outcome, shared, searchable }))
    }

    type BulkPutStream = ReplyStream<rpc::BulkPutResponse>;

    async fn bulk_put(&self, request: Request<Streaming<rpc::BulkPutRequest>>) -> Reply<Self::BulkPutStream> {
        let call = self.begin(&request)?;
        let results = request.into_inner().enumerate().map(move |(ordinal, item)| {
            let call = call.clone();
            async move {
                match put_item(&call, item?).await {
                    // Nothing that follows could be stored either.
                    Err(error) if error.ends_a_batch() => Err(status_of(error)),
                    result => Ok(convert::bulk_response(ordinal as u64, result)),
                }
            }
        });
        Ok(Response::new(Box::pin(results.buffered(MAX_PUTS_IN_FLIGHT))))
    }

    async fn update(&self, request: Request<rpc::UpdateRequest>) -> Reply<rpc::UpdateResponse> {
        let call = self.begin(&request)?;
        let rpc::UpdateRequest { id, draft, wait, wait_ms } = request.into_inner();
        let wait = convert::read_wait(wait, wait_ms).map_err(status_of)?;
        let keeps_topic = draft.as_ref().is_some_and(|draft| draft.topic.is_empty());
        let draft = call.counted(read_draft(draft)).map_err(status_of)?;
        let updated = call.update(id, draft, keeps_topic, wait).await.map_err(status_of)?;
        Ok(Response::new(convert::updated_message(updated)))
    }

    async fn get_document(
        &self,
        request: Request<rpc::GetDocumentRequest>,
    ) -> Reply<rpc::GetDocumentResponse> {
        let call = self.begin(&request)?;
        let rpc::GetDocumentRequest { uri, page_size, page_token } = request.into_inner();
        let from = documents::read_part(&page_token).map_err(status_of)?;
        let parts = call.document(uri, from, page_size as usize).await.map_err(status_of)?;
        Ok(Response::new(documents::parts_message(&call, parts)))
    }

    async fn delete_document(
        &self,
        request: Request<rpc::DeleteDocumentRequest>,
    ) -> Reply<rpc::DeleteDocumentResponse> {
        let call = self.begin(&request)?;
        let rpc::DeleteDocumentRequest { uri, dry_run } = request.into_inner();
        let (document, retracted) = call.delete_document(uri, dry_run).await.map_err(status_of)?;
        let document = Some(documents::document_message(document));
        Ok(Response::new(rpc::DeleteDocumentResponse { document, retracted: retracted as u32 }))
    }

    async fn list_documents(
        &self,
        request: Request<rpc::ListDocumentsRequest>,
    ) -> Reply<rpc::ListDocumentsResponse> {
        let call = self.begin(&request)?;
        let rpc::ListDocumentsRequest { prefix, page_size, page_token } = request.into_inner();
        let found = call.documents(&prefix, page_token, page_size as usize).await.map_err(status_of)?;
        Ok(Response::new(documents::documents_message(found)))
    }

    async fn embed(&self, request: Request<rpc::EmbedRequest>) -> Reply<rpc::EmbedResponse> {
        let call = self.begin(&request)?;
        let rpc::EmbedRequest { texts, role } = request.into_inner();
        let role = documents::read_role(role).map_err(status_of)?;
        let embedded = call.embed(texts, role).await.map_err(status_of)?;
        Ok(Response::new(documents::embedded_message(embedded)))
    }

    async fn add_document(
        &self,
        request: Request<rpc::AddDocumentRequest>,
    ) -> Reply<rpc::AddDocumentResponse> {
        let call = self.begin(&request)?;
        let document = convert::read_document(request.into_inner()).map_err(status_of)?;
        let added = call.add_document(document).await.map_err(status_of)?;
        Ok(Response::new(convert::added_message(added)))
    }

    async fn add_large_document(
        &self,
        request: Request<Streaming<rpc::AddLargeDocumentRequest>>,
    ) -> Reply<rpc::AddLargeDocumentResponse> {
        let call = self.begin(&request)?;
        let added = large::add(&call, request.into_inner()).await?;
        Ok(Response::new(rpc::AddLargeDocumentResponse { added: Some(convert::added_message(added)) }))
    }

    type WaitIndexedStream = ReplyStream<rpc::WaitIndexedResponse>;

    async fn wait_indexed(
        &self,
        request: Request<rpc::WaitIndexedRequest>,
    ) -> Reply<Self::WaitIndexedStream> {
        let indexing =
            self.begin(&request)?.wait_indexed(request.get_ref().only_own).await.map_err(status_of)?;
        let message = |indexing: Result<Indexing, CallError>| match indexing {
            Ok(Indexing { pending, is_done, unreadable }) => {
                Ok(rpc::WaitIndexedResponse { pending, finished: is_done, unreadable })
            }
            Err(error) => Err(status_of(error)),
        };
        Ok(Response::new(Box::pin(indexing.map(message))))
    }

    async fn get(&self, request: Request<rpc::GetRequest>) -> Reply<rpc::GetResponse> {
        let call = self.begin(&request)?;
        let rpc::GetRequest { id, with_signed, context, with_links, with_vector } = request.into_inner();
        let besides = Besides { context: context as usize, links: with_links, vector: with_vector };
        let got = call.get(id, besides).await.map_err(status_of)?;
        let parts = |records: &[Record]| {
            records.iter().map(|record| grain_message(&call, record, false)).collect::<Vec<_>>()
        };
        Ok(Response::new(rpc::GetResponse {
            grain: Some(grain_message(&call, &got.record, with_signed)),
            emergence: got.emergence.map(convert::emergence_message),
            before: parts(&got.before),
            after: parts(&got.after),
            links_to: got.links.to.iter().map(|linked| convert::linked_message(&call, linked)).collect(),
            linked_from: got.links.from.iter().map(|linked| convert::linked_message(&call, linked)).collect(),
            vector: got.vector.as_ref().map(convert::vector_message),
        }))
    }

    async fn list(&self, request: Request<rpc::ListRequest>) -> Reply<rpc::ListResponse> {
        let call = self.begin(&request)?;
        let request = request.into_inner();
        let query = ListQuery {
            filter: read_filter(request.filter)?,
            after: read_page_token(&request.page_token).map_err(status_of)?,
            limit: request.page_size as usize,
            with_retractions: request.with_retractions,
            ..ListQuery::default()
        };
        let page = call.list(query, request.with_signed).await.map_err(status_of)?;
        Ok(Response::new(rpc::ListResponse {
            grains: page
                .records
                .iter()
                .map(|record| grain_message(&call, record, request.with_signed))
                .collect(),
            next_page_token: page.next.map(|position| position.to_string()).unwrap_or_default(),
        }))
    }

    type SearchStream = ReplyStream<rpc::SearchResponse>;

    async fn search(&self, request: Request<rpc::SearchRequest>) -> Reply<Self::SearchStream> {
        let call = self.begin(&request)?;
        let search = convert::read_search(request.into_inner()).map_err(status_of)?;
        let found = call.search(search).await.map_err(status_of)?;
        let messages = convert::search_messages(&call, found);
        Ok(Response::new(Box::pin(futures::stream::iter(messages.into_iter().map(Ok)))))
    }

    type SearchManyStream = ReplyStream<rpc::SearchManyResponse>;

    async fn search_many(&self, request: Request<rpc::SearchManyRequest>) -> Reply<Self::SearchManyStream> {
        let call = self.begin(&request)?;
        let read = |(place, search)| convert::read_search(search).map_err(|error| error.within(&part(place)));
        let searches = request.into_inner().searches.into_iter().enumerate().map(read);
        let searches = searches.collect::<Result<Vec<_>, _>>().map_err(status_of)?;
        let found = call.search_many(searches).await.map_err(status_of)?;
        let messages = (0..).zip(found).flat_map(move |(search, found)| {
            let messages = convert::search_messages(&call, found).into_iter();
            messages.map(move |message| Ok(convert::one_of_many(search, message)))
        });
        Ok(Response::new(Box::pin(futures::stream::iter(messages))))
    }

    async fn count(&self, request: Request<rpc::CountRequest>) -> Reply<rpc::CountResponse> {
        let call = self.begin(&request)?;
        let rpc::CountRequest { filter, with_retractions, facets, top } = request.into_inner();
        let facets =
            facets.into_iter().map(convert::read_facet).collect::<Result<_, _>>().map_err(status_of)?;
        let counting = call.count_by(read_filter(filter)?, with_retractions, facets, top as usize);
        let (grains, facets) = counting.await.map_err(status_of)?;
        Ok(Response::new(convert::count_message(grains, facets)))
    }

    async fn share(&self, request: Request<rpc::ShareRequest>) -> Reply<rpc::ShareResponse> {
        let call = self.begin(&request)?;
        let rpc::ShareRequest { id, ids } = request.into_inner();
        by_ids::share(&call, id, ids).await.map(Response::new).map_err(status_of)
    }

    async fn pin(&self, request: Request<rpc::PinRequest>) -> Reply<rpc::PinResponse> {
        let call = self.begin(&request)?;
        let rpc::PinRequest { id, pinned } = request.into_inner();
        let (id, changed) = call.pin(id, pinned).await.map_err(status_of)?;
        Ok(Response::new(rpc::PinResponse { id: id.to_string(), changed }))
    }

    type WatchStream = ReplyStream<rpc::WatchResponse>;

    async fn watch(&self, request: Request<rpc::WatchRequest>) -> Reply<Self::WatchStream> {
        let call = self.begin(&request)?;
        let wish = watch::read_wish(request.into_inner()).map_err(status_of)?;
        let watching = call.watch(wish).await.map_err(status_of)?;
        Ok(Response::new(Box::pin(watch::messages(watching).take_until(call.stopping()))))
    }

    async fn retract(&self, request: Request<rpc::RetractRequest>) -> Reply<rpc::RetractResponse> {
        let call = self.begin(&request)?;
        let rpc::RetractRequest { id, ids } = request.into_inner();
        by_ids::retract(&call, id, ids).await.map(Response::new).map_err(status_of)
    }

    type RetractMatchingStream = ReplyStream<rpc::RetractMatchingResponse>;

    async fn retract_matching(
        &self,
        request: Request<rpc::RetractMatchingRequest>,
    ) -> Reply<Self::RetractMatchingStream> {
        let call = self.begin(&request)?;
        let rpc::RetractMatchingRequest { filter, whole_source, dry_run } = request.into_inner();
        let meant = Meant { filter: read_filter(filter)?, whole_source, dry_run };
        let tallies = call.do_to_many(Deed::Retract, meant).map_err(status_of)?;
        let message = move |tally| convert::retract_matching_message(&call, tally);
        Ok(Response::new(Box::pin(tallies.map(move |tally| tally.map(&message).map_err(status_of)))))
    }

    type ShareMatchingStream = ReplyStream<rpc::ShareMatchingResponse>;

    async fn share_matching(
        &self,
        request: Request<rpc::ShareMatchingRequest>,
    ) -> Reply<Self::ShareMatchingStream> {
        let call = self.begin(&request)?;
        let rpc::ShareMatchingRequest { filter, whole_source, dry_run } = request.into_inner();
        let meant = Meant { filter: read_filter(filter)?, whole_source, dry_run };
        let tallies = call.do_to_many(Deed::Share, meant).map_err(status_of)?;
        let message = move |tally| convert::share_matching_message(&call, tally);
        Ok(Response::new(Box::pin(tallies.map(move |tally| tally.map(&message).map_err(status_of)))))
    }

    async fn forget(&self, request: Request<rpc::ForgetRequest>) -> Reply<rpc::ForgetResponse> {
        let call = self.begin(&request)?;
        let rpc::ForgetRequest { ids, author, topic, source_prefix, whole_source, dry_run, block } =
            request.into_inner();
        let filter = rpc::Filter { author, topic, source_prefix, ..rpc::Filter::default() };
        let filter = read_filter(Some(filter))?;
        let grains =
            call.forget(Forget { ids, filter, whole_source, dry_run, block }).await.map_err(status_of)?;
        Ok(Response::new(rpc::ForgetResponse { grains }))
    }

    async fn list_authors(
        &self,
        request: Request<rpc::ListAuthorsRequest>,
    ) -> Reply<rpc::ListAuthorsResponse> {
        let call = self.begin(&request)?;
        let rpc::ListAuthorsRequest { prefix, with_rule_only, page_size, page_token } = request.into_inner();
        let query = AuthorQuery { prefix, with_rule_only, limit: page_size as usize, after: page_token };
        let (authors, next) = call.authors(query).await.map_err(status_of)?;
        Ok(Response::new(rpc::ListAuthorsResponse {
            authors: authors.iter().map(convert::author_message).collect(),
            next_page_token: next.map(|author| author.to_string()).unwrap_or_default(),
        }))
    }

    async fn set_author_rule(
        &self,
        request: Request<rpc::SetAuthorRuleRequest>,
    ) -> Reply<rpc::SetAuthorRuleResponse> {
        let call = self.begin(&request)?;
        let request = request.into_inner();
        let rule = convert::read_rule(request.rule());
        let dropped = call.set_author_rule(&request.author, rule).await.map_err(status_of)?;
        Ok(Response::new(rpc::SetAuthorRuleResponse { dropped }))
    }

    async fn explain_emergence(
        &self,
        request: Request<rpc::ExplainEmergenceRequest>,
    ) -> Reply<rpc::ExplainEmergenceResponse> {
        let call = self.begin(&request)?;
        let explained = call.explain_emergence(request.into_inner().id).await.map_err(status_of)?;
        Ok(Response::new(emergence::explained_message(&call, &explained)))
    }

    async fn top_emergence(
        &self,
        request: Request<rpc::TopEmergenceRequest>,
    ) -> Reply<rpc::TopEmergenceResponse> {
        let call = self.begin(&request)?;
        let request = request.into_inner();
        let by_time = request.order() == rpc::EmergenceOrder::New;
        let wanted = emergence::read_wanted(request.topic, request.since_ms).map_err(status_of)?;
        let top = call.top_emergence(wanted, by_time, request.limit as usize).await.map_err(status_of)?;
        Ok(Response::new(rpc::TopEmergenceResponse { grains: emergence::scored_messages(&call, &top) }))
    }

    async fn emergence_authors(
        &self,
        request: Request<rpc::EmergenceAuthorsRequest>,
    ) -> Reply<rpc::EmergenceAuthorsResponse> {
        let call = self.begin(&request)?;
        let rpc::EmergenceAuthorsRequest { topic, limit } = request.into_inner();
        let topic = emergence::read_topic(topic).map_err(status_of)?;
        let authors = call.emergence_authors(topic, limit as usize).await.map_err(status_of)?;
        let authors = authors.iter().map(emergence::author_message).collect();
        Ok(Response::new(rpc::EmergenceAuthorsResponse { authors }))
    }

    async fn digest(&self, request: Request<rpc::DigestRequest>) -> Reply<rpc::DigestResponse> {
        let call = self.begin(&request)?;
        let rpc::DigestRequest { since_ms, topic } = request.into_inner();
        let wanted = emergence::read_wanted(topic, since_ms).map_err(status_of)?;
        let digest = call.digest(wanted).await.map_err(status_of)?;
        Ok(Response::new(emergence::digest_message(&call, digest)))
    }

    async fn status(&self, request: Request<rpc::StatusRequest>) -> Reply<rpc::StatusResponse> {
        let report = self.begin(&request)?.report().await.map_err(status_of)?;
        Ok(Response::new(convert::report_message(report)))
    }

    type VerifyStream = ReplyStream<rpc::VerifyResponse>;

    async fn verify(&self, request: Request<rpc::VerifyRequest>) -> Reply<Self::VerifyStream> {
        let call = self.begin(&request)?;
        let (told, progress) = mpsc::channel(PROGRESS_QUEUE);
        call.verify(told);
        let messages = ReceiverStream::new(progress)
            .map(|verified| verified.map(convert::verified_message).map_err(status_of));
        Ok(Response::new(Box::pin(messages)))
    }

    async fn compact(&self, request: Request<rpc::CompactRequest>) -> Reply<rpc::CompactResponse> {
        let (bytes_before, bytes_after) = self.begin(&request)?.compact().await.map_err(status_of)?;
        Ok(Response::new(rpc::CompactResponse { bytes_before, bytes_after }))
    }

    async fn set_log_level(
        &self,
        request: Request<rpc::SetLogLevelRequest>,
    ) -> Reply<rpc::SetLogLevelResponse> {
        let call = self.begin(&request)?;
        let before = call.set_log_level(&request.into_inner().level).map_err(status_of)?;
        Ok(Response::new(rpc::SetLogLevelResponse { before }))
    }

    type BackupStream = ReplyStream<rpc::BackupResponse>;

    async fn backup(&self, request: Request<rpc::BackupRequest>) -> Reply<Self::BackupStream> {
        let call = self.begin(&request)?;
        let rpc::BackupRequest { with_identity, without_models } = request.into_inner();
        let extent = Extent { with_identity, with_models: !without_models };
        let pieces = call.backup(extent).map_err(status_of)?;
        let messages =
            ReceiverStream::new(pieces).map(|piece| piece.map(convert::backup_message).map_err(status_of));
        Ok(Response::new(Box::pin(messages)))
    }
}

fn read_filter(filter: Option<rpc::Filter>) -> Result<Filter, Status> {
    filter::read_client(filter).map_err(|error| status_of(error.into()))
}

async fn put_item(call: &Call, item: rpc::BulkPutRequest) -> Result<(Stored, bool), CallError> {
    use rpc::bulk_put_request::Item;
    let wait = convert::read_wait(item.wait, item.wait_ms)?;
    let stored = match item.item {
        Some(Item::Draft(draft)) => call.put(call.counted(read_draft(Some(draft)))?, item.share).await,
        Some(Item::Grain(bytes)) => call.put_sealed(&bytes, item.share).await,
        None => Err(crate::calls::error::invalid("the item is neither a draft nor a grain")),
    }?;
    Ok((stored, call.wait_for(stored, wait).await?))
}

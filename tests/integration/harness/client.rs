//! A client that says in one line what a test means.

use std::path::Path;

use hyper_util::rt::TokioIo;
use synapsenet_proto::rpc;
use synapsenet_proto::rpc::mesh_service_client::MeshServiceClient;
use synapsenet_proto::rpc::model_service_client::ModelServiceClient;
use synapsenet_proto::rpc::node_service_client::NodeServiceClient;
use tokio::net::UnixStream;
use tonic::transport::{Channel, Endpoint, Uri};
use tonic::{Code, Status};

use super::{wait_for, within};

/// The largest answer: a page of 1000 signed grains.
const MAX_ANSWER_BYTES: usize = 64 << 20;

/// A connection to a node. Cheap to clone. Methods whose name begins with `try_` give the status of a refusal; the
/// others take the call's success as part of the test.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    /// For calls that have no method here.
    pub rpc: NodeServiceClient<Channel>,
    /// The mesh side, likewise.
    pub mesh: MeshServiceClient<Channel>,
    /// The models, likewise.
    pub models: ModelServiceClient<Channel>,
    /// For services beside the node's own.
    pub channel: Channel,
}

/// What a search gave.
#[derive(Debug)]
pub(crate) struct Found {
    /// Best first.
    pub hits: Vec<rpc::Hit>,
    /// What came last.
    pub summary: rpc::SearchSummary,
}

impl Found {
    /// The texts of the hits.
    pub fn texts(&self) -> Vec<&str> {
        self.hits.iter().map(|hit| hit.grain.as_ref().unwrap().text.as_str()).collect()
    }

    /// The ids of the hits.
    pub fn ids(&self) -> Vec<&str> {
        self.hits.iter().map(|hit| hit.grain.as_ref().unwrap().id.as_str()).collect()
    }

    /// The grain that was found first.
    pub fn best(&self) -> &rpc::Grain {
        self.hits.first().expect("something is found").grain.as_ref().unwrap()
    }
}

/// A draft that only says `text`.
pub(crate) fn note(text: impl Into<String>) -> rpc::Draft {
    rpc::Draft { text: text.into(), ..Default::default() }
}

impl Client {
    /// Takes a connection that was made elsewhere.
    pub fn new(channel: Channel) -> Self {
        let rpc = NodeServiceClient::new(channel.clone()).max_decoding_message_size(MAX_ANSWER_BYTES);
        let mesh = MeshServiceClient::new(channel.clone());
        let models = ModelServiceClient::new(channel.clone());
        Self { rpc, mesh, models, channel }
    }

    /// Connects to the socket at `path`, which must be there.
    pub async fn unix(path: &Path) -> Self {
        Self::unix_as(path, Endpoint::from_static("http://localhost")).await
    }

    /// As [`Client::unix`], with a connection as this says.
    pub async fn unix_as(path: &Path, endpoint: Endpoint) -> Self {
        let path = path.to_owned();
        let connector = tower::service_fn(move |_: Uri| {
            let path = path.clone();
            async move { UnixStream::connect(path).await.map(TokioIo::new) }
        });
        Self::new(within("a connection", endpoint.connect_with_connector(connector)).await.unwrap())
    }

    pub async fn try_put(&self, draft: rpc::Draft) -> Result<rpc::PutResponse, Status> {
        let request = rpc::PutRequest { draft: Some(draft), share: false, ..Default::default() };
        within("an answer to put", self.rpc.clone().put(request)).await.map(tonic::Response::into_inner)
    }

    /// Puts a draft that must be new, and gives its id.
    pub async fn put_draft(&self, draft: rpc::Draft) -> String {
        let response = self.try_put(draft).await.unwrap();
        assert_eq!(response.outcome(), rpc::PutOutcome::Added);
        response.id
    }

    /// Puts a text that must be new, and gives its id.
    pub async fn put(&self, text: impl Into<String>) -> String {
        self.put_draft(note(text)).await
    }

    /// Puts a shared text that must be new, and gives its id.
    pub async fn share(&self, text: impl Into<String>) -> String {
        let request = rpc::PutRequest { draft: Some(note(text)), share: true, ..Default::default() };
        let response = within("an answer to put", self.rpc.clone().put(request)).await.unwrap().into_inner();
        assert_eq!(response.outcome(), rpc::PutOutcome::Added);
        response.id
    }

    /// The connected peers.
    pub async fn peers(&self) -> Vec<rpc::Peer> {
        let request = rpc::ListPeersRequest::default();
        within("the peers", self.mesh.clone().list_peers(request)).await.unwrap().into_inner().peers
    }

    /// Sends all items over one stream and gives the results, one for each.
    pub async fn bulk_put(&self, items: Vec<rpc::BulkPutRequest>) -> Vec<rpc::BulkPutResponse> {
        let mut rpc = self.rpc.clone();
        let count = items.len();
        let results = within("the results of a bulk put", async {
            let mut stream = rpc.bulk_put(tokio_stream::iter(items)).await.unwrap().into_inner();
            let mut results = Vec::new();
            while let Some(result) = stream.message().await.unwrap() {
                results.push(result);
            }
            results
        })
        .await;
        assert_eq!(results.len(), count, "one result for each item");
        results
    }

    pub async fn try_add_document(
        &self,
        request: rpc::AddDocumentRequest,
    ) -> Result<rpc::AddDocumentResponse, Status> {
        let mut rpc = self.rpc.clone();
        within("an answer to add_document", rpc.add_document(request)).await.map(tonic::Response::into_inner)
    }

    /// What a grain adds, once its neighbours were looked at.
    pub async fn emergence_of(&self, id: &str) -> rpc::Emergence {
        let emergence = async || self.try_get(id).await.unwrap().emergence;
        wait_for("a score", async || emergence().await.is_some()).await;
        emergence().await.unwrap()
    }

    /// Waits until all that was put before can be found.
    pub async fn wait_indexed(&self) {
        let mut rpc = self.rpc.clone();
        within("the index", async {
            let mut stream = rpc.wait_indexed(rpc::WaitIndexedRequest::default()).await.unwrap().into_inner();
            let mut is_done = false;
            while let Some(progress) = stream.message().await.unwrap() {
                assert!(!is_done, "nothing comes after the end");
                is_done = progress.finished;
                assert_eq!(is_done, progress.pending == 0, "until the end, something is pending");
            }
            assert!(is_done, "the last message says that all are found");
        })
        .await;
    }

    pub async fn try_search(&self, request: rpc::SearchRequest) -> Result<Found, Status> {
        let mut rpc = self.rpc.clone();
        within("the answer to a search", async {
            let mut stream = rpc.search(request).await?.into_inner();
            let (mut hits, mut summary) = (Vec::new(), None);
            while let Some(message) = stream.message().await? {
                assert!(summary.is_none(), "the summary comes last");
                match message.item.unwrap() {
                    rpc::search_response::Item::Hit(hit) => hits.push(hit),
                    rpc::search_response::Item::Summary(found) => summary = Some(found),
                }
            }
            let summary = summary.expect("a search ends with a summary");
            assert_eq!(summary.hits as usize, hits.len());
            // Scores of one model and from one place are in order; others do not compare.
            for model in &summary.models {
                let here = |hit: &&rpc::Hit| hit.peer_id.is_empty() && hit.space_id == model.space_id;
                let here: Vec<_> = hits.iter().filter(here).collect();
                assert!(here.is_sorted_by(|a, b| a.score >= b.score), "the best comes first");
            }
            Ok(Found { hits, summary })
        })
        .await
    }

    /// The nearest grains to a question, at most `k`, among those that the filter lets through.
    pub async fn search_in(&self, text: &str, k: u32, filter: rpc::Filter) -> Found {
        self.try_search(rpc::SearchRequest { k, filter: Some(filter), ..nearest(text) }).await.unwrap()
    }

    /// The nearest grains to a question.
    pub async fn search(&self, text: &str) -> Found {
        self.search_in(text, 0, rpc::Filter::default()).await
    }

    pub async fn try_get(&self, id: &str) -> Result<rpc::GetResponse, Status> {
        let request = rpc::GetRequest { id: id.into(), with_signed: true, ..Default::default() };
        within("an answer to get", self.rpc.clone().get(request)).await.map(tonic::Response::into_inner)
    }

    /// A grain that must be there, with its signed bytes.
    pub async fn get(&self, id: &str) -> rpc::Grain {
        self.try_get(id).await.unwrap().grain.unwrap()
    }

    pub async fn try_list(&self, request: rpc::ListRequest) -> Result<rpc::ListResponse, Status> {
        within("an answer to list", self.rpc.clone().list(request)).await.map(tonic::Response::into_inner)
    }

    /// Every grain that matches `request`, page after page from the first.
    pub async fn list_pages(&self, request: rpc::ListRequest) -> Vec<Vec<rpc::Grain>> {
        let mut pages = Vec::new();
        let mut page_token = String::new();
        loop {
            let page = self.try_list(rpc::ListRequest { page_token, ..request.clone() }).await.unwrap();
            pages.push(page.grains);
            page_token = page.next_page_token;
            if page_token.is_empty() {
                return pages;
            }
        }
    }

    /// Every note that the filter lets through, newest first.
    pub async fn list(&self, filter: rpc::Filter) -> Vec<rpc::Grain> {
        self.list_pages(rpc::ListRequest { filter: Some(filter), ..Default::default() }).await.concat()
    }

    pub async fn try_retract(&self, id: &str) -> Result<String, Status> {
        let request = rpc::RetractRequest { id: id.into(), ..Default::default() };
        let response = within("an answer to retract", self.rpc.clone().retract(request)).await?;
        Ok(response.into_inner().id)
    }

    pub async fn status(&self) -> rpc::StatusResponse {
        within("the status", self.rpc.clone().status(rpc::StatusRequest {})).await.unwrap().into_inner()
    }

    /// Checks everything and gives the last message.
    pub async fn verify(&self) -> rpc::VerifyResponse {
        let mut rpc = self.rpc.clone();
        within("the end of verify", async {
            let mut stream = rpc.verify(rpc::VerifyRequest {}).await.unwrap().into_inner();
            let mut last = rpc::VerifyResponse::default();
            while let Some(message) = stream.message().await.unwrap() {
                assert!(!last.finished, "nothing comes after the last message");
                last = message;
            }
            assert!(last.finished);
            last
        })
        .await
    }

    /// Checks everything, and that nothing is wrong.
    pub async fn verify_sound(&self) {
        let report = self.verify().await;
        assert_eq!(report.problems, Vec::<String>::new());
        assert_eq!(report.checked, report.total);
    }

    /// Asserts that `result` is a refusal with this code, whose message has this word.
    #[track_caller]
    pub fn assert_refused<T: std::fmt::Debug>(result: Result<T, Status>, code: Code, word: &str) {
        let status = result.expect_err("it must be refused");
        assert_eq!(status.code(), code, "{status:?}");
        assert!(status.message().contains(word), "{word:?} is not in {:?}", status.message());
    }
}

/// Asks for what is nearest in meaning, however far it is.
pub fn nearest(text: &str) -> rpc::SearchRequest {
    rpc::SearchRequest {
        text: text.into(),
        mode: rpc::SearchMode::Meaning.into(),
        min_score: Some(-1.0),
        all_copies: true,
        ..Default::default()
    }
}

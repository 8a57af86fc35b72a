//! A node of a mesh under measurement: whole, in this process, with clients on its socket.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use futures::future::try_join_all;
use synapsenet::{Config, Node, SOCKET, Settings};
use synapsenet_proto::rpc;
use synapsenet_proto::rpc::mesh_service_client::MeshServiceClient;
use synapsenet_proto::rpc::node_service_client::NodeServiceClient;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic::Code;
use tonic::transport::Channel;

use crate::channel;

/// Between two looks at something that is waited for and is not timed.
pub const LOOK: Duration = Duration::from_millis(100);
/// Peers that every node of a mesh must have before it is measured; in a small mesh all others.
const MIN_PEERS: usize = 8;
/// A mesh is settled when its connections have not changed for so long ...
const QUIET: Duration = Duration::from_secs(5);
/// ... and it is an error when that takes longer than this.
const MAX_SETTLING: Duration = Duration::from_secs(180);
/// It is an error when all nodes of a mesh do not have all grains after so long: synchronisation has come round by then.
const MAX_CATCHING_UP: Duration = Duration::from_secs(600);
/// It is an error when scores are not there after so long.
const MAX_SCORING: Duration = Duration::from_secs(600);

/// A running node. Its folder goes with it.
pub struct Member {
    node: Node,
    /// Its API.
    pub client: NodeServiceClient<Channel>,
    mesh: MeshServiceClient<Channel>,
    _dir: TempDir,
}

impl Member {
    /// Starts a node on loopback that begins with the peers at `bootstrap` and computes with `threads` (0: all cores). All
    /// other settings that matter to a mesh are the usual ones.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn start(bootstrap: &[String], threads: usize) -> anyhow::Result<Self> {
        Self::start_with(bootstrap, threads, |_| ()).await
    }

    /// As [`Member::start`], with what `set` sets besides.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn start_with(
        bootstrap: &[String],
        threads: usize,
        set: impl FnOnce(&mut Config),
    ) -> anyhow::Result<Self> {
        let mut config = Config::default();
        config.api.listen = String::new();
        config.metrics.listen = "127.0.0.1:0".into();
        config.ai.threads = threads;
        config.network.listen = vec!["/ip4/127.0.0.1/tcp/0".into()];
        config.network.mdns = false;
        config.network.bootstrap = bootstrap.to_vec();
        set(&mut config);
        let dir = tempfile::tempdir().context("cannot make a folder for a node")?;
        let data = dir.path().join("data");
        let node = Node::start(Settings::from(config), &data).await.context("a node does not start")?;
        let channel = channel(data.join(SOCKET)).await?;
        let (client, mesh) = (NodeServiceClient::new(channel.clone()), MeshServiceClient::new(channel));
        Ok(Self { node, client, mesh, _dir: dir })
    }

    /// The node itself.
    #[must_use]
    pub fn node(&self) -> &Node {
        &self.node
    }

    /// Where others reach it.
    #[must_use]
    pub fn addresses(&self) -> Vec<String> {
        self.node.mesh_addresses()
    }

    /// Puts texts in, to be shared, all over one stream.
    ///
    /// # Errors
    /// When one is refused.
    pub async fn share_all(&self, items: Vec<rpc::bulk_put_request::Item>) -> anyhow::Result<()> {
        let items = items.into_iter().map(|item| rpc::BulkPutRequest {
            item: Some(item),
            share: true,
            ..Default::default()
        });
        let items: Vec<_> = items.collect();
        let mut results = self.client.clone().bulk_put(tokio_stream::iter(items)).await?.into_inner();
        while let Some(result) = results.message().await? {
            ensure!(result.outcome() == rpc::PutOutcome::Added, "a grain was not taken: {}", result.reason);
        }
        Ok(())
    }

    /// Waits until all that is stored can be found; tells how many grains cannot yet.
    ///
    /// # Errors
    /// When the node fails.
    pub async fn wait_indexed(&self, mut tell: impl FnMut(u64)) -> anyhow::Result<()> {
        let mut waiting =
            self.client.clone().wait_indexed(rpc::WaitIndexedRequest::default()).await?.into_inner();
        while let Some(message) = waiting.message().await? {
            tell(message.pending);
        }
        Ok(())
    }

    /// Waits until all of so many notes have a score.
    ///
    /// # Errors
    /// When the node fails, or takes more than ten minutes.
    pub async fn wait_scored(&self, notes: u64) -> anyhow::Result<()> {
        let begun = Instant::now();
        loop {
            let scored = self.client.clone().digest(rpc::DigestRequest::default()).await?.into_inner().grains;
            if scored >= notes {
                return Ok(());
            }
            ensure!(begun.elapsed() < MAX_SCORING, "only {scored} of {notes} texts have a score");
            tokio::time::sleep(LOOK).await;
        }
    }

    /// How long a search takes inside the node, in milliseconds, and how many grains it left out as unchecked.
    ///
    /// # Errors
    /// When the node fails.
    pub async fn search_ms(&self, text: &str) -> anyhow::Result<(f64, u64)> {
        let request = rpc::SearchRequest { text: text.to_owned(), k: 10, ..Default::default() };
        let mut messages = self.client.clone().search(request).await?.into_inner();
        let mut told = None;
        while let Some(message) = messages.message().await? {
            if let Some(rpc::search_response::Item::Summary(summary)) = message.item {
                told = Some((summary.elapsed_us as f64 / 1e3, summary.unchecked));
            }
        }
        told.context("a search ends with a summary")
    }

    /// What it holds and does.
    ///
    /// # Errors
    /// When the node fails.
    pub async fn status(&self) -> anyhow::Result<rpc::StatusResponse> {
        Ok(self.client.clone().status(rpc::StatusRequest {}).await?.into_inner())
    }

    /// The peers that it has banned.
    ///
    /// # Errors
    /// When the node fails.
    pub async fn banned(&self) -> anyhow::Result<Vec<rpc::BannedPeer>> {
        let request = rpc::ListPeersRequest { with_known: false, with_banned: true };
        Ok(self.mesh.clone().list_peers(request).await?.into_inner().banned)
    }

    /// How it stands in the network.
    ///
    /// # Errors
    /// When the node fails.
    pub async fn net(&self) -> anyhow::Result<rpc::GetNetStatusResponse> {
        Ok(self.mesh.clone().get_net_status(rpc::GetNetStatusRequest {}).await?.into_inner())
    }

    /// What its metrics page says, by the name and labels as they stand there.
    ///
    /// # Errors
    /// When the page cannot be read.
    pub async fn metrics(&self) -> anyhow::Result<HashMap<String, f64>> {
        let address = self.node.metrics_address().context("the node has a metrics page")?;
        let mut stream = TcpStream::connect(address).await?;
        let question = format!("GET /metrics HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        stream.write_all(question.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        ensure!(answer.starts_with("HTTP/1.1 200"), "the metrics page answers {answer}");
        let samples = answer.lines().filter_map(|line| line.rsplit_once(' '));
        Ok(samples.filter_map(|(name, value)| Some((name.to_owned(), value.parse().ok()?))).collect())
    }

    /// Stops it in order.
    ///
    /// # Errors
    /// When a part of it had failed.
    pub async fn stop(self) -> anyhow::Result<()> {
        // The node waits for open connections to end.
        drop((self.client, self.mesh));
        self.node.stop().await.context("a node did not stop in order")
    }
}

/// When the text can be found at the node of `client`: how long after `start` the answer came of the first search that had
/// the grain. None when that takes longer than `patience`.
///
/// The node is asked whether it holds the grain searchable (see [`searchable_at`]); once it is, the search is made. So the
/// figure is at most 5 % or 5 ms too large, and those who ask do not keep a busy machine busier.
///
/// # Errors
/// When the node fails.
pub async fn found_at(
    client: NodeServiceClient<Channel>,
    id: &str,
    text: &str,
    start: Instant,
    patience: Duration,
) -> anyhow::Result<Option<Duration>> {
    look(client, id, Some(text), start, patience).await
}

/// When the node of `client` says that it holds the grain searchable, so long after `start`. None when that takes longer than
/// `patience`. It is asked first after 5 ms and then with pauses of a twentieth of the time that has passed.
///
/// # Errors
/// When the node fails.
pub async fn searchable_at(
    client: NodeServiceClient<Channel>,
    id: &str,
    start: Instant,
    patience: Duration,
) -> anyhow::Result<Option<Duration>> {
    look(client, id, None, start, patience).await
}

/// Looks for a grain until it is searchable, and, where a text is given, found by it.
async fn look(
    mut client: NodeServiceClient<Channel>,
    id: &str,
    text: Option<&str>,
    start: Instant,
    patience: Duration,
) -> anyhow::Result<Option<Duration>> {
    const FIRST_PAUSE: Duration = Duration::from_millis(5);
    while start.elapsed() < patience {
        if is_searchable(&mut client, id).await? {
            let is_found = match text {
                Some(text) => finds(&mut client, id, text).await?,
                None => true,
            };
            if is_found {
                return Ok(Some(start.elapsed()));
            }
        }
        tokio::time::sleep((start.elapsed() / 20).max(FIRST_PAUSE)).await;
    }
    Ok(None)
}

async fn is_searchable(client: &mut NodeServiceClient<Channel>, id: &str) -> anyhow::Result<bool> {
    match client.get(rpc::GetRequest { id: id.to_owned(), with_signed: false, ..Default::default() }).await {
        Ok(answer) => Ok(answer.into_inner().grain.is_some_and(|grain| grain.searchable)),
        Err(status) if status.code() == Code::NotFound => Ok(false),
        Err(status) => bail!(status),
    }
}

async fn finds(client: &mut NodeServiceClient<Channel>, id: &str, text: &str) -> anyhow::Result<bool> {
    let request = rpc::SearchRequest { text: text.to_owned(), ..Default::default() };
    let mut answer = client.search(request).await?.into_inner();
    let mut is_found = false;
    while let Some(message) = answer.message().await? {
        if let Some(rpc::search_response::Item::Hit(hit)) = message.item {
            is_found |= hit.grain.is_some_and(|grain| grain.id == id);
        }
    }
    Ok(is_found)
}

/// Waits until every node has peers and connections come and go no more. Answers how many peers a node has on average.
///
/// # Errors
/// When that does not happen.
pub async fn settle(members: &[Member]) -> anyhow::Result<f64> {
    let (start, mut before, mut since) = (Instant::now(), 0, Instant::now());
    loop {
        let peers: Vec<usize> = try_join_all(members.iter().map(Member::net))
            .await?
            .iter()
            .map(|net| net.peers as usize)
            .collect();
        let sum = peers.iter().sum();
        let least = peers.iter().min().copied().unwrap_or(0);
        if sum != before {
            (before, since) = (sum, Instant::now());
        }
        if least >= MIN_PEERS.min(members.len() - 1) && since.elapsed() >= QUIET {
            return Ok(sum as f64 / members.len() as f64);
        }
        ensure!(
            start.elapsed() < MAX_SETTLING,
            "the mesh does not settle: one node has {least} peers, all {sum}"
        );
        tokio::time::sleep(LOOK).await;
    }
}

/// Waits until every node holds so many grains, and all of them can be found.
///
/// # Errors
/// When that takes too long.
pub async fn catch_up(members: &[Member], grains: u64, mut tell: impl FnMut(u64)) -> anyhow::Result<()> {
    let start = Instant::now();
    loop {
        let status = try_join_all(members.iter().map(Member::status)).await?;
        let searchable = status.iter().map(|status| status.searchable).sum();
        tell(searchable);
        if searchable == grains * members.len() as u64 {
            return Ok(());
        }
        let all = grains * members.len() as u64;
        ensure!(start.elapsed() < MAX_CATCHING_UP, "of {all} grains at all nodes {searchable} can be found");
        tokio::time::sleep(LOOK).await;
    }
}

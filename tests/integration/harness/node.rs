//! A node in this process.

use std::collections::BTreeSet;
use std::ops::Deref;
use std::path::{Path, PathBuf};

use synapsenet::{Config, Node, Settings};
use synapsenet_net::Layer;
use synapsenet_proto::rpc;
use tempfile::TempDir;

use super::{Client, folder, note, within};

/// A configuration for a test: no address that another test could hold, one thread that computes.
pub(crate) fn config() -> Config {
    let mut config = Config::default();
    config.api.listen = String::new();
    config.metrics.listen = "127.0.0.1:0".into();
    config.ai.threads = 1;
    config.network.enabled = false;
    config
}

/// A configuration for a node of a mesh on loopback that begins with `peers`.
pub(crate) fn mesh_config(peers: &[String]) -> Config {
    let mut config = config();
    config.network.enabled = true;
    config.network.listen = vec!["/ip4/127.0.0.1/tcp/0".into()];
    config.network.mdns = false;
    config.network.bootstrap = peers.to_vec();
    // Often, so that a test that misses an announcement does not wait for a minute.
    config.network.sync_seconds = 2;
    config
}

/// Starts a node of a mesh that begins with `peers`.
pub(crate) async fn join(peers: &[String]) -> TestNode {
    TestNode::fresh_with(mesh_config(peers)).await
}

/// The ids of everything shared that a node holds, retractions included.
pub(crate) async fn ids(node: &Client) -> BTreeSet<String> {
    let request = rpc::ListRequest { page_size: 1000, with_retractions: true, ..Default::default() };
    let grains = node.list_pages(request).await.concat();
    grains.into_iter().filter(|grain| grain.shared).map(|grain| grain.id).collect()
}

/// An item of a bulk put: a shared text.
pub(crate) fn shared(text: String) -> rpc::BulkPutRequest {
    rpc::BulkPutRequest {
        item: Some(rpc::bulk_put_request::Item::Draft(note(text))),
        share: true,
        ..Default::default()
    }
}

/// A running node and a client on its socket.
pub(crate) struct TestNode {
    /// The node itself.
    pub node: Node,
    client: Client,
    dir: PathBuf,
    /// Keeps the folder for as long as the node, when it is the node's own.
    owned: Option<TempDir>,
}

impl TestNode {
    /// A node in a folder of its own.
    pub async fn fresh() -> Self {
        Self::fresh_with(config()).await
    }

    /// A node in a folder of its own, set up otherwise than usual.
    pub async fn fresh_with(config: Config) -> Self {
        let owned = folder();
        let dir = owned.path().join("data");
        Self { owned: Some(owned), ..Self::on(&dir, config).await }
    }

    /// A node in the folder `dir`.
    pub async fn on(dir: &Path, config: Config) -> Self {
        Self::try_on(dir, config).await.unwrap()
    }

    /// A node in the folder `dir`, or why it does not start.
    pub async fn try_on(dir: &Path, config: Config) -> anyhow::Result<Self> {
        let node = within("the start of a node", Node::start(Settings::from(config), dir)).await?;
        let client = Client::unix(&dir.join("api.sock")).await;
        Ok(Self { node, client, dir: dir.to_owned(), owned: None })
    }

    /// A node in the folder `data` of `owned`, behind links of the test's.
    pub async fn layered(owned: TempDir, config: Config, layer: Layer) -> Self {
        let dir = owned.path().join("data");
        let start = Node::start_behind(Settings::from(config), &dir, Some(layer));
        let node = within("the start of a node", start).await.unwrap();
        let client = Client::unix(&dir.join("api.sock")).await;
        Self { node, client, dir, owned: Some(owned) }
    }

    /// Its data folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Stops it in order.
    pub async fn stop(self) -> Option<TempDir> {
        // The node waits for open connections to end.
        drop(self.client);
        within("the end of a node", self.node.stop()).await.unwrap();
        self.owned
    }

    /// Stops it in order and starts it again on its folder.
    pub async fn restart(self) -> Self {
        self.restart_with(config()).await
    }

    /// Stops it in order and starts it again on its folder, set up otherwise.
    pub async fn restart_with(self, config: Config) -> Self {
        let dir = self.dir.clone();
        let owned = self.stop().await;
        Self { owned, ..Self::on(&dir, config).await }
    }
}

impl Deref for TestNode {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

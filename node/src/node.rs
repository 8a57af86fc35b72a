//! The node: builds the parts, runs them under supervision (see `tasks`), and stops them in order. Start reading here.
//!
//! ```text
//!  gRPC --rpc--> ingest --one transaction--> store --log--> indexer --> HNSW
//!          |                                   ^               |
//!          |                                   +---- vectors --+-- models (ONNX)
//!          +--> search: models -> HNSW -> store
//! ```
//!
//! Every arrow is a bounded queue or a plain call. The store is the truth; the index is derived and can be deleted.

use std::fmt;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::anyhow;
use synapsenet_net::Layer;
use tokio::sync::{Notify, Semaphore, mpsc, watch};
use tokio::time::timeout_at;
use tokio_util::sync::CancellationToken;

use crate::blocking::blocking;
use crate::calls::access::Keys;
use crate::calls::access::audit::Audit;
use crate::calls::search::MAX_ASKING;
use crate::calls::{Calls, Parts, Places, embed};
use crate::config::{Config, Origin, Settings};
use crate::http::MetricsServer;
use crate::mcp;
use crate::memory::announcer::{Announcer, MAX_OUTBOX};
use crate::memory::document::keep_private;
use crate::memory::events::Events;
use crate::memory::indexer::{self, Indexer};
use crate::memory::ingest::{self, Ingest, Limits};
use crate::memory::library::Library;
use crate::memory::opening::{Opened, computing, open};
use crate::memory::places::Places as FilePlaces;
use crate::memory::spaces::Space;
use crate::memory::switch::{Switch, SwitchError};
use crate::mesh::{self, Listening, Mesh};
use crate::models::{Hub, Models, ModelsEnd};
use crate::rpc::listen::RpcServer;
use crate::rpc::{self, Api};
use crate::sources::{self, Sources};
use crate::tasks::{Alarm, Tasks};
use crate::traces;

/// How long a node may take to stop: a little less than the minute after which its service manager kills it. Calls have five
/// seconds to end, a run of the model takes some seconds at most, and saving the index of a million grains about ten.
const MAX_STOP: Duration = Duration::from_secs(50);
/// How much of that those may take who serve others, and only have to let go: a part that is stuck must not cost the time in
/// which the index is saved.
const MAX_STOP_SERVING: Duration = Duration::from_secs(15);

/// A running node. Dropping it without [`Node::stop`] loses no acknowledged grain, but the next start is slower.
pub struct Node {
    api_addresses: Vec<String>,
    api_fingerprint: String,
    metrics_address: Option<SocketAddr>,
    author: String,
    mesh: Option<Mesh>,
    serving: Tasks,
    indexing: Tasks,
    ingest: Ingest,
    ingest_thread: JoinHandle<()>,
    models: ModelsEnd,
    switch: Switch,
    keys: Keys,
    places: Places,
    limits: watch::Sender<Limits>,
    settings: Settings,
    failures: mpsc::Receiver<anyhow::Error>,
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node").field("api_addresses", &self.api_addresses).finish_non_exhaustive()
    }
}

impl Node {
    /// Starts a node on the data folder `data_dir`, which is made if it is not there. It serves when this returns;
    /// the model goes on loading, and what comes in meanwhile waits for it.
    ///
    /// # Errors
    /// When the folder, the configuration, the model or an address cannot be used; the message says what to do.
    pub async fn start(settings: Settings, data_dir: &Path) -> anyhow::Result<Self> {
        Self::start_behind(settings, data_dir, None).await
    }

    /// As [`Node::start`], with a layer between the swarm and its connections: for tests of slow and broken lines.
    ///
    /// # Errors
    /// As [`Node::start`].
    pub async fn start_behind(
        settings: Settings,
        data_dir: &Path,
        layer: Option<Layer>,
    ) -> anyhow::Result<Self> {
        let started = Instant::now();
        let may_move = settings.origin("network.listen") == Some(&Origin::Default);
        let config = settings.config.clone();
        let (alarm, failures) = Alarm::new();
        keep_private(data_dir);
        let (dir, open_config, hearing) = (data_dir.to_owned(), config.clone(), alarm.clone());
        let opened = blocking(move || open(&dir, &open_config, &hearing)).await?;
        let Opened { memory, identity, mut registry, models } = opened;
        let net_metrics = synapsenet_net::Metrics::register(&mut registry);
        let (traces, traces_sent) = traces::start(&config.log.otlp, &mut registry)?;
        let (memory, identity) = (Arc::new(memory), Arc::new(identity));

        // Whatever can be refused comes before the first thread, so that a failed start leaves nothing running.
        let keys = Keys::load(data_dir, !config.api.listen.is_empty())?;
        let server = RpcServer::bind(data_dir, &config.api).await?;
        let metrics_server = match config.metrics.listen.as_str() {
            "" => None,
            _ => Some(MetricsServer::bind(&config.metrics).await?),
        };
        let listening = match config.network.enabled {
            true => {
                let network = &config.network;
                Some(Listening::start(network, may_move, data_dir, &identity, net_metrics, layer).await?)
            }
            false => None,
        };
        let remembered = sources::List::load(data_dir)?;
        let (api_addresses, api_fingerprint) = (server.addresses(), server.fingerprint().to_owned());
        let metrics_address = metrics_server.as_ref().map(MetricsServer::address);

        let (mut serving, mut indexing) = (Tasks::new(alarm.clone()), Tasks::new(alarm.clone()));
        let changed = Arc::new(Notify::new());
        let events = Events::new();
        // Without a mesh, nobody takes what comes out of these.
        let (outbox, announcements) = mpsc::channel(MAX_OUTBOX);
        // Nobody is told of an author whose claims are false: what it is worth here is in the store, and which peer it is,
        // nobody knows.
        let (ingest, ingest_thread) = Ingest::start(ingest::Start {
            memory: memory.clone(),
            announcer: Announcer::new(memory.clone(), identity.clone(), outbox),
            events: events.clone(),
            limits: Limits::of(&config),
            changed: changed.clone(),
            alarm,
        });
        let (indexer, progress) = Indexer::new(indexer::Parts {
            memory: memory.clone(),
            models: models.clone(),
            ingest: ingest.clone(),
            changed,
            stop: indexing.stopping(),
        });
        let switch = Switch::new(memory.clone(), models.clone(), ingest.clone(), config.ai.model.clone());
        let (mesh, mesh_tasks) = listening
            .map(|listening| {
                let (memory, ingest, events) = (memory.clone(), ingest.clone(), events.clone());
                let stop = serving.stopping();
                let parts = mesh::Parts { memory, ingest, events, announcements, stop };
                Mesh::new(listening, parts)
            })
            .unzip();
        let places = Arc::new(FilePlaces::open(data_dir, &identity));
        let library =
            Library::new(memory.clone(), ingest.clone(), models.clone(), identity.clone(), places.clone());
        let sources = Sources::new(remembered, data_dir, library.clone(), events.clone(), serving.stopping());
        let (limits, told_limits) = watch::channel(Limits::of(&config));
        let (audit, audit_log) = config.api.audit.then(|| Audit::new(data_dir)).unzip();
        let parts = Parts {
            mesh: mesh.clone(),
            memory: memory.clone(),
            ingest: ingest.clone(),
            events,
            stopping: serving.stopping(),
            models: models.clone(),
            switch: switch.clone(),
            hub: Hub::new(&config.ai.hub),
            places,
            library,
            sources: sources.clone(),
            keys: keys.clone(),
            audit,
            traces,
            identity: identity.clone(),
            progress,
            started,
            data_dir: data_dir.to_owned(),
            backups: Arc::new(Semaphore::new(1)),
            embedding: embed::Turns::new(),
            asking: Arc::new(Semaphore::new(MAX_ASKING)),
            api_addresses: api_addresses.clone(),
            api_fingerprint: api_fingerprint.clone(),
            metrics_address: metrics_address.map(|address| address.to_string()).unwrap_or_default(),
            limits: told_limits,
            looks: Arc::default(),
        };
        let calls = Calls::new(parts, config.api.max_calls);
        let call_places = calls.places().clone();

        serving.run("the API", server.run(Api::new(calls.clone()), serving.stopping()));
        if let Some(server) = metrics_server {
            let wire = rpc::listen::within(&calls)?;
            let doors = mcp::http::routes(wire.clone());
            serving.run("the metrics page", server.run(registry, calls, wire, doors, serving.stopping()));
        }
        if let Some(tasks) = mesh_tasks {
            serving.run("the mesh", tasks.mesh);
            serving.run("synchronisation", tasks.sync);
        }
        let (ingest_too, stop) = (ingest.clone(), serving.stopping());
        serving.run("the watch over the disk", async {
            ingest_too.look_for_room(stop).await;
            Ok(())
        });
        serving.run("the folders that are remembered", async {
            sources.run().await;
            Ok(())
        });
        let stop = serving.stopping();
        let uses = keys.clone();
        serving.run("the tokens", async {
            uses.keep_uses(stop).await;
            Ok(())
        });
        serving.run("the model", warm(models.clone(), memory.current(), serving.stopping()));
        if let Some(log) = audit_log {
            // It ends after the API, so that the last calls are in it.
            let stop = indexing.stopping();
            indexing.run("the audit log", async {
                log.run(stop).await;
                Ok(())
            });
        }
        if let Some(sending) = traces_sent {
            // As above.
            let stop = indexing.stopping();
            indexing.run("the traces", async {
                sending.run(stop).await;
                Ok(())
            });
        }
        indexing.run("the indexer", async { Ok(indexer.run().await?) });
        Ok(Self {
            api_addresses,
            api_fingerprint,
            metrics_address,
            author: identity.author().to_string(),
            mesh,
            serving,
            indexing,
            ingest,
            ingest_thread,
            models: ModelsEnd(models),
            switch,
            keys,
            places: call_places,
            limits,
            settings,
            failures,
        })
    }

    /// Where the API listens, as clients write it: the unix socket first.
    #[must_use]
    pub fn api_addresses(&self) -> &[String] {
        &self.api_addresses
    }

    /// SHA-256 of the certificate that the API shows over TCP, in hexadecimal digits; none without TLS.
    #[must_use]
    pub fn api_fingerprint(&self) -> Option<&str> {
        Some(self.api_fingerprint.as_str()).filter(|fingerprint| !fingerprint.is_empty())
    }

    /// Where the metrics page is, if there is one.
    #[must_use]
    pub fn metrics_address(&self) -> Option<SocketAddr> {
        self.metrics_address
    }

    /// This node's author key, 64 hexadecimal digits.
    #[must_use]
    pub fn author(&self) -> &str {
        &self.author
    }

    /// This node's id in the mesh; none when it takes no part in one.
    #[must_use]
    pub fn peer_id(&self) -> Option<String> {
        self.mesh.as_ref().map(|mesh| mesh.net.peer().to_string())
    }

    /// Where other nodes reach this one, as multiaddresses with `/p2p/`; none when it takes no part in a mesh.
    #[must_use]
    pub fn mesh_addresses(&self) -> Vec<String> {
        let addresses = self.mesh.as_ref().map(Mesh::first_addresses).unwrap_or_default();
        addresses.iter().map(ToString::to_string).collect()
    }

    /// Reads the files of the tokens anew. Answers how many open that did not, and how many do no more; what was begun with one of
    /// these is ended.
    ///
    /// # Errors
    /// When one cannot be used; then all is as before.
    pub async fn reload_tokens(&self) -> anyhow::Result<(usize, usize)> {
        let keys = self.keys.clone();
        blocking(move || keys.reload()).await
    }

    /// Takes over from a configuration that was read anew what can be changed while the node runs: the model and what computes it, which
    /// is loaded before it takes its place, what strangers may bring, how many calls are served at the same time, and how much of
    /// everything the mesh may have. The level of the log is for who writes it.
    ///
    /// # Errors
    /// When the model cannot be used; then everything is as before.
    pub async fn reload(&mut self, settings: Settings) -> anyhow::Result<Reloaded> {
        let (name, computing) = (settings.config.ai.model.clone(), computing(&settings.config.ai)?);
        self.switch.reconfigure(&name, computing).await.map_err(|error: SwitchError| anyhow!("{error:#}"))?;
        let limits =
            Limits::of(&Config { storage: self.settings.config.storage.clone(), ..settings.config.clone() });
        self.ingest.limit(limits).await;
        self.limits.send_replace(limits);
        self.places.resize(settings.config.api.max_calls);
        if let Some(mesh) = &self.mesh {
            mesh.cap(settings.config.network.caps()).await?;
        }
        let mut reloaded = Reloaded::default();
        for (now, before) in settings.entries().iter().zip(self.settings.entries()) {
            if now.value == before.value {
                continue;
            }
            if is_live(&now.key) {
                let (key, before, now) = (now.key.clone(), before.value.to_string(), now.value.to_string());
                reloaded.changed.push(Changed { key, before, now });
            } else {
                reloaded.waiting.push(now.key.clone());
            }
        }
        // What waits is held against what the node started with, however often it is read.
        self.settings = settings.keeping(&self.settings, is_live);
        Ok(reloaded)
    }

    /// Waits until a part ends that nobody asked to end. Then [`Node::stop`] is all that is left to do.
    pub async fn failed(&mut self) -> anyhow::Error {
        self.failures.recv().await.unwrap_or_else(|| anyhow!("every task of the node ended"))
    }

    /// Stops in order: no more calls, the indexer ends its run of the model and saves the index, ingest drains, the models
    /// end. Each of these is done whatever became of those before it, within 50 seconds for all.
    ///
    /// # Errors
    /// Everything that failed before or while it was stopped, and which parts had not ended when the time was over: what
    /// they still do is cut off when the process exits.
    pub async fn stop(self) -> anyhow::Result<()> {
        self.stop_within(MAX_STOP_SERVING, MAX_STOP).await
    }

    async fn stop_within(mut self, serving: Duration, all: Duration) -> anyhow::Result<()> {
        let now = tokio::time::Instant::now();
        let deadline = now + all;
        let mut stuck = self.serving.stop(now + serving).await;
        stuck.extend(self.indexing.stop(deadline).await);
        let (ingest, thread, models) = (self.ingest, self.ingest_thread, self.models);
        let drained = async move {
            ingest.stop().await;
            // It catches its own panic.
            blocking(move || drop(thread.join())).await;
        };
        if timeout_at(deadline, drained).await.is_err() {
            stuck.push("ingest");
        }
        // Not waited for before the others have ended, because they use it.
        if timeout_at(deadline, blocking(move || drop(models))).await.is_err() {
            stuck.push("the model");
        }
        let failures = std::iter::from_fn(|| self.failures.try_recv().ok());
        summed_up(failures.collect(), &stuck)
    }
}

/// What became of a configuration that was read anew.
#[derive(Debug, Clone, Default)]
pub struct Reloaded {
    /// Settings that were changed and hold from now on.
    pub changed: Vec<Changed>,
    /// The keys of those that were changed and hold from the next start on.
    pub waiting: Vec<String>,
}

/// A setting that was changed.
#[derive(Debug, Clone)]
pub struct Changed {
    /// Section and key.
    pub key: String,
    /// The value before.
    pub before: String,
    /// The value that holds now.
    pub now: String,
}

/// The settings that can be changed while the node runs, beside those of `[admission]`.
const LIVE: [&str; 16] = [
    "ai.model",
    "ai.variant",
    "ai.provider",
    "ai.device",
    "ai.fallback",
    "ai.threads",
    "ai.sessions",
    "ai.batch_tokens",
    "api.max_calls",
    "emergence.retention",
    "log.level",
    "network.max_peers",
    "network.max_per_address",
    "network.max_upload",
    "network.max_download",
    "network.max_memory",
];

fn is_live(key: &str) -> bool {
    key.starts_with("admission.") || LIVE.contains(&key)
}

/// One error for everything that went wrong.
fn summed_up(failures: Vec<anyhow::Error>, stuck: &[&str]) -> anyhow::Result<()> {
    let mut all: Vec<String> = failures.iter().map(|failure| format!("{failure:#}")).collect();
    if !stuck.is_empty() {
        all.push(format!("not stopped in time, and cut off: {}", stuck.join(", ")));
    }
    if all.is_empty() { Ok(()) } else { Err(anyhow!("{}", all.join("; also: "))) }
}

/// Loads the model in use, now that the node serves; ends with an error when it cannot be loaded.
async fn warm(models: Models, space: Arc<Space>, stop: CancellationToken) -> anyhow::Result<()> {
    tokio::select! {
        warmed = models.warm(&space.model) => {
            warmed?;
            stop.cancelled().await;
            Ok(())
        }
        () = stop.cancelled() => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A node that nobody else meets, and its folder.
    async fn node() -> (Node, tempfile::TempDir) {
        let dir = tempfile::tempdir().unwrap();
        let mut config = Config::default();
        config.api.listen = String::new();
        config.metrics.listen = String::new();
        config.network.enabled = false;
        let node = Node::start(Settings::from(config), &dir.path().join("data")).await.unwrap();
        (node, dir)
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_part_that_panics_stops_the_node_with_its_words() {
        let (mut node, _dir) = node().await;
        node.indexing.run("the odd one", async { panic!("a bug") });
        assert_eq!(node.failed().await.to_string(), "the odd one panicked: a bug");
        node.stop().await.unwrap();
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_part_that_is_stuck_is_named_and_the_others_are_stopped_all_the_same() {
        let (mut node, _dir) = node().await;
        node.serving.run("the deaf one", std::future::pending());
        let stop = node.serving.stopping();
        node.serving.run("the bad one", async move {
            stop.cancelled().await;
            Err(anyhow!("no luck"))
        });
        let stopped = node.stop_within(Duration::from_secs(3), Duration::from_secs(300)).await;
        let told = stopped.unwrap_err().to_string();
        assert!(told.starts_with("the bad one failed: no luck; also: not stopped in time"), "{told}");
        assert!(told.contains("the deaf one"), "{told}");
        assert!(!told.contains("indexer") && !told.contains("ingest") && !told.contains("model"), "{told}");
    }

    #[test]
    fn everything_that_went_wrong_is_told_and_so_is_what_did_not_end() {
        assert!(summed_up(Vec::new(), &[]).is_ok());
        let error =
            summed_up(vec![anyhow!("the mesh failed"), anyhow!("the API failed")], &["ingest", "the model"]);
        let told = error.unwrap_err().to_string();
        assert_eq!(
            told,
            "the mesh failed; also: the API failed; also: not stopped in time, and cut off: ingest, the model"
        );
    }
}

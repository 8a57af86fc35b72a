//! The node: builds the parts, spawns the tasks, and stops them in order. Start reading here.
//!
//! ```text
//!  gRPC --rpc--> ingest --one transaction--> store --log--> indexer --> HNSW
//!          |                                   ^               |
//!          |                                   +---- vectors --+-- embedder (ONNX)
//!          +--> query: embedder -> HNSW -> store
//! ```
//!
//! Every arrow is a bounded queue or a plain call. The store is the truth; the index is derived and can be deleted.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Instant;

use anyhow::{Context, anyhow, bail};
use prometheus_client::registry::Registry;
use synapsenet_index::{Hnsw, HnswOptions, Model, Tokenizer, find_runtime};
use synapsenet_net::Layer;
use synapsenet_proto::Identity;
use synapsenet_storage::{Change, Store, StoreOptions};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle as TaskHandle;
use tokio_util::sync::CancellationToken;

use crate::announcer::{Announcer, MAX_OUTBOX};
use crate::blocking::blocking;
use crate::config::{Config, Origin, Settings, StorageConfig};
use crate::embedder::{EmbedderHandle, EmbedderThread, ModelState, Start};
use crate::events::Events;
use crate::identity;
use crate::indexer::{Indexer, MAX_FALSE_CLAIMS, apply_log};
use crate::ingest::{self, Ingest, Limits};
use crate::memory::Memory;
use crate::mesh::{self, Listening, Mesh};
use crate::metrics::Metrics;
use crate::metrics_http::MetricsServer;
use crate::rpc::{Api, Parts};
use crate::rpc_server::RpcServer;

/// Name of the database in the data folder.
const DATABASE_FILE: &str = "grains.redb";
/// Name of the folder with the saved index in the data folder. Deleting it is harmless.
const INDEX_DIR: &str = "index";
/// Searches that walk the index at the same time; more wait for each other.
const MAX_CONCURRENT_SEARCHES: usize = 16;
/// Failures that may wait to be reported: the first one stops the node.
const FAILURES: usize = 8;

/// A running node. Dropping it without [`Node::stop`] loses no acknowledged grain, but the next start is slower.
#[derive(Debug)]
pub struct Node {
    api_addresses: Vec<String>,
    metrics_address: Option<SocketAddr>,
    author: String,
    mesh: Option<Mesh>,
    stop_serving: CancellationToken,
    serving: Vec<TaskHandle<()>>,
    stop_indexing: CancellationToken,
    indexing: TaskHandle<()>,
    ingest: Ingest,
    ingest_thread: JoinHandle<()>,
    embedder_thread: EmbedderThread,
    failures: mpsc::Receiver<anyhow::Error>,
}

/// What [`open`] makes from the data folder before anything runs.
struct Opened {
    memory: Memory,
    identity: Identity,
    registry: Registry,
    library: PathBuf,
    tokenizer: Tokenizer,
    /// The last entries of the store's log in the index and in its snapshot.
    log: (u64, u64),
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
        let config = settings.config;
        let (dir, open_config) = (data_dir.to_owned(), config.clone());
        let opened = blocking(move || open(&dir, &open_config)).await?;
        let Opened { memory, identity, mut registry, library, tokenizer, log } = opened;
        let net_metrics = synapsenet_net::Metrics::register(&mut registry);
        let (memory, identity) = (Arc::new(memory), Arc::new(identity));

        // Whatever can be refused comes before the first thread, so that a failed start leaves nothing running.
        let server = RpcServer::bind(data_dir, &config.api).await?;
        let metrics_server = match config.metrics.listen.as_str() {
            "" => None,
            address => Some(MetricsServer::bind(address, registry, memory.clone()).await?),
        };
        let listening = match config.network.enabled {
            true => {
                let network = &config.network;
                Some(Listening::start(network, may_move, data_dir, &identity, net_metrics, layer).await?)
            }
            false => None,
        };
        let api_addresses = server.addresses();
        let metrics_address = metrics_server.as_ref().map(MetricsServer::address);

        let (failed, failures) = mpsc::channel(FAILURES);
        let changed = Arc::new(Notify::new());
        let metrics = memory.metrics.clone();
        let max_grains = config.storage.hnsw_max_elements as u64;
        let ingest_ended = CancellationToken::new();
        let events = Events::new();
        // Without a mesh, nobody takes what comes out of these.
        let (outbox, announcements) = mpsc::channel(MAX_OUTBOX);
        let (false_claims, false_claims_found) = mpsc::channel(MAX_FALSE_CLAIMS);
        let (ingest, ingest_thread) = Ingest::start(ingest::Start {
            memory: memory.clone(),
            announcer: Announcer::new(memory.clone(), identity.clone(), outbox),
            events: events.clone(),
            limits: Limits { max_notes: max_grains, quota_bytes: config.storage.quota_bytes },
            changed: changed.clone(),
            ended: ingest_ended.clone(),
        });
        let (model, threads) = (memory.model.clone(), threads(&config));
        let start = Start { library, model, tokenizer, threads, metrics };
        let (embedder, embedder_thread) = EmbedderHandle::start(start);

        let indexer =
            Indexer::new(memory.clone(), embedder.clone(), ingest.clone(), changed, false_claims, log);
        let (indexer, progress) = indexer;
        let (stop_serving, stop_indexing) = (CancellationToken::new(), CancellationToken::new());
        let (mesh, mesh_tasks) = listening
            .map(|listening| {
                let (memory, ingest, events) = (memory.clone(), ingest.clone(), events.clone());
                let (false_claims, stop) = (false_claims_found, stop_serving.clone());
                let parts = mesh::Parts { memory, ingest, events, announcements, false_claims, stop };
                Mesh::new(listening, parts)
            })
            .unzip();
        let parts = Parts {
            mesh: mesh.clone(),
            memory,
            ingest: ingest.clone(),
            events,
            stopping: stop_serving.clone(),
            embedder: embedder.clone(),
            identity: identity.clone(),
            progress,
            started,
            data_dir: data_dir.display().to_string(),
            api_addresses: api_addresses.clone(),
            metrics_address: metrics_address.map(|address| address.to_string()).unwrap_or_default(),
            max_grains,
        };
        let api = Api::new(parts, config.api.max_calls);

        let mut serving =
            vec![spawn("the API", &failed, &stop_serving, server.run(api, stop_serving.clone()))];
        if let Some(server) = metrics_server {
            serving.push(spawn("the metrics page", &failed, &stop_serving, server.run(stop_serving.clone())));
        }
        if let Some(tasks) = mesh_tasks {
            serving.push(spawn("the mesh", &failed, &stop_serving, tasks.mesh));
            serving.push(spawn("synchronisation", &failed, &stop_serving, tasks.sync));
        }
        serving.push(spawn("the model", &failed, &stop_serving, watch_model(embedder, stop_serving.clone())));
        serving.push(spawn("the store's writer", &failed, &stop_serving, {
            let stop = stop_serving.clone();
            async move {
                tokio::select! {
                    () = ingest_ended.cancelled() => Err(anyhow!("the database cannot be written any more; see the log")),
                    () = stop.cancelled() => Ok(()),
                }
            }
        }));
        let run = indexer.run(stop_indexing.clone());
        let run = async { run.await.map_err(anyhow::Error::from) };
        let indexing = spawn("the indexer", &failed, &stop_indexing, run);
        Ok(Self {
            api_addresses,
            metrics_address,
            author: identity.author().to_string(),
            mesh,
            stop_serving,
            serving,
            stop_indexing,
            indexing,
            ingest,
            ingest_thread,
            embedder_thread,
            failures,
        })
    }

    /// Where the API listens, as clients write it: the unix socket first.
    #[must_use]
    pub fn api_addresses(&self) -> &[String] {
        &self.api_addresses
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

    /// Waits until a part ends that nobody asked to end. Then [`Node::stop`] is all that is left to do.
    pub async fn failed(&mut self) -> anyhow::Error {
        self.failures.recv().await.unwrap_or_else(|| anyhow!("every task of the node ended"))
    }

    /// Stops in order: no more calls, the indexer ends its round and saves the index, ingest drains, the model ends.
    ///
    /// # Errors
    /// When a part failed before or while it was stopped.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        self.stop_serving.cancel();
        for task in self.serving.drain(..) {
            task.await.context("a serving task panicked")?;
        }
        self.stop_indexing.cancel();
        (&mut self.indexing).await.context("the indexer panicked")?;
        self.ingest.stop().await;
        let (ingest, embedder) = (self.ingest_thread, self.embedder_thread);
        if blocking(move || ingest.join().and(embedder.stop())).await.is_err() {
            bail!("a thread of the node panicked; its message is in the log");
        }
        match self.failures.try_recv() {
            Ok(failure) => Err(failure),
            Err(_) => Ok(()),
        }
    }
}

/// Runs a part as a task. When it ends before `stop`, or with an error, that is reported as a failure of the node.
fn spawn(
    name: &'static str,
    failed: &mpsc::Sender<anyhow::Error>,
    stop: &CancellationToken,
    part: impl Future<Output = anyhow::Result<()>> + Send + 'static,
) -> TaskHandle<()> {
    let (failed, stop) = (failed.clone(), stop.clone());
    tokio::spawn(async move {
        let failure = match part.await {
            Ok(()) if stop.is_cancelled() => return,
            Ok(()) => anyhow!("{name} ended unasked"),
            Err(error) => error.context(format!("{name} failed")),
        };
        // When the queue is full the node is stopping for an earlier failure already.
        let _ = failed.try_send(failure);
    })
}

/// Ends with an error when the model cannot be loaded.
async fn watch_model(embedder: EmbedderHandle, stop: CancellationToken) -> anyhow::Result<()> {
    let mut state = embedder.state();
    let failed = async {
        let state = state.wait_for(|state| matches!(state, ModelState::Failed(_))).await;
        match state.as_deref() {
            Ok(ModelState::Failed(error)) => anyhow!("{error:#}"),
            _ => anyhow!("the model's threads ended"),
        }
    };
    tokio::select! {
        error = failed => Err(error),
        () = stop.cancelled() => Ok(()),
    }
}

/// Opens everything in the data folder: the store first, because its lock proves that nobody else uses the folder.
fn open(data_dir: &Path, config: &Config) -> anyhow::Result<Opened> {
    make_private_dir(data_dir)?;
    let options = StoreOptions { cache_bytes: config.storage.cache_bytes };
    let database = data_dir.join(DATABASE_FILE);
    let store =
        Store::open(&database, &options).with_context(|| format!("cannot use {}", database.display()))?;
    let identity = identity::load_or_create(data_dir)?;
    let model = match config.ai.model_dir.as_str() {
        "" => Model::built_in()?,
        dir => Model::from_dir(Path::new(dir))?,
    };
    let configured = (!config.ai.onnxruntime.is_empty()).then(|| Path::new(&config.ai.onnxruntime));
    let library = find_runtime(configured)?;

    let index_dir = data_dir.join(INDEX_DIR);
    make_private_dir(&index_dir)?;
    // The two slow parts of a start have nothing to do with each other.
    let (index, tokenizer) = std::thread::scope(|scope| {
        let tokenizer = scope.spawn(|| Tokenizer::new(&model));
        let index = load_index(&store, &model, &index_dir, &config.storage);
        (index, tokenizer.join().expect("reading a tokenizer does not panic"))
    });
    let ((hnsw, saved), tokenizer) = (index?, tokenizer.context("the model's tokenizer cannot be used")?);
    let mut registry = Registry::default();
    let metrics = Metrics::register(&mut registry);
    let memory = Memory { store, hnsw, model, index_dir, metrics };
    requeue_without_vector(&memory)?;
    let (applied, _) = apply_log(&memory, saved)?;
    Ok(Opened { memory, identity, registry, library, tokenizer, log: (applied, saved) })
}

/// The saved index with the last entry of the log that it has, or an empty one.
fn load_index(
    store: &Store,
    model: &Model,
    index_dir: &Path,
    config: &StorageConfig,
) -> anyhow::Result<(Hnsw, u64)> {
    let options = HnswOptions {
        m: config.hnsw_m,
        ef_construction: config.hnsw_ef_construction,
        ef_search: config.hnsw_ef_search,
        max_elements: config.hnsw_max_elements,
        max_searches: MAX_CONCURRENT_SEARCHES,
    };
    let view = store.view()?;
    if let Some((hnsw, seq)) =
        Hnsw::load(index_dir, view.store_id()?, model.id(), model.dimension(), options)?
    {
        // A snapshot that the log does not reach back to, or that is newer than the store, is of another time.
        if view.index_log(seq)?.is_some() {
            return Ok((hnsw, seq));
        }
        tracing::warn!("the saved index is of another time than the database; it is built anew");
    }
    // What did not fit now must not fit by chance when the log has grown.
    for entry in
        std::fs::read_dir(index_dir).with_context(|| format!("cannot read {}", index_dir.display()))?
    {
        let path = entry?.path();
        std::fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
    }
    Ok((Hnsw::new(model.id(), model.dimension(), options)?, NO_SNAPSHOT))
}

/// What "no snapshot" counts as in the log: before its first entry.
const NO_SNAPSHOT: u64 = 0;

/// Marks notes that have no vector of this model as pending. There are none unless the model changed.
fn requeue_without_vector(memory: &Memory) -> anyhow::Result<()> {
    let view = memory.store.view()?;
    let counts = view.counts()?;
    let missing = counts.notes.saturating_sub(view.vector_count(memory.model.id())?);
    drop(view);
    if missing > counts.pending {
        tracing::info!(grains = missing, "the model is new to these grains; they are embedded again");
        memory.store.write(vec![Change::RequeueAll { model: memory.model.id() }])?;
    }
    Ok(())
}

fn make_private_dir(dir: &Path) -> anyhow::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir);
    made.with_context(|| format!("cannot make the folder {}: name another with --data-dir", dir.display()))
}

/// Threads that compute vectors.
fn threads(config: &Config) -> usize {
    match config.ai.threads {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        threads => threads,
    }
}

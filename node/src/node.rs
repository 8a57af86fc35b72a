//! The node: builds the parts, spawns the tasks, and stops them in order. Start reading here.
//!
//! ```text
//!  gRPC --rpc--> ingest --one transaction--> store --log--> indexer --> HNSW
//!          |                                   ^               |
//!          |                                   +---- vectors --+-- models (ONNX)
//!          +--> query: models -> HNSW -> store
//! ```
//!
//! Every arrow is a bounded queue or a plain call. The store is the truth; the index is derived and can be deleted.

use std::fmt;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Instant;

use anyhow::{Context, anyhow, bail};
use synapsenet_net::Layer;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle as TaskHandle;
use tokio_util::sync::CancellationToken;

use crate::blocking::blocking;
use crate::calls::report::Gauges;
use crate::calls::{Calls, Parts};
use crate::config::{Entry, Origin, Settings};
use crate::http::MetricsServer;
use crate::memory::announcer::{Announcer, MAX_OUTBOX};
use crate::memory::events::Events;
use crate::memory::indexer::{self, Indexer, MAX_FALSE_CLAIMS};
use crate::memory::ingest::{self, Ingest, Limits};
use crate::memory::opening::{Opened, open};
use crate::memory::spaces::Space;
use crate::memory::switch::{Switch, SwitchError};
use crate::mesh::{self, Listening, Mesh};
use crate::models::{Hub, Models, ModelsEnd};
use crate::rpc::Api;
use crate::rpc::listen::RpcServer;

/// Failures that may wait to be reported: the first one stops the node.
const FAILURES: usize = 8;

/// A running node. Dropping it without [`Node::stop`] loses no acknowledged grain, but the next start is slower.
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
    models: ModelsEnd,
    switch: Switch,
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
        let (dir, open_config) = (data_dir.to_owned(), config.clone());
        let opened = blocking(move || open(&dir, &open_config)).await?;
        let Opened { memory, identity, mut registry, models } = opened;
        let net_metrics = synapsenet_net::Metrics::register(&mut registry);
        let (memory, identity) = (Arc::new(memory), Arc::new(identity));

        // Whatever can be refused comes before the first thread, so that a failed start leaves nothing running.
        let server = RpcServer::bind(data_dir, &config.api).await?;
        let metrics_server = match config.metrics.listen.as_str() {
            "" => None,
            address => Some(MetricsServer::bind(address, registry, Gauges(memory.clone())).await?),
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
        let (indexer, progress) = Indexer::new(indexer::Parts {
            memory: memory.clone(),
            models: models.clone(),
            ingest: ingest.clone(),
            changed,
            false_claims,
        });
        let switch = Switch::new(memory.clone(), models.clone(), ingest.clone(), config.ai.model.clone());
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
            memory: memory.clone(),
            ingest: ingest.clone(),
            events,
            stopping: stop_serving.clone(),
            models: models.clone(),
            switch: switch.clone(),
            hub: Hub::new(&config.ai.hub),
            identity: identity.clone(),
            progress,
            started,
            data_dir: data_dir.display().to_string(),
            api_addresses: api_addresses.clone(),
            metrics_address: metrics_address.map(|address| address.to_string()).unwrap_or_default(),
            max_grains,
        };
        let api = Api::new(Calls::new(parts, config.api.max_calls));

        let mut serving =
            vec![spawn("the API", &failed, &stop_serving, server.run(api, stop_serving.clone()))];
        if let Some(server) = metrics_server {
            serving.push(spawn("the metrics page", &failed, &stop_serving, server.run(stop_serving.clone())));
        }
        if let Some(tasks) = mesh_tasks {
            serving.push(spawn("the mesh", &failed, &stop_serving, tasks.mesh));
            serving.push(spawn("synchronisation", &failed, &stop_serving, tasks.sync));
        }
        let warmed = warm(models.clone(), memory.current(), stop_serving.clone());
        serving.push(spawn("the model", &failed, &stop_serving, warmed));
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
            models: ModelsEnd(models),
            switch,
            settings,
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

    /// Takes over from a configuration that was read anew what can be changed while the node runs: the model, which is
    /// loaded before it takes its place. Answers the keys that differ and have to wait for the next start.
    ///
    /// # Errors
    /// When the model cannot be used; then everything is as before.
    pub async fn reload(&mut self, settings: Settings) -> anyhow::Result<Vec<String>> {
        let name = settings.config.ai.model.clone();
        self.switch.reconfigure(&name).await.map_err(|error: SwitchError| anyhow!("{error:#}"))?;
        let before = self.settings.entries();
        let differs = |(now, before): (&Entry, &Entry)| {
            (now.value != before.value && now.key != "ai.model").then(|| now.key.clone())
        };
        let waiting = settings.entries().iter().zip(&before).filter_map(differs).collect();
        Ok(waiting)
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
        let (ingest, models) = (self.ingest_thread, self.models);
        let ended = blocking(move || {
            drop(models);
            ingest.join()
        });
        if ended.await.is_err() {
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

//! What the node holds and what it is doing.

use std::time::Duration;

use synapsenet_index::Model;
pub(crate) use synapsenet_net::Warning;
use synapsenet_net::{Multiaddr, PeerId};
use synapsenet_proto::{AuthorId, Topic};
use synapsenet_storage::Counts;

use crate::calls::access::Topics;
use crate::calls::{Call, CallError, SyncProgress};
use crate::log;
use crate::memory::ingest::Limits;
use crate::mesh::Mesh;
use crate::metrics::memory_bytes;
use crate::models::Presence;
use crate::sources::Standing;

/// Why a node is read-only that cannot write.
pub(super) const DISK_FULL: &str =
    "the disk is full: make room on the disk of the data folder; the node then goes on by itself";

/// Problems of folders that are told.
const MAX_PROBLEMS: usize = 20;

/// Everything that `status` tells.
pub(crate) struct Report {
    pub author: AuthorId,
    pub data_dir: String,
    pub uptime: Duration,
    /// What the store holds.
    pub counts: Counts,
    /// Notes that search finds.
    pub searchable: u64,
    /// Notes that are found by their words only, because the model cannot read them, or failed on them.
    pub unreadable: u64,
    /// Size of the database file.
    pub storage_bytes: u64,
    /// Size of the indexes in memory, as they count it.
    pub index_bytes: u64,
    /// Resident memory of the process.
    pub memory_bytes: u64,
    pub model: ModelReport,
    pub sources: SourcesReport,
    pub api_addresses: Vec<String>,
    /// SHA-256 of the certificate that the API shows; empty without TLS.
    pub api_fingerprint: String,
    pub metrics_address: String,
    /// Topics that there are grains of, and how many.
    pub topics: Vec<(Topic, u64)>,
    /// What may be held.
    pub limits: Limits,
    /// Why nothing can be changed now. None when it can.
    pub read_only_reason: Option<&'static str>,
    /// None when the node takes no part in a mesh.
    pub mesh: Option<MeshReport>,
    /// What is written to the log; empty where this program writes none.
    pub log_level: String,
}

/// The folders that are remembered.
#[derive(Debug, Default)]
pub(crate) struct SourcesReport {
    pub remembered: usize,
    pub paused: usize,
    /// What is wrong with some, at most [`MAX_PROBLEMS`].
    pub problems: Vec<String>,
}

/// The model in use.
pub(crate) struct ModelReport {
    pub model: Model,
    pub presence: Presence,
    /// Grains that it has no vector of yet.
    pub to_embed_anew: u64,
    /// The models that find these, by name.
    pub former: Vec<String>,
}

/// This node in the mesh.
pub(crate) struct MeshReport {
    pub peer: PeerId,
    /// Each with `/p2p/`.
    pub addresses: Vec<Multiaddr>,
    pub peers: usize,
    pub max_peers: usize,
    /// Topics that the node takes part in.
    pub topics: Vec<Topic>,
    pub syncs: Vec<SyncProgress>,
    /// What the owner should know.
    pub warnings: Vec<Warning>,
}

impl Call {
    /// Tells what the node holds and what it is doing.
    ///
    /// # Errors
    /// When the store cannot be read or the node is stopping.
    pub async fn report(&self) -> Result<Report, CallError> {
        let (counts, topics) = self.read(|_, view| Ok((view.counts()?, view.topics()?))).await?;
        let parts = &self.parts;
        let mesh = match &parts.mesh {
            Some(mesh) => Some(of_mesh(mesh).await?),
            None => None,
        };
        let spaces = parts.memory.spaces();
        let model = parts.models.variant_for(&spaces.current.model);
        let report = Report {
            author: parts.identity.author(),
            data_dir: parts.data_dir.display().to_string(),
            uptime: parts.started.elapsed(),
            counts,
            searchable: spaces.searchable(counts),
            unreadable: parts.progress.borrow().unreadable,
            storage_bytes: parts.memory.store.size_bytes(),
            index_bytes: spaces.all().map(|space| space.hnsw.memory_bytes()).sum(),
            memory_bytes: memory_bytes(),
            model: ModelReport {
                presence: parts.models.presence(&model),
                model,
                to_embed_anew: spaces.to_embed_anew(counts),
                former: spaces
                    .former
                    .iter()
                    .map(|space| parts.models.variant_for(&space.model).full_name())
                    .collect(),
            },
            sources: of_sources(&parts.sources.all()),
            api_addresses: parts.api_addresses.clone(),
            api_fingerprint: parts.api_fingerprint.clone(),
            metrics_address: parts.metrics_address.clone(),
            topics,
            limits: *parts.limits.borrow(),
            read_only_reason: parts.ingest.is_disk_full().then_some(DISK_FULL),
            mesh,
            log_level: log::level(),
        };
        Ok(report.within(self.topics_of_caller()))
    }
}

impl Report {
    /// What of it is for who has these topics alone: how the node does, and what it holds of them. What of these is not searchable
    /// yet is counted for all together, and so is not told.
    fn within(mut self, topics: &Topics) -> Self {
        if !topics.is_limited() {
            return self;
        }
        self.topics.retain(|(topic, _)| topics.has(topic));
        // The path of the socket is that of the data folder.
        self.api_addresses.retain(|address| !address.starts_with("unix:"));
        let notes = self.topics.iter().map(|(_, grains)| grains).sum();
        let model = ModelReport { to_embed_anew: 0, former: Vec::new(), ..self.model };
        Self {
            data_dir: String::new(),
            counts: Counts { notes, ..Counts::default() },
            searchable: notes,
            unreadable: 0,
            storage_bytes: 0,
            index_bytes: 0,
            memory_bytes: 0,
            model,
            sources: SourcesReport::default(),
            mesh: None,
            metrics_address: String::new(),
            log_level: String::new(),
            ..self
        }
    }
}

fn of_sources(sources: &[Standing]) -> SourcesReport {
    let problem = |standing: &Standing| standing.last.as_ref().and_then(|report| report.problem.clone());
    SourcesReport {
        remembered: sources.len(),
        paused: sources.iter().filter(|standing| standing.source.is_paused).count(),
        problems: sources.iter().filter_map(problem).take(MAX_PROBLEMS).collect(),
    }
}

async fn of_mesh(mesh: &Mesh) -> Result<MeshReport, CallError> {
    let status = mesh.net.status().await?;
    Ok(MeshReport {
        peer: mesh.net.peer(),
        addresses: mesh.addresses().await?,
        peers: status.peers,
        max_peers: status.max_peers,
        topics: mesh.topics().into_iter().collect(),
        syncs: mesh.sync.progress(),
        warnings: status.warnings,
    })
}

//! What the node holds and what it is doing.

use synapsenet_net::NetError;
use synapsenet_proto::rpc;
use tonic::Status;

use super::Api;
use super::mesh::sync_message;
use super::status::status_of;
use crate::embedder::ModelState;
use crate::mesh::{Mesh, MeshError};
use crate::metrics::memory_bytes;

/// Everything that `status` tells.
///
/// # Errors
/// When the store cannot be read or the node is stopping.
pub(super) async fn report(api: &Api) -> Result<rpc::StatusResponse, Status> {
    let (counts, topics) = api.read(|_, view| Ok((view.counts()?, view.topics()?))).await?;
    let parts = &api.parts;
    let memory = &parts.memory;
    let mesh = match &parts.mesh {
        Some(mesh) => {
            Some(mesh_status(mesh).await.map_err(|error| status_of(MeshError::from(error).into()))?)
        }
        None => None,
    };
    let (state, provider) = match &*parts.embedder.state().borrow() {
        ModelState::Loading => ("loading".to_owned(), String::new()),
        ModelState::Ready { provider } => ("ready".to_owned(), provider.clone()),
        ModelState::Failed(error) => (format!("failed: {error}"), String::new()),
    };
    let topic = |(topic, grains): (synapsenet_proto::Topic, u64)| rpc::TopicStatus {
        topic: topic.to_string(),
        grains,
    };
    Ok(rpc::StatusResponse {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        author: parts.identity.author().to_string(),
        data_dir: parts.data_dir.clone(),
        uptime_ms: parts.started.elapsed().as_millis() as u64,
        grains: counts.notes,
        retractions: counts.retractions,
        pending: counts.pending,
        searchable: memory.hnsw.len() as u64,
        storage_bytes: memory.store.size_bytes(),
        index_bytes: memory.hnsw.memory_bytes(),
        memory_bytes: memory_bytes(),
        model: Some(rpc::ModelStatus {
            name: format!("{} ({})", memory.model.name(), memory.model.variant()),
            model_id: memory.model.id().to_string(),
            dimension: memory.model.dimension() as u32,
            max_tokens: memory.model.max_tokens() as u32,
            state,
            provider,
        }),
        api_addresses: parts.api_addresses.clone(),
        metrics_address: parts.metrics_address.clone(),
        topics: topics.into_iter().map(topic).collect(),
        max_grains: parts.max_grains,
        mesh,
    })
}

async fn mesh_status(mesh: &Mesh) -> Result<rpc::MeshStatus, NetError> {
    let status = mesh.net.status().await?;
    Ok(rpc::MeshStatus {
        peer_id: mesh.net.peer().to_string(),
        addresses: mesh.addresses().await?.iter().map(ToString::to_string).collect(),
        peers: status.peers as u32,
        max_peers: status.max_peers as u32,
        topics: mesh.topics().iter().map(ToString::to_string).collect(),
        syncs: mesh.sync.progress().iter().map(sync_message).collect(),
    })
}

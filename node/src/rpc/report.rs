//! What the node holds and what it is doing.

use synapsenet_net::NetError;
use synapsenet_proto::rpc;
use synapsenet_storage::Counts;
use tonic::Status;

use super::Api;
use super::mesh::sync_message;
use super::status::status_of;
use crate::memory::spaces::Spaces;
use crate::mesh::{Mesh, MeshError};
use crate::metrics::memory_bytes;
use crate::models::Presence;

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
    let spaces = memory.spaces();
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
        searchable: spaces.searchable(counts),
        storage_bytes: memory.store.size_bytes(),
        index_bytes: spaces.all().map(|space| space.hnsw.memory_bytes()).sum(),
        memory_bytes: memory_bytes(),
        model: Some(model_status(api, &spaces, counts)),
        api_addresses: parts.api_addresses.clone(),
        metrics_address: parts.metrics_address.clone(),
        topics: topics.into_iter().map(topic).collect(),
        max_grains: parts.max_grains,
        mesh,
    })
}

fn model_status(api: &Api, spaces: &Spaces, counts: Counts) -> rpc::ModelStatus {
    let model = &spaces.current.model;
    let (state, provider) = match api.parts.models.presence(model.id()) {
        Presence::Absent => ("unloaded", String::new()),
        Presence::Loading => ("loading", String::new()),
        Presence::Loaded { provider, .. } => ("ready", provider.to_string()),
    };
    rpc::ModelStatus {
        name: model.full_name(),
        model_id: model.id().to_string(),
        dimension: model.dimension() as u32,
        max_tokens: model.max_tokens() as u32,
        state: state.to_owned(),
        provider,
        to_embed_anew: spaces.to_embed_anew(counts),
        former_models: spaces.former.iter().map(|space| space.model.full_name()).collect(),
    }
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

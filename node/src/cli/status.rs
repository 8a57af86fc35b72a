//! `status` and `id`: what a node is and what it is doing.

use indicatif::{HumanBytes, HumanCount};
use schemars::JsonSchema;
use serde::Serialize;
use synapsenet_proto::rpc;

use super::client::{call, connect};
use super::context::Context;
use super::failure::{Exit, Failure};
use super::models::state_word;
use super::output::{FAINT, Output, READER_HINT, plural, printable};
use super::sync::{SyncRecord, describe_sync};
use super::time;

/// Topics that `status` shows to people.
const SHOWN_TOPICS: usize = 12;

/// The state of a node, for scripts.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct StatusRecord<'a> {
    /// Of the program.
    version: &'a str,
    /// The node's author key.
    author: &'a str,
    data_dir: &'a str,
    uptime_ms: u64,
    /// Notes held.
    grains: u64,
    /// Marks of what was withdrawn.
    retractions: u64,
    /// Notes that the model has not read yet.
    pending: u64,
    /// Of these, those that it cannot read.
    unreadable: u64,
    /// Notes that are found by their meaning.
    searchable: u64,
    /// How many the index may hold.
    max_grains: u64,
    /// Grains of authors that are neither this node's own nor followed.
    strangers: u64,
    /// How many these may be.
    max_strangers: u64,
    /// What they take on the disk, at a guess.
    stranger_bytes: u64,
    /// How much that may be; 0 is without limit.
    quota_bytes: u64,
    /// Why nothing can be changed; null when it can.
    read_only_reason: Option<&'a str>,
    /// Folders that are remembered.
    sources: u32,
    /// Of these, those that are paused.
    paused_sources: u32,
    /// What is wrong with some.
    source_problems: &'a [String],
    /// Size of the database file.
    storage_bytes: u64,
    /// Size of the index in memory.
    index_bytes: u64,
    /// Resident memory of the process.
    memory_bytes: u64,
    /// The model in use.
    model: ModelRecord<'a>,
    /// Where gRPC is served.
    api_addresses: &'a [String],
    /// SHA-256 of the certificate that the API shows.
    api_fingerprint: Option<&'a str>,
    /// Where the pages are served.
    metrics_address: Option<&'a str>,
    /// Topics with notes.
    topics: Vec<TopicRecord<'a>>,
    /// What is written to the log.
    log_level: Option<&'a str>,
    /// Null when the node takes no part in a mesh.
    mesh: Option<MeshRecord<'a>>,
}

/// The mesh side of a node, for scripts.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct MeshRecord<'a> {
    peer_id: &'a str,
    /// Where other nodes reach it.
    addresses: &'a [String],
    /// Connected.
    peers: u32,
    /// How many these may be.
    max_peers: u32,
    /// That the node takes part in.
    topics: &'a [String],
    /// Under way, and the latest of each topic.
    syncs: Vec<SyncRecord<'a>>,
    /// What its owner should do something about.
    warnings: Vec<WarningRecord<'a>>,
}

/// What the owner should know, for scripts.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct WarningRecord<'a> {
    /// For programs.
    reason: &'static str,
    /// For people.
    text: &'a str,
}

impl<'a> WarningRecord<'a> {
    fn new(warning: &'a rpc::MeshWarning) -> Self {
        let reason = match warning.reason() {
            rpc::MeshWarningReason::Clock => "clock",
            rpc::MeshWarningReason::Twin => "twin",
            rpc::MeshWarningReason::Unspecified => "other",
        };
        Self { reason, text: &warning.text }
    }
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct ModelRecord<'a> {
    name: &'a str,
    /// The space of its vectors.
    space_id: &'a str,
    /// Components of a vector.
    dimension: u32,
    /// Tokens that it sees at once.
    max_tokens: u32,
    /// `installed`, `loading` or `loaded`.
    state: &'static str,
    /// What it runs on; empty while it is not loaded.
    provider: &'a str,
    /// Grains that it has no vectors of yet.
    to_embed_anew: u64,
    /// The models that find these until then.
    former_models: &'a [String],
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct TopicRecord<'a> {
    topic: &'a str,
    /// Notes of it.
    grains: u64,
}

impl<'a> StatusRecord<'a> {
    fn new(status: &'a rpc::StatusResponse, model: &'a rpc::ModelStatus) -> Self {
        let topic = |topic: &'a rpc::TopicStatus| TopicRecord { topic: &topic.topic, grains: topic.grains };
        Self {
            version: &status.version,
            author: &status.author,
            data_dir: &status.data_dir,
            uptime_ms: status.uptime_ms,
            grains: status.grains,
            retractions: status.retractions,
            pending: status.pending,
            unreadable: status.unreadable,
            sources: status.sources,
            paused_sources: status.paused_sources,
            source_problems: &status.source_problems,
            searchable: status.searchable,
            max_grains: status.max_grains,
            strangers: status.strangers,
            max_strangers: status.max_strangers,
            stranger_bytes: status.stranger_bytes,
            quota_bytes: status.quota_bytes,
            read_only_reason: Some(status.read_only_reason.as_str()).filter(|reason| !reason.is_empty()),
            storage_bytes: status.storage_bytes,
            index_bytes: status.index_bytes,
            memory_bytes: status.memory_bytes,
            model: ModelRecord {
                name: &model.name,
                space_id: &model.space_id,
                dimension: model.dimension,
                max_tokens: model.max_tokens,
                state: state_word(model.state()),
                provider: &model.provider,
                to_embed_anew: model.to_embed_anew,
                former_models: &model.former_models,
            },
            api_addresses: &status.api_addresses,
            api_fingerprint: fingerprint_of(status),
            metrics_address: Some(status.metrics_address.as_str()).filter(|address| !address.is_empty()),
            topics: status.topics.iter().map(topic).collect(),
            log_level: Some(status.log_level.as_str()).filter(|level| !level.is_empty()),
            mesh: status.mesh.as_ref().map(|mesh| MeshRecord {
                peer_id: &mesh.peer_id,
                addresses: &mesh.addresses,
                peers: mesh.peers,
                max_peers: mesh.max_peers,
                topics: &mesh.topics,
                syncs: mesh.syncs.iter().map(SyncRecord::new).collect(),
                warnings: mesh.warnings.iter().map(WarningRecord::new).collect(),
            }),
        }
    }
}

/// SHA-256 of the certificate that the API shows; none without TLS.
fn fingerprint_of(status: &rpc::StatusResponse) -> Option<&str> {
    Some(status.api_fingerprint.as_str()).filter(|fingerprint| !fingerprint.is_empty())
}

/// Runs `status`.
pub(crate) async fn status(context: &mut Context) -> Result<Exit, Failure> {
    let mut client = connect(&context.target).await?;
    let status = client.status(call(rpc::StatusRequest {})).await?.into_inner();
    let model = status.model.clone().unwrap_or_default();
    let out = &mut context.out;
    if out.is_json() {
        out.record(&StatusRecord::new(&status, &model))?;
    } else {
        show_status(&status, &model, out)?;
    }
    Ok(Exit::Done)
}

fn show_status(
    status: &rpc::StatusResponse,
    model: &rpc::ModelStatus,
    out: &mut Output,
) -> Result<(), Failure> {
    let mut field =
        |name: &str, value: &str| out.line(format_args!("{FAINT}{name:10}{FAINT:#} {}", printable(value)));
    field("node", &format!("synapsenet {}, up {}", status.version, time::span(status.uptime_ms)))?;
    field("author", &status.author)?;
    // Whoever is limited to topics is not told.
    if !status.data_dir.is_empty() {
        field("data", &format!("{} ({} on disk)", status.data_dir, HumanBytes(status.storage_bytes)))?;
    }
    let (grains, retractions) = (plural(status.grains, "grain"), plural(status.retractions, "retraction"));
    field("holds", &format!("{grains} of at most {}, {retractions}", HumanCount(status.max_grains)))?;
    if status.strangers > 0 {
        field("strangers", &describe_strangers(status))?;
    }
    if !status.read_only_reason.is_empty() {
        field("read-only", &status.read_only_reason)?;
    }
    let searchable = HumanCount(status.searchable);
    field(
        "search",
        &match status.pending {
            0 => format!("finds all {searchable}"),
            pending => {
                let waiting = pending.saturating_sub(status.unreadable);
                format!("finds {searchable} by meaning; {} wait for the model", HumanCount(waiting))
            }
        },
    )?;
    if status.unreadable > 0 {
        let grains = plural(status.unreadable, "grain");
        field("", &format!("{grains} by words only: the model cannot read them{READER_HINT}"))?;
    }
    if status.sources > 0 {
        let paused = match status.paused_sources {
            0 => String::new(),
            paused => format!(", {paused} of them paused"),
        };
        field("folders", &format!("{} remembered{paused}", HumanCount(status.sources.into())))?;
        status.source_problems.iter().try_for_each(|problem| field("", problem))?;
    }
    field("model", &describe_model(model))?;
    if model.to_embed_anew > 0 {
        let (left, by) = (plural(model.to_embed_anew, "grain"), model.former_models.join(", "));
        let by = if by.is_empty() { String::new() } else { format!(", found by {by} until then") };
        field("", &format!("{left} still to be embedded anew{by}"))?;
    }
    field(
        "memory",
        &format!("{}, the index {} of it", HumanBytes(status.memory_bytes), HumanBytes(status.index_bytes)),
    )?;
    for (at, address) in status.api_addresses.iter().enumerate() {
        field(if at == 0 { "api" } else { "" }, address)?;
    }
    if let Some(fingerprint) = fingerprint_of(status) {
        field("api pin", fingerprint)?;
    }
    match status.metrics_address.as_str() {
        "" => field("metrics", "off")?,
        address => field("metrics", &format!("http://{address}/metrics"))?,
    }
    if !status.log_level.is_empty() {
        field("log", &status.log_level)?;
    }
    if !status.topics.is_empty() {
        field("topics", &describe_topics(&status.topics))?;
    }
    let Some(mesh) = &status.mesh else { return field("mesh", "off") };
    let (peers, topics) = (plural(mesh.peers.into(), "peer"), mesh.topics.join(", "));
    field("mesh", &format!("{peers} of at most {}; takes part in {topics}", mesh.max_peers))?;
    field("peer id", &mesh.peer_id)?;
    for warning in &mesh.warnings {
        field("warning", &warning.text)?;
    }
    for sync in mesh.syncs.iter().take(SHOWN_TOPICS) {
        field("sync", &describe_sync(sync))?;
    }
    Ok(())
}

fn describe_strangers(status: &rpc::StatusResponse) -> String {
    let (held, most) = (HumanCount(status.strangers), HumanCount(status.max_strangers));
    let bytes = HumanBytes(status.stranger_bytes);
    match status.quota_bytes {
        0 => format!("{held} of at most {most} grains, about {bytes}"),
        quota => format!("{held} of at most {most} grains, about {bytes} of {}", HumanBytes(quota)),
    }
}

fn describe_model(model: &rpc::ModelStatus) -> String {
    let rpc::ModelStatus { name, dimension, max_tokens, provider, .. } = model;
    let state = state_word(model.state());
    let on = if provider.is_empty() { String::new() } else { format!(" on {provider}") };
    format!("{name}, {dimension} dimensions, {max_tokens} tokens; {state}{on}")
}

/// The largest topics first.
fn describe_topics(topics: &[rpc::TopicStatus]) -> String {
    let mut sorted: Vec<_> = topics.iter().collect();
    sorted.sort_by_key(|topic| std::cmp::Reverse(topic.grains));
    let shown = sorted.iter().take(SHOWN_TOPICS).map(|t| format!("{} ({})", t.topic, HumanCount(t.grains)));
    let mut text = shown.collect::<Vec<_>>().join(", ");
    if sorted.len() > SHOWN_TOPICS {
        text.push_str(&format!(" and {} more; --json lists all", sorted.len() - SHOWN_TOPICS));
    }
    text
}

/// Who a node is, for scripts.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct IdRecord<'a> {
    /// The node's author key.
    author: &'a str,
    /// Null without a mesh.
    peer_id: Option<&'a str>,
    /// Where other nodes reach it.
    addresses: &'a [String],
    /// SHA-256 of the certificate that the API shows.
    api_fingerprint: Option<&'a str>,
}

/// Runs `id`.
pub(crate) async fn id(context: &mut Context) -> Result<Exit, Failure> {
    let mut client = connect(&context.target).await?;
    let status = client.status(call(rpc::StatusRequest {})).await?.into_inner();
    let (author, mesh) = (&status.author, status.mesh.as_ref());
    let addresses = mesh.map(|mesh| mesh.addresses.as_slice()).unwrap_or_default();
    let peer_id = mesh.map(|mesh| mesh.peer_id.as_str());
    let out = &mut context.out;
    if out.is_json() {
        out.record(&IdRecord { author, peer_id, addresses, api_fingerprint: fingerprint_of(&status) })?;
        return Ok(Exit::Done);
    }
    let mut field = |name: &str, value: &str| out.line(format_args!("{FAINT}{name:8}{FAINT:#} {value}"));
    field("author", author)?;
    field("peer", peer_id.unwrap_or("none: this node takes no part in a mesh"))?;
    for (at, address) in addresses.iter().enumerate() {
        field(if at == 0 { "address" } else { "" }, address)?;
    }
    if let Some(fingerprint) = fingerprint_of(&status) {
        field("pin", fingerprint)?;
    }
    Ok(Exit::Done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_topics_come_first_and_the_rest_is_counted() {
        let topic = |n: u64| rpc::TopicStatus { topic: format!("t{n}"), grains: n };
        let few: Vec<_> = (1..=2).map(topic).collect();
        assert_eq!(describe_topics(&few), "t2 (2), t1 (1)");
        let many: Vec<_> = (1..=20).map(topic).collect();
        assert!(describe_topics(&many).ends_with(" and 8 more; --json lists all"));
    }
}

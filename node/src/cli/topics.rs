//! `topics`, `sync` and `net status`: what this node takes part in, and how it stands.

use clap::{Args, Subcommand};
use indicatif::{HumanBytes, HumanCount};
use serde::Serialize;
use synapsenet_proto::{Topic, rpc};

use super::client::{call, connect_mesh};
use super::context::Context;
use super::failure::{Exit, Failure};
use super::filter::parse_topic;
use super::output::{FAINT, Output, Unit, plural, printable, shown_id, table};

/// Arguments of `topics`.
#[derive(Debug, Args)]
pub(crate) struct TopicsArgs {
    #[command(subcommand)]
    command: Option<TopicsCommand>,
}

#[derive(Debug, Subcommand)]
enum TopicsCommand {
    /// Take part in a topic: get what others share there, and pass it on
    Join {
        /// Its name
        #[arg(value_parser = parse_topic)]
        topic: Topic,
    },
    /// Take no part in a topic any more; what is stored stays
    Leave {
        /// Its name
        #[arg(value_parser = parse_topic)]
        topic: Topic,
    },
}

/// Arguments of `sync`.
#[derive(Debug, Args)]
pub(crate) struct SyncArgs {
    /// Only this topic
    #[arg(value_parser = parse_topic)]
    topic: Option<Topic>,
}

/// `net`.
#[derive(Debug, Subcommand)]
pub(crate) enum NetCommand {
    /// Show addresses, whether others reach this node and why not, and bytes by protocol
    Status,
}

/// A topic, for scripts.
#[derive(Debug, Serialize)]
struct TopicRecord<'a> {
    topic: &'a str,
    joined: bool,
    grains: u64,
    peers: u32,
}

/// A topic joined or left, for scripts.
#[derive(Debug, Serialize)]
struct ChangedRecord<'a> {
    event: &'static str,
    topic: &'a str,
    changed: bool,
}

/// One synchronisation, for scripts.
#[derive(Debug, Serialize)]
pub(crate) struct SyncRecord<'a> {
    event: &'static str,
    topic: &'a str,
    peer_id: &'a str,
    state: &'static str,
    reason: Option<&'a str>,
    missing: u64,
    fetched: u64,
    refused: u64,
    with_claim: u64,
    round_trips: u32,
    comparison_bytes: u64,
    fetches: u32,
    bytes_sent: u64,
    bytes_received: u64,
    elapsed_ms: u64,
}

impl<'a> SyncRecord<'a> {
    /// A synchronisation as scripts read it.
    pub(crate) fn new(sync: &'a rpc::SyncProgress) -> Self {
        let traffic = sync.traffic.unwrap_or_default();
        Self {
            event: "sync",
            topic: &sync.topic,
            peer_id: &sync.peer_id,
            state: match sync.state() {
                rpc::SyncState::Unspecified => "unknown",
                rpc::SyncState::Running => "running",
                rpc::SyncState::Done => "done",
                rpc::SyncState::Failed => "failed",
                rpc::SyncState::Quota => "quota",
            },
            reason: Some(sync.reason.as_str()).filter(|reason| !reason.is_empty()),
            missing: sync.missing,
            fetched: sync.fetched,
            refused: sync.refused,
            with_claim: sync.with_claim,
            round_trips: sync.round_trips,
            comparison_bytes: sync.comparison_bytes,
            fetches: sync.fetches,
            bytes_sent: traffic.sent,
            bytes_received: traffic.received,
            elapsed_ms: sync.elapsed_ms,
        }
    }
}

/// A synchronisation in a line for people.
pub(crate) fn describe_sync(sync: &rpc::SyncProgress) -> String {
    let SyncRecord { topic, state, bytes_sent, bytes_received, .. } = SyncRecord::new(sync);
    let with = shown_id(&sync.peer_id, false);
    let fetched = match sync.missing {
        0 => "nothing was missing".to_owned(),
        missing => format!("{} of {} fetched", HumanCount(sync.fetched), plural(missing, "missing grain")),
    };
    let why = match (sync.state(), sync.reason.as_str()) {
        (rpc::SyncState::Quota, _) => {
            ": this node takes no more grains (storage.quota_bytes, storage.hnsw_max_elements)".to_owned()
        }
        (_, "") => String::new(),
        (_, reason) => format!(": {}", printable(reason)),
    };
    let bytes = HumanBytes(bytes_sent + bytes_received);
    let elapsed = f64::from(u32::try_from(sync.elapsed_ms).unwrap_or(u32::MAX)) / 1000.0;
    let trips = plural(sync.round_trips.into(), "round trip");
    format!("{topic} with {with}: {state}{why}; {fetched}, {trips}, {bytes}, {elapsed:.1} s")
}

/// Runs `topics`.
pub(crate) async fn topics(args: TopicsArgs, context: &mut Context) -> Result<Exit, Failure> {
    let mut client = connect_mesh(&context.target).await?;
    let out = &mut context.out;
    match args.command {
        None => {
            let topics = client.list_topics(call(rpc::ListTopicsRequest {})).await?.into_inner().topics;
            show_topics(&topics, out)?;
        }
        Some(TopicsCommand::Join { topic }) => {
            let request = rpc::JoinTopicRequest { topic: topic.to_string() };
            let changed = client.join_topic(call(request)).await?.into_inner().changed;
            show_changed("joined", topic.as_str(), changed, out)?;
        }
        Some(TopicsCommand::Leave { topic }) => {
            let request = rpc::LeaveTopicRequest { topic: topic.to_string() };
            let changed = client.leave_topic(call(request)).await?.into_inner().changed;
            show_changed("left", topic.as_str(), changed, out)?;
        }
    }
    Ok(Exit::Done)
}

fn show_changed(event: &'static str, topic: &str, changed: bool, out: &mut Output) -> Result<(), Failure> {
    if out.is_json() {
        return out.record(&ChangedRecord { event, topic, changed });
    }
    match (event, changed) {
        (event, true) => out.summary(format_args!("{event} {topic}")),
        ("joined", false) => out.summary(format_args!("this node takes part in {topic} already")),
        (_, false) => out.summary(format_args!("this node takes no part in {topic}")),
    }
}

fn show_topics(topics: &[rpc::MeshTopic], out: &mut Output) -> Result<(), Failure> {
    if out.is_json() {
        return topics.iter().try_for_each(|rpc::MeshTopic { topic, joined, grains, peers }| {
            out.record(&TopicRecord { topic, joined: *joined, grains: *grains, peers: *peers })
        });
    }
    let rows = topics.iter().map(|topic| {
        [
            topic.topic.clone(),
            if topic.joined { "yes" } else { "no" }.to_owned(),
            HumanCount(topic.grains).to_string(),
            if topic.joined { topic.peers.to_string() } else { "-".to_owned() },
        ]
    });
    table(["TOPIC", "JOINED", "GRAINS HERE", "PEERS"], rows.collect(), out)?;
    if topics.is_empty() {
        out.note("no topic yet; `synapsenet topics join TOPIC` takes part in one")?;
    }
    Ok(())
}

/// Runs `sync`.
pub(crate) async fn sync(args: SyncArgs, context: &mut Context) -> Result<Exit, Failure> {
    use rpc::sync_now_response::Item;
    let mut client = connect_mesh(&context.target).await?;
    let out = &mut context.out;
    let topic = args.topic.map(|topic| topic.to_string()).unwrap_or_default();
    let mut messages = client.sync_now(rpc::SyncNowRequest { topic }).await?.into_inner();
    let bar = out.bar("fetched", 0, Unit::Count);
    let mut ended = None;
    while let Some(message) = messages.message().await? {
        match message.item {
            Some(Item::Progress(progress)) => {
                bar.set_length(progress.missing);
                bar.set_position(progress.fetched);
                if progress.state() == rpc::SyncState::Running && out.is_json() {
                    out.aside(&SyncRecord::new(&progress))?;
                }
            }
            Some(Item::Summary(summary)) => ended = Some(summary.ended),
            None => {}
        }
    }
    bar.finish_and_clear();
    let Some(ended) = ended else {
        return Err(Failure::refused(
            "the node stopped before the synchronisation ended",
            "start it and try again",
        ));
    };
    if ended.is_empty() {
        return Err(Failure::incomplete(
            "no connected peer takes part in the same topics",
            "`synapsenet peers` shows who is connected and to which topics; `synapsenet peers add ADDRESS` connects",
        ));
    }
    for sync in &ended {
        if out.is_json() {
            out.record(&SyncRecord::new(sync))?;
        } else {
            out.summary(describe_sync(sync))?;
        }
    }
    let all_done = ended.iter().all(|sync| sync.state() == rpc::SyncState::Done);
    Ok(if all_done { Exit::Done } else { Exit::Incomplete })
}

/// How a node stands in the network, for scripts.
#[derive(Debug, Serialize)]
struct NetRecord<'a> {
    peer_id: &'a str,
    listening: &'a [String],
    external: &'a [String],
    reachable: Option<bool>,
    reachability: &'a str,
    serves_kademlia: bool,
    routing_peers: u32,
    relays: &'a [String],
    upnp: Option<&'a str>,
    peers: u32,
    max_peers: u32,
    known_peers: u32,
    traffic: Vec<TrafficRecord<'a>>,
}

#[derive(Debug, Serialize)]
struct TrafficRecord<'a> {
    protocol: &'a str,
    sent: u64,
    received: u64,
}

/// Runs `net status`.
pub(crate) async fn net_status(context: &mut Context) -> Result<Exit, Failure> {
    let mut client = connect_mesh(&context.target).await?;
    let status = client.get_net_status(call(rpc::GetNetStatusRequest {})).await?.into_inner();
    let out = &mut context.out;
    let traffic: Vec<_> = status
        .traffic
        .iter()
        .map(|entry| {
            let rpc::Traffic { sent, received } = entry.traffic.unwrap_or_default();
            TrafficRecord { protocol: &entry.protocol, sent, received }
        })
        .collect();
    if out.is_json() {
        out.record(&NetRecord {
            peer_id: &status.peer_id,
            listening: &status.listening,
            external: &status.external,
            reachable: status.reachable,
            reachability: &status.reachability,
            serves_kademlia: status.serves_kademlia,
            routing_peers: status.routing_peers,
            relays: &status.relays,
            upnp: Some(status.upnp.as_str()).filter(|upnp| !upnp.is_empty()),
            peers: status.peers,
            max_peers: status.max_peers,
            known_peers: status.known_peers,
            traffic,
        })?;
        return Ok(Exit::Done);
    }
    show_net(&status, out)?;
    let used: Vec<_> = traffic.iter().filter(|entry| entry.sent + entry.received > 0).collect();
    let rows = used.iter().map(|entry| {
        let (sent, received) = (HumanBytes(entry.sent), HumanBytes(entry.received));
        [entry.protocol.to_owned(), sent.to_string(), received.to_string()]
    });
    if !used.is_empty() {
        out.line("")?;
    }
    table(["PROTOCOL", "SENT", "RECEIVED"], rows.collect(), out)?;
    Ok(Exit::Done)
}

fn show_net(status: &rpc::GetNetStatusResponse, out: &mut Output) -> Result<(), Failure> {
    let mut field =
        |name: &str, value: &str| out.line(format_args!("{FAINT}{name:10}{FAINT:#} {}", printable(value)));
    let mut lines = |name: &str, values: &[String], none: &str| {
        let none = [none.to_owned()];
        let values = if values.is_empty() { &none[..] } else { values };
        values.iter().enumerate().try_for_each(|(at, value)| field(if at == 0 { name } else { "" }, value))
    };
    lines("peer", std::slice::from_ref(&status.peer_id), "")?;
    lines("listens", &status.listening, "nowhere")?;
    lines("reached at", &status.external, "no address that is known")?;
    let reachable = match status.reachable {
        Some(true) => "yes",
        Some(false) => "no",
        None => "not known yet",
    };
    lines("reachable", &[format!("{reachable}: {}", status.reachability)], "")?;
    lines("relays", &status.relays, "none")?;
    if !status.upnp.is_empty() {
        lines("router", std::slice::from_ref(&status.upnp), "")?;
    }
    let kademlia =
        if status.serves_kademlia { "others find peers through this node" } else { "this node only asks" };
    let routing = plural(status.routing_peers.into(), "peer");
    lines("kademlia", &[format!("{kademlia}; {routing} in its table")], "")?;
    let known = plural(status.known_peers.into(), "peer");
    lines("peers", &[format!("{} of at most {}; {known} known", status.peers, status.max_peers)], "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_synchronisation_is_told_in_a_line() {
        let sync = rpc::SyncProgress {
            topic: "commons".into(),
            peer_id: "12D3KooWABCDEFGH".into(),
            state: rpc::SyncState::Done.into(),
            missing: 1200,
            fetched: 1200,
            round_trips: 4,
            traffic: Some(rpc::Traffic { sent: 1024, received: 1024 }),
            elapsed_ms: 1500,
            ..Default::default()
        };
        let line = "commons with …ABCDEFGH: done; 1,200 of 1,200 missing grains fetched, 4 round trips, 2.00 KiB, 1.5 s";
        assert_eq!(describe_sync(&sync), line);
        let quota = rpc::SyncProgress { state: rpc::SyncState::Quota.into(), missing: 0, ..sync };
        assert!(describe_sync(&quota).contains("quota: this node takes no more grains"));
    }
}

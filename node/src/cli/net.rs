//! `net status`: how the node stands in the network.

use clap::Subcommand;
use indicatif::HumanBytes;
use schemars::JsonSchema;
use serde::Serialize;
use synapsenet_proto::rpc;

use super::client::{call, connect_mesh};
use super::context::Context;
use super::failure::{Exit, Failure};
use super::output::{FAINT, Output, plural, printable, table};

/// `net`.
#[derive(Debug, Subcommand)]
pub(crate) enum NetCommand {
    /// Show addresses, whether others reach this node and why not, and bytes by protocol
    Status,
}

/// How a node stands in the network, for scripts.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct NetRecord<'a> {
    /// Of this node.
    peer_id: &'a str,
    /// Addresses that it listens on.
    listening: &'a [String],
    /// Addresses at which others are known to reach it.
    external: &'a [String],
    /// Null while nothing is known.
    reachable: Option<bool>,
    /// Why not, or how that is known.
    reachability: &'a str,
    /// Whether others find peers through it.
    serves_kademlia: bool,
    /// Peers through which it finds others.
    routing_peers: u32,
    /// Nodes that pass on what is for it.
    relays: &'a [String],
    /// The port that the router forwards, or why not.
    upnp: Option<&'a str>,
    /// Connected.
    peers: u32,
    /// How many these may be.
    max_peers: u32,
    /// Whose addresses are known.
    known_peers: u32,
    /// Since the start.
    traffic: Vec<TrafficRecord<'a>>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct TrafficRecord<'a> {
    /// Its name.
    protocol: &'a str,
    /// Bytes.
    sent: u64,
    /// Bytes.
    received: u64,
}

/// Runs `net status`.
pub(crate) async fn status(context: &mut Context) -> Result<Exit, Failure> {
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

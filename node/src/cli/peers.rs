//! `peers`: who is connected, and who may be.

use clap::{Args, Subcommand};
use indicatif::HumanBytes;
use schemars::JsonSchema;
use serde::Serialize;
use synapsenet_proto::rpc;

use super::client::{MeshClient, call, connect_mesh};
use super::context::Context;
use super::failure::{Exit, Failure};
use super::output::{FAINT, Output, SHORT_PEER_CHARS, one_line, plural, printable, shown_id, table};
use super::time;

/// Arguments of `peers`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct PeersArgs {
    #[command(subcommand)]
    command: Option<PeersCommand>,
    /// Show whole ids and addresses
    #[arg(long)]
    wide: bool,
    /// Show every peer whose address is known, connected or not
    #[arg(long)]
    known: bool,
    /// Show who is banned
    #[arg(long)]
    banned: bool,
}

#[derive(Debug, Subcommand)]
enum PeersCommand {
    /// Connect to a peer and remember its address
    Add {
        /// Multiaddress; `synapsenet id` on the other node shows its own
        #[arg(value_name = "ADDRESS")]
        address: String,
    },
    /// Disconnect a peer and forget its addresses
    Remove {
        /// Its id, or the end of it that lists show
        #[arg(value_name = "PEER")]
        peer: String,
    },
    /// Disconnect a peer and keep it away
    Ban {
        /// Its id, or the end of it that lists show
        #[arg(value_name = "PEER")]
        peer: String,
        /// For so many seconds [default: until `peers unban`]
        #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
        seconds: Option<u64>,
    },
    /// Let a banned peer come again
    Unban {
        /// Its id, or the end of it that lists show
        #[arg(value_name = "PEER")]
        peer: String,
    },
}

/// A connected peer, for scripts.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct PeerRecord<'a> {
    peer_id: &'a str,
    /// As this end sees it.
    address: &'a str,
    /// `in` or `out`.
    direction: &'static str,
    /// `tcp`, `quic`, `relayed` or `other`.
    transport: &'static str,
    /// Of the latest ping, there and back.
    latency_ms: Option<f64>,
    /// Below 0 the peer misbehaved.
    score: f64,
    /// That it takes part in.
    topics: &'a [String],
    /// Since it connected.
    bytes_sent: u64,
    /// Since it connected.
    bytes_received: u64,
    /// For so long.
    connected_ms: u64,
    /// Program and version, as it says.
    agent: &'a str,
    /// It is here for some seconds.
    visiting: bool,
    /// It always has a seat.
    reserved: bool,
    /// To it.
    connections: u32,
}

/// A known peer, for scripts.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct KnownRecord<'a> {
    peer_id: &'a str,
    /// Where it was, or is.
    addresses: &'a [String],
    /// RFC 3339 in UTC; null when it never was.
    last_seen: Option<String>,
}

/// A banned peer, for scripts.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct BannedRecord<'a> {
    peer_id: &'a str,
    /// RFC 3339 in UTC; null when until it is lifted.
    until: Option<String>,
    /// How often it was banned.
    times: u32,
    /// Why.
    reason: &'a str,
}

/// What was done with a peer, for scripts.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct DoneRecord<'a> {
    /// `connected`, `removed`, `banned` or `unbanned`.
    event: &'static str,
    peer_id: &'a str,
}

/// Runs `peers`.
pub(crate) async fn run(args: PeersArgs, context: &mut Context) -> Result<Exit, Failure> {
    let mut client = connect_mesh(&context.target).await?;
    let out = &mut context.out;
    let Some(command) = args.command else { return list(&args, &mut client, out).await };
    match command {
        PeersCommand::Add { address } => {
            let response = client.add_peer(call(rpc::AddPeerRequest { address })).await?;
            done("connected", &response.into_inner().peer_id, out)
        }
        PeersCommand::Remove { peer } => {
            let peer_id = find(&mut client, peer).await?;
            client.remove_peer(call(rpc::RemovePeerRequest { peer_id: peer_id.clone() })).await?;
            done("removed", &peer_id, out)
        }
        PeersCommand::Ban { peer, seconds } => {
            let peer_id = find(&mut client, peer).await?;
            let request = rpc::BanPeerRequest { peer_id: peer_id.clone(), seconds };
            client.ban_peer(call(request)).await?;
            done("banned", &peer_id, out)
        }
        PeersCommand::Unban { peer } => {
            let peer_id = find(&mut client, peer).await?;
            client.unban_peer(call(rpc::UnbanPeerRequest { peer_id: peer_id.clone() })).await?;
            done("unbanned", &peer_id, out)
        }
    }
}

fn done(event: &'static str, peer_id: &str, out: &mut Output) -> Result<Exit, Failure> {
    if out.is_json() {
        out.record(&DoneRecord { event, peer_id })?;
    } else {
        out.summary(format_args!("{event} {peer_id}"))?;
    }
    Ok(Exit::Done)
}

/// The peer that is meant by its id or by the end of it.
async fn find(client: &mut MeshClient, given: String) -> Result<String, Failure> {
    let ending = given.trim_start_matches('…');
    if ending.len() < SHORT_PEER_CHARS {
        return Err(Failure::usage(
            format!("{given:?} is too short to name a peer"),
            format!(
                "give its id, or the last {SHORT_PEER_CHARS} characters of it, as `synapsenet peers` shows them"
            ),
        ));
    }
    // Whole ids need not be known here: a peer can be banned before it comes.
    if ending.len() >= 46 {
        return Ok(ending.to_owned());
    }
    let request = rpc::ListPeersRequest { with_known: true, with_banned: true };
    let all = client.list_peers(call(request)).await?.into_inner();
    let ids = all.peers.into_iter().map(|peer| peer.peer_id);
    let ids = ids.chain(all.known.into_iter().map(|peer| peer.peer_id));
    let ids = ids.chain(all.banned.into_iter().map(|peer| peer.peer_id));
    let meant: std::collections::BTreeSet<_> = ids.filter(|id| id.ends_with(ending)).collect();
    let hint = "`synapsenet peers --known --banned --wide` shows whole ids";
    match meant.into_iter().collect::<Vec<_>>().as_mut_slice() {
        [one] => Ok(std::mem::take(one)),
        [] => Err(Failure::incomplete(format!("no peer's id ends with {ending}"), hint)),
        _ => Err(Failure::incomplete(format!("more than one peer's id ends with {ending}"), hint)),
    }
}

async fn list(args: &PeersArgs, client: &mut MeshClient, out: &mut Output) -> Result<Exit, Failure> {
    let request = rpc::ListPeersRequest { with_known: args.known, with_banned: args.banned };
    let response = client.list_peers(call(request)).await?.into_inner();
    if args.known {
        show_known(&response.known, args.wide, out)?;
    }
    if args.banned {
        show_banned(&response.banned, args.wide, out)?;
    }
    if !args.known && !args.banned {
        show_connected(&response.peers, args.wide, out)?;
    }
    Ok(Exit::Done)
}

fn show_connected(peers: &[rpc::Peer], wide: bool, out: &mut Output) -> Result<(), Failure> {
    if out.is_json() {
        return peers.iter().try_for_each(|peer| out.record(&PeerRecord::new(peer)));
    }
    if peers.is_empty() {
        return out.note(
            "no peer is connected; nodes on the same network find each other, `synapsenet peers add ADDRESS` reaches others",
        );
    }
    let head = ["PEER", "ADDRESS", "VIA", "PING", "SCORE", "SENT", "RECEIVED", "FOR", "TOPICS"];
    let rows = peers.iter().map(|peer| {
        let record = PeerRecord::new(peer);
        let note = if record.visiting { " (visits)" } else { "" };
        [
            shown_id(record.peer_id, wide),
            shown_address(record.address, wide),
            format!("{} {}{note}", record.transport, record.direction),
            record.latency_ms.map_or_else(|| "-".to_owned(), |ms| format!("{ms:.1} ms")),
            format!("{:.1}", record.score),
            HumanBytes(record.bytes_sent).to_string(),
            HumanBytes(record.bytes_received).to_string(),
            time::span(record.connected_ms),
            one_line(&record.topics.join(", "), if wide { 1000 } else { 30 }),
        ]
    });
    table(head, rows.collect(), out)?;
    out.note(format_args!("{FAINT}{}{FAINT:#}", plural(peers.len() as u64, "peer")))
}

fn show_known(known: &[rpc::KnownPeer], wide: bool, out: &mut Output) -> Result<(), Failure> {
    let seen = |ms: u64| (ms > 0).then(|| time::rfc3339(ms)).flatten();
    if out.is_json() {
        return known.iter().try_for_each(|peer| {
            let (peer_id, addresses) = (peer.peer_id.as_str(), peer.addresses.as_slice());
            out.record(&KnownRecord { peer_id, addresses, last_seen: seen(peer.last_seen_ms) })
        });
    }
    let rows = known.iter().map(|peer| {
        let last_seen =
            if peer.last_seen_ms > 0 { time::local(peer.last_seen_ms) } else { "never".to_owned() };
        let addresses: Vec<_> = peer.addresses.iter().map(|address| shown_address(address, wide)).collect();
        [shown_id(&peer.peer_id, wide), last_seen, addresses.join(", ")]
    });
    table(["PEER", "LAST CONNECTED", "ADDRESSES"], rows.collect(), out)?;
    out.note(format_args!("{FAINT}{} known{FAINT:#}", plural(known.len() as u64, "peer")))
}

fn show_banned(banned: &[rpc::BannedPeer], wide: bool, out: &mut Output) -> Result<(), Failure> {
    if out.is_json() {
        return banned.iter().try_for_each(|ban| {
            let until = ban.until_ms.and_then(time::rfc3339);
            let (peer_id, reason) = (ban.peer_id.as_str(), ban.reason.as_str());
            out.record(&BannedRecord { peer_id, until, times: ban.times, reason })
        });
    }
    let rows = banned.iter().map(|ban| {
        let until = ban.until_ms.map_or_else(|| "it is lifted".to_owned(), time::local);
        [shown_id(&ban.peer_id, wide), until, ban.times.to_string(), printable(&ban.reason).into_owned()]
    });
    table(["PEER", "UNTIL", "TIMES", "REASON"], rows.collect(), out)?;
    out.note(format_args!("{FAINT}{} banned{FAINT:#}", plural(banned.len() as u64, "peer")))
}

impl<'a> PeerRecord<'a> {
    fn new(peer: &'a rpc::Peer) -> Self {
        let traffic = peer.traffic.unwrap_or_default();
        #[expect(clippy::cast_precision_loss, reason = "a time in milliseconds with three digits")]
        let latency_ms = peer.latency_us.map(|us| us as f64 / 1000.0);
        Self {
            peer_id: &peer.peer_id,
            address: &peer.address,
            direction: match peer.direction() {
                rpc::Direction::Inbound => "in",
                rpc::Direction::Outbound => "out",
                rpc::Direction::Unspecified => "unknown",
            },
            transport: match peer.transport() {
                rpc::Transport::Tcp => "tcp",
                rpc::Transport::Quic => "quic",
                rpc::Transport::Relayed => "relayed",
                rpc::Transport::Other => "other",
                rpc::Transport::Unspecified => "unknown",
            },
            latency_ms,
            score: peer.score,
            topics: &peer.topics,
            bytes_sent: traffic.sent,
            bytes_received: traffic.received,
            connected_ms: peer.connected_ms,
            agent: &peer.agent,
            visiting: peer.visiting,
            reserved: peer.reserved,
            connections: peer.connections,
        }
    }
}

/// A multiaddress as people write addresses, when it is of the usual kind.
fn shown_address(address: &str, wide: bool) -> String {
    let parts: Vec<_> = address.split('/').skip(1).collect();
    match parts[..] {
        ["ip4" | "ip6" | "dns" | "dns4" | "dns6", host, "tcp" | "udp", port, ..]
            if !wide && !parts.contains(&"p2p-circuit") =>
        {
            let quic = if parts.contains(&"quic-v1") { " (quic)" } else { "" };
            if host.contains(':') { format!("[{host}]:{port}{quic}") } else { format!("{host}:{port}{quic}") }
        }
        _ => printable(address).into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usual_addresses_are_shown_as_people_write_them() {
        assert_eq!(shown_address("/ip4/10.0.0.1/tcp/7716/p2p/12D3", false), "10.0.0.1:7716");
        assert_eq!(shown_address("/ip6/::1/udp/1/quic-v1", false), "[::1]:1 (quic)");
        assert_eq!(
            shown_address("/ip4/1.2.3.4/tcp/1/p2p/12D3/p2p-circuit", false),
            "/ip4/1.2.3.4/tcp/1/p2p/12D3/p2p-circuit"
        );
        assert_eq!(shown_address("/ip4/10.0.0.1/tcp/7716", true), "/ip4/10.0.0.1/tcp/7716");
    }
}

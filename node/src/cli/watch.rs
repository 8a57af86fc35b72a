//! `watch`: what happens on the node, as it happens.

use clap::Args;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use schemars::JsonSchema;
use serde::Serialize;
use synapsenet_proto::rpc;
use synapsenet_proto::rpc::watch_response::Event;

use super::client::connect;
use super::context::Context;
use super::failure::{Exit, Failure};
use super::filter::FilterArgs;
use super::output::{FAINT, plural, printable, short_id, shown_id};
use super::sync::{SyncRecord, describe_sync};
use super::time;

/// Something that happened, for scripts.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct WatchRecord<'a> {
    /// When the node saw it: RFC 3339 in UTC.
    time: Option<String>,
    #[serde(flatten)]
    event: EventRecord<'a>,
    /// Of a grain, and of the beginning: where to go on behind it.
    #[serde(skip_serializing_if = "Option::is_none")]
    cursor: Option<&'a str>,
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(untagged)]
pub(super) enum EventRecord<'a> {
    Begun {
        event: &'static str,
    },
    Grain {
        event: &'static str,
        id: &'a str,
        topic: &'a str,
        author: &'a str,
        peer_id: Option<&'a str>,
        /// Of a retraction: what it withdraws.
        #[serde(skip_serializing_if = "Option::is_none")]
        retracted: Option<&'a str>,
    },
    Peer {
        event: &'static str,
        peer_id: &'a str,
    },
    Sync(SyncRecord<'a>),
    Source {
        event: &'static str,
        folder: &'a str,
        added: u64,
        edited: u64,
        moved: u64,
        withdrawn: u64,
        grains_added: u64,
        grains_retracted: u64,
    },
    Missed {
        event: &'static str,
        events: u64,
    },
}

/// Arguments of `watch`.
#[derive(Debug, Args)]
pub(crate) struct WatchArgs {
    /// Show first which grains came in since an earlier watch: with --json each grain tells its cursor
    #[arg(long, value_name = "CURSOR")]
    cursor: Option<String>,
    #[command(flatten)]
    filter: FilterArgs,
}

/// Runs `watch`: until it is interrupted or the node stops. With conditions, of grains that fit them alone.
pub(crate) async fn run(args: WatchArgs, context: &mut Context) -> Result<Exit, Failure> {
    use rpc::EventKind::{GrainAdded, GrainRetracted};
    let kinds =
        if args.filter.is_given() { vec![GrainAdded.into(), GrainRetracted.into()] } else { Vec::new() };
    let filter = Some(args.filter.to_filter()?);
    let request = rpc::WatchRequest { filter, cursor: args.cursor.unwrap_or_default(), kinds };
    let mut client = connect(&context.target).await?;
    let out = &mut context.out;
    let mut messages = client.watch(request).await?.into_inner();
    out.note(format_args!("{FAINT}what happens from now on; Ctrl-C ends this{FAINT:#}"))?;
    while let Some(rpc::WatchResponse { time_ms, event, cursor }) = messages.message().await? {
        let cursor = Some(cursor.as_str()).filter(|cursor| !cursor.is_empty());
        let begun = EventRecord::Begun { event: "begun" };
        if out.is_json() {
            let event = event.as_ref().map_or(begun, record);
            out.record(&WatchRecord { time: time::rfc3339(time_ms), event, cursor })?;
        } else if event.is_none() {
            continue;
        } else if let Some(event) = &event {
            out.line(format_args!("{FAINT}{}{FAINT:#} {}", clock(time_ms), describe(event)))?;
        }
        out.flush()?;
    }
    Err(Failure::unreachable("the node stopped", "start it again with `synapsenet run`"))
}

fn kind(grain: &rpc::GrainAdded) -> &'static str {
    if grain.kind() == rpc::GrainKind::Retraction { "grain_retracted" } else { "grain_added" }
}

fn record(event: &Event) -> EventRecord<'_> {
    match event {
        Event::GrainAdded(grain) => EventRecord::Grain {
            event: kind(grain),
            id: &grain.id,
            topic: &grain.topic,
            author: &grain.author,
            peer_id: Some(grain.peer_id.as_str()).filter(|peer| !peer.is_empty()),
            retracted: Some(grain.retracted.as_str()).filter(|id| !id.is_empty()),
        },
        Event::PeerJoined(peer_id) => EventRecord::Peer { event: "peer_joined", peer_id },
        Event::PeerLeft(peer_id) => EventRecord::Peer { event: "peer_left", peer_id },
        Event::PeerBanned(peer_id) => EventRecord::Peer { event: "peer_banned", peer_id },
        Event::Sync(sync) => EventRecord::Sync(SyncRecord::new(sync)),
        Event::SourceChanged(source) => EventRecord::Source {
            event: "source_changed",
            folder: &source.folder,
            added: source.added,
            edited: source.edited,
            moved: source.moved,
            withdrawn: source.withdrawn,
            grains_added: source.grains_added,
            grains_retracted: source.grains_retracted,
        },
        Event::Missed(events) => EventRecord::Missed { event: "missed", events: *events },
    }
}

fn describe(event: &Event) -> String {
    match event {
        Event::GrainAdded(grain) => {
            let what = if kind(grain) == "grain_added" { "grain" } else { "retraction" };
            let from = match grain.peer_id.as_str() {
                "" => "put in here".to_owned(),
                peer => format!("from {}", shown_id(peer, false)),
            };
            format!("{what} {} in {}, {from}", short_id(&grain.id), printable(&grain.topic))
        }
        Event::PeerJoined(peer) => format!("peer {} connected", shown_id(peer, false)),
        Event::PeerLeft(peer) => format!("peer {} is gone", shown_id(peer, false)),
        Event::PeerBanned(peer) => format!("peer {} was banned for what it did", shown_id(peer, false)),
        Event::Sync(sync) => format!("sync of {}", describe_sync(sync)),
        Event::SourceChanged(source) => {
            let files = [
                ("added", source.added),
                ("edited", source.edited),
                ("moved", source.moved),
                ("withdrawn", source.withdrawn),
            ];
            let files = files.iter().filter(|(_, count)| *count > 0);
            let files = files.map(|(what, count)| format!("{what} {count}")).collect::<Vec<_>>().join(", ");
            format!("folder {}: {files}", printable(&source.folder))
        }
        Event::Missed(events) => {
            format!("{} passed unseen: this terminal is too slow", plural(*events, "event"))
        }
    }
}

fn clock(ms: u64) -> String {
    let instant = ms.try_into().ok().and_then(|ms| Timestamp::from_millisecond(ms).ok()).unwrap_or_default();
    instant.to_zoned(TimeZone::system()).strftime("%H:%M:%S").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_one_json_object_and_one_line() {
        let grain = rpc::GrainAdded {
            id: "ab".repeat(32),
            topic: "t".into(),
            author: "cd".into(),
            ..Default::default()
        };
        let event = Event::GrainAdded(grain);
        let json =
            serde_json::to_value(WatchRecord { time: None, event: record(&event), cursor: Some("ab") })
                .unwrap();
        assert_eq!((&json["event"], &json["cursor"]), (&"grain_added".into(), &"ab".into()));
        assert!(json.get("retracted").is_none());
        assert_eq!(json["peer_id"], serde_json::Value::Null);
        assert_eq!(describe(&event), "grain abababababab in t, put in here");
        let source = rpc::SourceChanged {
            folder: "/home/you/notes".into(),
            edited: 1,
            moved: 2,
            grains_added: 3,
            ..Default::default()
        };
        let event = Event::SourceChanged(source);
        let json = serde_json::to_value(record(&event)).unwrap();
        assert_eq!((&json["event"], &json["grains_added"]), (&"source_changed".into(), &3.into()));
        assert_eq!(describe(&event), "folder /home/you/notes: edited 1, moved 2");
        let peer = Event::PeerJoined("12D3KooWABCDEFGH".into());
        assert_eq!(describe(&peer), "peer …ABCDEFGH connected");
    }
}

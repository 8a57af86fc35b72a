//! `sync`: brings the node up to date now.

use clap::Args;
use indicatif::{HumanBytes, HumanCount};
use schemars::JsonSchema;
use serde::Serialize;
use synapsenet_proto::{Topic, rpc};

use super::client::connect_mesh;
use super::context::Context;
use super::failure::{Exit, Failure};
use super::filter::parse_topic;
use super::output::{Unit, plural, printable, shown_id};

/// Arguments of `sync`.
#[derive(Debug, Args)]
pub(crate) struct SyncArgs {
    /// Only this topic
    #[arg(value_parser = parse_topic)]
    topic: Option<Topic>,
}

/// One synchronisation, for scripts.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct SyncRecord<'a> {
    event: &'static str,
    /// What is compared.
    topic: &'a str,
    /// With whom.
    peer_id: &'a str,
    /// `running`, `done`, `failed` or `quota`.
    state: &'static str,
    /// Why it failed.
    reason: Option<&'a str>,
    /// Grains found to be missing here.
    missing: u64,
    /// Of these, those that came.
    fetched: u64,
    /// Of these, those that were refused.
    refused: u64,
    /// Of those that came, those with a vector.
    with_claim: u64,
    /// Messages that were answered.
    round_trips: u32,
    /// Of the comparison alone.
    comparison_bytes: u64,
    /// Batches of grains.
    fetches: u32,
    /// In all.
    bytes_sent: u64,
    /// In all.
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

/// Runs `sync`.
pub(crate) async fn run(args: SyncArgs, context: &mut Context) -> Result<Exit, Failure> {
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

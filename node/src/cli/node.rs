//! `run`, `status` and `id`: the node itself.

use std::io::{self, IsTerminal};

use clap::Args;
use indicatif::{HumanBytes, HumanCount};
use sd_notify::NotifyState;
use serde::Serialize;
use synapsenet_proto::rpc;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing_subscriber::EnvFilter;

use super::Context;
use super::client::{call, connect, is_answering};
use super::failure::{Exit, Failure};
use super::output::{FAINT, Output, STRONG, plural, printable};
use super::time;
use crate::config::{Flag, Settings};
use crate::node::Node;

/// Topics that `status` shows to people.
const SHOWN_TOPICS: usize = 12;

/// Arguments of `run`.
#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// TCP address of the API, "" for none; port 0 takes a free one [setting api.listen]
    #[arg(long, value_name = "ADDR")]
    api_listen: Option<String>,
    /// TCP address of the metrics page, "" for none; port 0 takes a free one [setting metrics.listen]
    #[arg(long, value_name = "ADDR")]
    metrics_listen: Option<String>,
    /// Address for peers; refused, since this version has no mesh yet
    #[arg(long, value_name = "MULTIADDR")]
    listen: Vec<String>,
}

/// What a node tells scripts once it serves.
#[derive(Debug, Serialize)]
struct ReadyRecord<'a> {
    event: &'static str,
    api: &'a [String],
    metrics: Option<String>,
    data_dir: String,
    author: &'a str,
}

/// Runs `run`: until a signal or a failure.
pub(crate) async fn run(args: RunArgs, context: &mut Context) -> Result<Exit, Failure> {
    if let Some(address) = args.listen.first() {
        return Err(Failure::usage(
            format!("cannot listen for peers on {address}: this version has no mesh yet"),
            "leave --listen out: the node serves its API without it",
        ));
    }
    let flag = |key, value: Option<String>| value.map(|value| Flag { key, value: value.into() });
    let flags = [flag("api.listen", args.api_listen), flag("metrics.listen", args.metrics_listen)];
    let data_dir = context.target.data_dir.clone();
    let settings =
        Settings::load(context.config.as_deref(), &data_dir, flags.into_iter().flatten().collect())?;
    log_to_stderr(&settings.config.log.level, &settings.config.log.format)?;

    let mut signals = StopSignals::new()?;
    let started = tokio::select! {
        started = Node::start(settings, &data_dir) => started,
        () = signals.next() => return Err(stopped_at_once()),
    };
    let mut node = match started {
        Ok(node) => node,
        Err(error) => return Err(explain_start(&error, context).await),
    };
    tell_ready(&node, context)?;
    let failed = tokio::select! {
        error = node.failed() => Some(error),
        () = signals.next() => None,
    };
    tell_supervisor(NotifyState::Stopping);
    tracing::info!("stopping");
    let stopped = tokio::select! {
        stopped = node.stop() => stopped,
        () = signals.next() => return Err(stopped_at_once()),
    };
    // The first failure is the reason for all that came after it.
    if let Some(error) = failed.or(stopped.err()) {
        tracing::error!("stopped after a failure: {error:#}");
        return Err(start_failure(&error));
    }
    tracing::info!("stopped");
    Ok(Exit::Done)
}

/// The signals that ask a program to end: Ctrl-C and what a service manager sends.
struct StopSignals {
    interrupt: Signal,
    terminate: Signal,
}

impl StopSignals {
    fn new() -> Result<Self, Failure> {
        let listen = |kind| {
            signal(kind).map_err(|error| {
                Failure::incomplete(
                    format!("cannot listen for signals: {error}"),
                    "raise the limit of open files",
                )
            })
        };
        Ok(Self { interrupt: listen(SignalKind::interrupt())?, terminate: listen(SignalKind::terminate())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

fn stopped_at_once() -> Failure {
    Failure::incomplete(
        "stopped at once",
        "no acknowledged grain is lost; the next start takes a little longer",
    )
}

/// Tells that the node serves: a supervisor, the log, and whoever started it.
fn tell_ready(node: &Node, context: &mut Context) -> Result<(), Failure> {
    tell_supervisor(NotifyState::Ready);
    let api = node.api_addresses();
    let metrics = node.metrics_address().map(|address| format!("http://{address}/metrics"));
    let data_dir = context.target.data_dir.display().to_string();
    tracing::info!(api = api.join(" "), metrics = metrics.as_deref().unwrap_or("none"), data_dir, "ready");
    let out = &mut context.out;
    if out.is_json() {
        out.record(&ReadyRecord { event: "ready", api, metrics, data_dir, author: node.author() })?;
        return out.flush();
    }
    out.summary(format_args!("{STRONG}synapsenet {} is ready{STRONG:#}", env!("CARGO_PKG_VERSION")))?;
    for (at, address) in api.iter().enumerate() {
        out.summary(format_args!("  {FAINT}{:9}{FAINT:#} {address}", if at == 0 { "api" } else { "" }))?;
    }
    out.summary(format_args!("  {FAINT}metrics  {FAINT:#} {}", metrics.as_deref().unwrap_or("off")))?;
    out.summary(format_args!("  {FAINT}data     {FAINT:#} {data_dir}"))?;
    out.summary(format_args!(
        "Ctrl-C stops it. Beside it, try: {}",
        context.target.command("add \"some text\"")
    ))?;
    out.flush()
}

/// Without a supervisor this does nothing. One that cannot be told will find out by its own means.
fn tell_supervisor(state: NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        tracing::warn!(%error, "cannot notify the service manager");
    }
}

/// Writes the log to standard error. `level` is a filter such as "info,synapsenet::ingest=debug".
pub(crate) fn log_to_stderr(level: &str, format: &str) -> Result<(), Failure> {
    // ONNX Runtime says much at "info" that says nothing about the node; "info,ort=info" brings it back.
    let filter = EnvFilter::builder().parse(format!("ort=warn,{level}")).map_err(|error| {
        Failure::usage(
            format!("log.level is {level:?}: {error}"),
            "set it to error, warn, info, debug, trace, or a filter such as info,synapsenet::ingest=debug",
        )
    })?;
    let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal() && !plain);
    let set = if format == "json" { log.json().try_init() } else { log.try_init() };
    // It is set already when one process runs two commands, as tests do: the first one's log goes on.
    drop(set);
    Ok(())
}

/// A node that could not start or go on. The error itself says what to do.
pub(crate) fn start_failure(error: &anyhow::Error) -> Failure {
    Failure::incomplete(
        format!("{error:#}"),
        "`synapsenet config show` lists the settings and where each came from",
    )
}

async fn explain_start(error: &anyhow::Error, context: &Context) -> Failure {
    let data_dir = &context.target.data_dir;
    if is_answering(&data_dir.join("api.sock")).await {
        return Failure::incomplete(
            format!("a node runs on {} already", data_dir.display()),
            "use it as it is, stop it first, or start another one with --data-dir DIR",
        );
    }
    start_failure(error)
}

/// The state of a node, for scripts.
#[derive(Debug, Serialize)]
struct StatusRecord<'a> {
    version: &'a str,
    author: &'a str,
    data_dir: &'a str,
    uptime_ms: u64,
    grains: u64,
    retractions: u64,
    pending: u64,
    searchable: u64,
    max_grains: u64,
    storage_bytes: u64,
    index_bytes: u64,
    memory_bytes: u64,
    model: ModelRecord<'a>,
    api_addresses: &'a [String],
    metrics_address: Option<&'a str>,
    topics: Vec<TopicRecord<'a>>,
}

#[derive(Debug, Serialize)]
struct ModelRecord<'a> {
    name: &'a str,
    model_id: &'a str,
    dimension: u32,
    max_tokens: u32,
    state: &'a str,
    provider: &'a str,
}

#[derive(Debug, Serialize)]
struct TopicRecord<'a> {
    topic: &'a str,
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
            searchable: status.searchable,
            max_grains: status.max_grains,
            storage_bytes: status.storage_bytes,
            index_bytes: status.index_bytes,
            memory_bytes: status.memory_bytes,
            model: ModelRecord {
                name: &model.name,
                model_id: &model.model_id,
                dimension: model.dimension,
                max_tokens: model.max_tokens,
                state: &model.state,
                provider: &model.provider,
            },
            api_addresses: &status.api_addresses,
            metrics_address: Some(status.metrics_address.as_str()).filter(|address| !address.is_empty()),
            topics: status.topics.iter().map(topic).collect(),
        }
    }
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
    field("data", &format!("{} ({} on disk)", status.data_dir, HumanBytes(status.storage_bytes)))?;
    let (grains, retractions) = (plural(status.grains, "grain"), plural(status.retractions, "retraction"));
    field("holds", &format!("{grains} of at most {}, {retractions}", HumanCount(status.max_grains)))?;
    let searchable = HumanCount(status.searchable);
    field(
        "search",
        &match status.pending {
            0 => format!("finds all {searchable}"),
            pending => format!("finds {searchable}; {} wait for the model", HumanCount(pending)),
        },
    )?;
    field("model", &describe_model(model))?;
    field(
        "memory",
        &format!("{}, the index {} of it", HumanBytes(status.memory_bytes), HumanBytes(status.index_bytes)),
    )?;
    for (at, address) in status.api_addresses.iter().enumerate() {
        field(if at == 0 { "api" } else { "" }, address)?;
    }
    match status.metrics_address.as_str() {
        "" => field("metrics", "off")?,
        address => field("metrics", &format!("http://{address}/metrics"))?,
    }
    if !status.topics.is_empty() {
        field("topics", &describe_topics(&status.topics))?;
    }
    Ok(())
}

fn describe_model(model: &rpc::ModelStatus) -> String {
    let rpc::ModelStatus { name, dimension, max_tokens, state, provider, .. } = model;
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

/// Runs `id`.
pub(crate) async fn id(context: &mut Context) -> Result<Exit, Failure> {
    #[derive(Serialize)]
    struct IdRecord<'a> {
        author: &'a str,
    }
    let mut client = connect(&context.target).await?;
    let author = client.status(call(rpc::StatusRequest {})).await?.into_inner().author;
    let out = &mut context.out;
    if out.is_json() {
        out.record(&IdRecord { author: &author })?
    } else {
        out.line(&author)?
    }
    Ok(Exit::Done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ready_node_is_one_json_object() {
        let record = ReadyRecord {
            event: "ready",
            api: &["unix:/a".into()],
            metrics: None,
            data_dir: "/d".into(),
            author: "ab",
        };
        let json = serde_json::to_string(&record).unwrap();
        let expected = r#"{"event":"ready","api":["unix:/a"],"metrics":null,"data_dir":"/d","author":"ab"}"#;
        assert_eq!(json, expected);
    }

    #[test]
    fn the_largest_topics_come_first_and_the_rest_is_counted() {
        let topic = |n: u64| rpc::TopicStatus { topic: format!("t{n}"), grains: n };
        let few: Vec<_> = (1..=2).map(topic).collect();
        assert_eq!(describe_topics(&few), "t2 (2), t1 (1)");
        let many: Vec<_> = (1..=20).map(topic).collect();
        assert!(describe_topics(&many).ends_with(" and 8 more; --json lists all"));
    }

    #[test]
    fn a_log_filter_that_cannot_be_read_is_a_wrong_setting() {
        assert_eq!(log_to_stderr("synapsenet=loud", "text").unwrap_err().exit(), Exit::Usage);
    }
}

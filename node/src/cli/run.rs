//! `run`: the node itself.

use std::error::Error;
use std::io::{self, ErrorKind, IsTerminal};

use clap::Args;
use rustix::io::Errno;
use schemars::JsonSchema;
use sd_notify::NotifyState;
use serde::Serialize;
use synapsenet_index::IndexError;
use synapsenet_net::NetError;
use synapsenet_storage::StorageError;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::client::is_answering;
use super::context::Context;
use super::failure::{Exit, Failure};
use super::output::{FAINT, STRONG};
use crate::config::{ConfigError, Flag, Settings};
use crate::connections::raise_descriptors;
use crate::data_folder::SOCKET;
use crate::log;
use crate::node::{Changed, Node, Reloaded};

/// What to do about a failure where nothing more is known ...
const SEE_CONFIG: &str = "`synapsenet config show` lists the settings and where each came from";
/// ... about a data folder that does not serve ...
const ELSEWHERE: &str = "--data-dir DIR names another data folder";
/// ... about a full disk ...
const MAKE_ROOM: &str = "make room on the disk of the data folder, then start the node again";
/// ... and about what the system does not let this user do.
const MAY_NOT: &str =
    "start it as the user who may use what is named, or name another: --data-dir DIR, or a port above 1023";

/// Arguments of `run`.
#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// TCP address of the API, "" for none; port 0 takes a free one [setting api.listen]
    #[arg(long, value_name = "ADDR")]
    api_listen: Option<String>,
    /// TCP address of the metrics page, "" for none; port 0 takes a free one [setting metrics.listen]
    #[arg(long, value_name = "ADDR")]
    metrics_listen: Option<String>,
    /// Address to listen on for peers, as a multiaddress; give it again for several [setting network.listen]
    #[arg(long, value_name = "MULTIADDR", conflicts_with = "offline")]
    listen: Vec<String>,
    /// Peer to begin with, as a multiaddress; give it again for several [setting network.bootstrap]
    #[arg(long, value_name = "MULTIADDR", conflicts_with = "offline")]
    peer: Vec<String>,
    /// Topic to take part in; give it again for several [setting network.topics]
    #[arg(long, value_name = "TOPIC", conflicts_with = "offline")]
    topic: Vec<String>,
    /// Take no part in a mesh [setting network.enabled]
    #[arg(long)]
    offline: bool,
}

/// What a node tells scripts once it serves.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct ReadyRecord<'a> {
    /// `ready`.
    event: &'static str,
    /// Where gRPC is served.
    api: &'a [String],
    /// SHA-256 of the certificate that the API shows.
    #[serde(skip_serializing_if = "Option::is_none")]
    api_fingerprint: Option<&'a str>,
    /// Address of the pages.
    metrics: Option<String>,
    data_dir: String,
    /// The node's author key.
    author: &'a str,
    /// Null without a mesh.
    peer_id: Option<String>,
    /// Where other nodes reach it.
    addresses: &'a [String],
}

/// Runs `run`: until a signal or a failure.
pub(crate) async fn run(args: RunArgs, context: &mut Context) -> Result<Exit, Failure> {
    let flag = |key, value: Option<String>| value.map(|value| Flag { key, value: value.into() });
    let list = |key, values: Vec<String>| (!values.is_empty()).then(|| Flag { key, value: values.into() });
    let flags = [
        flag("api.listen", args.api_listen),
        flag("metrics.listen", args.metrics_listen),
        list("network.listen", args.listen),
        list("network.bootstrap", args.peer),
        list("network.topics", args.topic),
        args.offline.then(|| Flag { key: "network.enabled", value: false.into() }),
    ];
    let data_dir = context.target.data_dir.clone();
    let flags: Vec<Flag> = flags.into_iter().flatten().collect();
    let settings = Settings::load(context.config.as_deref(), &data_dir, flags.clone())?;
    begin_log(&settings.config.log.level, &settings.config.log.format)?;

    raise_descriptors();
    let mut signals = StopSignals::new()?;
    let mut reload = listen_for(SignalKind::hangup())?;
    let started = tokio::select! {
        started = Node::start(settings, &data_dir) => started,
        () = signals.next() => return Err(stopped_at_once()),
    };
    let mut node = match started {
        Ok(node) => node,
        Err(error) => return Err(explain_start(&error, context).await),
    };
    tell_ready(&node, context)?;
    let failed = loop {
        tokio::select! {
            error = node.failed() => break Some(error),
            () = signals.next() => break None,
            _ = reload.recv() => {
                let settings = Settings::load(context.config.as_deref(), &data_dir, flags.clone());
                // Loading a model takes a moment, and a node that is told to stop must not wait for it.
                tokio::select! {
                    () = reconfigure(&mut node, settings) => {}
                    () = signals.next() => break None,
                }
            }
        }
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

/// Begins the log of this process.
pub(super) fn begin_log(level: &str, format: &str) -> Result<(), Failure> {
    let wrong = |error| Failure::usage(format!("log.level is {level:?}: {error}"), log::LEVELS);
    log::write_to_stderr(level, format).map_err(wrong)
}

/// The signals that ask a program to end: Ctrl-C and what a service manager sends.
struct StopSignals {
    interrupt: Signal,
    terminate: Signal,
}

impl StopSignals {
    fn new() -> Result<Self, Failure> {
        let (interrupt, terminate) = (SignalKind::interrupt(), SignalKind::terminate());
        Ok(Self { interrupt: listen_for(interrupt)?, terminate: listen_for(terminate)? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

fn listen_for(kind: SignalKind) -> Result<Signal, Failure> {
    signal(kind).map_err(|error| {
        Failure::incomplete(format!("cannot listen for signals: {error}"), "raise the limit of open files")
    })
}

/// Takes over what can be changed while the node runs, and says what that is and what has to wait. A configuration that cannot be
/// read, or a model that cannot be used, changes nothing.
async fn reconfigure(node: &mut Node, settings: Result<Settings, ConfigError>) {
    // A token that is to open no more does not wait for a configuration that is right.
    match node.reload_tokens().await {
        Ok((0, 0)) => {}
        Ok((opened, closed)) => tracing::info!(opened, closed, "the tokens were read anew"),
        Err(error) => tracing::error!(error = format!("{error:#}"), "the tokens are left as they were"),
    }
    let settings = match settings {
        Ok(settings) => settings,
        Err(error) => return tracing::error!(%error, "the configuration is left as it was"),
    };
    let level = settings.config.log.level.clone();
    match node.reload(settings).await {
        Ok(Reloaded { changed, waiting }) => {
            for change in &changed {
                let Changed { key, before, now } = change;
                tracing::info!(key, before, now, "a setting was changed");
            }
            // It may have been changed by a call, which holds until now.
            if log::level() != level
                && let Err(error) = log::set_level(&level)
            {
                tracing::error!(error, "the log goes on as it was");
            }
            match waiting.join(" ") {
                keys if keys.is_empty() => tracing::info!("the configuration was read anew"),
                keys => {
                    tracing::warn!(keys, "the configuration was read anew; these settings need a restart");
                }
            }
        }
        Err(error) => tracing::error!(error = format!("{error:#}"), "the model is left as it was"),
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
    let (peer_id, addresses) = (node.peer_id(), node.mesh_addresses());
    tracing::info!(
        api = api.join(" "),
        api_fingerprint = node.api_fingerprint().unwrap_or("none"),
        metrics = metrics.as_deref().unwrap_or("none"),
        mesh = addresses.join(" "),
        data_dir,
        "ready"
    );
    let out = &mut context.out;
    if out.is_json() {
        let (event, author, addresses) = ("ready", node.author(), addresses.as_slice());
        let api_fingerprint = node.api_fingerprint();
        out.record(&ReadyRecord {
            event,
            api,
            api_fingerprint,
            metrics,
            data_dir,
            author,
            peer_id,
            addresses,
        })?;
        return out.flush();
    }
    let stop = format!("Ctrl-C stops it. Beside it, try: {}", context.target.command("add \"some text\""));
    let banner = banner(node, metrics.as_deref(), &data_dir);
    let mut lines = banner.iter().chain([&stop]);
    // Where the log is JSON, a program reads what is said here; it has all of this in the log.
    match log::is_json() {
        true if !io::stderr().is_terminal() => Ok(()),
        true => lines.try_for_each(|line| out.note(line)),
        false => {
            lines.try_for_each(|line| out.summary(line))?;
            out.flush()
        }
    }
}

/// What people are told once it serves.
fn banner(node: &Node, metrics: Option<&str>, data_dir: &str) -> Vec<String> {
    let mut lines = vec![format!("{STRONG}synapsenet {} is ready{STRONG:#}", env!("CARGO_PKG_VERSION"))];
    let mut field = |name: &str, value: &str| lines.push(format!("  {FAINT}{name:9}{FAINT:#} {value}"));
    for (at, address) in node.api_addresses().iter().enumerate() {
        field(if at == 0 { "api" } else { "" }, address);
    }
    if let Some(fingerprint) = node.api_fingerprint() {
        field("api pin", fingerprint);
    }
    field("metrics", metrics.unwrap_or("off"));
    if node.peer_id().is_none() {
        field("mesh", "off");
    }
    for (at, address) in node.mesh_addresses().iter().enumerate() {
        field(if at == 0 { "mesh" } else { "" }, address);
    }
    field("data", data_dir);
    lines
}

/// Without a supervisor this does nothing. One that cannot be told will find out by its own means.
fn tell_supervisor(state: NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        tracing::warn!(%error, "cannot notify the service manager");
    }
}

/// A node that could not start or go on.
pub(crate) fn start_failure(error: &anyhow::Error) -> Failure {
    let hint = error.chain().find_map(hint_for).unwrap_or(SEE_CONFIG);
    Failure::incomplete(format!("{error:#}"), hint)
}

/// What to do about a cause of a failure, where it is of a kind that has an answer.
fn hint_for(cause: &(dyn Error + 'static)) -> Option<&'static str> {
    if let Some(error) = cause.downcast_ref::<StorageError>() {
        return Some(match error {
            StorageError::AlreadyOpen => "use that node, stop it, or start another one with --data-dir DIR",
            StorageError::Full(_) => MAKE_ROOM,
            StorageError::Denied(_) => MAY_NOT,
            StorageError::Io(_) | StorageError::Closed => "see what the log of the system says of the disk",
            StorageError::UnknownVersion { .. } | StorageError::NotADatabase => ELSEWHERE,
            _ => "`synapsenet verify` says what can be read; keep a copy of the data folder",
        });
    }
    if cause.is::<IndexError>() {
        return Some(
            "`synapsenet config show` lists the settings of the model (ai.*) and where each came from",
        );
    }
    if let Some(NetError::Listen { .. }) = cause.downcast_ref() {
        return Some("choose other addresses with --listen, or start without a mesh: --offline");
    }
    let error = cause.downcast_ref::<io::Error>()?;
    if let Some(Errno::PERM | Errno::OPNOTSUPP) = Errno::from_io_error(error) {
        // Nobody may: what a file system answers that has no sockets or no permissions.
        return Some(ELSEWHERE);
    }
    match error.kind() {
        ErrorKind::InvalidInput | ErrorKind::InvalidFilename => Some(ELSEWHERE),
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => Some(MAY_NOT),
        ErrorKind::AddrInUse => Some("stop what listens there, or choose another address or port"),
        ErrorKind::AddrNotAvailable => Some("choose an address that this machine has"),
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Some(MAKE_ROOM),
        _ => None,
    }
}

async fn explain_start(error: &anyhow::Error, context: &Context) -> Failure {
    let data_dir = &context.target.data_dir;
    if is_answering(&data_dir.join(SOCKET)).await {
        return Failure::incomplete(
            format!("a node runs on {} already", data_dir.display()),
            "use it as it is, stop it first, or start another one with --data-dir DIR",
        );
    }
    start_failure(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ready_node_is_one_json_object() {
        let record = ReadyRecord {
            event: "ready",
            api: &["unix:/a".into()],
            api_fingerprint: None,
            metrics: None,
            data_dir: "/d".into(),
            author: "ab",
            peer_id: Some("12D3".into()),
            addresses: &["/ip4/127.0.0.1/tcp/1/p2p/12D3".into()],
        };
        let json = serde_json::to_string(&record).unwrap();
        let expected = r#"{"event":"ready","api":["unix:/a"],"metrics":null,"data_dir":"/d","author":"ab","peer_id":"12D3","addresses":["/ip4/127.0.0.1/tcp/1/p2p/12D3"]}"#;
        assert_eq!(json, expected);
    }

    #[test]
    fn each_kind_of_failure_has_a_hint_of_its_own() {
        let hint = |error: anyhow::Error| match start_failure(&error.context("cannot do this")) {
            Failure::Told { hint, .. } => hint,
            Failure::PipeClosed => panic!("it must be told"),
        };
        let of_io = |kind: ErrorKind| hint(anyhow::Error::new(io::Error::from(kind)));
        assert_eq!(hint(StorageError::Denied(ErrorKind::PermissionDenied.into()).into()), MAY_NOT);
        assert_eq!(hint(StorageError::Full(ErrorKind::StorageFull.into()).into()), MAKE_ROOM);
        assert!(hint(StorageError::AlreadyOpen.into()).contains("stop it"));
        assert_eq!(of_io(ErrorKind::PermissionDenied), MAY_NOT);
        assert_eq!(hint(anyhow::Error::new(io::Error::from(Errno::ACCESS))), MAY_NOT);
        assert_eq!(hint(anyhow::Error::new(io::Error::from(Errno::PERM))), ELSEWHERE);
        assert_eq!(of_io(ErrorKind::InvalidInput), ELSEWHERE);
        assert!(of_io(ErrorKind::AddrInUse).contains("another address"));
        assert!(of_io(ErrorKind::AddrNotAvailable).contains("this machine has"));
        let listen =
            NetError::Listen { address: "/ip4/1.2.3.4/tcp/1".parse().unwrap(), reason: String::new() };
        assert!(hint(listen.into()).contains("--listen"));
        assert_eq!(hint(anyhow::anyhow!("anything")), SEE_CONFIG);
    }
}

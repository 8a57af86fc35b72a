//! `mcp`: the node's memory for an agent, on standard input and output. It is thin: the node does the work, for all agents together.

use std::fs::OpenOptions;
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use synapsenet_proto::Topic;
use tokio::time::Instant;

use super::client::{Address, Target, connect_wire, is_answering};
use super::context::Context;
use super::failure::{Exit, Failure};
use super::filter::parse_topic;
use crate::data_folder::{NODE_LOG, private_dir};
use crate::mcp::{Agent, Namespace, Settings};

/// How long a node may take to start: loading its index takes seconds, and the model loads while it serves.
const MAX_START: Duration = Duration::from_secs(60);
/// How long a node that somebody else starts at the same time may still take when ours has ended.
const MAX_OTHER: Duration = Duration::from_secs(10);
/// How often it is looked whether it answers.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Bytes of a log to which the next node adds its own; of a larger one nothing is kept.
const MAX_LOG: u64 = 1 << 20;
/// Bytes of the end of a log that are told.
const TOLD: u64 = 2000;

/// Arguments of `mcp`.
#[derive(Debug, clap::Args)]
pub(crate) struct McpArgs {
    /// Let the agent remember and forget; without it, it only looks
    #[arg(long)]
    write: bool,
    /// The topic that the agent is about: it finds nothing of others, and puts nothing into others
    #[arg(long, value_parser = parse_topic)]
    topic: Option<Topic>,
    /// A tag of the agent's grains: it finds those with it alone, and puts it to what it remembers; give it again for several
    #[arg(long)]
    tag: Vec<String>,
    /// Have its searches ask peers, too: the question's vector leaves the node
    #[arg(long)]
    mesh: bool,
    /// Start a node when none runs on the data folder; it takes no part in a mesh, and goes on when this ends
    #[arg(long)]
    start: bool,
}

/// Runs `mcp`: until the agent hangs up.
pub(crate) async fn run(args: McpArgs, context: &Context) -> Result<Exit, Failure> {
    let McpArgs { write, topic, tag, mesh, start } = args;
    let target = &context.target;
    if start {
        start_if_none(target, context.config.as_deref()).await?;
    }
    let wire = connect_wire(target).await.map_err(with_start)?;
    let namespace = Namespace { topic: topic.map(|topic| topic.to_string()), tags: tag };
    let settings = Settings { namespace, may_write: write, asks_mesh: mesh };
    Agent::new(wire, settings).serve_stdio().await.map_err(|error| {
        let hint = "this command is for agents: their configuration names it, and they start it";
        Failure::incomplete(format!("what came on standard input is not the protocol: {error}"), hint)
    })?;
    Ok(Exit::Done)
}

/// Says that there is a way to do without a node that runs.
fn with_start(failure: Failure) -> Failure {
    match failure {
        Failure::Told { exit: Exit::Unreachable, message, hint } => {
            Failure::unreachable(message, format!("{hint}; or have one started: synapsenet mcp --start"))
        }
        failure => failure,
    }
}

/// Starts a node on the data folder, unless one answers there.
async fn start_if_none(target: &Target, config: Option<&Path>) -> Result<(), Failure> {
    let Address::Unix(socket) = &target.address else { return Ok(()) };
    if target.explicit || is_answering(socket).await {
        return Ok(());
    }
    let log = target.data_dir.join(NODE_LOG);
    let mut node = spawn(target, config, &log).map_err(|error| {
        Failure::incomplete(
            format!("cannot start a node: {error}"),
            format!("start one: {}", target.command("run")),
        )
    })?;
    let mut until = Instant::now() + MAX_START;
    let mut has_ended = false;
    while !is_answering(socket).await {
        // Of several that are started at the same time, one gets the folder.
        if !has_ended && matches!(node.try_wait(), Ok(Some(_)) | Err(_)) {
            has_ended = true;
            until = Instant::now() + MAX_OTHER;
        }
        if Instant::now() >= until {
            let why = end_of(&log);
            return Err(Failure::unreachable(
                format!("the node that was started does not answer: {why}"),
                format!(
                    "start it by hand to see why: {}; its log is {}",
                    target.command("run"),
                    log.display()
                ),
            ));
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    if !has_ended {
        anstream::eprintln!("started a node, process {}; its log is {}", node.id(), log.display());
    }
    Ok(())
}

/// A node for this machine alone: it listens on its socket, and knows no peers.
fn spawn(target: &Target, config: Option<&Path>, log: &Path) -> std::io::Result<std::process::Child> {
    private_dir(&target.data_dir)?;
    let log = OpenOptions::new().create(true).append(true).mode(0o600).open(log)?;
    if log.metadata()?.len() > MAX_LOG {
        log.set_len(0)?;
    }
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["run", "--offline", "--api-listen", "", "--metrics-listen", ""]);
    command.arg("--data-dir").arg(&target.data_dir);
    if let Some(config) = config {
        command.arg("--config").arg::<PathBuf>(std::path::absolute(config)?);
    }
    // What ends the agent's own processes is not for the node.
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).process_group(0).spawn()
}

/// The last line of a log.
fn end_of(log: &Path) -> String {
    let read = || -> std::io::Result<String> {
        use std::io::{Seek, SeekFrom};
        let mut file = std::fs::File::open(log)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(TOLD)))?;
        let mut bytes = Vec::new();
        file.take(TOLD).read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    let text = read().unwrap_or_default();
    let told = text.lines().rev().find(|line| line.contains("error")).or_else(|| text.lines().last());
    told.unwrap_or("its log is empty").trim().to_owned()
}

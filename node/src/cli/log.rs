//! `log`: what a running node writes to its log.

use clap::Args;
use schemars::JsonSchema;
use serde::Serialize;
use synapsenet_proto::rpc;

use super::client::{call, connect};
use super::context::Context;
use super::failure::{Exit, Failure};

/// Arguments of `log`.
#[derive(Debug, Args)]
pub(crate) struct LogArgs {
    /// error, warn, info, debug, trace, off, or a filter such as info,synapsenet::memory::ingest=debug; without it, what is written
    /// now is shown
    level: Option<String>,
}

/// What is written to the log, for scripts.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct LogRecord<'a> {
    /// What is written now.
    level: &'a str,
    /// What was written until now.
    #[serde(skip_serializing_if = "Option::is_none")]
    before: Option<&'a str>,
}

/// Runs `log`.
pub(crate) async fn run(args: LogArgs, context: &mut Context) -> Result<Exit, Failure> {
    let mut client = connect(&context.target).await?;
    let out = &mut context.out;
    let Some(level) = args.level else {
        let level = client.status(call(rpc::StatusRequest {})).await?.into_inner().log_level;
        if out.is_json() {
            out.record(&LogRecord { level: &level, before: None })?;
        } else {
            out.line(&level)?;
        }
        return Ok(Exit::Done);
    };
    let request = rpc::SetLogLevelRequest { level: level.clone() };
    let before = client.set_log_level(call(request)).await?.into_inner().before;
    if out.is_json() {
        out.record(&LogRecord { level: &level, before: Some(&before) })?;
    } else {
        out.summary(format_args!(
            "the log is written by {level:?} until the node reads its configuration anew or starts again; it was {before:?}"
        ))?;
    }
    Ok(Exit::Done)
}

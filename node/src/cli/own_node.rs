//! A node for the time of one command: what works on the data folder talks to the node that runs there, and starts one
//! inside this process when none does. So there is one way to the data, and one lock on it.

use super::client::{Address, Client, Target, connect, is_answering};
use super::context::Context;
use super::failure::{Exit, Failure};
use super::output::Output;
use super::run::begin_log;
use super::run::start_failure;
use crate::config::{Flag, Settings};
use crate::node::Node;

/// Whether a missing data folder may be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Missing {
    /// There is nothing to read, so it is an error.
    Refused,
    /// The command fills it.
    Made,
}

/// Runs `work` with a connection to the node of the data folder, or to the one that was named.
///
/// # Errors
/// Those of `work`, and when there is neither a node nor a data folder that one can be started on.
pub(crate) async fn with_node(
    context: &mut Context,
    missing: Missing,
    work: impl AsyncFnOnce(&mut Client, &mut Output) -> Result<Exit, Failure>,
) -> Result<Exit, Failure> {
    let target = &context.target;
    if let Address::Unix(socket) = &target.address
        && !target.explicit
        && !is_answering(socket).await
    {
        return with_own_node(context, missing, work).await;
    }
    let mut client = connect(target).await?;
    work(&mut client, &mut context.out).await
}

async fn with_own_node(
    context: &mut Context,
    missing: Missing,
    work: impl AsyncFnOnce(&mut Client, &mut Output) -> Result<Exit, Failure>,
) -> Result<Exit, Failure> {
    let target = &context.target;
    let data_dir = &target.data_dir;
    if missing == Missing::Refused && !data_dir.exists() {
        return Err(Failure::unreachable(
            format!("there is no data folder {}, and no node", data_dir.display()),
            format!("name the folder of your node with --data-dir, or start one: {}", target.command("run")),
        ));
    }
    // Nobody else is to find this node: it ends with the command.
    let nowhere = |key| Flag { key, value: String::new().into() };
    let alone = Flag { key: "network.enabled", value: false.into() };
    let flags = vec![nowhere("api.listen"), nowhere("metrics.listen"), alone];
    let settings = Settings::load(context.config.as_deref(), data_dir, flags)?;
    begin_log("warn", &settings.config.log.format)?;
    let node = Node::start(settings, data_dir).await.map_err(|error| start_failure(&error))?;
    let result = work_and_watch(target, &mut context.out, work).await;
    let stopped = node.stop().await;
    let exit = result?;
    stopped.map_err(|error| start_failure(&error))?;
    Ok(exit)
}

/// Does the work, unless the user interrupts it: the node must be stopped in order then, too.
async fn work_and_watch(
    target: &Target,
    out: &mut Output,
    work: impl AsyncFnOnce(&mut Client, &mut Output) -> Result<Exit, Failure>,
) -> Result<Exit, Failure> {
    let working = async {
        let mut client = connect(target).await?;
        work(&mut client, out).await
    };
    tokio::select! {
        result = working => result,
        _ = tokio::signal::ctrl_c() => {
            Err(Failure::incomplete("interrupted", "run it again: nothing that was stored is lost"))
        }
    }
}

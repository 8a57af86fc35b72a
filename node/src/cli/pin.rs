//! `pin` and `unpin`: what the owner wants kept, whoever wrote it.

use clap::Args;
use schemars::JsonSchema;
use serde::Serialize;
use synapsenet_proto::rpc;

use super::client::{call, connect};
use super::context::Context;
use super::failure::{Exit, Failure};
use super::filter::parse_id;
use super::grains::{find, tell_and_go_on};
use super::output::{Output, short_id};

/// Arguments of `pin` and `unpin`.
#[derive(Debug, Args)]
pub(crate) struct PinArgs {
    /// Ids of notes, or at least the first 8 digits of each
    #[arg(value_parser = parse_id, value_name = "ID", required = true)]
    ids: Vec<String>,
}

/// A note that is kept, or kept no more, for scripts.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct PinRecord<'a> {
    id: &'a str,
    pinned: bool,
    changed: bool,
}

/// Runs `pin`, and `unpin` where `pinned` is false.
pub(crate) async fn run(args: PinArgs, pinned: bool, context: &mut Context) -> Result<Exit, Failure> {
    let mut client = connect(&context.target).await?;
    let json = context.out.is_json();
    let (grains, mut exit) = find(&mut client, args.ids, json).await?;
    for grain in &grains {
        match client.pin(call(rpc::PinRequest { id: grain.id.clone(), pinned })).await {
            Ok(response) => show(&response.into_inner(), pinned, &mut context.out)?,
            Err(status) => {
                let what = format!("{} was not {}", short_id(&grain.id), word(pinned));
                exit = tell_and_go_on(Failure::from(status).while_doing(&what), json)?;
            }
        }
    }
    Ok(exit)
}

fn word(pinned: bool) -> &'static str {
    if pinned { "pinned" } else { "unpinned" }
}

fn show(response: &rpc::PinResponse, pinned: bool, out: &mut Output) -> Result<(), Failure> {
    let rpc::PinResponse { id, changed } = response;
    if out.is_json() {
        return out.record(&PinRecord { id, pinned, changed: *changed });
    }
    let before = if *changed { "" } else { " before:" };
    out.summary(format_args!("{}{before} {id}", word(pinned)))
}

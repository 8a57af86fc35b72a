//! `share`: lets private grains leave the node.

use clap::Args;
use schemars::JsonSchema;
use serde::Serialize;
use synapsenet_proto::rpc;

use super::client::{call, connect};
use super::confirm::Consent;
use super::context::Context;
use super::failure::{Exit, Failure};
use super::filter::{FilterArgs, parse_id};
use super::grains::{MAX_IDS, find, named, tell_and_go_on};
use super::many::{self, Deed};
use super::output::{Output, short_id};

/// Arguments of `share`.
#[derive(Debug, Args)]
pub(crate) struct ShareArgs {
    /// Ids of the grains, or at least the first 8 digits of each; or conditions that all must hold
    #[arg(value_parser = parse_id, value_name = "ID", required_unless_present = "FilterArgs", conflicts_with = "FilterArgs")]
    ids: Vec<String>,
    #[command(flatten)]
    filter: FilterArgs,
    /// Only show what is meant
    #[arg(long)]
    dry_run: bool,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
}

/// A grain that may leave the node, for scripts.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct ShareRecord<'a> {
    /// Of the grain.
    id: &'a str,
    /// Always true.
    shared: bool,
    /// Whether it was private before.
    changed: bool,
}

/// Runs `share`.
pub(crate) async fn run(args: ShareArgs, context: &mut Context) -> Result<Exit, Failure> {
    let ask = || Consent::of(args.yes, "sharing", "what peers have cannot be called back");
    let consent = (!args.dry_run).then(ask).transpose()?;
    if args.filter.is_given() {
        return many::run(Deed::Share, &args.filter.to_meant()?, consent, context).await;
    }
    let mut client = connect(&context.target).await?;
    let json = context.out.is_json();
    let (grains, mut exit) = find(&mut client, args.ids, json).await?;
    let private: Vec<_> = grains.iter().filter(|grain| !grain.shared).cloned().collect();
    let Some(consent) = consent else {
        many::show_named(Deed::Share, &private, &mut context.out)?;
        return Ok(exit);
    };
    if !private.is_empty() {
        let question =
            "Share with every peer of their topics, for good? Titles, tags and the names of files go along.";
        consent.confirm(&named(&private), question)?;
    }
    for some in grains.chunks(MAX_IDS) {
        let ids = some.iter().map(|grain| grain.id.clone()).collect();
        let request = rpc::ShareRequest { ids, ..Default::default() };
        for result in client.share(call(request)).await?.into_inner().results {
            if result.refusal.is_empty() {
                show(&result, &mut context.out)?;
                continue;
            }
            let what = format!("{} was not shared", short_id(&result.id));
            exit = tell_and_go_on(
                Failure::incomplete(&*result.refusal, &*result.hint).while_doing(&what),
                json,
            )?;
        }
    }
    Ok(exit)
}

fn show(result: &rpc::ShareResult, out: &mut Output) -> Result<(), Failure> {
    let rpc::ShareResult { id, changed, .. } = result;
    if out.is_json() {
        return out.record(&ShareRecord { id, shared: true, changed: *changed });
    }
    out.summary(format_args!("{} {id}", if *changed { "shared" } else { "shared before:" }))
}

//! `forget`: drops grains from this node alone.

use clap::Args;
use schemars::JsonSchema;
use serde::Serialize;
use synapsenet_proto::{Topic, rpc};

use super::authors;
use super::client::{Client, connect};
use super::confirm::Consent;
use super::context::Context;
use super::failure::{Exit, Failure};
use super::filter::{parse_id, parse_topic};
use super::grains::{find, named};
use super::output::{plural, short_id};
use super::source;

/// How long a node may take to drop what is meant: a hundred thousand grains take some minutes.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(3600);

/// Arguments of `forget`.
#[derive(Debug, Args)]
#[group(id = "what", required = true, multiple = true)]
pub(crate) struct ForgetArgs {
    /// Ids of grains, or at least the first 8 digits of each
    #[arg(value_parser = parse_id, value_name = "ID", group = "what", conflicts_with_all = ["author", "topic", "source"])]
    ids: Vec<String>,
    /// Everything by this author: its key, or at least the first 8 digits of it
    #[arg(long, value_parser = parse_id, value_name = "KEY", group = "what")]
    author: Option<String>,
    /// Everything of this topic
    #[arg(long, value_parser = parse_topic, group = "what")]
    topic: Option<Topic>,
    /// Everything taken from this file, from below this folder, or from URIs that begin so
    #[arg(long, value_name = "PATH|URI", group = "what")]
    source: Option<String>,
    /// Take nothing of the author from now on, either
    #[arg(long, requires = "author", conflicts_with_all = ["topic", "source"])]
    block: bool,
    /// Also give the freed space of the database back, so that what was dropped does not linger in the file
    #[arg(long)]
    compact: bool,
    /// Only show how many grains are meant
    #[arg(long)]
    dry_run: bool,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
}

/// What was forgotten, for scripts.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct ForgetRecord {
    /// `dry_run` or `forgotten`.
    event: &'static str,
    /// How many.
    grains: u64,
    /// Whether nothing of the author is taken any more.
    blocked: bool,
}

/// Runs `forget`.
pub(crate) async fn run(args: ForgetArgs, context: &mut Context) -> Result<Exit, Failure> {
    let consent = match args.dry_run {
        true => None,
        false => Some(Consent::of(args.yes, "forgetting", "what only this node has is lost")?),
    };
    let mut client = connect(&context.target).await?;
    let (request, about, exit) = request(&args, &mut client, context.out.is_json()).await?;
    if request.ids.is_empty() && !args.ids.is_empty() {
        return Ok(exit);
    }
    let meant = client.forget(patient(rpc::ForgetRequest { dry_run: true, ..request.clone() })).await?;
    let meant = meant.into_inner().grains;
    let out = &mut context.out;
    let Some(consent) = consent else {
        match out.is_json() {
            true => out.record(&ForgetRecord { event: "dry_run", grains: meant, blocked: false })?,
            false => out.summary(format_args!("{} would be forgotten", plural(meant, "grain")))?,
        }
        return Ok(exit);
    };
    let question = format!("Forget {} here, for good? Other nodes keep theirs.", plural(meant, "grain"));
    consent.confirm(&about, &question)?;
    let grains = client.forget(patient(request)).await?.into_inner().grains;
    if args.compact {
        client.compact(patient(rpc::CompactRequest {})).await?;
    }
    if out.is_json() {
        out.record(&ForgetRecord { event: "forgotten", grains, blocked: args.block })?;
    } else {
        let blocked = if args.block { "; the author is blocked" } else { "" };
        out.summary(format_args!("forgot {}{blocked}", plural(grains, "grain")))?;
    }
    Ok(exit)
}

/// What the node is asked, and how it is shown to whoever has to agree.
async fn request(
    args: &ForgetArgs,
    client: &mut Client,
    json: bool,
) -> Result<(rpc::ForgetRequest, Vec<String>, Exit), Failure> {
    let mut request = rpc::ForgetRequest { block: args.block, ..Default::default() };
    if !args.ids.is_empty() {
        let (grains, exit) = find(client, args.ids.clone(), json).await?;
        request.ids = grains.iter().map(|grain| grain.id.clone()).collect();
        return Ok((request, named(&grains), exit));
    }
    let mut about = Vec::new();
    if let Some(key) = &args.author {
        request.author = authors::find(client, key).await?.author;
        about.push(format!("by {}", short_id(&request.author)));
    }
    if let Some(topic) = &args.topic {
        request.topic = topic.to_string();
        about.push(format!("of the topic {topic}"));
    }
    if let Some(prefix) = &args.source {
        let place = source::place_of(prefix);
        (request.source_prefix, request.whole_source) = (place.prefix, place.is_whole);
        about.push(format!("from {prefix}"));
    }
    Ok((request, about, Exit::Done))
}

fn patient<T>(message: T) -> tonic::Request<T> {
    let mut request = tonic::Request::new(message);
    request.set_timeout(PATIENCE);
    request
}

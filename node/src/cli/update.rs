//! `update`: another text in the place of a note of one's own.

use std::io::Read;

use clap::Args;
use schemars::JsonSchema;
use serde::Serialize;
use synapsenet_proto::{MAX_TEXT_BYTES, rpc};

use super::client::{call, connect};
use super::context::Context;
use super::failure::{Exit, Failure};
use super::filter::{pairs, parse_id, parse_pair};

/// Arguments of `update`.
#[derive(Debug, Args)]
pub(crate) struct UpdateArgs {
    /// Id of the grain, or at least the first 8 digits of it
    #[arg(value_parser = parse_id)]
    id: String,
    /// What it says from now on, or - for standard input
    #[arg(value_name = "TEXT|-")]
    text: String,
    /// Another title; without it the one that it has
    #[arg(long)]
    title: Option<String>,
    /// Other tags, in place of all that it has; give it again for several
    #[arg(long)]
    tag: Vec<String>,
    /// Another language
    #[arg(long)]
    lang: Option<String>,
    /// Other metadata, in place of all that it has; give it again for several
    #[arg(long, value_name = "KEY=VALUE", value_parser = parse_pair)]
    meta: Vec<(String, String)>,
    /// Do not wait until search can find it
    #[arg(long)]
    no_wait: bool,
}

/// What became of it, for scripts.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct UpdateRecord<'a> {
    /// The note that stands now.
    id: &'a str,
    /// `updated`, or `unchanged` where it said so already.
    outcome: &'static str,
    /// The id of the retraction of the old one; null where it is unchanged.
    retraction: Option<&'a str>,
    /// Whether it may leave the node, as the old one might.
    shared: bool,
    /// Whether search finds it by its meaning by now.
    searchable: bool,
}

/// Runs `update`.
pub(crate) async fn run(args: UpdateArgs, context: &mut Context) -> Result<Exit, Failure> {
    let metadata = pairs(&args.meta)?;
    let text = match args.text.as_str() {
        "-" => read_stdin()?,
        text => text.to_owned(),
    };
    let mut client = connect(&context.target).await?;
    let request = rpc::GetRequest { id: args.id, ..rpc::GetRequest::default() };
    let old = client.get(call(request)).await?.into_inner().grain.unwrap_or_default();
    let draft = rpc::Draft {
        topic: String::new(),
        text,
        title: args.title.unwrap_or(old.title),
        tags: if args.tag.is_empty() { old.tags } else { args.tag },
        lang: args.lang.unwrap_or(old.lang),
        mime: old.mime,
        source: old.source,
        links: old.links,
        metadata: if metadata.is_empty() { old.metadata } else { metadata },
    };
    let wait = if args.no_wait { rpc::Wait::Words } else { rpc::Wait::Searchable };
    let request = rpc::UpdateRequest { id: old.id, draft: Some(draft), wait: wait.into(), wait_ms: 0 };
    let updated = client.update(call(request)).await?.into_inner();
    let retraction = Some(updated.retraction.as_str()).filter(|id| !id.is_empty());
    let outcome = if retraction.is_some() { "updated" } else { "unchanged" };
    let out = &mut context.out;
    if out.is_json() {
        let rpc::UpdateResponse { id, shared, searchable, .. } = &updated;
        out.record(&UpdateRecord { id, outcome, retraction, shared: *shared, searchable: *searchable })?;
    } else {
        out.summary(format_args!("{outcome:9} {}", updated.id))?;
        if !args.no_wait && !updated.searchable {
            out.note("search finds it by its words; the model has not read it yet")?;
        }
    }
    Ok(Exit::Done)
}

fn read_stdin() -> Result<String, Failure> {
    let mut text = String::new();
    // One byte more shows that it is too long; the node says so.
    let read = std::io::stdin().take(MAX_TEXT_BYTES as u64 + 1).read_to_string(&mut text);
    read.map_err(|error| {
        Failure::incomplete(format!("cannot read standard input: {error}"), "give UTF-8, 16 KiB at most")
    })?;
    Ok(text.trim_end().to_owned())
}

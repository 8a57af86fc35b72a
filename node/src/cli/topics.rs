//! `topics`: what this node takes part in.

use clap::{Args, Subcommand};
use indicatif::HumanCount;
use serde::Serialize;
use synapsenet_proto::{Topic, rpc};

use super::client::{call, connect_mesh};
use super::context::Context;
use super::failure::{Exit, Failure};
use super::filter::parse_topic;
use super::output::{Output, table};

/// Arguments of `topics`.
#[derive(Debug, Args)]
pub(crate) struct TopicsArgs {
    #[command(subcommand)]
    command: Option<TopicsCommand>,
}

#[derive(Debug, Subcommand)]
enum TopicsCommand {
    /// Take part in a topic: get what others share there, and pass it on
    Join {
        /// Its name
        #[arg(value_parser = parse_topic)]
        topic: Topic,
    },
    /// Take no part in a topic any more; what is stored stays
    Leave {
        /// Its name
        #[arg(value_parser = parse_topic)]
        topic: Topic,
    },
}

/// A topic, for scripts.
#[derive(Debug, Serialize)]
struct TopicRecord<'a> {
    topic: &'a str,
    joined: bool,
    grains: u64,
    peers: u32,
}

/// A topic joined or left, for scripts.
#[derive(Debug, Serialize)]
struct ChangedRecord<'a> {
    event: &'static str,
    topic: &'a str,
    changed: bool,
}

/// Runs `topics`.
pub(crate) async fn run(args: TopicsArgs, context: &mut Context) -> Result<Exit, Failure> {
    let mut client = connect_mesh(&context.target).await?;
    let out = &mut context.out;
    match args.command {
        None => {
            let topics = client.list_topics(call(rpc::ListTopicsRequest {})).await?.into_inner().topics;
            show_topics(&topics, out)?;
        }
        Some(TopicsCommand::Join { topic }) => {
            let request = rpc::JoinTopicRequest { topic: topic.to_string() };
            let changed = client.join_topic(call(request)).await?.into_inner().changed;
            show_changed("joined", topic.as_str(), changed, out)?;
        }
        Some(TopicsCommand::Leave { topic }) => {
            let request = rpc::LeaveTopicRequest { topic: topic.to_string() };
            let changed = client.leave_topic(call(request)).await?.into_inner().changed;
            show_changed("left", topic.as_str(), changed, out)?;
        }
    }
    Ok(Exit::Done)
}

fn show_changed(event: &'static str, topic: &str, changed: bool, out: &mut Output) -> Result<(), Failure> {
    if out.is_json() {
        return out.record(&ChangedRecord { event, topic, changed });
    }
    match (event, changed) {
        (event, true) => out.summary(format_args!("{event} {topic}")),
        ("joined", false) => out.summary(format_args!("this node takes part in {topic} already")),
        (_, false) => out.summary(format_args!("this node takes no part in {topic}")),
    }
}

fn show_topics(topics: &[rpc::MeshTopic], out: &mut Output) -> Result<(), Failure> {
    if out.is_json() {
        return topics.iter().try_for_each(|rpc::MeshTopic { topic, joined, grains, peers }| {
            out.record(&TopicRecord { topic, joined: *joined, grains: *grains, peers: *peers })
        });
    }
    let rows = topics.iter().map(|topic| {
        [
            topic.topic.clone(),
            if topic.joined { "yes" } else { "no" }.to_owned(),
            HumanCount(topic.grains).to_string(),
            if topic.joined { topic.peers.to_string() } else { "-".to_owned() },
        ]
    });
    table(["TOPIC", "JOINED", "GRAINS HERE", "PEERS"], rows.collect(), out)?;
    if topics.is_empty() {
        out.note("no topic yet; `synapsenet topics join TOPIC` takes part in one")?;
    }
    Ok(())
}

//! `topics`: what this node takes part in.

use clap::{Args, Subcommand, ValueEnum};
use indicatif::HumanCount;
use schemars::JsonSchema;
use serde::Serialize;
use synapsenet_proto::{Topic, rpc};

use super::authors;
use super::client::{Target, call, connect, connect_mesh};
use super::context::Context;
use super::failure::{Exit, Failure};
use super::filter::{parse_id, parse_topic};
use super::output::{Output, plural, table};

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
    /// Say from whom grains of a topic are taken when peers bring them
    Policy {
        /// Its name
        #[arg(value_parser = parse_topic)]
        topic: Topic,
        /// From anybody within budgets, from authors that are followed, or from those listed
        policy: Policy,
        /// With listed: keys of authors, or at least the first 8 digits of each
        #[arg(value_parser = parse_id, value_name = "KEY")]
        authors: Vec<String>,
    },
    /// Take no part in a topic any more; what is stored stays
    Leave {
        /// Its name
        #[arg(value_parser = parse_topic)]
        topic: Topic,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Policy {
    Open,
    Known,
    Listed,
}

/// A topic, for scripts.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct TopicRecord<'a> {
    topic: &'a str,
    /// Whether this node takes part in it.
    joined: bool,
    /// Notes of it that are here.
    grains: u64,
    /// Connected ones that take part in it.
    peers: u32,
    /// `open`, `known` or `listed`.
    policy: &'static str,
    /// Authors from whom grains are taken, with `listed`.
    listed: &'a [String],
}

/// A policy that was set, for scripts.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct PolicyRecord<'a> {
    /// `policy`.
    event: &'static str,
    topic: &'a str,
    /// `open`, `known` or `listed`.
    policy: &'static str,
    /// Authors from whom grains are taken, with `listed`.
    listed: &'a [String],
}

/// A topic joined or left, for scripts.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct ChangedRecord<'a> {
    /// `joined` or `left`.
    event: &'static str,
    topic: &'a str,
    /// Whether it was otherwise before.
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
        Some(TopicsCommand::Policy { topic, policy, authors }) => {
            let listed = find_all(&context.target, &authors).await?;
            let policy = match policy {
                Policy::Open => rpc::TopicPolicy::Open,
                Policy::Known => rpc::TopicPolicy::Known,
                Policy::Listed => rpc::TopicPolicy::Listed,
            };
            let request = rpc::SetTopicPolicyRequest {
                topic: topic.to_string(),
                policy: policy.into(),
                listed: listed.clone(),
            };
            client.set_topic_policy(call(request)).await?;
            show_policy(topic.as_str(), policy, &listed, out)?;
        }
        Some(TopicsCommand::Leave { topic }) => {
            let request = rpc::LeaveTopicRequest { topic: topic.to_string() };
            let changed = client.leave_topic(call(request)).await?.into_inner().changed;
            show_changed("left", topic.as_str(), changed, out)?;
        }
    }
    Ok(Exit::Done)
}

/// The authors that are meant by keys or their beginnings.
async fn find_all(target: &Target, keys: &[String]) -> Result<Vec<String>, Failure> {
    let mut listed = Vec::new();
    if keys.is_empty() {
        return Ok(listed);
    }
    let mut client = connect(target).await?;
    for key in keys {
        listed.push(authors::find(&mut client, key).await?.author);
    }
    Ok(listed)
}

fn policy_name(policy: rpc::TopicPolicy) -> &'static str {
    match policy {
        rpc::TopicPolicy::Known => "known",
        rpc::TopicPolicy::Listed => "listed",
        rpc::TopicPolicy::Open | rpc::TopicPolicy::Unspecified => "open",
    }
}

fn show_policy(
    topic: &str,
    policy: rpc::TopicPolicy,
    listed: &[String],
    out: &mut Output,
) -> Result<(), Failure> {
    let name = policy_name(policy);
    if out.is_json() {
        return out.record(&PolicyRecord { event: "policy", topic, policy: name, listed });
    }
    match policy {
        rpc::TopicPolicy::Known => out.summary(format_args!("{topic} takes from authors that are followed")),
        rpc::TopicPolicy::Listed => {
            let authors = plural(listed.len() as u64, "author");
            out.summary(format_args!("{topic} takes from {authors}"))
        }
        rpc::TopicPolicy::Open | rpc::TopicPolicy::Unspecified => {
            out.summary(format_args!("{topic} takes from anybody, within budgets"))
        }
    }
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
        return topics.iter().try_for_each(|state| {
            let &rpc::MeshTopic { ref topic, joined, grains, peers, ref listed, .. } = state;
            let policy = policy_name(state.policy());
            out.record(&TopicRecord { topic, joined, grains, peers, policy, listed })
        });
    }
    let rows = topics.iter().map(|topic| {
        [
            topic.topic.clone(),
            if topic.joined { "yes" } else { "no" }.to_owned(),
            HumanCount(topic.grains).to_string(),
            if topic.joined { topic.peers.to_string() } else { "-".to_owned() },
            match topic.policy() {
                rpc::TopicPolicy::Known => "followed".to_owned(),
                rpc::TopicPolicy::Listed => plural(topic.listed.len() as u64, "author"),
                rpc::TopicPolicy::Open | rpc::TopicPolicy::Unspecified => "anybody".to_owned(),
            },
        ]
    });
    table(["TOPIC", "JOINED", "GRAINS HERE", "PEERS", "TAKES FROM"], rows.collect(), out)?;
    if topics.is_empty() {
        out.note("no topic yet; `synapsenet topics join TOPIC` takes part in one")?;
    }
    Ok(())
}

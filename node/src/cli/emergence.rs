//! `emergence` and `digest`: what grains add to what is known here, why, whose they are, and what emerged since a time.

use clap::{Args, Subcommand};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use schemars::JsonSchema;
use serde::Serialize;
use synapsenet_proto::{Topic, rpc};

use super::authors::whose;
use super::client::{call, connect};
use super::context::Context;
use super::failure::{Exit, Failure};
use super::filter::parse_id;
use super::grains::{emergence_line, nothing_word};
use super::output::{FAINT, Output, STRONG, one_line, plural, short_id, table};
use super::record::{EmergenceRecord, GrainRecord};
use super::time::{self, Moment};

/// Arguments of `emergence`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct EmergenceArgs {
    #[command(subcommand)]
    command: Option<EmergenceCommand>,
    /// Id of a grain whose score is explained, or at least its first 8 digits
    #[arg(value_parser = parse_id, value_name = "ID", required = true)]
    id: Option<String>,
}

#[derive(Debug, Subcommand)]
enum EmergenceCommand {
    /// Show the grains that add most
    Top(Wanted),
    /// Show the newest grains, with what they add
    New(Wanted),
    /// Show the authors by what their grains add in all
    Authors {
        /// Only what they say on this topic
        #[arg(long)]
        topic: Option<Topic>,
        /// So many at most
        #[arg(long, default_value_t = 20)]
        limit: u32,
    },
}

/// Which grains are meant.
#[derive(Debug, Args)]
struct Wanted {
    /// Only of this topic
    #[arg(long)]
    topic: Option<Topic>,
    /// Only from this time on: a day (2026-11-23), a time (2026-11-23T08:00:00Z), or an age (12h, 7d, 2w)
    #[arg(long, value_name = "TIME")]
    since: Option<Moment>,
    /// So many at most
    #[arg(long, default_value_t = 20)]
    limit: u32,
}

/// Arguments of `digest`.
#[derive(Debug, Args)]
pub(crate) struct DigestArgs {
    /// What is new from this time on: a day (2026-11-23), a time (2026-11-23T08:00:00Z), or an age (12h, 7d, 2w)
    #[arg(long, value_name = "TIME", default_value = "7d")]
    since: Moment,
    /// Only of this topic
    #[arg(long)]
    topic: Option<Topic>,
}

/// A grain with its score, for scripts.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct ScoredRecord<'a> {
    #[serde(flatten)]
    grain: GrainRecord<'a>,
    /// Null while it was not compared.
    emergence: Option<EmergenceRecord>,
}

/// An explained score, for scripts.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct ExplainedRecord<'a> {
    #[serde(flatten)]
    scored: ScoredRecord<'a>,
    /// The settings of the node.
    weights: Option<WeightsRecord>,
    /// The grains that made the score.
    neighbours: Vec<NeighbourRecord<'a>>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct WeightsRecord {
    /// Of the sum.
    novelty: f64,
    /// Of the sum.
    coherence: f64,
    /// Of the sum.
    reuse: f64,
    /// Below both, a grain earns nothing.
    least_novelty: f64,
    /// Below both, a grain earns nothing.
    least_coherence: f64,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct NeighbourRecord<'a> {
    /// To the grain.
    cosine: f64,
    /// Whether it was there before.
    older: bool,
    #[serde(flatten)]
    grain: GrainRecord<'a>,
}

/// An author, for scripts.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct AuthorRecord<'a> {
    /// Public key.
    author: &'a str,
    /// `own`, `followed` or `stranger`.
    whose: &'static str,
    /// The sum of what its grains add.
    standing: f64,
    /// Of it that have a score.
    grains: u64,
    /// Of these, those that earn nothing.
    worthless: u64,
    /// Of it that were refused today for what it did itself.
    refused: u64,
    /// Whether a vector of it was wrong.
    distrusted: bool,
}

/// A digest, for scripts.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct DigestRecord<'a> {
    /// What was sealed from then on is new.
    since_ms: u64,
    /// New ones that have a score.
    grains: u64,
    /// New ones that are near to each other.
    clusters: Vec<ClusterRecord<'a>>,
    /// New ones that are least like what was there.
    novel: Vec<ScoredRecord<'a>>,
    /// Those that were of use most often.
    reused: Vec<ScoredRecord<'a>>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct ClusterRecord<'a> {
    /// How many they are.
    size: u64,
    /// The one that is nearest to the others.
    central: ScoredRecord<'a>,
    /// Of them.
    ids: &'a [String],
}

/// Runs `emergence`.
pub(crate) async fn run(args: EmergenceArgs, context: &mut Context) -> Result<Exit, Failure> {
    match args.command {
        None => explain(args.id.unwrap_or_default(), context).await,
        Some(EmergenceCommand::Top(wanted)) => top(wanted, rpc::EmergenceOrder::Unspecified, context).await,
        Some(EmergenceCommand::New(wanted)) => top(wanted, rpc::EmergenceOrder::New, context).await,
        Some(EmergenceCommand::Authors { topic, limit }) => authors(topic, limit, context).await,
    }
}

async fn explain(id: String, context: &mut Context) -> Result<Exit, Failure> {
    let mut client = connect(&context.target).await?;
    let request = rpc::ExplainEmergenceRequest { id };
    let explained = client.explain_emergence(call(request)).await?.into_inner();
    let out = &mut context.out;
    let rpc::ExplainEmergenceResponse { grain, emergence, weights, neighbours } = &explained;
    let grain = grain.clone().unwrap_or_default();
    if out.is_json() {
        let neighbours = neighbours.iter().filter_map(|neighbour| {
            let grain = GrainRecord::new(neighbour.grain.as_ref()?);
            Some(NeighbourRecord { cosine: neighbour.cosine, older: neighbour.older, grain })
        });
        let weights = weights.as_ref().map(|weights| {
            let rpc::EmergenceWeights { novelty, coherence, reuse, least_novelty, least_coherence } =
                *weights;
            WeightsRecord { novelty, coherence, reuse, least_novelty, least_coherence }
        });
        let scored = scored_record(&grain, emergence.as_ref());
        let record = ExplainedRecord { scored, weights, neighbours: neighbours.collect() };
        return out.record(&record).map(|()| Exit::Done);
    }
    out.line(format_args!("{STRONG}{}{STRONG:#}  {}", short_id(&grain.id), titled(&grain, out.columns())))?;
    let (Some(emergence), Some(weights)) = (emergence, weights) else {
        let why = match weights {
            None => "nothing is scored here (emergence.enabled)",
            Some(_) => "it has no score yet: it was not compared with its neighbours",
        };
        return out.line(why).map(|()| Exit::Done);
    };
    let mut term = |name: &str, weight: f64, value: f64, what: &str| {
        let part = weight * value;
        out.line(format_args!(
            "{FAINT}{name:9}{FAINT:#} {weight:.2} * {value:.3} = {part:.3}   {FAINT}{what}{FAINT:#}"
        ))
    };
    term("novelty", weights.novelty, emergence.novelty, "one minus the cosine to the nearest older grain")?;
    term(
        "coherence",
        weights.coherence,
        emergence.coherence,
        "neighbours from 0.6 on, five of one author, 20 for all of it",
    )?;
    let times = format!("ln(1 + {}): opened hits, links by others, answers to peers", emergence.occasions);
    term("reuse", weights.reuse, emergence.reuse, &times)?;
    if emergence.backing < 1.0 {
        let what = "a stranger's: other authors near it, and uses of its author's grains";
        out.line(format_args!(
            "{FAINT}backing{FAINT:#}   {:.3} of that   {FAINT}{what}{FAINT:#}",
            emergence.backing
        ))?;
    }
    match nothing_word(emergence) {
        None => out.line(format_args!("{FAINT}score{FAINT:#}     {:.3}", emergence.score))?,
        Some(why) => out.line(format_args!("{FAINT}score{FAINT:#}     0: {why}"))?,
    }
    let columns = out.columns();
    for neighbour in neighbours {
        let Some(grain) = &neighbour.grain else { continue };
        let age = if neighbour.older { "older" } else { "later" };
        let (cosine, id) = (neighbour.cosine, short_id(&grain.id));
        out.line(format_args!("  {cosine:.3}  {FAINT}{age}{FAINT:#}  {id}  {}", titled(grain, columns)))?;
    }
    Ok(Exit::Done)
}

async fn top(wanted: Wanted, order: rpc::EmergenceOrder, context: &mut Context) -> Result<Exit, Failure> {
    let Wanted { topic, since, limit } = wanted;
    let request = rpc::TopEmergenceRequest {
        order: order.into(),
        topic: topic.map(|topic| topic.to_string()).unwrap_or_default(),
        since_ms: since.map(begin_ms).transpose()?.unwrap_or(0),
        limit,
    };
    let mut client = connect(&context.target).await?;
    let grains = client.top_emergence(call(request)).await?.into_inner().grains;
    let out = &mut context.out;
    if out.is_json() {
        let records = grains.iter().filter_map(scored_of);
        records.into_iter().try_for_each(|record| out.record(&record))?;
        return Ok(Exit::Done);
    }
    show_scored(&grains, out)?;
    if grains.is_empty() {
        out.note("nothing has a score yet")?;
    }
    Ok(Exit::Done)
}

async fn authors(topic: Option<Topic>, limit: u32, context: &mut Context) -> Result<Exit, Failure> {
    let topic = topic.map(|topic| topic.to_string()).unwrap_or_default();
    let mut client = connect(&context.target).await?;
    let request = rpc::EmergenceAuthorsRequest { topic, limit };
    let authors = client.emergence_authors(call(request)).await?.into_inner().authors;
    let out = &mut context.out;
    if out.is_json() {
        let record = |of: &rpc::EmergenceAuthor| {
            let (standing, grains, worthless, refused) = (of.standing, of.grains, of.worthless, of.refused);
            let (author, whose, distrusted) = (of.author.as_str(), whose(of.whose()), of.distrusted);
            out.record(&AuthorRecord { author, whose, standing, grains, worthless, refused, distrusted })
        };
        return authors.iter().try_for_each(record).map(|()| Exit::Done);
    }
    let row = |of: &rpc::EmergenceAuthor| {
        let standing = if of.distrusted { "0, lied".to_owned() } else { format!("{:.2}", of.standing) };
        [
            short_id(&of.author).to_owned(),
            whose(of.whose()).to_owned(),
            standing,
            of.grains.to_string(),
            of.worthless.to_string(),
            of.refused.to_string(),
        ]
    };
    let names = ["AUTHOR", "WHO", "STANDING", "GRAINS", "WORTH NOTHING", "REFUSED"];
    table(names, authors.iter().map(row).collect(), out)?;
    if authors.is_empty() {
        out.note("nothing has a score yet")?;
    }
    Ok(Exit::Done)
}

/// Runs `digest`.
pub(crate) async fn digest(args: DigestArgs, context: &mut Context) -> Result<Exit, Failure> {
    let since_ms = begin_ms(args.since)?;
    let topic = args.topic.map(|topic| topic.to_string()).unwrap_or_default();
    let mut client = connect(&context.target).await?;
    let digest = client.digest(call(rpc::DigestRequest { since_ms, topic })).await?.into_inner();
    let out = &mut context.out;
    let rpc::DigestResponse { grains, clusters, novel, reused } = &digest;
    if out.is_json() {
        let mut records = Vec::new();
        for of in clusters {
            if let Some((size, central)) =
                of.central.as_ref().and_then(scored_of).map(|central| (of.size, central))
            {
                records.push(ClusterRecord { size, central, ids: &of.ids });
            }
        }
        let record = DigestRecord {
            since_ms,
            grains: *grains,
            clusters: records,
            novel: novel.iter().filter_map(scored_of).collect(),
            reused: reused.iter().filter_map(scored_of).collect(),
        };
        return out.record(&record).map(|()| Exit::Done);
    }
    let since = time::local(since_ms);
    out.line(format_args!("{STRONG}{} since {since}{STRONG:#}", plural(*grains, "new grain")))?;
    let columns = out.columns();
    if !clusters.is_empty() {
        out.line("")?;
        out.line(format_args!("{STRONG}Much was said about{STRONG:#}"))?;
    }
    for of in clusters {
        if let Some(grain) = of.central.as_ref().and_then(|central| central.grain.as_ref()) {
            let (size, id) = (plural(of.size, "grain"), short_id(&grain.id));
            out.line(format_args!("  {size:>10}  {id}  {}", titled(grain, columns)))?;
        }
    }
    for (head, grains) in [("New and unlike the rest", novel), ("Of use", reused)] {
        if !grains.is_empty() {
            out.line("")?;
            out.line(format_args!("{STRONG}{head}{STRONG:#}"))?;
            show_scored(grains, out)?;
        }
    }
    Ok(Exit::Done)
}

fn show_scored(grains: &[rpc::ScoredGrain], out: &mut Output) -> Result<(), Failure> {
    let columns = out.columns();
    for scored in grains {
        let (Some(grain), Some(emergence)) = (&scored.grain, &scored.emergence) else { continue };
        out.line(format_args!("  {}  {}", short_id(&grain.id), titled(grain, columns)))?;
        out.line(format_args!("    {FAINT}{}{FAINT:#}", emergence_line(emergence)))?;
    }
    Ok(())
}

/// The beginning of a grain, as much as fits beside its id.
fn titled(grain: &rpc::Grain, columns: usize) -> String {
    let text =
        if grain.title.is_empty() { grain.text.clone() } else { format!("{}: {}", grain.title, grain.text) };
    one_line(&text, columns.saturating_sub(30).max(20))
}

fn scored_of(scored: &rpc::ScoredGrain) -> Option<ScoredRecord<'_>> {
    Some(scored_record(scored.grain.as_ref()?, scored.emergence.as_ref()))
}

fn scored_record<'a>(grain: &'a rpc::Grain, emergence: Option<&rpc::Emergence>) -> ScoredRecord<'a> {
    ScoredRecord { grain: GrainRecord::new(grain), emergence: emergence.map(EmergenceRecord::new) }
}

fn begin_ms(since: Moment) -> Result<u64, Failure> {
    since.begin_ms(Timestamp::now(), &TimeZone::system()).ok_or_else(|| {
        Failure::usage("--since is before 1970 or too far ahead", "give a day such as 2026-11-23")
    })
}

//! `get`, `list` and `retract`: single grains.

use clap::{Args, ValueEnum};
use schemars::JsonSchema;
use serde::Serialize;
use synapsenet_proto::rpc::{self, ErrorReason};

use super::client::{Client, call, connect};
use super::confirm::Consent;
use super::context::Context;
use super::documents;
use super::failure::{Exit, Failure, reason_of};
use super::filter::{FilterArgs, parse_id};
use super::many::{self, Deed};
use super::output::{FAINT, Output, STRONG, one_line, plural, printable, short_id};
use super::record::{DetailRecord, GrainRecord};
use super::source::{linked, place};
use super::time;

/// Grains asked for at once: a page of them is well below the largest answer, and quick.
const PAGE: u32 = 200;
/// Ids in one call.
pub(super) const MAX_IDS: usize = 1000;

/// Arguments of `get`.
#[derive(Debug, Args)]
pub(crate) struct GetArgs {
    /// Id of the grain, or at least the first 8 digits of it
    #[arg(value_parser = parse_id, required_unless_present = "document")]
    id: Option<String>,
    /// Show all parts of a document instead, in its order
    #[arg(long, value_name = "PATH|URI", conflicts_with_all = ["id", "context"])]
    document: Option<String>,
    /// Show so many parts of the same document before it and after it, too
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=50))]
    context: u32,
    /// Tell its vector, too; with --json
    #[arg(long)]
    with_vector: bool,
}

/// Arguments of `list`.
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// How many grains to show
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..))]
    limit: u64,
    /// Show every grain that matches
    #[arg(long, conflicts_with = "limit")]
    all: bool,
    /// Show retractions, too
    #[arg(long)]
    retractions: bool,
    /// Only tell how many there are
    #[arg(long, conflicts_with_all = ["limit", "all"])]
    count: bool,
    /// And of which topics, tags, authors or languages they are; may be given again
    #[arg(long, value_enum, requires = "count")]
    by: Vec<ByArg>,
    /// How many of these to show, the most frequent ones
    #[arg(long, value_name = "N", default_value_t = 10, requires = "by", value_parser = clap::value_parser!(u32).range(1..=100))]
    top: u32,
    /// Show the documents that your grains were taken from, by their names; --source says which
    #[arg(long, conflicts_with_all = ["count", "retractions", "topic", "tag", "meta", "author", "lang", "since", "until"])]
    documents: bool,
    #[command(flatten)]
    filter: FilterArgs,
}

/// Arguments of `retract`.
#[derive(Debug, Args)]
pub(crate) struct RetractArgs {
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

/// Runs `get`.
pub(crate) async fn get(args: GetArgs, context: &mut Context) -> Result<Exit, Failure> {
    let mut client = connect(&context.target).await?;
    if let Some(document) = &args.document {
        return documents::get(&mut client, document, &mut context.out).await.map(|()| Exit::Done);
    }
    let request = rpc::GetRequest {
        id: args.id.unwrap_or_default(),
        context: args.context,
        with_links: true,
        with_vector: args.with_vector,
        ..Default::default()
    };
    let response = client.get(call(request)).await?.into_inner();
    let rpc::GetResponse { grain, emergence, before, after, links_to, linked_from, vector } = response;
    let grain = grain.unwrap_or_default();
    let out = &mut context.out;
    if out.is_json() {
        let record = DetailRecord::new(&grain, emergence.as_ref()).with_links(&links_to, &linked_from);
        let record = record.with_vector(vector.as_ref());
        out.record(&if args.context > 0 { record.with_context(&before, &after) } else { record })?;
        return Ok(Exit::Done);
    }
    show_fields(&grain, emergence.as_ref(), out)?;
    links_to.iter().try_for_each(|note| show_link("links to", note, out))?;
    linked_from.iter().try_for_each(|note| show_link("linked by", note, out))?;
    if before.is_empty() && after.is_empty() {
        show_text(&grain, out)?;
        return Ok(Exit::Done);
    }
    before.iter().try_for_each(|part| show_part(part, FAINT, out))?;
    show_part(&grain, STRONG, out)?;
    after.iter().try_for_each(|part| show_part(part, FAINT, out))?;
    Ok(Exit::Done)
}

/// A note at the other end of a link.
fn show_link(name: &str, note: &rpc::LinkedNote, out: &mut Output) -> Result<(), Failure> {
    let title = if note.title.is_empty() {
        super::source::display(&note.file_uri)
    } else {
        note.title.as_str().into()
    };
    let title = one_line(&title, out.columns().saturating_sub(26).max(20));
    out.line(format_args!("{FAINT}{name:10}{FAINT:#} {title} ({})", short_id(&note.id)))
}

/// A part of a document: which one it is, and its text.
pub(super) fn show_part(part: &rpc::Grain, style: anstyle::Style, out: &mut Output) -> Result<(), Failure> {
    let number = part.source.as_ref().map_or(0, |source| u64::from(source.ordinal) + 1);
    let title = one_line(&part.title, out.columns().saturating_sub(24));
    out.line(format_args!("\n{style}#{number}  {}  {title}{style:#}", short_id(&part.id)))?;
    show_text(part, out)
}

fn show_text(grain: &rpc::Grain, out: &mut Output) -> Result<(), Failure> {
    if grain.text.is_empty() {
        return Ok(());
    }
    out.line("")?;
    let columns = out.columns();
    printable(&grain.text).lines().try_for_each(|line| out.line(textwrap::fill(line, columns)))
}

fn show_fields(
    grain: &rpc::Grain,
    emergence: Option<&rpc::Emergence>,
    out: &mut Output,
) -> Result<(), Failure> {
    // What a terminal opens is no text to be cleaned any more.
    let place = linked(&place(grain), grain, out);
    let mut line = |name: &str, shown: &str| {
        if shown.is_empty() { Ok(()) } else { out.line(format_args!("{FAINT}{name:10}{FAINT:#} {shown}")) }
    };
    let mut field = |name: &str, value: &str| line(name, &printable(value));
    field("id", &grain.id)?;
    field("title", &grain.title)?;
    if grain.kind() == rpc::GrainKind::Retraction {
        field("kind", "retraction")?;
    }
    field("topic", &grain.topic)?;
    field("tags", &grain.tags.join(", "))?;
    field("language", &grain.lang)?;
    field("type", &grain.mime)?;
    for (key, value) in &grain.metadata {
        field("metadata", &format!("{key}={value}"))?;
    }
    line("source", &place)?;
    let mut field = |name: &str, value: &str| line(name, &printable(value));
    let whose = match grain.whose() {
        rpc::Whose::Own => " (this node)",
        rpc::Whose::Followed => " (followed)",
        rpc::Whose::Stranger => " (a stranger)",
        rpc::Whose::Unspecified => "",
    };
    field("author", &format!("{}{whose}", grain.author))?;
    field("created", &time::local(grain.created_ms))?;
    for link in &grain.links {
        field("link", &format!("{} {}", link.relation, data_encoding::HEXLOWER.encode(&link.target)))?;
    }
    field("shared", if grain.shared { "yes, it may leave this node" } else { "no, it is private" })?;
    if grain.pinned {
        field("pinned", "yes, it is kept whoever wrote it")?;
    }
    if grain.kind() == rpc::GrainKind::Note && !grain.searchable {
        field("search", "cannot find it yet: the model has not read it")?;
    }
    if let Some(emergence) = emergence {
        field("emergence", &emergence_line(emergence))?;
    }
    Ok(())
}

/// A score with its parts, or why there is nothing.
pub(crate) fn emergence_line(emergence: &rpc::Emergence) -> String {
    let rpc::Emergence { score, novelty, coherence, occasions, .. } = emergence;
    let times = if *occasions == 1 { "once".to_owned() } else { format!("{occasions} times") };
    let parts = format!("novelty {novelty:.3}, coherence {coherence:.3}, of use {times}");
    match nothing_word(emergence) {
        None => format!("{score:.3} ({parts})"),
        Some(why) => format!("0, {why} ({parts})"),
    }
}

/// Why a grain earns nothing, as people read it.
pub(crate) fn nothing_word(emergence: &rpc::Emergence) -> Option<&'static str> {
    match emergence.nothing() {
        rpc::EmergenceNothing::Unspecified => None,
        rpc::EmergenceNothing::SaidBefore => Some("an older grain says the same"),
        rpc::EmergenceNothing::Boilerplate => Some("its author says it in very many places"),
        rpc::EmergenceNothing::TooLittle => Some("it is neither new nor near to others"),
        rpc::EmergenceNothing::Unbacked => Some("no other author is near it, and it was of no use to you"),
    }
}

/// Runs `list`.
pub(crate) async fn list(args: ListArgs, context: &mut Context) -> Result<Exit, Failure> {
    let filter = args.filter.to_filter()?;
    let mut client = connect(&context.target).await?;
    let out = &mut context.out;
    if args.documents {
        let limit = if args.all { u64::MAX } else { args.limit };
        return documents::list(&mut client, args.filter.source(), limit, out).await.map(|()| Exit::Done);
    }
    if args.count {
        let facets = args.by.iter().map(|by| by.to_message().into()).collect();
        let request = rpc::CountRequest {
            filter: Some(filter),
            with_retractions: args.retractions,
            facets,
            top: args.top,
        };
        let counted = client.count(call(request)).await?.into_inner();
        return show_count(&counted, out).map(|()| Exit::Done);
    }
    let mut shown = 0;
    let mut left = if args.all { u64::MAX } else { args.limit };
    let mut page_token = String::new();
    loop {
        let request = rpc::ListRequest {
            filter: Some(filter.clone()),
            page_size: u32::try_from(left).unwrap_or(PAGE).min(PAGE),
            page_token,
            with_signed: false,
            with_retractions: args.retractions,
        };
        let page = client.list(call(request)).await?.into_inner();
        for grain in &page.grains {
            show_row(grain, out)?;
        }
        left = left.saturating_sub(page.grains.len() as u64);
        shown += page.grains.len();
        page_token = page.next_page_token;
        if page_token.is_empty() {
            if shown == 0 {
                out.note("no grain here, or none that matches")?;
            }
            return Ok(Exit::Done);
        }
        if left == 0 {
            out.note(format_args!("{FAINT}there are more: --limit N or --all shows them{FAINT:#}"))?;
            return Ok(Exit::Done);
        }
    }
}

fn show_row(grain: &rpc::Grain, out: &mut Output) -> Result<(), Failure> {
    if out.is_json() {
        return out.record(&GrainRecord::new(grain));
    }
    let (id, created) = (short_id(&grain.id), time::local(grain.created_ms));
    let topic = one_line(&grain.topic, 12);
    // Id, time and topic take 44 columns.
    let room = out.columns().saturating_sub(46).max(20);
    let words = match (grain.kind(), &grain.links[..]) {
        (rpc::GrainKind::Retraction, [link, ..]) => {
            format!("retracts {}", short_id(&data_encoding::HEXLOWER.encode(&link.target)))
        }
        _ if grain.title.is_empty() => one_line(&grain.text, room),
        _ => one_line(&format!("{} — {}", grain.title, grain.text), room),
    };
    let words = if grain.pinned { one_line(&format!("[pinned] {words}"), room) } else { words };
    out.line(format_args!("{FAINT}{id}{FAINT:#}  {created}  {topic:12}  {words}"))
}

/// By what grains are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ByArg {
    Topic,
    /// Each of a grain's tags counts
    Tag,
    Author,
    Lang,
}

impl ByArg {
    fn to_message(self) -> rpc::Facet {
        match self {
            Self::Topic => rpc::Facet::Topic,
            Self::Tag => rpc::Facet::Tag,
            Self::Author => rpc::Facet::Author,
            Self::Lang => rpc::Facet::Lang,
        }
    }
}

fn facet_word(facet: rpc::Facet) -> &'static str {
    match facet {
        rpc::Facet::Unspecified => "unknown",
        rpc::Facet::Topic => "topic",
        rpc::Facet::Tag => "tag",
        rpc::Facet::Author => "author",
        rpc::Facet::Lang => "lang",
    }
}

/// How many grains there are, for scripts.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct CountRecord<'a> {
    /// In all.
    grains: u64,
    /// When it was asked by what.
    #[serde(skip_serializing_if = "Option::is_none")]
    by: Option<Vec<FacetRecord<'a>>>,
    /// Whether `by` counts some of the grains only, as they are many.
    #[serde(skip_serializing_if = "Option::is_none")]
    partial: Option<bool>,
}

/// The values of a facet.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct FacetRecord<'a> {
    /// `topic`, `tag`, `author` or `lang`.
    facet: &'static str,
    /// The most frequent first.
    values: Vec<ValueRecord<'a>>,
    /// Grains, once for each of their values that is not among these.
    others: u64,
    /// Values that there are.
    distinct: u64,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct ValueRecord<'a> {
    /// Empty where a grain names no language.
    value: &'a str,
    grains: u64,
}

impl<'a> FacetRecord<'a> {
    fn new(count: &'a rpc::FacetCount) -> Self {
        let value = |value: &'a rpc::ValueCount| ValueRecord { value: &value.value, grains: value.grains };
        Self {
            facet: facet_word(count.facet()),
            values: count.values.iter().map(value).collect(),
            others: count.others,
            distinct: count.distinct,
        }
    }
}

fn show_count(counted: &rpc::CountResponse, out: &mut Output) -> Result<(), Failure> {
    let rpc::CountResponse { grains, facets, partial } = counted;
    if out.is_json() {
        let by = (!facets.is_empty()).then(|| facets.iter().map(FacetRecord::new).collect());
        let partial = by.is_some().then_some(*partial);
        return out.record(&CountRecord { grains: *grains, by, partial });
    }
    out.line(grains)?;
    for facet in facets {
        out.line(format_args!("{FAINT}by {}{FAINT:#}", facet_word(facet.facet())))?;
        for rpc::ValueCount { value, grains } in &facet.values {
            let value = if value.is_empty() { "(none)".into() } else { printable(value) };
            out.line(format_args!("{grains:>9}  {value}"))?;
        }
        if facet.others > 0 {
            let (others, more) = (facet.others, facet.distinct.saturating_sub(facet.values.len() as u64));
            out.line(format_args!("{others:>9}  {FAINT}of {} more{FAINT:#}", plural(more, "value")))?;
        }
    }
    if *partial {
        out.note(
            "these are of the first grains that were read: there are more than are read for one answer",
        )?;
    }
    Ok(())
}

/// A withdrawal, for scripts.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct RetractionRecord<'a> {
    /// The grain that was withdrawn.
    id: &'a str,
    /// The grain that withdraws it.
    retraction: &'a str,
}

/// Runs `retract`.
pub(crate) async fn retract(args: RetractArgs, context: &mut Context) -> Result<Exit, Failure> {
    let ask = || Consent::of(args.yes, "retracting", "a retraction cannot be taken back");
    let consent = (!args.dry_run).then(ask).transpose()?;
    if args.filter.is_given() {
        return many::run(Deed::Retract, &args.filter.to_meant()?, consent, context).await;
    }
    let mut client = connect(&context.target).await?;
    let json = context.out.is_json();
    let (grains, mut exit) = find(&mut client, args.ids, json).await?;
    let Some(consent) = consent else {
        many::show_named(Deed::Retract, &grains, &mut context.out)?;
        return Ok(exit);
    };
    if grains.is_empty() {
        return Ok(exit);
    }
    let these = if grains.len() == 1 { "this grain" } else { "these grains" };
    consent.confirm(&named(&grains), &format!("Retract {these}? The text goes for good."))?;
    for some in grains.chunks(MAX_IDS) {
        let ids = some.iter().map(|grain| grain.id.clone()).collect();
        let request = rpc::RetractRequest { ids, ..Default::default() };
        for result in client.retract(call(request)).await?.into_inner().results {
            if result.refusal.is_empty() {
                show_retraction(&result.id, &result.retraction, &mut context.out)?;
                continue;
            }
            let what = format!("{} was not retracted", short_id(&result.id));
            exit = tell_and_go_on(
                Failure::incomplete(&*result.refusal, &*result.hint).while_doing(&what),
                json,
            )?;
        }
    }
    Ok(exit)
}

fn show_retraction(id: &str, retraction: &str, out: &mut Output) -> Result<(), Failure> {
    if out.is_json() {
        return out.record(&RetractionRecord { id, retraction });
    }
    out.summary(format_args!("retracted {id}"))
}

/// The grains that are meant by ids or their beginnings. One that is not found is told and does not stop the others.
pub(super) async fn find(
    client: &mut Client,
    ids: Vec<String>,
    json: bool,
) -> Result<(Vec<rpc::Grain>, Exit), Failure> {
    let (mut grains, mut exit) = (Vec::new(), Exit::Done);
    for id in ids {
        match client.get(call(rpc::GetRequest { id, ..Default::default() })).await {
            Ok(response) => grains.extend(response.into_inner().grain),
            Err(status) => {
                let failure = if reason_of(&status) == Some(ErrorReason::InvalidRequest) {
                    Failure::incomplete(status.message(), "`synapsenet list --json` shows whole ids")
                } else {
                    status.into()
                };
                exit = tell_and_go_on(failure, json)?;
            }
        }
    }
    Ok((grains, exit))
}

/// A failure of one grain is told and does not stop the others; one of the connection does.
pub(super) fn tell_and_go_on(failure: Failure, json: bool) -> Result<Exit, Failure> {
    match failure.exit() {
        Exit::Unreachable => Err(failure),
        _ => {
            super::output::tell_failure(&failure, json);
            Ok(Exit::Incomplete)
        }
    }
}

/// Grains as a question names them, a line each.
pub(super) fn named(grains: &[rpc::Grain]) -> Vec<String> {
    let line = |grain: &rpc::Grain| {
        let words = if grain.title.is_empty() { &grain.text } else { &grain.title };
        format!("{STRONG}{}{STRONG:#}  {}", short_id(&grain.id), one_line(words, 60))
    };
    grains.iter().map(line).collect()
}

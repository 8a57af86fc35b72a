//! `search`: the grains nearest in meaning to a question.

use std::path::Path;
use std::time::Duration;

use clap::Args;
use serde::Serialize;
use synapsenet_proto::rpc;
use synapsenet_proto::rpc::search_response::Item;
use tonic::Request;

use super::client::{ANSWER_TIMEOUT, connect};
use super::context::Context;
use super::failure::{Exit, Failure};
use super::filter::FilterArgs;
use super::output::{
    FAINT, Output, SCORE, STRONG, one_line, paragraph, plural, printable, short_id, shown_id,
};
use super::record::HitRecord;
use super::source;

/// Lines of a hit's text, unless all are asked for.
const TEXT_LINES: usize = 4;

/// Arguments of `search`.
#[derive(Debug, Args)]
pub(crate) struct SearchArgs {
    /// The question, in words of your own
    #[arg(required = true)]
    query: Vec<String>,
    /// How many grains to show
    #[arg(short = 'k', long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1000))]
    limit: u32,
    /// Show each text whole
    #[arg(long)]
    full: bool,
    /// Ask peers, too: they get a vector of the question, from which much of its words can be guessed
    ///
    /// Up to 8 peers get the question's vector and the filter. The words themselves are not sent, but a vector gives away most of
    /// them: programs that turn vectors back into text recover the greater part of a short question. Ask the mesh only
    /// what these peers may know.
    #[arg(long)]
    mesh: bool,
    /// Seconds to wait for peers
    #[arg(long, value_name = "SECONDS", default_value_t = 2, requires = "mesh", value_parser = clap::value_parser!(u32).range(1..=60))]
    wait: u32,
    #[command(flatten)]
    filter: FilterArgs,
}

/// What a search looked at, for scripts.
#[derive(Debug, Serialize)]
struct SummaryRecord<'a> {
    event: &'static str,
    hits: u32,
    searched: u64,
    pending: u64,
    unchecked: u64,
    elapsed_us: u64,
    embed_us: u64,
    peers: Vec<PeerRecord<'a>>,
    models: Vec<&'a str>,
}

/// What became of asking a peer, for scripts.
#[derive(Debug, Serialize)]
struct PeerRecord<'a> {
    peer_id: &'a str,
    outcome: &'a str,
    reason: Option<&'a str>,
    hits: u32,
    left_out: u32,
    elapsed_us: u64,
}

/// Runs `search`.
pub(crate) async fn run(args: SearchArgs, context: &mut Context) -> Result<Exit, Failure> {
    let filter = args.filter.to_filter()?;
    let request = rpc::SearchRequest {
        text: args.query.join(" "),
        k: args.limit,
        filter: Some(filter),
        mesh: args.mesh,
        mesh_wait_ms: args.wait * 1000,
    };
    let patience =
        ANSWER_TIMEOUT + if args.mesh { Duration::from_secs(args.wait.into()) } else { Duration::ZERO };
    let mut client = connect(&context.target).await?;
    let out = &mut context.out;
    let answering = async {
        let mut request = Request::new(request);
        request.set_timeout(patience);
        let mut messages = client.search(request).await?.into_inner();
        let mut rank = 0;
        while let Some(message) = messages.message().await? {
            match message.item {
                Some(Item::Hit(hit)) => {
                    rank += 1;
                    show_hit(rank, &hit, args.full, out)?;
                }
                Some(Item::Summary(summary)) => show_summary(&summary, out)?,
                None => {}
            }
        }
        Ok(Exit::Done)
    };
    tokio::time::timeout(patience, answering).await.unwrap_or_else(|_| {
        let hint = "try again; `synapsenet status` shows what the node is doing";
        Err(Failure::refused(
            format!("the node did not finish its answer within {} s", patience.as_secs()),
            hint,
        ))
    })
}

fn show_hit(rank: u32, hit: &rpc::Hit, full: bool, out: &mut Output) -> Result<(), Failure> {
    if out.is_json() {
        return HitRecord::new(hit).map_or(Ok(()), |record| out.record(&record));
    }
    let Some(grain) = &hit.grain else { return Ok(()) };
    let columns = out.columns();
    // Rank, score and id take 27 columns.
    let mut heading = heading(grain, columns.saturating_sub(28));
    match grain.whose() {
        rpc::Whose::Stranger => {
            heading.push_str(&format!(" {FAINT}by stranger {}{FAINT:#}", short_id(&grain.author)));
        }
        rpc::Whose::Followed => {
            heading.push_str(&format!(" {FAINT}by {}, followed{FAINT:#}", short_id(&grain.author)));
        }
        rpc::Whose::Own | rpc::Whose::Unspecified => {}
    }
    if !hit.peer_id.is_empty() {
        heading.push_str(&format!(" {FAINT}from {}{FAINT:#}", shown_id(&hit.peer_id, false)));
    }
    let (score, id) = (hit.score, short_id(&grain.id));
    out.line(format_args!("{rank:>3} {SCORE}{score:>6.3}{SCORE:#}  {FAINT}{id}{FAINT:#}  {heading}"))?;
    let lines = if full { usize::MAX } else { TEXT_LINES };
    for line in paragraph(&grain.text, columns, 5, lines) {
        out.line(line)?;
    }
    out.line("")
}

/// What a grain is called and where it is from, in at most `columns`.
fn heading(grain: &rpc::Grain, columns: usize) -> String {
    let place = source::place(grain);
    let mut title = one_line(&grain.title, columns);
    let file = source::origin(grain);
    if file.is_some_and(|file| Path::new(&*file).file_name().is_some_and(|name| name == title.as_str())) {
        // The place says it already.
        title.clear();
    }
    let room = columns.saturating_sub(textwrap::core::display_width(&title) + 3);
    match (title.is_empty(), place.is_empty()) {
        (true, true) => format!("{FAINT}{}{FAINT:#}", printable(&grain.topic)),
        (true, false) => end_of(&place, columns),
        (false, false) if room >= 12 => {
            format!("{STRONG}{title}{STRONG:#} {FAINT}· {}{FAINT:#}", end_of(&place, room))
        }
        (false, _) => format!("{STRONG}{title}{STRONG:#}"),
    }
}

/// The end of a path says more than its beginning.
fn end_of(place: &str, columns: usize) -> String {
    let width = textwrap::core::display_width;
    if width(place) <= columns {
        return place.to_owned();
    }
    let mut start = place.len();
    for (at, _) in place.char_indices().rev() {
        if width(&place[at..]) >= columns {
            break;
        }
        start = at;
    }
    format!("…{}", &place[start..])
}

fn show_summary(summary: &rpc::SearchSummary, out: &mut Output) -> Result<(), Failure> {
    let &rpc::SearchSummary { hits, searched, pending, unchecked, elapsed_us, embed_us, .. } = summary;
    let rpc::SearchSummary { peers, models, .. } = summary;
    if out.is_json() {
        let peers = peers.iter().map(PeerRecord::new).collect();
        let event = "summary";
        let models = models.iter().map(|model| model.name.as_str()).collect();
        let record =
            SummaryRecord { event, hits, searched, pending, unchecked, elapsed_us, embed_us, peers, models };
        return out.aside(&record);
    }
    let hits = if hits == 0 { "nothing".to_owned() } else { plural(u64::from(hits), "hit") };
    let searched = plural(searched, "grain");
    #[expect(clippy::cast_precision_loss, reason = "a time in milliseconds with one digit")]
    let ms = elapsed_us as f64 / 1000.0;
    out.note(format_args!("{FAINT}{hits} among {searched} in {ms:.1} ms{FAINT:#}"))?;
    if pending > 0 {
        let pending = plural(pending, "grain");
        out.note(format_args!(
            "{pending} cannot be found yet: the model has not read them (see `synapsenet status`)"
        ))?;
    }
    if unchecked > 0 {
        let unchecked = plural(unchecked, "grain");
        out.note(format_args!(
            "{unchecked} left out: what others claim of them is not checked yet; search again in a while"
        ))?;
    }
    if let [_, _, ..] = models.as_slice() {
        let names = models.iter().map(|model| model.name.as_str()).collect::<Vec<_>>().join(" and ");
        out.note(format_args!(
            "searched by {names}: scores of two models do not compare, the order does (see `synapsenet status`)"
        ))?;
    }
    peers.iter().try_for_each(|peer| out.note(format_args!("{FAINT}{}{FAINT:#}", describe_peer(peer))))
}

fn describe_peer(peer: &rpc::PeerAnswer) -> String {
    let who = shown_id(&peer.peer_id, false);
    let ms = peer.elapsed_us / 1000;
    match (peer.outcome.as_str(), peer.left_out) {
        ("answered", 0) => {
            format!("peer {who} answered in {ms} ms with {}", plural(peer.hits.into(), "new hit"))
        }
        ("answered", left_out) => format!(
            "peer {who} answered in {ms} ms with {}; {} could not be scored in time",
            plural(peer.hits.into(), "new hit"),
            plural(left_out.into(), "grain")
        ),
        ("late", _) => format!("peer {who} did not answer in time"),
        (outcome, _) => format!("peer {who} {outcome}: {}", printable(&peer.reason)),
    }
}

impl<'a> PeerRecord<'a> {
    fn new(peer: &'a rpc::PeerAnswer) -> Self {
        Self {
            peer_id: &peer.peer_id,
            outcome: &peer.outcome,
            reason: Some(peer.reason.as_str()).filter(|reason| !reason.is_empty()),
            hits: peer.hits,
            left_out: peer.left_out,
            elapsed_us: peer.elapsed_us,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::record::tests::grain;
    use super::*;

    #[test]
    fn a_heading_names_the_grain_in_the_room_that_there_is() {
        let plain =
            |grain: &rpc::Grain, columns| anstream::adapter::strip_str(&heading(grain, columns)).to_string();
        assert_eq!(plain(&grain(), 60), "title · /a #3");
        assert_eq!(plain(&grain(), 12), "title");
        let untitled = rpc::Grain { title: String::new(), ..grain() };
        assert_eq!(plain(&untitled, 60), "/a #3");
        let named_like_its_file = rpc::Grain { title: "a".into(), ..grain() };
        assert_eq!(plain(&named_like_its_file, 60), "/a #3");
        let bare = rpc::Grain { source: None, ..untitled };
        assert_eq!(plain(&bare, 60), "commons");
    }

    #[test]
    fn a_long_path_keeps_its_end() {
        assert_eq!(end_of("/very/long/path/notes.md #1", 12), "…notes.md #1");
        assert_eq!(end_of("/a #1", 12), "/a #1");
    }
}

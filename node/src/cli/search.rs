//! `search`: the best grains for a question, by its words and by its meaning.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, ValueEnum};
use schemars::JsonSchema;
use serde::Serialize;
use synapsenet_proto::rpc;
use synapsenet_proto::rpc::search_many_response::Item as Many;
use synapsenet_proto::rpc::search_response::Item;
use tonic::Request;

use super::client::{ANSWER_TIMEOUT, Client, call, connect};
use super::context::Context;
use super::failure::{Exit, Failure};
use super::filter::FilterArgs;
use super::output::{
    FAINT, MATCH, Output, READER_HINT, SCORE, STRONG, one_line, paragraph, plural, printable, short_id,
    shown_id,
};
use super::record::HitRecord;
use super::source;

/// Searches of one call, and their hits.
const MAX_SEARCHES_A_CALL: usize = 64;
const MAX_HITS_A_CALL: u32 = 1000;
/// Questions that are read from a file at once.
const MAX_QUESTIONS_BYTES: u64 = 4 << 20;
/// Lines of a hit's text, unless all are asked for.
const TEXT_LINES: usize = 4;

/// Arguments of `search`.
#[derive(Debug, Args)]
pub(crate) struct SearchArgs {
    /// The question, in words of your own; '"a phrase"' must stand in a grain, '-word' must not
    ///
    /// A question finds what names a thing (a number, a person, an error code) and what means the same in other words. Put quotes
    /// around all of it where it has a phrase or a word to leave out: synapsenet search 'boiler "annual service" -gas'.
    #[arg(required_unless_present_any = ["like", "questions", "vector"])]
    query: Vec<String>,
    /// Instead of a question: what is like this grain
    #[arg(long, value_name = "ID", conflicts_with = "query")]
    like: Option<String>,
    /// Instead of a question: a file with a vector, a JSON array of numbers (- is standard input); what lies near it is found
    ///
    /// It has as many numbers as the model in use has dimensions (`synapsenet models show`), and is of that model's space: vectors of
    /// another model mean something else. Its length does not count.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["query", "like"])]
    vector: Option<PathBuf>,
    /// The id of the space that the vector is of: another one than the node's is refused
    #[arg(long, value_name = "SPACE_ID", requires = "vector")]
    space: Option<String>,
    /// Tell the vectors of the grains, too; with --json
    #[arg(long)]
    with_vectors: bool,
    /// Instead of a question: a file with one on each line (- is standard input), which the model reads together
    #[arg(long, value_name = "FILE", conflicts_with_all = ["query", "like", "vector", "mesh"])]
    questions: Option<PathBuf>,
    /// By what grains are found
    #[arg(long, value_enum, default_value_t = ModeArg::Hybrid)]
    mode: ModeArg,
    /// How many grains to show
    #[arg(short = 'k', long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1000))]
    limit: u32,
    /// Pass over so many of the best grains
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..1000))]
    offset: u32,
    /// Leave out grains with a lower score, -1 to 1 [default: 0.1, by words alone 0]
    ///
    /// The score of a grain does not depend on what else is found. In the mode hybrid it is half the cosine of the meanings and half
    /// of what the words score: above 0.5 both agree, below 0.1 nothing answers the question.
    #[arg(long, value_name = "SCORE", allow_negative_numbers = true, value_parser = parse_score)]
    min_score: Option<f64>,
    /// Show grains that say what a better one says, too
    #[arg(long)]
    all_copies: bool,
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

/// By what grains are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ModeArg {
    /// By meaning and by words
    Hybrid,
    /// By meaning alone: what says the same in other words
    Meaning,
    /// By words alone, without a model
    Words,
}

impl ModeArg {
    fn to_message(self) -> rpc::SearchMode {
        match self {
            Self::Hybrid => rpc::SearchMode::Hybrid,
            Self::Meaning => rpc::SearchMode::Meaning,
            Self::Words => rpc::SearchMode::Words,
        }
    }
}

fn parse_score(text: &str) -> Result<f64, String> {
    let score = text.parse::<f64>().map_err(|_| "a score is a number".to_owned())?;
    if (-1.0..=1.0).contains(&score) { Ok(score) } else { Err("scores are -1 to 1".to_owned()) }
}

/// What a search looked at, for scripts.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct SummaryRecord<'a> {
    /// `summary`.
    event: &'static str,
    /// Where several were asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    question: Option<&'a str>,
    /// How many were found.
    hits: u32,
    /// By what it was searched: `hybrid`, `meaning` or `words`.
    mode: &'static str,
    /// The model does not know most of the question's tokens.
    unreadable: bool,
    /// The language of the question, where the model was made for others.
    foreign_language: Option<&'a str>,
    /// The best score below the least one.
    best_left_out: Option<f64>,
    /// Grains that could be found, before the conditions.
    searched: u64,
    /// Grains that can be found by their words only.
    pending: u64,
    /// Grains that are left out, as what their authors claim was not compared yet.
    unchecked: u64,
    /// Time inside the node.
    elapsed_us: u64,
    /// The part of it that the model took.
    embed_us: u64,
    /// What became of each peer that was asked.
    peers: Vec<PeerRecord<'a>>,
    /// The models by whose vectors it was searched.
    models: Vec<&'a str>,
}

/// A hit, for scripts.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct AskedRecord<'a, H> {
    /// Where several were asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    question: Option<&'a str>,
    #[serde(flatten)]
    hit: H,
}

/// What became of asking a peer, for scripts.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct PeerRecord<'a> {
    peer_id: &'a str,
    /// `answered`, `late`, `refused` or `failed`.
    outcome: &'static str,
    /// What the peer said, or what went wrong.
    reason: Option<&'a str>,
    /// Hits from it that were new.
    hits: u32,
    /// Grains from it that there was no time to read.
    left_out: u32,
    elapsed_us: u64,
}

/// Runs `search`.
pub(crate) async fn run(args: SearchArgs, context: &mut Context) -> Result<Exit, Failure> {
    let filter = args.filter.to_filter()?;
    let questions = args.questions.as_deref().map(read_questions).transpose()?;
    let vector = args.vector.as_deref().map(read_vector).transpose()?;
    let request = rpc::SearchRequest {
        text: args.query.join(" "),
        k: args.limit,
        filter: Some(filter),
        mesh: args.mesh,
        mesh_wait_ms: args.wait * 1000,
        mode: args.mode.to_message().into(),
        min_score: args.min_score,
        offset: args.offset,
        all_copies: args.all_copies,
        like: args.like.unwrap_or_default(),
        vector: vector.unwrap_or_default(),
        space_id: args.space.unwrap_or_default(),
        with_vectors: args.with_vectors,
    };
    let patience =
        ANSWER_TIMEOUT + if args.mesh { Duration::from_secs(args.wait.into()) } else { Duration::ZERO };
    let mut client = connect(&context.target).await?;
    let out = &mut context.out;
    if let Some(questions) = questions {
        return ask_many(&mut client, &questions, &request, args.full, out).await;
    }
    let answering = async {
        let mut request = Request::new(request);
        request.set_timeout(patience);
        let mut messages = client.search(request).await?.into_inner();
        let mut rank = args.offset;
        while let Some(message) = messages.message().await? {
            match message.item {
                Some(Item::Hit(hit)) => {
                    rank += 1;
                    show_hit(rank, None, &hit, args.full, out)?;
                }
                Some(Item::Summary(summary)) => show_summary(None, &summary, out)?,
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

/// All of a text file that is not large.
fn read_text(file: &Path) -> Result<String, Failure> {
    let mut text = String::new();
    let read = |input: &mut dyn Read, text: &mut String| {
        input.take(MAX_QUESTIONS_BYTES + 1).read_to_string(text).map(|bytes| bytes as u64)
    };
    let bytes = match file.to_str() {
        Some("-") => read(&mut std::io::stdin(), &mut text),
        _ => File::open(file).and_then(|mut file| read(&mut file, &mut text)),
    };
    let name = file.display();
    let bytes = bytes.map_err(|error| {
        Failure::usage(format!("cannot read what is asked in {name}: {error}"), "give a text file in UTF-8")
    })?;
    if bytes > MAX_QUESTIONS_BYTES {
        let most = indicatif::HumanBytes(MAX_QUESTIONS_BYTES);
        return Err(Failure::usage(format!("{name} is larger than {most}"), "split it"));
    }
    Ok(text)
}

/// The vector in a file.
fn read_vector(file: &Path) -> Result<Vec<f32>, Failure> {
    let hint = "give a JSON array of numbers, such as [0.1, -0.2, 0.3]";
    let name = file.display();
    let vector: Vec<f32> = serde_json::from_str(&read_text(file)?)
        .map_err(|error| Failure::usage(format!("there is no vector in {name}: {error}"), hint))?;
    if vector.is_empty() {
        return Err(Failure::usage(format!("the vector in {name} has no numbers"), hint));
    }
    Ok(vector)
}

/// The questions of a file, one on each line.
fn read_questions(file: &Path) -> Result<Vec<String>, Failure> {
    let (text, name) = (read_text(file)?, file.display());
    let questions: Vec<String> =
        text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect();
    if questions.is_empty() {
        return Err(Failure::usage(format!("there is no question in {name}"), "write one on each line"));
    }
    Ok(questions)
}

/// Asks all of these, as many in a call as it may have.
async fn ask_many(
    client: &mut Client,
    questions: &[String],
    wanted: &rpc::SearchRequest,
    full: bool,
    out: &mut Output,
) -> Result<Exit, Failure> {
    let hits = (wanted.k + wanted.offset).max(1);
    let at_once = ((MAX_HITS_A_CALL / hits) as usize).clamp(1, MAX_SEARCHES_A_CALL);
    for questions in questions.chunks(at_once) {
        let search = |text: &String| rpc::SearchRequest { text: text.clone(), ..wanted.clone() };
        let searches = questions.iter().map(search).collect();
        let mut messages = client.search_many(call(rpc::SearchManyRequest { searches })).await?.into_inner();
        let (mut at, mut rank) = (None, wanted.offset);
        while let Some(message) = messages.message().await? {
            let Some(question) = questions.get(message.search as usize) else { continue };
            if at != Some(message.search) {
                (at, rank) = (Some(message.search), wanted.offset);
                if !out.is_json() {
                    out.line(format_args!("{STRONG}{}{STRONG:#}", printable(question)))?;
                }
            }
            match message.item {
                Some(Many::Hit(hit)) => {
                    rank += 1;
                    show_hit(rank, Some(question), &hit, full, out)?;
                }
                Some(Many::Summary(summary)) => show_summary(Some(question), &summary, out)?,
                None => {}
            }
        }
    }
    Ok(Exit::Done)
}

fn show_hit(
    rank: u32,
    question: Option<&str>,
    hit: &rpc::Hit,
    full: bool,
    out: &mut Output,
) -> Result<(), Failure> {
    if out.is_json() {
        let asked = |hit| AskedRecord { question, hit };
        return HitRecord::new(hit).map_or(Ok(()), |record| out.record(&asked(record)));
    }
    let Some(grain) = &hit.grain else { return Ok(()) };
    let columns = out.columns();
    // Rank, score and id take 27 columns.
    let mut heading = heading(grain, columns.saturating_sub(28), out);
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
    let words = marked_words(hit);
    let (text, lines) =
        if full { (&*grain.text, usize::MAX) } else { (best_passage(hit, columns), TEXT_LINES) };
    let is_inside = text.len() < grain.text.len() && !grain.text.starts_with(text);
    for (place, line) in paragraph(text, columns, 5, lines).into_iter().enumerate() {
        let line = highlight(&line, &words);
        let line = if is_inside && place == 0 { line.replacen("     ", "   … ", 1) } else { line };
        out.line(line)?;
    }
    if hit.copies > 0 {
        let copies = plural(u64::from(hit.copies), "grain");
        out.line(format_args!("     {FAINT}and {copies} like it (--all-copies){FAINT:#}"))?;
    }
    out.line("")
}

/// The words of the text that are the question's, each once, the longest first.
fn marked_words(hit: &rpc::Hit) -> Vec<&str> {
    let Some(grain) = &hit.grain else { return Vec::new() };
    let slice = |mark: &rpc::TextRange| grain.text.get(mark.start as usize..mark.end as usize);
    let words: BTreeSet<&str> = hit.marks.iter().filter_map(slice).filter(|word| !word.is_empty()).collect();
    let mut words: Vec<&str> = words.into_iter().collect();
    words.sort_by_key(|word| Reverse(word.len()));
    words
}

/// The end of the text from where the lines that are shown hold most of the question's words; all of it where its beginning
/// does as well as any.
fn best_passage(hit: &rpc::Hit, columns: usize) -> &str {
    let Some(grain) = &hit.grain else { return "" };
    let (text, marks) = (&grain.text, &hit.marks);
    let shown = TEXT_LINES * columns.saturating_sub(10).max(20);
    let within = |start: usize| {
        let end = start + shown;
        marks.iter().filter(|mark| mark.start as usize >= start && mark.end as usize <= end).count()
    };
    let (mut best, mut most) = (0, within(0));
    for mark in marks {
        let start = mark.start as usize;
        if within(start) > most {
            (best, most) = (start, within(start));
        }
    }
    // It begins with a sentence or a line, where there is one a little before.
    let Some(before) = text.get(..best) else { return text };
    let from = before.len().saturating_sub(shown / 3);
    let border =
        before.rmatch_indices(['\n', '.', '?', '!']).map(|(at, sign)| at + sign.len()).find(|at| *at >= from);
    let start = border.or_else(|| before.rfind(char::is_whitespace)).unwrap_or(best);
    text.get(start..).map_or(text, str::trim_start)
}

/// A line with these words in it marked, where they stand alone.
fn highlight(line: &str, words: &[&str]) -> String {
    let mut marked = String::with_capacity(line.len());
    let (mut at, mut is_in_word) = (0, false);
    while let Some(next) = line[at..].chars().next() {
        let stands_alone = |word: &&&str| {
            let after = line[at + word.len()..].chars().next();
            // In scripts without spaces words follow each other.
            !next.is_ascii() || (!is_in_word && after.is_none_or(|c| !c.is_alphanumeric()))
        };
        match words.iter().filter(|word| line[at..].starts_with(**word)).find(stands_alone) {
            Some(word) => {
                marked.push_str(&format!("{MATCH}{word}{MATCH:#}"));
                (at, is_in_word) = (at + word.len(), false);
            }
            None => {
                marked.push(next);
                (at, is_in_word) = (at + next.len_utf8(), next.is_alphanumeric());
            }
        }
    }
    marked
}

/// What a grain is called and where it is from, in at most `columns`.
fn heading(grain: &rpc::Grain, columns: usize, out: &Output) -> String {
    let place = source::place(grain);
    let end_of = |columns| source::linked(&end_of(&place, columns), grain, out);
    let mut title = one_line(&grain.title, columns);
    let file = source::origin(grain);
    if file.is_some_and(|file| Path::new(&*file).file_name().is_some_and(|name| name == title.as_str())) {
        // The place says it already.
        title.clear();
    }
    let room = columns.saturating_sub(textwrap::core::display_width(&title) + 3);
    match (title.is_empty(), place.is_empty()) {
        (true, true) => format!("{FAINT}{}{FAINT:#}", printable(&grain.topic)),
        (true, false) => end_of(columns),
        (false, false) if room >= 12 => {
            format!("{STRONG}{title}{STRONG:#} {FAINT}· {}{FAINT:#}", end_of(room))
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

fn show_summary(
    question: Option<&str>,
    summary: &rpc::SearchSummary,
    out: &mut Output,
) -> Result<(), Failure> {
    let &rpc::SearchSummary { hits, searched, pending, unchecked, elapsed_us, embed_us, .. } = summary;
    let rpc::SearchSummary { peers, models, .. } = summary;
    if out.is_json() {
        let peers = peers.iter().map(PeerRecord::new).collect();
        let event = "summary";
        let models = models.iter().map(|model| model.name.as_str()).collect();
        let mode = match summary.mode() {
            rpc::SearchMode::Words => "words",
            rpc::SearchMode::Meaning => "meaning",
            rpc::SearchMode::Hybrid | rpc::SearchMode::Unspecified => "hybrid",
        };
        let (unreadable, best_left_out) = (summary.unreadable, summary.best_left_out);
        return out.aside(&SummaryRecord {
            event,
            question,
            hits,
            mode,
            unreadable,
            foreign_language: Some(summary.foreign_language.as_str()).filter(|tag| !tag.is_empty()),
            best_left_out,
            searched,
            pending,
            unchecked,
            elapsed_us,
            embed_us,
            peers,
            models,
        });
    }
    let is_none = hits == 0;
    let hits = if hits == 0 { "nothing".to_owned() } else { plural(u64::from(hits), "hit") };
    let searched = plural(searched, "grain");
    #[expect(clippy::cast_precision_loss, reason = "a time in milliseconds with one digit")]
    let ms = elapsed_us as f64 / 1000.0;
    out.note(format_args!("{FAINT}{hits} among {searched} in {ms:.1} ms{FAINT:#}"))?;
    if let Some(best) = summary.best_left_out.filter(|_| is_none) {
        out.note(format_args!(
            "nothing here answers it: the best that was left out scores {best:.3} (`--min-score -1` shows it)"
        ))?;
    }
    if summary.unreadable {
        out.note(format_args!(
            "the model cannot read this question, so it was searched by its words alone{READER_HINT}"
        ))?;
    } else if !summary.foreign_language.is_empty() {
        let language = printable(&summary.foreign_language);
        out.note(format_args!(
            "the question seems to be in {language:?}, and the model was not made for that: it may understand little of it; \
             `synapsenet models fetch multilingual-e5-small` gets one that reads many languages"
        ))?;
    }
    if pending > 0 {
        let pending = plural(pending, "grain");
        out.note(format_args!(
            "{pending} can be found by their words only: the model has not read them yet, or cannot (see `synapsenet status`)"
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
    match (peer.outcome(), peer.left_out) {
        (rpc::PeerOutcome::Answered, 0) => {
            format!("peer {who} answered in {ms} ms with {}", plural(peer.hits.into(), "new hit"))
        }
        (rpc::PeerOutcome::Answered, left_out) => format!(
            "peer {who} answered in {ms} ms with {}; {} could not be scored in time",
            plural(peer.hits.into(), "new hit"),
            plural(left_out.into(), "grain")
        ),
        (rpc::PeerOutcome::Late, _) => format!("peer {who} did not answer in time"),
        (outcome, _) => format!("peer {who} {}: {}", outcome_word(outcome), printable(&peer.reason)),
    }
}

fn outcome_word(outcome: rpc::PeerOutcome) -> &'static str {
    match outcome {
        rpc::PeerOutcome::Unspecified => "unknown",
        rpc::PeerOutcome::Answered => "answered",
        rpc::PeerOutcome::Late => "late",
        rpc::PeerOutcome::Refused => "refused",
        rpc::PeerOutcome::Failed => "failed",
    }
}

impl<'a> PeerRecord<'a> {
    fn new(peer: &'a rpc::PeerAnswer) -> Self {
        Self {
            peer_id: &peer.peer_id,
            outcome: outcome_word(peer.outcome()),
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
        let out = Output::new(true, false);
        let plain = |grain: &rpc::Grain, columns| {
            anstream::adapter::strip_str(&heading(grain, columns, &out)).to_string()
        };
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
    fn words_of_the_question_are_marked_where_they_stand_alone() {
        let plain = |line: &str, words: &[&str]| {
            highlight(line, words).replace(&format!("{MATCH}"), "[").replace(&format!("{MATCH:#}"), "]")
        };
        assert_eq!(plain("     a pear, pears and spear", &["pear"]), "     a [pear], pears and spear");
        assert_eq!(plain("SN-4471-B is here", &["SN-4471-B", "SN"]), "[SN-4471-B] is here");
        assert_eq!(plain("日本語の本", &["本"]), "日[本]語の[本]");
        assert_eq!(plain("nothing", &[]), "nothing");
    }

    #[test]
    fn what_is_shown_of_a_long_text_is_where_the_words_stand() {
        let start = "It rained. ".repeat(100);
        let text = format!("{start}The boiler was serviced in May by Ilse. {start}");
        let at = text.find("boiler").unwrap();
        let mark = rpc::TextRange { start: at as u32, end: (at + 6) as u32 };
        let hit = |marks: Vec<rpc::TextRange>| rpc::Hit {
            grain: Some(rpc::Grain { text: text.clone(), ..grain() }),
            marks,
            ..rpc::Hit::default()
        };
        assert!(best_passage(&hit(vec![mark]), 80).starts_with("The boiler was serviced"));
        assert_eq!(best_passage(&hit(Vec::new()), 80), text);
        let odd = rpc::TextRange { start: 1_000_000, end: 1_000_001 };
        assert_eq!(best_passage(&hit(vec![odd]), 80), text, "a node may say anything");
    }

    #[test]
    fn a_long_path_keeps_its_end() {
        assert_eq!(end_of("/very/long/path/notes.md #1", 12), "…notes.md #1");
        assert_eq!(end_of("/a #1", 12), "/a #1");
    }
}

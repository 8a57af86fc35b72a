//! `sources`: folders that are remembered and kept up to date by the node.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use indicatif::HumanCount;
use schemars::JsonSchema;
use serde::Serialize;
use synapsenet_proto::rpc::sync_source_response::Item;
use synapsenet_proto::{Topic, rpc};

use super::client::{SourceClient, call, connect_sources};
use super::confirm::Consent;
use super::context::Context;
use super::failure::{Exit, Failure};
use super::filter::parse_topic;
use super::output::{FAINT, Output, STRONG, Unit, plural, printable};
use super::time;
use crate::files::Glob;

/// Refused files that the list names of each folder.
const MAX_REFUSED: usize = 3;

/// Arguments of `sources`.
#[derive(Debug, Args)]
pub(crate) struct SourcesArgs {
    #[command(subcommand)]
    command: Option<SourcesCommand>,
}

#[derive(Debug, Subcommand)]
enum SourcesCommand {
    /// Remember a folder, or a single file: what is known of it follows what is in it
    Add(AddSourceArgs),
    /// Show which folders are remembered, and how it is with them
    List,
    /// Look at folders now: all of them, or those that are named
    Sync {
        /// The folders
        #[arg(value_name = "FOLDER")]
        folders: Vec<PathBuf>,
        /// Only show what would be done
        #[arg(long)]
        dry_run: bool,
        /// Withdraw at once what is gone, however much it is
        #[arg(long, requires = "folders")]
        withdraw: bool,
    },
    /// Leave a folder as it is until it is resumed
    Pause {
        /// The folder
        folder: PathBuf,
    },
    /// Look at a folder again
    Resume {
        /// The folder
        folder: PathBuf,
    },
    /// Remember a folder no longer; its grains stay, unless --retract withdraws them
    Remove {
        /// The folder
        folder: PathBuf,
        /// Withdraw all its grains, too
        #[arg(long)]
        retract: bool,
        /// Do not ask
        #[arg(short, long)]
        yes: bool,
    },
}

/// Arguments of `sources add`.
#[derive(Debug, Args)]
struct AddSourceArgs {
    /// The folder, or a single file such as a mailbox, on the node's machine
    folder: PathBuf,
    /// Topic that the grains belong to
    #[arg(long, value_parser = parse_topic, default_value = synapsenet_proto::DEFAULT_TOPIC)]
    topic: Topic,
    /// Tag to find them by; give it again for several
    #[arg(long)]
    tag: Vec<String>,
    /// Language of the texts, a BCP 47 tag such as "en" or "pt-BR"
    #[arg(long)]
    lang: Option<String>,
    /// Let the grains leave this node, with their titles, tags and the names of their files, without folders; otherwise they stay private
    #[arg(long)]
    share: bool,
    /// How bytes are read that are no UTF-8, such as windows-1252; otherwise that is found out where it can be
    #[arg(long, value_name = "LABEL")]
    encoding: Option<String>,
    /// Leave out what has such a name, as in .gitignore: '*.log', 'drafts/'; give it again for several
    #[arg(long, value_name = "GLOB")]
    exclude: Vec<Glob>,
    /// Read what .gitignore names, what is hidden, and folders that programs filled, too
    #[arg(long)]
    no_ignore: bool,
    /// Read private keys and tokens, too
    #[arg(long)]
    include_secrets: bool,
    /// Look at it by the clock, such as every 10m, 6h or 1d, instead of watching it
    #[arg(long, value_name = "TIME", value_parser = parse_interval, conflicts_with = "manual")]
    every: Option<u64>,
    /// Look at it only when `sources sync` says so
    #[arg(long)]
    manual: bool,
}

/// Seconds of "10m".
fn parse_interval(text: &str) -> Result<u64, String> {
    let unit = text.chars().last().and_then(|unit| match unit {
        's' => Some(1),
        'm' => Some(60),
        'h' => Some(3600),
        'd' => Some(86_400),
        _ => None,
    });
    let number = unit.and_then(|_| text[..text.len() - 1].parse::<u64>().ok());
    let seconds = number.zip(unit).and_then(|(number, unit)| number.checked_mul(unit));
    match seconds {
        Some(seconds @ 10..=31_536_000) => Ok(seconds),
        Some(_) => Err("10s to 365d are allowed".to_owned()),
        None => Err("a time is a number and s, m, h or d, such as 10m".to_owned()),
    }
}

/// A folder, for scripts.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct SourceRecord<'a> {
    /// Its absolute path.
    folder: &'a str,
    /// What its grains get.
    topic: &'a str,
    /// What its grains get.
    tags: &'a [String],
    /// Of its texts.
    lang: Option<&'a str>,
    /// Whether they may leave the node.
    share: bool,
    /// Of bytes that are no UTF-8.
    encoding: Option<&'a str>,
    /// What is left out: globs.
    exclude: &'a [String],
    /// What .gitignore and the like name is taken, too.
    no_ignore: bool,
    /// Keys and tokens are taken, too.
    include_secrets: bool,
    /// `manual`, `every` or `watch`.
    rhythm: &'static str,
    /// From one look to the next.
    every_seconds: Option<u64>,
    /// It is left as it is until it is resumed.
    paused: bool,
}

/// A folder and how it is with it, for scripts.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct StateRecord<'a> {
    #[serde(flatten)]
    source: SourceRecord<'a>,
    /// When it was looked at last.
    looked_ms: Option<u64>,
    /// How far a look is that is under way.
    running: Option<ProgressRecord>,
    /// Why it is not watched, though it should be.
    not_watched: Option<&'a str>,
    /// What became of the last look.
    last: Option<ReportRecord<'a>>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct ProgressRecord {
    /// Files that are done.
    done: u64,
    /// Files that are to be read.
    total: u64,
}

/// What became of a look, for scripts.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct ReportRecord<'a> {
    /// Which was looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    folder: Option<&'a str>,
    /// Nothing was changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    dry_run: Option<bool>,
    /// Files that were found and are meant.
    files: u64,
    /// Of these, those that say what they said.
    unchanged: u64,
    /// New ones.
    added: u64,
    /// Ones that say something else.
    edited: u64,
    /// Ones that lie elsewhere.
    moved: u64,
    /// Files that are gone, and whose grains were withdrawn.
    withdrawn: u64,
    /// Files that are gone, and are waited for.
    missing: u64,
    /// Files that are no documents.
    skipped: u64,
    /// Files that could not be read.
    refused: u64,
    /// The first of them.
    refused_files: Vec<RefusedRecord<'a>>,
    /// What the walk left out, in words.
    left_out: Option<&'a str>,
    /// Grains that are new.
    grains_added: u64,
    /// Grains that were withdrawn.
    grains_retracted: u64,
    /// Why it ended early, and what to do.
    problem: Option<&'a str>,
    elapsed_us: u64,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct RefusedRecord<'a> {
    /// Of the file.
    name: &'a str,
    /// Why.
    reason: &'a str,
}

/// A folder that is remembered no longer, for scripts.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct RemovedRecord<'a> {
    /// Which is remembered no longer.
    folder: &'a str,
    /// Grains that were withdrawn.
    retracted: u64,
}

/// Runs `sources`.
pub(crate) async fn run(args: SourcesArgs, context: &mut Context) -> Result<Exit, Failure> {
    let mut client = connect_sources(&context.target).await?;
    let out = &mut context.out;
    match args.command {
        None | Some(SourcesCommand::List) => {
            let sources = list(&mut client).await?;
            show_states(&sources, out)
        }
        Some(SourcesCommand::Add(args)) => add(args, &mut client, out).await,
        Some(SourcesCommand::Sync { folders, dry_run, withdraw }) => {
            let folders = match folders.is_empty() {
                false => folders.iter().map(|folder| absolute(folder)).collect::<Result<_, _>>()?,
                true => {
                    let sources = list(&mut client).await?.into_iter().filter_map(|state| state.source);
                    sources.filter(|source| !source.paused).map(|source| source.folder).collect::<Vec<_>>()
                }
            };
            if folders.is_empty() {
                out.note("no folder is remembered that is not paused; `synapsenet sources add FOLDER` remembers one")?;
            }
            let mut exit = Exit::Done;
            for folder in folders {
                let request = rpc::SyncSourceRequest { folder, dry_run, withdraw };
                if sync(&mut client, request, out).await? == Exit::Incomplete {
                    exit = Exit::Incomplete;
                }
            }
            Ok(exit)
        }
        Some(SourcesCommand::Pause { folder }) => pause(&folder, true, &mut client, out).await,
        Some(SourcesCommand::Resume { folder }) => pause(&folder, false, &mut client, out).await,
        Some(SourcesCommand::Remove { folder, retract, yes }) => {
            let folder = absolute(&folder)?;
            if retract {
                let consent = Consent::of(yes, "retracting a folder", "a retraction cannot be taken back")?;
                let question = "Retract all grains of this folder? The texts go for good; the files stay.";
                consent.confirm(std::slice::from_ref(&folder), question)?;
            }
            let request = rpc::RemoveSourceRequest { folder: folder.clone(), retract };
            let retracted = client.remove_source(long_call(request)).await?.into_inner().retracted;
            if out.is_json() {
                return out.record(&RemovedRecord { folder: &folder, retracted }).map(|()| Exit::Done);
            }
            let grains =
                if retract { format!(", {} retracted", plural(retracted, "grain")) } else { String::new() };
            out.summary(format_args!("{} is remembered no longer{grains}", printable(&folder)))?;
            Ok(Exit::Done)
        }
    }
}

/// A request that takes as long as it takes: withdrawing a large folder is minutes of work.
fn long_call<T>(request: T) -> tonic::Request<T> {
    tonic::Request::new(request)
}

async fn list(client: &mut SourceClient) -> Result<Vec<rpc::SourceState>, Failure> {
    let request = rpc::ListSourcesRequest { covering: String::new() };
    Ok(client.list_sources(call(request)).await?.into_inner().sources)
}

/// The path of a folder as the node knows it; of one that is gone, as it is written.
fn absolute(folder: &Path) -> Result<String, Failure> {
    let path = folder.canonicalize().or_else(|_| std::path::absolute(folder));
    let path = path.ok().and_then(|path| path.to_str().map(str::to_owned));
    path.ok_or_else(|| {
        Failure::usage(format!("{} cannot be named", folder.display()), "give the path of a folder in UTF-8")
    })
}

async fn add(args: AddSourceArgs, client: &mut SourceClient, out: &mut Output) -> Result<Exit, Failure> {
    let (rhythm, every_seconds) = match (args.every, args.manual) {
        (Some(seconds), _) => (rpc::SourceRhythm::Every, seconds),
        (None, true) => (rpc::SourceRhythm::Manual, 0),
        (None, false) => (rpc::SourceRhythm::Watch, 0),
    };
    let source = rpc::RememberedSource {
        folder: absolute(&args.folder)?,
        topic: args.topic.to_string(),
        tags: args.tag,
        lang: args.lang.unwrap_or_default(),
        share: args.share,
        encoding: args.encoding.unwrap_or_default(),
        no_ignore: args.no_ignore,
        include_secrets: args.include_secrets,
        exclude: args.exclude.iter().map(|glob| glob.as_str().to_owned()).collect(),
        rhythm: rhythm.into(),
        every_seconds,
        paused: false,
    };
    let request = rpc::AddSourceRequest { source: Some(source) };
    let answer = client.add_source(call(request)).await?.into_inner();
    let source = answer.source.unwrap_or_default();
    if out.is_json() {
        out.record(&SourceRecord::new(&source))?;
    } else {
        let changed = if answer.before.is_some() { "is remembered otherwise now" } else { "is remembered" };
        out.summary(format_args!("{} {changed}: {}", printable(&source.folder), describe(&source)))?;
    }
    let request = rpc::SyncSourceRequest { folder: source.folder, ..rpc::SyncSourceRequest::default() };
    sync(client, request, out).await
}

async fn pause(
    folder: &Path,
    paused: bool,
    client: &mut SourceClient,
    out: &mut Output,
) -> Result<Exit, Failure> {
    let folder = absolute(folder)?;
    client.pause_source(call(rpc::PauseSourceRequest { folder: folder.clone(), paused })).await?;
    let what = if paused { "is left as it is" } else { "is looked at again" };
    if !out.is_json() {
        out.summary(format_args!("{} {what}", printable(&folder)))?;
    }
    Ok(Exit::Done)
}

/// Has a folder looked at, and shows what became of it.
async fn sync(
    client: &mut SourceClient,
    request: rpc::SyncSourceRequest,
    out: &mut Output,
) -> Result<Exit, Failure> {
    let (folder, dry_run) = (request.folder.clone(), request.dry_run);
    let mut messages = client.sync_source(long_call(request)).await?.into_inner();
    let bar = out.bar("reading", 0, Unit::Count);
    while let Some(message) = messages.message().await? {
        match message.item {
            Some(Item::Progress(rpc::SourceProgress { done, total })) => {
                bar.set_length(total);
                bar.set_position(done);
            }
            Some(Item::Report(report)) => {
                bar.finish_and_clear();
                return show_report(&folder, dry_run, &report, out);
            }
            None => {}
        }
    }
    Err(Failure::refused("the node did not say what became of it", "look at its log, and try again"))
}

fn show_report(
    folder: &str,
    dry_run: bool,
    report: &rpc::SourceReport,
    out: &mut Output,
) -> Result<Exit, Failure> {
    let is_whole = report.problem.is_empty() && report.refused == 0;
    let exit = if is_whole { Exit::Done } else { Exit::Incomplete };
    if out.is_json() {
        let record =
            ReportRecord { folder: Some(folder), dry_run: Some(dry_run), ..ReportRecord::new(report) };
        return out.record(&record).map(|()| exit);
    }
    for file in &report.refused_files {
        let (name, reason) = (super::source::display(&file.name), &file.reason);
        out.problem(format_args!("refused {}: {}", printable(&name), printable(reason)))?;
    }
    if report.refused > report.refused_files.len() as u64 {
        let more = report.refused - report.refused_files.len() as u64;
        out.problem(format_args!("... and {} more", plural(more, "file")))?;
    }
    let would = if dry_run { "would be " } else { "" };
    out.summary(format_args!("{}: {would}{}", printable(folder), summed_up(report)))?;
    if !report.left_out.is_empty() {
        out.note(format_args!("left out {} (--no-ignore takes them)", printable(&report.left_out)))?;
    }
    if report.missing > 0 {
        let files = plural(report.missing, "file");
        out.note(format_args!("{files} gone: withdrawn in some minutes, or at once by --withdraw"))?;
    }
    if !report.problem.is_empty() {
        out.problem(printable(&report.problem))?;
    }
    Ok(exit)
}

fn summed_up(report: &rpc::SourceReport) -> String {
    let rpc::SourceReport { added, edited, moved, withdrawn, unchanged, skipped, refused, .. } = *report;
    let parts = [
        ("added", added),
        ("edited", edited),
        ("moved", moved),
        ("withdrawn", withdrawn),
        ("unchanged", unchanged),
        ("skipped", skipped),
        ("refused", refused),
    ];
    let said = parts.iter().filter(|(name, count)| *count > 0 || ["added", "unchanged"].contains(name));
    said.map(|(name, count)| format!("{name} {}", HumanCount(*count))).collect::<Vec<_>>().join(", ")
}

/// How a folder is remembered, for people.
fn describe(source: &rpc::RememberedSource) -> String {
    let rhythm = match source.rhythm() {
        rpc::SourceRhythm::Every => format!("looked at every {}", time::span(source.every_seconds * 1000)),
        rpc::SourceRhythm::Watch => "watched".to_owned(),
        rpc::SourceRhythm::Manual | rpc::SourceRhythm::Unspecified => "looked at by hand".to_owned(),
    };
    let mut parts = vec![if source.paused { "paused".to_owned() } else { rhythm }];
    parts.push(format!("topic {}", printable(&source.topic)));
    if !source.tags.is_empty() {
        parts.push(format!("tags {}", printable(&source.tags.join(", "))));
    }
    parts.push(if source.share { "shared" } else { "private" }.to_owned());
    if !source.exclude.is_empty() {
        parts.push(format!("without {}", printable(&source.exclude.join(", "))));
    }
    parts.join(", ")
}

fn show_states(states: &[rpc::SourceState], out: &mut Output) -> Result<Exit, Failure> {
    for state in states {
        let Some(source) = &state.source else { continue };
        if out.is_json() {
            out.record(&StateRecord::new(source, state))?;
            continue;
        }
        out.line(format_args!("{STRONG}{}{STRONG:#}  {}", printable(&source.folder), describe(source)))?;
        if let Some(rpc::SourceProgress { done, total }) = state.running {
            out.line(format_args!("    reading {done} of {total}"))?;
        }
        match (&state.last, state.looked_ms) {
            (Some(last), looked_ms) => {
                let when = time::local(looked_ms);
                let (files, summary) = (plural(last.files, "file"), summed_up(last));
                out.line(format_args!("    {FAINT}{when}{FAINT:#}  {files}: {summary}"))?;
                for file in last.refused_files.iter().take(MAX_REFUSED) {
                    let (name, reason) = (super::source::display(&file.name), printable(&file.reason));
                    out.line(format_args!("    refused {}: {reason}", printable(&name)))?;
                }
                if last.refused > MAX_REFUSED as u64 && !last.refused_files.is_empty() {
                    let more = plural(last.refused - MAX_REFUSED as u64, "file");
                    out.line(format_args!("    ... and {more} more; `sources sync FOLDER` names them"))?;
                }
                if !last.problem.is_empty() {
                    out.line(format_args!("    {}", printable(&last.problem)))?;
                }
            }
            (None, 0) => out.line("    not looked at yet")?,
            (None, looked_ms) => {
                out.line(format_args!(
                    "    {FAINT}{}{FAINT:#}  before the node started",
                    time::local(looked_ms)
                ))?;
            }
        }
        if !state.not_watched.is_empty() {
            let why = printable(&state.not_watched);
            out.line(format_args!("    looked at every minute, as it cannot be watched: {why}"))?;
        }
    }
    if states.is_empty() {
        out.note("no folder is remembered; `synapsenet sources add FOLDER` remembers one")?;
    }
    Ok(Exit::Done)
}

impl<'a> SourceRecord<'a> {
    fn new(source: &'a rpc::RememberedSource) -> Self {
        let rhythm = match source.rhythm() {
            rpc::SourceRhythm::Every => "every",
            rpc::SourceRhythm::Watch => "watch",
            rpc::SourceRhythm::Manual | rpc::SourceRhythm::Unspecified => "manual",
        };
        let some = |text: &'a str| Some(text).filter(|text| !text.is_empty());
        Self {
            folder: &source.folder,
            topic: &source.topic,
            tags: &source.tags,
            lang: some(&source.lang),
            share: source.share,
            encoding: some(&source.encoding),
            exclude: &source.exclude,
            no_ignore: source.no_ignore,
            include_secrets: source.include_secrets,
            rhythm,
            every_seconds: Some(source.every_seconds).filter(|_| rhythm == "every"),
            paused: source.paused,
        }
    }
}

impl<'a> StateRecord<'a> {
    fn new(source: &'a rpc::RememberedSource, state: &'a rpc::SourceState) -> Self {
        let running =
            |progress: &rpc::SourceProgress| ProgressRecord { done: progress.done, total: progress.total };
        Self {
            source: SourceRecord::new(source),
            looked_ms: Some(state.looked_ms).filter(|ms| *ms > 0),
            running: state.running.as_ref().map(running),
            not_watched: Some(state.not_watched.as_str()).filter(|why| !why.is_empty()),
            last: state.last.as_ref().map(ReportRecord::new),
        }
    }
}

impl<'a> ReportRecord<'a> {
    fn new(report: &'a rpc::SourceReport) -> Self {
        let some = |text: &'a str| Some(text).filter(|text| !text.is_empty());
        let refused = |file: &'a rpc::RefusedFile| RefusedRecord { name: &file.name, reason: &file.reason };
        Self {
            folder: None,
            dry_run: None,
            files: report.files,
            unchanged: report.unchanged,
            added: report.added,
            edited: report.edited,
            moved: report.moved,
            withdrawn: report.withdrawn,
            missing: report.missing,
            skipped: report.skipped,
            refused: report.refused,
            refused_files: report.refused_files.iter().map(refused).collect(),
            left_out: some(&report.left_out),
            grains_added: report.grains_added,
            grains_retracted: report.grains_retracted,
            problem: some(&report.problem),
            elapsed_us: report.elapsed_us,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_is_a_number_and_a_unit() {
        for (text, seconds) in [("10s", 10), ("10m", 600), ("6h", 21_600), ("365d", 31_536_000)] {
            assert_eq!(parse_interval(text), Ok(seconds));
        }
        for text in ["", "10", "m", "9s", "366d", "-1m", "1w", "99999999999999999999d", "1é"] {
            assert!(parse_interval(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_report_says_what_happened_and_not_what_did_not() {
        let report = rpc::SourceReport { unchanged: 1200, moved: 2, ..rpc::SourceReport::default() };
        assert_eq!(summed_up(&report), "added 0, moved 2, unchanged 1,200");
    }
}

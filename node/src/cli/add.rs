//! `add`: texts, files and folders into grains.

pub(super) mod dry_run;
mod pieces;
mod remembered;

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::time::Duration;

use clap::Args;
use futures::StreamExt;
use indicatif::ProgressBar;
use schemars::JsonSchema;
use serde::Serialize;
use synapsenet_proto::rpc::ErrorReason;
use synapsenet_proto::{MAX_TEXT_BYTES, Topic, rpc};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status};

use super::bulk::{self, FirstProblems};
use super::client::{Client, call, connect};
use super::context::Context;
use super::decoded::decoded;
use super::failure::{Exit, Failure, reason_of};
use super::filter::{pairs, parse_pair, parse_topic};
use super::inputs::{self, Input, Item, Problem};
use super::output::{Output, READER_HINT, Unit, plural, printable};
use crate::calls::grains::is_label;
use crate::files::{Glob, LeftOut, Rules, file_uri};
use remembered::Remembered;

/// Files that are being stored at the same time: enough that one is read while another is committed, and at most 16 MiB.
const MAX_FILES_IN_FLIGHT: usize = 4;
/// Files that were read and wait for their turn.
const READ_QUEUE: usize = 2;
/// Pauses before a busy node is asked again; after the last one it is taken at its word.
const BUSY_PAUSES: [Duration; 5] = [
    Duration::from_millis(100),
    Duration::from_millis(300),
    Duration::from_millis(900),
    Duration::from_millis(1800),
    Duration::from_millis(2900),
];

/// Said where there was nothing to say anything of.
const NOTHING: &str =
    "nothing found to add: what is hidden and what ignore files name is left out (--no-ignore takes it)";

/// Arguments of `add`.
#[derive(Debug, Args)]
pub(crate) struct AddArgs {
    /// What to remember: a file, a folder, - for standard input, or a text
    ///
    /// An argument that names an existing file or folder is read; any other is taken as a text. Folders are read with
    /// all that is below them, without what .gitignore, .ignore and .synapseignore name, without what is hidden, and without
    /// folders that programs filled, such as node_modules (--no-ignore takes all of these). Markdown, HTML, mails (.eml, .mbox),
    /// notebooks (.ipynb), documents (.docx, .odt), books (.epub) and PDFs (by pdftotext of Poppler, on the
    /// node's machine) are read as such by their extension; every other file is added if it is text. Adding a file again
    /// updates it: what it no longer says is withdrawn.
    #[arg(required = true, value_name = "FILE|FOLDER|-|TEXT")]
    inputs: Vec<OsString>,
    /// Take every argument as a text, even if a file has that name
    #[arg(long)]
    text: bool,
    /// Make each line of the files or of standard input a grain of its own
    #[arg(long, conflicts_with = "text")]
    lines: bool,
    /// Let the grains leave this node, with their titles, tags and the names of their files, without folders; otherwise they stay private
    #[arg(long)]
    share: bool,
    /// Topic that the grains belong to [default: that of the folder as it was added before, or commons]
    #[arg(long, value_parser = parse_topic)]
    topic: Option<Topic>,
    /// Tag to find them by; give it again for several
    #[arg(long)]
    tag: Vec<String>,
    /// Something that a program says about it, to find it by; give it again for several. Not for folders: tags are remembered of them
    #[arg(long, value_name = "KEY=VALUE", value_parser = parse_pair)]
    meta: Vec<(String, String)>,
    /// Title; without it the one that a file gives itself, or else its name
    #[arg(long)]
    title: Option<String>,
    /// Encoding of the texts, such as "windows-1252" or "shift_jis"; without it UTF-8, UTF-16 with its mark, or what a page says
    #[arg(long, value_name = "LABEL", value_parser = parse_encoding)]
    encoding: Option<String>,
    /// Language of the texts, a BCP 47 tag such as "en" or "pt-BR"
    #[arg(long)]
    lang: Option<String>,
    /// Do not wait until search can find the grains
    #[arg(long)]
    no_wait: bool,
    /// Leave out what has such a name in a folder; give it again for several
    ///
    /// A glob as in .gitignore: '*.log' for files and folders of such names wherever they lie, 'drafts/' for folders alone,
    /// 'old/**/*.md' from the folder on. What is named on the command line is taken.
    #[arg(long, value_name = "GLOB")]
    exclude: Vec<Glob>,
    /// Read everything in a folder: what ignore files name, what is hidden, node_modules and alike
    ///
    /// Left out without this: what .gitignore, .ignore and .synapseignore name, in a folder or in one around it; files and folders
    /// whose names begin with a dot; and folders that programs filled and can fill again: node_modules, __pycache__, target
    /// beside a Cargo.toml, build, dist and out beside a file that says how something is built, virtual environments, copies of
    /// libraries in vendor, and caches that are marked so (CACHEDIR.TAG).
    #[arg(long)]
    no_ignore: bool,
    /// Read private keys and tokens, too
    ///
    /// Without this, files that hold a private key (PEM, OpenSSH, PGP, age, PuTTY, WireGuard) and files named like keys
    /// and tokens (id_rsa, id_ed25519, *.key, *.p12, *.kdbx, *.token, *.seed, .env, .netrc, credentials and alike) are left
    /// out and listed. The data folder of a node is never read from a folder, with or without this.
    #[arg(long)]
    include_secrets: bool,
    /// Only tell what would be added, and what would not; no node is needed
    ///
    /// Whether a file was added before is not looked at: a node knows that.
    #[arg(long, conflicts_with = "lines")]
    dry_run: bool,
}

impl AddArgs {
    /// The topic of what is added.
    fn topic(&self) -> String {
        self.topic.as_ref().map(ToString::to_string).unwrap_or_default()
    }

    /// Which files of a folder are meant.
    fn rules(&self) -> Rules {
        Rules {
            no_ignore: self.no_ignore,
            include_secrets: self.include_secrets,
            exclude: self.exclude.clone(),
        }
    }
}

/// What became of everything.
#[derive(Debug, Default)]
struct Tally {
    added: u64,
    unchanged: u64,
    retracted: u64,
    refused: FirstProblems,
    skipped: FirstProblems,
    /// Of documents.
    omitted: FirstProblems,
    /// Of folders.
    left_out: LeftOut,
}

/// What was left out of folders without being named, for scripts: a folder counts once, whatever is in it.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct LeftOutRecord {
    /// Files that were not looked at.
    files: u64,
    /// Folders that were not entered.
    folders: u64,
}

/// One line for scripts.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(tag = "event", rename_all = "lowercase")]
pub(super) enum Event<'a> {
    Text {
        id: &'a str,
        outcome: &'static str,
    },
    Line {
        source: &'a str,
        line: u64,
        id: &'a str,
        outcome: &'static str,
    },
    Document {
        source: &'a str,
        ids: &'a [String],
        added: u32,
        unchanged: u32,
        retracted: u32,
        left_out: Vec<Omission<'a>>,
    },
    Skipped {
        source: &'a str,
        reason: &'a str,
    },
    Refused {
        source: &'a str,
        line: Option<u64>,
        reason: &'a str,
    },
    Summary {
        added: u64,
        unchanged: u64,
        retracted: u64,
        refused: u64,
        skipped: u64,
        left_out: LeftOutRecord,
    },
}

/// Something of a document that is in no grain.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Omission<'a> {
    /// Something of the document that is in no grain.
    what: &'a str,
    /// Why.
    reason: &'a str,
}

/// What the node made of one item.
enum Stored {
    Text {
        id: String,
        new: bool,
    },
    Document {
        name: String,
        uri: String,
        response: rpc::AddDocumentResponse,
    },
    Skipped(Problem),
    Refused(Problem),
    /// Nothing of that which a folder's walk left out.
    LeftOut(LeftOut),
}

/// Runs `add`.
pub(crate) async fn run(mut args: AddArgs, context: &mut Context) -> Result<Exit, Failure> {
    let of_argument = |argument: &OsString| Input::of_argument(argument, args.text);
    let inputs = args.inputs.iter().map(of_argument).collect::<Result<Vec<_>, _>>()?;
    if inputs.iter().filter(|input| **input == Input::Stdin).count() > 1 {
        return Err(Failure::usage("standard input can be read once only", "give - once"));
    }
    check_metadata(&args, &inputs)?;
    if args.dry_run {
        let (rules, encoding) = (args.rules(), args.encoding.as_deref().unwrap_or_default());
        return dry_run::run(inputs, (&rules, encoding), &mut context.out);
    }
    let mut client = connect(&context.target).await?;
    let remembered = Remembered::ask(&context.target, &inputs).await?;
    remembered.fill_in(&mut args, &mut context.out)?;
    let rules = args.rules();
    let unreadable = client.status(call(rpc::StatusRequest {})).await?.into_inner().unreadable;
    let mut tally = Tally::default();
    let done = if args.lines {
        add_lines(&args, inputs, &rules, &mut client, &mut context.out, &mut tally).await
    } else {
        add_items(&args, inputs, rules, &client, &mut context.out, &mut tally).await
    };
    // What was stored before a failure is stored: the summary comes in any case.
    tally.report(&mut context.out)?;
    done?;
    if !args.lines {
        remembered.keep(&context.target, &args).await;
    }
    if !args.no_wait && tally.added + tally.unchanged > 0 {
        let now = wait_until_searchable(&mut client, &mut context.out).await.map_err(|failure| {
            failure.while_doing("the grains are stored, but search cannot find all of them yet")
        })?;
        if now > unreadable {
            let grains = plural(now - unreadable, "grain");
            context.out.note(format_args!(
                "{grains} found by words only: the model cannot read them{READER_HINT}"
            ))?;
        }
    }
    Ok(if tally.refused.count() > 0 { Exit::Incomplete } else { Exit::Done })
}

/// What is said of each text in this way is not remembered: a folder that is added again without it would be withdrawn and added anew.
fn check_metadata(args: &AddArgs, inputs: &[Input]) -> Result<(), Failure> {
    pairs(&args.meta)?;
    match inputs.iter().any(|input| matches!(input, Input::Folder(_))) && !args.meta.is_empty() {
        true => Err(Failure::usage("--meta is not for folders", "use --tag, or name the files")),
        false => Ok(()),
    }
}

/// Adds texts, files and folders, a few at the same time.
async fn add_items(
    args: &AddArgs,
    inputs: Vec<Input>,
    rules: Rules,
    client: &Client,
    out: &mut Output,
    tally: &mut Tally,
) -> Result<(), Failure> {
    let bar = out.bar("adding", 0, Unit::Count);
    let (sender, items) = mpsc::channel(READ_QUEUE);
    let (reader_bar, encoding) = (bar.clone(), args.encoding.clone().unwrap_or_default());
    // Not awaited: it ends when it has read everything or when nobody listens any more.
    drop(tokio::task::spawn_blocking(move || {
        reader_bar.set_length(inputs::count(&rules, &inputs));
        inputs::read_all(&rules, &encoding, inputs, |item| sender.blocking_send(item).is_ok());
    }));
    let stored = ReceiverStream::new(items).map(|item| store(args, client.clone(), item));
    let mut stored = stored.buffered(MAX_FILES_IN_FLIGHT);
    let mut nothing = true;
    while let Some(stored) = stored.next().await {
        let stored = stored?;
        let is_item = !matches!(stored, Stored::LeftOut(_));
        nothing &= !is_item;
        tally.count(stored, out, &bar)?;
        bar.inc(is_item.into());
    }
    bar.finish_and_clear();
    if nothing {
        out.note(NOTHING)?;
    }
    Ok(())
}

/// Hands one item to the node.
async fn store(args: &AddArgs, client: Client, item: Item) -> Result<Stored, Failure> {
    let mut request = rpc::AddDocumentRequest {
        title: args.title.clone().unwrap_or_default(),
        topic: args.topic(),
        tags: args.tag.clone(),
        lang: args.lang.clone().unwrap_or_default(),
        share: args.share,
        metadata: args.meta.iter().cloned().collect(),
        ..rpc::AddDocumentRequest::default()
    };
    let (name, is_asked) = match item {
        Item::Skipped(problem) => return Ok(Stored::Skipped(problem)),
        Item::Refused(problem) => return Ok(Stored::Refused(problem)),
        Item::LeftOut(left_out) => return Ok(Stored::LeftOut(left_out)),
        Item::Text { name, text } if text.len() <= MAX_TEXT_BYTES => {
            return store_text(args, client, name, text).await;
        }
        Item::Text { name, text } => {
            // Too long for one grain: a document, named by what it says, since it has no other name.
            request.uri = format!("{name}:{}", &blake3::hash(text.as_bytes()).to_hex()[..16]);
            request.set_format(rpc::DocumentFormat::Plain);
            request.content = text.into_bytes();
            (name.to_owned(), true)
        }
        Item::Large { path, size, is_asked } => {
            request.uri = file_uri(&path);
            request.encoding = args.encoding.clone().unwrap_or_default();
            return store_large(request, client, &path, size, is_asked).await;
        }
        Item::Document { path, content, is_asked } => {
            request.uri = file_uri(&path);
            request.content = content;
            request.encoding = args.encoding.clone().unwrap_or_default();
            (path.display().to_string(), is_asked)
        }
    };
    let uri = request.uri.clone();
    let response = patiently(|| {
        let (mut client, request) = (client.clone(), call(request.clone()));
        async move { client.add_document(request).await }
    });
    match response.await {
        Ok(response) => Ok(document(name, uri, response.into_inner(), is_asked)),
        Err(status) => refused_or_failed(name, status),
    }
}

/// Hands a large document to the node in pieces, as they are read.
async fn store_large(
    request: rpc::AddDocumentRequest,
    client: Client,
    path: &Path,
    size: u64,
    is_asked: bool,
) -> Result<Stored, Failure> {
    let (name, uri) = (path.display().to_string(), request.uri.clone());
    let response = patiently(|| {
        let mut client = client.clone();
        let pieces = pieces::of(request.clone(), path.to_owned(), size);
        // It may have to wait for its turn, as long as the node has a call wait.
        async move { client.add_large_document(pieces).await }
    });
    match response.await {
        Ok(response) => Ok(document(name, uri, response.into_inner().added.unwrap_or_default(), is_asked)),
        Err(status) => refused_or_failed(name, status),
    }
}

/// What became of a document: without text, it is passed over in a folder and refused by name; where it had some, that is gone.
fn document(name: String, uri: String, response: rpc::AddDocumentResponse, is_asked: bool) -> Stored {
    if !response.empty || response.retracted > 0 {
        return Stored::Document { name, uri, response };
    }
    let left_out = response.left_out.first().map(|omission| format!(", but {}", omission.reason));
    let problem = Problem { name, reason: format!("it has no text{}", left_out.unwrap_or_default()) };
    if is_asked { Stored::Refused(problem) } else { Stored::Skipped(problem) }
}

async fn store_text(args: &AddArgs, client: Client, name: &str, text: String) -> Result<Stored, Failure> {
    let request =
        rpc::PutRequest { draft: Some(draft(args, text, None)), share: args.share, ..Default::default() };
    let response = patiently(|| {
        let (mut client, request) = (client.clone(), call(request.clone()));
        async move { client.put(request).await }
    });
    match response.await {
        Ok(response) => {
            let response = response.into_inner();
            let new = response.outcome() == rpc::PutOutcome::Added;
            Ok(Stored::Text { id: response.id, new })
        }
        Err(status) => refused_or_failed(name.to_owned(), status),
    }
}

/// Makes each line of the inputs a grain.
async fn add_lines(
    args: &AddArgs,
    inputs: Vec<Input>,
    rules: &Rules,
    client: &mut Client,
    out: &mut Output,
    tally: &mut Tally,
) -> Result<(), Failure> {
    for input in inputs {
        let name = input.name();
        let (reader, size, uri): (Box<dyn Read + Send>, u64, Option<String>) = match &input {
            Input::Text(text) => {
                let message = format!("--lines reads files and standard input; {text:?} is neither");
                return Err(Failure::usage(message, "leave --lines out to add a text"));
            }
            Input::Folder(path) => {
                let message =
                    format!("--lines reads files and standard input; {} is a folder", path.display());
                return Err(Failure::usage(message, "name the files in it"));
            }
            Input::Stdin => (Box::new(io::stdin()), 0, None),
            Input::Pipe(path) => (Box::new(open(path)?), 0, None),
            Input::File(path) => {
                let encoding = args.encoding.as_deref().unwrap_or_default();
                if let Err(reason) = inputs::check_lines(rules, encoding, path) {
                    tally.count(Stored::Refused(Problem { name, reason }), out, &ProgressBar::hidden())?;
                    continue;
                }
                let file = open(path)?;
                let size = file.metadata().map_or(0, |metadata| metadata.len());
                (Box::new(file), size, Some(file_uri(path)))
            }
        };
        let encoding = args.encoding.as_deref().unwrap_or_default();
        let reader = decoded(reader, encoding).map_err(|error| {
            Failure::incomplete(format!("cannot read {name}: {error}"), "check its name and permissions")
        })?;
        let bar = if size > 0 { out.bar("adding", size, Unit::Bytes) } else { out.spinner("lines added") };
        let template = draft(args, String::new(), None);
        let share = args.share;
        let to_item = move |line: u64, text: &str| {
            let source = uri.as_ref().map(|uri| rpc::Source {
                uri: uri.clone(),
                ordinal: u32::try_from(line - 1).unwrap_or(u32::MAX),
            });
            let draft = rpc::Draft { text: text.trim().to_owned(), source, ..template.clone() };
            let item = Some(rpc::bulk_put_request::Item::Draft(draft));
            Ok((!text.trim().is_empty()).then_some(rpc::BulkPutRequest { item, share, ..Default::default() }))
        };
        let sent = bulk::send_lines(client, reader, to_item, |answer| {
            if size > 0 {
                bar.set_position(answer.bytes_read)
            } else {
                bar.inc(1)
            }
            tally.count_line(&name, &answer, out, &bar)
        });
        sent.await?;
        bar.finish_and_clear();
    }
    Ok(())
}

fn open(path: &Path) -> Result<File, Failure> {
    File::open(path).map_err(|error| {
        Failure::incomplete(
            format!("cannot read {}: {error}", path.display()),
            "check its name and permissions",
        )
    })
}

fn draft(args: &AddArgs, text: String, source: Option<rpc::Source>) -> rpc::Draft {
    rpc::Draft {
        topic: args.topic(),
        text,
        title: args.title.clone().unwrap_or_default(),
        tags: args.tag.clone(),
        lang: args.lang.clone().unwrap_or_default(),
        mime: String::new(),
        source,
        links: Vec::new(),
        metadata: args.meta.iter().cloned().collect(),
    }
}

/// Reads the label of an encoding.
fn parse_encoding(label: &str) -> Result<String, String> {
    let known = "give one such as utf-8, windows-1252, iso-8859-15, utf-16le, shift_jis or gb18030";
    is_label(label).then(|| label.to_owned()).ok_or_else(|| format!("there is no such encoding: {known}"))
}

/// Asks again when the node is busy.
async fn patiently<T, F: Future<Output = Result<T, Status>>>(
    mut ask: impl FnMut() -> F,
) -> Result<T, Status> {
    for pause in BUSY_PAUSES {
        match ask().await {
            Err(status) if is_busy(&status) => tokio::time::sleep(pause).await,
            answer => return answer,
        }
    }
    ask().await
}

/// Whether it is worth waiting: one that is full stays full.
fn is_busy(status: &Status) -> bool {
    let is_full = matches!(reason_of(status), Some(ErrorReason::NodeFull | ErrorReason::DiskFull));
    status.code() == Code::ResourceExhausted && !is_full
}

/// A refusal of one item does not stop the others; a node that is full or gone does.
fn refused_or_failed(name: String, status: Status) -> Result<Stored, Failure> {
    let about_item =
        [Code::InvalidArgument, Code::FailedPrecondition, Code::PermissionDenied, Code::OutOfRange];
    if about_item.contains(&status.code()) {
        return Ok(Stored::Refused(Problem { name, reason: status.message().to_owned() }));
    }
    Err(status.into())
}

impl Tally {
    fn count(&mut self, stored: Stored, out: &mut Output, bar: &ProgressBar) -> Result<(), Failure> {
        match stored {
            Stored::Text { id, new } => {
                *if new { &mut self.added } else { &mut self.unchanged } += 1;
                let outcome = outcome(new);
                if out.is_json() {
                    out.record(&Event::Text { id: &id, outcome })
                } else {
                    bar.suspend(|| out.summary(format_args!("{outcome:9} {id}")))
                }
            }
            Stored::Document { name, uri, response } => {
                let rpc::AddDocumentResponse { ids, added, unchanged, retracted, left_out, .. } = &response;
                for rpc::Omission { what, reason } in left_out {
                    self.omitted.push(format!("{name}: {what}: {reason}"));
                }
                let left_out = left_out
                    .iter()
                    .map(|omission| Omission { what: &omission.what, reason: &omission.reason })
                    .collect();
                self.added += u64::from(*added);
                self.unchanged += u64::from(*unchanged);
                self.retracted += u64::from(*retracted);
                let (added, unchanged, retracted) = (*added, *unchanged, *retracted);
                script(out, &Event::Document { source: &uri, ids, added, unchanged, retracted, left_out })
            }
            Stored::Skipped(Problem { name, reason }) => {
                self.skipped.push(format!("{name}: {reason}"));
                script(out, &Event::Skipped { source: &name, reason: &reason })
            }
            Stored::Refused(Problem { name, reason }) => {
                self.refused.push(format!("{name}: {reason}"));
                script(out, &Event::Refused { source: &name, line: None, reason: &reason })
            }
            Stored::LeftOut(left_out) => {
                self.left_out.add(left_out);
                Ok(())
            }
        }
    }

    fn count_line(
        &mut self,
        source: &str,
        answer: &bulk::Answer,
        out: &mut Output,
        bar: &ProgressBar,
    ) -> Result<(), Failure> {
        let line = answer.line;
        match &answer.outcome {
            Ok((id, new)) => {
                *if *new { &mut self.added } else { &mut self.unchanged } += 1;
                bar.tick();
                script(out, &Event::Line { source, line, id, outcome: outcome(*new) })
            }
            Err(reason) => {
                self.refused.push(format!("{source}, line {line}: {reason}"));
                script(out, &Event::Refused { source, line: Some(line), reason })
            }
        }
    }

    fn report(&self, out: &mut Output) -> Result<(), Failure> {
        let Self { added, unchanged, retracted, .. } = *self;
        let (refused, skipped) = (self.refused.count(), self.skipped.count());
        if out.is_json() {
            let left_out = LeftOutRecord::of(&self.left_out);
            out.record(&Event::Summary { added, unchanged, retracted, refused, skipped, left_out })?;
            return out.flush();
        }
        for line in self.omitted.lines() {
            out.note(format_args!("left out {}", printable(&line)))?;
        }
        tell_problems(&self.skipped, &self.refused, &self.left_out, out)?;
        let skipped = if skipped > 0 { format!(", skipped {skipped}") } else { String::new() };
        out.summary(format_args!(
            "added {added}, unchanged {unchanged}, retracted {retracted}, refused {refused}{skipped}"
        ))?;
        out.flush()
    }
}

impl LeftOutRecord {
    fn of(left_out: &LeftOut) -> Self {
        Self { files: left_out.files, folders: left_out.folders }
    }
}

/// Tells people what is not added: the first of what was named, and how much was only counted.
fn tell_problems(
    skipped: &FirstProblems,
    refused: &FirstProblems,
    left_out: &LeftOut,
    out: &mut Output,
) -> Result<(), Failure> {
    for line in skipped.lines() {
        out.note(format_args!("skipped {}", printable(&line)))?;
    }
    if !left_out.is_empty() {
        out.note(format_args!("left out {} (--no-ignore takes them)", printable(&left_out.to_string())))?;
    }
    for line in refused.lines() {
        out.problem(format_args!("refused {}", printable(&line)))?;
    }
    Ok(())
}

fn outcome(new: bool) -> &'static str {
    if new { "added" } else { "unchanged" }
}

/// Writes a line that only scripts want.
fn script(out: &mut Output, event: &Event<'_>) -> Result<(), Failure> {
    if out.is_json() { out.record(event) } else { Ok(()) }
}

/// Waits until search can find everything that was put at this node so far. Answers how many notes here the model cannot read.
async fn wait_until_searchable(client: &mut Client, out: &mut Output) -> Result<u64, Failure> {
    let mut messages = client.wait_indexed(rpc::WaitIndexedRequest { only_own: true }).await?.into_inner();
    let mut bar: Option<ProgressBar> = None;
    let mut unread = 0;
    while let Some(message) = messages.message().await? {
        let rpc::WaitIndexedResponse { pending, finished, unreadable } = message;
        unread = unreadable;
        if finished {
            break;
        }
        let bar = bar.get_or_insert_with(|| out.bar("indexing", pending, Unit::Count));
        // Others may add at the same time: then there is more to do than at first.
        let total = bar.length().unwrap_or(0).max(pending);
        bar.set_length(total);
        bar.set_position(total - pending);
    }
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
    Ok(unread)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_have_the_documented_shape() {
        let json = |event: &Event<'_>| serde_json::to_string(event).unwrap();
        assert_eq!(
            json(&Event::Text { id: "ab", outcome: "added" }),
            r#"{"event":"text","id":"ab","outcome":"added"}"#
        );
        assert_eq!(
            json(&Event::Refused { source: "a", line: Some(3), reason: "r" }),
            r#"{"event":"refused","source":"a","line":3,"reason":"r"}"#
        );
        assert_eq!(
            json(&Event::Summary {
                added: 1,
                unchanged: 2,
                retracted: 3,
                refused: 4,
                skipped: 5,
                left_out: LeftOutRecord { files: 6, folders: 7 }
            }),
            concat!(
                r#"{"event":"summary","added":1,"unchanged":2,"retracted":3,"refused":4,"skipped":5,"#,
                r#""left_out":{"files":6,"folders":7}}"#
            )
        );
    }

    #[test]
    fn a_document_without_text_is_passed_over_in_a_folder_and_refused_by_name() {
        let of = |empty, retracted, is_asked| {
            let response = rpc::AddDocumentResponse { empty, retracted, ..Default::default() };
            document("a".into(), "file:///a".into(), response, is_asked)
        };
        assert!(matches!(of(true, 0, false), Stored::Skipped(_)));
        assert!(matches!(of(true, 0, true), Stored::Refused(_)));
        assert!(matches!(of(true, 1, true), Stored::Document { .. }));
        assert!(matches!(of(false, 0, true), Stored::Document { .. }));
    }

    #[test]
    fn an_encoding_is_known_before_anything_is_read() {
        assert!(parse_encoding("Windows-1252").is_ok());
        assert!(parse_encoding("klingon").unwrap_err().contains("windows-1252"));
    }

    #[test]
    fn a_refused_item_does_not_stop_the_others_and_a_full_node_does() {
        let result = |code| refused_or_failed("x".into(), Status::new(code, "reason"));
        assert!(matches!(result(Code::InvalidArgument), Ok(Stored::Refused(_))));
        assert!(result(Code::ResourceExhausted).is_err());
        assert!(result(Code::Unavailable).is_err());
    }
}

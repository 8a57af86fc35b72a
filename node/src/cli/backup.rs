//! `backup`, `backup verify` and `restore`: all that makes a node in one file, and back.

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};

use age::secrecy::{ExposeSecret, SecretString};
use clap::{Args, Subcommand};
use indicatif::HumanBytes;
use schemars::JsonSchema;
use serde::Serialize;
use synapsenet_proto::rpc;
use synapsenet_proto::rpc::backup_response::Item;

use super::client::{Client, Target};
use super::context::Context;
use super::export_file::ExportFile;
use super::failure::{Exit, Failure};
use super::output::{Output, Unit, WRONG, plural, printable};
use super::own_node::{Missing, with_node};
use super::time;
use crate::backup::archive::{ArchiveReader, ArchiveWriter};
use crate::backup::restore::CONFIG_ASIDE;
use crate::backup::{self, BackupError, Plan, PlannedFile};
use crate::data_folder::SOURCES;

/// The longest passphrase in a file, in bytes.
const MAX_PASSPHRASE_BYTES: usize = 1024;

/// Arguments of `backup`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct BackupArgs {
    #[command(subcommand)]
    command: Option<BackupCommand>,
    /// File to write, - for standard output. It appears when it is complete, readable by you alone
    #[arg(required = true)]
    file: Option<PathBuf>,
    /// Put the node's identity in, too, with its tokens and its certificate: whoever has it can sign in the node's name, and is the node
    /// for its peers and clients
    #[arg(long, conflicts_with = "without_identity")]
    with_identity: bool,
    /// Leave the identity out: what is restored is another node, to which these grains are as good as its own
    #[arg(long)]
    without_identity: bool,
    /// Leave out the models that were added
    #[arg(long)]
    without_models: bool,
    #[command(flatten)]
    passphrase: PassphraseArgs,
    /// Do not seal the file with a passphrase
    #[arg(long, conflicts_with = "passphrase_file")]
    no_passphrase: bool,
}

#[derive(Debug, Subcommand)]
enum BackupCommand {
    /// Read a whole backup, and check each of its grains and their signatures; needs no node, and room in $TMPDIR
    Verify {
        /// The backup, - for standard input
        file: PathBuf,
        #[command(flatten)]
        passphrase: PassphraseArgs,
    },
}

/// Arguments of `restore`.
#[derive(Debug, Args)]
pub(crate) struct RestoreArgs {
    /// The backup, - for standard input. It goes into --data-dir, which must be empty or not there
    file: PathBuf,
    #[command(flatten)]
    passphrase: PassphraseArgs,
}

/// Where a passphrase comes from, when nobody types it.
#[derive(Debug, Args)]
struct PassphraseArgs {
    /// File whose first line is the passphrase [default: it is asked for]
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
}

/// What was backed up, for scripts.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct BackupSummary<'a> {
    /// `summary`.
    event: &'static str,
    /// Where it was written.
    file: &'a Path,
    /// Notes in it.
    grains: u64,
    /// Retractions in it.
    retractions: u64,
    /// Of the files in it, before they were packed.
    bytes: u64,
    /// Whether the node's secrets are in it.
    with_identity: bool,
    /// Whether it needs a passphrase.
    sealed: bool,
    /// What is in it.
    files: Vec<&'a str>,
}

/// What a backup was found to be, for scripts.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct VerifiedBackup<'a> {
    /// Whether it can be restored whole.
    ok: bool,
    /// Of the node that it was made of.
    author: &'a str,
    /// When: RFC 3339 in UTC.
    created: Option<String>,
    /// Of the program that made it.
    version: &'a str,
    /// Notes in it.
    grains: u64,
    /// Retractions in it.
    retractions: u64,
    /// Whether the node's secrets are in it.
    with_identity: bool,
    /// What is wrong.
    problems: Vec<String>,
}

/// What was restored, for scripts.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct RestoredRecord<'a> {
    /// Where it was restored.
    data_dir: &'a Path,
    /// Of the node that it was made of.
    author: &'a str,
    /// When: RFC 3339 in UTC.
    created: Option<String>,
    /// Notes in it.
    grains: u64,
    /// Retractions in it.
    retractions: u64,
    /// Whether it is that node again.
    with_identity: bool,
}

fn is_stream(file: &Path) -> bool {
    file == Path::new("-")
}

/// Runs `backup` and `backup verify`.
pub(crate) async fn backup(args: BackupArgs, context: &mut Context) -> Result<Exit, Failure> {
    let file = match (args.command, args.file) {
        (Some(BackupCommand::Verify { file, passphrase }), _) => {
            return verify(&file, &passphrase, &mut context.out);
        }
        (None, Some(file)) => file,
        (None, None) => return Err(Failure::usage("no file is named", "name the file to write")),
    };
    if is_stream(&file) && io::stdout().is_terminal() {
        return Err(Failure::usage("a backup is nothing to read on a terminal", "name a file, or a pipe"));
    }
    // All questions come before a node is troubled.
    let with_identity = match (args.with_identity, args.without_identity) {
        (true, _) => true,
        (_, true) => false,
        _ => ask_identity()?,
    };
    let passphrase = match (&args.passphrase.passphrase_file, args.no_passphrase) {
        (Some(path), _) => Some(read_passphrase(path)?),
        (None, true) => None,
        (None, false) => new_passphrase(with_identity)?,
    };
    let request = rpc::BackupRequest { with_identity, without_models: args.without_models };
    with_node(context, Missing::Refused, async |client, out| {
        let sealed = passphrase.is_some();
        let plan = if is_stream(&file) {
            let to = BufWriter::new(io::stdout().lock());
            let (plan, mut to) = write(client, out, request, to, passphrase).await?;
            to.flush()?;
            plan
        } else {
            let cannot = |error: io::Error| cannot_write(&file, &error);
            let to = ExportFile::create(&file).map_err(cannot)?;
            let (plan, to) = write(client, out, request, to, passphrase).await?;
            to.finish().map_err(cannot)?;
            plan
        };
        tell_backup(&file, &plan, sealed, out)?;
        Ok(Exit::Done)
    })
    .await
}

/// Takes a backup from the node, and writes it as an archive.
async fn write<W: Write>(
    client: &mut Client,
    out: &Output,
    request: rpc::BackupRequest,
    to: W,
    passphrase: Option<SecretString>,
) -> Result<(Plan, W), Failure> {
    let failed = |error: BackupError| match error {
        BackupError::Io(error) => Failure::from(error),
        error => Failure::refused(
            format!("the node's backup: {error}"),
            "run it again, and see the log of the node",
        ),
    };
    let mut pieces = client.backup(request).await?.into_inner();
    let copying = out.bar("copying", 0, Unit::Count);
    let (mut to, mut passphrase) = (Some(to), passphrase);
    let mut begun: Option<(Plan, ArchiveWriter<W>)> = None;
    let bar = out.bar("writing", 0, Unit::Bytes);
    while let Some(piece) = pieces.message().await? {
        match (piece.item, &mut begun, to.take()) {
            (Some(Item::Progress(rpc::BackupProgress { copied, total })), _, kept) => {
                to = kept;
                copying.set_length(total);
                copying.set_position(copied);
            }
            (Some(Item::Plan(plan)), None, Some(to)) => {
                copying.finish_and_clear();
                let plan = plan_of(plan);
                bar.set_length(plan.size_bytes());
                let archive = ArchiveWriter::begin(to, plan.clone(), passphrase.take()).map_err(failed)?;
                begun = Some((plan, archive));
            }
            (Some(Item::Data(rpc::BackupData { file, content })), Some((_, archive)), _) => {
                archive.content(file as usize, &content).map_err(failed)?;
                bar.inc(content.len() as u64);
            }
            // A later node may tell more.
            (_, _, kept) => to = kept,
        }
    }
    bar.finish_and_clear();
    let Some((plan, archive)) = begun else { return Err(failed(BackupError::CutOff)) };
    Ok((plan, archive.finish().map_err(failed)?))
}

fn plan_of(plan: rpc::BackupPlan) -> Plan {
    let file = |file: rpc::BackupFile| PlannedFile { name: file.name, size_bytes: file.size_bytes };
    Plan {
        version: plan.version,
        author: plan.author,
        created_ms: plan.created_ms,
        grains: plan.grains,
        retractions: plan.retractions,
        files: plan.files.into_iter().map(file).collect(),
        ..Plan::default()
    }
}

fn tell_backup(file: &Path, plan: &Plan, sealed: bool, out: &mut Output) -> Result<(), Failure> {
    let summary = BackupSummary {
        event: "summary",
        file,
        grains: plan.grains,
        retractions: plan.retractions,
        bytes: plan.size_bytes(),
        with_identity: plan.has_identity(),
        sealed,
        files: plan.files.iter().map(|file| file.name.as_str()).collect(),
    };
    match (out.is_json(), is_stream(file)) {
        (true, true) => return out.aside(&summary),
        (true, false) => return out.record(&summary),
        _ => {}
    }
    let identity = if plan.has_identity() { "with the identity" } else { "without the identity" };
    let seal =
        if sealed { "sealed with the passphrase" } else { "not sealed: keep it where nobody else reads" };
    let grains = plural(plan.grains, "grain");
    out.note(format_args!("backed up {grains}, {identity}; {seal}"))?;
    if !plan.has_identity() {
        out.note("hint: keep a copy of identity.seed elsewhere: without it nobody can withdraw these grains, or be this node again")?;
    }
    Ok(())
}

/// Runs `backup verify`.
fn verify(file: &Path, passphrase: &PassphraseArgs, out: &mut Output) -> Result<Exit, Failure> {
    let failed = |error: BackupError| failure(file, error);
    let reader = ArchiveReader::begin(open(file)?, &mut || ask(passphrase)).map_err(failed)?;
    let (reading, checking) = (out.bar("reading", 0, Unit::Bytes), out.bar("checking", 0, Unit::Count));
    let verified = backup::restore::verify(
        reader,
        &std::env::temp_dir(),
        &mut |done, total| {
            reading.set_length(total);
            reading.set_position(done);
        },
        &mut |done, total| {
            reading.finish_and_clear();
            checking.set_length(total);
            checking.set_position(done);
        },
    );
    reading.finish_and_clear();
    checking.finish_and_clear();
    let (plan, problems) = verified.map_err(failed)?;
    let ok = problems.is_empty();
    if out.is_json() {
        out.record(&VerifiedBackup {
            ok,
            author: &plan.author,
            created: time::rfc3339(plan.created_ms),
            version: &plan.version,
            grains: plan.grains,
            retractions: plan.retractions,
            with_identity: plan.has_identity(),
            problems: problems.iter().map(ToString::to_string).collect(),
        })?;
    } else {
        for problem in &problems {
            out.line(format_args!("{WRONG}problem:{WRONG:#} {}", printable(&problem.to_string())))?;
        }
        let found = if ok { "no problem".to_owned() } else { plural(problems.len() as u64, "problem") };
        out.summary(format_args!("{}: {found}", described(&plan)))?;
    }
    Ok(if ok { Exit::Done } else { Exit::Incomplete })
}

/// Runs `restore`.
pub(crate) fn restore(args: RestoreArgs, context: &mut Context) -> Result<Exit, Failure> {
    let Context { target, out, .. } = context;
    let failed = |error: BackupError| failure(&args.file, error);
    let reader = ArchiveReader::begin(open(&args.file)?, &mut || ask(&args.passphrase)).map_err(failed)?;
    let bar = out.bar("restored", reader.plan().size_bytes(), Unit::Bytes);
    let restored = backup::restore::restore(reader, &target.data_dir, &mut |done, _| bar.set_position(done));
    bar.finish_and_clear();
    let plan = restored.map_err(failed)?;
    tell_restored(&plan, target, out)?;
    Ok(Exit::Done)
}

fn tell_restored(plan: &Plan, target: &Target, out: &mut Output) -> Result<(), Failure> {
    let data_dir = &target.data_dir;
    if out.is_json() {
        return out.record(&RestoredRecord {
            data_dir,
            author: &plan.author,
            created: time::rfc3339(plan.created_ms),
            grains: plan.grains,
            retractions: plan.retractions,
            with_identity: plan.has_identity(),
        });
    }
    out.summary(format_args!("restored into {}: {}", data_dir.display(), described(plan)))?;
    if plan.files.iter().any(|file| file.name == SOURCES) {
        out.note("folders that it remembers are paused: `synapsenet sources list` shows them, and `sources resume` has them kept again")?;
    }
    if data_dir.join(CONFIG_ASIDE).exists() {
        out.note(format_args!(
            "its configuration names a library to be loaded: look at {CONFIG_ASIDE} before you take it over"
        ))?;
    }
    if plan.has_identity() {
        out.note("hint: stop the old node for good before this one starts: two machines with one identity disturb each other")?;
    } else {
        out.note(format_args!(
            "hint: to be the same node again, put its identity.seed into {} before the first start; else a new one is made there, which \
             follows the author of these grains",
            data_dir.display()
        ))?;
    }
    out.note(format_args!("start it: {}", target.command("run")))
}

fn described(plan: &Plan) -> String {
    let identity = if plan.has_identity() { "with the identity" } else { "without the identity" };
    let author = printable(&plan.author).chars().take(12).collect::<String>();
    format!(
        "{} and {} of the node {author}, of {}, {identity}, {}",
        plural(plan.grains, "grain"),
        plural(plan.retractions, "retraction"),
        time::local(plan.created_ms),
        HumanBytes(plan.size_bytes())
    )
}

fn open(file: &Path) -> Result<Box<dyn BufRead>, Failure> {
    if is_stream(file) {
        return Ok(Box::new(BufReader::new(io::stdin())));
    }
    let opened = File::open(file).and_then(|opened| match opened.metadata()?.is_dir() {
        true => Err(io::ErrorKind::IsADirectory.into()),
        false => Ok(opened),
    });
    let opened = opened.map_err(|error| failure(file, BackupError::Io(error)))?;
    Ok(Box::new(BufReader::new(opened)))
}

fn cannot_write(file: &Path, error: &io::Error) -> Failure {
    let hint = "check the folder, its permissions and the space left";
    Failure::incomplete(format!("cannot write {}: {error}", file.display()), hint)
}

/// What is told of a backup that cannot be read.
fn failure(file: &Path, error: BackupError) -> Failure {
    let hint = match &error {
        BackupError::Sealed => "name the file with its passphrase: --passphrase-file FILE",
        BackupError::WrongPassphrase => "type it again, or name the file with it: --passphrase-file FILE",
        BackupError::NotEmpty(_) => "name another folder with --data-dir, or move away what lies there",
        BackupError::NoRoom { .. } => {
            "make room, or name a folder on another disk: --data-dir, or TMPDIR for `backup verify`"
        }
        BackupError::Newer(_) => "`synapsenet --version` says which version this is",
        _ => "give a file that `synapsenet backup` wrote",
    };
    Failure::incomplete(format!("{}: {error}", file.display()), hint)
}

/// Whether somebody sits there who can be asked: both what is asked and what is typed go past standard output.
fn can_ask() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

fn ask_identity() -> Result<bool, Failure> {
    if !can_ask() {
        return Err(Failure::usage(
            "a backup may hold the identity of the node or not, and there is no terminal to ask on",
            "say --with-identity, and keep the file like a key; or --without-identity",
        ));
    }
    let mut stderr = anstream::stderr();
    write!(stderr, "Put the identity in, too? Whoever has it can sign in this node's name. [y/N] ")?;
    stderr.flush()?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}

/// Asks for a new passphrase, twice.
fn new_passphrase(with_identity: bool) -> Result<Option<SecretString>, Failure> {
    match (can_ask(), with_identity) {
        (false, true) => {
            return Err(Failure::usage(
                "a backup with the identity is sealed with a passphrase, and there is no terminal to ask on",
                "name the file with it: --passphrase-file FILE; or say --no-passphrase",
            ));
        }
        (false, false) => return Ok(None),
        (true, _) => {}
    }
    let end = if with_identity { "" } else { " (empty for none)" };
    let first = rpassword::prompt_password(format!("Passphrase to seal it with{end}: "))?;
    if first.is_empty() {
        return if with_identity {
            let hint = "say --no-passphrase if the file lies where nobody else can read it";
            Err(Failure::usage("a backup with the identity is sealed with a passphrase", hint))
        } else {
            Ok(None)
        };
    }
    if rpassword::prompt_password("The same again: ")? != first {
        return Err(Failure::usage("the two are not the same", "run it again"));
    }
    Ok(Some(first.into()))
}

/// The passphrase of a backup that is sealed.
fn ask(passphrase: &PassphraseArgs) -> Result<SecretString, BackupError> {
    match &passphrase.passphrase_file {
        Some(path) => read_passphrase(path).map_err(|_| {
            BackupError::Io(io::Error::other(format!("no passphrase can be read from {}", path.display())))
        }),
        None if io::stderr().is_terminal() => Ok(rpassword::prompt_password("Passphrase: ")?.into()),
        None => Err(BackupError::Sealed),
    }
}

fn read_passphrase(path: &Path) -> Result<SecretString, Failure> {
    let cannot = |why: String| {
        let message = format!("cannot read a passphrase from {}: {why}", path.display());
        Failure::usage(message, "give a file whose first line is the passphrase")
    };
    let text = std::fs::read_to_string(path).map_err(|error| cannot(error.to_string()))?;
    let first = SecretString::from(text.lines().next().unwrap_or_default().to_owned());
    match first.expose_secret().len() {
        0 => Err(cannot("its first line is empty".to_owned())),
        long if long > MAX_PASSPHRASE_BYTES => {
            Err(cannot(format!("its first line is longer than {MAX_PASSPHRASE_BYTES} bytes")))
        }
        _ => Ok(first),
    }
}

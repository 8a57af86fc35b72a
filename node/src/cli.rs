//! The command line of `synapsenet`: what can be asked, and how each command ends.
//!
//! Every command but `run`, `schema`, `config`, `completions` and `man` is a client of a node: it talks to the unix socket in the data
//! folder, or to `--api ADDRESS`. Results go to standard output, everything else to standard error.

mod add;
mod allocation;
mod authors;
mod backup;
mod build;
mod bulk;
mod certificate;
mod client;
mod confirm;
mod context;
mod decoded;
mod documents;
mod emergence;
mod export_file;
mod failure;
mod filter;
mod forget;
mod grains;
mod health;
mod inputs;
mod log;
mod maintenance;
mod many;
mod mcp;
mod models;
mod net;
mod open;
mod output;
mod own_node;
mod peers;
mod pin;
mod record;
mod run;
mod schema;
mod search;
mod share;
mod source;
mod sources;
mod status;
mod sync;
mod time;
mod token;
mod topics;
mod transfer;
mod update;
mod watch;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser, Subcommand};
use clap_complete::Shell;
use schemars::JsonSchema;
use serde::Serialize;
use synapsenet_index::{TELEMETRY_OFF, restart_with};

use crate::config::Settings;
use context::{Context, Global};
use failure::{Exit, Failure};
use output::{Output, tell, tell_failure};

/// Ends every help page.
const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  something was refused, not found or could not be read or written; verify found a problem
  2  the command line or the configuration is wrong
  3  no node answers
  4  the node refused, is busy, or failed";

/// Shown with the help of the program itself.
const EXAMPLES: &str = "\
Examples:
  synapsenet run                                 start a node; leave it running
  synapsenet add ~/notes --topic notes           remember a folder; run it again after edits
  echo \"The router is at 10.0.0.1\" | synapsenet add -
  synapsenet search \"how do I reach the router\"
  synapsenet search backup --since 7d --json | jq -r .text
";

/// A semantic memory on your own machine: remembers texts and finds them by meaning.
#[derive(Debug, Parser)]
#[command(name = "synapsenet", version, long_version = build::LONG_VERSION, max_term_width = 100)]
#[command(after_help = EXIT_CODES, after_long_help = long_help_end())]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

fn long_help_end() -> String {
    format!("{EXAMPLES}\n{EXIT_CODES}")
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start a node and keep it running
    #[command(after_help = EXIT_CODES)]
    Run(run::RunArgs),
    /// Remember texts, files and folders
    #[command(after_help = EXIT_CODES)]
    Add(add::AddArgs),
    /// Keep folders remembered: what is known of them follows their files
    #[command(after_help = EXIT_CODES)]
    Sources(sources::SourcesArgs),
    /// Find grains by meaning
    #[command(after_help = EXIT_CODES)]
    Search(search::SearchArgs),
    /// Show one grain
    #[command(after_help = EXIT_CODES)]
    Get(grains::GetArgs),
    /// Open the file that a grain was taken from: in your editor ($VISUAL, $EDITOR), or as a click on it would
    #[command(after_help = EXIT_CODES)]
    Open(open::OpenArgs),
    /// List grains, newest first
    #[command(after_help = EXIT_CODES)]
    List(grains::ListArgs),
    /// Put another text in the place of one of your grains: the new one is added and the former withdrawn, both or neither
    #[command(after_help = EXIT_CODES)]
    Update(update::UpdateArgs),
    /// Withdraw your grains, by their ids or by what they have in common: the text goes, a mark stays
    #[command(after_help = EXIT_CODES)]
    Retract(grains::RetractArgs),
    /// Drop grains from this node alone, and keep them out; --author KEY --block gets rid of an author
    #[command(after_help = EXIT_CODES)]
    Forget(forget::ForgetArgs),
    /// Show who wrote what is here; follow or block authors
    #[command(after_help = EXIT_CODES)]
    Authors(authors::AuthorsArgs),
    /// Show why a grain counts: what it adds to what is known, and how it was of use; or what adds most
    #[command(after_help = EXIT_CODES)]
    Emergence(emergence::EmergenceArgs),
    /// Show what emerged since a time: what much was said about, what is new, what was of use
    #[command(after_help = EXIT_CODES)]
    Digest(emergence::DigestArgs),
    /// Show what the node holds and what it is doing
    #[command(after_help = EXIT_CODES)]
    Status,
    /// Tell whether the node serves, by the exit code: 0 it does, 1 it does not, 3 there is none
    #[command(after_help = EXIT_CODES)]
    Health(health::HealthArgs),
    /// Show who this node is: the key that it signs with, its peer id, and where other nodes reach it
    #[command(after_help = EXIT_CODES)]
    Id,
    /// Let your private grains leave this node, by their ids or by what they have in common, for good
    #[command(after_help = EXIT_CODES)]
    Share(share::ShareArgs),
    /// Keep notes here whoever wrote them: nothing that makes room lets them go
    #[command(after_help = EXIT_CODES)]
    Pin(pin::PinArgs),
    /// Keep notes no more than others of their authors
    #[command(after_help = EXIT_CODES)]
    Unpin(pin::PinArgs),
    /// Show who is connected; add, remove, ban or unban peers
    #[command(after_help = EXIT_CODES)]
    Peers(peers::PeersArgs),
    /// Show topics; join or leave them
    #[command(after_help = EXIT_CODES)]
    Topics(topics::TopicsArgs),
    /// Fetch what peers have and this node has not, now
    #[command(after_help = EXIT_CODES)]
    Sync(sync::SyncArgs),
    /// Look at the network
    #[command(subcommand, after_help = EXIT_CODES)]
    Net(net::NetCommand),
    /// Show embedding models; use, add, fetch or remove them
    #[command(after_help = EXIT_CODES)]
    Models(models::ModelsArgs),
    /// Say who else may call this node: make, show and revoke tokens
    #[command(after_help = EXIT_CODES)]
    Token(token::TokenArgs),
    /// Show what a running node writes to its log, or have it write more or less until it starts again
    #[command(after_help = EXIT_CODES)]
    Log(log::LogArgs),
    /// Show what happens on the node, as it happens; with --cursor also which grains came in since an earlier watch
    #[command(after_help = EXIT_CODES)]
    Watch(watch::WatchArgs),
    /// Check every record and the index; works without a running node, too
    #[command(after_help = EXIT_CODES)]
    Verify,
    /// Give unused disk space back; works without a running node, too
    #[command(after_help = EXIT_CODES)]
    Compact,
    /// Write every grain as a line of JSON; works without a running node, too
    #[command(after_help = EXIT_CODES)]
    Export(transfer::ExportArgs),
    /// Read what export wrote; what is there already is skipped. Works without a running node, too
    #[command(after_help = EXIT_CODES)]
    Import(transfer::ImportArgs),
    /// Write all that makes this node into one file, while it runs; works without a running node, too
    #[command(after_help = EXIT_CODES)]
    Backup(backup::BackupArgs),
    /// Make a data folder from a backup
    #[command(after_help = EXIT_CODES)]
    Restore(backup::RestoreArgs),
    /// Be the memory of an agent, which speaks the Model Context Protocol on standard input and output
    #[command(after_help = EXIT_CODES)]
    Mcp(mcp::McpArgs),
    /// Show what commands print with --json, as JSON Schema
    #[command(after_help = EXIT_CODES)]
    Schema(schema::SchemaArgs),
    /// Look at the configuration
    #[command(subcommand, after_help = EXIT_CODES)]
    Config(ConfigCommand),
    /// Print a script that completes commands and options in a shell
    #[command(after_help = EXIT_CODES)]
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Write the manual pages: one of the program and one of each command
    #[command(hide = true)]
    Man {
        /// Folder that they are written to; it must be there
        dir: PathBuf,
    },
}

impl Command {
    /// Whether a model may run in this very process: then libraries are loaded that look at its environment.
    fn may_run_a_model(&self) -> bool {
        match self {
            Self::Run(_) | Self::Verify | Self::Compact | Self::Export(_) | Self::Import(_) => true,
            Self::Backup(_) => true,
            Self::Models(args) => args.runs_a_model(),
            _ => false,
        }
    }
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Show every setting and where its value comes from, as TOML
    #[command(after_help = EXIT_CODES)]
    Show,
}

/// Runs the program with the arguments of this process.
#[must_use]
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return tell_usage(&error),
    };
    let json = cli.global.json;
    let ended = match cli.command {
        // These need neither a node nor a data folder: packages are made where there is no home.
        Command::Completions { shell } => show_completions(shell, &mut Output::new(false, false)),
        Command::Man { dir } => write_manual(&dir),
        _ => {
            if cli.command.may_run_a_model() {
                restart_with(&[&[TELEMETRY_OFF], allocation::settings()].concat());
            }
            start(cli)
        }
    };
    match ended {
        Ok(exit) => ExitCode::from(exit as u8),
        Err(failure) => {
            tell_failure(&failure, json || crate::log::is_json());
            ExitCode::from(failure.exit() as u8)
        }
    }
}

/// A command line that clap does not take; or help or the version, which it was asked for.
fn tell_usage(error: &clap::Error) -> ExitCode {
    let asked = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
    let rendered = error.render();
    let ending = "For more information";
    if !asked && std::env::args_os().any(|argument| argument == "--json") {
        let text = rendered.to_string();
        let text = text.split("\nUsage:").next().unwrap_or_default().split(ending).next().unwrap_or_default();
        let message = text.split_whitespace().collect::<Vec<_>>().join(" ");
        let hint = "`synapsenet --help` shows the commands, and --help after a command what it takes";
        tell(message.trim_start_matches("error: "), hint, Exit::Usage, true);
    } else if let Some((text, _)) = rendered.ansi().to_string().split_once(ending) {
        // Every error of this program ends with a hint.
        let hint = output::HINT;
        anstream::eprintln!(
            "{}\n{hint}hint:{hint:#} --help after the command shows what it takes",
            text.trim_end()
        );
    } else {
        // A closed pipe ends the help, and nobody is left to be told.
        drop(error.print());
    }
    ExitCode::from(if asked { Exit::Done } else { Exit::Usage } as u8)
}

fn start(cli: Cli) -> Result<Exit, Failure> {
    // Of a memory for an agent there are many at a time, and each only passes on.
    let mut runtime = match cli.command {
        Command::Mcp(_) => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    let runtime = runtime.enable_all().build().map_err(|error| {
        Failure::incomplete(
            format!("cannot start threads: {error}"),
            "raise the limits of this user's processes",
        )
    })?;
    let result = runtime.block_on(dispatch(cli));
    // A thread may still wait for standard input; nobody needs what it would read.
    runtime.shutdown_background();
    result
}

async fn dispatch(cli: Cli) -> Result<Exit, Failure> {
    let Cli { global, command } = cli;
    let mut context = Context::new(global)?;
    let exit = match command {
        Command::Run(args) => run::run(args, &mut context).await,
        Command::Add(args) => add::run(args, &mut context).await,
        Command::Sources(args) => sources::run(args, &mut context).await,
        Command::Search(args) => search::run(args, &mut context).await,
        Command::Get(args) => grains::get(args, &mut context).await,
        Command::Update(args) => update::run(args, &mut context).await,
        Command::Open(args) => open::run(args, &mut context).await,
        Command::List(args) => grains::list(args, &mut context).await,
        Command::Retract(args) => grains::retract(args, &mut context).await,
        Command::Forget(args) => forget::run(args, &mut context).await,
        Command::Authors(args) => authors::run(args, &mut context).await,
        Command::Emergence(args) => emergence::run(args, &mut context).await,
        Command::Digest(args) => emergence::digest(args, &mut context).await,
        Command::Status => status::status(&mut context).await,
        Command::Health(args) => health::run(args, &mut context).await,
        Command::Id => status::id(&mut context).await,
        Command::Share(args) => share::run(args, &mut context).await,
        Command::Pin(args) => pin::run(args, true, &mut context).await,
        Command::Unpin(args) => pin::run(args, false, &mut context).await,
        Command::Peers(args) => peers::run(args, &mut context).await,
        Command::Topics(args) => topics::run(args, &mut context).await,
        Command::Sync(args) => sync::run(args, &mut context).await,
        Command::Net(net::NetCommand::Status) => net::status(&mut context).await,
        Command::Models(args) => models::run(args, &mut context).await,
        Command::Token(args) => token::run(args, &mut context).await,
        Command::Log(args) => log::run(args, &mut context).await,
        Command::Watch(args) => watch::run(args, &mut context).await,
        Command::Verify => maintenance::verify(&mut context).await,
        Command::Compact => maintenance::compact(&mut context).await,
        Command::Backup(args) => backup::backup(args, &mut context).await,
        Command::Restore(args) => backup::restore(args, &mut context),
        Command::Export(args) => transfer::export(args, &mut context).await,
        Command::Import(args) => transfer::import(args, &mut context).await,
        Command::Mcp(args) => mcp::run(args, &context).await,
        Command::Schema(args) => schema::run(&args, &mut context),
        Command::Config(ConfigCommand::Show) => show_config(&mut context),
        Command::Completions { shell } => show_completions(shell, &mut context.out),
        Command::Man { dir } => write_manual(&dir),
    };
    // What was found before a failure is a result, too.
    let flushed = context.out.flush();
    let exit = exit?;
    flushed.map(|()| exit)
}

/// One setting, for scripts.
#[derive(Debug, Serialize, JsonSchema)]
struct SettingRecord<'a> {
    /// `section.name`.
    key: &'a str,
    /// As in TOML.
    #[schemars(with = "serde_json::Value")]
    value: &'a toml::Value,
    /// Where the value comes from.
    origin: String,
}

fn show_config(context: &mut Context) -> Result<Exit, Failure> {
    let settings = Settings::load(context.config.as_deref(), &context.target.data_dir, Vec::new())?;
    let out = &mut context.out;
    let entries = settings.entries();
    if out.is_json() {
        for entry in &entries {
            let origin = entry.origin.to_string();
            out.record(&SettingRecord { key: &entry.key, value: &entry.value, origin })?;
        }
        return Ok(Exit::Done);
    }
    out.line(format_args!("# data folder: {}", context.target.data_dir.display()))?;
    let lines: Vec<_> = entries.iter().map(|entry| format!("{} = {}", entry.key, entry.value)).collect();
    let width = lines.iter().map(|line| line.chars().count()).max().unwrap_or(0);
    for (line, entry) in lines.iter().zip(&entries) {
        let faint = output::FAINT;
        out.line(format_args!("{line:width$}  {faint}# {}{faint:#}", entry.origin))?;
    }
    Ok(Exit::Done)
}

fn show_completions(shell: Shell, out: &mut Output) -> Result<Exit, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "synapsenet", &mut script);
    out.line(String::from_utf8_lossy(&script).trim_end())?;
    out.flush()?;
    Ok(Exit::Done)
}

/// Writes `synapsenet.1` and a page for each command, such as `synapsenet-sources-add.1`.
fn write_manual(dir: &Path) -> Result<Exit, Failure> {
    clap_mangen::generate_to(Cli::command().disable_help_subcommand(true), dir).map_err(|error| {
        let hint = "name a folder that is there and can be written to";
        Failure::incomplete(format!("cannot write the manual pages to {}: {error}", dir.display()), hint)
    })?;
    Ok(Exit::Done)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(["synapsenet"].into_iter().chain(line.split_whitespace()))
    }

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_variables_of_options_are_known_to_the_configuration() {
        let command = Cli::command();
        let mut variables: Vec<_> = command.get_arguments().filter_map(clap::Arg::get_env).collect();
        variables.sort();
        let mut known = crate::config::OF_OPTIONS;
        known.sort();
        assert_eq!(variables, known);
    }

    #[test]
    fn the_documented_command_lines_are_taken() {
        for line in [
            "run --api-listen 127.0.0.1:0 --metrics-listen 127.0.0.1:0",
            "add a.md - --topic notes --tag x --tag y --share --no-wait",
            "add - --lines",
            "sources",
            "sources add /tmp --topic notes --tag x --every 10m --exclude *.log",
            "sources add /tmp --manual",
            "sources list --json",
            "sources sync",
            "sources sync /tmp --withdraw --dry-run",
            "sources pause /tmp",
            "sources resume /tmp",
            "sources remove /tmp --retract --yes",
            "add notes --exclude *.log --exclude drafts/ --no-ignore --dry-run",
            "search how does it work -k 5 --topic t --tag a --since 7d --until 2026-11-23 --lang en --source /tmp",
            "search x --limit 3 --json",
            "--json --quiet search x",
            "get abcdef12",
            "get abcdef12 --context 3 --json",
            "open abcdef12",
            "list --all --retractions",
            "list --documents --source /tmp --all --json",
            "list --meta app=notes",
            "get --document /tmp/a.md",
            "add x --meta app=notes --meta rating=5",
            "update abcdef12 text --title t --tag a --meta app=notes --no-wait",
            "update abcdef12 -",
            "watch --cursor 0123 --topic notes --json",
            "retract abcdef12 abcdef34 --yes",
            "retract --source /tmp/a.md --topic t --tag a --dry-run",
            "retract --since 7d --yes",
            "share --tag a --yes --json",
            "forget abcdef12 abcdef34 --yes",
            "forget --author abcdef12 --block --compact",
            "forget --topic spam --source /tmp --dry-run",
            "authors",
            "authors list --rules",
            "authors show abcdef12",
            "authors follow abcdef12",
            "authors block abcdef12 --yes",
            "authors clear abcdef12",
            "topics policy notes listed abcdef12",
            "status --data-dir /tmp/x",
            "id",
            "run --listen /ip4/0.0.0.0/tcp/7716 --peer /ip4/192.0.2.1/tcp/7716 --topic a --topic b",
            "run --offline",
            "search x --mesh --wait 5",
            "share abcdef12 --yes",
            "pin abcdef12 abcdef34",
            "unpin abcdef12 --json",
            "peers --wide --known --banned",
            "peers add /ip4/192.0.2.1/tcp/7716",
            "peers remove ABCDEFGH",
            "peers ban ABCDEFGH --seconds 60",
            "peers unban ABCDEFGH",
            "topics",
            "topics join recipes",
            "topics leave recipes",
            "sync",
            "sync recipes --json",
            "net status",
            "watch",
            "verify",
            "compact",
            "export",
            "export -",
            "export file.jsonl",
            "import file.jsonl --api unix:/tmp/x.sock",
            "backup node.backup --without-identity",
            "backup - --with-identity --passphrase-file p --without-models",
            "backup ./verify --with-identity --no-passphrase",
            "backup verify node.backup",
            "restore node.backup --data-dir /tmp/new",
            "restore - --passphrase-file p",
            "config show --config file.toml",
            "mcp",
            "mcp --write --topic notes --tag agent --tag x --mesh --start",
            "completions bash",
            "man /tmp",
            "health",
            "health --writes --json",
            "status --api http://127.0.0.1:7717 --api-token-file t",
            "status --api https://node.example:7717 --api-ca ca.pem",
            "status --api https://node.example:7717 --api-fingerprint \
             0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
            "token",
            "token list --json",
            "token create phone",
            "token create phone --scope write --topic a --topic b --expires 90d",
            "token revoke phone",
        ] {
            assert!(parse(line).is_ok(), "{line}: {}", parse(line).unwrap_err());
        }
    }

    #[test]
    fn what_cannot_work_is_refused_before_a_node_is_asked() {
        for line in [
            "",
            "search",
            "search x -k 0",
            "search x -k 1001",
            "search x --topic Bad!",
            "search x --since yesterday",
            "get xyz",
            "get abc",
            "get abcdef12 --document a",
            "get",
            "list --documents --topic t",
            "add x --meta Bad=1",
            "update abcdef12",
            "get abcdef12 --context 51",
            "open",
            "list --all --limit 3",
            "list --limit 0",
            "add",
            "add --text --lines x",
            "sources add /tmp --every 1s",
            "sources add /tmp --every 10m --manual",
            "sources sync --withdraw",
            "add x --exclude [a",
            "retract",
            "retract abcdef12 --topic t",
            "pin",
            "share",
            "share abcdef12 --source /tmp",
            "status --api 127.0.0.1:7717",
            "status --api https://node.example:7717 --api-fingerprint 0123",
            "token create",
            "token create phone --scope owner",
            "token create phone --expires soon",
            "token create phone --expires 0d",
            "token revoke",
            "run --offline --peer /ip4/192.0.2.1/tcp/7716",
            "search x --wait 5",
            "peers ban ABCDEFGH --seconds 0",
            "topics join Bad!",
            "share",
            "forget",
            "forget --block",
            "forget abcdef12 --topic notes",
            "authors block",
            "topics policy notes sometimes",
            "backup",
            "backup x --with-identity --without-identity",
            "backup x --passphrase-file p --no-passphrase",
            "backup verify",
            "backup x verify y",
            "restore",
            "mcp --topic Bad!",
            "frobnicate",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
    }
}

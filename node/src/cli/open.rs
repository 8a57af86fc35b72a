//! `open`: the file that a grain was taken from, in the program that its owner has for such files.

use std::ffi::OsString;
use std::io::{self, IsTerminal};
use std::path::Path;
use std::process::Command;

use clap::Args;
use schemars::JsonSchema;
use serde::Serialize;
use synapsenet_proto::rpc;

use super::client::{call, connect};
use super::context::Context;
use super::failure::{Exit, Failure};
use super::filter::parse_id;
use super::output::{printable, short_id};
use super::source::{display, path_of};
use crate::blocking::blocking;
use crate::files;

/// What opens a file as a click on it would.
const OPENER: &str = if cfg!(target_os = "macos") { "open" } else { "xdg-open" };
/// Editors that begin at a line when they are told +LINE before the file.
const AT_LINE: [&str; 10] =
    ["vi", "vim", "nvim", "view", "nano", "emacs", "emacsclient", "micro", "kak", "joe"];
/// How much of a file is looked at for the line where a grain begins.
const MAX_LOOKED_AT: u64 = 4 << 20;

/// Arguments of `open`.
#[derive(Debug, Args)]
pub(crate) struct OpenArgs {
    /// Id of the grain, or at least the first 8 digits of it
    #[arg(value_parser = parse_id)]
    id: String,
}

/// What was opened, for scripts.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct OpenedRecord<'a> {
    /// Of the grain.
    id: &'a str,
    /// Which was opened.
    file: &'a str,
    /// By what.
    opener: String,
}

/// Runs `open`.
pub(crate) async fn run(args: OpenArgs, context: &mut Context) -> Result<Exit, Failure> {
    let mut client = connect(&context.target).await?;
    let request = rpc::GetRequest { id: args.id, ..Default::default() };
    let grain = client.get(call(request)).await?.into_inner().grain.unwrap_or_default();
    let id = short_id(&grain.id);
    let Some(path) = path_of(&grain.file_uri) else {
        let hint = "`synapsenet get ID` shows the text and where it is from, if that is known";
        return Err(Failure::incomplete(format!("no file on this machine is known of {id}"), hint));
    };
    let shown = printable(&path.display().to_string()).into_owned();
    if !path.exists() {
        let hint = "`synapsenet get ID` shows the text; `synapsenet retract --source PATH` withdraws what a file said";
        return Err(Failure::incomplete(format!("the file of {id} is gone: {shown}"), hint));
    }
    let (program, arguments) = opener(&path, &grain.text);
    let named = program.to_string_lossy().into_owned();
    let ended = blocking(move || Command::new(program).args(arguments).status()).await;
    let why = match ended {
        Ok(status) if status.success() => None,
        Ok(status) => Some(status.to_string()),
        Err(error) => Some(error.to_string()),
    };
    if let Some(why) = why {
        let hint = "set EDITOR to an editor and run it in a terminal, or install xdg-utils";
        return Err(Failure::incomplete(format!("{named} did not open {shown}: {why}"), hint));
    }
    let out = &mut context.out;
    if out.is_json() {
        let file = &display(&grain.file_uri);
        out.record(&OpenedRecord { id: &grain.id, file, opener: named })?;
    } else {
        out.summary(format_args!("opened {shown}"))?;
    }
    Ok(Exit::Done)
}

/// What is started, and with which arguments.
fn opener(path: &Path, text: &str) -> (OsString, Vec<OsString>) {
    let is_terminal = io::stdin().is_terminal() && io::stdout().is_terminal();
    let editor = ["VISUAL", "EDITOR"].iter().find_map(|name| std::env::var(name).ok());
    match editor.as_deref().map(str::trim).filter(|editor| is_terminal && !editor.is_empty()) {
        Some(editor) => with_editor(editor, path, text),
        None => (OPENER.into(), vec![path.into()]),
    }
}

/// An editor, which may be named with arguments of its own, at the line where the text begins if it can be told that.
fn with_editor(editor: &str, path: &Path, text: &str) -> (OsString, Vec<OsString>) {
    let mut words = editor.split_whitespace().map(OsString::from);
    let program = words.next().unwrap_or_default();
    let mut arguments: Vec<_> = words.collect();
    let name = Path::new(&program).file_name().unwrap_or_default();
    if AT_LINE.iter().any(|known| name == *known) {
        arguments.extend(line_of(path, text).map(|line| format!("+{line}").into()));
    }
    arguments.push(path.into());
    (program, arguments)
}

/// The line of a file, counted from 1, in which the first line of a text stands; none when it does not.
fn line_of(path: &Path, text: &str) -> Option<usize> {
    let first = text.lines().map(str::trim).find(|line| !line.is_empty())?;
    let beginning = files::read(path, MAX_LOOKED_AT).ok()?;
    String::from_utf8_lossy(&beginning).lines().position(|line| line.contains(first)).map(|line| line + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_editor_is_told_the_line_when_it_understands_that() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.md");
        std::fs::write(&path, "# House\n\nThe roof.\n\n  The pump stands there.\nIt is old.\n").unwrap();
        let arguments = |editor: &str, text: &str| {
            let (program, arguments) = with_editor(editor, &path, text);
            let words = arguments.iter().filter(|word| **word != *path.as_os_str());
            let words: Vec<_> = words.map(|word| word.to_str().unwrap().to_owned()).collect();
            assert_eq!(arguments.last().unwrap(), path.as_os_str());
            (program.to_str().unwrap().to_owned(), words)
        };
        let pump = "\nThe pump stands there. It";
        assert_eq!(arguments("vim", "The pump stands there.\nIt"), ("vim".into(), vec!["+5".into()]));
        assert_eq!(
            arguments("/usr/bin/nano -l", "The roof."),
            ("/usr/bin/nano".into(), vec!["-l".into(), "+3".into()])
        );
        assert_eq!(arguments("code --wait", "The roof."), ("code".into(), vec!["--wait".into()]));
        assert_eq!(arguments("vim", pump), ("vim".into(), Vec::new()), "it was laid out otherwise");
        assert_eq!(arguments("vim", ""), ("vim".into(), Vec::new()));
    }
}

//! The command line, run as a user would.

use std::path::Path;
use std::process::Stdio;

use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use super::within;

/// How a command ended and what it wrote.
#[derive(Debug)]
pub(crate) struct Ran {
    /// Its exit code.
    pub code: i32,
    /// Its standard output.
    pub out: String,
    /// Its standard error.
    pub err: String,
}

impl Ran {
    /// Its standard output, which must be one JSON object a line.
    #[track_caller]
    pub fn records(&self) -> Vec<Value> {
        let read = |line: &str| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        self.out.lines().map(read).collect()
    }

    /// Its standard output, which must be one JSON object.
    #[track_caller]
    pub fn record(&self) -> Value {
        let records = self.records();
        assert_eq!(records.len(), 1, "{self:?}");
        records.into_iter().next().unwrap()
    }

    /// Itself, if it ended with this code.
    #[track_caller]
    pub fn ended_with(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{self:?}");
        self
    }

    /// Asserts that it told an error with this word and a hint with that one.
    #[track_caller]
    pub fn assert_told(&self, word: &str, hint: &str) {
        let (error, told) =
            self.err.split_once("hint:").unwrap_or_else(|| panic!("there is no hint: {self:?}"));
        assert!(error.contains("error:") && error.contains(word), "{word:?} is not in the error: {self:?}");
        assert!(told.contains(hint), "{hint:?} is not in the hint: {self:?}");
    }
}

/// The program with its data folder, and nothing of what the user has set.
pub(crate) fn program(dir: &Path, environment: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_synapsenet-under-test"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("SYNAPSENET_") {
            command.env_remove(name);
        }
    }
    command.env_remove("NOTIFY_SOCKET").env("HOME", "/nonexistent").env_remove("XDG_DATA_HOME");
    command.envs(environment.iter().copied()).arg("--data-dir").arg(dir).kill_on_drop(true);
    command
}

/// Runs the program on the data folder `dir` to its end.
pub(crate) async fn synapsenet(dir: &Path, arguments: &[&str]) -> Ran {
    ran(program(dir, &[]), arguments, "").await
}

/// Runs `command` with these arguments and this standard input to its end.
pub(crate) async fn ran(mut command: Command, arguments: &[&str], input: &str) -> Ran {
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_owned();
    // A program that does not read its input may close it.
    let writer = tokio::spawn(async move { drop(stdin.write_all(input.as_bytes()).await) });
    let output = within("the end of a command", child.wait_with_output()).await.unwrap();
    writer.await.unwrap();
    Ran {
        code: output.status.code().expect("it was not killed"),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

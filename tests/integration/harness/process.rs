//! A node as a real process.

use std::ops::Deref;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;

use super::command::program;
use super::{Client, wait_for, within};

/// A running process with a client on its socket. It is killed when this is dropped.
pub(crate) struct TestProcess {
    child: Child,
    client: Client,
    /// The line by which it said that it is ready.
    pub ready: Value,
    log: Log,
}

/// What a process writes to standard error.
struct Log {
    text: Arc<Mutex<String>>,
    reader: JoinHandle<()>,
}

impl Log {
    fn of(stderr: impl AsyncRead + Unpin + Send + 'static) -> Self {
        let text = Arc::new(Mutex::new(String::new()));
        let written = text.clone();
        let reader = tokio::spawn(async move {
            let mut lines = BufReader::new(stderr).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                let mut text = written.lock().unwrap();
                text.push_str(&line);
                text.push('\n');
            }
        });
        Self { text, reader }
    }
}

impl TestProcess {
    /// Starts a node on the folder `dir`, with ports of its own, and waits until it is ready.
    pub async fn start(dir: &Path) -> Self {
        Self::start_with(dir, &[], &[]).await
    }

    /// Starts a node with further arguments and environment variables.
    pub async fn start_with(dir: &Path, arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        let mut command = run(dir, arguments, environment);
        let mut child = command.spawn().unwrap();
        let log = Log::of(child.stderr.take().unwrap());
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let first = within("the line that says that the node is ready", lines.next_line()).await.unwrap();
        let Some(first) = first else {
            log.reader.await.unwrap();
            panic!("the node ended before it was ready:\n{}", log.text.lock().unwrap());
        };
        let ready = serde_json::from_str(&first).unwrap();
        let client = Client::unix(&dir.join("api.sock")).await;
        Self { child, client, ready, log }
    }

    /// Waits until it has written `words` to its log.
    pub async fn logged(&self, words: &str) {
        wait_for(words, async || self.log.text.lock().unwrap().contains(words)).await;
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id().expect("it has not been waited for")
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_raw(self.id().cast_signed()).unwrap(), signal).unwrap();
    }

    /// Waits until it has ended; gives how, and its whole log.
    pub async fn ended(mut self) -> (ExitStatus, String) {
        // The node waits for open connections to end.
        drop(self.client);
        let status = within("the end of the process", self.child.wait()).await.unwrap();
        within("the end of its log", self.log.reader).await.unwrap();
        (status, self.log.text.lock().unwrap().clone())
    }

    /// Has it stop in order; gives how it ended, and its whole log.
    pub async fn stop(self) -> (ExitStatus, String) {
        self.signal(Signal::TERM);
        self.ended().await
    }

    /// Ends it like a power cut would, as far as the process is concerned.
    pub async fn kill(self) {
        self.signal(Signal::KILL);
        self.ended().await;
    }
}

impl Deref for TestProcess {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

/// The command that runs a node.
fn run(dir: &Path, arguments: &[&str], environment: &[(&str, &str)]) -> Command {
    let mut command = program(dir, environment);
    command.args(["run", "--json", "--metrics-listen", "127.0.0.1:0"]);
    if !arguments.contains(&"--api-listen") {
        command.args(["--api-listen", "127.0.0.1:0"]);
    }
    if !arguments.contains(&"--listen") {
        command.arg("--offline");
    }
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

//! Who changed what: a line of JSON in `audit.log` for each call that writes or administers, with how it ended. It tells ids, numbers
//! and names, and no texts. What is refused again and again to the same caller is counted (`refusals`).
//!
//! ```text
//!  a call ends --Record--> queue, never waited for --> a task --> audit.log, then audit.log.1
//! ```

mod refusals;

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde::Serialize;
use synapsenet_proto::{GrainId, Topic};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::Who;
use crate::blocking::blocking;
use crate::calls::Call;
use crate::data_folder::{AUDIT, AUDIT_BEFORE};
use refusals::{Refusals, Refused};

/// Lines that may wait for the disk: of some two hundred bytes each, at most two kilobytes, and so 8 MiB.
const QUEUE: usize = 4096;
/// Lines that are written together.
const MAX_BATCH: usize = 256;
/// Bytes of the file, after which it becomes the one before and a new one is begun: two of them keep some hundred thousand calls.
const MAX_BYTES: u64 = 16 << 20;
/// Ids that are told of a call; of more, only how many they are.
const MAX_IDS: usize = 16;
/// Topics that are told of a call.
const MAX_TOPICS: usize = 8;
/// How often it is looked which refusals have been counted for long enough.
const LOOK_AT_REFUSALS: Duration = Duration::from_secs(10);
/// How a call ends that its caller may not make.
const REFUSED: &str = "PERMISSION_DENIED";
/// Characters of a name that is told: a path or an address.
const MAX_ABOUT: usize = 256;

/// What a call did, noted while it is served. Clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Deeds(Arc<Mutex<Done>>);

#[derive(Debug, Default, Serialize)]
struct Done {
    /// Grains that were stored, withdrawn, shared or dropped.
    #[serde(skip_serializing_if = "is_zero")]
    grains: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    ids: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    topics: Vec<String>,
    /// The model, peer, author, folder or token.
    #[serde(skip_serializing_if = "String::is_empty")]
    about: String,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde wants it so")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl Deeds {
    fn note(&self, note: impl FnOnce(&mut Done)) {
        note(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl Call {
    /// Notes a grain with which something was done.
    pub(in crate::calls) fn note_grain(&self, id: &GrainId, topic: &Topic) {
        self.note(|done| {
            done.grains += 1;
            if done.ids.len() < MAX_IDS {
                done.ids.push(id.to_string());
            }
        });
        self.note_topic(topic.as_str());
    }

    /// Notes grains of which only the number is known.
    pub(in crate::calls) fn note_grains(&self, count: u64) {
        self.note(|done| done.grains += count);
    }

    /// Notes a topic that it is about.
    pub(in crate::calls) fn note_topic(&self, topic: &str) {
        self.note(|done| {
            if done.topics.len() < MAX_TOPICS && !done.topics.iter().any(|known| known == topic) {
                done.topics.push(topic.chars().take(MAX_ABOUT).collect());
            }
        });
    }

    /// Notes the name of what it is about.
    pub(in crate::calls) fn note_about(&self, name: &str) {
        self.note(|done| done.about = name.chars().take(MAX_ABOUT).collect());
    }

    fn note(&self, note: impl FnOnce(&mut Done)) {
        if let Some(deeds) = &self.caller.deeds {
            deeds.note(note);
        }
    }
}

/// Takes records. Clones share the queue.
#[derive(Debug, Clone)]
pub(crate) struct Audit {
    lines: mpsc::Sender<String>,
    dropped: Arc<AtomicU64>,
    refusals: Refusals,
}

/// A call that is to be recorded once it ends. One that is dropped before has no end of its own: its client has gone.
#[derive(Debug)]
pub(crate) struct Record {
    audit: Audit,
    who: Who,
    call: &'static str,
    deeds: Deeds,
    outcome: String,
}

#[derive(Serialize)]
struct Line<'a> {
    time: String,
    who: String,
    call: &'a str,
    outcome: &'a str,
    #[serde(flatten)]
    done: &'a Done,
}

impl Record {
    /// What the call does.
    pub fn deeds(&self) -> Deeds {
        self.deeds.clone()
    }

    /// How it ended, in the words of its door.
    pub fn end(mut self, outcome: String) {
        self.outcome = outcome;
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        let done = self.deeds.0.lock().unwrap_or_else(PoisonError::into_inner);
        // What was done before it was refused is told in any case.
        let is_refused = self.outcome == REFUSED && done.grains == 0;
        if is_refused && !self.audit.refusals.begin(&self.who, self.call, Instant::now()) {
            return;
        }
        let (who, call, outcome) = (self.who.to_string(), self.call, self.outcome.as_str());
        self.audit.write(&Line { time: now(), who, call, outcome, done: &done });
    }
}

fn now() -> String {
    Timestamp::now().to_string()
}

impl Audit {
    /// The queue, and who writes what comes out of it into the folder `data_dir`.
    pub fn new(data_dir: &Path) -> (Self, Log) {
        let (lines, queue) = mpsc::channel(QUEUE);
        let dropped = Arc::new(AtomicU64::new(0));
        let (refusals, pages) = (Refusals::default(), Pages::new(data_dir, MAX_BYTES));
        let log = Log { queue, dropped: dropped.clone(), refusals: refusals.clone(), pages };
        (Self { lines, dropped, refusals }, log)
    }

    /// Begins the record of a call.
    pub fn begin(&self, who: Who, call: &'static str) -> Record {
        // What is never ended was given up by its client.
        let outcome = "CANCELLED".to_owned();
        Record { audit: self.clone(), who, call, deeds: Deeds::default(), outcome }
    }

    /// Hands a line over, or counts that there was no room for it.
    fn write(&self, line: &Line<'_>) {
        let text = serde_json::to_string(line).unwrap_or_default();
        if self.lines.try_send(text).is_err() {
            self.dropped.fetch_add(1, Relaxed);
        }
    }
}

/// Who writes.
#[derive(Debug)]
pub(crate) struct Log {
    queue: mpsc::Receiver<String>,
    dropped: Arc<AtomicU64>,
    refusals: Refusals,
    pages: Pages,
}

#[derive(Serialize)]
struct DroppedLine {
    time: String,
    dropped: u64,
}

/// Refusals that have no lines of their own.
#[derive(Serialize)]
struct RefusedLine {
    time: String,
    who: String,
    /// The one that came last.
    call: &'static str,
    outcome: &'static str,
    times: u64,
}

impl From<Refused> for RefusedLine {
    fn from(refused: Refused) -> Self {
        let Refused { who, call, times } = refused;
        Self { time: now(), who: who.to_string(), call, outcome: REFUSED, times }
    }
}

impl Log {
    /// Writes until `stop`, and then what still waits.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut is_over = false;
        let mut look = tokio::time::interval(LOOK_AT_REFUSALS);
        while !is_over {
            let mut lines = Vec::new();
            tokio::select! {
                count = self.queue.recv_many(&mut lines, MAX_BATCH) => if count == 0 {
                    // Nobody is left who could say anything.
                    stop.cancelled().await;
                    is_over = true;
                },
                _ = look.tick() => {}
                () = stop.cancelled() => is_over = true,
            }
            let refused =
                if is_over { self.refusals.take_all() } else { self.refusals.take_due(Instant::now()) };
            let told = refused.into_iter().map(RefusedLine::from);
            lines.extend(told.filter_map(|line| serde_json::to_string(&line).ok()));
            while let Ok(line) = self.queue.try_recv() {
                lines.push(line);
            }
            let dropped = self.dropped.swap(0, Relaxed);
            if dropped > 0 {
                tracing::warn!(dropped, "calls are not in the audit log: the disk did not keep up");
                let line = DroppedLine { time: now(), dropped };
                lines.extend(serde_json::to_string(&line));
            }
            if lines.is_empty() {
                continue;
            }
            let (mut pages, count) = (self.pages, lines.len());
            let (pages, written) = blocking(move || {
                let written = pages.write(&lines);
                (pages, written)
            })
            .await;
            self.pages = pages;
            if let Err(error) = written {
                self.dropped.fetch_add(count as u64, Relaxed);
                tracing::warn!(%error, count, "calls are not in the audit log");
            }
        }
    }
}

/// The file and the one before it.
#[derive(Debug)]
struct Pages {
    path: PathBuf,
    before: PathBuf,
    max_bytes: u64,
    /// The file once something was written to it, and its size.
    open: Option<(File, u64)>,
}

impl Pages {
    fn new(data_dir: &Path, max_bytes: u64) -> Self {
        Self { path: data_dir.join(AUDIT), before: data_dir.join(AUDIT_BEFORE), max_bytes, open: None }
    }

    fn write(&mut self, lines: &[String]) -> io::Result<()> {
        let text: String = lines.iter().flat_map(|line| [line.as_str(), "\n"]).collect();
        let (mut file, mut size) = match self.open.take() {
            Some(open) => open,
            None => self.begin()?,
        };
        if size > 0 && size + text.len() as u64 > self.max_bytes {
            std::fs::rename(&self.path, &self.before)?;
            (file, size) = self.begin()?;
        }
        file.write_all(text.as_bytes())?;
        self.open = Some((file, size + text.len() as u64));
        Ok(())
    }

    fn begin(&self) -> io::Result<(File, u64)> {
        let file = OpenOptions::new().create(true).append(true).mode(0o600).open(&self.path)?;
        let size = file.metadata()?.len();
        Ok((file, size))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(dir: &Path, name: &str) -> Vec<serde_json::Value> {
        let text = std::fs::read_to_string(dir.join(name)).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    #[tokio::test]
    async fn a_call_is_a_line_with_who_what_and_how_it_ended() {
        let dir = tempfile::tempdir().unwrap();
        let (audit, log) = Audit::new(dir.path());
        let record = audit.begin(Who::Token("phone".into()), "NodeService/Put");
        record.deeds().note(|done| done.grains = 3);
        record.end("OK".into());
        drop(audit.begin(Who::Socket(Some(1000)), "NodeService/BulkPut"));
        let stop = CancellationToken::new();
        stop.cancel();
        log.run(stop).await;
        let lines = read(dir.path(), AUDIT);
        assert_eq!((&lines[0]["who"], &lines[0]["call"]), (&"token phone".into(), &"NodeService/Put".into()));
        assert_eq!((&lines[0]["grains"], &lines[0]["outcome"]), (&3.into(), &"OK".into()));
        assert!(lines[0]["time"].as_str().unwrap().parse::<Timestamp>().is_ok());
        assert_eq!(
            (&lines[1]["who"], &lines[1]["outcome"]),
            (&"socket uid 1000".into(), &"CANCELLED".into())
        );
        assert!(lines[1].get("grains").is_none() && lines.len() == 2);
    }

    #[tokio::test]
    async fn a_full_queue_holds_nobody_up_and_what_is_lost_is_counted() {
        let dir = tempfile::tempdir().unwrap();
        let (audit, log) = Audit::new(dir.path());
        for _ in 0..QUEUE + 7 {
            drop(audit.begin(Who::ApiToken, "NodeService/Put"));
        }
        let stop = CancellationToken::new();
        stop.cancel();
        log.run(stop).await;
        let lines = read(dir.path(), AUDIT);
        assert_eq!((lines.len(), &lines[QUEUE]["dropped"]), (QUEUE + 1, &7.into()));
    }

    #[test]
    fn two_files_are_kept_and_no_more() {
        let dir = tempfile::tempdir().unwrap();
        let mut pages = Pages::new(dir.path(), 40);
        for number in 0..10 {
            pages.write(&[format!("{{\"number\":{number}}}")]).unwrap();
        }
        let numbers =
            |name| read(dir.path(), name).iter().map(|line| line["number"].as_u64()).collect::<Vec<_>>();
        assert_eq!(numbers(AUDIT), [Some(9)]);
        assert_eq!(numbers(AUDIT_BEFORE), [Some(6), Some(7), Some(8)]);
        // After a restart it goes on where it was.
        Pages::new(dir.path(), 40).write(&["{\"number\":10}".to_owned()]).unwrap();
        assert_eq!(numbers(AUDIT), [Some(9), Some(10)]);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2);
    }
}

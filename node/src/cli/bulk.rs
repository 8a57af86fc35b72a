//! Many lines to a node over one stream: read, sent and answered at the same time, with a bound on what is under way.

use std::io::{self, BufRead, BufReader, Read};

use synapsenet_proto::rpc;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::client::Client;
use super::failure::Failure;

/// The longest line: a signed grain of 32 KiB in base64, and its text of 16 KiB with every character escaped as JSON
/// does for control characters (six for one), with room for the rest.
pub(crate) const MAX_LINE_BYTES: usize = 256 << 10;
/// Lines that were sent and are not answered yet: some commits' worth, and at most 32 MiB of grains.
const MAX_IN_FLIGHT: usize = 1024;
/// Requests that wait for the connection to take them.
const SEND_QUEUE: usize = 64;

/// What a line asks for: an item, nothing (an empty line), or why it cannot be sent.
pub(crate) type Item = Result<Option<rpc::BulkPutRequest>, String>;

/// What became of a line.
#[derive(Debug)]
pub(crate) struct Answer {
    /// Counted from 1.
    pub(crate) line: u64,
    /// Bytes of the input up to the end of this line.
    pub(crate) bytes_read: u64,
    /// The grain's id and whether it is new, or the reason for the refusal.
    pub(crate) outcome: Result<(String, bool), String>,
}

/// A line on its way. They stay in the order of the input, and so do the answers of the node.
struct Pending {
    line: u64,
    bytes_read: u64,
    /// Set when the line was not sent.
    reason: Option<String>,
}

/// Sends every line of `input` as `to_item` reads it (line number from 1 and text without its line break) and calls
/// `on_answer` for each that is not empty, in order. A bad line does not stop those after it.
///
/// # Errors
/// When the input cannot be read further, the connection breaks, or `on_answer` fails; the lines answered until then
/// are stored.
pub(crate) async fn send_lines<R: Read + Send + 'static>(
    client: &mut Client,
    input: R,
    to_item: impl Fn(u64, &str) -> Item + Send + 'static,
    mut on_answer: impl FnMut(Answer) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let (requests, request_stream) = mpsc::channel(SEND_QUEUE);
    let (pending, mut answers_due) = mpsc::channel(MAX_IN_FLIGHT);
    let reader = tokio::task::spawn_blocking(move || feed(input, &to_item, &requests, &pending));
    let mut answers = client.bulk_put(ReceiverStream::new(request_stream)).await?.into_inner();
    while let Some(Pending { line, bytes_read, reason }) = answers_due.recv().await {
        let outcome = match reason {
            Some(reason) => Err(reason),
            None => read_answer(answers.message().await?)?,
        };
        on_answer(Answer { line, bytes_read, outcome })?;
    }
    reader.await.expect("reading lines does not panic").map_err(|error| {
        Failure::incomplete(format!("cannot read the input: {error}"), "what was read until then is stored")
    })
}

fn read_answer(answer: Option<rpc::BulkPutResponse>) -> Result<Result<(String, bool), String>, Failure> {
    let Some(answer) = answer else {
        let hint = "run the command again: what is stored already is skipped";
        return Err(Failure::refused("the node ended the stream early", hint));
    };
    Ok(match answer.outcome() {
        rpc::PutOutcome::Added => Ok((answer.id, true)),
        rpc::PutOutcome::Duplicate => Ok((answer.id, false)),
        rpc::PutOutcome::Refused | rpc::PutOutcome::Unspecified => Err(answer.reason),
    })
}

/// Reads lines and hands them on until the input or the interest ends.
fn feed(
    input: impl Read,
    to_item: &impl Fn(u64, &str) -> Item,
    requests: &mpsc::Sender<rpc::BulkPutRequest>,
    pending: &mpsc::Sender<Pending>,
) -> io::Result<()> {
    let mut lines = Lines::new(input);
    while let Some((line, text)) = lines.next_line()? {
        let item = text.and_then(|text| to_item(line, text));
        let bytes_read = lines.bytes_read;
        let reason = match item {
            Ok(None) => continue,
            Ok(Some(request)) => {
                if requests.blocking_send(request).is_err() {
                    return Ok(());
                }
                None
            }
            Err(reason) => Some(reason),
        };
        if pending.blocking_send(Pending { line, bytes_read, reason }).is_err() {
            return Ok(());
        }
    }
    Ok(())
}

/// Lines of bounded length.
struct Lines<R> {
    input: BufReader<R>,
    buffer: Vec<u8>,
    number: u64,
    bytes_read: u64,
}

impl<R: Read> Lines<R> {
    fn new(input: R) -> Self {
        Self {
            input: BufReader::with_capacity(64 << 10, input),
            buffer: Vec::new(),
            number: 0,
            bytes_read: 0,
        }
    }

    /// The number of the next line, and the line without its line break or why it is none; `None` at the end. A line
    /// that is too long is skipped as a whole, without being held in memory.
    fn next_line(&mut self) -> io::Result<Option<(u64, Result<&str, String>)>> {
        self.buffer.clear();
        let limit = MAX_LINE_BYTES as u64 + 2;
        let read = Read::by_ref(&mut self.input).take(limit).read_until(b'\n', &mut self.buffer)?;
        if read == 0 {
            return Ok(None);
        }
        self.number += 1;
        self.bytes_read += read as u64;
        let mut line = self.buffer.as_slice();
        let ended = line.ends_with(b"\n");
        line = line.strip_suffix(b"\n").unwrap_or(line);
        line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.len() > MAX_LINE_BYTES {
            if !ended {
                self.bytes_read += self.input.skip_until(b'\n')? as u64;
            }
            return Ok(Some((self.number, Err(format!("the line is longer than {MAX_LINE_BYTES} bytes")))));
        }
        // A byte order mark belongs to the file, not to its first line.
        let line =
            if self.number == 1 { line.strip_prefix("\u{feff}".as_bytes()).unwrap_or(line) } else { line };
        let text = std::str::from_utf8(line).map_err(|_| {
            "the line is not UTF-8: name the encoding, as with --encoding windows-1252".to_owned()
        });
        Ok(Some((self.number, text)))
    }
}

/// The first problems of many, kept for people; scripts are told each at once.
#[derive(Debug, Default)]
pub(crate) struct FirstProblems {
    kept: Vec<String>,
    count: u64,
}

impl FirstProblems {
    /// Problems that are shown; a longer list is for a script.
    const SHOWN: usize = 20;

    /// Counts a problem and keeps it when it is among the first.
    pub(crate) fn push(&mut self, problem: String) {
        self.count += 1;
        if self.kept.len() < Self::SHOWN {
            self.kept.push(problem);
        }
    }

    /// How many there were.
    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// The first ones, and a line that says how many more there are.
    pub(crate) fn lines(&self) -> impl Iterator<Item = String> + '_ {
        let more = self.count - self.kept.len() as u64;
        let more = (more > 0).then(|| format!("… and {more} more; --json lists all"));
        self.kept.iter().cloned().chain(more)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(input: &[u8]) -> Vec<(u64, u64, Result<String, String>)> {
        let mut lines = Lines::new(input);
        let mut all = Vec::new();
        while let Some((number, line)) = lines.next_line().unwrap() {
            let line = line.map(str::to_owned);
            all.push((number, lines.bytes_read, line));
        }
        all
    }

    #[test]
    fn lines_are_counted_with_their_bytes() {
        let text = |text: &str| Ok(text.to_owned());
        assert_eq!(
            all("\u{feff}one\r\n\ntwo".as_bytes()),
            [(1, 8, text("one")), (2, 9, text("")), (3, 12, text("two"))]
        );
        assert_eq!(all(b""), []);
    }

    #[test]
    fn a_line_that_is_too_long_is_skipped_and_the_next_one_is_read() {
        let longest = "x".repeat(MAX_LINE_BYTES);
        let input = format!("{longest}\r\n{longest}y\n{longest}yyyy\nnext");
        let lines = all(input.as_bytes());
        let good: Vec<_> = lines.iter().map(|(_, _, line)| line.is_ok()).collect();
        assert_eq!(good, [true, false, false, true]);
        assert_eq!(lines[3].1, input.len() as u64);
        assert_eq!(lines[3].2.as_deref(), Ok("next"));
    }

    #[test]
    fn a_line_that_is_not_utf8_is_refused_alone() {
        let lines = all(b"\xff\nok\n");
        assert!(lines[0].2.is_err() && lines[1].2.is_ok());
    }

    #[test]
    fn only_the_first_problems_are_kept() {
        let mut problems = FirstProblems::default();
        (0..1000).for_each(|n| problems.push(n.to_string()));
        assert_eq!(problems.count(), 1000);
        assert_eq!(problems.lines().count(), 21);
        assert_eq!(problems.lines().last().as_deref(), Some("… and 980 more; --json lists all"));
    }
}

//! `add --dry-run`: which files are meant, without a node.

use std::time::{SystemTime, UNIX_EPOCH};

use schemars::JsonSchema;
use serde::Serialize;

use super::{LeftOutRecord, NOTHING, tell_problems};
use crate::cli::bulk::FirstProblems;
use crate::cli::failure::{Exit, Failure};
use crate::cli::inputs::{self, Input, Item, Problem};
use crate::cli::output::{Output, plural, printable};
use crate::files::file_uri;
use crate::files::{Found, LeftOut, Rules};

/// One line for scripts.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(in crate::cli) enum Event<'a> {
    /// `modified_ms` is in milliseconds since 1970-01-01 UTC, and null where it is not known.
    WouldAdd {
        source: &'a str,
        bytes: u64,
        modified_ms: Option<u64>,
    },
    Skipped {
        source: &'a str,
        reason: &'a str,
    },
    Refused {
        source: &'a str,
        reason: &'a str,
    },
    DryRun {
        would_add: u64,
        refused: u64,
        skipped: u64,
        left_out: LeftOutRecord,
    },
}

/// What would become of everything.
#[derive(Debug, Default)]
struct Plan {
    would_add: u64,
    refused: FirstProblems,
    skipped: FirstProblems,
    left_out: LeftOut,
}

/// Reads the inputs and tells what would be added of them.
///
/// # Errors
/// When it cannot be told.
pub(super) fn run(
    inputs: Vec<Input>,
    (rules, encoding): (&Rules, &str),
    out: &mut Output,
) -> Result<Exit, Failure> {
    let (mut plan, mut told) = (Plan::default(), Ok(()));
    inputs::read_all(rules, encoding, inputs, |item| {
        told = plan.take(item, out);
        told.is_ok()
    });
    told?;
    plan.report(out)?;
    Ok(if plan.refused.count() > 0 { Exit::Incomplete } else { Exit::Done })
}

impl Plan {
    fn take(&mut self, item: Item, out: &mut Output) -> Result<(), Failure> {
        match item {
            Item::Text { name, text } => self.would_add(name, name, text.len() as u64, None, out),
            Item::Document { path, content, .. } => {
                let found = Found::at(&path).ok();
                let bytes = found.as_ref().map_or(content.len() as u64, |found| found.size);
                let modified = found.and_then(|found| found.modified);
                self.would_add(&path.display().to_string(), &file_uri(&path), bytes, modified, out)
            }
            Item::Large { path, size, .. } => {
                let modified = Found::at(&path).ok().and_then(|found| found.modified);
                self.would_add(&path.display().to_string(), &file_uri(&path), size, modified, out)
            }
            Item::Skipped(Problem { name, reason }) => {
                self.skipped.push(format!("{name}: {reason}"));
                script(out, &Event::Skipped { source: &name, reason: &reason })
            }
            Item::Refused(Problem { name, reason }) => {
                self.refused.push(format!("{name}: {reason}"));
                script(out, &Event::Refused { source: &name, reason: &reason })
            }
            Item::LeftOut(left_out) => {
                self.left_out.add(left_out);
                Ok(())
            }
        }
    }

    fn would_add(
        &mut self,
        name: &str,
        source: &str,
        bytes: u64,
        modified: Option<SystemTime>,
        out: &mut Output,
    ) -> Result<(), Failure> {
        self.would_add += 1;
        if out.is_json() {
            let since = modified.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
            let modified_ms = since.and_then(|since| u64::try_from(since.as_millis()).ok());
            return out.record(&Event::WouldAdd { source, bytes, modified_ms });
        }
        let size = indicatif::HumanBytes(bytes);
        out.line(format_args!("would add {} ({size})", printable(name).replace('\n', " ")))
    }

    fn report(&self, out: &mut Output) -> Result<(), Failure> {
        let (would_add, refused, skipped) = (self.would_add, self.refused.count(), self.skipped.count());
        if out.is_json() {
            let left_out = LeftOutRecord::of(&self.left_out);
            return out.record(&Event::DryRun { would_add, refused, skipped, left_out });
        }
        tell_problems(&self.skipped, &self.refused, &self.left_out, out)?;
        if would_add + refused + skipped == 0 {
            out.note(NOTHING)?;
        }
        out.summary(format_args!(
            "would add {}, refuse {refused}, skip {skipped}; nothing was added",
            plural(would_add, "document")
        ))
    }
}

/// Writes a line that only scripts want.
fn script(out: &mut Output, event: &Event<'_>) -> Result<(), Failure> {
    if out.is_json() { out.record(event) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_have_the_documented_shape() {
        let json = |event: &Event<'_>| serde_json::to_string(event).unwrap();
        assert_eq!(
            json(&Event::WouldAdd { source: "file:///a", bytes: 3, modified_ms: None }),
            r#"{"event":"would_add","source":"file:///a","bytes":3,"modified_ms":null}"#
        );
        let left_out = LeftOutRecord::of(&LeftOut { files: 1, folders: 2, example: None });
        assert_eq!(
            json(&Event::DryRun { would_add: 1, refused: 2, skipped: 3, left_out }),
            concat!(
                r#"{"event":"dry_run","would_add":1,"refused":2,"skipped":3,"#,
                r#""left_out":{"files":1,"folders":2}}"#
            )
        );
    }
}

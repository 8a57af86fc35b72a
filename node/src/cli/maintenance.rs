//! `verify` and `compact`: looking after the data folder.

use indicatif::HumanBytes;
use schemars::JsonSchema;
use serde::Serialize;
use synapsenet_proto::rpc;

use super::context::Context;
use super::failure::{Exit, Failure};
use super::output::{Unit, WRONG, plural, printable};
use super::own_node::{Missing, with_node};

/// What `verify` found, for scripts.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct VerifyRecord<'a> {
    /// Whether nothing is wrong.
    ok: bool,
    /// Records that were looked at.
    checked: u64,
    /// Records that there are.
    total: u64,
    /// What is wrong.
    problems: &'a [String],
}

/// What `compact` did, for scripts.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct CompactRecord {
    /// Of the database file.
    bytes_before: u64,
    /// Of the database file.
    bytes_after: u64,
}

/// Runs `verify`.
pub(crate) async fn verify(context: &mut Context) -> Result<Exit, Failure> {
    with_node(context, Missing::Refused, async |client, out| {
        let bar = out.bar("checking", 0, Unit::Count);
        let mut messages = client.verify(rpc::VerifyRequest {}).await?.into_inner();
        let (mut last, mut problems) = (rpc::VerifyResponse::default(), Vec::new());
        while let Some(mut message) = messages.message().await? {
            bar.set_length(message.total);
            bar.set_position(message.checked);
            problems.append(&mut message.problems);
            last = message;
        }
        bar.finish_and_clear();
        if !last.finished {
            let hint = "run it again, and see the log of the node";
            return Err(Failure::refused("the node ended the check before it was finished", hint));
        }
        let ok = problems.is_empty();
        let rpc::VerifyResponse { checked, total, .. } = last;
        if out.is_json() {
            out.record(&VerifyRecord { ok, checked, total, problems: &problems })?;
        } else {
            for problem in &problems {
                out.line(format_args!("{WRONG}problem:{WRONG:#} {}", printable(problem)))?;
            }
            let found = if ok { "no problem".to_owned() } else { plural(problems.len() as u64, "problem") };
            out.summary(format_args!("checked {}: {found}", plural(checked, "record")))?;
            if !ok {
                out.note(
                    "hint: stop the node, copy the data folder away, then `synapsenet export` what can be read and \
                     `synapsenet import` it into a new one",
                )?;
            }
        }
        Ok(if ok { Exit::Done } else { Exit::Incomplete })
    })
    .await
}

/// Runs `compact`.
pub(crate) async fn compact(context: &mut Context) -> Result<Exit, Failure> {
    with_node(context, Missing::Refused, async |client, out| {
        let spinner = out.spinner("compacting; this can take a while");
        // No deadline: it takes as long as the database is large.
        let response = client.compact(rpc::CompactRequest {}).await;
        spinner.finish_and_clear();
        let rpc::CompactResponse { bytes_before, bytes_after } = response?.into_inner();
        if out.is_json() {
            out.record(&CompactRecord { bytes_before, bytes_after })?;
        } else {
            let freed = bytes_before.saturating_sub(bytes_after);
            out.summary(format_args!(
                "{} freed: the database has {} now, {} before",
                HumanBytes(freed),
                HumanBytes(bytes_after),
                HumanBytes(bytes_before)
            ))?;
        }
        Ok(Exit::Done)
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_verify_found_is_one_json_object() {
        let record = VerifyRecord { ok: false, checked: 1, total: 2, problems: &["bad".into()] };
        let json = serde_json::to_string(&record).unwrap();
        assert_eq!(json, r#"{"ok":false,"checked":1,"total":2,"problems":["bad"]}"#);
    }
}

//! `export` and `import`: every grain as a line of JSON, and back with the same id.

use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use clap::Args;
use data_encoding::BASE64;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use synapsenet_proto::{Grain, Kind, Link, rpc};

use super::bulk::{self, Answer, FirstProblems};
use super::client::{Client, call};
use super::context::Context;
use super::export_file::ExportFile;
use super::failure::{Exit, Failure};
use super::output::{Output, Unit, plural, printable};
use super::own_node::{Missing, with_node};
use super::record::ExportRecord;

/// Grains asked for at once: at most some 12 MiB in memory.
const PAGE: u32 = 256;

/// Arguments of `export`.
#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    /// File to write, - for standard output. It appears when it is complete, readable by you alone
    #[arg(default_value = "-")]
    file: PathBuf,
}

/// Arguments of `import`.
#[derive(Debug, Args)]
pub(crate) struct ImportArgs {
    /// File to read, - for standard input
    #[arg(default_value = "-")]
    file: PathBuf,
    /// Sign the texts of other authors anew as this node's own, with today's date
    ///
    /// Without this, each grain stays its author's: it is a stranger's here, and only that author can withdraw it. With the identity
    /// of the node that wrote the export (identity.seed), the grains are your own in any case, and nothing has to be signed anew.
    #[arg(long)]
    as_mine: bool,
}

/// What was exported, for scripts.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct ExportSummary<'a> {
    /// `summary`.
    event: &'static str,
    /// Grains.
    exported: u64,
    /// Where.
    file: &'a Path,
}

/// One line of an import, for scripts, when it is wrong; then the summary.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(tag = "event", rename_all = "lowercase")]
pub(super) enum ImportEvent<'a> {
    Invalid { line: u64, reason: &'a str },
    Summary { added: u64, duplicate: u64, invalid: u64, others: u64, passed_over: u64 },
}

/// What an import believes of a line: the signed grain, and whether it was shared.
#[derive(Debug, Deserialize)]
struct ImportLine {
    grain: String,
    #[serde(default)]
    shared: bool,
}

fn is_stream(file: &Path) -> bool {
    file == Path::new("-")
}

/// Runs `export`.
pub(crate) async fn export(args: ExportArgs, context: &mut Context) -> Result<Exit, Failure> {
    with_node(context, Missing::Refused, async |client, out| {
        let file = args.file;
        if is_stream(&file) {
            let mut stdout = BufWriter::new(io::stdout().lock());
            let exported = write_grains(client, out, &mut |line| Ok(writeln!(stdout, "{line}")?)).await?;
            stdout.flush()?;
            let summary = ExportSummary { event: "summary", exported, file: &file };
            if out.is_json() {
                out.aside(&summary)?;
            } else {
                out.note(format_args!("exported {}", plural(exported, "grain")))?;
            }
            return Ok(Exit::Done);
        }
        let exported = write_file(&file, client, out).await?;
        if out.is_json() {
            out.record(&ExportSummary { event: "summary", exported, file: &file })?;
        } else {
            out.note(format_args!("exported {} to {}", plural(exported, "grain"), file.display()))?;
        }
        Ok(Exit::Done)
    })
    .await
}

/// Exports into a file.
async fn write_file(path: &Path, client: &mut Client, out: &Output) -> Result<u64, Failure> {
    let cannot = |error: io::Error| {
        let hint = "check the folder, its permissions and the space left";
        Failure::incomplete(format!("cannot write {}: {error}", path.display()), hint)
    };
    let mut file = ExportFile::create(path).map_err(cannot)?;
    let exported = write_grains(client, out, &mut |line| writeln!(file, "{line}").map_err(cannot)).await?;
    file.finish().map_err(cannot)?;
    Ok(exported)
}

/// Hands every grain, retractions too, to `write_line`, and counts them.
async fn write_grains(
    client: &mut Client,
    out: &Output,
    write_line: &mut impl FnMut(&str) -> Result<(), Failure>,
) -> Result<u64, Failure> {
    let status = client.status(call(rpc::StatusRequest {})).await?.into_inner();
    let bar = out.bar("exported", status.grains + status.retractions, Unit::Count);
    let mut exported = 0;
    let mut page_token = String::new();
    loop {
        let request = rpc::ListRequest {
            filter: None,
            page_size: PAGE,
            page_token,
            with_signed: true,
            with_retractions: true,
        };
        let page = client.list(call(request)).await?.into_inner();
        for grain in &page.grains {
            let line = serde_json::to_string(&ExportRecord::new(grain));
            write_line(&line.expect("records have string keys and no failing fields"))?;
            exported += 1;
        }
        bar.set_position(exported);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            bar.finish_and_clear();
            return Ok(exported);
        }
    }
}

/// What became of the lines.
#[derive(Debug, Default)]
struct Tally {
    added: u64,
    duplicate: u64,
    invalid: FirstProblems,
    /// What other authors signed, and stays theirs.
    others: u64,
    /// Retractions of other authors, which say nothing about one's own grains.
    passed_over: u64,
}

/// Runs `import`.
pub(crate) async fn import(args: ImportArgs, context: &mut Context) -> Result<Exit, Failure> {
    let file = args.file;
    let (input, size): (Box<dyn Read + Send>, u64) = if is_stream(&file) {
        (Box::new(io::stdin()), 0)
    } else {
        let cannot = |error: io::Error| {
            let hint = "give a file that `synapsenet export` wrote";
            Failure::incomplete(format!("cannot read {}: {error}", file.display()), hint)
        };
        let opened = File::open(&file).map_err(cannot)?;
        let metadata = opened.metadata().map_err(cannot)?;
        if metadata.is_dir() {
            return Err(cannot(io::ErrorKind::IsADirectory.into()));
        }
        (Box::new(opened), metadata.len())
    };
    with_node(context, Missing::Made, async |client, out| {
        let own = client.status(call(rpc::StatusRequest {})).await?.into_inner().author;
        let bar =
            if size > 0 { out.bar("imported", size, Unit::Bytes) } else { out.spinner("lines imported") };
        let mut tally = Tally::default();
        let (others, passed_over) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let counts = (others.clone(), passed_over.clone());
        let to_item = move |_: u64, line: &str| {
            let Some(line) = read_line(line)? else { return Ok(None) };
            let grain = line.is_others(&own)?;
            match (grain, args.as_mine) {
                (None, _) => Ok(Some(line.sealed())),
                (Some(_), false) => {
                    counts.0.fetch_add(1, Ordering::Relaxed);
                    Ok(Some(line.sealed()))
                }
                (Some(grain), true) if grain.kind() == Kind::Retraction => {
                    counts.1.fetch_add(1, Ordering::Relaxed);
                    Ok(None)
                }
                (Some(grain), true) => Ok(Some(line.anew(&grain))),
            }
        };
        let sent = bulk::send_lines(client, input, to_item, |answer| {
            if size > 0 {
                bar.set_position(answer.bytes_read)
            } else {
                bar.inc(1)
            }
            tally.count(&answer, out)
        });
        let sent = sent.await;
        bar.finish_and_clear();
        (tally.others, tally.passed_over) =
            (others.load(Ordering::Relaxed), passed_over.load(Ordering::Relaxed));
        // What was stored before a failure is stored: the summary comes in any case.
        tally.report(out)?;
        sent?;
        Ok(if tally.invalid.count() > 0 { Exit::Incomplete } else { Exit::Done })
    })
    .await
}

/// A line of an export.
struct Line {
    /// The signed grain. Whether it is well-formed and well signed is for the node to say.
    signed: Vec<u8>,
    shared: bool,
}

/// Reads a line; nothing of an empty one.
fn read_line(line: &str) -> Result<Option<Line>, String> {
    if line.trim().is_empty() {
        return Ok(None);
    }
    let line: ImportLine =
        serde_json::from_str(line).map_err(|error| format!("not a line of an export: {error}"))?;
    let signed = BASE64.decode(line.grain.as_bytes()).map_err(|_| "\"grain\" is not base64".to_owned())?;
    Ok(Some(Line { signed, shared: line.shared }))
}

impl Line {
    /// The grain, if another than `own` signed it.
    fn is_others(&self, own: &str) -> Result<Option<Grain>, String> {
        let grain = Grain::open(&self.signed).map_err(|error| error.to_string())?;
        Ok(Some(grain).filter(|grain| grain.author().to_string() != own))
    }

    /// It as it is.
    fn sealed(self) -> rpc::BulkPutRequest {
        rpc::BulkPutRequest {
            item: Some(rpc::bulk_put_request::Item::Grain(self.signed)),
            share: self.shared,
            ..Default::default()
        }
    }

    /// What it says, for the node to sign.
    fn anew(&self, grain: &Grain) -> rpc::BulkPutRequest {
        let draft = &grain.body().draft;
        let link = |link: &Link| rpc::Link {
            target: link.target.as_bytes().to_vec(),
            relation: link.relation.clone(),
        };
        let draft = rpc::Draft {
            topic: draft.topic.to_string(),
            text: draft.text.clone(),
            title: draft.title.clone(),
            tags: draft.tags.clone(),
            lang: draft.lang.clone(),
            mime: draft.mime.clone(),
            source: draft
                .source
                .as_ref()
                .map(|source| rpc::Source { uri: source.uri.clone(), ordinal: source.ordinal }),
            links: draft.links.iter().map(link).collect(),
            metadata: draft.metadata.clone(),
        };
        rpc::BulkPutRequest {
            item: Some(rpc::bulk_put_request::Item::Draft(draft)),
            share: self.shared,
            ..Default::default()
        }
    }
}

impl Tally {
    fn count(&mut self, answer: &Answer, out: &mut Output) -> Result<(), Failure> {
        match &answer.outcome {
            Ok((_, true)) => self.added += 1,
            Ok((_, false)) => self.duplicate += 1,
            Err(reason) => {
                self.invalid.push(format!("line {}: {reason}", answer.line));
                if out.is_json() {
                    out.record(&ImportEvent::Invalid { line: answer.line, reason })?;
                }
            }
        }
        Ok(())
    }

    fn report(&self, out: &mut Output) -> Result<(), Failure> {
        let (added, duplicate, invalid) = (self.added, self.duplicate, self.invalid.count());
        let Self { others, passed_over, .. } = *self;
        if out.is_json() {
            return out.record(&ImportEvent::Summary { added, duplicate, invalid, others, passed_over });
        }
        for line in self.invalid.lines() {
            out.problem(printable(&line))?;
        }
        out.summary(format_args!("added {added}, duplicate {duplicate}, invalid {invalid}"))?;
        if others > 0 {
            let grains = plural(others, "grain");
            out.note(format_args!(
                "{grains} signed by others and stay theirs; to make them your own, bring identity.seed along, or use --as-mine"
            ))?;
        }
        if passed_over > 0 {
            out.note(format_args!("passed over {} of others", plural(passed_over, "retraction")))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_an_export_is_read_by_an_import() {
        let grain = super::super::record::tests::grain();
        let line = serde_json::to_string(&ExportRecord::new(&grain)).unwrap();
        let request = read_line(&line).unwrap().unwrap().sealed();
        assert!(request.share);
        assert_eq!(request.item, Some(rpc::bulk_put_request::Item::Grain(b"signed".to_vec())));
    }

    #[test]
    fn the_longest_grain_fits_into_a_line() {
        let grain = rpc::Grain {
            text: "\u{1}".repeat(synapsenet_proto::MAX_TEXT_BYTES),
            title: "\u{1}".repeat(synapsenet_proto::MAX_TITLE_BYTES),
            tags: vec!["\u{1}".repeat(synapsenet_proto::MAX_TAG_BYTES); synapsenet_proto::MAX_TAGS],
            source: Some(rpc::Source { uri: "\u{1}".repeat(1024), ordinal: u32::MAX }),
            links: vec![rpc::Link { target: vec![0; 32], relation: "\u{1}".repeat(64) }; 16],
            signed: vec![0; synapsenet_proto::MAX_GRAIN_BYTES],
            ..super::super::record::tests::grain()
        };
        let line = serde_json::to_string(&ExportRecord::new(&grain)).unwrap();
        assert!(line.len() <= bulk::MAX_LINE_BYTES, "{}", line.len());
    }

    #[test]
    fn a_wrong_line_is_told_apart_from_an_empty_one() {
        assert!(matches!(read_line("  "), Ok(None)));
        for wrong in ["{}", "not json", r#"{"grain": 5}"#, r#"{"grain": "?"}"#, "[]"] {
            assert!(read_line(wrong).is_err(), "{wrong}");
        }
    }
}

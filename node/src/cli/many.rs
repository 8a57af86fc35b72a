//! `retract` and `share` of many grains at once: counted and asked about first, then done while a bar moves.

use schemars::JsonSchema;
use serde::Serialize;
use synapsenet_proto::rpc;
use tonic::{Status, Streaming};

use super::client::{Client, connect};
use super::confirm::Consent;
use super::context::Context;
use super::failure::{Exit, Failure};
use super::grains::named;
use super::output::{Output, Unit, plural, printable};

/// What is to become of each grain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Deed {
    /// It is withdrawn.
    Retract,
    /// It may leave the node.
    Share,
}

/// Which grains are meant.
#[derive(Debug, Clone)]
pub(crate) struct Meant {
    /// At least one condition.
    pub(crate) filter: rpc::Filter,
    /// The source of the filter is one file, not the beginning of many.
    pub(crate) whole_source: bool,
}

/// How far the node is.
#[derive(Debug, Default)]
struct Tally {
    meant: u64,
    done: u64,
    already: u64,
    not_yours: u64,
    refused: u64,
    refusal: String,
    first: Vec<rpc::Grain>,
    finished: bool,
}

/// How it ended, or what would be done, for scripts.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Record {
    /// `dry_run`, `retracted` or `shared`.
    event: &'static str,
    /// With how many it was done, or would be.
    grains: u64,
    /// How many were shared before.
    #[serde(skip_serializing_if = "Option::is_none")]
    already: Option<u64>,
    /// How many others have written, and only they can.
    not_yours: u64,
    /// How many stayed as they were.
    refused: u64,
}

/// One of those that are meant, for scripts.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct FirstRecord<'a> {
    /// `first`: one of the newest that are meant.
    event: &'static str,
    id: &'a str,
    /// Its heading.
    title: &'a str,
}

/// Answers of either call.
enum Answers {
    Retract(Streaming<rpc::RetractMatchingResponse>),
    Share(Streaming<rpc::ShareMatchingResponse>),
}

/// Does it to every grain that is meant. `consent` is none for a dry run.
///
/// # Errors
/// When nobody agrees, or the node does not go on; what was done until then is done, and doing it again goes on.
pub(crate) async fn run(
    deed: Deed,
    meant: &Meant,
    consent: Option<Consent>,
    context: &mut Context,
) -> Result<Exit, Failure> {
    let mut client = connect(&context.target).await?;
    let out = &mut context.out;
    let planned = last(deed.ask(&mut client, meant, true).await?, |_| ()).await?;
    let Some(consent) = consent else {
        show_plan(deed, &planned, out)?;
        return Ok(Exit::Done);
    };
    if planned.meant == 0 {
        show_end(deed, &planned, out)?;
        return Ok(Exit::Done);
    }
    consent.confirm(&about(&planned), &deed.question(planned.meant))?;
    let bar = out.bar(deed.doing(), planned.meant, Unit::Count);
    let answers = deed.ask(&mut client, meant, false).await?;
    let ended = last(answers, |tally| {
        // Meanwhile there may be more or fewer.
        bar.set_length(tally.meant);
        bar.set_position(tally.done + tally.refused);
    });
    let ended =
        ended.await.map_err(|failure| failure.while_doing("not all are done; the command again goes on"));
    bar.finish_and_clear();
    let ended = ended?;
    show_end(deed, &ended, out)?;
    Ok(if ended.refused > 0 { Exit::Incomplete } else { Exit::Done })
}

/// The last of the answers; `each` is told of all.
async fn last(mut answers: Answers, each: impl Fn(&Tally)) -> Result<Tally, Failure> {
    loop {
        let Some(tally) = answers.next().await? else {
            return Err(Failure::refused(
                "the node ended its answer early",
                "run the command again: it goes on",
            ));
        };
        each(&tally);
        if tally.finished {
            return Ok(tally);
        }
    }
}

/// The first of those that are meant, a line each, and how many more there are.
fn about(planned: &Tally) -> Vec<String> {
    let mut lines = named(&planned.first);
    let more = planned.meant.saturating_sub(planned.first.len() as u64);
    lines.extend((more > 0).then(|| format!("… and {}", plural(more, "more grain"))));
    lines
}

/// Shows what would be done with grains that were named by their ids.
///
/// # Errors
/// When it cannot be written.
pub(crate) fn show_named(deed: Deed, grains: &[rpc::Grain], out: &mut Output) -> Result<(), Failure> {
    let (first, others): (Vec<_>, Vec<_>) =
        grains.iter().cloned().partition(|grain| grain.whose() == rpc::Whose::Own);
    let (meant, not_yours) = (first.len() as u64, others.len() as u64);
    show_plan(deed, &Tally { meant, not_yours, first, ..Tally::default() }, out)
}

fn show_plan(deed: Deed, planned: &Tally, out: &mut Output) -> Result<(), Failure> {
    if out.is_json() {
        for grain in &planned.first {
            out.record(&FirstRecord { event: "first", id: &grain.id, title: &grain.title })?;
        }
        return out.record(&deed.record("dry_run", planned.meant, planned));
    }
    for line in about(planned) {
        out.line(format_args!("  {line}"))?;
    }
    let beside = beside(planned);
    out.summary(format_args!("{} would be {}{beside}", plural(planned.meant, "grain"), deed.done()))
}

fn show_end(deed: Deed, ended: &Tally, out: &mut Output) -> Result<(), Failure> {
    if out.is_json() {
        return out.record(&deed.record(deed.done(), ended.done, ended));
    }
    if ended.refused > 0 {
        let (refused, reason) = (plural(ended.refused, "grain"), printable(&ended.refusal));
        out.problem(format_args!("{refused} stayed as before: {reason}"))?;
    }
    out.summary(format_args!("{} {}{}", deed.done(), plural(ended.done, "grain"), beside(ended)))
}

/// What fits the conditions and is left as it is.
fn beside(tally: &Tally) -> String {
    let mut words = String::new();
    if tally.already > 0 {
        words += &format!(", {} shared before", tally.already);
    }
    if tally.not_yours > 0 {
        words += &format!(", {} not yours", tally.not_yours);
    }
    words
}

impl Deed {
    fn doing(self) -> &'static str {
        match self {
            Self::Retract => "retracting",
            Self::Share => "sharing",
        }
    }

    fn done(self) -> &'static str {
        match self {
            Self::Retract => "retracted",
            Self::Share => "shared",
        }
    }

    fn question(self, count: u64) -> String {
        let grains = plural(count, "grain");
        match self {
            Self::Retract => format!("Retract {grains}? The texts go for good."),
            Self::Share => format!(
                "Share {grains} with every peer of their topics, for good? Titles, tags and the names of files go along."
            ),
        }
    }

    fn record(self, event: &'static str, grains: u64, tally: &Tally) -> Record {
        let already = (self == Self::Share).then_some(tally.already);
        Record { event, grains, already, not_yours: tally.not_yours, refused: tally.refused }
    }

    async fn ask(self, client: &mut Client, meant: &Meant, dry_run: bool) -> Result<Answers, Failure> {
        let (filter, whole_source) = (Some(meant.filter.clone()), meant.whole_source);
        Ok(match self {
            Self::Retract => {
                let request = rpc::RetractMatchingRequest { filter, whole_source, dry_run };
                Answers::Retract(client.retract_matching(request).await?.into_inner())
            }
            Self::Share => {
                let request = rpc::ShareMatchingRequest { filter, whole_source, dry_run };
                Answers::Share(client.share_matching(request).await?.into_inner())
            }
        })
    }
}

impl Answers {
    async fn next(&mut self) -> Result<Option<Tally>, Status> {
        Ok(match self {
            Self::Retract(answers) => answers.message().await?.map(Tally::from),
            Self::Share(answers) => answers.message().await?.map(Tally::from),
        })
    }
}

impl From<rpc::RetractMatchingResponse> for Tally {
    fn from(answer: rpc::RetractMatchingResponse) -> Self {
        let rpc::RetractMatchingResponse { meant, retracted, not_own, refused, refusal, first, finished } =
            answer;
        Self { meant, done: retracted, already: 0, not_yours: not_own, refused, refusal, first, finished }
    }
}

impl From<rpc::ShareMatchingResponse> for Tally {
    fn from(answer: rpc::ShareMatchingResponse) -> Self {
        let rpc::ShareMatchingResponse { meant, shared, already, not_own, refused, refusal, first, finished } =
            answer;
        Self { meant, done: shared, already, not_yours: not_own, refused, refusal, first, finished }
    }
}

#[cfg(test)]
mod tests {
    use super::super::record::tests::grain;
    use super::*;

    #[test]
    fn what_is_meant_is_shown_by_its_first() {
        let tally = Tally { meant: 7, first: vec![grain(); 5], ..Tally::default() };
        let lines = about(&tally);
        assert_eq!((lines.len(), lines[5].as_str()), (6, "… and 2 more grains"));
        let few = Tally { meant: 1, first: vec![grain()], ..Tally::default() };
        assert_eq!(about(&few).len(), 1);
        assert_eq!(about(&Tally::default()), Vec::<String>::new());
    }

    #[test]
    fn the_end_has_the_documented_shape() {
        let tally = Tally { meant: 4, done: 3, already: 2, not_yours: 1, refused: 1, ..Tally::default() };
        let json = |record: Record| serde_json::to_string(&record).unwrap();
        assert_eq!(
            json(Deed::Retract.record("retracted", tally.done, &tally)),
            r#"{"event":"retracted","grains":3,"not_yours":1,"refused":1}"#
        );
        assert_eq!(
            json(Deed::Share.record("dry_run", tally.meant, &tally)),
            r#"{"event":"dry_run","grains":4,"already":2,"not_yours":1,"refused":1}"#
        );
        assert_eq!(beside(&tally), ", 2 shared before, 1 not yours");
    }
}

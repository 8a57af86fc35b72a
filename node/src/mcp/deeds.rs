//! What the tools do: arguments to calls of the node, and its answers to what agents read.

use std::time::Duration;

use futures::StreamExt;
use serde::Serialize;
use serde_json::Value;
use synapsenet_proto::rpc;
use synapsenet_proto::rpc::bulk_put_request::Item as Put;
use synapsenet_proto::rpc::search_response::Item as Found;
use tonic::{Request, Status};

use super::arguments::{self, MAX_AT_ONCE, MAX_CHARS, MAX_CONTEXT, MAX_K, Mode, Which, check};
use super::passage::{self, Page, Shown, short};
use super::{Agent, JsonArguments, now_ms};

/// How long the node may take to answer one call.
const ANSWER: Duration = Duration::from_secs(60);
/// How long it is waited until what was stored is searchable, in milliseconds; then the agent hears that it is not yet.
const SEARCHABLE_MS: u32 = 30_000;

/// Why a tool has no answer, in words for the agent.
#[derive(Debug)]
pub(super) struct Refused(pub String);

impl From<String> for Refused {
    fn from(words: String) -> Self {
        Self(words)
    }
}

/// Grains, best or newest first.
#[derive(Debug, Serialize)]
struct Grains {
    grains: Vec<Shown>,
    #[serde(skip_serializing_if = "String::is_empty")]
    note: String,
}

/// One grain, with the parts of its document around it.
#[derive(Debug, Serialize)]
pub(super) struct One {
    pub grain: Shown,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    before: Vec<Shown>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    after: Vec<Shown>,
}

#[derive(Debug, Serialize)]
struct Remembered {
    grains: Vec<Outcome>,
    searchable: bool,
}

#[derive(Debug, Serialize)]
struct Outcome {
    #[serde(skip_serializing_if = "String::is_empty")]
    id: String,
    outcome: &'static str,
    #[serde(skip_serializing_if = "String::is_empty")]
    reason: String,
}

#[derive(Debug, Default, Serialize)]
struct Forgotten {
    forgotten: Vec<String>,
    refused: Vec<Kept>,
}

#[derive(Debug, Serialize)]
struct Kept {
    id: String,
    reason: String,
}

fn json(answer: impl Serialize) -> Result<Value, Refused> {
    serde_json::to_value(answer).map_err(|error| Refused(format!("the answer has no form: {error}")))
}

fn call<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(ANSWER);
    request
}

impl Agent {
    /// The tool `search`.
    pub(super) async fn search(&self, arguments: JsonArguments) -> Result<Value, Refused> {
        let arguments::Search { query, mode, k, max_chars, topic, tags, not_tags, days } =
            arguments::read(arguments)?;
        let mode = match mode {
            Mode::Hybrid => rpc::SearchMode::Hybrid,
            Mode::Meaning => rpc::SearchMode::Meaning,
            Mode::Words => rpc::SearchMode::Words,
        };
        let request = rpc::SearchRequest {
            text: query,
            k: check("k", k, 1, MAX_K)?,
            filter: Some(self.settings.namespace.filter(Which { topic, tags, not_tags, days }, now_ms())?),
            mesh: self.settings.asks_mesh,
            mode: mode.into(),
            ..rpc::SearchRequest::default()
        };
        self.found(request, check("max_chars", max_chars, 1, MAX_CHARS)?).await
    }

    /// The tool `related`.
    pub(super) async fn related(&self, arguments: JsonArguments) -> Result<Value, Refused> {
        let arguments::Related { id, k, max_chars } = arguments::read(arguments)?;
        let like = self.grain(&id, 0).await?.grain.unwrap_or_default();
        let request = rpc::SearchRequest {
            like: like.id,
            k: check("k", k, 1, MAX_K)?,
            filter: Some(self.settings.namespace.filter(Which::default(), now_ms())?),
            ..rpc::SearchRequest::default()
        };
        self.found(request, check("max_chars", max_chars, 1, MAX_CHARS)?).await
    }

    async fn found(&self, request: rpc::SearchRequest, max_chars: usize) -> Result<Value, Refused> {
        let mut messages =
            self.client().search(call(request)).await.map_err(|status| told(&status))?.into_inner();
        let (mut hits, mut note) = (Vec::new(), String::new());
        while let Some(message) = messages.message().await.map_err(|status| told(&status))? {
            match message.item {
                Some(Found::Hit(hit)) => hits.push(hit),
                Some(Found::Summary(summary)) => note = note_of(&summary),
                None => {}
            }
        }
        let found = hits.into_iter().map(|hit| {
            let mark = hit.marks.first().map(|mark| mark.start as usize);
            let found = passage::Found { score: Some(hit.score), peer: hit.peer_id, mark };
            (hit.grain.unwrap_or_default(), found)
        });
        json(Grains { grains: Page::new(now_ms())?.show(found.collect(), max_chars), note })
    }

    /// The tool `recent`.
    pub(super) async fn recent(&self, arguments: JsonArguments) -> Result<Value, Refused> {
        let arguments::Recent { k, max_chars, topic, tags, not_tags, days } = arguments::read(arguments)?;
        let request = rpc::ListRequest {
            filter: Some(self.settings.namespace.filter(Which { topic, tags, not_tags, days }, now_ms())?),
            page_size: check("k", k, 1, MAX_K)?,
            ..rpc::ListRequest::default()
        };
        let answer = self.client().list(call(request)).await.map_err(|status| told(&status))?.into_inner();
        let found = answer.grains.into_iter().map(|grain| (grain, passage::Found::default()));
        let max_chars = check("max_chars", max_chars, 1, MAX_CHARS)?;
        json(Grains { grains: Page::new(now_ms())?.show(found.collect(), max_chars), note: String::new() })
    }

    /// The tool `get`.
    pub(super) async fn get(&self, arguments: JsonArguments) -> Result<Value, Refused> {
        let arguments::Get { id, context, max_chars } = arguments::read(arguments)?;
        let context = check("context", context, 0, MAX_CONTEXT)?;
        json(self.one(&id, context, check("max_chars", max_chars, 1, MAX_CHARS)?).await?)
    }

    /// One grain, and its neighbours as far as there is room.
    pub(super) async fn one(&self, id: &str, context: u32, max_chars: usize) -> Result<One, Refused> {
        let got = self.grain(id, context).await?;
        let plain = |grain| (grain, passage::Found::default());
        let page = Page::new(now_ms())?;
        let mut shown = page.show(got.grain.into_iter().map(plain).collect(), max_chars);
        let grain = shown.pop().ok_or_else(|| not_here(id))?;
        let room = max_chars.saturating_sub(grain.text.chars().count());
        let here = |grain: &rpc::Grain| self.settings.namespace.holds(grain);
        let before: Vec<_> = got.before.into_iter().filter(here).map(plain).collect();
        let after: Vec<_> = got.after.into_iter().filter(here).map(plain).collect();
        let count = before.len();
        let mut around = page.show(before.into_iter().chain(after).collect(), room);
        let after = around.split_off(count);
        Ok(One { grain, before: around, after })
    }

    /// A grain of this agent's namespace: there are no others for it.
    async fn grain(&self, id: &str, context: u32) -> Result<rpc::GetResponse, Refused> {
        let request = rpc::GetRequest { id: id.to_owned(), context, ..rpc::GetRequest::default() };
        let got = self.client().get(call(request)).await.map_err(|status| told(&status))?.into_inner();
        match &got.grain {
            Some(grain) if self.settings.namespace.holds(grain) => Ok(got),
            _ => Err(not_here(id)),
        }
    }

    /// The tool `remember`.
    pub(super) async fn remember(&self, arguments: JsonArguments) -> Result<Value, Refused> {
        let arguments::Remember { texts, title, tags, topic, wait } = arguments::read(arguments)?;
        check("the number of texts", texts.len(), 1, MAX_AT_ONCE)?;
        let namespace = &self.settings.namespace;
        let (topic, tags) = (namespace.topic(topic)?, namespace.tags(tags));
        let draft = rpc::Draft { topic, title, tags, ..rpc::Draft::default() };
        let items: Vec<_> = texts
            .into_iter()
            .map(|text| rpc::BulkPutRequest {
                item: Some(Put::Draft(rpc::Draft { text, ..draft.clone() })),
                share: false,
                wait: if wait { rpc::Wait::Searchable } else { rpc::Wait::Words }.into(),
                wait_ms: SEARCHABLE_MS,
            })
            .collect();
        let request = call(futures::stream::iter(items));
        let answers = self.client().bulk_put(request).await.map_err(|status| told(&status))?.into_inner();
        let answers: Vec<Result<rpc::BulkPutResponse, Status>> = answers.collect().await;
        let (mut grains, mut searchable) = (Vec::new(), true);
        for answer in answers {
            let answer = answer.map_err(|status| told(&status))?;
            let outcome = match answer.outcome() {
                rpc::PutOutcome::Added => "added",
                rpc::PutOutcome::Duplicate => "already",
                rpc::PutOutcome::Refused | rpc::PutOutcome::Unspecified => "refused",
            };
            searchable &= answer.searchable || outcome == "refused";
            grains.push(Outcome { id: short(&answer.id), outcome, reason: answer.reason });
        }
        let is_stored = grains.iter().any(|grain| grain.outcome != "refused");
        json(Remembered { grains, searchable: wait && is_stored && searchable })
    }

    /// The tool `forget`.
    pub(super) async fn forget(&self, arguments: JsonArguments) -> Result<Value, Refused> {
        let arguments::Forget { ids } = arguments::read(arguments)?;
        check("the number of ids", ids.len(), 1, MAX_AT_ONCE)?;
        let (mut done, mut here) = (Forgotten::default(), Vec::new());
        for id in ids {
            match self.grain(&id, 0).await {
                Ok(got) => here.push((id, got.grain.unwrap_or_default().id)),
                Err(Refused(reason)) => done.refused.push(Kept { id, reason }),
            }
        }
        if here.is_empty() {
            return json(done);
        }
        let whole = here.iter().map(|(_, whole)| whole.clone()).collect();
        let request = call(rpc::RetractRequest { ids: whole, ..rpc::RetractRequest::default() });
        let answer = self.client().retract(request).await.map_err(|status| told(&status))?.into_inner();
        for ((id, _), result) in here.into_iter().zip(answer.results) {
            match result.retraction.is_empty() {
                false => done.forgotten.push(id),
                true => done.refused.push(Kept { id, reason: reason_of(&result) }),
            }
        }
        json(done)
    }
}

/// Why one of several was not withdrawn.
fn reason_of(result: &rpc::RetractResult) -> String {
    let name = result.reason().as_str_name();
    let name = name.strip_prefix("ERROR_REASON_").unwrap_or(name);
    format!("{name}: {}; {}", result.refusal, result.hint)
}

/// What an agent should know about a search beside its hits.
fn note_of(summary: &rpc::SearchSummary) -> String {
    let mut notes = Vec::new();
    if summary.pending > 0 {
        notes.push(format!("{} grains were not read by the model yet", summary.pending));
    }
    if summary.unreadable {
        notes.push("the model hardly understands this question: try its words in English".to_owned());
    }
    if summary.hits == 0 && summary.best_left_out.is_some() {
        notes.push("nothing answers it well enough".to_owned());
    }
    notes.join("; ")
}

fn not_here(id: &str) -> Refused {
    let id: String = id.chars().take(64).collect();
    Refused(format!(
        "GRAIN_NOT_FOUND: there is no grain {id:?} here; search and recent show those that there are"
    ))
}

/// What the node says of an error, with its reason first and what to do last.
pub(super) fn told(status: &Status) -> Refused {
    use synapsenet_proto::rpc::{ERROR_DOMAIN, ERROR_HINT};
    use tonic_types::StatusExt;
    let message = match status.message() {
        "" => "the node gave no reason",
        message => message,
    };
    let info = status.get_details_error_info().filter(|info| info.domain == ERROR_DOMAIN);
    Refused(match info {
        Some(mut info) => {
            let hint = info.metadata.remove(ERROR_HINT).unwrap_or_default();
            format!("{}: {message}; {hint}", info.reason)
        }
        None => format!("{:?}: {message}; is the node running? `synapsenet status` tells", status.code()),
    })
}

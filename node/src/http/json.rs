//! JSON over HTTP: the calls of gRPC under paths and verbs, with the names of the schema, and errors as RFC 9457 has them. A message is
//! translated by its descriptor, and a call goes the way of gRPC (see `wire`): what is allowed, how much, and what is counted and
//! recorded is decided there.

mod bodies;
mod events;
mod messages;
#[cfg(test)]
mod openapi;
mod problem;
mod repeats;
mod table;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, BodyDataStream, Bytes, to_bytes};
use axum::extract::{Extension, Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use futures::{Stream, StreamExt};
use prost_reflect::{DynamicMessage, MethodDescriptor};
use serde_json::{Map, Value, json};
use tokio::time::timeout;
use tonic::Streaming;

use crate::calls::CallError;
use crate::calls::access::Caller;
use crate::calls::grains::MAX_DOCUMENT_BYTES;
use crate::metrics::{Doors, method_of, name_of};
use crate::wire::{Wire, on_behalf_of};
use bodies::{Bodies, Place, only};
pub(super) use problem::Problem;
use problem::invalid;
use repeats::{Begun, Repeats};

/// The paths and messages, for programs that read such (OpenAPI 3.1). A test makes it and holds it against this.
const OPENAPI: &str = include_str!("../../../proto/openapi.json");
/// The call whose message may be as large as a document.
const OF_A_DOCUMENT: &str = "NodeService/AddDocument";
/// Bytes of its body: a document in base64, and what is said about it.
const MAX_DOCUMENT_BODY_BYTES: usize = MAX_DOCUMENT_BYTES / 3 * 4 + (64 << 10);
/// Bytes of a body that is any other message.
const MAX_BODY_BYTES: usize = 1 << 20;
/// Bytes of one of many messages: a text of 16 KiB, however JSON writes it, or a piece of a document.
const MAX_LINE_BYTES: usize = 1 << 20;
/// How long a body may take, and each part of one that has many messages.
const MAX_PAUSE: Duration = Duration::from_secs(30);
/// The media type of many messages, one a line.
const LINES: &str = "application/x-ndjson";

struct Door {
    wire: Wire,
    doors: Doors,
    repeats: Repeats,
    bodies: Bodies,
}

/// The door, for those whom somebody let in: their requests have an authorization and a caller.
pub(super) fn routes(wire: Wire, doors: Doors) -> Router {
    let door = Door { wire, doors, repeats: Repeats::default(), bodies: Bodies::default() };
    Router::new()
        .route("/v1/openapi.json", get(async || ([(header::CONTENT_TYPE, "application/json")], OPENAPI)))
        .route("/v1/{*path}", any(serve))
        .with_state(Arc::new(door))
}

async fn serve(
    State(door): State<Arc<Door>>,
    Extension(caller): Extension<Caller>,
    request: Request,
) -> Response {
    let (start, verb, path) = (Instant::now(), request.method().clone(), request.uri().path().to_owned());
    match door.answer(&caller, request).await {
        Ok(response) => response,
        Err(problem) => {
            count(&door.doors, &verb, &path, &problem, start.elapsed());
            problem.into_response()
        }
    }
}

/// Counts a call that a problem ended after this time, if it did so here.
pub(super) fn count(doors: &Doors, verb: &Method, path: &str, problem: &Problem, time: Duration) {
    if let Some(code) = problem.uncounted_code() {
        let call = table::find(verb.as_str(), path).ok();
        let path = call.map(|(call, _)| format!("/{}/{}", call.parent_service().full_name(), call.name()));
        doors.called(method_of(&path.unwrap_or_default()), name_of(code), time);
    }
}

impl Door {
    async fn answer(&self, caller: &Caller, request: Request) -> Result<Response, Problem> {
        let (call, named) = table::find(request.method().as_str(), request.uri().path())?;
        let wire = on_behalf_of(self.wire.clone(), request.headers(), request.extensions());
        let name = format!("{}/{}", call.parent_service().name(), call.name());
        // Before anything of the body is read.
        if let Err(error) = caller.check(&name) {
            return Err(refused(wire, &call, &error).await);
        }
        if call.is_client_streaming() {
            return lines_for_lines(wire, call, request.into_body().into_data_stream()).await;
        }
        let (parts, body) = request.into_parts();
        let has_body = !matches!(parts.method, Method::GET | Method::DELETE);
        let most = if name == OF_A_DOCUMENT { MAX_DOCUMENT_BODY_BYTES } else { MAX_BODY_BYTES };
        let (bytes, place) = match has_body {
            true => self.read(caller, body, most).await.map(|(bytes, place)| (bytes, Some(place)))?,
            false => (Bytes::new(), None),
        };
        let mut message = match bytes.is_empty() {
            true => Map::new(),
            false => serde_json::from_slice(&bytes)
                .map_err(|error| invalid(format!("the body is no JSON object: {error}")))?,
        };
        messages::add_query(&call.input(), parts.uri.query().unwrap_or_default(), &mut message)
            .map_err(invalid)?;
        for (name, value) in named {
            message.insert(name.to_owned(), value.into());
        }
        events::take_up(&call, &parts.headers, &mut message);
        let message = messages::read(call.input(), Value::Object(message)).map_err(invalid)?;
        let key = parts.headers.get("idempotency-key").filter(|_| has_body || parts.method == Method::DELETE);
        let repeat = match key {
            None => None,
            Some(key) => match self.repeats.begin(&parts.headers, key, &call, &message)? {
                Begun::Again(answer) => return Ok(answer.into_response()),
                Begun::First(repeat) => Some(repeat),
            },
        };
        let message = only(message, place);
        if call.is_server_streaming() && !wants_one(&call, &parts.headers) {
            let answers = messages::call(wire, &call, message).await.map_err(Problem::of)?;
            return Ok(match events::wanted(&call, &parts.headers) {
                true => events::answer(answers),
                false => lines(answers, Arc::default()),
            });
        }
        let doing = async move {
            let answers = messages::call(wire, &call, message).await.map_err(Problem::of)?;
            let value = if call.is_server_streaming() { hits(answers).await } else { one(answers).await };
            Ok(value?.to_string())
        };
        let body = match repeat {
            Some(repeat) => repeat.finish(doing).await,
            None => doing.await,
        };
        body.map(json_of)
    }

    /// The whole of a body that is one message, of so many bytes at most, and its place.
    async fn read(&self, caller: &Caller, body: Body, most: usize) -> Result<(Bytes, Place), Problem> {
        let slow = || Problem::new(StatusCode::REQUEST_TIMEOUT, "DEADLINE_PASSED", "the body took too long");
        let reading = async {
            let place = self.bodies.place(caller.who()).await;
            let bytes = to_bytes(body, most).await.map_err(|_| {
                let words = format!("the body could not be read, or has more than {most} bytes: split it");
                Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "INVALID_REQUEST", words)
            })?;
            Ok((bytes, place))
        };
        timeout(MAX_PAUSE, reading).await.map_err(|_| slow())?
    }
}

/// What is said to a caller who may not make a call: the node says it, and records it, without any message.
async fn refused(wire: Wire, call: &MethodDescriptor, error: &CallError) -> Problem {
    match messages::call(wire, call, futures::stream::empty()).await {
        Err(status) => Problem::of(status),
        Ok(_) => {
            let reason = error.reason();
            Problem::new(StatusCode::FORBIDDEN, reason.name(), error.to_string()).with_hint(reason.hint())
        }
    }
}

fn json_of(body: String) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], body).into_response()
}

/// Whether an answer of many messages is wanted as one: a search, unless its reader takes lines.
fn wants_one(call: &MethodDescriptor, headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let takes_lines =
        accepted.flat_map(|value| value.split(',')).any(|range| range.trim().starts_with(LINES));
    call.name() == "Search" && !takes_lines
}

async fn one(mut answers: Streaming<DynamicMessage>) -> Result<Value, Problem> {
    let mut last = Value::Null;
    while let Some(message) = answers.message().await.map_err(Problem::of)? {
        last = messages::write(&message)?;
    }
    Ok(last)
}

/// A search as one message: its hits, then its summary.
async fn hits(mut answers: Streaming<DynamicMessage>) -> Result<Value, Problem> {
    let (mut hits, mut summary) = (Vec::new(), Value::Null);
    while let Some(message) = answers.message().await.map_err(Problem::of)? {
        let mut message = messages::write(&message)?;
        match message.get_mut("hit") {
            Some(hit) => hits.push(hit.take()),
            None => summary = message["summary"].take(),
        }
    }
    Ok(json!({"hits": hits, "summary": summary}))
}

/// What went wrong with the lines of a request, told at the end of the answer.
type Wrong = Arc<Mutex<Option<Problem>>>;

/// Messages as lines, as they come. The last line has the error, if there was one: the head of the answer had gone by then.
fn lines(answers: Streaming<DynamicMessage>, wrong: Wrong) -> Response {
    let lines = futures::stream::unfold(Some((answers, wrong)), |state| async {
        let (mut answers, wrong) = state?;
        let told = |problem: Problem| Some((json!({"error": problem.value()}), None));
        let (value, next) = match answers.message().await {
            Ok(Some(message)) => match messages::write(&message) {
                Ok(value) => Some((value, Some((answers, wrong)))),
                Err(problem) => told(problem),
            },
            ended => {
                let own = wrong.lock().unwrap_or_else(PoisonError::into_inner).take();
                own.or_else(|| ended.err().map(Problem::of)).and_then(told)
            }
        }?;
        Some((Ok::<_, std::convert::Infallible>(Bytes::from(format!("{value}\n"))), next))
    });
    ([(header::CONTENT_TYPE, LINES)], Body::from_stream(lines)).into_response()
}

/// A call of many messages, whose request has them as lines.
async fn lines_for_lines(
    wire: Wire,
    call: MethodDescriptor,
    body: BodyDataStream,
) -> Result<Response, Problem> {
    let wrong = Wrong::default();
    let messages = read_lines(body, call.clone(), wrong.clone());
    let answers = messages::call(wire, &call, messages).await;
    let own = wrong.lock().unwrap_or_else(PoisonError::into_inner).take();
    match (answers, own) {
        (_, Some(problem)) => Err(problem),
        (Ok(answers), None) if call.is_server_streaming() => Ok(lines(answers, wrong)),
        (Ok(answers), None) => {
            let value = one(answers).await;
            let own = wrong.lock().unwrap_or_else(PoisonError::into_inner).take();
            Ok(json_of(own.map_or(value, Err)?.to_string()))
        }
        (Err(status), None) => Err(Problem::of(status)),
    }
}

/// The messages of a body, until one of them is wrong.
fn read_lines(
    body: BodyDataStream,
    call: MethodDescriptor,
    wrong: Wrong,
) -> impl Stream<Item = DynamicMessage> + Send {
    let state = (body, Vec::new(), 0_u64);
    futures::stream::unfold(state, move |(mut body, mut buffer, mut number)| {
        let (call, wrong) = (call.clone(), wrong.clone());
        async move {
            let read = loop {
                match next_line(&mut body, &mut buffer).await {
                    Ok(None) => return None,
                    Ok(Some(line)) => {
                        number += 1;
                        if line.iter().all(u8::is_ascii_whitespace) {
                            continue;
                        }
                        let value = serde_json::from_slice(&line).map_err(|error| error.to_string());
                        break value.and_then(|value| messages::read(call.input(), value));
                    }
                    Err(words) => break Err(words),
                }
            };
            match read {
                Ok(message) => Some((message, (body, buffer, number))),
                Err(words) => {
                    // The services saw the lines before it, and count what became of them.
                    let problem = invalid(format!("line {}: {words}", number.max(1))).counted();
                    *wrong.lock().unwrap_or_else(PoisonError::into_inner) = Some(problem);
                    None
                }
            }
        }
    })
}

async fn next_line(body: &mut BodyDataStream, buffer: &mut Vec<u8>) -> Result<Option<Vec<u8>>, String> {
    let mut searched = 0;
    loop {
        if let Some(at) = buffer[searched..].iter().position(|&byte| byte == b'\n') {
            let rest = buffer.split_off(searched + at + 1);
            return Ok(Some(std::mem::replace(buffer, rest)));
        }
        searched = buffer.len();
        if searched > MAX_LINE_BYTES {
            return Err(format!("it has more than {MAX_LINE_BYTES} bytes"));
        }
        match timeout(MAX_PAUSE, body.next()).await {
            Ok(Some(Ok(bytes))) => buffer.extend_from_slice(&bytes),
            Ok(Some(Err(error))) => return Err(format!("the body broke off: {error}")),
            Ok(None) if buffer.is_empty() => return Ok(None),
            Ok(None) => return Ok(Some(std::mem::take(buffer))),
            Err(_) => return Err(format!("nothing came for {} seconds", MAX_PAUSE.as_secs())),
        }
    }
}

//! Requests that are made again because their answer was lost: with the same `Idempotency-Key`, what was done is not done twice, and
//! the answer is the one from before. So many of each caller are remembered for an hour, in memory.

use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use lru::LruCache;
use prost::Message;
use prost_reflect::{DynamicMessage, MethodDescriptor};

use super::problem::{Problem, invalid};

/// Callers whose answers are remembered: those that did not ask for the longest time are forgotten first.
const MAX_CALLERS: usize = 64;
/// Answers of one caller that are remembered, with those that are being made: the oldest go first.
const MAX_KEPT: usize = 256;
/// Bytes of an answer that is remembered, so all of them are 64 MiB at most: a larger one is told as done.
const MAX_ANSWER_BYTES: usize = 4 << 10;
/// How long they are.
const KEPT_FOR: Duration = Duration::from_secs(3600);
/// Bytes of a key.
const MAX_KEY_BYTES: usize = 128;

#[derive(Debug)]
struct Kept {
    /// Of the call and its message.
    hash: blake3::Hash,
    since: Instant,
    /// None while it is being done.
    answer: Option<String>,
}

/// The hash of a token: its name may be given to another one.
type Identity = blake3::Hash;
/// What is kept of one caller, by the keys of its requests.
type Own = LruCache<String, Kept>;
type Table = Arc<Mutex<LruCache<Identity, Own>>>;

/// Which token a request has come with, after that was looked at.
fn identity(head: &HeaderMap) -> Identity {
    let value = head.get(header::AUTHORIZATION).map_or(&[][..], HeaderValue::as_bytes);
    let token = value.trim_ascii().rsplit(|byte| *byte == b' ').next();
    blake3::hash(token.unwrap_or_default())
}

/// What is remembered.
#[derive(Debug)]
pub(super) struct Repeats(Table);

impl Default for Repeats {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(LruCache::unbounded())))
    }
}

/// Makes room for one more. What is being done stays: it would be done twice.
fn make_room<K: Clone + Hash + Eq, V>(
    table: &mut LruCache<K, V>,
    most: usize,
    is_done: impl Fn(&V) -> bool,
) -> Result<(), Problem> {
    if table.len() < most {
        return Ok(());
    }
    let oldest = table.iter().rev().find(|(_, value)| is_done(value)).map(|(key, _)| key.clone());
    let oldest = oldest.ok_or_else(|| {
        let words = "too many requests with an Idempotency-Key are being done: ask again in a moment";
        Problem::new(StatusCode::TOO_MANY_REQUESTS, "TOO_MANY_CALLS", words)
    })?;
    table.pop(&oldest);
    Ok(())
}

fn lock(table: &Table) -> MutexGuard<'_, LruCache<Identity, Own>> {
    table.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a request with a key is.
pub(super) enum Begun {
    /// New: it is to be done.
    First(Repeat),
    /// Done before.
    Again(Answer),
}

/// A request that is being done. Unless its answer is kept, it may be made anew.
#[derive(Debug)]
pub(super) struct Repeat {
    table: Table,
    identity: Identity,
    key: String,
    is_done: bool,
}

/// The answer from before.
#[derive(Debug)]
pub(super) struct Answer(String);

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        let mut response = super::json_of(self.0);
        response.headers_mut().insert("idempotency-replayed", HeaderValue::from_static("true"));
        response
    }
}

impl Repeats {
    /// Begins a request with a key, which is its caller's own: of the token in its head.
    ///
    /// # Errors
    /// When the key is none, is of another request, or that one is still being done.
    pub fn begin(
        &self,
        head: &HeaderMap,
        key: &HeaderValue,
        call: &MethodDescriptor,
        message: &DynamicMessage,
    ) -> Result<Begun, Problem> {
        let text = key.to_str().ok().filter(|key| (1..=MAX_KEY_BYTES).contains(&key.len()));
        let text = text.ok_or_else(|| {
            invalid(format!("Idempotency-Key has 1 to {MAX_KEY_BYTES} printable characters"))
        })?;
        let mut hasher = blake3::Hasher::new();
        hasher.update(call.full_name().as_bytes()).update(b"\0").update(&message.encode_to_vec());
        let (hash, identity, key) = (hasher.finalize(), identity(head), text.to_owned());
        let mut table = lock(&self.0);
        if !table.contains(&identity) {
            make_room(&mut table, MAX_CALLERS, |own| own.iter().all(|(_, kept)| kept.answer.is_some()))?;
        }
        let own = table.get_or_insert_mut(identity, LruCache::unbounded);
        let is_kept = |kept: &&Kept| kept.answer.is_none() || kept.since.elapsed() < KEPT_FOR;
        if let Some(kept) = own.get(&key).filter(is_kept) {
            if kept.hash != hash {
                let words = "this Idempotency-Key was used for another request: each request has its own";
                return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "INVALID_REQUEST", words));
            }
            return match &kept.answer {
                Some(answer) => Ok(Begun::Again(Answer(answer.clone()))),
                None => {
                    let words =
                        "the request with this Idempotency-Key is still being done: ask again in a moment";
                    Err(Problem::new(StatusCode::CONFLICT, "TOO_MANY_CALLS", words))
                }
            };
        }
        if !own.contains(&key) {
            make_room(own, MAX_KEPT, |kept| kept.answer.is_some())?;
        }
        own.put(key.clone(), Kept { hash, since: Instant::now(), answer: None });
        Ok(Begun::First(Repeat { table: self.0.clone(), identity, key, is_done: false }))
    }
}

impl Repeat {
    /// Does it to its end, also when nobody waits for the answer any more, and keeps that: whoever broke off asks again.
    pub async fn finish(
        self,
        doing: impl Future<Output = Result<String, Problem>> + Send + 'static,
    ) -> Result<String, Problem> {
        let done = tokio::spawn(async move {
            let body = doing.await?;
            self.keep(&body);
            Ok(body)
        });
        let broken = |error| Problem::of(tonic::Status::internal(format!("the call broke: {error}")));
        done.await.unwrap_or_else(|error| Err(broken(error)))
    }

    /// Keeps the answer of what was done.
    fn keep(mut self, body: &str) {
        self.is_done = true;
        let mut table = lock(&self.table);
        if let Some(kept) = table.peek_mut(&self.identity).and_then(|own| own.peek_mut(&self.key)) {
            kept.answer = Some(if body.len() > MAX_ANSWER_BYTES { "{}".to_owned() } else { body.to_owned() });
        }
    }
}

impl Drop for Repeat {
    fn drop(&mut self) {
        if !self.is_done
            && let Some(own) = lock(&self.table).peek_mut(&self.identity)
        {
            own.pop(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::messages;
    use super::*;

    fn begin(repeats: &Repeats, who: &str, key: &str, text: &str) -> Result<Begun, StatusCode> {
        let call = messages::method("NodeService/Put").unwrap();
        let message = messages::read(call.input(), json!({"draft": {"text": text}})).unwrap();
        let key = HeaderValue::from_str(key).unwrap();
        let token = HeaderValue::from_str(&format!("Bearer {who}")).unwrap();
        let head = HeaderMap::from_iter([(header::AUTHORIZATION, token)]);
        repeats.begin(&head, &key, &call, &message).map_err(|problem| problem.status())
    }

    #[test]
    fn what_was_done_is_not_done_twice_and_what_was_not_can_be() {
        let repeats = Repeats::default();
        let Ok(Begun::First(first)) = begin(&repeats, "a", "k", "x") else { panic!("it is new") };
        assert!(matches!(begin(&repeats, "a", "k", "x"), Err(StatusCode::CONFLICT)), "it is being done");
        drop(first);
        let Ok(Begun::First(first)) = begin(&repeats, "a", "k", "x") else { panic!("it was not done") };
        first.keep("{\"id\":1}");
        let Ok(Begun::Again(answer)) = begin(&repeats, "a", "k", "x") else { panic!("it was done") };
        assert_eq!(answer.0, "{\"id\":1}");
        assert!(matches!(begin(&repeats, "a", "k", "y"), Err(StatusCode::UNPROCESSABLE_ENTITY)));
        assert!(matches!(begin(&repeats, "b", "k", "y"), Ok(Begun::First(_))), "a key is its caller's own");
        assert!(matches!(begin(&repeats, "a", &"k".repeat(129), "x"), Err(StatusCode::BAD_REQUEST)));
    }

    #[test]
    fn no_more_is_kept_than_has_room() {
        let repeats = Repeats::default();
        for n in 0..=MAX_KEPT {
            let Ok(Begun::First(first)) = begin(&repeats, "a", &n.to_string(), "x") else {
                panic!("it is new")
            };
            first.keep(&"x".repeat(MAX_ANSWER_BYTES + 1));
        }
        let hash = blake3::hash(b"a");
        let kept_of_a = || lock(&repeats.0).peek(&hash).map_or(0, LruCache::len);
        assert_eq!(kept_of_a(), MAX_KEPT);
        let table = lock(&repeats.0);
        assert!(table.iter().flat_map(|(_, own)| own).all(|(_, kept)| kept.answer.as_deref() == Some("{}")));
        drop(table);
        // Another one fills its own room alone, and what is being done is not forgotten for what is new.
        let doing: Vec<_> =
            (0..MAX_KEPT).map(|n| begin(&repeats, "b", &n.to_string(), "x").unwrap()).collect();
        assert!(matches!(begin(&repeats, "b", "new", "x"), Err(StatusCode::TOO_MANY_REQUESTS)));
        assert!(matches!(begin(&repeats, "b", "0", "x"), Err(StatusCode::CONFLICT)), "it is being done");
        assert_eq!(kept_of_a(), MAX_KEPT);
        for n in 0..MAX_CALLERS {
            drop(begin(&repeats, &format!("other-{n}"), "k", "x").unwrap());
        }
        assert_eq!(lock(&repeats.0).len(), MAX_CALLERS);
        assert!(matches!(begin(&repeats, "b", "0", "x"), Err(StatusCode::CONFLICT)), "it is being done");
        drop(doing);
    }

    #[tokio::test]
    async fn what_was_begun_ends_and_is_remembered_when_the_client_breaks_off() {
        let repeats = Repeats::default();
        let Ok(Begun::First(first)) = begin(&repeats, "a", "k", "x") else { panic!("it is new") };
        let (go, gone) = tokio::sync::oneshot::channel::<()>();
        let mut waiting = Box::pin(first.finish(async {
            let _ = gone.await;
            Ok("{}".to_owned())
        }));
        assert!(futures::poll!(&mut waiting).is_pending());
        drop(waiting);
        assert!(matches!(begin(&repeats, "a", "k", "x"), Err(StatusCode::CONFLICT)), "it goes on");
        go.send(()).unwrap();
        let answer = loop {
            match begin(&repeats, "a", "k", "x") {
                Ok(Begun::Again(answer)) => break answer,
                Err(StatusCode::CONFLICT) => tokio::task::yield_now().await,
                _ => panic!("it is done once"),
            }
        };
        assert_eq!(answer.0, "{}");
    }
}

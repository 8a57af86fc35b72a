//! Requests that are made again because their answer was lost: with the same `Idempotency-Key`, what was done is not done twice, and
//! the answer is the one from before. So many are remembered for an hour, in memory.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use lru::LruCache;
use prost::Message;
use prost_reflect::{DynamicMessage, MethodDescriptor};

use super::problem::{Problem, invalid};
use crate::calls::access::Who;

/// Answers that are remembered, with those that are being made: the oldest go first.
const MAX_KEPT: NonZeroUsize = NonZeroUsize::new(1000).expect("it is not zero");
/// Bytes of an answer that is remembered, so all of them are 16 MiB at most: a larger one is told as done.
const MAX_ANSWER_BYTES: usize = 16 << 10;
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

type Table = Arc<Mutex<LruCache<(String, String), Kept>>>;

/// What is remembered.
#[derive(Debug)]
pub(super) struct Repeats(Table);

impl Default for Repeats {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(LruCache::new(MAX_KEPT))))
    }
}

fn lock(table: &Table) -> MutexGuard<'_, LruCache<(String, String), Kept>> {
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
    key: (String, String),
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
    /// Begins a request with a key, which is its caller's own.
    ///
    /// # Errors
    /// When the key is none, is of another request, or that one is still being done.
    pub fn begin(
        &self,
        who: &Who,
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
        let (hash, key) = (hasher.finalize(), (who.to_string(), text.to_owned()));
        let mut table = lock(&self.0);
        if let Some(kept) = table.get(&key).filter(|kept| kept.since.elapsed() < KEPT_FOR) {
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
        table.put(key.clone(), Kept { hash, since: Instant::now(), answer: None });
        Ok(Begun::First(Repeat { table: self.0.clone(), key, is_done: false }))
    }
}

impl Repeat {
    /// Keeps the answer of what was done.
    pub fn keep(mut self, body: &str) {
        self.is_done = true;
        if let Some(kept) = lock(&self.table).get_mut(&self.key) {
            kept.answer = Some(if body.len() > MAX_ANSWER_BYTES { "{}".to_owned() } else { body.to_owned() });
        }
    }
}

impl Drop for Repeat {
    fn drop(&mut self) {
        if !self.is_done {
            lock(&self.table).pop(&self.key);
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
        repeats.begin(&Who::Token(who.into()), &key, &call, &message).map_err(|problem| problem.status())
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
        for n in 0..=MAX_KEPT.get() {
            let Ok(Begun::First(first)) = begin(&repeats, "a", &n.to_string(), "x") else {
                panic!("it is new")
            };
            first.keep(&"x".repeat(MAX_ANSWER_BYTES + 1));
        }
        let table = lock(&repeats.0);
        assert_eq!(table.len(), MAX_KEPT.get());
        assert!(table.iter().all(|(_, kept)| kept.answer.as_deref() == Some("{}")));
    }
}

//! What holds for each call before it reaches its service: that it is counted and recorded, how long it may take, and how its answer may be written.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::FutureExt;
use tonic::body::Body;
use tonic::codegen::http::{HeaderMap, Request, Response};
use tonic::service::Routes;
use tower::Service;

use super::answer::follow;
use super::counted::Counting;
use super::status::status_of;
use crate::calls::{CallError, Calls};
use crate::metrics::{Doors, method_of, methods};
use crate::traces::Traces;

/// The longest that a call may take before its first answer, whatever deadline the client sets.
const MAX_CALL: Duration = Duration::from_secs(300);
/// tonic keeps the client's deadline, too, and answers CANCELLED where gRPC says DEADLINE_EXCEEDED. We are this much
/// earlier, one tick of the timer, so that it never comes to that.
const LEAD: Duration = Duration::from_millis(1);

/// Services behind their entrance.
#[derive(Clone)]
pub(super) struct Entrance {
    services: Routes,
    doors: Doors,
    traces: Traces,
}

impl Entrance {
    pub(super) fn new(services: Routes, calls: &Calls) -> Self {
        let (doors, traces) = (calls.metrics().doors.clone(), calls.traces().clone());
        doors.expect(methods());
        Self { services: services.prepare(), doors, traces }
    }
}

impl Service<Request<Body>> for Entrance {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Service::<Request<Body>>::poll_ready(&mut self.services, cx)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let path = request.uri().path();
        let mut counting = Counting::begin(self.doors.clone(), path);
        let header = |name: &'static str| request.headers().get(name)?.to_str().ok().map(str::to_owned);
        let mut span = self.traces.call(method_of(path), header);
        keep_plain(request.headers_mut());
        let time =
            time_given(request.headers()).map_or(MAX_CALL, |time| time.saturating_sub(LEAD).min(MAX_CALL));
        let answer = span.around(self.services.call(request));
        Box::pin(async move {
            // A timer for no time at all would fire at the next tick, and tonic's with it.
            let answer = match time {
                Duration::ZERO => answer.now_or_never(),
                time => tokio::time::timeout(time, answer).await.ok(),
            };
            let answer = answer.unwrap_or_else(|| Ok(status_of(CallError::DeadlinePassed).into_http()));
            answer.map(|answer| {
                let on_end = move |code| {
                    counting.end(code);
                    span.end(code as i32);
                };
                follow(answer, on_end)
            })
        })
    }
}

/// Lets answers be compressed for those alone who compress what they ask: gRPC for C++, Python and Go says in every call that it
/// could read compressed answers, also on a socket, where they are no gain.
fn keep_plain(headers: &mut HeaderMap) {
    let compresses = headers.get("grpc-encoding").is_some_and(|encoding| encoding != "identity");
    if !compresses {
        headers.remove("grpc-accept-encoding");
    }
}

/// The time that the client gives a call: at most eight digits and a unit. What is none sets no limit.
fn time_given(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = value.split_at_checked(value.len().checked_sub(1)?)?;
    let is_number = (1..=8).contains(&digits.len()) && digits.bytes().all(|digit| digit.is_ascii_digit());
    let count = is_number.then(|| digits.parse().ok()).flatten()?;
    match unit {
        "H" => Some(Duration::from_secs(count * 3600)),
        "M" => Some(Duration::from_secs(count * 60)),
        "S" => Some(Duration::from_secs(count)),
        "m" => Some(Duration::from_millis(count)),
        "u" => Some(Duration::from_micros(count)),
        "n" => Some(Duration::from_nanos(count)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_a_call_is_read_as_the_protocol_writes_it() {
        let time = |value: &str| {
            time_given(&HeaderMap::from_iter([("grpc-timeout".parse().unwrap(), value.parse().unwrap())]))
        };
        for (value, time_) in [
            ("2H", Duration::from_secs(7200)),
            ("99999999S", Duration::from_secs(99_999_999)),
            ("3M", Duration::from_secs(180)),
            ("250m", Duration::from_millis(250)),
            ("7u", Duration::from_micros(7)),
            ("0n", Duration::ZERO),
        ] {
            assert_eq!(time(value), Some(time_), "{value}");
        }
        for wrong in ["", "S", "1", "1s", "-1S", "+1S", "1.5S", "123456789S", "1\u{e9}"] {
            assert_eq!(time(wrong), None, "{wrong:?}");
        }
        assert_eq!(time_given(&HeaderMap::new()), None);
    }

    #[test]
    fn only_who_compresses_is_answered_compressed() {
        let accepted = |encoding: Option<&str>| {
            let mut headers = HeaderMap::new();
            headers.insert("grpc-accept-encoding", "identity, deflate, gzip".parse().unwrap());
            if let Some(encoding) = encoding {
                headers.insert("grpc-encoding", encoding.parse().unwrap());
            }
            keep_plain(&mut headers);
            headers.contains_key("grpc-accept-encoding")
        };
        assert!(accepted(Some("gzip")) && accepted(Some("zstd")));
        assert!(!accepted(None) && !accepted(Some("identity")));
    }
}

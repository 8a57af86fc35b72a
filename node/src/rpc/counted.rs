//! Counts each call once, when it has ended: by its method, by the code of gRPC that it ended with, and by its time. An answer ends
//! with its last frame, which has the code; whoever hangs up before that has cancelled it.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use http_body::{Body as _, Frame, SizeHint};
use tonic::body::Body;
use tonic::codegen::Bytes;
use tonic::codegen::http::{HeaderMap, Response};
use tonic::{Code, Status};

use super::methods::method_of;
use crate::metrics::Doors;

/// Where gRPC says how a call ended.
const STATUS: &str = "grpc-status";

/// A call that is to be counted. It is counted when it has ended, at the latest when this is dropped.
pub(super) struct Counting {
    doors: Doors,
    method: &'static str,
    start: Instant,
    is_counted: bool,
}

impl Counting {
    /// A call that begins now.
    pub fn begin(doors: Doors, path: &str) -> Self {
        Self { doors, method: method_of(path), start: Instant::now(), is_counted: false }
    }

    /// Counts the call when all of this answer has gone out.
    pub fn follow(mut self, answer: Response<Body>) -> Response<Body> {
        // An answer that has no body has its code in front.
        if let Some(code) = code_in(answer.headers()) {
            self.end(code);
            return answer;
        }
        if answer.body().is_end_stream() {
            // Nothing comes that could say it.
            self.end(Code::Unknown);
            return answer;
        }
        answer.map(|inner| Body::new(Followed { inner, counting: self }))
    }

    fn end(&mut self, code: Code) {
        if !std::mem::replace(&mut self.is_counted, true) {
            self.doors.called(self.method, name_of(code), self.start.elapsed());
        }
    }
}

impl Drop for Counting {
    fn drop(&mut self) {
        self.end(Code::Cancelled);
    }
}

/// The body of an answer, which tells how it ends.
struct Followed {
    inner: Body,
    counting: Counting,
}

impl http_body::Body for Followed {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(cx));
        match &frame {
            Some(Ok(frame)) => {
                if let Some(code) = frame.trailers_ref().and_then(code_in) {
                    self.counting.end(code);
                }
            }
            Some(Err(status)) => self.counting.end(status.code()),
            // Without a word about it.
            None => self.counting.end(Code::Unknown),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

fn code_in(headers: &HeaderMap) -> Option<Code> {
    headers.get(STATUS).map(|code| Code::from_bytes(code.as_bytes()))
}

/// The code as a metric label: the name that gRPC has for it.
fn name_of(code: Code) -> &'static str {
    match code {
        Code::Ok => "ok",
        Code::Cancelled => "cancelled",
        Code::Unknown => "unknown",
        Code::InvalidArgument => "invalid_argument",
        Code::DeadlineExceeded => "deadline_exceeded",
        Code::NotFound => "not_found",
        Code::AlreadyExists => "already_exists",
        Code::PermissionDenied => "permission_denied",
        Code::ResourceExhausted => "resource_exhausted",
        Code::FailedPrecondition => "failed_precondition",
        Code::Aborted => "aborted",
        Code::OutOfRange => "out_of_range",
        Code::Unimplemented => "unimplemented",
        Code::Internal => "internal",
        Code::Unavailable => "unavailable",
        Code::DataLoss => "data_loss",
        Code::Unauthenticated => "unauthenticated",
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode;
    use prometheus_client::registry::Registry;

    use super::*;
    use crate::metrics::Metrics;

    /// The samples of calls whose count is not 0.
    fn counted(registry: &Registry) -> Vec<String> {
        let mut page = String::new();
        encode(&mut page, registry).unwrap();
        let counts = page.lines().filter_map(|line| line.strip_prefix("syn_api_calls_total"));
        counts.filter(|count| !count.ends_with(" 0")).map(str::to_owned).collect()
    }

    fn metrics() -> (Registry, Doors) {
        let mut registry = Registry::default();
        let doors = Metrics::register(&mut registry).doors;
        (registry, doors)
    }

    #[test]
    fn who_hangs_up_has_cancelled_the_call() {
        let (registry, doors) = metrics();
        drop(Counting::begin(doors.clone(), "/synapsenet.v1.NodeService/Put"));
        let body = Body::new(Frames([Ok(Frame::data(Bytes::from_static(b"x")))].into()));
        let answer = Counting::begin(doors, "/synapsenet.v1.NodeService/Put").follow(Response::new(body));
        assert_eq!(counted(&registry), ["{method=\"NodeService/Put\",code=\"cancelled\"} 1"]);
        drop(answer);
        assert_eq!(counted(&registry), ["{method=\"NodeService/Put\",code=\"cancelled\"} 2"]);
    }

    #[test]
    fn an_answer_without_a_body_is_counted_at_once_and_only_once() {
        let (registry, doors) = metrics();
        let refused = Status::unauthenticated("no").into_http();
        drop(Counting::begin(doors.clone(), "/synapsenet.v1.NodeService/Put").follow(refused));
        let silent = Response::new(Body::empty());
        drop(Counting::begin(doors.clone(), "/a/c").follow(silent));
        let strange = Response::builder().header(STATUS, "seventeen or so").body(Body::empty()).unwrap();
        drop(Counting::begin(doors, "/a/b").follow(strange));
        let mut counts = counted(&registry);
        counts.sort();
        assert_eq!(
            counts,
            [
                "{method=\"NodeService/Put\",code=\"unauthenticated\"} 1",
                "{method=\"unknown\",code=\"unknown\"} 2"
            ]
        );
    }

    #[tokio::test]
    async fn a_body_is_counted_with_the_code_behind_it() {
        let (registry, doors) = metrics();
        let mut trailers = HeaderMap::new();
        trailers.insert(STATUS, "5".parse().unwrap());
        let frames = [Ok::<_, Status>(Frame::data(Bytes::from_static(b"x"))), Ok(Frame::trailers(trailers))];
        let body = Body::new(Frames(frames.into_iter().collect()));
        let answer = Counting::begin(doors, "/synapsenet.v1.NodeService/Get").follow(Response::new(body));
        let mut body = answer.into_body();
        let mut next = async || std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await;
        assert!(next().await.unwrap().unwrap().is_data());
        assert!(counted(&registry).is_empty(), "it is still going out");
        assert!(next().await.unwrap().unwrap().is_trailers());
        assert_eq!(counted(&registry), ["{method=\"NodeService/Get\",code=\"not_found\"} 1"]);
        assert!(next().await.is_none());
        drop(body);
        assert_eq!(counted(&registry).len(), 1);
    }

    /// A body of these frames.
    struct Frames(std::collections::VecDeque<Result<Frame<Bytes>, Status>>);

    impl http_body::Body for Frames {
        type Data = Bytes;
        type Error = Status;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
            Poll::Ready(self.0.pop_front())
        }
    }
}

//! The one wrapper around an answer: it tells how the answer ends, and ends it before that when its reader may read no more.
//!
//! An answer ends with the code of gRPC in its last frame, or in its head where it has no body; whoever hangs up before that has
//! cancelled it, and nobody is told: what waits to be told is dropped.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http_body::{Body as _, Frame, SizeHint};
use tonic::body::Body;
use tonic::codegen::Bytes;
use tonic::codegen::http::{HeaderMap, Response};
use tonic::{Code, Status};

use super::status::status_of;
use crate::calls::CallError;

/// Where gRPC says how a call ended.
const STATUS: &str = "grpc-status";

/// Why an answer ends before its time.
pub(super) type Ended = Pin<Box<dyn Future<Output = CallError> + Send>>;

/// Who is told how an answer ended.
type OnEnd = Box<dyn FnOnce(Code) + Send>;

/// Has `on_end` told how an answer ends, once all of it has gone out.
pub(super) fn follow(answer: Response<Body>, on_end: impl FnOnce(Code) + Send + 'static) -> Response<Body> {
    follow_until(answer, None, on_end)
}

/// As [`follow`]; the answer ends, and with it what the service still does, when `ended` does.
pub(super) fn follow_until(
    answer: Response<Body>,
    ended: Option<Ended>,
    on_end: impl FnOnce(Code) + Send + 'static,
) -> Response<Body> {
    // Where it is an error, its head has the code, and nothing follows.
    if let Some(code) = code_in(answer.headers()) {
        on_end(code);
        return answer;
    }
    if answer.body().is_end_stream() {
        // Nothing comes that could say it.
        on_end(Code::Unknown);
        return answer;
    }
    answer.map(|body| Body::new(Followed { body, ended, is_over: false, on_end: Some(Box::new(on_end)) }))
}

fn code_in(headers: &HeaderMap) -> Option<Code> {
    headers.get(STATUS).map(|code| Code::from_bytes(code.as_bytes()))
}

/// What ends an answer that has begun: its status.
fn trailers(status: &Status) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    if let Err(status) = status.add_header(&mut trailers) {
        tracing::debug!(%status, "a status has no form");
    }
    trailers
}

/// The body of an answer that is followed.
struct Followed {
    body: Body,
    ended: Option<Ended>,
    /// Whether it ended before its time.
    is_over: bool,
    /// None once it was told.
    on_end: Option<OnEnd>,
}

impl Followed {
    fn end(&mut self, code: Code) {
        if let Some(on_end) = self.on_end.take() {
            on_end(code);
        }
    }
}

impl http_body::Body for Followed {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if self.is_over {
            return Poll::Ready(None);
        }
        if let Some(Poll::Ready(error)) = self.ended.as_mut().map(|ended| ended.as_mut().poll(cx)) {
            // With it goes what the service still does.
            (self.body, self.ended, self.is_over) = (Body::empty(), None, true);
            let status = status_of(error);
            self.end(status.code());
            return Poll::Ready(Some(Ok(Frame::trailers(trailers(&status)))));
        }
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        match &frame {
            Some(Ok(frame)) => {
                if let Some(code) = frame.trailers_ref().and_then(code_in) {
                    self.end(code);
                }
            }
            Some(Err(status)) => self.end(status.code()),
            // Without a word about it.
            None => self.end(Code::Unknown),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.is_over || self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        // One that may end before its time has no size.
        if self.ended.is_some() { SizeHint::default() } else { self.body.size_hint() }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::VecDeque;
    use std::sync::mpsc;

    use super::*;

    /// A body of these frames.
    pub(in crate::rpc) struct Frames(pub VecDeque<Result<Frame<Bytes>, Status>>);

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

    fn answer(frames: impl IntoIterator<Item = Result<Frame<Bytes>, Status>>) -> Response<Body> {
        Response::new(Body::new(Frames(frames.into_iter().collect())))
    }

    fn data() -> Result<Frame<Bytes>, Status> {
        Ok(Frame::data(Bytes::from_static(b"x")))
    }

    async fn next(body: &mut Body) -> Option<Result<Frame<Bytes>, Status>> {
        std::future::poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await
    }

    fn followed(answer: Response<Body>, ended: Option<Ended>) -> (Body, mpsc::Receiver<Code>) {
        let (told, codes) = mpsc::sync_channel(1);
        let followed = follow_until(answer, ended, move |code| told.send(code).unwrap());
        (followed.into_body(), codes)
    }

    #[tokio::test]
    async fn an_answer_tells_its_code_when_all_of_it_has_gone_out() {
        let not_found = trailers(&Status::not_found("no"));
        let (mut body, codes) = followed(answer([data(), Ok(Frame::trailers(not_found))]), None);
        assert!(next(&mut body).await.unwrap().unwrap().is_data());
        assert!(codes.try_recv().is_err(), "it is still going out");
        assert!(next(&mut body).await.unwrap().unwrap().is_trailers());
        assert_eq!(codes.try_recv(), Ok(Code::NotFound));
        assert!(next(&mut body).await.is_none());
        drop(body);
        assert!(codes.recv().is_err(), "it is told once");

        let (mut body, codes) = followed(answer([Err(Status::data_loss("broken"))]), None);
        assert!(next(&mut body).await.unwrap().is_err());
        assert_eq!(codes.try_recv(), Ok(Code::DataLoss));
        let (mut body, codes) = followed(answer([data()]), None);
        while next(&mut body).await.is_some() {}
        assert_eq!(codes.try_recv(), Ok(Code::Unknown), "nobody said it");
    }

    #[test]
    fn one_without_a_body_tells_it_at_once_and_one_that_is_dropped_never() {
        assert_eq!(followed(Status::aborted("no").into_http(), None).1.try_recv(), Ok(Code::Aborted));
        assert_eq!(followed(Response::new(Body::empty()), None).1.try_recv(), Ok(Code::Unknown));
        let (body, codes) = followed(answer([data()]), None);
        drop(body);
        assert!(codes.recv().is_err());
    }

    #[tokio::test]
    async fn one_whose_reader_may_read_no_more_ends_with_the_reason() {
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let ended: Ended = Box::pin(async {
            let _ = stopped.await;
            CallError::TokenRevoked
        });
        let (mut body, codes) = followed(answer([data(), data()]), Some(ended));
        assert!(next(&mut body).await.unwrap().unwrap().is_data());
        drop(stop);
        let last = next(&mut body).await.unwrap().unwrap();
        assert_eq!(last.trailers_ref().and_then(code_in), Some(Code::Unauthenticated));
        assert_eq!(codes.try_recv(), Ok(Code::Unauthenticated));
        assert!(body.is_end_stream() && next(&mut body).await.is_none());
    }
}

//! Who is let in at a service, and for how long: a call is told who makes it, and ends when the token ends that it was begun with.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http_body::Frame;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::body::Body;
use tonic::codegen::Bytes;
use tonic::codegen::http::header::AUTHORIZATION;
use tonic::codegen::http::{HeaderMap, Request, Response};
use tonic::server::NamedService;
use tonic::transport::server::TlsConnectInfo;
use tonic::{Code, Status};
use tower::Service;

use super::status::status_of;
use crate::calls::CallError;
use crate::calls::access::audit::{Audit, Record};
use crate::calls::access::{Caller, Keys, recorded};
use crate::connections::{Guest, Right};

/// What the names of calls begin with in a path; what does not is of others, as reflection is, and for everybody who is let in.
const OURS: &str = "/synapsenet.v1.";
/// Watches of health that are open at the same time, as nobody needs a token for them: enough for whoever balances a load.
const MAX_HEALTH_WATCHES: usize = 64;

/// Who sits at the other end of a unix socket.
#[derive(Debug, Clone)]
pub(super) struct Neighbour {
    /// Its seat.
    pub guest: Guest,
    /// Its user, as the system says.
    pub uid: Option<u32>,
}

/// By which way somebody comes.
#[derive(Debug, Clone)]
pub(super) enum Way {
    /// The unix socket: whoever can open it may do everything.
    Socket,
    /// TCP: by a token.
    Tcp(Keys),
}

impl Way {
    /// Who makes this request.
    ///
    /// # Errors
    /// When nobody does who is known.
    fn caller(&self, request: &Request<Body>) -> Result<Caller, CallError> {
        let extensions = request.extensions();
        match self {
            Self::Socket => {
                let neighbour = extensions.get::<Neighbour>();
                if let Some(neighbour) = neighbour {
                    neighbour.guest.is_known(Right::Lasting);
                }
                Ok(Caller::on_socket(neighbour.and_then(|neighbour| neighbour.uid)))
            }
            Self::Tcp(keys) => {
                let caller = keys.check(authorization(request.headers())?)?;
                let behind_tls = extensions.get::<TlsConnectInfo<Guest>>().map(TlsConnectInfo::get_ref);
                if let Some(guest) = extensions.get::<Guest>().or(behind_tls) {
                    guest.is_known(caller.right());
                }
                Ok(caller)
            }
        }
    }
}

/// The one authorization in a request. Of two, a proxy might have looked at the other.
fn authorization(headers: &HeaderMap) -> Result<Option<&str>, CallError> {
    let mut all = headers.get_all(AUTHORIZATION).iter();
    match (all.next(), all.next()) {
        (None, _) => Ok(None),
        (Some(one), None) => Ok(Some(one.to_str().map_err(|_| CallError::UnknownToken)?)),
        (Some(_), Some(_)) => Err(CallError::UnknownToken),
    }
}

/// A service behind its guard. Who has a right keeps the seat of its connection.
#[derive(Debug, Clone)]
pub(super) struct Guarded<S> {
    service: S,
    way: Way,
    /// Who records what is changed.
    audit: Option<Audit>,
}

impl<S> Guarded<S> {
    pub(super) fn new(service: S, way: Way, audit: Option<Audit>) -> Self {
        Self { service, way, audit }
    }

    /// Who makes this request, if it may, and the record of it, if there is one: of those who are known, also when they may not.
    fn let_in(&self, request: &Request<Body>) -> Result<(Caller, Option<Record>), CallError> {
        let caller = self.way.caller(request)?;
        let Some(method) = request.uri().path().strip_prefix(OURS) else { return Ok((caller, None)) };
        let record = self.audit.as_ref().zip(recorded(method));
        let record = record.map(|(audit, call)| audit.begin(caller.who().clone(), call));
        match (caller.check(method), record) {
            (Ok(()), None) => Ok((caller, None)),
            (Ok(()), Some(record)) => Ok((caller.recorded(&record), Some(record))),
            (Err(error), record) => {
                if let Some(record) = record {
                    record.end(outcome(Code::PermissionDenied));
                }
                Err(error)
            }
        }
    }
}

impl<S: NamedService> NamedService for Guarded<S> {
    const NAME: &'static str = S::NAME;
}

type Answer = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

impl<S> Service<Request<Body>> for Guarded<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Answer;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.service.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<Body>) -> Answer {
        let (caller, record) = match self.let_in(&request) {
            Ok(let_in) => let_in,
            Err(error) => return Box::pin(std::future::ready(Ok(status_of(error).into_http()))),
        };
        let ended = caller.can_end().then(|| Box::pin(caller.ended()) as Ended);
        let is_plain = ended.is_none() && record.is_none();
        request.extensions_mut().insert(caller);
        let answer = self.service.call(request);
        if is_plain {
            return Box::pin(answer);
        }
        Box::pin(async move {
            let mut ended = ended.unwrap_or_else(|| Box::pin(std::future::pending()));
            let answer = tokio::select! {
                biased;
                error = &mut ended => status_of(error).into_http(),
                answer = answer => answer?,
            };
            // Where it is an error, its head has the status and nothing follows.
            let record = match (record, answer.headers().get(GRPC_STATUS)) {
                (Some(record), Some(status)) => {
                    record.end(outcome(Code::from_bytes(status.as_bytes())));
                    None
                }
                (record, _) => record,
            };
            Ok(answer.map(|body| Body::new(Watched { body, ended: Some(ended), record })))
        })
    }
}

type Ended = Pin<Box<dyn Future<Output = CallError> + Send>>;

/// An answer that ends when its reader may read no more.
struct Watched {
    body: Body,
    /// None once it has.
    ended: Option<Ended>,
    /// Ended with the status that the answer ends with.
    record: Option<Record>,
}

impl Watched {
    fn record(&mut self, trailers: &HeaderMap) {
        if let (Some(record), Some(status)) = (self.record.take(), trailers.get(GRPC_STATUS)) {
            record.end(outcome(Code::from_bytes(status.as_bytes())));
        }
    }
}

/// Where an answer says how it ended.
const GRPC_STATUS: &str = "grpc-status";

/// The name of a code as gRPC writes it.
fn outcome(code: Code) -> String {
    let mut name = String::new();
    for letter in format!("{code:?}").chars() {
        if letter.is_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.push(letter.to_ascii_uppercase());
    }
    name
}

impl http_body::Body for Watched {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let Some(ended) = &mut self.ended else { return Poll::Ready(None) };
        if let Poll::Ready(error) = ended.as_mut().poll(cx) {
            // With it goes what the service still does.
            (self.body, self.ended) = (Body::empty(), None);
            let trailers = trailers(&status_of(error));
            self.record(&trailers);
            return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
        }
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if let Some(Ok(frame)) = &frame
            && let Some(trailers) = frame.trailers_ref()
        {
            self.record(trailers);
        }
        if frame.is_none() {
            self.ended = None;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.ended.is_none() || self.body.is_end_stream()
    }
}

/// What ends an answer that has begun: its status.
fn trailers(status: &Status) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    if let Err(status) = status.add_header(&mut trailers) {
        tracing::debug!(%status, "a status has no form");
    }
    trailers
}

/// Health, for everybody. Looking at it costs nothing; watching it, which lasts, has so many places.
#[derive(Debug, Clone)]
pub(super) struct Open<S> {
    service: S,
    places: Arc<Semaphore>,
}

impl<S> Open<S> {
    pub(super) fn new(service: S) -> Self {
        Self { service, places: Arc::new(Semaphore::new(MAX_HEALTH_WATCHES)) }
    }
}

impl<S: NamedService> NamedService for Open<S> {
    const NAME: &'static str = S::NAME;
}

impl<S> Service<Request<Body>> for Open<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Answer;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.service.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Answer {
        if !request.uri().path().ends_with("/Watch") {
            return Box::pin(self.service.call(request));
        }
        let Ok(place) = self.places.clone().try_acquire_owned() else {
            let refused =
                Status::new(Code::ResourceExhausted, "health is watched by as many as may: use Check");
            return Box::pin(std::future::ready(Ok(refused.into_http())));
        };
        let answer = self.service.call(request);
        Box::pin(async move { Ok(answer.await?.map(|body| Body::new(Held { body, _place: place }))) })
    }
}

/// An answer with its place.
struct Held {
    body: Body,
    _place: OwnedSemaphorePermit,
}

impl http_body::Body for Held {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outcome_is_named_as_everybody_names_it() {
        assert_eq!(outcome(Code::Ok), "OK");
        assert_eq!(outcome(Code::PermissionDenied), "PERMISSION_DENIED");
    }

    #[test]
    fn of_two_authorizations_none_is_believed() {
        let mut headers = HeaderMap::new();
        assert_eq!(authorization(&headers).unwrap(), None);
        headers.append(AUTHORIZATION, "Bearer a".parse().unwrap());
        assert_eq!(authorization(&headers).unwrap(), Some("Bearer a"));
        headers.append(AUTHORIZATION, "Bearer b".parse().unwrap());
        assert!(authorization(&headers).is_err());
        headers.insert(AUTHORIZATION, b"Bearer \xff"[..].try_into().unwrap());
        assert!(authorization(&headers).is_err(), "what is no text is no token");
    }
}

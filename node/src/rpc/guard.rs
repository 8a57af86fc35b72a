//! Who is let in at a service, and for how long: a call is told who makes it, and ends when the token ends that it was begun with.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::sync::Semaphore;
use tonic::body::Body;
use tonic::codegen::http::header::AUTHORIZATION;
use tonic::codegen::http::{HeaderMap, Request, Response};
use tonic::server::NamedService;
use tonic::transport::server::TlsConnectInfo;
use tonic::{Code, Status};
use tower::Service;

use super::answer::{Ended, follow, follow_until};
use super::status::status_of;
use crate::calls::CallError;
use crate::calls::access::audit::{Audit, Record};
use crate::calls::access::{Caller, Keys, recorded};
use crate::connections::{Guest, Right};
use crate::metrics::name_of;

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
            let on_end = move |code| {
                if let Some(record) = record {
                    record.end(outcome(code));
                }
            };
            Ok(follow_until(answer, Some(ended), on_end))
        })
    }
}

/// The name of a code as gRPC writes it.
fn outcome(code: Code) -> String {
    name_of(code).to_ascii_uppercase()
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
        Box::pin(async move { Ok(follow(answer.await?, move |_| drop(place))) })
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

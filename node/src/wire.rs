//! A way to the services of a node, whatever lies between: a connection, or nothing where they are in this process. Doors that speak
//! another protocol than gRPC take it, so that what holds for a call is decided in one place.

use std::error::Error;

use tonic::body::Body;
use tonic::codegen::Bytes;
use tonic::codegen::http::header::AUTHORIZATION;
use tonic::codegen::http::{Extensions, HeaderMap, Request, Response};
use tower::util::BoxCloneSyncService;
use tower::{Service, ServiceExt};

use crate::connections::Guest;

/// Why nothing came back. It has a name, so that compilers see through what holds it.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Fault(#[source] Box<dyn Error + Send + Sync>);

/// The services at the other end.
pub(crate) type Wire = BoxCloneSyncService<Request<Body>, Response<Body>, Fault>;

/// A way to services of any kind.
pub(crate) fn wire<S, B>(services: S) -> Wire
where
    S: Service<Request<Body>, Response = Response<B>> + Clone + Send + Sync + 'static,
    S::Future: Send,
    S::Error: Into<Box<dyn Error + Send + Sync>>,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let services = services.map_response(|answer| answer.map(Body::new));
    BoxCloneSyncService::new(services.map_err(|error| Fault(error.into())))
}

/// The same for somebody who came in by another door: with what authorizes it there, and with its seat, if it has one.
pub(crate) fn on_behalf_of(wire: Wire, head: &HeaderMap, extensions: &Extensions) -> Wire {
    let (authorization, guest) = (head.get(AUTHORIZATION).cloned(), extensions.get::<Guest>().cloned());
    BoxCloneSyncService::new(wire.map_request(move |mut request: Request<Body>| {
        if let Some(authorization) = &authorization {
            request.headers_mut().insert(AUTHORIZATION, authorization.clone());
        }
        if let Some(guest) = &guest {
            request.extensions_mut().insert(guest.clone());
        }
        request
    }))
}

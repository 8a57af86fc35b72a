//! The pages for those who watch over a node: `/metrics`, `/healthz` (the process answers) and `/readyz` (it can be used). Beside them
//! the doors for programs that speak HTTP, with tokens, for those on this machine alone.

mod accept;
mod hosts;
mod json;
mod origins;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use axum::extract::connect_info::{ConnectInfo, Connected};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::serve::{IncomingStream, Listener};
use prometheus_client::registry::Registry;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use crate::calls::access::{Caller, Keys};
use crate::calls::gauges::Gauges;
use crate::calls::{CallError, Calls};
use crate::config::MetricsConfig;
use crate::connections::{Guest, Seated, Seats, seats_for};
use crate::metrics::text_format::from_open_metrics;
use crate::wire::Wire;
use accept::Format;
use hosts::Hosts;
use json::Problem;
use origins::{Origins, Page};

/// The content type of everything but metrics.
const PLAIN: &str = "text/plain; charset=utf-8";
/// The part of the descriptors that the pages may take: whoever reads them needs one connection for a moment.
const SEATS_SHARE: u64 = 16;
/// How long open answers may go on when the node stops.
const MAX_GOODBYE: Duration = Duration::from_secs(5);
/// What is said to whoever asks for a page under another name.
const NOT_HERE: &str = "This page is not served under the name in the Host header of the request. It is under localhost and its own \
                        address; metrics.hosts names others.\n";
/// What is said to a page in a browser that asks for more than pages.
const NOT_FOR_BROWSERS: &str = "This is for programs, and the request comes from a page in a browser: it has an Origin header that metrics.cors_origins does not \
     name.\n";
/// What is said to another machine that asks for more than pages.
const NOT_FROM_THERE: &str = "This is for programs on the node's machine: a token would be readable on its way. From elsewhere, use \
                              gRPC with TLS (api.tls), or a proxy with TLS on this machine.\n";

struct Pages {
    registry: Registry,
    gauges: Gauges,
    calls: Calls,
    hosts: Hosts,
    origins: Origins,
}

/// The pages, bound to their address.
pub(crate) struct MetricsServer {
    listener: TcpListener,
    address: SocketAddr,
    hosts: Hosts,
    origins: Origins,
}

impl MetricsServer {
    /// Binds the address that is configured; port 0 takes a free one.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub async fn bind(config: &MetricsConfig) -> anyhow::Result<Self> {
        let listen = &config.listen;
        let listener = TcpListener::bind(listen).await.with_context(|| {
            format!("cannot listen on {listen} for metrics: choose another with --metrics-listen, or \"\" for none")
        })?;
        let address = listener.local_addr().context("a bound socket has an address")?;
        let hosts = Hosts { listening: address.ip(), names: config.hosts.clone() };
        Ok(Self { listener, address, hosts, origins: Origins::new(&config.cors_origins) })
    }

    /// The address that it is bound to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves what the registry has, tells of the node behind these calls, and lets programs in who speak JSON, or another
    /// protocol at one of `doors`, until `stop`.
    ///
    /// # Errors
    /// When the socket breaks.
    pub async fn run(
        self,
        registry: Registry,
        calls: Calls,
        wire: Wire,
        doors: Router,
        stop: CancellationToken,
    ) -> anyhow::Result<()> {
        let stopped = stop.clone().cancelled_owned();
        let door = calls.metrics().doors.of("metrics");
        let entrance = Entrance { listener: self.listener, seats: Seats::new(seats_for(SEATS_SHARE), door) };
        let (hosts, origins) = (self.hosts, self.origins);
        let pages = Arc::new(Pages { registry, gauges: Gauges::new(&calls), calls, hosts, origins });
        let router = Router::new()
            .route("/metrics", get(metrics))
            .route("/healthz", get(async || answer(StatusCode::OK, "ok\n".to_owned())))
            .route("/readyz", get(ready))
            .route_layer(from_fn_with_state(pages.clone(), only_under_its_names))
            .with_state(pages.clone())
            .merge(
                json::routes(wire, pages.calls.metrics().doors.clone())
                    .merge(doors)
                    .route_layer(from_fn_with_state(pages, only_for_programs_here)),
            );
        let router = router.into_make_service_with_connect_info::<Visitor>();
        let serving = axum::serve(entrance, router).with_graceful_shutdown(stopped);
        let overdue = async {
            stop.cancelled().await;
            tokio::time::sleep(MAX_GOODBYE).await;
        };
        tokio::select! {
            served = serving.into_future() => Ok(served?),
            () = overdue => Ok(()),
        }
    }
}

/// A listener with a bounded number of connections. None of them is known, so the oldest gives way.
struct Entrance {
    listener: TcpListener,
    seats: Seats,
}

impl Listener for Entrance {
    type Io = Seated<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, SocketAddr) {
        self.seats.next(&self.listener).await
    }

    fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// Who sits at the other end of a connection.
#[derive(Debug, Clone)]
struct Visitor {
    address: SocketAddr,
    guest: Guest,
}

impl Connected<IncomingStream<'_, Entrance>> for Visitor {
    fn connect_info(stream: IncomingStream<'_, Entrance>) -> Self {
        Self { address: *stream.remote_addr(), guest: stream.io().guest() }
    }
}

/// Lets in who is no page in a browser, or one that the owner named, and comes from this machine: what a stranger's page asks for could
/// be anything, and what goes to another machine can be read on its way.
async fn only_for_programs_here(
    State(pages): State<Arc<Pages>>,
    ConnectInfo(visitor): ConnectInfo<Visitor>,
    request: Request,
    next: Next,
) -> Response {
    if !pages.hosts.allow(request.headers()) {
        return answer(StatusCode::MISDIRECTED_REQUEST, NOT_HERE.to_owned());
    }
    let page = match pages.origins.page(request.headers()) {
        Page::None => None,
        Page::Named(origin) => Some(origin),
        Page::Stranger => return answer(StatusCode::FORBIDDEN, NOT_FOR_BROWSERS.to_owned()),
    };
    if !visitor.address.ip().to_canonical().is_loopback() {
        return answer(StatusCode::FORBIDDEN, NOT_FROM_THERE.to_owned());
    }
    let Some(origin) = page else { return only_with_a_token(&pages, visitor, request, next).await };
    if origins::is_preflight(request.method(), request.headers()) {
        return origins::preflight(origin, request.headers());
    }
    // A page reads why it is refused, too.
    let mut response = only_with_a_token(&pages, visitor, request, next).await;
    origins::let_read(origin, response.headers_mut());
    response
}

async fn only_with_a_token(pages: &Pages, visitor: Visitor, mut request: Request, next: Next) -> Response {
    let caller = match authorized(pages.calls.keys(), request.headers_mut()) {
        Ok(caller) => caller,
        Err(error) => {
            let reason = error.reason();
            let problem = Problem::new(StatusCode::UNAUTHORIZED, reason.name(), error.to_string());
            let (doors, verb, path) = (&pages.calls.metrics().doors, request.method(), request.uri().path());
            json::count(doors, verb, path, &problem, Duration::ZERO);
            return problem.with_hint(reason.hint()).into_response();
        }
    };
    request.extensions_mut().insert(visitor.guest);
    request.extensions_mut().insert(caller);
    next.run(request).await
}

/// Who makes a request, by its one authorization. Of two, a proxy might have looked at the other.
fn authorized(keys: &Keys, headers: &mut HeaderMap) -> Result<Caller, CallError> {
    if headers.get_all(header::AUTHORIZATION).iter().count() > 1 {
        return Err(CallError::UnknownToken);
    }
    let Some(value) = headers.get_mut(header::AUTHORIZATION) else { return keys.check(None) };
    value.set_sensitive(true);
    keys.check(Some(value.to_str().map_err(|_| CallError::UnknownToken)?))
}

async fn only_under_its_names(State(pages): State<Arc<Pages>>, request: Request, next: Next) -> Response {
    match pages.hosts.allow(request.headers()) {
        true => next.run(request).await,
        false => answer(StatusCode::MISDIRECTED_REQUEST, NOT_HERE.to_owned()),
    }
}

fn answer(status: StatusCode, text: String) -> Response {
    (status, [(header::CONTENT_TYPE, PLAIN)], text).into_response()
}

async fn metrics(State(pages): State<Arc<Pages>>, headers: HeaderMap) -> Response {
    pages.gauges.refresh().await;
    let mut page = String::new();
    if let Err(error) = prometheus_client::encoding::text::encode(&mut page, &pages.registry) {
        return answer(
            StatusCode::INTERNAL_SERVER_ERROR,
            format!("the metrics cannot be written: {error}\n"),
        );
    }
    let format = Format::wanted(&headers);
    if format == Format::Text {
        page = from_open_metrics(&page);
    }
    (StatusCode::OK, [(header::CONTENT_TYPE, format.content_type())], page).into_response()
}

async fn ready(State(pages): State<Arc<Pages>>) -> Response {
    let readiness = pages.calls.readiness().await;
    let (status, word) = match readiness.is_ready {
        true => (StatusCode::OK, "ready"),
        false => (StatusCode::SERVICE_UNAVAILABLE, "not ready"),
    };
    let lines = std::iter::once(word).chain(readiness.notes.iter().map(String::as_str));
    answer(status, lines.flat_map(|line| [line, "\n"]).collect())
}

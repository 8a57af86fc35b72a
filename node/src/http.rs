//! The pages for those who watch over a node: `/metrics`, `/healthz` (the process answers) and `/readyz` (it can be used).

mod accept;
mod hosts;

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context;
use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::serve::Listener;
use prometheus_client::registry::Registry;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use crate::calls::Calls;
use crate::calls::gauges::Gauges;
use crate::config::MetricsConfig;
use crate::connections::{Seated, Seats, seats_for};
use crate::metrics::text_format::from_open_metrics;
use accept::Format;
use hosts::Hosts;

/// The content type of everything but metrics.
const PLAIN: &str = "text/plain; charset=utf-8";
/// The part of the descriptors that the pages may take: whoever reads them needs one connection for a moment.
const SEATS_SHARE: u64 = 16;
/// What is said to whoever asks for a page under another name.
const NOT_HERE: &str = "This page is not served under the name in the Host header of the request. It is under localhost and its own \
                        address; metrics.hosts names others.\n";

struct Pages {
    registry: Registry,
    gauges: Gauges,
    calls: Calls,
    hosts: Hosts,
}

/// The pages, bound to their address.
pub(crate) struct MetricsServer {
    listener: TcpListener,
    address: SocketAddr,
    hosts: Hosts,
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
        Ok(Self { listener, address, hosts })
    }

    /// The address that it is bound to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves what the registry has, and tells of the node behind these calls, until `stop`.
    ///
    /// # Errors
    /// When the socket breaks.
    pub async fn run(self, registry: Registry, calls: Calls, stop: CancellationToken) -> anyhow::Result<()> {
        let stopped = async move { stop.cancelled().await };
        let door = calls.metrics().doors.of("metrics");
        let entrance = Entrance { listener: self.listener, seats: Seats::new(seats_for(SEATS_SHARE), door) };
        let pages = Arc::new(Pages { registry, gauges: Gauges::new(&calls), calls, hosts: self.hosts });
        let router = Router::new()
            .route("/metrics", get(metrics))
            .route("/healthz", get(async || answer(StatusCode::OK, "ok\n".to_owned())))
            .route("/readyz", get(ready))
            .route_layer(from_fn_with_state(pages.clone(), only_under_its_names))
            .with_state(pages);
        Ok(axum::serve(entrance, router).with_graceful_shutdown(stopped).await?)
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

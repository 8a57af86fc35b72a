//! The metrics page: `GET /metrics` in the OpenMetrics text format.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context;
use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use axum::serve::{Listener, ListenerExt};
use prometheus_client::registry::Registry;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use crate::calls::report::Gauges;

/// The content type of OpenMetrics 1.0.
const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

struct Page {
    registry: Registry,
    gauges: Gauges,
}

/// A bound metrics page.
pub(crate) struct MetricsServer {
    listener: TcpListener,
    address: SocketAddr,
    router: Router,
}

impl MetricsServer {
    /// Binds `address`; port 0 takes a free one.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub async fn bind(address: &str, registry: Registry, gauges: Gauges) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(address).await.with_context(|| {
            format!("cannot listen on {address} for metrics: choose another with --metrics-listen, or \"\" for none")
        })?;
        let address = listener.local_addr().context("a bound socket has an address")?;
        let page = Arc::new(Page { registry, gauges });
        let router = Router::new().route("/metrics", get(show)).with_state(page);
        Ok(Self { listener, address, router })
    }

    /// The address that it is bound to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `stop`.
    ///
    /// # Errors
    /// When the socket breaks.
    pub async fn run(self, stop: CancellationToken) -> anyhow::Result<()> {
        let stopped = async move { stop.cancelled().await };
        Ok(axum::serve(prompt(self.listener), self.router).with_graceful_shutdown(stopped).await?)
    }
}

/// A listener whose connections send each answer at once, however small it is.
fn prompt(listener: TcpListener) -> impl Listener<Io = TcpStream, Addr = SocketAddr> {
    listener.tap_io(|stream| {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "a connection to the metrics page sends its answers late");
        }
    })
}

async fn show(State(page): State<Arc<Page>>) -> impl IntoResponse {
    page.gauges.refresh();
    let mut text = String::new();
    match prometheus_client::encoding::text::encode(&mut text, &page.registry) {
        Ok(()) => (StatusCode::OK, [(header::CONTENT_TYPE, CONTENT_TYPE)], text),
        Err(error) => {
            let plain = "text/plain; charset=utf-8";
            (StatusCode::INTERNAL_SERVER_ERROR, [(header::CONTENT_TYPE, plain)], error.to_string())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_page_waits_for_nothing() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut listener = prompt(listener);
        let (client, (accepted, _)) = tokio::join!(TcpStream::connect(address), listener.accept());
        client.unwrap();
        assert!(accepted.nodelay().unwrap());
    }
}

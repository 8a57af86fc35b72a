//! The metrics page: `GET /metrics` in the OpenMetrics text format.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use anyhow::Context;
use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::serve::Listener;
use prometheus_client::registry::Registry;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use crate::calls::report::Gauges;
use crate::config::MetricsConfig;
use crate::connections::{Seated, Seats, seats_for};

/// The content type of OpenMetrics 1.0.
const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// And of everything else that is answered.
const PLAIN: &str = "text/plain; charset=utf-8";
/// The part of the descriptors that the page may take: whoever reads it needs one connection for a moment.
const SEATS_SHARE: u64 = 16;
/// What is said to whoever asks for the page under another name.
const NOT_HERE: &str = "This page is not served under the name in the Host header of the request. It is under localhost and its own \
                        address; metrics.hosts names others.\n";

struct Page {
    registry: Registry,
    gauges: Gauges,
    hosts: Hosts,
}

/// A bound metrics page.
pub(crate) struct MetricsServer {
    listener: TcpListener,
    address: SocketAddr,
    router: Router,
}

impl MetricsServer {
    /// Binds the address that is configured; port 0 takes a free one.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub async fn bind(config: &MetricsConfig, registry: Registry, gauges: Gauges) -> anyhow::Result<Self> {
        let listen = &config.listen;
        let listener = TcpListener::bind(listen).await.with_context(|| {
            format!("cannot listen on {listen} for metrics: choose another with --metrics-listen, or \"\" for none")
        })?;
        let address = listener.local_addr().context("a bound socket has an address")?;
        let hosts = Hosts { listening: address.ip(), names: config.hosts.clone() };
        let page = Arc::new(Page { registry, gauges, hosts });
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
        let entrance = Entrance { listener: self.listener, seats: Seats::new(seats_for(SEATS_SHARE)) };
        Ok(axum::serve(entrance, self.router).with_graceful_shutdown(stopped).await?)
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

/// Under which names the page is served.
///
/// A page of a stranger that is open in a browser here may let its own name mean 127.0.0.1 (DNS rebinding): then its scripts read
/// what answers there. The browser tells by which name it asks, and an address is no name.
struct Hosts {
    listening: IpAddr,
    names: Vec<String>,
}

impl Hosts {
    /// Whether a request may be answered, by its one Host header.
    fn allow(&self, headers: &HeaderMap) -> bool {
        let mut hosts = headers.get_all(header::HOST).iter();
        let (host, more) = (hosts.next().and_then(|host| host.to_str().ok()), hosts.next());
        more.is_none() && host.and_then(without_port).is_some_and(|host| self.know(host))
    }

    fn know(&self, host: &str) -> bool {
        if let Ok(address) = host.parse::<IpAddr>() {
            let (address, listening) = (address.to_canonical(), self.listening.to_canonical());
            // Bound to all addresses of the machine, it is under each of them.
            return address.is_loopback() || listening.is_unspecified() || address == listening;
        }
        let host = host.strip_suffix('.').unwrap_or(host);
        let names = self.names.iter().map(String::as_str);
        std::iter::once("localhost").chain(names).any(|name| name.eq_ignore_ascii_case(host))
    }
}

/// The name or address in a Host header (RFC 9110, section 7.2).
fn without_port(host: &str) -> Option<&str> {
    match host.strip_prefix('[') {
        Some(rest) => rest.split_once(']').map(|(address, _)| address),
        None => host.split(':').next(),
    }
}

async fn show(State(page): State<Arc<Page>>, headers: HeaderMap) -> Response {
    if !page.hosts.allow(&headers) {
        return (StatusCode::MISDIRECTED_REQUEST, [(header::CONTENT_TYPE, PLAIN)], NOT_HERE).into_response();
    }
    page.gauges.refresh();
    let mut text = String::new();
    match prometheus_client::encoding::text::encode(&mut text, &page.registry) {
        Ok(()) => (StatusCode::OK, [(header::CONTENT_TYPE, CONTENT_TYPE)], text).into_response(),
        Err(error) => {
            let plain = [(header::CONTENT_TYPE, PLAIN)];
            (StatusCode::INTERNAL_SERVER_ERROR, plain, error.to_string()).into_response()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allows(listening: &str, names: &[&str], hosts: &[&str]) -> bool {
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        let mut headers = HeaderMap::new();
        for host in hosts {
            headers.append(header::HOST, host.parse().unwrap());
        }
        Hosts { listening: listening.parse().unwrap(), names }.allow(&headers)
    }

    #[test]
    fn the_page_is_read_by_its_address_and_by_the_names_it_was_given() {
        for host in ["127.0.0.1:7718", "localhost", "LOCALHOST.:7718", "[::1]:7718", "127.1.2.3"] {
            assert!(allows("127.0.0.1", &[], &[host]), "{host}");
        }
        assert!(allows("192.0.2.1", &[], &["192.0.2.1:7718"]) && allows("::", &[], &["[2001:db8::1]:7718"]));
        assert!(allows("::ffff:192.0.2.1", &[], &["192.0.2.1"]));
        assert!(allows("0.0.0.0", &["node.example"], &["Node.Example:7718"]));
    }

    #[test]
    fn the_page_is_not_read_by_a_name_that_somebody_else_gave_it() {
        for host in
            ["evil.example:7718", "localhost.evil.example", "127.0.0.1.evil.example", "", "[::1", "192.0.2.7"]
        {
            assert!(!allows("127.0.0.1", &["node.example"], &[host]), "{host}");
        }
        assert!(!allows("0.0.0.0", &[], &["evil.example"]));
        assert!(!allows("127.0.0.1", &[], &[]), "whoever does not say it");
        assert!(!allows("127.0.0.1", &[], &["localhost", "evil.example"]), "or says two");
    }
}

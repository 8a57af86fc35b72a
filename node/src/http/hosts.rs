//! Under which names the pages are served.

use std::net::IpAddr;

use axum::http::{HeaderMap, header};

/// The names.
///
/// A page of a stranger that is open in a browser here may let its own name mean 127.0.0.1 (DNS rebinding): then its scripts read
/// what answers there. The browser tells by which name it asks, and an address is no name.
pub(super) struct Hosts {
    /// The address that is listened on.
    pub listening: IpAddr,
    /// What the owner named.
    pub names: Vec<String>,
}

impl Hosts {
    /// Whether a request may be answered, by its one Host header.
    pub fn allow(&self, headers: &HeaderMap) -> bool {
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

//! What an origin of a page in a browser looks like. Which are let in, and to what, is for the door to say.

/// Origins that may be named: more than anybody writes by hand.
pub(super) const MAX_ORIGINS: usize = 32;

/// Whether a text is an origin as a browser writes it (RFC 6454, section 6.2): scheme, host, and the port where it is not the usual one.
/// Any scheme may be, as programs made of pages have their own.
pub(super) fn is_origin(text: &str) -> bool {
    let is_small = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let Some((scheme, place)) = text.split_once("://") else { return false };
    let (host, port) = match place.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (place, None),
    };
    let is_host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => !host.is_empty() && host.chars().all(|c| is_small(c) || matches!(c, '.' | '-' | '_')),
    };
    scheme.starts_with(|c: char| c.is_ascii_lowercase())
        && scheme.chars().all(|c| is_small(c) || matches!(c, '+' | '-' | '.'))
        && is_host
        && port.is_none_or(|port| port.parse::<u16>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_origins_can_be_named() {
        for origin in [
            "https://notes.example",
            "http://localhost:3000",
            "http://[::1]:8080",
            "moz-extension://a-b-c",
            "app://x",
        ] {
            assert!(is_origin(origin), "{origin}");
        }
        for other in [
            "*",
            "null",
            "",
            "notes.example",
            "https://",
            "https://*.example",
            "https://notes.example/",
            "https://notes.example/path",
            "https://Notes.example",
            "https://a:b@notes.example",
            "https://notes.example:",
            "https://notes.example:99999",
            "https://a,https://b",
        ] {
            assert!(!is_origin(other), "{other}");
        }
    }
}

//! Which pages in browsers may ask for more than pages: those whose origin the owner named, letter by letter (CORS, by the Fetch
//! standard). It knows no tokens: an origin opens nothing by itself, and whoever asks needs a token as before.

use axum::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, VARY,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};

/// The verbs that calls have.
const METHODS: &str = "GET, POST, PUT, DELETE";
/// What a page may send beside what any page may.
const SENT: &str = "authorization, content-type, idempotency-key, last-event-id, mcp-protocol-version, mcp-session-id, traceparent";
/// What a page may read of the head of an answer beside what any page may.
const READ: &str = "retry-after, mcp-session-id, www-authenticate";
/// Seconds for which a browser need not ask again; the owner may take an origin back.
const REMEMBERED: &str = "600";
/// How a browser asks whether a page of the internet may reach an address of this machine, and hears that it may.
const ASKS_FOR_PRIVATE: HeaderName = HeaderName::from_static("access-control-request-private-network");
const ALLOWS_PRIVATE: HeaderName = HeaderName::from_static("access-control-allow-private-network");

/// The origins.
#[derive(Debug, Default)]
pub(super) struct Origins(Vec<String>);

/// Who makes a request, as a browser tells it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Page {
    /// No page in a browser: a program.
    None,
    /// A page of this origin, which the owner named.
    Named(HeaderValue),
    /// Any other.
    Stranger,
}

impl Origins {
    /// These, each as a browser writes it: "https://notes.example", "http://localhost:3000".
    pub fn new(named: &[String]) -> Self {
        Self(named.to_vec())
    }

    /// Who makes a request. One with two origins is nobody's that is known.
    pub fn page(&self, headers: &HeaderMap) -> Page {
        let mut origins = headers.get_all(ORIGIN).iter();
        match (origins.next(), origins.next()) {
            (None, _) => Page::None,
            (Some(origin), None) if self.0.iter().any(|named| named.as_bytes() == origin.as_bytes()) => {
                Page::Named(origin.clone())
            }
            _ => Page::Stranger,
        }
    }
}

/// Whether a browser only asks what a page would be allowed (a preflight). It sends no token with that.
pub(super) fn is_preflight(method: &Method, headers: &HeaderMap) -> bool {
    method == Method::OPTIONS && headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD)
}

/// What a browser is told that asks.
pub(super) fn preflight(origin: HeaderValue, asked: &HeaderMap) -> Response {
    let mut response = StatusCode::NO_CONTENT.into_response();
    let headers = response.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(METHODS));
    headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static(SENT));
    headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static(REMEMBERED));
    if asked.contains_key(ASKS_FOR_PRIVATE) {
        headers.insert(ALLOWS_PRIVATE, HeaderValue::from_static("true"));
    }
    let_read(origin, headers);
    response
}

/// Lets the pages of this origin read an answer, and no others: cookies and the like are never asked for.
pub(super) fn let_read(origin: HeaderValue, headers: &mut HeaderMap) {
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(READ));
    // What is kept on the way is for this origin alone.
    headers.append(VARY, HeaderValue::from_static("origin"));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(named: &[&str], origins: &[&str]) -> Page {
        let named: Vec<String> = named.iter().map(|&name| name.to_owned()).collect();
        let mut headers = HeaderMap::new();
        for origin in origins {
            headers.append(ORIGIN, origin.parse().unwrap());
        }
        Origins::new(&named).page(&headers)
    }

    #[test]
    fn only_the_very_origin_that_was_named_is_known() {
        let named = ["https://notes.example", "http://localhost:3000"];
        assert_eq!(page(&named, &[]), Page::None);
        for known in named {
            assert_eq!(page(&named, &[known]), Page::Named(HeaderValue::from_static(known)));
        }
        for stranger in [
            "http://notes.example",
            "https://notes.example:8443",
            "https://notes.example.evil.example",
            "https://evil.example",
            "https://notes.example/",
            "http://localhost",
            "null",
            "*",
            "",
        ] {
            assert_eq!(page(&named, &[stranger]), Page::Stranger, "{stranger}");
            assert_eq!(page(&[], &[stranger]), Page::Stranger, "{stranger}");
        }
        assert_eq!(page(&named, &[named[0], named[0]]), Page::Stranger, "one that says it twice");
    }

    #[test]
    fn a_preflight_is_told_what_may_be_sent_and_never_a_star() {
        let mut asked = HeaderMap::new();
        assert!(!is_preflight(&Method::OPTIONS, &asked));
        asked.insert(ACCESS_CONTROL_REQUEST_METHOD, HeaderValue::from_static("POST"));
        assert!(is_preflight(&Method::OPTIONS, &asked) && !is_preflight(&Method::POST, &asked));
        let told = preflight(HeaderValue::from_static("https://notes.example"), &asked);
        assert_eq!(told.headers()[ACCESS_CONTROL_ALLOW_ORIGIN], "https://notes.example");
        assert!(told.headers()[ACCESS_CONTROL_ALLOW_HEADERS].to_str().unwrap().contains("authorization"));
        assert!(!told.headers().contains_key("access-control-allow-credentials"));
        assert!(told.headers().values().all(|value| value != "*"));
    }
}

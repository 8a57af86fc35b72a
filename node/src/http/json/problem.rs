//! Errors over HTTP (RFC 9457), with the reason and the hint that gRPC has.

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use synapsenet_proto::rpc::{ERROR_DOMAIN, ERROR_HINT};
use tonic::{Code, Status};
use tonic_types::StatusExt;

/// Why a request has no answer.
#[derive(Debug)]
pub(in crate::http) struct Problem {
    status: StatusCode,
    /// As in gRPC; see `ErrorReason` in the schema.
    reason: String,
    detail: String,
    hint: String,
}

/// A request that can never succeed.
pub(super) fn invalid(words: impl Into<String>) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "INVALID_REQUEST", words)
}

impl Problem {
    /// One that came up here.
    pub fn new(status: StatusCode, reason: &str, detail: impl Into<String>) -> Self {
        Self { status, reason: reason.to_owned(), detail: detail.into(), hint: String::new() }
    }

    /// One with what to do about it.
    pub fn with_hint(self, hint: &str) -> Self {
        Self { hint: hint.to_owned(), ..self }
    }

    /// What the node says.
    pub fn of(status: Status) -> Self {
        let info = status.get_details_error_info().filter(|info| info.domain == ERROR_DOMAIN);
        let (reason, hint) = match info {
            Some(mut info) => (info.reason, info.metadata.remove(ERROR_HINT).unwrap_or_default()),
            None => ("FAULT".to_owned(), "the log of the node says more".to_owned()),
        };
        Self { status: status_of(status.code()), reason, detail: status.message().to_owned(), hint }
    }

    /// The status of its answer.
    #[cfg(test)]
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// As JSON.
    pub fn value(&self) -> Value {
        let Self { status, reason, detail, hint } = self;
        let title = status.canonical_reason().unwrap_or_default();
        json!({
            "type": "about:blank", "title": title, "status": status.as_u16(), "detail": detail, "reason": reason, "hint": hint,
        })
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let head = [(header::CONTENT_TYPE, "application/problem+json")];
        let mut response = (self.status, head, self.value().to_string()).into_response();
        let (name, value) = match self.status {
            StatusCode::UNAUTHORIZED => (header::WWW_AUTHENTICATE, "Bearer"),
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => (header::RETRY_AFTER, "1"),
            _ => return response,
        };
        response.headers_mut().insert(name, axum::http::HeaderValue::from_static(value));
        response
    }
}

/// The status of HTTP that says what a code of gRPC does.
fn status_of(code: Code) -> StatusCode {
    match code {
        Code::Ok => StatusCode::OK,
        Code::InvalidArgument | Code::OutOfRange => StatusCode::BAD_REQUEST,
        Code::Unauthenticated => StatusCode::UNAUTHORIZED,
        Code::PermissionDenied => StatusCode::FORBIDDEN,
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::AlreadyExists | Code::Aborted | Code::FailedPrecondition => StatusCode::CONFLICT,
        Code::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
        Code::Unimplemented => StatusCode::NOT_IMPLEMENTED,
        Code::Unavailable | Code::Cancelled => StatusCode::SERVICE_UNAVAILABLE,
        Code::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
        Code::Unknown | Code::Internal | Code::DataLoss => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

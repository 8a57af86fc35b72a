//! Errors over HTTP (RFC 9457), with the reason and the hint that gRPC has.

use axum::http::{HeaderValue, StatusCode, header};
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
    /// What is wrong with which field.
    violations: Vec<(String, String)>,
    /// After how many seconds it may be tried again.
    retry_after: Option<u64>,
    /// Whether the services saw the call, and counted it.
    is_counted: bool,
}

/// A request that can never succeed.
pub(super) fn invalid(words: impl Into<String>) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "INVALID_REQUEST", words)
}

impl Problem {
    /// One that came up here.
    pub fn new(status: StatusCode, reason: &str, detail: impl Into<String>) -> Self {
        let (reason, detail, hint) = (reason.to_owned(), detail.into(), String::new());
        let retry_after = (status == StatusCode::TOO_MANY_REQUESTS).then_some(1);
        Self { status, reason, detail, hint, violations: Vec::new(), retry_after, is_counted: false }
    }

    /// One with what to do about it.
    pub fn with_hint(self, hint: &str) -> Self {
        Self { hint: hint.to_owned(), ..self }
    }

    /// One of a call that the services saw.
    pub fn counted(self) -> Self {
        Self { is_counted: true, ..self }
    }

    /// What the node says.
    pub fn of(status: Status) -> Self {
        let info = status.get_details_error_info().filter(|info| info.domain == ERROR_DOMAIN);
        let (reason, hint) = match info {
            Some(mut info) => (info.reason, info.metadata.remove(ERROR_HINT).unwrap_or_default()),
            None => ("FAULT".to_owned(), "the log of the node says more".to_owned()),
        };
        let wrong = status.get_details_bad_request().map(|wrong| wrong.field_violations).unwrap_or_default();
        let wait = status.get_details_retry_info().and_then(|retry| retry.retry_delay);
        Self {
            status: status_of(status.code()),
            reason,
            detail: status.message().to_owned(),
            hint,
            violations: wrong.into_iter().map(|wrong| (wrong.field, wrong.description)).collect(),
            // The header of HTTP has whole seconds.
            retry_after: wait.map(|wait| wait.as_millis().div_ceil(1000).max(1) as u64),
            is_counted: true,
        }
    }

    /// The status of its answer.
    #[cfg(test)]
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The code under which it is still to be counted. None where the services did that.
    pub fn uncounted_code(&self) -> Option<Code> {
        (!self.is_counted).then(|| code_of(self.status))
    }

    /// As JSON.
    pub fn value(&self) -> Value {
        let Self { status, reason, detail, hint, violations, retry_after, is_counted: _ } = self;
        let title = status.canonical_reason().unwrap_or_default();
        let mut value = json!({
            "type": "about:blank", "title": title, "status": status.as_u16(), "detail": detail, "reason": reason, "hint": hint,
        });
        let violation = |(field, description)| json!({"field": field, "description": description});
        if !violations.is_empty() {
            value["violations"] =
                violations.iter().map(|(field, words)| (field, words)).map(violation).collect();
        }
        if let Some(seconds) = retry_after {
            value["retry_after_seconds"] = (*seconds).into();
        }
        value
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let head = [(header::CONTENT_TYPE, "application/problem+json")];
        let mut response = (self.status, head, self.value().to_string()).into_response();
        let headers = response.headers_mut();
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
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

/// The code of gRPC that says what a status does with which a request ends here.
fn code_of(status: StatusCode) -> Code {
    match status {
        StatusCode::UNAUTHORIZED => Code::Unauthenticated,
        StatusCode::FORBIDDEN => Code::PermissionDenied,
        StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => Code::Unimplemented,
        StatusCode::REQUEST_TIMEOUT => Code::DeadlineExceeded,
        StatusCode::CONFLICT => Code::Aborted,
        StatusCode::TOO_MANY_REQUESTS => Code::ResourceExhausted,
        status if status.is_client_error() => Code::InvalidArgument,
        _ => Code::Internal,
    }
}

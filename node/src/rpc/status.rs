//! The one place where errors become gRPC statuses.

use std::collections::HashMap;

use synapsenet_proto::rpc::{ERROR_DOMAIN, ERROR_HINT};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use crate::calls::{CallError, Reason};

/// The status for an error. Its code tells programs whether to try again, its message people what happened, and its details
/// (`google.rpc.ErrorInfo`) both: `reason` is one of `ErrorReason` in the schema, `metadata["hint"]` what to do next. Beside it
/// stand the field that is wrong (`google.rpc.BadRequest`) and the time to wait before it is tried again (`google.rpc.RetryInfo`).
pub(super) fn status_of(error: CallError) -> Status {
    let reason = error.reason();
    let code = code_of(reason);
    if code == Code::Internal {
        tracing::error!(%error, "a call failed");
    }
    let metadata = HashMap::from([(ERROR_HINT.to_owned(), reason.hint().to_owned())]);
    let mut details = ErrorDetails::with_error_info(reason.name(), ERROR_DOMAIN, metadata);
    if let Some(field) = error.field() {
        details.add_bad_request_violation(field, error.to_string());
    }
    if let Some(wait) = reason.retry_after() {
        details.set_retry_info(Some(wait));
    }
    Status::with_error_details(code, error.to_string(), details)
}

fn code_of(reason: Reason) -> Code {
    match reason {
        Reason::InvalidRequest | Reason::GrainRefused | Reason::NotANote | Reason::ModelUnusable => {
            Code::InvalidArgument
        }
        Reason::TokenNeeded | Reason::TokenUnknown | Reason::TokenExpired | Reason::TokenRevoked => {
            Code::Unauthenticated
        }
        Reason::NotTheAuthor | Reason::SocketNeeded | Reason::ScopeNeeded | Reason::TopicForbidden => {
            Code::PermissionDenied
        }
        Reason::GrainNotFound
        | Reason::PeerNotFound
        | Reason::ModelNotFound
        | Reason::SourceNotFound
        | Reason::DocumentNotFound
        | Reason::TokenNotFound => Code::NotFound,
        Reason::TooManyCalls
        | Reason::NodeFull
        | Reason::TooManyRules
        | Reason::DiskFull
        | Reason::TooManyPeers
        | Reason::TooManyTokens
        | Reason::TooManyPins
        | Reason::ModelBusy => Code::ResourceExhausted,
        Reason::GrainRetracted
        | Reason::NoMesh
        | Reason::PeerForbidden
        | Reason::PeerUnreachable
        | Reason::TopicNotJoined
        | Reason::TooManyTopics
        | Reason::ModelRefused
        | Reason::ModelNotLoaded => Code::FailedPrecondition,
        Reason::CursorUnknown => Code::OutOfRange,
        Reason::ModelNotFetched | Reason::Stopping => Code::Unavailable,
        Reason::DeadlinePassed => Code::DeadlineExceeded,
        Reason::GivenUp => Code::Cancelled,
        Reason::ModelFailed | Reason::Fault => Code::Internal,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::time::Duration;

    use synapsenet_proto::Refusal;
    use synapsenet_proto::rpc::ErrorReason;

    use super::*;
    use crate::calls::error::invalid_in;

    #[test]
    fn each_reason_stands_in_the_schema() {
        let here: BTreeSet<String> =
            Reason::ALL.iter().map(|reason| format!("ERROR_REASON_{}", reason.name())).collect();
        let numbers = 1..=i32::try_from(Reason::ALL.len()).unwrap();
        let there = numbers.map(|number| ErrorReason::try_from(number).unwrap().as_str_name().to_owned());
        assert_eq!(here, there.collect());
        assert!(
            ErrorReason::try_from(i32::try_from(Reason::ALL.len()).unwrap() + 1).is_err(),
            "no more of them"
        );
    }

    #[test]
    fn an_error_names_the_field_that_is_wrong_and_when_to_try_again() {
        let wrong = status_of(invalid_in("k", "k is 2000").within("searches[1]"));
        let violation = &wrong.get_details_bad_request().unwrap().field_violations[0];
        assert_eq!(
            (violation.field.as_str(), violation.description.as_str()),
            ("searches[1].k", "k is 2000")
        );
        let refused = status_of(CallError::from(Refusal::TextTooLong(20_000)).within("draft"));
        assert_eq!(refused.get_details_error_info().unwrap().reason, "GRAIN_REFUSED");
        let violation = &refused.get_details_bad_request().unwrap().field_violations[0];
        assert!(
            violation.field == "draft.text" && violation.description == refused.message(),
            "{violation:?}"
        );
        assert!(wrong.get_details_retry_info().is_none());
        let busy = status_of(CallError::TooManyCalls);
        assert_eq!(busy.get_details_retry_info().unwrap().retry_delay, Some(Duration::from_secs(1)));
        assert!(busy.get_details_bad_request().is_none());
    }

    #[test]
    fn an_error_carries_its_reason_and_what_to_do() {
        let status = status_of(CallError::NoMesh);
        assert_eq!(status.code(), Code::FailedPrecondition);
        let info = status.get_details_error_info().unwrap();
        assert_eq!((info.reason.as_str(), info.domain.as_str()), ("NO_MESH", ERROR_DOMAIN));
        assert!(info.metadata[ERROR_HINT].contains("--offline"));
    }
}

//! How a command ends: the exit codes that scripts rely on, and errors that say what to do next.

use std::error::Error;
use std::io;

use synapsenet_proto::rpc::{ERROR_DOMAIN, ERROR_HINT, ErrorReason};
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::config::ConfigError;

/// The hint where nothing more is known.
const LOG_SAYS_MORE: &str = "the log of the node says more";

/// The exit codes. They are documented in `--help` and never change their meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    /// All that was asked is done.
    Done = 0,
    /// Something was refused or not found, `verify` found a problem, or a file could not be read or written.
    Incomplete = 1,
    /// The command line or the configuration cannot work as it is.
    Usage = 2,
    /// No node answers.
    Unreachable = 3,
    /// The node refused, is busy, or failed.
    Refused = 4,
}

/// Why a command stopped.
#[derive(Debug)]
pub(crate) enum Failure {
    /// What happened and what to do about it; shown to the user.
    Told {
        /// The code to exit with.
        exit: Exit,
        /// What happened, without a full stop.
        message: String,
        /// What to do now.
        hint: String,
    },
    /// Whoever read our standard output has seen enough, as `head` does: no error, the command just ends.
    PipeClosed,
}

impl Failure {
    /// A failure of a local file or of a part of what was asked.
    pub(crate) fn incomplete(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Told { exit: Exit::Incomplete, message: message.into(), hint: hint.into() }
    }

    /// A command line that cannot work.
    pub(crate) fn usage(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Told { exit: Exit::Usage, message: message.into(), hint: hint.into() }
    }

    /// No node at the other end.
    pub(crate) fn unreachable(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Told { exit: Exit::Unreachable, message: message.into(), hint: hint.into() }
    }

    /// The node answered with a refusal, or not in time.
    pub(crate) fn refused(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Told { exit: Exit::Refused, message: message.into(), hint: hint.into() }
    }

    /// Puts what was being done before the message.
    pub(crate) fn while_doing(self, what: &str) -> Self {
        match self {
            Self::Told { exit, message, hint } => {
                Self::Told { exit, message: format!("{what}: {message}"), hint }
            }
            Self::PipeClosed => Self::PipeClosed,
        }
    }

    /// The code to exit with.
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Told { exit, .. } => *exit,
            Self::PipeClosed => Exit::Done,
        }
    }
}

/// Writing to standard output failed.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self::PipeClosed;
        }
        let hint = "check that the place it is redirected to can be written and is not full";
        Self::incomplete(format!("cannot write to standard output: {error}"), hint)
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        let hint = match error {
            ConfigError::Unreadable { .. } => "let this user read it, or name another with --config FILE",
            ConfigError::NotToml { .. } => "correct it there; deploy/SETTINGS.md lists the sections and keys",
            ConfigError::BadVariable { .. } => "unset it, or set the one that is meant",
            ConfigError::NoDataDir => "--data-dir goes before or after the command",
            _ => "set it right where it was set; `synapsenet config show` lists all values",
        };
        Self::usage(error.to_string(), hint)
    }
}

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        let message = match status.message() {
            "" => format!("the node answered {:?} without a reason", status.code()),
            message => message.to_owned(),
        };
        match ErrorInfo::of(&status) {
            Some(info) => info.into_failure(message, status.code()),
            None if is_connection_loss(&status) => {
                let hint = "see its log, start it again with `synapsenet run`, then repeat the command";
                Self::unreachable(format!("the connection to the node broke: {message}"), hint)
            }
            None => of_another(status.code(), message),
        }
    }
}

/// What a node says of an error beside its words: why, for programs, and what to do next.
struct ErrorInfo {
    reason: ErrorReason,
    hint: String,
}

impl ErrorInfo {
    /// None when the status is not of a node: a proxy made it, or the connection, or a node too old to say more.
    fn of(status: &Status) -> Option<Self> {
        let mut info = status.get_details_error_info().filter(|info| info.domain == ERROR_DOMAIN)?;
        // A newer node has reasons that this program does not know. Its hint is as good.
        let reason = ErrorReason::from_str_name(&format!("ERROR_REASON_{}", info.reason));
        let hint = info.metadata.remove(ERROR_HINT).unwrap_or_else(|| LOG_SAYS_MORE.to_owned());
        Some(Self { reason: reason.unwrap_or_default(), hint })
    }

    fn into_failure(self, message: String, code: Code) -> Failure {
        let exit = match self.reason {
            ErrorReason::Stopping => Exit::Unreachable,
            // What was asked is in order, and could not be done with what it names.
            ErrorReason::PeerUnreachable | ErrorReason::ModelNotFetched | ErrorReason::ModelUnusable => {
                Exit::Incomplete
            }
            _ => exit_of(code),
        };
        Failure::Told { exit, message, hint: self.hint }
    }
}

/// Why a node did not do what it was asked, when it says so.
pub(crate) fn reason_of(status: &Status) -> Option<ErrorReason> {
    ErrorInfo::of(status).map(|info| info.reason)
}

fn exit_of(code: Code) -> Exit {
    match code {
        Code::NotFound => Exit::Incomplete,
        Code::InvalidArgument | Code::OutOfRange => Exit::Usage,
        _ => Exit::Refused,
    }
}

/// A status that carries no reason of ours: all that is known is its code.
fn of_another(code: Code, message: String) -> Failure {
    let (message, hint) = match code {
        Code::NotFound => (message, "check that --api names a synapsenet node"),
        Code::InvalidArgument | Code::OutOfRange => {
            (message, "change what was asked; --help says what each argument takes")
        }
        Code::Unauthenticated | Code::PermissionDenied => {
            (message, "name the file with this node's token: --api-token-file DIR/api.token")
        }
        Code::ResourceExhausted => {
            (message, "try again in a moment; `synapsenet status` shows what the node is doing")
        }
        Code::DeadlineExceeded | Code::Cancelled => (
            format!("the node did not answer in time: {message}"),
            "try again; `synapsenet status` shows what the node is doing",
        ),
        Code::Unimplemented => {
            (message, "the node is of another version than this program: update the older one")
        }
        _ => (message, LOG_SAYS_MORE),
    };
    Failure::Told { exit: exit_of(code), message, hint: hint.to_owned() }
}

/// Whether a status was made on this side because nobody is there any more.
fn is_connection_loss(status: &Status) -> bool {
    if status.code() == Code::Unavailable {
        return true;
    }
    status.code() == Code::Unknown
        && status
            .source()
            .is_some_and(|source| source.is::<tonic::transport::Error>() || has_io_error(source))
}

/// Whether an error goes back to one of the operating system.
fn has_io_error(error: &(dyn Error + 'static)) -> bool {
    io_error(error).is_some()
}

/// The error of the operating system at the root of `error`, if there is one.
pub(crate) fn io_error<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a io::Error> {
    std::iter::successors(Some(error), |error| (*error).source()).find_map(|error| error.downcast_ref())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_becomes_the_documented_exit_code() {
        let exit = |code| Failure::from(Status::new(code, "x")).exit();
        assert_eq!(exit(Code::NotFound), Exit::Incomplete);
        assert_eq!(exit(Code::InvalidArgument), Exit::Usage);
        assert_eq!(exit(Code::Unavailable), Exit::Unreachable);
        assert_eq!(exit(Code::ResourceExhausted), Exit::Refused);
        assert_eq!(exit(Code::Unauthenticated), Exit::Refused);
        assert_eq!(exit(Code::DeadlineExceeded), Exit::Refused);
        assert_eq!(exit(Code::Internal), Exit::Refused);
    }

    /// A status as a node of any version makes it.
    fn status(code: Code, reason: &str, domain: &str) -> Status {
        let metadata = std::collections::HashMap::from([(ERROR_HINT.to_owned(), "do this".to_owned())]);
        let details = tonic_types::ErrorDetails::with_error_info(reason, domain, metadata);
        Status::with_error_details(code, "words that nobody reads", details)
    }

    fn told(status: Status) -> (Exit, String, String) {
        match Failure::from(status) {
            Failure::Told { exit, message, hint } => (exit, message, hint),
            Failure::PipeClosed => panic!("it must be told"),
        }
    }

    #[test]
    fn the_reason_decides_how_a_command_ends_and_the_node_says_what_to_do() {
        for (code, reason, exit) in [
            (Code::FailedPrecondition, "PEER_UNREACHABLE", Exit::Incomplete),
            (Code::FailedPrecondition, "PEER_FORBIDDEN", Exit::Refused),
            (Code::Unavailable, "MODEL_NOT_FETCHED", Exit::Incomplete),
            (Code::InvalidArgument, "MODEL_UNUSABLE", Exit::Incomplete),
            (Code::InvalidArgument, "GRAIN_REFUSED", Exit::Usage),
            (Code::NotFound, "MODEL_NOT_FOUND", Exit::Incomplete),
            (Code::Unavailable, "STOPPING", Exit::Unreachable),
            (Code::Cancelled, "GIVEN_UP", Exit::Refused),
            (Code::FailedPrecondition, "SOMETHING_NEW", Exit::Refused),
        ] {
            let expected = (exit, "words that nobody reads".to_owned(), "do this".to_owned());
            assert_eq!(told(status(code, reason, ERROR_DOMAIN)), expected, "{reason}");
        }
    }

    #[test]
    fn a_status_of_somebody_else_is_told_by_its_code() {
        let foreign = told(status(Code::Unavailable, "MODEL_NOT_FETCHED", "proxy.example"));
        assert_eq!(foreign.0, Exit::Unreachable);
        assert!(foreign.1.starts_with("the connection to the node broke"), "{}", foreign.1);
        let foreign = told(status(Code::ResourceExhausted, "QUOTA", "proxy.example"));
        assert!(foreign.0 == Exit::Refused && foreign.2.starts_with("try again"), "{}", foreign.2);
        assert_eq!(reason_of(&Status::not_found("x")), None);
    }

    #[test]
    fn a_closed_pipe_is_no_failure_and_a_full_disk_is_one() {
        assert_eq!(Failure::from(io::Error::from(io::ErrorKind::BrokenPipe)).exit(), Exit::Done);
        assert_eq!(Failure::from(io::Error::from(io::ErrorKind::StorageFull)).exit(), Exit::Incomplete);
    }
}

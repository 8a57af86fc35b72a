//! How a command ends: the exit codes that scripts rely on, and errors that say what to do next.

use std::error::Error;
use std::io;

use tonic::{Code, Status};

use crate::config::ConfigError;

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
        Self::usage(
            error.to_string(),
            "set it right where it was set; `synapsenet config show` lists all values",
        )
    }
}

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        let message = match status.message() {
            "" => format!("the node answered {:?} without a reason", status.code()),
            message => message.to_owned(),
        };
        if is_connection_loss(&status) {
            let hint = "see its log, start it again with `synapsenet run`, then repeat the command";
            return Self::unreachable(format!("the connection to the node broke: {message}"), hint);
        }
        match status.code() {
            Code::NotFound => Self::incomplete(message, "`synapsenet list` shows the grains that there are"),
            Code::InvalidArgument | Code::OutOfRange => {
                Self::usage(message, "change what was asked; --help says what each argument takes")
            }
            Code::Unauthenticated => {
                Self::refused(message, "name the file with this node's token: --api-token-file DIR/api.token")
            }
            Code::PermissionDenied => {
                Self::refused(message, "`synapsenet id` shows who this node's author is")
            }
            Code::ResourceExhausted => Self::refused(
                message,
                "try again in a moment; `synapsenet status` shows what the node is doing",
            ),
            Code::DeadlineExceeded | Code::Cancelled => Self::refused(
                format!("the node did not answer in time: {message}"),
                "try again; `synapsenet status` shows what the node is doing",
            ),
            Code::FailedPrecondition => {
                Self::refused(message, "`synapsenet status` shows what state the node is in")
            }
            Code::Unimplemented => Self::refused(
                message,
                "the node is of another version than this program: update the older one",
            ),
            _ => Self::refused(message, "the log of the node says more"),
        }
    }
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

    #[test]
    fn a_closed_pipe_is_no_failure_and_a_full_disk_is_one() {
        assert_eq!(Failure::from(io::Error::from(io::ErrorKind::BrokenPipe)).exit(), Exit::Done);
        assert_eq!(Failure::from(io::Error::from(io::ErrorKind::StorageFull)).exit(), Exit::Incomplete);
    }
}

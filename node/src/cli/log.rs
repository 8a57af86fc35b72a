//! The log of a node: to standard error, as text or as JSON, with a filter that can be changed while the node runs.

use std::fmt;
use std::io::{self, IsTerminal};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use tracing_subscriber::EnvFilter;

use super::failure::Failure;

/// Whether the log of this process is JSON: then so is whatever else it says of itself.
static IS_JSON: AtomicBool = AtomicBool::new(false);

/// What changes the filter of a log.
type Change = Box<dyn Fn(EnvFilter) -> Result<(), String> + Send>;

/// The log of this process.
pub(crate) struct Log {
    /// None where another log was there before.
    change: Option<Change>,
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Log").finish_non_exhaustive()
    }
}

impl Log {
    /// Lets another filter say from now on what is written.
    ///
    /// # Errors
    /// When the filter cannot be read; then the one before goes on.
    pub(crate) fn change(&self, level: &str) -> Result<(), String> {
        let filter = read(level)?;
        self.change.as_ref().map_or(Ok(()), |change| change(filter))
    }
}

/// Whether the log of this process is JSON.
pub(crate) fn is_json() -> bool {
    IS_JSON.load(Relaxed)
}

/// ONNX Runtime and libp2p say much that says nothing about the node; "info,libp2p=info" brings it back.
fn read(level: &str) -> Result<EnvFilter, String> {
    let filter = EnvFilter::builder().parse(format!("ort=warn,libp2p=error,{level}"));
    filter.map_err(|error| format!("log.level is {level:?}: {error}"))
}

/// Writes the log to standard error. `level` is a filter such as "info,synapsenet::memory::ingest=debug".
///
/// # Errors
/// When the filter cannot be read.
pub(crate) fn log_to_stderr(level: &str, format: &str) -> Result<Log, Failure> {
    let filter = read(level).map_err(|error| {
        Failure::usage(
            error,
            "set it to error, warn, info, debug, trace, or a filter such as info,synapsenet::memory::ingest=debug",
        )
    })?;
    let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal() && !plain);
    let change: Change;
    let set = if format == "json" {
        let log = log.json().with_filter_reloading();
        let handle = log.reload_handle();
        change = Box::new(move |filter| handle.reload(filter).map_err(|error| error.to_string()));
        log.try_init()
    } else {
        let log = log.with_filter_reloading();
        let handle = log.reload_handle();
        change = Box::new(move |filter| handle.reload(filter).map_err(|error| error.to_string()));
        log.try_init()
    };
    // It is set already when one process runs two commands, as tests do: the first one's log goes on.
    if set.is_err() {
        return Ok(Log { change: None });
    }
    if format == "json" {
        IS_JSON.store(true, Relaxed);
        std::panic::set_hook(Box::new(|panic| tracing::error!("{panic}")));
    }
    Ok(Log { change: Some(change) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::failure::Exit;

    #[test]
    fn a_log_filter_that_cannot_be_read_is_a_wrong_setting() {
        assert_eq!(log_to_stderr("synapsenet=loud", "text").unwrap_err().exit(), Exit::Usage);
        assert!(Log { change: None }.change("synapsenet=loud").is_err());
    }
}

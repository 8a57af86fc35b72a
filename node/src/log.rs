//! The log of the process: to standard error, as text or as JSON, with a filter that can be changed while the node runs.
//!
//! A process has one standard error, and so one log, whichever node in it speaks.

use std::io::{self, IsTerminal};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

/// Bytes of a filter: some dozens of targets.
pub(crate) const MAX_FILTER_BYTES: usize = 1024;
/// What is said to whoever gives a filter that cannot be used.
pub(crate) const LEVELS: &str =
    "set it to error, warn, info, debug, trace, or a filter such as info,synapsenet::memory::ingest=debug";

/// What changes the filter of a log.
type Change = Box<dyn Fn(EnvFilter) -> Result<(), String> + Send>;

struct Log {
    /// What is written; empty while there is no log.
    level: String,
    is_json: bool,
    /// None where somebody else set the log up.
    change: Option<Change>,
}

static LOG: Mutex<Log> = Mutex::new(Log { level: String::new(), is_json: false, change: None });

fn log() -> MutexGuard<'static, Log> {
    // It is whole between any two of its lines.
    LOG.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether the log of this process is JSON: then so is whatever else it says of itself.
pub(crate) fn is_json() -> bool {
    log().is_json
}

/// What is written to the log: a filter. Empty where this program set up none.
pub(crate) fn level() -> String {
    log().level.clone()
}

/// Lets another filter say from now on what is written. Answers the one before.
///
/// # Errors
/// When the filter cannot be used, and why; then the one before goes on.
pub(crate) fn set_level(level: &str) -> Result<String, String> {
    let filter = read(level)?;
    let mut log = log();
    if let Some(change) = &log.change {
        change(filter)?;
        return Ok(std::mem::replace(&mut log.level, level.to_owned()));
    }
    Ok(String::new())
}

/// Says why a filter cannot be used.
///
/// # Errors
/// With that.
pub(crate) fn check(level: &str) -> Result<(), String> {
    read(level).map(drop)
}

/// ONNX Runtime and libp2p say much that says nothing about the node; "info,libp2p=info" brings it back.
fn read(level: &str) -> Result<EnvFilter, String> {
    if level.trim().is_empty() {
        return Err("no level is named".to_owned());
    }
    if level.len() > MAX_FILTER_BYTES {
        return Err(format!("it has {} bytes; at most {MAX_FILTER_BYTES} are allowed", level.len()));
    }
    // A word that is no level would mean that everything of a part of that name is written, and nothing else.
    let mut words = level.split(',').map(str::trim).filter(|word| !word.is_empty());
    let is_mistaken = |word: &&str| {
        let names_a_part = word.contains(['=', ':', '[', '{', '}', ']']) || word.starts_with("synapsenet");
        !names_a_part && word.parse::<LevelFilter>().is_err()
    };
    if let Some(word) = words.find(is_mistaken) {
        return Err(format!("{word:?} is no level"));
    }
    // A value is taken as it is written: an expression could become larger than the memory.
    EnvFilter::builder()
        .with_regex(false)
        .parse(format!("ort=warn,libp2p=error,{level}"))
        .map_err(|error| error.to_string())
}

/// Writes the log to standard error. `level` is a filter such as "info,synapsenet::memory::ingest=debug".
///
/// # Errors
/// When the filter cannot be used, and why.
pub(crate) fn write_to_stderr(level: &str, format: &str) -> Result<(), String> {
    let filter = read(level)?;
    let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let made = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal() && !plain);
    let is_json = format == "json";
    let change: Change;
    let set = if is_json {
        let made = made.json().with_filter_reloading();
        let handle = made.reload_handle();
        change = Box::new(move |filter| handle.reload(filter).map_err(|error| error.to_string()));
        made.try_init()
    } else {
        let made = made.with_filter_reloading();
        let handle = made.reload_handle();
        change = Box::new(move |filter| handle.reload(filter).map_err(|error| error.to_string()));
        made.try_init()
    };
    // It is set already when one process runs two commands, as tests do: the first one's log goes on.
    if set.is_err() {
        return Ok(());
    }
    *log() = Log { level: level.to_owned(), is_json, change: Some(change) };
    if is_json {
        std::panic::set_hook(Box::new(|panic| tracing::error!("{panic}")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    #[test]
    fn a_level_or_a_filter_is_read() {
        for level in [
            "info",
            "WARN",
            "off",
            "warn,synapsenet=debug",
            "info,synapsenet::memory::ingest=trace",
            "error,synapsenet",
            "info,[embed{texts=3}]=debug",
        ] {
            assert_eq!(check(level), Ok(()), "{level}");
        }
    }

    #[test]
    fn a_value_is_no_expression() {
        // No expression begins so.
        assert_eq!(check("info,[embed{model=*a}]=debug"), Ok(()));
        let filter = read("off,[embed{model=a.*}]=debug").unwrap();
        let log = tracing_subscriber::registry().with(filter);
        tracing::subscriber::with_default(log, || {
            for (model, is_written) in [("a.*", true), ("abc", false)] {
                let span =
                    tracing::info_span!("embed", model = tracing::field::debug(format_args!("{model}")));
                span.in_scope(|| assert_eq!(tracing::enabled!(tracing::Level::DEBUG), is_written, "{model}"));
            }
        });
    }

    #[test]
    fn what_would_make_a_log_say_nothing_is_refused() {
        for (level, word) in [
            ("", "no level"),
            (" ", "no level"),
            ("synapsenet=loud", "expected one of"),
            ("inof", "\"inof\" is no level"),
            ("debug,verbose", "\"verbose\""),
        ] {
            let refused = check(level).expect_err(level);
            assert!(refused.contains(word), "{level}: {refused}");
        }
        assert!(check(&format!("info,{}=debug", "a".repeat(MAX_FILTER_BYTES))).is_err());
        assert!(set_level("inof").is_err());
    }
}

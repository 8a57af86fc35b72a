//! Variables of the environment that libraries read while they are loaded, and the one way to set them.
//!
//! A running program cannot change its environment safely, as threads of C read it at any time (`setenv(3)`). So the
//! program begins once more, with the variables set.

/// Keeps ONNX Runtime from looking up a host of its maker and sending an event there, which its Linux library does from
/// 1.29 on while it is loaded, before anything of its interface can forbid it. [`Runtime::load`](crate::Runtime::load)
/// refuses to load any library without it.
pub const TELEMETRY_OFF: (&str, &str) = ("ORT_DISABLE_TELEMETRY", "1");

/// Starts this program once more with these variables, in the same process; returns at once where it has them already.
/// To be called first in `main`. Where the system does not start it again, the program goes on as it is.
pub fn restart_with(variables: &[(&str, &str)]) {
    #[cfg(unix)]
    {
        use std::os::unix::process::CommandExt;

        if variables.iter().all(|(name, value)| std::env::var_os(name).is_some_and(|set| set == *value)) {
            return;
        }
        let Ok(program) = std::env::current_exe() else { return };
        let mut arguments = std::env::args_os();
        let mut command = std::process::Command::new(program);
        if let Some(name) = arguments.next() {
            command.arg0(name);
        }
        // This only returns when it failed.
        let _ = command.args(arguments).envs(variables.iter().copied()).exec();
    }
}

/// Whether ONNX Runtime was told to send nothing.
pub(crate) fn is_telemetry_off() -> bool {
    let (name, value) = TELEMETRY_OFF;
    std::env::var_os(name).is_some_and(|set| set == value)
}

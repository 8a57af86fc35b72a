//! How much freed memory the process keeps.
//!
//! Loading a model frees several times what it keeps, in blocks of some megabytes, and the GNU C library holds on to
//! them. Told to map such blocks one by one, it gives them back: a node with the built-in model then has 164 MB instead
//! of 250 MB resident, for some percent more time in each run of the model.

/// Blocks from this size on are mapped one by one, in bytes: below the weights of one layer (2.4 MB).
const MMAP_THRESHOLD: (&str, &str) = ("MALLOC_MMAP_THRESHOLD_", "2000000");
/// Free memory at the end of the heap that is kept for reuse, in bytes: more than one run of the model needs.
const TRIM_THRESHOLD: (&str, &str) = ("MALLOC_TRIM_THRESHOLD_", "64000000");

/// Starts this program once more with the settings that the C library reads when a process begins (mallopt(3)). Does
/// nothing where they are set already, by this function or by the user, or where there is another C library.
pub(super) fn settle() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        use std::os::unix::process::CommandExt;

        let settings = [MMAP_THRESHOLD, TRIM_THRESHOLD];
        if settings.iter().any(|(name, _)| std::env::var_os(name).is_some()) {
            return;
        }
        let Ok(program) = std::env::current_exe() else { return };
        let mut arguments = std::env::args_os();
        let mut command = std::process::Command::new(program);
        if let Some(name) = arguments.next() {
            command.arg0(name);
        }
        // This only returns when it failed, and then the process goes on with more memory.
        let _ = command.args(arguments).envs(settings).exec();
    }
}

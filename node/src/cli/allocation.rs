//! How much freed memory the process keeps.
//!
//! Loading a model frees several times what it keeps, in blocks of some megabytes and from many threads, and the GNU C
//! library holds on to them. Told to map such blocks one by one and to keep few heaps, it gives them back: a node in which
//! five models took turns within a budget of 81 MB has 222 MB resident instead of 311, and a node with the built-in model
//! 158 instead of 250. Runs of the model take as long as without (benches/README.md).

/// Blocks from this size on are mapped one by one, in bytes: below a matrix of one layer in f32 (590 kB).
const MMAP_THRESHOLD: (&str, &str) = ("MALLOC_MMAP_THRESHOLD_", "500000");
/// Free memory at the end of the heap that is kept for reuse, in bytes.
const TRIM_THRESHOLD: (&str, &str) = ("MALLOC_TRIM_THRESHOLD_", "16000000");
/// Heaps that threads share: each keeps what was freed in it.
const MAX_HEAPS: (&str, &str) = ("MALLOC_ARENA_MAX", "2");

/// Starts this program once more with the settings that the C library reads when a process begins (mallopt(3)). Does
/// nothing where they are set already, by this function or by the user, or where there is another C library.
pub(super) fn settle() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        use std::os::unix::process::CommandExt;

        let settings = [MMAP_THRESHOLD, TRIM_THRESHOLD, MAX_HEAPS];
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

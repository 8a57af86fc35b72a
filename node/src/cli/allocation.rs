//! How much freed memory the process keeps.
//!
//! Loading a model frees several times what it keeps, in blocks of some megabytes and from many threads, and the GNU C
//! library holds on to them. Told to map such blocks one by one and to keep few heaps, it gives them back: a node in which
//! five models took turns within a budget of 81 MB has 222 MB resident instead of 311, and a node with the built-in model
//! 158 instead of 250. Runs of the model take as long as without (benches/README.md).

/// Variables that the C library reads when a process begins (mallopt(3)).
const SETTINGS: [(&str, &str); 3] = [
    // Blocks from this size on are mapped one by one, in bytes: below a matrix of one layer in f32 (590 kB).
    ("MALLOC_MMAP_THRESHOLD_", "500000"),
    // Free memory at the end of the heap that is kept for reuse, in bytes.
    ("MALLOC_TRIM_THRESHOLD_", "16000000"),
    // Heaps that threads share: each keeps what was freed in it.
    ("MALLOC_ARENA_MAX", "2"),
];

/// What the process is to be started with. Nothing where there is another C library, or where the user set one of these.
pub(super) fn settings() -> &'static [(&'static str, &'static str)] {
    let is_gnu = cfg!(all(target_os = "linux", target_env = "gnu"));
    let is_set = SETTINGS.iter().any(|(name, _)| std::env::var_os(name).is_some());
    if is_gnu && !is_set { &SETTINGS } else { &[] }
}

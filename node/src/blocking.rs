//! The one way from an async task to work that blocks: the disk, the index, a long computation.

use crate::tasks::joined;
use crate::traces;

/// Runs `work` on tokio's pool for blocking work and waits for it. A panic inside goes on in the caller: in a part of the
/// node it is the failure of that part, in a call it ends the call.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    // What is recorded of it is part of what waits for it.
    let here = traces::here();
    let work = move || {
        let _here = here.attach();
        work()
    };
    match joined(tokio::task::spawn_blocking(work).await) {
        Some(value) => value,
        // Work is only cancelled before it starts, when the runtime shuts down; the caller goes with it.
        None => std::future::pending().await,
    }
}

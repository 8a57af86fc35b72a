//! The one way from an async task to work that blocks: the disk, the index, a long computation.

/// Runs `work` on tokio's pool for blocking work and waits for it. A panic inside goes on in the caller.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(value) => value,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // Work is only cancelled before it starts, when the runtime shuts down; the caller goes with it.
            Err(_) => std::future::pending().await,
        },
    }
}

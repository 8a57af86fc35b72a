//! Nodes to test with: in this process ([`TestNode`]) or as real processes ([`TestProcess`]), and a [`Client`] that says
//! in one line what a test means.

mod client;
mod command;
mod http;
mod links;
mod models;
mod node;
mod process;
mod random;

use std::time::Duration;

pub(crate) use client::{Client, Found, nearest, note};
pub(crate) use command::{Ran, program, ran, synapsenet};
pub(crate) use http::{HttpAnswer, ask_http};
pub(crate) use links::Links;
pub(crate) use models::{BUILT_IN, PASSAGES, SINES, VARIANTS, passages_model, tiny_model};
pub(crate) use node::{TestNode, config, ids, join, mesh_config, shared};
pub(crate) use process::TestProcess;
pub(crate) use random::{Random, noise};

/// How long anything may take before a test gives up on it: far more than it needs, so that a slow machine fails nothing.
const PATIENCE: Duration = Duration::from_secs(180);

/// Waits for something that is going to happen.
pub(crate) async fn within<T>(what: &str, happening: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, happening).await {
        Ok(value) => value,
        Err(_) => panic!("waited {PATIENCE:?} in vain for: {what}"),
    }
}

/// Waits until `condition` holds, asking again and again.
pub(crate) async fn wait_for(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let mut interval = tokio::time::interval(Duration::from_millis(20));
    within(what, async {
        while !condition().await {
            interval.tick().await;
        }
    })
    .await;
}

/// A folder that goes when the test ends, which a node takes for its data. Its path is short, because the path of a socket in
/// it has a limit.
pub(crate) fn folder() -> tempfile::TempDir {
    use std::os::unix::fs::PermissionsExt;
    let for_one_alone = std::fs::Permissions::from_mode(0o700);
    tempfile::Builder::new().prefix("syn").permissions(for_one_alone).tempdir().unwrap()
}

/// Makes a folder that a node takes for its data.
pub(crate) fn private_folder(path: &std::path::Path) {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new().mode(0o700).create(path).unwrap();
}

/// Milliseconds since 1970-01-01 UTC.
pub(crate) fn now_ms() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    since.as_millis() as u64
}

//! Whether what is stored is whole, and the index knows it.

use std::collections::HashSet;

use synapsenet_proto::rpc;
use synapsenet_storage::Slot;
use tonic::Status;

use super::status::CallError;
use crate::memory::Memory;

/// Problems that `verify` lists; a store with more needs no longer list.
const MAX_PROBLEMS: usize = 1000;

/// Checks every record and the indexes against the store, telling progress on the way.
///
/// # Errors
/// When the store cannot be read.
pub(super) fn verify(
    memory: &Memory,
    progress: &tokio::sync::mpsc::Sender<Result<rpc::VerifyResponse, Status>>,
) -> Result<rpc::VerifyResponse, CallError> {
    let spaces = memory.spaces();
    // Up to here the indexes had done everything before this began.
    let applied = spaces.current.applied();
    let view = memory.store.view()?;
    let mut last = (0, 0);
    let mut problems: Vec<String> = view
        .verify(&mut |checked, total| {
            last = (checked, total);
            // A slow client misses some progress; checking does not wait for it.
            let _ = progress.try_send(Ok(rpc::VerifyResponse { checked, total, ..Default::default() }));
        })?
        .iter()
        .map(ToString::to_string)
        .collect();
    // A vector is in the store a moment before it is in the index.
    let to_come: HashSet<Slot> = match view.index_log(applied)? {
        Some(events) => events.iter().map(|event| event.slot).collect(),
        None => HashSet::new(),
    };
    // What the indexer is still putting in is told by `status`.
    if !spaces.is_complete {
        problems.truncate(MAX_PROBLEMS);
        return Ok(rpc::VerifyResponse { checked: last.0, total: last.1, problems, finished: true });
    }
    view.for_each_vector(spaces.current.id(), &mut |slot, _| {
        let is_missing = !spaces.current.hnsw.contains(slot) && !to_come.contains(&slot);
        if is_missing && problems.len() < MAX_PROBLEMS {
            problems.push(format!("slot {slot} has a vector and is not in the index: restart the node"));
        }
        std::ops::ControlFlow::Continue(())
    })?;
    problems.truncate(MAX_PROBLEMS);
    Ok(rpc::VerifyResponse { checked: last.0, total: last.1, problems, finished: true })
}

//! Whether what is stored is whole, and the index knows it.

use std::collections::HashSet;

use synapsenet_storage::{Slot, View};
use tokio::sync::mpsc;

use crate::calls::{Call, CallError};
use crate::memory::Memory;
use crate::memory::words::Parts;

/// Problems that `verify` lists; a store with more needs no longer list.
const MAX_PROBLEMS: usize = 1000;

/// How far a check is, or what it found.
#[derive(Debug, Clone, Default)]
pub(crate) struct Verified {
    /// Records checked so far ...
    pub checked: u64,
    /// ... of so many.
    pub total: u64,
    /// What is wrong, one sentence each.
    pub problems: Vec<String>,
    /// Whether this is the end of it.
    pub is_finished: bool,
}

impl Call {
    /// Checks every record and the indexes against the store. Tells how far it is, as far as whoever listens keeps up, and at
    /// the end what it found.
    pub fn verify(&self, told: mpsc::Sender<Result<Verified, CallError>>) {
        let (call, progress) = (self.clone(), told.clone());
        let verifying = tokio::task::spawn_blocking(move || verify(&call.parts.memory, &progress));
        // It ends when everything is checked.
        tokio::spawn(async move {
            let last = verifying.await.unwrap_or_else(|error| Err(CallError::Broken(error.into())));
            // A client that hung up no longer wants to know.
            let _ = told.send(last).await;
        });
    }
}

/// Compares the index of words with the notes that are stored.
fn verify_words(memory: &Memory, view: &View, problems: &mut Vec<String>) -> Result<(), CallError> {
    /// Notes that are read at once.
    const STEP: usize = 1024;
    memory.words.follow(view)?;
    let digests = memory.words.words().digests();
    let (mut after, mut odd) = (0, Vec::new());
    loop {
        let notes = view.notes_after(after, STEP)?;
        let Some((last, _)) = notes.last() else { break };
        after = *last;
        for (slot, record) in &notes {
            // One that cannot be read is told of already.
            let Some(record) = record else { continue };
            if !Parts::of(record).with_text(|text| digests.holds(*slot, text)) {
                odd.push(*slot);
            }
        }
    }
    // Some may have gone since the view was opened.
    let now = memory.store.view()?;
    for slot in odd {
        let Some(record) = now.record(slot)? else { continue };
        if !Parts::of(&record).with_text(|text| memory.words.words().holds(slot, text)) {
            problems.push(format!(
                "slot {slot} is not in the index of words as it should be: stop the node and remove the folder index/words"
            ));
        }
    }
    Ok(())
}

fn verify(memory: &Memory, told: &mpsc::Sender<Result<Verified, CallError>>) -> Result<Verified, CallError> {
    let spaces = memory.spaces();
    // Up to here the indexes had done everything before this began.
    let applied = spaces.current.applied();
    let view = memory.store.view()?;
    let mut found = Verified { is_finished: true, ..Verified::default() };
    let problems = view.verify(&mut |checked, total| {
        (found.checked, found.total) = (checked, total);
        // A slow client misses some progress; checking does not wait for it.
        let _ = told.try_send(Ok(Verified { checked, total, ..Verified::default() }));
    })?;
    found.problems = problems.iter().map(ToString::to_string).collect();
    // What the indexer is still putting in is told by `status`.
    if spaces.is_complete {
        // A vector is in the store a moment before it is in the index.
        let to_come: HashSet<Slot> = match view.index_log(applied)? {
            Some(events) => events.iter().map(|event| event.slot).collect(),
            None => HashSet::new(),
        };
        view.for_each_vector(spaces.current.id(), &mut |slot, _| {
            let is_missing = !spaces.current.hnsw.contains(slot) && !to_come.contains(&slot);
            if is_missing && found.problems.len() < MAX_PROBLEMS {
                found
                    .problems
                    .push(format!("slot {slot} has a vector and is not in the index: restart the node"));
            }
            std::ops::ControlFlow::Continue(())
        })?;
    }
    verify_words(memory, &view, &mut found.problems)?;
    found.problems.truncate(MAX_PROBLEMS);
    Ok(found)
}

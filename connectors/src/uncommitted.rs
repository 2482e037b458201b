//! What a committing sink has prepared and not published yet, shared by the two halves of a subtask.
//!
//! A checkpoint may be aborted after its job ran. Its committables are then handed in again with the next one, so that
//! nothing depends on whether somebody else kept them; commits are idempotent.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tidegate_runtime::id::{AttemptId, CheckpointId};
use tidegate_runtime::sink::{Committable, SinkContext};

/// The committables of one subtask's attempt, by the checkpoint that they were made for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Uncommitted(Arc<Mutex<BTreeMap<CheckpointId, Vec<Committable>>>>);

impl Uncommitted {
    /// Adds what `checkpoint` prepared and returns all that has to be published with it, oldest first.
    pub(crate) fn add(&self, checkpoint: CheckpointId, prepared: Vec<Committable>) -> Vec<Committable> {
        let mut all = locked(&self.0);
        all.entry(checkpoint).or_default().extend(prepared);
        all.range(..=checkpoint).flat_map(|(_, committables)| committables.iter().cloned()).collect()
    }

    /// All up to `checkpoint` is published.
    pub(crate) fn settle(&self, checkpoint: CheckpointId) {
        locked(&self.0).retain(|prepared, _| *prepared > checkpoint);
    }
}

/// Where the two halves of a subtask find each other: both are made by the same sink.
#[derive(Clone, Debug, Default)]
pub(crate) struct Halves(Arc<Mutex<BTreeMap<u32, (AttemptId, Uncommitted)>>>);

impl Halves {
    /// What the halves of this subtask and attempt share.
    pub(crate) fn of(&self, cx: &SinkContext) -> Uncommitted {
        let mut halves = locked(&self.0);
        match halves.get(&cx.subtask.index) {
            Some((attempt, uncommitted)) if *attempt == cx.attempt => uncommitted.clone(),
            // A half of an abandoned attempt that was slow to be made.
            Some((attempt, _)) if *attempt > cx.attempt => Uncommitted::default(),
            _ => {
                let uncommitted = Uncommitted::default();
                halves.insert(cx.subtask.index, (cx.attempt, uncommitted.clone()));
                uncommitted
            }
        }
    }
}

/// Locks; what a panic left is whole, because nothing is done under these locks that could stop half way.
pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drive::sink_context;

    fn prepared(byte: u8) -> Vec<Committable> {
        vec![Committable(vec![byte])]
    }

    #[test]
    fn an_aborted_checkpoints_committables_come_with_the_next() {
        let halves = Halves::default();
        let (writer, committer) = (halves.of(&sink_context(0, 1)), halves.of(&sink_context(0, 1)));
        assert_eq!(writer.add(CheckpointId(1), prepared(1)), prepared(1));
        assert_eq!(writer.add(CheckpointId(2), prepared(2)), [prepared(1), prepared(2)].concat());
        committer.settle(CheckpointId(1));
        assert_eq!(writer.add(CheckpointId(3), prepared(3)), [prepared(2), prepared(3)].concat());
    }

    #[test]
    fn attempts_share_nothing() {
        let halves = Halves::default();
        halves.of(&sink_context(0, 1)).add(CheckpointId(1), prepared(1));
        assert_eq!(halves.of(&sink_context(0, 2)).add(CheckpointId(2), prepared(2)), prepared(2));
        assert_eq!(halves.of(&sink_context(0, 1)).add(CheckpointId(2), prepared(3)), prepared(3));
    }
}

//! What a committing sink has prepared and not published yet, shared by the two halves of a subtask.
//!
//! A checkpoint may be aborted before its job ran: what the job had to prepare is then prepared by the next one. What a
//! job returned is the runtime's to keep, aborted or not.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex};

use tidegate_runtime::Result;
use tidegate_runtime::id::{AttemptId, CheckpointId};
use tidegate_runtime::sink::{Committable, PrepareJob, SinkContext};
use tidegate_runtime::sync::lock;

use crate::error::Error;

/// What makes something durable and says how to publish it.
type Preparation = Box<dyn FnOnce() -> Result<Vec<Committable>> + Send>;

/// What one subtask's attempt has to prepare and to publish, by checkpoint.
#[derive(Clone, Default)]
pub(crate) struct Uncommitted(Arc<Shared>);

#[derive(Default)]
struct Shared {
    ledger: Mutex<Ledger>,
    /// Held while preparations run: those of a later checkpoint include the earlier ones.
    running: Mutex<()>,
}

#[derive(Default)]
struct Ledger {
    /// Entered at a barrier and not run yet. The job of an aborted checkpoint may never be run: its preparations are
    /// then done by the next job.
    entered: BTreeMap<CheckpointId, Vec<Preparation>>,
    settled: Option<CheckpointId>,
    /// Why a preparation failed: what it should have made durable may be lost whatever a later sync says (case 60).
    failed: Option<String>,
}

impl Uncommitted {
    /// Enters what `checkpoint` has to prepare and returns the job that does it.
    pub(crate) fn enter(
        &self,
        checkpoint: CheckpointId,
        prepare: impl FnOnce() -> Result<Vec<Committable>> + Send + 'static,
    ) -> PrepareJob {
        lock(&self.0.ledger).entered.entry(checkpoint).or_default().push(Box::new(prepare));
        let uncommitted = self.clone();
        Box::new(move || uncommitted.prepare(checkpoint))
    }

    /// Prepares all up to `checkpoint` that was not prepared yet and returns it, oldest first.
    fn prepare(&self, checkpoint: CheckpointId) -> Result<Vec<Committable>> {
        let _one_at_a_time = lock(&self.0.running);
        self.check_failed()?;
        let mut prepared = Vec::new();
        for preparation in self.take(checkpoint) {
            match preparation() {
                Ok(committables) => prepared.extend(committables),
                Err(error) => {
                    lock(&self.0.ledger).failed = Some(error.to_string());
                    return Err(error);
                }
            }
        }
        Ok(prepared)
    }

    /// Takes what was entered up to `until`, oldest first.
    fn take(&self, until: CheckpointId) -> Vec<Preparation> {
        let entered = &mut lock(&self.0.ledger).entered;
        let later = entered.split_off(&CheckpointId(until.0.saturating_add(1)));
        std::mem::replace(entered, later).into_values().flatten().collect()
    }

    /// Fails if a preparation has: the attempt can't go on.
    pub(crate) fn check_failed(&self) -> Result<()> {
        match &lock(&self.0.ledger).failed {
            None => Ok(()),
            Some(problem) => Err(Error::NotDurable { problem: problem.clone() }.into()),
        }
    }

    /// All up to `checkpoint` is published.
    pub(crate) fn settle(&self, checkpoint: CheckpointId) {
        let mut ledger = lock(&self.0.ledger);
        ledger.settled = ledger.settled.max(Some(checkpoint));
    }

    /// The newest checkpoint that is published.
    pub(crate) fn settled(&self) -> Option<CheckpointId> {
        lock(&self.0.ledger).settled
    }
}

impl fmt::Debug for Uncommitted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ledger = lock(&self.0.ledger);
        f.debug_struct("Uncommitted").field("settled", &ledger.settled).finish_non_exhaustive()
    }
}

/// Where the two halves of a subtask find each other: both are made by the same sink.
#[derive(Clone, Debug, Default)]
pub(crate) struct Halves(Arc<Mutex<BTreeMap<u32, (AttemptId, Uncommitted)>>>);

impl Halves {
    /// What the halves of this subtask and attempt share.
    pub(crate) fn of(&self, cx: &SinkContext) -> Uncommitted {
        let mut halves = lock(&self.0);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drive::sink_context;

    fn committables(bytes: &[u8]) -> Vec<Committable> {
        bytes.iter().map(|byte| Committable(vec![*byte])).collect()
    }

    fn enter(uncommitted: &Uncommitted, number: u8) -> PrepareJob {
        uncommitted.enter(CheckpointId(u64::from(number)), move || Ok(committables(&[number])))
    }

    #[test]
    fn what_a_dropped_job_had_to_prepare_comes_with_the_next() -> Result<()> {
        let halves = Halves::default();
        let (writer, committer) = (halves.of(&sink_context(0, 1)), halves.of(&sink_context(0, 1)));
        assert_eq!(enter(&writer, 1)()?, committables(&[1]));
        drop(enter(&writer, 2));
        let fourth = enter(&writer, 4);
        assert_eq!(enter(&writer, 3)()?, committables(&[2, 3]));
        assert_eq!(fourth()?, committables(&[4]));
        committer.settle(CheckpointId(3));
        assert_eq!(writer.settled(), Some(CheckpointId(3)));
        Ok(())
    }

    #[test]
    fn nothing_is_prepared_after_a_failure() {
        let uncommitted = Uncommitted::default();
        let failing = || Err(Error::NotDurable { problem: "EIO".to_owned() }.into());
        assert!(uncommitted.enter(CheckpointId(1), failing)().is_err());
        assert!(uncommitted.check_failed().is_err());
        assert!(enter(&uncommitted, 2)().is_err());
    }

    #[test]
    fn attempts_share_nothing() -> Result<()> {
        let halves = Halves::default();
        enter(&halves.of(&sink_context(0, 1)), 1)()?;
        assert_eq!(enter(&halves.of(&sink_context(0, 2)), 2)()?, committables(&[2]));
        assert_eq!(enter(&halves.of(&sink_context(0, 1)), 3)()?, committables(&[3]));
        Ok(())
    }
}

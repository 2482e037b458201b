//! A second handle to a job: looks at it and asks it for things, without keeping it alive.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};

use crate::error::{Error, Result};
use crate::handle::granted;
use crate::job::{JobShared, StopMode};
use crate::report::CheckpointRecord;
use crate::topology::{JobState, Topology};

/// Looks at a job for as long as it is there; whoever drops the [`Job`](crate::Job) ends it all the same.
#[derive(Clone)]
pub struct JobObserver {
    shared: Weak<JobShared>,
}

impl JobObserver {
    pub(crate) fn new(shared: &Arc<JobShared>) -> Self {
        Self { shared: Arc::downgrade(shared) }
    }

    /// The job's name.
    ///
    /// # Errors
    /// If the job was let go of.
    pub fn name(&self) -> Result<String> {
        Ok(self.shared()?.plan.job.clone())
    }

    /// Where it stands.
    ///
    /// # Errors
    /// If the job was let go of.
    pub fn state(&self) -> Result<JobState> {
        Ok(self.shared()?.state())
    }

    /// The live actor tree.
    ///
    /// # Errors
    /// If the job was let go of.
    pub fn topology(&self) -> Result<Topology> {
        Ok(self.shared()?.topology())
    }

    /// The newest checkpoints, oldest first.
    ///
    /// # Errors
    /// If the job was let go of.
    pub fn checkpoints(&self) -> Result<Vec<CheckpointRecord>> {
        Ok(self.shared()?.history.all())
    }

    /// Makes a checkpoint now and blocks until it is published; what is known of it.
    ///
    /// # Errors
    /// If it was aborted, or the job has ended.
    pub fn checkpoint(&self) -> Result<CheckpointRecord> {
        // Not held while it waits: the job may be let go of meanwhile.
        let answer = self.shared()?.begin_checkpoint()?;
        let made = granted(answer.recv().ok())?;
        let listed = self.checkpoints()?.into_iter().rev().find(|record| record.checkpoint == made);
        listed.ok_or_else(|| Error::Checkpoint {
            cause: format!("{made} was made, but is not listed any more"),
        })
    }

    /// As [`Job::kill`](crate::Job::kill).
    ///
    /// # Errors
    /// If no live actor has this path, or the job has ended.
    pub fn kill(&self, path: &str) -> Result<()> {
        let shared = self.shared()?;
        shared.check_running()?;
        shared.kill(path)
    }

    /// As [`Job::stop`](crate::Job::stop).
    ///
    /// # Errors
    /// If the job has ended.
    pub fn stop(&self, mode: StopMode) -> Result<()> {
        let shared = self.shared()?;
        shared.check_running()?;
        shared.stop(mode);
        Ok(())
    }

    fn shared(&self) -> Result<Arc<JobShared>> {
        let shared = self.shared.upgrade().filter(|shared| !shared.is_let_go.load(Ordering::Acquire));
        shared.ok_or_else(|| Error::Ended { state: "gone".to_owned() })
    }
}

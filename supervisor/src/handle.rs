//! The handle of a running job.

use std::any::Any;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tidegate_runtime::error::Failure;
use tidegate_runtime::id::{CheckpointId, Lineage};
use tidegate_runtime::sync::lock;
use tokio::runtime::Runtime;

use crate::error::{Error, Result};
use crate::job::{JobMessage, JobShared, StopMode};
use crate::observer::JobObserver;
use crate::post::Post;
use crate::report::{CheckpointRecord, JobReport, JobTotals};
use crate::root::RootMessage;
use crate::signals::listen;
use crate::topology::{JobState, Topology};

/// How long dropping a handle waits for the job's threads and files to be let go.
const DROP_DEADLINE: Duration = Duration::from_secs(5);

/// A running job. Dropping it stops the job without a last checkpoint: a new start goes on from the last completed
/// one.
pub struct Job {
    shared: Arc<JobShared>,
    root: Post<RootMessage>,
    control: Option<Runtime>,
    /// Dropped before the job is ended.
    kept: Mutex<Vec<Box<dyn Any + Send>>>,
}

impl Job {
    pub(crate) fn new(shared: Arc<JobShared>, root: Post<RootMessage>, control: Runtime) -> Self {
        Self { shared, root, control: Some(control), kept: Mutex::new(Vec::new()) }
    }

    /// The job's name.
    pub fn name(&self) -> &str {
        &self.shared.plan.job
    }

    /// The run.
    pub fn lineage(&self) -> Lineage {
        self.shared.lineage
    }

    /// Where its state is.
    pub fn state_dir(&self) -> &Path {
        &self.shared.state_dir
    }

    /// Where it stands.
    pub fn state(&self) -> JobState {
        self.shared.state()
    }

    /// Blocks until the job has ended.
    ///
    /// # Errors
    /// The failure that ended it.
    pub fn wait(&self) -> Result<JobReport> {
        checked(self.shared.outcome.wait())
    }

    /// Blocks until the job has ended, but not longer than this; then none.
    ///
    /// # Errors
    /// The failure that ended it.
    pub fn wait_for(&self, longest: Duration) -> Result<Option<JobReport>> {
        self.shared.outcome.wait_for(longest);
        self.shared.outcome.report().map(checked).transpose()
    }

    /// Waits until the job has ended. Cancel-safe.
    ///
    /// # Errors
    /// The failure that ended it.
    pub async fn finished(&self) -> Result<JobReport> {
        checked(self.shared.outcome.wait_async().await)
    }

    /// How it ended, once it has; a failed job's report too.
    pub fn report(&self) -> Option<JobReport> {
        self.shared.outcome.report()
    }

    /// Asks the job to stop; `wait` says when it has.
    ///
    /// # Errors
    /// If it has ended.
    pub fn stop(&self, mode: StopMode) -> Result<()> {
        self.shared.check_running()?;
        self.shared.stop(mode);
        Ok(())
    }

    /// Stops at once, without a last checkpoint; `wait` says when everything is let go.
    pub fn abandon(&self) {
        self.root.cast(RootMessage::Abandon);
    }

    /// Makes a checkpoint now and blocks until it is published.
    ///
    /// # Errors
    /// If it was aborted, or the job has ended.
    pub fn checkpoint(&self) -> Result<CheckpointId> {
        granted(self.shared.begin_checkpoint()?.recv().ok())
    }

    /// As `checkpoint`, without blocking the thread. Cancel-safe: the checkpoint is made all the same.
    ///
    /// # Errors
    /// As `checkpoint`.
    pub async fn checkpoint_async(&self) -> Result<CheckpointId> {
        self.shared.check_running()?;
        let (reply, answer) = tokio::sync::oneshot::channel();
        self.shared.tell(JobMessage::Checkpoint(Box::new(move |result| drop(reply.send(result)))));
        granted(answer.await.ok())
    }

    /// Kills an actor by its path: what it supervises ends with it, and it is replaced.
    ///
    /// # Errors
    /// If no live actor has this path.
    pub fn kill(&self, path: &str) -> Result<()> {
        self.shared.kill(path)
    }

    /// The live actor tree.
    pub fn topology(&self) -> Topology {
        self.shared.topology()
    }

    /// The newest checkpoints, oldest first.
    pub fn checkpoints(&self) -> Vec<CheckpointRecord> {
        self.shared.history.all()
    }

    /// Totals so far.
    pub fn totals(&self) -> JobTotals {
        self.shared.totals()
    }

    /// Whether sources have something left to read.
    pub fn has_input(&self) -> bool {
        self.shared.has_input.load(Ordering::Acquire) && self.report().is_none()
    }

    /// As `wait`, and listens to Ctrl-C and SIGTERM meanwhile: the first makes a last checkpoint and stops in order,
    /// so that a new start goes on from there; a second Ctrl-C ends the process at once. The report says which came.
    ///
    /// # Errors
    /// The failure that ended the job, or a machine that refuses signal handlers.
    pub fn wait_with_signals(&self) -> Result<JobReport> {
        if let Some(control) = &self.control {
            listen(control, &self.shared)?;
        }
        self.wait()
    }

    /// A second handle, which does not keep the job alive.
    pub fn observer(&self) -> JobObserver {
        JobObserver::new(&self.shared)
    }

    /// Keeps something for as long as this handle lives, and drops it before the job is ended: what serves the job.
    pub fn keep(&self, what: impl Any + Send) {
        lock(&self.kept).push(Box::new(what));
    }

    pub(crate) fn shared(&self) -> &Arc<JobShared> {
        &self.shared
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        lock(&self.kept).clear();
        if self.report().is_none() {
            self.abandon();
            self.shared.outcome.wait_for(DROP_DEADLINE);
        }
        // Not by waiting for its tasks: a handle may be dropped inside another async runtime.
        if let Some(control) = self.control.take() {
            control.shutdown_background();
        }
        self.shared.is_let_go.store(true, Ordering::Release);
    }
}

fn checked(report: JobReport) -> Result<JobReport> {
    match &report.failure {
        None => Ok(report),
        Some(failure) => {
            let failure: Box<Failure> = Box::new(failure.clone());
            Err(tidegate_runtime::Error::JobFailed(failure).into())
        }
    }
}

pub(crate) fn granted(answer: Option<Result<CheckpointId, String>>) -> Result<CheckpointId> {
    match answer {
        Some(Ok(checkpoint)) => Ok(checkpoint),
        Some(Err(cause)) => Err(Error::Checkpoint { cause }),
        None => Err(Error::Checkpoint { cause: "the coordinator was replaced; ask again".to_owned() }),
    }
}

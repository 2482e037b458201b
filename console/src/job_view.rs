//! What the endpoint asks of a running job.

use tidegate_supervisor::{CheckpointRecord, Error, JobObserver, JobState, StopMode, Topology};

/// A running job as the endpoint sees it.
///
/// All calls come from the endpoint's own threads, never from the job's; they may wait, and the job does not wait for
/// them.
pub trait JobView: Send + Sync + 'static {
    /// The job's name.
    ///
    /// # Errors
    /// The job is gone.
    fn name(&self) -> Result<String, Refusal>;
    /// Where it stands.
    ///
    /// # Errors
    /// The job is gone.
    fn state(&self) -> Result<JobState, Refusal>;
    /// Its actors now.
    ///
    /// # Errors
    /// The job is gone.
    fn topology(&self) -> Result<Topology, Refusal>;
    /// Its newest checkpoints, oldest first.
    ///
    /// # Errors
    /// The job is gone.
    fn checkpoints(&self) -> Result<Vec<CheckpointRecord>, Refusal>;
    /// Triggers a checkpoint and waits until it is completed.
    ///
    /// # Errors
    /// It was not completed.
    fn checkpoint(&self) -> Result<CheckpointRecord, Refusal>;
    /// Kills the actor at a path.
    ///
    /// # Errors
    /// There is none, or it can't be killed now.
    fn kill(&self, actor: &str) -> Result<(), Refusal>;
    /// Begins to stop the job, and does not wait for its end.
    ///
    /// # Errors
    /// It has ended already.
    fn stop(&self, mode: StopMode) -> Result<(), Refusal>;
}

/// Why a job did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Which sort of reason.
    pub kind: RefusalKind,
    /// What is wrong.
    pub error: String,
    /// What to do next.
    pub hint: String,
}

/// Which sort of reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusalKind {
    /// No such actor.
    Unknown,
    /// Not in the state that the job is in.
    Conflict,
    /// It was tried and failed.
    Failed,
}

impl Refusal {
    /// A refusal.
    pub fn new(kind: RefusalKind, error: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { kind, error: error.into(), hint: hint.into() }
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        let (kind, hint) = match &error {
            Error::UnknownActor { .. } => {
                (RefusalKind::Unknown, "it may be restarting: look with `tidegate topology`")
            }
            Error::Ended { .. } => (RefusalKind::Conflict, "start the job again"),
            Error::Checkpoint { .. } => {
                (RefusalKind::Failed, "try again; `tidegate checkpoints` lists what failed and why")
            }
            _ => (RefusalKind::Failed, "see the job's log"),
        };
        Refusal::new(kind, error.to_string(), hint)
    }
}

impl JobView for JobObserver {
    fn name(&self) -> Result<String, Refusal> {
        Ok(JobObserver::name(self)?)
    }

    fn state(&self) -> Result<JobState, Refusal> {
        Ok(JobObserver::state(self)?)
    }

    fn topology(&self) -> Result<Topology, Refusal> {
        Ok(JobObserver::topology(self)?)
    }

    fn checkpoints(&self) -> Result<Vec<CheckpointRecord>, Refusal> {
        Ok(JobObserver::checkpoints(self)?)
    }

    fn checkpoint(&self) -> Result<CheckpointRecord, Refusal> {
        Ok(JobObserver::checkpoint(self)?)
    }

    fn kill(&self, actor: &str) -> Result<(), Refusal> {
        Ok(JobObserver::kill(self, actor)?)
    }

    fn stop(&self, mode: StopMode) -> Result<(), Refusal> {
        Ok(JobObserver::stop(self, mode)?)
    }
}

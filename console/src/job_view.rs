//! What the endpoint asks of a running job.

use crate::topology::{CheckpointRecord, StopMode, Topology};

/// A running job as the endpoint sees it.
///
/// All calls come from the endpoint's own threads, never from the job's; they may wait, and the job must not wait for
/// them.
pub trait JobView: Send + Sync + 'static {
    /// The job's name.
    fn name(&self) -> String;
    /// Its actors now.
    fn topology(&self) -> Topology;
    /// Its latest checkpoints, oldest first.
    fn checkpoints(&self) -> Vec<CheckpointRecord>;
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
    /// It is stopping already.
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

//! What the supervisor needs of durable storage, as traits: manifests on the job's side, tables on the worker's.

use std::sync::Arc;

use tidegate_runtime::checkpoint::manifest::Manifest;
use tidegate_runtime::error::Result;
use tidegate_runtime::id::{AttemptId, CheckpointId, SubtaskId};
use tidegate_runtime::key::KeyHash;
use tidegate_runtime::state::{RunRefs, StateLease, StateRegistry};

/// Where manifests go. Called on one thread, in order.
pub(crate) trait ManifestStore: Send + Sync {
    /// Makes a checkpoint exist: durable and atomic. Then what no retained one needs may go.
    fn publish(&self, manifest: &Manifest) -> Result<()>;
    /// Makes sure that a checkpoint whose publication failed does not exist; an error leaves that open.
    fn settle(&self) -> Result<()>;
    /// Records how the run has ended, if it is not to be resumed as it is, and lets go of the directory.
    fn close(&self, end: Option<RunEnd>) -> Result<()>;
}

/// How a run ends in its directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RunEnd {
    /// A new start begins afresh.
    Finished,
    /// A new start goes on from the last checkpoint.
    Failed,
}

/// What a subtask's tables are opened with.
pub(crate) struct TableRequest {
    pub(crate) subtask: SubtaskId,
    pub(crate) attempt: AttemptId,
    pub(crate) hashes: (KeyHash, KeyHash),
    pub(crate) restore: RunRefs,
}

/// A subtask's states and the lease behind them.
pub(crate) type SubtaskTables = (StateRegistry, Arc<dyn StateLease>);

/// Where rows of tables go: the worker's store.
pub(crate) trait TableStore: Send + Sync {
    /// A subtask's states for one attempt, rolled back to what it restores.
    fn open(&self, request: TableRequest) -> Result<SubtaskTables>;
    /// These subtasks will seal rows for the checkpoint.
    fn begin(&self, checkpoint: CheckpointId, subtasks: &[SubtaskId]);
    /// The checkpoint will not complete; its rows stay for the next one.
    fn abort(&self, checkpoint: CheckpointId);
}

//! What the supervisor needs of durable storage, as traits: manifests on the job's side, leases on the worker's.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tidegate_runtime::checkpoint::CheckpointKind;
use tidegate_runtime::error::Result;
use tidegate_runtime::graph::Vertex;
use tidegate_runtime::id::{AttemptId, CheckpointId, OperatorId, SubtaskId};
use tidegate_runtime::state::{StateLease, StateRegistry};

use crate::message::SubtaskSnapshot;

/// A completed checkpoint: everything to restore a job from, besides the rows of tables.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct JobSnapshot {
    pub(crate) checkpoint: CheckpointId,
    pub(crate) kind: CheckpointKind,
    pub(crate) parts: BTreeMap<SubtaskId, SubtaskSnapshot>,
    /// Splits that each source's enumerator knew, at their first positions (case 30).
    pub(crate) splits: BTreeMap<OperatorId, Vec<(String, Vec<u8>)>>,
}

/// Where manifests go. Called on one thread, in order.
pub(crate) trait ManifestStore: Send + Sync {
    /// Makes a checkpoint exist: durable and atomic. Returns its bytes.
    fn publish(&self, snapshot: &JobSnapshot) -> Result<u64>;
    /// Records that the run is finished: a new start begins afresh.
    fn finish(&self) -> Result<()>;
    /// Where.
    fn dir(&self) -> PathBuf;
}

/// Tells the owner of an attempt that the store has made a checkpoint's rows durable (bytes), or could not.
pub(crate) type OnDurable = Arc<dyn Fn(CheckpointId, Result<u64>) + Send + Sync>;

/// Where rows of tables go.
pub(crate) trait TableStore: Send + Sync {
    /// A subtask's states for one attempt, rolled back to the checkpoint that it restores.
    fn open(&self, vertex: &Vertex, subtask: SubtaskId, attempt: &AttemptStart) -> Result<SubtaskTables>;
    /// These subtasks of an attempt will seal the checkpoint's rows; `done` is called once they are durable.
    fn begin(&self, checkpoint: CheckpointId, attempt: AttemptId, subtasks: &[SubtaskId], done: OnDurable);
    /// The checkpoint will not complete; its rows stay for the next one.
    fn abort(&self, checkpoint: CheckpointId);
    /// The checkpoint is published: nothing older is needed.
    fn completed(&self, checkpoint: CheckpointId);
}

/// What an attempt starts from.
pub(crate) struct AttemptStart {
    pub(crate) attempt: AttemptId,
    pub(crate) restored: Option<CheckpointId>,
}

/// A subtask's states and the lease behind them.
pub(crate) type SubtaskTables = (StateRegistry, Arc<dyn StateLease>);

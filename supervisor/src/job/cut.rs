//! The manifest of a checkpoint, from the parts of its subtasks.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use tidegate_runtime::checkpoint::manifest::{
    CheckpointKind, Manifest, OperatorSnapshot, PlanFingerprint, SubtaskSnapshot,
};
use tidegate_runtime::id::{AttemptId, CheckpointId, SubtaskId};
use tidegate_runtime::time::Timestamp;

use super::shared::JobShared;
use crate::source_state::{SourceMemory, encode_memory};

/// A consistent cut of the job: every part is in.
pub(crate) struct Cut {
    pub(crate) checkpoint: CheckpointId,
    pub(crate) kind: CheckpointKind,
    pub(crate) triggered: Timestamp,
    pub(crate) parts: BTreeMap<SubtaskId, SubtaskSnapshot>,
    /// What the enumerators remembered at the trigger, by source name.
    pub(crate) sources: BTreeMap<String, SourceMemory>,
}

impl Cut {
    /// As it is written.
    pub(crate) fn manifest(self, job: &JobShared) -> Manifest {
        let mut operators: BTreeMap<String, OperatorSnapshot> = BTreeMap::new();
        // In order of subtask id, so each operator's parts come in order of index.
        for (subtask, part) in self.parts {
            let name = job.plan.vertex(subtask.operator).name.clone();
            operators.entry(name).or_default().subtasks.push(part);
        }
        let enumerators = self.sources.into_iter().map(|(name, memory)| (name, encode_memory(memory)));
        let mut manifest = Manifest {
            checkpoint: self.checkpoint,
            lineage: job.lineage,
            kind: self.kind,
            plan: PlanFingerprint { parts: job.plan.identity() },
            attempt: AttemptId(job.last_attempt.load(Ordering::Acquire)),
            next_checkpoint: CheckpointId(self.checkpoint.0 + 1),
            triggered: self.triggered,
            completed: job.clock.now(),
            written_bytes: 0,
            state_bytes: 0,
            operators,
            enumerators: enumerators.collect(),
        };
        let before = job.latest().map(|latest| latest.restore_point().runs).unwrap_or_default();
        let runs = manifest.restore_point().runs;
        manifest.state_bytes = runs.iter().map(|run| run.bytes).sum();
        let written = runs.iter().filter(|run| !before.iter().any(|old| old.id == run.id));
        manifest.written_bytes = written.map(|run| run.bytes).sum();
        manifest
    }
}

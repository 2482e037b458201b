//! Keyed state without a store: for graphs that have none.

use tidegate_runtime::error::Result;
use tidegate_runtime::id::{CheckpointId, SubtaskId};
use tidegate_runtime::state::StateRegistry;

use crate::storage::{SubtaskTables, TableRequest, TableStore};

/// Refuses every snapshot of a table.
pub(crate) struct NoTables;

impl TableStore for NoTables {
    fn open(&self, _: TableRequest<'_>) -> Result<SubtaskTables> {
        let states = StateRegistry::without_store();
        let lease = std::sync::Arc::clone(states.lease());
        Ok((states, lease))
    }

    fn begin(&self, _: CheckpointId, _: &[SubtaskId]) {}

    fn abort(&self, _: CheckpointId) {}
}

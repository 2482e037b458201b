//! What a worker owns across the restarts of its actors.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tidegate_runtime::graph::Plan;
use tidegate_runtime::id::{AttemptId, CheckpointId, Lineage, SubtaskId};
use tidegate_runtime::sync::lock;
use tidegate_runtime::time::Clock;

use super::actor::WorkerMessage;
use super::attempt::Attempt;
use super::data_plane::DataPlane;
use crate::directory::Directory;
use crate::message::{ReportLink, WorkerReport};
use crate::post::Slot;
use crate::report::Counters;
use crate::storage::TableStore;
use crate::timer::Timers;

/// A worker, whoever its actors are.
pub(crate) struct WorkerShared {
    pub(crate) plan: Arc<Plan>,
    pub(crate) clock: Clock,
    pub(crate) lineage: Lineage,
    pub(crate) seed: u64,
    pub(crate) step_timeout: Duration,
    pub(crate) directory: Arc<Directory>,
    pub(crate) timers: Arc<Timers>,
    pub(crate) data: DataPlane,
    pub(crate) tables: Arc<dyn TableStore>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) reports: Arc<dyn ReportLink>,
    /// All attempts of which something is alive.
    pub(crate) attempts: Mutex<BTreeMap<AttemptId, Arc<Attempt>>>,
    /// The current worker actor.
    pub(crate) post: Arc<Slot<WorkerMessage>>,
}

impl WorkerShared {
    /// Tells the current worker actor.
    pub(crate) fn tell(&self, message: WorkerMessage) {
        self.post.tell(message);
    }

    pub(crate) fn report(&self, report: WorkerReport) {
        self.reports.report(report);
    }

    pub(crate) fn all_attempts(&self) -> Vec<Arc<Attempt>> {
        lock(&self.attempts).values().cloned().collect()
    }

    /// The readable path of a subtask's actor.
    pub(crate) fn path(&self, subtask: SubtaskId) -> String {
        format!("{}/{}", self.plan.vertex(subtask.operator).name, subtask.index)
    }

    /// Has a subtask look for work.
    pub(crate) fn wake(&self, subtask: SubtaskId) {
        for attempt in self.all_attempts() {
            if let Some(cell) = attempt.subtask(subtask) {
                cell.cast(super::subtask::SubtaskMessage::Work);
            }
        }
    }

    /// Tells all attempts that the store has written a checkpoint's rows, or could not.
    pub(crate) fn on_rows(&self, checkpoint: CheckpointId, outcome: &super::deployment::RowsOutcome) {
        for attempt in self.all_attempts() {
            attempt.tell(super::deployment::DeploymentMessage::Rows(checkpoint, outcome.clone()));
        }
    }
}

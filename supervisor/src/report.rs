//! What a job has done: totals, the history of checkpoints, and the report at its end.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tidegate_runtime::checkpoint::manifest::CheckpointKind;
use tidegate_runtime::error::Failure;
use tidegate_runtime::id::{CheckpointId, Lineage};
use tidegate_runtime::metrics::Figure;
use tidegate_runtime::sync::lock;

use crate::topology::JobState;

/// Checkpoints that the history keeps.
const HISTORY_MAX: usize = 1_000;

/// Counters of the job's own.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) restarts: Figure,
    pub(crate) kills: Figure,
    pub(crate) checkpoints_completed: Figure,
    pub(crate) checkpoints_aborted: Figure,
    pub(crate) stale_messages: Figure,
    pub(crate) abandoned_runtimes: Figure,
}

/// Totals over all subtasks and attempts of this process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobTotals {
    /// Records read by all sources since the run began, each counted once.
    pub records_in: u64,
    /// How many of them an earlier process read, before this one resumed the run.
    pub resumed_records: u64,
    /// Restarts of regions.
    pub restarts: u64,
    /// Actors killed by a person or chaos while there was input left.
    pub kills: u64,
    /// Records read again after a restore.
    pub replayed_records: u64,
    /// Records that came after their windows or timers had fired.
    pub late_records: u64,
    /// Records whose disorder was above the watermark strategy's bound.
    pub disordered_records: u64,
    /// Records that a source could not read and left out by policy.
    pub skipped_records: u64,
    /// Completed checkpoints.
    pub checkpoints_completed: u64,
    /// Aborted checkpoints.
    pub checkpoints_aborted: u64,
    /// Acknowledgements and reports of attempts or checkpoints that were over, dropped.
    pub stale_messages: u64,
    /// Sets of threads given up because user code hung on them.
    pub abandoned_runtimes: u64,
}

/// What became of a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckpointStatus {
    /// Under way.
    InProgress,
    /// Published.
    Completed,
    /// Given up.
    Aborted {
        /// Why.
        cause: String,
    },
}

/// One checkpoint in the history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckpointRecord {
    /// Which.
    pub checkpoint: CheckpointId,
    /// What for.
    pub kind: CheckpointKind,
    /// What became of it.
    pub status: CheckpointStatus,
    /// Processing time of its trigger, in milliseconds since the epoch.
    pub triggered_ms: i64,
    /// From trigger to its end, in milliseconds.
    pub duration_ms: u64,
    /// Bytes of the rows of keyed state that were written for it.
    pub bytes: u64,
}

/// The newest checkpoints, oldest first.
#[derive(Debug, Default)]
pub(crate) struct History(Mutex<VecDeque<CheckpointRecord>>);

impl History {
    pub(crate) fn begin(&self, checkpoint: CheckpointId, kind: CheckpointKind, triggered_ms: i64) {
        let mut records = lock(&self.0);
        if records.len() == HISTORY_MAX {
            records.pop_front();
        }
        let status = CheckpointStatus::InProgress;
        records.push_back(CheckpointRecord {
            checkpoint,
            kind,
            status,
            triggered_ms,
            duration_ms: 0,
            bytes: 0,
        });
    }

    pub(crate) fn end(
        &self,
        checkpoint: CheckpointId,
        status: CheckpointStatus,
        duration: Duration,
        bytes: u64,
    ) {
        let mut records = lock(&self.0);
        if let Some(record) = records.iter_mut().rev().find(|record| record.checkpoint == checkpoint) {
            record.status = status;
            record.duration_ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
            record.bytes = bytes;
        }
    }

    /// Ends a checkpoint whose end nobody saw.
    pub(crate) fn end_open(&self, checkpoint: CheckpointId, status: CheckpointStatus) {
        let mut records = lock(&self.0);
        let is_open = |record: &&mut CheckpointRecord| {
            record.checkpoint == checkpoint && record.status == CheckpointStatus::InProgress
        };
        if let Some(record) = records.iter_mut().find(is_open) {
            record.status = status;
        }
    }

    pub(crate) fn all(&self) -> Vec<CheckpointRecord> {
        lock(&self.0).iter().cloned().collect()
    }
}

/// Which signal stopped a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StopSignal {
    /// Ctrl-C.
    Interrupt,
    /// SIGTERM.
    Terminate,
}

/// How a job ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobReport {
    /// The job's name.
    pub job: String,
    /// The run.
    pub lineage: Lineage,
    /// `Finished`, `Stopped` or `Failed`.
    pub state: JobState,
    /// Why it failed.
    pub failure: Option<Failure>,
    /// The last completed checkpoint.
    pub last_checkpoint: Option<CheckpointId>,
    /// Totals of this process.
    pub totals: JobTotals,
    /// How long this process ran it.
    pub elapsed: Duration,
    /// Where its state is.
    pub state_dir: PathBuf,
    /// The signal that stopped it, if one did.
    pub signal: Option<StopSignal>,
}

impl JobReport {
    /// The exit code that a program should end with: 0, 1 for a failed job, 130 or 143 for one stopped by a signal.
    pub fn exit_code(&self) -> i32 {
        match (self.state, self.signal) {
            (JobState::Failed, _) => 1,
            (JobState::Stopped, Some(StopSignal::Interrupt)) => 130,
            (JobState::Stopped, Some(StopSignal::Terminate)) => 143,
            _ => 0,
        }
    }
}

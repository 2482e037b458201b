//! What the deciding side and the owning side say to each other: plain data, so that it can travel between processes.

use serde::{Deserialize, Serialize};
use tidegate_runtime::checkpoint::manifest::SubtaskSnapshot;
use tidegate_runtime::config::AfterLastRecord;
use tidegate_runtime::error::Failure;
use tidegate_runtime::id::{AttemptId, CheckpointId, RegionId, SubtaskId};

/// The deciding side's way to the workers.
pub(crate) trait ControlLink: Send + Sync {
    /// Sends a command; it is lost when the worker is gone, which is told by `WorkerReport`s that don't come.
    fn command(&self, command: WorkerCommand);
}

/// The owning side's way to the job.
pub(crate) trait ReportLink: Send + Sync {
    /// Sends a report; it is lost when the job is gone.
    fn report(&self, report: WorkerReport);
}

/// How an attempt begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum DeployMode {
    /// Its subtasks work.
    Run,
    /// The run's last checkpoint is made: only what it prepared is committed (case 100, 101).
    CommitOnly,
}

/// From the job to a worker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum WorkerCommand {
    /// Start an attempt.
    Deploy(Deployment),
    /// End all attempts of a region below `fence`, and never start one of them later.
    Cancel {
        /// Which region.
        region: RegionId,
        /// The first attempt that may run.
        fence: AttemptId,
    },
    /// Have the sources start a checkpoint.
    Trigger {
        /// Which.
        checkpoint: CheckpointId,
        /// Those that take part.
        attempts: Vec<AttemptId>,
    },
    /// The checkpoint will not complete.
    Abort(CheckpointId),
    /// The checkpoint is published.
    Completed(CheckpointId),
    /// A split for a source's subtask.
    AssignSplit {
        /// For which attempt.
        attempt: AttemptId,
        /// For whom.
        subtask: SubtaskId,
        /// The encoded split.
        split: Vec<u8>,
    },
    /// No split will come for a source's subtask.
    NoMoreSplits {
        /// For which attempt.
        attempt: AttemptId,
        /// For whom.
        subtask: SubtaskId,
        /// What it does then.
        after: AfterLastRecord,
    },
    /// Sources read no further.
    Pause(AttemptId),
    /// Sources end their input.
    Drain(AttemptId),
}

/// An attempt to be started.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Deployment {
    /// Of which region.
    pub(crate) region: RegionId,
    /// Its number.
    pub(crate) attempt: AttemptId,
    /// What to do.
    pub(crate) mode: DeployMode,
    /// What to restore from.
    pub(crate) checkpoint: Option<CheckpointId>,
    /// The parts of that checkpoint, by subtask.
    pub(crate) parts: Vec<(SubtaskId, SubtaskSnapshot)>,
}

/// Why an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Origin {
    /// By itself: the restart policy counts it.
    Failure,
    /// A person or chaos killed one of its actors.
    Asked,
    /// Another attempt's hung step cost the threads that it ran on, or its supervisors were replaced.
    Collateral,
}

/// From a worker to the job.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum WorkerReport {
    /// All subtasks of the attempt are open.
    Up {
        /// Its region.
        region: RegionId,
        /// Which.
        attempt: AttemptId,
    },
    /// The attempt has ended before its time; `Gone` follows.
    Failed {
        /// Its region.
        region: RegionId,
        /// Which.
        attempt: AttemptId,
        /// Why, and where.
        failure: Failure,
        /// Whether the restart policy counts it.
        origin: Origin,
    },
    /// The worker's actor was replaced: all attempts end, and commands that were under way are lost.
    Replaced {
        /// Whether the restart policy counts it.
        origin: Origin,
    },
    /// Nothing of the region's attempts below the fence is left.
    Gone {
        /// The region.
        region: RegionId,
        /// As it was given.
        fence: AttemptId,
    },
    /// A subtask's part of a checkpoint is durable.
    Ack {
        /// Of which attempt.
        attempt: AttemptId,
        /// Which checkpoint.
        checkpoint: CheckpointId,
        /// Whose.
        subtask: SubtaskId,
        /// The part.
        part: SubtaskSnapshot,
    },
    /// A subtask can't take part in a checkpoint.
    Decline {
        /// Of which attempt.
        attempt: AttemptId,
        /// Which checkpoint.
        checkpoint: CheckpointId,
        /// Why.
        cause: String,
    },
    /// A source's subtask has no split.
    RequestSplit {
        /// Of which attempt.
        attempt: AttemptId,
        /// Whose.
        subtask: SubtaskId,
    },
    /// All input of a subtask has ended.
    Ended {
        /// Of which attempt.
        attempt: AttemptId,
        /// Whose.
        subtask: SubtaskId,
    },
    /// Everything prepared up to this checkpoint is committed.
    Committed {
        /// By which attempt.
        attempt: AttemptId,
        /// Up to and including this.
        checkpoint: CheckpointId,
    },
}

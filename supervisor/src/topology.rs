//! The live actor tree as data, in the words of `tidegate topology`.

use serde::{Deserialize, Serialize};
use tidegate_runtime::id::Lineage;
use tidegate_runtime::metrics::Activity;

/// How far the attempts of two starts of the process stand apart in their numbers: a start does not know how many
/// attempts the one before it made after its last checkpoint, and none may have a number twice, for output is told
/// apart by it.
pub const ATTEMPTS_PER_START: u64 = 1_000_000;

/// What an actor is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ActorKind {
    /// The root of the tree.
    Runtime,
    /// Decides about the job's life.
    Job,
    /// Coordinates checkpoints.
    Checkpoints,
    /// Assigns the splits of a source.
    Enumerator,
    /// Decides about one region.
    Region,
    /// Owns what runs in a process.
    Worker,
    /// Owns one attempt of a region.
    Deployment,
    /// Runs one instance of an operator.
    Subtask,
}

/// Whether an actor lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum ActorState {
    /// Not yet started.
    Starting,
    /// Takes messages.
    Running,
    /// Has failed or was killed, and will be replaced.
    Restarting,
    /// Has ended.
    Stopped,
}

impl ActorState {
    pub(crate) fn from_u8(value: u8) -> Self {
        match value {
            0 => Self::Starting,
            1 => Self::Running,
            2 => Self::Restarting,
            _ => Self::Stopped,
        }
    }
}

/// Where a job stands in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    /// Its actors are being started.
    Created,
    /// All regions run.
    Running,
    /// A region is between two attempts.
    Restarting,
    /// It was asked to stop and makes its last checkpoint.
    Stopping,
    /// Its input has ended and all output is committed.
    Finished,
    /// It was stopped and can be resumed.
    Stopped,
    /// It was given up.
    Failed,
}

impl std::fmt::Display for JobState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Created => "created",
            Self::Running => "running",
            Self::Restarting => "restarting",
            Self::Stopping => "stopping",
            Self::Finished => "finished",
            Self::Stopped => "stopped",
            Self::Failed => "failed",
        })
    }
}

/// The live actor tree of a job.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Topology {
    /// The job's name.
    pub job: String,
    /// The run; as text, because JSON's readers round numbers of this size.
    #[serde(with = "lineage_text")]
    pub lineage: Lineage,
    /// Where the job stands.
    pub state: JobState,
    /// Processing time of this picture, in milliseconds since the epoch.
    pub at_ms: i64,
    /// All actors, by path.
    pub actors: Vec<ActorInfo>,
    /// Between operators, as they were planned.
    pub edges: Vec<EdgeInfo>,
}

/// One edge between operators.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EdgeInfo {
    /// The operator that sends.
    pub from: String,
    /// The operator that takes.
    pub to: String,
    /// How records are divided: `forward`, `hash`, `rebalance` or `broadcast`.
    pub partitioning: String,
}

/// One actor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ActorInfo {
    /// Readable and stable: `count/1`, `region-0`, `sources/lines`.
    pub path: String,
    /// What it is.
    pub kind: ActorKind,
    /// Path of its supervisor; empty for the root.
    pub parent: String,
    /// Whether it lives.
    pub state: ActorState,
    /// The attempt that it belongs to, for deployments, subtasks and who decides about them. Each start of the process
    /// that resumes the run begins [`ATTEMPTS_PER_START`] higher.
    pub attempt: Option<u64>,
    /// How often it was started again.
    pub restarts: u64,
    /// Messages in its mailbox.
    pub mailbox_depth: u64,
    /// What only subtasks have.
    pub subtask: Option<SubtaskInfo>,
}

/// The figures of a subtask.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SubtaskInfo {
    /// What it does, or why it is parked.
    pub activity: Activity,
    /// Records taken in.
    pub records_in: u64,
    /// Records sent on, those of former attempts too.
    pub records_out: u64,
    /// Records taken in a second.
    pub records_in_per_second: f64,
    /// Records sent on a second.
    pub records_out_per_second: f64,
    /// Records in a batch taken in, on average.
    pub batch_fill: f64,
    /// Its inputs.
    pub inputs: Vec<InputInfo>,
    /// Its watermark, in milliseconds: what it has taken in, for a source what it has sent on. None before the first.
    pub watermark_ms: Option<i64>,
    /// The highest event time that any subtask of the job has read, minus its watermark, in milliseconds.
    pub watermark_lag_ms: Option<i64>,
    /// Entries of keyed state in memory.
    pub state_entries: u64,
    /// Bytes of keyed state in memory.
    pub state_bytes: u64,
    /// The newest checkpoint that it took part in; none before the first.
    pub last_checkpoint: Option<u64>,
    /// Steps that one user call made longer than the budget.
    pub overshoots: u64,
    /// Late records.
    pub late_records: u64,
    /// Records that were read again after a restore.
    pub replayed_records: u64,
}

/// One lane of a subtask's gate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputInfo {
    /// Path of the subtask that sends.
    pub producer: String,
    /// Bytes that wait.
    pub queued_bytes: u64,
    /// Batches and control elements that wait.
    pub queued_elements: u64,
    /// Whether it waits for an alignment.
    pub is_blocked: bool,
}

mod lineage_text {
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};
    use tidegate_runtime::id::Lineage;

    pub(super) fn serialize<S: Serializer>(lineage: &Lineage, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(lineage)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Lineage, D::Error> {
        let text = String::deserialize(deserializer)?;
        u128::from_str_radix(&text, 16).map(Lineage).map_err(D::Error::custom)
    }
}

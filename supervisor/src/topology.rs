//! The live actor tree as data: what `tidegate topology` prints.

use serde::{Deserialize, Serialize};
use tidegate_runtime::graph::{Plan, PlanEdge};
use tidegate_runtime::id::Lineage;
use tidegate_runtime::metrics::Activity;
use tidegate_runtime::sync::lock;
use tidegate_runtime::time::Timestamp;

use crate::directory::{Directory, Entry, SubtaskEntry};

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
    /// Records sent on.
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

/// The edges of a plan as data.
pub(crate) fn edges(plan: &Plan) -> Vec<EdgeInfo> {
    let name = |operator| plan.vertex(operator).name.clone();
    let info = |edge: &PlanEdge| EdgeInfo {
        from: name(edge.from),
        to: name(edge.to),
        partitioning: format!("{:?}", edge.partitioning).to_lowercase(),
    };
    plan.edges.iter().map(info).collect()
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

impl Directory {
    /// All actors as data.
    pub(crate) fn actors(&self) -> Vec<ActorInfo> {
        let entries = self.all();
        let subtasks = entries.iter().filter_map(|entry| entry.subtask.as_ref());
        let newest = subtasks.map(|subtask| subtask.status().event_time()).max().unwrap_or(Timestamp::MIN);
        entries.iter().map(|entry| actor_info(entry, newest)).collect()
    }

    /// Measures rates since the last call.
    pub(crate) fn sample_rates(&self, seconds: f64) {
        for entry in self.all() {
            if let Some(subtask) = &entry.subtask {
                let status = subtask.status();
                // Without what an earlier process read.
                let read = status.records_in.get().saturating_sub(status.resumed_records.get());
                let now = (read, status.records_out.get());
                let mut rates = lock(&subtask.rates);
                // A restored source counts again from an earlier position.
                let rate = |now: u64, before: u64| now.saturating_sub(before) as f64 / seconds;
                rates.records_in = rate(now.0, rates.sampled.0);
                rates.records_out = rate(now.1, rates.sampled.1);
                rates.sampled = now;
            }
        }
    }
}

fn actor_info(entry: &Entry, newest: Timestamp) -> ActorInfo {
    let attempt = entry.attempt.load(std::sync::atomic::Ordering::Relaxed);
    ActorInfo {
        path: entry.path.clone(),
        kind: entry.kind,
        parent: entry.parent.clone(),
        state: entry.state(),
        attempt: (attempt > 0).then_some(attempt),
        restarts: entry.restarts(),
        mailbox_depth: entry.mailbox_depth(),
        subtask: entry.subtask.as_ref().map(|subtask| subtask_info(subtask, newest)),
    }
}

fn subtask_info(subtask: &SubtaskEntry, newest: Timestamp) -> SubtaskInfo {
    let status = subtask.status();
    let rates = *lock(&subtask.rates);
    let watermark = match status.watermark() {
        Timestamp::MIN => status.emitted_watermark(),
        taken_in => taken_in,
    };
    let has_watermark = watermark != Timestamp::MIN && watermark != Timestamp::MAX;
    let has_lag = has_watermark && newest != Timestamp::MIN;
    let lag = has_lag.then(|| newest.0.saturating_sub(watermark.0).max(0));
    let batches = status.batches_in.get();
    SubtaskInfo {
        activity: status.activity(),
        records_in: status.records_in.get(),
        records_out: status.records_out.get(),
        records_in_per_second: rates.records_in,
        records_out_per_second: rates.records_out,
        batch_fill: if batches == 0 { 0.0 } else { status.records_in.get() as f64 / batches as f64 },
        inputs: inputs(subtask),
        watermark_ms: (watermark != Timestamp::MIN).then_some(watermark.0),
        watermark_lag_ms: lag,
        state_entries: status.state_entries.get(),
        state_bytes: status.state_bytes.get(),
        last_checkpoint: Some(status.last_checkpoint.get()).filter(|id| *id > 0),
        overshoots: status.overshoots.get(),
        late_records: status.late_records.get(),
        replayed_records: status.replayed_records.get(),
    }
}

fn inputs(subtask: &SubtaskEntry) -> Vec<InputInfo> {
    let Some((gate, producers)) = lock(&subtask.gate).clone() else { return Vec::new() };
    let figures = gate.figures();
    producers
        .iter()
        .enumerate()
        .map(|(lane, producer)| InputInfo {
            producer: producer.clone(),
            queued_bytes: figures.lane_bytes.get(lane).copied().unwrap_or(0) as u64,
            queued_elements: figures.lane_elements.get(lane).copied().unwrap_or(0) as u64,
            is_blocked: figures.blocked.get(lane).copied().unwrap_or(false),
        })
        .collect()
}

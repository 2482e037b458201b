//! What the endpoint and the command say to each other, beside the topology itself.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use tidegate_supervisor::{CheckpointRecord, CheckpointStatus, JobState, Topology};

/// Rises when a route or a field changes its meaning; new fields alone don't raise it.
pub const PROTOCOL_VERSION: u32 = 1;

/// A body with the protocol's version beside its own fields; it is read without, as the body alone.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Versioned<T> {
    /// [`PROTOCOL_VERSION`] of who wrote it.
    pub version: u32,
    /// The fields.
    #[serde(flatten)]
    pub body: T,
}

impl<T> Versioned<T> {
    /// `body` in this release's protocol.
    pub fn new(body: T) -> Self {
        Self { version: PROTOCOL_VERSION, body }
    }
}

/// Why a request was not served.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// What is wrong.
    pub error: String,
    /// What to do next.
    pub hint: String,
}

/// Who serves an endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobIdentity {
    /// The job's name.
    pub job: String,
    /// Its process.
    pub pid: u32,
    /// Its state directory.
    pub state_dir: PathBuf,
    /// Where it stands.
    pub state: JobState,
}

/// Answer to a request that changed something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Done {
    /// The actor that was killed, or the word for what was begun.
    pub(crate) done: String,
}

/// The newest checkpoints of a job.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Checkpoints {
    /// Oldest first.
    pub checkpoints: Vec<CheckpointRecord>,
}

/// A running job at one moment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Picture {
    /// Its actors.
    pub topology: Topology,
    /// Its newest completed checkpoint.
    pub last_checkpoint: Option<CheckpointRecord>,
}

impl Picture {
    /// Of a topology and the newest checkpoints, oldest first.
    pub fn new(topology: Topology, checkpoints: Vec<CheckpointRecord>) -> Self {
        let completed = |record: &CheckpointRecord| record.status == CheckpointStatus::Completed;
        Self { topology, last_checkpoint: checkpoints.into_iter().rev().find(completed) }
    }
}

/// Path of each route.
pub(crate) mod route {
    pub(crate) const JOB: &str = "/job";
    pub(crate) const TOPOLOGY: &str = "/topology";
    pub(crate) const CHECKPOINTS: &str = "/checkpoints";
    pub(crate) const METRICS: &str = "/metrics";
    pub(crate) const CHECKPOINT: &str = "/checkpoint";
    pub(crate) const KILL: &str = "/kill";
    pub(crate) const STOP: &str = "/stop";
}

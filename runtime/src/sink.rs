//! Sinks: where results leave the job, at least once or exactly once.

use serde::{Deserialize, Serialize};

use crate::element::{Batch, Record};
use crate::error::Result;
use crate::id::{AttemptId, CheckpointId, Lineage, SubtaskId};
use crate::time::Clock;

/// What a writer is told.
#[derive(Clone, Debug)]
pub struct SinkContext {
    /// Name of the sink operator.
    pub operator: String,
    /// Which subtask.
    pub subtask: SubtaskId,
    /// How many there are.
    pub parallelism: u32,
    /// Which attempt: never append to what an older one opened.
    pub attempt: AttemptId,
    /// The run: a sink refuses the output of another one.
    pub lineage: Lineage,
    /// The checkpoint restored from, if any.
    pub restored: Option<CheckpointId>,
    /// Time.
    pub clock: Clock,
}

/// What must be durable before a checkpoint is acknowledged; runs on a helper thread and may block. What it returns
/// is stored in the manifest and handed to the committer once the manifest is published.
pub type PrepareJob = Box<dyn FnOnce() -> Result<Vec<Committable>> + Send>;

/// Something prepared that becomes visible by a commit: opaque bytes of the sink.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Committable(pub Vec<u8>);

/// A sink: a factory that is called per subtask and attempt.
pub trait Sink: Send + Sync + 'static {
    /// What it takes.
    type Record: Record;
    /// One subtask's half that writes.
    type Writer: SinkWriter<Record = Self::Record>;

    /// Opens a writer. `state` is what `SinkWriter::freeze` returned at the restored checkpoint, one entry for each
    /// former subtask that this one takes over from.
    ///
    /// # Errors
    /// What keeps it from writing, naming the setting or the place.
    fn writer(&self, cx: &SinkContext, state: &[Vec<u8>]) -> Result<Self::Writer>;

    /// The half that publishes; `None` for a sink that is at least once or idempotent.
    ///
    /// # Errors
    /// What keeps it from publishing.
    fn committer(&self, cx: &SinkContext) -> Result<Option<Box<dyn Committer>>> {
        let _ = cx;
        Ok(None)
    }

    /// Called once before a run begins, resumed or not: checks the place, refuses another run's output.
    ///
    /// # Errors
    /// Says what is in the way and what to do.
    fn check(&self, lineage: Lineage, start: RunStart) -> Result<()> {
        let _ = (lineage, start);
        Ok(())
    }

    /// What makes this sink another sink, as (label, value) pairs.
    fn identity(&self) -> Vec<(String, String)>;
}

/// Whether a run is new or goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunStart {
    /// Nothing of it exists yet.
    Fresh,
    /// It resumes after the process ended.
    Resumed,
}

/// Writes the records of one subtask.
pub trait SinkWriter: Send + 'static {
    /// What it takes.
    type Record: Record;

    /// Writes `batch.records[from..until]`.
    ///
    /// # Errors
    /// Fails the attempt.
    fn write(&mut self, batch: &mut Batch<Self::Record>, range: std::ops::Range<usize>) -> Result<()>;

    /// A barrier: what was written so far belongs to `checkpoint`. Cheap; slow work goes into the job.
    ///
    /// # Errors
    /// Fails the checkpoint and the attempt.
    fn freeze(&mut self, checkpoint: CheckpointId) -> Result<(Vec<u8>, Option<PrepareJob>)>;

    /// No more records: the next checkpoint is the last.
    ///
    /// # Errors
    /// Fails the attempt.
    fn on_end_of_input(&mut self) -> Result<()> {
        Ok(())
    }
}

/// Publishes what a checkpoint prepared, after its manifest exists. Runs on a helper thread and may block.
pub trait Committer: Send {
    /// Makes committables of checkpoints up to and including `checkpoint` visible, in order. Idempotent: after a
    /// restart the same ones come again.
    ///
    /// # Errors
    /// Fails the attempt; they come again after the restart.
    fn commit(&mut self, checkpoint: CheckpointId, committables: &[Committable]) -> Result<()>;
}

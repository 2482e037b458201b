//! The traits behind every operator: erased once, so that the step machine makes one dyn call per batch.

use std::sync::Arc;

use crate::element::ErasedBatch;
use crate::error::Result;
use crate::exchange::Wakeup;
use crate::id::{CheckpointId, SubtaskId};
use crate::key::{KeyGroupRange, KeyGroups};
use crate::metrics::SubtaskStatus;
use crate::sink::{Committer, PrepareJob};
use crate::state::{StateRegistry, StateTable};
use crate::time::{Clock, Timestamp};

/// Whether a resumable call has done all it had to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// All done.
    Done,
    /// Call again once the outputs were taken.
    More,
}

/// What an instance is told when it is opened.
pub struct OpenContext<'a> {
    /// Name of the operator, unique in the graph.
    pub operator: &'a str,
    /// Which instance.
    pub subtask: SubtaskId,
    /// How many instances the operator has.
    pub parallelism: u32,
    /// All key groups of the job.
    pub key_groups: KeyGroups,
    /// The key groups of this instance.
    pub key_group_range: KeyGroupRange,
    /// Time.
    pub clock: Clock,
    /// Tells the subtask from any thread that there is work.
    pub wakeup: Wakeup,
    /// Hands out state tables.
    pub states: &'a mut StateRegistry,
    /// Live counters of the instance.
    pub status: Arc<SubtaskStatus>,
    /// Seed of the instance's randomness; the same for each attempt.
    pub seed: u64,
    /// What `freeze` returned at the restored checkpoint, one entry for each former instance that this one takes
    /// over from; empty on a fresh start.
    pub restored: &'a [Vec<u8>],
    /// The watermark that the operator stood at in the restored checkpoint (case 45).
    pub restored_watermark: Timestamp,
    /// Which attempt of the instance this is.
    pub attempt: crate::id::AttemptId,
    /// The run, for sinks that mark their output.
    pub lineage: crate::id::Lineage,
    /// The checkpoint restored from, if any.
    pub restored_checkpoint: Option<CheckpointId>,
}

/// What an instance may read while it works.
pub struct StepContext<'a> {
    /// Time.
    pub clock: &'a Clock,
    /// The instance's combined watermark.
    pub watermark: Timestamp,
}

/// What an instance adds to a checkpoint at a barrier, besides its tables.
#[derive(Default)]
pub struct FrozenState {
    /// Small state that goes into the manifest itself.
    pub operator_state: Vec<u8>,
    /// Work that must be durable before the checkpoint is acknowledged, run on a helper thread.
    pub prepare: Option<PrepareJob>,
}

/// One instance of an operator with inputs: synchronous and resumable.
///
/// Calls come in this order: `open`; then any number of { `accept`, `process` until the cursor is at the batch's
/// end with `on_watermark` between }, `on_processing_time`, `on_end_of_input` once a port, `freeze` once a barrier.
/// After each call the step machine takes the outputs; a call returns early when an output is full.
pub trait Operator: Send {
    /// Builds state and restores.
    ///
    /// # Errors
    /// What keeps the instance from starting.
    fn open(&mut self, cx: &mut OpenContext<'_>) -> Result<()>;

    /// Takes the next batch of an input port. The former batch was processed to its end.
    fn accept(&mut self, port: usize, batch: ErasedBatch);

    /// Processes the accepted batch from its cursor up to, not including, record `until`; stops early when an output
    /// is full. Returns the cursor. Watermarks inside the batch are the caller's.
    ///
    /// # Errors
    /// Of user code or state.
    fn process(&mut self, until: usize, cx: &mut StepContext<'_>) -> Result<usize>;

    /// The combined watermark has risen: fires what is due, then, when all is done, appends the watermark to all
    /// outputs.
    ///
    /// # Errors
    /// Of user code or state.
    fn on_watermark(&mut self, watermark: Timestamp, cx: &mut StepContext<'_>) -> Result<Progress>;

    /// Processing time has come to what `next_processing_time` said.
    ///
    /// # Errors
    /// Of user code or state.
    fn on_processing_time(&mut self, now: Timestamp, cx: &mut StepContext<'_>) -> Result<Progress> {
        let _ = (now, cx);
        Ok(Progress::Done)
    }

    /// When it wants to be called next, if ever.
    fn next_processing_time(&self) -> Option<Timestamp> {
        None
    }

    /// No record will follow on this port (bounded input or drain). The last watermark came before.
    ///
    /// # Errors
    /// Of user code or state.
    fn on_end_of_input(&mut self, port: usize, cx: &mut StepContext<'_>) -> Result<Progress> {
        let _ = (port, cx);
        Ok(Progress::Done)
    }

    /// Number of output ports.
    fn outputs(&self) -> usize;

    /// Takes what an output port holds.
    fn take_output(&mut self, port: usize) -> Option<ErasedBatch>;

    /// A barrier: cheap, all that is slow goes into the prepare job or is encoded from the tables in slices.
    /// The tables are frozen by the caller.
    ///
    /// # Errors
    /// Fails the checkpoint and the attempt.
    fn freeze(&mut self, checkpoint: CheckpointId) -> Result<FrozenState> {
        let _ = checkpoint;
        Ok(FrozenState::default())
    }

    /// Visits every state table, always in the same order.
    fn visit_tables(&mut self, visit: &mut dyn FnMut(&mut dyn StateTable)) {
        let _ = visit;
    }

    /// The half of a committing sink that publishes, once, after `open`.
    fn committer(&mut self) -> Option<Box<dyn Committer>> {
        None
    }

    /// The key (rendered) and timestamp of the element that is or was last worked on, for a failure's report.
    fn current_element(&self) -> (Option<String>, Option<Timestamp>) {
        (None, None)
    }
}

/// What a stage is told when it is opened.
pub struct StageContext {
    /// Time.
    pub clock: Clock,
    /// Live counters of the subtask that it is fused into.
    pub status: Arc<SubtaskStatus>,
}

/// A stateless transformation, fused into the subtask before it. One input type, one output.
///
/// Watermarks pass through it in place; it is never part of a checkpoint.
pub trait Stage: Send {
    /// Called once, before the first batch.
    fn open(&mut self, cx: &StageContext) {
        let _ = cx;
    }

    /// Takes a batch; the former one was used up.
    fn accept(&mut self, batch: ErasedBatch);

    /// Works on the accepted batch. Returns what goes on, and whether the batch is used up (`Done`). A stage whose
    /// output grows stops at about `OUTPUT_RECORDS_MAX` records (`More`).
    ///
    /// # Errors
    /// Of user code.
    fn run(&mut self, cx: &mut StepContext<'_>) -> Result<(Option<ErasedBatch>, Progress)>;

    /// Whether an accepted batch is not used up.
    fn is_pending(&self) -> bool;

    /// What it has held back must go before a barrier, the end of input, or a park: partial aggregates, a last
    /// watermark.
    ///
    /// # Errors
    /// Of user code.
    fn flush(&mut self, reason: FlushReason, cx: &mut StepContext<'_>) -> Result<Option<ErasedBatch>> {
        let _ = (reason, cx);
        Ok(None)
    }

    /// When it wants to be flushed with `FlushReason::Time` next (periodic watermarks, idleness).
    fn next_processing_time(&self) -> Option<Timestamp> {
        None
    }

    /// Whether its output is idle: takes no part in watermarks downstream.
    fn is_idle(&self) -> bool {
        false
    }

    /// Timestamp of the element last worked on, for a failure's report.
    fn current_timestamp(&self) -> Option<Timestamp> {
        None
    }
}

/// Why a stage is flushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlushReason {
    /// A checkpoint's barrier follows.
    Barrier,
    /// No more input.
    End,
    /// The subtask is about to park.
    Park,
    /// Its `next_processing_time` has come.
    Time,
}

/// Makes operators, per subtask and attempt.
pub type OperatorFactory = Arc<dyn Fn() -> Result<Box<dyn Operator>> + Send + Sync>;

/// Makes stages, per subtask and attempt.
pub type StageFactory = Arc<dyn Fn() -> Box<dyn Stage> + Send + Sync>;

//! A subtask as a synchronous, resumable step machine: it can stop in the middle of a batch, of a timer cascade and
//! of a stage's output, and goes on from there at the next step.

mod alignment;
mod budget;
mod chain;
mod operator_task;
mod snapshot;
mod source_task;
#[cfg(all(test, not(tidegate_loom)))]
mod tests;

use std::sync::Arc;

use crate::config::AfterLastRecord;
use crate::error::{Failure, Result};
use crate::id::{AttemptId, CheckpointId, Lineage, SubtaskId};
use crate::key::{KeyGroupRange, KeyGroups};
use crate::metrics::SubtaskStatus;
use crate::operator::StageContext;
use crate::sink::{Committer, PrepareJob};
use crate::time::{Clock, Timestamp};

pub use alignment::{Aligned, Alignment, Unblock};
pub use budget::StepBudget;
pub use chain::{Chain, ChainNode};
pub use operator_task::{OperatorParts, OperatorTask};
pub use snapshot::TableSnapshots;
pub use source_task::{SourceParts, SourceSnapshot, SourceTask};

/// What a step came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StepOutcome {
    /// The budget is spent and there is more to do: step again.
    Progress,
    /// Parked until a wake-up.
    Parked(Park),
}

/// Why a subtask is parked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Park {
    /// The reason.
    pub reason: ParkReason,
    /// Processing time at which to wake it even if nothing happens.
    pub wake_at: Option<Timestamp>,
}

/// Why a subtask is parked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParkReason {
    /// No input.
    Idle,
    /// No room downstream.
    BackPressured,
    /// Waits for a checkpoint's barrier on some lanes.
    Aligning,
    /// Waits for a time, the store or a split.
    Waiting,
    /// All input has ended.
    Finished,
}

/// What a subtask is told by its actor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TaskCommand {
    /// Sources: read this split too.
    AssignSplit(Vec<u8>),
    /// Sources: no split will come.
    NoMoreSplits(AfterLastRecord),
    /// Sources: start this checkpoint.
    Trigger(CheckpointId),
    /// All: the checkpoint will not complete.
    Abort(CheckpointId),
    /// All: the checkpoint is published.
    Completed(CheckpointId),
    /// Sources: read no further, so that the next checkpoint is the last.
    Pause,
    /// Sources: end the input here.
    Drain,
}

/// What a subtask tells its actor.
pub enum TaskEvent {
    /// A source has no split to read.
    RequestSplit,
    /// The cut of a checkpoint is taken; tables may still be handing over rows, up to the store's notice.
    Frozen {
        /// Which checkpoint.
        checkpoint: CheckpointId,
        /// What goes into the manifest.
        state: FrozenTask,
        /// What must be done first.
        prepare: Option<PrepareJob>,
    },
    /// All its input has ended and everything was sent on.
    Ended,
}

/// The small part of a subtask's snapshot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FrozenTask {
    /// Of the operator itself.
    pub operator_state: Vec<u8>,
    /// Of a source.
    pub source: Option<SourceSnapshot>,
    /// The watermark it stood at.
    pub watermark: Timestamp,
    /// Whether rows of tables follow through the store.
    pub tables: HasTables,
}

/// Whether a subtask has keyed state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HasTables {
    /// Its rows come through the store.
    Yes,
    /// None.
    #[default]
    No,
}

/// Takes a subtask's events; called from inside a step, so it must not block.
pub type Reporter = Arc<dyn Fn(TaskEvent) + Send + Sync>;

/// What every subtask is made with.
#[derive(Clone)]
pub struct TaskContext {
    /// Name of the operator.
    pub operator: String,
    /// Which subtask.
    pub subtask: SubtaskId,
    /// How many the operator has.
    pub parallelism: u32,
    /// Which attempt.
    pub attempt: AttemptId,
    /// Which run.
    pub lineage: Lineage,
    /// All key groups.
    pub key_groups: KeyGroups,
    /// Its own.
    pub key_group_range: KeyGroupRange,
    /// Time.
    pub clock: Clock,
    /// Wakes it.
    pub wakeup: crate::exchange::Wakeup,
    /// Its live figures.
    pub status: Arc<SubtaskStatus>,
    /// Takes its events.
    pub reporter: Reporter,
    /// Seed of its randomness.
    pub seed: u64,
}

impl TaskContext {
    /// What the fused stages are told.
    fn stage_context(&self) -> StageContext {
        StageContext { clock: self.clock.clone(), status: Arc::clone(&self.status) }
    }
}

/// What an attempt starts from.
#[derive(Clone, Debug, Default)]
pub struct Restore {
    /// The checkpoint, if there is one.
    pub checkpoint: Option<CheckpointId>,
    /// `FrozenTask::operator_state` of each former subtask taken over.
    pub operator_states: Vec<Vec<u8>>,
    /// `FrozenTask::source` of each former subtask taken over.
    pub sources: Vec<SourceSnapshot>,
    /// The least watermark of the former subtasks.
    pub watermark: Option<Timestamp>,
}

/// One subtask.
pub enum Task {
    /// It reads splits.
    Source(Box<SourceTask>),
    /// It has inputs.
    Operator(Box<OperatorTask>),
}

impl Task {
    /// Builds and restores state; before the first step.
    ///
    /// # Errors
    /// What keeps it from starting.
    pub fn open(&mut self, restore: &Restore) -> Result<()> {
        match self {
            Task::Source(task) => task.open(restore),
            Task::Operator(task) => task.open(restore),
        }
    }

    /// Works until the budget is spent or there is nothing to do.
    ///
    /// # Errors
    /// Of user code, connectors and state: they end the attempt.
    pub fn step(&mut self, budget: &StepBudget) -> Result<StepOutcome> {
        match self {
            Task::Source(task) => task.step(budget),
            Task::Operator(task) => task.step(budget),
        }
    }

    /// Takes a command; what follows from it happens in the next step.
    ///
    /// # Errors
    /// A split that can't be read.
    pub fn command(&mut self, command: TaskCommand) -> Result<()> {
        match self {
            Task::Source(task) => task.command(command),
            Task::Operator(task) => {
                task.command(&command);
                Ok(())
            }
        }
    }

    /// The publishing half of a committing sink, once, after `open`.
    pub fn committer(&mut self) -> Option<Box<dyn Committer>> {
        match self {
            Task::Source(_) => None,
            Task::Operator(task) => task.committer(),
        }
    }

    /// Adds to a failure what is known of the element that was being worked on.
    pub fn describe(&self, failure: &mut Failure) {
        match self {
            Task::Source(task) => task.describe(failure),
            Task::Operator(task) => task.describe(failure),
        }
    }
}

/// One turn of a step machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    /// Something was done: look again.
    Worked,
    /// Nothing can be done now.
    Parked(Park),
}

/// Makes turns until one parks or the budget is spent.
fn run_turns(
    budget: &StepBudget,
    clock: &Clock,
    status: &SubtaskStatus,
    mut turn: impl FnMut() -> Result<Turn>,
) -> Result<StepOutcome> {
    let began = clock.elapsed();
    let under_way = UnderWay::begin(status, began);
    let mut turns = 0;
    let outcome = loop {
        match turn()? {
            Turn::Parked(park) => break StepOutcome::Parked(park),
            Turn::Worked => turns += 1,
        }
        if budget.is_spent(turns, began, clock) {
            break StepOutcome::Progress;
        }
    };
    let took = clock.elapsed().saturating_sub(began);
    drop(under_way);
    status.steps.add(1);
    status.busy_ns.add(nanos(took));
    if budget.is_overshot(took) {
        status.overshoots.add(1);
    }
    Ok(outcome)
}

/// A step as the watchdog sees it; it is over when this is dropped, by an error or a panic too.
struct UnderWay<'a>(&'a SubtaskStatus);

impl<'a> UnderWay<'a> {
    fn begin(status: &'a SubtaskStatus, at: std::time::Duration) -> Self {
        status.step_began_ns.set(nanos(at) + 1);
        Self(status)
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.step_began_ns.set(0);
    }
}

fn nanos(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

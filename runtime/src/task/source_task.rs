//! The step machine of a source's subtask: reads splits, starts checkpoints, ends the input.

use std::collections::VecDeque;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::chain::{ChainTurn, Flushed};
use super::{
    Chain, FrozenTask, HasTables, Park, ParkReason, Restore, StepBudget, StepOutcome, TaskCommand,
    TaskContext, TaskEvent, Turn, run_turns,
};
use crate::config::AfterLastRecord;
use crate::element::Barrier;
use crate::error::{Failure, Result};
use crate::exchange::{Control, Routed};
use crate::id::CheckpointId;
use crate::operator::{FlushReason, StepContext};
use crate::source::{ErasedReader, ErasedSource, Polled, ReaderContext};
use crate::time::Timestamp;

/// What a source's subtask adds to a checkpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceSnapshot {
    /// Encoded unfinished splits, at concrete positions.
    pub splits: Vec<Vec<u8>>,
    /// Ids of the splits that it has read to their ends.
    pub finished: Vec<String>,
    /// Records read in all.
    pub records: u64,
}

/// What a source's subtask is made of.
pub struct SourceParts {
    /// What every subtask has.
    pub context: TaskContext,
    /// Makes the reader.
    pub source: Arc<dyn ErasedSource>,
    /// What hangs on it.
    pub chain: Chain,
}

/// The step machine of a source's subtask.
pub struct SourceTask {
    context: TaskContext,
    source: Arc<dyn ErasedSource>,
    reader: Option<Box<dyn ErasedReader>>,
    chain: Chain,
    assigned: VecDeque<Vec<u8>>,
    request: Request,
    finished_splits: Vec<String>,
    records: u64,
    phase: Phase,
    /// Triggered and not yet taken, in order.
    triggers: VecDeque<CheckpointId>,
    /// Checkpoints that are neither published nor aborted.
    unconfirmed: VecDeque<Unconfirmed>,
}

struct Unconfirmed {
    checkpoint: CheckpointId,
    /// The reader's splits.
    splits: Vec<Vec<u8>>,
    /// How many of the finished splits it holds: the first ones.
    finished: usize,
}

/// Whether another split is on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Request {
    None,
    Sent,
    NoMoreSplits(AfterLastRecord),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Reading,
    /// Nothing is left to read, and the input is kept open.
    Held,
    Paused,
    Ending,
    Ended,
}

impl SourceTask {
    /// A subtask that was not opened yet.
    pub fn new(parts: SourceParts) -> Self {
        Self {
            context: parts.context,
            source: parts.source,
            reader: None,
            chain: parts.chain,
            assigned: VecDeque::new(),
            request: Request::None,
            finished_splits: Vec::new(),
            records: 0,
            phase: Phase::Reading,
            triggers: VecDeque::new(),
            unconfirmed: VecDeque::new(),
        }
    }

    pub(super) fn open(&mut self, restore: &Restore) -> Result<()> {
        let mut reader = self.source.reader(&ReaderContext {
            operator: self.context.operator.clone(),
            subtask: self.context.subtask,
            parallelism: self.context.parallelism,
            clock: self.context.clock.clone(),
            wakeup: self.context.wakeup.clone(),
            status: Arc::clone(&self.context.status),
        })?;
        for snapshot in &restore.sources {
            for split in &snapshot.splits {
                reader.add_split(split)?;
            }
            self.finished_splits.extend(snapshot.finished.iter().cloned());
            self.records += snapshot.records;
        }
        let status = &self.context.status;
        let counted = status.records_in.get();
        status.replayed_records.add(counted.saturating_sub(self.records));
        status.resumed_records.add(self.records.saturating_sub(counted));
        status.records_in.set(self.records);
        self.chain.open(&self.context.stage_context());
        self.reader = Some(reader);
        Ok(())
    }

    pub(super) fn command(&mut self, command: TaskCommand) -> Result<()> {
        match command {
            TaskCommand::AssignSplit(split) => {
                self.request = Request::None;
                self.assigned.push_back(split);
            }
            TaskCommand::NoMoreSplits(after) => self.request = Request::NoMoreSplits(after),
            TaskCommand::Trigger(checkpoint) => self.triggers.push_back(checkpoint),
            TaskCommand::Abort(checkpoint) => {
                self.triggers.retain(|trigger| *trigger != checkpoint);
                self.unconfirmed.retain(|taken| taken.checkpoint != checkpoint);
            }
            TaskCommand::Completed(checkpoint) => self.confirm(checkpoint)?,
            TaskCommand::Pause if self.phase == Phase::Reading => self.phase = Phase::Paused,
            TaskCommand::Drain if self.phase != Phase::Ended => self.phase = Phase::Ending,
            TaskCommand::Pause | TaskCommand::Drain => {}
        }
        Ok(())
    }

    /// Tells the reader that a checkpoint is published. What had finished by then is the enumerator's to remember.
    fn confirm(&mut self, checkpoint: CheckpointId) -> Result<()> {
        let confirmed = self.unconfirmed.iter().position(|taken| taken.checkpoint == checkpoint);
        if let (Some(at), Some(reader)) = (confirmed, &mut self.reader) {
            reader.on_checkpoint_completed(&self.unconfirmed[at].splits)?;
            let finished = self.unconfirmed[at].finished;
            self.finished_splits.drain(..finished);
            self.unconfirmed.iter_mut().skip(at + 1).for_each(|later| later.finished -= finished);
        }
        self.unconfirmed.retain(|taken| taken.checkpoint > checkpoint);
        Ok(())
    }

    pub(super) fn step(&mut self, budget: &StepBudget) -> Result<StepOutcome> {
        let clock = self.context.clock.clone();
        let status = Arc::clone(&self.context.status);
        let outcome = run_turns(budget, &clock, &status, || self.turn())?;
        status.records_in.set(self.records);
        status.records_out.set(self.chain.records_sent());
        Ok(outcome)
    }

    fn turn(&mut self) -> Result<Turn> {
        let clock = self.context.clock.clone();
        let mut cx = StepContext { clock: &clock, watermark: Timestamp::MIN };
        match self.chain.turn(&mut cx)? {
            ChainTurn::Worked => return Ok(Turn::Worked),
            ChainTurn::BackPressured => return Ok(self.park(ParkReason::BackPressured, None)),
            ChainTurn::Clear => {}
        }
        if self.take_outputs() {
            return Ok(Turn::Worked);
        }
        if let Some(checkpoint) = self.triggers.front().copied() {
            return self.barrier(checkpoint, &mut cx);
        }
        if self.phase != Phase::Ended && self.chain.flush_due(clock.now(), &mut cx)? {
            return Ok(Turn::Worked);
        }
        match self.phase {
            Phase::Reading => self.poll(&mut cx),
            Phase::Held | Phase::Paused => self.flush_and_park(ParkReason::Waiting, None, &mut cx),
            Phase::Ending => self.end(&mut cx),
            Phase::Ended => Ok(self.park(ParkReason::Finished, None)),
        }
    }

    fn take_outputs(&mut self) -> bool {
        let Some(reader) = &mut self.reader else { return false };
        let mut taken = false;
        for port in 0..2 {
            if let Some(batch) = reader.take_output(port) {
                if port == 0 {
                    self.records += batch.len() as u64;
                }
                self.chain.enter(port, batch);
                taken = true;
            }
        }
        taken
    }

    fn poll(&mut self, cx: &mut StepContext<'_>) -> Result<Turn> {
        let reader = self.reader.as_mut().expect("I9: a task is opened before its first step");
        match reader.poll()? {
            Polled::Ready => {}
            Polled::SplitFinished(id) => self.finished_splits.push(id),
            Polled::Pending(at) => {
                if self.take_outputs() {
                    return Ok(Turn::Worked);
                }
                return self.flush_and_park(ParkReason::Idle, at, cx);
            }
            Polled::NoSplit => return self.next_split(cx),
            Polled::WantsSplit(at) => {
                if self.take_outputs() || self.add_assigned()? {
                    return Ok(Turn::Worked);
                }
                self.request_split();
                return self.flush_and_park(ParkReason::Idle, Some(at), cx);
            }
        }
        Ok(Turn::Worked)
    }

    fn next_split(&mut self, cx: &mut StepContext<'_>) -> Result<Turn> {
        if self.add_assigned()? {
            return Ok(Turn::Worked);
        }
        match self.request {
            Request::NoMoreSplits(AfterLastRecord::End) => self.phase = Phase::Ending,
            Request::NoMoreSplits(AfterLastRecord::Hold) => return self.hold(cx),
            Request::None | Request::Sent => {
                self.request_split();
                return self.flush_and_park(ParkReason::Waiting, None, cx);
            }
        }
        Ok(Turn::Worked)
    }

    /// Keeps the input open; as nothing comes any more, it holds no other input's event time back.
    fn hold(&mut self, cx: &mut StepContext<'_>) -> Result<Turn> {
        if self.chain.flush(FlushReason::Park, cx)? == Flushed::Partly {
            return Ok(Turn::Worked);
        }
        self.phase = Phase::Held;
        self.chain.broadcast(Control::Idle);
        Ok(Turn::Worked)
    }

    /// Gives the reader a split that was assigned, if there is one.
    fn add_assigned(&mut self) -> Result<bool> {
        let Some(split) = self.assigned.pop_front() else { return Ok(false) };
        self.reader.as_mut().expect("I9: a task is opened before its first step").add_split(&split)?;
        Ok(true)
    }

    fn request_split(&mut self) {
        if self.request == Request::None {
            self.request = Request::Sent;
            (self.context.reporter)(TaskEvent::RequestSplit);
        }
    }

    fn barrier(&mut self, checkpoint: CheckpointId, cx: &mut StepContext<'_>) -> Result<Turn> {
        if self.chain.flush(FlushReason::Barrier, cx)? == Flushed::Partly {
            return Ok(Turn::Worked);
        }
        self.triggers.pop_front();
        let splits = self.snapshot_splits()?;
        let finished = self.finished_splits.len();
        self.unconfirmed.push_back(Unconfirmed { checkpoint, splits: splits.clone(), finished });
        let source = SourceSnapshot { splits, finished: self.finished_splits.clone(), records: self.records };
        let state = FrozenTask {
            operator_state: Vec::new(),
            source: Some(source),
            watermark: Timestamp::MIN,
            tables: HasTables::No,
        };
        (self.context.reporter)(TaskEvent::Frozen { checkpoint, state, prepare: None });
        self.context.status.records_in.set(self.records);
        self.context.status.last_checkpoint.set(checkpoint.0);
        self.chain.broadcast(Control::Barrier(Barrier { checkpoint }));
        Ok(Turn::Worked)
    }

    /// The reader's splits and those that it was not given yet (case 30).
    fn snapshot_splits(&self) -> Result<Vec<Vec<u8>>> {
        let mut splits = match &self.reader {
            Some(reader) => reader.snapshot()?,
            None => Vec::new(),
        };
        splits.extend(self.assigned.iter().cloned());
        Ok(splits)
    }

    fn end(&mut self, cx: &mut StepContext<'_>) -> Result<Turn> {
        if self.chain.flush(FlushReason::End, cx)? == Flushed::Partly {
            return Ok(Turn::Worked);
        }
        self.phase = Phase::Ended;
        self.chain.broadcast(Control::End);
        (self.context.reporter)(TaskEvent::Ended);
        Ok(Turn::Worked)
    }

    fn flush_and_park(
        &mut self,
        reason: ParkReason,
        wake_at: Option<Timestamp>,
        cx: &mut StepContext<'_>,
    ) -> Result<Turn> {
        if self.chain.flush(FlushReason::Park, cx)? == Flushed::Partly {
            return Ok(Turn::Worked);
        }
        let routed = self.chain.flush_routers();
        let reason = if routed == Routed::BackPressured { ParkReason::BackPressured } else { reason };
        Ok(self.park(reason, wake_at))
    }

    fn park(&self, reason: ParkReason, wake_at: Option<Timestamp>) -> Turn {
        let stages = if self.phase == Phase::Ended { None } else { self.chain.next_processing_time() };
        Turn::Parked(Park { reason, wake_at: [wake_at, stages].into_iter().flatten().min() })
    }

    pub(super) fn describe(&self, failure: &mut Failure) {
        failure.source_position = self.reader.as_ref().and_then(|reader| reader.position());
        failure.timestamp_ms = self.chain.current_timestamp().map(Timestamp::millis);
    }
}

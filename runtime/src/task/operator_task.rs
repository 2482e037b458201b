//! The step machine of a subtask with inputs: takes elements from its gate, aligns barriers, combines watermarks.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use super::chain::{ChainTurn, Flushed};
use super::snapshot::Sliced;
use super::{
    Aligned, Alignment, Chain, FrozenTask, Park, ParkReason, Restore, StepBudget, StepOutcome,
    TableSnapshots, TaskCommand, TaskContext, TaskEvent, Turn, Unblock, run_turns,
};
use crate::element::{Barrier, Element, ErasedBatch, WatermarkAt};
use crate::error::{Failure, Result};
use crate::exchange::{Control, Gate, Routed};
use crate::id::{CheckpointId, LaneId};
use crate::operator::{FlushReason, OpenContext, Operator, Progress, StepContext};
use crate::output::OUTPUT_RECORDS_MAX;
use crate::sink::Committer;
use crate::state::{CHECKED, StateRegistry};
use crate::time::{Clock, InputState, Timestamp, WatermarkCombiner};

/// Longest that one call of user code over several records should take, in nanoseconds.
const CALL_NS: u64 = 250_000;
/// Time of the consumer that one batch should be worth, in nanoseconds.
const BATCH_NS: u64 = 1_000_000;
/// Slices of a snapshot made in a row without input before a pause: the store's queue may be full.
const IDLE_SLICES: u32 = 16;
/// That pause.
const SLICES_PAUSE: Duration = Duration::from_millis(1);

/// What a subtask with inputs is made of.
pub struct OperatorParts {
    /// What every subtask has.
    pub context: TaskContext,
    /// The operator.
    pub operator: Box<dyn Operator>,
    /// Its input.
    pub gate: Arc<Gate>,
    /// The input port of each lane of the gate.
    pub lane_ports: Vec<usize>,
    /// What hangs on it.
    pub chain: Chain,
    /// Hands out its tables.
    pub states: StateRegistry,
    /// Hands their rows to the store.
    pub snapshots: TableSnapshots,
}

/// The step machine of a subtask with inputs.
pub struct OperatorTask {
    context: TaskContext,
    operator: Box<dyn Operator>,
    input: Input,
    chain: Chain,
    states: StateRegistry,
    snapshots: TableSnapshots,
    work: Work,
    /// A combined watermark that is not done firing.
    firing: Option<Timestamp>,
    /// The last call stopped only to look at the budget: its output may grow further before it goes on.
    call: Call,
    /// A batch was processed since the last slice of a snapshot.
    slice_due: SliceDue,
    /// Slices made in a row with no input between.
    idle_slices: u32,
    pace: Pace,
}

struct Input {
    gate: Arc<Gate>,
    lane_ports: Vec<usize>,
    /// Records of each lane whose encoding is still to be checked.
    unchecked: Vec<usize>,
    ended: Vec<LaneId>,
    alignment: Alignment,
    combiner: WatermarkCombiner,
    is_idle: bool,
    /// Whether those downstream were told so.
    is_told_idle: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Call {
    Over,
    Interrupted,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SliceDue {
    Now,
    AfterBatch,
}

/// What is under way.
#[derive(Debug)]
enum Work {
    None,
    Batch { lane: LaneId, watermarks: VecDeque<WatermarkAt>, cursor: usize, len: usize },
    Barrier(CheckpointId),
    ProcessingTime(Timestamp),
    EndOfInput(usize),
    End,
    Ended,
}

/// How long records take, to size calls and batches by.
#[derive(Debug, Default)]
struct Pace {
    records: u64,
    record_ns: u64,
    record_bytes: usize,
}

impl OperatorTask {
    /// A subtask that was not opened yet.
    pub fn new(parts: OperatorParts) -> Self {
        let lanes = parts.lane_ports.len();
        Self {
            context: parts.context,
            operator: parts.operator,
            input: Input {
                gate: parts.gate,
                lane_ports: parts.lane_ports,
                unchecked: vec![CHECKED; lanes],
                ended: Vec::new(),
                alignment: Alignment::new(lanes, None),
                combiner: WatermarkCombiner::new(lanes, Timestamp::MIN),
                is_idle: false,
                is_told_idle: false,
            },
            chain: parts.chain,
            states: parts.states,
            snapshots: parts.snapshots,
            work: Work::None,
            firing: None,
            call: Call::Over,
            slice_due: SliceDue::Now,
            idle_slices: 0,
            pace: Pace::default(),
        }
    }

    pub(super) fn open(&mut self, restore: &Restore) -> Result<()> {
        let watermark = restore.watermark.unwrap_or(Timestamp::MIN);
        let lanes = self.input.lane_ports.len();
        self.input.alignment = Alignment::new(lanes, restore.checkpoint);
        self.input.combiner = WatermarkCombiner::new(lanes, watermark);
        self.context.status.set_watermark(watermark);
        self.chain.open(&self.context.stage_context());
        self.operator.open(&mut OpenContext {
            operator: &self.context.operator,
            subtask: self.context.subtask,
            parallelism: self.context.parallelism,
            key_groups: self.context.key_groups,
            key_group_range: self.context.key_group_range,
            clock: self.context.clock.clone(),
            wakeup: self.context.wakeup.clone(),
            states: &mut self.states,
            status: Arc::clone(&self.context.status),
            seed: self.context.seed,
            restored: &restore.operator_states,
            restored_watermark: watermark,
            attempt: self.context.attempt,
            lineage: self.context.lineage,
            restored_checkpoint: restore.checkpoint,
        })
    }

    pub(super) fn committer(&mut self) -> Option<Box<dyn Committer>> {
        self.operator.committer()
    }

    pub(super) fn command(&mut self, command: &TaskCommand) {
        match command {
            TaskCommand::Abort(checkpoint) => {
                if self.input.alignment.on_abort(*checkpoint) == Unblock::All {
                    self.input.gate.unblock_all();
                }
            }
            TaskCommand::Completed(checkpoint) => {
                self.operator.visit_tables(&mut |table| table.on_durable(*checkpoint));
            }
            TaskCommand::AssignSplit(_)
            | TaskCommand::NoMoreSplits(_)
            | TaskCommand::Trigger(_)
            | TaskCommand::Pause
            | TaskCommand::Drain => {}
        }
    }

    pub(super) fn step(&mut self, budget: &StepBudget) -> Result<StepOutcome> {
        let clock = self.context.clock.clone();
        let status = Arc::clone(&self.context.status);
        let busy_before = status.busy_ns.get();
        let outcome = run_turns(budget, &clock, &status, || self.turn())?;
        self.repace(status.busy_ns.get() - busy_before);
        status.records_out.set(self.chain.records_sent());
        status.queued_bytes.set(self.input.gate.queued_bytes() as u64);
        self.measure_state();
        Ok(outcome)
    }

    /// Once a step, and a table keeps its sizes: no walk.
    fn measure_state(&mut self) {
        let (mut entries, mut bytes) = (0, 0);
        self.operator.visit_tables(&mut |table| {
            entries += table.entries();
            bytes += table.bytes();
        });
        self.context.status.state_entries.set(entries as u64);
        self.context.status.state_bytes.set(bytes as u64);
    }

    /// Sizes calls and batches by what records cost in this step.
    fn repace(&mut self, busy_ns: u64) {
        let records = std::mem::take(&mut self.pace.records);
        if records == 0 {
            return;
        }
        let measured = (busy_ns / records).max(1);
        self.pace.record_ns =
            if self.pace.record_ns == 0 { measured } else { (self.pace.record_ns * 7 + measured) / 8 };
        let by_time = BATCH_NS / self.pace.record_ns.max(1);
        let share = self.input.gate.budget() / self.input.lane_ports.len().max(1);
        let by_bytes = share / self.pace.record_bytes.max(1);
        let records = (by_time as usize).min(by_bytes).clamp(1, OUTPUT_RECORDS_MAX);
        self.input.gate.set_batch_records(records);
    }

    fn turn(&mut self) -> Result<Turn> {
        let clock = self.context.clock.clone();
        let mut cx = StepContext { clock: &clock, watermark: self.input.combiner.watermark() };
        if std::mem::replace(&mut self.call, Call::Over) == Call::Interrupted {
            return self.batch(&mut cx);
        }
        match self.chain.turn(&mut cx)? {
            ChainTurn::Worked => return Ok(Turn::Worked),
            ChainTurn::BackPressured => {
                self.snapshots.slice(self.operator.as_mut(), cx.clock)?;
                return Ok(self.park(ParkReason::BackPressured, cx.clock));
            }
            ChainTurn::Clear => {}
        }
        if self.take_outputs() {
            return Ok(Turn::Worked);
        }
        if let Some(watermark) = self.firing {
            if self.operator.on_watermark(watermark, &mut cx)? == Progress::Done {
                self.firing = None;
                self.context.status.set_watermark(watermark);
            }
            return Ok(Turn::Worked);
        }
        // After what fired by it: an idle lane holds no time back, and what came behind would be late.
        if self.input.is_idle != self.input.is_told_idle {
            // What stages hold back counts as come before, and must go before.
            if self.input.is_idle && self.chain.flush(FlushReason::Park, &mut cx)? == Flushed::Partly {
                return Ok(Turn::Worked);
            }
            self.input.is_told_idle = self.input.is_idle;
            self.chain.broadcast(if self.input.is_idle { Control::Idle } else { Control::Active });
            return Ok(Turn::Worked);
        }
        match self.work {
            Work::None => self.next(&mut cx),
            Work::Batch { .. } => self.batch(&mut cx),
            Work::Barrier(checkpoint) => self.barrier(checkpoint, &mut cx),
            Work::ProcessingTime(now) => {
                if self.operator.on_processing_time(now, &mut cx)? == Progress::Done {
                    self.work = self.resting();
                }
                Ok(Turn::Worked)
            }
            Work::EndOfInput(port) => self.end_of_input(port, &mut cx),
            Work::End => self.end(&mut cx),
            Work::Ended => self.next(&mut cx),
        }
    }

    fn take_outputs(&mut self) -> bool {
        let mut taken = false;
        for port in 0..self.operator.outputs() {
            if let Some(batch) = self.operator.take_output(port) {
                self.chain.enter(port, batch);
                taken = true;
            }
        }
        taken
    }

    /// Finds something to do.
    fn next(&mut self, cx: &mut StepContext<'_>) -> Result<Turn> {
        if self.snapshots.is_encoding() && self.slice_due == SliceDue::Now {
            self.slice_due = SliceDue::AfterBatch;
            self.snapshots.slice(self.operator.as_mut(), cx.clock)?;
            return Ok(Turn::Worked);
        }
        // After the end nothing may be emitted: what was due later is not.
        if !matches!(self.work, Work::Ended) && self.next_processing_time().is_some() {
            let now = cx.clock.now();
            if self.operator.next_processing_time().is_some_and(|due| due <= now) {
                self.work = Work::ProcessingTime(now);
                return Ok(Turn::Worked);
            }
            if self.chain.flush_due(now, cx)? {
                return Ok(Turn::Worked);
            }
        }
        match self.input.gate.take() {
            Some((lane, element)) => {
                self.idle_slices = 0;
                self.on_element(lane, element)?;
                Ok(Turn::Worked)
            }
            None => self.nothing(cx),
        }
    }

    fn on_element(&mut self, lane: LaneId, element: Element) -> Result<()> {
        match element {
            Element::Batch(batch) => self.on_batch(lane, batch)?,
            Element::Barrier(barrier) => self.on_barrier(lane, barrier.checkpoint),
            Element::Idle => self.on_input_state(lane, InputState::Idle),
            Element::Active => self.on_input_state(lane, InputState::Active),
            Element::End => self.on_end(lane),
        }
        Ok(())
    }

    fn on_batch(&mut self, lane: LaneId, batch: ErasedBatch) -> Result<()> {
        let len = batch.len();
        let unchecked = &mut self.input.unchecked[lane.0 as usize];
        if *unchecked > 0 {
            batch.check_codec(*unchecked)?;
            *unchecked = unchecked.saturating_sub(len);
        }
        self.pace.record_bytes = batch.bytes().checked_div(len).unwrap_or(self.pace.record_bytes);
        self.pace.records += len as u64;
        self.context.status.records_in.add(len as u64);
        // One with nothing but a watermark says nothing about how full batches are.
        self.context.status.batches_in.add(u64::from(len > 0));
        let watermarks = batch.watermarks().iter().copied().collect();
        self.operator.accept(self.input.lane_ports[lane.0 as usize], batch);
        self.work = Work::Batch { lane, watermarks, cursor: 0, len };
        Ok(())
    }

    fn on_barrier(&mut self, lane: LaneId, checkpoint: CheckpointId) {
        let gate = &self.input.gate;
        match self.input.alignment.on_barrier(lane, checkpoint) {
            Aligned::Ignored => {}
            Aligned::Block => gate.block(lane),
            Aligned::Overtaken => {
                gate.unblock_all();
                gate.block(lane);
            }
            Aligned::Complete => self.work = Work::Barrier(checkpoint),
        }
    }

    fn on_input_state(&mut self, lane: LaneId, state: InputState) {
        self.firing = self.input.combiner.on_state(lane.0 as usize, state).or(self.firing);
        self.input.is_idle = self.input.combiner.is_idle();
    }

    fn on_end(&mut self, lane: LaneId) {
        self.on_input_state(lane, InputState::Finished);
        self.input.ended.push(lane);
        let port = self.input.lane_ports[lane.0 as usize];
        let has_ended = |each: &usize| {
            let mut lanes = self.input.lane_ports.iter().enumerate().filter(|(_, of)| *of == each);
            lanes.all(|(index, _)| self.input.ended.contains(&LaneId(index as u32)))
        };
        if has_ended(&port) {
            self.work = Work::EndOfInput(port);
        }
    }

    fn batch(&mut self, cx: &mut StepContext<'_>) -> Result<Turn> {
        let Work::Batch { lane, watermarks, cursor, len } = &mut self.work else { return Ok(Turn::Worked) };
        let mark = watermarks.front().copied();
        if let Some(mark) = mark.filter(|mark| mark.offset <= *cursor) {
            watermarks.pop_front();
            self.firing = self.input.combiner.on_watermark(lane.0 as usize, mark.watermark);
            return Ok(Turn::Worked);
        }
        if *cursor == *len {
            self.work = Work::None;
            self.slice_due = SliceDue::Now;
            return Ok(Turn::Worked);
        }
        let call = CALL_NS.checked_div(self.pace.record_ns).unwrap_or(64).max(1) as usize;
        let end = mark.map_or(*len, |mark| mark.offset);
        let until = end.min(cursor.saturating_add(call));
        *cursor = self.operator.process(until, cx)?;
        if *cursor == until && until < end {
            self.call = Call::Interrupted;
        }
        Ok(Turn::Worked)
    }

    fn barrier(&mut self, checkpoint: CheckpointId, cx: &mut StepContext<'_>) -> Result<Turn> {
        // One version is handed over before the next is frozen.
        if self.snapshots.is_encoding()
            && self.snapshots.slice(self.operator.as_mut(), cx.clock)? == Sliced::More
        {
            return Ok(self.pause_slices(cx));
        }
        if self.chain.flush(FlushReason::Barrier, cx)? == Flushed::Partly {
            return Ok(Turn::Worked);
        }
        let frozen = self.operator.freeze(checkpoint)?;
        let tables = self.snapshots.freeze(self.operator.as_mut(), checkpoint);
        let state = FrozenTask {
            operator_state: frozen.operator_state,
            source: None,
            watermark: cx.watermark,
            tables,
        };
        (self.context.reporter)(TaskEvent::Frozen { checkpoint, state, prepare: frozen.prepare });
        self.context.status.last_checkpoint.set(checkpoint.0);
        self.chain.broadcast(Control::Barrier(Barrier { checkpoint }));
        self.input.gate.unblock_all();
        self.work = self.resting();
        Ok(Turn::Worked)
    }

    fn end_of_input(&mut self, port: usize, cx: &mut StepContext<'_>) -> Result<Turn> {
        if self.operator.on_end_of_input(port, cx)? == Progress::Done {
            self.work = if self.has_ended() { Work::End } else { Work::None };
        }
        Ok(Turn::Worked)
    }

    /// Nothing under way.
    fn resting(&self) -> Work {
        if self.has_ended() { Work::Ended } else { Work::None }
    }

    fn has_ended(&self) -> bool {
        self.input.ended.len() == self.input.lane_ports.len()
    }

    fn end(&mut self, cx: &mut StepContext<'_>) -> Result<Turn> {
        if self.chain.flush(FlushReason::End, cx)? == Flushed::Partly {
            return Ok(Turn::Worked);
        }
        self.work = Work::Ended;
        self.chain.broadcast(Control::End);
        (self.context.reporter)(TaskEvent::Ended);
        Ok(Turn::Worked)
    }

    /// Nothing to take: goes on with a snapshot, sends what is incomplete, then parks.
    fn nothing(&mut self, cx: &mut StepContext<'_>) -> Result<Turn> {
        let has_ended = matches!(self.work, Work::Ended);
        if !has_ended && self.chain.flush(FlushReason::Park, cx)? == Flushed::Partly {
            return Ok(Turn::Worked);
        }
        let routed = self.chain.flush_routers();
        if self.snapshots.is_encoding()
            && self.snapshots.slice(self.operator.as_mut(), cx.clock)? == Sliced::More
        {
            return Ok(self.pause_slices(cx));
        }
        let reason = match self.work {
            _ if routed == Routed::BackPressured => ParkReason::BackPressured,
            Work::Ended => ParkReason::Finished,
            _ if self.input.alignment.current().is_some() => ParkReason::Aligning,
            _ => ParkReason::Idle,
        };
        Ok(self.park(reason, cx.clock))
    }

    /// After a slice with nothing else to do: goes on, or pauses now and then, because the store's queue may be full.
    fn pause_slices(&mut self, cx: &StepContext<'_>) -> Turn {
        self.idle_slices += 1;
        if self.idle_slices.is_multiple_of(IDLE_SLICES) {
            self.park(ParkReason::Waiting, cx.clock)
        } else {
            Turn::Worked
        }
    }

    fn next_processing_time(&self) -> Option<Timestamp> {
        if matches!(self.work, Work::Ended) {
            return None;
        }
        let times = [self.operator.next_processing_time(), self.chain.next_processing_time()];
        times.into_iter().flatten().min()
    }

    /// Parks until a wake-up, until something is due, or for a moment while a snapshot is not handed over.
    fn park(&self, reason: ParkReason, clock: &Clock) -> Turn {
        let soon = self.snapshots.is_encoding().then(|| clock.now() + SLICES_PAUSE);
        let wake_at = [soon, self.next_processing_time()].into_iter().flatten().min();
        Turn::Parked(Park { reason, wake_at })
    }

    pub(super) fn describe(&self, failure: &mut Failure) {
        let (key, timestamp) = self.operator.current_element();
        failure.key = key;
        failure.timestamp_ms = timestamp.or_else(|| self.chain.current_timestamp()).map(Timestamp::millis);
    }
}

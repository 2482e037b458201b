//! An operator, a source, stages and a context that record what is done with them.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use serde::{Deserialize, Serialize};

use crate::element::{Batch, ErasedBatch};
use crate::error::Result;
use crate::exchange::{Gate, Partitioning, Target, Wakeup, typed_router};
use crate::id::{AttemptId, CheckpointId, LaneId, Lineage, OperatorId, SubtaskId};
use crate::key::{KeyGroupRange, KeyGroups, KeyHash};
use crate::metrics::SubtaskStatus;
use crate::operator::{FlushReason, FrozenState, OpenContext, Operator, Progress, Stage, StepContext};
use crate::output::{Output, Timing};
use crate::source::{Discovered, Polled, ReaderContext, Source, SourceOutput, SourceReader, Split};
use crate::state::StateRegistry;
use crate::task::{
    Chain, ChainNode, OperatorParts, OperatorTask, SourceParts, SourceTask, TableSnapshots, Task,
    TaskContext, TaskEvent,
};
use crate::time::{Clock, Timestamp};

/// Something that an operator was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// A record (by port), and the watermark that it was judged against.
    Record(usize, u64, Timestamp),
    /// A watermark, once all its timers fired.
    Watermark(Timestamp),
    ProcessingTime(Timestamp),
    EndOfInput(usize),
    Frozen(CheckpointId),
}

/// What a probe has seen, shared with the test.
pub(super) type Log = Arc<Mutex<Vec<Seen>>>;

/// How a probe behaves.
#[derive(Clone, Debug)]
pub(super) struct Habits {
    /// Records that one call takes at most: it stops as if its output were full.
    pub(super) records_per_call: usize,
    /// Records that it emits, one a call, before it lets a watermark pass.
    pub(super) timers: u64,
    /// When it wants to be called.
    pub(super) due: Option<Timestamp>,
}

impl Default for Habits {
    fn default() -> Self {
        Self { records_per_call: usize::MAX, timers: 0, due: None }
    }
}

/// What a timer of a probe emits.
pub(super) const TIMER: u64 = 1_000_000;

/// An operator that passes records on, remembers all values as its state and logs every call.
pub(super) struct Probe {
    log: Log,
    habits: Habits,
    port: usize,
    batch: Batch<u64>,
    cursor: usize,
    timers_fired: u64,
    values: Vec<u64>,
    output: Output<u64>,
}

impl Probe {
    pub(super) fn new(log: Log, habits: Habits) -> Self {
        let batch = Batch::default();
        let output = Output::new(Timing::Timed);
        Self { log, habits, port: 0, batch, cursor: 0, timers_fired: 0, values: Vec::new(), output }
    }

    fn log(&self, seen: Seen) {
        self.log.lock().expect("no test panics while it holds the log").push(seen);
    }
}

impl Operator for Probe {
    fn open(&mut self, cx: &mut OpenContext<'_>) -> Result<()> {
        for state in cx.restored {
            let values: Vec<u64> = postcard::from_bytes(state).expect("what freeze made");
            self.values.extend(values);
        }
        Ok(())
    }

    fn accept(&mut self, port: usize, batch: ErasedBatch) {
        assert_eq!(self.cursor, self.batch.len(), "the former batch was processed to its end");
        self.port = port;
        self.batch = batch.into_typed();
        self.cursor = 0;
    }

    fn process(&mut self, until: usize, cx: &mut StepContext<'_>) -> Result<usize> {
        let until = until.min(self.cursor.saturating_add(self.habits.records_per_call));
        while self.cursor < until {
            let value = self.batch.records[self.cursor];
            let timestamp = self.batch.timestamp(self.cursor);
            self.log(Seen::Record(self.port, value, cx.watermark));
            self.values.push(value);
            self.output.push(value, timestamp);
            self.cursor += 1;
        }
        Ok(self.cursor)
    }

    fn on_watermark(&mut self, watermark: Timestamp, cx: &mut StepContext<'_>) -> Result<Progress> {
        assert_eq!(cx.watermark, watermark);
        if self.timers_fired < self.habits.timers {
            self.timers_fired += 1;
            self.output.push(TIMER + self.timers_fired, watermark);
            return Ok(Progress::More);
        }
        self.timers_fired = 0;
        self.log(Seen::Watermark(watermark));
        self.output.push_watermark(watermark);
        Ok(Progress::Done)
    }

    fn on_processing_time(&mut self, now: Timestamp, _cx: &mut StepContext<'_>) -> Result<Progress> {
        self.log(Seen::ProcessingTime(now));
        self.habits.due = None;
        Ok(Progress::Done)
    }

    fn next_processing_time(&self) -> Option<Timestamp> {
        self.habits.due
    }

    fn on_end_of_input(&mut self, port: usize, _cx: &mut StepContext<'_>) -> Result<Progress> {
        self.log(Seen::EndOfInput(port));
        Ok(Progress::Done)
    }

    fn outputs(&self) -> usize {
        1
    }

    fn take_output(&mut self, _port: usize) -> Option<ErasedBatch> {
        self.output.take()
    }

    fn freeze(&mut self, checkpoint: CheckpointId) -> Result<FrozenState> {
        self.log(Seen::Frozen(checkpoint));
        let operator_state = postcard::to_stdvec(&self.values).expect("numbers encode");
        Ok(FrozenState { operator_state, prepare: None })
    }
}

/// A stage that takes a record's value as its timestamp and scatters its hash; watermarks follow each batch or only a
/// park, and its output is idle as the test says.
pub(super) struct Stamp {
    pending: Option<Batch<u64>>,
    high: Timestamp,
    emitted: Timestamp,
    is_idle: Arc<AtomicBool>,
}

impl Stamp {
    pub(super) fn new(is_idle: Arc<AtomicBool>) -> Self {
        Self { pending: None, high: Timestamp::MIN, emitted: Timestamp::MIN, is_idle }
    }

    pub(super) fn active() -> Box<dyn Stage> {
        Box::new(Self::new(Arc::default()))
    }
}

/// Scatters numbers over all key groups.
pub(super) fn scatter(value: u64) -> KeyHash {
    KeyHash(value.wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

impl Stage for Stamp {
    fn accept(&mut self, batch: ErasedBatch) {
        assert!(self.pending.is_none(), "the former batch was used up");
        self.pending = Some(batch.into_typed());
    }

    fn run(&mut self, _cx: &mut StepContext<'_>) -> Result<(Option<ErasedBatch>, Progress)> {
        let Some(mut batch) = self.pending.take() else { return Ok((None, Progress::Done)) };
        batch.timestamps = batch.records.iter().map(|value| Timestamp(*value as i64)).collect();
        batch.hashes = batch.records.iter().map(|value| scatter(*value)).collect();
        self.high = self.high.max(batch.timestamps.iter().copied().max().unwrap_or(Timestamp::MIN));
        Ok((Some(ErasedBatch::new(batch)), Progress::Done))
    }

    fn is_pending(&self) -> bool {
        self.pending.is_some()
    }

    fn flush(&mut self, reason: FlushReason, _cx: &mut StepContext<'_>) -> Result<Option<ErasedBatch>> {
        if reason == FlushReason::End {
            self.high = Timestamp::MAX;
        }
        if self.high == self.emitted {
            return Ok(None);
        }
        self.emitted = self.high;
        let mut batch = Batch::<u64>::default();
        batch.push_watermark(self.high);
        Ok(Some(ErasedBatch::new(batch)))
    }

    fn is_idle(&self) -> bool {
        self.is_idle.load(Ordering::Relaxed)
    }
}

/// A stage that holds up to 10 records back until a barrier or the end, as a partial aggregate would.
#[derive(Default)]
pub(super) struct Hold {
    /// Another reason to let go.
    also: Option<FlushReason>,
    pending: Option<Batch<u64>>,
    held: Batch<u64>,
}

impl Hold {
    pub(super) fn until_a_park(next: usize) -> ChainNode {
        let hold = Self { also: Some(FlushReason::Park), ..Self::default() };
        ChainNode::Stage { stage: Box::new(hold), next: vec![next] }
    }
}

impl Stage for Hold {
    fn accept(&mut self, batch: ErasedBatch) {
        assert!(self.pending.is_none(), "the former batch was used up");
        self.pending = Some(batch.into_typed());
    }

    fn run(&mut self, _cx: &mut StepContext<'_>) -> Result<(Option<ErasedBatch>, Progress)> {
        self.held.records.extend(self.pending.take().into_iter().flat_map(|batch| batch.records));
        let surplus = self.held.len().saturating_sub(10);
        let records: Vec<u64> = self.held.records.drain(..surplus).collect();
        let output = (surplus > 0).then(|| ErasedBatch::new(Batch { records, ..Batch::default() }));
        Ok((output, Progress::Done))
    }

    fn is_pending(&self) -> bool {
        self.pending.is_some()
    }

    fn flush(&mut self, reason: FlushReason, _cx: &mut StepContext<'_>) -> Result<Option<ErasedBatch>> {
        let is_due = matches!(reason, FlushReason::Barrier | FlushReason::End) || self.also == Some(reason);
        let goes = is_due && !self.held.is_empty();
        Ok(goes.then(|| ErasedBatch::new(std::mem::take(&mut self.held))))
    }
}

/// The numbers `next..end`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Numbers {
    pub(super) next: u64,
    pub(super) end: u64,
}

impl Split for Numbers {
    fn id(&self) -> String {
        format!("to {}", self.end)
    }
}

/// A source of numbers, a few at each poll; when `waits` is set it says `Pending` every other time.
#[derive(Clone)]
pub(super) struct NumberSource {
    pub(super) per_poll: u64,
    pub(super) waits: bool,
}

pub(super) struct NumberReader {
    source: NumberSource,
    wakeup: Wakeup,
    splits: Vec<Numbers>,
    waited: bool,
}

impl Source for NumberSource {
    type Record = u64;
    type Split = Numbers;
    type Reader = NumberReader;

    fn discover(&self, _parallelism: u32) -> Result<Discovered<Numbers>> {
        Ok(Discovered { splits: Vec::new(), again_after: None })
    }

    fn reader(&self, cx: &ReaderContext) -> Result<NumberReader> {
        let wakeup = cx.wakeup.clone();
        Ok(NumberReader { source: self.clone(), wakeup, splits: Vec::new(), waited: false })
    }

    fn identity(&self) -> Vec<(String, String)> {
        Vec::new()
    }
}

impl SourceReader for NumberReader {
    type Record = u64;
    type Split = Numbers;

    fn add_split(&mut self, split: Numbers) -> Result<()> {
        self.splits.push(split);
        Ok(())
    }

    fn poll(&mut self, out: &mut SourceOutput<'_, u64>) -> Result<Polled> {
        let Some(split) = self.splits.first_mut() else { return Ok(Polled::NoSplit) };
        self.waited = self.source.waits && !self.waited;
        if self.waited {
            self.wakeup.wake();
            return Ok(Polled::Pending(None));
        }
        for _ in 0..self.source.per_poll.min(split.end - split.next) {
            out.emit(split.next);
            split.next += 1;
        }
        if split.next < split.end {
            return Ok(Polled::Ready);
        }
        Ok(Polled::SplitFinished(self.splits.remove(0).id()))
    }

    fn snapshot(&self) -> Vec<Numbers> {
        self.splits.clone()
    }

    fn position(&self) -> Option<String> {
        self.splits.first().map(|split| split.next.to_string())
    }
}

/// Events of one subtask, shared with the test.
pub(super) type Events = Arc<Mutex<Vec<TaskEvent>>>;

/// A subtask with its mailbox.
pub(super) struct Subtask {
    pub(super) task: Task,
    pub(super) wakeup: Wakeup,
    /// Notices sent and not handled: 0 or 1.
    pub(super) notices: Arc<AtomicUsize>,
    pub(super) events: Events,
    pub(super) status: Arc<SubtaskStatus>,
}

/// What a subtask is built of before its task is.
pub(super) struct Mailbox {
    pub(super) wakeup: Wakeup,
    pub(super) notices: Arc<AtomicUsize>,
}

impl Mailbox {
    pub(super) fn new() -> Self {
        let notices = Arc::new(AtomicUsize::new(0));
        let sender = Arc::clone(&notices);
        let wakeup = Wakeup::new(move || {
            sender.fetch_add(1, Ordering::Relaxed);
        });
        Self { wakeup, notices }
    }

    /// The subtask that `make` builds of a context.
    pub(super) fn subtask(self, clock: &Clock, make: impl FnOnce(TaskContext) -> Task) -> Subtask {
        let events = Events::default();
        let status = Arc::new(SubtaskStatus::default());
        let sender = Arc::clone(&events);
        let context = TaskContext {
            operator: "probe".to_owned(),
            subtask: SubtaskId { operator: OperatorId(0), index: 0 },
            parallelism: 1,
            attempt: AttemptId(1),
            lineage: Lineage(1),
            key_groups: KeyGroups::DEFAULT,
            key_group_range: KeyGroupRange { start: 0, end: KeyGroups::DEFAULT.count() },
            clock: clock.clone(),
            wakeup: self.wakeup.clone(),
            status: Arc::clone(&status),
            reporter: Arc::new(move |event| sender.lock().expect("no panic while held").push(event)),
            seed: 1,
        };
        Subtask { task: make(context), wakeup: self.wakeup, notices: self.notices, events, status }
    }
}

/// An operator's task: a probe behind a gate of `lane_ports.len()` lanes.
pub(super) fn operator_task(
    context: TaskContext,
    gate: &Arc<Gate>,
    lane_ports: Vec<usize>,
    operator: Probe,
    chain: Chain,
) -> Task {
    let states = StateRegistry::without_store();
    let snapshots = TableSnapshots::new(Arc::clone(states.lease()));
    let gate = Arc::clone(gate);
    let operator = Box::new(operator);
    Task::Operator(Box::new(OperatorTask::new(OperatorParts {
        context,
        operator,
        gate,
        lane_ports,
        chain,
        states,
        snapshots,
    })))
}

/// A source's task.
pub(super) fn source_task(context: TaskContext, source: NumberSource, chain: Chain) -> Task {
    Task::Source(Box::new(SourceTask::new(SourceParts { context, source: Arc::new(source), chain })))
}

/// The router of an edge to `gates`, by `lane` of each.
pub(super) fn router(
    partitioning: Partitioning,
    gates: &[Arc<Gate>],
    lane: u32,
    producer: &Wakeup,
) -> ChainNode {
    let targets = gates.iter().map(|gate| Target { gate: Arc::clone(gate), lane: LaneId(lane) }).collect();
    ChainNode::Router(typed_router::<u64>(partitioning, targets, KeyGroups::DEFAULT, producer.clone()))
}

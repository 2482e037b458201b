//! A pipeline built by hand on the runtime's traits: numbers from splits, a running count, an exactly-once sink.

#![allow(dead_code, unreachable_pub, missing_docs, reason = "each test binary uses its part")]

pub mod disk;
pub mod keyed;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tidegate_runtime::config::{JobConfig, RestartPolicy};
use tidegate_runtime::element::{Batch, ErasedBatch};
use tidegate_runtime::error::{BoxError, Result};
use tidegate_runtime::exchange::{Partitioning, typed_router};
use tidegate_runtime::graph::{Graph, Node, NodeKind, OutputPort, SinkChecks, Upstream};
use tidegate_runtime::id::{CheckpointId, Lineage};
use tidegate_runtime::metrics::Activity;
use tidegate_runtime::operator::{FrozenState, OpenContext, Operator, Progress, StepContext};
use tidegate_runtime::sink::{Committable, Committer, RunStart};
use tidegate_runtime::source::{
    Discovered, ErasedSource, Polled, ReaderContext, Source, SourceOutput, SourceReader, Split,
};
use tidegate_runtime::time::{Clock, Timestamp, millis};
use tidegate_supervisor::{ActorInfo, Job, JobState, SubtaskInfo};

/// What a test changes while its pipeline runs.
#[derive(Default)]
pub struct Controls {
    /// Records that readers may emit together; they wait for more.
    pub permits: AtomicU64,
    /// What the committer published: by (subtask, attempt, checkpoint), so that a repeated commit changes nothing.
    pub committed: Mutex<BTreeMap<(u32, u64, u64), Vec<u64>>>,
    /// Called with every record of the middle operator.
    pub on_record: Mutex<Option<Arc<dyn Fn(u64) + Send + Sync>>>,
    /// Called by a reader that has nothing to emit: how long it is to wait.
    pub on_wait: Mutex<Option<Arc<dyn Fn() -> Duration + Send + Sync>>>,
    /// Called before a middle operator is built.
    pub on_build: Mutex<Option<Arc<dyn Fn() + Send + Sync>>>,
    /// Called before every commit.
    pub on_commit: Mutex<Option<Arc<dyn Fn(CheckpointId) -> Result<()> + Send + Sync>>>,
}

impl Controls {
    pub fn open() -> Arc<Self> {
        let controls = Self::default();
        controls.permits.store(u64::MAX / 2, Ordering::Relaxed);
        Arc::new(controls)
    }

    pub fn closed() -> Arc<Self> {
        Arc::new(Self::default())
    }

    pub fn allow(&self, records: u64) {
        self.permits.fetch_add(records, Ordering::Relaxed);
    }

    pub fn each_record(&self, f: impl Fn(u64) + Send + Sync + 'static) {
        *self.on_record.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(f));
    }

    pub fn each_wait(&self, f: impl Fn() -> Duration + Send + Sync + 'static) {
        *self.on_wait.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(f));
    }

    pub fn each_build(&self, f: impl Fn() + Send + Sync + 'static) {
        *self.on_build.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(f));
    }

    pub fn each_commit(&self, f: impl Fn(CheckpointId) -> Result<()> + Send + Sync + 'static) {
        *self.on_commit.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(f));
    }

    /// Everything that was committed, sorted.
    pub fn output(&self) -> Vec<u64> {
        let committed = self.committed.lock().unwrap_or_else(PoisonError::into_inner);
        let mut all: Vec<u64> = committed.values().flatten().copied().collect();
        all.sort_unstable();
        all
    }

    fn take_permits(&self, wanted: u64) -> u64 {
        let mut taken = 0;
        let _ = self.permits.fetch_update(Ordering::AcqRel, Ordering::Acquire, |left| {
            taken = left.min(wanted);
            Some(left - taken)
        });
        taken
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Range {
    first: u64,
    next: u64,
    end: u64,
}

impl Split for Range {
    fn id(&self) -> String {
        format!("from {}", self.first)
    }
}

/// `splits` ranges of `each` numbers.
pub struct Numbers {
    pub splits: u64,
    pub each: u64,
    pub first: u64,
    pub controls: Arc<Controls>,
}

pub struct NumbersReader {
    splits: Vec<Range>,
    controls: Arc<Controls>,
    clock: Clock,
}

impl Source for Numbers {
    type Record = u64;
    type Split = Range;
    type Reader = NumbersReader;

    fn discover(&self, _: u32) -> Result<Discovered<Range>> {
        let range = |split| {
            let first = self.first + split * self.each;
            Range { first, next: first, end: first + self.each }
        };
        Ok(Discovered { splits: (0..self.splits).map(range).collect(), again_after: None })
    }

    fn reader(&self, cx: &ReaderContext) -> Result<NumbersReader> {
        let controls = Arc::clone(&self.controls);
        Ok(NumbersReader { splits: Vec::new(), controls, clock: cx.clock.clone() })
    }

    fn identity(&self) -> Vec<(String, String)> {
        vec![("numbers".to_owned(), format!("{} x {} from {}", self.splits, self.each, self.first))]
    }
}

impl SourceReader for NumbersReader {
    type Record = u64;
    type Split = Range;

    fn add_split(&mut self, split: Range) -> Result<()> {
        self.splits.push(split);
        Ok(())
    }

    fn poll(&mut self, out: &mut SourceOutput<'_, u64>) -> Result<Polled> {
        let Some(split) = self.splits.first_mut() else { return Ok(Polled::NoSplit) };
        if split.next == split.end {
            let id = split.id();
            self.splits.remove(0);
            return Ok(Polled::SplitFinished(id));
        }
        let allowed = self.controls.take_permits((split.end - split.next).min(64));
        if allowed == 0 {
            let hook = self.controls.on_wait.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let wait = hook.map_or(millis(1), |hook| hook());
            return Ok(Polled::Pending(Some(self.clock.now() + wait)));
        }
        for _ in 0..allowed {
            out.emit(split.next);
            split.next += 1;
        }
        Ok(Polled::Ready)
    }

    fn snapshot(&self) -> Vec<Range> {
        self.splits.clone()
    }

    fn position(&self) -> Option<String> {
        self.splits.first().map(|split| format!("number {}", split.next))
    }
}

/// Passes records on and counts them in operator state.
struct Middle {
    controls: Arc<Controls>,
    input: Option<Batch<u64>>,
    output: Batch<u64>,
    current: Option<u64>,
    count: u64,
    cursor: usize,
}

impl Operator for Middle {
    fn open(&mut self, cx: &mut OpenContext<'_>) -> Result<()> {
        for state in cx.restored {
            self.count += postcard::from_bytes::<u64>(state).unwrap_or(0);
        }
        Ok(())
    }

    fn accept(&mut self, _: usize, batch: ErasedBatch) {
        self.input = Some(batch.into_typed());
        self.cursor = 0;
    }

    fn process(&mut self, until: usize, _: &mut StepContext<'_>) -> Result<usize> {
        let hook = self.controls.on_record.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(batch) = &mut self.input else { return Ok(until) };
        for record in &batch.records[self.cursor..until] {
            self.current = Some(*record);
            if let Some(hook) = &hook {
                hook(*record);
            }
        }
        self.count += (until - self.cursor) as u64;
        self.output.records.extend_from_slice(&batch.records[self.cursor..until]);
        self.cursor = until;
        Ok(until)
    }

    fn on_watermark(&mut self, watermark: Timestamp, _: &mut StepContext<'_>) -> Result<Progress> {
        self.output.push_watermark(watermark);
        Ok(Progress::Done)
    }

    fn outputs(&self) -> usize {
        1
    }

    fn take_output(&mut self, _: usize) -> Option<ErasedBatch> {
        (!self.output.is_empty()).then(|| ErasedBatch::new(std::mem::take(&mut self.output)))
    }

    fn freeze(&mut self, _: CheckpointId) -> Result<FrozenState> {
        let operator_state =
            postcard::to_stdvec(&self.count).map_err(|error| BoxError::from(error.to_string()))?;
        Ok(FrozenState { operator_state, prepare: None })
    }

    fn current_element(&self) -> (Option<String>, Option<Timestamp>) {
        (self.current.map(|key| key.to_string()), None)
    }
}

/// An exactly-once sink into memory.
struct Collect {
    controls: Arc<Controls>,
    batch: Option<Batch<u64>>,
    cursor: usize,
    open: Vec<u64>,
    subtask: u32,
    attempt: u64,
}

type Prepared = (u32, u64, u64, Vec<u64>);

impl Operator for Collect {
    fn open(&mut self, cx: &mut OpenContext<'_>) -> Result<()> {
        self.subtask = cx.subtask.index;
        self.attempt = cx.attempt.0;
        Ok(())
    }

    fn accept(&mut self, _: usize, batch: ErasedBatch) {
        self.batch = Some(batch.into_typed());
        self.cursor = 0;
    }

    fn process(&mut self, until: usize, _: &mut StepContext<'_>) -> Result<usize> {
        if let Some(batch) = &self.batch {
            self.open.extend_from_slice(&batch.records[self.cursor..until]);
            self.cursor = until;
        }
        Ok(until)
    }

    fn on_watermark(&mut self, _: Timestamp, _: &mut StepContext<'_>) -> Result<Progress> {
        Ok(Progress::Done)
    }

    fn outputs(&self) -> usize {
        0
    }

    fn take_output(&mut self, _: usize) -> Option<ErasedBatch> {
        None
    }

    fn freeze(&mut self, checkpoint: CheckpointId) -> Result<FrozenState> {
        let records = std::mem::take(&mut self.open);
        if records.is_empty() {
            return Ok(FrozenState::default());
        }
        let prepared: Prepared = (self.subtask, self.attempt, checkpoint.0, records);
        let prepare = move || {
            let bytes = postcard::to_stdvec(&prepared).map_err(|error| BoxError::from(error.to_string()))?;
            Ok(vec![Committable(bytes)])
        };
        Ok(FrozenState { operator_state: Vec::new(), prepare: Some(Box::new(prepare)) })
    }

    fn committer(&mut self) -> Option<Box<dyn Committer>> {
        Some(Box::new(CollectCommitter(Arc::clone(&self.controls))))
    }
}

struct CollectCommitter(Arc<Controls>);

impl Committer for CollectCommitter {
    fn commit(&mut self, checkpoint: CheckpointId, committables: &[Committable]) -> Result<()> {
        let hook = self.0.on_commit.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(hook) = hook {
            hook(checkpoint)?;
        }
        let mut committed = self.0.committed.lock().unwrap_or_else(PoisonError::into_inner);
        for committable in committables {
            let (subtask, attempt, checkpoint, records): Prepared =
                postcard::from_bytes(&committable.0).map_err(|error| BoxError::from(error.to_string()))?;
            committed.insert((subtask, attempt, checkpoint), records);
        }
        Ok(())
    }
}

struct NoChecks;

impl SinkChecks for NoChecks {
    fn check(&self, _: Lineage, _: RunStart) -> Result<()> {
        Ok(())
    }

    fn identity(&self) -> Vec<(String, String)> {
        Vec::new()
    }
}

/// Adds `numbers -> middle -> out`, all named with `suffix`.
pub fn add_pipeline(graph: &mut Graph, suffix: &str, numbers: Numbers) {
    let controls = Arc::clone(&numbers.controls);
    add_pipeline_from(graph, suffix, Arc::new(numbers), &controls);
}

/// As `add_pipeline`, from another source of numbers.
pub fn add_pipeline_from(
    graph: &mut Graph,
    suffix: &str,
    source: Arc<dyn ErasedSource>,
    controls: &Arc<Controls>,
) {
    let controls = Arc::clone(controls);
    let port = || vec![OutputPort { name: "main".to_owned(), type_name: "u64" }];
    let node = |name: &str, kind, outputs| Node {
        name: Some(format!("{name}{suffix}")),
        description: name.to_owned(),
        kind,
        parallelism: None,
        states: Vec::new(),
        outputs,
    };
    let upstream = |node| Upstream {
        node,
        port: 0,
        partitioning: Some(Partitioning::Rebalance),
        router: typed_router::<u64>,
    };
    let numbers = graph.add(node("numbers", NodeKind::Source(source), port()), &[]);
    let for_middle = Arc::clone(&controls);
    let middle = NodeKind::Operator(Arc::new(move || {
        let hook = for_middle.on_build.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(hook) = hook {
            hook();
        }
        Ok(Box::new(Middle {
            controls: Arc::clone(&for_middle),
            input: None,
            output: Batch::default(),
            current: None,
            count: 0,
            cursor: 0,
        }))
    }));
    let middle = graph.add(node("middle", middle, port()), &[&[upstream(numbers)]]);
    let collect = NodeKind::Sink(
        Arc::new(move || {
            let controls = Arc::clone(&controls);
            Ok(Box::new(Collect {
                controls,
                batch: None,
                cursor: 0,
                open: Vec::new(),
                subtask: 0,
                attempt: 0,
            }))
        }),
        Arc::new(NoChecks),
    );
    graph.add(node("out", collect, Vec::new()), &[&[upstream(middle)]]);
}

/// One pipeline of `splits * each` numbers.
pub fn pipeline(controls: &Arc<Controls>, splits: u64, each: u64) -> Graph {
    let mut graph = Graph::new("test");
    let numbers = Numbers { splits, each, first: 0, controls: Arc::clone(controls) };
    add_pipeline(&mut graph, "", numbers);
    graph
}

/// Settings of a test: two subtasks, a checkpoint each 10 ms, restarts at once.
pub fn config(dir: &tempfile::TempDir) -> JobConfig {
    JobConfig::new()
        .parallelism(2)
        .state_dir(dir.path())
        .checkpoint_interval(millis(10))
        .restart(RestartPolicy::FixedDelay { attempts: 3, delay: Duration::ZERO })
}

/// Waits until a condition of the job holds.
pub fn until(job: &Job, what: &str, condition: impl Fn(&Job) -> bool) {
    const POLL: Duration = Duration::from_millis(2);
    for _ in 0..10_000 {
        if condition(job) {
            return;
        }
        // Blocks on the job's end, not on time alone.
        let ended = job.wait_for(POLL);
        if job.report().is_some() {
            assert!(condition(job), "the job ended before {what}: {ended:?}");
            return;
        }
    }
    panic!("not within the deadline: {what}; {:#?}", job.topology());
}

/// By path, of all subtasks.
pub fn activities(job: &Job) -> Vec<(String, Activity)> {
    let actors = job.topology().actors.into_iter();
    actors.filter_map(|actor| Some((actor.path, actor.subtask?.activity))).collect()
}

/// What is seen of an actor.
pub fn actor(job: &Job, path: &str) -> ActorInfo {
    let found = job.topology().actors.into_iter().find(|actor| actor.path == path);
    found.unwrap_or_else(|| panic!("no actor {path}"))
}

/// What is seen of a subtask.
pub fn subtask(job: &Job, path: &str) -> SubtaskInfo {
    actor(job, path).subtask.unwrap_or_else(|| panic!("{path} is no subtask"))
}

/// Allows all that is left, and has the job finish with each of the first numbers once.
#[track_caller]
pub fn finishes_with(job: &Job, controls: &Controls, records: u64) -> tidegate_supervisor::Result<()> {
    controls.allow(1_000_000);
    assert_eq!(job.wait()?.state, JobState::Finished);
    assert_eq!(controls.output(), numbers(records));
    Ok(())
}

/// Something that the first who comes to it hangs in until it is released, or this is dropped.
pub struct Hang {
    is_reached: Arc<AtomicBool>,
    release: Sender<()>,
}

/// The other half is how to come to it; it returns whether it has hung.
pub fn hang() -> (Hang, impl Fn() -> bool + Send + Sync + 'static) {
    let (release, released) = channel();
    let released = Mutex::new(Some(released));
    let hang = Hang { is_reached: Arc::default(), release };
    let is_reached = Arc::clone(&hang.is_reached);
    let reach = move || {
        let first = released.lock().unwrap_or_else(PoisonError::into_inner).take();
        first.is_some_and(|released| {
            is_reached.store(true, Ordering::Release);
            let _ = released.recv();
            true
        })
    };
    (hang, reach)
}

impl Hang {
    pub fn await_reached(&self, job: &Job) {
        until(job, "somebody hangs", |_| self.is_reached.load(Ordering::Acquire));
    }

    pub fn release(&self) {
        self.release.send(()).expect("somebody hangs");
    }
}

/// Takes one of what is left of something that happens a number of times; whether there was one.
pub fn take_one(left: &AtomicU64) -> bool {
    left.fetch_update(Ordering::AcqRel, Ordering::Acquire, |left| left.checked_sub(1)).is_ok()
}

/// Numbers `0..n`.
pub fn numbers(n: u64) -> Vec<u64> {
    (0..n).collect()
}

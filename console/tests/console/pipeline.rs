//! A small real job that a test holds in its hands: how much its source reads, whether its functions and its sink go on.

use std::ops::Range;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tempfile::TempDir;
use tidegate_console::{ControlEndpoint, Picture, Registry, serve_in};
use tidegate_operators::{Dataflow, WatermarkStrategy};
use tidegate_runtime::Batch;
use tidegate_runtime::config::{CheckpointConfig, JobConfig, RestartPolicy};
use tidegate_runtime::error::Result;
use tidegate_runtime::id::CheckpointId;
use tidegate_runtime::sink::{PrepareJob, Sink, SinkContext, SinkWriter};
use tidegate_runtime::source::{
    Discovered, Polled, ReaderContext, Source, SourceOutput, SourceReader, Split,
};
use tidegate_runtime::time::{Clock, millis, seconds};
use tidegate_supervisor::{ActorInfo, Job, JobState, SubtaskInfo, launch};

use crate::fake::{Ran, run_below};

const POLL: Duration = Duration::from_millis(5);
const POLLS_MAX: u32 = 4_000;

/// What a test changes while the job runs.
#[derive(Default)]
pub(crate) struct Controls {
    held: Mutex<Held>,
    changed: Condvar,
}

#[derive(Default)]
struct Held {
    permits: u64,
    sink: bool,
    key: Option<u64>,
}

impl Controls {
    fn change(&self, change: impl FnOnce(&mut Held)) {
        change(&mut self.held.lock().unwrap_or_else(PoisonError::into_inner));
        self.changed.notify_all();
    }

    /// Lets the source read so many records more.
    pub(crate) fn allow(&self, records: u64) {
        self.change(|held| held.permits += records);
    }

    pub(crate) fn hold_sink(&self) {
        self.change(|held| held.sink = true);
    }

    /// Holds the keyed function at the records of a key.
    pub(crate) fn hold_key(&self, key: u64) {
        self.change(|held| held.key = Some(key));
    }

    pub(crate) fn release(&self) {
        self.change(|held| (held.sink, held.key) = (false, None));
    }

    fn take(&self, wanted: u64) -> u64 {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = held.permits.min(wanted);
        held.permits -= taken;
        taken
    }

    fn wait_while(&self, is_held: impl Fn(&Held) -> bool) {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.changed.wait_while(held, |held| is_held(held)));
    }
}

/// Record `n` is of key `n % KEYS`, at `n` seconds.
pub(crate) const KEYS: u64 = 100;

#[derive(Clone, Serialize, Deserialize)]
struct Position(u64);

impl Split for Position {
    fn id(&self) -> String {
        "all".to_owned()
    }
}

struct Numbers(Arc<Controls>);

struct NumbersReader {
    split: Option<Position>,
    controls: Arc<Controls>,
    clock: Clock,
}

impl Source for Numbers {
    type Record = u64;
    type Split = Position;
    type Reader = NumbersReader;

    fn discover(&self, _: u32) -> Result<Discovered<Position>> {
        Ok(Discovered { splits: vec![Position(0)], again_after: None })
    }

    fn reader(&self, cx: &ReaderContext) -> Result<NumbersReader> {
        Ok(NumbersReader { split: None, controls: Arc::clone(&self.0), clock: cx.clock.clone() })
    }

    fn identity(&self) -> Vec<(String, String)> {
        Vec::new()
    }
}

impl SourceReader for NumbersReader {
    type Record = u64;
    type Split = Position;

    fn add_split(&mut self, split: Position) -> Result<()> {
        self.split = Some(split);
        Ok(())
    }

    fn poll(&mut self, out: &mut SourceOutput<'_, u64>) -> Result<Polled> {
        let Some(Position(next)) = &mut self.split else { return Ok(Polled::NoSplit) };
        let taken = self.controls.take(64);
        if taken == 0 {
            return Ok(Polled::Pending(Some(self.clock.now() + millis(1))));
        }
        (*next..*next + taken).for_each(|n| out.emit(n));
        *next += taken;
        Ok(Polled::Ready)
    }

    fn snapshot(&self) -> Vec<Position> {
        self.split.iter().cloned().collect()
    }

    fn position(&self) -> Option<String> {
        self.split.as_ref().map(|Position(next)| format!("number {next}"))
    }
}

struct Out(Arc<Controls>);

impl Sink for Out {
    type Record = u64;
    type Writer = Out;

    fn writer(&self, _: &SinkContext, _: &[Vec<u8>]) -> Result<Out> {
        Ok(Out(Arc::clone(&self.0)))
    }

    fn identity(&self) -> Vec<(String, String)> {
        Vec::new()
    }
}

impl SinkWriter for Out {
    type Record = u64;

    fn write(&mut self, _: &mut Batch<u64>, _: Range<usize>) -> Result<()> {
        self.0.wait_while(|held| held.sink);
        Ok(())
    }

    fn freeze(&mut self, _: CheckpointId) -> Result<(Vec<u8>, Option<PrepareJob>)> {
        Ok((Vec::new(), None))
    }
}

/// The job, its endpoint, and the command in its directory.
pub(crate) struct Live {
    pub(crate) controls: Arc<Controls>,
    // Order of fields is order of end: the endpoint, the job, its directory.
    endpoint: Option<ControlEndpoint>,
    job: Option<Job>,
    root: TempDir,
}

impl Live {
    /// `numbers -> count (2 subtasks) -> out`, checkpoints only on demand, given up after a second.
    pub(crate) fn new() -> Self {
        let root = tempfile::tempdir().expect("directory");
        let controls = Arc::new(Controls::default());
        let checkpoints = CheckpointConfig {
            interval: None,
            timeout: seconds(1),
            tolerable_failures: 1_000,
            ..CheckpointConfig::default()
        };
        let state_dir = root.path().join(".tidegate").join("live");
        let config = JobConfig::new()
            .parallelism(1)
            .state_dir(&state_dir)
            .checkpoints(checkpoints)
            .gate_bytes(16 * 1_024)
            .restart(RestartPolicy::FixedDelay { attempts: 3, delay: Duration::ZERO });
        let job = launch(&flow(&controls).graph(), config).expect("launched");
        let registry = Registry::at(root.path().join("registry"));
        let endpoint = serve_in(Arc::new(job.observer()), job.state_dir(), registry).expect("served");
        let live = Self { controls, endpoint: Some(endpoint), job: Some(job), root };
        live.until("every subtask runs", |picture| {
            let runs = |path: &&str| picture.topology.actors.iter().any(|actor| actor.path == *path);
            picture.topology.state == JobState::Running
                && ["numbers/0", "count/0", "count/1", "out/0"].iter().all(runs)
        });
        live
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
        run_below(self.root.path(), arguments)
    }

    /// What `tidegate topology --json` says.
    pub(crate) fn picture(&self) -> Picture {
        let ran = self.run(&["topology", "--json"]);
        serde_json::from_str(&ran.out).unwrap_or_else(|error| panic!("{error} in {ran:?}"))
    }

    /// Asks again and again until it is so.
    pub(crate) fn until(&self, what: &str, is_so: impl Fn(&Picture) -> bool) -> Picture {
        for _ in 0..POLLS_MAX {
            let picture = self.picture();
            if is_so(&picture) {
                return picture;
            }
            std::thread::park_timeout(POLL);
        }
        panic!("not within the deadline: {what}\n{}", self.run(&["topology"]).out);
    }

    /// Lets go of the job's handle, as a program does at its end.
    pub(crate) fn let_go_of_job(&mut self) {
        self.job = None;
    }

    pub(crate) fn job(&self) -> &Job {
        self.job.as_ref().expect("held")
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.controls.release();
        self.endpoint = None;
    }
}

fn flow(controls: &Arc<Controls>) -> Dataflow {
    let flow = Dataflow::new("live");
    let held = Arc::clone(controls);
    let out = flow
        .source("numbers", Numbers(Arc::clone(controls)))
        .event_time(WatermarkStrategy::bounded_out_of_orderness(seconds(10)), |n| *n as i64 * 1_000)
        .key_by(|n| n % KEYS)
        .stateful_map("count", move |count: &mut u64, n| {
            held.wait_while(|held| held.key == Some(n % KEYS));
            *count += 1;
            n
        })
        .parallelism(2);
    out.sink("out", Out(Arc::clone(controls)));
    flow
}

/// An actor of a picture.
pub(crate) fn actor<'a>(picture: &'a Picture, path: &str) -> &'a ActorInfo {
    let found = picture.topology.actors.iter().find(|actor| actor.path == path);
    found.unwrap_or_else(|| panic!("no {path} in {:#?}", picture.topology))
}

/// The figures of a subtask of a picture.
pub(crate) fn subtask<'a>(picture: &'a Picture, path: &str) -> &'a SubtaskInfo {
    actor(picture, path).subtask.as_ref().expect("a subtask")
}

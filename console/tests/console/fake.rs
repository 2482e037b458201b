//! A job that is made up: it says what a test wants and remembers what it was asked.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use tempfile::TempDir;
use tidegate_console::cli::{ExitStatus, Screen, Surroundings, run};
use tidegate_console::{ControlEndpoint, JobView, Refusal, Registry, serve_in};
use tidegate_runtime::checkpoint::manifest::CheckpointKind;
use tidegate_runtime::id::{CheckpointId, Lineage};
use tidegate_runtime::metrics::Activity;
use tidegate_supervisor::{
    ActorInfo, ActorKind, ActorState, CheckpointRecord, CheckpointStatus, EdgeInfo, InputInfo, JobState,
    StopMode, SubtaskInfo, Topology,
};

/// A job that is made up.
pub(crate) struct Fake {
    pub(crate) name: String,
    pub(crate) topology: Mutex<Topology>,
    pub(crate) checkpoints: Mutex<Vec<CheckpointRecord>>,
    pub(crate) refusal: Mutex<Option<Refusal>>,
    /// Held by a test to have `checkpoint` wait.
    pub(crate) gate: Mutex<()>,
    pub(crate) asked: Mutex<Vec<String>>,
}

/// Locks; a test that failed meanwhile has said so.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no test panicked with the lock")
}

impl Fake {
    pub(crate) fn named(name: &str) -> Arc<Self> {
        let mut topology = topology();
        name.clone_into(&mut topology.job);
        Arc::new(Self {
            name: name.to_owned(),
            topology: Mutex::new(topology),
            checkpoints: Mutex::new(checkpoints()),
            refusal: Mutex::new(None),
            gate: Mutex::new(()),
            asked: Mutex::new(Vec::new()),
        })
    }

    fn answer(&self, asked: String) -> Result<(), Refusal> {
        lock(&self.asked).push(asked);
        lock(&self.refusal).clone().map_or(Ok(()), Err)
    }
}

impl JobView for Fake {
    fn name(&self) -> Result<String, Refusal> {
        Ok(self.name.clone())
    }

    fn state(&self) -> Result<JobState, Refusal> {
        Ok(lock(&self.topology).state)
    }

    fn topology(&self) -> Result<Topology, Refusal> {
        Ok(lock(&self.topology).clone())
    }

    fn checkpoints(&self) -> Result<Vec<CheckpointRecord>, Refusal> {
        Ok(lock(&self.checkpoints).clone())
    }

    fn checkpoint(&self) -> Result<CheckpointRecord, Refusal> {
        self.answer("checkpoint".to_owned())?;
        drop(lock(&self.gate));
        Ok(completed(43))
    }

    fn kill(&self, actor: &str) -> Result<(), Refusal> {
        self.answer(format!("kill {actor}"))
    }

    fn stop(&self, mode: StopMode) -> Result<(), Refusal> {
        self.answer(format!("stop {mode:?}"))
    }
}

/// A served job with directories of its own.
pub(crate) struct Served {
    pub(crate) root: TempDir,
    pub(crate) fake: Arc<Fake>,
    pub(crate) endpoint: Option<ControlEndpoint>,
}

impl Served {
    pub(crate) fn new() -> Self {
        Self::of(Fake::named("fraud"))
    }

    pub(crate) fn of(fake: Arc<Fake>) -> Self {
        let root = tempfile::tempdir().expect("directory");
        let endpoint = serve_below(root.path(), &fake);
        Self { root, fake, endpoint: Some(endpoint) }
    }

    pub(crate) fn state_dir(&self) -> PathBuf {
        state_dir_below(self.root.path(), &self.fake)
    }

    /// Runs a command line below the root.
    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
        run_below(self.root.path(), arguments)
    }
}

/// Serves a job in `ROOT/.tidegate/NAME`.
pub(crate) fn serve_below(root: &Path, fake: &Arc<Fake>) -> ControlEndpoint {
    let state_dir = state_dir_below(root, fake);
    std::fs::create_dir_all(&state_dir).expect("made");
    let job: Arc<dyn JobView> = Arc::<Fake>::clone(fake);
    serve_in(job, &state_dir, Registry::at(root.join("registry"))).expect("served")
}

fn state_dir_below(root: &Path, fake: &Fake) -> PathBuf {
    root.join(".tidegate").join(&fake.name)
}

/// What a command left.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Ran {
    pub(crate) status: ExitStatus,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// Runs a command line in a directory, with the registry below it.
pub(crate) fn run_below(root: &Path, arguments: &[&str]) -> Ran {
    let surroundings = Surroundings {
        current_dir: root.to_path_buf(),
        registry: Registry::at(root.join("registry")),
        screen: Screen::Plain,
    };
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let line = std::iter::once("tidegate").chain(arguments.iter().copied()).map(OsString::from);
    let status = run(line, &surroundings, &mut out, &mut err);
    let text = |bytes| String::from_utf8(bytes).expect("text");
    Ran { status, out: text(out), err: text(err) }
}

fn topology() -> Topology {
    Topology {
        job: String::new(),
        lineage: Lineage(u128::MAX),
        state: JobState::Running,
        at_ms: 1_700_000_010_000,
        actors: vec![
            actor("checkpoints", ActorKind::Checkpoints, "job"),
            subtask("count/0", counting(Activity::BackPressured)),
            subtask("count/1", counting(Activity::Idle)),
            actor("deployment-0", ActorKind::Deployment, "worker"),
            actor("job", ActorKind::Job, "runtime"),
            subtask("lines \"a\"/0", reading()),
            actor("region-0", ActorKind::Region, "job"),
            actor("runtime", ActorKind::Runtime, ""),
            actor("worker", ActorKind::Worker, "runtime"),
        ],
        edges: vec![EdgeInfo {
            from: "lines \"a\"".to_owned(),
            to: "count".to_owned(),
            partitioning: "hash".to_owned(),
        }],
    }
}

fn actor(path: &str, kind: ActorKind, parent: &str) -> ActorInfo {
    ActorInfo {
        path: path.to_owned(),
        kind,
        parent: parent.to_owned(),
        state: ActorState::Running,
        attempt: (kind == ActorKind::Deployment).then_some(3),
        restarts: if kind == ActorKind::Deployment { 2 } else { 0 },
        mailbox_depth: 0,
        subtask: None,
    }
}

fn subtask(path: &str, info: SubtaskInfo) -> ActorInfo {
    let attempt = Some(3);
    let subtask = Some(info);
    ActorInfo {
        attempt,
        subtask,
        restarts: 2,
        mailbox_depth: 1,
        ..actor(path, ActorKind::Subtask, "deployment-0")
    }
}

fn counting(activity: Activity) -> SubtaskInfo {
    SubtaskInfo {
        activity,
        records_in: 123_456,
        records_out: 120_000,
        records_in_per_second: 70_123.4,
        records_out_per_second: 69_000.0,
        batch_fill: 512.0,
        inputs: vec![InputInfo {
            producer: "lines \"a\"/0".to_owned(),
            queued_bytes: 1_536,
            queued_elements: 2,
            is_blocked: activity == Activity::BackPressured,
        }],
        watermark_ms: Some(1_700_000_000_000),
        watermark_lag_ms: Some(3_200),
        state_entries: 1_000,
        state_bytes: 64_000,
        last_checkpoint: Some(42),
        overshoots: 1,
        late_records: 7,
        replayed_records: 0,
    }
}

fn reading() -> SubtaskInfo {
    SubtaskInfo {
        inputs: Vec::new(),
        watermark_ms: None,
        watermark_lag_ms: None,
        state_entries: 0,
        state_bytes: 0,
        last_checkpoint: None,
        late_records: 0,
        overshoots: 0,
        ..counting(Activity::Running)
    }
}

/// A completed checkpoint.
pub(crate) fn completed(id: u64) -> CheckpointRecord {
    CheckpointRecord {
        checkpoint: CheckpointId(id),
        kind: CheckpointKind::Periodic,
        status: CheckpointStatus::Completed,
        triggered_ms: 1_700_000_005_000,
        duration_ms: 14,
        bytes: 2_048,
    }
}

fn checkpoints() -> Vec<CheckpointRecord> {
    let cause = "count/1 did not answer within 10 s".to_owned();
    let aborted = CheckpointRecord {
        status: CheckpointStatus::Aborted { cause },
        bytes: 0,
        duration_ms: 10_000,
        ..completed(41)
    };
    let pending = CheckpointRecord {
        status: CheckpointStatus::InProgress,
        kind: CheckpointKind::Stop,
        bytes: 0,
        ..completed(43)
    };
    vec![aborted, completed(42), pending]
}

//! Starts a job: plans the graph, takes the state directory, asks the sinks, starts the actors.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use ractor::ActorRuntime;
use tidegate_runtime::checkpoint::restart::RestartTracker;
use tidegate_runtime::config::JobConfig;
use tidegate_runtime::files::{FileLayer, RealFiles};
use tidegate_runtime::graph::{Graph, NodeKind, Plan};
use tidegate_runtime::sink::RunStart;
use tidegate_runtime::time::Clock;
use tokio::runtime::{Builder, Runtime};

use crate::directory::Directory;
use crate::error::{Error, Result};
use crate::handle::Job;
use crate::job::{JobShared, ManifestThread, Outcome};
use crate::link::{LocalLink, LocalReports};
use crate::post::{Post, Slot};
use crate::report::{Counters, History};
use crate::root::RootActor;
use crate::run_storage::{Opened, RunStorage};
use crate::storage::{ManifestStore, RunEnd};
use crate::timer::Timers;
use crate::topology::{ATTEMPTS_PER_START, ActorKind, JobState};
use crate::worker::{DataPlane, WorkerShared, watch};

/// Between two looks at the counters that rates are made of.
const RATE_SAMPLE: Duration = Duration::from_millis(500);

/// Starts a graph as a job. Works inside and outside an async runtime; it blocks for as long as the state directory
/// takes to be opened.
///
/// # Errors
/// What is wrong with the graph or the settings, whose state or output is in the way, and what the machine refuses.
pub fn launch(graph: &Graph, config: JobConfig) -> Result<Job> {
    launch_on(Arc::new(RealFiles), graph, config)
}

/// As `launch`, over another file layer: a disk that fails on purpose, in tests.
///
/// # Errors
/// As `launch`.
pub fn launch_on(files: Arc<dyn FileLayer>, graph: &Graph, config: JobConfig) -> Result<Job> {
    if cfg!(panic = "abort") {
        return Err(Error::PanicAborts);
    }
    let plan = Arc::new(Plan::of(graph, &config)?);
    let clock = Clock::system();
    let opened = RunStorage::open(&files, &plan, &config, &clock)?;
    if let Err(refusal) = check_sinks(&plan, &opened) {
        // Nothing of a fresh run exists yet: the next start, with other output perhaps, begins afresh too.
        let end = (opened.start == RunStart::Fresh).then_some(RunEnd::Finished);
        opened.storage.close(end)?;
        return Err(refusal);
    }
    Launch { plan, clock, config, opened }.start()
}

fn check_sinks(plan: &Plan, opened: &Opened) -> Result<()> {
    for vertex in &plan.vertices {
        if let NodeKind::Sink(_, checks) = &vertex.root.kind {
            checks.check(opened.lineage, opened.start)?;
        }
    }
    Ok(())
}

struct Launch {
    plan: Arc<Plan>,
    clock: Clock,
    config: JobConfig,
    opened: Opened,
}

impl Launch {
    fn start(self) -> Result<Job> {
        let control = control_runtime()?;
        let directory = Arc::new(Directory::default());
        let worker_slot = Arc::new(Slot::default());
        let job_slot = Arc::new(Slot::default());
        let timers = Arc::new(Timers::default());
        let seed = self.config.seed.unwrap_or(self.opened.lineage.0 as u64);
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let counters = Arc::new(Counters::default());
        let worker = Arc::new(WorkerShared {
            plan: Arc::clone(&self.plan),
            clock: self.clock.clone(),
            lineage: self.opened.lineage,
            seed,
            step_timeout: self.config.step_timeout.unwrap_or(JobConfig::STEP_TIMEOUT_DEFAULT),
            directory: Arc::clone(&directory),
            timers: Arc::clone(&timers),
            data: DataPlane::new(cores)?,
            tables: Arc::clone(&self.opened.tables) as Arc<dyn crate::storage::TableStore>,
            reports: Arc::new(LocalReports { job: Arc::clone(&job_slot) }),
            counters: Arc::clone(&counters),
            attempts: Mutex::new(BTreeMap::new()),
            post: Arc::clone(&worker_slot),
        });
        self.opened.tables.serve(&worker);
        let latest = self.opened.latest.map(Arc::new);
        let last_used = latest.as_ref().map_or(0, |manifest| manifest.next_checkpoint.0 - 1);
        let restart = self.config.restart;
        let job = Arc::new(JobShared {
            plan: self.plan,
            config: self.config,
            clock: self.clock.clone(),
            lineage: self.opened.lineage,
            directory: Arc::clone(&directory),
            counters,
            history: History::default(),
            manifests: Arc::new(self.opened.storage),
            manifest_thread: ManifestThread::start()?,
            link: Arc::new(LocalLink { worker: worker_slot }),
            outcome: Arc::new(Outcome::default()),
            state_dir: self.opened.path,
            started_from: latest.as_ref().map(|manifest| manifest.checkpoint),
            last_attempt: AtomicU64::new((self.opened.starts - 1) * ATTEMPTS_PER_START),
            last_checkpoint: AtomicU64::new(last_used),
            latest: Mutex::new(latest),
            sources: Mutex::new(BTreeMap::new()),
            policy: Mutex::new(RestartTracker::new(restart, seed)),
            stop: Mutex::new(None),
            signal: Mutex::new(None),
            state: Mutex::new(JobState::Created),
            post: job_slot,
            has_input: AtomicBool::new(true),
            is_let_go: AtomicBool::new(false),
        });
        control.spawn(timers.run(self.clock));
        control.spawn(watch(Arc::clone(&worker)));
        control.spawn(sample_rates(Arc::clone(&directory)));
        register_subtasks(&worker);
        let entry = directory.entry("runtime", ActorKind::Runtime, "");
        let actor =
            RootActor { job: Arc::clone(&job), worker: Arc::clone(&worker), entry: Arc::clone(&entry) };
        let root = {
            let _context = control.enter();
            let (told, started) = mpsc::sync_channel(1);
            let (root, _) =
                ActorRuntime::spawn_instant(None, actor, told).map_err(|error| root_error(&error))?;
            // What the caller asks of the job from now on finds somebody who takes it.
            started.recv().map_err(|error| root_error(&error))?;
            Post::new(root, entry)
        };
        Ok(Job::new(job, root, control))
    }
}

fn root_error(error: &impl ToString) -> Error {
    Error::Start { what: "the root actor", source: std::io::Error::other(error.to_string()) }
}

/// One thread for all control actors, so that their handlers never run at the same time, apart from user code.
fn control_runtime() -> Result<Runtime> {
    Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("tidegate-control")
        .enable_all()
        .build()
        .map_err(|source| Error::Start { what: "the control runtime", source })
}

/// So that the whole tree is seen from the start.
fn register_subtasks(worker: &WorkerShared) {
    for region in &worker.plan.regions {
        let parent = format!("deployment-{}", region.id.0);
        worker.directory.entry(&parent, ActorKind::Deployment, "worker-0");
        for subtask in worker.plan.subtasks(region.id) {
            worker.directory.entry(&worker.path(subtask), ActorKind::Subtask, &parent);
        }
    }
}

async fn sample_rates(directory: Arc<Directory>) {
    loop {
        tokio::time::sleep(RATE_SAMPLE).await;
        directory.sample_rates(RATE_SAMPLE.as_secs_f64());
    }
}

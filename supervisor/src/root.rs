//! The root of the actor tree: replaces the job's actor and the worker's, and ends the run.

use std::sync::Arc;
use std::sync::mpsc::SyncSender;

use ractor::{Actor, ActorProcessingErr, ActorRef, ActorRuntime, SpawnErr, SupervisionEvent};
use tidegate_runtime::error::Failure;
use tidegate_runtime::sync::lock;
use tokio::sync::oneshot;

use crate::directory::Entry;
use crate::job::{JobActor, JobEnd, JobShared};
use crate::message::Origin;
use crate::post::Post;
use crate::report::JobReport;
use crate::storage::RunEnd;
use crate::topology::{ActorKind, JobState};
use crate::worker::{WorkerActor, WorkerMessage, WorkerShared};

/// Deaths of the job's or the worker's actor by themselves, over which the job is given up: they are our bugs.
const OWN_DEATHS_MAX: u32 = 10;

/// What the root is told.
pub(crate) enum RootMessage {
    /// By the job.
    JobEnded(JobEnd),
    /// By a person who does not want to wait for a last checkpoint.
    Abandon,
    /// By the worker: nothing is left of its attempts.
    WorkerClosed,
    /// By the manifest thread: how the run ended is durable, or is not.
    Recorded(Result<(), String>),
}

/// The actor.
pub(crate) struct RootActor {
    pub(crate) job: Arc<JobShared>,
    pub(crate) worker: Arc<WorkerShared>,
    pub(crate) entry: Arc<Entry>,
}

/// What it has started, and whether the run ends.
pub(crate) struct RootState {
    job: Option<ActorRef<crate::job::JobMessage>>,
    worker: ActorRef<WorkerMessage>,
    ending: Option<JobEnd>,
    own_deaths: u32,
}

impl Actor for RootActor {
    type Msg = RootMessage;
    type State = RootState;
    /// Told once the job's actor and the worker's can be reached.
    type Arguments = SyncSender<()>;

    async fn pre_start(
        &self,
        myself: ActorRef<RootMessage>,
        started: SyncSender<()>,
    ) -> Result<RootState, ActorProcessingErr> {
        self.entry.bind(myself.get_cell());
        let worker = self.spawn_worker(&myself, None)?;
        let job = Some(self.spawn_job(&myself)?);
        let _ = started.send(());
        Ok(RootState { job, worker, ending: None, own_deaths: 0 })
    }

    async fn handle(
        &self,
        myself: ActorRef<RootMessage>,
        message: RootMessage,
        state: &mut RootState,
    ) -> Result<(), ActorProcessingErr> {
        self.entry.taken();
        match message {
            RootMessage::JobEnded(end) => self.end(&myself, end, state),
            RootMessage::Abandon => self.end(&myself, JobEnd::Stopped, state),
            RootMessage::WorkerClosed => self.record(myself, state),
            RootMessage::Recorded(result) => {
                let end = recorded(state.ending.clone().unwrap_or(JobEnd::Stopped), result);
                self.worker.data.close();
                self.conclude(end);
                myself.stop(None);
            }
        }
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<RootMessage>,
        event: SupervisionEvent,
        state: &mut RootState,
    ) -> Result<(), ActorProcessingErr> {
        if let SupervisionEvent::ActorTerminated(who, ..) | SupervisionEvent::ActorFailed(who, _) = &event {
            let who = who.get_id();
            if state.worker.get_id() == who {
                let origin = self.judge(self.worker.post.get().map(|post| Arc::clone(post.entry())), state);
                state.worker = self.spawn_worker(&myself, Some(origin))?;
                if state.ending.is_some() {
                    self.close_worker(&myself);
                }
            } else if state.job.as_ref().is_some_and(|job| job.get_id() == who) {
                self.judge(self.job.post.get().map(|post| Arc::clone(post.entry())), state);
                state.job = None;
                if state.ending.is_none() {
                    state.job = Some(self.spawn_job(&myself)?);
                }
            }
            if state.own_deaths > OWN_DEATHS_MAX && state.ending.is_none() {
                let cause =
                    format!("the supervisors' own actors ended {OWN_DEATHS_MAX} times, the last: {event}");
                self.end(&myself, JobEnd::Failed(Failure::new("job", 0, cause)), state);
            }
        }
        Ok(())
    }
}

impl RootActor {
    fn judge(&self, entry: Option<Arc<Entry>>, state: &mut RootState) -> Origin {
        if entry.is_some_and(|entry| entry.was_kill_asked()) {
            return Origin::Asked;
        }
        if state.ending.is_none() {
            state.own_deaths += 1;
        }
        Origin::Failure
    }

    fn spawn_worker(
        &self,
        myself: &ActorRef<RootMessage>,
        predecessor: Option<Origin>,
    ) -> Result<ActorRef<WorkerMessage>, SpawnErr> {
        let entry = self.job.directory.entry("worker-0", ActorKind::Worker, &self.entry.path);
        let actor = WorkerActor { shared: Arc::clone(&self.worker), entry: Arc::clone(&entry) };
        let (actor, _) = ActorRuntime::spawn_linked_instant(None, actor, predecessor, myself.get_cell())?;
        entry.bind(actor.get_cell());
        self.worker.post.set(Post::new(actor.clone(), entry));
        Ok(actor)
    }

    fn spawn_job(
        &self,
        myself: &ActorRef<RootMessage>,
    ) -> Result<ActorRef<crate::job::JobMessage>, SpawnErr> {
        let entry = self.job.directory.entry("job", ActorKind::Job, &self.entry.path);
        let root = Post::new(myself.clone(), Arc::clone(&self.entry));
        let actor = JobActor { shared: Arc::clone(&self.job), entry: Arc::clone(&entry), root };
        let (actor, _) = ActorRuntime::spawn_linked_instant(None, actor, (), myself.get_cell())?;
        entry.bind(actor.get_cell());
        self.job.post.set(Post::new(actor.clone(), entry));
        Ok(actor)
    }

    /// The first end counts.
    fn end(&self, myself: &ActorRef<RootMessage>, end: JobEnd, state: &mut RootState) {
        if state.ending.is_some() {
            return;
        }
        tracing::info!(job = self.job.plan.job, ?end, "job ends");
        state.ending = Some(end);
        if let Some(job) = &state.job {
            job.kill();
        }
        self.close_worker(myself);
    }

    fn close_worker(&self, myself: &ActorRef<RootMessage>) {
        let (done, closed) = oneshot::channel();
        self.worker.tell(WorkerMessage::Close(done));
        let myself = Post::new(myself.clone(), Arc::clone(&self.entry));
        // Owned by the control runtime, and over when the worker's answer is.
        drop(tokio::runtime::Handle::current().spawn(async move {
            if closed.await.is_ok() {
                myself.cast(RootMessage::WorkerClosed);
            }
        }));
    }

    /// Makes durable how the run ended, behind all manifests.
    fn record(&self, myself: ActorRef<RootMessage>, state: &RootState) {
        let end = match &state.ending {
            Some(JobEnd::Finished) => Some(RunEnd::Finished),
            Some(JobEnd::Failed(_)) => Some(RunEnd::Failed),
            Some(JobEnd::Stopped) | None => None,
        };
        let manifests = Arc::clone(&self.job.manifests);
        let back = Post::new(myself, Arc::clone(&self.entry));
        self.job.manifest_thread.run(
            move || manifests.close(end).map_err(|error| error.to_string()),
            move |result| back.cast(RootMessage::Recorded(result)),
        );
    }

    fn conclude(&self, end: JobEnd) {
        let (state, failure) = match end {
            JobEnd::Finished => (JobState::Finished, None),
            JobEnd::Stopped => (JobState::Stopped, None),
            JobEnd::Failed(failure) => (JobState::Failed, Some(failure)),
        };
        for entry in self.job.directory.all() {
            entry.end();
        }
        *lock(&self.job.state) = state;
        self.job.outcome.set(JobReport {
            job: self.job.plan.job.clone(),
            lineage: self.job.lineage,
            state,
            failure,
            last_checkpoint: self.job.latest().map(|manifest| manifest.checkpoint),
            totals: self.job.totals(),
            elapsed: self.job.clock.elapsed(),
            state_dir: self.job.state_dir.clone(),
            signal: *lock(&self.job.signal),
        });
    }
}

/// How a run has ended whose end is recorded or is not.
fn recorded(end: JobEnd, result: Result<(), String>) -> JobEnd {
    let Err(problem) = result else { return end };
    let cause = format!("the end of the run could not be recorded: {problem}");
    JobEnd::Failed(match end {
        JobEnd::Finished | JobEnd::Stopped => Failure::new("job", 0, cause),
        JobEnd::Failed(mut failure) => {
            failure.causes.push(cause);
            failure
        }
    })
}

impl Drop for RootActor {
    /// Nobody supervises the root: when it ends before its time, the job has failed.
    fn drop(&mut self) {
        if self.job.outcome.report().is_none() {
            for attempt in self.worker.all_attempts() {
                attempt.end();
            }
            self.worker.data.close();
            drop(self.job.manifests.close(Some(RunEnd::Failed)));
            let cause = "the root of the supervisor tree ended";
            self.conclude(JobEnd::Failed(Failure::new("runtime", 0, cause)));
        }
    }
}

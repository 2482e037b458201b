//! The root of the actor tree: replaces the job's actor and the worker's, and ends the run.

use std::sync::Arc;
use std::sync::mpsc::SyncSender;

use ractor::{Actor, ActorProcessingErr, ActorRef, SpawnErr, SupervisionEvent};
use tidegate_runtime::error::Failure;
use tidegate_runtime::sync::lock;
use tokio::sync::oneshot;

use crate::child::spawn_child;
use crate::directory::Entry;
use crate::job::{JobActor, JobEnd, JobShared};
use crate::message::Origin;
use crate::own_deaths::{OwnDeaths, Verdict};
use crate::post::Post;
use crate::report::JobReport;
use crate::storage::RunEnd;
use crate::topology::{ActorKind, JobState};
use crate::worker::{WorkerActor, WorkerMessage, WorkerShared};

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
    own_deaths: OwnDeaths,
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
        Ok(RootState { job, worker, ending: None, own_deaths: OwnDeaths::default() })
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
                conclude(&self.job, end);
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
            let mut origin = Origin::Asked;
            if state.worker.get_id() == who {
                origin = origin_of(self.worker.post.get().map(|post| Arc::clone(post.entry())));
                state.worker = self.spawn_worker(&myself, Some(origin))?;
                if state.ending.is_some() {
                    self.close_worker(&myself);
                }
            } else if state.job.as_ref().is_some_and(|job| job.get_id() == who) {
                origin = origin_of(self.job.post.get().map(|post| Arc::clone(post.entry())));
                state.job = None;
                if state.ending.is_none() {
                    state.job = Some(self.spawn_job(&myself)?);
                }
            }
            if state.ending.is_none() && state.own_deaths.on_death(origin) == Verdict::GiveUp {
                let cause = format!("the supervisors' own actors end again and again, the last: {event}");
                self.end(&myself, JobEnd::Failed(Failure::new("job", 0, cause)), state);
            }
        }
        Ok(())
    }
}

impl RootActor {
    fn spawn_worker(
        &self,
        myself: &ActorRef<RootMessage>,
        predecessor: Option<Origin>,
    ) -> Result<ActorRef<WorkerMessage>, SpawnErr> {
        let entry = self.job.directory.entry("worker-0", ActorKind::Worker, &self.entry.path);
        let actor = WorkerActor { shared: Arc::clone(&self.worker), entry: Arc::clone(&entry) };
        let post = spawn_child(myself.get_cell(), entry, actor, predecessor)?;
        self.worker.post.set(post.clone());
        Ok(post.actor().clone())
    }

    fn spawn_job(
        &self,
        myself: &ActorRef<RootMessage>,
    ) -> Result<ActorRef<crate::job::JobMessage>, SpawnErr> {
        let entry = self.job.directory.entry("job", ActorKind::Job, &self.entry.path);
        let root = Post::new(myself.clone(), Arc::clone(&self.entry));
        let actor = JobActor { shared: Arc::clone(&self.job), entry: Arc::clone(&entry), root };
        let post = spawn_child(myself.get_cell(), entry, actor, ())?;
        self.job.post.set(post.clone());
        Ok(post.actor().clone())
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
}

/// Whether the death of who stood behind a path was asked for.
fn origin_of(entry: Option<Arc<Entry>>) -> Origin {
    entry.map_or(Origin::Failure, |entry| entry.death_origin())
}

/// The job has ended for everybody who waits.
fn conclude(job: &JobShared, end: JobEnd) {
    let (state, failure) = match end {
        JobEnd::Finished => (JobState::Finished, None),
        JobEnd::Stopped => (JobState::Stopped, None),
        JobEnd::Failed(failure) => (JobState::Failed, Some(failure)),
    };
    for entry in job.directory.all() {
        entry.end();
    }
    *lock(&job.state) = state;
    job.outcome.set(JobReport {
        job: job.plan.job.clone(),
        lineage: job.lineage,
        state,
        failure,
        last_checkpoint: job.latest().map(|manifest| manifest.checkpoint),
        totals: job.totals(),
        elapsed: job.clock.elapsed(),
        state_dir: job.state_dir.clone(),
        signal: *lock(&job.signal),
    });
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
            let end = JobEnd::Failed(Failure::new("runtime", 0, "the root of the supervisor tree ended"));
            let (job, manifests) = (Arc::clone(&self.job), Arc::clone(&self.job.manifests));
            self.job.manifest_thread.run(
                move || manifests.close(Some(RunEnd::Failed)).map_err(|error| error.to_string()),
                move |result| conclude(&job, recorded(end, result)),
            );
        }
    }
}

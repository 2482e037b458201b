//! An attempt: owns its actors, threads and gates, ends them all, and tells once nothing of it is left.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use tidegate_runtime::error::Failure;
use tidegate_runtime::exchange::Gate;
use tidegate_runtime::id::{AttemptId, RegionId, SubtaskId};
use tidegate_runtime::metrics::SubtaskStatus;
use tidegate_runtime::sync::lock;

use super::actor::WorkerMessage;
use super::deployment::DeploymentMessage;
use super::shared::WorkerShared;
use super::subtask::SubtaskMessage;
use super::threads::{CommitTask, PrepareTask, ThreadEvent, ThreadOwner, Threads};
use crate::alive::{Alive, AliveGuard, Part};
use crate::directory::Entry;
use crate::message::Origin;
use crate::post::Post;
use crate::topology::ActorState;

/// One try at running a region on this worker.
pub(crate) struct Attempt {
    pub(crate) id: AttemptId,
    pub(crate) region: RegionId,
    pub(crate) worker: Arc<WorkerShared>,
    /// The deployment's entry, for whether its death was asked for.
    pub(crate) entry: Arc<Entry>,
    pub(crate) alive: Arc<Alive>,
    /// The generation of the data runtime that its subtasks run on.
    pub(crate) generation: AtomicU64,
    pub(crate) deployment: OnceLock<Post<DeploymentMessage>>,
    /// When it began, by the worker's clock.
    began: Duration,
    is_built: AtomicBool,
    is_ended: AtomicBool,
    owner: Mutex<Option<AliveGuard>>,
    subtasks: Mutex<Vec<Arc<SubtaskCell>>>,
    threads: Mutex<Option<Threads>>,
}

/// A subtask of an attempt, as its owner holds it.
pub(crate) struct SubtaskCell {
    pub(crate) subtask: SubtaskId,
    /// The operator's name.
    pub(crate) operator: String,
    pub(crate) entry: Arc<Entry>,
    /// Its figures: those of this attempt and of no other.
    pub(crate) status: Arc<SubtaskStatus>,
    pub(crate) gate: Option<Arc<Gate>>,
    pub(crate) post: OnceLock<Post<SubtaskMessage>>,
}

impl SubtaskCell {
    pub(crate) fn cast(&self, message: SubtaskMessage) {
        if let Some(post) = self.post.get() {
            post.cast(message);
        }
    }
}

impl Attempt {
    pub(crate) fn new(
        id: AttemptId,
        region: RegionId,
        worker: Arc<WorkerShared>,
        entry: Arc<Entry>,
    ) -> Arc<Self> {
        let told = Arc::clone(&worker);
        let alive = Alive::new(move || told.tell(WorkerMessage::AttemptGone(id)));
        let owner = Mutex::new(Some(alive.guard(Part::Thread)));
        let began = worker.clock.elapsed();
        Arc::new(Self {
            id,
            region,
            worker,
            entry,
            alive,
            generation: AtomicU64::new(0),
            deployment: OnceLock::new(),
            began,
            is_built: AtomicBool::new(false),
            is_ended: AtomicBool::new(false),
            owner,
            subtasks: Mutex::new(Vec::new()),
            threads: Mutex::new(None),
        })
    }

    pub(crate) fn is_ended(&self) -> bool {
        self.is_ended.load(Ordering::Acquire)
    }

    /// For how long its subtasks have been under construction; `None` once they are built.
    pub(crate) fn building_for(&self, now: Duration) -> Option<Duration> {
        (!self.is_built.load(Ordering::Acquire)).then(|| now.saturating_sub(self.began))
    }

    pub(crate) fn tell(&self, message: DeploymentMessage) {
        if let Some(post) = self.deployment.get() {
            post.cast(message);
        }
    }

    /// Takes over what was built, unless the attempt has ended meanwhile; `spawn` starts each subtask.
    pub(crate) fn install(&self, threads: Threads, subtasks: Vec<Arc<SubtaskCell>>, spawn: impl FnOnce()) {
        let mut held = lock(&self.subtasks);
        if self.is_ended() {
            return;
        }
        self.is_built.store(true, Ordering::Release);
        *lock(&self.threads) = Some(threads);
        *held = subtasks;
        spawn();
    }

    pub(crate) fn subtasks(&self) -> Vec<Arc<SubtaskCell>> {
        lock(&self.subtasks).clone()
    }

    pub(crate) fn subtask(&self, subtask: SubtaskId) -> Option<Arc<SubtaskCell>> {
        lock(&self.subtasks).iter().find(|cell| cell.subtask == subtask).cloned()
    }

    /// Gives the job back when the queue is full or the attempt has ended.
    pub(crate) fn prepare(&self, task: PrepareTask) -> Result<(), PrepareTask> {
        match &*lock(&self.threads) {
            Some(threads) => threads.prepare(task),
            None => Err(task),
        }
    }

    pub(crate) fn commit(&self, task: CommitTask) -> bool {
        lock(&self.threads).as_ref().is_some_and(|threads| threads.commit(task))
    }

    /// Ends the attempt because of a failure: the first one is told.
    pub(crate) fn fail(&self, failure: Failure, origin: Origin) {
        if !self.is_ended.swap(true, Ordering::AcqRel) {
            tracing::warn!(attempt = self.id.0, region = self.region.0, %failure, ?origin, "attempt failed");
            self.tear_down(ActorState::Restarting);
            self.worker.tell(WorkerMessage::AttemptFailed {
                region: self.region,
                attempt: self.id,
                failure,
                origin,
            });
        }
    }

    /// Ends the attempt because its region said so.
    pub(crate) fn end(&self) {
        if !self.is_ended.swap(true, Ordering::AcqRel) {
            self.tear_down(ActorState::Stopped);
        }
    }

    /// A subtask's actor is no more. Unless the attempt has ended it was killed.
    pub(crate) fn on_subtask_gone(&self, cell: &SubtaskCell) {
        if !self.is_ended() {
            let failure = Failure::new(cell.operator.clone(), cell.subtask.index, "its actor was killed");
            self.fail(failure, self.origin_of(cell));
        }
    }

    fn origin_of(&self, cell: &SubtaskCell) -> Origin {
        let worker = self.worker.post.get().map(|post| Arc::clone(post.entry()));
        let entries = [Some(&cell.entry), Some(&self.entry), worker.as_ref()];
        let is_asked = entries.into_iter().flatten().any(|entry| entry.was_kill_asked());
        if is_asked { Origin::Asked } else { Origin::Failure }
    }

    /// Stops feeding, kills in id order, lets the threads end. What is left reports by its guards.
    fn tear_down(&self, state: ActorState) {
        let subtasks = self.subtasks();
        for cell in &subtasks {
            if let Some(gate) = &cell.gate {
                gate.close();
            }
            self.worker.timers.set(cell.subtask, None);
        }
        for cell in &subtasks {
            cell.entry.set_state(state);
            if let Some(figures) = &cell.entry.subtask {
                lock(&figures.gate).take();
            }
            if let Some(post) = cell.post.get() {
                post.actor().kill();
            }
        }
        lock(&self.threads).take();
        lock(&self.owner).take();
        self.worker.tell(WorkerMessage::AttemptEnding(self.id));
    }
}

/// How the helper threads hold their attempt.
#[derive(Clone)]
pub(crate) struct AttemptThreads(pub(crate) Arc<Attempt>);

impl ThreadOwner for AttemptThreads {
    fn tell(&self, event: ThreadEvent) {
        self.0.tell(DeploymentMessage::Thread(event));
    }

    fn is_ended(&self) -> bool {
        self.0.is_ended()
    }
}

//! The worker's actor: starts, feeds and ends attempts as the job commands.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use ractor::{Actor, ActorProcessingErr, ActorRef, SupervisionEvent};
use tidegate_runtime::error::Failure;
use tidegate_runtime::id::{AttemptId, CheckpointId, RegionId};
use tidegate_runtime::sync::lock;
use tidegate_runtime::task::TaskCommand;
use tokio::sync::oneshot;

use super::attempt::Attempt;
use super::deployment::{DeploymentActor, DeploymentMessage, region_failure};
use super::shared::WorkerShared;
use crate::child::spawn_child;
use crate::directory::Entry;
use crate::message::{Deployment, Origin, WorkerCommand, WorkerReport};
use crate::post::Post;
use crate::topology::ActorKind;

/// What the worker's actor is told.
pub(crate) enum WorkerMessage {
    /// By the job.
    Command(WorkerCommand),
    /// By an attempt: it ends before its time.
    AttemptFailed { region: RegionId, attempt: AttemptId, failure: Failure, origin: Origin },
    /// By an attempt: it is being torn down.
    AttemptEnding(AttemptId),
    /// By the last guard of an attempt.
    AttemptGone(AttemptId),
    /// The attempt has had its time to come back.
    SubtaskDeadline(AttemptId),
    /// The attempt's threads have had theirs.
    ThreadDeadline(AttemptId),
    /// End everything and say when it is gone.
    Close(oneshot::Sender<()>),
}

/// The actor. What it owns is in `WorkerShared`, across its own restarts.
pub(crate) struct WorkerActor {
    pub(crate) shared: Arc<WorkerShared>,
    pub(crate) entry: Arc<Entry>,
}

/// What was asked and not yet answered.
#[derive(Default)]
pub(crate) struct WorkerState {
    /// The first attempt of each region that may run.
    pub(super) fences: BTreeMap<RegionId, AttemptId>,
    /// Regions whose job waits for `Gone`.
    pub(super) cancelling: BTreeMap<RegionId, AttemptId>,
    pub(super) closing: Vec<oneshot::Sender<()>>,
    life: Life,
}

/// Whether attempts may be started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Life {
    #[default]
    Open,
    /// The run ends: a region that has not heard of it yet may still ask for an attempt.
    Closed,
}

impl Actor for WorkerActor {
    type Msg = WorkerMessage;
    type State = WorkerState;
    /// How the actor before this one ended, if there was one.
    type Arguments = Option<Origin>;

    async fn pre_start(
        &self,
        _: ActorRef<WorkerMessage>,
        predecessor: Option<Origin>,
    ) -> Result<WorkerState, ActorProcessingErr> {
        // What the actor before has left is nobody's: end it, and have the regions start again.
        if let Some(origin) = predecessor {
            self.shared.all_attempts().iter().for_each(|attempt| attempt.end());
            self.shared.report(WorkerReport::Replaced { origin });
        }
        Ok(WorkerState::default())
    }

    async fn post_start(
        &self,
        myself: ActorRef<WorkerMessage>,
        _: &mut WorkerState,
    ) -> Result<(), ActorProcessingErr> {
        let myself = self.post(&myself);
        for attempt in self.shared.all_attempts() {
            self.await_end(&myself, attempt.id);
        }
        Ok(())
    }

    async fn handle(
        &self,
        myself: ActorRef<WorkerMessage>,
        message: WorkerMessage,
        state: &mut WorkerState,
    ) -> Result<(), ActorProcessingErr> {
        self.entry.taken();
        match message {
            WorkerMessage::Command(command) => self.on_command(&myself, command, state),
            WorkerMessage::AttemptFailed { region, attempt, failure, origin } => {
                self.shared.report(WorkerReport::Failed { region, attempt, failure, origin });
            }
            WorkerMessage::AttemptEnding(attempt) => self.await_end(&self.post(&myself), attempt),
            WorkerMessage::AttemptGone(attempt) => self.forget(attempt, state),
            WorkerMessage::SubtaskDeadline(attempt) => self.on_subtask_deadline(attempt, state),
            WorkerMessage::ThreadDeadline(attempt) => {
                if lock(&self.shared.attempts).contains_key(&attempt) {
                    tracing::warn!(attempt = attempt.0, "a prepare or commit does not come back; going on");
                    self.forget(attempt, state);
                }
            }
            WorkerMessage::Close(done) => {
                self.shared.all_attempts().iter().for_each(|attempt| attempt.end());
                state.life = Life::Closed;
                state.closing.push(done);
                self.answer(state);
            }
        }
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        _: ActorRef<WorkerMessage>,
        event: SupervisionEvent,
        _: &mut WorkerState,
    ) -> Result<(), ActorProcessingErr> {
        if let SupervisionEvent::ActorTerminated(who, ..) | SupervisionEvent::ActorFailed(who, _) = &event {
            let of_it = |attempt: &Arc<Attempt>| {
                attempt.deployment.get().is_some_and(|post| post.actor().get_id() == who.get_id())
            };
            if let Some(attempt) = self.shared.all_attempts().into_iter().find(of_it) {
                let origin = attempt.entry.death_origin();
                attempt
                    .fail(region_failure(attempt.region, &format!("its deployment ended: {event}")), origin);
            }
        }
        Ok(())
    }
}

impl WorkerActor {
    fn post(&self, myself: &ActorRef<WorkerMessage>) -> Post<WorkerMessage> {
        Post::new(myself.clone(), Arc::clone(&self.entry))
    }

    fn on_command(&self, myself: &ActorRef<WorkerMessage>, command: WorkerCommand, state: &mut WorkerState) {
        match command {
            WorkerCommand::Deploy(deployment) => self.deploy(myself, deployment, state),
            WorkerCommand::Cancel { region, fence } => {
                state.fences.insert(region, fence);
                state.cancelling.insert(region, fence);
                for attempt in self.shared.all_attempts() {
                    if attempt.region == region && attempt.id < fence {
                        attempt.end();
                    }
                }
                self.answer(state);
            }
            WorkerCommand::Trigger { checkpoint, attempts } => self.trigger(checkpoint, &attempts),
            WorkerCommand::Abort(checkpoint) => {
                self.shared.tables.abort(checkpoint);
                self.tell_all(&TaskCommand::Abort(checkpoint));
            }
            WorkerCommand::Completed(checkpoint) => self.tell_all(&TaskCommand::Completed(checkpoint)),
            WorkerCommand::AssignSplit { attempt, subtask, split } => {
                self.tell(attempt, DeploymentMessage::One(subtask, TaskCommand::AssignSplit(split)));
            }
            WorkerCommand::NoMoreSplits { attempt, subtask, after } => {
                self.tell(attempt, DeploymentMessage::One(subtask, TaskCommand::NoMoreSplits(after)));
            }
            WorkerCommand::Pause(attempt) => {
                self.tell(attempt, DeploymentMessage::Sources(TaskCommand::Pause));
            }
            WorkerCommand::Drain(attempt) => {
                self.tell(attempt, DeploymentMessage::Sources(TaskCommand::Drain));
            }
        }
    }

    fn deploy(&self, myself: &ActorRef<WorkerMessage>, deployment: Deployment, state: &WorkerState) {
        let (region, id) = (deployment.region, deployment.attempt);
        if state.fences.get(&region).is_some_and(|fence| id < *fence) || state.life == Life::Closed {
            return;
        }
        let path = format!("deployment-{}", region.0);
        let entry = self.shared.directory.entry(&path, ActorKind::Deployment, "worker-0");
        entry.attempt.store(id.0, Ordering::Relaxed);
        let attempt = Attempt::new(id, region, Arc::clone(&self.shared), Arc::clone(&entry));
        lock(&self.shared.attempts).insert(id, Arc::clone(&attempt));
        let actor = DeploymentActor { attempt: Arc::clone(&attempt) };
        match spawn_child(myself.get_cell(), entry, actor, deployment) {
            Ok(post) => {
                let _ = attempt.deployment.set(post.clone());
                post.cast(DeploymentMessage::Start);
            }
            Err(error) => {
                attempt.fail(region_failure(region, &error.to_string()), Origin::Failure);
            }
        }
    }

    fn trigger(&self, checkpoint: CheckpointId, attempts: &[AttemptId]) {
        let plan = &self.shared.plan;
        let held: Vec<_> = self.shared.all_attempts();
        let taking_part = || held.iter().filter(|attempt| attempts.contains(&attempt.id));
        let stateful: Vec<_> = taking_part()
            .flat_map(|attempt| plan.subtasks(attempt.region))
            .filter(|subtask| !plan.vertex(subtask.operator).root.states.is_empty())
            .collect();
        self.shared.tables.begin(checkpoint, &stateful);
        for attempt in taking_part() {
            attempt.tell(DeploymentMessage::Sources(TaskCommand::Trigger(checkpoint)));
        }
    }

    fn tell(&self, attempt: AttemptId, message: DeploymentMessage) {
        let found = lock(&self.shared.attempts).get(&attempt).cloned();
        if let Some(attempt) = found {
            attempt.tell(message);
        }
    }

    fn tell_all(&self, command: &TaskCommand) {
        for attempt in self.shared.all_attempts() {
            attempt.tell(DeploymentMessage::All(command.clone()));
        }
    }
}

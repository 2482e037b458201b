//! The job's actor: decides about the job's life and routes between workers, coordinator, regions and enumerators.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use ractor::{Actor, ActorProcessingErr, ActorRef, SupervisionEvent};
use tidegate_runtime::checkpoint::coordinator::CoordinatorEvent;
use tidegate_runtime::checkpoint::manifest::{CheckpointKind, Manifest};
use tidegate_runtime::checkpoint::restart::RestartDecision;
use tidegate_runtime::error::{Failure, RestartHelp};
use tidegate_runtime::graph::NodeKind;
use tidegate_runtime::id::{AttemptId, CheckpointId, OperatorId, RegionId};
use tidegate_runtime::sync::lock;

use super::checkpoints::{CheckpointMessage, CheckpointReply, last};
use super::enumerator::EnumeratorMessage;
use super::lifecycle::{JobEnd, LifeAction, Lifecycle, StopMode};
use super::region::RegionMessage;
use super::shared::JobShared;
use crate::directory::Entry;
use crate::message::{DeployMode, Origin, WorkerCommand, WorkerReport};
use crate::own_deaths::OwnDeaths;
use crate::post::Post;
use crate::root::RootMessage;

/// What the job's actor is told.
pub(crate) enum JobMessage {
    /// By a worker.
    Report(WorkerReport),
    /// By a region: all its subtasks run.
    RegionUp { region: RegionId, attempt: AttemptId },
    /// By a region: it is between two attempts.
    RegionDown(RegionId),
    /// By a region: it failed by itself; may it start again?
    Judge { region: RegionId, failure: Failure },
    /// By a region: it wants to know what to restore from.
    AskRestorePoint(RegionId),
    /// By a region: it deploys an attempt.
    Starting(Starting),
    /// By the coordinator: a region may read the latest checkpoint.
    RestorePoint(RegionId),
    /// By the coordinator: published.
    CheckpointCompleted { checkpoint: CheckpointId, kind: CheckpointKind },
    /// By the coordinator: too many failed.
    FailOver(String),
    /// By the coordinator: nothing can go on safely.
    GiveUp(String),
    /// By a coordinator that has taken over.
    CheckpointsReady,
    /// By an enumerator.
    SourceFailed { attempt: AttemptId, failure: Failure },
    /// By a person.
    Checkpoint(CheckpointReply),
    /// By a person; the mode is in `JobShared::stop`.
    Stop,
}

/// An attempt that a region deploys.
pub(crate) struct Starting {
    pub(crate) region: RegionId,
    pub(crate) attempt: AttemptId,
    pub(crate) mode: DeployMode,
    /// The checkpoint that it restores.
    pub(crate) from: Option<Arc<Manifest>>,
}

/// The actor.
pub(crate) struct JobActor {
    pub(crate) shared: Arc<JobShared>,
    pub(crate) entry: Arc<Entry>,
    pub(crate) root: Post<RootMessage>,
}

/// The life of the job, and the addresses of the actors below it.
pub(crate) struct JobActorState {
    pub(super) life: Lifecycle,
    pub(super) own_deaths: OwnDeaths,
    pub(super) checkpoints: Post<CheckpointMessage>,
    pub(super) regions: BTreeMap<RegionId, Post<RegionMessage>>,
    pub(super) enumerators: BTreeMap<OperatorId, Post<EnumeratorMessage>>,
}

impl Actor for JobActor {
    type Msg = JobMessage;
    type State = JobActorState;
    type Arguments = ();

    async fn pre_start(
        &self,
        myself: ActorRef<JobMessage>,
        (): (),
    ) -> Result<JobActorState, ActorProcessingErr> {
        let plan = &self.shared.plan;
        let regions = plan.regions.iter().map(|region| (region.id, plan.subtasks(region.id)));
        let mut life = Lifecycle::new(regions, *lock(&self.shared.state));
        // A stop that was asked of an actor before this one stands.
        if let Some(mode) = *lock(&self.shared.stop) {
            life.on_stop(mode);
        }
        // The last checkpoint of this process, or a final one that it was started from: what is left is committed.
        if let Some(latest) = self.shared.latest() {
            let is_of_this_start = Some(latest.checkpoint) > self.shared.started_from;
            if latest.kind == CheckpointKind::Final || is_of_this_start {
                life.on_completed(latest.checkpoint, latest.kind);
            }
        }
        let checkpoints = self.spawn_checkpoints(&myself)?;
        let mut state = JobActorState {
            life,
            own_deaths: OwnDeaths::default(),
            checkpoints,
            regions: BTreeMap::new(),
            enumerators: BTreeMap::new(),
        };
        for vertex in &plan.vertices {
            if matches!(vertex.root.kind, NodeKind::Source(_)) {
                state.enumerators.insert(vertex.id, self.spawn_enumerator(&myself, vertex.id)?);
            }
        }
        for region in &plan.regions {
            state.regions.insert(region.id, self.spawn_region(&myself, region.id)?);
        }
        Ok(state)
    }

    async fn handle(
        &self,
        _: ActorRef<JobMessage>,
        message: JobMessage,
        state: &mut JobActorState,
    ) -> Result<(), ActorProcessingErr> {
        self.entry.taken();
        self.on_message(message, state);
        *lock(&self.shared.state) = state.life.state();
        self.shared.has_input.store(state.life.has_input(), Ordering::Release);
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<JobMessage>,
        event: SupervisionEvent,
        state: &mut JobActorState,
    ) -> Result<(), ActorProcessingErr> {
        if let SupervisionEvent::ActorTerminated(who, ..) | SupervisionEvent::ActorFailed(who, _) = &event {
            tracing::warn!(%event, "an actor of the job ended");
            self.replace(&myself, who.get_id(), state)?;
        }
        Ok(())
    }
}

impl JobActor {
    fn on_message(&self, message: JobMessage, state: &mut JobActorState) {
        match message {
            JobMessage::Report(report) => self.on_report(report, state),
            JobMessage::RegionUp { region, attempt } => {
                let subtasks = self.shared.plan.subtasks(region);
                let event = CoordinatorEvent::RegionUp { region, attempt, subtasks };
                state.checkpoints.cast(CheckpointMessage::Event(event));
                let actions = state.life.on_up(region, attempt);
                self.perform(actions, state);
            }
            JobMessage::RegionDown(region) => {
                state.life.on_down(region);
                state.checkpoints.cast(CheckpointMessage::Event(CoordinatorEvent::RegionDown(region)));
            }
            JobMessage::Judge { region, failure } => self.judge(region, failure, state),
            JobMessage::AskRestorePoint(region) => {
                state.checkpoints.cast(CheckpointMessage::RestorePoint(region));
            }
            JobMessage::RestorePoint(region) => {
                let is_last = state.life.is_last_published();
                let mode = if is_last { DeployMode::CommitOnly } else { DeployMode::Run };
                tell_region(state, region, RegionMessage::RestorePoint(mode));
            }
            JobMessage::Starting(starting) => self.on_starting(starting, state),
            JobMessage::CheckpointCompleted { checkpoint, kind } => {
                lock(&self.shared.policy).on_checkpoint();
                state.own_deaths.on_progress();
                let actions = state.life.on_completed(checkpoint, kind);
                self.perform(actions, state);
            }
            JobMessage::FailOver(cause) => {
                let failure = Failure::new("checkpoints", 0, cause);
                // One failure, however many regions it restarts.
                let mut origin = Origin::Failure;
                for region in state.regions.values() {
                    let failure = failure.clone();
                    region.cast(RegionMessage::Failed { attempt: None, failure, origin });
                    origin = Origin::Collateral;
                }
            }
            JobMessage::GiveUp(cause) => {
                let failure = Failure::new("checkpoints", 0, cause);
                self.root.cast(RootMessage::JobEnded(JobEnd::Failed(failure)));
            }
            JobMessage::CheckpointsReady => self.on_checkpoints_ready(state),
            JobMessage::SourceFailed { attempt, failure } => {
                for region in state.regions.values() {
                    let (attempt, failure) = (Some(attempt), failure.clone());
                    region.cast(RegionMessage::Failed { attempt, failure, origin: Origin::Failure });
                }
            }
            JobMessage::Checkpoint(reply) => state.checkpoints.cast(CheckpointMessage::Manual(reply)),
            JobMessage::Stop => {
                let mode = lock(&self.shared.stop).unwrap_or(StopMode::Suspend);
                let actions = state.life.on_stop(mode);
                self.perform(actions, state);
            }
        }
    }

    fn on_starting(&self, starting: Starting, state: &mut JobActorState) {
        let Starting { region, attempt, mode, from } = starting;
        if state.life.on_starting(region, attempt) {
            self.shared.counters.restarts.add(1);
        }
        if mode == DeployMode::Run {
            for operator in &self.shared.plan.regions[region.0 as usize].vertices {
                if let Some(enumerator) = state.enumerators.get(operator) {
                    enumerator.cast(EnumeratorMessage::Reset { attempt, from: from.clone() });
                }
            }
        }
    }

    fn judge(&self, region: RegionId, failure: Failure, state: &mut JobActorState) {
        let decision = match failure.restart {
            RestartHelp::Possible => lock(&self.shared.policy).on_failure(self.shared.clock.now()),
            RestartHelp::None => {
                RestartDecision::GiveUp("every attempt would fail in the same way".to_owned())
            }
        };
        match decision {
            RestartDecision::After(pause) => {
                tell_region(state, region, RegionMessage::RestartAfter(pause));
            }
            RestartDecision::GiveUp(limit) => {
                let mut failure = failure;
                failure.causes.push(format!("not restarted: {limit}"));
                self.root.cast(RootMessage::JobEnded(JobEnd::Failed(failure)));
            }
        }
    }

    /// A new coordinator knows nothing of what runs.
    fn on_checkpoints_ready(&self, state: &mut JobActorState) {
        for (region, attempt, subtasks) in state.life.up() {
            let event = CoordinatorEvent::RegionUp { region, attempt, subtasks };
            state.checkpoints.cast(CheckpointMessage::Event(event));
        }
        for region in state.regions.values() {
            region.cast(RegionMessage::AskAgain);
        }
        let actions = state.life.ask_again().into_iter().collect();
        self.perform(actions, state);
    }

    pub(super) fn perform(&self, actions: Vec<LifeAction>, state: &JobActorState) {
        for action in actions {
            match action {
                LifeAction::Pause(attempt) => self.shared.link.command(WorkerCommand::Pause(attempt)),
                LifeAction::Drain(attempt) => self.shared.link.command(WorkerCommand::Drain(attempt)),
                LifeAction::RequestLast(kind) => state.checkpoints.cast(last(kind)),
                LifeAction::End(end) => self.root.cast(RootMessage::JobEnded(end)),
            }
        }
    }
}

pub(super) fn tell_region(state: &JobActorState, region: RegionId, message: RegionMessage) {
    if let Some(post) = state.regions.get(&region) {
        post.cast(message);
    }
}

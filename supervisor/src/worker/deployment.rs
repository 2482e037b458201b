//! The actor of one attempt: builds its subtasks, supervises them one for all, and accounts for their snapshots.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use ractor::{Actor, ActorProcessingErr, ActorRef, SupervisionEvent};
use tidegate_runtime::error::Failure;
use tidegate_runtime::id::{CheckpointId, RegionId, SubtaskId};
use tidegate_runtime::sink::Committer;
use tidegate_runtime::state::RunRefs;
use tidegate_runtime::task::{TaskCommand, TaskEvent};

use super::attempt::Attempt;
use super::build::{Built, build};
use super::snapshots::Snapshots;
use super::subtask::SubtaskMessage;
use super::threads::{CommitTask, ThreadEvent};
use crate::alive::Part;
use crate::message::{DeployMode, Deployment, Origin, WorkerReport};
use crate::panics::catching;

/// What became of a checkpoint's rows.
pub(crate) type RowsOutcome = Result<Arc<[(SubtaskId, RunRefs)]>, String>;

/// What the actor of an attempt is told.
pub(crate) enum DeploymentMessage {
    /// Build the subtasks.
    Start,
    /// They are built, and their actors started.
    Built(Built),
    /// A subtask is open; a committing sink hands over its other half.
    Opened(SubtaskId, Option<Box<dyn Committer>>),
    /// A step machine has something to tell.
    Event(SubtaskId, TaskEvent),
    /// A helper thread is done with something.
    Thread(ThreadEvent),
    /// The store has written the rows of a checkpoint, or could not.
    Rows(CheckpointId, RowsOutcome),
    /// For all its subtasks.
    All(TaskCommand),
    /// For all its sources.
    Sources(TaskCommand),
    /// For one.
    One(SubtaskId, TaskCommand),
}

/// The actor; what it supervises belongs to the attempt.
pub(crate) struct DeploymentActor {
    pub(crate) attempt: Arc<Attempt>,
}

/// Only handles, and the account of snapshots.
pub(crate) struct DeploymentState {
    deployment: Arc<Deployment>,
    pub(super) snapshots: Snapshots,
    /// Subtasks that are not open yet.
    opening: Vec<SubtaskId>,
}

impl Actor for DeploymentActor {
    type Msg = DeploymentMessage;
    type State = DeploymentState;
    type Arguments = Deployment;

    async fn pre_start(
        &self,
        _: ActorRef<DeploymentMessage>,
        deployment: Deployment,
    ) -> Result<DeploymentState, ActorProcessingErr> {
        let deployment = Arc::new(deployment);
        Ok(DeploymentState { deployment, snapshots: Snapshots::default(), opening: Vec::new() })
    }

    async fn handle(
        &self,
        myself: ActorRef<DeploymentMessage>,
        message: DeploymentMessage,
        state: &mut DeploymentState,
    ) -> Result<(), ActorProcessingErr> {
        self.attempt.entry.taken();
        if self.attempt.is_ended() {
            return Ok(());
        }
        match message {
            DeploymentMessage::Start => self.start(&myself, state),
            DeploymentMessage::Built(built) => self.on_built(built, state),
            DeploymentMessage::Opened(subtask, committer) => self.on_opened(subtask, committer, state),
            DeploymentMessage::Event(subtask, event) => self.on_event(subtask, event, state),
            DeploymentMessage::Thread(event) => self.on_thread(event, state),
            DeploymentMessage::Rows(checkpoint, Ok(runs)) => {
                let acknowledged = state.snapshots.on_rows(checkpoint, &runs);
                self.acknowledge(acknowledged);
            }
            DeploymentMessage::Rows(checkpoint, Err(problem)) => self.decline(checkpoint, problem),
            DeploymentMessage::All(command) => self.on_all(&command, state),
            DeploymentMessage::Sources(command) => {
                let sources = self.attempt.subtasks().into_iter().filter(|cell| cell.gate.is_none());
                sources.for_each(|cell| cell.cast(SubtaskMessage::Command(command.clone())));
            }
            DeploymentMessage::One(subtask, command) => {
                if let Some(cell) = self.attempt.subtask(subtask) {
                    cell.cast(SubtaskMessage::Command(command));
                }
            }
        }
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        _: ActorRef<DeploymentMessage>,
        event: SupervisionEvent,
        _: &mut DeploymentState,
    ) -> Result<(), ActorProcessingErr> {
        // One for all. The attempt knows already when the subtask failed by itself, and then this does nothing.
        if let SupervisionEvent::ActorTerminated(who, ..) | SupervisionEvent::ActorFailed(who, _) = event {
            let of_it = |cell: &Arc<super::attempt::SubtaskCell>| {
                cell.post.get().is_some_and(|post| post.actor().get_id() == who.get_id())
            };
            if let Some(cell) = self.attempt.subtasks().into_iter().find(of_it) {
                self.attempt.on_subtask_gone(&cell);
            }
        }
        Ok(())
    }
}

impl DeploymentActor {
    /// Factories are user code and stores do I/O: both off this actor.
    fn start(&self, myself: &ActorRef<DeploymentMessage>, state: &DeploymentState) {
        let attempt = Arc::clone(&self.attempt);
        let Some((generation, data)) = attempt.worker.data.handle() else {
            return attempt.fail(region_failure(attempt.region, "the worker is closed"), Origin::Collateral);
        };
        attempt.generation.store(generation, Ordering::Release);
        let guard = attempt.alive.guard(Part::Subtask);
        let deployment = Arc::clone(&state.deployment);
        let supervisor = myself.get_cell();
        let runtime = data.clone();
        data.spawn_blocking(move || {
            let outcome = catching(|| build(&attempt, &deployment, &runtime, &supervisor));
            let failure = match outcome {
                Ok(Ok(built)) => {
                    attempt.tell(DeploymentMessage::Built(built));
                    None
                }
                Ok(Err(error)) => Some(Failure::of_error(region_name(attempt.region), 0, &error)),
                Err(panicked) => Some(Failure {
                    panic_location: panicked.location,
                    ..Failure::new(region_name(attempt.region), 0, format!("panicked: {}", panicked.message))
                }),
            };
            if let Some(failure) = failure {
                attempt.fail(failure, Origin::Failure);
            }
            drop(guard);
        });
    }

    fn on_built(&self, built: Built, state: &mut DeploymentState) {
        for (subtask, hashes) in built.hashes {
            state.snapshots.own_hashes(subtask, hashes);
        }
        for (subtask, part) in &state.deployment.parts {
            if !part.committables.is_empty() {
                state.snapshots.restore(*subtask, part.committables.clone());
            }
        }
        state.opening = built.opening;
        for cell in self.attempt.subtasks() {
            if state.opening.contains(&cell.subtask) {
                cell.cast(SubtaskMessage::Open);
            }
        }
        self.up_if_open(state);
    }

    fn on_opened(
        &self,
        subtask: SubtaskId,
        committer: Option<Box<dyn Committer>>,
        state: &mut DeploymentState,
    ) {
        state.opening.retain(|opening| *opening != subtask);
        if let Some(committer) = committer
            && !self.attempt.commit(CommitTask::Committer(subtask, committer))
        {
            let problem = "the commit thread does not take its committer";
            self.attempt.fail(region_failure(self.attempt.region, problem), Origin::Failure);
        }
        self.up_if_open(state);
    }

    fn up_if_open(&self, state: &mut DeploymentState) {
        if !state.opening.is_empty() {
            return;
        }
        let (region, attempt) = (self.attempt.region, self.attempt.id);
        if state.deployment.mode == DeployMode::Run {
            self.attempt.worker.report(WorkerReport::Up { region, attempt });
        }
        if let Some(checkpoint) = state.deployment.checkpoint {
            let jobs = state.snapshots.on_completed(checkpoint);
            self.commit(jobs, state);
        }
    }
}

fn region_name(region: RegionId) -> String {
    region.to_string()
}

/// A failure that belongs to no single operator.
pub(crate) fn region_failure(region: RegionId, cause: &str) -> Failure {
    Failure::new(region_name(region), 0, cause)
}

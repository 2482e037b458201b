//! The actor of a region: brings it back after a failure, from the last completed checkpoint.

use std::sync::Arc;
use std::time::Duration;

use ractor::{Actor, ActorProcessingErr, ActorRef};
use tidegate_runtime::checkpoint::manifest::{Manifest, SubtaskSnapshot};
use tidegate_runtime::error::Failure;
use tidegate_runtime::id::{AttemptId, RegionId, SubtaskId};

use super::actor::{JobMessage, Starting};
use super::shared::JobShared;
use crate::directory::Entry;
use crate::message::{DeployMode, Deployment, Origin, WorkerCommand};
use crate::post::Post;

/// What a region is told.
pub(crate) enum RegionMessage {
    /// By the worker: the attempt runs.
    Up(AttemptId),
    /// By the worker or the job: the attempt has ended before its time.
    Failed { attempt: Option<AttemptId>, failure: Failure, origin: Origin },
    /// By the worker: nothing below the fence is left.
    Gone(AttemptId),
    /// By the job: the worker's actor was replaced, and what it was told may be lost.
    WorkerReplaced { failure: Failure, origin: Origin },
    /// By the job: start again after this wait.
    RestartAfter(Duration),
    /// The wait is over, for this attempt.
    WaitOver(AttemptId),
    /// By the coordinator: the latest checkpoint will not change until the region is up.
    RestorePoint(DeployMode),
    /// The coordinator was replaced: questions to the one before are lost.
    AskAgain,
}

/// The actor.
pub(crate) struct RegionActor {
    pub(crate) shared: Arc<JobShared>,
    pub(crate) region: RegionId,
    pub(crate) entry: Arc<Entry>,
}

/// Where the region stands.
pub(crate) enum RegionState {
    /// Between two attempts: what the next one still needs.
    Gathering { next: AttemptId, is_gone: bool, wait: Wait, restore: Option<DeployMode> },
    /// Deployed.
    Deployed(AttemptId),
}

/// The wait that the restart policy asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wait {
    Undecided,
    UnderWay,
    Over,
}

impl Actor for RegionActor {
    type Msg = RegionMessage;
    type State = RegionState;
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<RegionMessage>, (): ()) -> Result<RegionState, ActorProcessingErr> {
        // Whatever an actor before this one has started is ended first.
        Ok(self.gather(Wait::Over))
    }

    async fn handle(
        &self,
        myself: ActorRef<RegionMessage>,
        message: RegionMessage,
        state: &mut RegionState,
    ) -> Result<(), ActorProcessingErr> {
        self.entry.taken();
        match (message, &mut *state) {
            (RegionMessage::Up(attempt), RegionState::Deployed(current)) if attempt == *current => {
                self.shared.tell(JobMessage::RegionUp { region: self.region, attempt });
            }
            (RegionMessage::Failed { attempt, failure, origin }, RegionState::Deployed(current))
                if attempt.is_none_or(|attempt| attempt == *current) =>
            {
                *state = self.fail(failure, origin);
            }
            (RegionMessage::WorkerReplaced { failure, origin }, RegionState::Deployed(_)) => {
                *state = self.fail(failure, origin);
            }
            (RegionMessage::WorkerReplaced { .. }, RegionState::Gathering { next, is_gone, .. }) => {
                *is_gone = false;
                self.shared.link.command(WorkerCommand::Cancel { region: self.region, fence: *next });
            }
            (RegionMessage::Gone(fence), RegionState::Gathering { next, is_gone, .. }) if fence == *next => {
                *is_gone = true;
            }
            (RegionMessage::RestartAfter(pause), RegionState::Gathering { next, wait, .. })
                if *wait == Wait::Undecided =>
            {
                *wait = if pause.is_zero() { Wait::Over } else { Wait::UnderWay };
                let attempt = *next;
                if !pause.is_zero() {
                    let myself = Post::new(myself, Arc::clone(&self.entry));
                    myself.cast_after(pause, move || RegionMessage::WaitOver(attempt));
                }
            }
            (RegionMessage::WaitOver(attempt), RegionState::Gathering { next, wait, .. })
                if attempt == *next =>
            {
                *wait = Wait::Over;
            }
            (RegionMessage::RestorePoint(mode), RegionState::Gathering { restore, .. }) => {
                *restore = Some(mode);
            }
            (RegionMessage::AskAgain, RegionState::Gathering { restore, .. }) => {
                *restore = None;
                self.shared.tell(JobMessage::AskRestorePoint(self.region));
            }
            _ => {}
        }
        self.deploy_when_ready(state);
        Ok(())
    }
}

impl RegionActor {
    fn fail(&self, failure: Failure, origin: Origin) -> RegionState {
        if origin != Origin::Failure {
            return self.gather(Wait::Over);
        }
        let state = self.gather(Wait::Undecided);
        self.shared.tell(JobMessage::Judge { region: self.region, failure });
        state
    }

    /// Ends what runs and asks for what the next attempt needs.
    fn gather(&self, wait: Wait) -> RegionState {
        let next = self.shared.next_attempt();
        self.shared.tell(JobMessage::RegionDown(self.region));
        self.shared.link.command(WorkerCommand::Cancel { region: self.region, fence: next });
        self.shared.tell(JobMessage::AskRestorePoint(self.region));
        RegionState::Gathering { next, is_gone: false, wait, restore: None }
    }

    fn deploy_when_ready(&self, state: &mut RegionState) {
        let RegionState::Gathering { next, is_gone: true, wait: Wait::Over, restore: Some(mode) } = *state
        else {
            return;
        };
        *state = RegionState::Deployed(next);
        let from = self.shared.latest();
        let checkpoint = from.as_ref().map(|manifest| manifest.checkpoint);
        let parts = from.as_ref().map_or_else(Vec::new, |manifest| self.parts(manifest));
        self.entry.attempt.store(next.0, std::sync::atomic::Ordering::Relaxed);
        // First: enumerators must know the attempt before its readers ask them.
        self.shared.tell(JobMessage::Starting(Starting { region: self.region, attempt: next, mode, from }));
        let deployment = Deployment { region: self.region, attempt: next, mode, checkpoint, parts };
        self.shared.link.command(WorkerCommand::Deploy(deployment));
    }

    fn parts(&self, manifest: &Manifest) -> Vec<(SubtaskId, SubtaskSnapshot)> {
        let plan = &self.shared.plan;
        let part = |subtask: SubtaskId| {
            let operator = manifest.operators.get(&plan.vertex(subtask.operator).name)?;
            Some((subtask, operator.subtasks.get(subtask.index as usize)?.clone()))
        };
        plan.subtasks(self.region).into_iter().filter_map(part).collect()
    }
}

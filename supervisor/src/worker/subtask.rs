//! The actor of one subtask: runs one step for each `Work`, then yields to the scheduler once.

use std::sync::{Arc, Mutex};

use ractor::{Actor, ActorProcessingErr, ActorRef};
use tidegate_runtime::error::{Failure, Result as RuntimeResult};
use tidegate_runtime::metrics::{Activity, SubtaskStatus};
use tidegate_runtime::sync::lock;
use tidegate_runtime::task::{Park, ParkReason, Restore, StepBudget, StepOutcome, Task, TaskCommand};

use super::attempt::{Attempt, SubtaskCell};
use super::deployment::DeploymentMessage;
use super::give_way::GiveWay;
use crate::alive::AliveGuard;
use crate::message::{DeployMode, Origin};
use crate::panics::catching;
use tidegate_runtime::exchange::{Turn, Wakeup};

/// What a subtask's actor is told.
pub(crate) enum SubtaskMessage {
    /// Build state; the first message, so that user code runs here and nowhere else.
    Open,
    /// There may be something to do.
    Work,
    /// For the step machine.
    Command(TaskCommand),
}

/// The actor. Its ractor state is empty: the supervision event of a killed actor carries that state, and what this
/// one owns must be gone when its guard says so.
pub(crate) struct SubtaskActor {
    /// Dropped before `presence` tells that it is gone.
    body: Mutex<Option<Body>>,
    presence: Presence,
}

/// What the actor owns.
pub(crate) struct Body {
    pub(crate) task: Task,
    pub(crate) restore: Restore,
    pub(crate) mode: DeployMode,
    pub(crate) opened: Opened,
    pub(crate) wakeup: Wakeup,
    /// Of a source with several subtasks.
    pub(crate) turn: Option<Turn>,
    pub(crate) status: Arc<SubtaskStatus>,
}

/// Whether the step machine was opened: a neighbour that was opened sooner may send it records before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Opened {
    NotYet,
    Yes,
}

/// Tells the attempt that the actor is gone, whatever ended it.
pub(crate) struct Presence {
    pub(crate) attempt: Arc<Attempt>,
    pub(crate) cell: Arc<SubtaskCell>,
    pub(crate) _guard: AliveGuard,
}

impl Drop for Presence {
    fn drop(&mut self) {
        self.attempt.on_subtask_gone(&self.cell);
    }
}

impl SubtaskActor {
    pub(crate) fn new(body: Body, presence: Presence) -> Self {
        Self { body: Mutex::new(Some(body)), presence }
    }

    /// Everything between two awaits.
    fn on_message(&self, message: SubtaskMessage) -> Result<(), Box<Failure>> {
        if self.presence.attempt.is_ended() {
            return Ok(());
        }
        let mut held = lock(&self.body);
        let Some(body) = held.as_mut() else { return Ok(()) };
        let cell = &self.presence.cell;
        let outcome = catching(|| match message {
            SubtaskMessage::Open => self.open(body),
            // Nothing is lost: opening has it look for work, and commands are for attempts that are up.
            SubtaskMessage::Work | SubtaskMessage::Command(_) if body.opened == Opened::NotYet => Ok(()),
            SubtaskMessage::Work => self.work(body),
            SubtaskMessage::Command(command) => {
                body.task.command(command)?;
                body.wakeup.wake();
                Ok(())
            }
        });
        let mut failure = match outcome {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(error)) => Failure::of_error(cell.operator.clone(), cell.subtask.index, &error),
            Err(panicked) => Failure {
                panic_location: panicked.location,
                ..Failure::new(
                    cell.operator.clone(),
                    cell.subtask.index,
                    format!("panicked: {}", panicked.message),
                )
            },
        };
        // It asks user code how to render a key: what that does can't hide the failure.
        let _ = catching(|| body.task.describe(&mut failure));
        body.status.step_began_ns.set(0);
        body.status.set_activity(Activity::Failed);
        // Here and not at the attempt's end: user state is dropped on the data runtime.
        let _ = catching(|| drop(held.take()));
        Err(Box::new(failure))
    }

    fn open(&self, body: &mut Body) -> RuntimeResult<()> {
        let Presence { attempt, cell, .. } = &self.presence;
        body.status.set_activity(Activity::Restoring);
        let began = attempt.worker.clock.elapsed().as_nanos();
        body.status.step_began_ns.set(u64::try_from(began).unwrap_or(0) + 1);
        body.task.open(&std::mem::take(&mut body.restore))?;
        body.status.step_began_ns.set(0);
        body.opened = Opened::Yes;
        let committer = body.task.committer();
        attempt.tell(DeploymentMessage::Opened(cell.subtask, committer));
        if body.mode == DeployMode::Run {
            body.wakeup.begin();
            body.wakeup.wake();
        }
        Ok(())
    }

    fn work(&self, body: &mut Body) -> RuntimeResult<()> {
        body.wakeup.begin();
        if body.mode == DeployMode::CommitOnly {
            return Ok(());
        }
        if body.turn.as_ref().is_some_and(Turn::begin) {
            return Ok(());
        }
        body.status.set_activity(Activity::Running);
        match body.task.step(&StepBudget::default())? {
            StepOutcome::Progress => body.wakeup.wake(),
            StepOutcome::Parked(park) => self.park(body, park),
        }
        Ok(())
    }

    fn park(&self, body: &Body, park: Park) {
        body.status.set_activity(match park.reason {
            ParkReason::Idle => Activity::Idle,
            ParkReason::BackPressured => Activity::BackPressured,
            ParkReason::Aligning => Activity::Aligning,
            ParkReason::Waiting => Activity::Waiting,
            ParkReason::Finished => Activity::Finished,
        });
        let attempt = &self.presence.attempt;
        // There is one time for a subtask: of a step that hung and came back it would take that of the next attempt.
        if let Some(at) = park.wake_at.filter(|_| !attempt.is_ended()) {
            attempt.worker.timers.set(self.presence.cell.subtask, Some((at, body.wakeup.clone())));
        }
    }
}

impl Actor for SubtaskActor {
    type Msg = SubtaskMessage;
    type State = ();
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<SubtaskMessage>, (): ()) -> Result<(), ActorProcessingErr> {
        Ok(())
    }

    async fn handle(
        &self,
        _: ActorRef<SubtaskMessage>,
        message: SubtaskMessage,
        (): &mut (),
    ) -> Result<(), ActorProcessingErr> {
        self.presence.cell.entry.taken();
        match self.on_message(message) {
            Ok(()) => {
                // The only await: a kill and the neighbours come in here (I30).
                GiveWay::default().await;
                Ok(())
            }
            Err(failure) => {
                let text = failure.to_string();
                self.presence.attempt.fail(*failure, Origin::Failure);
                Err(text.into())
            }
        }
    }
}

//! The actor of the checkpoint coordinator: performs what the core decides.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use ractor::{Actor, ActorProcessingErr, ActorRef};
use tidegate_runtime::checkpoint::coordinator::{
    Coordinator, CoordinatorAction, CoordinatorEvent, LastKind, Ticket,
};
use tidegate_runtime::checkpoint::manifest::{CheckpointKind, SubtaskSnapshot};
use tidegate_runtime::id::{AttemptId, CheckpointId, RegionId};
use tidegate_runtime::sync::lock;
use tidegate_runtime::time::Timestamp;

use super::actor::JobMessage;
use super::cut::Cut;
use super::shared::JobShared;
use crate::directory::Entry;
use crate::message::WorkerCommand;
use crate::post::Post;
use crate::report::CheckpointStatus;
use crate::source_state::SourceMemory;

/// Takes the answer to a request for a checkpoint.
pub(crate) type CheckpointReply = Box<dyn FnOnce(Result<CheckpointId, String>) + Send>;

pub(super) type Event = CoordinatorEvent<SubtaskSnapshot>;
type Action = CoordinatorAction<SubtaskSnapshot>;

/// What the coordinator's actor is told.
pub(crate) enum CheckpointMessage {
    /// The manifest thread has done everything that an actor before this one asked for, and what that left open is
    /// settled; or why not.
    Ready(Result<(), String>),
    /// It is time to ask the manifest thread again.
    AskAgain,
    /// For the core.
    Event(Event),
    /// Somebody wants a checkpoint.
    Manual(CheckpointReply),
    /// A region wants to know what to restore from.
    RestorePoint(RegionId),
}

/// The actor.
pub(crate) struct CheckpointActor {
    pub(crate) shared: Arc<JobShared>,
    pub(crate) entry: Arc<Entry>,
}

/// The core and what it does not need to know.
pub(crate) struct CheckpointState {
    core: Coordinator<SubtaskSnapshot>,
    /// What came before the manifest thread was ready.
    early: Option<Vec<CheckpointMessage>>,
    /// How often the manifest thread was asked in vain.
    asked: u32,
    replies: BTreeMap<Ticket, CheckpointReply>,
    next_ticket: u64,
    /// Of the checkpoint under way.
    triggered: Timestamp,
    sources: BTreeMap<String, SourceMemory>,
    /// When a tick is on its way.
    tick_at: Option<Timestamp>,
}

/// Tickets from here on are regions' questions.
const REGION_TICKETS: u64 = 1 << 32;
/// Between two questions to a manifest thread that is not ready.
const ASK_PAUSE: Duration = Duration::from_millis(200);
/// Questions before the job is given up: 10 s.
const ASKED_MAX: u32 = 50;

impl Actor for CheckpointActor {
    type Msg = CheckpointMessage;
    type State = CheckpointState;
    type Arguments = ();

    async fn pre_start(
        &self,
        myself: ActorRef<CheckpointMessage>,
        (): (),
    ) -> Result<CheckpointState, ActorProcessingErr> {
        let regions: Vec<_> = self.shared.plan.regions.iter().map(|region| region.id).collect();
        let last_used = CheckpointId(self.shared.last_checkpoint.load(Ordering::Acquire));
        let core = Coordinator::new(self.shared.config.checkpoint, &regions, last_used);
        self.ask(Post::new(myself, Arc::clone(&self.entry)));
        Ok(CheckpointState {
            core,
            early: Some(Vec::new()),
            asked: 0,
            replies: BTreeMap::new(),
            next_ticket: 0,
            triggered: Timestamp::MIN,
            sources: BTreeMap::new(),
            tick_at: None,
        })
    }

    async fn handle(
        &self,
        myself: ActorRef<CheckpointMessage>,
        message: CheckpointMessage,
        state: &mut CheckpointState,
    ) -> Result<(), ActorProcessingErr> {
        self.entry.taken();
        let myself = Post::new(myself, Arc::clone(&self.entry));
        match (message, &mut state.early) {
            (CheckpointMessage::AskAgain, _) => self.ask(myself),
            (CheckpointMessage::Ready(Err(problem)), _) => {
                state.asked += 1;
                if state.asked > ASKED_MAX {
                    let cause = format!("it is open what the newest checkpoint is: {problem}");
                    self.shared.tell(JobMessage::GiveUp(cause));
                }
                myself.cast_after(ASK_PAUSE, || CheckpointMessage::AskAgain);
            }
            (CheckpointMessage::Ready(Ok(())), early) => {
                let early = early.take().unwrap_or_default();
                self.take_over();
                for message in early {
                    self.on_message(&myself, message, state);
                }
            }
            (message, Some(early)) => early.push(message),
            (message, None) => self.on_message(&myself, message, state),
        }
        Ok(())
    }
}

impl CheckpointActor {
    /// What an actor before this one has left under way is aborted; what it has published is told again (case 16).
    fn take_over(&self) {
        let last_used = CheckpointId(self.shared.last_checkpoint.load(Ordering::Acquire));
        let latest = self.shared.latest();
        let published = latest.as_ref().map(|manifest| manifest.checkpoint);
        if Some(last_used) > published && last_used.0 > 0 {
            self.shared.link.command(WorkerCommand::Abort(last_used));
            let status = CheckpointStatus::Aborted { cause: "the coordinator was replaced".to_owned() };
            self.shared.history.end_open(last_used, status);
        }
        if let Some(manifest) = latest.filter(|manifest| Some(manifest.checkpoint) > self.shared.started_from)
        {
            self.shared.history.end_open(manifest.checkpoint, CheckpointStatus::Completed);
            self.shared.remember_finished();
            self.shared.link.command(WorkerCommand::Completed(manifest.checkpoint));
            let (checkpoint, kind) = (manifest.checkpoint, manifest.kind);
            self.shared.tell(JobMessage::CheckpointCompleted { checkpoint, kind });
        }
        self.shared.tell(JobMessage::CheckpointsReady);
    }

    fn on_message(
        &self,
        myself: &Post<CheckpointMessage>,
        message: CheckpointMessage,
        state: &mut CheckpointState,
    ) {
        let now = self.shared.clock.now();
        let event = match message {
            CheckpointMessage::Ready(_) | CheckpointMessage::AskAgain => return,
            CheckpointMessage::Event(event) => {
                if matches!(event, Event::Tick) {
                    state.tick_at = None;
                }
                event
            }
            CheckpointMessage::Manual(reply) => {
                state.next_ticket += 1;
                let ticket = Ticket(state.next_ticket);
                state.replies.insert(ticket, reply);
                Event::Manual(ticket)
            }
            CheckpointMessage::RestorePoint(region) => {
                Event::RestorePoint(Ticket(REGION_TICKETS + u64::from(region.0)))
            }
        };
        for action in state.core.on_event(event, now) {
            self.perform(myself, action, state);
        }
        self.tick_later(myself, now, state);
    }

    fn tick_later(&self, myself: &Post<CheckpointMessage>, now: Timestamp, state: &mut CheckpointState) {
        let Some(wake) = state.core.next_wake() else { return };
        if state.tick_at.is_some_and(|at| at <= wake && at > now) {
            return;
        }
        state.tick_at = Some(wake);
        let wait = u64::try_from(wake.0.saturating_sub(now.0)).unwrap_or(0).max(1);
        let tick = || CheckpointMessage::Event(Event::Tick);
        myself.cast_after(Duration::from_millis(wait), tick);
    }

    fn perform(&self, myself: &Post<CheckpointMessage>, action: Action, state: &mut CheckpointState) {
        let shared = &self.shared;
        match action {
            Action::Trigger { checkpoint, kind, attempts } => {
                self.trigger(checkpoint, kind, attempts, state);
            }
            Action::Abort { checkpoint, cause, duration } => {
                tracing::warn!(checkpoint = checkpoint.0, %cause, "checkpoint aborted");
                let status = CheckpointStatus::Aborted { cause: cause.to_string() };
                shared.history.end(checkpoint, status, duration, 0);
                shared.counters.checkpoints_aborted.add(1);
                shared.link.command(WorkerCommand::Abort(checkpoint));
            }
            Action::Write { checkpoint, kind, parts } => {
                let sources = std::mem::take(&mut state.sources);
                let cut = Cut { checkpoint, kind, triggered: state.triggered, parts, sources };
                self.write(myself.clone(), cut.manifest(shared));
            }
            Action::Settle { checkpoint, problem } => self.settle(myself.clone(), checkpoint, problem),
            Action::Complete { checkpoint, kind, duration, bytes } => {
                tracing::debug!(checkpoint = checkpoint.0, ?kind, ?duration, bytes, "checkpoint completed");
                shared.history.end(checkpoint, CheckpointStatus::Completed, duration, bytes);
                shared.counters.checkpoints_completed.add(1);
                shared.remember_finished();
                shared.link.command(WorkerCommand::Completed(checkpoint));
                shared.tell(JobMessage::CheckpointCompleted { checkpoint, kind });
            }
            Action::Granted(ticket, checkpoint) => {
                if let Some(reply) = state.replies.remove(&ticket) {
                    reply(Ok(checkpoint));
                }
            }
            Action::Refused(ticket, cause) => {
                if let Some(reply) = state.replies.remove(&ticket) {
                    reply(Err(cause));
                }
            }
            Action::Restore(ticket) => {
                let region = RegionId((ticket.0 - REGION_TICKETS) as u32);
                shared.tell(JobMessage::RestorePoint(region));
            }
            Action::FailOver(cause) => {
                shared.tell(JobMessage::FailOver(cause));
            }
            Action::GiveUp(cause) => shared.tell(JobMessage::GiveUp(cause)),
            Action::Stale => shared.counters.stale_messages.add(1),
        }
    }

    fn trigger(
        &self,
        checkpoint: CheckpointId,
        kind: CheckpointKind,
        attempts: Vec<(RegionId, AttemptId)>,
        state: &mut CheckpointState,
    ) {
        let shared = &self.shared;
        state.triggered = shared.clock.now();
        // Before any barrier: what a reader takes after this is known here or is in the reader's own part.
        state.sources = lock(&shared.sources).clone();
        shared.last_checkpoint.store(checkpoint.0, Ordering::Release);
        shared.history.begin(checkpoint, kind, state.triggered.millis());
        let attempts = attempts.into_iter().map(|(_, attempt)| attempt).collect();
        shared.link.command(WorkerCommand::Trigger { checkpoint, attempts });
    }
}

/// What the job asks the core for.
pub(crate) fn last(kind: LastKind) -> CheckpointMessage {
    CheckpointMessage::Event(Event::Last(kind))
}

//! The checkpoint coordinator as a pure core: when to trigger, which acknowledgements count, what is complete.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::manifest::CheckpointKind;
use crate::config::CheckpointConfig;
use crate::id::{AttemptId, CheckpointId, RegionId, SubtaskId};
use crate::time::Timestamp;

/// Names one question that waits for an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(pub u64);

/// What the last checkpoint of a run is made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LastKind {
    /// See `CheckpointKind::Stop`.
    Stop,
    /// See `CheckpointKind::Final`.
    Final,
}

/// What the coordinator is told. `P` is what a subtask adds to the checkpoint.
#[derive(Clone, Debug)]
pub enum CoordinatorEvent<P> {
    /// Time may have passed.
    Tick,
    /// All subtasks of a region's attempt are running.
    RegionUp {
        /// Which region.
        region: RegionId,
        /// Which attempt.
        attempt: AttemptId,
        /// All of its subtasks.
        subtasks: Vec<SubtaskId>,
    },
    /// The region has failed, or is being stopped.
    RegionDown(RegionId),
    /// A subtask's part is durable.
    Ack {
        /// Of which attempt.
        attempt: AttemptId,
        /// Which checkpoint.
        checkpoint: CheckpointId,
        /// Whose part.
        subtask: SubtaskId,
        /// The part.
        part: P,
    },
    /// A subtask can't take part.
    Decline {
        /// Of which attempt.
        attempt: AttemptId,
        /// Which checkpoint.
        checkpoint: CheckpointId,
        /// Why.
        cause: String,
    },
    /// The manifest is durable (its bytes), or could not be written.
    Written {
        /// Which checkpoint.
        checkpoint: CheckpointId,
        /// Size, or what went wrong.
        result: Result<u64, String>,
    },
    /// The manifest could not be written and could not be removed either: it may exist after a crash.
    Unsettled {
        /// Which checkpoint.
        checkpoint: CheckpointId,
        /// What went wrong.
        problem: String,
    },
    /// Somebody asks for a checkpoint now.
    Manual(Ticket),
    /// The next checkpoint is to be the last.
    Last(LastKind),
    /// A region wants to know what to restore from.
    RestorePoint(Ticket),
}

/// Why a checkpoint was aborted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AbortCause {
    /// It took longer than the timeout.
    Timeout,
    /// A subtask could not take part.
    Declined(String),
    /// Its manifest could not be written.
    NotWritten(String),
    /// One of the regions went down.
    RegionDown(RegionId),
}

/// What is to be done.
#[derive(Clone, Debug)]
pub enum CoordinatorAction<P> {
    /// Have the sources of these attempts start the checkpoint.
    Trigger {
        /// Which.
        checkpoint: CheckpointId,
        /// What for.
        kind: CheckpointKind,
        /// In id order.
        attempts: Vec<(RegionId, AttemptId)>,
    },
    /// Tell all subtasks that it will not complete.
    Abort {
        /// Which.
        checkpoint: CheckpointId,
        /// Why.
        cause: AbortCause,
        /// How long it ran.
        duration: Duration,
    },
    /// Write the manifest.
    Write {
        /// Which.
        checkpoint: CheckpointId,
        /// What for.
        kind: CheckpointKind,
        /// All parts.
        parts: BTreeMap<SubtaskId, P>,
    },
    /// Make sure that what could not be written does not exist; `Written` or `Unsettled` is the answer.
    Settle {
        /// Which.
        checkpoint: CheckpointId,
        /// What went wrong when it was written.
        problem: String,
    },
    /// It is published: tell all subtasks, commit, remove what is older than the retained ones.
    Complete {
        /// Which.
        checkpoint: CheckpointId,
        /// What for.
        kind: CheckpointKind,
        /// From trigger to publication.
        duration: Duration,
        /// Size of the manifest.
        bytes: u64,
    },
    /// Answer: this checkpoint has completed.
    Granted(Ticket, CheckpointId),
    /// Answer: it was aborted.
    Refused(Ticket, String),
    /// Answer: restore from the last completed checkpoint, which can't change until the region is up again.
    Restore(Ticket),
    /// Too many checkpoints in a row have failed: restart all regions.
    FailOver(String),
    /// Nothing can go on safely: the job fails.
    GiveUp(String),
    /// An acknowledgement of an attempt or checkpoint that is over was dropped.
    Stale,
}

/// Decides about checkpoints. One is under way at a time.
#[derive(Debug)]
pub struct Coordinator<P> {
    config: CheckpointConfig,
    regions: BTreeMap<RegionId, Option<Running>>,
    next_id: u64,
    phase: Phase<P>,
    manual: Vec<Ticket>,
    restoring: Vec<Ticket>,
    last: Option<LastKind>,
    has_last_completed: bool,
    failures_in_row: u32,
    next_trigger: Option<Timestamp>,
}

#[derive(Debug)]
struct Running {
    attempt: AttemptId,
    subtasks: Vec<SubtaskId>,
}

#[derive(Debug)]
enum Phase<P> {
    Resting,
    Collecting {
        pending: Pending,
        missing: BTreeSet<SubtaskId>,
        parts: BTreeMap<SubtaskId, P>,
    },
    Writing(Pending),
    /// It could not be written, and it is not sure that it does not exist: nothing is restored before that is.
    Settling {
        pending: Pending,
        problem: String,
        tries: u32,
        at: Next,
    },
}

/// The next try to settle.
#[derive(Clone, Copy, Debug)]
enum Next {
    UnderWay,
    At(Timestamp),
}

#[derive(Debug)]
struct Pending {
    checkpoint: CheckpointId,
    kind: CheckpointKind,
    triggered: Timestamp,
    tickets: Vec<Ticket>,
}

/// Questions for a checkpoint that wait at once; more are refused.
const MANUAL_TICKETS_MAX: usize = 64;
/// Between two tries to settle.
const SETTLE_PAUSE: Duration = Duration::from_millis(200);
/// Tries to settle before the job is given up: 10 s, longer than a disk's own retries take.
const SETTLE_TRIES_MAX: u32 = 50;

impl<P> Coordinator<P> {
    /// A coordinator of `regions` whose next checkpoint is the one after `last_used`.
    pub fn new(config: CheckpointConfig, regions: &[RegionId], last_used: CheckpointId) -> Self {
        Self {
            config,
            regions: regions.iter().map(|region| (*region, None)).collect(),
            next_id: last_used.0 + 1,
            phase: Phase::Resting,
            manual: Vec::new(),
            restoring: Vec::new(),
            last: None,
            has_last_completed: false,
            failures_in_row: 0,
            next_trigger: None,
        }
    }

    /// Takes an event and says what follows, in order.
    pub fn on_event(&mut self, event: CoordinatorEvent<P>, now: Timestamp) -> Vec<CoordinatorAction<P>> {
        let mut actions = Vec::new();
        match event {
            CoordinatorEvent::Tick => {}
            CoordinatorEvent::RegionUp { region, attempt, subtasks } => {
                self.regions.insert(region, Some(Running { attempt, subtasks }));
                self.next_trigger.get_or_insert(now + self.config.interval.unwrap_or_default());
            }
            CoordinatorEvent::RegionDown(region) => self.on_region_down(region, now, &mut actions),
            CoordinatorEvent::Ack { attempt, checkpoint, subtask, part } => {
                self.on_ack((attempt, checkpoint, subtask), part, &mut actions);
            }
            CoordinatorEvent::Decline { attempt, checkpoint, cause } => {
                if self.is_collecting(checkpoint) && self.is_running(attempt) {
                    self.abort(AbortCause::Declined(cause), now, &mut actions);
                } else {
                    actions.push(CoordinatorAction::Stale);
                }
            }
            CoordinatorEvent::Written { checkpoint, result } => {
                self.on_written(checkpoint, result, now, &mut actions);
            }
            CoordinatorEvent::Unsettled { checkpoint, problem } => {
                self.on_unsettled(checkpoint, problem, now, &mut actions);
            }
            CoordinatorEvent::Manual(ticket) => self.on_manual(ticket, &mut actions),
            CoordinatorEvent::Last(kind) => self.last = Some(kind),
            CoordinatorEvent::RestorePoint(ticket) => match self.phase {
                Phase::Writing(_) | Phase::Settling { .. } => self.restoring.push(ticket),
                Phase::Resting | Phase::Collecting { .. } => actions.push(CoordinatorAction::Restore(ticket)),
            },
        }
        self.expire(now, &mut actions);
        self.settle(now, &mut actions);
        self.trigger(now, &mut actions);
        actions
    }

    /// When it wants a `Tick`.
    pub fn next_wake(&self) -> Option<Timestamp> {
        match &self.phase {
            Phase::Collecting { pending, .. } => Some(pending.triggered + self.config.timeout),
            Phase::Settling { at: Next::At(at), .. } => Some(*at),
            Phase::Writing(_) | Phase::Settling { at: Next::UnderWay, .. } => None,
            Phase::Resting if self.has_last_completed => None,
            Phase::Resting => self.config.interval.and(self.next_trigger),
        }
    }

    fn on_manual(&mut self, ticket: Ticket, actions: &mut Vec<CoordinatorAction<P>>) {
        if self.has_last_completed {
            actions.push(CoordinatorAction::Refused(ticket, "the last checkpoint was made".to_owned()));
        } else if self.manual.len() >= MANUAL_TICKETS_MAX {
            let cause = format!("{MANUAL_TICKETS_MAX} requests wait already");
            actions.push(CoordinatorAction::Refused(ticket, cause));
        } else {
            self.manual.push(ticket);
        }
    }

    fn on_region_down(&mut self, region: RegionId, now: Timestamp, actions: &mut Vec<CoordinatorAction<P>>) {
        let was_up = self.regions.insert(region, None).flatten().is_some();
        // Who asked for the last checkpoint asks again once the region has come to the same point.
        self.last = None;
        if was_up && matches!(self.phase, Phase::Collecting { .. }) {
            self.abort(AbortCause::RegionDown(region), now, actions);
        }
    }

    fn on_ack(
        &mut self,
        (attempt, checkpoint, subtask): (AttemptId, CheckpointId, SubtaskId),
        part: P,
        actions: &mut Vec<CoordinatorAction<P>>,
    ) {
        let runs_it = self
            .regions
            .values()
            .flatten()
            .any(|running| running.attempt == attempt && running.subtasks.contains(&subtask));
        let Phase::Collecting { pending, missing, parts } = &mut self.phase else {
            return actions.push(CoordinatorAction::Stale);
        };
        if !runs_it || pending.checkpoint != checkpoint || !missing.remove(&subtask) {
            return actions.push(CoordinatorAction::Stale);
        }
        parts.insert(subtask, part);
        if !missing.is_empty() {
            return;
        }
        if let Phase::Collecting { pending, parts, .. } = std::mem::replace(&mut self.phase, Phase::Resting) {
            actions.push(CoordinatorAction::Write { checkpoint, kind: pending.kind, parts });
            self.phase = Phase::Writing(pending);
        }
    }

    fn on_written(
        &mut self,
        checkpoint: CheckpointId,
        result: Result<u64, String>,
        now: Timestamp,
        actions: &mut Vec<CoordinatorAction<P>>,
    ) {
        match &self.phase {
            Phase::Writing(pending) if pending.checkpoint == checkpoint => {}
            // To settle it never publishes it.
            Phase::Settling { pending, .. } if pending.checkpoint == checkpoint && result.is_err() => {}
            _ => return actions.push(CoordinatorAction::Stale),
        }
        match result {
            Err(problem) => self.abort(AbortCause::NotWritten(problem), now, actions),
            Ok(bytes) => {
                let Phase::Writing(pending) = std::mem::replace(&mut self.phase, Phase::Resting) else {
                    return;
                };
                self.failures_in_row = 0;
                self.rest(&pending, now);
                if matches!(pending.kind, CheckpointKind::Stop | CheckpointKind::Final) {
                    self.last = None;
                    self.has_last_completed = true;
                }
                let duration = between(pending.triggered, now);
                let kind = pending.kind;
                actions.push(CoordinatorAction::Complete { checkpoint, kind, duration, bytes });
                let granted = pending.tickets.iter().map(|t| CoordinatorAction::Granted(*t, checkpoint));
                actions.extend(granted);
            }
        }
        actions.extend(self.restoring.drain(..).map(CoordinatorAction::Restore));
    }

    fn on_unsettled(
        &mut self,
        checkpoint: CheckpointId,
        problem: String,
        now: Timestamp,
        actions: &mut Vec<CoordinatorAction<P>>,
    ) {
        let (pending, problem, tries) = match std::mem::replace(&mut self.phase, Phase::Resting) {
            Phase::Writing(pending) if pending.checkpoint == checkpoint => (pending, problem, 0),
            Phase::Settling { pending, problem, tries, .. } if pending.checkpoint == checkpoint => {
                (pending, problem, tries + 1)
            }
            other => {
                self.phase = other;
                return actions.push(CoordinatorAction::Stale);
            }
        };
        if tries == SETTLE_TRIES_MAX {
            let seconds = (SETTLE_PAUSE * SETTLE_TRIES_MAX).as_secs();
            actions.push(CoordinatorAction::GiveUp(format!(
                "for {seconds} s {checkpoint} could be neither written nor removed, so it is open what a restart \
                 would go on from: {problem}"
            )));
        }
        let at = Next::At(now + SETTLE_PAUSE);
        self.phase = Phase::Settling { pending, problem, tries, at };
    }

    /// Tries again when it is time.
    fn settle(&mut self, now: Timestamp, actions: &mut Vec<CoordinatorAction<P>>) {
        if let Phase::Settling { pending, problem, at, .. } = &mut self.phase
            && let Next::At(due) = *at
            && due <= now
        {
            *at = Next::UnderWay;
            let (checkpoint, problem) = (pending.checkpoint, problem.clone());
            actions.push(CoordinatorAction::Settle { checkpoint, problem });
        }
    }

    fn abort(&mut self, cause: AbortCause, now: Timestamp, actions: &mut Vec<CoordinatorAction<P>>) {
        let pending = match std::mem::replace(&mut self.phase, Phase::Resting) {
            Phase::Collecting { pending, .. } | Phase::Writing(pending) | Phase::Settling { pending, .. } => {
                pending
            }
            Phase::Resting => return,
        };
        self.rest(&pending, now);
        let text = cause.to_string();
        let refused = format!("{} was aborted: {text}", pending.checkpoint);
        let is_failure = !matches!(cause, AbortCause::RegionDown(_));
        let duration = between(pending.triggered, now);
        actions.push(CoordinatorAction::Abort { checkpoint: pending.checkpoint, cause, duration });
        actions.extend(pending.tickets.iter().map(|t| CoordinatorAction::Refused(*t, refused.clone())));
        if is_failure {
            self.failures_in_row += 1;
            if self.failures_in_row > self.config.tolerable_failures {
                let cause = format!("{} checkpoints in a row failed, the last: {text}", self.failures_in_row);
                self.failures_in_row = 0;
                actions.push(CoordinatorAction::FailOver(cause));
            }
        }
    }

    /// Sets when the next one is due.
    fn rest(&mut self, pending: &Pending, now: Timestamp) {
        let interval = self.config.interval.unwrap_or_default();
        self.next_trigger = Some((pending.triggered + interval).max(now + self.config.min_pause));
    }

    fn expire(&mut self, now: Timestamp, actions: &mut Vec<CoordinatorAction<P>>) {
        if let Phase::Collecting { pending, .. } = &self.phase
            && pending.triggered + self.config.timeout <= now
        {
            self.abort(AbortCause::Timeout, now, actions);
        }
    }

    fn trigger(&mut self, now: Timestamp, actions: &mut Vec<CoordinatorAction<P>>) {
        if !matches!(self.phase, Phase::Resting)
            || self.has_last_completed
            || self.regions.values().any(Option::is_none)
        {
            return;
        }
        let is_due = self.config.interval.is_some() && self.next_trigger.is_some_and(|due| due <= now);
        let kind = match self.last {
            Some(LastKind::Stop) => CheckpointKind::Stop,
            Some(LastKind::Final) => CheckpointKind::Final,
            None if is_due || !self.manual.is_empty() => CheckpointKind::Periodic,
            None => return,
        };
        let checkpoint = CheckpointId(self.next_id);
        self.next_id += 1;
        let running =
            || self.regions.iter().filter_map(|(region, running)| Some((*region, running.as_ref()?)));
        let attempts = running().map(|(region, running)| (region, running.attempt)).collect();
        let missing = running().flat_map(|(_, running)| running.subtasks.iter().copied()).collect();
        let tickets = std::mem::take(&mut self.manual);
        let pending = Pending { checkpoint, kind, triggered: now, tickets };
        self.phase = Phase::Collecting { pending, missing, parts: BTreeMap::new() };
        actions.push(CoordinatorAction::Trigger { checkpoint, kind, attempts });
    }

    fn is_collecting(&self, checkpoint: CheckpointId) -> bool {
        matches!(&self.phase, Phase::Collecting { pending, .. } if pending.checkpoint == checkpoint)
    }

    fn is_running(&self, attempt: AttemptId) -> bool {
        self.regions.values().flatten().any(|running| running.attempt == attempt)
    }
}

impl std::fmt::Display for AbortCause {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Timeout => f.write_str("it took longer than the timeout"),
            Self::Declined(cause) => write!(f, "declined: {cause}"),
            Self::NotWritten(problem) => write!(f, "its manifest could not be written: {problem}"),
            Self::RegionDown(region) => write!(f, "{region} went down"),
        }
    }
}

fn between(from: Timestamp, to: Timestamp) -> Duration {
    Duration::from_millis(u64::try_from(to.0.saturating_sub(from.0)).unwrap_or(0))
}

#[cfg(test)]
mod tests;

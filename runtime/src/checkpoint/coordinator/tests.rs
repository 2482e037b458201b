//! The coordinator by example, and by random events against what must always hold.

use super::*;
use crate::id::OperatorId;
use crate::time::millis;
use proptest::prelude::{Strategy, prop, prop_oneof};
use proptest::{prop_assert, prop_assert_eq, proptest};

type Core = Coordinator<u32>;
type Action = CoordinatorAction<u32>;
type Event = CoordinatorEvent<u32>;

const REGIONS: [RegionId; 2] = [RegionId(0), RegionId(1)];

fn config() -> CheckpointConfig {
    CheckpointConfig {
        interval: Some(millis(100)),
        timeout: millis(1_000),
        min_pause: millis(30),
        tolerable_failures: 1,
        retained: 1,
    }
}

fn subtask(region: u32, index: u32) -> SubtaskId {
    SubtaskId { operator: OperatorId(region), index }
}

fn up(region: u32, attempt: u64) -> Event {
    let subtasks = vec![subtask(region, 0), subtask(region, 1)];
    Event::RegionUp { region: RegionId(region), attempt: AttemptId(attempt), subtasks }
}

fn ack(attempt: u64, checkpoint: u64, subtask: SubtaskId) -> Event {
    Event::Ack { attempt: AttemptId(attempt), checkpoint: CheckpointId(checkpoint), subtask, part: 0 }
}

fn written(checkpoint: u64) -> Event {
    Event::Written { checkpoint: CheckpointId(checkpoint), result: Ok(10) }
}

/// Short names of actions.
fn names(actions: &[Action]) -> Vec<String> {
    let name = |action: &Action| match action {
        Action::Trigger { checkpoint, kind, .. } => format!("trigger {} {kind:?}", checkpoint.0),
        Action::Abort { checkpoint, cause, .. } => format!("abort {}: {cause}", checkpoint.0),
        Action::Write { checkpoint, parts, .. } => format!("write {} of {}", checkpoint.0, parts.len()),
        Action::Settle { checkpoint, problem } => format!("settle {}: {problem}", checkpoint.0),
        Action::Complete { checkpoint, .. } => format!("complete {}", checkpoint.0),
        Action::Granted(ticket, checkpoint) => format!("granted {} {}", ticket.0, checkpoint.0),
        Action::Refused(ticket, _) => format!("refused {}", ticket.0),
        Action::Restore(ticket) => format!("restore {}", ticket.0),
        Action::FailOver(_) => "fail over".to_owned(),
        Action::GiveUp(_) => "give up".to_owned(),
        Action::Stale => "stale".to_owned(),
    };
    actions.iter().map(name).collect()
}

struct Run {
    core: Core,
    now: i64,
}

impl Run {
    /// Both regions are up as attempts 1 and 2; checkpoint 8 is the next.
    fn new() -> Self {
        let mut run = Self { core: Core::new(config(), &REGIONS, CheckpointId(7)), now: 0 };
        assert_eq!(run.on(up(0, 1)), [""; 0]);
        assert_eq!(run.on(up(1, 2)), [""; 0]);
        run
    }

    fn on(&mut self, event: Event) -> Vec<String> {
        names(&self.core.on_event(event, Timestamp(self.now)))
    }

    fn after(&mut self, ms: i64) -> Vec<String> {
        self.now += ms;
        self.on(Event::Tick)
    }

    fn ack_all(&mut self, checkpoint: u64) -> Vec<String> {
        let acks = [(1, 0, 0), (1, 0, 1), (2, 1, 0), (2, 1, 1)];
        acks.iter().flat_map(|(a, region, i)| self.on(ack(*a, checkpoint, subtask(*region, *i)))).collect()
    }
}

#[test]
fn a_checkpoint_is_triggered_collected_written_and_only_then_completed() {
    let mut run = Run::new();
    assert_eq!(run.core.next_wake(), Some(Timestamp(100)));
    assert_eq!(run.after(99), [""; 0]);
    assert_eq!(run.after(1), ["trigger 8 Periodic"]);
    assert_eq!(run.ack_all(8), ["write 8 of 4"]);
    assert_eq!(run.on(written(8)), ["complete 8"]);
    assert_eq!(run.after(99), [""; 0]);
    assert_eq!(run.after(1), ["trigger 9 Periodic"]);
}

#[test]
fn the_pause_counts_from_the_end_of_one_to_the_start_of_the_next() {
    let mut run = Run::new();
    run.after(100);
    run.now += 90;
    run.ack_all(8);
    assert_eq!(run.on(written(8)), ["complete 8"]);
    assert_eq!(run.after(29), [""; 0]);
    assert_eq!(run.after(1), ["trigger 9 Periodic"]);
}

/// Case 5 and case 8: a checkpoint that takes too long is given up, and what comes for it later is dropped.
#[test]
fn acknowledgements_after_the_timeout_are_discarded() {
    let mut run = Run::new();
    run.after(100);
    run.on(ack(1, 8, subtask(0, 0)));
    assert_eq!(run.after(1_000), ["abort 8: it took longer than the timeout"]);
    assert_eq!(run.after(30), ["trigger 9 Periodic"]);
    assert_eq!(run.on(ack(1, 8, subtask(0, 1))), ["stale"]);
    assert_eq!(run.ack_all(9), ["write 9 of 4"]);
}

/// Case 6: the id is right, the attempt is over.
#[test]
fn an_acknowledgement_of_a_former_attempt_is_rejected() {
    let mut run = Run::new();
    run.on(Event::RegionDown(RegionId(0)));
    run.on(up(0, 3));
    run.after(100);
    assert_eq!(run.on(ack(1, 8, subtask(0, 0))), ["stale"]);
    assert_eq!(run.on(ack(3, 8, subtask(0, 0))), [""; 0]);
}

/// Case 7.
#[test]
fn a_second_acknowledgement_and_a_decline_after_the_end_change_nothing() {
    let mut run = Run::new();
    run.after(100);
    assert_eq!(run.on(ack(1, 8, subtask(0, 0))), [""; 0]);
    assert_eq!(run.on(ack(1, 8, subtask(0, 0))), ["stale"]);
    run.ack_all(8);
    run.on(written(8));
    let late = Event::Decline { attempt: AttemptId(1), checkpoint: CheckpointId(8), cause: "late".into() };
    assert_eq!(run.on(late), ["stale"]);
}

#[test]
fn a_decline_aborts_and_too_many_failures_in_a_row_fail_over() {
    let mut run = Run::new();
    let decline = |id| Event::Decline {
        attempt: AttemptId(2),
        checkpoint: CheckpointId(id),
        cause: "disk full".to_owned(),
    };
    run.after(100);
    assert_eq!(run.on(decline(8)), ["abort 8: declined: disk full"]);
    run.after(100);
    assert_eq!(run.on(decline(9)), ["abort 9: declined: disk full", "fail over"]);
}

/// Case 10: all acknowledgements are in, the manifest is not: nothing is told to sinks, and the restore waits for what
/// becomes of it.
#[test]
fn a_region_that_goes_down_while_the_manifest_is_written_restores_from_its_outcome() {
    let mut run = Run::new();
    run.after(100);
    run.ack_all(8);
    assert_eq!(run.on(Event::RegionDown(RegionId(0))), [""; 0]);
    assert_eq!(run.on(Event::RestorePoint(Ticket(70))), [""; 0]);
    assert_eq!(run.on(written(8)), ["complete 8", "restore 70"]);
    assert_eq!(run.on(Event::RestorePoint(Ticket(71))), ["restore 71"]);
}

#[test]
fn a_manifest_that_can_not_be_written_aborts_and_answers_who_waits() {
    let mut run = Run::new();
    assert_eq!(run.on(Event::Manual(Ticket(1))), ["trigger 8 Periodic"]);
    run.ack_all(8);
    run.on(Event::RestorePoint(Ticket(70)));
    let failed = Event::Written { checkpoint: CheckpointId(8), result: Err("no space".into()) };
    let expected = ["abort 8: its manifest could not be written: no space", "refused 1", "restore 70"];
    assert_eq!(run.on(failed), expected);
}

fn unsettled(checkpoint: u64) -> Event {
    Event::Unsettled { checkpoint: CheckpointId(checkpoint), problem: "a bad disk".to_owned() }
}

/// Case 12: nothing restores from the one before while a crash could bring this one back.
#[test]
fn a_checkpoint_whose_outcome_is_open_is_settled_before_anything_goes_on() {
    let mut run = Run::new();
    assert_eq!(run.on(Event::Manual(Ticket(1))), ["trigger 8 Periodic"]);
    run.ack_all(8);
    assert_eq!(run.on(unsettled(8)), [""; 0]);
    assert_eq!(run.on(Event::RegionDown(RegionId(0))), [""; 0]);
    assert_eq!(run.on(Event::RestorePoint(Ticket(70))), [""; 0]);
    assert_eq!(run.core.next_wake(), Some(Timestamp(200)));
    assert_eq!(run.after(200), ["settle 8: a bad disk"]);
    assert_eq!(run.core.next_wake(), None);
    assert_eq!(run.after(1_000), [""; 0], "one try at a time");
    assert_eq!(run.on(unsettled(8)), [""; 0]);
    assert_eq!(run.after(200), ["settle 8: a bad disk"]);
    let settled = Event::Written { checkpoint: CheckpointId(8), result: Err("a bad disk".into()) };
    let expected = ["abort 8: its manifest could not be written: a bad disk", "refused 1", "restore 70"];
    assert_eq!(run.on(settled), expected);
    assert_eq!(run.on(unsettled(8)), ["stale"]);
}

#[test]
fn a_disk_that_never_settles_a_checkpoint_ends_the_job() {
    let mut run = Run::new();
    run.after(100);
    run.ack_all(8);
    assert_eq!(run.on(unsettled(8)), [""; 0]);
    for _ in 1..SETTLE_TRIES_MAX {
        assert_eq!(run.after(200), ["settle 8: a bad disk"]);
        assert_eq!(run.on(unsettled(8)), [""; 0]);
    }
    assert_eq!(run.after(200), ["settle 8: a bad disk"]);
    assert_eq!(run.on(unsettled(8)), ["give up"]);
}

#[test]
fn a_request_waits_for_the_checkpoint_under_way_and_gets_one_of_its_own() {
    let mut run = Run::new();
    run.after(100);
    assert_eq!(run.on(Event::Manual(Ticket(1))), [""; 0]);
    run.ack_all(8);
    assert_eq!(run.on(written(8)), ["complete 8", "trigger 9 Periodic"]);
    run.ack_all(9);
    assert_eq!(run.on(written(9)), ["complete 9", "granted 1 9"]);
}

#[test]
fn nothing_is_triggered_while_a_region_is_down_or_after_the_last_one() {
    let mut run = Run::new();
    run.on(Event::RegionDown(RegionId(1)));
    assert_eq!(run.after(500), [""; 0]);
    assert_eq!(run.on(up(1, 2)), ["trigger 8 Periodic"]);
    run.on(Event::Last(LastKind::Final));
    run.ack_all(8);
    assert_eq!(run.on(written(8)), ["complete 8", "trigger 9 Final"]);
    run.ack_all(9);
    assert_eq!(run.on(written(9)), ["complete 9"]);
    assert_eq!(run.after(10_000), [""; 0]);
    assert_eq!(run.on(Event::Manual(Ticket(5))), ["refused 5"]);
    assert_eq!(run.core.next_wake(), None);
}

#[derive(Clone, Debug)]
enum Step {
    Wait(i64),
    Up(u32),
    Down(u32),
    Ack { region: u32, index: u32, lag_attempt: u64, lag_checkpoint: u64 },
    Decline { region: u32 },
    Written { is_ok: bool, lag: u64 },
    Unsettled,
    Manual,
    Restore,
    Last,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let lag = || prop_oneof![8 => 0_u64..1, 1 => 1_u64..3];
    let step = prop_oneof![
        4 => (0_i64..150).prop_map(Step::Wait),
        1 => (900_i64..1_200).prop_map(Step::Wait),
        3 => (0_u32..2).prop_map(Step::Up),
        1 => (0_u32..2).prop_map(Step::Down),
        16 => (0_u32..2, 0_u32..2, lag(), lag()).prop_map(|(region, index, lag_attempt, lag_checkpoint)| {
            Step::Ack { region, index, lag_attempt, lag_checkpoint }
        }),
        1 => (0_u32..2).prop_map(|region| Step::Decline { region }),
        5 => (prop::bool::weighted(0.8), lag()).prop_map(|(is_ok, lag)| Step::Written { is_ok, lag }),
        1 => prop_oneof![Just(Step::Unsettled)],
        1 => prop_oneof![Just(Step::Manual)],
        1 => prop_oneof![Just(Step::Restore)],
        1 => prop::bool::weighted(0.1).prop_map(|last| if last { Step::Last } else { Step::Wait(1) }),
    ];
    prop::collection::vec(step, 1..200)
}

use proptest::prelude::Just;

/// What the outside has seen: a naive account of what may follow.
#[derive(Default)]
struct Model {
    now: i64,
    attempts: [u64; 2],
    is_up: [bool; 2],
    next_attempt: u64,
    triggered: u64,
    collecting: Option<(u64, BTreeSet<SubtaskId>)>,
    writing: Option<u64>,
    tickets: u64,
    open_tickets: BTreeSet<u64>,
    last_completed: u64,
}

impl Model {
    fn event(&mut self, step: &Step) -> Option<Event> {
        let index = |region: u32| region as usize;
        Some(match *step {
            Step::Wait(ms) => {
                self.now += ms;
                Event::Tick
            }
            Step::Up(region) if !self.is_up[index(region)] => {
                self.next_attempt += 1;
                self.attempts[index(region)] = self.next_attempt;
                self.is_up[index(region)] = true;
                up(region, self.next_attempt)
            }
            Step::Up(_) => return None,
            Step::Down(region) => {
                self.is_up[index(region)] = false;
                Event::RegionDown(RegionId(region))
            }
            Step::Ack { region, index: i, lag_attempt, lag_checkpoint } => {
                let attempt = self.attempts[index(region)].saturating_sub(lag_attempt);
                let checkpoint = self.triggered.saturating_sub(lag_checkpoint);
                let subtask = subtask(region, i);
                let counts = lag_attempt == 0 && lag_checkpoint == 0 && self.is_up[index(region)];
                if let Some((_, acked)) = self.collecting.as_mut().filter(|_| counts) {
                    acked.insert(subtask);
                }
                ack(attempt, checkpoint, subtask)
            }
            Step::Decline { region } => Event::Decline {
                attempt: AttemptId(self.attempts[index(region)]),
                checkpoint: CheckpointId(self.triggered),
                cause: "no".to_owned(),
            },
            Step::Written { is_ok, lag } => {
                let checkpoint = CheckpointId(self.writing?.saturating_sub(lag));
                let result = if is_ok { Ok(1) } else { Err("no".to_owned()) };
                Event::Written { checkpoint, result }
            }
            Step::Unsettled => unsettled(self.writing?),
            Step::Manual | Step::Restore => {
                self.tickets += 1;
                self.open_tickets.insert(self.tickets);
                let ticket = Ticket(self.tickets);
                if matches!(step, Step::Manual) { Event::Manual(ticket) } else { Event::RestorePoint(ticket) }
            }
            Step::Last => Event::Last(LastKind::Stop),
        })
    }

    fn check(&mut self, action: &Action) -> Result<(), proptest::test_runner::TestCaseError> {
        match action {
            Action::Trigger { checkpoint, attempts, .. } => {
                prop_assert!(checkpoint.0 > self.triggered, "ids rise (case 15)");
                prop_assert!(self.collecting.is_none() && self.writing.is_none(), "one at a time");
                let expected: Vec<_> =
                    REGIONS.iter().zip(self.attempts).map(|(r, a)| (*r, AttemptId(a))).collect();
                prop_assert!(self.is_up == [true; 2], "all regions are up");
                prop_assert_eq!(attempts, &expected);
                self.triggered = checkpoint.0;
                self.collecting = Some((checkpoint.0, BTreeSet::new()));
            }
            Action::Write { checkpoint, parts, .. } => {
                let collecting = self.collecting.take();
                let acked = collecting.filter(|(id, _)| *id == checkpoint.0).map(|(_, acked)| acked);
                let written: BTreeSet<_> = parts.keys().copied().collect();
                prop_assert_eq!(acked.map(|acked| acked.len()), Some(4), "every subtask's part is in");
                prop_assert_eq!(written.len(), 4);
                self.writing = Some(checkpoint.0);
            }
            Action::Complete { checkpoint, .. } => {
                prop_assert_eq!(self.writing.take(), Some(checkpoint.0));
                prop_assert!(checkpoint.0 > self.last_completed);
                self.last_completed = checkpoint.0;
            }
            Action::Abort { checkpoint, .. } => {
                let under_way = self.collecting.take().map(|(id, _)| id).or(self.writing.take());
                prop_assert_eq!(under_way, Some(checkpoint.0), "only what is under way is aborted");
            }
            Action::Restore(ticket) => {
                prop_assert!(self.writing.is_none(), "no restore while a manifest is written (case 10)");
                prop_assert!(self.open_tickets.remove(&ticket.0), "one answer each");
            }
            Action::Granted(ticket, checkpoint) => {
                prop_assert_eq!(checkpoint.0, self.last_completed);
                prop_assert!(self.open_tickets.remove(&ticket.0), "one answer each");
            }
            Action::Refused(ticket, _) => {
                prop_assert!(self.open_tickets.remove(&ticket.0), "one answer each");
            }
            Action::Settle { checkpoint, .. } => prop_assert_eq!(self.writing, Some(checkpoint.0)),
            Action::FailOver(_) | Action::GiveUp(_) | Action::Stale => {}
        }
        Ok(())
    }
}

proptest! {
    #[test]
    fn no_order_of_events_breaks_the_protocol(steps in steps()) {
        let mut core = Core::new(config(), &REGIONS, CheckpointId(0));
        let mut model = Model { next_attempt: 10, ..Model::default() };
        for step in &steps {
            let Some(event) = model.event(step) else { continue };
            for action in core.on_event(event, Timestamp(model.now)) {
                model.check(&action)?;
            }
        }
    }
}

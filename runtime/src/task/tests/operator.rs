//! One subtask with inputs, fed through its gate.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

use super::fakes::{Habits, Hold, Log, Mailbox, Probe, Seen, Subtask, TIMER, operator_task, router};
use crate::element::{Barrier, Batch, Element, ErasedBatch, WatermarkAt};
use crate::exchange::{Gate, Partitioning, Wakeup};
use crate::id::{CheckpointId, LaneId};
use crate::task::{
    Chain, ChainNode, Park, ParkReason, Restore, StepBudget, StepOutcome, TaskCommand, TaskEvent,
};
use crate::time::{Clock, Timestamp, millis};

/// A probe behind two lanes, and the gate that its output goes to.
struct Rig {
    clock: Clock,
    input: Arc<Gate>,
    output: Arc<Gate>,
    subtask: Subtask,
    log: Log,
}

impl Rig {
    fn new(lane_ports: Vec<usize>, habits: Habits, restore: &Restore) -> Self {
        Self::behind(Vec::new(), lane_ports, habits, restore)
    }

    /// With stages, each before the next, between the probe and the router.
    fn behind(mut nodes: Vec<ChainNode>, lane_ports: Vec<usize>, habits: Habits, restore: &Restore) -> Self {
        let clock = Clock::manual(Timestamp(1_000));
        let mailbox = Mailbox::new();
        let input = Gate::new(lane_ports.len(), 1 << 20, mailbox.wakeup.clone());
        let output = Gate::new(1, 1 << 20, Wakeup::new(|| {}));
        let log: Log = Arc::new(Mutex::new(Vec::new()));
        let probe = Probe::new(Arc::clone(&log), habits);
        nodes.push(router(Partitioning::Forward, std::slice::from_ref(&output), 0, &mailbox.wakeup));
        let chain = Chain::new(nodes, vec![vec![0]]);
        let mut subtask =
            mailbox.subtask(&clock, |context| operator_task(context, &input, lane_ports, probe, chain));
        subtask.task.open(restore).expect("a probe opens");
        Self { clock, input, output, subtask, log }
    }

    fn of(lane_ports: Vec<usize>) -> Self {
        Self::new(lane_ports, Habits::default(), &Restore::default())
    }

    fn records(&self, lane: u32, records: &[u64], watermarks: &[(usize, i64)]) {
        let watermarks = watermarks
            .iter()
            .map(|(offset, at)| WatermarkAt { offset: *offset, watermark: Timestamp(*at) })
            .collect();
        let timestamps = records.iter().map(|record| Timestamp(*record as i64)).collect();
        let batch = Batch { records: records.to_vec(), timestamps, hashes: Vec::new(), watermarks };
        self.send(lane, Element::Batch(ErasedBatch::new(batch)));
    }

    fn send(&self, lane: u32, element: Element) {
        self.input.force(LaneId(lane), element);
    }

    fn barrier(&self, lane: u32, checkpoint: u64) {
        self.send(lane, Element::Barrier(Barrier { checkpoint: CheckpointId(checkpoint) }));
    }

    /// Steps of one turn each, until it parks.
    fn run(&mut self) -> Park {
        for _ in 0..10_000 {
            self.subtask.wakeup.begin();
            if let StepOutcome::Parked(park) =
                self.subtask.task.step(&StepBudget::Turns(1)).expect("a probe does not fail")
            {
                return park;
            }
        }
        panic!("it never parks");
    }

    fn seen(&self) -> Vec<Seen> {
        std::mem::take(&mut self.log.lock().expect("no panic while held"))
    }

    /// Everything that was sent on: records, watermarks as `w..`, control elements by name.
    fn sent(&self) -> Vec<String> {
        let mut sent = Vec::new();
        while let Some((_, element)) = self.output.take() {
            match element {
                Element::Batch(batch) => {
                    let batch: Batch<u64> = batch.into_typed();
                    for index in 0..=batch.len() {
                        let here = batch.watermarks.iter().filter(|at| at.offset == index);
                        sent.extend(here.map(|at| format!("w{}", at.watermark.millis())));
                        sent.extend(batch.records.get(index).map(u64::to_string));
                    }
                }
                Element::Barrier(barrier) => sent.push(barrier.checkpoint.to_string()),
                other => sent.push(format!("{other:?}")),
            }
        }
        sent
    }

    fn frozen(&self) -> Vec<(u64, Timestamp)> {
        let events = self.subtask.events.lock().expect("no panic while held");
        let frozen = events.iter().filter_map(|event| match event {
            TaskEvent::Frozen { checkpoint, state, .. } => Some((checkpoint.0, state.watermark)),
            _ => None,
        });
        frozen.collect()
    }
}

const MIN: Timestamp = Timestamp::MIN;

#[test]
fn a_watermark_inside_a_batch_holds_for_the_records_behind_it_only() {
    let mut rig = Rig::of(vec![0]);
    rig.records(0, &[5, 6, 7], &[(0, 4), (2, 6)]);
    assert_eq!(rig.run().reason, ParkReason::Idle);
    let expected = vec![
        Seen::Watermark(Timestamp(4)),
        Seen::Record(0, 5, Timestamp(4)),
        Seen::Record(0, 6, Timestamp(4)),
        Seen::Watermark(Timestamp(6)),
        Seen::Record(0, 7, Timestamp(6)),
    ];
    assert_eq!(rig.seen(), expected);
    assert_eq!(rig.sent(), ["w4", "5", "6", "w6", "7"]);
    assert_eq!(rig.subtask.status.watermark(), Timestamp(6));
    assert_eq!(rig.subtask.status.records_in.get(), 3);
    assert_eq!(rig.subtask.status.records_out.get(), 3);
}

#[test]
fn a_watermark_goes_on_after_its_last_timer_and_a_batch_resumes_where_it_stopped() {
    let habits = Habits { records_per_call: 1, timers: 3, due: None };
    let mut rig = Rig::new(vec![0], habits, &Restore::default());
    rig.records(0, &[5, 6], &[(1, 5)]);
    rig.run();
    let timers: Vec<String> = (1..=3).map(|timer| (TIMER + timer).to_string()).collect();
    let mut expected = vec!["5".to_owned()];
    expected.extend(timers);
    expected.extend(["w5".to_owned(), "6".to_owned()]);
    assert_eq!(rig.sent(), expected);
}

#[test]
fn the_least_watermark_of_two_lanes_counts() {
    let mut rig = Rig::of(vec![0, 0]);
    rig.records(0, &[], &[(0, 10)]);
    rig.records(1, &[], &[(0, 7)]);
    rig.records(0, &[11], &[]);
    rig.run();
    assert_eq!(rig.seen(), [Seen::Watermark(Timestamp(7)), Seen::Record(0, 11, Timestamp(7))]);
}

#[test]
fn a_lane_whose_barrier_came_waits_for_the_other() {
    let mut rig = Rig::of(vec![0, 1]);
    rig.barrier(0, 1);
    rig.records(0, &[100], &[]);
    rig.records(1, &[1], &[]);
    assert_eq!(rig.run().reason, ParkReason::Aligning);
    assert_eq!(rig.seen(), [Seen::Record(1, 1, MIN)]);
    rig.barrier(1, 1);
    rig.records(1, &[2], &[]);
    rig.run();
    let seen = rig.seen();
    assert_eq!(seen[0], Seen::Frozen(CheckpointId(1)));
    assert_eq!(seen.len(), 3, "both lanes go on: {seen:?}");
    assert_eq!(rig.sent()[..2], ["1", "checkpoint-1"]);
    assert_eq!(rig.frozen(), [(1, MIN)]);
}

#[test]
fn an_abort_releases_blocked_lanes_and_its_late_barrier_is_ignored_case_1() {
    let mut rig = Rig::of(vec![0, 0]);
    rig.barrier(0, 1);
    rig.records(0, &[100], &[]);
    assert_eq!(rig.run().reason, ParkReason::Aligning);
    rig.subtask.task.command(TaskCommand::Abort(CheckpointId(1))).expect("an abort is always taken");
    assert_eq!(rig.run().reason, ParkReason::Idle);
    assert_eq!(rig.seen(), [Seen::Record(0, 100, MIN)]);
    rig.barrier(1, 1);
    rig.records(1, &[101], &[]);
    assert_eq!(rig.run().reason, ParkReason::Idle);
    assert_eq!(rig.seen(), [Seen::Record(0, 101, MIN)]);
    assert_eq!(rig.frozen(), []);
}

#[test]
fn a_newer_barrier_overtakes_case_2() {
    let mut rig = Rig::of(vec![0, 0]);
    rig.barrier(0, 1);
    rig.records(0, &[100], &[]);
    rig.barrier(1, 2);
    rig.records(1, &[200], &[]);
    assert_eq!(rig.run().reason, ParkReason::Aligning);
    assert_eq!(rig.seen(), [Seen::Record(0, 100, MIN)], "lane 0 is open again, lane 1 is blocked");
    rig.barrier(0, 2);
    rig.run();
    assert_eq!(rig.frozen(), [(2, MIN)]);
}

#[test]
fn a_barrier_after_the_end_still_counts_case_4() {
    let mut rig = Rig::of(vec![0, 1]);
    rig.send(0, Element::End);
    rig.barrier(0, 1);
    rig.records(1, &[1], &[(1, 3)]);
    rig.barrier(1, 1);
    assert_eq!(rig.run().reason, ParkReason::Idle);
    assert_eq!(rig.frozen(), [(1, Timestamp(3))]);
    rig.send(1, Element::End);
    assert_eq!(rig.run().reason, ParkReason::Finished);
    rig.barrier(0, 2);
    rig.barrier(1, 2);
    assert_eq!(rig.run().reason, ParkReason::Finished);
    assert_eq!(rig.sent(), ["1", "w3", "checkpoint-1", "End", "checkpoint-2"]);
    let ends: Vec<Seen> = rig.seen().into_iter().filter(|seen| matches!(seen, Seen::EndOfInput(_))).collect();
    assert_eq!(ends, [Seen::EndOfInput(0), Seen::EndOfInput(1)]);
    let events = rig.subtask.events.lock().expect("no panic while held");
    assert_eq!(events.iter().filter(|event| matches!(event, TaskEvent::Ended)).count(), 1);
}

#[test]
fn a_port_ends_when_its_last_lane_does() {
    let mut rig = Rig::of(vec![0, 0, 1]);
    rig.send(0, Element::End);
    rig.send(2, Element::End);
    rig.run();
    assert_eq!(rig.seen(), [Seen::EndOfInput(1)]);
    rig.send(1, Element::End);
    rig.run();
    assert_eq!(rig.seen(), [Seen::EndOfInput(0)]);
    assert_eq!(rig.sent(), ["End"]);
}

#[test]
fn idle_lanes_do_not_hold_the_watermark_and_idleness_is_passed_on_case_41() {
    let mut rig = Rig::of(vec![0, 0]);
    rig.records(0, &[], &[(0, 10)]);
    rig.send(1, Element::Idle);
    rig.run();
    assert_eq!(rig.sent(), ["w10"]);
    rig.send(0, Element::Idle);
    rig.run();
    assert_eq!(rig.sent(), ["Idle"]);
    rig.send(1, Element::Active);
    rig.records(1, &[12], &[(1, 12)]);
    rig.run();
    assert_eq!(rig.sent(), ["Active", "12", "w12"]);
    assert_eq!(rig.seen().last(), Some(&Seen::Watermark(Timestamp(12))));
}

#[test]
fn a_full_outlet_parks_and_the_rest_follows_in_order() {
    let mut rig = Rig::new(vec![0], Habits { records_per_call: 2, ..Habits::default() }, &Restore::default());
    rig.output = Gate::new(1, 1, Wakeup::new(|| {}));
    let node = router(Partitioning::Forward, std::slice::from_ref(&rig.output), 0, &rig.subtask.wakeup);
    let probe =
        Probe::new(Arc::clone(&rig.log), Habits { records_per_call: 2, timers: 2, ..Habits::default() });
    let mailbox = Mailbox { wakeup: rig.subtask.wakeup.clone(), notices: Arc::clone(&rig.subtask.notices) };
    let chain = Chain::new(vec![node], vec![vec![0]]);
    rig.subtask =
        mailbox.subtask(&rig.clock, |context| operator_task(context, &rig.input, vec![0], probe, chain));
    rig.subtask.task.open(&Restore::default()).expect("a probe opens");
    rig.output.set_batch_records(1);
    rig.records(0, &[1, 2, 3, 4, 5], &[(3, 3)]);
    rig.barrier(0, 1);
    let mut sent = Vec::new();
    for _ in 0..20 {
        let park = rig.run();
        let some = rig.sent();
        if some.is_empty() {
            assert_eq!(park.reason, ParkReason::Idle);
            break;
        }
        assert!(rig.subtask.notices.load(Ordering::Relaxed) > 0 || park.reason == ParkReason::Idle);
        sent.extend(some);
    }
    let (first, second) = ((TIMER + 1).to_string(), (TIMER + 2).to_string());
    assert_eq!(sent, ["1", "2", "3", &first, &second, "w3", "4", "5", "checkpoint-1"]);
}

#[test]
fn processing_time_wakes_it_and_nothing_is_due_after_the_end() {
    let habits = Habits { due: Some(Timestamp(1_005)), ..Habits::default() };
    let mut rig = Rig::new(vec![0], habits.clone(), &Restore::default());
    assert_eq!(rig.run(), Park { reason: ParkReason::Idle, wake_at: Some(Timestamp(1_005)) });
    rig.clock.advance(millis(5));
    assert_eq!(rig.run().wake_at, None);
    assert_eq!(rig.seen(), [Seen::ProcessingTime(Timestamp(1_005))]);

    let mut rig = Rig::new(vec![0], habits, &Restore::default());
    rig.send(0, Element::End);
    assert_eq!(rig.run(), Park { reason: ParkReason::Finished, wake_at: None });
    rig.clock.advance(millis(50));
    assert_eq!(rig.run(), Park { reason: ParkReason::Finished, wake_at: None });
    assert_eq!(rig.seen(), [Seen::EndOfInput(0)]);
}

#[test]
fn a_restored_watermark_judges_the_first_records_case_45() {
    let restore =
        Restore { checkpoint: Some(CheckpointId(4)), watermark: Some(Timestamp(50)), ..Restore::default() };
    let mut rig = Rig::new(vec![0], Habits::default(), &restore);
    rig.records(0, &[60], &[(1, 40)]);
    rig.barrier(0, 4);
    rig.records(0, &[61], &[(1, 61)]);
    rig.run();
    let expected = [
        Seen::Record(0, 60, Timestamp(50)),
        Seen::Record(0, 61, Timestamp(50)),
        Seen::Watermark(Timestamp(61)),
    ];
    assert_eq!(rig.seen(), expected, "and the barrier of the restored checkpoint is over");
}

/// Else another lane of who takes it goes on in time, and what the watermark fired comes late there.
#[test]
fn an_operator_whose_inputs_fell_idle_says_so_after_all_that_fired_by_it() {
    let habits = Habits { timers: 1, ..Habits::default() };
    let mut rig = Rig::new(vec![0, 0], habits, &Restore::default());
    rig.records(0, &[], &[(0, 10)]);
    rig.records(1, &[], &[(0, 7)]);
    rig.send(0, Element::Idle);
    rig.run();
    rig.sent();
    rig.send(1, Element::Idle);
    rig.run();
    assert_eq!(rig.sent(), [(TIMER + 1).to_string(), "w10".to_owned(), "Idle".to_owned()]);
    rig.send(0, Element::Active);
    rig.records(0, &[11], &[]);
    rig.run();
    assert_eq!(rig.sent(), ["Active", "11"]);
}

/// Else another lane of who takes it goes on in time, and what a stage has held back comes late there.
#[test]
fn what_a_stage_holds_back_goes_before_the_inputs_are_said_to_be_idle() {
    let behind = vec![Hold::until_a_park(1)];
    let mut rig = Rig::behind(behind, vec![0], Habits::default(), &Restore::default());
    rig.records(0, &[5, 6], &[]);
    rig.send(0, Element::Idle);
    rig.run();
    assert_eq!(rig.sent(), ["5", "6", "Idle"]);
}

#[test]
fn the_first_records_of_each_lane_must_survive_encoding_and_the_others_cost_nothing() {
    #[derive(Clone, serde::Serialize, serde::Deserialize)]
    #[serde(untagged)]
    enum Untagged {
        Number(u64),
    }
    let mut rig = Rig::of(vec![0, 1]);
    rig.records(0, &[5], &[]);
    rig.run();
    let bad = Batch { records: vec![Untagged::Number(1)], ..Batch::default() };
    rig.send(1, Element::Batch(ErasedBatch::new(bad)));
    let error = (0..10).find_map(|_| rig.subtask.task.step(&StepBudget::Turns(1)).err()).expect("it fails");
    let text = error.to_string();
    assert!(text.contains("Untagged` does not survive encoding") && text.contains("`untagged`"), "{text}");
    assert_eq!(error.restart_help(), crate::error::RestartHelp::None);
}

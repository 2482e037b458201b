//! One source's subtask: splits, triggers in the middle of a flush, idleness, the end of input.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::fakes::{Hold, Mailbox, NumberSource, Numbers, Stamp, Subtask, router, source_task};
use crate::config::AfterLastRecord;
use crate::element::{Batch, Element};
use crate::exchange::{Gate, Partitioning, Wakeup};
use crate::id::CheckpointId;
use crate::operator::Stage;
use crate::task::{
    Chain, ChainNode, Park, ParkReason, Restore, SourceSnapshot, StepBudget, StepOutcome, TaskCommand,
    TaskEvent,
};
use crate::time::{Clock, Timestamp};

struct Rig {
    output: Arc<Gate>,
    subtask: Subtask,
}

impl Rig {
    /// A source of numbers that holds records back, then stamps them.
    fn new(source: NumberSource, stamp: Box<dyn Stage>, restore: &Restore) -> Self {
        let hold = ChainNode::Stage { stage: Box::<Hold>::default(), next: vec![1] };
        Self::behind(vec![hold, ChainNode::Stage { stage: stamp, next: vec![2] }], source, restore)
    }

    /// With stages, each before the next, between the source and the router.
    fn behind(mut nodes: Vec<ChainNode>, source: NumberSource, restore: &Restore) -> Self {
        let clock = Clock::manual(Timestamp(0));
        let mailbox = Mailbox::new();
        let output = Gate::new(1, 1 << 20, Wakeup::new(|| {}));
        nodes.push(router(Partitioning::Forward, std::slice::from_ref(&output), 0, &mailbox.wakeup));
        let chain = Chain::new(nodes, vec![vec![0]]);
        let mut subtask = mailbox.subtask(&clock, |context| source_task(context, source, chain));
        subtask.task.open(restore).expect("the source opens");
        Self { output, subtask }
    }

    fn command(&mut self, command: TaskCommand) {
        self.subtask.task.command(command).expect("numbers can be read");
    }

    fn assign(&mut self, next: u64, end: u64) {
        self.command(TaskCommand::AssignSplit(encoded(next, end)));
    }

    fn step(&mut self) -> StepOutcome {
        self.subtask.wakeup.begin();
        self.subtask.task.step(&StepBudget::Turns(1)).expect("numbers can be read")
    }

    /// Steps until it parks without a notice.
    fn run(&mut self) -> Park {
        for _ in 0..10_000 {
            if let StepOutcome::Parked(park) = self.step()
                && self.subtask.notices.swap(0, Ordering::Relaxed) == 0
            {
                return park;
            }
        }
        panic!("it never parks");
    }

    /// What was sent before and after the first barrier.
    fn sent(&self) -> (Vec<u64>, Vec<u64>) {
        let (mut before, mut after, mut is_after) = (Vec::new(), Vec::new(), false);
        while let Some((_, element)) = self.output.take() {
            match element {
                Element::Batch(batch) => {
                    let records = batch.into_typed::<u64>().records;
                    if is_after { after.extend(records) } else { before.extend(records) }
                }
                Element::Barrier(_) => is_after = true,
                _ => {}
            }
        }
        (before, after)
    }

    fn snapshots(&self) -> Vec<SourceSnapshot> {
        let events = self.subtask.events.lock().expect("no panic while held");
        let sources = events.iter().filter_map(|event| match event {
            TaskEvent::Frozen { state, .. } => state.source.clone(),
            _ => None,
        });
        sources.collect()
    }
}

fn encoded(next: u64, end: u64) -> Vec<u8> {
    postcard::to_stdvec(&Numbers { next, end }).expect("numbers encode")
}

const WAITING: NumberSource = NumberSource { per_poll: 3, waits: true };

/// A trigger may come between any two turns, also while the stages are being flushed for a park: what a stage holds
/// back goes before the barrier all the same, else it would be in no checkpoint.
#[test]
fn a_barrier_after_any_turn_divides_the_input_where_the_snapshot_says() {
    for turns in 0..60 {
        let mut rig = Rig::new(WAITING, Stamp::active(), &Restore::default());
        rig.assign(0, 20);
        for _ in 0..turns {
            rig.step();
        }
        rig.command(TaskCommand::Trigger(CheckpointId(1)));
        rig.command(TaskCommand::NoMoreSplits(AfterLastRecord::End));
        assert_eq!(rig.run().reason, ParkReason::Finished);
        let snapshot = rig.snapshots().remove(0);
        let (before, after) = rig.sent();
        assert_eq!(before, (0..snapshot.records).collect::<Vec<_>>(), "trigger after {turns} turns");
        assert_eq!(after, (snapshot.records..20).collect::<Vec<_>>(), "trigger after {turns} turns");

        let restore = Restore { sources: vec![snapshot.clone()], ..Restore::default() };
        let mut resumed = Rig::new(WAITING, Stamp::active(), &restore);
        resumed.command(TaskCommand::NoMoreSplits(AfterLastRecord::End));
        resumed.run();
        assert_eq!(resumed.sent().0, after, "the snapshot resumes there");
    }
}

#[test]
fn an_aborted_trigger_is_forgotten_and_the_next_one_flushes_everything() {
    for turns in 0..8 {
        let mut rig = Rig::new(WAITING, Stamp::active(), &Restore::default());
        rig.assign(0, 5);
        rig.run();
        rig.command(TaskCommand::Trigger(CheckpointId(1)));
        for _ in 0..turns {
            rig.step();
        }
        let was_taken = rig.snapshots().len();
        rig.command(TaskCommand::Abort(CheckpointId(1)));
        rig.command(TaskCommand::Trigger(CheckpointId(2)));
        rig.run();
        let snapshots = rig.snapshots();
        assert_eq!(snapshots.len(), was_taken + 1);
        assert_eq!(rig.sent().0, [0, 1, 2, 3, 4]);
    }
}

#[test]
fn assigned_splits_that_were_not_begun_are_in_the_snapshot_case_30() {
    let mut rig = Rig::new(NumberSource { per_poll: 2, waits: false }, Stamp::active(), &Restore::default());
    rig.assign(0, 4);
    rig.assign(10, 12);
    rig.command(TaskCommand::Trigger(CheckpointId(1)));
    rig.step();
    let snapshot = rig.snapshots().remove(0);
    assert_eq!(snapshot.splits, [encoded(0, 4), encoded(10, 12)]);
    rig.command(TaskCommand::NoMoreSplits(AfterLastRecord::End));
    rig.run();
    rig.command(TaskCommand::Trigger(CheckpointId(2)));
    rig.run();
    let last = rig.snapshots().remove(1);
    let finished = vec!["to 4".to_owned(), "to 12".to_owned()];
    assert_eq!(last, SourceSnapshot { splits: Vec::new(), finished, records: 6 });
}

#[test]
fn a_split_is_asked_for_once() {
    let mut rig = Rig::new(WAITING, Stamp::active(), &Restore::default());
    let requests = |rig: &Rig| {
        let events = rig.subtask.events.lock().expect("no panic while held");
        events.iter().filter(|event| matches!(event, TaskEvent::RequestSplit)).count()
    };
    assert_eq!(rig.run().reason, ParkReason::Waiting);
    rig.run();
    assert_eq!(requests(&rig), 1);
    rig.assign(0, 3);
    rig.run();
    assert_eq!(requests(&rig), 2);
}

#[test]
fn a_paused_source_reads_no_further_but_takes_checkpoints() {
    let mut rig = Rig::new(NumberSource { per_poll: 2, waits: false }, Stamp::active(), &Restore::default());
    rig.assign(0, 1_000);
    for _ in 0..20 {
        rig.step();
    }
    rig.command(TaskCommand::Pause);
    rig.command(TaskCommand::Trigger(CheckpointId(1)));
    assert_eq!(rig.run().reason, ParkReason::Waiting);
    let snapshot = rig.snapshots().remove(0);
    assert!(snapshot.records > 0 && snapshot.records < 1_000);
    assert_eq!(rig.sent(), ((0..snapshot.records).collect(), vec![]));
}

#[test]
fn a_drained_source_ends_its_input() {
    let mut rig = Rig::new(NumberSource { per_poll: 2, waits: false }, Stamp::active(), &Restore::default());
    rig.assign(0, 1_000);
    for _ in 0..20 {
        rig.step();
    }
    rig.command(TaskCommand::Drain);
    assert_eq!(rig.run().reason, ParkReason::Finished);
    let mut elements: Vec<Element> = std::iter::from_fn(|| rig.output.take()).map(|taken| taken.1).collect();
    assert!(matches!(elements.pop(), Some(Element::End)));
    let Some(Element::Batch(last)) = elements.pop() else { panic!("records come before the end") };
    let last: Batch<u64> = last.into_typed();
    assert_eq!(last.watermarks.last().map(|at| at.watermark), Some(Timestamp::MAX));
}

#[test]
fn idleness_follows_what_was_emitted_and_activity_goes_before_it() {
    let is_idle = Arc::new(AtomicBool::new(false));
    let stamp = Box::new(Stamp::new(Arc::clone(&is_idle)));
    let mut rig = Rig::new(NumberSource { per_poll: 20, waits: false }, stamp, &Restore::default());
    rig.assign(0, 20);
    is_idle.store(true, Ordering::Relaxed);
    rig.run();
    assert_eq!(names(&rig), ["10 records", "Idle", "0 records"]);
    is_idle.store(false, Ordering::Relaxed);
    rig.assign(20, 40);
    rig.run();
    assert_eq!(names(&rig), ["Active", "20 records"]);
}

fn names(rig: &Rig) -> Vec<String> {
    let elements = std::iter::from_fn(|| rig.output.take()).map(|(_, element)| match element {
        Element::Batch(batch) => format!("{} records", batch.len()),
        other => format!("{other:?}"),
    });
    elements.collect()
}

/// Else another lane of who takes it goes on in time, and what a stage has held back comes late there.
#[test]
fn what_a_stage_below_holds_back_goes_before_idleness() {
    let stamp = Box::new(Stamp::new(Arc::new(AtomicBool::new(true))));
    let nodes = vec![ChainNode::Stage { stage: stamp, next: vec![1] }, Hold::until_a_park(2)];
    let mut rig = Rig::behind(nodes, NumberSource { per_poll: 5, waits: false }, &Restore::default());
    rig.assign(0, 5);
    rig.run();
    assert_eq!(names(&rig)[..2], ["5 records", "Idle"]);
}

/// Else a held source with fewer splits than subtasks would stop event time downstream.
#[test]
fn a_held_source_is_idle_after_its_last_record_and_ends_when_it_is_drained() {
    let mut rig = Rig::new(WAITING, Stamp::active(), &Restore::default());
    rig.assign(0, 3);
    rig.command(TaskCommand::NoMoreSplits(AfterLastRecord::Hold));
    assert_eq!(rig.run().reason, ParkReason::Waiting);
    let controls = |rig: &Rig| {
        let taken = std::iter::from_fn(|| rig.output.take()).map(|(_, element)| element);
        taken.filter(|element| !matches!(element, Element::Batch(_))).map(|e| format!("{e:?}")).collect()
    };
    let sent: Vec<String> = controls(&rig);
    assert_eq!(sent, ["Idle"]);
    rig.command(TaskCommand::Trigger(CheckpointId(1)));
    assert_eq!(rig.run().reason, ParkReason::Waiting);
    assert_eq!(rig.snapshots().len(), 1, "it still takes part in checkpoints");
    rig.command(TaskCommand::Drain);
    assert_eq!(rig.run().reason, ParkReason::Finished);
    let sent: Vec<String> = controls(&rig);
    assert_eq!(sent.last().map(String::as_str), Some("End"));
}

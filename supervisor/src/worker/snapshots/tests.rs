//! The account of an attempt by example, and of what is committed by random events against a naive one.

use super::*;
use proptest::prelude::{Strategy, prop, prop_oneof};
use proptest::{prop_assert, prop_assert_eq, proptest};
use tidegate_runtime::id::OperatorId;

const SINK: SubtaskId = SubtaskId { operator: OperatorId(3), index: 1 };

fn output(name: u8) -> Vec<sink::Committable> {
    vec![sink::Committable(vec![name])]
}

fn open(checkpoint: u64, name: u8) -> Committable {
    Committable { checkpoint: CheckpointId(checkpoint), bytes: vec![name] }
}

fn freeze(
    snapshots: &mut Snapshots,
    checkpoint: u64,
    prepare: Prepare,
    tables: HasTables,
) -> Vec<Acknowledged> {
    let state = FrozenTask { tables, ..FrozenTask::default() };
    snapshots.on_frozen(SINK, CheckpointId(checkpoint), state, prepare)
}

fn committables(acknowledged: &[Acknowledged]) -> Vec<Vec<Committable>> {
    acknowledged.iter().map(|each| each.part.committables.clone()).collect()
}

#[test]
fn a_part_is_acknowledged_once_its_output_and_its_rows_are_durable() {
    let mut snapshots = Snapshots::default();
    assert_eq!(freeze(&mut snapshots, 1, Prepare::UnderWay, HasTables::Yes), []);
    assert_eq!(snapshots.on_rows(CheckpointId(1), &[(SINK, Vec::new())]), []);
    let acknowledged = snapshots.on_prepared(SINK, CheckpointId(1), output(7));
    assert_eq!(committables(&acknowledged), [[open(1, 7)]]);
    assert_eq!(snapshots.on_rows(CheckpointId(1), &[(SINK, Vec::new())]), [], "only once");
}

/// Case 16: what an aborted checkpoint prepared goes with the next one, even if it was prepared after the abort.
#[test]
fn the_output_of_an_aborted_checkpoint_is_committed_with_the_next() {
    let mut snapshots = Snapshots::default();
    freeze(&mut snapshots, 1, Prepare::UnderWay, HasTables::No);
    snapshots.on_abort(CheckpointId(1));
    assert_eq!(snapshots.on_prepared(SINK, CheckpointId(1), output(7)), []);
    freeze(&mut snapshots, 2, Prepare::UnderWay, HasTables::No);
    let acknowledged = snapshots.on_prepared(SINK, CheckpointId(2), output(8));
    assert_eq!(committables(&acknowledged), [[open(1, 7), open(2, 8)]]);
    let jobs = snapshots.on_completed(CheckpointId(2));
    assert_eq!(jobs.len(), 1);
    assert_eq!(jobs[0].committables, [output(7), output(8)].concat());
}

/// A slow disk: the checkpoint times out, and the next one has nothing to prepare.
#[test]
fn a_checkpoint_without_output_waits_for_the_output_of_an_aborted_one_before_it() {
    let mut snapshots = Snapshots::default();
    freeze(&mut snapshots, 1, Prepare::UnderWay, HasTables::No);
    snapshots.on_abort(CheckpointId(1));
    assert_eq!(freeze(&mut snapshots, 2, Prepare::None, HasTables::No), [], "its output is not all there");
    let acknowledged = snapshots.on_prepared(SINK, CheckpointId(1), output(7));
    assert_eq!(committables(&acknowledged), [[open(1, 7)]]);
    assert_eq!(acknowledged[0].checkpoint, CheckpointId(2));
    assert_eq!(snapshots.on_completed(CheckpointId(2))[0].committables, output(7));
}

/// Case 17: a commit that is still under way when the next checkpoint completes is not repeated, and the rest follows.
#[test]
fn commits_of_one_sink_come_one_after_the_other_and_each_output_once() {
    let mut snapshots = Snapshots::default();
    for (checkpoint, name) in [(1, 7), (2, 8)] {
        freeze(&mut snapshots, checkpoint, Prepare::UnderWay, HasTables::No);
        snapshots.on_prepared(SINK, CheckpointId(checkpoint), output(name));
    }
    assert_eq!(snapshots.on_completed(CheckpointId(1))[0].committables, output(7));
    assert_eq!(snapshots.on_completed(CheckpointId(2)), []);
    assert_eq!(snapshots.take_committed(), None);
    assert_eq!(snapshots.on_committed(SINK, CheckpointId(1))[0].committables, output(8));
    assert_eq!(snapshots.on_committed(SINK, CheckpointId(2)), []);
    assert_eq!(snapshots.take_committed(), Some(CheckpointId(2)));
    assert_eq!(snapshots.take_committed(), None);
}

#[test]
fn what_the_restored_checkpoint_prepared_is_committed_first() {
    let mut snapshots = Snapshots::default();
    snapshots.restore(SINK, vec![open(1, 7)]);
    assert_eq!(snapshots.on_completed(CheckpointId(1))[0].committables, output(7));
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Freeze,
    Prepare,
    Abort,
    Complete,
    Commit,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    use proptest::prelude::Just;
    let step = prop_oneof![
        3 => Just(Step::Freeze),
        4 => Just(Step::Prepare),
        1 => Just(Step::Abort),
        3 => Just(Step::Complete),
        3 => Just(Step::Commit),
    ];
    prop::collection::vec(step, 1..100)
}

proptest! {
    /// Whatever is delayed or aborted: outputs are committed in order, once each, and never before their checkpoint or
    /// one after it completed.
    #[test]
    fn every_output_is_committed_once_and_in_order(steps in steps()) {
        let mut snapshots = Snapshots::default();
        let (mut last, mut preparing, mut acknowledged, mut completed) = (0_u8, Vec::new(), Vec::new(), 0);
        let (mut committed, mut under_way): (Vec<u8>, Option<CommitJob>) = (Vec::new(), None);
        for step in steps {
            let mut jobs = Vec::new();
            match step {
                Step::Freeze if preparing.is_empty() => {
                    last += 1;
                    preparing.push(last);
                    freeze(&mut snapshots, last.into(), Prepare::UnderWay, HasTables::No);
                }
                Step::Prepare => if let Some(id) = preparing.pop() {
                    let acks = snapshots.on_prepared(SINK, CheckpointId(id.into()), output(id));
                    acknowledged.extend(acks.iter().map(|ack| ack.checkpoint.0));
                },
                Step::Abort => {
                    snapshots.on_abort(CheckpointId(last.into()));
                    acknowledged.retain(|id| *id != u64::from(last));
                }
                Step::Complete => if let Some(id) = acknowledged.pop() {
                    acknowledged.clear();
                    completed = id;
                    jobs = snapshots.on_completed(CheckpointId(id));
                },
                Step::Commit => if let Some(job) = under_way.take() {
                    committed.extend(job.committables.iter().map(|each| each.0[0]));
                    jobs = snapshots.on_committed(SINK, job.checkpoint);
                },
                Step::Freeze => {}
            }
            for job in jobs {
                prop_assert!(under_way.is_none(), "one commit at a time");
                prop_assert!(job.committables.iter().all(|each| u64::from(each.0[0]) <= completed));
                under_way = Some(job);
            }
            if let Some(all) = snapshots.take_committed() {
                let expected: Vec<u8> = (1..=all.0 as u8).collect();
                prop_assert_eq!(&committed, &expected);
            }
        }
    }
}

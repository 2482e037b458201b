//! Timers against a set, with snapshots and restores between.

use std::collections::BTreeSet;
use std::sync::Arc;

use proptest::prelude::{Just, Strategy, any, prop_oneof};
use proptest::test_runner::TestCaseError;
use proptest::{collection, prop_assert_eq, proptest};

use super::Timers;
use crate::error::Result;
use crate::id::CheckpointId;
use crate::key::{KeyHash, hash_key};
use crate::state::testing::FakeLease;
use crate::state::{SlicePace, SnapshotMode, StateLease, StateRegistry, StateTable};
use crate::time::Timestamp;

fn open(lease: &Arc<FakeLease>, mode: SnapshotMode) -> Result<Timers<u32>> {
    let lease = Arc::clone(lease);
    StateRegistry::new(lease, (KeyHash(0), KeyHash(u64::MAX))).with_mode(mode).timers("timers")
}

fn finish(timers: &mut Timers<u32>, lease: &FakeLease) -> Result<()> {
    let pace = SlicePace { entries: 3 };
    for _ in 0..100_000 {
        if timers.encode(lease, pace)? {
            return Ok(());
        }
    }
    panic!("a snapshot never ends");
}

#[derive(Clone, Debug)]
enum Op {
    Register(i64, u32),
    Delete(i64, u32),
    Pop(i64),
    Slice,
    Freeze,
    Restore,
}

fn times() -> impl Strategy<Value = i64> {
    prop_oneof![8 => -5..20i64, 1 => Just(i64::MAX), 1 => Just(i64::MIN), 1 => Just(i64::MAX - 1)]
}

fn ops() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => (times(), 0..12u32).prop_map(|(time, key)| Op::Register(time, key)),
        2 => (times(), 0..12u32).prop_map(|(time, key)| Op::Delete(time, key)),
        3 => times().prop_map(Op::Pop),
        2 => Just(Op::Slice),
        1 => Just(Op::Freeze),
        1 => Just(Op::Restore),
    ]
}

type Model = BTreeSet<(i64, KeyHash, u32)>;

fn run(ops: Vec<Op>, mode: SnapshotMode) -> Result<(), TestCaseError> {
    let fail = |error: crate::Error| TestCaseError::fail(error.to_string());
    let mut lease = Arc::new(FakeLease::default());
    let mut timers = open(&lease, mode).map_err(fail)?;
    let (mut model, mut completed, mut frozen) = (Model::new(), Model::new(), None::<Model>);
    let mut checkpoint = 0;
    for op in ops {
        match op {
            Op::Register(time, key) => {
                let new = timers.register(Timestamp(time), hash_key(&key), &key).map_err(fail)?;
                prop_assert_eq!(new, model.insert((time, hash_key(&key), key)));
            }
            Op::Delete(time, key) => {
                let was = timers.delete(Timestamp(time), hash_key(&key), &key).map_err(fail)?;
                prop_assert_eq!(was, model.remove(&(time, hash_key(&key), key)));
            }
            Op::Pop(now) => {
                let popped = timers.pop_due(Timestamp(now)).map_err(fail)?;
                let due = model.first().copied().filter(|(time, ..)| *time <= now);
                if let Some(due) = &due {
                    model.remove(due);
                }
                prop_assert_eq!(popped, due.map(|(time, hash, key)| (Timestamp(time), hash, key)));
            }
            Op::Slice => {
                let pace = SlicePace { entries: 2 };
                if timers.encode(lease.as_ref(), pace).map_err(fail)? {
                    completed = frozen.take().unwrap_or(completed);
                }
            }
            Op::Freeze => {
                finish(&mut timers, &lease).map_err(fail)?;
                if let Some(frozen) = frozen.replace(model.clone()) {
                    completed = frozen;
                }
                checkpoint += 1;
                timers.freeze(CheckpointId(checkpoint));
            }
            Op::Restore => {
                finish(&mut timers, &lease).map_err(fail)?;
                completed = frozen.take().unwrap_or(completed);
                lease.seal(CheckpointId(checkpoint), timers.handed_over()).map_err(fail)?;
                lease = Arc::new(FakeLease::restored(lease.rows()));
                timers = open(&lease, mode).map_err(fail)?;
                model.clone_from(&completed);
                checkpoint = 0;
                if mode == SnapshotMode::Full {
                    // The restored rows are the next lease's only full snapshot.
                    checkpoint += 1;
                    timers.freeze(CheckpointId(checkpoint));
                    finish(&mut timers, &lease).map_err(fail)?;
                }
            }
        }
        prop_assert_eq!(timers.next(), model.first().map(|(time, ..)| Timestamp(*time)));
        prop_assert_eq!(timers.len(), model.len());
    }
    Ok(())
}

proptest! {
    #[test]
    fn timers_fire_once_in_order_across_any_restore_cases_48_50_54(ops in collection::vec(ops(), 0..200)) {
        run(ops, SnapshotMode::Delta)?;
    }

    #[test]
    fn full_snapshots_of_timers_restore_them_all(ops in collection::vec(ops(), 0..200)) {
        run(ops, SnapshotMode::Full)?;
    }

    #[test]
    fn rows_of_times_sort_as_the_times(a in any::<i64>(), b in any::<i64>()) {
        let (left, right) = (super::log::encode_time(Timestamp(a)), super::log::encode_time(Timestamp(b)));
        prop_assert_eq!(left.cmp(&right), a.cmp(&b));
        prop_assert_eq!(super::log::decode_time(&left), Some(Timestamp(a)));
    }
}

#[test]
fn a_timer_registered_and_fired_between_two_freezes_leaves_no_row() -> Result<()> {
    let lease = Arc::new(FakeLease::default());
    let mut timers = open(&lease, SnapshotMode::Delta)?;
    timers.register(Timestamp(5), hash_key(&1u32), &1)?;
    assert_eq!(timers.pop_due(Timestamp(5))?.map(|(time, _, key)| (time, key)), Some((Timestamp(5), 1)));
    timers.freeze(CheckpointId(1));
    finish(&mut timers, &lease)?;
    assert!(lease.delta(CheckpointId(1)).is_empty());
    Ok(())
}

#[test]
fn a_timer_for_a_time_that_is_firing_takes_its_place() -> Result<()> {
    let lease = Arc::new(FakeLease::default());
    let mut timers = open(&lease, SnapshotMode::Delta)?;
    for key in [1u32, 2, 3] {
        timers.register(Timestamp(5), hash_key(&key), &key)?;
    }
    let mut fired = Vec::new();
    while let Some((time, _, key)) = timers.pop_due(Timestamp(9))? {
        fired.push((time.0, key));
        if fired.len() == 1 {
            timers.register(Timestamp(4), hash_key(&7u32), &7)?;
        }
    }
    assert_eq!(fired[1], (4, 7));
    assert_eq!(fired.len(), 4);
    Ok(())
}

//! The store against a naive model: maps of rows, copied at every checkpoint.

mod crash;
mod faults;
mod flips;
mod folding;
mod model;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use super::*;
use crate::error::Result;
use crate::files::{FaultyFiles, FileLayer, create_dirs};
use crate::id::{AttemptId, CheckpointId, OperatorId, StateId, SubtaskId};
use crate::key::KeyHash;
use crate::state::lease::{StateLease, SubmitError};
use crate::state::registry::SnapshotMode;
use crate::state::row::{RowKey, RowRef};
use crate::state::run::RunBuilder;

/// (state, hash, key, element) -> value.
type Place4 = (u16, u64, Vec<u8>, Vec<u8>);
type Rows = BTreeMap<Place4, Vec<u8>>;
/// A `None` deletes.
type Delta = BTreeMap<Place4, Option<Vec<u8>>>;

#[derive(Default)]
struct Recorder {
    outcomes: Mutex<BTreeMap<CheckpointId, Result<Vec<(SubtaskId, RunRefs)>>>>,
    space: Mutex<Vec<SubtaskId>>,
}

impl StoreEvents for Recorder {
    fn on_durable(&self, checkpoint: CheckpointId, outcome: Result<Vec<(SubtaskId, RunRefs)>>) {
        self.outcomes.lock().expect("no panic").insert(checkpoint, outcome);
    }

    fn on_space(&self, subtask: SubtaskId) {
        self.space.lock().expect("no panic").push(subtask);
    }
}

impl Recorder {
    fn take(&self, checkpoint: u64) -> Option<Result<Vec<(SubtaskId, RunRefs)>>> {
        self.outcomes.lock().expect("no panic").remove(&CheckpointId(checkpoint))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Redb,
    Memory,
}

fn options(files: Arc<dyn FileLayer>, kind: Kind) -> StoreOptions {
    match kind {
        Kind::Redb => StoreOptions::redb(files, "/state/store.redb"),
        Kind::Memory => StoreOptions::memory(files, "/state/store"),
    }
}

struct Opened {
    store: Store,
    events: Arc<Recorder>,
}

fn open(files: &FaultyFiles, kind: Kind, retained: &[(CheckpointId, RestorePoint)]) -> Result<Opened> {
    create_dirs(files, Path::new("/state"))?;
    open_with(options(Arc::new(files.clone()), kind), retained)
}

fn open_with(options: StoreOptions, retained: &[(CheckpointId, RestorePoint)]) -> Result<Opened> {
    let events = Arc::new(Recorder::default());
    let store = Store::open(options, Arc::clone(&events) as Arc<dyn StoreEvents>, retained)?;
    Ok(Opened { store, events })
}

fn subtask(index: u32) -> SubtaskId {
    SubtaskId { operator: OperatorId(1), index }
}

fn request(attempt: u64, index: u32) -> LeaseRequest {
    LeaseRequest::new(AttemptId(attempt), subtask(index))
}

fn place(state: u16, hash: u64) -> Place4 {
    (state, hash, hash.to_le_bytes().to_vec(), vec![])
}

fn delta(rows: &[(u64, Option<u8>)]) -> Delta {
    rows.iter().map(|(hash, value)| (place(0, *hash), value.map(|value| vec![value; 8]))).collect()
}

fn apply(rows: &mut Rows, delta: &Delta) {
    for (place, value) in delta {
        match value {
            Some(value) => rows.insert(place.clone(), value.clone()),
            None => rows.remove(place),
        };
    }
}

fn chunks(delta: &Delta) -> Vec<Vec<u8>> {
    let mut builder = RunBuilder::new();
    let mut chunks = Vec::new();
    for ((state, hash, key, element), value) in delta {
        let key = RowKey { state: StateId(*state), hash: KeyHash(*hash), key, element };
        chunks.extend(builder.push(RowRef { key, value: value.as_deref() }));
    }
    chunks.extend(builder.finish());
    chunks
}

fn submit(lease: &dyn StateLease, checkpoint: u64, delta: &Delta) -> Result<(), SubmitError> {
    for chunk in chunks(delta) {
        lease.submit(CheckpointId(checkpoint), chunk)?;
    }
    Ok(())
}

/// Submits and seals; the queue is large enough.
fn write(lease: &dyn StateLease, checkpoint: u64, delta: &Delta) -> Result<()> {
    write_as(SnapshotMode::Delta, lease, checkpoint, delta)
}

fn write_as(rows: SnapshotMode, lease: &dyn StateLease, checkpoint: u64, delta: &Delta) -> Result<()> {
    match submit(lease, checkpoint, delta) {
        Ok(()) => lease.seal(CheckpointId(checkpoint), rows),
        Err(SubmitError::Failed(error)) => Err(error),
        Err(full @ SubmitError::Full(_)) => panic!("{full}"),
    }
}

/// All live rows of the states 0 to 3.
fn scan(lease: &dyn StateLease) -> Result<Rows> {
    let mut rows = Rows::new();
    for state in 0..4 {
        lease.scan(StateId(state), (KeyHash(0), KeyHash(u64::MAX)), &mut |row| {
            let key = row.key;
            let place = (key.state.0, key.hash.0, key.key.to_vec(), key.element.to_vec());
            assert!(rows.last_key_value().is_none_or(|(last, _)| *last < place), "rows rise");
            rows.insert(place, row.value.expect("no tombstones").to_vec());
            Ok(())
        })?;
    }
    Ok(rows)
}

fn get(lease: &dyn StateLease, (state, hash, key, _): &Place4) -> Result<Rows> {
    let mut rows = Rows::new();
    lease.get(StateId(*state), KeyHash(*hash), key, &mut |row| {
        let key = row.key;
        let place = (key.state.0, key.hash.0, key.key.to_vec(), key.element.to_vec());
        rows.insert(place, row.value.expect("no tombstones").to_vec());
        Ok(())
    })?;
    Ok(rows)
}

/// A whole checkpoint of one subtask; returns what its manifest lists.
fn checkpoint(opened: &Opened, lease: &dyn StateLease, id: u64, delta: &Delta) -> Result<RunRefs> {
    opened.store.begin(CheckpointId(id), vec![subtask(0)]);
    write(lease, id, delta)?;
    opened.store.wait_idle();
    let mut report = opened.events.take(id).expect("reported")?;
    assert_eq!(report.len(), 1);
    Ok(report.remove(0).1)
}

fn point(runs: &RunRefs) -> RestorePoint {
    RestorePoint { runs: runs.clone() }
}

const KINDS: [Kind; 2] = [Kind::Redb, Kind::Memory];

#[test]
fn rows_are_there_after_a_restart() -> Result<()> {
    for kind in KINDS {
        let files = FaultyFiles::new();
        let opened = open(&files, kind, &[])?;
        let lease = opened.store.lease(request(1, 0))?;
        assert!(lease.is_empty(StateId(0)));
        let mut model = Rows::new();
        let first = delta(&[(1, Some(1)), (2, Some(2)), (u64::MAX, Some(3))]);
        apply(&mut model, &first);
        checkpoint(&opened, &*lease, 1, &first)?;
        let second = delta(&[(2, None), (7, Some(9))]);
        apply(&mut model, &second);
        let runs = checkpoint(&opened, &*lease, 2, &second)?;
        assert_eq!(scan(&*lease)?, model);
        assert_eq!(lease.durable(), Some(CheckpointId(2)));
        drop((lease, opened));
        files.crash(1);
        let opened = open(&files, kind, &[(CheckpointId(2), point(&runs))])?;
        let lease = opened.store.lease(request(2, 0).with_restore(runs))?;
        assert_eq!(scan(&*lease)?, model);
        assert_eq!(get(&*lease, &place(0, 2))?, Rows::new());
        assert_eq!(get(&*lease, &place(0, 7))?.len(), 1);
        assert!(!lease.is_empty(StateId(0)) && lease.is_empty(StateId(1)));
        assert_eq!(lease.durable(), None, "nothing of this attempt is durable yet");
    }
    Ok(())
}

#[test]
fn an_aborted_checkpoint_s_delta_comes_with_the_next_manifest() -> Result<()> {
    for kind in KINDS {
        let files = FaultyFiles::new();
        let opened = open(&files, kind, &[])?;
        let lease = opened.store.lease(request(1, 0))?;
        // Aborted before, while and after it is written.
        opened.store.begin(CheckpointId(1), vec![subtask(0), subtask(1)]);
        write(&*lease, 1, &delta(&[(1, Some(1))]))?;
        opened.store.abort(CheckpointId(1));
        opened.store.begin(CheckpointId(2), vec![subtask(0)]);
        opened.store.abort(CheckpointId(2));
        write(&*lease, 2, &delta(&[(2, Some(2))]))?;
        checkpoint(&opened, &*lease, 3, &delta(&[(3, Some(3))]))?;
        opened.store.abort(CheckpointId(3));
        let runs = checkpoint(&opened, &*lease, 4, &delta(&[(4, Some(4))]))?;
        assert!(opened.events.take(1).is_none() && opened.events.take(2).is_none());
        let point = point(&runs);
        drop((lease, opened));
        let opened = open(&files, kind, &[(CheckpointId(4), point)])?;
        let lease = opened.store.lease(request(2, 0).with_restore(runs))?;
        let mut model = Rows::new();
        apply(&mut model, &delta(&[(1, Some(1)), (2, Some(2)), (3, Some(3)), (4, Some(4))]));
        assert_eq!(scan(&*lease)?, model, "{kind:?}");
    }
    Ok(())
}

#[test]
fn an_older_attempt_s_lease_can_write_nothing_case_6() -> Result<()> {
    let files = FaultyFiles::new();
    let opened = open(&files, Kind::Redb, &[])?;
    let old = opened.store.lease(request(3, 0))?;
    opened.store.begin(CheckpointId(1), vec![subtask(0)]);
    submit(&*old, 1, &delta(&[(1, Some(1))])).expect("it is current");
    let new = opened.store.lease(request(4, 0))?;
    let lost = opened.events.take(1).expect("reported").expect_err("its attempt is gone");
    assert_eq!(lost.to_string(), "checkpoint-1 failed: operator-1/0 was started again as attempt-4");
    let error = old.seal(CheckpointId(1), SnapshotMode::Delta).expect_err("superseded");
    assert_eq!(error.to_string(), "state store: the lease of operator-1/0 was superseded by a newer attempt");
    assert!(submit(&*old, 1, &delta(&[(1, Some(1))])).is_err());
    let late = opened.store.lease(request(3, 0)).map(|_| ()).expect_err("an older attempt");
    assert!(late.to_string().contains("attempt-3 asks for the state of operator-1/0, which attempt-4 holds"));
    assert_eq!(scan(&*new)?, Rows::new());
    let runs = checkpoint(&opened, &*new, 2, &delta(&[(2, Some(2))]))?;
    assert_eq!(runs.len(), 1, "nothing of the old attempt");
    Ok(())
}

#[test]
fn going_back_to_a_checkpoint_drops_what_came_after_and_frees_it() -> Result<()> {
    for kind in KINDS {
        let files = FaultyFiles::new();
        let opened = open(&files, kind, &[])?;
        let lease = opened.store.lease(request(1, 0))?;
        let runs = checkpoint(&opened, &*lease, 1, &delta(&[(1, Some(1))]))?;
        opened.store.completed(CheckpointId(1));
        checkpoint(&opened, &*lease, 2, &delta(&[(1, Some(2)), (2, Some(2))]))?;
        opened.store.abort(CheckpointId(2));
        submit(&*lease, 3, &delta(&[(3, Some(3))])).expect("room");
        drop(lease);
        let lease = opened.store.lease(request(2, 0).with_restore(runs))?;
        let mut model = Rows::new();
        apply(&mut model, &delta(&[(1, Some(1))]));
        assert_eq!(scan(&*lease)?, model);
        opened.store.wait_idle();
        let status = opened.store.status();
        assert_eq!((status.runs, status.removed_runs, status.pending_bytes), (1, 1, 0), "{kind:?}");
    }
    Ok(())
}

#[test]
fn run_ids_are_never_used_again_across_restarts() -> Result<()> {
    for kind in KINDS {
        let files = FaultyFiles::new();
        let mut seen = std::collections::BTreeSet::new();
        for start in 1..=3 {
            let opened = open(&files, kind, &[])?;
            let lease = opened.store.lease(request(start, 0))?;
            for run in checkpoint(&opened, &*lease, start, &delta(&[(1, Some(1))]))? {
                assert!(seen.insert(run.id), "{} again", run.id);
            }
        }
    }
    Ok(())
}

#[test]
fn a_store_that_is_behind_its_manifest_is_refused_by_what_is_missing_case_65() -> Result<()> {
    for kind in KINDS {
        let files = FaultyFiles::new();
        let opened = open(&files, kind, &[])?;
        let lease = opened.store.lease(request(1, 0))?;
        let runs = checkpoint(&opened, &*lease, 7, &delta(&[(1, Some(1))]))?;
        drop((lease, opened));
        let other = FaultyFiles::new();
        let error = open(&other, kind, &[(CheckpointId(7), point(&runs))]).map(|_| ()).expect_err("behind");
        let text = error.to_string();
        assert!(
            text.contains("it lacks 1 of 1 runs that checkpoint-7 lists (run-1-")
                && text.contains("no checkpoint"),
            "{text}"
        );
        let opened = open(&other, kind, &[])?;
        let error = opened.store.lease(request(1, 0).with_restore(runs)).map(|_| ()).expect_err("missing");
        assert!(
            error.to_string().contains("of operator-1/0, which the manifest lists, is missing"),
            "{error}"
        );
    }
    Ok(())
}

#[test]
fn all_subtasks_of_a_checkpoint_are_committed_at_once() -> Result<()> {
    let files = FaultyFiles::new();
    let opened = open(&files, Kind::Redb, &[])?;
    let leases: Vec<_> = (0..3).map(|index| opened.store.lease(request(1, index))).collect::<Result<_>>()?;
    opened.store.begin(CheckpointId(1), (0..3).map(subtask).collect());
    let before = opened.store.status().commits;
    for (lease, value) in leases.iter().zip(0..) {
        opened.store.wait_idle();
        assert!(opened.events.take(1).is_none(), "not before all have sealed");
        write(&**lease, 1, &delta(&[(5, Some(value))]))?;
    }
    opened.store.wait_idle();
    let report = opened.events.take(1).expect("reported")?;
    assert_eq!(report.iter().map(|(subtask, _)| subtask.index).collect::<Vec<_>>(), vec![0, 1, 2]);
    assert_eq!(opened.store.status().commits, before + 1);
    Ok(())
}

#[test]
fn chunks_of_tables_that_are_encoded_by_turns_are_all_kept() -> Result<()> {
    let files = FaultyFiles::new();
    let opened = open(&files, Kind::Redb, &[])?;
    let lease = opened.store.lease(request(1, 0))?;
    opened.store.begin(CheckpointId(1), vec![subtask(0)]);
    let mut model = Rows::new();
    for (state, hash) in [(0, 1), (1, 1), (0, 2), (1, 2)] {
        let delta = Delta::from([(place(state, hash), Some(vec![state as u8]))]);
        apply(&mut model, &delta);
        submit(&*lease, 1, &delta).expect("room");
    }
    lease.seal(CheckpointId(1), SnapshotMode::Delta)?;
    opened.store.wait_idle();
    assert_eq!(scan(&*lease)?, model);
    Ok(())
}

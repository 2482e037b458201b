//! Power is lost at every operation, and again while recovering: a checkpoint is whole or not there.

use super::*;
use crate::checkpoint::manifest::{
    CheckpointKind, Manifest, OperatorSnapshot, PlanFingerprint, SubtaskSnapshot,
};
use crate::checkpoint::storage::CheckpointStorage;
use crate::error::Error;
use crate::id::Lineage;
use crate::time::Timestamp;

const LAST: u64 = 4;

fn deltas(id: u64) -> [Delta; 2] {
    [
        delta(&[(id, Some(id as u8)), (1, Some(id as u8)), (id - 1, None)]),
        delta(&[(100 + id, Some(1)), (100, Some(id as u8))]),
    ]
}

fn models(upto: u64) -> [Rows; 2] {
    let mut models = [Rows::new(), Rows::new()];
    for id in 1..=upto {
        let deltas = deltas(id);
        models.iter_mut().zip(&deltas).for_each(|(rows, delta)| apply(rows, delta));
    }
    models
}

fn manifest(id: u64, report: Vec<(SubtaskId, RunRefs)>) -> Manifest {
    let subtasks = report.into_iter().map(|(_, runs)| SubtaskSnapshot { runs, ..SubtaskSnapshot::default() });
    Manifest {
        checkpoint: CheckpointId(id),
        lineage: Lineage(1),
        kind: CheckpointKind::Periodic,
        plan: PlanFingerprint::default(),
        attempt: AttemptId(id),
        next_checkpoint: CheckpointId(id + 1),
        triggered: Timestamp(0),
        completed: Timestamp(0),
        written_bytes: 0,
        state_bytes: 0,
        operators: BTreeMap::from([("o".to_owned(), OperatorSnapshot { subtasks: subtasks.collect() })]),
        enumerators: BTreeMap::new(),
    }
}

/// Starts or goes on, and takes checkpoints up to `LAST`. Returns the newest that was published.
fn go_on(files: &FaultyFiles, kind: Kind, published: &mut u64) -> Result<()> {
    let storage =
        CheckpointStorage::open(Arc::new(files.clone()), Path::new("/state/checkpoints"), Lineage(1))?;
    let manifests = storage.all()?;
    let retained: Vec<_> =
        manifests.iter().map(|manifest| (manifest.checkpoint, manifest.restore_point())).collect();
    let opened = open(files, kind, &retained)?;
    let latest = manifests.last();
    let from = latest.map_or(0, |manifest| manifest.checkpoint.0);
    assert!(from >= *published, "checkpoint {published} was published, {from} is found");
    *published = from;
    let models = models(from);
    let mut leases = Vec::new();
    for index in 0..2_u32 {
        let runs = latest.map(|manifest| manifest.operators["o"].subtasks[index as usize].runs.clone());
        let request = request(from + 1, index).with_restore(runs.unwrap_or_default());
        let lease = opened.store.lease(request)?;
        assert_eq!(scan(&*lease)?, models[index as usize], "{kind:?}: rows of {from}");
        leases.push(lease);
    }
    for id in from + 1..=LAST {
        opened.store.begin(CheckpointId(id), vec![subtask(0), subtask(1)]);
        for (lease, delta) in leases.iter().zip(&deltas(id)) {
            write(&**lease, id, delta)?;
        }
        opened.store.wait_idle();
        let gone = || Error::Store { problem: "not reported".to_owned() };
        let report = opened.events.take(id).ok_or_else(gone)??;
        storage.publish(&manifest(id, report))?;
        *published = id;
        opened.store.completed(CheckpointId(id));
        opened.store.retain(&storage.retain(1)?);
        opened.store.wait_idle();
    }
    Ok(())
}

fn sweep(kind: Kind, seeds: u64, stride: usize) -> Result<()> {
    let whole = FaultyFiles::new();
    go_on(&whole, kind, &mut 0)?;
    for at in (0..whole.operations()).step_by(stride) {
        for seed in 0..seeds {
            let files = FaultyFiles::new();
            files.crash_at(at);
            let mut published = 0;
            let _ = go_on(&files, kind, &mut published);
            files.crash(seed * 7_919 + at);
            // The second crash hits the recovery from the first.
            files.crash_at(files.operations() + seed * 5 % 23);
            let _ = go_on(&files, kind, &mut published);
            files.crash(seed * 104_729 + at);
            let before = published;
            go_on(&files, kind, &mut published)
                .map_err(|error| panic!("{kind:?}: crash at {at}, seed {seed}, {before} published: {error}"))
                .expect("recovered");
            assert_eq!(published, LAST);
        }
    }
    Ok(())
}

#[test]
fn a_redb_store_survives_power_loss_anywhere_twice_cases_58_65_66() -> Result<()> {
    sweep(Kind::Redb, 4, 1)
}

#[test]
fn a_memory_store_survives_power_loss_anywhere_twice_cases_58_59_66() -> Result<()> {
    sweep(Kind::Memory, 8, 1)
}

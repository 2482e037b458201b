//! Folding changes no row, keeps what a retained checkpoint needs, and gives space back.

use super::*;
use crate::key::KeyGroups;

#[test]
fn folded_runs_stay_while_a_retained_checkpoint_lists_them_case_19() -> Result<()> {
    for kind in KINDS {
        let files = FaultyFiles::new();
        let opened = open(&files, kind, &[])?;
        let lease = opened.store.lease(request(1, 0))?;
        let mut model = Rows::new();
        let mut kept = Vec::new();
        for id in 1..=40 {
            let delta = delta(&[(id % 7, Some(id as u8)), (100 + id % 11, Some(id as u8)), (id % 5, None)]);
            apply(&mut model, &delta);
            let runs = checkpoint(&opened, &*lease, id, &delta)?;
            opened.store.completed(CheckpointId(id));
            if id % 10 == 3 {
                kept.push((CheckpointId(id), runs, model.clone()));
            }
            let retained: Vec<CheckpointId> =
                kept.iter().map(|(kept, ..)| *kept).chain([CheckpointId(id)]).collect();
            opened.store.retain(&retained);
            opened.store.wait_idle();
            assert_eq!(scan(&*lease)?, model);
        }
        let status = opened.store.status();
        assert!(kind == Kind::Memory || status.folds > 3, "{status:?}");
        assert!(status.longest_chain < 12 && status.removed_runs > 10, "{kind:?}: {status:?}");
        for (attempt, (checkpoint, runs, model)) in (2..).zip(&kept) {
            let lease = opened.store.lease(request(attempt, 0).with_restore(runs.clone()))?;
            assert_eq!(scan(&*lease)?, *model, "{kind:?}: back to {checkpoint}");
        }
        let retained: Vec<_> = kept.iter().map(|(id, runs, _)| (*id, point(runs))).collect();
        drop((lease, opened));
        let opened = open(&files, kind, &retained)?;
        for (attempt, (checkpoint, runs, model)) in (2..).zip(&kept) {
            let lease = opened.store.lease(request(attempt, 0).with_restore(runs.clone()))?;
            assert_eq!(scan(&*lease)?, *model, "{kind:?}: back to {checkpoint} after a restart");
        }
    }
    Ok(())
}

#[test]
fn all_rows_at_once_make_what_is_older_garbage_without_a_fold() -> Result<()> {
    for kind in KINDS {
        let files = FaultyFiles::new();
        let opened = open(&files, kind, &[])?;
        let lease = opened.store.lease(request(1, 0))?;
        let rows = |id: u64| delta(&[(1, Some(id as u8)), (2, Some(id as u8)), (3 + id, None)]);
        for id in 1..=30 {
            opened.store.begin(CheckpointId(id), vec![subtask(0)]);
            write_as(SnapshotMode::Full, &*lease, id, &rows(id))?;
            if id % 3 == 0 {
                opened.store.abort(CheckpointId(id));
            }
            opened.store.wait_idle();
            let outcome = opened.events.take(id);
            if id % 3 > 0 {
                assert_eq!(outcome.expect("reported")?[0].1.len(), 1, "{kind:?}: the manifest lists one run");
                opened.store.completed(CheckpointId(id));
                opened.store.retain(&[CheckpointId(id)]);
                opened.store.wait_idle();
            }
            assert_eq!(scan(&*lease)?.into_values().collect::<Vec<_>>(), vec![vec![id as u8; 8]; 2]);
        }
        let status = opened.store.status();
        assert_eq!((status.folds, status.longest_chain), (0, 1), "{kind:?}");
        assert!(status.runs <= 2, "{kind:?}: {status:?}");
    }
    Ok(())
}

#[test]
fn nothing_is_folded_past_the_last_completed_checkpoint() -> Result<()> {
    let files = FaultyFiles::new();
    let opened = open(&files, Kind::Redb, &[])?;
    let lease = opened.store.lease(request(1, 0))?;
    for id in 1..=12 {
        checkpoint(&opened, &*lease, id, &delta(&[(id, Some(1))]))?;
    }
    assert_eq!(opened.store.status().folds, 0);
    assert_eq!(opened.store.status().longest_chain, 12);
    opened.store.completed(CheckpointId(5));
    opened.store.wait_idle();
    assert!(opened.store.status().folds > 0);
    let runs = checkpoint(&opened, &*lease, 13, &delta(&[(13, Some(1))]))?;
    assert_eq!(runs.iter().filter(|run| run.level == 0).count(), 8, "those of 6 to 13 are as they were");
    Ok(())
}

#[test]
fn space_is_given_back_case_68() -> Result<()> {
    let files = FaultyFiles::new();
    let opened = open(&files, Kind::Redb, &[])?;
    let lease = opened.store.lease(request(1, 0))?;
    let mut sizes = Vec::new();
    for id in 1..=60_u64 {
        let delta: Delta = (0..4_000).map(|n| (place(0, n << 50), Some(vec![id as u8; 16]))).collect();
        checkpoint(&opened, &*lease, id, &delta)?;
        opened.store.completed(CheckpointId(id));
        opened.store.retain(&[CheckpointId(id)]);
        opened.store.wait_idle();
        sizes.push(files.file_len(Path::new("/state/store.redb"))?.expect("it is there"));
    }
    let (early, late) = (sizes[19], sizes[59]);
    assert!(late <= early, "the file grew from {early} to {late} bytes over equal rounds");
    let status = opened.store.status();
    assert!(status.runs < 8, "{status:?}");
    Ok(())
}

#[test]
fn a_change_of_parallelism_keeps_every_row_once_case_69() -> Result<()> {
    let groups = KeyGroups::new(64);
    for kind in KINDS {
        for (before, after) in [(1, 2), (2, 1), (2, 3), (3, 2), (4, 7), (5, 1)] {
            let files = FaultyFiles::new();
            let opened = open(&files, kind, &[])?;
            let range =
                |index, parallelism| groups.hashes(groups.range(index, parallelism)).expect("not empty");
            let mut model = Rows::new();
            let mut former: Vec<RunRefs> = Vec::new();
            for index in 0..before {
                let hashes = range(index, before);
                let lease = opened.store.lease(request(1, index).with_hashes(hashes))?;
                let id = u64::from(index) + 1;
                for id in [id * 2, id * 2 + 1] {
                    let rows = (0..200_u64).map(|n| n.wrapping_mul(0x9E37_79B9_7F4A_7C15));
                    let rows = rows.filter(|hash| (hashes.0.0..=hashes.1.0).contains(hash));
                    let delta: Delta = rows
                        .map(|hash| (place(0, hash), (hash % 3 != id % 3).then(|| vec![id as u8])))
                        .collect();
                    apply(&mut model, &delta);
                    opened.store.begin(CheckpointId(id), vec![subtask(index)]);
                    write(&*lease, id, &delta)?;
                    opened.store.wait_idle();
                    opened.store.completed(CheckpointId(id));
                    let runs = opened.events.take(id).expect("reported")?.remove(0).1;
                    if former.len() > index as usize {
                        former[index as usize] = runs
                    } else {
                        former.push(runs)
                    }
                }
            }
            let all: RunRefs = former.concat();
            let mut found = Rows::new();
            for index in 0..after {
                let request = request(2, index).with_hashes(range(index, after)).with_restore(all.clone());
                let lease = opened.store.lease(request)?;
                let mut rows = scan(&*lease)?;
                assert!(rows.keys().all(|place| !found.contains_key(place)), "each row has one owner");
                // A fold leaves the rows of others out.
                opened.store.begin(CheckpointId(100 + u64::from(index)), vec![subtask(index)]);
                write(&*lease, 100 + u64::from(index), &Delta::new())?;
                opened.store.wait_idle();
                assert_eq!(scan(&*lease)?, rows);
                found.append(&mut rows);
            }
            assert_eq!(found, model, "{kind:?}: {before} -> {after}");
        }
    }
    Ok(())
}

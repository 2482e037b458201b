//! Writes that fail: the checkpoint fails, nothing of it is lost, and what is damaged is found.

use super::*;
use crate::files::Fault;
use crate::state::run::{Chunk, RunHeader};

fn two_checkpoints(files: &FaultyFiles, opened: &Opened, kind: Kind) -> Result<(RunRefs, bool)> {
    let lease = opened.store.lease(request(1, 0))?;
    opened.store.begin(CheckpointId(1), vec![subtask(0)]);
    write(&*lease, 1, &delta(&[(1, Some(1)), (2, Some(1))]))?;
    opened.store.wait_idle();
    let first = opened.events.take(1).expect("reported");
    files.heal();
    assert_eq!(scan(&*lease)?.len(), 2, "{kind:?}: reading goes on after a failed write");
    let runs = checkpoint(opened, &*lease, 2, &delta(&[(2, None), (3, Some(3))]))?;
    Ok((runs, first.is_ok()))
}

#[test]
fn a_checkpoint_whose_write_fails_anywhere_comes_whole_with_the_next_cases_60_61() -> Result<()> {
    let mut model = Rows::new();
    apply(&mut model, &delta(&[(1, Some(1)), (3, Some(3))]));
    for kind in KINDS {
        let whole = FaultyFiles::new();
        let opened = open(&whole, kind, &[])?;
        opened.store.wait_idle();
        let before = whole.operations();
        two_checkpoints(&whole, &opened, kind)?;
        let after = whole.operations();
        let mut failed = 0;
        for at in before..after {
            for fault in [Fault::Io, Fault::Full] {
                let files = FaultyFiles::new();
                let opened = open(&files, kind, &[])?;
                opened.store.wait_idle();
                files.fail(at..at + 1, fault);
                let (runs, first_worked) = two_checkpoints(&files, &opened, kind)?;
                failed += u32::from(!first_worked);
                drop(opened);
                // What a failed sync dropped must not be missed after a crash either.
                files.crash(0);
                let opened = open(&files, kind, &[(CheckpointId(2), point(&runs))])?;
                let lease = opened.store.lease(request(2, 0).with_restore(runs))?;
                assert_eq!(scan(&*lease)?, model, "{kind:?}: {fault:?} at operation {at}");
            }
        }
        assert!(failed >= 4, "{kind:?}: only {failed} faults hit the first checkpoint");
    }
    Ok(())
}

#[test]
fn over_the_bound_chunks_are_written_early_and_the_subtask_is_woken() -> Result<()> {
    let files = FaultyFiles::new();
    create_dirs(&files, Path::new("/state"))?;
    let options = StoreOptions { pending_bytes_max: 400_000, ..options(Arc::new(files.clone()), Kind::Redb) };
    let opened = open_with(options, &[])?;
    let lease = opened.store.lease(request(1, 0))?;
    opened.store.begin(CheckpointId(1), vec![subtask(0)]);
    let delta: Delta = (0..60_000).map(|n| (place(0, n << 40), Some(vec![7; 20]))).collect();
    let (mut full, mut pending_max) = (0, 0);
    for mut chunk in chunks(&delta) {
        while let Err(error) = lease.submit(CheckpointId(1), chunk) {
            let SubmitError::Full(back) = error else { panic!("{error}") };
            chunk = back;
            full += 1;
            opened.store.wait_idle();
            assert_eq!(opened.events.space.lock().expect("no panic").pop(), Some(subtask(0)));
        }
        pending_max = pending_max.max(opened.store.status().pending_bytes);
    }
    assert!(full > 3 && pending_max <= 400_000, "{full} times full, {pending_max} bytes pending");
    lease.seal(CheckpointId(1), SnapshotMode::Delta)?;
    opened.store.wait_idle();
    let runs = opened.events.take(1).expect("reported")?.remove(0).1;
    assert_eq!(scan(&*lease)?.len(), 60_000);
    let retained = [(CheckpointId(1), point(&runs))];
    drop((lease, opened));
    let opened = open(&files, Kind::Redb, &retained)?;
    let lease = opened.store.lease(request(2, 0).with_restore(runs))?;
    assert_eq!(scan(&*lease)?.len(), 60_000);
    Ok(())
}

#[test]
fn with_a_full_disk_the_attempt_fails_once_the_bound_is_reached_and_not_before() -> Result<()> {
    for kind in KINDS {
        let files = FaultyFiles::new();
        create_dirs(&files, Path::new("/state"))?;
        let options = StoreOptions { pending_bytes_max: 900_000, ..options(Arc::new(files.clone()), kind) };
        let opened = open_with(options, &[])?;
        let lease = opened.store.lease(request(1, 0))?;
        opened.store.wait_idle();
        files.fail(0..u64::MAX, Fault::Full);
        let delta: Delta = (0..8_000).map(|n| (place(0, n << 40), Some(vec![7; 20]))).collect();
        let mut failed = None;
        for id in 1..20 {
            opened.store.begin(CheckpointId(id), vec![subtask(0)]);
            match submit(&*lease, id, &delta) {
                Ok(()) => {}
                Err(SubmitError::Full(_)) => {
                    opened.store.wait_idle();
                    continue;
                }
                Err(SubmitError::Failed(error)) => {
                    failed = Some((id, error.to_string()));
                    break;
                }
            }
            lease.seal(CheckpointId(id), SnapshotMode::Delta)?;
            opened.store.wait_idle();
            let error = opened.events.take(id).expect("reported").expect_err("the disk is full");
            assert!(error.to_string().contains("No space left"), "{error}");
        }
        let (id, error) = failed.expect("the bound holds");
        assert!(id >= 3, "{kind:?}: failed at {id}");
        assert!(
            error
                .contains("bytes of state wait to be written, 900000 are allowed, and the last write failed")
                && error.contains("No space left"),
            "{error}"
        );
    }
    Ok(())
}

/// Flips a bit of each of these bytes of a file, one place after the other: reading must fail by name, each time.
fn flips_are_found(
    (files, kind): (&FaultyFiles, Kind),
    path: &Path,
    places: &[Vec<u64>],
    runs: &RunRefs,
) -> Result<()> {
    for place in places {
        let files = files.copy();
        for offset in place {
            files.flip(path, *offset, 0x10)?;
        }
        let read = || -> Result<Rows> {
            let opened = open(&files, kind, &[(CheckpointId(1), point(runs))])?;
            scan(&*opened.store.lease(request(2, 0).with_restore(runs.clone()))?)
        };
        let error = read().map(|_| ()).expect_err("damaged");
        let text = error.to_string();
        assert!(
            text.contains("/state/store") && text.contains("is damaged"),
            "{kind:?}: byte {place:?}: {text}"
        );
    }
    Ok(())
}

#[test]
fn a_flip_of_any_byte_of_a_snapshot_file_is_found_case_62() -> Result<()> {
    let files = FaultyFiles::new();
    let opened = open(&files, Kind::Memory, &[])?;
    let lease = opened.store.lease(request(1, 0))?;
    let runs = checkpoint(&opened, &*lease, 1, &delta(&[(1, Some(1)), (2, Some(2)), (3, Some(3))]))?;
    drop((lease, opened));
    let list = files.list(Path::new("/state/store"))?;
    let name = &list.iter().find(|entry| entry.name.ends_with(".run")).expect("a snapshot").name;
    let path = Path::new("/state/store").join(name);
    let len = files.file_len(&path)?.expect("it is there");
    let places: Vec<Vec<u64>> = (0..len).map(|offset| vec![offset]).collect();
    flips_are_found((&files, Kind::Memory), &path, &places, &runs)
}

#[test]
fn a_flip_of_any_byte_of_a_run_within_redb_is_found_case_62() -> Result<()> {
    let files = FaultyFiles::new();
    let opened = open(&files, Kind::Redb, &[])?;
    let lease = opened.store.lease(request(1, 0))?;
    let delta = delta(&[(1, Some(1)), (2, Some(2)), (3, Some(3))]);
    let runs = checkpoint(&opened, &*lease, 1, &delta)?;
    drop((lease, opened));
    let path = Path::new("/state/store.redb");
    let content = crate::files::read_all(&files, path)?;
    let chunk = Chunk::parse(chunks(&delta).remove(0)).expect("just built");
    let mut header = RunHeader::new(runs[0].id.0);
    header.push(&chunk).expect("in order");
    let mut places = Vec::new();
    for piece in [chunk.blocks(), chunk.guide_bytes(), &header.encode().0] {
        let starts: Vec<usize> = (0..content.len()).filter(|at| content[*at..].starts_with(piece)).collect();
        assert!(!starts.is_empty(), "a piece of the run is in the file");
        places
            .extend((0..piece.len()).map(|byte| starts.iter().map(|start| (start + byte) as u64).collect()));
    }
    flips_are_found((&files, Kind::Redb), path, &places, &runs)
}

#[test]
fn a_lease_that_outlives_its_store_does_not_touch_the_next_one_s_file() -> Result<()> {
    let files = FaultyFiles::new();
    let opened = open(&files, Kind::Redb, &[])?;
    let left = opened.store.lease(request(1, 0))?;
    let first = checkpoint(&opened, &*left, 1, &delta(&[(1, Some(1))]))?;
    drop(opened);
    // The subtask hangs: its lease is still there when the same process goes on with the directory.
    let opened = open(&files, Kind::Redb, &[(CheckpointId(1), point(&first))])?;
    let lease = opened.store.lease(request(2, 0).with_restore(first))?;
    let error = scan(&*left).expect_err("nothing is read beside the new store");
    assert_eq!(error.to_string(), "state store: it is closed");
    let runs = checkpoint(&opened, &*lease, 2, &delta(&[(2, Some(2))]))?;
    let before = files.operations();
    drop(left);
    assert_eq!(files.operations(), before, "the old lease's end writes nothing");
    drop((lease, opened));
    let opened = open(&files, Kind::Redb, &[(CheckpointId(2), point(&runs))])?;
    let lease = opened.store.lease(request(3, 0).with_restore(runs))?;
    let mut model = Rows::new();
    apply(&mut model, &delta(&[(1, Some(1)), (2, Some(2))]));
    assert_eq!(scan(&*lease)?, model);
    Ok(())
}

//! A checkpoint exists wholly or not at all, and none is ever skipped.

use super::super::manifest::tests::sample;
use super::*;
use crate::files::{Fault, FaultyFiles, remove_tree};

const DIRECTORY: &str = "/state/checkpoints";

fn open(files: &FaultyFiles) -> Result<CheckpointStorage> {
    CheckpointStorage::open(Arc::new(files.clone()), Path::new(DIRECTORY), Lineage(7))
}

fn ids(ids: &[u64]) -> Vec<CheckpointId> {
    ids.iter().copied().map(CheckpointId).collect()
}

#[test]
fn the_newest_are_retained_and_listed() -> Result<()> {
    let files = FaultyFiles::new();
    let storage = open(&files)?;
    assert_eq!(storage.latest()?, None);
    for checkpoint in [9, 10, 11] {
        storage.publish(&sample(checkpoint))?;
    }
    assert_eq!(storage.retain(2)?, ids(&[10, 11]));
    assert_eq!(storage.list()?, ids(&[10, 11]));
    assert_eq!(storage.latest()?, Some(sample(11)));
    assert_eq!(storage.retain(0)?, ids(&[11]), "one always stays");
    remove_tree(&files, Path::new(DIRECTORY))
}

#[test]
fn a_damaged_newest_checkpoint_is_an_error_that_names_it_and_never_an_older_one_case_63() -> Result<()> {
    let files = FaultyFiles::new();
    let storage = open(&files)?;
    storage.publish(&sample(1))?;
    storage.publish(&sample(2))?;
    files.flip(&storage.path_of(CheckpointId(2)), 40, 1)?;
    let error = storage.latest().expect_err("damaged");
    assert!(error.to_string().contains("00000000000000000002.manifest is damaged"), "{error}");
    assert_eq!(storage.list()?, ids(&[1, 2]));
    Ok(())
}

#[test]
fn a_passing_read_error_skips_and_deletes_nothing_case_13() -> Result<()> {
    let files = FaultyFiles::new();
    let storage = open(&files)?;
    storage.publish(&sample(1))?;
    storage.publish(&sample(2))?;
    for failing in 1..4 {
        files.fail_reads(failing);
        assert!(storage.latest().is_err());
        assert!(failing < 2 || open(&files).is_err() || storage.retain(1).is_err());
        files.heal();
        assert_eq!(storage.latest()?, Some(sample(2)));
        assert_eq!(storage.list()?, ids(&[1, 2]));
    }
    Ok(())
}

#[test]
fn a_manifest_of_another_run_is_refused() -> Result<()> {
    let files = FaultyFiles::new();
    let other = CheckpointStorage::open(Arc::new(files.clone()), Path::new(DIRECTORY), Lineage(8))?;
    let theirs = Manifest { lineage: Lineage(8), ..sample(1) };
    other.publish(&theirs)?;
    assert!(matches!(open(&files)?.latest(), Err(Error::StateDir { .. })));
    assert!(matches!(open(&files)?.publish(&theirs), Err(Error::StateDir { .. })));
    Ok(())
}

#[test]
fn after_a_crash_anywhere_twice_the_newest_is_one_that_was_begun_and_none_is_lost_cases_58_66() -> Result<()>
{
    let run = |files: &FaultyFiles, published: &mut u64| -> Result<()> {
        let storage = open(files)?;
        for checkpoint in 1..=3 {
            storage.publish(&sample(checkpoint))?;
            *published = checkpoint;
            storage.retain(2)?;
        }
        Ok(())
    };
    let whole = FaultyFiles::new();
    run(&whole, &mut 0)?;
    for at in 0..whole.operations() {
        for seed in 0..12 {
            let files = FaultyFiles::new();
            files.crash_at(at);
            let mut published = 0;
            assert!(run(&files, &mut published).is_err());
            files.crash(seed);
            // The second crash hits the clean-up of the first.
            files.crash_at(files.operations() + seed % 4);
            let _ = open(&files).and_then(|storage| storage.retain(2));
            files.crash(seed + 1);
            let storage = open(&files)?;
            let newest = storage.latest()?.map_or(0, |manifest| manifest.checkpoint.0);
            assert!(
                newest == published || newest == published + 1,
                "crash at {at}, seed {seed}: {published} was published, {newest} is found"
            );
            assert_eq!(storage.all()?.len(), storage.list()?.len());
            let left = files.list(Path::new(DIRECTORY))?;
            assert!(left.iter().all(|entry| !entry.name.ends_with(TEMPORARY_SUFFIX)), "{left:?}");
        }
    }
    Ok(())
}

/// Whatever fails once or twice: a checkpoint that counts as published is there after a crash, and one that does not
/// is not, for its output is committed in the one case and its rows are given up in the other.
#[test]
fn a_checkpoint_is_published_or_not_whatever_a_crash_leaves_case_12() -> Result<()> {
    let whole = FaultyFiles::new();
    let storage = open(&whole)?;
    storage.publish(&sample(1))?;
    let before = whole.operations();
    storage.publish(&sample(2))?;
    let (after, mut outcomes) = (whole.operations(), [0, 0]);
    for first in before..after {
        for second in first..2 * after - before {
            for seed in 0..6 {
                let files = FaultyFiles::new();
                let storage = open(&files)?;
                storage.publish(&sample(1))?;
                files.fail(first..first + 1, Fault::Io);
                files.fail(second..second + 1, Fault::Io);
                let is_published = storage.publish(&sample(2)).is_ok();
                files.heal();
                files.crash(seed);
                let expected = if is_published { ids(&[1, 2]) } else { ids(&[1]) };
                assert_eq!(open(&files)?.list()?, expected, "{first}, {second}, seed {seed}");
                outcomes[usize::from(is_published)] += 1;
            }
        }
    }
    assert!(outcomes[0] > 100 && outcomes[1] > 5, "{outcomes:?}");
    Ok(())
}

/// Whatever fails three times or more often: once it is settled that a checkpoint was not published, no crash brings it
/// back, and one that was published stays.
#[test]
fn a_checkpoint_that_was_left_open_is_gone_once_it_is_settled_case_12() -> Result<()> {
    let mut left_open = 0;
    for failing in 1..20 {
        for first in 0..6 {
            for seed in 0..12 {
                let files = FaultyFiles::new();
                let storage = open(&files)?;
                storage.publish(&sample(1))?;
                let now = files.operations();
                files.fail(now + first..now + first + failing, Fault::Io);
                let is_published = storage.publish(&sample(2)).is_ok();
                let mut tries = 0;
                while storage.settle().is_err() {
                    tries += 1;
                    assert!(tries < 20, "the disk works again after {failing} operations");
                }
                left_open += u32::from(tries > 0);
                files.heal();
                files.crash(seed);
                let expected = if is_published { ids(&[1, 2]) } else { ids(&[1]) };
                assert_eq!(open(&files)?.list()?, expected, "{failing} from {first} on, seed {seed}");
            }
        }
    }
    assert!(left_open > 100, "{left_open}");
    Ok(())
}

/// Cases 59 and 66: a process ends between the rename and the sync of the directory. What the next one sees and goes on
/// from can't be taken away by a power loss after that.
#[test]
fn a_checkpoint_that_was_seen_by_a_start_is_there_after_the_power_is_lost() -> Result<()> {
    let files = FaultyFiles::new();
    let whole = open(&files)?;
    let before = files.operations();
    whole.publish(&sample(1))?;
    let publishing = files.operations() - before;
    for at in 0..publishing {
        for seed in 0..12 {
            let files = FaultyFiles::new();
            let storage = open(&files)?;
            // The process ends, the machine does not: the cache stays.
            let now = files.operations();
            files.fail(now + at..u64::MAX, Fault::Io);
            assert!(storage.publish(&sample(1)).is_err());
            files.heal();
            let seen = open(&files)?.list()?;
            files.crash(seed);
            assert_eq!(open(&files)?.list()?, seen, "ended at {at}, seed {seed}");
        }
    }
    Ok(())
}

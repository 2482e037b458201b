//! The simulated disk loses what it may lose and keeps what it must keep.

use std::collections::BTreeSet;

use super::super::{create_dirs, read_all, read_optional, write_atomically};
use super::*;

#[test]
fn what_was_not_synced_is_lost_kept_or_torn() -> Result<()> {
    let mut seen = BTreeSet::new();
    for seed in 0..200 {
        let files = FaultyFiles::new();
        let path = Path::new("/f");
        let file = files.open(path, OpenMode::CreateNew)?;
        file.append(b"AAAA")?;
        file.sync()?;
        files.sync_dir(Path::new("/"))?;
        file.write_at(0, b"bbbb")?;
        files.crash(seed);
        seen.insert(read_all(&files, path)?);
    }
    assert!(seen.contains(b"AAAA".as_slice()), "lost");
    assert!(seen.contains(b"bbbb".as_slice()), "kept");
    assert!(seen.contains(b"bAAA".as_slice()) && seen.contains(b"AAAb".as_slice()), "torn: {seen:?}");
    Ok(())
}

#[test]
fn a_rename_without_a_directory_sync_may_be_undone_case_59() -> Result<()> {
    let mut seen = BTreeSet::new();
    for seed in 0..50 {
        let files = FaultyFiles::new();
        files.create_dir_all(Path::new("/d"))?;
        files.sync_dir(Path::new("/"))?;
        let path = Path::new("/d/f");
        write_atomically(&files, path, b"old")?;
        let other = files.open(Path::new("/d/new"), OpenMode::CreateNew)?;
        other.append(b"new")?;
        other.sync()?;
        files.rename(Path::new("/d/new"), path)?;
        files.crash(seed);
        seen.insert(read_all(&files, path)?);
    }
    assert_eq!(seen, BTreeSet::from([b"old".to_vec(), b"new".to_vec()]));
    Ok(())
}

#[test]
fn an_atomic_write_leaves_old_or_new_at_every_crash_point_case_58() -> Result<()> {
    let run = |files: &FaultyFiles| -> Result<()> {
        create_dirs(files, Path::new("/state"))?;
        write_atomically(files, Path::new("/state/f"), b"the old content")?;
        write_atomically(files, Path::new("/state/f"), b"and the new, longer content")
    };
    let whole = FaultyFiles::new();
    run(&whole)?;
    let operations = whole.operations();
    let mut outcomes = BTreeSet::new();
    for at in 0..operations {
        for seed in 0..40 {
            let files = FaultyFiles::new();
            files.crash_at(at);
            assert!(run(&files).is_err());
            files.crash(seed);
            let content = read_optional(&files, Path::new("/state/f"))?;
            if let Some(content) = &content {
                assert!(
                    content == b"the old content" || content == b"and the new, longer content",
                    "crash at {at}, seed {seed}: {:?}",
                    String::from_utf8_lossy(content)
                );
            }
            outcomes.insert(content);
        }
    }
    assert_eq!(outcomes.len(), 3, "nothing, old and new are all reached");
    Ok(())
}

#[test]
fn a_failed_sync_drops_the_bytes_although_they_are_still_read_case_60() -> Result<()> {
    let files = FaultyFiles::new();
    let path = Path::new("/f");
    let file = files.open(path, OpenMode::CreateNew)?;
    files.sync_dir(Path::new("/"))?;
    file.append(b"data")?;
    let next = files.operations();
    files.fail(next..next + 1, Fault::Io);
    assert!(file.sync().is_err());
    file.sync()?;
    assert_eq!(read_all(&files, path)?, b"data");
    for seed in 0..20 {
        files.crash(seed);
        assert_eq!(read_all(&files, path)?, b"");
    }
    Ok(())
}

#[test]
fn a_full_disk_refuses_what_needs_space_and_leaves_no_half_file_case_61() -> Result<()> {
    let files = FaultyFiles::new();
    write_atomically(&files, Path::new("/f"), b"old")?;
    let next = files.operations();
    files.fail(next + 1..u64::MAX, Fault::Full);
    let error = write_atomically(&files, Path::new("/f"), b"new").expect_err("the disk is full");
    assert!(error.to_string().starts_with("can't write /f.tmp: No space left"), "{error}");
    assert_eq!(read_all(&files, Path::new("/f"))?, b"old");
    assert_eq!(files.list(Path::new("/"))?.len(), 1);
    files.heal();
    write_atomically(&files, Path::new("/f"), b"new")?;
    assert_eq!(read_all(&files, Path::new("/f"))?, b"new");
    Ok(())
}

#[test]
fn handles_and_locks_die_with_the_machine() -> Result<()> {
    let files = FaultyFiles::new();
    let file = files.open(Path::new("/f"), OpenMode::CreateNew)?;
    let lock = files.try_lock(Path::new("/lock"))?;
    assert!(lock.is_some());
    assert!(files.try_lock(Path::new("/lock"))?.is_none());
    files.crash(1);
    assert!(file.append(b"late").is_err());
    let again = files.try_lock(Path::new("/lock"))?;
    assert!(again.is_some());
    drop(lock);
    assert!(files.try_lock(Path::new("/lock"))?.is_none(), "an old lock's end frees nobody else's");
    Ok(())
}

//! A directory goes on with its run, begins another after a finished one, and refuses what does not fit.

use super::*;
use crate::files::{FaultyFiles, RealFiles, read_all};

fn plan(parts: &[(&str, &str)]) -> PlanFingerprint {
    PlanFingerprint {
        parts: parts.iter().map(|(label, value)| ((*label).to_owned(), (*value).to_owned())).collect(),
    }
}

fn new_run(lineage: u128, parts: &[(&str, &str)]) -> NewRun {
    NewRun { plan: plan(parts), lineage: Lineage(lineage), now: Timestamp(1_000) }
}

fn open(files: &FaultyFiles, new: NewRun) -> Result<RunDir> {
    RunDir::open(Arc::new(files.clone()), Path::new("/state/job"), new)
}

const PLAN: &[(&str, &str)] = &[("plan", "count"), ("output", "out")];

#[test]
fn an_unfinished_run_of_the_same_plan_goes_on() -> Result<()> {
    let files = FaultyFiles::new();
    let dir = open(&files, new_run(1, PLAN))?;
    assert_eq!((dir.opening(), dir.lineage()), (Opening::Fresh, Lineage(1)));
    drop(dir);
    let mut dir = open(&files, new_run(2, PLAN))?;
    assert_eq!((dir.opening(), dir.lineage()), (Opening::Resumed, Lineage(1)));
    dir.set_status(RunStatus::Failed)?;
    drop(dir);
    let dir = open(&files, new_run(3, PLAN))?;
    assert_eq!(
        (dir.opening(), dir.lineage(), dir.status()),
        (Opening::Resumed, Lineage(1), RunStatus::Running)
    );
    Ok(())
}

#[test]
fn after_a_finished_run_a_new_one_begins_with_nothing_of_the_old() -> Result<()> {
    let files = FaultyFiles::new();
    let mut dir = open(&files, new_run(1, PLAN))?;
    create_dirs(&files, &dir.checkpoints())?;
    write_atomically(&files, &dir.checkpoints().join("x"), b"old")?;
    write_atomically(&files, &dir.store_file(), b"old")?;
    dir.set_status(RunStatus::Finished)?;
    drop(dir);
    let dir = open(&files, new_run(2, &[("plan", "another")]))?;
    assert_eq!((dir.opening(), dir.lineage()), (Opening::Fresh, Lineage(2)));
    assert_eq!(files.list(&dir.checkpoints())?, vec![]);
    assert_eq!(files.file_len(&dir.store_file())?, None);
    Ok(())
}

#[test]
fn the_status_is_read_beside_the_process_that_holds_the_directory() -> Result<()> {
    let files = FaultyFiles::new();
    let status = || status_of(&files, Path::new("/state/job"));
    assert_eq!(status()?, None);
    let mut dir = open(&files, new_run(1, PLAN))?;
    assert_eq!(status()?, Some(RunStatus::Running));
    dir.set_status(RunStatus::Finished)?;
    assert_eq!(status()?, Some(RunStatus::Finished));
    Ok(())
}

#[test]
fn another_plan_is_refused_by_what_differs() -> Result<()> {
    let files = FaultyFiles::new();
    drop(open(&files, new_run(1, PLAN))?);
    let error = open(&files, new_run(2, &[("plan", "count"), ("output", "elsewhere")])).expect_err("differs");
    assert_eq!(
        error.to_string(),
        "/state/job: the directory holds an unfinished run of something else:\n  output: was `out`, is `elsewhere`\n\
         start that again to finish it, choose another directory with `--state DIR`, or delete /state/job to give it up"
    );
    assert_eq!(open(&files, new_run(3, PLAN))?.lineage(), Lineage(1), "the run is untouched");
    Ok(())
}

#[test]
fn a_second_process_is_refused_by_directory_and_pid_case_67() -> Result<()> {
    let directory = tempfile::tempdir().expect("temporary directory");
    let path = directory.path().join("job");
    let held = RunDir::open(Arc::new(RealFiles), &path, new_run(1, PLAN))?;
    let error = RunDir::open(Arc::new(RealFiles), &path, new_run(2, PLAN)).expect_err("held");
    let expected = format!(
        "{}: the state directory is in use by process {}; stop it, or choose another with `--state DIR`",
        path.display(),
        std::process::id()
    );
    assert_eq!(error.to_string(), expected);
    drop(held);
    assert_eq!(RunDir::open(Arc::new(RealFiles), &path, new_run(3, PLAN))?.opening(), Opening::Resumed);
    Ok(())
}

#[test]
fn a_damaged_or_foreign_record_is_an_error_and_is_left_alone() -> Result<()> {
    let files = FaultyFiles::new();
    drop(open(&files, new_run(1, PLAN))?);
    let record = Path::new("/state/job/run.json");
    let text = String::from_utf8(read_all(&files, record)?).expect("JSON is text");
    for (from, to) in
        [("\"version\": 1", "\"version\": 2"), ("{", ""), ("\"status\": \"running\"", "\"status\": \"x\"")]
    {
        let broken = text.replacen(from, to, 1);
        assert_ne!(broken, text);
        write_atomically(&files, record, broken.as_bytes())?;
        let error = open(&files, new_run(2, PLAN)).expect_err("damaged");
        assert!(error.to_string().starts_with("/state/job/run.json is damaged: "), "{error}");
        assert_eq!(read_all(&files, record)?, broken.as_bytes());
    }
    Ok(())
}

#[test]
fn a_crash_anywhere_while_a_new_run_begins_never_mixes_two_runs() -> Result<()> {
    let prepare = || -> Result<FaultyFiles> {
        let files = FaultyFiles::new();
        let mut dir = open(&files, new_run(1, PLAN))?;
        create_dirs(&files, &dir.checkpoints())?;
        write_atomically(&files, &dir.checkpoints().join("old"), b"old")?;
        write_atomically(&files, &dir.store_file(), b"old")?;
        dir.set_status(RunStatus::Finished)?;
        Ok(files)
    };
    let whole = prepare()?;
    let before = whole.operations();
    drop(open(&whole, new_run(2, PLAN))?);
    for at in before..whole.operations() {
        for seed in 0..20 {
            let files = prepare()?;
            files.crash_at(at);
            assert!(open(&files, new_run(2, PLAN)).is_err());
            files.crash(seed);
            let dir = open(&files, new_run(3, PLAN))?;
            let lineage = if dir.opening() == Opening::Fresh { 3 } else { 2 };
            assert_eq!(dir.lineage(), Lineage(lineage), "crash at {at}, seed {seed}");
            assert_eq!(files.list(&dir.checkpoints())?, vec![], "crash at {at}, seed {seed}");
            assert_eq!(files.file_len(&dir.store_file())?, None, "crash at {at}, seed {seed}");
        }
    }
    Ok(())
}

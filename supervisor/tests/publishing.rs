//! Manifests whose writing hangs, panics or leaves open whether they exist: every wait ends, and nothing is restored
//! that a crash could make another.

mod common;

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use common::disk::{HookedFiles, broken, renames_manifest, syncs_manifests};
use common::{Controls, config, finishes_with, pipeline, take_one, until};
use tempfile::TempDir;
use tidegate_runtime::checkpoint::storage::CheckpointStorage;
use tidegate_runtime::config::RestartPolicy;
use tidegate_runtime::id::CheckpointId;
use tidegate_supervisor::{Job, JobState, Result, StopMode, launch_on};

/// Holds a thread up until it is opened.
#[derive(Default)]
struct Door {
    is_open: Mutex<bool>,
    opened: Condvar,
    waiting: AtomicBool,
}

impl Door {
    fn pass(&self) {
        self.waiting.store(true, Ordering::Release);
        let is_open = self.is_open.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.opened.wait_while(is_open, |is_open| !*is_open));
    }

    fn open(&self) {
        *self.is_open.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.opened.notify_all();
    }
}

/// A disk on which the renaming of a manifest hangs at the door.
fn hanging() -> (HookedFiles, Arc<Door>) {
    let (files, door) = (HookedFiles::default(), Arc::new(Door::default()));
    let at = Arc::clone(&door);
    files.before_each(move |action, path| {
        if renames_manifest(action, path) {
            at.pass();
        }
        Ok(())
    });
    (files, door)
}

fn kill_coordinators(job: &Job, times: u64) {
    let find = |job: &Job| {
        let topology = job.topology();
        topology.actors.into_iter().find(|actor| actor.path == "checkpoints").expect("there is one")
    };
    for _ in 0..times {
        let before = find(job).restarts;
        until(job, "the coordinator can be killed", |job| job.kill("checkpoints").is_ok());
        until(job, "it is replaced", |job| find(job).restarts > before);
    }
}

/// A job of 10,000 records whose first manifest hangs at the door, with as many requests behind it as may wait.
fn launch_stuck(dir: &TempDir, controls: &Arc<Controls>) -> Result<(Job, Arc<Door>)> {
    let (files, door) = hanging();
    let job = launch_on(Arc::new(files), &pipeline(controls, 2, 5_000), config(dir))?;
    until(&job, "a manifest is being written", |_| door.waiting.load(Ordering::Acquire));
    kill_coordinators(&job, 70);
    Ok((job, door))
}

/// A disk on which the next `left` syncs of the manifests' directory fail.
fn failing(left: &Arc<AtomicU64>) -> HookedFiles {
    let (files, left) = (HookedFiles::default(), Arc::clone(left));
    files.before_each(move |action, path| {
        if syncs_manifests(action, path) && take_one(&left) { Err(broken(action, path)) } else { Ok(()) }
    });
    files
}

#[test]
fn a_bug_that_panics_while_a_manifest_is_written_is_an_aborted_checkpoint() -> Result<()> {
    let dir = tempfile::tempdir().expect("a directory");
    let (files, controls) = (HookedFiles::default(), Controls::closed());
    let panics = Arc::new(AtomicU64::new(3));
    files.before_each(move |action, path| {
        assert!(!(renames_manifest(action, path) && take_one(&panics)), "a bug of ours");
        Ok(())
    });
    let mut config = config(&dir);
    config.checkpoint.tolerable_failures = 10;
    let job = launch_on(Arc::new(files), &pipeline(&controls, 2, 5_000), config)?;
    until(&job, "three aborted checkpoints", |job| job.totals().checkpoints_aborted == 3);
    until(&job, "one that completes", |job| job.totals().checkpoints_completed > 0);
    finishes_with(&job, &controls, 10_000)
}

/// Each coordinator that takes over asks the manifest thread, and no more than 64 may wait.
#[test]
fn coordinators_that_the_manifest_thread_can_not_answer_yet_ask_again() -> Result<()> {
    let dir = tempfile::tempdir().expect("a directory");
    let controls = Controls::closed();
    let (job, door) = launch_stuck(&dir, &controls)?;
    door.open();
    finishes_with(&job, &controls, 10_000)
}

#[test]
fn a_job_whose_end_can_not_be_recorded_fails_and_says_why() -> Result<()> {
    let dir = tempfile::tempdir().expect("a directory");
    let controls = Controls::closed();
    let (job, door) = launch_stuck(&dir, &controls)?;
    job.abandon();
    let ended = job.wait_for(Duration::from_secs(30));
    door.open();
    let error = ended.expect_err("it fails").to_string();
    assert!(error.contains("the end of the run could not be recorded: 64 others wait"), "{error}");
    Ok(())
}

/// The id of the newest checkpoint that a start after a power loss goes on from.
fn newest_after_power_loss(files: &HookedFiles, job: &Job, dir: &Path, seed: u64) -> Option<CheckpointId> {
    let disk = files.disk.clone();
    disk.crash(seed);
    let storage = CheckpointStorage::open(Arc::new(disk), &dir.join("checkpoints"), job.lineage());
    storage.and_then(|storage| storage.list()).expect("the disk can be read").pop()
}

/// Case 12: no write, and no removal either. Until it is sure that the checkpoint does not exist no region restores the
/// one before it, for after a crash the disk might say that it does.
#[test]
fn nothing_is_restored_while_it_is_open_whether_a_checkpoint_exists() -> Result<()> {
    let dir = tempfile::tempdir().expect("a directory");
    let (files, controls) = (HookedFiles::default(), Controls::closed());
    let (is_broken, failed, built) = (Arc::new(AtomicBool::new(false)), Arc::default(), Arc::default());
    let (broken_now, failures, builds): (_, Arc<AtomicU64>, Arc<AtomicU64>) =
        (Arc::clone(&is_broken), Arc::clone(&failed), Arc::clone(&built));
    controls.each_build(move || _ = builds.fetch_add(1, Ordering::AcqRel));
    files.before_each(move |action, path| {
        if syncs_manifests(action, path) && broken_now.load(Ordering::Acquire) {
            failures.fetch_add(1, Ordering::AcqRel);
            return Err(broken(action, path));
        }
        Ok(())
    });
    let job = launch_on(Arc::new(files), &pipeline(&controls, 2, 5_000), config(&dir))?;
    controls.allow(1_000);
    until(&job, "a checkpoint", |job| job.totals().checkpoints_completed > 0);
    is_broken.store(true, Ordering::Release);
    until(&job, "a checkpoint can't be written or removed", |_| failed.load(Ordering::Acquire) >= 3);
    let before = built.load(Ordering::Acquire);
    job.kill("middle/0")?;
    // Each further failure is a further try to settle: time in which the region would have come back.
    until(&job, "two more tries", |_| failed.load(Ordering::Acquire) >= 5);
    assert_eq!(built.load(Ordering::Acquire), before, "the region restored what is open");
    is_broken.store(false, Ordering::Release);
    until(&job, "the region is back", |_| built.load(Ordering::Acquire) > before);
    finishes_with(&job, &controls, 10_000)
}

/// How a job comes to its last checkpoint.
#[derive(Clone, Copy, Debug)]
enum Last {
    EndOfInput,
    Drain,
    Suspend,
}

/// Case 12, for the last checkpoint of a run: it is settled, and the run ends with one that exists.
#[test]
fn a_last_checkpoint_that_fails_until_its_outcome_is_open_is_settled_and_made_again() -> Result<()> {
    for last in [Last::EndOfInput, Last::Drain, Last::Suspend] {
        let dir = tempfile::tempdir().expect("a directory");
        let (left, controls) = (Arc::default(), Controls::closed());
        let files = failing(&left);
        let config = config(&dir).without_checkpoints();
        let job = launch_on(Arc::new(files.clone()), &pipeline(&controls, 2, 5_000), config)?;
        until(&job, "it runs", |job| job.state() == JobState::Running);
        // Two writes, the removal, and two tries to settle.
        left.store(5, Ordering::Release);
        controls.allow(2_000);
        until(&job, "2,000 records are read", |job| job.totals().records_in == 2_000);
        let (expected, state) = match last {
            Last::EndOfInput => (10_000, JobState::Finished),
            Last::Drain => (2_000, JobState::Finished),
            Last::Suspend => (2_000, JobState::Stopped),
        };
        match last {
            Last::EndOfInput => controls.allow(1_000_000),
            Last::Drain => job.stop(StopMode::Drain)?,
            Last::Suspend => job.stop(StopMode::Suspend)?,
        }
        let report = job.wait()?;
        assert_eq!(report.state, state, "{last:?}");
        assert_eq!(
            (report.totals.checkpoints_completed, report.totals.checkpoints_aborted),
            (1, 1),
            "{last:?}"
        );
        assert_eq!(report.totals.restarts, 0, "{last:?}");
        assert_eq!(controls.output().len(), expected, "{last:?}");
        assert_eq!(newest_after_power_loss(&files, &job, dir.path(), 1), report.last_checkpoint, "{last:?}");
    }
    Ok(())
}

/// A job that is given up while it is open whether a checkpoint exists: what the report calls the last checkpoint is
/// what is on the disk.
#[test]
fn a_job_that_fails_leaves_no_checkpoint_that_it_does_not_report() -> Result<()> {
    for seed in 0..8 {
        let dir = tempfile::tempdir().expect("a directory");
        let (left, controls) = (Arc::default(), Controls::closed());
        let files = failing(&left);
        let mut config = config(&dir).restart(RestartPolicy::None);
        config.checkpoint.tolerable_failures = 0;
        let job = launch_on(Arc::new(files.clone()), &pipeline(&controls, 2, 5_000), config)?;
        controls.allow(1_000);
        until(&job, "a checkpoint", |job| job.totals().checkpoints_completed > 0);
        left.store(4, Ordering::Release);
        let error = job.wait().expect_err("a failed checkpoint is one too many").to_string();
        assert!(error.contains("1 checkpoints in a row failed"), "{error}");
        let reported = job.report().and_then(|report| report.last_checkpoint);
        assert_eq!(newest_after_power_loss(&files, &job, dir.path(), seed), reported, "seed {seed}");
    }
    Ok(())
}

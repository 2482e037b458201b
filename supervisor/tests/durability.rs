//! Disks that fail, commits that fail, processes that end: nothing is lost and nothing comes twice.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use common::keyed::{Memory, counting, expected};
use common::{Controls, config, numbers, pipeline, until};
use tidegate_runtime::config::RestartPolicy;
use tidegate_runtime::error::BoxError;
use tidegate_runtime::files::{Fault, FaultyFiles};
use tidegate_supervisor::{CheckpointStatus, JobState, Result, StopMode, launch, launch_on};

/// Cases 10 and 61: the disk is full for a while. Checkpoints are aborted, the job goes on, and the next one holds what
/// they would have held.
#[test]
fn a_checkpoint_whose_write_fails_is_aborted_and_nothing_of_it_is_lost() -> Result<()> {
    let dir = tempfile::tempdir().expect("a directory");
    let files = FaultyFiles::new();
    let (controls, memory) = (Controls::closed(), Memory::default());
    let mut config = config(&dir);
    config.checkpoint.tolerable_failures = 1_000;
    let graph = counting(&controls, &memory, 4_000).graph();
    let job = launch_on(Arc::new(files.clone()), &graph, config)?;
    controls.allow(1_000);
    until(&job, "two checkpoints", |job| job.totals().checkpoints_completed >= 2);
    let now = files.operations();
    files.fail(now..u64::MAX, Fault::Full);
    controls.allow(3_000);
    until(&job, "three aborted checkpoints", |job| job.totals().checkpoints_aborted >= 3);
    files.heal();
    controls.allow(1_000_000);
    let report = job.wait()?;
    assert_eq!(report.totals.restarts, 0);
    assert_eq!(memory.output(), expected(16_000));
    let is_aborted = |status: &CheckpointStatus| matches!(status, CheckpointStatus::Aborted { .. });
    assert!(job.checkpoints().iter().filter(|record| is_aborted(&record.status)).count() >= 3);
    Ok(())
}

/// A machine that loses power at any operation, several times over one job's life.
#[test]
fn a_job_survives_power_losses() -> Result<()> {
    let seeds: Vec<u64> = match std::env::var("SEED") {
        Ok(seed) => vec![seed.parse().expect("SEED is a number")],
        Err(_) => (0..4).collect(),
    };
    for seed in seeds {
        let dir = tempfile::tempdir().expect("a directory");
        let files = FaultyFiles::new();
        let (controls, memory) = (Controls::closed(), Memory::default());
        let mut config = config(&dir).restart(RestartPolicy::None);
        config.checkpoint.tolerable_failures = 0;
        for life in 0..6 {
            let graph = counting(&controls, &memory, 2_000).graph();
            let at = files.operations() + 40 + (seed * 37 + life * 53) % 150;
            files.crash_at(at);
            let launched = launch_on(Arc::new(files.clone()), &graph, config.clone());
            if let Ok(job) = launched {
                let crashed = |_: &_| {
                    controls.allow(5);
                    files.operations() >= at
                };
                until(&job, "the power is lost", |job| crashed(job) || job.report().is_some());
                drop(job);
            }
            files.crash(seed * 1_000 + life);
        }
        controls.allow(1_000_000);
        let graph = counting(&controls, &memory, 2_000).graph();
        let job = launch_on(Arc::new(files), &graph, config.clone())?;
        assert_eq!(job.wait()?.state, JobState::Finished, "SEED={seed}");
        assert_eq!(memory.output(), expected(8_000), "SEED={seed}");
    }
    Ok(())
}

/// Case 100: the last checkpoint of a stop is made, then its commit fails. What was prepared is committed in the end,
/// and nothing runs again from an older checkpoint.
#[test]
fn a_commit_that_fails_after_the_last_checkpoint_is_tried_again_and_nothing_runs_again() -> Result<()> {
    let dir = tempfile::tempdir().expect("a directory");
    let controls = Controls::closed();
    controls.allow(2_000);
    let (fails, seen) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU64::new(0)));
    let (left, records) = (Arc::clone(&fails), Arc::clone(&seen));
    controls.each_record(move |_| {
        records.fetch_add(1, Ordering::Relaxed);
    });
    controls.each_commit(move |_| {
        match left.fetch_update(Ordering::AcqRel, Ordering::Acquire, |n| n.checked_sub(1)) {
            Ok(_) => Err(BoxError::from("the network is gone").into()),
            Err(_) => Ok(()),
        }
    });
    // Only the checkpoint of the stop is made.
    let job = launch(&pipeline(&controls, 2, 5_000), config(&dir).without_checkpoints())?;
    until(&job, "2,000 records are through", |_| seen.load(Ordering::Relaxed) == 2_000);
    fails.store(2, Ordering::Release);
    job.stop(StopMode::Suspend)?;
    let report = job.wait()?;
    assert_eq!(report.state, JobState::Stopped);
    assert_eq!(report.totals.checkpoints_completed, 1);
    assert_eq!(controls.output().len(), 2_000);
    assert_eq!(seen.load(Ordering::Relaxed), 2_000, "no record was worked on again");
    Ok(())
}

/// Cases 78, 98 and 101: the process ends between the final checkpoint and its commit. The next start commits, and
/// neither reads nor ends the input again.
#[test]
fn a_final_checkpoint_that_was_not_committed_is_committed_by_the_next_start() -> Result<()> {
    let dir = tempfile::tempdir().expect("a directory");
    let controls = Controls::open();
    let is_broken = Arc::new(AtomicBool::new(true));
    let broken = Arc::clone(&is_broken);
    controls.each_commit(move |_| match broken.load(Ordering::Acquire) {
        true => Err(BoxError::from("the network is gone").into()),
        false => Ok(()),
    });
    let config = config(&dir).without_checkpoints().restart(RestartPolicy::None);
    let job = launch(&pipeline(&controls, 2, 5_000), config.clone())?;
    let error = job.wait().expect_err("its commit fails");
    assert!(error.to_string().contains("the network is gone"), "{error}");
    drop(job);
    assert_eq!(controls.output(), [0; 0]);
    is_broken.store(false, Ordering::Release);
    controls.each_record(|record| panic!("record {record} came again"));
    let job = launch(&pipeline(&controls, 2, 5_000), config)?;
    assert_eq!(job.wait()?.state, JobState::Finished);
    assert_eq!(controls.output(), numbers(10_000));
    Ok(())
}

#[test]
fn a_second_job_in_the_same_directory_is_refused_and_so_is_another_plan() -> Result<()> {
    let dir = tempfile::tempdir().expect("a directory");
    let controls = Controls::closed();
    let job = launch(&pipeline(&controls, 2, 5_000), config(&dir))?;
    let error = launch(&pipeline(&controls, 2, 5_000), config(&dir)).err().expect("the directory is in use");
    assert!(error.to_string().contains("in use by process"), "{error}");
    drop(job);
    let error = launch(&pipeline(&controls, 2, 6_000), config(&dir)).err().expect("it is another plan");
    assert!(
        error.to_string().contains("numbers.numbers: was `2 x 5000 from 0`, is `2 x 6000 from 0`"),
        "{error}"
    );
    Ok(())
}

#[test]
fn a_checkpoint_can_be_asked_for_and_has_the_next_id_in_the_next_start_too() -> Result<()> {
    let dir = tempfile::tempdir().expect("a directory");
    let controls = Controls::closed();
    let mut last = 0;
    for _ in 0..3 {
        let job = launch(&pipeline(&controls, 2, 5_000), config(&dir).without_checkpoints())?;
        until(&job, "it runs", |job| job.state() == JobState::Running);
        let checkpoint = job.checkpoint()?;
        assert!(checkpoint.0 > last, "{checkpoint} after {last} (case 15)");
        last = checkpoint.0;
    }
    Ok(())
}

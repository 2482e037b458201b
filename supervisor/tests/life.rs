//! The life of a job: finish, stop, resume, fail.

mod common;

use common::{Controls, config, hang, numbers, pipeline, until};
use tidegate_supervisor::{Error, JobState, Result, StopMode, launch};

#[test]
fn a_bounded_job_commits_everything_once_and_finishes() -> Result<()> {
    let dir = tempfile::tempdir().expect("a directory");
    let controls = Controls::open();
    let job = launch(&pipeline(&controls, 4, 10_000), config(&dir))?;
    let report = job.wait()?;
    assert_eq!(report.state, JobState::Finished);
    assert_eq!(report.totals.records_in, 40_000);
    assert_eq!(controls.output(), numbers(40_000));
    Ok(())
}

#[test]
fn a_suspended_job_goes_on_in_the_next_start_and_a_finished_one_begins_afresh() -> Result<()> {
    let dir = tempfile::tempdir().expect("a directory");
    let controls = Controls::closed();
    controls.allow(5_000);
    let job = launch(&pipeline(&controls, 4, 10_000), config(&dir))?;
    until(&job, "5,000 records are read", |job| job.totals().records_in == 5_000);
    job.stop(StopMode::Suspend)?;
    assert_eq!(job.wait()?.state, JobState::Stopped);
    assert_eq!(controls.output().len(), 5_000);
    drop(job);

    controls.allow(1_000_000);
    let resumed = launch(&pipeline(&controls, 4, 10_000), config(&dir))?;
    assert_eq!(resumed.wait()?.state, JobState::Finished);
    assert_eq!(controls.output(), numbers(40_000));
    drop(resumed);

    let again = Controls::open();
    let afresh = launch(&pipeline(&again, 4, 10_000), config(&dir))?;
    assert_eq!(afresh.wait()?.state, JobState::Finished);
    assert_eq!(again.output(), numbers(40_000));
    Ok(())
}

#[test]
fn a_drained_job_ends_its_input_where_it_stands_and_finishes() -> Result<()> {
    let dir = tempfile::tempdir().expect("a directory");
    let controls = Controls::closed();
    controls.allow(3_000);
    let job = launch(&pipeline(&controls, 2, 10_000), config(&dir))?;
    until(&job, "3,000 records are read", |job| job.totals().records_in == 3_000);
    job.stop(StopMode::Drain)?;
    assert_eq!(job.wait()?.state, JobState::Finished);
    assert_eq!(controls.output().len(), 3_000);
    Ok(())
}

#[test]
fn an_observer_sees_a_job_until_its_handle_is_dropped_though_a_step_hangs() -> Result<()> {
    let dir = tempfile::tempdir().expect("a directory");
    let controls = Controls::closed();
    let (hang, reach) = hang();
    controls.each_record(move |_| {
        reach();
    });
    let job = launch(&pipeline(&controls, 4, 10_000), config(&dir))?;
    let observer = job.observer();
    controls.allow(5_000);
    hang.await_reached(&job);
    assert!(observer.topology().is_ok());
    drop(job);
    let asked = [observer.state().err(), observer.checkpoint().err(), observer.kill("middle/0").err()];
    for refused in asked {
        assert!(matches!(&refused, Some(Error::Ended { state }) if state == "gone"), "{refused:?}");
    }
    Ok(())
}

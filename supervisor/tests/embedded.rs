//! A job inside somebody else's async program.

mod common;

use common::{Controls, config, numbers, pipeline, until};
use tidegate_supervisor::{Error, JobState, Result, StopMode, launch};

#[tokio::test]
async fn a_job_runs_and_ends_inside_an_async_runtime() -> Result<()> {
    let dir = tempfile::tempdir().expect("a directory");
    let controls = Controls::closed();
    let job = launch(&pipeline(&controls, 2, 1_000), config(&dir))?;
    controls.allow(500);
    let first = job.checkpoint_async().await;
    // The region may not be up yet, but the request waits for it.
    assert!(first.is_ok(), "{first:?}");
    controls.allow(10_000);
    assert_eq!(job.finished().await?.state, JobState::Finished);
    assert_eq!(controls.output(), numbers(2_000));
    assert!(matches!(job.stop(StopMode::Drain), Err(Error::Ended { .. })));
    assert!(matches!(job.checkpoint_async().await, Err(Error::Ended { .. })));
    assert!(matches!(job.kill("middle/0"), Err(Error::UnknownActor { .. })));
    Ok(())
}

#[tokio::test]
async fn a_job_may_be_dropped_inside_an_async_runtime_and_lets_go_of_its_directory() -> Result<()> {
    let dir = tempfile::tempdir().expect("a directory");
    let controls = Controls::closed();
    for _ in 0..3 {
        let job = launch(&pipeline(&controls, 2, 1_000), config(&dir))?;
        until(&job, "it runs", |job| job.state() == JobState::Running);
        drop(job);
    }
    Ok(())
}

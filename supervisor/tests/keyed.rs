//! Keyed state in the store, under chaos: the counts are those of a sequential loop.

mod common;

use std::time::Duration;

use common::keyed::{Memory, counting, expected};
use common::{Controls, config, until};
use tidegate_runtime::config::{JobConfig, RestartPolicy, StateBackend};
use tidegate_runtime::time::millis;
use tidegate_supervisor::testing::Chaos;
use tidegate_supervisor::{JobState, Result, StopMode, launch};

fn survives(seed: u64, config: JobConfig) -> Result<()> {
    const EACH: u64 = 4_000;
    let controls = Controls::closed();
    let memory = Memory::default();
    let job = launch(&counting(&controls, &memory, EACH).graph(), config.restart(RestartPolicy::None))?;
    let killing = Chaos::new(seed).at_most(5).kill_random(&job, millis(15))?;
    // Input comes only as kills happen, so that each of them hits a job with work left.
    until(&job, "five kills", |_| {
        controls.allow(5);
        killing.killed().len() == 5
    });
    controls.allow(1_000_000);
    let report = job.wait()?;
    let killed = killing.killed();
    assert_eq!(report.state, JobState::Finished, "SEED={seed} {killed:?}");
    assert_eq!(memory.output(), expected(4 * EACH), "SEED={seed} {killed:?}");
    Ok(())
}

#[test]
fn counts_in_redb_survive_chaos() -> Result<()> {
    let seeds: Vec<u64> = match std::env::var("SEED") {
        Ok(seed) => vec![seed.parse().expect("SEED is a number")],
        Err(_) => (0..8).collect(),
    };
    for seed in seeds {
        let dir = tempfile::tempdir().expect("a directory");
        survives(seed, config(&dir))?;
    }
    Ok(())
}

#[test]
fn counts_in_memory_survive_chaos() -> Result<()> {
    let dir = tempfile::tempdir().expect("a directory");
    survives(100, config(&dir).backend(StateBackend::Memory))
}

#[test]
fn counts_go_on_in_the_next_start() -> Result<()> {
    let dir = tempfile::tempdir().expect("a directory");
    let controls = Controls::closed();
    let memory = Memory::default();
    for _ in 0..3 {
        controls.allow(1_000);
        let job = launch(&counting(&controls, &memory, 2_000).graph(), config(&dir))?;
        until(&job, "all permits are used", |_| {
            controls.permits.load(std::sync::atomic::Ordering::Relaxed) == 0
        });
        job.stop(StopMode::Suspend)?;
        assert_eq!(job.wait()?.state, JobState::Stopped);
    }
    controls.allow(1_000_000);
    let job = launch(&counting(&controls, &memory, 2_000).graph(), config(&dir))?;
    assert_eq!(job.wait()?.state, JobState::Finished);
    assert_eq!(memory.output(), expected(8_000));
    Ok(())
}

#[test]
fn a_dropped_handle_stops_the_job_and_the_next_start_goes_on_from_its_last_checkpoint() -> Result<()> {
    let dir = tempfile::tempdir().expect("a directory");
    let controls = Controls::closed();
    let memory = Memory::default();
    controls.allow(3_000);
    let job = launch(&counting(&controls, &memory, 2_000).graph(), config(&dir))?;
    until(&job, "a checkpoint", |job| job.totals().checkpoints_completed > 1);
    drop(job);
    controls.allow(1_000_000);
    let job = launch(&counting(&controls, &memory, 2_000).graph(), config(&dir))?;
    job.wait_for(Duration::from_secs(60))?.expect("it finishes");
    assert_eq!(memory.output(), expected(8_000));
    Ok(())
}

//! The kill of any actor, a panic, a hang: the output is that of a run without.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use common::{Controls, add_pipeline, config, finishes_with, hang, numbers, pipeline, take_one, until};
use tidegate_runtime::config::RestartPolicy;
use tidegate_runtime::error::Error as RuntimeError;
use tidegate_runtime::graph::Graph;
use tidegate_runtime::time::millis;
use tidegate_supervisor::{Error, Job, JobState, Result, launch};

const EACH: u64 = 5_000;

/// Kills `path` once 4,000 records are read and at least one checkpoint has completed, and lets the job finish.
fn finishes_after_a_kill_of(path: &str) -> Result<()> {
    let dir = tempfile::tempdir().expect("a directory");
    let controls = Controls::closed();
    controls.allow(4_000);
    // Kills that were asked for don't count as failures: not one is allowed.
    let job = launch(&pipeline(&controls, 4, EACH), config(&dir).restart(RestartPolicy::None))?;
    until(&job, "4,000 records are read", |job| job.totals().records_in >= 4_000);
    until(&job, "a checkpoint", |job| job.totals().checkpoints_completed > 0);
    let before = restarts(&job, path);
    job.kill(path)?;
    until(&job, "the actor is back", |job| restarts(job, path) > before);
    controls.allow(1_000_000);
    let report = job.wait()?;
    assert_eq!(report.state, JobState::Finished);
    assert_eq!(report.totals.kills, 1);
    assert_eq!(report.totals.restarts, u64::from(path != "checkpoints"), "of the region");
    assert_eq!(controls.output(), numbers(4 * EACH));
    Ok(())
}

fn restarts(job: &Job, path: &str) -> u64 {
    let topology = job.topology();
    topology.actors.iter().find(|actor| actor.path == path).map_or(0, |actor| actor.restarts)
}

/// Case 39: what was read and not yet sent is read again.
#[test]
fn a_killed_source_comes_back() -> Result<()> {
    finishes_after_a_kill_of("numbers/0")
}

#[test]
fn a_killed_operator_comes_back() -> Result<()> {
    finishes_after_a_kill_of("middle/1")
}

#[test]
fn a_killed_sink_comes_back() -> Result<()> {
    finishes_after_a_kill_of("out/0")
}

#[test]
fn a_killed_deployment_comes_back() -> Result<()> {
    finishes_after_a_kill_of("deployment-0")
}

#[test]
fn a_killed_region_comes_back() -> Result<()> {
    finishes_after_a_kill_of("region-0")
}

#[test]
fn a_killed_coordinator_comes_back() -> Result<()> {
    finishes_after_a_kill_of("checkpoints")
}

#[test]
fn a_killed_enumerator_comes_back() -> Result<()> {
    finishes_after_a_kill_of("sources/numbers")
}

#[test]
fn a_killed_worker_comes_back() -> Result<()> {
    finishes_after_a_kill_of("worker-0")
}

#[test]
fn a_killed_job_actor_comes_back_from_the_manifest() -> Result<()> {
    finishes_after_a_kill_of("job")
}

#[test]
fn a_killed_root_ends_the_job_with_an_error() -> Result<()> {
    let dir = tempfile::tempdir().expect("a directory");
    let controls = Controls::closed();
    let job = launch(&pipeline(&controls, 1, EACH), config(&dir))?;
    until(&job, "it runs", |job| job.state() == JobState::Running);
    job.kill("runtime")?;
    let error = job.wait().expect_err("nobody supervises the root");
    assert!(error.to_string().contains("root of the supervisor tree"), "{error}");
    Ok(())
}

#[test]
fn an_unknown_actor_is_told_by_its_path() -> Result<()> {
    let dir = tempfile::tempdir().expect("a directory");
    let controls = Controls::closed();
    let job = launch(&pipeline(&controls, 1, EACH), config(&dir))?;
    let error = job.kill("nobody/7").expect_err("there is no such actor");
    assert!(matches!(&error, Error::UnknownActor { path } if path == "nobody/7"), "{error}");
    Ok(())
}

#[test]
fn a_panic_in_user_code_restarts_the_region_and_loses_nothing() -> Result<()> {
    let dir = tempfile::tempdir().expect("a directory");
    let controls = Controls::open();
    let panics = Arc::new(AtomicU64::new(2));
    let left = Arc::clone(&panics);
    controls.each_record(move |record| {
        let is_due = record == 3_000 || record == 17_000;
        if is_due && take_one(&left) {
            panic!("record {record} is not to my taste");
        }
    });
    let job = launch(&pipeline(&controls, 4, EACH), config(&dir))?;
    let report = job.wait()?;
    // Both may fall into one attempt: the two records are of different subtasks.
    assert_eq!(panics.load(Ordering::Acquire), 0);
    assert!((1..=2).contains(&report.totals.restarts), "{} restarts", report.totals.restarts);
    assert_eq!(report.totals.kills, 0);
    assert_eq!(controls.output(), numbers(4 * EACH));
    Ok(())
}

/// The job's actor is replaced between two failures: the second is one too many all the same.
#[test]
fn failures_are_counted_across_the_restarts_of_the_job_actor() -> Result<()> {
    let dir = tempfile::tempdir().expect("a directory");
    let controls = Controls::closed();
    let panics = Arc::new(AtomicU64::new(0));
    let due = Arc::clone(&panics);
    controls.each_record(move |_| assert!(!take_one(&due), "a bad day"));
    let policy = RestartPolicy::FixedDelay { attempts: 1, delay: millis(1) };
    let config = config(&dir).parallelism(1).without_checkpoints().restart(policy);
    let job = launch(&pipeline(&controls, 1, EACH), config)?;
    until(&job, "it runs", |job| job.state() == JobState::Running);
    panics.store(1, Ordering::Release);
    controls.allow(1);
    until(&job, "it runs again", |job| job.totals().restarts == 1 && job.state() == JobState::Running);
    let before = restarts(&job, "job");
    job.kill("job")?;
    until(&job, "the job's actor is back", |job| restarts(job, "job") > before);
    until(&job, "it runs once more", |job| job.totals().restarts == 2 && job.state() == JobState::Running);
    panics.store(1, Ordering::Release);
    controls.allow(1);
    let ended = job.wait_for(Duration::from_secs(30));
    let error = ended.expect_err("the policy allows one restart").to_string();
    assert!(error.contains("a bad day"), "{error}");
    Ok(())
}

#[test]
fn a_job_that_keeps_failing_fails_with_where_and_why() -> Result<()> {
    let dir = tempfile::tempdir().expect("a directory");
    let controls = Controls::open();
    controls.each_record(|record| assert!(record != 7, "seven"));
    let policy = RestartPolicy::FixedDelay { attempts: 2, delay: millis(1) };
    let job = launch(&pipeline(&controls, 1, 100), config(&dir).without_checkpoints().restart(policy))?;
    let error = job.wait().expect_err("it fails each time");
    let Error::Runtime(RuntimeError::JobFailed(failure)) = error else { panic!("another error: {error}") };
    assert_eq!(failure.operator, "middle");
    assert_eq!(failure.causes[0], "panicked: seven");
    assert!(failure.causes[1].contains("2 restarts in a row"), "{failure}");
    assert_eq!(failure.key.as_deref(), Some("7"));
    assert!(failure.panic_location.as_ref().is_some_and(|at| at.contains("kill.rs")), "{failure}");
    let report = job.report().expect("it has ended");
    assert_eq!((report.state, report.exit_code()), (JobState::Failed, 1));
    Ok(())
}

#[test]
fn a_step_that_hangs_is_named_and_costs_a_runtime_but_no_record() -> Result<()> {
    let dir = tempfile::tempdir().expect("a directory");
    let controls = Controls::open();
    let (hang, reach) = hang();
    controls.each_record(move |record| {
        if record == 12_000 {
            reach();
        }
    });
    let job = launch(&pipeline(&controls, 4, EACH), config(&dir).step_timeout(millis(100)))?;
    let report = job.wait()?;
    assert_eq!(report.state, JobState::Finished);
    assert_eq!(report.totals.abandoned_runtimes, 1);
    assert_eq!(report.totals.restarts, 1);
    assert_eq!(controls.output(), numbers(4 * EACH));
    drop(hang);
    Ok(())
}

#[test]
fn a_factory_that_hangs_costs_a_runtime_and_the_next_attempt_goes_on() -> Result<()> {
    let dir = tempfile::tempdir().expect("a directory");
    let controls = Controls::open();
    let (hang, reach) = hang();
    controls.each_build(move || {
        reach();
    });
    let job = launch(&pipeline(&controls, 2, EACH), config(&dir).step_timeout(millis(100)))?;
    assert_eq!(job.wait()?.state, JobState::Finished);
    assert_eq!(job.totals().abandoned_runtimes, 1);
    assert_eq!(controls.output(), numbers(2 * EACH));
    drop(hang);
    Ok(())
}

/// Case 107: the poll that hung comes back in an attempt that was given up: when it wanted to look again is nobody's
/// time.
#[test]
fn a_hung_step_that_comes_back_takes_no_wake_up_from_the_attempt_after_it() -> Result<()> {
    let dir = tempfile::tempdir().expect("a directory");
    let controls = Controls::closed();
    let (hang, reach) = hang();
    let is_back = Arc::new(AtomicBool::new(false));
    let back = Arc::clone(&is_back);
    controls.each_wait(move || {
        if !reach() {
            return millis(50);
        }
        back.store(true, Ordering::Release);
        millis(1)
    });
    // No barrier comes that would wake a source.
    let config = config(&dir).step_timeout(millis(100)).checkpoint_interval(millis(3_600_000));
    let job = launch(&pipeline(&controls, 1, EACH), config)?;
    until(&job, "the step is given up", |job| job.totals().abandoned_runtimes == 1);
    until(&job, "it runs again", |job| job.state() == JobState::Running);
    hang.release();
    until(&job, "the step is back", |_| is_back.load(Ordering::Acquire));
    // It parks at some time after that.
    let _ = job.wait_for(millis(100));
    controls.allow(1_000_000);
    until(&job, "all is read", |job| job.totals().records_in >= EACH);
    job.wait()?;
    assert_eq!(controls.output(), numbers(EACH));
    Ok(())
}

/// The first step comes back while the same step of the next attempt hangs: it must not look as if that one had ended.
#[test]
fn a_hung_step_that_comes_back_does_not_hide_a_step_that_hangs_after_it() -> Result<()> {
    let dir = tempfile::tempdir().expect("a directory");
    let controls = Controls::open();
    let (release, released) = std::sync::mpsc::channel::<()>();
    let (never, nothing) = std::sync::mpsc::channel::<()>();
    let doors = std::sync::Mutex::new(vec![nothing, released]);
    let passed = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&passed);
    controls.each_record(move |record| {
        let door = (record == 900).then(|| doors.lock().expect("no panic while held").pop()).flatten();
        if let Some(door) = door {
            count.fetch_add(1, Ordering::AcqRel);
            let _ = door.recv();
            count.fetch_add(10, Ordering::AcqRel);
        }
    });
    let job = launch(&pipeline(&controls, 1, EACH), config(&dir).parallelism(1).step_timeout(millis(300)))?;
    until(&job, "the second attempt hangs too", |_| passed.load(Ordering::Acquire) == 2);
    release.send(()).expect("the first step waits for it");
    until(&job, "the first step is back", |_| passed.load(Ordering::Acquire) >= 10);
    until(&job, "both are given up", |job| job.totals().abandoned_runtimes == 2);
    assert_eq!(job.wait()?.state, JobState::Finished);
    assert_eq!(controls.output(), numbers(EACH));
    drop(never);
    Ok(())
}

/// Commands to a worker's actor that dies are lost with it: the one after it is told again.
#[test]
fn a_worker_killed_while_its_regions_restart_comes_back() -> Result<()> {
    let dir = tempfile::tempdir().expect("a directory");
    let controls = Controls::closed();
    let job = launch(&pipeline(&controls, 4, EACH), config(&dir).restart(RestartPolicy::None))?;
    for _ in 0..30 {
        controls.allow(100);
        until(&job, "it runs", |job| job.state() == JobState::Running);
        let before = restarts(&job, "worker-0");
        // Either may be between two lives already.
        let _ = job.kill("middle/0");
        until(&job, "a worker to kill", |job| job.kill("worker-0").is_ok());
        until(&job, "the worker is back", |job| restarts(job, "worker-0") > before);
        // Again while it ends what the one before it has left.
        let _ = job.kill("worker-0");
        let _ = job.kill("region-0");
    }
    finishes_with(&job, &controls, 4 * EACH)
}

#[test]
fn a_failure_restarts_its_region_only() -> Result<()> {
    let dir = tempfile::tempdir().expect("a directory");
    let (left, right) = (Controls::closed(), Controls::closed());
    let mut graph = Graph::new("two-regions");
    let numbers_of = |first, controls| common::Numbers { splits: 2, each: EACH, first, controls };
    add_pipeline(&mut graph, "-left", numbers_of(0, Arc::clone(&left)));
    add_pipeline(&mut graph, "-right", numbers_of(1_000_000, Arc::clone(&right)));
    let job = launch(&graph, config(&dir))?;
    left.allow(1_000);
    right.allow(1_000);
    until(&job, "2,000 records are read", |job| job.totals().records_in >= 2_000);
    job.kill("middle-left/0")?;
    until(&job, "it is back", |job| restarts(job, "middle-left/0") == 1);
    left.allow(1_000_000);
    right.allow(1_000_000);
    job.wait()?;
    assert_eq!(restarts(&job, "middle-left/0"), 1);
    assert_eq!(restarts(&job, "middle-right/0"), 0);
    assert_eq!(left.output(), numbers(2 * EACH));
    assert_eq!(right.output(), (1_000_000..1_000_000 + 2 * EACH).collect::<Vec<_>>());
    Ok(())
}

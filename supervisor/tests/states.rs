//! Every state of a job, an actor, a subtask and a checkpoint: brought about, held, and seen.

mod common;

use std::sync::{Arc, PoisonError, RwLock, RwLockWriteGuard};
use std::time::Duration;

use common::{Controls, activities, actor, config, pipeline, subtask, until};
use tidegate_runtime::checkpoint::manifest::CheckpointKind;
use tidegate_runtime::config::{AfterLastRecord, RestartPolicy};
use tidegate_runtime::metrics::Activity;
use tidegate_supervisor::{ActorState, CheckpointStatus, Job, JobState, Result, StopMode, launch};

/// What hooks wait at while a test holds it.
#[derive(Clone, Default)]
struct Door(Arc<RwLock<()>>);

impl Door {
    fn close(&self) -> RwLockWriteGuard<'_, ()> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn pass(&self) {
        drop(self.0.read().unwrap_or_else(PoisonError::into_inner));
    }
}

fn actor_state(job: &Job, path: &str) -> ActorState {
    actor(job, path).state
}

fn activity(job: &Job, path: &str) -> Activity {
    subtask(job, path).activity
}

fn checkpoints(job: &Job) -> Vec<(CheckpointKind, CheckpointStatus)> {
    job.checkpoints().into_iter().map(|record| (record.kind, record.status)).collect()
}

#[test]
fn an_attempt_that_is_being_built_is_shown_the_first_time_and_the_next() -> Result<()> {
    let dir = tempfile::tempdir().expect("a directory");
    let (controls, door) = (Controls::closed(), Door::default());
    let passed = door.clone();
    controls.each_build(move || passed.pass());
    let closed = door.close();
    let job = launch(&pipeline(&controls, 1, 1_000), config(&dir))?;
    assert_eq!((job.state(), actor_state(&job, "middle/0")), (JobState::Created, ActorState::Starting));
    assert!(activities(&job).iter().all(|(_, activity)| *activity == Activity::Restoring));
    drop(closed);
    until(&job, "it runs", |job| job.state() == JobState::Running);
    until(&job, "it is idle", |job| activity(job, "middle/0") == Activity::Idle);
    assert_eq!(actor_state(&job, "middle/0"), ActorState::Running);

    let closed = door.close();
    job.kill("out/1")?;
    until(&job, "it is between two attempts", |job| {
        let is_restarting = |path| actor_state(job, path) == ActorState::Restarting;
        job.state() == JobState::Restarting && ["middle/0", "out/1"].into_iter().all(is_restarting)
    });
    drop(closed);
    until(&job, "it runs again", |job| {
        job.state() == JobState::Running && actor_state(job, "middle/0") == ActorState::Running
    });
    Ok(())
}

#[test]
fn a_failed_subtask_is_shown_while_its_job_waits_and_after_it_was_given_up() -> Result<()> {
    let later = RestartPolicy::FixedDelay { attempts: 1, delay: Duration::from_secs(3_600) };
    for (policy, state, left) in [
        (later, JobState::Restarting, ActorState::Restarting),
        (RestartPolicy::None, JobState::Failed, ActorState::Stopped),
    ] {
        let dir = tempfile::tempdir().expect("a directory");
        let controls = Controls::closed();
        controls.each_record(|_| panic!("a bad day"));
        let job_config = config(&dir).parallelism(1).without_checkpoints().restart(policy);
        let job = launch(&pipeline(&controls, 1, 1_000), job_config)?;
        until(&job, "it runs", |job| job.state() == JobState::Running);
        controls.allow(1);
        until(&job, "it has failed", |job| job.state() == state);
        assert_eq!((actor_state(&job, "middle/0"), actor_state(&job, "out/0")), (left, left));
        assert_eq!(activity(&job, "middle/0"), Activity::Failed);
        assert_ne!(activity(&job, "out/0"), Activity::Failed);
    }
    Ok(())
}

#[test]
fn a_stop_is_shown_from_the_request_to_the_end_and_its_checkpoint_in_the_history() -> Result<()> {
    let dir = tempfile::tempdir().expect("a directory");
    let (controls, door) = (Controls::closed(), Door::default());
    let passed = door.clone();
    controls.each_record(move |_| passed.pass());
    let job = launch(&pipeline(&controls, 1, 1_000), config(&dir).without_checkpoints())?;
    until(&job, "it runs", |job| job.state() == JobState::Running);
    let closed = door.close();
    controls.allow(10);
    until(&job, "a record is held", |job| {
        activities(job).contains(&("middle/0".to_owned(), Activity::Running))
    });
    std::thread::scope(|scope| {
        let asked = scope.spawn(|| job.checkpoint());
        until(&job, "a checkpoint is under way", |job| {
            checkpoints(job) == [(CheckpointKind::Periodic, CheckpointStatus::InProgress)]
        });
        job.stop(StopMode::Suspend)?;
        until(&job, "it is stopping", |job| job.state() == JobState::Stopping);
        drop(closed);
        asked.join().expect("asked")
    })?;
    assert_eq!(job.wait()?.state, JobState::Stopped);
    let completed = |kind| (kind, CheckpointStatus::Completed);
    assert_eq!(checkpoints(&job), [completed(CheckpointKind::Periodic), completed(CheckpointKind::Stop)]);
    assert!(activities(&job).iter().all(|(_, activity)| *activity == Activity::Stopped));
    assert!(job.topology().actors.iter().all(|actor| actor.state == ActorState::Stopped));
    Ok(())
}

#[test]
fn a_source_without_a_split_has_finished_or_waits_if_its_input_is_held_open() -> Result<()> {
    for (after, expected) in
        [(AfterLastRecord::End, Activity::Finished), (AfterLastRecord::Hold, Activity::Waiting)]
    {
        let dir = tempfile::tempdir().expect("a directory");
        let controls = Controls::closed();
        let job_config = config(&dir).after_last_record(after).without_checkpoints();
        let job = launch(&pipeline(&controls, 1, 100), job_config)?;
        // One of the two has the only split and waits for permits.
        until(&job, "one has nothing to read", |job| {
            let of = ["numbers/0", "numbers/1"].map(|path| activity(job, path));
            of.contains(&expected) && of.contains(&Activity::Idle)
        });
        controls.allow(100);
        if after == AfterLastRecord::Hold {
            until(&job, "both wait", |job| {
                ["numbers/0", "numbers/1"].iter().all(|path| activity(job, path) == Activity::Waiting)
            });
            job.stop(StopMode::Drain)?;
        }
        assert_eq!(job.wait()?.state, JobState::Finished);
        assert_eq!(checkpoints(&job), [(CheckpointKind::Final, CheckpointStatus::Completed)]);
        assert_eq!(controls.output(), common::numbers(100));
    }
    Ok(())
}

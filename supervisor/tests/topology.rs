//! What is seen of a running job: every figure has something that makes it change.

mod common;

use std::time::Duration;

use common::keyed::{Memory, counting};
use common::{Controls, actor, config, pipeline, subtask, until};
use tidegate_runtime::metrics::Activity;
use tidegate_supervisor::{ActorKind, ActorState, Job, JobState, Result, launch};

#[test]
fn the_tree_has_readable_paths_parents_and_kinds() -> Result<()> {
    let dir = tempfile::tempdir().expect("a directory");
    let controls = Controls::closed();
    let job = launch(&pipeline(&controls, 1, 1_000), config(&dir))?;
    until(&job, "it runs", |job| job.state() == JobState::Running);
    let actors = job.topology().actors;
    let tree: Vec<_> = actors.iter().map(|a| (a.path.as_str(), a.kind, a.parent.as_str())).collect();
    assert_eq!(
        tree,
        [
            ("checkpoints", ActorKind::Checkpoints, "job"),
            ("deployment-0", ActorKind::Deployment, "worker-0"),
            ("job", ActorKind::Job, "runtime"),
            ("middle/0", ActorKind::Subtask, "deployment-0"),
            ("middle/1", ActorKind::Subtask, "deployment-0"),
            ("numbers/0", ActorKind::Subtask, "deployment-0"),
            ("numbers/1", ActorKind::Subtask, "deployment-0"),
            ("out/0", ActorKind::Subtask, "deployment-0"),
            ("out/1", ActorKind::Subtask, "deployment-0"),
            ("region-0", ActorKind::Region, "job"),
            ("runtime", ActorKind::Runtime, ""),
            ("sources/numbers", ActorKind::Enumerator, "job"),
            ("worker-0", ActorKind::Worker, "runtime"),
        ]
    );
    assert!(actors.iter().all(|actor| actor.state == ActorState::Running));
    drop(job);
    Ok(())
}

#[test]
fn records_batches_rates_and_checkpoints_are_counted() -> Result<()> {
    let dir = tempfile::tempdir().expect("a directory");
    let controls = Controls::closed();
    let job = launch(&pipeline(&controls, 1, 100_000), config(&dir))?;
    let feed = |job: &Job| {
        controls.allow(50);
        let info = subtask(job, "numbers/0");
        let other = subtask(job, "numbers/1");
        info.records_in_per_second + other.records_in_per_second > 0.0
            && info.records_out_per_second + other.records_out_per_second > 0.0
    };
    until(&job, "records flow", feed);
    let middle = [subtask(&job, "middle/0"), subtask(&job, "middle/1")];
    assert!(middle.iter().all(|info| info.records_in > 0 && info.batch_fill >= 1.0), "{middle:?}");
    until(&job, "a checkpoint", |job| subtask(job, "out/1").last_checkpoint.is_some());
    let attempt = actor(&job, "middle/0").attempt;
    job.kill("middle/0")?;
    until(&job, "it is back", |job| actor(job, "middle/0").restarts == 1);
    assert!(actor(&job, "middle/0").attempt > attempt);
    until(&job, "records came again", |job| {
        controls.allow(50);
        // Until one comes between two checkpoints.
        let _ = job.kill("middle/0");
        job.totals().replayed_records > 0
    });
    let replayed = subtask(&job, "numbers/0").replayed_records + subtask(&job, "numbers/1").replayed_records;
    assert!(replayed > 0);
    Ok(())
}

#[test]
fn why_a_subtask_is_parked_and_what_waits_in_front_of_it_is_seen() -> Result<()> {
    let dir = tempfile::tempdir().expect("a directory");
    let controls = Controls::closed();
    controls.each_record(|_| std::thread::park_timeout(Duration::from_millis(1)));
    let job_config = config(&dir).without_checkpoints();
    let job = launch(&pipeline(&controls, 1, 1_000_000), job_config.parallelism(1).gate_bytes(1_024))?;
    until(&job, "an idle operator", |job| subtask(job, "middle/0").activity == Activity::Idle);
    controls.allow(1_000_000);
    // The operator is slow: its gate fills, and its producer has no room.
    until(&job, "a full gate", |job| {
        let is_full = subtask(job, "middle/0").inputs.first().is_some_and(|input| input.queued_bytes > 0);
        is_full && subtask(job, "numbers/0").activity == Activity::BackPressured
    });
    until(&job, "a busy operator", |job| subtask(job, "middle/0").activity == Activity::Running);
    let inputs = subtask(&job, "middle/0").inputs;
    assert_eq!(inputs.len(), 1);
    assert_eq!(inputs[0].producer, "numbers/0");
    until(&job, "elements that wait", |job| subtask(job, "middle/0").inputs[0].queued_elements > 0);
    until(&job, "a message in the mailbox", |job| actor(job, "middle/0").mailbox_depth > 0);
    Ok(())
}

#[test]
fn entries_of_keyed_state_are_seen() -> Result<()> {
    let dir = tempfile::tempdir().expect("a directory");
    let (controls, memory) = (Controls::closed(), Memory::default());
    let job = launch(&counting(&controls, &memory, 1_000).graph(), config(&dir))?;
    controls.allow(500);
    until(&job, "97 keys", |job| {
        let entries = |path| subtask(job, path).state_entries;
        entries("count/0") + entries("count/1") == 97
    });
    assert!(subtask(&job, "count/0").state_bytes > 0);
    Ok(())
}

//! Ways in which stream processors got it wrong, each by its number: of supervision and of the state directory.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use common::keyed::{Counted, Memory, counting, expected};
use common::{
    Controls, Hang, Numbers, activities, config, finishes_with, hang, numbers, pipeline, take_one, until,
};
use tidegate_operators::Dataflow;
use tidegate_runtime::config::RestartPolicy;
use tidegate_runtime::element::Batch;
use tidegate_runtime::error::Result as RuntimeResult;
use tidegate_runtime::id::CheckpointId;
use tidegate_runtime::metrics::Activity;
use tidegate_runtime::sink::{Committer, PrepareJob, Sink, SinkContext, SinkWriter};
use tidegate_runtime::time::millis;
use tidegate_supervisor::testing::Chaos;
use tidegate_supervisor::{Job, JobState, Result, StopMode, launch};

fn is_read(job: &Job, records: u64) {
    until(job, "all permits are used", |job| job.totals().records_in >= records);
}

/// The number of key groups and the parallelism belong to the plan: rows of state are where they put them.
#[test]
fn another_number_of_key_groups_or_of_subtasks_is_refused_case_71() -> Result<()> {
    let dir = tempfile::tempdir().expect("a directory");
    let (controls, memory) = (Controls::closed(), Memory::default());
    controls.allow(1_000);
    let graph = || counting(&controls, &memory, 1_000).graph();
    let job = launch(&graph(), config(&dir).key_groups(64))?;
    is_read(&job, 1_000);
    job.stop(StopMode::Suspend)?;
    assert_eq!(job.wait()?.state, JobState::Stopped);
    drop(job);
    let refusal = |config| launch(&graph(), config).err().expect("it is another plan").to_string();
    let text = refusal(config(&dir).key_groups(128));
    assert!(text.contains("was `64`, is `128`"), "{text}");
    let text = refusal(config(&dir).key_groups(64).parallelism(3));
    assert!(text.contains("parallelism") && text.contains("was `2`, is `3`"), "{text}");
    controls.allow(1_000_000);
    assert_eq!(launch(&graph(), config(&dir).key_groups(64))?.wait()?.state, JobState::Finished);
    assert_eq!(memory.output(), expected(4_000));
    Ok(())
}

#[test]
fn a_state_directory_that_was_moved_is_resumed_at_its_new_place_case_76() -> Result<()> {
    let dir = tempfile::tempdir().expect("a directory");
    let (controls, memory) = (Controls::closed(), Memory::default());
    controls.allow(1_000);
    let graph = || counting(&controls, &memory, 1_000).graph();
    let (old, new) = (dir.path().join("old"), dir.path().join("new/place"));
    let job = launch(&graph(), config(&dir).state_dir(&old))?;
    is_read(&job, 1_000);
    job.stop(StopMode::Suspend)?;
    job.wait()?;
    drop(job);
    std::fs::create_dir(dir.path().join("new")).expect("it is new");
    #[expect(clippy::disallowed_methods, reason = "what a person does with a state directory")]
    std::fs::rename(&old, &new).expect("it can be moved");
    controls.allow(1_000_000);
    let job = launch(&graph(), config(&dir).state_dir(&new))?;
    assert_eq!(job.wait()?.state, JobState::Finished);
    assert_eq!(job.totals().resumed_records, 1_000);
    assert_eq!(memory.output(), expected(4_000));
    Ok(())
}

/// An operator that gives something else each time: what is published is what was prepared, each input in it once.
#[test]
fn a_replay_that_gives_other_records_publishes_none_of_the_first_ones_case_88() -> Result<()> {
    const EACH: u64 = 4_000;
    for seed in 0..3 {
        let dir = tempfile::tempdir().expect("a directory");
        let (controls, memory) = (Controls::closed(), Memory::default());
        let calls = AtomicU64::new(0);
        let flow = Dataflow::new("moody");
        flow.source("numbers", Numbers { splits: 2, each: EACH, first: 0, controls: Arc::clone(&controls) })
            .map(move |number| Counted { key: number, count: calls.fetch_add(1, Ordering::Relaxed) })
            .sink("out", memory.clone());
        let job = launch(&flow.graph(), config(&dir).restart(RestartPolicy::None))?;
        let killing = Chaos::new(seed).at_most(5).kill_random(&job, millis(15))?;
        until(&job, "five kills", |_| {
            controls.allow(20);
            killing.killed().len() == 5
        });
        controls.allow(1_000_000);
        job.wait()?;
        let output = memory.output();
        let keys: Vec<u64> = output.iter().map(|each| each.key).collect();
        assert_eq!(keys, numbers(2 * EACH), "seed {seed}");
        let mut calls: Vec<u64> = output.iter().map(|each| each.count).collect();
        calls.sort_unstable();
        calls.dedup();
        assert_eq!(calls.len(), output.len(), "each call's record at most once, seed {seed}");
    }
    Ok(())
}

/// A sink whose writers panic when they are dropped, as often as `panics` says.
#[derive(Clone)]
struct BadlyDropped {
    memory: Memory,
    panics: Arc<AtomicU64>,
}

struct BadlyDroppedWriter {
    writer: <Memory as Sink>::Writer,
    panics: Arc<AtomicU64>,
}

impl Sink for BadlyDropped {
    type Record = Counted;
    type Writer = BadlyDroppedWriter;

    fn writer(&self, cx: &SinkContext, restored: &[Vec<u8>]) -> RuntimeResult<BadlyDroppedWriter> {
        let writer = self.memory.writer(cx, restored)?;
        Ok(BadlyDroppedWriter { writer, panics: Arc::clone(&self.panics) })
    }

    fn committer(&self, cx: &SinkContext) -> RuntimeResult<Option<Box<dyn Committer>>> {
        Sink::committer(&self.memory, cx)
    }

    fn identity(&self) -> Vec<(String, String)> {
        Vec::new()
    }
}

impl SinkWriter for BadlyDroppedWriter {
    type Record = Counted;

    fn write(&mut self, batch: &mut Batch<Counted>, range: std::ops::Range<usize>) -> RuntimeResult<()> {
        let due = |left: u64| (left % 2 == 1).then(|| left - 1);
        let is_due = self.panics.fetch_update(Ordering::AcqRel, Ordering::Acquire, due).is_ok();
        assert!(!is_due, "while it writes");
        self.writer.write(batch, range)
    }

    fn freeze(&mut self, checkpoint: CheckpointId) -> RuntimeResult<(Vec<u8>, Option<PrepareJob>)> {
        self.writer.freeze(checkpoint)
    }
}

impl Drop for BadlyDroppedWriter {
    fn drop(&mut self) {
        let due = |left: u64| (left > 0 && left.is_multiple_of(2)).then(|| left - 1);
        let is_due = self.panics.fetch_update(Ordering::AcqRel, Ordering::Acquire, due).is_ok();
        assert!(!is_due, "while it is dropped");
    }
}

/// By turns a writer panics as it is dropped after a kill, and panics as it writes.
#[test]
fn user_code_that_panics_in_drop_costs_a_restart_and_no_record_case_115() -> Result<()> {
    let dir = tempfile::tempdir().expect("a directory");
    let (controls, memory) = (Controls::closed(), Memory::default());
    let panics = Arc::new(AtomicU64::new(0));
    let flow = Dataflow::new("badly-dropped");
    flow.source("numbers", Numbers { splits: 2, each: 2_000, first: 0, controls: Arc::clone(&controls) })
        .map(|number| Counted { key: number, count: 0 })
        .sink("out", BadlyDropped { memory: memory.clone(), panics: Arc::clone(&panics) });
    let policy = RestartPolicy::FixedDelay { attempts: 20, delay: Duration::ZERO };
    let job = launch(&flow.graph(), config(&dir).restart(policy))?;
    for _ in 0..3 {
        until(&job, "it runs", |job| job.state() == JobState::Running);
        panics.store(4, Ordering::Release);
        until(&job, "a sink to kill", |job| job.kill("out/0").is_ok());
        until(&job, "both panics have come twice", |_| {
            controls.allow(1);
            panics.load(Ordering::Acquire) == 0
        });
    }
    controls.allow(1_000_000);
    assert_eq!(job.wait()?.state, JobState::Finished);
    let keys: Vec<u64> = memory.output().iter().map(|each| each.key).collect();
    assert_eq!(keys, numbers(4_000));
    Ok(())
}

/// The region's actor is killed while it waits to start again: its successor starts at once, and the wait of the one
/// before ends in an attempt that is none of its business.
#[test]
fn a_restart_that_was_scheduled_by_a_dead_actor_starts_nothing_case_117() -> Result<()> {
    let dir = tempfile::tempdir().expect("a directory");
    let controls = Controls::closed();
    let panics = AtomicU64::new(1);
    controls.each_record(move |record| {
        let is_due = record == 100 && take_one(&panics);
        assert!(!is_due, "once");
    });
    let policy = RestartPolicy::FixedDelay { attempts: 1, delay: millis(300) };
    let job = launch(&pipeline(&controls, 1, 5_000), config(&dir).restart(policy))?;
    controls.allow(1_000);
    until(&job, "it waits to start again", |job| job.state() == JobState::Restarting);
    job.kill("region-0")?;
    until(&job, "it runs again", |job| job.state() == JobState::Running);
    let restarts = job.totals().restarts;
    // Longer than the wait that was asked for.
    assert!(job.wait_for(millis(500))?.is_none());
    assert_eq!(job.totals().restarts, restarts);
    finishes_with(&job, &controls, 5_000)
}

/// One of the subtasks of a source that has nothing to emit hangs.
fn hang_a_source(job: &Job, controls: &Controls) -> Hang {
    let (hang, reach) = hang();
    controls.each_wait(move || {
        reach();
        millis(1)
    });
    hang.await_reached(job);
    hang
}

/// One source hangs, so that a checkpoint stays under way and blocks the lanes of the other; then the actor ends that
/// would have told of its abort. Nothing is triggered afterwards that could overtake it.
#[test]
fn lanes_blocked_for_a_checkpoint_whose_coordinator_ended_are_open_again_case_9() -> Result<()> {
    let dir = tempfile::tempdir().expect("a directory");
    let controls = Controls::closed();
    let passed = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&passed);
    controls.each_record(move |_| {
        count.fetch_add(1, Ordering::AcqRel);
    });
    let job = launch(&pipeline(&controls, 4, 2_000), config(&dir).checkpoint_interval(millis(3_600_000)))?;
    let has_passed = |records| {
        until(&job, "records have passed", |_| passed.load(Ordering::Acquire) >= records);
    };
    controls.allow(1_000);
    has_passed(1_000);
    let hang = hang_a_source(&job, &controls);
    std::thread::scope(|scope| {
        let asked = scope.spawn(|| job.checkpoint());
        until(&job, "lanes are blocked", |job| {
            activities(job).iter().any(|(_, activity)| *activity == Activity::Aligning)
        });
        job.kill("checkpoints")?;
        controls.allow(500);
        has_passed(1_500);
        assert!(asked.join().expect("no panic").is_err(), "the checkpoint was aborted");
        Ok::<_, tidegate_supervisor::Error>(())
    })?;
    hang.release();
    finishes_with(&job, &controls, 8_000)?;
    assert_eq!(job.totals().restarts, 0);
    Ok(())
}

/// Two subtasks of a region end together, and what is restored for that fails twice more.
#[test]
fn failures_together_and_during_a_restore_restore_the_same_checkpoint_case_14() -> Result<()> {
    let dir = tempfile::tempdir().expect("a directory");
    let (controls, failures) = (Controls::closed(), Arc::new(AtomicU64::new(0)));
    let left = Arc::clone(&failures);
    controls.each_build(move || assert!(!take_one(&left), "twice"));
    let job = launch(&pipeline(&controls, 4, 2_000), config(&dir).checkpoint_interval(millis(3_600_000)))?;
    controls.allow(1_000);
    is_read(&job, 1_000);
    let before = job.checkpoint()?;
    controls.allow(1_000);
    is_read(&job, 2_000);
    failures.store(2, Ordering::Release);
    job.kill("middle/0")?;
    // It may have gone with its region already.
    let _ = job.kill("middle/1");
    until(&job, "both failures have come", |_| failures.load(Ordering::Acquire) == 0);
    until(&job, "it runs again", |job| job.state() == JobState::Running);
    assert_eq!(job.totals().restarts, 3);
    assert!(job.checkpoint()? > before);
    finishes_with(&job, &controls, 8_000)
}

/// A source hangs while its attempt is ended, and the worker ends that waits for it: the next one goes on waiting, gives
/// the threads up, and what the source does when it comes back is nobody's.
#[test]
fn what_a_worker_was_ending_when_it_ended_is_ended_by_the_next_case_119() -> Result<()> {
    let dir = tempfile::tempdir().expect("a directory");
    let controls = Controls::closed();
    let job = launch(&pipeline(&controls, 4, 2_000), config(&dir))?;
    controls.allow(1_000);
    is_read(&job, 1_000);
    let hang = hang_a_source(&job, &controls);
    job.kill("middle/0")?;
    until(&job, "it is being ended", |job| job.state() == JobState::Restarting);
    job.kill("worker-0")?;
    until(&job, "its threads are given up", |job| job.totals().abandoned_runtimes == 1);
    until(&job, "it runs again", |job| job.state() == JobState::Running);
    until(&job, "it goes on", |job| {
        controls.allow(100);
        job.totals().records_in >= 2_000
    });
    hang.release();
    finishes_with(&job, &controls, 8_000)
}

/// A commit can't be killed: it is on a thread of its own, the next attempt waits for it for a while and commits the
/// same itself, and the job ends without it.
#[test]
fn a_commit_that_hangs_stops_no_actor_and_the_next_attempt_commits_case_121() -> Result<()> {
    let dir = tempfile::tempdir().expect("a directory");
    let controls = Controls::closed();
    let (hang, reach) = hang();
    controls.each_commit(move |_| {
        reach();
        Ok(())
    });
    let job = launch(&pipeline(&controls, 4, 2_000), config(&dir))?;
    controls.allow(1_000);
    hang.await_reached(&job);
    let completed = job.totals().checkpoints_completed;
    until(&job, "checkpoints go on", |job| job.totals().checkpoints_completed > completed + 2);
    job.kill("middle/0")?;
    until(&job, "it has restarted", |job| job.totals().restarts == 1 && job.state() == JobState::Running);
    finishes_with(&job, &controls, 8_000)?;
    drop(hang);
    Ok(())
}

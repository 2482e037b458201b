//! Keyed state in the store, under chaos: the counts are those of a sequential loop.

mod common;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use common::{Controls, Numbers, config, until};
use serde::{Deserialize, Serialize};
use tidegate_operators::Dataflow;
use tidegate_runtime::config::{JobConfig, StateBackend};
use tidegate_runtime::element::Batch;
use tidegate_runtime::error::{BoxError, Result as RuntimeResult};
use tidegate_runtime::id::CheckpointId;
use tidegate_runtime::sink::{Committable, Committer, PrepareJob, Sink, SinkContext, SinkWriter};
use tidegate_runtime::time::millis;
use tidegate_supervisor::testing::Chaos;
use tidegate_supervisor::{JobState, Result, StopMode, launch};

const KEYS: u64 = 97;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Counted {
    key: u64,
    count: u64,
}

/// Exactly once into memory: committed by (subtask, attempt, checkpoint).
#[derive(Clone, Default)]
struct Memory {
    committed: Arc<Mutex<BTreeMap<(u32, u64, u64), Vec<Counted>>>>,
}

struct MemoryWriter {
    subtask: u32,
    attempt: u64,
    open: Vec<Counted>,
}

impl Memory {
    fn output(&self) -> Vec<Counted> {
        let committed = self.committed.lock().unwrap_or_else(PoisonError::into_inner);
        let mut all: Vec<_> = committed.values().flatten().copied().collect();
        all.sort_unstable();
        all
    }
}

impl Sink for Memory {
    type Record = Counted;
    type Writer = MemoryWriter;

    fn writer(&self, cx: &SinkContext, _: &[Vec<u8>]) -> RuntimeResult<MemoryWriter> {
        Ok(MemoryWriter { subtask: cx.subtask.index, attempt: cx.attempt.0, open: Vec::new() })
    }

    fn committer(&self, _: &SinkContext) -> RuntimeResult<Option<Box<dyn Committer>>> {
        Ok(Some(Box::new(self.clone())))
    }

    fn identity(&self) -> Vec<(String, String)> {
        Vec::new()
    }
}

type Prepared = (u32, u64, u64, Vec<Counted>);

impl SinkWriter for MemoryWriter {
    type Record = Counted;

    fn write(&mut self, batch: &mut Batch<Counted>, range: std::ops::Range<usize>) -> RuntimeResult<()> {
        self.open.extend_from_slice(&batch.records[range]);
        Ok(())
    }

    fn freeze(&mut self, checkpoint: CheckpointId) -> RuntimeResult<(Vec<u8>, Option<PrepareJob>)> {
        let prepared: Prepared = (self.subtask, self.attempt, checkpoint.0, std::mem::take(&mut self.open));
        let prepare = move || {
            let bytes = postcard::to_stdvec(&prepared).map_err(|error| BoxError::from(error.to_string()))?;
            Ok(vec![Committable(bytes)])
        };
        Ok((Vec::new(), Some(Box::new(prepare))))
    }
}

impl Committer for Memory {
    fn commit(&mut self, _: CheckpointId, committables: &[Committable]) -> RuntimeResult<()> {
        let mut committed = self.committed.lock().unwrap_or_else(PoisonError::into_inner);
        for committable in committables {
            let (subtask, attempt, checkpoint, records): Prepared =
                postcard::from_bytes(&committable.0).map_err(|error| BoxError::from(error.to_string()))?;
            committed.insert((subtask, attempt, checkpoint), records);
        }
        Ok(())
    }
}

fn counting(controls: &Arc<Controls>, memory: &Memory, each: u64) -> Dataflow {
    let flow = Dataflow::new("counting");
    flow.source("numbers", Numbers { splits: 4, each, first: 0, controls: Arc::clone(controls) })
        .key_by(|number| number % KEYS)
        .stateful_map("count", |count: &mut u64, number| {
            *count += 1;
            Counted { key: number % KEYS, count: *count }
        })
        .sink("out", memory.clone());
    flow
}

/// Every key's counts, one after the other.
fn expected(total: u64) -> Vec<Counted> {
    let mut counts: BTreeMap<u64, u64> = BTreeMap::new();
    let mut all = Vec::new();
    for number in 0..total {
        let count = counts.entry(number % KEYS).or_default();
        *count += 1;
        all.push(Counted { key: number % KEYS, count: *count });
    }
    all.sort_unstable();
    all
}

fn survives(seed: u64, config: JobConfig) -> Result<()> {
    const EACH: u64 = 4_000;
    let controls = Controls::closed();
    let memory = Memory::default();
    let job = launch(&counting(&controls, &memory, EACH).graph(), config)?;
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

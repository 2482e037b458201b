//! Recovery of a killed keyed subtask: until the first record out of the new attempt, and until it has caught up.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tidegate::prelude::{Dataflow, Endpoint, Execute, Job, JobConfig, RestartPolicy};
use tidegate::runtime::Result;
use tidegate::runtime::element::Batch;
use tidegate::runtime::id::CheckpointId;
use tidegate::runtime::sink::{PrepareJob, Sink, SinkContext, SinkWriter};
use tidegate::runtime::time::Clock;

use crate::data::Random;
use crate::options::Effort;
use crate::paced::{Paced, Preload, Progress, Tick};
use crate::report::{Row, median};
use crate::throughput::Outcome;

const BENCH: &str = "recovery";
const PARALLELISM: u32 = 2;
const CHECKPOINT_MS: u64 = 1_000;
/// Records a second once every key is there.
const RATE: u64 = 200_000;
const SIZES: [(&str, u64); 2] = [("1M", 1_000_000), ("4M", 4_000_000)];
/// Completed checkpoints before the first kill.
const CHECKPOINTS_BEFORE: u64 = 2;
/// Longest that loading, or a recovery, may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks at the job.
const LOOK: Duration = Duration::from_millis(2);

/// The plan of the pipeline.
pub(crate) fn plan() -> Outcome<String> {
    let (flow, _, _) = flow(SIZES[0].1);
    Ok(flow.with_config(JobConfig::new().parallelism(PARALLELISM)).explain()?)
}

fn flow(keys: u64) -> (Dataflow, Arc<Progress>, Arc<Watch>) {
    let flow = Dataflow::new(BENCH);
    let (progress, watch) = (Arc::new(Progress::default()), Arc::new(Watch::default()));
    let source = Paced { keys, preload: Preload::EveryKey, rate: RATE, progress: Arc::clone(&progress) };
    flow.source("ticks", source)
        .key_by(|tick| tick.key)
        .stateful_map("count", |count: &mut u64, tick| {
            *count += 1;
            tick
        })
        .sink("watch", Watching(Arc::clone(&watch)));
    (flow, progress, watch)
}

/// What the sinks look out for.
#[derive(Default)]
struct Watch {
    /// The highest attempt that has written.
    attempt: AtomicU64,
    /// The number after the highest seen by that attempt, and when it was seen, by lane of the source.
    seen: [AtomicU64; 2],
}

/// One kill.
struct Recovery {
    first: Duration,
    caught_up: Duration,
}

/// Kills a subtask several times at each size.
pub(crate) fn run(effort: Effort, clock: &Clock) -> Outcome<Vec<Row>> {
    let kills = if effort == Effort::Quick { 4 } else { 12 };
    let mut rows: Vec<Row> = Vec::new();
    for (case, keys) in SIZES {
        let (recoveries, completed, bytes) = recover(keys, kills, clock)?;
        let ms = |of: fn(&Recovery) -> Duration| -> Vec<f64> {
            recoveries.iter().map(|recovery| of(recovery).as_secs_f64() * 1_000.0).collect()
        };
        for (case, samples) in [
            (case.to_owned(), ms(|recovery| recovery.first)),
            (format!("{case} until caught up"), ms(|recovery| recovery.caught_up)),
        ] {
            let mut row = Row::new(BENCH, case, "ms", &samples);
            row.parallelism = Some(PARALLELISM);
            row.checkpoint_ms = Some(CHECKPOINT_MS);
            row.checkpoints_completed = Some(completed);
            row.checkpoint_bytes = Some(bytes);
            rows.push(row);
        }
    }
    Ok(rows)
}

fn recover(keys: u64, kills: usize, clock: &Clock) -> Outcome<(Vec<Recovery>, u64, u64)> {
    let dir = tempfile::tempdir()?;
    let (flow, progress, watch) = flow(keys);
    let config = JobConfig::new()
        .parallelism(PARALLELISM)
        .state_dir(dir.path().join("state"))
        .checkpoint_interval(Duration::from_millis(CHECKPOINT_MS))
        .restart(RestartPolicy::FixedDelay { attempts: u32::MAX, delay: Duration::ZERO })
        .endpoint(Endpoint::Off);
    let job = flow.with_config(config).launch()?;
    let loaded = || progress.emitted.iter().all(|lane| lane.load(Ordering::Relaxed) >= keys);
    wait_until(&job, clock, "every key is loaded", loaded)?;
    let mut random = Random(keys);
    let mut recoveries = Vec::new();
    let mut completed = job.totals().checkpoints_completed;
    for _ in 0..kills {
        completed += CHECKPOINTS_BEFORE;
        wait_until(&job, clock, "checkpoints complete", || job.totals().checkpoints_completed >= completed)?;
        job.wait_for(Duration::from_millis(random.next() % 600))?;
        recoveries.push(kill(&job, &progress, &watch, clock)?);
        completed = job.totals().checkpoints_completed;
    }
    let mut bytes: Vec<f64> = job.checkpoints().iter().map(|record| record.bytes as f64).collect();
    bytes.sort_by(f64::total_cmp);
    job.abandon();
    job.wait_for(PATIENCE).ok();
    Ok((recoveries, completed, median(&bytes) as u64))
}

fn kill(job: &Job, progress: &Progress, watch: &Watch, clock: &Clock) -> Outcome<Recovery> {
    let attempt = watch.attempt.load(Ordering::Acquire);
    let targets: Vec<u64> = progress.emitted.iter().map(|lane| lane.load(Ordering::Relaxed)).collect();
    let began = clock.elapsed();
    job.kill("count/0")?;
    wait_until(job, clock, "the new attempt writes", || watch.attempt.load(Ordering::Acquire) > attempt)?;
    let first = clock.elapsed() - began;
    let has_caught_up =
        || targets.iter().zip(&watch.seen).all(|(target, seen)| seen.load(Ordering::Acquire) >= *target);
    wait_until(job, clock, "the new attempt has caught up", has_caught_up)?;
    Ok(Recovery { first, caught_up: clock.elapsed() - began })
}

fn wait_until(job: &Job, clock: &Clock, what: &str, mut is_so: impl FnMut() -> bool) -> Outcome<()> {
    let began = clock.elapsed();
    while !is_so() {
        if clock.elapsed() - began > PATIENCE {
            return Err(format!("waited {PATIENCE:?} until {what}").into());
        }
        if let Some(report) = job.wait_for(LOOK)? {
            return Err(format!("the job ended as {} before {what}", report.state).into());
        }
    }
    Ok(())
}

/// Tells when a new attempt writes, and how far it has come.
struct Watching(Arc<Watch>);

impl Sink for Watching {
    type Record = Tick;
    type Writer = WatchingWriter;

    fn writer(&self, cx: &SinkContext, _state: &[Vec<u8>]) -> Result<WatchingWriter> {
        Ok(WatchingWriter { attempt: cx.attempt.0, watch: Arc::clone(&self.0) })
    }

    fn identity(&self) -> Vec<(String, String)> {
        Vec::new()
    }
}

struct WatchingWriter {
    attempt: u64,
    watch: Arc<Watch>,
}

impl SinkWriter for WatchingWriter {
    type Record = Tick;

    fn write(&mut self, batch: &mut Batch<Tick>, range: Range<usize>) -> Result<()> {
        // A new attempt's first write forgets what the old ones saw.
        if self.watch.attempt.fetch_max(self.attempt, Ordering::AcqRel) < self.attempt {
            self.watch.seen.iter().for_each(|seen| seen.store(0, Ordering::Release));
        }
        for tick in &batch.records[range] {
            let lane = (tick.number % u64::from(PARALLELISM)) as usize;
            self.watch.seen[lane].fetch_max(tick.number + u64::from(PARALLELISM), Ordering::Relaxed);
        }
        Ok(())
    }

    fn freeze(&mut self, _checkpoint: CheckpointId) -> Result<(Vec<u8>, Option<PrepareJob>)> {
        Ok((Vec::new(), None))
    }
}

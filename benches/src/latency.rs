//! Latency from emission to sink at 100,000 records a second: one keyed exchange with checkpoints, beside two threads
//! and a bounded channel.

use std::ops::Range;
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tidegate::prelude::{Dataflow, Endpoint, Execute, JobConfig};
use tidegate::runtime::Result;
use tidegate::runtime::checkpoint::manifest::CheckpointKind;
use tidegate::runtime::element::Batch;
use tidegate::runtime::id::CheckpointId;
use tidegate::runtime::sink::{PrepareJob, Sink, SinkContext, SinkWriter};
use tidegate::runtime::time::Clock;
use tidegate::supervisor::CheckpointStatus;

use crate::data::mix;
use crate::loops::table::Table;
use crate::options::Effort;
use crate::paced::{Paced, Preload, Progress, Tick};
use crate::report::{Row, median};
use crate::throughput::Outcome;

const RATE: u64 = 100_000;
const KEYS: u64 = 10_000;
/// Both sides emit what is due once a millisecond.
const TICK: Duration = Duration::from_millis(1);
/// Records that may wait in the channel between the two threads.
const CHANNEL_MAX: usize = 1_024;
/// Part of the samples, at the start, that is left out.
const WARM: f64 = 0.15;
const CHECKPOINT_MS: u64 = 1_000;
const PERCENTILES: [(&str, f64); 3] = [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999)];
const BENCH: &str = "latency";

/// Nanoseconds from emission to sink.
type Samples = Arc<Mutex<Vec<u64>>>;

/// The plan of the pipeline.
pub(crate) fn plan() -> Outcome<String> {
    let flow = flow(&Samples::default()).with_config(JobConfig::new().parallelism(2));
    Ok(flow.explain()?)
}

fn flow(samples: &Samples) -> Dataflow {
    let flow = Dataflow::new(BENCH);
    let source =
        Paced { keys: KEYS, preload: Preload::Nothing, rate: RATE, progress: Arc::new(Progress::default()) };
    flow.source("ticks", source)
        .key_by(|tick| tick.key)
        .stateful_map("count", |count: &mut u64, tick| {
            *count += 1;
            tick
        })
        .sink("latencies", Latencies(Arc::clone(samples)));
    flow
}

/// Percentiles of one kind of run, by percentile and repetition, in microseconds.
type Percentiles = [Vec<f64>; 3];

/// Measures both in turn.
pub(crate) fn run(effort: Effort, clock: &Clock) -> Outcome<Vec<Row>> {
    let (rounds, seconds, thread_seconds) = match effort {
        Effort::Quick => (2, 6.4, 2.0),
        Effort::Full => (5, 8.5, 5.0),
    };
    let mut threads = Percentiles::default();
    let mut pipelines = [Percentiles::default(), Percentiles::default()];
    let mut completed = [usize::MAX; 2];
    let mut bytes = [Vec::new(), Vec::new()];
    for _ in 0..rounds {
        add(&mut threads, two_threads(Duration::from_secs_f64(thread_seconds), clock));
        for parallelism in [1, 2] {
            let at = parallelism as usize - 1;
            let (samples, checkpoints) = pipeline(parallelism, Duration::from_secs_f64(seconds))?;
            add(&mut pipelines[at], samples);
            completed[at] = completed[at].min(checkpoints.len());
            bytes[at].extend(checkpoints);
        }
    }
    let mut rows = Vec::new();
    for parallelism in [1_u32, 2] {
        let at = parallelism as usize - 1;
        bytes[at].sort_by(f64::total_cmp);
        for (index, (case, _)) in PERCENTILES.into_iter().enumerate() {
            let mut row = Row::new(BENCH, case, "us", &pipelines[at][index]);
            row.parallelism = Some(parallelism);
            row.checkpoint_ms = Some(CHECKPOINT_MS);
            row.checkpoints_completed = Some(completed[at] as u64);
            row.checkpoint_bytes = Some(median(&bytes[at]) as u64);
            row.ratio_to_loop = Some(row.median / Row::new(BENCH, case, "us", &threads[index]).median);
            rows.push(row);
        }
    }
    for (index, (case, _)) in PERCENTILES.into_iter().enumerate() {
        rows.push(Row::new(BENCH, format!("two threads {case}"), "us", &threads[index]));
    }
    Ok(rows)
}

fn add(percentiles: &mut Percentiles, mut samples: Vec<u64>) {
    let mut measured = samples.split_off((samples.len() as f64 * WARM) as usize);
    measured.sort_unstable();
    for (into, (_, part)) in percentiles.iter_mut().zip(PERCENTILES) {
        let at = ((measured.len() as f64 * part) as usize).min(measured.len().saturating_sub(1));
        into.push(measured.get(at).map_or(0.0, |ns| *ns as f64 / 1_000.0));
    }
}

/// Samples of one run, and the bytes of each completed checkpoint.
fn pipeline(parallelism: u32, length: Duration) -> Outcome<(Vec<u64>, Vec<f64>)> {
    let dir = tempfile::tempdir()?;
    let samples = Samples::default();
    let config = JobConfig::new()
        .parallelism(parallelism)
        .state_dir(dir.path().join("state"))
        .checkpoint_interval(Duration::from_millis(CHECKPOINT_MS))
        .endpoint(Endpoint::Off);
    let job = flow(&samples).with_config(config).launch()?;
    job.wait_for(length)?;
    let checkpoints = job.checkpoints();
    let is_counted = |record: &&tidegate::supervisor::CheckpointRecord| {
        record.kind == CheckpointKind::Periodic && record.status == CheckpointStatus::Completed
    };
    let bytes = checkpoints.iter().filter(is_counted).map(|record| record.bytes as f64).collect();
    job.abandon();
    job.wait_for(Duration::from_secs(5)).ok();
    let samples = std::mem::take(&mut *samples.lock().map_err(|_| "a sink panicked")?);
    Ok((samples, bytes))
}

/// A thread that emits and a thread that counts by key.
fn two_threads(length: Duration, clock: &Clock) -> Vec<u64> {
    let (sender, receiver) = sync_channel::<Tick>(CHANNEL_MAX);
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let began = clock.elapsed();
            let mut number = 0;
            while clock.elapsed() - began < length {
                let due = ((clock.elapsed() - began).as_secs_f64() * RATE as f64) as u64;
                while number < due {
                    let emitted_ns = clock.elapsed().as_nanos() as u64;
                    let tick = Tick { key: mix(mix(number) % KEYS) | 1, number, emitted_ns };
                    if sender.send(tick).is_err() {
                        return;
                    }
                    number += 1;
                }
                wait_a_tick();
            }
        });
        let mut counts: Table<u64> = Table::with_room(KEYS as usize);
        let mut samples = Vec::new();
        while let Ok(tick) = receiver.recv() {
            *counts.entry(tick.key) += 1;
            samples.push(clock.elapsed().as_nanos() as u64 - tick.emitted_ns);
        }
        std::hint::black_box(counts.len());
        samples
    })
}

#[expect(clippy::disallowed_methods, reason = "the hand-written side paces itself by sleeping")]
fn wait_a_tick() {
    std::thread::sleep(TICK);
}

/// Notes how old records are.
struct Latencies(Samples);

impl Sink for Latencies {
    type Record = Tick;
    type Writer = LatencyWriter;

    fn writer(&self, cx: &SinkContext, _state: &[Vec<u8>]) -> Result<LatencyWriter> {
        Ok(LatencyWriter { clock: cx.clock.clone(), samples: Arc::clone(&self.0) })
    }

    fn identity(&self) -> Vec<(String, String)> {
        Vec::new()
    }
}

struct LatencyWriter {
    clock: Clock,
    samples: Samples,
}

impl SinkWriter for LatencyWriter {
    type Record = Tick;

    fn write(&mut self, batch: &mut Batch<Tick>, range: Range<usize>) -> Result<()> {
        let mut samples = self.samples.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        for tick in &batch.records[range] {
            samples.push((self.clock.elapsed().as_nanos() as u64).saturating_sub(tick.emitted_ns));
        }
        Ok(())
    }

    fn freeze(&mut self, _checkpoint: CheckpointId) -> Result<(Vec<u8>, Option<PrepareJob>)> {
        Ok((Vec::new(), None))
    }
}

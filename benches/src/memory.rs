//! Resident memory of keyed-count while it runs: it must be flat once every key is known.

use std::time::Duration;

use tidegate::prelude::{Dataflow, Endpoint, Execute, JobConfig, discard, generate};
use tidegate::runtime::time::Clock;

use crate::data::KEYS;
use crate::options::Effort;
use crate::report::Row;
use crate::throughput::Outcome;

const BENCH: &str = "memory";
const PARALLELISM: u32 = 2;
const CHECKPOINT_MS: u64 = 1_000;
/// Until every key is known and the first checkpoints are folded.
const WARM_UP: Duration = Duration::from_secs(10);

/// The plan of the pipeline.
pub(crate) fn plan() -> Outcome<String> {
    Ok(flow().with_config(JobConfig::new().parallelism(PARALLELISM)).explain()?)
}

fn flow() -> Dataflow {
    let flow = Dataflow::new(BENCH);
    let mixed = |index: u64| (index.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20) % KEYS as u64;
    flow.source("keys", generate(mixed))
        .key_by(|key| *key)
        .stateful_map("count", |count: &mut u64, key| {
            *count += 1;
            (key, *count)
        })
        .sink("counts", discard().0);
    flow
}

/// Samples the resident memory once a second, after the warm-up.
pub(crate) fn run(effort: Effort, clock: &Clock) -> Outcome<Vec<Row>> {
    let seconds = if effort == Effort::Quick { 20 } else { 60 };
    let dir = tempfile::tempdir()?;
    let config = JobConfig::new()
        .parallelism(PARALLELISM)
        .state_dir(dir.path().join("state"))
        .checkpoint_interval(Duration::from_millis(CHECKPOINT_MS))
        .endpoint(Endpoint::Off);
    let job = flow().with_config(config).launch()?;
    job.wait_for(WARM_UP)?;
    let mut samples = Vec::new();
    let began = clock.elapsed();
    while clock.elapsed() - began < Duration::from_secs(seconds) {
        job.wait_for(Duration::from_secs(1))?;
        samples.push(resident_mib()?);
    }
    let completed = job.totals().checkpoints_completed;
    job.abandon();
    job.wait_for(WARM_UP).ok();
    let (first, second) = samples.split_at(samples.len() / 2);
    let halves = [("resident memory, first half", first), ("resident memory, second half", second)];
    Ok(halves
        .into_iter()
        .map(|(case, samples)| {
            let mut row = Row::new(BENCH, case, "MiB", samples);
            row.parallelism = Some(PARALLELISM);
            row.checkpoint_ms = Some(CHECKPOINT_MS);
            row.checkpoints_completed = Some(completed);
            row
        })
        .collect())
}

fn resident_mib() -> Outcome<f64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line =
        status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS in /proc/self/status")?;
    let kib: f64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kib / 1_024.0)
}

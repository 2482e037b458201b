//! Measures a pipeline's throughput beside its loop: same records, same results, in turn, in one run.

use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tidegate::prelude::{Dataflow, Execute};
use tidegate::runtime::Record;
use tidegate::runtime::checkpoint::manifest::CheckpointKind;
use tidegate::runtime::config::{Endpoint, JobConfig};
use tidegate::runtime::time::Clock;
use tidegate::supervisor::{CheckpointRecord, CheckpointStatus};

use crate::data::{Cyclic, Work};
use crate::options::Effort;
use crate::report::{Row, median};
use crate::sink::{Check, Measured};
use crate::source::Cycle;
use crate::stopwatch::Stopwatch;

/// What the error of a benchmark says.
pub(crate) type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// Records of the run whose results are compared; its times are the first guess at the rates.
const COMPARED: u64 = 6_000_000;
/// Time between checkpoints where they are on.
const CHECKPOINT_MS: u64 = 1_000;
/// A row with checkpoints needs as many.
const CHECKPOINTS_MIN: usize = 5;

/// A loop and a pipeline that do the same to records of `T` and emit `O`s.
pub(crate) struct Throughput<T: Cyclic, O> {
    pub(crate) bench: &'static str,
    pub(crate) records: Arc<[T]>,
    /// Records that fill tables and windows first.
    pub(crate) warm: u64,
    pub(crate) by_hand: ByHand<T, O>,
    pub(crate) pipeline: fn(&Dataflow, Cycle<T>, Measured<O>),
    pub(crate) digest: fn(&O) -> u64,
}

/// A loop: goes through the work, begins the stopwatch where it is to be measured, and hands over its results.
pub(crate) type ByHand<T, O> = fn(&Work<T>, &Stopwatch, &mut dyn FnMut(&[O]));

/// How long a case is run, and how often.
struct Schedule {
    rounds: usize,
    rounds_with_checkpoints: usize,
    seconds: f64,
    seconds_with_checkpoints: f64,
}

impl Schedule {
    fn of(effort: Effort) -> Self {
        match effort {
            Effort::Quick => {
                Self { rounds: 3, rounds_with_checkpoints: 1, seconds: 1.2, seconds_with_checkpoints: 6.5 }
            }
            Effort::Full => {
                Self { rounds: 7, rounds_with_checkpoints: 3, seconds: 3.0, seconds_with_checkpoints: 8.0 }
            }
        }
    }
}

/// One case of a pipeline.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Case {
    parallelism: u32,
    checkpoints: Checkpoints,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Checkpoints {
    Off,
    On,
}

const CASES: [Case; 4] = [
    Case { parallelism: 1, checkpoints: Checkpoints::Off },
    Case { parallelism: 1, checkpoints: Checkpoints::On },
    Case { parallelism: 2, checkpoints: Checkpoints::Off },
    Case { parallelism: 2, checkpoints: Checkpoints::On },
];

/// What was measured of a case.
#[derive(Default)]
struct Samples {
    rates: Vec<f64>,
    completed: Vec<usize>,
    bytes: Vec<f64>,
}

/// One run of a pipeline.
struct Ran {
    elapsed: Duration,
    sum: u64,
    checkpoints: Vec<CheckpointRecord>,
}

impl<T: Cyclic, O: Record> Throughput<T, O> {
    /// Compares results once, then measures the loop and all cases in turn.
    pub(crate) fn run(&self, effort: Effort, clock: &Clock) -> Outcome<Vec<Row>> {
        let schedule = Schedule::of(effort);
        let (mut loop_rate, mut rates) = self.compare(clock)?;
        let mut loops = Vec::new();
        let mut samples: [Samples; 4] = Default::default();
        for round in 0..schedule.rounds {
            loop_rate = self.measure_loop(loop_rate * schedule.seconds, clock);
            loops.push(loop_rate);
            for (position, case) in CASES.into_iter().enumerate() {
                let rate = &mut rates[case.parallelism as usize - 1];
                let seconds = match case.checkpoints {
                    Checkpoints::Off => schedule.seconds,
                    Checkpoints::On if round < schedule.rounds_with_checkpoints => {
                        schedule.seconds_with_checkpoints
                    }
                    Checkpoints::On => continue,
                };
                let measured = self.measure(case, *rate * seconds, clock, &mut samples[position])?;
                if case.checkpoints == Checkpoints::Off {
                    *rate = measured;
                }
            }
        }
        Ok(self.rows(&loops, &samples))
    }

    /// The plan of the pipeline at its highest parallelism.
    pub(crate) fn explain(&self, clock: &Clock) -> Outcome<String> {
        let flow = Dataflow::new(self.bench).with_config(JobConfig::new().parallelism(2));
        let (source, sink) = self.ends(self.work(1), Check::Off, clock);
        (self.pipeline)(&flow, source, sink);
        Ok(flow.explain()?)
    }

    /// The loop and the pipeline must agree. Returns the rate of the loop, and of the pipeline by parallelism.
    fn compare(&self, clock: &Clock) -> Outcome<(f64, [f64; 2])> {
        let work = self.work(COMPARED);
        let check = Check::Sum(self.digest);
        let (mut expected, mut results) = (0_u64, 0);
        let stopwatch = Stopwatch::new(clock);
        (self.by_hand)(&work, &stopwatch, &mut |out| {
            expected = expected.wrapping_add(check.sum(out));
            results += out.len();
        });
        let loop_rate = rate(&work, stopwatch.lap());
        let mut rates = [0.0; 2];
        for parallelism in [1, 2] {
            let case = Case { parallelism, checkpoints: Checkpoints::Off };
            let ran = self.pipe(case, work.clone(), check, clock)?;
            if ran.sum != expected {
                let problem = format!(
                    "{}: the pipeline at parallelism {parallelism} and the loop differ: their {results} results \
                     add up to {:016x} and {expected:016x}",
                    self.bench, ran.sum
                );
                return Err(problem.into());
            }
            rates[parallelism as usize - 1] = rate(&work, ran.elapsed);
        }
        Ok((loop_rate, rates))
    }

    fn measure_loop(&self, total: f64, clock: &Clock) -> f64 {
        let work = self.work(total as u64);
        let stopwatch = Stopwatch::new(clock);
        (self.by_hand)(&work, &stopwatch, &mut |out| {
            std::hint::black_box(out);
        });
        rate(&work, stopwatch.lap())
    }

    /// Runs a case over about `total` records, and adds what it came to. Returns the rate.
    fn measure(&self, case: Case, mut total: f64, clock: &Clock, samples: &mut Samples) -> Outcome<f64> {
        loop {
            let work = self.work(total as u64);
            let ran = self.pipe(case, work.clone(), Check::Off, clock)?;
            let rate = rate(&work, ran.elapsed);
            let completed: Vec<f64> = ran.checkpoints.iter().map(|record| record.bytes as f64).collect();
            if case.checkpoints == Checkpoints::On && completed.len() < CHECKPOINTS_MIN {
                let enough = (CHECKPOINTS_MIN + 1) as f64 * CHECKPOINT_MS as f64 / 1_000.0;
                let missing = enough / ran.elapsed.as_secs_f64();
                if missing <= 1.0 {
                    return Err(format!(
                        "{}: only {} checkpoints completed in {:?}",
                        self.bench,
                        completed.len(),
                        ran.elapsed
                    )
                    .into());
                }
                total *= missing * 1.2;
                continue;
            }
            samples.rates.push(rate);
            samples.completed.push(completed.len());
            samples.bytes.extend(completed);
            return Ok(rate);
        }
    }

    fn work(&self, measured: u64) -> Work<T> {
        Work::new(Arc::clone(&self.records), self.warm, measured)
    }

    fn ends(&self, work: Work<T>, check: Check<O>, clock: &Clock) -> (Cycle<T>, Measured<O>) {
        let stopwatch = Arc::new(Stopwatch::new(clock));
        let sum = Arc::new(AtomicU64::new(0));
        let source = Cycle { work, stopwatch: Arc::clone(&stopwatch) };
        (source, Measured { stopwatch, check, sum, types: PhantomData })
    }

    fn pipe(&self, case: Case, work: Work<T>, check: Check<O>, clock: &Clock) -> Outcome<Ran> {
        let dir = tempfile::tempdir()?;
        let mut config = JobConfig::new()
            .parallelism(case.parallelism)
            .state_dir(dir.path().join("state"))
            .endpoint(Endpoint::Off);
        config = match case.checkpoints {
            Checkpoints::Off => config.without_checkpoints(),
            Checkpoints::On => config.checkpoint_interval(Duration::from_millis(CHECKPOINT_MS)),
        };
        let flow = Dataflow::new(self.bench);
        let (source, sink) = self.ends(work, check, clock);
        let (stopwatch, sum) = (Arc::clone(&sink.stopwatch), Arc::clone(&sink.sum));
        (self.pipeline)(&flow, source, sink);
        let job = flow.with_config(config).launch()?;
        job.wait()?;
        let mut checkpoints = job.checkpoints();
        checkpoints.retain(|record| {
            record.kind == CheckpointKind::Periodic && record.status == CheckpointStatus::Completed
        });
        Ok(Ran { elapsed: stopwatch.elapsed(), sum: sum.load(Ordering::Relaxed), checkpoints })
    }

    fn rows(&self, loops: &[f64], samples: &[Samples; 4]) -> Vec<Row> {
        const UNIT: &str = "records/s";
        let by_hand = Row { parallelism: Some(1), ..Row::new(self.bench, "loop", UNIT, loops) };
        let mut rows = vec![by_hand.clone()];
        for (case, samples) in CASES.into_iter().zip(samples) {
            let mut row = Row::new(self.bench, "tidegate", UNIT, &samples.rates);
            row.parallelism = Some(case.parallelism);
            row.checkpoint_ms = Some(0);
            row.ratio_to_loop = Some(row.median / by_hand.median);
            if case.checkpoints == Checkpoints::On {
                row.checkpoint_ms = Some(CHECKPOINT_MS);
                row.checkpoints_completed = samples.completed.iter().min().map(|completed| *completed as u64);
                let mut bytes = samples.bytes.clone();
                bytes.sort_by(f64::total_cmp);
                row.checkpoint_bytes = Some(median(&bytes) as u64);
                row.ratio_to_no_checkpoint = rows.last().map(|off| row.median / off.median);
            }
            rows.push(row);
        }
        rows
    }
}

fn rate<T: Cyclic>(work: &Work<T>, elapsed: Duration) -> f64 {
    work.measured() as f64 / elapsed.as_secs_f64()
}

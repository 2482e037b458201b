//! Event time over the public API: sources that are held open, and records that come too late.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use support::config;
use tidegate::prelude::*;

/// Each subtask of a held source falls idle after its last record; a drain ends them one after the other, and what the
/// end of one makes fire is not late for the windows behind it.
#[test]
fn a_held_job_that_is_drained_has_fired_every_window_and_lost_nothing() -> tidegate::Result<()> {
    const RECORDS: u64 = 400;
    for round in 0..40 {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let flow = Dataflow::new("held");
        let (sink, sums) = collect();
        flow.source("numbers", generate(|index| index).count(RECORDS))
            // In order within each subtask: it reads one lane of the generator, also where it is done before another begins.
            .event_time(WatermarkStrategy::monotonic(), |n| *n as i64)
            .key_by(|n| n % 50)
            .window(Tumbling::of(millis(100)))
            .aggregate("count", Count)
            .key_by(|count| count % 2)
            .window(Tumbling::of(millis(1_000)))
            .reduce("sum", |sum, count| *sum += count)
            .sink("sums", sink);
        let config = config(dir.path()).parallelism(4).after_last_record(AfterLastRecord::Hold);
        let job = flow.with_config(config).launch()?;
        while job.totals().records_in < RECORDS {
            std::thread::yield_now();
        }
        job.checkpoint()?;
        job.stop(StopMode::Drain)?;
        assert_eq!(job.wait()?.totals.late_records, 0, "round {round}");
        assert_eq!(sums.take().iter().sum::<u64>(), RECORDS, "round {round}");
    }
    Ok(())
}

/// Half of a source's subtasks are far ahead of the others in event time, and there are more of those than processors:
/// one of them always waits, and goes first.
#[test]
fn subtasks_of_a_source_that_are_behind_go_first() -> tidegate::Result<()> {
    const EACH: u64 = 20_000;
    let cores = std::thread::available_parallelism().map_or(2, |cores| cores.get() as u64);
    let subtasks = 4 * cores;
    let (behind, ahead) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let ahead_meanwhile = Arc::new(AtomicU64::new(0));
    let seen = (Arc::clone(&behind), Arc::clone(&ahead), Arc::clone(&ahead_meanwhile));
    let dir = tempfile::tempdir().expect("a temporary directory");
    let flow = Dataflow::new("turns");
    flow.source("numbers", generate(|index| index).count(subtasks * EACH))
        // Lane i of the generator holds i, i + subtasks, ...
        .event_time(
            WatermarkStrategy::monotonic(),
            move |n| if n % 2 == 0 { *n as i64 } else { 1_000_000_000 },
        )
        .inspect(move |n| {
            let (behind, ahead, ahead_meanwhile) = &seen;
            std::hint::black_box((0..100).fold(*n, |hash, n| hash.rotate_left(5) ^ n));
            if n % 2 == 1 {
                ahead.fetch_add(1, Ordering::Relaxed);
            } else if behind.fetch_add(1, Ordering::Relaxed) + 1 == subtasks / 2 * EACH {
                ahead_meanwhile.store(ahead.load(Ordering::Relaxed), Ordering::Relaxed);
            }
        })
        .filter(|_| false)
        .sink("none", collect().0);
    flow.with_config(config(dir.path()).parallelism(subtasks as u32).without_checkpoints()).run()?;
    let total = subtasks / 2 * EACH;
    assert_eq!((behind.load(Ordering::Relaxed), ahead.load(Ordering::Relaxed)), (total, total));
    let meanwhile = ahead_meanwhile.load(Ordering::Relaxed);
    assert!(meanwhile < total / 2, "{meanwhile} of {total} were read ahead");
    Ok(())
}

struct Count;

impl Aggregate for Count {
    type In = u64;
    type Acc = u64;
    type Out = u64;

    fn create(&self) -> u64 {
        0
    }

    fn add(&self, count: &mut u64, _: u64) {
        *count += 1;
    }

    fn merge(&self, count: &mut u64, other: u64) {
        *count += other;
    }

    fn finish(&self, count: &u64) -> u64 {
        *count
    }
}

#[test]
fn a_late_record_is_counted_at_the_operator_that_dropped_it() -> tidegate::Result<()> {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let flow = Dataflow::new("late");
    let (numbers, source) = channel(16);
    let (sink, largest) = collect();
    flow.source("numbers", source)
        .event_time(WatermarkStrategy::monotonic(), |n: &u64| *n as i64)
        .key_by(|_| 0_u64)
        .window(Tumbling::of(millis(10)))
        .reduce("largest", |largest, n| *largest = n.max(*largest))
        .sink("out", sink);
    let job = flow.with_config(config(dir.path()).parallelism(1)).launch()?;
    let late = || {
        let actors = job.topology().actors.into_iter();
        let figures = actors.filter_map(|actor| Some((actor.path, actor.subtask?.late_records)));
        figures.filter(|(_, late)| *late > 0).collect::<Vec<_>>()
    };
    for n in [5, 25] {
        numbers.send(n).expect("the job runs");
    }
    while largest.take().is_empty() {
        assert_eq!(late(), []);
        std::thread::yield_now();
    }
    numbers.send(7).expect("the job runs");
    while late().is_empty() {
        std::thread::yield_now();
    }
    assert_eq!(late(), [("largest/0".to_owned(), 1)]);
    drop(numbers);
    assert_eq!(job.wait()?.totals.late_records, 1);
    Ok(())
}

//! Benchmarks: each pipeline beside the fastest hand-written loop over the same records, in the same run.

mod data;
mod latency;
mod loops;
mod memory;
mod options;
mod paced;
mod pipelines;
mod recovery;
mod report;
mod sink;
mod source;
mod stopwatch;
mod throughput;

use std::process::ExitCode;

use tidegate::runtime::Record;
use tidegate::runtime::time::Clock;

use crate::data::Cyclic;
use crate::options::{Bench, Effort, Options};
use crate::report::{Format, Row};
use crate::throughput::{Outcome, Throughput};

fn main() -> ExitCode {
    let options = match options::parse(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(message) => {
            eprintln!("{message}");
            return ExitCode::from(2);
        }
    };
    match run(options) {
        Ok(rows) => {
            report::print(&rows, options.format);
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("benchmark failed: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: Options) -> Outcome<Vec<Row>> {
    match options.bench {
        Bench::KeyedCount => throughput(&pipelines::keyed_count(), options),
        Bench::MapFilter => throughput(&pipelines::map_filter(), options),
        Bench::TumblingMax => throughput(&pipelines::tumbling_max(), options),
        Bench::SlidingCount => throughput(&pipelines::sliding_count(), options),
        Bench::SessionCount => throughput(&pipelines::session_count(), options),
        Bench::Latency => with_plan(latency::plan()?, options, latency::run),
        Bench::Memory => with_plan(memory::plan()?, options, memory::run),
        Bench::Recovery => with_plan(recovery::plan()?, options, recovery::run),
    }
}

fn throughput<T: Cyclic, O: Record>(bench: &Throughput<T, O>, options: Options) -> Outcome<Vec<Row>> {
    let clock = Clock::system();
    show_plan(&bench.explain(&clock)?, options.format);
    bench.run(options.effort, &clock)
}

fn with_plan(
    plan: String,
    options: Options,
    run: fn(Effort, &Clock) -> Outcome<Vec<Row>>,
) -> Outcome<Vec<Row>> {
    show_plan(&plan, options.format);
    run(options.effort, &Clock::system())
}

/// Above the table; beside JSON lines on the other stream.
fn show_plan(plan: &str, format: Format) {
    match format {
        Format::Table => println!("{plan}"),
        Format::JsonLines => eprintln!("{plan}"),
    }
}

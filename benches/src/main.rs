//! Benchmarks: each pipeline beside the fastest hand-written loop over the same records, in the same run.

mod data;
mod loops;
mod options;
mod pipelines;
mod report;
mod sink;
mod source;
mod stopwatch;
mod throughput;

use std::process::ExitCode;

use tidegate_runtime::Record;
use tidegate_runtime::time::Clock;

use crate::data::Cyclic;
use crate::options::{Bench, Options};
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
        _ => Err("not yet".into()),
    }
}

fn throughput<T: Cyclic, O: Record>(bench: &Throughput<T, O>, options: Options) -> Outcome<Vec<Row>> {
    let clock = Clock::system();
    show_plan(&bench.explain(&clock)?, options.format);
    bench.run(options.effort, &clock)
}

/// Above the table; beside JSON lines on the other stream.
fn show_plan(plan: &str, format: Format) {
    match format {
        Format::Table => println!("{plan}"),
        Format::JsonLines => eprintln!("{plan}"),
    }
}

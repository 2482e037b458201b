//! The command line.

use crate::report::Format;

pub(crate) const USAGE: &str = "\
usage: cargo xtask bench NAME [--quick] [--json]
  keyed-count     1 M random u64 keys, a count emitted for each record
  map-filter      40-byte bids, a map and a filter, fused
  tumbling-max    highest price of each window of 10 s (window_all)
  sliding-count   bids of each auction in windows of 10 s every 2 s
  session-count   bids of each bidder in sessions with a gap of 10 s
  latency         100 k records/s through one keyed exchange, beside two threads
  memory          resident memory of keyed-count over 60 s
  recovery        a keyed subtask is killed, with 1 M and 4 M keys in redb
--quick ends within 40 s; --json prints one object a line";

/// Which benchmark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bench {
    KeyedCount,
    MapFilter,
    TumblingMax,
    SlidingCount,
    SessionCount,
    Latency,
    Memory,
    Recovery,
}

/// How long it may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effort {
    Quick,
    Full,
}

/// What was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Options {
    pub(crate) bench: Bench,
    pub(crate) effort: Effort,
    pub(crate) format: Format,
}

/// Reads the arguments; `Err` holds what to print.
pub(crate) fn parse(args: impl Iterator<Item = String>) -> Result<Options, String> {
    let (mut bench, mut effort, mut format) = (None, Effort::Full, Format::Table);
    for arg in args {
        match arg.as_str() {
            "--quick" => effort = Effort::Quick,
            "--json" => format = Format::JsonLines,
            "--help" | "-h" => return Err(USAGE.to_owned()),
            name if bench.is_none() && !name.starts_with('-') => bench = Some(named(name)?),
            other => return Err(format!("unknown argument `{other}`\n{USAGE}")),
        }
    }
    let bench = bench.ok_or_else(|| format!("name a benchmark\n{USAGE}"))?;
    Ok(Options { bench, effort, format })
}

fn named(name: &str) -> Result<Bench, String> {
    Ok(match name {
        "keyed-count" => Bench::KeyedCount,
        "map-filter" => Bench::MapFilter,
        "tumbling-max" => Bench::TumblingMax,
        "sliding-count" => Bench::SlidingCount,
        "session-count" => Bench::SessionCount,
        "latency" => Bench::Latency,
        "memory" => Bench::Memory,
        "recovery" => Bench::Recovery,
        unknown => return Err(format!("unknown benchmark `{unknown}`\n{USAGE}")),
    })
}

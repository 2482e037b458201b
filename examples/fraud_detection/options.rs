//! The command line: what may be asked for, and clear words for what may not.

mod parse;

use std::{fmt, num::NonZeroUsize, path::PathBuf, time::Duration};

use crate::generate::Recipe;

pub(crate) use parse::parse;

/// The text of `--help`.
pub(crate) const HELP: &str = "\
Finds card fraud in a stream of payments, exactly once, whatever is killed meanwhile.

usage: fraud_detection [OPTIONS]

  --transactions PATH         payments: CSV with transaction_id,account_id,card_id,amount,timestamp_ms (or .csv.gz)
  --accounts PATH             accounts: CSV with account_id,country,opened_ms (or .csv.gz)
  --generate N                make N payments in a temporary directory and run on them
  --seed S                    seed of --generate and of --kill-every [default: 7]
  --output DIR                committed alerts: DIR/*.jsonl, unknown payments: DIR/unknown/*.jsonl
                              [default: a fresh directory]
  --state DIR                 checkpoints; an unfinished run found there goes on [default: beside the output]
  --rate R                    read R payments a second, accounts in proportion [default: as fast as possible]
  --kill-every DURATION       kill a random live actor that often, such as 200ms; paces the input so that there are
                              at least 20 kills, unless --rate says otherwise
  --checkpoint-interval DURATION   [default: 100ms]
  --parallelism N             subtasks an operator [default: one a core]
  --verify                    at the end compare with a sequential computation that doesn't use Tidegate
  --hold                      keep the sources open after their last record, until Ctrl-C
  --help                      print this

Without --transactions and --accounts or --generate the files in examples/data are read.
Exit codes: 0 done, 1 failed or the comparison found a difference, 2 wrong usage or refused,
130 Ctrl-C and 143 SIGTERM: both make a last checkpoint, and the same command with the --output and --state that are
printed goes on from there. A second Ctrl-C stops at once.";

/// One valid command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    /// Run the pipeline.
    Run(Options),
    /// Print [`HELP`].
    Help,
}

/// How to run the pipeline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Options {
    pub(crate) input: Input,
    pub(crate) seed: u64,
    pub(crate) output: Option<PathBuf>,
    pub(crate) state: Option<PathBuf>,
    /// Payments a second over all subtasks.
    pub(crate) rate: Option<u64>,
    pub(crate) kill_every: Option<Duration>,
    pub(crate) checkpoint_interval: Duration,
    pub(crate) parallelism: Option<NonZeroUsize>,
    pub(crate) verify: bool,
    pub(crate) hold: bool,
}

/// Where the records come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Input {
    /// The files in `examples/data`.
    Committed,
    /// The user's own.
    Files { transactions: PathBuf, accounts: PathBuf },
    /// Made first.
    Generated(Recipe),
}

/// A command line that can't be followed: which option, and what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct UsageError {
    pub(crate) option: String,
    pub(crate) problem: String,
}

impl fmt::Display for UsageError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: {}; --help lists the options", self.option, self.problem)
    }
}

impl std::error::Error for UsageError {}

//! Project tasks, run as `cargo xtask TASK`: nothing here needs more than cargo itself.

mod cargo;
mod tidy;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

const USAGE: &str = "\
usage: cargo xtask TASK
  test [ARGS..]                    cargo test --workspace ARGS
  loom                             model checks of the hand-made concurrency
  tidy                             rules on files that clippy does not know; lists the hard cases that tests name
  bench NAME [--quick] [--json]    a benchmark beside its hand-written loop (`bench --help` lists them)
  soak [SEEDS]                     the chaos tests over many seeds (default 1000)";

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let task = args.next().unwrap_or_default();
    let rest: Vec<String> = args.collect();
    let outcome = match task.as_str() {
        "test" => cargo::test(&rest),
        "loom" => cargo::loom(),
        "tidy" => tidy::run(&root()),
        "bench" => cargo::bench(&rest),
        "soak" => cargo::soak(&rest),
        "" | "help" | "--help" | "-h" => {
            println!("{USAGE}");
            Ok(())
        }
        unknown => {
            eprintln!("unknown task `{unknown}`\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("xtask {task}: {problem}");
            ExitCode::FAILURE
        }
    }
}

/// The workspace's directory.
fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_path_buf()
}

//! Tasks that are one call of cargo with the right flags.

use std::process::Command;

use crate::root;

/// Seeds of a soak run, unless given.
const SOAK_SEEDS_DEFAULT: u32 = 1_000;

/// The workspace's tests.
pub(crate) fn test(args: &[String]) -> Result<(), String> {
    let mut cargo = cargo();
    run(cargo.args(["test", "--workspace"]).args(args))
}

/// Loom's models of the real structures; a target directory of their own, because the cfg changes every crate.
pub(crate) fn loom() -> Result<(), String> {
    let mut flags = std::env::var("RUSTFLAGS").unwrap_or_default();
    flags.push_str(" --cfg tidegate_loom");
    let mut cargo = cargo();
    cargo.env("RUSTFLAGS", flags.trim_start()).env("CARGO_TARGET_DIR", root().join("target/loom")).args([
        "test",
        "--release",
        "-p",
        "tidegate-runtime",
        "--lib",
        "exchange::loom_tests",
    ]);
    run(&mut cargo)
}

/// A benchmark.
pub(crate) fn bench(args: &[String]) -> Result<(), String> {
    let mut cargo = cargo();
    run(cargo.args(["run", "--quiet", "--release", "-p", "tidegate-bench", "--"]).args(args))
}

/// The chaos tests over many seeds.
pub(crate) fn soak(args: &[String]) -> Result<(), String> {
    let seeds = match args.first() {
        None => SOAK_SEEDS_DEFAULT,
        Some(seeds) => seeds.parse().map_err(|_| format!("`{seeds}` is not a number of seeds"))?,
    };
    let mut cargo = cargo();
    cargo.env("SEEDS", seeds.to_string()).args([
        "test",
        "--release",
        "-p",
        "tidegate",
        "--test",
        "chaos",
        "--",
        "--nocapture",
    ]);
    run(&mut cargo)
}

fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    command
}

fn run(command: &mut Command) -> Result<(), String> {
    let status = command.status().map_err(|error| format!("can't start {command:?}: {error}"))?;
    if status.success() { Ok(()) } else { Err(format!("{command:?} ended with {status}")) }
}

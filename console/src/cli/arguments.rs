//! The command line of `tidegate`.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// Looks at a running Tidegate job, and kills, checkpoints or stops it.
///
/// The job is found by itself: below ./.tidegate, and among the jobs of this user.
#[derive(Debug, Parser)]
#[command(name = "tidegate", version, max_term_width = 100, after_help = EXIT_CODES)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) selection: Selection,
    #[command(subcommand)]
    pub(crate) command: Command,
}

const EXIT_CODES: &str =
    "Exit codes: 0 done, 1 the job refused or failed it, 2 wrong usage, 3 no job answers.";

/// Which job.
#[derive(Clone, Debug, Args)]
pub(crate) struct Selection {
    /// State directory of the job
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) state: Option<PathBuf>,
    /// Name of the job, if several are running
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) job: Option<String>,
    /// Longest time to wait for the job's answer
    #[arg(long, global = true, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=240))]
    pub(crate) timeout: u64,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Print the live actor tree with its figures
    Topology(TopologyArguments),
    /// List the latest checkpoints
    Checkpoints(Format),
    /// Trigger a checkpoint and wait until it is completed
    Checkpoint(Format),
    /// Kill an actor: by its path, or by the end of it if that is unique
    Kill(KillArguments),
    /// Stop the job after a last checkpoint, so that it can be resumed
    Stop(StopArguments),
    /// Print the job's metrics, as Prometheus text unless JSON is asked for
    Metrics(Format),
}

/// How an answer is printed.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Format {
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct TopologyArguments {
    #[command(flatten)]
    pub(crate) format: Format,
    /// Print a graph of operators and edges for Graphviz
    #[arg(long, conflicts_with_all = ["json", "watch"])]
    pub(crate) dot: bool,
    /// Print again and again until the job ends
    #[arg(long)]
    pub(crate) watch: bool,
    /// Time between two prints
    #[arg(long, value_name = "SECONDS", default_value = "1", requires = "watch", value_parser = interval)]
    pub(crate) interval: std::time::Duration,
}

#[derive(Debug, Args)]
pub(crate) struct KillArguments {
    /// Path of the actor, as `tidegate topology` prints it
    pub(crate) actor: String,
    #[command(flatten)]
    pub(crate) format: Format,
}

#[derive(Debug, Args)]
pub(crate) struct StopArguments {
    /// End the sources and work everything off: the run is finished and can't be resumed
    #[arg(long)]
    pub(crate) drain: bool,
    /// Don't wait until the job has stopped
    #[arg(long)]
    pub(crate) no_wait: bool,
    #[command(flatten)]
    pub(crate) format: Format,
}

fn interval(text: &str) -> Result<std::time::Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number of seconds".to_owned())?;
    if (0.1..=3_600.0).contains(&seconds) {
        Ok(std::time::Duration::from_secs_f64(seconds))
    } else {
        Err("must be from 0.1 to 3600 seconds".to_owned())
    }
}

//! Runs a job in the foreground of a program, to its end.

use tidegate_runtime::config::JobConfig;
use tidegate_runtime::graph::Graph;

use crate::error::Result;
use crate::handle::Job;
use crate::launch::launch;
use crate::report::JobReport;

/// Starts a graph as a job and blocks until it has ended. Ctrl-C and SIGTERM make a last checkpoint and stop in order;
/// then the process exits with 130 or 143, and a new start goes on from there.
///
/// # Errors
/// As `launch`, and the failure that ended the job.
pub fn run(graph: &Graph, config: JobConfig) -> Result<JobReport> {
    run_to_end(launch(graph, config)?)
}

/// As `run`, for a job that was launched.
///
/// # Errors
/// The failure that ended the job, or a machine that refuses signal handlers.
pub fn run_to_end(job: Job) -> Result<JobReport> {
    let report = job.wait_with_signals()?;
    drop(job);
    if report.signal.is_some() && report.exit_code() != 0 {
        std::process::exit(report.exit_code());
    }
    Ok(report)
}

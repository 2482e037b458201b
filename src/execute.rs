//! `run` and `launch`: from a graph in the program's hands to a job that runs.

#[cfg(feature = "console")]
use std::sync::Arc;

use tidegate_operators::Dataflow;
use tidegate_runtime::config::{Endpoint, JobConfig};
use tidegate_supervisor::{Job, JobReport, Result};

/// Runs a dataflow. In the prelude, so that `flow.run()` reads as a method.
pub trait Execute {
    /// Runs to the end, blocking. Ctrl-C and SIGTERM make a last checkpoint and stop in order: then the process exits
    /// with 130 or 143, and a new start goes on from there. A second Ctrl-C stops at once.
    ///
    /// # Errors
    /// The graph or a setting is wrong, the state directory is another run's, or the job failed: the cause chain says
    /// where.
    fn run(self) -> Result<JobReport>;

    /// Starts the job and returns a handle to it. Works inside and outside an async runtime and installs no signal
    /// handlers.
    ///
    /// ```
    /// use tidegate::prelude::*;
    /// let directory = tempfile::tempdir()?;
    /// let flow = Dataflow::new("squares");
    /// let (sink, squares) = collect();
    /// flow.source("numbers", collection(vec![1_u64, 2, 3])).map(|n| n * n).sink("squares", sink);
    /// let job = flow.with_config(JobConfig::new().state_dir(directory.path())).launch()?;
    /// job.wait()?;
    /// let mut squares = squares.take();
    /// squares.sort();
    /// assert_eq!(squares, [1, 4, 9]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// The graph or a setting is wrong, or the state directory is another run's.
    fn launch(self) -> Result<Job>;
}

impl Execute for Dataflow {
    fn run(self) -> Result<JobReport> {
        tidegate_supervisor::run_to_end(self.launch()?)
    }

    fn launch(self) -> Result<Job> {
        let (graph, config) = self.into_parts();
        let config = match config {
            Some(config) => config,
            None => JobConfig::from_env()?,
        };
        let endpoint = config.endpoint;
        let job = tidegate_supervisor::launch(&graph, config)?;
        if endpoint == Endpoint::Loopback {
            serve(&job);
        }
        Ok(job)
    }
}

/// Serves the control endpoint for as long as the job's handle lives. A job that can't be looked at still runs: that is
/// a warning.
#[cfg(feature = "console")]
fn serve(job: &Job) {
    match tidegate_console::serve(Arc::new(job.observer()), job.state_dir()) {
        Ok(endpoint) => job.keep(endpoint),
        Err(error) => tracing::warn!(%error, "the control endpoint is not served"),
    }
}

#[cfg(not(feature = "console"))]
fn serve(_: &Job) {}

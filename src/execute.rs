//! `run` and `launch`: from a graph in the program's hands to a job that runs.

use tidegate_operators::Dataflow;
use tidegate_runtime::config::JobConfig;
use tidegate_supervisor::{Job, JobReport, Result};

/// Runs a dataflow. In the prelude, so that `flow.run()` reads as a method.
pub trait Execute {
    /// Runs to the end, blocking. Installs signal handlers: Ctrl-C and SIGTERM make a last checkpoint and stop in order,
    /// a second one stops at once.
    ///
    /// # Errors
    /// The graph or a setting is wrong, the state directory is another run's, or the job failed: the cause chain says
    /// where.
    fn run(self) -> Result<JobReport>;

    /// Starts the job and returns a handle to it. Works inside and outside an async runtime and installs no signal
    /// handlers.
    ///
    /// # Errors
    /// The graph or a setting is wrong, or the state directory is another run's.
    fn launch(self) -> Result<Job>;
}

impl Execute for Dataflow {
    fn run(self) -> Result<JobReport> {
        self.launch()?.wait()
    }

    fn launch(self) -> Result<Job> {
        let (graph, config) = self.into_parts();
        let config = match config {
            Some(config) => config,
            None => JobConfig::from_env()?,
        };
        tidegate_supervisor::launch(&graph, config)
    }
}

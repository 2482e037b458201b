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
        tidegate_supervisor::run_to_end(self.launch()?)
    }

    fn launch(self) -> Result<Job> {
        let (graph, config) = self.into_parts();
        let config = match config {
            Some(config) => config,
            None => JobConfig::from_env()?,
        };
        let job = tidegate_supervisor::launch(&graph, config)?;
        #[cfg(feature = "console")]
        serve(&job);
        Ok(job)
    }
}

/// Serves the job's control endpoint for as long as its handle lives. A job that can't be looked at runs all the same.
#[cfg(feature = "console")]
fn serve(job: &Job) {
    match tidegate_console::serve(std::sync::Arc::new(job.observer()), job.state_dir()) {
        Ok(endpoint) => job.keep(endpoint),
        Err(error) => tracing::warn!(%error, "the job can't be looked at by the tidegate command"),
    }
}

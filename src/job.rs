//! The handle of a launched job, with its control endpoint.

use std::ops::Deref;
use std::sync::Arc;

/// A running job and, unless it is off, the control endpoint that the `tidegate` command reads. Everything that
/// `supervisor::Job` can do; dropping it stops the job without a last checkpoint.
pub struct Job {
    // Dropped first: the endpoint must not outlive the job.
    #[cfg(feature = "console")]
    _endpoint: Option<tidegate_console::ControlEndpoint>,
    job: Arc<tidegate_supervisor::Job>,
}

impl Job {
    #[cfg(feature = "console")]
    pub(crate) fn serve(job: tidegate_supervisor::Job, endpoint: tidegate_runtime::config::Endpoint) -> Self {
        let job = Arc::new(job);
        let _endpoint = match endpoint {
            tidegate_runtime::config::Endpoint::Off => None,
            tidegate_runtime::config::Endpoint::Loopback => serve(&job),
        };
        Self { _endpoint, job }
    }

    #[cfg(not(feature = "console"))]
    pub(crate) fn serve(job: tidegate_supervisor::Job, _: tidegate_runtime::config::Endpoint) -> Self {
        Self { job: Arc::new(job) }
    }
}

/// A job that can't be looked at still runs: that is a warning.
#[cfg(feature = "console")]
fn serve(job: &Arc<tidegate_supervisor::Job>) -> Option<tidegate_console::ControlEndpoint> {
    let view = Arc::new(Arc::downgrade(job));
    tidegate_console::serve(view, job.state_dir())
        .inspect_err(|error| tracing::warn!(%error, "the control endpoint is not served"))
        .ok()
}

impl Deref for Job {
    type Target = tidegate_supervisor::Job;

    fn deref(&self) -> &Self::Target {
        &self.job
    }
}

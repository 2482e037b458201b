//! The links between the deciding and the owning side when both are in this process.

use std::sync::Arc;

use crate::job::JobMessage;
use crate::message::{ControlLink, ReportLink, WorkerCommand, WorkerReport};
use crate::post::Slot;
use crate::worker::WorkerMessage;

/// To the one worker of this process.
pub(crate) struct LocalLink {
    pub(crate) worker: Arc<Slot<WorkerMessage>>,
}

impl ControlLink for LocalLink {
    fn command(&self, command: WorkerCommand) {
        self.worker.tell(WorkerMessage::Command(command));
    }
}

/// To the job of this process.
pub(crate) struct LocalReports {
    pub(crate) job: Arc<Slot<JobMessage>>,
}

impl ReportLink for LocalReports {
    fn report(&self, report: WorkerReport) {
        self.job.tell(JobMessage::Report(report));
    }
}

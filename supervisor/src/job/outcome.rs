//! How a job has ended, for everybody who waits.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use tidegate_runtime::sync::lock;
use tokio::sync::Notify;

use crate::report::JobReport;

/// How the job has ended, for everybody who waits.
#[derive(Default)]
pub(crate) struct Outcome {
    report: Mutex<Option<JobReport>>,
    ended: Condvar,
    notify: Notify,
}

impl Outcome {
    pub(crate) fn set(&self, report: JobReport) {
        lock(&self.report).get_or_insert(report);
        self.ended.notify_all();
        self.notify.notify_waiters();
    }

    pub(crate) fn report(&self) -> Option<JobReport> {
        lock(&self.report).clone()
    }

    /// Blocks until the job has ended.
    pub(crate) fn wait(&self) -> JobReport {
        let mut report = lock(&self.report);
        loop {
            if let Some(report) = &*report {
                return report.clone();
            }
            report = self.ended.wait(report).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Blocks until the job has ended, but not longer than this. Returns whether it has.
    pub(crate) fn wait_for(&self, longest: Duration) -> bool {
        let report = lock(&self.report);
        let waited = self.ended.wait_timeout_while(report, longest, |report| report.is_none());
        waited.unwrap_or_else(PoisonError::into_inner).0.is_some()
    }

    /// Waits until the job has ended. Cancel-safe.
    pub(crate) async fn wait_async(&self) -> JobReport {
        loop {
            let notified = self.notify.notified();
            tokio::pin!(notified);
            notified.as_mut().enable();
            if let Some(report) = self.report() {
                return report;
            }
            notified.await;
        }
    }
}

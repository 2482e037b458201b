//! Ctrl-C and SIGTERM for a job that a program runs in its foreground.

use std::sync::Arc;

use tidegate_runtime::sync::lock;
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::error::{Error, Result};
use crate::job::{JobShared, StopMode};
use crate::report::StopSignal;

/// Exit code of a program ended by Ctrl-C.
const INTERRUPTED: i32 = 130;

/// Installs the handlers; they last as long as the control runtime.
///
/// # Errors
/// If the machine refuses.
pub(crate) fn listen(control: &Runtime, job: &Arc<JobShared>) -> Result<()> {
    let _context = control.enter();
    let handler = |kind| signal(kind).map_err(|source| Error::Start { what: "a signal handler", source });
    let interrupt = handler(SignalKind::interrupt())?;
    let terminate = handler(SignalKind::terminate())?;
    drop(control.spawn(on_signals(interrupt, terminate, Arc::clone(job))));
    Ok(())
}

async fn on_signals(mut interrupt: Signal, mut terminate: Signal, job: Arc<JobShared>) {
    loop {
        let which = tokio::select! {
            biased;
            _ = interrupt.recv() => StopSignal::Interrupt,
            _ = terminate.recv() => StopSignal::Terminate,
        };
        let before = lock(&job.signal).replace(which);
        if before.is_some() && which == StopSignal::Interrupt {
            tracing::warn!("second Ctrl-C: the process ends at once");
            std::process::exit(INTERRUPTED);
        }
        tracing::info!(?which, "last checkpoint, then the job stops");
        job.stop(StopMode::Suspend);
    }
}

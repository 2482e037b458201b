//! The async runtime that subtasks run on: replaced when user code hangs on its threads.

use std::sync::Mutex;

use tidegate_runtime::sync::lock;
use tokio::runtime::{Builder, Handle, Runtime};

use crate::error::{Error, Result};

/// The current data runtime and how many there were before it.
pub(crate) struct DataPlane {
    current: Mutex<Option<(u64, Runtime)>>,
    threads: usize,
}

impl DataPlane {
    /// A runtime of `threads` worker threads.
    ///
    /// # Errors
    /// If the machine refuses threads.
    pub(crate) fn new(threads: usize) -> Result<Self> {
        Ok(Self { current: Mutex::new(Some((1, build(threads)?))), threads })
    }

    /// The current runtime and its generation; none once it is closed.
    pub(crate) fn handle(&self) -> Option<(u64, Handle)> {
        lock(&self.current).as_ref().map(|(generation, runtime)| (*generation, runtime.handle().clone()))
    }

    /// Gives up the runtime of this generation, with whatever hangs on it, and makes a fresh one. Returns whether it
    /// was the current one.
    ///
    /// # Errors
    /// If the machine refuses threads.
    pub(crate) fn abandon(&self, generation: u64) -> Result<bool> {
        let mut current = lock(&self.current);
        if current.as_ref().is_none_or(|(now, _)| *now != generation) {
            return Ok(false);
        }
        let fresh = build(self.threads)?;
        if let Some((_, old)) = current.replace((generation + 1, fresh)) {
            old.shutdown_background();
        }
        Ok(true)
    }

    /// Ends the current runtime without waiting for what runs on it.
    pub(crate) fn close(&self) {
        if let Some((_, runtime)) = lock(&self.current).take() {
            runtime.shutdown_background();
        }
    }
}

impl Drop for DataPlane {
    fn drop(&mut self) {
        self.close();
    }
}

fn build(threads: usize) -> Result<Runtime> {
    Builder::new_multi_thread()
        .worker_threads(threads)
        .thread_name("tidegate-data")
        .enable_time()
        .build()
        .map_err(|source| Error::Start { what: "the data runtime", source })
}

//! The thread that writes manifests: one, in order, across the restarts of the actors that ask it.

use std::sync::mpsc::{SyncSender, sync_channel};

use crate::error::{Error, Result};

/// Jobs that wait: one manifest is written at a time, the rest only wait for it.
const QUEUE_MAX: usize = 64;

type Work = Box<dyn FnOnce() + Send>;

/// A named thread that runs what it is given, in order, until this is dropped.
pub(crate) struct ManifestThread {
    queue: SyncSender<Work>,
}

impl ManifestThread {
    /// Starts it.
    ///
    /// # Errors
    /// If the machine refuses a thread.
    pub(crate) fn start() -> Result<Self> {
        let (queue, works) = sync_channel::<Work>(QUEUE_MAX);
        let run = move || {
            while let Ok(work) = works.recv() {
                work();
            }
        };
        let spawned = std::thread::Builder::new().name("tg-manifests".to_owned()).spawn(run);
        spawned.map_err(|source| Error::Start { what: "the manifest thread", source })?;
        Ok(Self { queue })
    }

    /// Returns whether it was taken.
    pub(crate) fn run(&self, work: impl FnOnce() + Send + 'static) -> bool {
        self.queue.try_send(Box::new(work)).is_ok()
    }
}

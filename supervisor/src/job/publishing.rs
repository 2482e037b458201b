//! What the coordinator's actor has done on the manifest thread, because durable writes block: publish and settle.

use std::sync::Arc;

use tidegate_runtime::checkpoint::manifest::Manifest;
use tidegate_runtime::id::CheckpointId;
use tidegate_runtime::sync::lock;

use super::checkpoints::{CheckpointActor, CheckpointMessage, Event};
use crate::post::Post;
use crate::storage::ManifestStore;

impl CheckpointActor {
    /// Asks for `Ready`, behind everything that was handed to the thread before: then `latest` is what is on disk
    /// (case 14).
    pub(super) fn ask(&self, myself: Post<CheckpointMessage>) {
        let manifests = Arc::clone(&self.shared.manifests);
        self.shared.manifest_thread.run(
            move || manifests.settle().map_err(|error| error.to_string()),
            move |result| myself.cast(CheckpointMessage::Ready(result)),
        );
    }

    pub(super) fn write(&self, myself: Post<CheckpointMessage>, manifest: Manifest) {
        let (shared, checkpoint) = (Arc::clone(&self.shared), manifest.checkpoint);
        self.settled_by(myself, checkpoint, move || {
            let bytes = manifest.written_bytes;
            match shared.manifests.publish(&manifest) {
                Ok(()) => {
                    *lock(&shared.latest) = Some(Arc::new(manifest));
                    Event::Written { checkpoint, result: Ok(bytes) }
                }
                Err(error) => not_written(shared.manifests.as_ref(), checkpoint, error.to_string()),
            }
        });
    }

    pub(super) fn settle(&self, myself: Post<CheckpointMessage>, checkpoint: CheckpointId, problem: String) {
        let manifests = Arc::clone(&self.shared.manifests);
        self.settled_by(myself, checkpoint, move || not_written(manifests.as_ref(), checkpoint, problem));
    }

    /// Tells the core what came of it; if it panicked or was not taken, what it was about is open.
    fn settled_by(
        &self,
        myself: Post<CheckpointMessage>,
        checkpoint: CheckpointId,
        work: impl FnOnce() -> Event + Send + 'static,
    ) {
        self.shared.manifest_thread.run(
            || Ok(work()),
            move |done| {
                let event = done.unwrap_or_else(|problem| Event::Unsettled { checkpoint, problem });
                myself.cast(CheckpointMessage::Event(event));
            },
        );
    }
}

/// A checkpoint that could not be written is aborted only once it is sure that it does not exist.
fn not_written(manifests: &dyn ManifestStore, checkpoint: CheckpointId, problem: String) -> Event {
    match manifests.settle() {
        Ok(()) => Event::Written { checkpoint, result: Err(problem) },
        Err(_) => Event::Unsettled { checkpoint, problem },
    }
}

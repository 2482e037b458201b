//! The worker's store of keyed state, as attempts see it.

use std::sync::{Arc, Mutex, OnceLock, Weak};

use tidegate_runtime::checkpoint::manifest::Manifest;
use tidegate_runtime::checkpoint::run_dir::RunDir;
use tidegate_runtime::config::{JobConfig, StateBackend};
use tidegate_runtime::error::{Error, Result};
use tidegate_runtime::files::FileLayer;
use tidegate_runtime::id::{CheckpointId, SubtaskId};
use tidegate_runtime::state::{
    LeaseRequest, RunRefs, SnapshotMode, StateRegistry, Store, StoreEvents, StoreOptions, TableBudget,
};
use tidegate_runtime::sync::lock;

use crate::storage::{SubtaskTables, TableRequest, TableStore};
use crate::worker::WorkerShared;

/// A store, until the run ends.
pub(crate) struct StoreTables {
    store: Mutex<Option<Store>>,
    events: Arc<Events>,
    mode: SnapshotMode,
    budget: TableBudget,
}

/// Hands the store's notices to the worker, once there is one.
#[derive(Default)]
struct Events {
    worker: OnceLock<Weak<WorkerShared>>,
}

impl StoreTables {
    /// Opens the store of a state directory at its retained checkpoints.
    ///
    /// # Errors
    /// If it can't be opened, or lacks what a checkpoint needs.
    pub(crate) fn open(
        files: &Arc<dyn FileLayer>,
        dir: &RunDir,
        config: &JobConfig,
        retained: &[Manifest],
    ) -> Result<Arc<Self>> {
        let files = Arc::clone(files);
        let (options, mode) = match config.backend {
            StateBackend::Redb => (StoreOptions::redb(files, dir.store_file()), SnapshotMode::Delta),
            StateBackend::Memory => (StoreOptions::memory(files, dir.store_directory()), SnapshotMode::Full),
        };
        let events = Arc::new(Events::default());
        let points: Vec<_> = retained.iter().map(|each| (each.checkpoint, each.restore_point())).collect();
        let told: Arc<dyn StoreEvents> = Arc::clone(&events) as Arc<dyn StoreEvents>;
        let store = Mutex::new(Some(Store::open(options, told, &points)?));
        let entries = config.table_entries_max.unwrap_or(usize::MAX);
        let budget = TableBudget { entries, ..TableBudget::UNLIMITED };
        Ok(Arc::new(Self { store, events, mode, budget }))
    }

    /// From now on the store's notices go to this worker.
    pub(crate) fn serve(&self, worker: &Arc<WorkerShared>) {
        let _ = self.events.worker.set(Arc::downgrade(worker));
    }

    /// A checkpoint is published, and these are retained.
    pub(crate) fn published(&self, checkpoint: CheckpointId, retained: &[CheckpointId]) {
        if let Some(store) = &*lock(&self.store) {
            store.completed(checkpoint);
            store.retain(retained);
        }
    }

    /// Closes the store; nothing is alive that could write.
    pub(crate) fn close(&self) {
        drop(lock(&self.store).take());
    }
}

impl TableStore for StoreTables {
    fn open(&self, request: TableRequest) -> Result<SubtaskTables> {
        let held = lock(&self.store);
        let Some(store) = &*held else {
            return Err(Error::Store { problem: "it is closed: the run has ended".to_owned() });
        };
        let lease = store.lease(LeaseRequest {
            attempt: request.attempt,
            subtask: request.subtask,
            hashes: request.hashes,
            restore: request.restore,
        })?;
        let states = StateRegistry::new(Arc::clone(&lease), request.hashes);
        Ok((states.with_mode(self.mode).with_budget(self.budget), lease))
    }

    fn begin(&self, checkpoint: CheckpointId, subtasks: &[SubtaskId]) {
        if let Some(store) = lock(&self.store).as_ref().filter(|_| !subtasks.is_empty()) {
            store.begin(checkpoint, subtasks.to_vec());
        }
    }

    fn abort(&self, checkpoint: CheckpointId) {
        if let Some(store) = &*lock(&self.store) {
            store.abort(checkpoint);
        }
    }
}

impl StoreEvents for Events {
    fn on_durable(&self, checkpoint: CheckpointId, outcome: Result<Vec<(SubtaskId, RunRefs)>>) {
        if let Some(worker) = self.worker.get().and_then(Weak::upgrade) {
            let outcome = outcome.map(Arc::from).map_err(|error| error.to_string());
            worker.on_rows(checkpoint, &outcome);
        }
    }

    fn on_space(&self, subtask: SubtaskId) {
        if let Some(worker) = self.worker.get().and_then(Weak::upgrade) {
            worker.wake(subtask);
        }
    }
}

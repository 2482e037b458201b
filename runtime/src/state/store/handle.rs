//! The handle of a store, for the worker that owns it.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::thread::JoinHandle;

use super::cache::Cache;
use super::core::State;
use super::lease::StoreLease;
use super::options::{LeaseRequest, StoreBackend, StoreEvents, StoreOptions, StoreStatus};
use super::redb_storage::RedbStorage;
use super::refs::{RestorePoint, RunId};
use super::run::{Residence, Shelf};
use super::shared::{Shared, running};
use super::snapshot_files::SnapshotFiles;
use super::storage::RunStorage;
use super::writer;
use crate::error::{Error, Result};
use crate::id::{CheckpointId, SubtaskId};
use crate::state::lease::StateLease;

/// The durable rows of all subtasks of one worker.
///
/// All writing is done by a thread of its own, which ends with the store. Dropping it abandons checkpoints that are
/// not durable yet, and lets go of the files; leases that are left answer with an error.
///
/// The protocol of a checkpoint: [`begin`](Self::begin) when it is triggered, each subtask seals its delta through its
/// lease, [`StoreEvents::on_durable`] gives the manifest entries, then either [`completed`](Self::completed) once the
/// manifest is published, or [`abort`](Self::abort); and [`retain`](Self::retain) after old manifests were removed.
pub struct Store {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Store {
    /// Opens a store, creating it, and rolls it to the retained checkpoints: all else in it is dropped. The caller
    /// holds the lock of the state directory.
    ///
    /// # Errors
    /// If it can't be opened, or lacks a run that a retained checkpoint lists: the message says which.
    pub fn open(
        options: StoreOptions,
        events: Arc<dyn StoreEvents>,
        retained: &[(CheckpointId, RestorePoint)],
    ) -> Result<Self> {
        let (storage, opened, stands_at) = open_storage(&options)?;
        let runs = storage.runs()?;
        check_complete(&*storage, &runs, retained, stands_at)?;
        let residence = match &options.backend {
            StoreBackend::Redb { .. } => Residence::Storage,
            StoreBackend::Memory { .. } => Residence::Memory,
        };
        let shelf = Arc::new(Shelf {
            storage,
            cache: Cache::new(options.block_cache_bytes),
            guide_bytes_left: AtomicUsize::new(options.guide_bytes_max),
        });
        let mut state = State::new(Arc::clone(&shelf), opened);
        state.set_stored(runs);
        for (checkpoint, point) in retained {
            state.pin(*checkpoint, point.runs.iter().map(|run| run.id).collect());
            state.completed(*checkpoint);
        }
        let shared = Arc::new(Shared::new(shelf, events, residence, options.pending_bytes_max, state));
        let thread = spawn(&shared)?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Gives an attempt access to a subtask's rows. A lease that an older attempt has is dead from now on, what it
    /// wrote after the restored checkpoint is dropped, and checkpoints that it took part in are reported as failed.
    /// O(1) in the size of the state.
    ///
    /// # Errors
    /// If a newer attempt holds the lease, a run is missing, or the store is closed.
    pub fn lease(&self, request: LeaseRequest) -> Result<Arc<dyn StateLease>> {
        let (subtask, hashes, attempt) = (request.subtask, request.hashes, request.attempt);
        let leased = self.shared.change(|inner| {
            running(inner)?;
            inner.needs_sweep = true;
            inner.state.lease(request)
        })?;
        for checkpoint in leased.lost {
            let problem = format!("{subtask} was started again as {attempt}");
            let error = Error::Checkpoint { checkpoint, problem };
            self.shared.events.on_durable(checkpoint, Err(error));
        }
        let shared = Arc::clone(&self.shared);
        Ok(Arc::new(StoreLease { shared, subtask, token: leased.token, hashes, view: leased.view }))
    }

    /// A checkpoint was triggered: once all of these subtasks have sealed it, it is committed. Called before the first
    /// barrier is sent.
    pub fn begin(&self, checkpoint: CheckpointId, expected: Vec<SubtaskId>) {
        self.shared.change(|inner| inner.state.begin(checkpoint, expected));
    }

    /// A checkpoint will not be completed; it is not reported any more. Its deltas stay in the chains and come with
    /// the next.
    pub fn abort(&self, checkpoint: CheckpointId) {
        self.shared.change_and_sweep(|state| state.abort(checkpoint));
    }

    /// A checkpoint's manifest is published: its runs may be folded.
    pub fn completed(&self, checkpoint: CheckpointId) {
        self.shared.change_and_sweep(|state| state.completed(checkpoint));
    }

    /// Of the completed checkpoints only these have a manifest still: runs that only others need may go. Called after
    /// the other manifests were removed durably.
    pub fn retain(&self, retained: &[CheckpointId]) {
        self.shared.change_and_sweep(|state| state.retain(retained));
    }

    /// Figures for people.
    pub fn status(&self) -> StoreStatus {
        self.shared.lock().state.status()
    }

    /// Waits until the writer has nothing left to do: for tests and an orderly end.
    pub fn wait_idle(&self) {
        self.shared.wait_idle();
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.shared.stop();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the writer of the state store panicked");
        }
        // A subtask that hangs may keep its lease for longer than this process keeps the directory: the next store
        // of the same file must be alone with it.
        self.shared.shelf.storage.close();
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("path", &self.shared.shelf.storage.path()).finish_non_exhaustive()
    }
}

fn open_storage(options: &StoreOptions) -> Result<(Box<dyn RunStorage>, u64, Option<CheckpointId>)> {
    let files = Arc::clone(&options.files);
    match &options.backend {
        StoreBackend::Redb { file } => {
            let (storage, opened) = RedbStorage::open(files, file, options.page_cache_bytes)?;
            Ok((Box::new(storage), opened.times, opened.checkpoint))
        }
        StoreBackend::Memory { directory } => {
            let (storage, opened) = SnapshotFiles::open(files, directory)?;
            Ok((Box::new(storage), opened, None))
        }
    }
}

fn check_complete(
    storage: &dyn RunStorage,
    runs: &[RunId],
    retained: &[(CheckpointId, RestorePoint)],
    stands_at: Option<CheckpointId>,
) -> Result<()> {
    let runs: BTreeSet<RunId> = runs.iter().copied().collect();
    for (checkpoint, point) in retained {
        let missing: Vec<String> =
            point.runs.iter().filter(|run| !runs.contains(&run.id)).map(|run| run.id.to_string()).collect();
        if missing.is_empty() {
            continue;
        }
        let stands = stands_at.map_or_else(|| "no checkpoint".to_owned(), |at| at.to_string());
        let problem = format!(
            "it lacks {} of {} runs that {checkpoint} lists ({}) and stands at {stands}; put the store back that \
             belongs to the checkpoints, or delete the state directory to begin afresh",
            missing.len(),
            point.runs.len(),
            shortened(&missing)
        );
        return Err(damaged(storage.path(), problem));
    }
    Ok(())
}

fn shortened(names: &[String]) -> String {
    let shown = names.iter().take(5).cloned().collect::<Vec<_>>().join(", ");
    if names.len() > 5 { format!("{shown}, ...") } else { shown }
}

fn damaged(path: &Path, problem: String) -> Error {
    Error::Damaged { path: path.to_path_buf(), problem }
}

fn spawn(shared: &Arc<Shared>) -> Result<JoinHandle<()>> {
    let shared = Arc::clone(shared);
    std::thread::Builder::new()
        .name("tidegate-store".to_owned())
        .spawn(move || writer::run(&shared))
        .map_err(|error| Error::Store { problem: format!("its thread can't be started: {error}") })
}

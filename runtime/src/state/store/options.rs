//! How a store is opened, what it is asked for, and whom it tells.

use std::path::PathBuf;
use std::sync::Arc;

use super::refs::{RunRef, RunRefs};
use crate::error::Result;
use crate::files::FileLayer;
use crate::id::{AttemptId, CheckpointId, SubtaskId};
use crate::key::KeyHash;

/// Where the runs are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreBackend {
    /// In one redb file: deltas, folded in the background; state may exceed memory.
    Redb {
        /// The file.
        file: PathBuf,
    },
    /// In memory, with one file a subtask and checkpoint that holds all its rows.
    Memory {
        /// The directory of the files.
        directory: PathBuf,
    },
}

/// How a store is opened.
#[derive(Clone, Debug)]
pub struct StoreOptions {
    /// What it writes with.
    pub files: Arc<dyn FileLayer>,
    /// Where the runs are kept.
    pub backend: StoreBackend,
    /// Most bytes of pages that redb keeps in memory.
    pub page_cache_bytes: usize,
    /// Most bytes of verified blocks in memory.
    pub block_cache_bytes: usize,
    /// Most bytes of fences and bloom filters in memory, about 1.4 for each durable row; what is over it shares the
    /// block cache.
    pub guide_bytes_max: usize,
    /// Most bytes of submitted rows that are not durable yet; over it a chunk is given back, and once nothing can be
    /// written any more it is an error.
    pub pending_bytes_max: usize,
}

impl StoreOptions {
    /// A redb store with the default bounds: 64 MiB of pages, 64 MiB of blocks, 64 MiB of bloom
    /// filters, 256 MiB pending.
    pub fn redb(files: Arc<dyn FileLayer>, file: impl Into<PathBuf>) -> Self {
        Self::new(files, StoreBackend::Redb { file: file.into() })
    }

    /// A memory store with the default bounds.
    pub fn memory(files: Arc<dyn FileLayer>, directory: impl Into<PathBuf>) -> Self {
        Self::new(files, StoreBackend::Memory { directory: directory.into() })
    }

    fn new(files: Arc<dyn FileLayer>, backend: StoreBackend) -> Self {
        Self {
            files,
            backend,
            page_cache_bytes: 64 << 20,
            block_cache_bytes: 64 << 20,
            guide_bytes_max: 64 << 20,
            pending_bytes_max: 256 << 20,
        }
    }
}

/// What an attempt asks for.
#[derive(Clone, Debug)]
pub struct LeaseRequest {
    /// Whose; an older attempt's lease of the same subtask is dead from now on.
    pub attempt: AttemptId,
    /// For which subtask.
    pub subtask: SubtaskId,
    /// The key hashes that it owns, both ends included: rows of others are not seen.
    pub hashes: (KeyHash, KeyHash),
    /// The runs to start from: those of the subtask itself in the manifest, or of several former subtasks one after
    /// the other when the parallelism has changed.
    pub restore: RunRefs,
}

impl LeaseRequest {
    /// A lease of all hashes over nothing.
    pub fn new(attempt: AttemptId, subtask: SubtaskId) -> Self {
        let hashes = (KeyHash(0), KeyHash(u64::MAX));
        Self { attempt, subtask, hashes, restore: Vec::new() }
    }

    /// With the runs to start from.
    #[must_use]
    pub fn with_restore(self, restore: Vec<RunRef>) -> Self {
        Self { restore, ..self }
    }

    /// With the hashes that it owns, both ends included.
    #[must_use]
    pub fn with_hashes(self, hashes: (KeyHash, KeyHash)) -> Self {
        Self { hashes, ..self }
    }
}

/// Whom a store tells what it did. Called on the store's own thread, or on the one that takes a lease, with no lock
/// held: answer quickly, by sending a message.
pub trait StoreEvents: Send + Sync {
    /// The deltas of a checkpoint are durable, with the runs that its manifest must list for each subtask; or they
    /// could not be written: then they are kept in memory and written with the next checkpoint.
    fn on_durable(&self, checkpoint: CheckpointId, outcome: Result<Vec<(SubtaskId, RunRefs)>>);

    /// A chunk of this subtask was given back, and there is room now.
    fn on_space(&self, subtask: SubtaskId) {
        let _ = subtask;
    }
}

/// Figures of a store, for people.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoreStatus {
    /// Runs that are kept.
    pub runs: usize,
    /// Most un-folded runs of one subtask.
    pub longest_chain: usize,
    /// Bytes submitted and not durable yet.
    pub pending_bytes: usize,
    /// Commits that succeeded, folds and clean-ups too.
    pub commits: u64,
    /// Commits that failed.
    pub failed_commits: u64,
    /// Folds that were finished.
    pub folds: u64,
    /// Runs that were dropped.
    pub removed_runs: u64,
}

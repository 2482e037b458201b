//! The worker's store: makes the deltas of all its subtasks durable in one commit a checkpoint, and reads them back.
//!
//! A subtask's state is a chain of immutable runs: a base and deltas. A checkpoint adds a delta to each chain; its
//! manifest lists the chains; rolling back is taking the manifest's chain again, and what no chain and no manifest
//! lists is garbage. Folding merges runs that the last completed checkpoint holds.

mod cache;
mod core;
mod fold;
mod handle;
mod lease;
mod options;
mod redb_backend;
mod redb_storage;
mod refs;
mod run;
mod shared;
mod snapshot_files;
mod storage;
mod writer;

pub use handle::Store;
pub use options::{LeaseRequest, StoreBackend, StoreEvents, StoreOptions, StoreStatus};
pub use refs::{RestorePoint, RunId, RunRef, RunRefs};

#[cfg(test)]
mod tests;

//! The worker's store: makes the deltas of all its subtasks durable in one commit a checkpoint, and reads them back.

mod refs;

pub use refs::{RestorePoint, RunId, RunRef, RunRefs};

//! What a store needs of the place where pieces of runs are kept.

use std::ops::Range;
use std::sync::Arc;

use super::refs::RunId;
use crate::error::Result;
use crate::id::CheckpointId;
use crate::state::run::{Chunk, RunHeader};

/// Keeps the pieces of runs.
pub(super) trait RunStorage: Send + Sync {
    /// Makes all of a batch durable. With redb all or nothing; a run exists once its header does.
    fn commit(&self, batch: &Batch) -> Result<()>;

    /// Drops runs; a crash may bring them back, as runs that nobody refers to.
    fn remove(&self, runs: &[RunId]) -> Result<()>;

    /// Trusts nothing that is in memory any more: after a failed commit (case 60).
    fn reopen(&self) -> Result<()>;

    /// Lets go of the files: whoever still holds the storage can neither read nor write it.
    fn close(&self);

    /// All runs that exist.
    fn runs(&self) -> Result<Vec<RunId>>;

    /// The header of a run, `None` if it does not exist.
    fn read_header(&self, run: RunId) -> Result<Option<Vec<u8>>>;

    /// The guides of one group.
    fn read_guides(&self, run: RunId, group: u32) -> Result<Vec<u8>>;

    /// A part of the blocks of one chunk.
    fn read_blocks(&self, run: RunId, chunk: u32, range: Range<usize>) -> Result<Vec<u8>>;

    /// How chunks of a run that is not ended yet are kept.
    fn spilling(&self) -> Spilling;

    /// What errors name.
    fn path(&self) -> &std::path::Path;
}

/// Whether chunks can be written before their run ends, to free their memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Spilling {
    Possible,
    StaysInMemory,
}

/// What is made durable at once.
#[derive(Default)]
pub(super) struct Batch {
    /// The checkpoint that the storage then stands at.
    pub(super) checkpoint: Option<CheckpointId>,
    pub(super) runs: Vec<RunWrite>,
}

/// What is written of one run.
pub(super) struct RunWrite {
    pub(super) id: RunId,
    /// Chunks that are not written yet, by their index in the run.
    pub(super) chunks: Vec<(u32, Chunk)>,
    /// The end of the run; `None` while more chunks come.
    pub(super) end: Option<RunEnd>,
}

pub(super) struct RunEnd {
    pub(super) header: Arc<RunHeader>,
    /// The guides of all chunks, by group.
    pub(super) guides: Vec<Vec<u8>>,
}

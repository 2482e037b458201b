//! The boundary between a subtask's tables and the worker's store.

use crate::error::Result;
use crate::id::{CheckpointId, StateId};
use crate::key::KeyHash;
use crate::state::registry::SnapshotMode;
use crate::state::row::RowRef;

/// One attempt's access to the durable rows of one subtask.
///
/// Rows are read as of the checkpoint that the attempt was restored from plus the deltas that it has submitted
/// since. A lease of an attempt that was superseded answers every write with an error.
pub trait StateLease: Send + Sync {
    /// Visits the live rows of one state with `first <= hash <= last`, newest version of each place only, tombstones
    /// left out, in row order. Every block is verified by its checksum.
    fn scan(
        &self,
        state: StateId,
        hashes: (KeyHash, KeyHash),
        visit: &mut dyn FnMut(RowRef<'_>) -> Result<()>,
    ) -> Result<()>;

    /// Visits the live rows of one key: as `scan` with `hash == hash` and `key == key`, but by bloom filter and
    /// fence keys.
    fn get(
        &self,
        state: StateId,
        hash: KeyHash,
        key: &[u8],
        visit: &mut dyn FnMut(RowRef<'_>) -> Result<()>,
    ) -> Result<()>;

    /// Whether the subtask has no durable row of this state at all, so that a miss needs no look-up.
    fn is_empty(&self, state: StateId) -> bool;

    /// Hands over the next rows of a checkpoint's delta, in row order: an encoded chunk (see `RunBuilder`).
    /// Bounded: `Err(SubmitError::Full(chunk))` gives it back, to be offered again after the wake-up.
    fn submit(&self, checkpoint: CheckpointId, chunk: Vec<u8>) -> Result<(), SubmitError>;

    /// No more chunks of this checkpoint follow; `rows` says what they are together, of all states. The store makes
    /// them durable with those of the worker's other subtasks, in one commit, and after `SnapshotMode::Full` it
    /// forgets what is older.
    fn seal(&self, checkpoint: CheckpointId, rows: SnapshotMode) -> Result<()>;

    /// The newest checkpoint whose delta is durable: entries frozen at or before it may be evicted.
    fn durable(&self) -> Option<CheckpointId>;
}

/// Why a chunk was not taken.
#[derive(Debug, thiserror::Error)]
pub enum SubmitError {
    /// The writer's queue is full: offer the chunk again later.
    #[error("the store's queue is full")]
    Full(Vec<u8>),
    /// The store or the lease is gone.
    #[error(transparent)]
    Failed(#[from] crate::error::Error),
}

/// How much of a snapshot is encoded at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlicePace {
    /// Entries looked at in one slice: whoever has a clock sizes it by what the slices before took.
    pub entries: usize,
}

impl Default for SlicePace {
    fn default() -> Self {
        // Measured: about 4,096 entries keep a slice near 0.1 ms, see ARCHITECTURE.md.
        Self { entries: 4_096 }
    }
}

/// A table as the subtask's step machine sees it: it is frozen at a barrier and handed over in slices.
pub trait StateTable: Send {
    /// Starts a new version; the rows of the frozen one are those of `checkpoint`. O(1).
    ///
    /// A version still being encoded is finished first by the caller.
    fn freeze(&mut self, checkpoint: CheckpointId);

    /// Encodes the next rows of the frozen version and submits what fills a chunk. Returns whether all are handed
    /// over. Called between batches until then; also returns `false` when the store's queue is full.
    fn encode(&mut self, lease: &dyn StateLease, pace: SlicePace) -> Result<bool>;

    /// What the rows are that were handed over for the last frozen version. A delta that happens to hold every live
    /// row is `Full`: nothing older has to be merged with it.
    fn handed_over(&self) -> SnapshotMode;

    /// The store has made this checkpoint's rows durable: they need not be kept for a retry any more.
    fn on_durable(&mut self, checkpoint: CheckpointId);

    /// Entries in memory.
    fn entries(&self) -> usize;

    /// Bytes in memory, without what values own on the heap unless it is known.
    fn bytes(&self) -> usize;
}

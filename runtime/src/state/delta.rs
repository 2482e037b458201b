//! Fills chunks with the rows of one checkpoint and submits them.

use std::collections::VecDeque;

use crate::error::Result;
use crate::id::CheckpointId;
use crate::state::lease::{StateLease, SubmitError};
use crate::state::row::RowRef;
use crate::state::run::RunBuilder;

/// The rows of one table for one checkpoint, on their way to the store.
pub(crate) struct DeltaWriter {
    checkpoint: CheckpointId,
    builder: RunBuilder,
    /// Full chunks that the store hasn't taken yet. At most those of one slice.
    ready: VecDeque<Vec<u8>>,
}

impl DeltaWriter {
    pub(crate) fn new(checkpoint: CheckpointId) -> Self {
        Self { checkpoint, builder: RunBuilder::new(), ready: VecDeque::new() }
    }

    /// Adds the next row, in the order of rows.
    #[inline]
    pub(crate) fn push(&mut self, row: RowRef<'_>) {
        if let Some(chunk) = self.builder.push(row) {
            self.ready.push_back(chunk);
        }
    }

    /// Submits what is ready. Returns whether all of it was taken: not when the store's queue is full.
    pub(crate) fn submit(&mut self, lease: &dyn StateLease) -> Result<bool> {
        while let Some(chunk) = self.ready.pop_front() {
            match lease.submit(self.checkpoint, chunk) {
                Ok(()) => {}
                Err(SubmitError::Full(chunk)) => {
                    self.ready.push_front(chunk);
                    return Ok(false);
                }
                Err(SubmitError::Failed(error)) => return Err(error),
            }
        }
        Ok(true)
    }

    /// No row follows. To be followed by `submit` until that returns `true`.
    pub(crate) fn finish(&mut self) {
        self.ready.extend(self.builder.finish());
    }
}

//! Hands the rows of frozen tables to the store in slices, between batches.

use std::sync::Arc;

use crate::error::Result;
use crate::id::CheckpointId;
use crate::operator::Operator;
use crate::state::{SlicePace, StateLease};
use crate::task::HasTables;

/// The snapshots of one subtask's tables.
pub struct TableSnapshots {
    lease: Arc<dyn StateLease>,
    /// The checkpoint whose rows are being handed over.
    encoding: Option<CheckpointId>,
    pace: SlicePace,
}

impl TableSnapshots {
    /// Through a lease.
    pub fn new(lease: Arc<dyn StateLease>) -> Self {
        Self { lease, encoding: None, pace: SlicePace::default() }
    }

    /// Whether a checkpoint's rows are not all handed over.
    pub fn is_encoding(&self) -> bool {
        self.encoding.is_some()
    }

    /// Starts a checkpoint's version in every table. The one before is handed over.
    pub(super) fn freeze(&mut self, operator: &mut dyn Operator, checkpoint: CheckpointId) -> HasTables {
        let mut tables = 0;
        operator.visit_tables(&mut |table| {
            table.freeze(checkpoint);
            tables += 1;
        });
        if tables == 0 {
            return HasTables::No;
        }
        self.encoding = Some(checkpoint);
        HasTables::Yes
    }

    /// Hands over the next rows. Returns whether that moved anything: not when the store's queue is full.
    pub(super) fn slice(&mut self, operator: &mut dyn Operator) -> Result<Sliced> {
        let Some(checkpoint) = self.encoding else { return Ok(Sliced::Done) };
        let mut is_done = true;
        let mut result = Ok(());
        operator.visit_tables(&mut |table| {
            if is_done && result.is_ok() {
                match table.encode(self.lease.as_ref(), self.pace) {
                    Ok(done) => is_done = done,
                    Err(error) => result = Err(error),
                }
            }
        });
        result?;
        if !is_done {
            return Ok(Sliced::More);
        }
        self.lease.seal(checkpoint)?;
        self.encoding = None;
        Ok(Sliced::Done)
    }
}

/// What a slice came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sliced {
    /// Rows are left.
    More,
    /// All rows are handed over.
    Done,
}

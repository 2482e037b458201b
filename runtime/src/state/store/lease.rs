//! A subtask attempt's access to its rows.

use std::sync::Arc;

use super::core::View;
use super::shared::Shared;
use crate::error::Result;
use crate::id::{CheckpointId, StateId, SubtaskId};
use crate::key::KeyHash;
use crate::state::lease::{StateLease, SubmitError};
use crate::state::registry::SnapshotMode;
use crate::state::row::RowRef;
use crate::state::run::{Cursor, Merge, Pieces};

pub(super) struct StoreLease {
    pub(super) shared: Arc<Shared>,
    pub(super) subtask: SubtaskId,
    pub(super) token: u64,
    pub(super) hashes: (KeyHash, KeyHash),
    pub(super) view: Arc<View>,
}

impl StateLease for StoreLease {
    fn scan(
        &self,
        state: StateId,
        hashes: (KeyHash, KeyHash),
        visit: &mut dyn FnMut(RowRef<'_>) -> Result<()>,
    ) -> Result<()> {
        let (first, last) = (hashes.0.max(self.hashes.0), hashes.1.min(self.hashes.1));
        if first > last {
            return Ok(());
        }
        let chain = self.view.chain();
        let mut cursors = Vec::with_capacity(chain.len());
        for run in chain.iter() {
            cursors.extend(Cursor::open(run, (state, first), (state, last))?);
        }
        live_rows(cursors, visit)
    }

    fn get(
        &self,
        state: StateId,
        hash: KeyHash,
        key: &[u8],
        visit: &mut dyn FnMut(RowRef<'_>) -> Result<()>,
    ) -> Result<()> {
        if hash < self.hashes.0 || hash > self.hashes.1 {
            return Ok(());
        }
        let chain = self.view.chain();
        let mut cursors = Vec::new();
        for run in chain.iter() {
            cursors.extend(Cursor::probe(run, (state, hash))?);
        }
        live_rows(cursors, &mut |row| if row.key.key == key { visit(row) } else { Ok(()) })
    }

    fn is_empty(&self, state: StateId) -> bool {
        // A header that can't be read is no proof: the look-up that follows says what is wrong.
        self.view.chain().iter().all(|run| run.header().is_ok_and(|header| !header.has_state(state)))
    }

    fn submit(&self, checkpoint: CheckpointId, chunk: Vec<u8>) -> Result<(), SubmitError> {
        self.shared.submit((self.subtask, self.token), checkpoint, chunk)
    }

    fn seal(&self, checkpoint: CheckpointId, rows: SnapshotMode) -> Result<()> {
        self.shared.seal((self.subtask, self.token), checkpoint, rows)
    }

    fn durable(&self) -> Option<CheckpointId> {
        self.view.durable()
    }
}

fn live_rows(mut cursors: Vec<Cursor>, visit: &mut dyn FnMut(RowRef<'_>) -> Result<()>) -> Result<()> {
    let mut live = |row: RowRef<'_>| if row.value.is_some() { visit(row) } else { Ok(()) };
    if cursors.len() == 1 {
        let Some(mut cursor) = cursors.pop() else { return Ok(()) };
        loop {
            live(cursor.row())?;
            if !cursor.advance()? {
                return Ok(());
            }
        }
    }
    let mut merge = Merge::new(cursors);
    while merge.next(&mut live)? {}
    Ok(())
}

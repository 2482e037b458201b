//! Merges a segment's slots with the rows that were handed over before, in the order of rows.

use crate::error::Result;
use crate::id::StateId;
use crate::key::KeyHash;
use crate::state::delta::DeltaWriter;
use crate::state::row::{RowKey, RowRef};
use crate::state::table::cell::{Cell, Rows};
use crate::state::table::core::Scratch;
use crate::state::table::key::TableKey;
use crate::state::table::side::Side;
use crate::state::table::slot::Slot;

/// One segment's rows on their way into a chunk.
pub(super) struct Merge<'m> {
    state: StateId,
    which: Rows,
    handed: &'m Side,
    /// The next row of `handed`.
    next: usize,
    rows: usize,
    writer: &'m mut DeltaWriter,
    scratch: &'m mut Scratch,
}

impl<'m> Merge<'m> {
    /// `handed` is sorted.
    pub(super) fn new(
        (state, which): (StateId, Rows),
        handed: &'m Side,
        writer: &'m mut DeltaWriter,
        scratch: &'m mut Scratch,
    ) -> Self {
        Self { state, which, handed, next: 0, rows: 0, writer, scratch }
    }

    /// Writes the rows of `slots`, which come in the order of hashes, and of the side buffer; returns their number.
    pub(super) fn run<'s, K: TableKey, C: Cell>(
        mut self,
        slots: impl Iterator<Item = &'s Slot<K, C>>,
    ) -> Result<usize> {
        let mut slots = slots.map(|slot| (slot.hash(), slot)).peekable();
        while let Some((hash, slot)) = slots.next() {
            while self.handed.hash(self.next).is_some_and(|handed| handed < hash) {
                self.write_handed();
            }
            let mut twins = vec![];
            while let Some((_, twin)) = slots.next_if(|(next, _)| *next == hash) {
                twins.push(twin);
            }
            if twins.is_empty() && self.handed.hash(self.next) != Some(hash) {
                self.write(slot)?;
            } else {
                twins.push(slot);
                self.write_twins(hash, &twins)?;
            }
        }
        while self.next < self.handed.rows() {
            self.write_handed();
        }
        Ok(self.rows)
    }

    fn write<K: TableKey, C: Cell>(&mut self, slot: &Slot<K, C>) -> Result<()> {
        let (state, writer, rows) = (self.state, &mut *self.writer, &mut self.rows);
        slot_rows(slot, self.which, self.scratch, |hash, key, element, value| {
            *rows += 1;
            writer.push(RowRef { key: RowKey { state, hash, key, element }, value });
        })
    }

    fn write_handed(&mut self) {
        self.writer.push(self.handed.row(self.next, self.state));
        self.next += 1;
        self.rows += 1;
    }

    /// Several keys have one hash: only their bytes order them.
    fn write_twins<K: TableKey, C: Cell>(&mut self, hash: KeyHash, twins: &[&Slot<K, C>]) -> Result<()> {
        let mut group = Side::default();
        while self.handed.hash(self.next) == Some(hash) {
            let row = self.handed.row(self.next, self.state);
            group.push(hash, row.key.key, row.key.element, row.value);
            self.next += 1;
        }
        for slot in twins {
            slot_rows(slot, self.which, self.scratch, |hash, key, element, value| {
                group.push(hash, key, element, value);
            })?;
        }
        group.sort();
        for index in 0..group.rows() {
            self.writer.push(group.row(index, self.state));
        }
        self.rows += group.rows();
        Ok(())
    }
}

/// Encodes the rows of a slot: hash, key, element, value.
#[inline]
pub(super) fn slot_rows<K: TableKey, C: Cell>(
    slot: &Slot<K, C>,
    which: Rows,
    scratch: &mut Scratch,
    mut emit: impl FnMut(KeyHash, &[u8], &[u8], Option<&[u8]>),
) -> Result<()> {
    let held = slot.key();
    scratch.key.clear();
    K::encode(held.lookup(), &mut scratch.key)?;
    let (hash, key) = (held.hash(), scratch.key.as_slice());
    match slot {
        Slot::Live { cell, .. } => {
            scratch.value.clear();
            cell.rows(which, &mut scratch.value, &mut |element, value| {
                emit(hash, key, element, value);
                Ok(())
            })
        }
        // A full snapshot says what is live; what it doesn't say is not.
        Slot::Dead { .. } if which != Rows::Live => {
            emit(hash, key, &[], None);
            Ok(())
        }
        Slot::Dead { .. } => Ok(()),
    }
}

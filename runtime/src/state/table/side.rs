//! Rows of a frozen version that were about to be overwritten, encoded until their segment's turn comes.

use crate::error::Result;
use crate::id::StateId;
use crate::key::KeyHash;
use crate::state::row::{RowKey, RowRef};

/// Encoded rows of one segment.
#[derive(Default)]
pub(crate) struct Side {
    bytes: Vec<u8>,
    rows: Vec<SideRow>,
}

/// Where a row's parts are in the bytes: key, element, value, one after the other.
#[derive(Clone, Copy)]
struct SideRow {
    hash: KeyHash,
    start: u32,
    key: u32,
    element: u32,
    value: Option<u32>,
}

impl Side {
    pub(crate) fn push(&mut self, hash: KeyHash, key: &[u8], element: &[u8], value: Option<&[u8]>) {
        let start = length(&self.bytes);
        self.bytes.extend_from_slice(key);
        self.bytes.extend_from_slice(element);
        self.bytes.extend_from_slice(value.unwrap_or_default());
        let value = value.map(length);
        self.rows.push(SideRow { hash, start, key: length(key), element: length(element), value });
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes.len() + self.rows.len() * size_of::<SideRow>()
    }

    pub(crate) fn rows(&self) -> usize {
        self.rows.len()
    }

    pub(crate) fn hash(&self, index: usize) -> Option<KeyHash> {
        self.rows.get(index).map(|row| row.hash)
    }

    pub(crate) fn row(&self, index: usize, state: StateId) -> RowRef<'_> {
        let row = self.rows[index];
        let rest = &self.bytes[row.start as usize..];
        let (key, rest) = rest.split_at(row.key as usize);
        let (element, rest) = rest.split_at(row.element as usize);
        let value = row.value.map(|len| &rest[..len as usize]);
        RowRef { key: RowKey { state, hash: row.hash, key, element }, value }
    }

    /// Puts the rows into the order of a run.
    pub(crate) fn sort(&mut self) {
        let mut rows = std::mem::take(&mut self.rows);
        let part = |row: &SideRow| {
            let rest = &self.bytes[row.start as usize..];
            let (key, rest) = rest.split_at(row.key as usize);
            (key, &rest[..row.element as usize])
        };
        rows.sort_unstable_by(|a, b| a.hash.cmp(&b.hash).then_with(|| part(a).cmp(&part(b))));
        self.rows = rows;
    }

    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.rows.clear();
    }

    /// Moves the rows that `is_upper` names to another.
    pub(crate) fn divide(&mut self, upper: &mut Side, is_upper: impl Fn(KeyHash) -> bool) {
        let whole = std::mem::take(self);
        for index in 0..whole.rows() {
            let RowRef { key, value } = whole.row(index, StateId(0));
            let half = if is_upper(key.hash) { &mut *upper } else { &mut *self };
            half.push(key.hash, key.key, key.element, value);
        }
    }
}

fn length(part: &[u8]) -> u32 {
    u32::try_from(part.len()).expect("I96: a row and a segment's side buffer are below 4 GiB")
}

/// The side buffers of a table; given back ones are used again.
#[derive(Default)]
pub(crate) struct Sides {
    sides: Vec<Side>,
    free: Vec<u32>,
    bytes: usize,
}

impl Sides {
    pub(crate) fn take(&mut self) -> u32 {
        self.free.pop().unwrap_or_else(|| {
            self.sides.push(Side::default());
            u32::try_from(self.sides.len() - 1).expect("I97: a table has at most 16 M segments")
        })
    }

    pub(crate) fn fill(&mut self, index: u32, fill: impl FnOnce(&mut Side) -> Result<()>) -> Result<()> {
        let side = &mut self.sides[index as usize];
        let before = side.bytes();
        fill(side)?;
        self.bytes += side.bytes() - before;
        Ok(())
    }

    /// In the order of a run.
    pub(crate) fn sorted(&mut self, index: u32) -> &Side {
        let side = &mut self.sides[index as usize];
        side.sort();
        side
    }

    pub(crate) fn give_back(&mut self, index: u32) {
        let side = &mut self.sides[index as usize];
        self.bytes -= side.bytes();
        side.clear();
        self.free.push(index);
    }

    pub(crate) fn divide(&mut self, index: u32, is_upper: impl Fn(KeyHash) -> bool) -> u32 {
        let other = self.take();
        let mut upper = std::mem::take(&mut self.sides[other as usize]);
        self.sides[index as usize].divide(&mut upper, is_upper);
        self.sides[other as usize] = upper;
        other
    }

    /// Gives all memory back: the snapshot is over.
    pub(crate) fn release(&mut self) {
        *self = Self::default();
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }
}

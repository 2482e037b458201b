//! A block: rows of one state in order, of one width or length-framed, searched by hash.
//!
//! ```text
//! fixed:  0 u8, state u16, rows u32, key length u32, element length u32, value length u32,
//!         rows: hash u64, key, element, value
//! framed: 1 u8, state u16, rows u32,
//!         rows: hash u64, key length, element length, value length + 1 or 0 for a tombstone (varints), the bytes,
//!         offsets u32 of every 8th row from the start of the block
//! ```

use std::ops::Range;
use std::sync::Arc;

use super::bytes::{Take, put_varint};
use crate::id::StateId;
use crate::key::KeyHash;
use crate::state::row::{RowKey, RowRef};

/// A block is closed once it has this many bytes; a single long row may make it longer.
pub const BLOCK_TARGET: usize = 16 * 1024;
pub(super) const KIND_FIXED: u8 = 0;
pub(super) const KIND_FRAMED: u8 = 1;
pub(super) const FIXED_HEADER: usize = 19;
pub(super) const FRAMED_HEADER: usize = 7;
/// Rows between two offsets at the end of a framed block.
pub(super) const RESTART: u32 = 8;

/// The widths of all rows of a fixed block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Widths {
    pub(super) key: u32,
    pub(super) element: u32,
    pub(super) value: u32,
}

impl Widths {
    pub(super) fn of(row: &RowRef<'_>) -> Option<Self> {
        let value = row.value?;
        Some(Self { key: length(row.key.key), element: length(row.key.element), value: length(value) })
    }

    fn row(self) -> Option<usize> {
        let sum = 8 + u64::from(self.key) + u64::from(self.element) + u64::from(self.value);
        usize::try_from(sum).ok()
    }
}

/// The length of a part of a row.
///
/// # Panics
/// If it is 4 GiB or more: the codec of state types refuses such values first (I71).
pub(super) fn length(part: &[u8]) -> u32 {
    u32::try_from(part.len()).expect("I71: no part of a row is 4 GiB long")
}

pub(super) fn put_fixed_header(out: &mut [u8], state: StateId, rows: u32, widths: Widths) {
    out[0] = KIND_FIXED;
    out[1..3].copy_from_slice(&state.0.to_le_bytes());
    out[3..7].copy_from_slice(&rows.to_le_bytes());
    out[7..11].copy_from_slice(&widths.key.to_le_bytes());
    out[11..15].copy_from_slice(&widths.element.to_le_bytes());
    out[15..19].copy_from_slice(&widths.value.to_le_bytes());
}

pub(super) fn put_framed_header(out: &mut [u8], state: StateId, rows: u32) {
    out[0] = KIND_FRAMED;
    out[1..3].copy_from_slice(&state.0.to_le_bytes());
    out[3..7].copy_from_slice(&rows.to_le_bytes());
}

pub(super) fn put_framed_row(out: &mut Vec<u8>, row: &RowRef<'_>) {
    out.extend_from_slice(&row.key.hash.0.to_le_bytes());
    put_varint(out, length(row.key.key));
    put_varint(out, length(row.key.element));
    put_varint(out, row.value.map_or(0, |value| length(value) + 1));
    out.extend_from_slice(row.key.key);
    out.extend_from_slice(row.key.element);
    out.extend_from_slice(row.value.unwrap_or_default());
}

/// A verified block.
#[derive(Clone, Debug)]
pub struct Block {
    piece: Arc<Vec<u8>>,
    range: Range<usize>,
    state: StateId,
    rows: u32,
    layout: Layout,
}

#[derive(Clone, Copy, Debug)]
enum Layout {
    Fixed {
        widths: Widths,
        width: usize,
    },
    /// Where the offsets of every 8th row start.
    Framed {
        restarts: usize,
    },
}

/// A row of a block, as ranges of the block's bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) hash: KeyHash,
    key: Range<usize>,
    element: Range<usize>,
    value: Option<Range<usize>>,
}

impl Block {
    /// Reads a block that lies in a piece, after its checksum.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn verified(piece: Arc<Vec<u8>>, range: Range<usize>, crc: u32) -> Result<Self, String> {
        let bytes = piece.get(range.clone()).ok_or("it ends too early")?;
        let found = crc32fast::hash(bytes);
        if found != crc {
            return Err(format!("its checksum is {found:08x}, expected {crc:08x}"));
        }
        Self::parsed(piece, range)
    }

    /// Reads a block whose bytes never left this process.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn parsed(piece: Arc<Vec<u8>>, range: Range<usize>) -> Result<Self, String> {
        let bytes = piece.get(range.clone()).ok_or("it ends too early")?;
        let (state, rows, layout) = parse(bytes).ok_or("its header does not fit its length")?;
        Ok(Self { piece, range, state, rows, layout })
    }

    /// Number of rows.
    pub fn rows(&self) -> u32 {
        self.rows
    }

    /// The state that all rows belong to.
    pub fn state(&self) -> StateId {
        self.state
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.piece[self.range.clone()]
    }

    pub(super) fn view(&self, row: &Row) -> RowRef<'_> {
        let bytes = self.bytes();
        RowRef {
            key: RowKey {
                state: self.state,
                hash: row.hash,
                key: &bytes[row.key.clone()],
                element: &bytes[row.element.clone()],
            },
            value: row.value.clone().map(|value| &bytes[value]),
        }
    }

    /// Reads the row at an offset, or the first one; returns the offset after it.
    pub(super) fn read(&self, offset: usize) -> Result<(Row, usize), String> {
        let broken = || format!("the row at byte {offset} of a block does not fit");
        match self.layout {
            Layout::Fixed { widths, width } => self.read_fixed(offset, widths, width).ok_or_else(broken),
            Layout::Framed { restarts } => self.read_framed(offset, restarts).ok_or_else(broken),
        }
    }

    /// Where the first row stands.
    pub(super) fn start(&self) -> usize {
        match self.layout {
            Layout::Fixed { .. } => FIXED_HEADER,
            Layout::Framed { .. } => FRAMED_HEADER,
        }
    }

    /// Where the rows end.
    pub(super) fn end(&self) -> usize {
        match self.layout {
            Layout::Fixed { .. } => self.range.len(),
            Layout::Framed { restarts } => restarts,
        }
    }

    /// The offset of the first row whose hash is not below `hash`.
    pub(super) fn seek(&self, hash: KeyHash) -> Result<usize, String> {
        match self.layout {
            Layout::Fixed { width, .. } => {
                let index = interpolate(self.rows as usize, hash, |index| self.fixed_hash(index, width));
                Ok(FIXED_HEADER + index * width)
            }
            Layout::Framed { restarts } => self.seek_framed(hash, restarts),
        }
    }

    fn fixed_hash(&self, index: usize, width: usize) -> KeyHash {
        let at = FIXED_HEADER + index * width;
        let bytes = self.bytes()[at..at + 8].try_into().expect("I72: a slice of 8 bytes is 8 bytes");
        KeyHash(u64::from_le_bytes(bytes))
    }

    fn read_fixed(&self, offset: usize, widths: Widths, width: usize) -> Option<(Row, usize)> {
        let end = offset.checked_add(width).filter(|end| *end <= self.range.len())?;
        let hash = u64::from_le_bytes(self.bytes()[offset..offset + 8].try_into().ok()?);
        let key = offset + 8;
        let element = key + widths.key as usize;
        let value = element + widths.element as usize;
        let row =
            Row { hash: KeyHash(hash), key: key..element, element: element..value, value: Some(value..end) };
        Some((row, end))
    }

    fn read_framed(&self, offset: usize, restarts: usize) -> Option<(Row, usize)> {
        let mut take = Take(self.bytes().get(offset..restarts)?);
        let hash = take.u64()?;
        let (key_len, element_len, value_len) = (take.varint()?, take.varint()?, take.varint()?);
        let key = restarts - take.0.len();
        let element = key.checked_add(key_len as usize)?;
        let value = element.checked_add(element_len as usize)?;
        let end = value.checked_add(value_len.saturating_sub(1) as usize)?;
        if end > restarts {
            return None;
        }
        let row = Row {
            hash: KeyHash(hash),
            key: key..element,
            element: element..value,
            value: (value_len > 0).then_some(value..end),
        };
        Some((row, end))
    }

    fn seek_framed(&self, hash: KeyHash, restarts: usize) -> Result<usize, String> {
        let (mut low, mut high) = (0, self.rows.div_ceil(RESTART) as usize);
        // Invariant: the row at restart `low` is below `hash`, or `low` is 0; the one at `high` is not.
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            let (row, _) = self.read(self.restart(middle, restarts))?;
            if row.hash < hash { low = middle } else { high = middle }
        }
        let mut offset = self.restart(low, restarts);
        while offset < restarts {
            let (row, next) = self.read(offset)?;
            if row.hash >= hash {
                break;
            }
            offset = next;
        }
        Ok(offset)
    }

    fn restart(&self, index: usize, restarts: usize) -> usize {
        let at = restarts + index * 4;
        let bytes = self.bytes()[at..at + 4].try_into().expect("I72: a slice of 4 bytes is 4 bytes");
        u32::from_le_bytes(bytes) as usize
    }
}

fn parse(bytes: &[u8]) -> Option<(StateId, u32, Layout)> {
    let mut take = Take(bytes);
    let kind = take.u8()?;
    let state = StateId(take.u16()?);
    let rows = take.u32()?;
    if rows == 0 {
        return None;
    }
    let layout = match kind {
        KIND_FIXED => {
            let widths = Widths { key: take.u32()?, element: take.u32()?, value: take.u32()? };
            let width = widths.row()?;
            if width.checked_mul(rows as usize)? != take.0.len() {
                return None;
            }
            Layout::Fixed { widths, width }
        }
        KIND_FRAMED => {
            let table = (rows.div_ceil(RESTART) as usize).checked_mul(4)?;
            let restarts = bytes.len().checked_sub(table)?;
            // A row has at least a hash and three lengths.
            if (restarts.checked_sub(FRAMED_HEADER)?) / 11 < rows as usize {
                return None;
            }
            Layout::Framed { restarts }
        }
        _ => return None,
    };
    Some((state, rows, layout))
}

/// The first index in `0..len` whose hash is not below `hash`, in rising hashes: hashes are uniform, so a few guesses
/// by proportion come near, and halving finishes.
fn interpolate(len: usize, hash: KeyHash, at: impl Fn(usize) -> KeyHash) -> usize {
    let (mut low, mut high) = (0, len);
    for _ in 0..3 {
        if high - low < 16 {
            break;
        }
        let (first, last) = (at(low).0, at(high - 1).0);
        if hash.0 <= first {
            return low;
        }
        if hash.0 > last {
            return high;
        }
        let part = (hash.0 - first) as f64 / (last - first).max(1) as f64;
        let guess = low + ((part * (high - low - 1) as f64) as usize).min(high - low - 1);
        // The error of a guess over uniform hashes is about the root of the length.
        let error = ((high - low) as f64).sqrt() as usize + 1;
        let (left, right) = (guess.saturating_sub(error).max(low), (guess + error).min(high - 1));
        if at(left).0 < hash.0 {
            low = left + 1
        } else {
            high = left
        }
        if high > right && low <= right {
            if at(right).0 < hash.0 { low = right + 1 } else { high = right }
        }
    }
    while low < high {
        let middle = low + (high - low) / 2;
        if at(middle) < hash { low = middle + 1 } else { high = middle }
    }
    low
}

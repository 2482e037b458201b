//! Writes rows, in row order, into chunks.

use super::RUN_VERSION;
use super::block::{
    BLOCK_TARGET, FIXED_HEADER, FRAMED_HEADER, RESTART, Widths, length, put_fixed_header, put_framed_header,
    put_framed_row,
};
use super::bloom::{mix, put_bloom};
use super::chunk::{BlockFence, TAIL, TAIL_MAGIC, put_fence};
use crate::id::StateId;
use crate::key::KeyHash;
use crate::state::row::RowRef;

/// A chunk is handed out once its blocks have this many bytes: with its key it stays below 256 KiB, for a store that
/// rounds up to powers of two would double one that is just above.
pub const CHUNK_TARGET: usize = 248 * 1024;
/// After rows of differing widths turned up, this many blocks are framed before a fixed one is tried again.
const FRAMED_BLOCKS: u32 = 15;

/// Encodes the rows of one delta or base.
///
/// Blocks whose rows all have the same widths and no tombstones are written without framing; that is found out here,
/// callers need not care.
///
/// ```
/// use tidegate_runtime::id::StateId;
/// use tidegate_runtime::key::KeyHash;
/// use tidegate_runtime::state::{Chunk, RowKey, RowRef, RunBuilder};
///
/// let mut builder = RunBuilder::new();
/// let mut chunks = Vec::new();
/// for n in 0..100_u64 {
///     let key = n.to_le_bytes();
///     let place = RowKey { state: StateId(0), hash: KeyHash(n << 50), key: &key, element: b"" };
///     chunks.extend(builder.push(RowRef { key: place, value: Some(b"value") }));
/// }
/// chunks.extend(builder.finish());
/// assert_eq!(Chunk::parse(chunks.remove(0)).expect("just built").rows(), 100);
/// ```
#[derive(Debug, Default)]
pub struct RunBuilder {
    chunk: Vec<u8>,
    fences: Vec<BlockFence>,
    /// Of the rows in the chunk, mixed for its bloom filter.
    mixed: Vec<u64>,
    block: Option<OpenBlock>,
    restarts: Vec<u32>,
    framed_blocks_left: u32,
    last: LastKey,
}

#[derive(Debug)]
struct OpenBlock {
    start: usize,
    state: StateId,
    first: KeyHash,
    rows: u32,
    form: Form,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Fixed(Widths),
    Framed,
}

/// The place of the row before, to check the order.
#[derive(Debug, Default)]
struct LastKey {
    place: Option<(StateId, KeyHash)>,
    /// Where key and element are in the chunk, or in `carried`.
    key: usize,
    element: usize,
    end: usize,
    /// Key and element of the last row of the chunk before.
    carried: Option<(Vec<u8>, Vec<u8>)>,
}

impl RunBuilder {
    /// A builder of nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a row. Returns a chunk when one is full; the row is in it.
    ///
    /// # Panics
    /// If the row does not come after the one before it: tables hand over rows in row order (I73).
    pub fn push(&mut self, row: RowRef<'_>) -> Option<Vec<u8>> {
        self.check_order(&row);
        if self.block.as_ref().is_some_and(|block| block.state != row.key.state) {
            self.close_block();
        }
        let form = match &self.block {
            None => self.open_block(&row),
            Some(block) => block.form,
        };
        match form {
            Form::Fixed(widths) if Widths::of(&row) == Some(widths) => self.put_fixed(&row),
            Form::Fixed(widths) => {
                self.leave_fixed(widths, &row);
                self.put_framed(&row);
            }
            Form::Framed => self.put_framed(&row),
        }
        self.mixed.push(mix(row.key.state, row.key.hash));
        self.note_last(&row);
        let start = self.block.as_ref().map_or(self.chunk.len(), |block| block.start);
        if self.chunk.len() - start >= BLOCK_TARGET {
            self.close_block();
        }
        (self.chunk.len() >= CHUNK_TARGET).then(|| self.close_chunk())
    }

    /// Ends the run. Returns the rest of its rows, `None` if there are none; the builder is as new.
    pub fn finish(&mut self) -> Option<Vec<u8>> {
        let rest = (!self.mixed.is_empty()).then(|| self.close_chunk());
        self.last = LastKey::default();
        rest
    }

    /// Bytes of the chunk being built.
    pub fn buffered_bytes(&self) -> usize {
        self.chunk.len() + self.mixed.len() * size_of::<u64>()
    }

    #[inline]
    fn check_order(&self, row: &RowRef<'_>) {
        let place = (row.key.state, row.key.hash);
        let in_order = match self.last.place {
            None => true,
            Some(last) if last != place => last < place,
            Some(_) => self.last_key() < (row.key.key, row.key.element),
        };
        assert!(in_order, "I73: the rows of a run rise: {:?} came after {:?}", row.key, self.last.place);
    }

    /// Key and element of the row before.
    fn last_key(&self) -> (&[u8], &[u8]) {
        match &self.last.carried {
            Some((key, element)) => (key, element),
            None => {
                (&self.chunk[self.last.key..self.last.element], &self.chunk[self.last.element..self.last.end])
            }
        }
    }

    #[inline]
    fn note_last(&mut self, row: &RowRef<'_>) {
        let value = row.value.map_or(0, <[u8]>::len);
        self.last.place = Some((row.key.state, row.key.hash));
        self.last.end = self.chunk.len() - value;
        self.last.element = self.last.end - row.key.element.len();
        self.last.key = self.last.element - row.key.key.len();
        self.last.carried = None;
    }

    fn open_block(&mut self, row: &RowRef<'_>) -> Form {
        let form = match Widths::of(row) {
            Some(widths) if self.framed_blocks_left == 0 => Form::Fixed(widths),
            _ => Form::Framed,
        };
        self.framed_blocks_left = self.framed_blocks_left.saturating_sub(1);
        self.start_block(row, form);
        form
    }

    fn start_block(&mut self, row: &RowRef<'_>, form: Form) {
        let start = self.chunk.len();
        let header = if form == Form::Framed { FRAMED_HEADER } else { FIXED_HEADER };
        self.chunk.resize(start + header, 0);
        self.restarts.clear();
        self.block = Some(OpenBlock { start, state: row.key.state, first: row.key.hash, rows: 0, form });
    }

    #[inline]
    fn put_fixed(&mut self, row: &RowRef<'_>) {
        let value = row.value.unwrap_or_default();
        self.chunk.extend_from_slice(&row.key.hash.0.to_le_bytes());
        put_short(&mut self.chunk, row.key.key);
        put_short(&mut self.chunk, row.key.element);
        put_short(&mut self.chunk, value);
        if let Some(block) = &mut self.block {
            block.rows += 1;
        }
    }

    fn put_framed(&mut self, row: &RowRef<'_>) {
        let Some(block) = &mut self.block else { return };
        if block.rows.is_multiple_of(RESTART) {
            self.restarts.push(offset_in(self.chunk.len() - block.start));
        }
        block.rows += 1;
        put_framed_row(&mut self.chunk, row);
    }

    /// A row of other widths came: the block is closed if it is worth it, else its rows are framed.
    fn leave_fixed(&mut self, widths: Widths, row: &RowRef<'_>) {
        self.framed_blocks_left = FRAMED_BLOCKS;
        let Some(block) = &self.block else { return };
        let start = block.start;
        if self.chunk.len() - start >= BLOCK_TARGET / 4 {
            self.close_block();
            self.start_block(row, Form::Framed);
            return;
        }
        let (state, first) = (block.state, block.first);
        let rows = self.chunk.split_off(start);
        self.chunk.resize(start + FRAMED_HEADER, 0);
        self.restarts.clear();
        self.block = Some(OpenBlock { start, state, first, rows: 0, form: Form::Framed });
        let (key, element) = (widths.key as usize, widths.element as usize);
        for fixed in rows[FIXED_HEADER..].chunks_exact(8 + key + element + widths.value as usize) {
            let (hash, rest) = fixed.split_at(8);
            let (key, rest) = rest.split_at(key);
            let (element, value) = rest.split_at(element);
            let hash =
                KeyHash(u64::from_le_bytes(hash.try_into().expect("I72: a slice of 8 bytes is 8 bytes")));
            let key = crate::state::row::RowKey { state, hash, key, element };
            self.put_framed(&RowRef { key, value: Some(value) });
        }
    }

    fn close_block(&mut self) {
        let Some(block) = self.block.take() else { return };
        let header = &mut self.chunk[block.start..];
        match block.form {
            Form::Fixed(widths) => put_fixed_header(header, block.state, block.rows, widths),
            Form::Framed => {
                put_framed_header(header, block.state, block.rows);
                for restart in &self.restarts {
                    self.chunk.extend_from_slice(&restart.to_le_bytes());
                }
            }
        }
        let bytes = &self.chunk[block.start..];
        let last = self.last.place.map_or(block.first, |(_, hash)| hash);
        self.fences.push(BlockFence {
            offset: offset_in(block.start),
            len: length(bytes),
            crc: crc32fast::hash(bytes),
            rows: block.rows,
            state: block.state,
            first: block.first,
            last,
        });
    }

    fn close_chunk(&mut self) -> Vec<u8> {
        let (key, element) = self.last_key();
        self.last.carried = Some((key.to_vec(), element.to_vec()));
        self.close_block();
        let guide_start = self.chunk.len();
        self.chunk.extend_from_slice(&offset_in(self.fences.len()).to_le_bytes());
        for fence in &self.fences {
            put_fence(&mut self.chunk, fence);
        }
        put_bloom(&mut self.chunk, &self.mixed);
        let guide = &self.chunk[guide_start..];
        let (guide_len, guide_crc) = (length(guide), crc32fast::hash(guide));
        self.chunk.extend_from_slice(&guide_len.to_le_bytes());
        self.chunk.extend_from_slice(&guide_crc.to_le_bytes());
        self.chunk.extend_from_slice(&offset_in(self.mixed.len()).to_le_bytes());
        self.chunk.extend_from_slice(&TAIL_MAGIC);
        self.chunk.push(RUN_VERSION);
        self.fences.clear();
        self.mixed.clear();
        let capacity = self.chunk.len().max(CHUNK_TARGET) + TAIL;
        std::mem::replace(&mut self.chunk, Vec::with_capacity(capacity.min(CHUNK_TARGET * 5 / 4)))
    }
}

/// Most parts are empty or one machine word: copying those needs no call.
#[inline]
fn put_short(out: &mut Vec<u8>, part: &[u8]) {
    if let Ok(word) = <[u8; 8]>::try_from(part) {
        out.extend_from_slice(&word);
    } else if !part.is_empty() {
        out.extend_from_slice(part);
    }
}

fn offset_in(offset: usize) -> u32 {
    u32::try_from(offset).expect("I71: no chunk is 4 GiB long")
}

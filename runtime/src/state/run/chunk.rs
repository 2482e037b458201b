//! A chunk as a `RunBuilder` makes it, and its guide: where the blocks are and which rows may be in them.
//!
//! ```text
//! chunk: blocks, guide, tail
//! guide: blocks u32, of each: offset u32, length u32, CRC-32 u32, rows u32, state u16, first hash u64, last hash u64;
//!        then the bloom filter
//! tail:  guide length u32, CRC-32 of the guide u32, rows u32, "TGR", version u8
//! ```

use std::ops::Range;
use std::sync::Arc;

use super::RUN_VERSION;
use super::block::Block;
use super::bloom;
use super::bytes::Take;
use crate::id::StateId;
use crate::key::KeyHash;
use crate::state::row::RowRef;

pub(super) const TAIL: usize = 16;
pub(super) const TAIL_MAGIC: [u8; 3] = *b"TGR";
const FENCE: usize = 34;

/// A chunk in memory, checked down to its guide.
#[derive(Clone, Debug)]
pub struct Chunk {
    bytes: Arc<Vec<u8>>,
    guide: Arc<Guide>,
    guide_start: usize,
    guide_crc: u32,
    rows: u32,
}

/// What a look-up needs to know of a chunk before it reads a block.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Guide {
    pub(super) blocks: Vec<BlockFence>,
    pub(super) bloom: Vec<u8>,
}

/// Where a block is and what it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BlockFence {
    pub(super) offset: u32,
    pub(super) len: u32,
    pub(super) crc: u32,
    pub(super) rows: u32,
    pub(super) state: StateId,
    pub(super) first: KeyHash,
    pub(super) last: KeyHash,
}

impl Chunk {
    /// Reads a chunk.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(bytes: Vec<u8>) -> Result<Self, String> {
        let tail_start = bytes.len().checked_sub(TAIL).ok_or("a chunk shorter than its tail")?;
        let mut tail = Take(&bytes[tail_start..]);
        let parts = (|| Some((tail.u32()?, tail.u32()?, tail.u32()?, tail.bytes(3)?, tail.u8()?)))();
        let (guide_len, guide_crc, rows, magic, version) = parts.ok_or("a chunk shorter than its tail")?;
        if magic != TAIL_MAGIC {
            return Err("not a chunk of a run".to_owned());
        }
        if version != RUN_VERSION {
            return Err(format!("a chunk of version {version}; this program reads version {RUN_VERSION}"));
        }
        let guide_start =
            tail_start.checked_sub(guide_len as usize).ok_or("a guide longer than its chunk")?;
        let guide = Guide::verified(&bytes[guide_start..tail_start], guide_crc)?;
        guide.check(guide_start, rows)?;
        Ok(Self { bytes: Arc::new(bytes), guide: Arc::new(guide), guide_start, guide_crc, rows })
    }

    /// Number of rows.
    pub fn rows(&self) -> u32 {
        self.rows
    }

    /// Bytes of the chunk.
    pub fn bytes_len(&self) -> usize {
        self.bytes.len()
    }

    /// The bytes that it was read from.
    pub(crate) fn into_bytes(self) -> Vec<u8> {
        Arc::try_unwrap(self.bytes).unwrap_or_else(|bytes| bytes.to_vec())
    }

    /// Shows every row, tombstones too, in row order.
    ///
    /// # Errors
    /// What is wrong with a block, with its checksum too.
    pub fn for_each(&self, mut visit: impl FnMut(RowRef<'_>)) -> Result<(), String> {
        for fence in &self.guide.blocks {
            let range = fence.offset as usize..fence.offset as usize + fence.len as usize;
            let block = Block::verified(Arc::clone(&self.bytes), range, fence.crc)?;
            let mut offset = block.start();
            while offset < block.end() {
                let (row, next) = block.read(offset)?;
                visit(block.view(&row));
                offset = next;
            }
        }
        Ok(())
    }

    /// The bytes of the blocks.
    pub(crate) fn blocks(&self) -> &[u8] {
        &self.bytes[..self.guide_start]
    }

    pub(crate) fn guide_bytes(&self) -> &[u8] {
        &self.bytes[self.guide_start..self.bytes.len() - TAIL]
    }

    pub(crate) fn guide_crc(&self) -> u32 {
        self.guide_crc
    }

    pub(crate) fn guide(&self) -> &Arc<Guide> {
        &self.guide
    }

    /// A block of it, without a checksum: the bytes were made by this process.
    pub(crate) fn block(&self, index: usize) -> Result<Block, String> {
        let fence = self.guide.blocks.get(index).ok_or("no such block")?;
        let range = fence.offset as usize..fence.offset as usize + fence.len as usize;
        Block::parsed(Arc::clone(&self.bytes), range)
    }
}

impl Guide {
    pub(crate) fn verified(bytes: &[u8], crc: u32) -> Result<Self, String> {
        let found = crc32fast::hash(bytes);
        if found != crc {
            return Err(format!("the checksum of a guide is {found:08x}, expected {crc:08x}"));
        }
        Self::parse(bytes).ok_or_else(|| "a guide that does not fit its length".to_owned())
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let mut take = Take(bytes);
        let count = take.u32()? as usize;
        let mut fences = Take(take.bytes(count.checked_mul(FENCE)?)?);
        let mut blocks = Vec::with_capacity(count);
        for _ in 0..count {
            blocks.push(BlockFence {
                offset: fences.u32()?,
                len: fences.u32()?,
                crc: fences.u32()?,
                rows: fences.u32()?,
                state: StateId(fences.u16()?),
                first: KeyHash(fences.u64()?),
                last: KeyHash(fences.u64()?),
            });
        }
        Some(Self { blocks, bloom: take.0.to_vec() })
    }

    /// Whether the blocks lie one after the other, in order, up to `end`.
    fn check(&self, end: usize, rows: u32) -> Result<(), String> {
        let mut next = 0_u64;
        let mut counted = 0_u64;
        let mut last = None;
        for block in &self.blocks {
            let out_of_order = last.is_some_and(|last| (block.state, block.first) < last);
            if u64::from(block.offset) != next || block.first > block.last || out_of_order {
                return Err("the blocks of a chunk are out of order".to_owned());
            }
            next += u64::from(block.len);
            counted += u64::from(block.rows);
            last = Some((block.state, block.last));
        }
        if next != end as u64 || counted != u64::from(rows) || rows == 0 {
            return Err("the blocks of a chunk do not add up".to_owned());
        }
        Ok(())
    }

    /// Where a block lies in its chunk, and its checksum.
    pub(crate) fn range(&self, block: usize) -> Option<(Range<usize>, u32)> {
        let fence = self.blocks.get(block)?;
        Some((fence.offset as usize..fence.offset as usize + fence.len as usize, fence.crc))
    }

    pub(crate) fn may_contain(&self, state: StateId, hash: KeyHash) -> bool {
        bloom::may_contain(&self.bloom, state, hash)
    }

    /// The first block that may hold a row at or after (state, hash).
    pub(super) fn seek(&self, state: StateId, hash: KeyHash) -> usize {
        self.blocks.partition_point(|block| (block.state, block.last) < (state, hash))
    }
}

pub(super) fn put_fence(out: &mut Vec<u8>, fence: &BlockFence) {
    out.extend_from_slice(&fence.offset.to_le_bytes());
    out.extend_from_slice(&fence.len.to_le_bytes());
    out.extend_from_slice(&fence.crc.to_le_bytes());
    out.extend_from_slice(&fence.rows.to_le_bytes());
    out.extend_from_slice(&fence.state.0.to_le_bytes());
    out.extend_from_slice(&fence.first.0.to_le_bytes());
    out.extend_from_slice(&fence.last.0.to_le_bytes());
}

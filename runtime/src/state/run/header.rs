//! The header of a run: its identity, what it holds of each state, and where its chunks begin and end.
//!
//! ```text
//! version u8, run u64, states u16, of each: state u16, rows u64 (tombstones are rows);
//! chunks u32, of each: first state u16, first hash u64, last state u16, last hash u64, rows u32,
//! blocks length u32, group of its guide u32, offset in the group u32, guide length u32, CRC-32 of the guide u32;
//! CRC-32 of all before u32: the run's checksum
//! ```

use super::RUN_VERSION;
use super::bytes::Take;
use super::chunk::Chunk;
use crate::id::StateId;
use crate::key::KeyHash;

const CHUNK_ENTRY: usize = 44;
const STATE_ENTRY: usize = 10;
/// Guides are kept in groups of about this size, so that a first look-up reads one piece and not the run's all.
const GROUP_TARGET: usize = 240 * 1024;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RunHeader {
    pub(crate) run: u64,
    /// Rows of each state, by rising state.
    pub(crate) states: Vec<(StateId, u64)>,
    pub(crate) chunks: Vec<ChunkFence>,
}

/// Where a chunk begins and ends, and where its guide is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ChunkFence {
    pub(crate) first: (StateId, KeyHash),
    pub(crate) last: (StateId, KeyHash),
    pub(crate) rows: u32,
    pub(crate) blocks_len: u32,
    pub(crate) guide_group: u32,
    pub(crate) guide_offset: u32,
    pub(crate) guide_len: u32,
    pub(crate) guide_crc: u32,
}

impl RunHeader {
    /// The header of a run of no chunks yet.
    pub(crate) fn new(run: u64) -> Self {
        Self { run, states: Vec::new(), chunks: Vec::new() }
    }

    /// Adds the next chunk.
    ///
    /// # Errors
    /// If its rows do not come after those before.
    pub(crate) fn push(&mut self, chunk: &Chunk) -> Result<(), String> {
        let blocks = &chunk.guide().blocks;
        let (Some(first), Some(last)) = (blocks.first(), blocks.last()) else {
            return Err("a chunk without rows".to_owned());
        };
        let first_place = (first.state, first.first);
        if self.chunks.last().is_some_and(|before| first_place < before.last) {
            return Err(format!(
                "a chunk that starts at {first_place:?}, before the end of the one before it"
            ));
        }
        for block in blocks {
            match self.states.last_mut() {
                Some((state, rows)) if *state == block.state => *rows += u64::from(block.rows),
                _ => self.states.push((block.state, u64::from(block.rows))),
            }
        }
        let guide_len = chunk.guide_bytes().len();
        let (guide_group, guide_offset) = match self.chunks.last() {
            None => (0, 0),
            Some(before) => {
                let end = (before.guide_offset + before.guide_len) as usize;
                if end + guide_len > GROUP_TARGET {
                    (before.guide_group + 1, 0)
                } else {
                    (before.guide_group, end as u32)
                }
            }
        };
        self.chunks.push(ChunkFence {
            first: first_place,
            last: (last.state, last.last),
            rows: chunk.rows(),
            blocks_len: chunk.blocks().len() as u32,
            guide_group,
            guide_offset,
            guide_len: guide_len as u32,
            guide_crc: chunk.guide_crc(),
        });
        Ok(())
    }

    /// Rows of all states, tombstones too.
    pub(crate) fn rows(&self) -> u64 {
        self.states.iter().map(|(_, rows)| rows).sum()
    }

    /// Bytes of all blocks and guides.
    pub(crate) fn bytes(&self) -> u64 {
        self.chunks.iter().map(|chunk| u64::from(chunk.blocks_len) + u64::from(chunk.guide_len)).sum()
    }

    pub(crate) fn has_state(&self, state: StateId) -> bool {
        self.states.binary_search_by_key(&state, |(state, _)| *state).is_ok()
    }

    /// The first chunk whose guide is in the group of this chunk's.
    pub(crate) fn first_of_group(&self, chunk: usize) -> usize {
        let group = self.chunks[chunk].guide_group;
        if group == 0 {
            return 0;
        }
        self.chunks.partition_point(|fence| fence.guide_group < group)
    }

    /// The first chunk that may hold a row at or after a place.
    pub(crate) fn seek(&self, state: StateId, hash: KeyHash) -> usize {
        self.chunks.partition_point(|chunk| chunk.last < (state, hash))
    }

    /// The encoded form and its checksum, which is also its last four bytes.
    pub(crate) fn encode(&self) -> (Vec<u8>, u32) {
        let mut out =
            Vec::with_capacity(19 + self.states.len() * STATE_ENTRY + self.chunks.len() * CHUNK_ENTRY);
        out.push(RUN_VERSION);
        out.extend_from_slice(&self.run.to_le_bytes());
        out.extend_from_slice(&(self.states.len() as u16).to_le_bytes());
        for (state, rows) in &self.states {
            out.extend_from_slice(&state.0.to_le_bytes());
            out.extend_from_slice(&rows.to_le_bytes());
        }
        out.extend_from_slice(&(self.chunks.len() as u32).to_le_bytes());
        for chunk in &self.chunks {
            for (state, hash) in [chunk.first, chunk.last] {
                out.extend_from_slice(&state.0.to_le_bytes());
                out.extend_from_slice(&hash.0.to_le_bytes());
            }
            let numbers = [
                chunk.rows,
                chunk.blocks_len,
                chunk.guide_group,
                chunk.guide_offset,
                chunk.guide_len,
                chunk.guide_crc,
            ];
            numbers.iter().for_each(|number| out.extend_from_slice(&number.to_le_bytes()));
        }
        let crc = crc32fast::hash(&out);
        out.extend_from_slice(&crc.to_le_bytes());
        (out, crc)
    }

    /// Reads a header, after its checksum.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn decode(bytes: &[u8]) -> Result<(Self, u32), String> {
        let (body, crc) = bytes.split_last_chunk::<4>().ok_or("a header that ends too early")?;
        let (expected, found) = (u32::from_le_bytes(*crc), crc32fast::hash(body));
        if found != expected {
            return Err(format!("the checksum of a header is {found:08x}, expected {expected:08x}"));
        }
        match body.first() {
            Some(&RUN_VERSION) => {}
            Some(version) => {
                return Err(format!("a run of version {version}; this program reads version {RUN_VERSION}"));
            }
            None => return Err("an empty header".to_owned()),
        }
        let header = Self::parse(Take(&body[1..])).ok_or("a header that does not fit its length")?;
        Ok((header, expected))
    }

    fn parse(mut take: Take<'_>) -> Option<Self> {
        let run = take.u64()?;
        let count = usize::from(take.u16()?);
        let mut entries = Take(take.bytes(count.checked_mul(STATE_ENTRY)?)?);
        let mut states = Vec::with_capacity(count);
        for _ in 0..count {
            states.push((StateId(entries.u16()?), entries.u64()?));
        }
        let count = take.u32()? as usize;
        let mut entries = Take(take.bytes(count.checked_mul(CHUNK_ENTRY)?)?);
        let mut chunks = Vec::with_capacity(count);
        for _ in 0..count {
            chunks.push(ChunkFence {
                first: (StateId(entries.u16()?), KeyHash(entries.u64()?)),
                last: (StateId(entries.u16()?), KeyHash(entries.u64()?)),
                rows: entries.u32()?,
                blocks_len: entries.u32()?,
                guide_group: entries.u32()?,
                guide_offset: entries.u32()?,
                guide_len: entries.u32()?,
                guide_crc: entries.u32()?,
            });
        }
        take.0.is_empty().then_some(Self { run, states, chunks })
    }
}

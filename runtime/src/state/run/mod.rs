//! The format of a run: the rows of one delta or of a folded base, sorted, immutable, checksummed.
//!
//! ```text
//! run    = header, guides, chunks                 (kept apart by the store)
//! chunk  = block..., guide, tail                  (as a `RunBuilder` makes it, about 250 KiB)
//! guide  = directory of the blocks, bloom filter  (what a look-up needs before it reads a block)
//! block  = rows of one state, about 16 KiB        (fixed widths, or length-framed with restart points)
//! ```
//! Every block has a CRC-32 in its guide, every guide has one in the header, and the header has one in the manifest:
//! a flipped bit or a swapped piece anywhere below a manifest is found when it is read (case 62). All numbers are
//! little-endian. Decoders take any bytes without a panic and allocate no more than they were given (case 74).

mod block;
mod bloom;
mod builder;
mod bytes;
mod chunk;
mod header;
mod merge;
mod reader;

pub use block::{BLOCK_TARGET, Block};
pub use builder::{CHUNK_TARGET, RunBuilder};
pub use chunk::Chunk;
pub(crate) use chunk::Guide;
pub(crate) use header::RunHeader;
pub(crate) use merge::Merge;
pub(crate) use reader::{Cursor, FIRST_PLACE, LAST_PLACE, Pieces, Place};

/// The version of the format that is written: the last byte of every chunk and the first of every header.
pub const RUN_VERSION: u8 = 1;

#[cfg(test)]
mod tests;

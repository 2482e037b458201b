//! A segment: about 512 to 1,024 keys with neighbouring hashes, which are written, loaded and dropped together.

use crate::state::table::cell::Version;

/// What a table knows of all keys of a segment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Segment {
    /// The newest stamp in it.
    pub(crate) last: Version,
    /// Its side buffer, or `NO_SIDE`.
    pub(crate) side: u32,
    /// Whether every live key of its span is in memory.
    pub(crate) coverage: Coverage,
    /// Whether it was used since the clock hand passed.
    pub(crate) recency: Recency,
    /// Whether it holds tombstones.
    pub(crate) litter: Litter,
    /// Keys that were read from the store one at a time while it was partial.
    pub(crate) keys_read: u8,
}

pub(crate) const NO_SIDE: u32 = u32::MAX;

/// What a miss in a segment says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Coverage {
    /// The key has no entry.
    Complete,
    /// The store must be asked.
    Partial,
}

/// What the clock hand knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Recency {
    Used,
    Idle,
}

/// Whether a sweep would find something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Litter {
    None,
    Some,
}

impl Segment {
    pub(crate) fn new(coverage: Coverage) -> Self {
        Self { last: 0, side: NO_SIDE, coverage, recency: Recency::Idle, litter: Litter::None, keys_read: 0 }
    }
}

//! The segments of a table, by the top bits of the position.

use std::mem::replace;

use crate::state::table::range::{Position, Span};
use crate::state::table::segment::{Coverage, NO_SIDE, Segment};

/// Depth of an empty table.
const DEPTH_MIN: u32 = 3;
/// 16 M segments: more entries than a machine's memory holds.
const DEPTH_MAX: u32 = 24;
/// Entries for each segment above which there are twice as many segments.
const ENTRIES_MAX: usize = 1_024;
/// Entries for each segment when their number is known before.
const ENTRIES_AIMED: u64 = 512;

pub(crate) struct Directory {
    segments: Vec<Segment>,
    /// Bits of a position that number its segment.
    depth: u32,
    /// Segments that are partial.
    partial: usize,
}

impl Directory {
    /// For about `expected` entries.
    pub(crate) fn new(expected: u64, coverage: Coverage) -> Self {
        let wanted = (expected / ENTRIES_AIMED).max(1).next_power_of_two().trailing_zeros();
        let depth = wanted.clamp(DEPTH_MIN, DEPTH_MAX);
        let segments = vec![Segment::new(coverage); 1 << depth];
        let partial = if coverage == Coverage::Partial { segments.len() } else { 0 };
        Self { segments, depth, partial }
    }

    /// Bits of a position that number its segment.
    pub(crate) fn depth(&self) -> u32 {
        self.depth
    }

    /// Whether all keys of all segments are in memory.
    pub(crate) fn is_complete(&self) -> bool {
        self.partial == 0
    }

    pub(crate) fn set_coverage(&mut self, index: usize, coverage: Coverage) {
        match (replace(&mut self.segments[index].coverage, coverage), coverage) {
            (Coverage::Complete, Coverage::Partial) => self.partial += 1,
            (Coverage::Partial, Coverage::Complete) => self.partial -= 1,
            _ => {}
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.segments.len()
    }

    /// The number of a position's segment.
    #[inline(always)]
    pub(crate) fn index(&self, position: Position) -> usize {
        (position >> (64 - self.depth)) as usize
    }

    #[inline(always)]
    pub(crate) fn segment(&self, index: usize) -> &Segment {
        &self.segments[index]
    }

    #[inline(always)]
    pub(crate) fn segment_mut(&mut self, index: usize) -> &mut Segment {
        &mut self.segments[index]
    }

    /// The positions of a segment.
    pub(crate) fn span(&self, index: usize) -> Span {
        Span::numbered(index, self.depth)
    }

    /// Whether there should be more segments before one more entry is added.
    pub(crate) fn is_crowded(&self, entries: usize) -> bool {
        entries >= self.segments.len() * ENTRIES_MAX && self.depth < DEPTH_MAX
    }

    /// Divides every segment in two: they stand at twice their number. The lower halves keep the side buffers.
    pub(crate) fn double(&mut self) {
        let halves = |segment: &Segment| [*segment, Segment { side: NO_SIDE, ..*segment }];
        self.segments = self.segments.iter().flat_map(halves).collect();
        self.depth += 1;
        self.partial *= 2;
    }

    pub(crate) fn bytes(&self) -> usize {
        self.segments.len() * size_of::<Segment>()
    }
}

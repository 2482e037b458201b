//! Finds the segment of a hash: extendible hashing over the top bits, with the headers in one array.
//!
//! The array doubles when a segment that already uses all its bits must be divided. A segment that was not divided
//! since stands at the first of the entries that are its own; the others are blank and say its depth. So growth
//! copies headers only, and slots move one segment at a time.

use crate::key::KeyHash;
use crate::state::table::key::TableKey;
use crate::state::table::prefetch::prefetch;
use crate::state::table::range::{HashRange, Position};
use crate::state::table::segment::{Coverage, SEGMENT_SLOTS_MAX, Segment};

/// Depth of an empty table.
const DEPTH_MIN: u8 = 3;
/// 16 M segments: more entries than a machine's memory holds.
const DEPTH_MAX: u8 = 24;
/// Entries for each segment below which the array doesn't double.
const ENTRIES_MIN: usize = 64;
/// Slots in a segment when the number of entries is known before.
const SLOTS_AIMED: u64 = 512;

pub(crate) struct Directory<K, C> {
    segments: Vec<Segment<K, C>>,
    depth: u8,
    range: HashRange,
}

impl<K: TableKey, C> Directory<K, C> {
    /// For about `expected` entries.
    pub(crate) fn new(range: HashRange, expected: u64, coverage: Coverage) -> Self {
        let wanted = (expected / SLOTS_AIMED).max(1).next_power_of_two().trailing_zeros();
        let depth = (wanted as u8).clamp(DEPTH_MIN, DEPTH_MAX);
        let segments = (0..1usize << depth).map(|_| Segment::new(depth, coverage)).collect();
        Self { segments, depth, range }
    }

    pub(crate) fn range(&self) -> &HashRange {
        &self.range
    }

    /// Entries of the array: one past the last segment.
    pub(crate) fn len(&self) -> usize {
        self.segments.len()
    }

    #[inline(always)]
    pub(crate) fn position(&self, hash: KeyHash) -> Position {
        self.range.position(hash)
    }

    /// The segment of a position: its first entry, computed without a branch that half of the records would miss.
    #[inline(always)]
    pub(crate) fn index(&self, position: Position) -> usize {
        let index = (position >> (64 - u32::from(self.depth))) as usize;
        let bits = self.depth - self.segments[index].depth;
        index >> bits << bits
    }

    /// Fetches into the cache the header of a position.
    #[inline(always)]
    pub(crate) fn prefetch(&self, position: Position) {
        let index = (position >> (64 - u32::from(self.depth))) as usize;
        prefetch(self.segments.as_ptr().wrapping_add(index));
    }

    #[inline(always)]
    pub(crate) fn segment(&self, index: usize) -> &Segment<K, C> {
        &self.segments[index]
    }

    #[inline(always)]
    pub(crate) fn segment_mut(&mut self, index: usize) -> &mut Segment<K, C> {
        &mut self.segments[index]
    }

    /// A segment to be changed, with the range that its methods want.
    pub(crate) fn parts(&mut self, index: usize) -> (&HashRange, &mut Segment<K, C>) {
        (&self.range, &mut self.segments[index])
    }

    /// The first entry of the segment that an entry of the array belongs to.
    pub(crate) fn first_of(&self, entry: usize) -> usize {
        let bits = self.depth - self.segments[entry].depth;
        entry >> bits << bits
    }

    /// How many entries of the array a segment has.
    pub(crate) fn span(&self, index: usize) -> usize {
        1 << (self.depth - self.segments[index].depth)
    }

    /// The hashes of a segment, both ends included.
    pub(crate) fn hashes(&self, index: usize) -> Option<(KeyHash, KeyHash)> {
        let bits = 64 - u32::from(self.depth);
        let start = (index as u64) << bits;
        let width = u64::MAX >> self.segments[index].depth;
        self.range.hashes(start, start + width)
    }

    /// The segments, in order.
    pub(crate) fn indexes(&self) -> impl Iterator<Item = usize> + '_ {
        let mut next = 0;
        std::iter::from_fn(move || {
            let index = next;
            (index < self.len()).then(|| {
                next += self.span(index);
                index
            })
        })
    }

    /// Whether a segment should be divided before it takes one more. Where the array would have to double for few
    /// entries, hashes are alike and dividing would not help.
    pub(crate) fn is_full(&self, index: usize, entries: usize) -> bool {
        let segment = &self.segments[index];
        let can_double = self.depth < DEPTH_MAX && entries / ENTRIES_MIN >= self.segments.len();
        segment.used() >= SEGMENT_SLOTS_MAX && (segment.depth < self.depth || can_double)
    }

    /// Whether dividing a segment doubles the array: entries then stand at twice their index.
    pub(crate) fn must_double(&self, index: usize) -> bool {
        self.segments[index].depth == self.depth
    }

    pub(crate) fn double(&mut self) {
        let mut doubled = Vec::with_capacity(self.segments.len() * 2);
        for segment in self.segments.drain(..) {
            let blank = Segment::new(segment.depth, segment.coverage);
            doubled.push(segment);
            doubled.push(blank);
        }
        self.segments = doubled;
        self.depth += 1;
    }

    /// Divides a segment that has several entries; returns where its upper half is.
    pub(crate) fn divide(&mut self, index: usize) -> usize {
        let half = self.span(index) / 2;
        let middle = index + half;
        let upper = self.segments[index].divide(&self.range);
        let depth = upper.depth;
        self.segments[middle] = upper;
        for blank in self.segments[index..index + 2 * half].iter_mut() {
            blank.depth = depth;
        }
        middle
    }

    pub(crate) fn bytes(&self) -> usize {
        self.segments.len() * size_of::<Segment<K, C>>()
    }
}

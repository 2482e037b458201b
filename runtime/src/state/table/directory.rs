//! Finds the segment of a hash: extendible hashing over the top bits, with the headers in one array.
//!
//! The array doubles when a segment that already uses all its bits must be divided. A segment that was not divided
//! since stands at the first of the entries that are its own; the others are blank. How many bits each entry's segment
//! uses stands in an array of its own, a byte each, so that a look-up reads no blank header. Growth copies headers
//! only, and what they hold moves one segment at a time.

use std::ops::Range;
use std::time::Duration;

use crate::key::KeyHash;
use crate::state::table::key::TableKey;
use crate::state::table::range::{HashRange, Ruler, bucket_of};
use crate::state::table::segment::{Coverage, Segment};

/// Depth of an empty table.
const DEPTH_MIN: u8 = 3;
/// 16 M segments: more entries than a machine's memory holds.
const DEPTH_MAX: u8 = 24;
/// Length up to which the array doubles although the table has few entries: 4 MiB.
const LEN_FREE: usize = 1 << 14;
/// Entries of the table for each of the array below which it doesn't double any more.
const ENTRIES_MIN: u64 = 8;
/// Entries from which on a table's memory is given back on a thread of its own.
const DROPPED_ASIDE_MIN: usize = 1 << 16;
/// Segments that it gives back at once, about 0.1 ms of work, and the pause after: a new attempt wants the processor.
const DROPPED_AT_ONCE: usize = 256;
const DROP_PAUSE: Duration = Duration::from_millis(1);
/// Entries of the array that are read from the store together.
const LOADED_TOGETHER: usize = 4;

pub(crate) struct Directory<K: TableKey, C: Send + 'static> {
    segments: Vec<Segment<K, C>>,
    /// Hash bits that number the segment of each entry. Below the directory's: the segment has several entries.
    depths: Vec<u8>,
    depth: u8,
    range: HashRange,
    /// Entries that the table had when it was opened, in memory or not.
    expected: u64,
    /// Entries and tombstones.
    used: usize,
    /// Bytes that the segments' headers point to.
    held: usize,
}

/// Where a look-up starts: a segment's first entry in the array, and a bucket of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spot {
    pub(crate) segment: usize,
    pub(crate) bucket: usize,
}

impl<K: TableKey, C: Send + 'static> Directory<K, C> {
    /// Entries in a segment when their number is known before: at most this, and at least half.
    const ENTRIES_AIMED: u64 = Segment::<K, C>::ENTRIES_MAX as u64 * 5 / 8;

    /// For about `expected` entries.
    pub(crate) fn new(range: HashRange, expected: u64, coverage: Coverage) -> Self {
        let segments = range.positions(expected).div_ceil(Self::ENTRIES_AIMED);
        let wanted = segments.max(1).next_power_of_two().trailing_zeros();
        let depth = (wanted as u8).clamp(DEPTH_MIN, DEPTH_MAX);
        let segments = (0..1usize << depth).map(|_| Segment::new(coverage)).collect();
        Self { segments, depths: vec![depth; 1 << depth], depth, range, expected, used: 0, held: 0 }
    }

    pub(crate) fn range(&self) -> &HashRange {
        &self.range
    }

    /// Entries of the array: one past the last segment.
    pub(crate) fn len(&self) -> usize {
        self.segments.len()
    }

    /// Computed without a branch, which half of the records would miss.
    #[inline(always)]
    pub(crate) fn spot(&self, hash: KeyHash) -> Spot {
        let position = self.range.position(hash);
        let entry = (position >> (64 - u32::from(self.depth))) as usize;
        let depth = self.depths[entry];
        let bits = self.depth - depth;
        Spot { segment: entry >> bits << bits, bucket: bucket_of(position, depth) }
    }

    /// The segment of a hash.
    pub(crate) fn index(&self, hash: KeyHash) -> usize {
        self.spot(hash).segment
    }

    #[inline(always)]
    pub(crate) fn segment(&self, index: usize) -> &Segment<K, C> {
        &self.segments[index]
    }

    #[inline(always)]
    pub(crate) fn segment_mut(&mut self, index: usize) -> &mut Segment<K, C> {
        &mut self.segments[index]
    }

    /// Changes what a segment holds; gets what numbers its buckets.
    pub(crate) fn change<R>(
        &mut self,
        index: usize,
        change: impl FnOnce(&mut Segment<K, C>, Ruler) -> R,
    ) -> R {
        let segment = &mut self.segments[index];
        let (used, held) = (segment.used(), segment.bytes());
        let result = change(segment, Ruler::new(self.range, self.depths[index]));
        self.used = self.used + segment.used() - used;
        self.held = self.held + segment.bytes() - held;
        result
    }

    /// Number of entries and tombstones.
    pub(crate) fn used(&self) -> usize {
        self.used
    }

    /// The first entry of the segment that an entry of the array belongs to.
    pub(crate) fn first_of(&self, entry: usize) -> usize {
        let bits = self.depth - self.depths[entry];
        entry >> bits << bits
    }

    /// How many entries of the array a segment has.
    pub(crate) fn span(&self, index: usize) -> usize {
        1 << (self.depth - self.depths[index])
    }

    /// The segments of aligned entries, in order.
    pub(crate) fn segments(&self, entries: &Range<usize>) -> impl Iterator<Item = &Segment<K, C>> {
        let (mut next, end) = (entries.start, entries.end);
        std::iter::from_fn(move || {
            let index = next;
            (index < end).then(|| {
                next += self.span(index);
                &self.segments[index]
            })
        })
    }

    /// The neighbourhood of a segment, which is read from the store together: its entries in the array.
    pub(crate) fn neighbourhood(&self, index: usize) -> Range<usize> {
        let width = self.span(index).max(LOADED_TOGETHER);
        let start = index & !(width - 1);
        start..start + width
    }

    /// The hashes of aligned entries, both ends included.
    pub(crate) fn hashes(&self, entries: &Range<usize>) -> Option<(KeyHash, KeyHash)> {
        let bits = 64 - u32::from(self.depth);
        let start = (entries.start as u64) << bits;
        let end = (entries.end as u64 - 1) << bits | u64::MAX >> self.depth;
        self.range.hashes(start, end)
    }

    /// Whether a segment should be divided before it takes one more. Where hashes are alike, dividing doesn't help, and
    /// the array must not grow without end for a few that were made to be alike.
    pub(crate) fn is_full(&self, index: usize) -> bool {
        let segment = &self.segments[index];
        segment.is_full() && (self.depths[index] < self.depth || (self.may_double() && segment.is_spread()))
    }

    fn may_double(&self) -> bool {
        let entries = self.expected.max(self.used as u64);
        self.depth < DEPTH_MAX && (self.len() < LEN_FREE || entries / ENTRIES_MIN >= self.len() as u64)
    }

    /// Whether dividing a segment doubles the array: entries then stand at twice their index.
    pub(crate) fn must_double(&self, index: usize) -> bool {
        self.depths[index] == self.depth
    }

    pub(crate) fn double(&mut self) {
        let mut doubled = Vec::with_capacity(self.segments.len() * 2);
        for segment in self.segments.drain(..) {
            let blank = Segment::new(segment.coverage);
            doubled.push(segment);
            doubled.push(blank);
        }
        self.segments = doubled;
        self.depths = self.depths.iter().flat_map(|depth| [*depth; 2]).collect();
        self.depth += 1;
    }

    /// Divides a segment that has several entries; returns where its upper half is.
    pub(crate) fn divide(&mut self, index: usize) -> usize {
        let half = self.span(index) / 2;
        let middle = index + half;
        let depth = self.depths[index] + 1;
        self.depths[index..index + 2 * half].fill(depth);
        let before = self.segments[index].bytes();
        self.segments[middle] = self.segments[index].divide(Ruler::new(self.range, depth));
        self.held = self.held + self.segments[index].bytes() + self.segments[middle].bytes() - before;
        middle
    }

    pub(crate) fn bytes(&self) -> usize {
        self.segments.len() * size_of::<Segment<K, C>>() + self.depths.len() + self.held
    }
}

impl<K: TableKey, C: Send + 'static> Drop for Directory<K, C> {
    /// A recovery waits until the attempt before is gone, and giving back the memory of 2 M entries took 15 ms.
    fn drop(&mut self) {
        if self.used >= DROPPED_ASIDE_MIN {
            let mut segments = std::mem::take(&mut self.segments);
            let free = move || {
                while !segments.is_empty() {
                    segments.truncate(segments.len().saturating_sub(DROPPED_AT_ONCE));
                    std::thread::park_timeout(DROP_PAUSE);
                }
            };
            // Without a thread they are dropped here.
            drop(std::thread::Builder::new().name("tidegate-free".to_owned()).spawn(free));
        }
    }
}

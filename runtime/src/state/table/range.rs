//! The hashes that a subtask owns, stretched over all 64 bits so that their top bits number segments.

use crate::key::KeyHash;
use crate::state::table::segment::BUCKETS;

/// A place in the subtask's range: monotone in the hash.
pub(crate) type Position = u64;

/// The hashes of a subtask, both ends included.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HashRange {
    first: u64,
    last: u64,
    /// Leading zeros of the range's width: positions use the top bit.
    shift: u32,
}

impl HashRange {
    pub(crate) fn new((first, last): (KeyHash, KeyHash)) -> Self {
        let width = last.0.checked_sub(first.0).expect("I94: a subtask's first hash is not above its last");
        Self { first: first.0, last: last.0, shift: width.leading_zeros().min(63) }
    }

    #[inline(always)]
    pub(crate) fn position(&self, hash: KeyHash) -> Position {
        hash.0.wrapping_sub(self.first) << self.shift
    }

    pub(crate) fn contains(&self, hash: KeyHash) -> bool {
        (self.first..=self.last).contains(&hash.0)
    }

    pub(crate) fn first(&self) -> KeyHash {
        KeyHash(self.first)
    }

    pub(crate) fn last(&self) -> KeyHash {
        KeyHash(self.last)
    }

    /// How many entries all positions would have, if those of its hashes have `entries`: it may have half of them.
    pub(crate) fn positions(&self, entries: u64) -> u64 {
        let occupied = (u128::from(self.last - self.first) + 1) << self.shift;
        ((u128::from(entries) << 64) / occupied) as u64
    }

    /// The hashes whose positions are in `start..=end`, both ends included; `None` where there are none.
    pub(crate) fn hashes(&self, start: Position, end: Position) -> Option<(KeyHash, KeyHash)> {
        let low = start.div_ceil(1 << self.shift).checked_add(self.first)?;
        let high = (end >> self.shift).saturating_add(self.first).min(self.last);
        (low <= high).then_some((KeyHash(low), KeyHash(high)))
    }
}

/// Numbers the buckets of a segment, by the hash bits below those that number the segment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ruler {
    range: HashRange,
    /// Hash bits that number the segment.
    depth: u8,
}

impl Ruler {
    pub(crate) fn new(range: HashRange, depth: u8) -> Self {
        Self { range, depth }
    }

    #[inline(always)]
    pub(crate) fn bucket(self, hash: KeyHash) -> usize {
        bucket_of(self.range.position(hash), self.depth)
    }

    /// Whether the last of the bits that number the segment is set.
    pub(crate) fn is_upper(self, hash: KeyHash) -> bool {
        self.range.position(hash) >> (64 - u32::from(self.depth)) & 1 == 1
    }
}

/// The bucket of a position, in a segment that `depth` bits number.
#[inline(always)]
pub(crate) fn bucket_of(position: Position, depth: u8) -> usize {
    const BITS: u32 = BUCKETS.trailing_zeros();
    (position << depth >> (64 - BITS)) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_divide_the_range_without_gap_or_overlap() {
        let ranges = [
            (0, u64::MAX),
            (0, u64::MAX / 3),
            (u64::MAX / 7, u64::MAX / 2),
            (u64::MAX - 9, u64::MAX),
            (5, 5),
        ];
        for (first, last) in ranges {
            let range = HashRange::new((KeyHash(first), KeyHash(last)));
            for depth in [1, 4, 9] {
                let mut next = Some(first);
                for index in 0..1u64 << depth {
                    let start = index << (64 - depth);
                    let end = start + (u64::MAX >> depth);
                    let Some((low, high)) = range.hashes(start, end) else { continue };
                    assert_eq!(Some(low.0), next, "{first}..={last} at depth {depth}, segment {index}");
                    assert_eq!(range.position(low) >> (64 - depth), index);
                    assert_eq!(range.position(high) >> (64 - depth), index);
                    next = high.0.checked_add(1);
                }
                assert_eq!(next, last.checked_add(1));
            }
        }
    }
}

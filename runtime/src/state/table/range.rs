//! The hashes that a subtask owns, stretched over all 64 bits so that their top bits number segments.

use crate::key::KeyHash;

/// A place in the subtask's range: monotone in the hash.
pub(crate) type Position = u64;

/// Neighbouring positions, both ends included.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span {
    pub(crate) first: Position,
    pub(crate) last: Position,
}

impl Span {
    /// The positions whose first `depth` bits are this number.
    pub(crate) fn numbered(number: usize, depth: u32) -> Self {
        let first = (number as u64) << (64 - depth);
        Self { first, last: first + (u64::MAX >> depth) }
    }

    /// How many there are of something evenly over all positions, if so many are over those of the span; at most 2^24
    /// times as many.
    pub(crate) fn stretched(self, many: u64) -> u64 {
        let width = u128::from(self.last - self.first) + 1;
        ((u128::from(many) << 64) / width).min(u128::from(many) << 24) as u64
    }
}

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

    /// All positions of the range.
    pub(crate) fn span(&self) -> Span {
        Span { first: 0, last: self.position(KeyHash(self.last)) }
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

    /// The hashes whose positions are in a span, both ends included; `None` where there are none.
    pub(crate) fn hashes(&self, span: Span) -> Option<(KeyHash, KeyHash)> {
        let low = span.first.div_ceil(1 << self.shift).checked_add(self.first)?;
        let high = (span.last >> self.shift).saturating_add(self.first).min(self.last);
        (low <= high).then_some((KeyHash(low), KeyHash(high)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_stretched_is_as_many_in_the_span() {
        for (first, last) in
            [(0, u64::MAX), (0, u64::MAX / 3), (7, u64::MAX / 2 + 7), (1 << 63, (1 << 63) + (1 << 50))]
        {
            let span = Span { first, last };
            let at = |position: u64| (u128::from(position) * u128::from(span.stretched(1_000))) >> 64;
            let reached = at(last) - at(first);
            assert!((998..=1_000).contains(&reached), "{reached} for {first}..={last}");
        }
    }

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
                    let first = index << (64 - depth);
                    let span = Span { first, last: first + (u64::MAX >> depth) };
                    let Some((low, high)) = range.hashes(span) else { continue };
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

//! Finds which records of a batch go to which destination, a batch at a time and without a branch for each record.

use crate::key::KeyHash;

/// The positions of a batch's records by destination; each destination's are in the order of the batch.
#[derive(Default)]
pub(super) struct Division {
    /// Of the first destination's records, then of the second's, and so on.
    positions: Vec<u32>,
    /// Behind the last of each destination's.
    ends: Vec<usize>,
    upper: Vec<u32>,
}

impl Division {
    /// Divides by `bounds`: the first hash of each destination but the first, in order.
    pub(super) fn divide(&mut self, hashes: &[KeyHash], bounds: &[KeyHash]) {
        self.positions.clear();
        self.positions.extend(0..hashes.len() as u32);
        self.upper.resize(hashes.len(), 0);
        self.ends.clear();
        split(hashes, bounds, (&mut self.positions, &mut self.upper), &mut self.ends);
    }

    /// The positions of each destination in turn.
    pub(super) fn shares(&self) -> impl Iterator<Item = &[u32]> {
        let mut start = 0;
        self.ends.iter().map(move |end| &self.positions[std::mem::replace(&mut start, *end)..*end])
    }
}

/// Parts the positions at the bound in the middle, then each half in the same way: every record is written to both
/// halves, and the half that it belongs to grows.
fn split(hashes: &[KeyHash], bounds: &[KeyHash], space: (&mut [u32], &mut [u32]), ends: &mut Vec<usize>) {
    let (positions, upper) = space;
    let middle = bounds.len() / 2;
    let Some(bound) = bounds.get(middle) else {
        ends.push(ends.last().copied().unwrap_or(0) + positions.len());
        return;
    };
    let mut lower_len = 0;
    for at in 0..positions.len() {
        let position = positions[at];
        positions[lower_len] = position;
        upper[at - lower_len] = position;
        lower_len += usize::from(hashes[position as usize] < *bound);
    }
    let (below, above) = positions.split_at_mut(lower_len);
    above.copy_from_slice(&upper[..above.len()]);
    split(hashes, &bounds[..middle], (below, upper), ends);
    split(hashes, &bounds[middle + 1..], (above, upper), ends);
}

#[cfg(all(test, not(tidegate_loom)))]
mod tests {
    use proptest::prelude::{any, prop, proptest};

    use super::*;

    proptest! {
        #[test]
        fn each_record_goes_to_the_range_that_its_hash_is_in(
            hashes in prop::collection::vec(any::<u8>(), 0..200),
            mut bounds in prop::collection::vec(any::<u8>(), 0..20),
        ) {
            bounds.sort_unstable();
            let wide = |narrow: &[u8]| narrow.iter().map(|n| KeyHash(u64::from(*n))).collect::<Vec<_>>();
            let mut division = Division::default();
            // What an earlier batch left behind is of no account.
            division.divide(&wide(&[7; 150]), &wide(&bounds));
            division.divide(&wide(&hashes), &wide(&bounds));
            let mut expected = vec![Vec::new(); bounds.len() + 1];
            for (position, hash) in hashes.iter().enumerate() {
                expected[bounds.iter().filter(|bound| *bound <= hash).count()].push(position as u32);
            }
            assert_eq!(division.shares().map(<[u32]>::to_vec).collect::<Vec<_>>(), expected);
        }
    }
}

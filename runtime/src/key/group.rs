//! Key groups: the unit in which keyed state moves between subtasks.

use crate::id::KeyGroup;
use crate::key::KeyHash;

/// How many key groups a job has, fixed for the life of its state.
///
/// A group is the top of the hash (multiply-shift), so the order of groups is the order of hashes, and a subtask
/// owns one contiguous range of hashes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyGroups(u16);

/// The key groups of one subtask: `start..end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyGroupRange {
    /// The first group.
    pub start: u16,
    /// The group after the last.
    pub end: u16,
}

impl KeyGroups {
    /// Enough for 4,096 subtasks.
    pub const DEFAULT: KeyGroups = KeyGroups(4_096);

    /// `count` groups.
    ///
    /// # Panics
    /// If `count` is 0; `JobConfig` checks it first.
    pub fn new(count: u16) -> Self {
        assert!(count > 0, "a job has at least one key group");
        Self(count)
    }

    /// How many there are.
    pub fn count(self) -> u16 {
        self.0
    }

    /// The group of a hash.
    pub fn group_of(self, hash: KeyHash) -> KeyGroup {
        let group = (u128::from(hash.0) * u128::from(self.0)) >> 64;
        KeyGroup(u16::try_from(group).expect("a product shifted by 64 bits is below the group count"))
    }

    /// The subtask that owns a group at a parallelism.
    pub fn owner(self, group: KeyGroup, parallelism: u32) -> u32 {
        (u64::from(group.0) * u64::from(parallelism) / u64::from(self.0)) as u32
    }

    /// The groups that a subtask owns at a parallelism; every group has exactly one owner (case 69).
    pub fn range(self, subtask: u32, parallelism: u32) -> KeyGroupRange {
        let bound = |index: u32| {
            let scaled = u64::from(index) * u64::from(self.0);
            u16::try_from(scaled.div_ceil(u64::from(parallelism))).expect("subtask <= parallelism")
        };
        KeyGroupRange { start: bound(subtask), end: bound(subtask + 1) }
    }

    /// The hashes of a range of groups, both ends inclusive; `None` where the range is empty.
    pub fn hashes(self, range: KeyGroupRange) -> Option<(KeyHash, KeyHash)> {
        if range.start >= range.end {
            return None;
        }
        let after = (u128::from(range.end) << 64).div_ceil(u128::from(self.0));
        Some((self.first_hash(range.start), KeyHash((after - 1) as u64)))
    }

    /// The first hash of a group.
    pub fn first_hash(self, group: u16) -> KeyHash {
        let first = (u128::from(group) << 64).div_ceil(u128::from(self.0));
        KeyHash(u64::try_from(first).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_group_has_one_owner_at_any_parallelism_case_69() {
        for count in [1, 2, 7, 128, 4_096] {
            let groups = KeyGroups::new(count);
            for parallelism in 1..=40 {
                let mut next = 0;
                for subtask in 0..parallelism {
                    let range = groups.range(subtask, parallelism);
                    assert_eq!(range.start, next, "{count} groups, subtask {subtask} of {parallelism}");
                    for group in range.start..range.end {
                        assert_eq!(groups.owner(KeyGroup(group), parallelism), subtask);
                    }
                    next = range.end;
                }
                assert_eq!(next, count);
            }
        }
    }

    #[test]
    fn the_hashes_of_a_range_are_those_of_its_groups() {
        for count in [1, 3, 4_096, u16::MAX] {
            let groups = KeyGroups::new(count);
            for group in [0, count / 2, count - 1] {
                let (first, last) =
                    groups.hashes(KeyGroupRange { start: group, end: group + 1 }).expect("one group");
                assert_eq!(groups.group_of(first), KeyGroup(group));
                assert_eq!(groups.group_of(last), KeyGroup(group));
                assert!(group == 0 || groups.group_of(KeyHash(first.0 - 1)) == KeyGroup(group - 1));
                assert!(group == count - 1 || groups.group_of(KeyHash(last.0 + 1)) == KeyGroup(group + 1));
            }
        }
    }
}

//! What is due when: keys in the order of (time, key hash), without a search tree over keys.
//!
//! A calendar queue: far entries lie unsorted in buckets of one width, and a bucket is sorted once, when the watermark
//! comes to it. Not durable: it is rebuilt from the tables.

use std::cmp::{Ordering, Reverse};
use std::collections::{BTreeMap, BinaryHeap};
use std::vec::IntoIter;

use tidegate_runtime::key::KeyHash;

/// A key and the time at which something of it is due.
#[derive(Debug)]
pub(crate) struct Due<K> {
    pub(crate) at: i64,
    pub(crate) hash: KeyHash,
    pub(crate) key: K,
}

impl<K> Due<K> {
    /// Time, then hash, as one number: compared without a branch.
    #[inline(always)]
    fn order(&self) -> u128 {
        let at = (self.at ^ i64::MIN) as u64;
        u128::from(at) << 64 | u128::from(self.hash.0)
    }
}

impl<K> PartialEq for Due<K> {
    fn eq(&self, other: &Self) -> bool {
        self.order() == other.order()
    }
}

impl<K> Eq for Due<K> {}

impl<K> PartialOrd for Due<K> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<K> Ord for Due<K> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.order().cmp(&other.order())
    }
}

/// Length at which a run of a bucket is kept: random entries hardly ever rise that long.
const RUN_MIN: usize = 64;

/// What is due in one stretch of time. Most of it is registered in order, when the keys' windows before fire: that run
/// is not sorted again.
#[derive(Debug)]
struct Bucket<K> {
    /// Rising; dissolved when it ends before it is long.
    run: Vec<Due<K>>,
    others: Vec<Due<K>>,
}

impl<K> Default for Bucket<K> {
    fn default() -> Self {
        Self { run: Vec::new(), others: Vec::new() }
    }
}

impl<K> Bucket<K> {
    #[inline(always)]
    fn push(&mut self, due: Due<K>) {
        if self.run.last().is_none_or(|last| *last <= due) {
            self.run.push(due);
        } else {
            self.push_other(due);
        }
    }

    #[inline(never)]
    fn push_other(&mut self, due: Due<K>) {
        if self.run.len() < RUN_MIN {
            self.others.append(&mut self.run);
            self.run.push(due);
        } else {
            self.others.push(due);
        }
    }

    fn is_empty(&self) -> bool {
        self.run.is_empty()
    }

    /// Two rising parts.
    fn sorted(mut self) -> [IntoIter<Due<K>>; 2] {
        self.others.sort_unstable();
        [self.run.into_iter(), self.others.into_iter()]
    }
}

/// Keys by the time at which they are due.
#[derive(Debug)]
pub(crate) struct DueIndex<K> {
    /// Low bits of a time, which don't tell its bucket.
    bits: u32,
    buckets: BTreeMap<i64, Bucket<K>>,
    /// The bucket that was registered in last, out of `buckets`.
    filling: (i64, Bucket<K>),
    /// The bucket that the watermark has come to, each part in order.
    front: [IntoIter<Due<K>>; 2],
    /// The part that was taken from last.
    part: usize,
    /// What was registered for the front or what is before it, since.
    extra: BinaryHeap<Reverse<Due<K>>>,
    /// The first bucket that is not in front.
    unsorted_from: i64,
}

impl<K> DueIndex<K> {
    /// A bucket covers the time `width` at most.
    pub(crate) fn new(width: i64) -> Self {
        Self {
            bits: width.max(1).ilog2(),
            buckets: BTreeMap::new(),
            filling: (i64::MIN, Bucket::default()),
            front: Bucket::default().sorted(),
            part: 0,
            extra: BinaryHeap::new(),
            unsorted_from: i64::MIN,
        }
    }

    #[inline(always)]
    pub(crate) fn register(&mut self, at: i64, hash: KeyHash, key: K) {
        let bucket = at >> self.bits;
        let due = Due { at, hash, key };
        if bucket < self.unsorted_from {
            return self.register_extra(due);
        }
        if bucket != self.filling.0 {
            self.fill(bucket);
        }
        self.filling.1.push(due);
    }

    #[inline(never)]
    fn register_extra(&mut self, due: Due<K>) {
        self.extra.push(Reverse(due));
    }

    /// Makes a bucket the one that is registered in.
    #[inline(never)]
    fn fill(&mut self, bucket: i64) {
        let next = (bucket, self.buckets.remove(&bucket).unwrap_or_default());
        let (before, entries) = std::mem::replace(&mut self.filling, next);
        if !entries.is_empty() {
            self.buckets.insert(before, entries);
        }
    }

    /// The hash of what will be taken about `positions` after the last one, if it is known.
    #[inline]
    pub(crate) fn ahead(&self, positions: usize) -> Option<KeyHash> {
        self.front[self.part].as_slice().get(positions).map(|due| due.hash)
    }

    /// Takes the earliest that is due at `now` or before.
    #[inline(always)]
    pub(crate) fn pop(&mut self, now: i64) -> Option<Due<K>> {
        loop {
            let [first, second] = self.front.each_ref().map(|part| part.as_slice().first());
            let part = match (first, second) {
                (Some(first), Some(second)) => usize::from(second < first),
                (first, _) => usize::from(first.is_none()),
            };
            match (self.front[part].as_slice().first(), self.extra.peek()) {
                (None, None) => self.advance(now)?,
                (Some(sorted), extra) if extra.is_none_or(|Reverse(extra)| sorted <= extra) => {
                    if sorted.at > now {
                        return None;
                    }
                    self.part = part;
                    return self.front[part].next();
                }
                (_, extra) => {
                    extra.filter(|Reverse(extra)| extra.at <= now)?;
                    return self.extra.pop().map(|Reverse(due)| due);
                }
            }
        }
    }

    /// Sorts the next bucket if its time has come.
    #[inline(never)]
    fn advance(&mut self, now: i64) -> Option<()> {
        let filling = (!self.filling.1.is_empty()).then_some(self.filling.0);
        let bucket = self.buckets.keys().next().copied().into_iter().chain(filling).min()?;
        if bucket > now >> self.bits {
            return None;
        }
        let front = if filling == Some(bucket) {
            std::mem::take(&mut self.filling.1)
        } else {
            self.buckets.remove(&bucket).unwrap_or_default()
        };
        self.front = front.sorted();
        self.unsorted_from = bucket.saturating_add(1);
        Some(())
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        let waiting = self.buckets.values().chain([&self.filling.1]);
        let waiting: usize = waiting.map(|bucket| bucket.run.len() + bucket.others.len()).sum();
        self.front.iter().map(|part| part.as_slice().len()).sum::<usize>() + self.extra.len() + waiting
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    #[derive(Clone, Debug)]
    enum Step {
        Register(i64, u64),
        Pop(i64),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (-100i64..100, 0u64..5).prop_map(|(at, hash)| Step::Register(at, hash)),
            (-100i64..100).prop_map(Step::Pop),
            Just(Step::Register(i64::MAX, 1)),
            Just(Step::Pop(i64::MAX)),
        ]
    }

    proptest! {
        #[test]
        fn the_earliest_comes_first_as_from_a_sorted_set(
            width in 1i64..50, rising in 0u64..200, steps in prop::collection::vec(step(), 0..200)
        ) {
            let mut index = DueIndex::new(width);
            let mut model = BTreeSet::new();
            // Long enough to be kept as a run, or not.
            let run = (0..rising).map(|hash| Step::Register(20, hash / 2));
            for (id, step) in run.chain(steps).enumerate() {
                match step {
                    Step::Register(at, hash) => {
                        index.register(at, KeyHash(hash), id);
                        model.insert((at, hash, id));
                    }
                    Step::Pop(now) => {
                        let due = index.pop(now);
                        let expected = model.first().copied().filter(|first| first.0 <= now);
                        prop_assert_eq!(due.as_ref().map(|due| (due.at, due.hash.0)), expected.map(|e| (e.0, e.1)));
                        if let Some(due) = due {
                            prop_assert!(model.remove(&(due.at, due.hash.0, due.key)));
                        }
                    }
                }
                prop_assert_eq!(index.len(), model.len());
            }
        }
    }
}

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
    fn order(&self) -> (i64, KeyHash) {
        (self.at, self.hash)
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

/// Keys by the time at which they are due.
#[derive(Debug)]
pub(crate) struct DueIndex<K> {
    /// Time that one bucket covers.
    width: i64,
    buckets: BTreeMap<i64, Vec<Due<K>>>,
    /// The bucket that was registered in last, out of `buckets`.
    filling: (i64, Vec<Due<K>>),
    /// The bucket that the watermark has come to, in order.
    front: IntoIter<Due<K>>,
    /// What was registered for the front or what is before it, since.
    extra: BinaryHeap<Reverse<Due<K>>>,
    /// The first bucket that is not in front.
    unsorted_from: i64,
}

impl<K> DueIndex<K> {
    pub(crate) fn new(width: i64) -> Self {
        Self {
            width: width.max(1),
            buckets: BTreeMap::new(),
            filling: (i64::MIN, Vec::new()),
            front: Vec::new().into_iter(),
            extra: BinaryHeap::new(),
            unsorted_from: i64::MIN,
        }
    }

    #[inline]
    pub(crate) fn register(&mut self, at: i64, hash: KeyHash, key: K) {
        let bucket = if self.width == 1 { at } else { at.div_euclid(self.width) };
        let due = Due { at, hash, key };
        if bucket < self.unsorted_from {
            self.extra.push(Reverse(due));
            return;
        }
        if bucket != self.filling.0 {
            self.fill(bucket);
        }
        self.filling.1.push(due);
    }

    /// Makes a bucket the one that is registered in.
    fn fill(&mut self, bucket: i64) {
        let next = (bucket, self.buckets.remove(&bucket).unwrap_or_default());
        let (before, entries) = std::mem::replace(&mut self.filling, next);
        if !entries.is_empty() {
            self.buckets.insert(before, entries);
        }
    }

    /// The hash of what will be taken `positions` after the next one, if it is known.
    #[inline]
    pub(crate) fn ahead(&self, positions: usize) -> Option<KeyHash> {
        self.front.as_slice().get(positions).map(|due| due.hash)
    }

    /// Takes the earliest that is due at `now` or before.
    #[inline]
    pub(crate) fn pop(&mut self, now: i64) -> Option<Due<K>> {
        loop {
            let (sorted, extra) = (self.front.as_slice().first(), self.extra.peek());
            let from_extra = match (sorted, extra) {
                (Some(_), None) => false,
                (Some(sorted), Some(Reverse(extra))) => extra < sorted,
                (None, Some(_)) => true,
                (None, None) => {
                    self.advance(now)?;
                    continue;
                }
            };
            let earliest =
                if from_extra { extra.map(|Reverse(due)| due.at) } else { sorted.map(|due| due.at) };
            if earliest.is_none_or(|at| at > now) {
                return None;
            }
            return if from_extra { self.extra.pop().map(|Reverse(due)| due) } else { self.front.next() };
        }
    }

    /// Sorts the next bucket if its time has come.
    fn advance(&mut self, now: i64) -> Option<()> {
        let filling = (!self.filling.1.is_empty()).then_some(self.filling.0);
        let bucket = self.buckets.keys().next().copied().into_iter().chain(filling).min()?;
        if bucket > now.div_euclid(self.width) {
            return None;
        }
        if filling == Some(bucket) {
            self.front = std::mem::take(&mut self.filling.1).into_iter();
        } else {
            self.front = self.buckets.remove(&bucket).unwrap_or_default().into_iter();
        }
        // Most of a bucket was registered in order, when the keys' windows before fired: that part is not sorted again.
        self.front.as_mut_slice().sort();
        self.unsorted_from = bucket.saturating_add(1);
        Some(())
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        let waiting: usize = self.buckets.values().map(Vec::len).sum();
        self.front.len() + self.extra.len() + self.filling.1.len() + waiting
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
            width in 1i64..50, steps in prop::collection::vec(step(), 0..200)
        ) {
            let mut index = DueIndex::new(width);
            let mut model = BTreeSet::new();
            for (id, step) in steps.into_iter().enumerate() {
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

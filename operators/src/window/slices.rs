//! The slices of one key, and the window that fires next: pure, and what is kept in state.

use serde::{Deserialize, Serialize};

use super::assigner::Slicing;

/// What the records of one slice come to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Slice<Acc> {
    pub(crate) start: i64,
    pub(crate) acc: Acc,
}

/// The slices of one key. The newest, which most records are in, is in place; older ones are beside it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Slices<Acc> {
    /// The start of the window that fires next; all before it have fired.
    pub(crate) next: i64,
    newest: Option<Slice<Acc>>,
    /// Rising.
    older: Vec<Slice<Acc>>,
}

impl<Acc> Default for Slices<Acc> {
    fn default() -> Self {
        Self { next: i64::MAX, newest: None, older: Vec::new() }
    }
}

impl<Acc> Slices<Acc> {
    /// The accumulator of the newest slice, if that is the one.
    #[inline(always)]
    pub(crate) fn newest_mut(&mut self, start: i64) -> Option<&mut Acc> {
        match &mut self.newest {
            Some(slice) if slice.start == start => Some(&mut slice.acc),
            _ => None,
        }
    }

    /// The accumulator of any slice, made where there is none. `None` in the second place if it was there; else the
    /// window that fires next, if it has changed to an earlier one.
    pub(crate) fn open(
        &mut self,
        start: i64,
        slicing: &Slicing,
        watermark: i64,
        create: impl FnOnce() -> Acc,
    ) -> (&mut Acc, Option<i64>) {
        let place = self.older.partition_point(|slice| slice.start < start);
        let is_known = self.older.get(place).is_some_and(|slice| slice.start == start)
            || self.newest.as_ref().is_some_and(|slice| slice.start == start);
        let mut earlier = None;
        if !is_known {
            let first = slicing.first_window(start).max(slicing.first_open(watermark));
            if first < self.next || self.newest.is_none() {
                self.next = first;
                earlier = Some(first);
            }
        }
        if self.newest.as_ref().is_none_or(|newest| newest.start < start) {
            let before = self.newest.replace(Slice { start, acc: create() });
            self.older.extend(before);
        } else if !is_known {
            self.older.insert(place, Slice { start, acc: create() });
        }
        let acc = match &mut self.newest {
            Some(newest) if newest.start == start => &mut newest.acc,
            _ => &mut self.older[place].acc,
        };
        (acc, earlier)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.newest.is_none()
    }

    /// Merges the slices of the window that is next, drops those that no later window has, and goes on to the next
    /// window that has any.
    pub(crate) fn fire(&mut self, slicing: &Slicing, merge: impl Fn(&mut Acc, Acc)) -> Option<Acc>
    where
        Acc: Clone,
    {
        let (window, last) = (self.next, slicing.last_timestamp(self.next));
        let following = slicing.next_window(window);
        let is_over = |slice: &Slice<Acc>| following.is_none_or(|following| slice.start < following);
        let mut sum: Option<Acc> = None;
        let mut add = |acc: Acc| match &mut sum {
            Some(sum) => merge(sum, acc),
            None => sum = Some(acc),
        };
        let over = self.older.partition_point(is_over);
        for slice in self.older.drain(..over) {
            if slice.start >= window && slice.start <= last {
                add(slice.acc);
            }
        }
        for slice in self.older.iter().take_while(|slice| slice.start <= last) {
            add(slice.acc.clone());
        }
        if self.newest.as_ref().is_some_and(is_over) {
            self.newest
                .take()
                .into_iter()
                .filter(|slice| slice.start <= last)
                .for_each(|slice| add(slice.acc));
        } else if let Some(slice) = self.newest.as_ref().filter(|slice| slice.start <= last) {
            add(slice.acc.clone());
        }
        let first = self.older.first().or(self.newest.as_ref()).map(|slice| slice.start);
        if let (Some(first), Some(following)) = (first, following) {
            self.next = slicing.first_window(first).max(following);
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        /// One key: the windows that fire, and what is in them, are those of a model that keeps every record in every
        /// window (Flink's rule: late for some windows means left out of those).
        #[test]
        fn windows_are_those_of_a_model_that_shares_nothing(
            size in 1i64..30, slide in 1i64..30,
            steps in prop::collection::vec((-60i64..120, -70i64..130), 0..60)
        ) {
            let slicing = Slicing::new(size, slide, 0);
            let mut slices: Slices<Vec<i64>> = Slices::default();
            let mut model: BTreeMap<i64, Vec<i64>> = BTreeMap::new();
            let mut watermark = -100;
            for (at, rise) in steps {
                if slicing.covers(at) && !slicing.is_late(at, watermark) {
                    let slice = slicing.slice(at);
                    slices.open(slice.start, &slicing, watermark, Vec::new).0.push(at);
                }
                for start in at - size + 1..=at {
                    if start.rem_euclid(slide) == 0 && start + size - 1 > watermark {
                        model.entry(start).or_default().push(at);
                    }
                }
                watermark = watermark.max(rise);
                while !slices.is_empty() && slicing.last_timestamp(slices.next) <= watermark {
                    let window = slices.next;
                    let mut fired = slices.fire(&slicing, |sum, more| sum.extend(more)).unwrap_or_default();
                    let mut expected = model.remove(&window).unwrap_or_default();
                    fired.sort_unstable();
                    expected.sort_unstable();
                    prop_assert_eq!(fired, expected, "window {}", window);
                }
                prop_assert!(model.keys().all(|start| start + size - 1 > watermark));
                prop_assert_eq!(slices.is_empty(), model.is_empty());
            }
        }
    }
}

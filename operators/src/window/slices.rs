//! The slices of one key, and the window that fires next: pure, and what is kept in state.

use serde::{Deserialize, Serialize};

use super::assigner::{Firing, Slicing};

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
    #[expect(
        clippy::box_collection,
        reason = "8 bytes of an entry in place of 24: most keys have no older slices"
    )]
    older: Option<Box<Vec<Slice<Acc>>>>,
}

impl<Acc> Default for Slices<Acc> {
    fn default() -> Self {
        Self { next: i64::MAX, newest: None, older: None }
    }
}

impl<Acc> Slices<Acc> {
    fn older(&self) -> &[Slice<Acc>] {
        self.older.as_deref().map_or(&[], Vec::as_slice)
    }

    /// The accumulator of a slice that is there.
    #[inline(always)]
    pub(crate) fn slice_mut(&mut self, start: i64) -> Option<&mut Acc> {
        let newest = self.newest.as_mut()?;
        if newest.start == start {
            return Some(&mut newest.acc);
        }
        let older = self.older.as_deref_mut()?;
        let place = older.binary_search_by_key(&start, |slice| slice.start).ok()?;
        Some(&mut older[place].acc)
    }

    /// Adds a slice that is not there. `first` is the first window that it is in and that is open. Says if that is
    /// now the window that fires next.
    pub(crate) fn open(&mut self, start: i64, acc: Acc, first: i64) -> Option<i64> {
        let is_first = first < self.next || self.newest.is_none();
        if is_first {
            self.next = first;
        }
        let slice = Slice { start, acc };
        if self.newest.as_ref().is_none_or(|newest| newest.start < start) {
            if let Some(before) = self.newest.replace(slice) {
                self.older.get_or_insert_default().push(before);
            }
        } else {
            let older = self.older.get_or_insert_default();
            let place = older.partition_point(|slice| slice.start < start);
            older.insert(place, slice);
        }
        is_first.then_some(first)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.newest.is_none()
    }

    /// Merges the slices of the window that is next, drops those that no later window has, and goes on to the next
    /// window that has any.
    #[inline(always)]
    pub(crate) fn fire(
        &mut self,
        slicing: &Slicing,
        firing: &Firing,
        merge: impl Fn(&mut Acc, Acc),
    ) -> Option<Acc>
    where
        Acc: Clone,
    {
        let mut sum = if self.older.is_some() { self.fire_older(firing, &merge) } else { None };
        let is_in = |newest: &Slice<Acc>| newest.start <= firing.last;
        let newest = match self.newest.take_if(|newest| is_over(newest, firing)) {
            Some(slice) => is_in(&slice).then_some(slice.acc),
            None => self.newest.as_ref().filter(|slice| is_in(slice)).map(|slice| slice.acc.clone()),
        };
        match (&mut sum, newest) {
            (Some(sum), Some(newest)) => merge(sum, newest),
            (None, newest) => sum = newest,
            (Some(_), None) => {}
        }
        let first = self.older().first().or(self.newest.as_ref()).map(|slice| slice.start);
        if let (Some(first), Some(following)) = (first, firing.following) {
            let is_following = first <= following.last;
            self.next =
                if is_following { following.start } else { slicing.first_window(first).max(following.start) };
        }
        sum
    }

    /// The part of the older slices in that.
    #[inline(never)]
    fn fire_older(&mut self, firing: &Firing, merge: &impl Fn(&mut Acc, Acc)) -> Option<Acc>
    where
        Acc: Clone,
    {
        let older = self.older.as_deref_mut()?;
        let mut sum: Option<Acc> = None;
        let mut add = |acc: Acc| match &mut sum {
            Some(sum) => merge(sum, acc),
            None => sum = Some(acc),
        };
        let over = older.partition_point(|slice| is_over(slice, firing));
        for slice in older.drain(..over) {
            if slice.start >= firing.start && slice.start <= firing.last {
                add(slice.acc);
            }
        }
        for slice in older.iter().take_while(|slice| slice.start <= firing.last) {
            add(slice.acc.clone());
        }
        if older.is_empty() {
            self.older = None;
        }
        sum
    }
}

/// Whether a slice is in no window after the one that fires.
#[inline(always)]
fn is_over<Acc>(slice: &Slice<Acc>, firing: &Firing) -> bool {
    firing.following.is_none_or(|following| slice.start < following.start)
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
                    let first = slicing.first_window(slice.start).max(slicing.first_open(watermark));
                    match slices.slice_mut(slice.start) {
                        Some(acc) => acc.push(at),
                        None => {
                            let before = slices.next;
                            let next = slices.open(slice.start, vec![at], first);
                            prop_assert_eq!(next.unwrap_or(before), slices.next);
                        }
                    }
                }
                for start in at - size + 1..=at {
                    if start.rem_euclid(slide) == 0 && start + size - 1 > watermark {
                        model.entry(start).or_default().push(at);
                    }
                }
                watermark = watermark.max(rise);
                while !slices.is_empty() && slicing.last_timestamp(slices.next) <= watermark {
                    let window = slices.next;
                    let mut fired = slices.fire(&slicing, &slicing.firing(window), |sum, more| sum.extend(more)).unwrap_or_default();
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

//! The matcher of one key: takes elements in order, keeps partial matches, and says which are complete.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tidegate_runtime::element::Record;
use tidegate_runtime::time::Timestamp;

use super::definition::{Contiguity, Pattern, Step};

/// What is kept of a key: elements whose time has not come, and partial matches.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(bound = "T: Record")]
pub(super) struct Candidates<T> {
    /// In order of arrival.
    waiting: Vec<(Timestamp, T)>,
    /// Oldest first.
    partials: Vec<Partial<T>>,
}

/// Elements of the first steps; the next step is at position `elements.len()`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(bound = "T: Record")]
pub(super) struct Partial<T> {
    pub(super) elements: Vec<T>,
    pub(super) timestamps: Vec<Timestamp>,
}

impl<T> Default for Candidates<T> {
    fn default() -> Self {
        Self { waiting: Vec::new(), partials: Vec::new() }
    }
}

impl<T: Record> Candidates<T> {
    /// Keeps an element until the watermark has passed it.
    pub(super) fn wait(&mut self, timestamp: Timestamp, element: T) {
        self.waiting.push((timestamp, element));
    }

    /// Whether nothing needs to be kept.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.partials.is_empty()
    }

    /// Takes the elements up to `now` in order and calls `complete` with each match. Returns when to call again for
    /// partial matches that are then out of time.
    pub(super) fn advance(
        &mut self,
        now: Timestamp,
        pattern: &Pattern<T>,
        complete: &mut dyn FnMut(&Partial<T>),
    ) -> Option<Timestamp> {
        let waiting = std::mem::take(&mut self.waiting);
        let (mut due, later): (Vec<_>, Vec<_>) = waiting.into_iter().partition(|(at, _)| *at <= now);
        self.waiting = later;
        // Stable: without ties by value, elements of one timestamp stay as they arrived.
        due.sort_by(|(a_time, a), (b_time, b)| {
            let by_value = || pattern.ties.as_ref().map_or(std::cmp::Ordering::Equal, |ties| ties(a, b));
            a_time.cmp(b_time).then_with(by_value)
        });
        for (timestamp, element) in due {
            self.take(timestamp, &element, pattern, complete);
        }
        if let Some(within) = pattern.within {
            self.partials.retain(|partial| !is_out_of_time(partial, now, within));
            return self.partials.iter().map(|partial| partial.timestamps[0] + within).min();
        }
        None
    }

    fn take(
        &mut self,
        timestamp: Timestamp,
        element: &T,
        pattern: &Pattern<T>,
        complete: &mut dyn FnMut(&Partial<T>),
    ) {
        let partials = std::mem::take(&mut self.partials);
        let begun = std::iter::once(Partial { elements: Vec::new(), timestamps: Vec::new() });
        for mut partial in partials.into_iter().chain(begun) {
            if pattern.within.is_some_and(|within| is_out_of_time(&partial, timestamp, within)) {
                continue;
            }
            let Step { contiguity, fits, .. } = &pattern.steps[partial.elements.len()];
            if fits(element) {
                partial.elements.push(element.clone());
                partial.timestamps.push(timestamp);
                if partial.elements.len() == pattern.steps.len() {
                    complete(&partial);
                } else {
                    self.partials.push(partial);
                }
            } else if *contiguity == Contiguity::Relaxed {
                self.partials.push(partial);
            }
        }
    }
}

/// Whether no match can come of it any more: a match is strictly shorter than `within`.
fn is_out_of_time<T>(partial: &Partial<T>, now: Timestamp, within: Duration) -> bool {
    partial.timestamps.first().is_some_and(|first| *first + within <= now)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop, proptest};
    use tidegate_runtime::time::millis;

    use super::*;

    type Row = Vec<(i64, u8)>;

    /// The definition itself: for each element that fits the first step, the one continuation there is.
    fn naive(sorted: &[(i64, u8)], relaxed: &[bool], within: i64) -> Vec<Row> {
        let mut rows = Vec::new();
        'begin: for begin in 0..sorted.len() {
            if sorted[begin].1 != 0 {
                continue;
            }
            let (mut row, mut at) = (vec![sorted[begin]], begin);
            for (step, relaxed) in relaxed.iter().enumerate() {
                let fits = |element: &(i64, u8)| usize::from(element.1) == step + 1;
                let next = if *relaxed {
                    (at + 1..sorted.len()).find(|next| fits(&sorted[*next]))
                } else {
                    Some(at + 1).filter(|next| sorted.get(*next).is_some_and(fits))
                };
                let Some(next) = next else { continue 'begin };
                at = next;
                row.push(sorted[at]);
            }
            if sorted[at].0 - sorted[begin].0 < within {
                rows.push(row);
            }
        }
        rows
    }

    fn pattern(relaxed: &[bool], within: i64) -> Pattern<(i64, u8)> {
        let mut pattern = Pattern::begin("0", |element: &(i64, u8)| element.1 == 0);
        for (step, relaxed) in relaxed.iter().enumerate() {
            let (name, wanted) = ((step + 1).to_string(), step + 1);
            let fits = move |element: &(i64, u8)| usize::from(element.1) == wanted;
            pattern = if *relaxed { pattern.followed_by(&name, fits) } else { pattern.next(&name, fits) };
        }
        pattern.within(millis(within as u64)).order_by(|element| element.1)
    }

    proptest! {
        #[test]
        fn matches_equal_the_definition_however_watermarks_fall(
            elements in prop::collection::vec((0..60_i64, 0..4_u8), 0..40),
            relaxed in prop::collection::vec(any::<bool>(), 1..3),
            within in 1..40_i64,
            watermarks in prop::collection::vec(0..60_i64, 0..6),
        ) {
            let pattern = pattern(&relaxed, within);
            let mut sorted = elements.clone();
            sorted.sort();
            let mut watermarks = watermarks;
            watermarks.sort_unstable();
            watermarks.push(i64::MAX);
            let mut candidates = Candidates::default();
            let mut found = Vec::new();
            // Arrival in any order is legal as long as no element comes after its watermark.
            let mut from = i64::MIN;
            for watermark in watermarks {
                for element in elements.iter().filter(|(at, _)| *at > from && *at <= watermark) {
                    candidates.wait(Timestamp(element.0), *element);
                }
                candidates.advance(Timestamp(watermark), &pattern, &mut |partial| {
                    found.push(partial.elements.clone());
                });
                from = watermark;
            }
            let mut expected = naive(&sorted, &relaxed, within);
            expected.sort();
            found.sort();
            assert_eq!(found, expected);
            assert!(candidates.is_empty(), "all partial matches are out of time at the end: {candidates:?}");
        }
    }

    #[test]
    fn a_match_as_long_as_within_is_none() {
        let pattern = pattern(&[false], 300);
        for (second, matches) in [(1_299, 1), (1_300, 0)] {
            let mut candidates = Candidates::default();
            candidates.wait(Timestamp(1_000), (1_000, 0));
            candidates.wait(Timestamp(second), (second, 1));
            let mut found = 0;
            candidates.advance(Timestamp(5_000), &pattern, &mut |_| found += 1);
            assert_eq!(found, matches);
        }
    }
}

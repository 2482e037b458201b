//! Which windows a timestamp is in, and the slices that windows share.
//!
//! Windows are cut into slices at every window's start and end, so a record is added once, to its slice, however many
//! windows it is in, and a window is the sum of its slices. With a size that is a multiple of the slide a slice is as
//! long as the slide, else there are two to a slide (the "paired windows" of Krishnamurthy, Wu and Franklin).
//!
//! Windows and slices are named by their starts. Ends that would be above `i64::MAX` saturate (case 54); windows that
//! would begin below `i64::MIN` begin there.

use tidegate_runtime::time::Timestamp;

use super::spec::{Kind, Window, WindowSpec, millis};

/// Windows of one size at one interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slicing {
    size: i64,
    slide: i64,
    /// Of window starts, in `0..slide`.
    offset: i64,
    /// Length of the first slice after a window's start, if there are two to a slide.
    rest: i64,
}

/// A slice, by its first and last timestamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SliceSpan {
    pub(crate) start: i64,
    pub(crate) last: i64,
}

impl SliceSpan {
    /// Contains nothing.
    pub(crate) const EMPTY: SliceSpan = SliceSpan { start: i64::MAX, last: i64::MIN };

    #[inline(always)]
    pub(crate) fn contains(self, at: i64) -> bool {
        self.start <= at && at <= self.last
    }
}

/// A window that fires, and the one after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Firing {
    pub(crate) start: i64,
    pub(crate) last: i64,
    pub(crate) following: Option<Following>,
}

/// A window that comes after another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Following {
    pub(crate) start: i64,
    pub(crate) last: i64,
}

impl Slicing {
    pub(crate) fn new(size: i64, slide: i64, offset: i64) -> Self {
        let (size, slide) = (size.max(1), slide.max(1));
        Self { size, slide, offset: offset.rem_euclid(slide), rest: size % slide }
    }

    /// `None` for sessions.
    pub(crate) fn of(spec: WindowSpec) -> Option<Self> {
        match spec.0 {
            Kind::Sliced { size, slide, offset } => {
                Some(Self::new(millis(size), millis(slide), millis(offset)))
            }
            Kind::Session { .. } => None,
        }
    }

    /// The last window that begins at or before a timestamp.
    pub(crate) fn last_window(&self, at: i64) -> i64 {
        let past = (at.rem_euclid(self.slide) - self.offset).rem_euclid(self.slide);
        at.saturating_sub(past)
    }

    /// The window after one; `None` if it would begin above all timestamps.
    pub(crate) fn next_window(&self, start: i64) -> Option<i64> {
        let next = start.checked_add(self.slide);
        // Only the first of all may begin between two multiples.
        if start == i64::MIN { next.map(|next| self.last_window(next)) } else { next }
    }

    /// The window that begins at `start`, as it fires.
    pub(crate) fn firing(&self, start: i64) -> Firing {
        let following = |start| Following { start, last: self.last_timestamp(start) };
        let last = self.last_timestamp(start);
        Firing { start, last, following: self.next_window(start).map(following) }
    }

    /// The slice of a timestamp.
    pub(crate) fn slice(&self, at: i64) -> SliceSpan {
        let window = self.last_window(at);
        if self.rest == 0 {
            return SliceSpan { start: window, last: window.saturating_add(self.slide - 1) };
        }
        match window.checked_add(self.rest) {
            Some(cut) if at >= cut => SliceSpan { start: cut, last: window.saturating_add(self.slide - 1) },
            _ => SliceSpan { start: window, last: window.saturating_add(self.rest - 1) },
        }
    }

    /// The first window that a slice is in.
    pub(crate) fn first_window(&self, slice: i64) -> i64 {
        let window = self.last_window(slice);
        let into = slice.saturating_sub(window);
        let earlier = (self.size - 1).saturating_sub(into).max(0) / self.slide;
        window.saturating_sub(earlier * self.slide)
    }

    /// The last timestamp in a window.
    pub(crate) fn last_timestamp(&self, window: i64) -> i64 {
        window.saturating_add(self.size - 1)
    }

    /// Whether a timestamp is in any window: with a slide above the size there are gaps.
    pub(crate) fn covers(&self, at: i64) -> bool {
        self.slide <= self.size || at <= self.last_timestamp(self.last_window(at))
    }

    /// Whether gaps between windows are possible.
    pub(crate) fn has_gaps(&self) -> bool {
        self.slide > self.size
    }

    /// Whether all windows of a timestamp have fired by a watermark.
    pub(crate) fn is_late(&self, at: i64, watermark: i64) -> bool {
        self.last_timestamp(self.last_window(at)) <= watermark
    }

    /// The first window that has not fired by a watermark; above all if there is none.
    pub(crate) fn first_open(&self, watermark: i64) -> i64 {
        if watermark < i64::MIN.saturating_add(self.size - 1) {
            return i64::MIN;
        }
        if watermark == i64::MAX {
            return i64::MAX;
        }
        let last_fired = self.last_window(watermark - (self.size - 1));
        last_fired.saturating_add(self.slide)
    }

    pub(crate) fn window(&self, start: i64) -> Window {
        Window { start: Timestamp(start), end: Timestamp(start.saturating_add(self.size)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// All windows of a timestamp, by trying.
    fn windows_of(size: i64, slide: i64, offset: i64, at: i64) -> Vec<i64> {
        let from = at - size + 1;
        (from..=at).filter(|start| (start - offset).rem_euclid(slide) == 0).collect()
    }

    proptest! {
        #[test]
        fn slices_and_windows_are_those_found_by_trying(
            size in 1i64..40, slide in 1i64..40, offset in 0i64..50, at in -300i64..300, watermark in -300i64..300
        ) {
            let slicing = Slicing::new(size, slide, offset);
            let windows = windows_of(size, slide, offset, at);
            prop_assert_eq!(slicing.covers(at), !windows.is_empty());
            let slice = slicing.slice(at);
            prop_assert!(slice.contains(at));
            prop_assert_eq!(slicing.slice(slice.start), slice);
            prop_assert_eq!(slicing.slice(slice.last), slice);
            // All timestamps of a slice are in the same windows.
            for other in [slice.start, slice.last] {
                prop_assert_eq!(&windows_of(size, slide, offset, other), &windows);
            }
            if let (Some(first), Some(last)) = (windows.first(), windows.last()) {
                prop_assert_eq!(slicing.first_window(slice.start), *first);
                prop_assert_eq!(slicing.last_window(at), *last);
                let is_late = windows.iter().all(|start| start + size - 1 <= watermark);
                prop_assert_eq!(slicing.is_late(at, watermark), is_late);
                if let Some(open) = windows.iter().find(|start| *start + size - 1 > watermark) {
                    prop_assert_eq!(slicing.first_open(watermark).max(*first), *open);
                }
            }
            let next = slicing.next_window(slicing.last_window(at));
            prop_assert_eq!(next, Some(slicing.last_window(at) + slide));
        }

        #[test]
        fn no_timestamp_overflows_case_54(
            size in 1i64..i64::MAX, slide in 1i64..i64::MAX, offset in 0i64..i64::MAX,
            at in prop_oneof![i64::MIN..i64::MIN + 5, i64::MAX - 5..i64::MAX, any::<i64>()]
        ) {
            let slicing = Slicing::new(size, slide, offset);
            let slice = slicing.slice(at);
            prop_assert!(slice.contains(at));
            let first = slicing.first_window(slice.start);
            prop_assert!(first <= slicing.last_window(at));
            prop_assert!(slicing.last_window(at) <= at);
            prop_assert!(slicing.last_timestamp(first) >= first);
            prop_assert!(slicing.is_late(at, i64::MAX));
            slicing.first_open(at);
            slicing.next_window(at);
        }
    }
}

//! Tumbling and sliding windows as a kind of windows.

use tidegate_runtime::state::StateValue;

use super::assigner::{Firing, SliceSpan, Slicing};
use super::function::WindowFunction;
use super::kind::{Look, Next, Verdict, WindowKind};
use super::session::Stretch;
use super::slices::Slices;

/// Windows that are sums of slices. A key is looked at when its next window ends.
#[derive(Clone, Debug)]
pub(crate) struct SlicedWindows {
    slicing: Slicing,
    /// The slice that the last record was in.
    slice: SliceSpan,
    /// The first window that it is in.
    first_window: i64,
    /// The watermark that was seen last, and the first window that is open by it.
    watermark: i64,
    first_open: i64,
    /// The window that fired last: many keys have the same.
    firing: Firing,
}

impl SlicedWindows {
    pub(crate) fn new(slicing: Slicing) -> Self {
        Self {
            slicing,
            slice: SliceSpan::EMPTY,
            first_window: i64::MIN,
            watermark: i64::MIN,
            first_open: slicing.first_open(i64::MIN),
            firing: slicing.firing(i64::MIN),
        }
    }
}

impl WindowKind for SlicedWindows {
    const STATE: &'static str = "windows";

    type Held<Acc: StateValue + Clone> = Slices<Acc>;

    /// Looks are at ends of windows only, so those of one end are sorted together and nothing else with them.
    fn due_width(&self) -> i64 {
        1
    }

    fn takes_all(&self, lowest: i64, watermark: i64) -> bool {
        !self.slicing.has_gaps() && !self.slicing.is_late(lowest, watermark)
    }

    fn judge(&self, at: Stretch, watermark: i64) -> Verdict {
        if !self.slicing.covers(at.last) {
            Verdict::InNone
        } else if self.slicing.is_late(at.last, watermark) {
            Verdict::Late
        } else {
            Verdict::InTime
        }
    }

    fn has_for<Acc: StateValue + Clone>(&self, _held: &Slices<Acc>, _at: Stretch) -> bool {
        false
    }

    #[inline(always)]
    fn add<F: WindowFunction>(
        &mut self,
        held: &mut Slices<F::Acc>,
        (function, record): (&F, F::In),
        at: i64,
        watermark: i64,
    ) -> Option<i64> {
        if !self.slice.contains(at) {
            self.slice = self.slicing.slice(at);
            self.first_window = self.slicing.first_window(self.slice.start);
        }
        let start = self.slice.start;
        if let Some(acc) = held.slice_mut(start) {
            function.add(acc, record);
            return None;
        }
        if watermark != self.watermark {
            (self.watermark, self.first_open) = (watermark, self.slicing.first_open(watermark));
        }
        let next = held.open(start, function.begin(record), self.first_window.max(self.first_open))?;
        Some(self.slicing.last_timestamp(next))
    }

    #[inline(always)]
    fn fire<F: WindowFunction>(&mut self, held: &mut Slices<F::Acc>, at: i64, function: &F) -> Look<F::Acc> {
        if held.next != self.firing.start {
            self.firing = self.slicing.firing(held.next);
        }
        // An earlier registration stays in the index when the key's next window changes: it finds nothing to do.
        if self.firing.last != at {
            return Look { fired: None, next: Next::AsRegistered };
        }
        let acc = held.fire(&self.slicing, &self.firing, |acc, more| function.merge(acc, more));
        let next = self.next_look(held).map_or(Next::Never, Next::At);
        Look { fired: acc.map(|acc| (self.slicing.window(self.firing.start), acc)), next }
    }

    #[inline]
    fn next_look<Acc: StateValue + Clone>(&self, held: &Slices<Acc>) -> Option<i64> {
        (!held.is_empty()).then(|| self.slicing.last_timestamp(held.next))
    }
}

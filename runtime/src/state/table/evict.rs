//! Keeping a table within its budget: a clock hand drops durable entries, which the store can give back.

use crate::state::lease::StateTable;
use crate::state::registry::SnapshotMode;
use crate::state::table::cell::Cell;
use crate::state::table::core::Table;
use crate::state::table::key::TableKey;
use crate::state::table::segment::{Coverage, Recency};
use crate::state::table::slot::Slot;

/// Where the clock hand is, and when it moves next.
#[derive(Debug, Default)]
pub(crate) struct Eviction {
    /// The segment that it looks at next; may be past the end.
    pub(super) hand: usize,
    /// Segments passed in a row with nothing to drop.
    fruitless: usize,
    /// Entries below which trying is no use: two rounds found nothing durable.
    retry_at: usize,
}

/// Segments that the hand passes for one insertion.
const STEPS_MAX: usize = 4;

/// What the hand did with a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Passed {
    Dropped,
    Nothing,
}

impl Eviction {
    /// More has become durable.
    pub(super) fn resume(&mut self) {
        (self.fruitless, self.retry_at) = (0, 0);
    }
}

impl<K: TableKey, C: Cell> Table<K, C> {
    /// Drops entries if the table is at its budget.
    #[inline]
    pub(super) fn make_room(&mut self) {
        if self.is_over_budget() && self.slots.len() >= self.eviction.retry_at {
            self.evict();
        }
    }

    #[inline]
    fn is_over_budget(&self) -> bool {
        self.mode == SnapshotMode::Delta
            && (self.slots.len() >= self.budget.entries || self.bytes() >= self.budget.bytes)
    }

    #[cold]
    fn evict(&mut self) {
        if let Some(durable) = self.lease.durable() {
            self.on_durable(durable);
        }
        for _ in 0..STEPS_MAX {
            if self.eviction.hand >= self.directory.len() {
                self.eviction.hand = 0;
            }
            let index = self.eviction.hand;
            self.eviction.hand = index + 1;
            match self.evict_segment(index) {
                Passed::Dropped => self.eviction.fruitless = 0,
                Passed::Nothing => self.eviction.fruitless += 1,
            }
            if !self.is_over_budget() {
                return;
            }
        }
        if self.eviction.fruitless > self.directory.len() * 2 {
            self.eviction.fruitless = 0;
            self.eviction.retry_at = self.slots.len() + self.slots.len() / 8;
        }
    }

    /// A snapshot has passed a segment: what is over the budget goes, even if nothing is inserted any more.
    pub(super) fn trim(&mut self, index: usize) {
        if self.is_over_budget() {
            self.evict_segment(index);
        }
    }

    fn evict_segment(&mut self, index: usize) -> Passed {
        let durable = self.durable;
        let span = self.directory.span(index);
        let segment = self.directory.segment_mut(index);
        if segment.recency == Recency::Used {
            segment.recency = Recency::Idle;
            return Passed::Nothing;
        }
        if !self.slots.span(span).any(|slot| slot.stamp() <= durable) {
            return Passed::Nothing;
        }
        let mut coverage = segment.coverage;
        self.slots.part(self.directory.depth());
        self.slots.retain(span, |slot| match slot {
            Slot::Live { stamp, .. } if *stamp <= durable => {
                coverage = Coverage::Partial;
                false
            }
            // What is deleted is absent in the store too.
            Slot::Dead { stamp, .. } => *stamp > durable,
            Slot::Live { .. } => true,
        });
        self.directory.set_coverage(index, coverage);
        self.generation += 1;
        if coverage == Coverage::Partial {
            self.loading = self.loading.after_eviction();
        }
        Passed::Dropped
    }
}

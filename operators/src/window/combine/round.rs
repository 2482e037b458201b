//! The partials of a round: the batches that are added up together, with the watermarks between.

use tidegate_runtime::element::Batch;
use tidegate_runtime::key::KeyHash;
use tidegate_runtime::time::Timestamp;

use super::grouping::{Since, Span};
use super::index::{Index, Place};
use super::partial::{Partial, Sum};

/// Partials in the order of their first records.
pub(super) struct Round<K, Acc> {
    open: Batch<Open<K, Acc>>,
    index: Index,
    /// Partials before the last watermark.
    marked: usize,
    /// Records that were added up.
    records: usize,
}

/// A partial that may grow.
pub(super) struct Open<K, Acc> {
    /// The key's hash, spread by the pane.
    pub(super) spread: KeyHash,
    pub(super) key: K,
    pub(super) span: Span,
    pub(super) records: u64,
    pub(super) acc: Acc,
}

/// Spreads panes of one key. It is odd, so that no two panes of a key have one spread hash.
const PANE_FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;

/// The hash of a key in a pane; twice, it is the key's hash again.
#[inline(always)]
pub(super) fn spread(hash: KeyHash, pane: i64) -> KeyHash {
    KeyHash(hash.0 ^ (pane as u64).wrapping_mul(PANE_FACTOR))
}

impl<K, Acc> Default for Round<K, Acc> {
    fn default() -> Self {
        Self { open: Batch::default(), index: Index::default(), marked: 0, records: 0 }
    }
}

impl<K: Eq, Acc> Round<K, Acc> {
    /// Whether nothing came since the last one was taken.
    pub(super) fn is_empty(&self) -> bool {
        self.records == 0 && self.open.is_empty()
    }

    pub(super) fn partials(&self) -> usize {
        self.open.len()
    }

    pub(super) fn records(&self) -> usize {
        self.records
    }

    /// Says that records follow.
    pub(super) fn expect(&mut self, records: usize) {
        self.records += records;
    }

    pub(super) fn push_watermark(&mut self, watermark: Timestamp) {
        self.open.push_watermark(watermark);
        self.marked = self.open.len();
    }

    /// Lets no partial of those so far grow any more.
    pub(super) fn close(&mut self) {
        self.index.forget(self.open.len());
    }

    /// Where the partial of a key and pane is, or can be put.
    #[inline(always)]
    pub(super) fn find(&self, spread: KeyHash, key: &K) -> Place {
        self.index.find(spread, |position| {
            let open = &self.open.records[position];
            open.spread == spread && open.key == *key
        })
    }

    /// A partial, and when it was begun.
    #[inline(always)]
    pub(super) fn partial(&mut self, position: usize) -> (&mut Open<K, Acc>, Since) {
        let since = if position < self.marked { Since::Earlier } else { Since::Watermark };
        (&mut self.open.records[position], since)
    }

    /// Begins a partial where `find` looked last.
    #[inline(always)]
    pub(super) fn begin(&mut self, place: &Place, open: Open<K, Acc>) {
        self.index.set(place, self.open.records.len());
        self.open.records.push(open);
    }

    /// What the round came to; the next one begins.
    pub(super) fn take<T>(&mut self) -> Batch<Partial<K, T, Acc>> {
        self.index.forget(0);
        (self.marked, self.records) = (0, 0);
        let open = &mut self.open;
        let partial = |open: Open<K, Acc>| {
            let Open { key, span, records, acc, .. } = open;
            Partial::Sum(Sum { key, acc, start: span.start, records })
        };
        Batch {
            timestamps: open.records.iter().map(|open| Timestamp(open.span.last)).collect(),
            hashes: open.records.iter().map(|open| spread(open.spread, open.span.pane)).collect(),
            watermarks: std::mem::take(&mut open.watermarks),
            records: open.records.drain(..).map(partial).collect(),
        }
    }
}

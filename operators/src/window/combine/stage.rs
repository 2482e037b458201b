//! The stage between `key_by` and the exchange that adds up within a batch.

use std::sync::Arc;
use std::vec::IntoIter;

use tidegate_runtime::element::Batch;
use tidegate_runtime::error::Result;
use tidegate_runtime::key::KeyHash;
use tidegate_runtime::time::Timestamp;

use super::grouping::{Divides, Grouping, Since, Span};
use super::index::Index;
use super::pace::{Pace, Treatment};
use super::partial::{Partial, Sum};
use crate::key::KeyFunction;
use crate::stage::whole::BatchFunction;
use crate::window::function::WindowFunction;

type PartialOf<F> =
    Partial<<F as WindowFunction>::Key, <F as WindowFunction>::In, <F as WindowFunction>::Acc>;

/// Adds up the records of each key and group. A partial stands where its first record stood, so no record moves behind
/// a watermark, and those of a key stay in order.
pub(crate) struct Combine<F: WindowFunction, G> {
    function: Arc<F>,
    key: Arc<dyn KeyFunction<F::Key, F::In>>,
    grouping: G,
    pace: Pace,
    index: Index,
    /// Of the batch's records.
    keys: Vec<F::Key>,
    /// Of the batch's partials.
    open: Vec<Open>,
    /// Of the batch's records.
    timestamps: Vec<Timestamp>,
    /// The record that is worked on.
    at: usize,
    /// Partials before the last watermark of the batch.
    marked: usize,
}

/// A partial that may grow.
#[derive(Clone, Copy)]
struct Open {
    hash: KeyHash,
    /// The first record.
    first: u32,
    span: Span,
}

/// Spreads panes of one key.
const PANE_FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;

impl<F: WindowFunction, G: Grouping> Combine<F, G> {
    pub(crate) fn new(function: Arc<F>, key: Arc<dyn KeyFunction<F::Key, F::In>>, grouping: G) -> Self {
        Self {
            function,
            key,
            grouping,
            pace: Pace::default(),
            index: Index::default(),
            keys: Vec::new(),
            open: Vec::new(),
            timestamps: Vec::new(),
            at: 0,
            marked: 0,
        }
    }

    fn add_up(&mut self, batch: Batch<F::In>) -> Batch<PartialOf<F>> {
        let total = batch.records.len();
        self.index.begin(self.open.len());
        let mut out = Batch { records: Vec::with_capacity(self.open.len()), ..Batch::default() };
        self.open.clear();
        self.keys.clear();
        self.key.extract(&batch.records, &mut self.keys);
        let mut records = batch.records.into_iter();
        for mark in batch.watermarks {
            self.add_stretch(mark.offset, &batch.hashes, (&mut records, &mut out.records));
            out.push_watermark(mark.watermark);
            self.marked = self.open.len();
            if self.grouping.on_watermark(mark.watermark.0) == Divides::Yes {
                self.index.close(self.open.len());
            }
        }
        self.add_stretch(total, &batch.hashes, (&mut records, &mut out.records));
        out.timestamps.extend(self.open.iter().map(|open| Timestamp(open.span.last)));
        out.hashes.extend(self.open.iter().map(|open| open.hash));
        self.pace.learn(total, out.records.len());
        out
    }

    /// Adds the records up to a position, between which there is no watermark.
    fn add_stretch(
        &mut self,
        until: usize,
        hashes: &[KeyHash],
        (records, out): (&mut IntoIter<F::In>, &mut Vec<PartialOf<F>>),
    ) {
        let Self { function, grouping, index, keys, open, timestamps, at, marked, .. } = self;
        let (from, keys) = (*at, &keys[..]);
        // Of one length, so that one comparison bounds all three.
        let (hashes, timestamps, own) = (&hashes[from..until], &timestamps[from..until], &keys[from..until]);
        for next in 0..hashes.len().min(timestamps.len()).min(own.len()) {
            let (hash, Timestamp(timestamp), key) = (hashes[next], timestamps[next], &own[next]);
            let position = from + next;
            *at = position;
            let record = records.next().expect("I2: every record of a keyed edge has its hash");
            let Some(pane) = grouping.pane(timestamp) else { continue };
            let spread = KeyHash(hash.0 ^ (pane as u64).wrapping_mul(PANE_FACTOR));
            let place = index.find(spread, |partial| {
                let open = &open[partial];
                open.hash == hash && open.span.pane == pane && keys[open.first as usize] == *key
            });
            if let Some(partial) = place.found {
                let since = if partial < *marked { Since::Earlier } else { Since::Watermark };
                let found = &mut open[partial];
                if grouping.grow(&mut found.span, timestamp, since) {
                    add(&**function, (&mut out[partial], record), key, found.span.start);
                    continue;
                }
            }
            index.set(&place, open.len());
            let span = Span { pane, start: timestamp, last: timestamp };
            open.push(Open { hash, first: position as u32, span });
            out.push(Partial::Record(record));
        }
        *at = until;
    }

    fn pass(&mut self, batch: Batch<F::In>) -> Batch<PartialOf<F>> {
        if let Some(last) = batch.watermarks.last() {
            self.grouping.on_watermark(last.watermark.0);
        }
        Batch {
            records: batch.records.into_iter().map(Partial::Record).collect(),
            timestamps: std::mem::take(&mut self.timestamps),
            hashes: batch.hashes,
            watermarks: batch.watermarks,
        }
    }
}

/// Adds a record to a partial, which begins at `start` then.
#[inline(always)]
fn add<F: WindowFunction>(
    function: &F,
    (partial, record): (&mut PartialOf<F>, F::In),
    key: &F::Key,
    start: i64,
) {
    if let Partial::Sum(sum) = partial {
        function.add(&mut sum.acc, record);
        sum.start = start;
        sum.records += 1;
        return;
    }
    let sum = Sum { key: key.clone(), acc: function.create(), start, records: 2 };
    let first = std::mem::replace(partial, Partial::Sum(sum));
    if let (Partial::Record(first), Partial::Sum(sum)) = (first, partial) {
        function.add(&mut sum.acc, first);
        function.add(&mut sum.acc, record);
    }
}

impl<F: WindowFunction, G: Grouping> BatchFunction for Combine<F, G> {
    type In = F::In;
    type Out = PartialOf<F>;

    fn apply(&mut self, mut batch: Batch<F::In>) -> Result<Batch<PartialOf<F>>> {
        self.timestamps = std::mem::take(&mut batch.timestamps);
        (self.at, self.marked) = (0, 0);
        Ok(match self.pace.next() {
            Treatment::AddUp => self.add_up(batch),
            Treatment::Pass => self.pass(batch),
        })
    }

    fn failed_timestamp(&self) -> Option<Timestamp> {
        self.timestamps.get(self.at).copied()
    }
}

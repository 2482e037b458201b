//! The first stage of `window_all`: adds up the records of each slice within a subtask, before the exchange.
//!
//! What it holds is sent on before a barrier, the end or a park, and before a watermark that it could be due at: so it
//! is in no checkpoint, and nothing is late that would not have been late as single records.

use std::sync::Arc;

use tidegate_runtime::element::{Batch, ErasedBatch};
use tidegate_runtime::error::Result;
use tidegate_runtime::key::{KeyHash, hash_key};
use tidegate_runtime::operator::{FlushReason, Progress, Stage, StepContext};
use tidegate_runtime::time::Timestamp;

use super::assigner::{SliceSpan, Slicing};
use super::combine::{Partial, Sum};
use super::function::WindowFunction;

/// Adds up.
pub(crate) struct PreAggregate<F: WindowFunction<Key = ()>> {
    function: Arc<F>,
    slicing: Slicing,
    /// Those with records, rising.
    slices: Vec<Sum<(), F::Acc>>,
    batch: Option<ErasedBatch>,
    hash: KeyHash,
}

impl<F: WindowFunction<Key = ()>> PreAggregate<F> {
    pub(crate) fn new(function: Arc<F>, slicing: Slicing) -> Self {
        Self { function, slicing, slices: Vec::new(), batch: None, hash: hash_key(&()) }
    }

    /// Adds all records of a stretch without watermarks.
    fn add(&mut self, records: &mut std::vec::IntoIter<F::In>, timestamps: &[Timestamp]) {
        let mut rest = timestamps;
        while let Some(first) = rest.first() {
            let span = self.slicing.slice(first.0);
            let run = rest.iter().take_while(|at| span.contains(at.0)).count();
            rest = &rest[run..];
            if self.slicing.covers(first.0) {
                let function = Arc::clone(&self.function);
                let slice = self.slice(span);
                slice.records += run as u64;
                records.by_ref().take(run).for_each(|record| function.add(&mut slice.acc, record));
            } else {
                // Between two windows: in none.
                records.by_ref().take(run).for_each(drop);
            }
        }
    }

    fn slice(&mut self, span: SliceSpan) -> &mut Sum<(), F::Acc> {
        let place = self.slices.partition_point(|slice| slice.start < span.start);
        if self.slices.get(place).is_none_or(|slice| slice.start != span.start) {
            let acc = self.function.create();
            self.slices.insert(place, Sum { key: (), acc, start: span.start, records: 0 });
        }
        &mut self.slices[place]
    }

    /// Moves slices to the output: those whose first window fires by a watermark.
    fn send(&mut self, by: i64, out: &mut Batch<Partial<(), F::In, F::Acc>>) {
        let slicing = self.slicing;
        let is_due =
            |slice: &Sum<(), F::Acc>| slicing.last_timestamp(slicing.first_window(slice.start)) <= by;
        let due = self.slices.partition_point(is_due);
        for sum in self.slices.drain(..due) {
            out.timestamps.push(Timestamp(sum.start));
            out.records.push(Partial::Sum(sum));
            out.hashes.push(self.hash);
        }
    }
}

impl<F: WindowFunction<Key = ()>> Stage for PreAggregate<F> {
    fn accept(&mut self, batch: ErasedBatch) {
        self.batch = Some(batch);
    }

    fn run(&mut self, _cx: &mut StepContext<'_>) -> Result<(Option<ErasedBatch>, Progress)> {
        let Some(batch) = self.batch.take() else { return Ok((None, Progress::Done)) };
        let batch: Batch<F::In> = batch.into_typed();
        let mut records = batch.records.into_iter();
        let mut out = Batch::default();
        let mut from = 0;
        for at in batch.watermarks {
            self.add(&mut records, &batch.timestamps[from..at.offset]);
            from = at.offset;
            self.send(at.watermark.0, &mut out);
            out.push_watermark(at.watermark);
        }
        self.add(&mut records, &batch.timestamps[from..]);
        Ok(((!out.is_empty()).then(|| ErasedBatch::new(out)), Progress::Done))
    }

    fn is_pending(&self) -> bool {
        self.batch.is_some()
    }

    fn flush(&mut self, reason: FlushReason, _cx: &mut StepContext<'_>) -> Result<Option<ErasedBatch>> {
        let mut out = Batch::default();
        match reason {
            FlushReason::Barrier | FlushReason::End | FlushReason::Park => self.send(i64::MAX, &mut out),
            FlushReason::Time => {}
        }
        Ok((!out.is_empty()).then(|| ErasedBatch::new(out)))
    }
}

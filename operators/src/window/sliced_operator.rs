//! Tumbling and sliding windows of a keyed stream.

use std::sync::Arc;

use tidegate_runtime::element::ErasedBatch;
use tidegate_runtime::error::Result;
use tidegate_runtime::key::KeyHash;
use tidegate_runtime::metrics::SubtaskStatus;
use tidegate_runtime::operator::{OpenContext, Operator, Progress, StepContext};
use tidegate_runtime::output::{OUTPUT_RECORDS_MAX, Output, Timing};
use tidegate_runtime::state::{KeyedTable, StateRegistry, StateTable};
use tidegate_runtime::time::Timestamp;

use super::assigner::{SliceSpan, Slicing};
use super::due::DueIndex;
use super::function::WindowFunction;
use super::slices::Slices;
use crate::key::KeyFunction;
use crate::operator::input::{KeyedInput, render_key};
use crate::operator::processing::FIRINGS_MAX;

const STATE: &str = "windows";

/// One entry of slices a key; a key is registered at the end of its next window.
pub(crate) struct SlicedOperator<F: WindowFunction> {
    function: Arc<F>,
    slicing: Slicing,
    input: KeyedInput<F::Key, F::In>,
    table: Option<KeyedTable<F::Key, Slices<F::Acc>>>,
    due: DueIndex<F::Key>,
    /// The key whose window fires.
    firing: Option<(F::Key, i64)>,
    output: Output<F::Out>,
    late: Output<F::Late>,
    status: Option<Arc<SubtaskStatus>>,
}

impl<F: WindowFunction> SlicedOperator<F> {
    pub(crate) fn new(function: Arc<F>, slicing: Slicing, key: Arc<dyn KeyFunction<F::Key, F::In>>) -> Self {
        Self {
            function,
            slicing,
            input: KeyedInput::new(key),
            table: None,
            due: DueIndex::new(slicing.slide()),
            firing: None,
            output: Output::new(Timing::Timed),
            late: Output::new(Timing::Timed),
            status: None,
        }
    }

    pub(crate) fn declare(registry: &mut StateRegistry) -> Result<()> {
        registry.keyed_table::<F::Key, Slices<F::Acc>>(STATE).map(|_| ())
    }

    /// Adds records of which none is late.
    fn add_all(&mut self, until: usize, watermark: i64) -> Result<()> {
        let Self { function, slicing, input, table, due, .. } = self;
        let table = table.as_mut().expect("I9: a task is opened before its first step");
        let from = input.batch.cursor();
        let (keys, hashes) = (&input.keys[from..until], &input.batch.hashes[from..until]);
        let timestamps = &input.batch.timestamps[from..until];
        let records = &mut input.batch.records;
        let mut slice = SliceSpan::EMPTY;
        table.update_batch(
            hashes,
            |at| &keys[at],
            Slices::default,
            |at, slices| {
                let timestamp = timestamps[at].0;
                if !slice.contains(timestamp) {
                    slice = slicing.slice(timestamp);
                }
                let record =
                    records.next().expect("I65: the step machine names positions within the accepted batch");
                if let Some(acc) = slices.newest_mut(slice.start) {
                    function.add(acc, record);
                    return Ok(());
                }
                let (acc, next) = slices.open(slice.start, slicing, watermark, || function.create());
                function.add(acc, record);
                if let Some(window) = next {
                    due.register(slicing.last_timestamp(window), hashes[at], keys[at].clone());
                }
                Ok(())
            },
        )
    }

    /// Adds one record, or tells it apart as late. One between two windows is in none and left out.
    fn add_one(&mut self, watermark: i64) -> Result<()> {
        let at = self.input.batch.cursor();
        let timestamp = self.input.batch.timestamp(at);
        if !self.slicing.covers(timestamp.0) {
            self.input.batch.take();
            return Ok(());
        }
        if !self.slicing.is_late(timestamp.0, watermark) {
            return self.add_all(at + 1, watermark);
        }
        let (records, late) = self.function.late(self.input.batch.take());
        if let Some(status) = &self.status {
            status.late_records.add(records);
        }
        if let Some(late) = late {
            self.late.push(late, timestamp);
        }
        Ok(())
    }

    /// Fires a key's next window if it is the one that is due.
    fn fire(&mut self, hash: KeyHash, key: F::Key, at: i64) -> Result<()> {
        let table = self.table.as_mut().expect("I9: a task is opened before its first step");
        // An earlier registration stays in the index when the key's next window changes: it finds nothing to do.
        if table.get(hash, &key)?.is_none_or(|slices| self.slicing.last_timestamp(slices.next) != at) {
            return Ok(());
        }
        let Some(slices) = table.update(hash, &key)? else { return Ok(()) };
        let window = self.slicing.window(slices.next);
        let acc = slices.fire(&self.slicing, |acc, more| self.function.merge(acc, more));
        let next = (!slices.is_empty()).then_some(slices.next);
        if next.is_none() {
            table.remove(hash, &key)?;
        }
        let (key, _) = self.firing.insert((key, at));
        if let Some(acc) = acc {
            self.function.emit(key, window, acc, &mut self.output);
        }
        if let Some((key, _)) = self.firing.take()
            && let Some(next) = next
        {
            self.due.register(self.slicing.last_timestamp(next), hash, key);
        }
        Ok(())
    }
}

impl<F: WindowFunction> Operator for SlicedOperator<F> {
    fn open(&mut self, cx: &mut OpenContext<'_>) -> Result<()> {
        let table: KeyedTable<F::Key, Slices<F::Acc>> = cx.states.keyed_table(STATE)?;
        table.for_each(&mut |key, slices| {
            let hash = tidegate_runtime::key::hash_key(key);
            self.due.register(self.slicing.last_timestamp(slices.next), hash, key.clone());
            Ok(())
        })?;
        self.table = Some(table);
        self.status = Some(Arc::clone(&cx.status));
        Ok(())
    }

    fn accept(&mut self, _port: usize, batch: ErasedBatch) {
        self.input.accept(batch);
    }

    fn process(&mut self, until: usize, cx: &mut StepContext<'_>) -> Result<usize> {
        let from = self.input.batch.cursor();
        let lowest = self.input.batch.timestamps[from..until].iter().min();
        let Some(lowest) = lowest else { return Ok(until) };
        if !self.slicing.has_gaps() && !self.slicing.is_late(lowest.0, cx.watermark.0) {
            self.add_all(until, cx.watermark.0)?;
            return Ok(until);
        }
        while self.input.batch.cursor() < until && self.late.len() < OUTPUT_RECORDS_MAX {
            self.add_one(cx.watermark.0)?;
        }
        Ok(self.input.batch.cursor())
    }

    fn on_watermark(&mut self, watermark: Timestamp, _cx: &mut StepContext<'_>) -> Result<Progress> {
        for _ in 0..FIRINGS_MAX {
            let Some(due) = self.due.pop(watermark.0) else {
                self.output.push_watermark(watermark);
                self.late.push_watermark(watermark);
                return Ok(Progress::Done);
            };
            self.fire(due.hash, due.key, due.at)?;
            if self.output.is_full() {
                break;
            }
        }
        Ok(Progress::More)
    }

    fn outputs(&self) -> usize {
        2
    }

    fn take_output(&mut self, port: usize) -> Option<ErasedBatch> {
        if port == 0 { self.output.take() } else { self.late.take() }
    }

    fn visit_tables(&mut self, visit: &mut dyn FnMut(&mut dyn StateTable)) {
        if let Some(table) = &mut self.table {
            visit(table);
        }
    }

    fn current_element(&self) -> (Option<String>, Option<Timestamp>) {
        match &self.firing {
            Some((key, at)) => (render_key(key), Some(Timestamp(*at))),
            None => self.input.last_element(),
        }
    }
}

//! Session windows of a keyed stream.

use std::sync::Arc;

use tidegate_runtime::element::ErasedBatch;
use tidegate_runtime::error::Result;
use tidegate_runtime::key::KeyHash;
use tidegate_runtime::metrics::SubtaskStatus;
use tidegate_runtime::operator::{OpenContext, Operator, Progress, StepContext};
use tidegate_runtime::output::{OUTPUT_RECORDS_MAX, Output, Timing};
use tidegate_runtime::state::{KeyedTable, StateRegistry, StateTable};
use tidegate_runtime::time::Timestamp;

use super::due::DueIndex;
use super::function::WindowFunction;
use super::session::{Sessions, Stretch};
use crate::key::KeyFunction;
use crate::operator::input::{KeyedInput, render_key};
use crate::operator::processing::FIRINGS_MAX;

const STATE: &str = "sessions";

/// Buckets of the index that one gap is divided into.
const BUCKETS_PER_GAP: i64 = 16;

/// One entry of sessions a key; a key is registered for the end of its first session as it was once, and again when
/// that has grown.
pub(crate) struct SessionOperator<F: WindowFunction> {
    function: Arc<F>,
    gap: i64,
    input: KeyedInput<F::Key, F::In>,
    table: Option<KeyedTable<F::Key, Sessions<F::Acc>>>,
    due: DueIndex<F::Key>,
    /// The key whose session fires.
    firing: Option<(F::Key, i64)>,
    output: Output<F::Out>,
    late: Output<F::Late>,
    status: Option<Arc<SubtaskStatus>>,
}

impl<F: WindowFunction> SessionOperator<F> {
    pub(crate) fn new(function: Arc<F>, gap: i64, key: Arc<dyn KeyFunction<F::Key, F::In>>) -> Self {
        let gap = gap.max(1);
        Self {
            function,
            gap,
            input: KeyedInput::new(key),
            table: None,
            due: DueIndex::new(gap / BUCKETS_PER_GAP),
            firing: None,
            output: Output::new(Timing::Timed),
            late: Output::new(Timing::Timed),
            status: None,
        }
    }

    pub(crate) fn declare(registry: &mut StateRegistry) -> Result<()> {
        registry.keyed_table::<F::Key, Sessions<F::Acc>>(STATE).map(|_| ())
    }

    /// Adds records of which none is late.
    fn add_all(&mut self, until: usize) -> Result<()> {
        let Self { function, gap, input, table, due, .. } = self;
        let table = table.as_mut().expect("I9: a task is opened before its first step");
        let from = input.batch.cursor();
        let (keys, hashes) = (&input.keys[from..until], &input.batch.hashes[from..until]);
        let timestamps = &input.batch.timestamps[from..until];
        let records = &mut input.batch.records;
        let gap = *gap;
        table.update_batch(
            hashes,
            |at| &keys[at],
            Sessions::default,
            |at, sessions| {
                let record =
                    records.next().expect("I65: the step machine names positions within the accepted batch");
                let last = timestamps[at].0;
                let stretch = Stretch { start: function.start(&record, last), last };
                if let Some(acc) = sessions.grow_newest(stretch, gap) {
                    function.add(acc, record);
                    return Ok(());
                }
                sessions.add(stretch, gap, function.begin(record), |acc, more| function.merge(acc, more));
                if let Some(look) = sessions.register(gap) {
                    due.register(look, hashes[at], keys[at].clone());
                }
                Ok(())
            },
        )
    }

    /// Adds one record, or tells it apart as late: the test is made on the session that it comes to be in, and one
    /// that is still open is not late.
    fn add_one(&mut self, watermark: i64) -> Result<()> {
        let at = self.input.batch.cursor();
        let timestamp = self.input.batch.timestamp(at);
        if timestamp.0.saturating_add(self.gap - 1) > watermark {
            return self.add_all(at + 1);
        }
        let (hash, key) = (self.input.batch.hashes[at], &self.input.keys[at]);
        let record = self.input.batch.records.as_slice().first();
        let start = record.map_or(timestamp.0, |record| self.function.start(record, timestamp.0));
        let stretch = Stretch { start, last: timestamp.0 };
        let table = self.table.as_mut().expect("I9: a task is opened before its first step");
        if table.get(hash, key)?.is_some_and(|sessions| sessions.has_for(stretch, self.gap)) {
            return self.add_all(at + 1);
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

    /// Fires a key's first session, or registers the key again if that has grown.
    fn fire(&mut self, hash: KeyHash, key: F::Key, at: i64) -> Result<()> {
        let table = self.table.as_mut().expect("I9: a task is opened before its first step");
        if table.get(hash, &key)?.is_none_or(|sessions| sessions.registered != Some(at)) {
            return Ok(());
        }
        let Some(sessions) = table.update(hash, &key)? else { return Ok(()) };
        let fired = if sessions.due(self.gap) == Some(at) { sessions.take_first() } else { None };
        sessions.registered = None;
        let next = sessions.register(self.gap);
        if next.is_none() {
            table.remove(hash, &key)?;
        }
        let (key, _) = self.firing.insert((key, at));
        if let Some(session) = fired {
            let window = session.window(self.gap);
            self.function.emit(key, window, session.acc, &mut self.output);
        }
        if let Some((key, _)) = self.firing.take()
            && let Some(next) = next
        {
            self.due.register(next, hash, key);
        }
        Ok(())
    }
}

impl<F: WindowFunction> Operator for SessionOperator<F> {
    fn open(&mut self, cx: &mut OpenContext<'_>) -> Result<()> {
        let table: KeyedTable<F::Key, Sessions<F::Acc>> = cx.states.keyed_table(STATE)?;
        table.for_each(&mut |key, sessions| {
            if let Some(look) = sessions.registered {
                self.due.register(look, tidegate_runtime::key::hash_key(key), key.clone());
            }
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
        if lowest.0.saturating_add(self.gap - 1) > cx.watermark.0 {
            self.add_all(until)?;
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

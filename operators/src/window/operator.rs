//! Event-time windows of a keyed stream, of any kind.

use std::sync::Arc;

use tidegate_runtime::element::ErasedBatch;
use tidegate_runtime::error::Result;
use tidegate_runtime::key::hash_key;
use tidegate_runtime::metrics::SubtaskStatus;
use tidegate_runtime::operator::{OpenContext, Operator, Progress, StepContext};
use tidegate_runtime::output::{OUTPUT_RECORDS_MAX, Output, Timing};
use tidegate_runtime::state::{KeyedTable, Retention, StateRegistry, StateTable, check_codec};
use tidegate_runtime::time::Timestamp;

use super::due::{Due, DueIndex};
use super::function::WindowFunction;
use super::kind::{Look, Next, Verdict, WindowKind};
use super::session::Stretch;
use crate::key::KeyFunction;
use crate::operator::input::{KeyedInput, render_key};
use crate::operator::processing::FIRINGS_MAX;

/// Looks ahead of the one that is made for which memory is fetched: some 300 ns, in which memory answers.
const AHEAD: usize = 16;

/// The look-ups of a key's entry.
type Table<F, W> =
    KeyedTable<<F as WindowFunction>::Key, <W as WindowKind>::Held<<F as WindowFunction>::Acc>>;

/// One entry a key; each key is registered for its next look.
pub(crate) struct WindowOperator<F: WindowFunction, W: WindowKind> {
    function: Arc<F>,
    kind: W,
    input: KeyedInput<F::Key, F::In>,
    table: Option<Table<F, W>>,
    due: DueIndex<F::Key>,
    /// The key whose window fires.
    firing: Option<(F::Key, i64)>,
    output: Output<F::Out>,
    late: Output<F::Late>,
    status: Option<Arc<SubtaskStatus>>,
}

impl<F: WindowFunction, W: WindowKind> WindowOperator<F, W> {
    pub(crate) fn new(function: Arc<F>, kind: W, key: Arc<dyn KeyFunction<F::Key, F::In>>) -> Self {
        Self {
            function,
            due: DueIndex::new(kind.due_width()),
            kind,
            input: KeyedInput::new(key),
            table: None,
            firing: None,
            output: Output::new(Timing::Timed),
            late: Output::new(Timing::Timed),
            status: None,
        }
    }

    pub(crate) fn declare(registry: &mut StateRegistry) -> Result<()> {
        registry.keyed_table::<F::Key, W::Held<F::Acc>>(W::STATE).map(|_| ())
    }

    /// Adds records of which none is late.
    fn add_all(&mut self, until: usize, watermark: i64) -> Result<()> {
        let Self { function, kind, input, table, due, .. } = self;
        let table = table.as_mut().expect("I9: a task is opened before its first step");
        let from = input.batch.cursor();
        let (keys, hashes) = (&input.keys[from..until], &input.batch.hashes[from..until]);
        let timestamps = &input.batch.timestamps[from..until];
        let records = &mut input.batch.records;
        table.update_batch(hashes, keys, Default::default, |at, held| {
            let record =
                records.next().expect("I65: the step machine names positions within the accepted batch");
            if let Some(look) = kind.add(held, (&**function, record), timestamps[at].0, watermark) {
                due.register(look, hashes[at], keys[at].clone());
            }
            Ok(())
        })
    }

    /// Adds one record, or tells it apart as late. One between two windows is left out.
    fn add_one(&mut self, watermark: i64) -> Result<()> {
        let at = self.input.batch.cursor();
        let last = self.input.batch.timestamp(at).0;
        let record = self.input.batch.records.as_slice().first();
        let start = record.map_or(last, |record| self.function.start(record, last));
        let stretch = Stretch { start, last };
        let is_late = match self.kind.judge(stretch, watermark) {
            Verdict::InTime => false,
            Verdict::Late => true,
            Verdict::LateAlone => {
                let table = self.table.as_mut().expect("I9: a task is opened before its first step");
                let held = table.get(self.input.batch.hashes[at], &self.input.keys[at])?;
                !held.is_some_and(|held| self.kind.has_for(held, stretch))
            }
            Verdict::InNone => {
                self.input.batch.take();
                return Ok(());
            }
        };
        if !is_late {
            return self.add_all(at + 1, watermark);
        }
        let (records, late) = self.function.late(self.input.batch.take());
        if let Some(status) = &self.status {
            status.late_records.add(records);
        }
        if let Some(late) = late {
            self.late.push(late, Timestamp(last));
        }
        Ok(())
    }

    /// Looks at a key that is due.
    #[inline(always)]
    fn fire(&mut self, Due { at, hash, key }: Due<F::Key>) -> Result<()> {
        let Self { function, kind, table, due, firing, output, .. } = self;
        let table = table.as_mut().expect("I9: a task is opened before its first step");
        if let Some(hash) = due.ahead(AHEAD) {
            table.announce(hash);
        }
        let (key, _) = &*firing.insert((key, at));
        let next = table.change(hash, key, |held| {
            let Look { fired, next } = kind.fire(held, at, &**function);
            if let Some((window, acc)) = fired {
                function.emit(key, window, acc, output);
            }
            (if next == Next::Never { Retention::Delete } else { Retention::Keep }, next)
        })?;
        if let (Some((key, _)), Some(Next::At(next))) = (firing.take(), next) {
            due.register(next, hash, key);
        }
        Ok(())
    }
}

impl<F: WindowFunction, W: WindowKind> Operator for WindowOperator<F, W> {
    fn open(&mut self, cx: &mut OpenContext<'_>) -> Result<()> {
        check_codec(&self.function.create())?;
        let table: Table<F, W> = cx.states.keyed_table(W::STATE)?;
        table.for_each(&mut |key, held| {
            if let Some(look) = self.kind.next_look(held) {
                self.due.register(look, hash_key(key), key.clone());
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
        if self.kind.takes_all(lowest.0, cx.watermark.0) {
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
            self.fire(due)?;
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

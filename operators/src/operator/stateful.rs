//! `stateful_map`, rolling `reduce` and `aggregate`: one value of state a key, one record out for each record in.

use std::sync::Arc;

use tidegate_runtime::element::{ErasedBatch, Record};
use tidegate_runtime::error::{BoxError, Result};
use tidegate_runtime::key::Key;
use tidegate_runtime::operator::{OpenContext, Operator, Progress, StepContext};
use tidegate_runtime::output::{OUTPUT_RECORDS_MAX, Output};
use tidegate_runtime::state::{Aggregate, KeyedTable, StateTable, StateValue, check_codec};
use tidegate_runtime::time::Timestamp;

use super::input::KeyedInput;
use crate::builder::operator_node;
use crate::event_time::Time;
use crate::keyed::KeyedStream;
use crate::stream::Stream;

/// Name of the one state of an operator with a closure.
pub(crate) const STATE: &str = "state";

impl<K: Key, T: Record, Timing: Time> KeyedStream<K, T, Timing> {
    /// Keeps one struct for each key, at first its default, and turns each record into another with it.
    ///
    /// ```
    /// # use tidegate_operators::{Dataflow, testing::numbers};
    /// let flow = Dataflow::new("running-sums");
    /// flow.source("numbers", numbers(0..100))
    ///     .key_by(|n| n % 10)
    ///     .stateful_map("sum", |sum: &mut u64, n| { *sum += n; (n, *sum) })
    ///     .print();
    /// assert!(flow.explain()?.contains("state `state`: table of u64 -> u64"));
    /// # Ok::<(), tidegate_runtime::Error>(())
    /// ```
    pub fn stateful_map<S: StateValue + Default, U: Record>(
        self,
        name: &str,
        function: impl Fn(&mut S, T) -> U + Send + Sync + 'static,
    ) -> Stream<U, Timing> {
        self.stateful(name, "stateful_map", S::default, move |state, record| Ok(function(state, record)))
    }

    /// As `stateful_map`, with a function that can fail: an error fails the attempt, with the record's key and
    /// timestamp.
    pub fn try_stateful_map<S: StateValue + Default, U: Record>(
        self,
        name: &str,
        function: impl Fn(&mut S, T) -> Result<U, BoxError> + Send + Sync + 'static,
    ) -> Stream<U, Timing> {
        self.stateful(name, "try_stateful_map", S::default, function)
    }

    /// Combines the records of each key, one after the other, and emits the result so far for each.
    ///
    /// ```
    /// # use tidegate_operators::{Dataflow, testing::numbers};
    /// let flow = Dataflow::new("highest");
    /// flow.source("numbers", numbers(0..100)).key_by(|n| n % 10).reduce("highest", |high, n| *high = n.max(*high)).print();
    /// # flow.explain()?;
    /// # Ok::<(), tidegate_runtime::Error>(())
    /// ```
    pub fn reduce(
        self,
        name: &str,
        combine: impl Fn(&mut T, T) + Send + Sync + 'static,
    ) -> Stream<T, Timing> {
        self.stateful(
            name,
            "reduce",
            || None,
            move |state: &mut Option<T>, record: T| {
                let reduced = match state.take() {
                    Some(mut into) => {
                        combine(&mut into, record);
                        into
                    }
                    None => record,
                };
                *state = Some(reduced.clone());
                Ok(reduced)
            },
        )
    }

    /// Folds the records of each key and emits the result so far for each.
    pub fn aggregate<A>(self, name: &str, aggregate: A) -> Stream<A::Out, Timing>
    where
        A: Aggregate<In = T, Out: Record> + Sync,
    {
        let aggregate = Arc::new(aggregate);
        let empty = Arc::clone(&aggregate);
        self.stateful(
            name,
            "aggregate",
            move || empty.create(),
            move |acc: &mut A::Acc, record| {
                aggregate.add(acc, record);
                Ok(aggregate.finish(acc))
            },
        )
    }

    fn stateful<S: StateValue, U: Record>(
        self,
        name: &str,
        description: &str,
        initial: impl Fn() -> S + Send + Sync + 'static,
        function: impl Fn(&mut S, T) -> Result<U, BoxError> + Send + Sync + 'static,
    ) -> Stream<U, Timing> {
        let states = self.graph.declare(name, |registry| registry.keyed_table::<K, S>(STATE).map(|_| ()));
        let (key, initial, function) = (Arc::clone(&self.key), Arc::new(initial), Arc::new(function));
        let mut node = operator_node(description, move || Stateful {
            input: KeyedInput::new(Arc::clone(&key)),
            initial: Arc::clone(&initial),
            function: Arc::clone(&function),
            table: None,
            output: Output::new(Timing::TIMING),
        });
        node.states = states;
        self.operator(name, node)
    }
}

struct Stateful<K: Key, T, S: StateValue, U: Record, I, F> {
    input: KeyedInput<K, T>,
    initial: Arc<I>,
    function: Arc<F>,
    table: Option<KeyedTable<K, S>>,
    output: Output<U>,
}

impl<K: Key, T: Record, S: StateValue, U: Record, I, F> Operator for Stateful<K, T, S, U, I, F>
where
    I: Fn() -> S + Send + Sync,
    F: Fn(&mut S, T) -> Result<U, BoxError> + Send + Sync,
{
    fn open(&mut self, cx: &mut OpenContext<'_>) -> Result<()> {
        check_codec(&(self.initial)())?;
        self.table = Some(cx.states.keyed_table(STATE)?);
        Ok(())
    }

    fn accept(&mut self, _port: usize, batch: ErasedBatch) {
        self.input.accept(batch);
    }

    fn process(&mut self, until: usize, _cx: &mut StepContext<'_>) -> Result<usize> {
        let Self { input, initial, function, output, .. } = self;
        let table = self.table.as_mut().expect("I9: a task is opened before its first step");
        let from = input.batch.cursor();
        // A batch has a bound, and what it becomes is as long: an output that is empty takes it whole.
        let until = if output.is_empty() {
            until
        } else {
            until.min(from + OUTPUT_RECORDS_MAX.saturating_sub(output.len()))
        };
        let out = output.batch_mut();
        out.records.reserve(until - from);
        let (keys, hashes) = (&input.keys[..], &input.batch.hashes[..]);
        let mut made = std::mem::take(&mut out.records);
        table.update_batch(
            &hashes[from..until],
            &keys[from..until],
            || initial(),
            |_, state| {
                let record = input
                    .batch
                    .records
                    .next()
                    .expect("I65: the step machine names positions within the accepted batch");
                // Room was made above: said here, the compiler leaves out what would grow it.
                assert!(
                    made.len() < made.capacity(),
                    "I65: no more records are taken than there is room for"
                );
                made.push(function(state, record)?);
                Ok(())
            },
        )?;
        out.records = made;
        if let Some(timestamps) = input.batch.timestamps.get(from..until) {
            out.timestamps.extend_from_slice(timestamps);
        }
        Ok(until)
    }

    fn on_watermark(&mut self, watermark: Timestamp, _cx: &mut StepContext<'_>) -> Result<Progress> {
        self.output.push_watermark(watermark);
        Ok(Progress::Done)
    }

    fn outputs(&self) -> usize {
        1
    }

    fn take_output(&mut self, _port: usize) -> Option<ErasedBatch> {
        self.output.take()
    }

    fn visit_tables(&mut self, visit: &mut dyn FnMut(&mut dyn StateTable)) {
        if let Some(table) = &mut self.table {
            visit(table);
        }
    }

    fn current_element(&self) -> (Option<String>, Option<Timestamp>) {
        self.input.last_element()
    }
}

//! `stateful_flat_map`: one value of state a key, any number of records out for each record in.

use std::sync::Arc;

use tidegate_runtime::element::{ErasedBatch, Record};
use tidegate_runtime::error::{BoxError, Result};
use tidegate_runtime::key::Key;
use tidegate_runtime::operator::{OpenContext, Operator, Progress, StepContext};
use tidegate_runtime::output::{OUTPUT_RECORDS_MAX, Output};
use tidegate_runtime::state::{KeyedTable, StateTable, StateValue, check_codec};
use tidegate_runtime::time::Timestamp;

use super::input::KeyedInput;
use super::stateful::STATE;
use crate::builder::operator_node;
use crate::event_time::Time;
use crate::keyed::KeyedStream;
use crate::stream::Stream;

impl<K: Key, T: Record, Timing: Time> KeyedStream<K, T, Timing> {
    /// As `stateful_map`, but the function returns none, one or several records: an `Option`, `Vec` or array.
    ///
    /// ```
    /// # use tidegate_operators::{Dataflow, testing::numbers};
    /// let flow = Dataflow::new("every-third");
    /// flow.source("numbers", numbers(0..100))
    ///     .key_by(|n| n % 10)
    ///     .stateful_flat_map("third", |seen: &mut u64, n| { *seen += 1; (*seen % 3 == 0).then_some(n) })
    ///     .print();
    /// # flow.explain()?;
    /// # Ok::<(), tidegate_runtime::Error>(())
    /// ```
    pub fn stateful_flat_map<S, I>(
        self,
        name: &str,
        function: impl Fn(&mut S, T) -> I + Send + Sync + 'static,
    ) -> Stream<I::Item, Timing>
    where
        S: StateValue + Default,
        I: IntoIterator<Item: Record, IntoIter: Send + 'static> + 'static,
    {
        self.try_stateful_flat_map(name, move |state: &mut S, record| Ok(function(state, record)))
    }

    /// As `stateful_flat_map`, with a function that can fail: an error fails the attempt, with the record's key and
    /// timestamp.
    pub fn try_stateful_flat_map<S, I>(
        self,
        name: &str,
        function: impl Fn(&mut S, T) -> Result<I, BoxError> + Send + Sync + 'static,
    ) -> Stream<I::Item, Timing>
    where
        S: StateValue + Default,
        I: IntoIterator<Item: Record, IntoIter: Send + 'static> + 'static,
    {
        let states = self.graph.declare(name, |registry| registry.keyed_table::<K, S>(STATE).map(|_| ()));
        let (key, function) = (Arc::clone(&self.key), Arc::new(function));
        let mut node = operator_node("stateful_flat_map", move || StatefulFlatMap::<K, T, S, I, _> {
            input: KeyedInput::new(Arc::clone(&key)),
            function: Arc::clone(&function),
            table: None,
            giving: None,
            output: Output::new(Timing::TIMING),
        });
        node.states = states;
        self.operator(name, node)
    }
}

struct StatefulFlatMap<K: Key, T, S: StateValue, I: IntoIterator<Item: Record>, F> {
    input: KeyedInput<K, T>,
    function: Arc<F>,
    table: Option<KeyedTable<K, S>>,
    /// What the record taken last still gives.
    giving: Option<I::IntoIter>,
    output: Output<I::Item>,
}

impl<K: Key, T: Record, S, I, F> StatefulFlatMap<K, T, S, I, F>
where
    S: StateValue + Default,
    I: IntoIterator<Item: Record>,
{
    /// Emits what the record taken last gives. Returns whether all of it is out.
    fn give(&mut self) -> Progress {
        let Some(giving) = &mut self.giving else { return Progress::Done };
        let timestamp = self.input.batch.last_timestamp().unwrap_or(Timestamp::MIN);
        while self.output.len() < OUTPUT_RECORDS_MAX {
            match giving.next() {
                Some(record) => self.output.push(record, timestamp),
                None => {
                    self.giving = None;
                    return Progress::Done;
                }
            }
        }
        Progress::More
    }
}

impl<K: Key, T: Record, S, I, F> Operator for StatefulFlatMap<K, T, S, I, F>
where
    S: StateValue + Default,
    I: IntoIterator<Item: Record, IntoIter: Send + 'static>,
    F: Fn(&mut S, T) -> Result<I, BoxError> + Send + Sync,
{
    fn open(&mut self, cx: &mut OpenContext<'_>) -> Result<()> {
        check_codec(&S::default())?;
        self.table = Some(cx.states.keyed_table(STATE)?);
        Ok(())
    }

    fn accept(&mut self, _port: usize, batch: ErasedBatch) {
        self.input.accept(batch);
    }

    fn process(&mut self, until: usize, _cx: &mut StepContext<'_>) -> Result<usize> {
        // A record counts as processed when all that it gives is out.
        while self.give() == Progress::Done && self.input.batch.cursor() < until {
            let at = self.input.batch.cursor();
            let table = self.table.as_mut().expect("I9: a task is opened before its first step");
            let state = table.update_or_default(self.input.batch.hashes[at], &self.input.keys[at])?;
            self.giving = Some((self.function)(state, self.input.batch.take())?.into_iter());
        }
        let cursor = self.input.batch.cursor();
        Ok(if self.giving.is_some() { cursor - 1 } else { cursor })
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

//! The operator around the matcher: elements wait in state until the watermark has passed them.

use std::sync::Arc;

use tidegate_runtime::element::{ErasedBatch, Record};
use tidegate_runtime::error::Result;
use tidegate_runtime::key::{Key, KeyHash};
use tidegate_runtime::metrics::SubtaskStatus;
use tidegate_runtime::operator::{OpenContext, Operator, Progress, StepContext};
use tidegate_runtime::output::{Output, Timing};
use tidegate_runtime::state::{KeyedTable, StateRegistry, StateTable, Timers};
use tidegate_runtime::time::Timestamp;

use super::definition::{Found, Pattern};
use super::matcher::Candidates;
use crate::builder::operator_node;
use crate::event_time::{HasEventTime, Timed};
use crate::keyed::KeyedStream;
use crate::operator::input::{KeyedInput, render_key};
use crate::stream::Stream;

impl<K: Key, T: Record, Time: HasEventTime> KeyedStream<K, T, Time> {
    /// Finds a pattern among the elements of each key and emits what `select` makes of each match, with the time of its
    /// last element.
    ///
    /// Elements that come after the watermark has passed them are dropped and counted as late.
    ///
    /// ```
    /// # use tidegate_operators::{Dataflow, Pattern, Timestamp, WatermarkStrategy, minutes, testing::numbers};
    /// let flow = Dataflow::new("rises");
    /// let rise = Pattern::begin("low", |n: &u64| n % 10 < 2).next("high", |n| n % 10 > 7).within(minutes(5));
    /// flow.source("numbers", numbers(0..100))
    ///     .event_time(WatermarkStrategy::monotonic(), |n| *n as i64)
    ///     .key_by(|n| n % 3)
    ///     .pattern("rises", rise, |found| found["high"][0] - found["low"][0])
    ///     .print();
    /// # flow.explain()?;
    /// # Ok::<(), tidegate_runtime::Error>(())
    /// ```
    pub fn pattern<U: Record>(
        self,
        name: &str,
        pattern: Pattern<T>,
        select: impl Fn(&Found<'_, T>) -> U + Send + Sync + 'static,
    ) -> Stream<U, Timed> {
        if let Some(step) = pattern.repeated_name() {
            self.graph.problem(format!("pattern `{name}` has two steps named `{step}`: rename one"));
        }
        let states = self.graph.declare(name, |registry| State::<K, T>::open(registry).map(|_| ()));
        let (key, select) = (Arc::clone(&self.key), Arc::new(select));
        let mut node = operator_node("pattern", move || PatternOperator {
            pattern: pattern.clone(),
            select: Arc::clone(&select),
            input: KeyedInput::new(Arc::clone(&key)),
            state: None,
            status: Arc::default(),
            output: Output::new(Timing::Timed),
            firing: None,
        });
        node.states = states;
        self.operator(name, node)
    }
}

/// Candidates of each key, and the times at which to look at them.
struct State<K: Key, T: Record> {
    candidates: KeyedTable<K, Candidates<T>>,
    timers: Timers<K>,
}

impl<K: Key, T: Record> State<K, T> {
    fn open(registry: &mut StateRegistry) -> Result<Self> {
        Ok(Self { candidates: registry.keyed_table("candidates")?, timers: registry.timers("times")? })
    }
}

struct PatternOperator<K: Key, T: Record, U, F> {
    pattern: Pattern<T>,
    select: Arc<F>,
    input: KeyedInput<K, T>,
    state: Option<State<K, T>>,
    status: Arc<SubtaskStatus>,
    output: Output<U>,
    /// The key and time being looked at.
    firing: Option<(K, Timestamp)>,
}

impl<K: Key, T: Record, U: Record, F: Fn(&Found<'_, T>) -> U + Send + Sync> PatternOperator<K, T, U, F> {
    fn fire(&mut self, at: Timestamp, hash: KeyHash, key: &K) -> Result<()> {
        let state = self.state.as_mut().expect("I9: a task is opened before its first step");
        let Some(candidates) = state.candidates.update(hash, key)? else { return Ok(()) };
        let (pattern, select, output) = (&self.pattern, &self.select, &mut self.output);
        let again = candidates.advance(at, pattern, &mut |partial| {
            let found =
                Found { steps: &pattern.steps, elements: &partial.elements, timestamps: &partial.timestamps };
            output.push(select(&found), found.end());
        });
        if candidates.is_empty() {
            state.candidates.remove(hash, key)?;
        } else if let Some(again) = again {
            state.timers.register(again, hash, key)?;
        }
        Ok(())
    }
}

impl<K: Key, T: Record, U: Record, F: Fn(&Found<'_, T>) -> U + Send + Sync> Operator
    for PatternOperator<K, T, U, F>
{
    fn open(&mut self, cx: &mut OpenContext<'_>) -> Result<()> {
        self.state = Some(State::open(cx.states)?);
        self.status = Arc::clone(&cx.status);
        Ok(())
    }

    fn accept(&mut self, _port: usize, batch: ErasedBatch) {
        self.input.accept(batch);
    }

    fn process(&mut self, until: usize, cx: &mut StepContext<'_>) -> Result<usize> {
        self.firing = None;
        let state = self.state.as_mut().expect("I9: a task is opened before its first step");
        for at in self.input.batch.cursor()..until {
            let timestamp = self.input.batch.timestamp(at);
            let record = self.input.batch.take();
            if timestamp <= cx.watermark {
                self.status.late_records.add(1);
                continue;
            }
            let (hash, key) = (self.input.batch.hashes[at], &self.input.keys[at]);
            let candidates = state.candidates.update_or_insert_with(hash, key, Candidates::default)?;
            candidates.wait(timestamp, record);
            state.timers.register(timestamp, hash, key)?;
        }
        Ok(until)
    }

    fn on_watermark(&mut self, watermark: Timestamp, _cx: &mut StepContext<'_>) -> Result<Progress> {
        while !self.output.is_full() {
            let state = self.state.as_mut().expect("I9: a task is opened before its first step");
            let Some((at, hash, key)) = state.timers.pop_due(watermark)? else {
                self.firing = None;
                self.output.push_watermark(watermark);
                return Ok(Progress::Done);
            };
            self.firing = Some((key.clone(), at));
            self.fire(at, hash, &key)?;
        }
        Ok(Progress::More)
    }

    fn outputs(&self) -> usize {
        1
    }

    fn take_output(&mut self, _port: usize) -> Option<ErasedBatch> {
        self.output.take()
    }

    fn visit_tables(&mut self, visit: &mut dyn FnMut(&mut dyn StateTable)) {
        if let Some(state) = &mut self.state {
            visit(&mut state.candidates);
            visit(&mut state.timers);
        }
    }

    fn current_element(&self) -> (Option<String>, Option<Timestamp>) {
        match &self.firing {
            Some((key, at)) => (render_key(key), Some(*at)),
            None => self.input.last_element(),
        }
    }
}

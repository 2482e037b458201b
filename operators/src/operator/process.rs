//! `process`: a function with state and timers over one keyed stream.

use std::sync::Arc;

use tidegate_runtime::element::{ErasedBatch, Record};
use tidegate_runtime::error::{BoxError, Result};
use tidegate_runtime::key::Key;
use tidegate_runtime::operator::{OpenContext, Operator, Progress, StepContext};
use tidegate_runtime::state::{StateTable, States};
use tidegate_runtime::time::Timestamp;

use super::input::KeyedInput;
use super::processing::{Processing, work};
use crate::builder::{operator_node, port, upstream};
use crate::context::Context;
use crate::event_time::Time;
use crate::keyed::KeyedStream;
use crate::side_output::SideOutputs;
use crate::stream::Stream;

/// A function over the elements of a keyed stream, with state and timers. One value of it serves all instances: state
/// belongs into the handles of `State`.
///
/// ```
/// # use tidegate_operators::{BoxError, Context, Dataflow, Process, Timestamp, WatermarkStrategy, seconds};
/// # use tidegate_operators::testing::numbers;
/// use tidegate_derive::States;
/// use tidegate_runtime::state::ValueState;
///
/// /// Emits the number of elements of a key, ten seconds after its first.
/// struct CountForAWhile;
///
/// #[derive(States)]
/// #[states(crate = "tidegate_runtime")] // programs leave this out
/// struct Counting { count: ValueState<u64> }
///
/// impl Process<u64, u64> for CountForAWhile {
///     type State = Counting;
///     type Out = (u64, u64);
///
///     fn on_element(&self, _: u64, state: &mut Counting, cx: &mut Context<u64, (u64, u64)>) -> Result<(), BoxError> {
///         if state.count.get()?.is_none() {
///             cx.set_event_timer(cx.timestamp() + seconds(10));
///         }
///         state.count.update(|count| *count += 1)?;
///         Ok(())
///     }
///
///     fn on_timer(&self, _: Timestamp, state: &mut Counting, cx: &mut Context<u64, (u64, u64)>) -> Result<(), BoxError> {
///         let count = state.count.take()?.unwrap_or(0);
///         cx.emit((*cx.key(), count));
///         Ok(())
///     }
/// }
///
/// let flow = Dataflow::new("counts");
/// flow.source("numbers", numbers(0..100))
///     .event_time(WatermarkStrategy::monotonic(), |n| *n as i64 * 100)
///     .key_by(|n| n % 10)
///     .process("count", CountForAWhile)
///     .print();
/// assert!(flow.explain()?.contains("state `count`: value of u64"));
/// # Ok::<(), tidegate_runtime::Error>(())
/// ```
pub trait Process<K: Key, T>: Send + Sync + 'static {
    /// The states, by key.
    type State: States;
    /// What it emits.
    type Out: Record;

    /// Called for each element, with its key bound.
    ///
    /// # Errors
    /// Fails the attempt; the report names key and timestamp.
    fn on_element(
        &self,
        element: T,
        state: &mut Self::State,
        cx: &mut Context<K, Self::Out>,
    ) -> Result<(), BoxError>;

    /// Called when the watermark comes to an event-time timer, with its key bound.
    ///
    /// # Errors
    /// Fails the attempt; the report names key and timestamp.
    fn on_timer(
        &self,
        at: Timestamp,
        state: &mut Self::State,
        cx: &mut Context<K, Self::Out>,
    ) -> Result<(), BoxError> {
        let _ = (at, state, cx);
        Ok(())
    }

    /// Called when the wall clock comes to a processing-time timer, with its key bound.
    ///
    /// # Errors
    /// Fails the attempt; the report names key and timestamp.
    fn on_processing_timer(
        &self,
        at: Timestamp,
        state: &mut Self::State,
        cx: &mut Context<K, Self::Out>,
    ) -> Result<(), BoxError> {
        let _ = (at, state, cx);
        Ok(())
    }

    /// Declares the side outputs that it emits to.
    fn side_outputs(&self, declare: &mut SideOutputs) {
        let _ = declare;
    }
}

impl<K: Key, T: Record, Timing: Time> KeyedStream<K, T, Timing> {
    /// Works on each element with state and timers of its key; see `Process`.
    pub fn process<P: Process<K, T>>(self, name: &str, process: P) -> Stream<P::Out, Timing> {
        let mut sides = SideOutputs::default();
        process.side_outputs(&mut sides);
        sides.problem(name).into_iter().for_each(|problem| self.graph.problem(problem));
        let (process, sides, key) = (Arc::new(process), Arc::new(sides), self.key);
        let states = self.graph.declare(name, Processing::<K, P::State, P::Out>::declare);
        let ports = std::iter::once(port::<P::Out>("main")).chain(sides.ports()).collect();
        let mut node = operator_node("process", move || ProcessOperator {
            process: Arc::clone(&process),
            input: KeyedInput::new(Arc::clone(&key)),
            processing: Processing::new(Timing::TIMING, &sides),
        });
        (node.name, node.states, node.outputs) = (Some(name.to_owned()), states, ports);
        let index = self.graph.add(node, &[&self.upstreams]);
        Stream::of(self.graph, vec![upstream::<P::Out>(index, 0)])
    }
}

struct ProcessOperator<K: Key, T: Record, P: Process<K, T>> {
    process: Arc<P>,
    input: KeyedInput<K, T>,
    processing: Processing<K, P::State, P::Out>,
}

impl<K: Key, T: Record, P: Process<K, T>> Operator for ProcessOperator<K, T, P> {
    fn open(&mut self, cx: &mut OpenContext<'_>) -> Result<()> {
        self.processing.open(cx)
    }

    fn accept(&mut self, _port: usize, batch: ErasedBatch) {
        self.input.accept(batch);
    }

    fn process(&mut self, until: usize, cx: &mut StepContext<'_>) -> Result<usize> {
        let Self { process, input, processing } = self;
        processing.cx.begin(cx);
        work(input, until, processing, |element, state, cx| process.on_element(element, state, cx))
    }

    fn on_watermark(&mut self, watermark: Timestamp, cx: &mut StepContext<'_>) -> Result<Progress> {
        let process = &self.process;
        self.processing.on_watermark(watermark, cx, |at, state, cx| process.on_timer(at, state, cx))
    }

    fn on_processing_time(&mut self, now: Timestamp, cx: &mut StepContext<'_>) -> Result<Progress> {
        let process = &self.process;
        self.processing
            .on_processing_time(now, cx, |at, state, cx| process.on_processing_timer(at, state, cx))
    }

    fn next_processing_time(&self) -> Option<Timestamp> {
        self.processing.next_processing_time()
    }

    fn outputs(&self) -> usize {
        self.processing.outputs()
    }

    fn take_output(&mut self, port: usize) -> Option<ErasedBatch> {
        self.processing.take_output(port)
    }

    fn visit_tables(&mut self, visit: &mut dyn FnMut(&mut dyn StateTable)) {
        self.processing.visit_tables(visit);
    }

    fn current_element(&self) -> (Option<String>, Option<Timestamp>) {
        self.processing.current_element()
    }
}

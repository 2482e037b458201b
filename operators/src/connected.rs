//! Two keyed streams with one key type: what works on both with shared state.

use std::sync::Arc;

use tidegate_runtime::element::{ErasedBatch, Record};
use tidegate_runtime::error::{BoxError, Result};
use tidegate_runtime::graph::Upstream;
use tidegate_runtime::key::Key;
use tidegate_runtime::operator::{OpenContext, Operator, Progress, StepContext};
use tidegate_runtime::state::{StateTable, States};
use tidegate_runtime::time::Timestamp;

use crate::builder::{GraphBuilder, operator_node, port, upstream};
use crate::context::Context;
use crate::event_time::Time;
use crate::key::{KeyFunction, SameKey};
use crate::keyed::KeyedStream;
use crate::operator::input::KeyedInput;
use crate::operator::processing::{Processing, work};
use crate::side_output::SideOutputs;
use crate::stream::Stream;

/// A function over the elements of two keyed streams that share the state of a key. One value of it serves all
/// instances: state belongs into the handles of `State`.
pub trait CoProcess<K: Key, L, R>: Send + Sync + 'static {
    /// The states, by key.
    type State: States;
    /// What it emits.
    type Out: Record;

    /// Called for each element of the stream that `connect` was called on, with its key bound.
    ///
    /// # Errors
    /// Fails the attempt; the report names key and timestamp.
    fn on_left(
        &self,
        element: L,
        state: &mut Self::State,
        cx: &mut Context<K, Self::Out>,
    ) -> Result<(), BoxError>;

    /// Called for each element of the stream that was given to `connect`, with its key bound.
    ///
    /// # Errors
    /// Fails the attempt; the report names key and timestamp.
    fn on_right(
        &self,
        element: R,
        state: &mut Self::State,
        cx: &mut Context<K, Self::Out>,
    ) -> Result<(), BoxError>;

    /// Called when the watermark, the lower of the two streams', comes to an event-time timer, with its key bound.
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

/// Two keyed streams; see `KeyedStream::connect`.
#[must_use = "connected streams do nothing without `.process(..)`"]
pub struct ConnectedStreams<Left, Right> {
    left: Left,
    right: Right,
}

impl<K: Key, L: Record, Timing: Time> KeyedStream<K, L, Timing> {
    /// Puts this stream and another one, keyed by the same type, before one operator that sees both.
    ///
    /// ```
    /// # use tidegate_operators::{BoxError, CoProcess, Context, Dataflow, testing::numbers};
    /// # use tidegate_runtime::state::ValueState;
    /// # use tidegate_derive::States;
    /// /// Emits a number of the left stream with the last one of the right.
    /// struct WithLast;
    /// #[derive(States)]
    /// #[states(crate = "tidegate_runtime")] // programs leave this out
    /// struct Last { last: ValueState<u64> }
    /// impl CoProcess<u64, u64, u64> for WithLast {
    ///     type State = Last;
    ///     type Out = (u64, u64);
    ///     fn on_left(&self, n: u64, state: &mut Last, cx: &mut Context<u64, (u64, u64)>) -> Result<(), BoxError> {
    ///         if let Some(last) = state.last.get()? {
    ///             cx.emit((n, *last));
    ///         }
    ///         Ok(())
    ///     }
    ///     fn on_right(&self, n: u64, state: &mut Last, _: &mut Context<u64, (u64, u64)>) -> Result<(), BoxError> {
    ///         state.last.set(n)?;
    ///         Ok(())
    ///     }
    /// }
    /// let flow = Dataflow::new("with-last");
    /// let left = flow.source("left", numbers(0..100)).key_by(|n| n % 10);
    /// let right = flow.source("right", numbers(0..100)).key_by(|n| n % 10);
    /// left.connect(right).process("with-last", WithLast).print();
    /// # flow.explain()?;
    /// # Ok::<(), tidegate_runtime::Error>(())
    /// ```
    pub fn connect<K2: SameKey<K>, R: Record, OtherTiming: Time>(
        self,
        other: KeyedStream<K2, R, OtherTiming>,
    ) -> ConnectedStreams<KeyedStream<K, L, Timing>, KeyedStream<K, R, OtherTiming>> {
        self.graph.check_same(&other.graph);
        let right = KeyedStream::of(other.graph, other.upstreams, K2::convert(other.key));
        ConnectedStreams { left: self, right }
    }
}

impl<K: Key, L: Record, R: Record, TimeL: Time, TimeR: Time>
    ConnectedStreams<KeyedStream<K, L, TimeL>, KeyedStream<K, R, TimeR>>
{
    /// Works on each element of both streams with state and timers of its key; see `CoProcess`. What is emitted is
    /// timed if both streams are.
    pub fn process<P: CoProcess<K, L, R>>(
        self,
        name: &str,
        process: P,
    ) -> Stream<P::Out, TimeL::With<TimeR>> {
        let inputs: [&[Upstream]; 2] = [&self.left.upstreams, &self.right.upstreams];
        add(self.left.graph, (name, "connect"), &inputs, (self.left.key, self.right.key), process)
    }
}

/// Adds the operator of a function to the graph, of a name and a kind; with one input, that is the left one.
pub(crate) fn add<K: Key, L: Record, R: Record, P: CoProcess<K, L, R>, Timing: Time>(
    graph: GraphBuilder,
    (name, kind): (&str, &str),
    inputs: &[&[Upstream]],
    (left, right): (Arc<dyn KeyFunction<K, L>>, Arc<dyn KeyFunction<K, R>>),
    process: P,
) -> Stream<P::Out, Timing> {
    let mut sides = SideOutputs::default();
    process.side_outputs(&mut sides);
    sides.problem(name).into_iter().for_each(|problem| graph.problem(problem));
    let (process, sides) = (Arc::new(process), Arc::new(sides));
    let states = graph.declare(name, Processing::<K, P::State, P::Out>::declare);
    let ports = std::iter::once(port::<P::Out>("main")).chain(sides.ports()).collect();
    let mut node = operator_node(kind, move || CoProcessOperator {
        process: Arc::clone(&process),
        left: KeyedInput::new(Arc::clone(&left)),
        right: KeyedInput::new(Arc::clone(&right)),
        side: Side::Left,
        processing: Processing::new(Timing::TIMING, &sides),
    });
    (node.name, node.states, node.outputs) = (Some(name.to_owned()), states, ports);
    let index = graph.add(node, inputs);
    Stream::of(graph, vec![upstream::<P::Out>(index, 0)])
}

/// Which input the accepted batch is of.
#[derive(Clone, Copy)]
enum Side {
    Left,
    Right,
}

struct CoProcessOperator<K: Key, L: Record, R: Record, P: CoProcess<K, L, R>> {
    process: Arc<P>,
    left: KeyedInput<K, L>,
    right: KeyedInput<K, R>,
    side: Side,
    processing: Processing<K, P::State, P::Out>,
}

impl<K: Key, L: Record, R: Record, P: CoProcess<K, L, R>> Operator for CoProcessOperator<K, L, R, P> {
    fn open(&mut self, cx: &mut OpenContext<'_>) -> Result<()> {
        self.processing.open(cx)
    }

    fn accept(&mut self, port: usize, batch: ErasedBatch) {
        if port == 0 {
            self.side = Side::Left;
            self.left.accept(batch);
        } else {
            self.side = Side::Right;
            self.right.accept(batch);
        }
    }

    fn process(&mut self, until: usize, cx: &mut StepContext<'_>) -> Result<usize> {
        let Self { process, left, right, side, processing } = self;
        processing.cx.begin(cx);
        match side {
            Side::Left => {
                work(left, until, processing, |element, state, cx| process.on_left(element, state, cx))
            }
            Side::Right => {
                work(right, until, processing, |element, state, cx| process.on_right(element, state, cx))
            }
        }
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

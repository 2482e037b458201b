//! `process`: a function with state and timers over one keyed stream.

use std::sync::Arc;

use tidegate_runtime::element::Record;
use tidegate_runtime::error::BoxError;
use tidegate_runtime::key::Key;
use tidegate_runtime::state::States;
use tidegate_runtime::time::Timestamp;

use crate::connected::{self, CoProcess};
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
        let keys = (Arc::clone(&self.key), self.key);
        connected::add(self.graph, (name, "process"), &[&self.upstreams], keys, Alike(process))
    }
}

/// As a function over two streams, of which only the left one is there, and which would work alike on both.
struct Alike<P>(P);

impl<K: Key, T: Record, P: Process<K, T>> CoProcess<K, T, T> for Alike<P> {
    type State = P::State;
    type Out = P::Out;

    fn on_left(&self, element: T, state: &mut P::State, cx: &mut Context<K, P::Out>) -> Result<(), BoxError> {
        self.0.on_element(element, state, cx)
    }

    fn on_right(
        &self,
        element: T,
        state: &mut P::State,
        cx: &mut Context<K, P::Out>,
    ) -> Result<(), BoxError> {
        self.0.on_element(element, state, cx)
    }

    fn on_timer(
        &self,
        at: Timestamp,
        state: &mut P::State,
        cx: &mut Context<K, P::Out>,
    ) -> Result<(), BoxError> {
        self.0.on_timer(at, state, cx)
    }

    fn on_processing_timer(
        &self,
        at: Timestamp,
        state: &mut P::State,
        cx: &mut Context<K, P::Out>,
    ) -> Result<(), BoxError> {
        self.0.on_processing_timer(at, state, cx)
    }

    fn side_outputs(&self, declare: &mut SideOutputs) {
        self.0.side_outputs(declare);
    }
}

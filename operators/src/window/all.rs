//! `window_all`: windows over a whole stream, added up in each subtask before the exchange, then once.

use std::cell::OnceCell;
use std::sync::Arc;

use tidegate_runtime::element::Record;
use tidegate_runtime::exchange::Partitioning;
use tidegate_runtime::state::Aggregate;

use super::assigner::Slicing;
use super::combine::{Merging, Partial};
use super::function::{AggregateThen, Collecting, Reducing, WindowFunction};
use super::pre_aggregate::PreAggregate;
use super::spec::{Window, WindowSpec};
use crate::builder::partitioned;
use crate::event_time::{HasEventTime, Time, Timed};
use crate::key::KeyFunction;
use crate::stream::Stream;
use crate::windowed::{Place, WindowedStream, window_node};

impl<T: Record, Timing: Time> Stream<T, Timing> {
    /// Puts all records into event-time windows, without keys. Each subtask adds up its own part; one subtask merges
    /// the parts. See `KeyedStream::window` for what windows do.
    ///
    /// ```
    /// # use tidegate_operators::{Dataflow, Tumbling, WatermarkStrategy, seconds, testing::numbers};
    /// let flow = Dataflow::new("highest-of-all");
    /// flow.source("numbers", numbers(0..100))
    ///     .event_time(WatermarkStrategy::monotonic(), |n| *n as i64 * 100)
    ///     .window_all(Tumbling::of(seconds(10)))
    ///     .reduce("highest", |high, n| *high = n.max(*high))
    ///     .print();
    /// assert!(flow.explain()?.contains("pre-aggregate"));
    /// # Ok::<(), tidegate_runtime::Error>(())
    /// ```
    pub fn window_all(self, window: impl Into<WindowSpec>) -> AllWindowedStream<T>
    where
        Timing: HasEventTime,
    {
        let spec = window.into();
        spec.problem().into_iter().for_each(|problem| self.graph.problem(problem));
        let stream = Stream::of(self.graph, self.upstreams);
        AllWindowedStream { spec, stream, whole: OnceCell::new() }
    }
}

/// A stream in windows without keys; see `Stream::window_all`.
#[must_use = "windows without an aggregate do nothing"]
pub struct AllWindowedStream<T> {
    spec: WindowSpec,
    stream: Stream<T, Timed>,
    /// The windows in one stage, once their late records are asked for.
    whole: OnceCell<WindowedStream<(), T>>,
}

impl<T: Record> AllWindowedStream<T> {
    /// The records that came when all their windows had fired. Ask before the aggregate is given. The records then go
    /// through the exchange one by one, because only the last subtask can tell which are late.
    pub fn late(&self) -> Stream<T, Timed> {
        self.whole.get_or_init(|| self.in_one_stage()).late()
    }

    /// Combines the records of each window; the window emits the result.
    pub fn reduce(self, name: &str, combine: impl Fn(&mut T, T) + Send + Sync + 'static) -> Stream<T, Timed> {
        self.reduce_then(name, combine, |_, reduced| Some(reduced))
    }

    /// Combines the records of each window; a function of window and result says what is emitted.
    pub fn reduce_then<I>(
        self,
        name: &str,
        combine: impl Fn(&mut T, T) + Send + Sync + 'static,
        then: impl Fn(Window, T) -> I + Send + Sync + 'static,
    ) -> Stream<I::Item, Timed>
    where
        I: IntoIterator<Item: Record> + 'static,
    {
        let then = move |_: &(), window, reduced: Option<T>| {
            reduced.map(|reduced| then(window, reduced)).into_iter().flatten()
        };
        self.operator(name, AggregateThen::new(Reducing::new(combine), then))
    }

    /// Folds the records of each window; the window emits the result.
    pub fn aggregate<A>(self, name: &str, aggregate: A) -> Stream<A::Out, Timed>
    where
        A: Aggregate<In = T, Out: Record> + Sync,
    {
        self.aggregate_then(name, aggregate, |_, out| Some(out))
    }

    /// Folds the records of each window; a function of window and result says what is emitted.
    pub fn aggregate_then<A, I>(
        self,
        name: &str,
        aggregate: A,
        then: impl Fn(Window, A::Out) -> I + Send + Sync + 'static,
    ) -> Stream<I::Item, Timed>
    where
        A: Aggregate<In = T> + Sync,
        I: IntoIterator<Item: Record> + 'static,
    {
        let then = move |_: &(), window, out| then(window, out);
        self.operator(name, AggregateThen::new(aggregate, then))
    }

    /// Calls a function with the window and all its records, which are kept until then.
    pub fn process<I>(
        self,
        name: &str,
        function: impl Fn(Window, Vec<T>) -> I + Send + Sync + 'static,
    ) -> Stream<I::Item, Timed>
    where
        I: IntoIterator<Item: Record> + 'static,
    {
        let then = move |_: &(), window, records| function(window, records);
        self.operator(name, AggregateThen::new(Collecting::default(), then))
    }

    fn in_one_stage(&self) -> WindowedStream<(), T> {
        self.stream.clone().key_by(|_| ()).window(self.spec)
    }

    fn operator<F: WindowFunction<Key = (), In = T>>(
        mut self,
        name: &str,
        function: F,
    ) -> Stream<F::Out, Timed> {
        let (whole, slicing) = (self.whole.take(), Slicing::of(self.spec));
        let (None, Some(slicing)) = (&whole, slicing) else {
            // Sessions of parts are not parts of sessions: they are found in one stage.
            let whole = whole.unwrap_or_else(|| self.in_one_stage());
            return whole.summing(name, function).parallelism(1);
        };
        let function = Arc::new(function);
        let merging = Arc::new(Merging(Arc::clone(&function)));
        let parts: Stream<Partial<(), T, F::Acc>, Timed> =
            self.stream.stage("pre-aggregate", move || PreAggregate::new(Arc::clone(&function), slicing));
        let upstreams = parts
            .upstreams
            .iter()
            .map(|upstream| partitioned::<Partial<(), T, F::Acc>>(upstream.node, Partitioning::Hash))
            .collect();
        let key: Arc<dyn KeyFunction<(), Partial<(), T, F::Acc>>> = Arc::new(|_: &Partial<(), T, F::Acc>| ());
        let mut node = window_node(&parts.graph, name, self.spec, merging, key);
        node.parallelism = Some(1);
        Place::new(parts.graph, upstreams).fill::<F::Out, T>(name, node)
    }
}

//! A keyed stream in windows: what can be done with them, and their late records.

use std::cell::Cell;
use std::sync::Arc;

use tidegate_runtime::element::Record;
use tidegate_runtime::error::{Error, Result};
use tidegate_runtime::exchange::Partitioning;
use tidegate_runtime::graph::{Node, NodeIndex, NodeKind, Upstream};
use tidegate_runtime::key::Key;
use tidegate_runtime::operator::{Operator, Stage};
use tidegate_runtime::state::Aggregate;

use crate::builder::{GraphBuilder, node, partitioned, port, upstream};
use crate::event_time::{HasEventTime, Time, Timed};
use crate::key::KeyFunction;
use crate::keyed::KeyedStream;
use crate::stream::Stream;
use crate::window::assigner::Slicing;
use crate::window::combine::{Combine, Grouping, Merging, Panes, Partial, Spans, partial_key};
use crate::window::function::{AggregateThen, Collecting, Reducing, WindowFunction};
use crate::window::kind::WindowKind;
use crate::window::{SessionWindows, SlicedWindows, Window, WindowOperator, WindowSpec};

impl<K: Key, T: Record, Timing: Time> KeyedStream<K, T, Timing> {
    /// Puts the records of each key into event-time windows: `Tumbling`, `Sliding` or `Session`. They are aligned to
    /// the epoch and fire when the watermark comes to their end; what they emit has the timestamp `end - 1`.
    ///
    /// A record is late if all its windows have fired; `late()` has those, else they are only counted. One that is
    /// late for some of its sliding windows is left out of those.
    ///
    /// ```
    /// # use tidegate_operators::{Dataflow, Sliding, WatermarkStrategy, seconds, testing::numbers};
    /// let flow = Dataflow::new("highest-in-a-window");
    /// flow.source("numbers", numbers(0..100))
    ///     .event_time(WatermarkStrategy::monotonic(), |n| *n as i64 * 100)
    ///     .key_by(|n| n % 10)
    ///     .window(Sliding::of(seconds(10)).every(seconds(2)))
    ///     .reduce("highest", |high, n| *high = n.max(*high))
    ///     .print();
    /// assert!(flow.explain()?.contains("sliding window of 10s every 2s"));
    /// # Ok::<(), tidegate_runtime::Error>(())
    /// ```
    pub fn window(self, window: impl Into<WindowSpec>) -> WindowedStream<K, T>
    where
        Timing: HasEventTime,
    {
        let spec = window.into();
        spec.problem().into_iter().for_each(|problem| self.graph.problem(problem));
        WindowedStream { spec, place: Place::new(self.graph, self.upstreams), key: self.key }
    }
}

/// Where a window operator will be in the graph: taken early if its late records are asked for before it is known
/// what it does.
pub(crate) struct Place {
    pub(crate) graph: GraphBuilder,
    upstreams: Vec<Upstream>,
    taken: Cell<Option<NodeIndex>>,
}

impl Place {
    pub(crate) fn new(graph: GraphBuilder, upstreams: Vec<Upstream>) -> Self {
        Self { graph, upstreams, taken: Cell::new(None) }
    }

    fn is_taken(&self) -> bool {
        self.taken.get().is_some()
    }

    /// The place behind a stage that is fused in front of the exchange by key.
    fn behind<T: Record, U: Record, S: Stage + 'static>(
        self,
        description: &str,
        make: impl Fn() -> S + Send + Sync + 'static,
    ) -> Self {
        let fused = self.upstreams.iter().map(|keyed| upstream::<T>(keyed.node, keyed.port)).collect();
        let stage: Stream<U, Timed> = Stream::<T, Timed>::of(self.graph, fused).stage(description, make);
        let keyed = stage.upstreams.iter().map(|stage| partitioned::<U>(stage.node, Partitioning::Hash));
        Self { upstreams: keyed.collect(), graph: stage.graph, taken: self.taken }
    }

    pub(crate) fn late<T: Record>(&self) -> Stream<T, Timed> {
        let index = self.taken.get().unwrap_or_else(|| {
            let missing = NodeKind::Operator(Arc::new(no_aggregate));
            self.graph.add(node("window without an aggregate", missing), &[&self.upstreams])
        });
        self.taken.set(Some(index));
        Stream::of(self.graph.clone(), vec![upstream::<T>(index, 1)])
    }

    /// Puts the operator in its place. Port 0 is `Out`, port 1 what is late.
    pub(crate) fn fill<Out: Record, Late: Record>(self, name: &str, mut node: Node) -> Stream<Out, Timed> {
        node.name = Some(name.to_owned());
        node.outputs = vec![port::<Out>("main"), port::<Late>("late")];
        let index = match self.taken.get() {
            Some(index) => {
                *self.graph.graph().node_mut(index) = node;
                index
            }
            None => self.graph.add(node, &[&self.upstreams]),
        };
        Stream::of(self.graph, vec![upstream::<Out>(index, 0)])
    }
}

fn no_aggregate() -> Result<Box<dyn Operator>> {
    let problem = "late records of a window were asked for, but nothing is done with the window: call `.aggregate(..)` or the like";
    Err(Error::Graph { problem: problem.to_owned() })
}

/// A keyed stream in windows; see `KeyedStream::window`.
#[must_use = "windows without an aggregate do nothing"]
pub struct WindowedStream<K, T> {
    spec: WindowSpec,
    place: Place,
    key: Arc<dyn KeyFunction<K, T>>,
}

impl<K: Key, T: Record> WindowedStream<K, T> {
    /// The records that came when all their windows had fired. Ask before the aggregate is given.
    ///
    /// ```
    /// # use tidegate_operators::{Dataflow, Tumbling, WatermarkStrategy, seconds, testing::numbers};
    /// # let flow = Dataflow::new("late");
    /// # let keyed = flow.source("numbers", numbers(0..100))
    /// #     .event_time(WatermarkStrategy::monotonic(), |n| *n as i64 * 100).key_by(|n| n % 10);
    /// let windowed = keyed.window(Tumbling::of(seconds(10)));
    /// let late = windowed.late();
    /// windowed.reduce("highest", |high, n| *high = n.max(*high)).print();
    /// late.print();
    /// # flow.explain()?;
    /// # Ok::<(), tidegate_runtime::Error>(())
    /// ```
    pub fn late(&self) -> Stream<T, Timed> {
        self.place.late()
    }

    /// Combines the records of each window; the window emits the result.
    pub fn reduce(self, name: &str, combine: impl Fn(&mut T, T) + Send + Sync + 'static) -> Stream<T, Timed> {
        self.reduce_then(name, combine, |_, _, reduced| Some(reduced))
    }

    /// Combines the records of each window; a function of key, window and result says what is emitted.
    pub fn reduce_then<I>(
        self,
        name: &str,
        combine: impl Fn(&mut T, T) + Send + Sync + 'static,
        then: impl Fn(&K, Window, T) -> I + Send + Sync + 'static,
    ) -> Stream<I::Item, Timed>
    where
        I: IntoIterator<Item: Record> + 'static,
    {
        let then = move |key: &K, window, reduced: Option<T>| {
            reduced.map(|reduced| then(key, window, reduced)).into_iter().flatten()
        };
        self.summing(name, AggregateThen::new(Reducing::new(combine), then))
    }

    /// Folds the records of each window; the window emits the result.
    pub fn aggregate<A>(self, name: &str, aggregate: A) -> Stream<A::Out, Timed>
    where
        A: Aggregate<In = T, Out: Record> + Sync,
    {
        self.aggregate_then(name, aggregate, |_, _, out| Some(out))
    }

    /// Folds the records of each window; a function of key, window and result says what is emitted: an `Option`,
    /// `Vec` or array.
    ///
    /// ```
    /// # use tidegate_operators::{Aggregate, Dataflow, Tumbling, WatermarkStrategy, seconds, testing::numbers};
    /// struct Count;
    /// impl Aggregate for Count {
    ///     type In = u64;
    ///     type Acc = u64;
    ///     type Out = u64;
    ///     fn create(&self) -> u64 { 0 }
    ///     fn add(&self, count: &mut u64, _: u64) { *count += 1; }
    ///     fn merge(&self, count: &mut u64, other: u64) { *count += other; }
    ///     fn finish(&self, count: &u64) -> u64 { *count }
    /// }
    /// let flow = Dataflow::new("busy-keys");
    /// flow.source("numbers", numbers(0..100))
    ///     .event_time(WatermarkStrategy::monotonic(), |n| *n as i64 * 100)
    ///     .key_by(|n| n % 10)
    ///     .window(Tumbling::of(seconds(10)))
    ///     .aggregate_then("busy", Count, |key, window, count| (count > 5).then_some((*key, window, count)))
    ///     .print();
    /// # flow.explain()?;
    /// # Ok::<(), tidegate_runtime::Error>(())
    /// ```
    pub fn aggregate_then<A, I>(
        self,
        name: &str,
        aggregate: A,
        then: impl Fn(&K, Window, A::Out) -> I + Send + Sync + 'static,
    ) -> Stream<I::Item, Timed>
    where
        A: Aggregate<In = T> + Sync,
        I: IntoIterator<Item: Record> + 'static,
    {
        self.summing(name, AggregateThen::new(aggregate, then))
    }

    /// Calls a function with key, window and all records of the window, which are kept until then; in the order of
    /// arrival within each slice of the window.
    pub fn process<I>(
        self,
        name: &str,
        function: impl Fn(&K, Window, Vec<T>) -> I + Send + Sync + 'static,
    ) -> Stream<I::Item, Timed>
    where
        I: IntoIterator<Item: Record> + 'static,
    {
        self.operator(name, AggregateThen::new(Collecting::default(), function))
    }

    /// The operator of a function that needs every record.
    fn operator<F: WindowFunction<Key = K, In = T>>(self, name: &str, function: F) -> Stream<F::Out, Timed> {
        let node = window_node(&self.place.graph, name, self.spec, Arc::new(function), self.key);
        self.place.fill::<F::Out, F::Late>(name, node)
    }

    /// The operator of a function of sums, which are begun before the exchange unless late records are asked for:
    /// those must arrive one by one.
    pub(crate) fn summing<F: WindowFunction<Key = K, In = T>>(
        self,
        name: &str,
        function: F,
    ) -> Stream<F::Out, Timed> {
        if self.place.is_taken() {
            return self.operator(name, function);
        }
        match Slicing::of(self.spec) {
            Some(slicing) => self.combined(name, function, Panes::new(slicing)),
            None => {
                let gap = self.spec.gap();
                self.combined(name, function, Spans::new(gap))
            }
        }
    }

    fn combined<F, G>(self, name: &str, function: F, grouping: G) -> Stream<F::Out, Timed>
    where
        F: WindowFunction<Key = K, In = T>,
        G: Grouping,
    {
        let (function, key) = (Arc::new(function), Arc::clone(&self.key));
        let merging = Arc::new(Merging(Arc::clone(&function)));
        let place = self.place.behind::<T, Partial<K, T, F::Acc>, _>("pre-aggregate", move || {
            Combine::new(Arc::clone(&function), Arc::clone(&key), grouping.clone())
        });
        let node = window_node(&place.graph, name, self.spec, merging, partial_key(self.key));
        place.fill::<F::Out, F::Late>(name, node)
    }
}

/// The operator of a specification.
pub(crate) fn window_node<F: WindowFunction>(
    graph: &GraphBuilder,
    name: &str,
    spec: WindowSpec,
    function: Arc<F>,
    key: Arc<dyn KeyFunction<F::Key, F::In>>,
) -> Node {
    let mut node = node(&spec.description(), NodeKind::Operator(Arc::new(no_aggregate)));
    match Slicing::of(spec) {
        Some(slicing) => fill_node(&mut node, (graph, name), function, SlicedWindows::new(slicing), key),
        None => fill_node(&mut node, (graph, name), function, SessionWindows::new(spec.gap()), key),
    }
    node
}

fn fill_node<F: WindowFunction, W: WindowKind>(
    node: &mut Node,
    (graph, name): (&GraphBuilder, &str),
    function: Arc<F>,
    kind: W,
    key: Arc<dyn KeyFunction<F::Key, F::In>>,
) {
    let make = move || -> Result<Box<dyn Operator>> {
        Ok(Box::new(WindowOperator::new(Arc::clone(&function), kind.clone(), Arc::clone(&key))))
    };
    node.kind = NodeKind::Operator(Arc::new(make));
    node.states = graph.declare(name, WindowOperator::<F, W>::declare);
}

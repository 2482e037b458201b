//! A stream: where records come from, and what is the same for every kind of operator that takes them.

use std::marker::PhantomData;
use std::sync::Arc;

use tidegate_runtime::element::Record;
use tidegate_runtime::exchange::Partitioning;
use tidegate_runtime::graph::{NodeKind, Upstream};
use tidegate_runtime::operator::{Stage, StageFactory};

use crate::builder::{GraphBuilder, node, port, upstream};
use crate::event_time::{Time, Untimed};
use crate::operator::relay::Relay;

/// A stream of `T`s. Clone it to send every record to several consumers.
///
/// Operators that keep no state (`map`, `filter`, `flat_map`, ...) are fused into the subtask before them.
#[must_use = "a stream without a consumer does nothing: end it with `.sink(..)`"]
pub struct Stream<T, Time = Untimed> {
    pub(crate) graph: GraphBuilder,
    pub(crate) upstreams: Vec<Upstream>,
    types: PhantomData<fn() -> (T, Time)>,
}

impl<T, Time> Clone for Stream<T, Time> {
    fn clone(&self) -> Self {
        Self { graph: self.graph.clone(), upstreams: self.upstreams.clone(), types: PhantomData }
    }
}

impl<T: Record, Timing: Time> Stream<T, Timing> {
    pub(crate) fn of(graph: GraphBuilder, upstreams: Vec<Upstream>) -> Self {
        Self { graph, upstreams, types: PhantomData }
    }

    /// Adds a fused stage behind this stream.
    pub(crate) fn stage<U: Record, After: Time, S: Stage + 'static>(
        self,
        description: &str,
        make: impl Fn() -> S + Send + Sync + 'static,
    ) -> Stream<U, After> {
        let stream = self.relayed();
        let factory: StageFactory = Arc::new(move || Box::new(make()));
        let mut node = node(description, NodeKind::Stage(factory));
        node.outputs = vec![port::<U>("main")];
        let index = stream.graph.add(node, &[&stream.upstreams]);
        Stream::of(stream.graph, vec![upstream::<U>(index, 0)])
    }

    /// A stage can't be fused through an explicit partitioning: a relay takes the records there.
    fn relayed(self) -> Self {
        if self.upstreams.iter().all(|upstream| upstream.partitioning.is_none()) {
            return self;
        }
        let make: tidegate_runtime::operator::OperatorFactory =
            Arc::new(|| Ok(Box::new(Relay::<T>::new(Timing::TIMING))));
        let mut node = node("relay", NodeKind::Relay(make));
        node.outputs = vec![port::<T>("main")];
        let index = self.graph.add(node, &[&self.upstreams]);
        Self::of(self.graph, vec![upstream::<T>(index, 0)])
    }

    fn with_partitioning(mut self, partitioning: Partitioning) -> Self {
        for upstream in &mut self.upstreams {
            upstream.partitioning = Some(partitioning);
        }
        self
    }

    /// Divides records over the subtasks of the next operator in turn, batch by batch.
    pub fn rebalance(self) -> Self {
        self.with_partitioning(Partitioning::Rebalance)
    }

    /// Sends every record to every subtask of the next operator.
    pub fn broadcast(self) -> Self {
        self.with_partitioning(Partitioning::Broadcast)
    }

    /// Sends records to a subtask of their own, without dividing them: what follows is not fused to what comes
    /// before, so both can work at the same time.
    pub fn forward(self) -> Self {
        self.with_partitioning(Partitioning::Forward)
    }

    /// All records of both streams, in no particular order between the two.
    ///
    /// ```
    /// # use tidegate_operators::{Dataflow, testing::numbers};
    /// let flow = Dataflow::new("both");
    /// let low = flow.source("low", numbers(0..10));
    /// let high = flow.source("high", numbers(90..100));
    /// low.union(high).map(|n| n * 2).print();
    /// # flow.explain()?;
    /// # Ok::<(), tidegate_runtime::Error>(())
    /// ```
    pub fn union(mut self, other: Stream<T, Timing>) -> Self {
        self.graph.check_same(&other.graph);
        self.upstreams.extend(other.upstreams);
        self
    }

    /// Runs the operator that this stream comes from with `subtasks` subtasks instead of the job's parallelism.
    ///
    /// A fused stage runs in the subtasks of what it is fused to; behind `.rebalance()` it has its own.
    pub fn parallelism(self, subtasks: u32) -> Self {
        let problem = {
            let mut graph = self.graph.graph();
            match self.upstreams.as_slice() {
                [one] => crate::naming::set_parallelism(&mut graph, one.node, subtasks),
                _ => Some("a union has no parallelism: set that of its inputs".to_owned()),
            }
        };
        problem.into_iter().for_each(|problem| self.graph.problem(problem));
        self
    }

    /// Names the operator that this stream comes from, for the plan and the figures. Stateful operators are named
    /// where they are made.
    pub fn named(self, name: &str) -> Self {
        let problem = {
            let mut graph = self.graph.graph();
            match self.upstreams.as_slice() {
                [one] => crate::naming::set_name(&mut graph, one.node, name),
                _ => Some(format!("a union can't be named `{name}`: name its inputs")),
            }
        };
        problem.into_iter().for_each(|problem| self.graph.problem(problem));
        self
    }
}

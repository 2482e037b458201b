//! A dataflow: the graph that sources begin and sinks end, its name and its settings.

use std::sync::Arc;

use tidegate_runtime::config::JobConfig;
use tidegate_runtime::error::Result;
use tidegate_runtime::graph::{Graph, NodeKind, Plan};
use tidegate_runtime::source::{DeadLetter, Source};

use crate::builder::{GraphBuilder, node, port, upstream};
use crate::event_time::Untimed;
use crate::stream::Stream;

/// A dataflow under construction: sources add streams to it, streams add operators.
///
/// ```
/// use tidegate_operators::Dataflow;
/// # use tidegate_operators::testing::numbers;
/// let flow = Dataflow::new("even-numbers");
/// flow.source("numbers", numbers(0..10)).filter(|n| n % 2 == 0).print();
/// println!("{}", flow.explain()?);
/// # Ok::<(), tidegate_runtime::Error>(())
/// ```
pub struct Dataflow {
    graph: GraphBuilder,
    config: Option<JobConfig>,
}

impl Dataflow {
    /// An empty dataflow. The name is the job's: it is the default of the state directory's name.
    pub fn new(name: impl Into<String>) -> Self {
        Self { graph: GraphBuilder::new(name.into()), config: None }
    }

    /// With settings; without them they come from the environment, else from the defaults.
    #[must_use]
    pub fn with_config(self, config: JobConfig) -> Self {
        Self { config: Some(config), ..self }
    }

    /// The settings given with `with_config`.
    pub fn config(&self) -> Option<&JobConfig> {
        self.config.as_ref()
    }

    /// The job's name.
    pub fn name(&self) -> String {
        self.graph.graph().name.clone()
    }

    /// Adds a source. Its name is unique in the graph and the identity of its position.
    pub fn source<S: Source>(&self, name: &str, source: S) -> Stream<S::Record> {
        self.source_with_dead_letters(name, source).0
    }

    /// Adds a source whose policy sends what it can't read to a stream of its own.
    pub fn source_with_dead_letters<S: Source>(
        &self,
        name: &str,
        source: S,
    ) -> (Stream<S::Record>, Stream<DeadLetter>) {
        let mut node = node("source", NodeKind::Source(Arc::new(source)));
        node.name = Some(name.to_owned());
        node.outputs = vec![port::<S::Record>("main"), port::<DeadLetter>("dead-letters")];
        let index = self.graph.add(node, &[]);
        (
            Stream::<S::Record, Untimed>::of(self.graph.clone(), vec![upstream::<S::Record>(index, 0)]),
            Stream::<DeadLetter, Untimed>::of(self.graph.clone(), vec![upstream::<DeadLetter>(index, 1)]),
        )
    }

    /// The graph as it is now.
    pub fn graph(&self) -> Graph {
        self.graph.graph().clone()
    }

    /// The plan in words: operators, parallelism, edges and how they route, states, fused stages, memory bound.
    ///
    /// # Errors
    /// Everything that is wrong with the graph, or a setting out of its range.
    pub fn explain(&self) -> Result<String> {
        let config = match &self.config {
            Some(config) => config.clone(),
            None => JobConfig::from_env()?,
        };
        Ok(Plan::of(&self.graph(), &config)?.explain())
    }

    /// Takes the graph and the settings out, for what runs them.
    pub fn into_parts(self) -> (Graph, Option<JobConfig>) {
        (std::mem::take(&mut *self.graph.graph()), self.config)
    }
}

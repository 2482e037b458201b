//! The graph as the user wrote it: nodes, typed edges, and what is wrong with it.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::exchange::{Partitioning, RouterFactory};
use crate::id::Lineage;
use crate::operator::{OperatorFactory, StageFactory};
use crate::sink::RunStart;
use crate::source::ErasedSource;

/// Position of a node in its graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct NodeIndex(pub usize);

/// A state that an operator declares.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateDeclaration {
    /// Unique within the operator.
    pub name: String,
    /// `value`, `list`, `map`, `reducing`, `aggregating`, `timers`, ...
    pub kind: String,
    /// The Rust types, for people and for the check that a state directory belongs to the plan.
    pub types: String,
}

/// An output port of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutputPort {
    /// `main`, `late`, `dead-letters`, or a side output's name.
    pub name: String,
    /// The record type.
    pub type_name: &'static str,
}

/// What is asked of a sink before a run, and what makes it another one.
pub trait SinkChecks: Send + Sync {
    /// See `Sink::check`.
    ///
    /// # Errors
    /// See `Sink::check`.
    fn check(&self, lineage: Lineage, start: RunStart) -> Result<()>;
    /// See `Sink::identity`.
    fn identity(&self) -> Vec<(String, String)>;
}

/// What a node is.
#[derive(Clone)]
pub enum NodeKind {
    /// It reads splits. Ports: 0 records, 1 dead letters.
    Source(Arc<dyn ErasedSource>),
    /// It has inputs and a subtask of its own.
    Operator(OperatorFactory),
    /// An operator without outputs.
    Sink(OperatorFactory, Arc<dyn SinkChecks>),
    /// A stateless transformation: fused into the subtask of each of its upstreams.
    Stage(StageFactory),
    /// A stage that must not be fused: it stands behind an explicit partitioning. The factory makes an operator that
    /// passes records on.
    Relay(OperatorFactory),
}

/// A node.
#[derive(Clone)]
pub struct Node {
    /// Mandatory on sources, operators and sinks; the identity of their state.
    pub name: Option<String>,
    /// `map`, `filter`, `window`, ...: for people.
    pub description: String,
    /// What it is.
    pub kind: NodeKind,
    /// Subtasks, if not the job's.
    pub parallelism: Option<u32>,
    /// Its states.
    pub states: Vec<StateDeclaration>,
    /// Its outputs.
    pub outputs: Vec<OutputPort>,
}

/// Where a stream comes from: an output port, and how its records are to be divided.
#[derive(Clone, Copy)]
pub struct Upstream {
    /// The node.
    pub node: NodeIndex,
    /// Its output port.
    pub port: usize,
    /// How records are divided; `None`: as suits the consumer (fused, forward, or in turn).
    pub partitioning: Option<Partitioning>,
    /// Makes the router of this edge's record type.
    pub router: RouterFactory,
}

/// An edge: one input of a node.
#[derive(Clone, Copy)]
pub struct Edge {
    /// From where.
    pub from: Upstream,
    /// To which node.
    pub to: NodeIndex,
    /// To which of its input ports.
    pub to_port: usize,
}

/// The graph as the user wrote it.
#[derive(Clone, Default)]
pub struct Graph {
    /// The job's name.
    pub name: String,
    /// In order of declaration; edges go from lower to higher positions.
    pub nodes: Vec<Node>,
    /// All edges.
    pub edges: Vec<Edge>,
    /// What the typed API could not refuse by type; reported when the graph is run or explained.
    pub problems: Vec<String>,
}

impl Graph {
    /// An empty graph.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), ..Self::default() }
    }

    /// Adds a node with its inputs, one list of upstreams for each input port.
    pub fn add(&mut self, node: Node, inputs: &[&[Upstream]]) -> NodeIndex {
        let index = NodeIndex(self.nodes.len());
        self.nodes.push(node);
        for (to_port, upstreams) in inputs.iter().enumerate() {
            for from in *upstreams {
                self.edges.push(Edge { from: *from, to: index, to_port });
            }
        }
        index
    }

    /// The node at an index.
    pub fn node(&self, index: NodeIndex) -> &Node {
        &self.nodes[index.0]
    }

    /// The node at an index, to change it.
    pub fn node_mut(&mut self, index: NodeIndex) -> &mut Node {
        &mut self.nodes[index.0]
    }
}

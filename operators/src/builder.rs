//! The graph while it is being written: shared by the dataflow and all its streams.

use std::any::type_name;
use std::sync::{Arc, Mutex, MutexGuard};

use tidegate_runtime::element::Record;
use tidegate_runtime::error::Result;
use tidegate_runtime::exchange::{Partitioning, typed_router};
use tidegate_runtime::graph::{Graph, Node, NodeIndex, NodeKind, OutputPort, StateDeclaration, Upstream};
use tidegate_runtime::operator::{Operator, OperatorFactory};
use tidegate_runtime::state::{StateKind, StateRegistry};
use tidegate_runtime::sync::lock;

/// A graph that streams add nodes to.
#[derive(Clone)]
pub(crate) struct GraphBuilder(Arc<Mutex<Graph>>);

impl GraphBuilder {
    pub(crate) fn new(name: String) -> Self {
        Self(Arc::new(Mutex::new(Graph::new(name))))
    }

    /// The graph; don't call anything of a stream while it is held.
    pub(crate) fn graph(&self) -> MutexGuard<'_, Graph> {
        lock(&self.0)
    }

    pub(crate) fn add(&self, node: Node, inputs: &[&[Upstream]]) -> NodeIndex {
        self.graph().add(node, inputs)
    }

    /// Notes what the types could not refuse; it is reported when the graph is run or explained.
    pub(crate) fn problem(&self, problem: impl Into<String>) {
        self.graph().problems.push(problem.into());
    }

    /// Notes a problem if the other builder is of another dataflow.
    pub(crate) fn check_same(&self, other: &GraphBuilder) {
        if !Arc::ptr_eq(&self.0, &other.0) {
            let (mine, its) = (self.graph().name.clone(), other.graph().name.clone());
            self.problem(format!(
                "streams of two dataflows, `{mine}` and `{its}`, can't be combined: declare both in one"
            ));
        }
    }

    /// What an operator's states are, by making them without a store.
    pub(crate) fn declare(
        &self,
        operator: &str,
        open: impl FnOnce(&mut StateRegistry) -> Result<()>,
    ) -> Vec<StateDeclaration> {
        let mut registry = StateRegistry::without_store();
        if let Err(error) = open(&mut registry) {
            self.problem(format!("`{operator}`: {error}"));
        }
        let declarations = registry.specs().iter().map(|spec| StateDeclaration {
            name: spec.name.clone(),
            kind: kind_name(spec.kind).to_owned(),
            types: spec.types.join(" -> "),
        });
        declarations.collect()
    }
}

fn kind_name(kind: StateKind) -> &'static str {
    match kind {
        StateKind::Table => "table",
        StateKind::Value => "value",
        StateKind::List => "list",
        StateKind::Map => "map",
        StateKind::Reducing => "reducing",
        StateKind::Aggregating => "aggregating",
        StateKind::Timers => "timers",
    }
}

/// A node that is an operator, before its name, parallelism and states are known.
pub(crate) fn operator_node<O: Operator + 'static>(
    description: &str,
    make: impl Fn() -> O + Send + Sync + 'static,
) -> Node {
    let factory: OperatorFactory = Arc::new(move || Ok(Box::new(make())));
    node(description, NodeKind::Operator(factory))
}

/// A node with nothing but its kind.
pub(crate) fn node(description: &str, kind: NodeKind) -> Node {
    Node {
        name: None,
        description: description.to_owned(),
        kind,
        parallelism: None,
        states: Vec::new(),
        outputs: Vec::new(),
    }
}

/// An output port of `T`s.
pub(crate) fn port<T>(name: &str) -> OutputPort {
    OutputPort { name: name.to_owned(), type_name: type_name::<T>() }
}

/// An output port as a source of edges, divided as suits the consumer.
pub(crate) fn upstream<T: Record>(node: NodeIndex, port: usize) -> Upstream {
    Upstream { node, port, partitioning: None, router: typed_router::<T> }
}

/// The same, divided in a given way.
pub(crate) fn partitioned<T: Record>(node: NodeIndex, partitioning: Partitioning) -> Upstream {
    Upstream { partitioning: Some(partitioning), ..upstream::<T>(node, 0) }
}

//! The plan: which nodes are fused into which vertex, how many subtasks each has, and which restart together.

use std::collections::{BTreeMap, BTreeSet};

use super::{Edge, Graph, Node, NodeIndex, NodeKind, StateDeclaration};
use crate::config::JobConfig;
use crate::error::{Error, Result};
use crate::exchange::{Partitioning, RouterFactory};
use crate::id::{OperatorId, RegionId, SubtaskId};
use crate::key::KeyGroups;

/// What runs: vertices with subtasks, the edges between them, and regions.
#[derive(Clone)]
pub struct Plan {
    /// The job's name.
    pub job: String,
    /// In topological order; `OperatorId(i)` is `vertices[i]`.
    pub vertices: Vec<Vertex>,
    /// Between vertices.
    pub edges: Vec<PlanEdge>,
    /// Connected components: they restart together.
    pub regions: Vec<Region>,
    /// Key groups of the job.
    pub key_groups: KeyGroups,
    /// Room of every gate.
    pub gate_bytes: usize,
}

/// A source, operator or sink with what is fused to it.
#[derive(Clone)]
pub struct Vertex {
    /// Its id.
    pub id: OperatorId,
    /// Its name.
    pub name: String,
    /// The graph's node at its root.
    pub root: Node,
    /// What is fused behind it, and its edges.
    pub chain: ChainPlan,
    /// Subtasks.
    pub parallelism: u32,
    /// Its inputs, in order of lanes.
    pub inputs: Vec<VertexInput>,
    /// Its region.
    pub region: RegionId,
}

/// Fused stages and outgoing edges of a vertex.
#[derive(Clone, Default)]
pub struct ChainPlan {
    /// In topological order.
    pub nodes: Vec<PlanNode>,
    /// For each output port of the root, the positions in `nodes` that take it.
    pub entries: Vec<Vec<usize>>,
}

/// A node of a chain.
#[derive(Clone)]
pub enum PlanNode {
    /// A fused stage.
    Stage {
        /// The graph's node.
        node: Node,
        /// Positions that take its output.
        next: Vec<usize>,
    },
    /// An edge to another vertex, by position in `Plan::edges`.
    Edge(usize),
}

/// One edge into a vertex.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VertexInput {
    /// Position in `Plan::edges`.
    pub edge: usize,
    /// The input port that it leads to.
    pub port: usize,
    /// The first lane of it in every gate of the vertex.
    pub first_lane: u32,
    /// Lanes of it: one for each producer subtask that sends to a given consumer.
    pub lanes: u32,
}

/// An edge between vertices.
#[derive(Clone, Copy)]
pub struct PlanEdge {
    /// From.
    pub from: OperatorId,
    /// To.
    pub to: OperatorId,
    /// How records are divided.
    pub partitioning: Partitioning,
    /// Makes its routers.
    pub router: RouterFactory,
}

/// The vertices that restart together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Region {
    /// Its id.
    pub id: RegionId,
    /// Its vertices, rising.
    pub vertices: Vec<OperatorId>,
}

impl Plan {
    /// Plans a graph.
    ///
    /// # Errors
    /// Everything that is wrong with the graph, in one error.
    pub fn of(graph: &Graph, config: &JobConfig) -> Result<Self> {
        config.validate()?;
        let problems = problems(graph, config);
        if !problems.is_empty() {
            return Err(Error::Graph { problem: problems.join("; ") });
        }
        let mut planner = Planner::new(graph, config);
        planner.vertices();
        planner.chains();
        planner.inputs();
        let vertices = planner.vertices;
        let edges = planner.edges;
        let mut plan = Self {
            job: graph.name.clone(),
            regions: Vec::new(),
            key_groups: KeyGroups::new(config.key_groups.unwrap_or(KeyGroups::DEFAULT.count())),
            gate_bytes: config.gate_bytes.unwrap_or(JobConfig::GATE_BYTES_DEFAULT),
            vertices,
            edges,
        };
        plan.find_regions();
        Ok(plan)
    }

    /// The vertex of an operator.
    pub fn vertex(&self, operator: OperatorId) -> &Vertex {
        &self.vertices[operator.0 as usize]
    }

    /// All subtasks of a region, in id order.
    pub fn subtasks(&self, region: RegionId) -> Vec<SubtaskId> {
        self.regions[region.0 as usize]
            .vertices
            .iter()
            .flat_map(|operator| {
                let parallelism = self.vertex(*operator).parallelism;
                (0..parallelism).map(|index| SubtaskId { operator: *operator, index })
            })
            .collect()
    }

    /// Most bytes that all gates may hold together: each its budget, and one batch a lane.
    pub fn gate_bytes_max(&self) -> usize {
        self.vertices
            .iter()
            .filter(|vertex| !vertex.inputs.is_empty())
            .map(|vertex| vertex.parallelism as usize * self.gate_bytes * 2)
            .sum()
    }

    /// What makes this plan another plan than one whose state is found: (label, value) pairs.
    pub fn identity(&self) -> Vec<(String, String)> {
        let mut parts = vec![
            ("job".to_owned(), self.job.clone()),
            ("key_groups".to_owned(), self.key_groups.count().to_string()),
        ];
        for vertex in &self.vertices {
            let label = |what: &str| format!("{}.{what}", vertex.name);
            parts.push((label("kind"), vertex.kind().to_owned()));
            parts.push((label("parallelism"), vertex.parallelism.to_string()));
            for StateDeclaration { name, kind, types } in &vertex.root.states {
                parts.push((label(&format!("state.{name}")), format!("{kind} {types}")));
            }
            let options = match &vertex.root.kind {
                NodeKind::Source(source) => source.identity(),
                NodeKind::Sink(_, checks) => checks.identity(),
                NodeKind::Operator(_) | NodeKind::Stage(_) | NodeKind::Relay(_) => Vec::new(),
            };
            parts.extend(options.into_iter().map(|(option, value)| (label(&option), value)));
        }
        for edge in &self.edges {
            let from = &self.vertex(edge.from).name;
            let to = &self.vertex(edge.to).name;
            parts.push((format!("{from} -> {to}"), format!("{:?}", edge.partitioning)));
        }
        parts
    }

    fn find_regions(&mut self) {
        let mut region_of: Vec<usize> = (0..self.vertices.len()).collect();
        for edge in &self.edges {
            let (a, b) = (region_of[edge.from.0 as usize], region_of[edge.to.0 as usize]);
            let (low, high) = (a.min(b), a.max(b));
            region_of.iter_mut().filter(|region| **region == high).for_each(|region| *region = low);
        }
        let mut members: BTreeMap<usize, Vec<OperatorId>> = BTreeMap::new();
        for (vertex, region) in region_of.iter().enumerate() {
            members.entry(*region).or_default().push(OperatorId(vertex as u32));
        }
        for (index, vertices) in members.into_values().enumerate() {
            let id = RegionId(index as u32);
            for vertex in &vertices {
                self.vertices[vertex.0 as usize].region = id;
            }
            self.regions.push(Region { id, vertices });
        }
    }
}

impl Vertex {
    /// `source`, `operator`, `sink` or `relay`.
    pub fn kind(&self) -> &'static str {
        match self.root.kind {
            NodeKind::Source(_) => "source",
            NodeKind::Operator(_) => "operator",
            NodeKind::Sink(..) => "sink",
            NodeKind::Stage(_) | NodeKind::Relay(_) => "relay",
        }
    }
}

/// Everything that is wrong with a graph.
fn problems(graph: &Graph, config: &JobConfig) -> Vec<String> {
    let mut problems = graph.problems.clone();
    let mut names = BTreeSet::new();
    let groups = u32::from(config.key_groups.unwrap_or(KeyGroups::DEFAULT.count()));
    for node in &graph.nodes {
        let needs_name = !matches!(node.kind, NodeKind::Stage(_) | NodeKind::Relay(_));
        match node.name.as_deref() {
            None if needs_name => problems.push(format!("a `{}` has no name", node.description)),
            Some("") => problems.push(format!("a `{}` has an empty name", node.description)),
            Some(name) if !names.insert(name) => {
                problems.push(format!("the name `{name}` is used twice: names are the identity of state"));
            }
            _ => {}
        }
        let name = node.name.as_deref().unwrap_or(&node.description);
        match node.parallelism {
            Some(0) => problems.push(format!("`{name}` has a parallelism of 0")),
            Some(parallelism) if parallelism > groups => problems.push(format!(
                "`{name}` has a parallelism of {parallelism}, above the {groups} key groups of the job"
            )),
            _ => {}
        }
    }
    if !graph.nodes.iter().any(|node| matches!(node.kind, NodeKind::Source(_))) {
        problems.push("it has no source".to_owned());
    }
    problems
}

struct Planner<'a> {
    graph: &'a Graph,
    default_parallelism: u32,
    vertices: Vec<Vertex>,
    edges: Vec<PlanEdge>,
    /// Input port of each of `edges`.
    edge_ports: Vec<usize>,
    vertex_of: BTreeMap<NodeIndex, OperatorId>,
}

impl<'a> Planner<'a> {
    fn new(graph: &'a Graph, config: &JobConfig) -> Self {
        Self {
            graph,
            default_parallelism: config.parallelism_or_cores(),
            vertices: Vec::new(),
            edges: Vec::new(),
            edge_ports: Vec::new(),
            vertex_of: BTreeMap::new(),
        }
    }

    fn vertices(&mut self) {
        for (index, node) in self.graph.nodes.iter().enumerate() {
            if matches!(node.kind, NodeKind::Stage(_)) {
                continue;
            }
            let id = OperatorId(self.vertices.len() as u32);
            self.vertex_of.insert(NodeIndex(index), id);
            self.vertices.push(Vertex {
                id,
                name: node.name.clone().unwrap_or_else(|| format!("{}-{index}", node.description)),
                root: node.clone(),
                chain: ChainPlan::default(),
                parallelism: node.parallelism.unwrap_or(self.default_parallelism),
                inputs: Vec::new(),
                region: RegionId(0),
            });
        }
    }

    fn chains(&mut self) {
        for (node, vertex) in self.vertex_of.clone() {
            let outputs = self.graph.node(node).outputs.len();
            let mut chain = ChainPlan::default();
            for port in 0..outputs {
                let entries = self.follow(vertex, node, port, &mut chain);
                chain.entries.push(entries);
            }
            self.vertices[vertex.0 as usize].chain = chain;
        }
    }

    /// Adds what takes a node's output port to the chain, depth first, and returns the positions. A stage with
    /// several upstreams is there once in each: it has no state.
    fn follow(
        &mut self,
        vertex: OperatorId,
        node: NodeIndex,
        port: usize,
        chain: &mut ChainPlan,
    ) -> Vec<usize> {
        let graph = self.graph;
        let taking = graph.edges.iter().filter(|edge| edge.from.node == node && edge.from.port == port);
        let mut positions = Vec::new();
        for edge in taking {
            let position = chain.nodes.len();
            positions.push(position);
            match self.vertex_of.get(&edge.to).copied() {
                Some(to) => chain.nodes.push(PlanNode::Edge(self.edge(vertex, to, edge))),
                None => {
                    let stage = graph.node(edge.to).clone();
                    chain.nodes.push(PlanNode::Stage { node: stage, next: Vec::new() });
                    let following = self.follow(vertex, edge.to, 0, chain);
                    if let PlanNode::Stage { next, .. } = &mut chain.nodes[position] {
                        *next = following;
                    }
                }
            }
        }
        positions
    }

    fn edge(&mut self, from: OperatorId, to: OperatorId, edge: &Edge) -> usize {
        let producers = self.vertices[from.0 as usize].parallelism;
        let consumers = self.vertices[to.0 as usize].parallelism;
        let suited = if producers == consumers { Partitioning::Forward } else { Partitioning::Rebalance };
        let partitioning = match edge.from.partitioning.unwrap_or(suited) {
            Partitioning::Forward => suited,
            other => other,
        };
        self.edges.push(PlanEdge { from, to, partitioning, router: edge.from.router });
        self.edge_ports.push(edge.to_port);
        self.edges.len() - 1
    }

    fn inputs(&mut self) {
        for (index, edge) in self.edges.iter().enumerate() {
            let producers = self.vertices[edge.from.0 as usize].parallelism;
            let consumer = &mut self.vertices[edge.to.0 as usize];
            let first_lane = consumer.inputs.iter().map(|input| input.lanes).sum();
            let lanes = if edge.partitioning == Partitioning::Forward { 1 } else { producers };
            consumer.inputs.push(VertexInput {
                edge: index,
                port: self.edge_ports[index],
                first_lane,
                lanes,
            });
        }
    }
}

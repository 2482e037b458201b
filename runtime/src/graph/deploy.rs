//! From a plan to step machines: the gates, routers, chains and tasks of one attempt of a region.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{NodeKind, Plan, PlanNode, Vertex};
use crate::error::{Error, Result};
use crate::exchange::{Gate, Partitioning, Target, Wakeup};
use crate::id::{AttemptId, LaneId, Lineage, OperatorId, RegionId, SubtaskId};
use crate::metrics::SubtaskStatus;
use crate::state::{StateLease, StateRegistry};
use crate::task::{
    Chain, ChainNode, OperatorParts, OperatorTask, Reporter, SourceParts, SourceTask, TableSnapshots, Task,
    TaskContext,
};
use crate::time::Clock;

/// What one attempt's subtasks have in common.
pub struct DeployContext {
    /// Which attempt.
    pub attempt: AttemptId,
    /// The run.
    pub lineage: Lineage,
    /// Time.
    pub clock: Clock,
    /// Seed of all randomness of the job; each subtask gets one of its own, the same in every attempt.
    pub seed: u64,
}

/// What the owner of the subtasks gives to each.
pub trait SubtaskHooks {
    /// Wakes the subtask.
    fn wakeup(&self, subtask: SubtaskId) -> Wakeup;
    /// Takes its events.
    fn reporter(&self, subtask: SubtaskId) -> Reporter;
    /// Its live figures.
    fn status(&self, subtask: SubtaskId) -> Arc<SubtaskStatus>;
    /// Its states, and the lease that their rows are handed to.
    ///
    /// # Errors
    /// When the store refuses the attempt.
    fn states(&self, vertex: &Vertex, subtask: SubtaskId) -> Result<(StateRegistry, Arc<dyn StateLease>)>;
}

/// A subtask that is ready to be opened.
pub struct DeployedSubtask {
    /// Which.
    pub subtask: SubtaskId,
    /// Its step machine.
    pub task: Task,
    /// Its input; a source has none.
    pub gate: Option<Arc<Gate>>,
    /// The producer of each lane of the gate.
    pub producers: Vec<SubtaskId>,
}

/// Builds all subtasks of a region, in id order.
///
/// # Errors
/// Of factories and of the store.
pub fn deploy(
    plan: &Plan,
    region: RegionId,
    context: &DeployContext,
    hooks: &dyn SubtaskHooks,
) -> Result<Vec<DeployedSubtask>> {
    let subtasks = plan.subtasks(region);
    let wakeups: BTreeMap<SubtaskId, Wakeup> = subtasks.iter().map(|id| (*id, hooks.wakeup(*id))).collect();
    let gates = subtasks
        .iter()
        .filter_map(|id| {
            let lanes: u32 = plan.vertex(id.operator).inputs.iter().map(|input| input.lanes).sum();
            let wakeup = wakeups[id].clone();
            (lanes > 0).then(|| (*id, Gate::new(lanes as usize, plan.gate_bytes, wakeup)))
        })
        .collect();
    let deployment = Deployment { plan, context, hooks, wakeups, gates };
    subtasks.into_iter().map(|subtask| deployment.subtask(subtask)).collect()
}

struct Deployment<'a> {
    plan: &'a Plan,
    context: &'a DeployContext,
    hooks: &'a dyn SubtaskHooks,
    wakeups: BTreeMap<SubtaskId, Wakeup>,
    gates: BTreeMap<SubtaskId, Arc<Gate>>,
}

impl Deployment<'_> {
    fn subtask(&self, subtask: SubtaskId) -> Result<DeployedSubtask> {
        let vertex = self.plan.vertex(subtask.operator);
        let context = self.task_context(vertex, subtask);
        let chain = self.chain(vertex, subtask);
        let gate = self.gates.get(&subtask).cloned();
        let (lane_ports, producers) = self.lanes(vertex, subtask);
        let task = match &vertex.root.kind {
            NodeKind::Source(source) => {
                let source = Arc::clone(source);
                Task::Source(Box::new(SourceTask::new(SourceParts { context, source, chain })))
            }
            NodeKind::Operator(factory) | NodeKind::Sink(factory, _) | NodeKind::Relay(factory) => {
                let gate = gate.clone().ok_or_else(|| no_input(vertex))?;
                let operator = factory()?;
                let (states, lease) = self.hooks.states(vertex, subtask)?;
                let snapshots = TableSnapshots::new(lease);
                let parts = OperatorParts { context, operator, gate, lane_ports, chain, states, snapshots };
                Task::Operator(Box::new(OperatorTask::new(parts)))
            }
            NodeKind::Stage(_) => return Err(no_input(vertex)),
        };
        Ok(DeployedSubtask { subtask, task, gate, producers })
    }

    fn task_context(&self, vertex: &Vertex, subtask: SubtaskId) -> TaskContext {
        let key_groups = self.plan.key_groups;
        TaskContext {
            operator: vertex.name.clone(),
            subtask,
            parallelism: vertex.parallelism,
            attempt: self.context.attempt,
            lineage: self.context.lineage,
            key_groups,
            key_group_range: key_groups.range(subtask.index, vertex.parallelism),
            clock: self.context.clock.clone(),
            wakeup: self.wakeups[&subtask].clone(),
            status: self.hooks.status(subtask),
            reporter: self.hooks.reporter(subtask),
            seed: subtask_seed(self.context.seed, subtask),
        }
    }

    /// The port and the producer of each lane.
    fn lanes(&self, vertex: &Vertex, subtask: SubtaskId) -> (Vec<usize>, Vec<SubtaskId>) {
        let mut ports = Vec::new();
        let mut producers = Vec::new();
        for input in &vertex.inputs {
            let edge = &self.plan.edges[input.edge];
            let is_forward = edge.partitioning == Partitioning::Forward;
            for lane in 0..input.lanes {
                let index = if is_forward { subtask.index } else { lane };
                ports.push(input.port);
                producers.push(SubtaskId { operator: edge.from, index });
            }
        }
        (ports, producers)
    }

    fn chain(&self, vertex: &Vertex, subtask: SubtaskId) -> Chain {
        let nodes = vertex.chain.nodes.iter().map(|node| match node {
            PlanNode::Stage { node, next } => {
                let NodeKind::Stage(factory) = &node.kind else {
                    unreachable!("I10: only stages are fused");
                };
                ChainNode::Stage { stage: factory(), next: next.clone() }
            }
            PlanNode::Edge(edge) => {
                let plan_edge = &self.plan.edges[*edge];
                let targets = self.targets(*edge, plan_edge.to, subtask);
                let wakeup = self.wakeups[&subtask].clone();
                let router =
                    (plan_edge.router)(plan_edge.partitioning, targets, self.plan.key_groups, wakeup);
                ChainNode::Router(router)
            }
        });
        Chain::new(nodes.collect(), vertex.chain.entries.clone())
    }

    fn targets(&self, edge: usize, to: OperatorId, producer: SubtaskId) -> Vec<Target> {
        let consumer = self.plan.vertex(to);
        let input = consumer
            .inputs
            .iter()
            .find(|input| input.edge == edge)
            .expect("I11: every edge of the plan is an input of its consumer");
        let target = |index: u32, lane: u32| Target {
            gate: Arc::clone(&self.gates[&SubtaskId { operator: to, index }]),
            lane: LaneId(input.first_lane + lane),
        };
        match self.plan.edges[edge].partitioning {
            Partitioning::Forward => vec![target(producer.index, 0)],
            Partitioning::Hash | Partitioning::Rebalance | Partitioning::Broadcast => {
                (0..consumer.parallelism).map(|index| target(index, producer.index)).collect()
            }
        }
    }
}

fn no_input(vertex: &Vertex) -> Error {
    Error::Graph { problem: format!("`{}` has no input: connect a stream to it", vertex.name) }
}

/// One seed for each subtask (splitmix64 of the job's seed and the id).
fn subtask_seed(seed: u64, subtask: SubtaskId) -> u64 {
    let id = (u64::from(subtask.operator.0) << 32) | u64::from(subtask.index);
    let mut z = seed.wrapping_add(id.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

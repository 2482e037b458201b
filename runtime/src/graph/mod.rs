//! The graph as the user wrote it, and the plan that it runs as.

mod deploy;
mod explain;
mod logical;
mod plan;

pub use deploy::{DeployContext, DeployedSubtask, SubtaskHooks, deploy};
pub use logical::{
    Edge, Graph, Node, NodeIndex, NodeKind, OutputPort, SinkChecks, StateDeclaration, Upstream,
};
pub use plan::{ChainPlan, Plan, PlanEdge, PlanNode, Region, Vertex, VertexInput};

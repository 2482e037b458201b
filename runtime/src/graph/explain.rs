//! The plan in words, before anything runs.

use std::fmt::Write as _;

use super::{Plan, PlanNode};
use crate::exchange::Partitioning;

impl Plan {
    /// Operators, parallelism, fused stages, edges and how they route, states and their types, and the memory bound.
    pub fn explain(&self) -> String {
        let mut text = format!("job `{}`: {} key groups\n", self.job, self.key_groups.count());
        for vertex in &self.vertices {
            let _ = writeln!(
                text,
                "{} `{}` ({}) x{}, {}",
                vertex.kind(),
                vertex.name,
                vertex.root.description,
                vertex.parallelism,
                vertex.region
            );
            for state in &vertex.root.states {
                let _ = writeln!(text, "  state `{}`: {} of {}", state.name, state.kind, state.types);
            }
            for (port, entries) in vertex.chain.entries.iter().enumerate() {
                let output = &vertex.root.outputs[port];
                if entries.is_empty() && port > 0 {
                    continue;
                }
                let _ = writeln!(text, "  output `{}`: {}", output.name, output.type_name);
                for entry in entries {
                    self.explain_node(&mut text, vertex.chain.nodes.as_slice(), *entry, 2);
                }
            }
        }
        let _ = writeln!(
            text,
            "memory bound of channels: {} KiB ({} KiB a gate, and one batch a lane)",
            self.gate_bytes_max() >> 10,
            self.gate_bytes >> 10
        );
        text
    }

    fn explain_node(&self, text: &mut String, nodes: &[PlanNode], position: usize, depth: usize) {
        let indent = "  ".repeat(depth);
        match &nodes[position] {
            PlanNode::Stage { node, next } => {
                let name = node.name.as_deref().map_or(String::new(), |name| format!(" `{name}`"));
                let _ = writeln!(text, "{indent}fused {}{name}", node.description);
                for following in next {
                    self.explain_node(text, nodes, *following, depth + 1);
                }
            }
            PlanNode::Edge(edge) => {
                let edge = &self.edges[*edge];
                let how = match edge.partitioning {
                    Partitioning::Forward => "forward",
                    Partitioning::Hash => "hash",
                    Partitioning::Rebalance => "rebalance",
                    Partitioning::Broadcast => "broadcast",
                };
                let _ = writeln!(text, "{indent}{how} -> `{}`", self.vertex(edge.to).name);
            }
        }
    }
}

//! Settings of a node that is already in the graph: its name and its parallelism.

use tidegate_runtime::graph::{Graph, NodeIndex, NodeKind};

/// Sets the parallelism of a node, or of the relay that a stage is fused to. Returns what is wrong, if anything.
pub(crate) fn set_parallelism(graph: &mut Graph, node: NodeIndex, subtasks: u32) -> Option<String> {
    let mut at = node;
    loop {
        let found = graph.node(at);
        match found.kind {
            NodeKind::Stage(_) => {}
            NodeKind::Relay(_) => break,
            _ if at == node => break,
            _ => {
                let stage = &graph.node(node).description;
                let host = found.name.as_deref().unwrap_or(&found.description);
                return Some(format!(
                    "a `{stage}` is fused into `{host}` and has no parallelism of its own: put `.rebalance()` before it, or set that of `{host}`"
                ));
            }
        }
        let inputs: Vec<NodeIndex> =
            graph.edges.iter().filter(|edge| edge.to == at).map(|edge| edge.from.node).collect();
        match inputs.as_slice() {
            [one] => at = *one,
            _ => {
                let stage = &graph.node(node).description;
                return Some(format!(
                    "a `{stage}` behind a union is fused into all its inputs and has no parallelism of its own: put `.rebalance()` before it"
                ));
            }
        }
    }
    graph.node_mut(at).parallelism = Some(subtasks);
    None
}

/// Names a node that has no name. Returns what is wrong, if anything.
pub(crate) fn set_name(graph: &mut Graph, node: NodeIndex, name: &str) -> Option<String> {
    let found = graph.node_mut(node);
    match &found.name {
        Some(known) => Some(format!(
            "`{known}` can't be named `{name}` too: sources, sinks and stateful operators are named where they are made"
        )),
        None => {
            found.name = Some(name.to_owned());
            None
        }
    }
}

//! The graph of operators and edges in Graphviz' language, with rates, queues and who is parked.

use std::collections::BTreeMap;
use std::fmt::Write;

use tidegate_supervisor::{EdgeInfo, SubtaskInfo, Topology};

use crate::cli::render::figures::{bytes, rate};
use crate::words::{activity_word, operator_and_index};

/// The graph of a job.
pub(crate) fn dot(topology: &Topology) -> String {
    let graph = Graph::of(topology);
    let mut text = format!("digraph {} {{\n  rankdir=LR;\n  node [shape=box];\n", quoted(&topology.job));
    // Writing to a String can't fail.
    for (name, operator) in &graph.operators {
        let _ = writeln!(text, "  {} [label={}];", quoted(name), quoted(&operator.label(name)));
    }
    for edge in &topology.edges {
        let label = graph.edge_label(edge, topology);
        let _ =
            writeln!(text, "  {} -> {} [label={}];", quoted(&edge.from), quoted(&edge.to), quoted(&label));
    }
    text.push_str("}\n");
    text
}

/// Operators by name, and the bytes that wait between two of them.
#[derive(Default)]
struct Graph<'a> {
    operators: BTreeMap<&'a str, Operator>,
    queued_bytes: BTreeMap<(&'a str, &'a str), u64>,
}

/// The figures of all subtasks of an operator together.
#[derive(Default)]
struct Operator {
    subtasks: u32,
    in_per_second: f64,
    out_per_second: f64,
    state_bytes: u64,
    activities: BTreeMap<&'static str, u32>,
}

impl<'a> Graph<'a> {
    fn of(topology: &'a Topology) -> Self {
        let mut graph = Self::default();
        for actor in &topology.actors {
            if let Some(subtask) = &actor.subtask {
                let (operator, _) = operator_and_index(&actor.path);
                graph.operators.entry(operator).or_default().add(subtask);
                for input in &subtask.inputs {
                    let (producer, _) = operator_and_index(&input.producer);
                    *graph.queued_bytes.entry((producer, operator)).or_default() += input.queued_bytes;
                }
            }
        }
        graph
    }

    /// The rate of an edge is known where it is its consumer's only input, or its producer's only output.
    fn edge_label(&self, edge: &EdgeInfo, topology: &Topology) -> String {
        let (from, to) = (edge.from.as_str(), edge.to.as_str());
        let inputs = topology.edges.iter().filter(|other| other.to == to).count();
        let outputs = topology.edges.iter().filter(|other| other.from == from).count();
        let per_second = match (inputs, outputs) {
            (1, _) => self.operators.get(to).map(|operator| operator.in_per_second),
            (_, 1) => self.operators.get(from).map(|operator| operator.out_per_second),
            _ => None,
        };
        let rate = per_second.map(|per_second| format!("{}/s\n", rate(per_second))).unwrap_or_default();
        let queued_bytes = self.queued_bytes.get(&(from, to)).copied().unwrap_or(0);
        format!("{}\n{rate}{} queued", edge.partitioning, bytes(queued_bytes))
    }
}

impl Operator {
    fn add(&mut self, subtask: &SubtaskInfo) {
        self.subtasks += 1;
        self.in_per_second += subtask.records_in_per_second;
        self.out_per_second += subtask.records_out_per_second;
        self.state_bytes += subtask.state_bytes;
        *self.activities.entry(activity_word(subtask.activity)).or_default() += 1;
    }

    fn label(&self, name: &str) -> String {
        let activities: Vec<String> =
            self.activities.iter().map(|(word, count)| format!("{count} {word}")).collect();
        format!(
            "{name} x{}\nin {}/s, out {}/s\nstate {}\n{}",
            self.subtasks,
            rate(self.in_per_second),
            rate(self.out_per_second),
            bytes(self.state_bytes),
            activities.join(", ")
        )
    }
}

/// A quoted id: quotes and backslashes are escaped, line feeds are written as `\n`.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"))
}

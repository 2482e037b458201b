//! Text of what a job says: the actor tree, the graph for Graphviz, and tables.

mod checkpoints;
mod dot;
mod figures;
mod table;
mod tree;
mod words;

pub(crate) use checkpoints::{checkpoints, completed};
pub(crate) use dot::dot;
pub(crate) use tree::tree;

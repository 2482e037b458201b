//! Operators with subtasks of their own, as the step machine drives them.

pub(crate) mod input;
pub(crate) mod process;
pub(crate) mod processing;
pub(crate) mod relay;
pub(crate) mod stateful;
mod stateful_flat_map;

//! Event-time windows: what they are, the pure cores that slice, merge and order them, and the operators.

pub(crate) mod all;
pub(crate) mod assigner;
pub(crate) mod combine;
pub(crate) mod due;
pub(crate) mod function;
mod pre_aggregate;
mod session;
mod session_operator;
mod sliced_operator;
mod slices;
mod spec;

pub(crate) use session_operator::SessionOperator;
pub(crate) use sliced_operator::SlicedOperator;
pub use spec::{Session, Sliding, SlidingSize, Tumbling, Window, WindowSpec};

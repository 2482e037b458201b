//! Event-time windows: what they are, the pure cores that slice, merge and order them, and the operators.

pub(crate) mod all;
pub(crate) mod assigner;
pub(crate) mod combine;
pub(crate) mod due;
pub(crate) mod function;
pub(crate) mod kind;
mod operator;
mod pre_aggregate;
mod session;
mod sessions;
mod sliced;
mod slices;
mod spec;

pub(crate) use operator::WindowOperator;
pub(crate) use sessions::SessionWindows;
pub(crate) use sliced::SlicedWindows;
pub use spec::{Session, Sliding, SlidingSize, Tumbling, Window, WindowSpec};

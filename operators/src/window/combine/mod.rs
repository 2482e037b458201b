//! Adding up in front of the exchange: the records of one key that windows can't tell apart, and that come within one
//! short round of batches, travel as one partial. A round ends before a barrier, so nothing of it is in a checkpoint.
//!
//! Partial aggregates of this kind are those of Gray et al., "Data Cube" (1996); Flink SQL calls it local-global.

mod grouping;
mod index;
mod pace;
mod partial;
mod round;
mod stage;

pub(crate) use grouping::{Grouping, Panes, Spans};
pub(crate) use partial::{Merging, Partial, Sum, partial_key};
pub(crate) use stage::Combine;

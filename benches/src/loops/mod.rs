//! The hand-written loops: one thread, no framework, no fault tolerance, the fastest that was found by trial.
//!
//! Each takes the same records as the pipeline beside it and hands the same results to `consume`, in slices.

pub(crate) mod keyed_count;
pub(crate) mod map_filter;
pub(crate) mod session_count;
pub(crate) mod sliding_count;
pub(crate) mod table;
pub(crate) mod tumbling_max;

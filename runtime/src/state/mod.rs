//! Keyed state: typed write-back tables in memory, delta runs in a store, and the lease between them.
//!
//! A subtask owns its tables. At a barrier the tables freeze a version, hand its rows over in slices between
//! steps, and the store makes them durable off the actor. Figures and layout: ARCHITECTURE.md, "State".

mod lease;
mod registry;
mod row;

pub use lease::{SlicePace, StateLease, StateTable, SubmitError};
pub use registry::StateRegistry;
pub use row::{RowKey, RowRef};

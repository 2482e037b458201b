//! Keyed state: typed write-back tables in memory, delta runs in a store, and the lease between them.
//!
//! A subtask owns its tables. At a barrier the tables freeze a version, hand its rows over in slices between
//! steps, and the store makes them durable off the actor. Figures and layout: ARCHITECTURE.md, "State".

mod aggregate;
mod delta;
mod handle;
mod lease;
mod registry;
mod row;
mod run;
mod states;
mod store;
mod table;
#[doc(hidden)]
pub mod testing;
mod timers;

pub(crate) use crate::codec;
pub use crate::codec::{CHECKED, check_codec};
pub use aggregate::{Aggregate, Reduce, StateValue};
pub use handle::{AggregatingState, ListState, MapState, ReducingState, ValueState};
pub use lease::{SlicePace, StateLease, StateTable, SubmitError};
pub use registry::{SnapshotMode, StateKind, StateRegistry, StateSpec, TableBudget};
pub use row::{RowKey, RowRef};
pub use run::{BLOCK_TARGET, Block, CHUNK_TARGET, Chunk, RUN_VERSION, RunBuilder};
pub use states::{StateHandle, States};
pub use store::{
    LeaseRequest, RestorePoint, RunId, RunRef, RunRefs, Store, StoreBackend, StoreEvents, StoreOptions,
    StoreStatus,
};
pub use table::{KeyedTable, Retention};
pub use timers::Timers;

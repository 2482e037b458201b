//! Data plane and pure cores of Tidegate: elements, exchange, time, state, graph and checkpoint protocol.
//!
//! Nothing in this crate knows actors. Imports go downwards only:
//! `id codec element key error` <- `metrics sync files` <- `exchange state time` <- `operator source sink`
//! <- `task` <- `graph checkpoint`.

pub mod checkpoint;
pub(crate) mod codec;
pub mod config;
pub mod element;
pub mod error;
pub mod exchange;
pub mod files;
pub mod graph;
pub mod id;
pub mod key;
pub mod metrics;
pub mod operator;
pub mod output;
pub mod sink;
pub mod source;
pub mod state;
pub mod sync;
pub mod task;
pub mod time;

pub use element::{Batch, Record};
pub use error::{BoxError, Error, Result};
pub use time::Timestamp;

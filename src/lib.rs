//! The facade of Tidegate: everything that a pipeline needs, under one name.
//!
#![doc = include_str!("../README.md")]

mod execute;
pub mod prelude;

pub use execute::Execute;
pub use tidegate_connectors as connectors;
pub use tidegate_operators as operators;
pub use tidegate_runtime as runtime;
pub use tidegate_supervisor as supervisor;
pub use tidegate_supervisor::{Error, Job, Result, testing};

/// What generated code refers to.
#[doc(hidden)]
pub mod __private {
    pub use tidegate_runtime as runtime;
}

//! The typed write-back table.

pub(crate) mod cell;
pub(crate) mod core;
pub(crate) mod key;
mod keyed;

pub use keyed::KeyedTable;

//! The typed write-back table: native keys and values in memory, rows in the store.
//!
//! - `range`, `slots`, `array`, `slot`: where a hash stands. One array of slots in the order of hashes, so that rows come
//!   out sorted and a look-up has one slow access.
//! - `directory`, `segment`: what is known of some hundred neighbouring hashes together, by the top bits of the hash.
//! - `core`: look-up, change, delete. A slot's stamp is the version that wrote it: equal to the current one it is
//!   dirty; up to the durable one it is clean; between, it is in flight.
//! - `snapshot`, `merge`, `side`: a freeze only counts the version up; slots of the frozen version are encoded in
//!   slices, and a slot that is about to change before its turn hands its old rows over to a side buffer.
//! - `load`, `evict`, `walk`: state may exceed memory; what is durable can go and is read back from the lease.
//! - `key`, `cell`: what is held: native or encoded keys; one value, or elements that are rows of their own.

mod array;
pub(crate) mod cell;
pub(crate) mod core;
mod directory;
mod evict;
mod huge_pages;
pub(crate) mod key;
mod keyed;
mod load;
mod merge;
mod prefetch;
pub(crate) mod range;
mod segment;
mod side;
mod slot;
pub(crate) mod slots;
mod snapshot;
mod walk;

pub use keyed::{KeyedTable, Retention};

#[cfg(test)]
mod tests;

//! Keys: their identity (a stable hash of the serde form) and the key groups that hashes fall into.

mod group;
mod hash;

pub use group::{KeyGroupRange, KeyGroups};
pub use hash::{KeyHash, KeyHasher, hash_key};

use crate::element::Record;

/// Every type that a stream can be keyed by.
#[diagnostic::on_unimplemented(
    message = "`{Self}` can't be a key",
    note = "a key is a record that is also `Eq + Hash`; floating point numbers are not: key by an integer or a string form"
)]
pub trait Key: Record + Eq + std::hash::Hash {}

impl<K: Record + Eq + std::hash::Hash> Key for K {}

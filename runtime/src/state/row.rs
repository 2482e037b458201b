//! One row of durable state: its sort key and its value or tombstone.

use crate::id::StateId;
use crate::key::KeyHash;

/// Where a row stands in the order of a run: state, key hash, encoded key, encoded element.
///
/// The key group is the top of the hash, so a range of groups is one contiguous range of rows of each state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RowKey<'a> {
    /// The state of the operator.
    pub state: StateId,
    /// The hash of the key.
    pub hash: KeyHash,
    /// The encoded key.
    pub key: &'a [u8],
    /// The element within the key's state: empty for a value, a sequence number for a list, the encoded map key
    /// for a map.
    pub element: &'a [u8],
}

/// A row as it is written and read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowRef<'a> {
    /// Its place.
    pub key: RowKey<'a>,
    /// The encoded value; `None` says that older rows of this place are deleted.
    pub value: Option<&'a [u8]>,
}

//! One entry of a segment.

use crate::key::KeyHash;
use crate::state::table::cell::Version;
use crate::state::table::key::TableKey;

/// A slot: 24 bytes for a `u64` key with a `u64` value.
pub(crate) enum Slot<K, C> {
    /// A key with its cell.
    Live {
        /// The version that wrote it last.
        stamp: Version,
        origin: Origin,
        key: K,
        cell: C,
    },
    /// A deleted key: a row that the store may hold is not live any more.
    Dead { stamp: Version, key: K },
}

/// Whether the store can hold an older row of a live slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// No, as long as its stamp is the current version: it was made in this version where nothing was.
    Fresh,
    /// It may.
    Stored,
}

impl<K: TableKey, C> Slot<K, C> {
    #[inline(always)]
    pub(crate) fn key(&self) -> &K {
        match self {
            Slot::Live { key, .. } | Slot::Dead { key, .. } => key,
        }
    }

    #[inline]
    pub(crate) fn hash(&self) -> KeyHash {
        self.key().hash()
    }

    #[inline]
    pub(crate) fn stamp(&self) -> Version {
        match self {
            Slot::Live { stamp, .. } | Slot::Dead { stamp, .. } => *stamp,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::table::cell::Single;
    use crate::state::table::key::Native;

    #[test]
    fn an_integer_entry_takes_24_bytes() {
        assert_eq!(size_of::<Slot<Native<u64>, Single<u64>>>(), 24);
    }
}

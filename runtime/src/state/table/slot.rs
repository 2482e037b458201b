//! What a segment holds for a key: an entry with its mark while it lives, a tombstone after.

use crate::key::KeyHash;
use crate::state::table::cell::Version;

/// A live key with its cell: 16 bytes for a `u64` key with a `u64` value. What is seldom asked stands beside.
pub(crate) struct Entry<K, C> {
    pub(crate) key: K,
    pub(crate) cell: C,
}

/// How an entry was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    /// The version that wrote it last.
    pub(crate) stamp: Version,
    pub(crate) origin: Origin,
}

/// Whether the store can hold an older row of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// No, as long as its stamp is the current version: it was made in this version where nothing was.
    Fresh,
    /// It may.
    Stored,
}

/// A deleted key: a row that the store may hold is not live any more.
pub(crate) struct Tombstone<K> {
    pub(crate) hash: KeyHash,
    pub(crate) stamp: Version,
    pub(crate) key: K,
}

/// An entry or a tombstone as encoding sees it.
pub(crate) struct Slot<'s, K, C> {
    pub(crate) key: &'s K,
    /// `None` for a tombstone.
    pub(crate) cell: Option<&'s C>,
}

impl<K, C> Entry<K, C> {
    #[inline]
    pub(crate) fn slot(&self) -> Slot<'_, K, C> {
        Slot { key: &self.key, cell: Some(&self.cell) }
    }
}

impl<K> Tombstone<K> {
    pub(crate) fn slot<C>(&self) -> Slot<'_, K, C> {
        Slot { key: &self.key, cell: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::table::cell::Single;
    use crate::state::table::key::Native;

    #[test]
    fn an_integer_entry_takes_16_bytes() {
        assert_eq!(size_of::<Entry<Native<u64>, Single<u64>>>(), 16);
    }
}

//! What a table's slot holds for a key: one value, or elements that are written row by row.

use crate::error::Result;
use crate::state::StateValue;
use crate::state::codec;

/// Number of a table's version: it rises by one with every freeze. 0 is before all.
pub(crate) type Version = u32;

/// The version of what was read from the lease: durable.
pub(crate) const CLEAN: Version = 1;
/// The first version that is written.
pub(crate) const FIRST: Version = 2;

/// Which rows of a cell are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rows {
    /// Those of the live elements.
    Live,
    /// Those written in this version, deleted elements as tombstones.
    WrittenIn(Version),
}

/// Takes an element's bytes and its value's, or `None` for a tombstone.
pub(crate) type EmitRow<'e> = dyn FnMut(&[u8], Option<&[u8]>) -> Result<()> + 'e;

/// What is kept for one key. A time to live will be one more field of a cell or an element, written under the
/// value's tag (see `codec`).
pub(crate) trait Cell: Send + Sized + 'static {
    /// Whether a cell is written in parts, some of which die while it lives: it has to be swept, and a delta holds
    /// only those of its rows that changed.
    const SWEPT: bool;

    /// Emits rows in the order of their elements; `scratch` is empty and may be used for encoding.
    fn rows(&self, which: Rows, scratch: &mut Vec<u8>, emit: &mut EmitRow<'_>) -> Result<()>;

    /// Builds a cell from its stored rows, in order: the cell of those before, and the next one.
    fn load(before: Option<Self>, element: &[u8], value: &[u8]) -> Result<Self>;

    /// Forgets tombstones that are durable; returns what is left to do.
    fn sweep(&mut self, durable: Version) -> Swept;

    /// Encodes, decodes and encodes again a value of this cell.
    fn check(&self) -> Result<()>;
}

/// What a cell is after sweeping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Swept {
    /// Nothing live and nothing to be written: the slot can go.
    Vacant,
    /// Live, with no tombstones.
    Clean,
    /// There are tombstones that are not durable.
    Pending,
}

/// One value.
#[derive(Debug)]
#[repr(transparent)]
pub(crate) struct Single<V>(pub(crate) V);

impl<V: StateValue> Cell for Single<V> {
    const SWEPT: bool = false;

    fn rows(&self, _which: Rows, scratch: &mut Vec<u8>, emit: &mut EmitRow<'_>) -> Result<()> {
        codec::encode_value(&self.0, scratch)?;
        emit(&[], Some(scratch))
    }

    fn load(_before: Option<Self>, _element: &[u8], value: &[u8]) -> Result<Self> {
        codec::decode_value(value).map(Single)
    }

    fn sweep(&mut self, _durable: Version) -> Swept {
        Swept::Clean
    }

    fn check(&self) -> Result<()> {
        codec::check_codec(&self.0)
    }
}

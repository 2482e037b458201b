//! The table behind the handles and the keyed table.

use std::marker::PhantomData;

use crate::error::Result;
use crate::id::CheckpointId;
use crate::key::KeyHash;
use crate::state::lease::{SlicePace, StateLease, StateTable};
use crate::state::registry::TableOrigin;
use crate::state::table::cell::{Cell, Version};
use crate::state::table::key::TableKey;

pub(crate) struct Table<K, C>(PhantomData<(K, C)>);

/// Where a cell is: true until the table's generation changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct At {
    segment: u32,
    slot: u32,
}

impl<K: TableKey, C: Cell> Table<K, C> {
    pub(crate) fn open(_origin: TableOrigin) -> Result<Self> {
        Ok(Self(PhantomData))
    }
    pub(crate) fn generation(&self) -> u64 {
        todo!("table core")
    }
    pub(crate) fn version(&self) -> Version {
        todo!("table core")
    }
    pub(crate) fn find(&mut self, _hash: KeyHash, _key: &K::Lookup) -> Result<Option<At>> {
        todo!("table core")
    }
    pub(crate) fn insert(&mut self, _hash: KeyHash, _key: &K::Lookup, _cell: C) -> Result<At> {
        todo!("table core")
    }
    pub(crate) fn cell(&self, _at: At) -> &C {
        todo!("table core")
    }
    pub(crate) fn touch(&mut self, _at: At) -> Result<&mut C> {
        todo!("table core")
    }
    pub(crate) fn remove(&mut self, _at: At) -> Result<C> {
        todo!("table core")
    }
    pub(crate) fn for_each(&mut self, _visit: &mut dyn FnMut(&K, &C) -> Result<()>) -> Result<()> {
        todo!("table core")
    }
    pub(crate) fn prefetch_segment(&self, _hash: KeyHash) {}
    pub(crate) fn prefetch_slot(&self, _hash: KeyHash) {}
}

impl<K: TableKey, C: Cell> StateTable for Table<K, C> {
    fn freeze(&mut self, _checkpoint: CheckpointId) {
        todo!("table core")
    }
    fn encode(&mut self, _lease: &dyn StateLease, _pace: SlicePace) -> Result<bool> {
        todo!("table core")
    }
    fn on_durable(&mut self, _checkpoint: CheckpointId) {
        todo!("table core")
    }
    fn entries(&self) -> usize {
        todo!("table core")
    }
    fn bytes(&self) -> usize {
        todo!("table core")
    }
}

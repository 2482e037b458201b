//! Visiting every live key of a subtask, in memory or not.

use std::cmp::Ordering;

use crate::error::Result;
use crate::key::KeyHash;
use crate::state::table::array::Probe;
use crate::state::table::cell::Cell;
use crate::state::table::core::Table;
use crate::state::table::key::TableKey;
use crate::state::table::segment::Coverage;
use crate::state::table::slot::Slot;

/// A key of one segment.
struct Item<'t, K, C> {
    hash: KeyHash,
    key: &'t K,
    cell: &'t C,
}

impl<K: TableKey, C: Cell> Table<K, C> {
    /// In the order of hash and encoded key, whatever is in memory.
    pub(crate) fn for_each(&self, visit: &mut dyn FnMut(&K, &C) -> Result<()>) -> Result<()> {
        for index in 0..self.directory.len() {
            let span = self.directory.span(index);
            let stored = match (self.directory.segment(index).coverage, self.slots.range().hashes(span)) {
                (Coverage::Partial, Some(hashes)) => self.read_range(hashes)?,
                _ => Vec::new(),
            };
            let mut items: Vec<Item<'_, K, C>> = self.slots.span(span).filter_map(live).collect();
            let is_absent = |hash, key: &K| matches!(self.find_loaded(hash, key.lookup()), Probe::Absent);
            items.extend(
                stored.iter().filter(|(hash, key, _)| is_absent(*hash, key)).map(|(hash, key, cell)| Item {
                    hash: *hash,
                    key,
                    cell,
                }),
            );
            items.sort_by(|a, b| a.hash.cmp(&b.hash).then_with(|| by_bytes(a.key, b.key)));
            for item in items {
                visit(item.key, item.cell)?;
            }
        }
        Ok(())
    }
}

fn live<K: TableKey, C>(slot: &Slot<K, C>) -> Option<Item<'_, K, C>> {
    match slot {
        Slot::Live { key, cell, .. } => Some(Item { hash: key.hash(), key, cell }),
        Slot::Dead { .. } => None,
    }
}

/// The order of two keys of one hash; keys that can't be encoded fail where they are written.
fn by_bytes<K: TableKey>(a: &K, b: &K) -> Ordering {
    let (mut left, mut right) = (Vec::new(), Vec::new());
    match (K::encode(a.lookup(), &mut left), K::encode(b.lookup(), &mut right)) {
        (Ok(()), Ok(())) => left.cmp(&right),
        _ => Ordering::Equal,
    }
}

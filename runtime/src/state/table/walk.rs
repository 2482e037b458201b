//! Visiting every live key of a subtask, in memory or not.

use std::cmp::Ordering;

use crate::error::Result;
use crate::key::KeyHash;
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
        let mut next = 0;
        while next < self.directory.len() {
            let neighbourhood = self.directory.neighbourhood(next);
            next = neighbourhood.end;
            let segments = || self.directory.segments(&neighbourhood);
            let is_partial = segments().any(|segment| segment.coverage == Coverage::Partial);
            let stored = match self.directory.hashes(&neighbourhood) {
                Some(hashes) if is_partial => self.read_range(hashes)?,
                _ => Vec::new(),
            };
            let live = segments().flat_map(|segment| segment.slots(|_| true)).filter_map(live);
            let mut items: Vec<Item<'_, K, C>> = live.collect();
            let is_absent = |hash, key: &K| matches!(self.find_loaded(hash, key.lookup()), (_, None));
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

fn live<'t, K, C>((hash, slot): (KeyHash, Slot<'t, K, C>)) -> Option<Item<'t, K, C>> {
    slot.cell.map(|cell| Item { hash, key: slot.key, cell })
}

/// The order of two keys of one hash; keys that can't be encoded fail where they are written.
fn by_bytes<K: TableKey>(a: &K, b: &K) -> Ordering {
    let (mut left, mut right) = (Vec::new(), Vec::new());
    match (K::encode(a.lookup(), &mut left), K::encode(b.lookup(), &mut right)) {
        (Ok(()), Ok(())) => left.cmp(&right),
        _ => Ordering::Equal,
    }
}

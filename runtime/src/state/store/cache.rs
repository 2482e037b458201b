//! A bounded cache of verified pieces: what is in it need not be read, nor its checksum computed, again.

use std::sync::Mutex;

use hashbrown::HashMap;

use super::refs::RunId;

type Index = HashMap<(RunId, u64), usize, foldhash::fast::FixedState>;

/// Shards keep the subtasks of a worker out of each other's way.
const SHARDS: usize = 16;

/// Cheap to clone values by run and piece.
///
/// Each shard is a clock: what was not used since the hand last came by makes room.
pub(super) struct Cache<V> {
    shards: Vec<Mutex<Shard<V>>>,
    shard_bytes_max: usize,
}

struct Shard<V> {
    index: Index,
    slots: Vec<Slot<V>>,
    hand: usize,
    bytes: usize,
}

struct Slot<V> {
    key: (RunId, u64),
    value: V,
    bytes: usize,
    is_used: bool,
}

impl<V: Clone> Cache<V> {
    pub(super) fn new(bytes_max: usize) -> Self {
        let empty = || Shard { index: Index::default(), slots: Vec::new(), hand: 0, bytes: 0 };
        Self {
            shards: (0..SHARDS).map(|_| Mutex::new(empty())).collect(),
            shard_bytes_max: bytes_max / SHARDS,
        }
    }

    pub(super) fn get(&self, run: RunId, piece: u64) -> Option<V> {
        let mut shard = self.shard(run, piece);
        let at = *shard.index.get(&(run, piece))?;
        let slot = &mut shard.slots[at];
        slot.is_used = true;
        Some(slot.value.clone())
    }

    pub(super) fn insert(&self, run: RunId, piece: u64, value: V, bytes: usize) {
        if bytes > self.shard_bytes_max {
            return;
        }
        let mut shard = self.shard(run, piece);
        if shard.index.contains_key(&(run, piece)) {
            return;
        }
        while shard.bytes + bytes > self.shard_bytes_max {
            shard.make_room();
        }
        let at = shard.slots.len();
        shard.slots.push(Slot { key: (run, piece), value, bytes, is_used: false });
        shard.index.insert((run, piece), at);
        shard.bytes += bytes;
    }

    fn shard(&self, run: RunId, piece: u64) -> std::sync::MutexGuard<'_, Shard<V>> {
        let mixed = (run.0 ^ piece.rotate_left(24)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        self.shards[(mixed >> 60) as usize].lock().expect("I70: no panic while a shard of the cache is held")
    }

    #[cfg(test)]
    fn bytes(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().expect("no panic").bytes).sum()
    }
}

impl<V> Shard<V> {
    /// Moves the hand on, and drops what it finds unused.
    fn make_room(&mut self) {
        if self.hand >= self.slots.len() {
            self.hand = 0;
        }
        let Some(slot) = self.slots.get_mut(self.hand) else { return };
        if std::mem::take(&mut slot.is_used) {
            self.hand += 1;
            return;
        }
        let gone = self.slots.swap_remove(self.hand);
        self.bytes -= gone.bytes;
        self.index.remove(&gone.key);
        if let Some(moved) = self.slots.get(self.hand) {
            self.index.insert(moved.key, self.hand);
        }
        // The one that came here from the end has its turn in the next round.
        self.hand += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_keeps_what_is_used_and_stays_within_its_bound() {
        let cache = Cache::new(SHARDS * 1_000);
        cache.insert(RunId(1), 0, 7, 50);
        for piece in 1..10_000 {
            cache.insert(RunId(1), piece, piece, 50);
            assert_eq!(cache.get(RunId(1), 0), Some(7), "used between all of the others");
            assert!(cache.bytes() <= SHARDS * 1_000);
        }
        assert_eq!(cache.get(RunId(1), 1), None);
        assert_eq!(cache.get(RunId(2), 0), None);
        cache.insert(RunId(2), 0, 9, 1_000_000);
        assert_eq!(cache.get(RunId(2), 0), None, "too large for a shard");
    }
}

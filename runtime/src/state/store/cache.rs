//! A bounded cache of verified pieces: what is in it need not be read, nor its checksum computed, again.

use std::sync::Mutex;

use hashbrown::HashMap;

use super::refs::RunId;

type Map<V> = HashMap<(RunId, u64), (V, usize), foldhash::fast::FixedState>;

/// Shards keep the subtasks of a worker out of each other's way.
const SHARDS: usize = 16;

/// Cheap to clone values by run and piece.
///
/// Each shard has a young and an old generation: a hit moves to the young one, and when the young one is half of the
/// bound the old one is dropped. That is nearly "least recently used" without a list.
pub(super) struct Cache<V> {
    shards: Vec<Mutex<Shard<V>>>,
    young_bytes_max: usize,
}

struct Shard<V> {
    young: Map<V>,
    young_bytes: usize,
    old: Map<V>,
}

impl<V: Clone> Cache<V> {
    pub(super) fn new(bytes_max: usize) -> Self {
        let empty = || Shard { young: Map::default(), young_bytes: 0, old: Map::default() };
        Self {
            shards: (0..SHARDS).map(|_| Mutex::new(empty())).collect(),
            young_bytes_max: bytes_max / SHARDS / 2,
        }
    }

    pub(super) fn get(&self, run: RunId, piece: u64) -> Option<V> {
        let mut shard = self.shard(run, piece);
        if let Some((value, _)) = shard.young.get(&(run, piece)) {
            return Some(value.clone());
        }
        let (value, bytes) = shard.old.remove(&(run, piece))?;
        self.put(&mut shard, (run, piece), value.clone(), bytes);
        Some(value)
    }

    pub(super) fn insert(&self, run: RunId, piece: u64, value: V, bytes: usize) {
        let mut shard = self.shard(run, piece);
        self.put(&mut shard, (run, piece), value, bytes);
    }

    fn put(&self, shard: &mut Shard<V>, key: (RunId, u64), value: V, bytes: usize) {
        if shard.young_bytes + bytes > self.young_bytes_max {
            shard.old = std::mem::take(&mut shard.young);
            shard.young_bytes = 0;
        }
        if bytes > self.young_bytes_max {
            return;
        }
        if let Some((_, replaced)) = shard.young.insert(key, (value, bytes)) {
            shard.young_bytes -= replaced;
        }
        shard.young_bytes += bytes;
    }

    fn shard(&self, run: RunId, piece: u64) -> std::sync::MutexGuard<'_, Shard<V>> {
        let mixed = (run.0 ^ piece.rotate_left(24)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        self.shards[(mixed >> 60) as usize].lock().expect("I70: no panic while a shard of the cache is held")
    }

    #[cfg(test)]
    fn bytes(&self) -> usize {
        let of = |map: &Map<V>| map.values().map(|(_, bytes)| bytes).sum::<usize>();
        self.shards
            .iter()
            .map(|shard| shard.lock().expect("no panic"))
            .map(|s| of(&s.young) + of(&s.old))
            .sum()
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

//! The table by native keys: the cheap path of closures with one value a key, and of windows.

use crate::error::Result;
use crate::id::CheckpointId;
use crate::key::{Key, KeyHash};
use crate::state::StateValue;
use crate::state::lease::{SlicePace, StateLease, StateTable};
use crate::state::registry::{SnapshotMode, TableOrigin};
use crate::state::table::cell::{Cell, Single};
use crate::state::table::core::Table;
use crate::state::table::key::{Native, TableKey};
use crate::state::table::slots::Home;

/// One value of type `V` for each key that a subtask owns.
///
/// Every method takes the key's hash (`hash_key`), which a batch carries. A key that isn't in memory is read from
/// the lease, so reads too need `&mut self` and can fail.
pub struct KeyedTable<K: Key, V: StateValue> {
    table: Table<Native<K>, Single<V>>,
}

impl<K: Key, V: StateValue> KeyedTable<K, V> {
    pub(crate) fn open(origin: TableOrigin) -> Result<Self> {
        Ok(Self { table: Table::open(origin)? })
    }

    /// The value of a key, to be changed; made with `default` where there is none.
    ///
    /// # Errors
    /// If the store can't be read, or a value can't be encoded or decoded.
    #[inline]
    pub fn update_or_insert_with(
        &mut self,
        hash: KeyHash,
        key: &K,
        default: impl FnOnce() -> V,
    ) -> Result<&mut V> {
        self.table.upsert(hash, key, || Single(default())).map(|cell| &mut cell.0)
    }

    /// The value of a key, to be changed; the default where there is none.
    ///
    /// # Errors
    /// If the store can't be read, or a value can't be encoded or decoded.
    #[inline]
    pub fn update_or_default(&mut self, hash: KeyHash, key: &K) -> Result<&mut V>
    where
        V: Default,
    {
        self.update_or_insert_with(hash, key, V::default)
    }

    /// The value of a key, to be changed, if there is one.
    ///
    /// # Errors
    /// If the store can't be read, or a value can't be encoded or decoded.
    #[inline]
    pub fn update(&mut self, hash: KeyHash, key: &K) -> Result<Option<&mut V>> {
        match self.table.find(hash, key)? {
            Some(at) => self.table.touch(at).map(|cell| Some(&mut cell.0)),
            None => Ok(None),
        }
    }

    /// The value of a key.
    ///
    /// # Errors
    /// If the store can't be read, or the value can't be decoded.
    #[inline]
    pub fn get(&mut self, hash: KeyHash, key: &K) -> Result<Option<&V>> {
        Ok(self.table.find(hash, key)?.map(|at| &self.table.cell(at).0))
    }

    /// Sets the value of a key.
    ///
    /// # Errors
    /// If the store can't be read, or the value before can't be encoded.
    pub fn insert(&mut self, hash: KeyHash, key: &K, value: V) -> Result<()> {
        match self.table.find(hash, key)? {
            Some(at) => self.table.touch(at)?.0 = value,
            None => {
                self.table.insert(hash, key, Single(value))?;
            }
        }
        Ok(())
    }

    /// Deletes the value of a key and returns it.
    ///
    /// # Errors
    /// If the store can't be read, or the value can't be encoded or decoded.
    pub fn remove(&mut self, hash: KeyHash, key: &K) -> Result<Option<V>> {
        match self.table.find(hash, key)? {
            Some(at) => self.table.remove(at).map(|cell| Some(cell.0)),
            None => Ok(None),
        }
    }

    /// Changes the value of a key if there is one, then keeps or deletes it, with one look-up: what `change` gives, or
    /// `None` where there is no value.
    ///
    /// # Errors
    /// If the store can't be read, or a value can't be encoded or decoded.
    #[inline]
    pub fn change<R>(
        &mut self,
        hash: KeyHash,
        key: &K,
        change: impl FnOnce(&mut V) -> (Retention, R),
    ) -> Result<Option<R>> {
        let Some(at) = self.table.find(hash, key)? else { return Ok(None) };
        let (retention, result) = change(&mut self.table.touch(at)?.0);
        if retention == Retention::Delete {
            self.table.remove(at)?;
        }
        Ok(Some(result))
    }

    /// Says that the key with this hash is looked up soon: a look-up that was announced, some 10 look-ups ahead, waits
    /// little for memory.
    #[inline]
    pub fn announce(&self, hash: KeyHash) {
        if self.table.is_in_parts() {
            self.table.prefetch::<true>(hash);
        } else {
            self.table.prefetch::<false>(hash);
        }
    }

    /// Visits every live entry of the subtask, in memory or not, in the order of hash and encoded key. What is read
    /// from the store for it isn't kept.
    ///
    /// # Errors
    /// If the store can't be read, or a value can't be decoded, or the first error that `visit` returns.
    pub fn for_each(&self, visit: &mut dyn FnMut(&K, &V) -> Result<()>) -> Result<()> {
        self.table.for_each(&mut |key, cell| visit(&key.0, &cell.0))
    }

    /// Changes the values of many keys, one after the other: `keys[i]` has the hash `hashes[i]` and `change(i, value)`
    /// gets its value, made with `default` where there is none. What is looked up next is fetched from memory ahead,
    /// so this is several times as fast as single look-ups where the table exceeds the processor's cache.
    ///
    /// # Errors
    /// If the store can't be read, or a value can't be encoded or decoded, or the first error that `change` returns.
    #[inline]
    pub fn update_batch(
        &mut self,
        hashes: &[KeyHash],
        keys: &[K],
        default: impl Fn() -> V,
        change: impl FnMut(usize, &mut V) -> Result<()>,
    ) -> Result<()> {
        self.table.tend_slots(hashes.len());
        if self.table.is_in_parts() {
            self.update_each::<true>(hashes, keys, default, change)
        } else {
            self.update_each::<false>(hashes, keys, default, change)
        }
    }

    #[inline(always)]
    fn update_each<const PARTS: bool>(
        &mut self,
        hashes: &[KeyHash],
        keys: &[K],
        default: impl Fn() -> V,
        mut change: impl FnMut(usize, &mut V) -> Result<()>,
    ) -> Result<()> {
        let mut ahead = Ahead::<PARTS>::new(&self.table, hashes);
        for (record, (hash, key)) in hashes.iter().zip(keys).enumerate() {
            let home = ahead.next(&self.table, hashes, record);
            // What holds the key there is its slot, also where the guess is no home any more.
            let cell = match self.table.touch_at::<PARTS>(home, *hash, key) {
                Some(cell) => cell,
                None => self.table.upsert(*hash, key, || Single(default()))?,
            };
            change(record, &mut cell.0)?;
        }
        Ok(())
    }
}

/// What becomes of a value that was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retention {
    /// It stays.
    Keep,
    /// It is deleted.
    Delete,
}

/// Records that a slot is fetched ahead: enough to hide the latency of memory, few enough for what was fetched to stay
/// in the cache.
const AHEAD: usize = 32;

/// Fetches the slots that the next records will need. What it says are guesses, which a change of the table between
/// makes wrong at most.
struct Ahead<const PARTS: bool> {
    homes: [Home; AHEAD],
}

impl<const PARTS: bool> Ahead<PARTS> {
    #[inline(always)]
    fn new<K: TableKey, C: Cell>(table: &Table<K, C>, hashes: &[KeyHash]) -> Self {
        let mut ahead = Self { homes: [Home::default(); AHEAD] };
        for (hash, home) in hashes.iter().zip(&mut ahead.homes) {
            *home = table.prefetch::<PARTS>(*hash);
        }
        ahead
    }

    /// Where the slot of a record is; fetches that of a later one.
    #[inline(always)]
    fn next<K: TableKey, C: Cell>(&mut self, table: &Table<K, C>, hashes: &[KeyHash], record: usize) -> Home {
        let home = &mut self.homes[record % AHEAD];
        let guess = *home;
        if let Some(hash) = hashes.get(record + AHEAD) {
            *home = table.prefetch::<PARTS>(*hash);
        }
        guess
    }
}

impl<K: Key, V: StateValue> StateTable for KeyedTable<K, V> {
    fn freeze(&mut self, checkpoint: CheckpointId) {
        self.table.freeze(checkpoint);
    }

    fn encode(&mut self, lease: &dyn StateLease, pace: SlicePace) -> Result<bool> {
        self.table.encode(lease, pace)
    }

    fn handed_over(&self) -> SnapshotMode {
        self.table.handed_over()
    }

    fn on_durable(&mut self, checkpoint: CheckpointId) {
        self.table.on_durable(checkpoint);
    }

    fn entries(&self) -> usize {
        self.table.entries()
    }

    fn bytes(&self) -> usize {
        self.table.bytes()
    }
}

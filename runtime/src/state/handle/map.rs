//! Values by a user's key, within the current key.

use std::any::type_name;
use std::collections::BTreeMap;

use serde::Serialize;

use crate::error::Result;
use crate::key::KeyHash;
use crate::state::StateValue;
use crate::state::codec;
use crate::state::handle::bound::Bound;
use crate::state::lease::StateTable;
use crate::state::registry::{StateKind, StateRegistry};
use crate::state::states::StateHandle;
use crate::state::table::cell::{CLEAN, Cell, EmitRow, Rows, Swept, Version};
use crate::state::table::key::SmallBytes;

/// Values of the current key by a key of the user's. A change writes one row, not the map.
///
/// The order of iteration is that of the encoded keys: always the same, but not that of the numbers.
pub struct MapState<K: StateValue, V: StateValue> {
    bound: Bound<Entries<K, V>>,
    /// The encoded key being asked for.
    asked: Vec<u8>,
}

impl<K: StateValue, V: StateValue> MapState<K, V> {
    fn ask(&mut self, key: &(impl Serialize + ?Sized)) -> Result<SmallBytes> {
        self.asked.clear();
        codec::encode_bare(key, &mut self.asked)?;
        Ok(SmallBytes::new(&self.asked))
    }

    /// The value of `key`.
    ///
    /// # Errors
    /// If the store can't be read, or what is stored can't be decoded.
    pub fn get(&mut self, key: &K) -> Result<Option<&V>> {
        let asked = self.ask(key)?;
        Ok(self.bound.get()?.and_then(|cell| cell.live(&asked)))
    }

    /// The value of `key`, to be changed in place.
    ///
    /// # Errors
    /// If the store can't be read, or what is stored can't be encoded or decoded.
    pub fn get_mut(&mut self, key: &K) -> Result<Option<&mut V>> {
        let asked = self.ask(key)?;
        if self.bound.get()?.and_then(|cell| cell.live(&asked)).is_none() {
            return Ok(None);
        }
        Ok(self.bound.touch()?.and_then(|(cell, version)| {
            let entry = cell.entries.get_mut(&asked)?;
            entry.stamp = version;
            entry.value.as_mut()
        }))
    }

    /// Sets the value of `key` and returns the one before.
    ///
    /// # Errors
    /// If the store can't be read, or what is stored can't be encoded or decoded.
    pub fn insert(&mut self, key: K, value: V) -> Result<Option<V>> {
        let asked = self.ask(&key)?;
        let (cell, version) = self.bound.touch_or_insert(Entries::default)?;
        let before = cell.entries.insert(asked, Entry { key, value: Some(value), stamp: version });
        let before = before.and_then(|entry| entry.value);
        cell.live += usize::from(before.is_none());
        Ok(before)
    }

    /// Deletes the value of `key` and returns it.
    ///
    /// # Errors
    /// If the store can't be read, or what is stored can't be encoded or decoded.
    pub fn remove(&mut self, key: &K) -> Result<Option<V>> {
        let asked = self.ask(key)?;
        if self.bound.get()?.and_then(|cell| cell.live(&asked)).is_none() {
            return Ok(None);
        }
        Ok(self.bound.touch()?.and_then(|(cell, version)| {
            let entry = cell.entries.get_mut(&asked)?;
            entry.stamp = version;
            cell.live -= 1;
            entry.value.take()
        }))
    }

    /// Whether `key` has a value.
    ///
    /// # Errors
    /// If the store can't be read, or what is stored can't be decoded.
    pub fn contains(&mut self, key: &K) -> Result<bool> {
        self.get(key).map(|value| value.is_some())
    }

    /// Keys and values, in the order of the encoded keys.
    ///
    /// # Errors
    /// If the store can't be read, or what is stored can't be decoded.
    pub fn iter(&mut self) -> Result<impl Iterator<Item = (&K, &V)>> {
        let cell = self.bound.get()?;
        Ok(cell.into_iter().flat_map(|cell| {
            cell.entries.values().filter_map(|entry| entry.value.as_ref().map(|value| (&entry.key, value)))
        }))
    }

    /// Keys, in the order of their encoded form.
    ///
    /// # Errors
    /// If the store can't be read, or what is stored can't be decoded.
    pub fn keys(&mut self) -> Result<impl Iterator<Item = &K>> {
        self.iter().map(|entries| entries.map(|(key, _)| key))
    }

    /// Number of keys.
    ///
    /// # Errors
    /// If the store can't be read, or what is stored can't be decoded.
    pub fn len(&mut self) -> Result<usize> {
        Ok(self.bound.get()?.map_or(0, |cell| cell.live))
    }

    /// Whether no key has a value.
    ///
    /// # Errors
    /// If the store can't be read, or what is stored can't be decoded.
    pub fn is_empty(&mut self) -> Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Deletes all values.
    ///
    /// # Errors
    /// If the store can't be read, or what is stored can't be encoded or decoded.
    pub fn clear(&mut self) -> Result<()> {
        if self.is_empty()? {
            return Ok(());
        }
        if let Some((cell, version)) = self.bound.touch()? {
            for entry in cell.entries.values_mut().filter(|entry| entry.value.is_some()) {
                entry.value = None;
                entry.stamp = version;
            }
            cell.live = 0;
        }
        Ok(())
    }
}

impl<K: StateValue, V: StateValue> StateHandle for MapState<K, V> {
    fn open(registry: &mut StateRegistry, name: &str) -> Result<Self> {
        let types = vec![type_name::<K>().to_owned(), type_name::<V>().to_owned()];
        Ok(Self { bound: Bound::open(registry, name, StateKind::Map, types)?, asked: Vec::new() })
    }

    #[inline]
    fn set_key(&mut self, hash: KeyHash, key: &[u8]) {
        self.bound.set_key(hash, key);
    }

    fn table(&mut self) -> &mut dyn StateTable {
        self.bound.table()
    }
}

/// The entries of one key, by encoded user's key; a deleted one stays as a tombstone until that is durable.
struct Entries<K, V> {
    entries: BTreeMap<SmallBytes, Entry<K, V>>,
    /// Entries with a value.
    live: usize,
}

struct Entry<K, V> {
    key: K,
    value: Option<V>,
    stamp: Version,
}

impl<K, V> Default for Entries<K, V> {
    fn default() -> Self {
        Self { entries: BTreeMap::new(), live: 0 }
    }
}

impl<K, V> Entries<K, V> {
    fn live(&self, key: &SmallBytes) -> Option<&V> {
        self.entries.get(key)?.value.as_ref()
    }
}

impl<K: StateValue, V: StateValue> Cell for Entries<K, V> {
    const SWEPT: bool = true;

    fn rows(&self, which: Rows, scratch: &mut Vec<u8>, emit: &mut EmitRow<'_>) -> Result<()> {
        for (element, entry) in &self.entries {
            match (&entry.value, which) {
                (Some(value), Rows::Live) => emit_value(element, value, scratch, emit)?,
                (Some(value), Rows::WrittenIn(version)) if entry.stamp == version => {
                    emit_value(element, value, scratch, emit)?;
                }
                (None, Rows::WrittenIn(version)) if entry.stamp == version => emit(element.as_slice(), None)?,
                _ => {}
            }
        }
        Ok(())
    }

    fn load(before: Option<Self>, element: &[u8], value: &[u8]) -> Result<Self> {
        let mut cell = before.unwrap_or_default();
        let (key, value) = (codec::decode_bare(element)?, Some(codec::decode_value(value)?));
        cell.entries.insert(SmallBytes::new(element), Entry { key, value, stamp: CLEAN });
        cell.live += 1;
        Ok(cell)
    }

    fn sweep(&mut self, durable: Version) -> Swept {
        if self.entries.len() > self.live {
            self.entries.retain(|_, entry| entry.value.is_some() || entry.stamp > durable);
        }
        match (self.entries.len() > self.live, self.live == 0) {
            (true, _) => Swept::Pending,
            (false, true) => Swept::Vacant,
            (false, false) => Swept::Clean,
        }
    }

    fn check(&self) -> Result<()> {
        let live =
            self.entries.values().find_map(|entry| entry.value.as_ref().map(|value| (&entry.key, value)));
        match live {
            Some((key, value)) => codec::check_codec(key).and_then(|()| codec::check_codec(value)),
            None => Ok(()),
        }
    }
}

fn emit_value<V: StateValue>(
    element: &SmallBytes,
    value: &V,
    scratch: &mut Vec<u8>,
    emit: &mut EmitRow<'_>,
) -> Result<()> {
    scratch.clear();
    codec::encode_value(value, scratch)?;
    emit(element.as_slice(), Some(scratch))
}

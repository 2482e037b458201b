//! One value of the current key that absorbs others.

use std::any::type_name;

use crate::error::Result;
use crate::key::KeyHash;
use crate::state::handle::bound::Bound;
use crate::state::lease::StateTable;
use crate::state::registry::{StateKind, StateRegistry};
use crate::state::states::StateHandle;
use crate::state::table::cell::Single;
use crate::state::{Reduce, StateValue};

/// One value of the current key, combined from all that were added by `F`.
pub struct ReducingState<V: StateValue, F: Reduce<V>> {
    bound: Bound<Single<V>>,
    function: F,
}

impl<V: StateValue, F: Reduce<V>> ReducingState<V, F> {
    /// Adds a value: it becomes the state where there is none.
    ///
    /// # Errors
    /// If the store can't be read, or the value before can't be encoded or decoded.
    pub fn add(&mut self, value: V) -> Result<()> {
        if let Some((cell, _)) = self.bound.touch()? {
            self.function.reduce(&mut cell.0, value);
            return Ok(());
        }
        self.bound.touch_or_insert(|| Single(value)).map(|_| ())
    }

    /// The combined value, if any was added.
    ///
    /// # Errors
    /// If the store can't be read, or the value can't be decoded.
    #[inline]
    pub fn get(&mut self) -> Result<Option<&V>> {
        Ok(self.bound.get()?.map(|cell| &cell.0))
    }

    /// Deletes the value.
    ///
    /// # Errors
    /// If the store can't be read, or the value can't be encoded or decoded.
    pub fn clear(&mut self) -> Result<()> {
        self.bound.remove().map(|_| ())
    }
}

impl<V: StateValue, F: Reduce<V>> StateHandle for ReducingState<V, F> {
    fn open(registry: &mut StateRegistry, name: &str) -> Result<Self> {
        let types = vec![type_name::<V>().to_owned()];
        Ok(Self { bound: Bound::open(registry, name, StateKind::Reducing, types)?, function: F::default() })
    }

    #[inline]
    fn set_key(&mut self, hash: KeyHash, key: &[u8]) {
        self.bound.set_key(hash, key);
    }

    fn table(&mut self) -> &mut dyn StateTable {
        self.bound.table()
    }
}

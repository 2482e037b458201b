//! One value of the current key.

use std::any::type_name;

use crate::codec::check_codec;
use crate::error::Result;
use crate::key::KeyHash;
use crate::state::StateValue;
use crate::state::handle::bound::Bound;
use crate::state::lease::StateTable;
use crate::state::registry::{StateKind, StateRegistry};
use crate::state::states::StateHandle;
use crate::state::table::cell::Single;

/// One value of the current key.
pub struct ValueState<V: StateValue> {
    bound: Bound<Single<V>>,
    default: DefaultValue,
}

/// Whether the value's default is known to survive encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum DefaultValue {
    Unchecked,
    Checked,
}

impl<V: StateValue> ValueState<V> {
    /// The value, if one is set.
    ///
    /// # Errors
    /// If the store can't be read, or the value can't be decoded.
    #[inline]
    pub fn get(&mut self) -> Result<Option<&V>> {
        Ok(self.bound.get()?.map(|cell| &cell.0))
    }

    /// Sets the value.
    ///
    /// # Errors
    /// If the store can't be read, or the value before can't be encoded.
    pub fn set(&mut self, value: V) -> Result<()> {
        if let Some((cell, _)) = self.bound.touch()? {
            cell.0 = value;
            return Ok(());
        }
        self.bound.touch_or_insert(|| Single(value)).map(|_| ())
    }

    /// The value, to be changed in place, if one is set.
    ///
    /// # Errors
    /// If the store can't be read, or the value can't be encoded or decoded.
    #[inline]
    pub fn get_mut(&mut self) -> Result<Option<&mut V>> {
        Ok(self.bound.touch()?.map(|(cell, _)| &mut cell.0))
    }

    /// The value, to be changed in place; the default is set first where there is none.
    ///
    /// # Errors
    /// If the store can't be read, or the value can't be encoded or decoded.
    #[inline]
    pub fn get_or_default(&mut self) -> Result<&mut V>
    where
        V: Default,
    {
        if self.default == DefaultValue::Unchecked {
            check_codec(&V::default())?;
            self.default = DefaultValue::Checked;
        }
        self.bound.touch_or_insert(|| Single(V::default())).map(|(cell, _)| &mut cell.0)
    }

    /// Changes the value with a function; the default is set first where there is none.
    ///
    /// # Errors
    /// If the store can't be read, or the value can't be encoded or decoded.
    #[inline]
    pub fn update(&mut self, change: impl FnOnce(&mut V)) -> Result<()>
    where
        V: Default,
    {
        self.get_or_default().map(change)
    }

    /// Deletes the value and returns it.
    ///
    /// # Errors
    /// If the store can't be read, or the value can't be encoded or decoded.
    pub fn take(&mut self) -> Result<Option<V>> {
        Ok(self.bound.remove()?.map(|cell| cell.0))
    }

    /// Deletes the value.
    ///
    /// # Errors
    /// If the store can't be read, or the value can't be encoded or decoded.
    pub fn clear(&mut self) -> Result<()> {
        self.bound.remove().map(|_| ())
    }
}

impl<V: StateValue> StateHandle for ValueState<V> {
    fn open(registry: &mut StateRegistry, name: &str) -> Result<Self> {
        let types = vec![type_name::<V>().to_owned()];
        Ok(Self {
            bound: Bound::open(registry, name, StateKind::Value, types)?,
            default: DefaultValue::Unchecked,
        })
    }

    #[inline]
    fn set_key(&mut self, hash: KeyHash, key: &[u8]) {
        self.bound.set_key(hash, key);
    }

    fn table(&mut self) -> &mut dyn StateTable {
        self.bound.table()
    }
}

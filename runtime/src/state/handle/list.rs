//! Elements of the current key, in the order in which they were added.

use std::any::type_name;
use std::collections::VecDeque;

use crate::error::{Error, Result};
use crate::key::KeyHash;
use crate::state::StateValue;
use crate::state::codec;
use crate::state::handle::bound::Bound;
use crate::state::lease::StateTable;
use crate::state::registry::{StateKind, StateRegistry};
use crate::state::states::StateHandle;
use crate::state::table::cell::{CLEAN, Cell, EmitRow, Rows, Swept, Version};

/// Elements of the current key, in the order in which they were added. Adding one writes one row, not the list.
pub struct ListState<T: StateValue> {
    bound: Bound<Elements<T>>,
}

impl<T: StateValue> ListState<T> {
    /// Adds an element at the end.
    ///
    /// # Errors
    /// If the store can't be read, or what is stored can't be encoded or decoded.
    pub fn push(&mut self, element: T) -> Result<()> {
        let (elements, version) = self.bound.touch_or_insert(Elements::default)?;
        elements.push(element, version);
        Ok(())
    }

    /// Adds elements at the end.
    ///
    /// # Errors
    /// If the store can't be read, or what is stored can't be encoded or decoded.
    pub fn extend(&mut self, elements: impl IntoIterator<Item = T>) -> Result<()> {
        let mut more = elements.into_iter().peekable();
        if more.peek().is_none() {
            return Ok(());
        }
        let (cell, version) = self.bound.touch_or_insert(Elements::default)?;
        more.for_each(|element| cell.push(element, version));
        Ok(())
    }

    /// The elements, oldest first.
    ///
    /// # Errors
    /// If the store can't be read, or what is stored can't be decoded.
    pub fn iter(&mut self) -> Result<impl Iterator<Item = &T>> {
        Ok(self.bound.get()?.into_iter().flat_map(|cell| cell.live.iter().map(|slot| &slot.element)))
    }

    /// Removes all elements and returns them, oldest first.
    ///
    /// # Errors
    /// If the store can't be read, or what is stored can't be encoded or decoded.
    pub fn drain(&mut self) -> Result<impl Iterator<Item = T> + use<T>> {
        let live = match self.bound.get()?.is_some_and(|cell| !cell.live.is_empty()) {
            true => self.bound.touch()?.map(|(cell, version)| cell.take(version)),
            false => None,
        };
        Ok(live.unwrap_or_default().into_iter().map(|slot| slot.element))
    }

    /// Removes all elements.
    ///
    /// # Errors
    /// If the store can't be read, or what is stored can't be encoded or decoded.
    pub fn clear(&mut self) -> Result<()> {
        self.drain().map(|_| ())
    }

    /// Number of elements.
    ///
    /// # Errors
    /// If the store can't be read, or what is stored can't be decoded.
    pub fn len(&mut self) -> Result<usize> {
        Ok(self.bound.get()?.map_or(0, |cell| cell.live.len()))
    }

    /// Whether there is no element.
    ///
    /// # Errors
    /// If the store can't be read, or what is stored can't be decoded.
    pub fn is_empty(&mut self) -> Result<bool> {
        Ok(self.len()? == 0)
    }
}

impl<T: StateValue> StateHandle for ListState<T> {
    fn open(registry: &mut StateRegistry, name: &str) -> Result<Self> {
        let types = vec![type_name::<T>().to_owned()];
        Ok(Self { bound: Bound::open(registry, name, StateKind::List, types)? })
    }

    #[inline]
    fn set_key(&mut self, hash: KeyHash, key: &[u8]) {
        self.bound.set_key(hash, key);
    }

    fn table(&mut self) -> &mut dyn StateTable {
        self.bound.table()
    }
}

/// The elements of one key. Sequence numbers rise while the cell is in memory, so an element with the current
/// version's stamp was never written and leaves no tombstone.
struct Elements<T> {
    live: VecDeque<Element<T>>,
    /// Removed elements that the store may still hold, in the order of (version, sequence).
    dead: Vec<Dead>,
    next: u64,
}

struct Element<T> {
    sequence: u64,
    stamp: Version,
    element: T,
}

#[derive(Clone, Copy)]
struct Dead {
    sequence: u64,
    stamp: Version,
}

impl<T> Default for Elements<T> {
    fn default() -> Self {
        Self { live: VecDeque::new(), dead: Vec::new(), next: 0 }
    }
}

impl<T> Elements<T> {
    fn push(&mut self, element: T, stamp: Version) {
        self.live.push_back(Element { sequence: self.next, stamp, element });
        self.next += 1;
    }

    fn take(&mut self, version: Version) -> VecDeque<Element<T>> {
        let stored = self.live.iter().filter(|slot| slot.stamp != version);
        self.dead.extend(stored.map(|slot| Dead { sequence: slot.sequence, stamp: version }));
        std::mem::take(&mut self.live)
    }
}

impl<T: StateValue> Cell for Elements<T> {
    const SWEPT: bool = true;

    fn rows(&self, which: Rows, scratch: &mut Vec<u8>, emit: &mut EmitRow<'_>) -> Result<()> {
        // All removed elements are older than all live ones.
        if let Rows::WrittenIn(version) = which {
            for dead in self.dead.iter().filter(|dead| dead.stamp == version) {
                emit(&dead.sequence.to_be_bytes(), None)?;
            }
        }
        for slot in &self.live {
            if which == Rows::Live || which == Rows::WrittenIn(slot.stamp) {
                scratch.clear();
                codec::encode_value(&slot.element, scratch)?;
                emit(&slot.sequence.to_be_bytes(), Some(scratch))?;
            }
        }
        Ok(())
    }

    fn load(before: Option<Self>, element: &[u8], value: &[u8]) -> Result<Self> {
        let sequence = <[u8; 8]>::try_from(element).map(u64::from_be_bytes).map_err(|_| Error::Codec {
            type_name: type_name::<T>(),
            problem: format!(
                "a list row's element has {} bytes instead of 8: not a list's state",
                element.len()
            ),
        })?;
        let mut cell = before.unwrap_or_default();
        cell.live.push_back(Element { sequence, stamp: CLEAN, element: codec::decode_value(value)? });
        cell.next = sequence + 1;
        Ok(cell)
    }

    fn sweep(&mut self, durable: Version) -> Swept {
        self.dead.retain(|dead| dead.stamp > durable);
        match (self.dead.is_empty(), self.live.is_empty()) {
            (false, _) => Swept::Pending,
            (true, true) => Swept::Vacant,
            (true, false) => Swept::Clean,
        }
    }

    fn check(&self) -> Result<()> {
        self.live.front().map_or(Ok(()), |slot| codec::check_codec(&slot.element))
    }
}

//! What all handles share: a table, the current key, and where its cell was last found.

use crate::error::Result;
use crate::key::KeyHash;
use crate::state::registry::{StateKind, StateRegistry};
use crate::state::table::cell::{Cell, Version};
use crate::state::table::core::Table;
use crate::state::table::key::Encoded;
use crate::state::table::key::SmallBytes;
use crate::state::table::slots::At;

/// A table bound to one key at a time.
pub(super) struct Bound<C: Cell> {
    table: Table<Encoded, C>,
    hash: KeyHash,
    key: SmallBytes,
    found: Found,
}

/// Where the current key's cell is, as far as it is known.
#[derive(Clone, Copy)]
enum Found {
    NotAsked,
    /// `None`: the key has no cell. True for this generation of the table.
    Asked(u64, Option<At>),
}

impl<C: Cell> Bound<C> {
    pub(super) fn open(
        registry: &mut StateRegistry,
        name: &str,
        kind: StateKind,
        types: Vec<String>,
    ) -> Result<Self> {
        let table = Table::open(registry.register(name, kind, types)?)?;
        Ok(Self { table, hash: KeyHash(0), key: SmallBytes::EMPTY, found: Found::NotAsked })
    }

    #[inline]
    pub(super) fn set_key(&mut self, hash: KeyHash, key: &[u8]) {
        self.hash = hash;
        self.key = SmallBytes::new(key);
        self.found = Found::NotAsked;
    }

    #[inline]
    fn at(&mut self) -> Result<Option<At>> {
        match self.found {
            Found::Asked(generation, at) if generation == self.table.generation() => Ok(at),
            _ => {
                let at = self.table.find(self.hash, self.key.as_slice())?;
                self.found = Found::Asked(self.table.generation(), at);
                Ok(at)
            }
        }
    }

    /// The current key's cell.
    #[inline]
    pub(super) fn get(&mut self) -> Result<Option<&C>> {
        Ok(self.at()?.map(|at| self.table.cell(at)))
    }

    /// The current key's cell, to be changed, with the version to stamp elements with.
    #[inline]
    pub(super) fn touch(&mut self) -> Result<Option<(&mut C, Version)>> {
        let version = self.table.version();
        match self.at()? {
            Some(at) => self.table.touch(at).map(|cell| Some((cell, version))),
            None => Ok(None),
        }
    }

    /// The current key's cell, to be changed; made where there is none.
    #[inline]
    pub(super) fn touch_or_insert(&mut self, make: impl FnOnce() -> C) -> Result<(&mut C, Version)> {
        let version = self.table.version();
        let at = match self.at()? {
            Some(at) => at,
            None => {
                let at = self.table.insert(self.hash, self.key.as_slice(), make())?;
                self.found = Found::Asked(self.table.generation(), Some(at));
                at
            }
        };
        self.table.touch(at).map(|cell| (cell, version))
    }

    /// Deletes the current key's cell.
    pub(super) fn remove(&mut self) -> Result<Option<C>> {
        match self.at()? {
            Some(at) => self.table.remove(at).map(Some),
            None => Ok(None),
        }
    }

    pub(super) fn table(&mut self) -> &mut Table<Encoded, C> {
        &mut self.table
    }
}

//! Finds the partial of a key: positions by hash, in a few kilobytes.

use tidegate_runtime::key::KeyHash;

/// Of `u16`: 8 KiB, which stay in the processor's first cache.
const SLOTS: usize = 4_096;
/// Partials that are found at most, the newest. Half of the slots stay free, so that a search is short.
const FOUND_MAX: usize = SLOTS / 2;

/// Open addressing with linear probing. A slot holds a position counted from `from`, plus one, or 0 if it is free.
pub(super) struct Index {
    slots: Box<[u16; SLOTS]>,
    /// The first position that is found.
    from: usize,
}

/// Where a partial is, or can be put.
pub(super) struct Place {
    slot: usize,
    /// Its position.
    pub(super) found: Option<usize>,
}

impl Default for Index {
    fn default() -> Self {
        Self { slots: Box::new([0; SLOTS]), from: 0 }
    }
}

impl Index {
    /// Forgets all positions; those from `from` on can be put in.
    pub(super) fn forget(&mut self, from: usize) {
        self.slots.fill(0);
        self.from = from;
    }

    /// Looks for the partial with a hash that `is_it` agrees to.
    #[inline(always)]
    pub(super) fn find(&self, hash: KeyHash, mut is_it: impl FnMut(usize) -> bool) -> Place {
        let mut slot = (hash.0 ^ (hash.0 >> 32)) as usize % SLOTS;
        loop {
            let Some(offset) = usize::from(self.slots[slot]).checked_sub(1) else {
                return Place { slot, found: None };
            };
            let position = self.from + offset;
            if is_it(position) {
                return Place { slot, found: Some(position) };
            }
            slot = (slot + 1) % SLOTS;
        }
    }

    /// Puts a partial where `find` looked last.
    #[inline(always)]
    pub(super) fn set(&mut self, place: &Place, position: usize) {
        if position - self.from >= FOUND_MAX {
            self.forget(position);
        }
        self.slots[place.slot] = (position - self.from + 1) as u16;
    }
}

//! Finds the partial of a key within a batch: positions by hash, in a few kilobytes that are never cleared.

use tidegate_runtime::key::KeyHash;

/// Of `u32`: 8 KiB, which stay in the processor's first cache.
const SLOTS: usize = 2_048;
/// Partials that are open at once, as many as a usual batch has records: half of the slots stay free, so that a search
/// is short.
const OPEN_MAX: u32 = 1_024;

/// Open addressing with linear probing. A slot holds a partial's number, which rises over all batches; numbers below
/// `open_from` are of partials that nothing is added to any more, so their slots are free.
pub(super) struct Index {
    slots: Box<[u32; SLOTS]>,
    /// The number of the partial at position 0.
    first: u32,
    open_from: u32,
}

/// Where a partial is, or can be put.
pub(super) struct Place {
    slot: usize,
    /// Its position in the batch.
    pub(super) found: Option<usize>,
}

impl Default for Index {
    fn default() -> Self {
        Self { slots: Box::new([0; SLOTS]), first: 1, open_from: 1 }
    }
}

impl Index {
    /// Forgets the `partials` of the batch before.
    pub(super) fn begin(&mut self, partials: usize) {
        self.first = self.first.saturating_add(u32::try_from(partials).unwrap_or(u32::MAX));
        if self.first > u32::MAX / 2 {
            *self = Self::default();
        }
        self.open_from = self.first;
    }

    /// Closes the `partials` of the batch so far.
    pub(super) fn close(&mut self, partials: usize) {
        self.open_from = self.first + partials as u32;
    }

    /// Looks for the open partial with a hash that `is_it` agrees to.
    #[inline(always)]
    pub(super) fn find(&self, hash: KeyHash, mut is_it: impl FnMut(usize) -> bool) -> Place {
        let mut slot = (hash.0 ^ (hash.0 >> 32)) as usize % SLOTS;
        loop {
            let number = self.slots[slot];
            if number < self.open_from {
                return Place { slot, found: None };
            }
            let position = (number - self.first) as usize;
            if is_it(position) {
                return Place { slot, found: Some(position) };
            }
            slot = (slot + 1) % SLOTS;
        }
    }

    /// Puts a partial where `find` looked last.
    #[inline(always)]
    pub(super) fn set(&mut self, place: &Place, position: usize) {
        let number = self.first + position as u32;
        if number - self.open_from >= OPEN_MAX {
            self.open_from = number;
        }
        self.slots[place.slot] = number;
    }
}

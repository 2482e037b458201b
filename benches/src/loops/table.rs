//! An open-addressing table of counts by non-zero `u64` keys, as small and fast as the loops need it.

/// A slot: key and value; key 0 is free.
type Slot<V> = (u64, V);

/// Linear probing, at most three quarters full.
pub(crate) struct Table<V> {
    slots: Vec<Slot<V>>,
    shift: u32,
    entries: usize,
}

impl<V: Copy + Default> Table<V> {
    /// Room for `entries` keys without growth.
    pub(crate) fn with_room(entries: usize) -> Self {
        let bits = (entries * 4 / 3 + 1).next_power_of_two().trailing_zeros().max(4);
        Self { slots: vec![(0, V::default()); 1 << bits], shift: 64 - bits, entries: 0 }
    }

    fn start(&self, key: u64) -> usize {
        (key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> self.shift) as usize
    }

    /// Has the slot of a key on its way from memory.
    #[inline]
    #[expect(unsafe_code, reason = "the loop is to be the fastest: there is no safe prefetch")]
    pub(crate) fn prefetch(&self, key: u64) {
        #[cfg(target_arch = "x86_64")]
        {
            use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
            let slot: *const Slot<V> = &self.slots[self.start(key)];
            // SAFETY: a prefetch reads nothing, and the slot is within the allocation.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(slot.cast()) };
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = key;
    }

    /// The value of a key, made by default if it is new.
    #[inline]
    pub(crate) fn entry(&mut self, key: u64) -> &mut V {
        debug_assert_ne!(key, 0, "0 marks a free slot");
        let mask = self.slots.len() - 1;
        let mut at = self.start(key) & mask;
        loop {
            if self.slots[at].0 == key {
                return &mut self.slots[at].1;
            }
            if self.slots[at].0 == 0 {
                break;
            }
            at = (at + 1) & mask;
        }
        if (self.entries + 1) * 4 > self.slots.len() * 3 {
            self.grow();
            return self.entry(key);
        }
        self.entries += 1;
        self.slots[at] = (key, V::default());
        &mut self.slots[at].1
    }

    #[cold]
    fn grow(&mut self) {
        let mut larger = Self::with_room(self.slots.len() * 3 / 2);
        self.entries().for_each(|(key, value)| *larger.entry(key) = value);
        *self = larger;
    }

    /// All keys and values, in no order.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (u64, V)> + '_ {
        self.slots.iter().filter(|(key, _)| *key != 0).copied()
    }

    /// Number of keys.
    pub(crate) fn len(&self) -> usize {
        self.entries
    }

    /// Removes all keys.
    pub(crate) fn clear(&mut self) {
        self.slots.fill((0, V::default()));
        self.entries = 0;
    }
}

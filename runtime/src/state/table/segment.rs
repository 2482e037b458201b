//! A segment: up to about 1,024 slots without gaps, and a small index over them in the order of hashes.
//!
//! The index is open addressing over two-byte tags: part of the hash, and the number of the slot. It is small enough
//! for the processor's caches where the slots are not, so a look-up touches one slot, and a slot has no gaps around it.
//! A slot's home in the index is a multiply-shift of the hash bits below the segment's, so homes are in the order of
//! hashes; probing is linear and insertion keeps the order, so encoding is a walk along the index.

use crate::key::KeyHash;
use crate::state::table::cell::Version;
use crate::state::table::key::TableKey;
use crate::state::table::prefetch::prefetch;
use crate::state::table::range::{HashRange, Position};
use crate::state::table::slot::Slot;

/// Slots in a segment before it is divided.
pub(crate) const SEGMENT_SLOTS_MAX: usize = 1_024;
/// Slots that a segment can number, if dividing doesn't help.
pub(crate) const SEGMENT_SLOTS_LIMIT: usize = 2_000;
/// Tags that are compared at once; more than 49 of 50 keys are among them.
const NEAREST: usize = 4;
/// Homes of the smallest index.
const HOMES_MIN: u32 = 8;
/// Places behind the last home, for tags pushed over the end.
const OVERFLOW: usize = 8;

/// The header of a segment, one line of the cache.
#[repr(align(64))]
pub(crate) struct Segment<K, C> {
    slots: Vec<Slot<K, C>>,
    index: Box<[Tag]>,
    homes: u32,
    /// The newest stamp in it.
    pub(crate) last: Version,
    /// Its side buffer, or `NO_SIDE`.
    pub(crate) side: u32,
    /// Hash bits that number it. Below the directory's: it stands for several entries of the directory.
    pub(crate) depth: u8,
    /// Whether every live key of its range is in memory.
    pub(crate) coverage: Coverage,
    /// Whether it was used since the clock hand passed.
    pub(crate) recency: Recency,
    /// Whether it holds tombstones.
    pub(crate) litter: Litter,
    /// Keys that were read from the store one at a time while it was partial.
    pub(crate) keys_read: u8,
}

pub(crate) const NO_SIDE: u32 = u32::MAX;

/// What a miss in a segment says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Coverage {
    /// The key has no entry.
    Complete,
    /// The store must be asked.
    Partial,
}

/// What the clock hand knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Recency {
    Used,
    Idle,
}

/// Whether a sweep would find something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Litter {
    None,
    Some,
}

/// What a probe found: the number of a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Probe {
    Live(usize),
    Dead(usize),
    Absent,
}

/// A place of the index: 5 bits of the hash and, in 11 bits, one more than the slot's number; 0 is empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Tag(u16);

impl Tag {
    const EMPTY: Tag = Tag(0);
    /// The bits of the slot's number.
    const NUMBER: u16 = 0x7ff;

    #[inline(always)]
    fn print(hash: KeyHash) -> u16 {
        hash.0 as u16 & !Self::NUMBER
    }

    fn new(hash: KeyHash, slot: usize) -> Self {
        debug_assert!(slot < SEGMENT_SLOTS_LIMIT);
        Tag(Self::print(hash) | (slot as u16 + 1))
    }

    /// Whether it may be of a hash with this print; an empty one too, if that is 0.
    #[inline(always)]
    fn has(self, print: u16) -> bool {
        (self.0 ^ print) <= Self::NUMBER
    }

    /// The slot's number; of an empty one, a number that no slot has.
    #[inline(always)]
    fn slot(self) -> usize {
        usize::from(self.0 & Self::NUMBER).wrapping_sub(1)
    }
}

impl<K: TableKey, C> Segment<K, C> {
    pub(crate) fn new(depth: u8, coverage: Coverage) -> Self {
        Self {
            slots: Vec::new(),
            index: Box::default(),
            homes: 0,
            last: 0,
            side: NO_SIDE,
            depth,
            coverage,
            recency: Recency::Idle,
            litter: Litter::None,
            keys_read: 0,
        }
    }

    /// The place of the index where a look-up starts.
    #[inline(always)]
    pub(crate) fn home(&self, position: Position) -> usize {
        ((u128::from(position << self.depth) * u128::from(self.homes)) >> 64) as usize
    }

    /// Fetches into the cache the index where a look-up starts.
    #[inline(always)]
    pub(crate) fn prefetch_index(&self, home: usize) {
        prefetch(self.index.as_ptr().wrapping_add(home));
    }

    /// The slot that is most likely a key's, fetched into the cache.
    ///
    /// How far a tag stands from its home can't be predicted, so the nearest ones are compared without a branch.
    #[inline(always)]
    pub(crate) fn prefetch_slot(&self, home: usize, hash: KeyHash) -> usize {
        let nearest = self.index.get(home..).and_then(|index| index.first_chunk::<NEAREST>());
        let Some(nearest) = nearest else { return usize::MAX };
        let print = Tag::print(hash);
        let guess =
            nearest.iter().rev().fold(Tag::EMPTY, |guess, tag| if tag.has(print) { *tag } else { guess });
        let slot = self.slots.as_ptr().wrapping_add(guess.slot());
        prefetch(slot);
        // It may reach into the next line.
        prefetch(slot.cast::<u8>().wrapping_add(size_of::<Slot<K, C>>() - 1));
        guess.slot()
    }

    pub(crate) fn probe(&self, home: usize, hash: KeyHash, key: &K::Lookup) -> Probe {
        let print = Tag::print(hash);
        for tag in self.index.get(home..).unwrap_or_default() {
            if *tag == Tag::EMPTY {
                break;
            }
            if tag.has(print) {
                match &self.slots[tag.slot()] {
                    Slot::Live { key: held, .. } if held.is(key) => return Probe::Live(tag.slot()),
                    Slot::Dead { key: held, .. } if held.is(key) => return Probe::Dead(tag.slot()),
                    _ => {}
                }
            }
        }
        Probe::Absent
    }

    /// Whether a slot is a live key with this stamp.
    #[inline(always)]
    pub(crate) fn is_dirty(&self, slot: usize, key: &K::Lookup, current: Version) -> bool {
        match self.slots.get(slot) {
            Some(Slot::Live { stamp, key: held, .. }) => *stamp == current && held.is(key),
            _ => false,
        }
    }

    #[inline(always)]
    pub(crate) fn slot(&self, slot: usize) -> &Slot<K, C> {
        &self.slots[slot]
    }

    #[inline(always)]
    pub(crate) fn slot_mut(&mut self, slot: usize) -> &mut Slot<K, C> {
        &mut self.slots[slot]
    }

    /// In no order.
    pub(crate) fn slots(&self) -> &[Slot<K, C>] {
        &self.slots
    }

    /// In the order of hashes.
    pub(crate) fn ordered(&self) -> impl Iterator<Item = &Slot<K, C>> {
        self.index.iter().filter(|tag| **tag != Tag::EMPTY).map(|tag| &self.slots[tag.slot()])
    }

    pub(crate) fn used(&self) -> usize {
        self.slots.len()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.slots.capacity() * size_of::<Slot<K, C>>() + size_of_val::<[Tag]>(&self.index)
    }

    /// Adds a key's slot and returns its number. The key must not be there.
    pub(crate) fn insert(&mut self, range: &HashRange, hash: KeyHash, slot: Slot<K, C>) -> usize {
        if self.slots.len() == self.slots.capacity() {
            self.slots.reserve_exact(4 + self.slots.len() / 5);
        }
        let number = self.slots.len();
        self.slots.push(slot);
        if self.slots.len() * 2 > self.homes as usize {
            self.rebuild(range, wanted(self.slots.len()));
        } else {
            self.put(range, hash, number);
        }
        number
    }

    /// Takes a slot out; the last one gets its number.
    pub(crate) fn remove(&mut self, range: &HashRange, slot: usize) -> Slot<K, C> {
        let mut gap = self.place(range, slot);
        while let Some(next) = self.index.get(gap + 1).filter(|next| **next != Tag::EMPTY) {
            if self.home(range.position(self.slots[next.slot()].hash())) > gap {
                break;
            }
            self.index.swap(gap, gap + 1);
            gap += 1;
        }
        self.index[gap] = Tag::EMPTY;
        let last = self.slots.len() - 1;
        if slot != last {
            let place = self.place(range, last);
            self.index[place] = Tag::new(self.slots[last].hash(), slot);
        }
        self.slots.swap_remove(slot)
    }

    /// Makes a live slot a tombstone and returns its cell.
    pub(crate) fn bury(&mut self, slot: usize, current: Version) -> Option<C> {
        // The last slot stands in while the key moves over.
        let (key, cell) = match self.slots.swap_remove(slot) {
            Slot::Live { key, cell, .. } => (key, Some(cell)),
            Slot::Dead { key, .. } => (key, None),
        };
        self.slots.push(Slot::Dead { stamp: current, key });
        let last = self.slots.len() - 1;
        self.slots.swap(slot, last);
        cell
    }

    /// Keeps the slots that `keep` accepts, and gives memory back where few are left. Numbers change.
    pub(crate) fn retain(&mut self, range: &HashRange, keep: impl FnMut(&mut Slot<K, C>) -> bool) {
        self.slots.retain_mut(keep);
        if self.slots.len() * 2 < self.slots.capacity() {
            self.slots.shrink_to(self.slots.len() + self.slots.len() / 5);
        }
        self.rebuild(range, wanted(self.slots.len()));
    }

    /// Divides it in two, one more hash bit each. Flags are inherited.
    pub(crate) fn divide(&mut self, range: &HashRange) -> Segment<K, C> {
        self.depth += 1;
        let bit = 64 - u32::from(self.depth);
        let slots = std::mem::take(&mut self.slots);
        let len = slots.len() / 2 + slots.len() / 8;
        let mut upper = Segment::new(self.depth, self.coverage);
        (upper.last, upper.recency, upper.litter) = (self.last, self.recency, self.litter);
        upper.slots.reserve_exact(len);
        self.slots.reserve_exact(len);
        for slot in slots {
            let half = if range.position(slot.hash()) >> bit & 1 == 1 { &mut upper } else { &mut *self };
            half.slots.push(slot);
        }
        upper.rebuild(range, wanted(upper.slots.len()));
        self.rebuild(range, wanted(self.slots.len()));
        upper
    }

    /// Where the index holds a slot's number.
    fn place(&self, range: &HashRange, slot: usize) -> usize {
        let home = self.home(range.position(self.slots[slot].hash()));
        let distance = self.index[home..].iter().position(|tag| tag.slot() == slot);
        home + distance.expect("I95: every slot is in the index, at its home or after")
    }

    /// Indexes a slot, in the order of hashes.
    fn put(&mut self, range: &HashRange, hash: KeyHash, slot: usize) {
        let home = self.home(range.position(hash));
        let is_before = |tag: &&Tag| **tag != Tag::EMPTY && self.slots[tag.slot()].hash() <= hash;
        let place = home + self.index[home..].iter().take_while(is_before).count();
        match self.index[place..].iter().position(|tag| *tag == Tag::EMPTY) {
            Some(free) => {
                self.index[place..=place + free].rotate_right(1);
                self.index[place] = Tag::new(hash, slot);
            }
            None => {
                // Pushed over the end, as happens to keys of one hash: the end grows.
                let mut index = std::mem::take(&mut self.index).into_vec();
                index.resize(index.len() + index.len() / 4 + OVERFLOW, Tag::EMPTY);
                self.index = index.into_boxed_slice();
                self.put(range, hash, slot);
            }
        }
    }

    fn rebuild(&mut self, range: &HashRange, homes: u32) {
        let mut ordered: Vec<(KeyHash, usize)> =
            self.slots.iter().enumerate().map(|(number, slot)| (slot.hash(), number)).collect();
        ordered.sort_unstable();
        self.homes = homes;
        let len = if homes == 0 { 0 } else { homes as usize + OVERFLOW };
        let mut index: Vec<Tag> = Vec::with_capacity(len);
        for (hash, number) in ordered {
            let home = self.home(range.position(hash));
            if index.len() < home {
                index.resize(home, Tag::EMPTY);
            }
            index.push(Tag::new(hash, number));
        }
        let len = len.max(index.len());
        index.resize(len, Tag::EMPTY);
        self.index = index.into_boxed_slice();
    }
}

/// Homes for a number of slots: a third full, and up to a half.
fn wanted(used: usize) -> u32 {
    if used == 0 { 0 } else { (used as u32 * 3).max(HOMES_MIN) }
}

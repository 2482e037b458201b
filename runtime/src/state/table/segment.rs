//! A segment: up to about 256 slots in the order of their hashes, by open addressing.

use crate::key::KeyHash;
use crate::state::table::cell::Version;
use crate::state::table::key::TableKey;
use crate::state::table::range::{HashRange, Position};
use crate::state::table::slot::Slot;

/// Slots in a segment before it is divided.
pub(crate) const SEGMENT_SLOTS_MAX: usize = 256;
/// Homes of the smallest array.
const HOMES_MIN: u32 = 8;
/// Slots behind the last home, for those pushed over the end.
const OVERFLOW_SLOTS: usize = 8;

/// The header of a segment.
///
/// A slot's home is a multiply-shift of the hash bits below the segment's, so homes are in the order of hashes;
/// probing is linear and insertion keeps the order, so encoding and dividing are walks.
pub(crate) struct Segment<K, C> {
    slots: Box<[Slot<K, C>]>,
    homes: u32,
    used: u32,
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

/// What a probe found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Probe {
    Live(usize),
    Dead(usize),
    Absent,
}

impl<K: TableKey, C> Segment<K, C> {
    pub(crate) fn new(depth: u8, coverage: Coverage) -> Self {
        Self {
            slots: Box::default(),
            homes: 0,
            used: 0,
            last: 0,
            side: NO_SIDE,
            depth,
            coverage,
            recency: Recency::Idle,
            litter: Litter::None,
        }
    }

    #[inline(always)]
    pub(crate) fn home(&self, position: Position) -> usize {
        home(position, self.depth, self.homes)
    }

    #[inline(always)]
    pub(crate) fn probe(&self, position: Position, key: &K::Lookup) -> Probe {
        let home = self.home(position);
        let Some(slots) = self.slots.get(home..) else { return Probe::Absent };
        for (distance, slot) in slots.iter().enumerate() {
            match slot {
                Slot::Live { key: held, .. } => {
                    if held.is(key) {
                        return Probe::Live(home + distance);
                    }
                }
                Slot::Empty => return Probe::Absent,
                Slot::Dead { key: held, .. } => {
                    if held.is(key) {
                        return Probe::Dead(home + distance);
                    }
                }
            }
        }
        Probe::Absent
    }

    /// Where a live key with this stamp stands; `None` says nothing about others.
    #[inline(always)]
    pub(crate) fn probe_stamped(&self, home: usize, key: &K::Lookup, current: Version) -> Option<usize> {
        for (distance, slot) in self.slots.get(home..)?.iter().enumerate() {
            match slot {
                Slot::Live { stamp, key: held, .. } => {
                    if held.is(key) {
                        return (*stamp == current).then_some(home + distance);
                    }
                }
                Slot::Empty => return None,
                Slot::Dead { .. } => {}
            }
        }
        None
    }

    #[inline(always)]
    pub(crate) fn slot(&self, index: usize) -> &Slot<K, C> {
        &self.slots[index]
    }

    #[inline(always)]
    pub(crate) fn slot_mut(&mut self, index: usize) -> &mut Slot<K, C> {
        &mut self.slots[index]
    }

    pub(crate) fn slots(&self) -> &[Slot<K, C>] {
        &self.slots
    }

    pub(crate) fn used(&self) -> usize {
        self.used as usize
    }

    pub(crate) fn bytes(&self) -> usize {
        size_of_val::<[Slot<K, C>]>(&self.slots)
    }

    /// Puts a key's slot into its place and returns where. The key must not be there; there must be room.
    pub(crate) fn insert(&mut self, range: &HashRange, hash: KeyHash, slot: Slot<K, C>) -> usize {
        if (self.used + 1) * 5 > self.homes * 3 {
            self.resize(range, grown(self.homes));
        }
        let home = self.home(range.position(hash));
        let tail = &self.slots[home..];
        let place =
            home + tail.iter().take_while(|held| held.hash().is_some_and(|held| held <= hash)).count();
        let Some(free) = self.slots[place..].iter().position(Slot::is_empty) else {
            // Pushed over the end: more homes make room, unless hashes are alike; then the end grows.
            self.extend();
            return self.insert(range, hash, slot);
        };
        self.slots[place..=place + free].rotate_right(1);
        self.slots[place] = slot;
        self.used += 1;
        place
    }

    /// Takes a slot out and closes the gap.
    pub(crate) fn remove(&mut self, range: &HashRange, index: usize) -> Slot<K, C> {
        let taken = std::mem::replace(&mut self.slots[index], Slot::Empty);
        let mut gap = index;
        while let Some(hash) = self.slots.get(gap + 1).and_then(Slot::hash) {
            if self.home(range.position(hash)) > gap {
                break;
            }
            self.slots.swap(gap, gap + 1);
            gap += 1;
        }
        self.used -= 1;
        taken
    }

    /// Keeps the slots that `keep` accepts, and gives memory back where few are left.
    pub(crate) fn retain(&mut self, range: &HashRange, mut keep: impl FnMut(&mut Slot<K, C>) -> bool) {
        for slot in &mut self.slots {
            if !slot.is_empty() && !keep(slot) {
                *slot = Slot::Empty;
                self.used -= 1;
            }
        }
        let homes = if self.used * 3 < self.homes { wanted(self.used) } else { self.homes };
        self.resize(range, homes);
    }

    /// Divides it in two, one more hash bit each. Flags are inherited.
    pub(crate) fn divide(&mut self, range: &HashRange) -> Segment<K, C> {
        let slots = std::mem::take(&mut self.slots);
        self.depth += 1;
        let bit = 64 - u32::from(self.depth);
        let is_upper =
            |slot: &Slot<K, C>| slot.hash().is_some_and(|hash| range.position(hash) >> bit & 1 == 1);
        let (mut low, mut high) = (Vec::new(), Vec::new());
        for slot in slots.into_iter().filter(|slot| !slot.is_empty()) {
            if is_upper(&slot) { high.push(slot) } else { low.push(slot) }
        }
        let mut upper = Segment::new(self.depth, self.coverage);
        (upper.last, upper.recency, upper.litter) = (self.last, self.recency, self.litter);
        upper.place(range, high, 0);
        self.place(range, low, 0);
        upper
    }

    fn extend(&mut self) {
        let mut slots = std::mem::take(&mut self.slots).into_vec();
        let len = slots.len() + slots.len() / 4 + OVERFLOW_SLOTS;
        slots.resize_with(len, || Slot::Empty);
        self.slots = slots.into_boxed_slice();
    }

    fn resize(&mut self, range: &HashRange, homes: u32) {
        let slots = std::mem::take(&mut self.slots).into_vec();
        self.place(range, slots.into_iter().filter(|slot| !slot.is_empty()).collect(), homes);
    }

    /// Lays out slots that are in order, over at least `homes` homes.
    fn place(&mut self, range: &HashRange, slots: Vec<Slot<K, C>>, homes: u32) {
        self.used = slots.len() as u32;
        self.homes = homes.max(wanted(self.used));
        if slots.is_empty() && homes == 0 {
            (self.slots, self.homes) = (Box::default(), 0);
            return;
        }
        let len = self.homes as usize + OVERFLOW_SLOTS;
        let mut placed: Vec<Slot<K, C>> = Vec::with_capacity(len);
        for slot in slots {
            let home = slot.hash().map_or(0, |hash| self.home(range.position(hash)));
            while placed.len() < home {
                placed.push(Slot::Empty);
            }
            placed.push(slot);
        }
        let len = len.max(placed.len());
        placed.resize_with(len, || Slot::Empty);
        self.slots = placed.into_boxed_slice();
    }
}

#[inline(always)]
fn home(position: Position, depth: u8, homes: u32) -> usize {
    ((u128::from(position << depth) * u128::from(homes)) >> 64) as usize
}

/// Homes for a number of slots: two thirds full.
fn wanted(used: u32) -> u32 {
    if used == 0 { 0 } else { (used * 2).max(HOMES_MIN) }
}

fn grown(homes: u32) -> u32 {
    (homes + homes / 5 + 1).max(HOMES_MIN)
}

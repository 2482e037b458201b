//! A segment: up to about 1,024 slots in the order of their hashes, in an array with gaps.
//!
//! Open addressing over the slots themselves: a slot's home is a multiply-shift of the hash bits below the segment's,
//! so homes are in the order of hashes; probing is linear and insertion keeps the order. A look-up touches the header
//! and then the slot, the one random access to memory for it, and encoding is a walk along the array. An index
//! in front would allow slots without gaps, but costs a second random access, which took longer than the slot's.

use crate::key::KeyHash;
use crate::state::table::cell::Version;
use crate::state::table::huge_pages::note_filled;
use crate::state::table::key::TableKey;
use crate::state::table::prefetch::prefetch;
use crate::state::table::range::{HashRange, Position};
use crate::state::table::slot::{Origin, Slot};

/// Slots in a segment before it is divided.
pub(crate) const SEGMENT_SLOTS_MAX: usize = 1_024;
/// Slots that a segment can number, if dividing doesn't help.
pub(crate) const SEGMENT_SLOTS_LIMIT: usize = 2_000;
/// Homes of the smallest array.
const HOMES_MIN: usize = 4;
/// Places behind the last home, for slots pushed over the end.
const OVERFLOW: usize = 4;
/// Bytes of a line of the cache.
const LINE: usize = 64;
/// Bytes of the slots that are small.
const SMALL: usize = 32;

/// The header of a segment, one line of the cache.
#[repr(align(64))]
pub(crate) struct Segment<K, C> {
    places: Vec<Option<Slot<K, C>>>,
    homes: u32,
    /// Places that hold a slot.
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

/// What a probe found: the place of a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Probe {
    Live(usize),
    Dead(usize),
    Absent,
}

impl<K: TableKey, C> Segment<K, C> {
    pub(crate) fn new(depth: u8, coverage: Coverage) -> Self {
        Self {
            places: Vec::new(),
            homes: 0,
            used: 0,
            last: 0,
            side: NO_SIDE,
            depth,
            coverage,
            recency: Recency::Idle,
            litter: Litter::None,
            keys_read: 0,
        }
    }

    /// How full the array gets, in hundredths of its homes. Small slots are cheap to leave empty, and what is looked up
    /// is found sooner.
    const FULL: usize = if size_of::<Option<Slot<K, C>>>() <= SMALL { 60 } else { 80 };

    /// The place where a look-up starts.
    #[inline(always)]
    pub(crate) fn home(&self, position: Position) -> usize {
        ((u128::from(position << self.depth) * u128::from(self.homes)) >> 64) as usize
    }

    /// Fetches into the cache the places where a look-up starts: two lines, for most look-ups pass the end of the first.
    #[inline(always)]
    pub(crate) fn prefetch_places(&self, home: usize) {
        let place = self.places.as_ptr().wrapping_add(home);
        prefetch(place);
        prefetch(place.cast::<u8>().wrapping_add(LINE));
    }

    pub(crate) fn probe(&self, home: usize, key: &K::Lookup) -> Probe {
        for (place, slot) in self.places.iter().enumerate().skip(home) {
            match slot {
                Some(Slot::Live { key: held, .. }) if held.is(key) => return Probe::Live(place),
                Some(Slot::Dead { key: held, .. }) if held.is(key) => return Probe::Dead(place),
                Some(_) => {}
                None => break,
            }
        }
        Probe::Absent
    }

    /// The cell of a live key at `home` or after, with this stamp: it gets it if it may.
    #[inline(always)]
    pub(crate) fn touch(
        &mut self,
        home: usize,
        key: &K::Lookup,
        current: Version,
        may_stamp: impl FnOnce() -> bool,
    ) -> Option<&mut C> {
        for slot in self.places.get_mut(home..)? {
            match slot {
                Some(Slot::Live { key: held, stamp, origin, cell }) if held.is(key) => {
                    if *stamp != current {
                        if !may_stamp() {
                            return None;
                        }
                        (*stamp, *origin, self.last) = (current, Origin::Stored, current);
                    }
                    return Some(cell);
                }
                Some(_) => {}
                None => break,
            }
        }
        None
    }

    /// What is at a place.
    #[inline(always)]
    pub(crate) fn get(&self, place: usize) -> Option<&Slot<K, C>> {
        self.places.get(place)?.as_ref()
    }

    #[inline(always)]
    pub(crate) fn get_mut(&mut self, place: usize) -> Option<&mut Slot<K, C>> {
        self.places.get_mut(place)?.as_mut()
    }

    /// In the order of hashes.
    pub(crate) fn slots(&self) -> impl Iterator<Item = &Slot<K, C>> {
        self.places.iter().flatten()
    }

    /// Length of the array.
    pub(crate) fn places(&self) -> usize {
        self.places.len()
    }

    pub(crate) fn used(&self) -> usize {
        self.used as usize
    }

    pub(crate) fn bytes(&self) -> usize {
        self.places.capacity() * size_of::<Option<Slot<K, C>>>()
    }

    /// Adds a key's slot and returns its place; slots after it may move. The key must not be there.
    pub(crate) fn insert(&mut self, range: &HashRange, hash: KeyHash, slot: Slot<K, C>) -> usize {
        if (self.used() + 1) * 100 > self.homes as usize * Self::FULL {
            let places = std::mem::take(&mut self.places);
            self.fill(range, self.used() + 1, places.into_iter().flatten());
        }
        self.used += 1;
        let home = self.home(range.position(hash));
        let is_before = |held: &&Option<Slot<K, C>>| held.as_ref().is_some_and(|held| held.hash() <= hash);
        let place = home + self.places[home..].iter().take_while(is_before).count();
        let free = self.places[place..].iter().position(Option::is_none).unwrap_or_else(|| {
            // Pushed over the end, as happens to keys of one hash: the end grows.
            let (end, more) = (self.places.len(), self.places.len() / 4 + OVERFLOW);
            self.places.reserve_exact(more);
            self.places.resize_with(end + more, || None);
            end - place
        });
        self.places[place..=place + free].rotate_right(1);
        self.places[place] = Some(slot);
        place
    }

    /// Takes a slot out; slots after it may move.
    pub(crate) fn remove(&mut self, range: &HashRange, place: usize) -> Option<Slot<K, C>> {
        let slot = self.places.get_mut(place)?.take()?;
        self.used -= 1;
        let mut gap = place;
        while let Some(next) = self.get(gap + 1) {
            if self.home(range.position(next.hash())) > gap {
                break;
            }
            self.places.swap(gap, gap + 1);
            gap += 1;
        }
        Some(slot)
    }

    /// Makes a live slot a tombstone and returns its cell.
    pub(crate) fn bury(&mut self, place: usize, current: Version) -> Option<C> {
        let (key, cell) = match self.places.get_mut(place)?.take()? {
            Slot::Live { key, cell, .. } => (key, Some(cell)),
            Slot::Dead { key, .. } => (key, None),
        };
        self.places[place] = Some(Slot::Dead { stamp: current, key });
        cell
    }

    /// Keeps the slots that `keep` accepts, and gives memory back where few are left; slots may move.
    pub(crate) fn retain(&mut self, range: &HashRange, mut keep: impl FnMut(&mut Slot<K, C>) -> bool) {
        let mut used = 0;
        for place in &mut self.places {
            if let Some(slot) = place {
                if keep(slot) {
                    used += 1;
                } else {
                    *place = None;
                }
            }
        }
        if used < self.used() {
            let places = std::mem::take(&mut self.places);
            self.fill(range, used, places.into_iter().flatten());
        }
    }

    /// Divides it in two, one more hash bit each. Flags are inherited.
    pub(crate) fn divide(&mut self, range: &HashRange) -> Segment<K, C> {
        self.depth += 1;
        let bit = 64 - u32::from(self.depth);
        let is_lower = |slot: &Slot<K, C>| range.position(slot.hash()) >> bit & 1 == 0;
        let mut upper = Segment::new(self.depth, self.coverage);
        (upper.last, upper.recency, upper.litter) = (self.last, self.recency, self.litter);
        let lower = self.slots().take_while(|slot| is_lower(slot)).count();
        let above = self.used() - lower;
        let places = std::mem::take(&mut self.places);
        let mut slots = places.into_iter().flatten();
        self.fill(range, lower, slots.by_ref().take(lower));
        upper.fill(range, above, slots);
        upper
    }

    /// Makes the array anew, of a length for `expected` slots, from slots in the order of hashes.
    fn fill(&mut self, range: &HashRange, expected: usize, slots: impl Iterator<Item = Slot<K, C>>) {
        // A fifth less than full.
        let homes = if expected == 0 { 0 } else { (expected * 125).div_ceil(Self::FULL).max(HOMES_MIN) };
        self.homes = homes as u32;
        let len = if homes == 0 { 0 } else { homes + OVERFLOW };
        let mut places = Vec::with_capacity(len);
        self.used = 0;
        for slot in slots {
            let home = self.home(range.position(slot.hash()));
            if places.len() < home {
                places.resize_with(home, || None);
            }
            places.push(Some(slot));
            self.used += 1;
        }
        places.resize_with(len.max(places.len()), || None);
        note_filled(&places);
        self.places = places;
    }
}

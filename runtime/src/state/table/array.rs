//! Slots in the order of their hashes, in an array with gaps.
//!
//! Open addressing over the slots themselves: a slot's home is a multiply-shift of its position, so homes are in the
//! order of hashes; probing is linear and insertion keeps the order. A look-up has one random access to memory, the
//! slot's, and encoding is a walk along the array. An index in front would allow slots without gaps, but costs a second
//! random access, which took longer than the slot's.

use std::ops::Range;

use crate::key::KeyHash;
use crate::state::table::cell::Version;
use crate::state::table::huge_pages::want_huge_pages;
use crate::state::table::key::TableKey;
use crate::state::table::prefetch::prefetch;
use crate::state::table::range::{HashRange, Position, Span};
use crate::state::table::slot::{Origin, Slot};

/// Homes of the smallest array.
const HOMES_MIN: usize = 4;
/// Places behind the last home, for slots pushed over the end: at least, and at most of a long array.
const OVERFLOW: (usize, usize) = (4, 64);
/// Slots that may stand between a key's home and its place.
pub(crate) const ALIKE_MAX: usize = 2_000;
/// Bytes of a line of the cache.
const LINE: usize = 64;
/// Bytes of the slots that are small.
const SMALL: usize = 32;

pub(crate) struct Array<K, C> {
    /// Up to the last place that was ever used.
    places: Vec<Option<Slot<K, C>>>,
    homes: usize,
    /// Slots with which it is full.
    room: usize,
    /// What a position is multiplied by: the homes that there would be if all positions had as many as the span.
    scale: u64,
    /// The home that the span's first position would have then.
    base: u32,
    used: usize,
}

/// How full an array gets. What is large gets as full either way: four fifths of its homes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fill {
    /// Half: slots are near their homes, and what is looked up is found sooner.
    Loose,
    /// Three fifths, where memory is short.
    Dense,
}

/// What a probe found: the place of a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Probe<P> {
    Live(P),
    Dead(P),
    Absent,
}

/// Monotone in the position, up to 2^32: what differs by more is not in one array.
#[inline(always)]
fn scaled(position: Position, scale: u64) -> u32 {
    ((u128::from(position) * u128::from(scale)) >> 64) as u32
}

impl<K: TableKey, C> Array<K, C> {
    /// Without a place.
    pub(crate) fn empty() -> Self {
        Self { places: Vec::new(), homes: 0, room: 0, scale: 0, base: 0, used: 0 }
    }

    /// For the hashes of a span, a fifth less than full with `expected` slots.
    pub(crate) fn for_slots(span: Span, expected: usize, fill: Fill) -> Self {
        let full = match fill {
            _ if size_of::<Option<Slot<K, C>>>() > SMALL => 80,
            Fill::Dense => 60,
            Fill::Loose => 50,
        };
        let homes = (expected * 125).div_ceil(full).max(HOMES_MIN);
        let room = homes * full / 100;
        let places = homes + (homes / 64).clamp(OVERFLOW.0, OVERFLOW.1);
        assert!(places <= u32::MAX as usize, "I100: a table has fewer than 2^32 places");
        let mut places = Vec::with_capacity(places);
        want_huge_pages(&mut places);
        let scale = span.stretched(homes as u64);
        Self { places, homes, room, scale, base: scaled(span.first, scale), used: 0 }
    }

    /// Whether it should not hold so many.
    pub(crate) fn is_full(&self, used: usize) -> bool {
        used > self.room
    }

    /// Whether it is long for so few.
    pub(crate) fn is_sparse(&self, used: usize) -> bool {
        self.homes > HOMES_MIN && used * 4 < self.room
    }

    /// Slots in it.
    pub(crate) fn used(&self) -> usize {
        self.used
    }

    /// Places, up to the last that was used.
    pub(crate) fn len(&self) -> usize {
        self.places.len()
    }

    /// One past the last place where a look-up may start or a slot may be.
    pub(crate) fn end(&self) -> usize {
        self.homes.max(self.places.len())
    }

    /// In the order of hashes.
    pub(crate) fn into_slots(self) -> impl Iterator<Item = Slot<K, C>> {
        self.places.into_iter().flatten()
    }

    /// The place where a look-up starts.
    #[inline(always)]
    pub(crate) fn home(&self, position: Position) -> usize {
        scaled(position, self.scale).wrapping_sub(self.base) as usize
    }

    /// Fetches into the cache the places where a look-up starts: two lines, for most look-ups pass the end of the first.
    #[inline(always)]
    pub(crate) fn prefetch(&self, home: usize) {
        let place = self.places.as_ptr().wrapping_add(home);
        prefetch(place);
        prefetch(place.cast::<u8>().wrapping_add(LINE));
    }

    #[inline]
    pub(crate) fn probe(&self, home: usize, key: &K::Lookup) -> Probe<usize> {
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
                        (*stamp, *origin) = (current, Origin::Stored);
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

    /// Takes what is at a place, and leaves a gap there: what follows may not be found any more.
    pub(crate) fn take(&mut self, place: usize) -> Option<Slot<K, C>> {
        let slot = self.places.get_mut(place)?.take()?;
        self.used -= 1;
        Some(slot)
    }

    /// The places of a span's slots, in the order of hashes, with gaps between.
    pub(crate) fn places(&self, range: &HashRange, span: Span) -> Range<usize> {
        let position = |place| self.get(place).map(|slot| range.position(slot.hash()));
        let mut start = self.home(span.first);
        while position(start).is_some_and(|position| position < span.first) {
            start += 1;
        }
        let mut end = self.home(span.last);
        while position(end).is_some_and(|position| position <= span.last) {
            end += 1;
        }
        start.min(self.len())..end.min(self.len())
    }

    /// The slots of places.
    pub(crate) fn slots(&self, places: Range<usize>) -> impl Iterator<Item = &Slot<K, C>> {
        self.places[places].iter().flatten()
    }

    /// Adds a key's slot and returns its place; slots after it may move. The key must not be there. None if too many
    /// hashes are alike.
    pub(crate) fn insert(&mut self, range: &HashRange, hash: KeyHash, slot: Slot<K, C>) -> Option<usize> {
        let home = self.home(range.position(hash));
        let is_before = |held: &&Option<Slot<K, C>>| held.as_ref().is_some_and(|held| held.hash() <= hash);
        let before = self.places.get(home..).unwrap_or_default().iter().take_while(is_before).count();
        if before >= ALIKE_MAX {
            return None;
        }
        let place = home + before;
        let following = self.places.get(place..).unwrap_or_default();
        let free = place + following.iter().take_while(|held| held.is_some()).count();
        self.reach(free);
        self.places[place..=free].rotate_right(1);
        self.places[place] = Some(slot);
        self.used += 1;
        Some(place)
    }

    /// Adds a slot whose hash is above all others'.
    pub(crate) fn append(&mut self, range: &HashRange, slot: Slot<K, C>) {
        let mut place = self.home(range.position(slot.hash()));
        while self.get(place).is_some() {
            place += 1;
        }
        self.reach(place);
        self.places[place] = Some(slot);
        self.used += 1;
    }

    /// Makes it as long as to hold a place.
    fn reach(&mut self, place: usize) {
        if place >= self.places.len() {
            if place >= self.places.capacity() {
                // Pushed over the end, as happens to keys of nearly one hash.
                self.places.reserve_exact(place + OVERFLOW.1 - self.places.len());
            }
            self.places.resize_with(place + 1, || None);
        }
    }

    /// Takes a slot out; slots after it may move.
    pub(crate) fn remove(&mut self, range: &HashRange, place: usize) -> Option<Slot<K, C>> {
        let slot = self.take(place)?;
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

    /// Keeps the slots of a span that `keep` accepts, and returns how many went; slots may move.
    pub(crate) fn retain(
        &mut self,
        range: &HashRange,
        span: Span,
        keep: &mut impl FnMut(&mut Slot<K, C>) -> bool,
    ) -> usize {
        let Range { start: mut place, mut end } = self.places(range, span);
        let mut gone = 0;
        while place < end {
            if self.get_mut(place).is_none_or(&mut *keep) {
                place += 1;
                continue;
            }
            self.remove(range, place);
            gone += 1;
            // What follows the span may have moved up.
            while end > place && self.is_after(range, end - 1, span) {
                end -= 1;
            }
        }
        gone
    }

    fn is_after(&self, range: &HashRange, place: usize, span: Span) -> bool {
        self.get(place).is_none_or(|slot| range.position(slot.hash()) > span.last)
    }
}

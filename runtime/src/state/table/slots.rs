//! The slots of a table.
//!
//! Where all keys are in memory their hashes are even, and one array holds them: a look-up is a multiplication and one
//! access to memory. Where keys are read back from the store or dropped, in whatever order, they are not: then each
//! segment has an array of its own, until all keys are in memory again.
//!
//! What replaces an array, of the table or of its segments, does so little by little, in the order of hashes, so that no
//! insertion waits for all slots to move.

use std::mem::replace;

use crate::key::KeyHash;
use crate::state::table::array::{Array, Fill, Probe};
use crate::state::table::cell::Version;
use crate::state::table::key::TableKey;
use crate::state::table::range::{HashRange, Position, Span};
use crate::state::table::slot::Slot;

/// Places that an insertion moves: an array is replaced long before the next is full.
const STEP: usize = 64;

pub(crate) struct Slots<K, C> {
    range: HashRange,
    /// Of all hashes, but those that `others` has.
    array: Array<K, C>,
    others: Others<K, C>,
    used: usize,
}

/// The slots that are not in the table's array.
enum Others<K, C> {
    None,
    /// What the array replaces: places before the cursor are moved, keys whose home is one of them are in the array.
    Former {
        array: Array<K, C>,
        cursor: usize,
    },
    /// Arrays of segments; those of segments before the cursor are moved.
    Parts {
        parts: Parts<K, C>,
        cursor: usize,
        stay: Stay,
    },
}

/// Whether segments keep their arrays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stay {
    /// Keys are not all in memory.
    Yes,
    /// They move to the table's.
    No,
}

/// An array for each of the segments that the first bits of a position number.
struct Parts<K, C> {
    arrays: Vec<Array<K, C>>,
    depth: u32,
    /// Places of all.
    places: usize,
}

/// Where a slot is: true until one is inserted or removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct At {
    which: Which,
    place: u32,
}

/// The number of an array.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Which(u32);

impl Which {
    const TABLE: Self = Self(u32::MAX);
    const FORMER: Self = Self(u32::MAX - 1);
}

/// Where a look-up starts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Home(At);

impl Default for Home {
    fn default() -> Self {
        Self(At { which: Which::TABLE, place: 0 })
    }
}

impl<K: TableKey, C> Slots<K, C> {
    /// All keys are in memory.
    pub(crate) fn new(range: HashRange, expected: usize) -> Self {
        let array = if expected == 0 {
            Array::empty()
        } else {
            Array::for_slots(range.span(), expected, Fill::Loose)
        };
        Self { range, array, others: Others::None, used: 0 }
    }

    /// Not all keys are in memory; segments are numbered by so many bits.
    pub(crate) fn in_parts(range: HashRange, depth: u32) -> Self {
        let parts = Parts::new(depth);
        Self { others: Others::Parts { parts, cursor: 0, stay: Stay::Yes }, ..Self::new(range, 0) }
    }

    #[inline(always)]
    pub(crate) fn range(&self) -> &HashRange {
        &self.range
    }

    pub(crate) fn len(&self) -> usize {
        self.used
    }

    /// Bytes of the places in use. What is moved is given back with the rest of its array.
    pub(crate) fn bytes(&self) -> usize {
        let others = match &self.others {
            Others::None => 0,
            Others::Former { array, cursor } => array.len().saturating_sub(*cursor),
            Others::Parts { parts, .. } => parts.places,
        };
        (self.array.len() + others) * size_of::<Option<Slot<K, C>>>()
    }

    /// The array of a position.
    #[inline]
    fn which(&self, position: Position) -> Which {
        match &self.others {
            Others::None => Which::TABLE,
            Others::Former { array, cursor } if array.home(position) >= *cursor => Which::FORMER,
            Others::Former { .. } => Which::TABLE,
            Others::Parts { parts, cursor, .. } => match parts.index(position) {
                index if index < *cursor => Which::TABLE,
                index => Which(index as u32),
            },
        }
    }

    #[inline(always)]
    fn array(&self, which: Which) -> Option<&Array<K, C>> {
        if which == Which::TABLE { Some(&self.array) } else { self.other(which) }
    }

    #[inline(always)]
    fn array_mut(&mut self, which: Which) -> Option<&mut Array<K, C>> {
        if which == Which::TABLE { Some(&mut self.array) } else { self.other_mut(which) }
    }

    fn other(&self, which: Which) -> Option<&Array<K, C>> {
        match &self.others {
            Others::None => None,
            Others::Former { array, .. } => Some(array),
            Others::Parts { parts, .. } => parts.arrays.get(which.0 as usize),
        }
    }

    fn other_mut(&mut self, which: Which) -> Option<&mut Array<K, C>> {
        match &mut self.others {
            Others::None => None,
            Others::Former { array, .. } => Some(array),
            Others::Parts { parts, .. } => parts.arrays.get_mut(which.0 as usize),
        }
    }

    #[inline]
    pub(crate) fn probe(&self, position: Position, key: &K::Lookup) -> Probe<At> {
        let which = self.which(position);
        let Some(array) = self.array(which) else { return Probe::Absent };
        match array.probe(array.home(position), key) {
            Probe::Live(place) => Probe::Live(At::new(which, place)),
            Probe::Dead(place) => Probe::Dead(At::new(which, place)),
            Probe::Absent => Probe::Absent,
        }
    }

    #[inline(always)]
    pub(crate) fn get(&self, at: At) -> Option<&Slot<K, C>> {
        self.array(at.which)?.get(at.place as usize)
    }

    #[inline(always)]
    pub(crate) fn get_mut(&mut self, at: At) -> Option<&mut Slot<K, C>> {
        self.array_mut(at.which)?.get_mut(at.place as usize)
    }

    /// Whether no slot is on its way to another array.
    #[cfg(test)]
    pub(crate) fn is_at_rest(&self) -> bool {
        matches!(self.others, Others::None | Others::Parts { stay: Stay::Yes, .. })
    }

    /// Whether a look-up may be in an array of a segment's own.
    pub(crate) fn is_in_parts(&self) -> bool {
        matches!(self.others, Others::Parts { .. })
    }

    /// Fetches into the cache the places where a look-up starts, and says where. A guess: only with `PARTS` segments'
    /// own arrays count, and what slots move from never does.
    #[inline(always)]
    pub(crate) fn prefetch<const PARTS: bool>(&self, hash: KeyHash) -> Home {
        let position = self.range.position(hash);
        let (which, array) = match &self.others {
            Others::Parts { parts, cursor, .. } if PARTS && parts.index(position) >= *cursor => {
                let index = parts.index(position);
                (Which(index as u32), &parts.arrays[index])
            }
            _ => (Which::TABLE, &self.array),
        };
        let home = array.home(position);
        array.prefetch(home);
        Home(At::new(which, home))
    }

    /// As `Array::touch`, for what the same `prefetch` said.
    #[inline(always)]
    pub(crate) fn touch<const PARTS: bool>(
        &mut self,
        Home(home): Home,
        key: &K::Lookup,
        current: Version,
        may_stamp: impl FnOnce() -> bool,
    ) -> Option<&mut C> {
        let array = if PARTS { self.array_mut(home.which)? } else { &mut self.array };
        array.touch(home.place as usize, key, current, may_stamp)
    }

    /// Adds a key's slot; slots may move. The key must not be there. None if too many hashes are alike.
    pub(crate) fn insert(&mut self, hash: KeyHash, slot: Slot<K, C>) -> Option<At> {
        self.advance(STEP);
        let (range, position) = (self.range, self.range.position(hash));
        if self.which(position) == Which::TABLE && self.array.is_full(self.used + 1) {
            self.replace();
        }
        let which = self.which(position);
        let place = match &mut self.others {
            Others::Parts { parts, .. } if which != Which::TABLE => {
                parts.insert(&range, which.0 as usize, hash, slot)?
            }
            _ => self.array_mut(which)?.insert(&range, hash, slot)?,
        };
        self.used += 1;
        Some(At::new(which, place))
    }

    /// Makes room for more slots in the array of a segment's own, if it has one; slots may move.
    pub(crate) fn reserve(&mut self, position: Position, more: usize) {
        if let Others::Parts { parts, stay: Stay::Yes, .. } = &mut self.others {
            parts.reserve(&self.range, parts.index(position), more);
        }
    }

    /// Takes a slot out; slots may move.
    pub(crate) fn remove(&mut self, at: At) -> Option<Slot<K, C>> {
        let range = self.range;
        let slot = self.array_mut(at.which)?.remove(&range, at.place as usize)?;
        self.used -= 1;
        Some(slot)
    }

    /// Makes a live slot a tombstone and returns its cell.
    pub(crate) fn bury(&mut self, at: At, current: Version) -> Option<C> {
        self.array_mut(at.which)?.bury(at.place as usize, current)
    }

    /// The slots of a segment's span, in the order of hashes.
    pub(crate) fn span(&self, span: Span) -> impl Iterator<Item = &Slot<K, C>> {
        let moved = self.array.slots(self.array.places(&self.range, span));
        let other = self.other_of(span).map(|array| array.slots(array.places(&self.range, span)));
        moved.chain(other.into_iter().flatten())
    }

    /// How many places a walk over a segment's span passes.
    pub(crate) fn places(&self, span: Span) -> usize {
        let other = self.other_of(span).map_or(0, |array| array.places(&self.range, span).len());
        self.array.places(&self.range, span).len() + other
    }

    /// The array that has what the table's array has not of a segment.
    fn other_of(&self, span: Span) -> Option<&Array<K, C>> {
        match &self.others {
            Others::None => None,
            Others::Former { array, .. } => Some(array),
            Others::Parts { parts, .. } => parts.arrays.get(parts.index(span.first)),
        }
    }

    /// Keeps the slots of a segment's span that `keep` accepts, and gives memory back where few are left in an array of
    /// the segment's own; slots may move.
    pub(crate) fn retain(&mut self, span: Span, mut keep: impl FnMut(&mut Slot<K, C>) -> bool) {
        self.used -= self.array.retain(&self.range, span, &mut keep);
        self.used -= match &mut self.others {
            Others::None => 0,
            Others::Former { array, .. } => array.retain(&self.range, span, &mut keep),
            Others::Parts { parts, .. } => parts.retain(&self.range, span, &mut keep),
        };
    }

    /// Goes on moving so many places, or begins to if the array is long for few slots; whether slots moved.
    pub(crate) fn tend(&mut self, places: usize) -> bool {
        let is_sparse = self.array.is_sparse(self.used);
        match &self.others {
            Others::None if is_sparse => self.replace(),
            Others::None | Others::Parts { stay: Stay::Yes, .. } => return false,
            _ => self.advance(places),
        }
        true
    }

    /// All keys are in memory: one array is to hold them.
    pub(crate) fn join(&mut self) {
        if let Others::Parts { stay, .. } = &mut self.others
            && *stay == Stay::Yes
        {
            self.array = Array::for_slots(self.range.span(), self.used + 1, Fill::Loose);
            *stay = Stay::No;
        }
    }

    /// Not all keys are in memory any more: segments, numbered by so many bits, have arrays of their own at once.
    pub(crate) fn part(&mut self, depth: u32) {
        if matches!(self.others, Others::Parts { stay: Stay::Yes, .. }) {
            return;
        }
        self.advance(usize::MAX);
        let mut parts = Parts::new(depth);
        for slot in replace(&mut self.array, Array::empty()).into_slots() {
            parts.append(&self.range, slot);
        }
        self.others = Others::Parts { parts, cursor: 0, stay: Stay::Yes };
    }

    /// There are twice as many segments.
    pub(crate) fn double(&mut self) {
        if let Others::Parts { parts, cursor, .. } = &mut self.others {
            parts.double(&self.range);
            *cursor *= 2;
        }
    }

    /// Begins to replace the array by one that is a fifth less than full with a slot more.
    fn replace(&mut self) {
        self.advance(usize::MAX);
        let array = replace(&mut self.array, Array::for_slots(self.range.span(), self.used + 1, Fill::Loose));
        self.others = Others::Former { array, cursor: 0 };
        self.advance(STEP);
    }

    /// Moves the slots of so many places, if any are to be moved, and the rest of the run or the segment that the last
    /// is in: a look-up then ends at a gap in either array as ever.
    fn advance(&mut self, places: usize) {
        let is_over = match &mut self.others {
            Others::None | Others::Parts { stay: Stay::Yes, .. } => return,
            Others::Former { array, cursor } => {
                let stop = cursor.saturating_add(places);
                let mut is_gap = false;
                while *cursor < array.end() && !(is_gap && *cursor >= stop) {
                    let slot = array.take(*cursor);
                    (is_gap, *cursor) = (slot.is_none(), *cursor + 1);
                    slot.into_iter().for_each(|slot| self.array.append(&self.range, slot));
                }
                *cursor >= array.end()
            }
            Others::Parts { parts, cursor, .. } => {
                let mut left = places;
                while *cursor < parts.arrays.len() && left > 0 {
                    let part = parts.take(*cursor);
                    (left, *cursor) = (left.saturating_sub(part.len()), *cursor + 1);
                    part.into_slots().for_each(|slot| self.array.append(&self.range, slot));
                }
                *cursor >= parts.arrays.len()
            }
        };
        if is_over {
            self.others = Others::None;
        }
    }
}

impl<K: TableKey, C> Parts<K, C> {
    fn new(depth: u32) -> Self {
        Self { arrays: (0..1_usize << depth).map(|_| Array::empty()).collect(), depth, places: 0 }
    }

    #[inline(always)]
    fn index(&self, position: Position) -> usize {
        (position >> (64 - self.depth)) as usize
    }

    fn span(&self, index: usize) -> Span {
        Span::numbered(index, self.depth)
    }

    fn take(&mut self, index: usize) -> Array<K, C> {
        let part = replace(&mut self.arrays[index], Array::empty());
        self.places -= part.len();
        part
    }

    /// Makes room for more slots.
    fn reserve(&mut self, range: &HashRange, index: usize, more: usize) {
        let expected = self.arrays[index].used() + more;
        if self.arrays[index].is_full(expected) {
            self.refill(range, index, expected);
        }
    }

    fn insert(&mut self, range: &HashRange, index: usize, hash: KeyHash, slot: Slot<K, C>) -> Option<usize> {
        self.reserve(range, index, 1);
        let part = &mut self.arrays[index];
        let before = part.len();
        let place = part.insert(range, hash, slot);
        self.places += part.len() - before;
        place
    }

    /// Adds a slot whose hash is above all others'.
    fn append(&mut self, range: &HashRange, slot: Slot<K, C>) {
        let index = self.index(range.position(slot.hash()));
        self.reserve(range, index, 1);
        let part = &mut self.arrays[index];
        let before = part.len();
        part.append(range, slot);
        self.places += part.len() - before;
    }

    fn retain(
        &mut self,
        range: &HashRange,
        span: Span,
        keep: &mut impl FnMut(&mut Slot<K, C>) -> bool,
    ) -> usize {
        let index = self.index(span.first);
        let gone = self.arrays[index].retain(range, span, keep);
        let used = self.arrays[index].used();
        if self.arrays[index].is_sparse(used) {
            self.refill(range, index, used);
        }
        gone
    }

    /// Puts a segment's slots into an array for so many.
    fn refill(&mut self, range: &HashRange, index: usize, expected: usize) {
        let slots = self.take(index);
        let mut part = if expected == 0 {
            Array::empty()
        } else {
            Array::for_slots(self.span(index), expected, Fill::Dense)
        };
        slots.into_slots().for_each(|slot| part.append(range, slot));
        self.places += part.len();
        self.arrays[index] = part;
    }

    fn double(&mut self, range: &HashRange) {
        let whole = replace(self, Self::new(self.depth + 1));
        for slot in whole.arrays.into_iter().flat_map(Array::into_slots) {
            self.append(range, slot);
        }
    }
}

impl At {
    #[inline(always)]
    fn new(which: Which, place: usize) -> Self {
        Self { which, place: place as u32 }
    }
}

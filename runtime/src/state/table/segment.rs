//! A segment: up to 240 entries in the order of their hashes, in an array without gaps.
//!
//! The hash bits below the segment's number 128 buckets, and the header knows where each one's entries start: about
//! one entry a bucket. So a look-up reads two lines of the header, which stay in the cache, and then mostly one line of
//! entries; an integer entry takes 16 bytes and no more, and encoding is a walk along the array. Which version wrote
//! an entry is known by one bit a version that isn't durable, and tombstones stand aside. An insertion moves the
//! entries behind, 2 KiB at most times. (Open addressing with gaps took 43 bytes a key and half as much time
//! again for a look-up: ARCHITECTURE.md, "Measured".)

use std::mem::needs_drop;

use crate::key::KeyHash;
use crate::state::table::bits::Bits;
use crate::state::table::cell::{CLEAN, Version};
use crate::state::table::key::TableKey;
use crate::state::table::prefetch::prefetch;
use crate::state::table::range::Ruler;
use crate::state::table::slot::{Entry, Mark, Origin, Slot, Tombstone};

/// Entries that a segment can number, if dividing doesn't help.
pub(crate) const SEGMENT_ENTRIES_LIMIT: usize = 255;
/// Buckets of a segment.
pub(crate) const BUCKETS: usize = 128;
/// Bytes of entries above which a segment is divided, so that an insertion moves few.
const SEGMENT_BYTES_MAX: usize = 4_096;
/// Entries that are compared without a branch.
const WINDOW: usize = 3;
/// Bytes of a line of the cache.
const LINE: usize = 64;

/// A line for look-ups, two for where buckets start, and one for the rest.
#[repr(C, align(64))]
pub(crate) struct Segment<K, C> {
    /// In the order of hashes.
    entries: Vec<Entry<K, C>>,
    /// The newest stamp in it.
    last: Version,
    /// Whether every live key of its range is in memory.
    pub(crate) coverage: Coverage,
    /// Whether it was used since the clock hand passed.
    pub(crate) recency: Recency,
    /// Whether it holds tombstones.
    pub(crate) litter: Litter,
    /// Keys that were read from the store one at a time while it was partial.
    pub(crate) keys_read: u8,
    /// Entries whose stamp is `last`.
    newest: Bits,
    /// Where the entries of each bucket start.
    starts: [u8; BUCKETS],
    /// Those of the newest whose origin is fresh.
    fresh: Bits,
    /// Its side buffer, or `NO_SIDE`.
    pub(crate) side: u32,
    rest: Option<Box<Rest<K>>>,
}

/// What not every segment has.
struct Rest<K> {
    /// Entries that were written in versions before the newest that were not durable when last looked at; oldest
    /// first. The newest of an entry's bits counts.
    older: Vec<(Version, Bits)>,
    /// In the order of hashes.
    tombstones: Vec<Tombstone<K>>,
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

/// Where a key stands in its segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Its entry.
    Live(usize),
    /// Its tombstone.
    Dead(usize),
}

impl<K: TableKey, C> Segment<K, C> {
    pub(crate) fn new(coverage: Coverage) -> Self {
        Self {
            entries: Vec::new(),
            last: 0,
            coverage,
            recency: Recency::Idle,
            litter: Litter::None,
            keys_read: 0,
            newest: Bits::NONE,
            starts: [0; BUCKETS],
            fresh: Bits::NONE,
            side: NO_SIDE,
            rest: None,
        }
    }

    /// Entries, or tombstones, from which on it should be divided.
    pub(crate) const ENTRIES_MAX: usize = entries_max(size_of::<Entry<K, C>>());

    /// Whether a look-up compares a window of keys at once: it costs less than a branch that every third look-up misses,
    /// if keys are compared in place.
    const BY_WINDOW: bool = !needs_drop::<K>() && size_of::<Entry<K, C>>() <= 24;

    /// Fetches into the cache the lines of the header that a look-up reads.
    #[inline(always)]
    pub(crate) fn prefetch_header(&self, bucket: usize) {
        prefetch(self);
        prefetch(self.starts.as_ptr().wrapping_add(bucket));
    }

    /// Fetches into the cache the entries of a bucket, and returns the place where a look-up starts.
    #[inline(always)]
    pub(crate) fn prefetch_entries(&self, bucket: usize) -> usize {
        let first = self.first(bucket);
        let entry = self.entries.as_ptr().wrapping_add(first).cast::<u8>();
        prefetch(entry);
        prefetch(entry.wrapping_add((WINDOW * size_of::<Entry<K, C>>()).min(LINE)).wrapping_sub(1));
        first
    }

    /// The place where a look-up starts: a window from there on ends within the array.
    #[inline(always)]
    pub(crate) fn first(&self, bucket: usize) -> usize {
        self.start(bucket).min(self.entries.len().saturating_sub(WINDOW))
    }

    #[inline(always)]
    fn start(&self, bucket: usize) -> usize {
        usize::from(self.starts[bucket % BUCKETS])
    }

    /// One past the last entry of a bucket.
    #[inline(always)]
    fn end(&self, bucket: usize) -> usize {
        self.starts.get(bucket + 1).map_or(self.entries.len(), |end| usize::from(*end))
    }

    /// The place of a live key with this stamp, near `first`; `None` says nothing.
    #[inline(always)]
    pub(crate) fn find_newest(&self, first: usize, key: &K::Lookup, current: Version) -> Option<usize> {
        if self.last != current {
            return None;
        }
        let entries = self.entries.get(first..)?;
        let distance = if Self::BY_WINDOW {
            let mut found = 0u32;
            for (distance, entry) in entries.first_chunk::<WINDOW>()?.iter().enumerate() {
                found |= u32::from(entry.key.is(key)) << distance;
            }
            match found {
                0 => WINDOW + entries[WINDOW..].iter().take(WINDOW).position(|entry| entry.key.is(key))?,
                _ => found.trailing_zeros() as usize,
            }
        } else {
            entries.iter().take(WINDOW).position(|entry| entry.key.is(key))?
        };
        self.newest.get(first + distance).then_some(first + distance)
    }

    /// Where a key stands.
    pub(crate) fn find(&self, bucket: usize, (hash, key): (KeyHash, &K::Lookup)) -> Option<Place> {
        let start = self.start(bucket);
        if let Some(distance) =
            self.entries[start..self.end(bucket)].iter().position(|entry| entry.key.is(key))
        {
            return Some(Place::Live(start + distance));
        }
        let start = self.tombstones().partition_point(|dead| dead.hash < hash);
        let alike = self.tombstones()[start..].iter().take_while(|dead| dead.hash == hash);
        alike.map(|dead| dead.key.is(key)).position(|is| is).map(|distance| Place::Dead(start + distance))
    }

    #[inline(always)]
    pub(crate) fn cell(&self, place: usize) -> Option<&C> {
        self.entries.get(place).map(|entry| &entry.cell)
    }

    #[inline(always)]
    pub(crate) fn cell_mut(&mut self, place: usize) -> Option<&mut C> {
        self.entries.get_mut(place).map(|entry| &mut entry.cell)
    }

    pub(crate) fn entry(&self, place: usize) -> Option<&Entry<K, C>> {
        self.entries.get(place)
    }

    /// Whether an entry was written in this version.
    #[inline]
    pub(crate) fn is_written(&self, place: usize, current: Version) -> bool {
        self.last == current && self.newest.get(place)
    }

    /// Whether an entry was made in the newest version where nothing was.
    pub(crate) fn is_fresh(&self, place: usize) -> bool {
        self.fresh.get(place)
    }

    /// The version that wrote an entry last; that of what was read, if it was durable.
    fn stamp_of(&self, place: usize) -> Version {
        if self.newest.get(place) {
            return self.last;
        }
        let older = self.older().iter().rfind(|(_, bits)| bits.get(place));
        older.map_or(CLEAN, |(stamp, _)| *stamp)
    }

    /// The version that wrote what is in a place.
    pub(crate) fn stamp(&self, place: Place) -> Version {
        match place {
            Place::Live(place) => self.stamp_of(place),
            Place::Dead(place) => self.tombstones()[place].stamp,
        }
    }

    pub(crate) fn slot(&self, place: Place) -> Slot<'_, K, C> {
        match place {
            Place::Live(place) => self.entries[place].slot(),
            Place::Dead(place) => self.tombstones()[place].slot(),
        }
    }

    /// The places of entries whose stamps `takes` accepts.
    pub(crate) fn places(&self, takes: impl Fn(Version) -> bool) -> Bits {
        let (newest, read) = ((self.last, self.newest), (CLEAN, Bits::first(self.len())));
        let (mut taken, mut seen) = (Bits::NONE, Bits::NONE);
        for (stamp, bits) in [&newest].into_iter().chain(self.older().iter().rev()).chain([&read]) {
            if takes(*stamp) {
                taken = taken.union(bits.without(seen));
            }
            seen = seen.union(*bits);
        }
        taken
    }

    /// Entries and tombstones whose stamps `takes` accepts, with their hashes and in the order of these.
    pub(crate) fn slots(
        &self,
        takes: impl Fn(Version) -> bool + Copy,
    ) -> impl Iterator<Item = (KeyHash, Slot<'_, K, C>)> {
        let live = self.places(takes).places().filter_map(|place| self.entries.get(place));
        let mut live = live.map(|entry| (entry.key.hash(), entry.slot())).peekable();
        let mut dead = self.tombstones().iter().filter(move |dead| takes(dead.stamp)).peekable();
        std::iter::from_fn(move || match (dead.peek(), live.peek()) {
            (Some(Tombstone { hash, .. }), held) if held.is_none_or(|(live, _)| hash < live) => {
                dead.next().map(|dead| (dead.hash, dead.slot()))
            }
            _ => live.next(),
        })
    }

    /// Whether something in it is durable, if versions up to `durable` are.
    pub(crate) fn has_durable(&self, durable: Version) -> bool {
        self.places(|stamp| stamp <= durable) != Bits::NONE
            || self.tombstones().iter().any(|dead| dead.stamp <= durable)
    }

    pub(crate) fn last(&self) -> Version {
        self.last
    }

    /// Number of entries.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Entries and tombstones.
    pub(crate) fn used(&self) -> usize {
        self.len() + self.tombstones().len()
    }

    /// Whether it should be divided.
    pub(crate) fn is_full(&self) -> bool {
        self.len().max(self.tombstones().len()) >= Self::ENTRIES_MAX
    }

    /// Whether it has entries in several buckets.
    pub(crate) fn is_spread(&self) -> bool {
        self.starts.iter().any(|start| (1..self.len()).contains(&usize::from(*start)))
    }

    /// Bytes of entries and tombstones.
    pub(crate) fn bytes(&self) -> usize {
        let tombstones = self.rest.as_deref().map_or(0, |rest| rest.tombstones.capacity());
        self.entries.capacity() * size_of::<Entry<K, C>>() + tombstones * size_of::<Tombstone<K>>()
    }

    fn older(&self) -> &[(Version, Bits)] {
        self.rest.as_deref().map_or(&[], |rest| &rest.older)
    }

    fn tombstones(&self) -> &[Tombstone<K>] {
        self.rest.as_deref().map_or(&[], |rest| &rest.tombstones)
    }

    fn rest(&mut self) -> &mut Rest<K> {
        self.rest.get_or_insert_with(|| Box::new(Rest { older: Vec::new(), tombstones: Vec::new() }))
    }

    /// All of its bits, for entries that move.
    fn bits(&mut self) -> impl Iterator<Item = &mut Bits> {
        let older = self.rest.as_deref_mut().into_iter().flat_map(|rest| &mut rest.older);
        older.map(|(_, bits)| bits).chain([&mut self.newest, &mut self.fresh])
    }

    /// Marks an entry that is written the first time in a version.
    #[inline]
    pub(crate) fn mark(&mut self, place: usize, mark: Mark) {
        self.renew(mark.stamp);
        if mark.stamp == self.last {
            self.newest.set(place);
            if mark.origin == Origin::Fresh {
                self.fresh.set(place);
            }
        }
    }

    /// Takes note of a stamp that is about to be given: the newest one, or that of what was read.
    #[inline]
    fn renew(&mut self, stamp: Version) {
        if stamp > self.last {
            self.begin(stamp);
        }
    }

    #[cold]
    fn begin(&mut self, stamp: Version) {
        if self.newest != Bits::NONE && self.last > CLEAN {
            let older = (self.last, self.newest);
            self.rest().older.push(older);
        }
        (self.last, self.newest, self.fresh) = (stamp, Bits::NONE, Bits::NONE);
    }

    /// Forgets which entries were written in versions that are durable.
    pub(crate) fn settle(&mut self, durable: Version) {
        if let Some(rest) = self.rest.as_deref_mut() {
            rest.older.retain(|(stamp, _)| *stamp > durable);
            if rest.older.is_empty() && rest.tombstones.capacity() == 0 {
                self.rest = None;
            }
        }
    }

    /// Adds the entry of a key that stands nowhere, and returns its place; entries behind it move. At most
    /// `SEGMENT_ENTRIES_LIMIT` fit.
    pub(crate) fn insert(
        &mut self,
        bucket: usize,
        (hash, mark): (KeyHash, Mark),
        entry: Entry<K, C>,
    ) -> usize {
        let start = self.start(bucket);
        let bucketed = &self.entries[start..self.end(bucket)];
        let place = start + bucketed.iter().take_while(|held| held.key.hash() <= hash).count();
        if self.len() == self.entries.capacity() {
            self.entries.reserve_exact(self.len() / 8 + GROWTH_MIN);
        }
        self.entries.insert(place, entry);
        for bits in self.bits() {
            bits.insert(place);
        }
        for start in self.starts.iter_mut().skip(bucket + 1) {
            *start += 1;
        }
        self.mark(place, mark);
        place
    }

    /// Takes an entry out; entries behind it move.
    pub(crate) fn remove(&mut self, bucket: usize, place: usize) -> Entry<K, C> {
        for bits in self.bits() {
            bits.remove(place);
        }
        for start in self.starts.iter_mut().skip(bucket + 1) {
            *start -= 1;
        }
        self.entries.remove(place)
    }

    /// Puts a tombstone in the place of an entry and returns its cell; entries behind it move.
    pub(crate) fn bury(&mut self, bucket: usize, place: usize, (hash, stamp): (KeyHash, Version)) -> C {
        let Entry { key, cell } = self.remove(bucket, place);
        self.renew(stamp);
        let tombstones = &mut self.rest().tombstones;
        let at = tombstones.partition_point(|dead| dead.hash <= hash);
        tombstones.insert(at, Tombstone { hash, stamp, key });
        cell
    }

    /// Takes a tombstone out: its key lives again.
    pub(crate) fn exhume(&mut self, at: usize) {
        self.rest().tombstones.remove(at);
    }

    /// Keeps the entries that `keep` accepts and the tombstones after `forgotten`, and gives memory back where few
    /// are left; all may move.
    pub(crate) fn retain(
        &mut self,
        ruler: Ruler,
        forgotten: Version,
        mut keep: impl FnMut(&mut C, Version) -> bool,
    ) {
        let mut dropped = Vec::new();
        for place in 0..self.len() {
            let stamp = self.stamp_of(place);
            if !keep(&mut self.entries[place].cell, stamp) {
                dropped.push(place);
            }
        }
        for place in dropped.iter().rev() {
            for bits in self.bits() {
                bits.remove(*place);
            }
        }
        let (mut place, mut next) = (0, dropped.iter().peekable());
        self.entries.retain(|_| {
            let is_dropped = next.next_if_eq(&&place).is_some();
            place += 1;
            !is_dropped
        });
        if !dropped.is_empty() {
            self.measure(ruler);
        }
        if self.len() * 2 < self.entries.capacity() {
            self.give_back();
        }
        if let Some(rest) = self.rest.as_deref_mut() {
            rest.tombstones.retain(|dead| dead.stamp > forgotten);
            rest.tombstones.shrink_to(rest.tombstones.len() * 2);
        }
    }

    /// Divides it in two, one more hash bit each; `ruler` is that of the halves. Flags are inherited.
    pub(crate) fn divide(&mut self, ruler: Ruler) -> Segment<K, C> {
        let mut upper = Segment::new(self.coverage);
        (upper.last, upper.recency, upper.litter) = (self.last, self.recency, self.litter);
        let middle = self.start(BUCKETS / 2);
        upper.entries = self.entries.split_off(middle);
        (upper.newest, upper.fresh) = (self.newest.split_off(middle), self.fresh.split_off(middle));
        if let Some(rest) = self.rest.as_deref_mut() {
            let dead = rest.tombstones.partition_point(|dead| !ruler.is_upper(dead.hash));
            upper.rest().tombstones = rest.tombstones.split_off(dead);
            upper.rest().older =
                rest.older.iter_mut().map(|(stamp, bits)| (*stamp, bits.split_off(middle))).collect();
        }
        self.measure(ruler);
        self.give_back();
        upper.measure(ruler);
        upper
    }

    /// Finds anew where buckets start.
    fn measure(&mut self, ruler: Ruler) {
        self.starts = [0; BUCKETS];
        for entry in &self.entries {
            if let Some(next) = self.starts.get_mut(ruler.bucket(entry.key.hash()) + 1) {
                *next += 1;
            }
        }
        let mut start = 0;
        for count in &mut self.starts {
            start += *count;
            *count = start;
        }
    }

    fn give_back(&mut self) {
        self.entries.shrink_to(self.len() + GROWTH_MIN);
    }
}

/// Entries by which an array grows at least.
const GROWTH_MIN: usize = 4;

const fn entries_max(entry: usize) -> usize {
    match SEGMENT_BYTES_MAX.checked_div(entry) {
        Some(fitting) if fitting < 32 => 32,
        Some(fitting) if fitting < 240 => fitting,
        _ => 240,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::table::cell::Single;
    use crate::state::table::key::Native;

    #[test]
    fn a_header_takes_four_lines_and_look_ups_read_the_first_three() {
        type Integers = Segment<Native<u64>, Single<u64>>;
        assert_eq!(size_of::<Integers>(), 4 * LINE);
        assert_eq!(std::mem::offset_of!(Integers, starts), LINE);
        assert_eq!(std::mem::offset_of!(Integers, fresh), 3 * LINE);
    }

    #[test]
    fn wide_entries_make_small_segments() {
        assert_eq!([0, 16, 64, 1_000].map(entries_max), [240, 240, 64, 32]);
    }
}

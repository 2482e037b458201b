//! The table behind the handles and the keyed table: look-ups, changes and versions.
//!
//! Who guarantees what. The table: a key's newest value is in memory or was handed over; each version's rows are
//! handed over exactly as they were at its freeze, in the order of rows; an entry leaves memory only when the store
//! says that its version is durable. The store: what was submitted is read back by later look-ups of this attempt,
//! stays referenced by every later manifest although its own checkpoint was aborted, and is written again from the
//! retained bytes when a write fails. The step machine: a version is handed over whole before the next freeze.

use std::any::type_name;
use std::collections::VecDeque;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::id::{CheckpointId, StateId};
use crate::key::KeyHash;
use crate::state::lease::{SlicePace, StateLease, StateTable};
use crate::state::registry::{SnapshotMode, TableBudget, TableOrigin};
use crate::state::table::cell::{CLEAN, Cell, FIRST, Version};
use crate::state::table::directory::{Directory, Spot};
use crate::state::table::evict::Eviction;
use crate::state::table::key::TableKey;
use crate::state::table::load::Loading;
use crate::state::table::range::HashRange;
use crate::state::table::segment::{Coverage, Litter, Place, Recency, SEGMENT_ENTRIES_LIMIT};
use crate::state::table::side::Sides;
use crate::state::table::slot::{Entry, Mark, Origin};
use crate::state::table::snapshot::Snapshot;

/// A write-back table: native cells in memory, rows in the store.
pub(crate) struct Table<K: TableKey, C: Cell> {
    pub(super) state: StateId,
    pub(super) lease: Arc<dyn StateLease>,
    pub(super) mode: SnapshotMode,
    pub(super) budget: TableBudget,
    pub(super) directory: Directory<K, C>,
    /// What entries are stamped with when they are written.
    pub(super) current: Version,
    /// Versions up to this one are durable.
    pub(super) durable: Version,
    /// Versions that were frozen and are not durable, oldest first.
    pub(super) pending: VecDeque<(CheckpointId, Version)>,
    pub(super) snapshot: Option<Snapshot>,
    pub(super) sides: Sides,
    pub(super) loading: Loading,
    pub(super) eviction: Eviction,
    /// Rises whenever an entry may have moved.
    pub(super) generation: u64,
    pub(super) scratch: Scratch,
    /// Cells whose codec is still to be checked.
    pub(super) unchecked: u32,
}

/// Vectors used again and again for encoding.
#[derive(Default)]
pub(crate) struct Scratch {
    pub(super) key: Vec<u8>,
    pub(super) value: Vec<u8>,
}

/// Where a live cell is: true until the table's generation changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct At {
    pub(super) segment: u32,
    pub(super) place: u32,
}

/// Where a look-up of entries starts.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Home {
    segment: u32,
    first: u32,
}

/// Cells of each state that are encoded, decoded and encoded again before their kind is trusted.
const CHECKED_CELLS: u32 = 16;

impl<K: TableKey, C: Cell> Table<K, C> {
    pub(crate) fn open(origin: TableOrigin) -> Result<Self> {
        let TableOrigin { state, lease, hashes, mode, budget } = origin;
        let range = HashRange::new(hashes);
        let loading = Loading::plan::<K, C>(state, lease.as_ref(), &range, (mode, budget))?;
        let coverage = if loading.is_needed() { Coverage::Partial } else { Coverage::Complete };
        let mut table = Self {
            state,
            lease,
            mode,
            budget,
            directory: Directory::new(range, loading.slots_expected(), coverage),
            current: FIRST,
            durable: CLEAN,
            pending: VecDeque::new(),
            snapshot: None,
            sides: Sides::default(),
            loading,
            eviction: Eviction::default(),
            generation: 0,
            scratch: Scratch::default(),
            unchecked: CHECKED_CELLS,
        };
        if mode == SnapshotMode::Full {
            table.load_all()?;
        }
        Ok(table)
    }

    #[inline]
    pub(crate) fn generation(&self) -> u64 {
        self.generation
    }

    #[inline]
    pub(crate) fn version(&self) -> Version {
        self.current
    }

    /// The live cell of a key, from memory or from the store.
    #[inline]
    pub(crate) fn find(&mut self, hash: KeyHash, key: &K::Lookup) -> Result<Option<At>> {
        match self.find_loaded(hash, key) {
            (spot, Some(Place::Live(place))) => Ok(Some(At::new(spot.segment, place))),
            (_, Some(Place::Dead(_))) => Ok(None),
            (spot, None) if self.directory.segment(spot.segment).coverage == Coverage::Complete => Ok(None),
            (_, None) => self.find_stored(hash, key),
        }
    }

    /// Where a key stands in memory.
    #[inline]
    pub(super) fn find_loaded(&self, hash: KeyHash, key: &K::Lookup) -> (Spot, Option<Place>) {
        let spot = self.directory.spot(hash);
        (spot, self.directory.segment(spot.segment).find(spot.bucket, (hash, key)))
    }

    #[inline]
    pub(crate) fn cell(&self, at: At) -> &C {
        match self.directory.segment(at.segment as usize).cell(at.place as usize) {
            Some(cell) => cell,
            None => moved(),
        }
    }

    #[inline(always)]
    fn cell_mut(&mut self, at: At) -> &mut C {
        match self.directory.segment_mut(at.segment as usize).cell_mut(at.place as usize) {
            Some(cell) => cell,
            None => moved(),
        }
    }

    /// A cell to be changed: its rows of the frozen version are handed over first, and it is stamped.
    #[inline]
    pub(crate) fn touch(&mut self, at: At) -> Result<&mut C> {
        if !self.directory.segment(at.segment as usize).is_written(at.place as usize, self.current) {
            self.stamp(at)?;
        }
        Ok(self.cell_mut(at))
    }

    /// The cell of a key, to be changed; made where there is none. A key that was changed in this version already
    /// takes the short way.
    #[inline(always)]
    pub(crate) fn upsert(
        &mut self,
        hash: KeyHash,
        key: &K::Lookup,
        make: impl FnOnce() -> C,
    ) -> Result<&mut C> {
        let Spot { segment, bucket } = self.directory.spot(hash);
        let first = self.directory.segment(segment).first(bucket);
        self.upsert_at(Home { segment: segment as u32, first: first as u32 }, (hash, key), make)
    }

    #[inline(never)]
    fn upsert_clean(&mut self, hash: KeyHash, key: &K::Lookup, make: impl FnOnce() -> C) -> Result<&mut C> {
        let at = match self.find(hash, key)? {
            Some(at) => at,
            None => self.insert(hash, key, make())?,
        };
        self.touch(at)
    }

    #[inline(never)]
    fn stamp(&mut self, at: At) -> Result<()> {
        let (index, place, sweepable) = (at.segment as usize, at.place as usize, self.sweepable());
        self.hand_over(index, Place::Live(place))?;
        let mark = Mark { stamp: self.current, origin: Origin::Stored };
        let segment = self.directory.segment_mut(index);
        segment.mark(place, mark);
        if C::SWEPT {
            segment.litter = Litter::Some;
            if let Some(cell) = segment.cell_mut(place) {
                cell.sweep(sweepable);
            }
        }
        Ok(())
    }

    /// Makes the cell of a key that `find` has just not found.
    pub(crate) fn insert(&mut self, hash: KeyHash, key: &K::Lookup, cell: C) -> Result<At> {
        assert!(
            self.directory.range().contains(hash),
            "I90: records reach the subtask that owns their key's hash"
        );
        self.make_room();
        let (spot, tombstone) = self.find_loaded(hash, key);
        let origin = match tombstone {
            None => Origin::Fresh,
            Some(place) => {
                self.hand_over(spot.segment, place)?;
                let Place::Dead(at) = place else { moved() };
                self.directory.change(spot.segment, |segment, _| segment.exhume(at));
                Origin::Stored
            }
        };
        let mark = Mark { stamp: self.current, origin };
        let at = self.insert_entry(hash, mark, Entry { key: K::of(hash, key), cell })?;
        let segment = self.directory.segment_mut(at.segment as usize);
        segment.recency = Recency::Used;
        if C::SWEPT {
            segment.litter = Litter::Some;
        }
        Ok(at)
    }

    /// Puts an entry into its segment, which is divided if it is full.
    pub(super) fn insert_entry(&mut self, hash: KeyHash, mark: Mark, entry: Entry<K, C>) -> Result<At> {
        let mut spot = self.directory.spot(hash);
        while self.directory.is_full(spot.segment) {
            self.divide(spot.segment);
            spot = self.directory.spot(hash);
        }
        if self.directory.segment(spot.segment).len() >= SEGMENT_ENTRIES_LIMIT {
            return Err(hashes_alike::<K>());
        }
        self.generation += 1;
        let place = self
            .directory
            .change(spot.segment, |segment, _| segment.insert(spot.bucket, (hash, mark), entry));
        Ok(At::new(spot.segment, place))
    }

    fn divide(&mut self, index: usize) {
        self.generation += 1;
        let mut index = index;
        if self.directory.must_double(index) {
            self.directory.double();
            index *= 2;
            self.eviction.hand *= 2;
            if let Some(snapshot) = &mut self.snapshot {
                snapshot.cursor *= 2;
            }
        }
        let side = self.directory.segment(index).side;
        let upper = self.directory.divide(index);
        if side != super::segment::NO_SIDE {
            let directory = &self.directory;
            let divided = self.sides.divide(side, |hash| directory.index(hash) == upper);
            self.directory.segment_mut(upper).side = divided;
        }
    }

    /// Deletes a live cell.
    pub(crate) fn remove(&mut self, at: At) -> Result<C> {
        let (index, place, current) = (at.segment as usize, at.place as usize, self.current);
        self.hand_over(index, Place::Live(place))?;
        self.generation += 1;
        let is_full_mode = self.mode == SnapshotMode::Full;
        Ok(self.directory.change(index, |segment, ruler| {
            let Some(entry) = segment.entry(place) else { moved() };
            let hash = entry.key.hash();
            let is_unknown_below = segment.is_written(place, current) && segment.is_fresh(place);
            if is_unknown_below || is_full_mode {
                return segment.remove(ruler.bucket(hash), place).cell;
            }
            segment.litter = Litter::Some;
            segment.bury(ruler.bucket(hash), place, (hash, current))
        }))
    }

    /// Tombstones up to this version can be forgotten.
    pub(super) fn sweepable(&self) -> Version {
        match self.mode {
            SnapshotMode::Delta => self.durable,
            SnapshotMode::Full => Version::MAX,
        }
    }

    /// Fetches into the cache the headers that look-ups will read.
    #[inline(always)]
    pub(crate) fn prefetch_headers(&self, hashes: &[KeyHash]) {
        for hash in hashes {
            let Spot { segment, bucket } = self.directory.spot(*hash);
            self.directory.segment(segment).prefetch_header(bucket);
        }
    }

    /// Fetches into the cache the entries that look-ups will read; says where they are.
    #[inline(always)]
    pub(crate) fn prefetch_entries(&self, hashes: &[KeyHash], homes: &mut [Home]) {
        for (hash, home) in hashes.iter().zip(homes) {
            let Spot { segment, bucket } = self.directory.spot(*hash);
            let first = self.directory.segment(segment).prefetch_entries(bucket);
            *home = Home { segment: segment as u32, first: first as u32 };
        }
    }

    /// As `upsert`, trying first where `prefetch_entries` said, which may be out of date: what holds the key there is
    /// the key's entry.
    #[inline(always)]
    pub(crate) fn upsert_at(
        &mut self,
        home: Home,
        (hash, key): (KeyHash, &K::Lookup),
        make: impl FnOnce() -> C,
    ) -> Result<&mut C> {
        let Home { segment, first } = home;
        match self.directory.segment(segment as usize).find_newest(first as usize, key, self.current) {
            Some(place) => Ok(self.cell_mut(At { segment, place: place as u32 })),
            None => self.upsert_clean(hash, key, make),
        }
    }
}

impl At {
    pub(super) fn new(segment: usize, place: usize) -> Self {
        Self { segment: segment as u32, place: place as u32 }
    }
}

#[cold]
fn hashes_alike<K>() -> Error {
    Error::Codec {
        type_name: type_name::<K>(),
        problem: format!(
            "{SEGMENT_ENTRIES_LIMIT} keys of this type have nearly the same hash: their serde forms don't tell them \
             apart. A field that `Eq` compares must not be `#[serde(skip)]`ped"
        ),
    }
}

#[cold]
fn moved() -> ! {
    panic!("I92: a cell's place is used only while the table's generation stands")
}

impl<K: TableKey, C: Cell> StateTable for Table<K, C> {
    fn freeze(&mut self, checkpoint: CheckpointId) {
        assert!(self.snapshot.is_none(), "I91: a version is handed over whole before the next is frozen");
        if let Some(durable) = self.lease.durable() {
            self.on_durable(durable);
        }
        self.pending.push_back((checkpoint, self.current));
        self.snapshot = Some(Snapshot::new(checkpoint, self.current, self.mode));
        self.current = self.current.checked_add(1).expect("I93: fewer than 2^32 checkpoints in one attempt");
    }

    fn encode(&mut self, lease: &dyn StateLease, pace: SlicePace) -> Result<bool> {
        self.encode_slice(lease, pace)
    }

    fn on_durable(&mut self, checkpoint: CheckpointId) {
        while let Some(&(id, version)) = self.pending.front() {
            if id > checkpoint {
                break;
            }
            self.durable = version;
            self.pending.pop_front();
            self.eviction.resume();
        }
    }

    fn entries(&self) -> usize {
        self.directory.used()
    }

    fn bytes(&self) -> usize {
        self.directory.bytes() + self.sides.bytes()
    }
}

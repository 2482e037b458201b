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

use crate::codec::CHECKED;
use crate::error::{Error, Result};
use crate::id::{CheckpointId, StateId};
use crate::key::KeyHash;
use crate::state::lease::{SlicePace, StateLease, StateTable};
use crate::state::registry::{SnapshotMode, TableBudget, TableOrigin};
use crate::state::table::cell::{CLEAN, Cell, FIRST, Version};
use crate::state::table::directory::Directory;
use crate::state::table::evict::Eviction;
use crate::state::table::key::TableKey;
use crate::state::table::load::Loading;
use crate::state::table::range::HashRange;
use crate::state::table::segment::{Coverage, Litter, Probe, Recency, SEGMENT_SLOTS_LIMIT};
use crate::state::table::side::Sides;
use crate::state::table::slot::{Origin, Slot};
use crate::state::table::snapshot::Snapshot;

/// A write-back table: native cells in memory, rows in the store.
pub(crate) struct Table<K, C> {
    pub(super) state: StateId,
    pub(super) lease: Arc<dyn StateLease>,
    pub(super) mode: SnapshotMode,
    pub(super) budget: TableBudget,
    pub(super) directory: Directory<K, C>,
    /// What slots are stamped with when they are written.
    pub(super) current: Version,
    /// Versions up to this one are durable.
    pub(super) durable: Version,
    /// Versions that were frozen and are not durable, oldest first.
    pub(super) pending: VecDeque<(CheckpointId, Version)>,
    pub(super) snapshot: Option<Snapshot>,
    /// What was handed over last.
    pub(super) handed_over: SnapshotMode,
    pub(super) sides: Sides,
    pub(super) loading: Loading,
    pub(super) eviction: Eviction,
    /// Rises whenever a slot may have moved.
    pub(super) generation: u64,
    /// Slots in use.
    pub(super) entries: usize,
    /// Bytes of the slots' arrays.
    pub(super) slot_bytes: usize,
    pub(super) scratch: Scratch,
    /// Cells whose codec is still to be checked.
    pub(super) unchecked: usize,
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
    pub(super) slot: u32,
}

/// Where a look-up starts.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Home {
    segment: u32,
    home: u32,
}

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
            handed_over: mode,
            sides: Sides::default(),
            loading,
            eviction: Eviction::default(),
            generation: 0,
            entries: 0,
            slot_bytes: 0,
            scratch: Scratch::default(),
            unchecked: CHECKED,
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
        let position = self.directory.position(hash);
        let index = self.directory.index(position);
        let segment = self.directory.segment(index);
        match segment.probe(segment.home(position), key) {
            Probe::Live(slot) => Ok(Some(At { segment: index as u32, slot: slot as u32 })),
            Probe::Dead(_) => Ok(None),
            Probe::Absent if segment.coverage == Coverage::Complete => Ok(None),
            Probe::Absent => self.find_stored(hash, key),
        }
    }

    /// Where a key stands in memory.
    pub(super) fn find_loaded(&self, hash: KeyHash, key: &K::Lookup) -> (usize, Probe) {
        let position = self.directory.position(hash);
        let index = self.directory.index(position);
        let segment = self.directory.segment(index);
        (index, segment.probe(segment.home(position), key))
    }

    #[inline]
    pub(crate) fn cell(&self, at: At) -> &C {
        match self.directory.segment(at.segment as usize).get(at.slot as usize) {
            Some(Slot::Live { cell, .. }) => cell,
            _ => moved(),
        }
    }

    #[inline(always)]
    fn cell_mut(&mut self, at: At) -> &mut C {
        match self.directory.segment_mut(at.segment as usize).get_mut(at.slot as usize) {
            Some(Slot::Live { cell, .. }) => cell,
            _ => moved(),
        }
    }

    /// A cell to be changed: its rows of the frozen version are handed over first, and it is stamped.
    #[inline]
    pub(crate) fn touch(&mut self, at: At) -> Result<&mut C> {
        match self.directory.segment(at.segment as usize).get(at.slot as usize) {
            Some(Slot::Live { stamp, .. }) if *stamp == self.current => {}
            _ => self.stamp(at)?,
        }
        Ok(self.cell_mut(at))
    }

    /// The cell of a key, to be changed; made where there is none.
    #[inline(never)]
    pub(crate) fn upsert(
        &mut self,
        hash: KeyHash,
        key: &K::Lookup,
        make: impl FnOnce() -> C,
    ) -> Result<&mut C> {
        let at = match self.find(hash, key)? {
            Some(at) => at,
            None => self.insert(hash, key, make())?,
        };
        self.touch(at)
    }

    #[inline(never)]
    fn stamp(&mut self, at: At) -> Result<()> {
        let (index, current, sweepable) = (at.segment as usize, self.current, self.sweepable());
        self.hand_over(index, at.slot as usize)?;
        let segment = self.directory.segment_mut(index);
        segment.last = current;
        if C::SWEPT {
            segment.litter = Litter::Some;
        }
        if let Some(Slot::Live { stamp, origin, cell, .. }) = segment.get_mut(at.slot as usize) {
            *stamp = current;
            *origin = Origin::Stored;
            cell.sweep(sweepable);
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
        let (index, probe) = self.find_loaded(hash, key);
        let origin = match probe {
            Probe::Absent => Origin::Fresh,
            Probe::Dead(slot) | Probe::Live(slot) => {
                self.hand_over(index, slot)?;
                if let Some(tombstone) = self.directory.segment_mut(index).get_mut(slot) {
                    let key = K::of(hash, key);
                    *tombstone = Slot::Live { stamp: self.current, origin: Origin::Stored, key, cell };
                }
                self.mark_written(index);
                return Ok(At { segment: index as u32, slot: slot as u32 });
            }
        };
        let slot = Slot::Live { stamp: self.current, origin, key: K::of(hash, key), cell };
        let at = self.insert_slot(hash, slot)?;
        self.mark_written(at.segment as usize);
        Ok(at)
    }

    fn mark_written(&mut self, index: usize) {
        let segment = self.directory.segment_mut(index);
        segment.last = self.current;
        segment.recency = Recency::Used;
        if C::SWEPT {
            segment.litter = Litter::Some;
        }
    }

    /// Puts a slot into its segment, which is divided if it is full. The stamp of the segment is left as it is.
    pub(super) fn insert_slot(&mut self, hash: KeyHash, slot: Slot<K, C>) -> Result<At> {
        let position = self.directory.position(hash);
        let mut index = self.directory.index(position);
        while self.directory.is_full(index, self.entries) {
            self.divide(index);
            index = self.directory.index(position);
        }
        let (range, segment) = self.directory.parts(index);
        if segment.used() >= SEGMENT_SLOTS_LIMIT {
            return Err(hashes_alike::<K>());
        }
        let before = segment.bytes();
        self.generation += 1;
        let place = segment.insert(range, hash, slot);
        self.slot_bytes = self.slot_bytes + segment.bytes() - before;
        self.entries += 1;
        Ok(At { segment: index as u32, slot: place as u32 })
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
        let before = self.directory.segment(index).bytes();
        let upper = self.directory.divide(index);
        let after = self.directory.segment(index).bytes() + self.directory.segment(upper).bytes();
        self.slot_bytes = self.slot_bytes + after - before;
        if side != super::segment::NO_SIDE {
            let directory = &self.directory;
            let divided = self.sides.divide(side, |hash| directory.index(directory.position(hash)) == upper);
            self.directory.segment_mut(upper).side = divided;
        }
    }

    /// Deletes a live cell.
    pub(crate) fn remove(&mut self, at: At) -> Result<C> {
        let (index, place) = (at.segment as usize, at.slot as usize);
        self.hand_over(index, place)?;
        self.generation += 1;
        let current = self.current;
        let is_unknown_below = match self.directory.segment(index).get(place) {
            Some(Slot::Live { stamp, origin, .. }) => *stamp == current && *origin == Origin::Fresh,
            _ => moved(),
        };
        if is_unknown_below || self.mode == SnapshotMode::Full {
            let (range, segment) = self.directory.parts(index);
            let slot = segment.remove(range, place);
            self.entries -= 1;
            return match slot {
                Some(Slot::Live { cell, .. }) => Ok(cell),
                _ => moved(),
            };
        }
        let segment = self.directory.segment_mut(index);
        (segment.last, segment.litter) = (current, Litter::Some);
        match segment.bury(place, current) {
            Some(cell) => Ok(cell),
            None => moved(),
        }
    }

    /// Tombstones up to this version can be forgotten.
    pub(super) fn sweepable(&self) -> Version {
        match self.mode {
            SnapshotMode::Delta => self.durable,
            SnapshotMode::Full => Version::MAX,
        }
    }

    /// Fetches into the cache the header that a look-up will read.
    #[inline(always)]
    pub(crate) fn prefetch_header(&self, hash: KeyHash) {
        self.directory.prefetch(self.directory.position(hash));
    }

    /// Fetches into the cache the slots that a look-up will read; guesses where they are.
    #[inline(always)]
    pub(crate) fn prefetch_slot(&self, hash: KeyHash) -> Home {
        let position = self.directory.position(hash);
        let index = self.directory.index(position);
        let segment = self.directory.segment(index);
        let home = segment.home(position);
        segment.prefetch_places(home);
        Home { segment: index as u32, home: home as u32 }
    }

    /// The cell of a key, to be changed, if its slot is at `home` or soon after and no row of it must be handed over
    /// before.
    #[inline(always)]
    pub(crate) fn touch_at(&mut self, home: Home, key: &K::Lookup) -> Option<&mut C> {
        let (index, current) = (home.segment as usize, self.current);
        let is_handed_over = || self.snapshot.as_ref().is_none_or(|snapshot| index < snapshot.cursor);
        let may_stamp = || !C::SWEPT && is_handed_over();
        self.directory.segment_mut(index).touch(home.home as usize, key, current, may_stamp)
    }
}

#[cold]
fn hashes_alike<K>() -> Error {
    Error::Codec {
        type_name: type_name::<K>(),
        problem: format!(
            "{SEGMENT_SLOTS_LIMIT} keys of this type have nearly the same hash: their serde forms don't tell them \
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
        self.snapshot = Some(Snapshot::new::<C>(checkpoint, self.current, self.mode));
        self.current = self.current.checked_add(1).expect("I93: fewer than 2^32 checkpoints in one attempt");
    }

    fn encode(&mut self, lease: &dyn StateLease, pace: SlicePace) -> Result<bool> {
        self.encode_slice(lease, pace)
    }

    fn handed_over(&self) -> SnapshotMode {
        self.handed_over
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
        self.entries
    }

    fn bytes(&self) -> usize {
        self.slot_bytes + self.directory.bytes() + self.sides.bytes()
    }
}

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
use crate::state::table::array::{ALIKE_MAX, Probe};
use crate::state::table::cell::{CLEAN, Cell, FIRST, Version};
use crate::state::table::directory::Directory;
use crate::state::table::evict::Eviction;
use crate::state::table::key::TableKey;
use crate::state::table::load::Loading;
use crate::state::table::range::HashRange;
use crate::state::table::segment::{Coverage, Litter, NO_SIDE, Recency, Segment};
use crate::state::table::side::Sides;
use crate::state::table::slot::{Origin, Slot};
use crate::state::table::slots::{At, Home, Slots};
use crate::state::table::snapshot::Snapshot;

/// A write-back table: native cells in memory, rows in the store.
pub(crate) struct Table<K, C> {
    pub(super) state: StateId,
    pub(super) lease: Arc<dyn StateLease>,
    pub(super) mode: SnapshotMode,
    pub(super) budget: TableBudget,
    pub(super) slots: Slots<K, C>,
    pub(super) directory: Directory,
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

impl<K: TableKey, C: Cell> Table<K, C> {
    pub(crate) fn open(origin: TableOrigin) -> Result<Self> {
        let TableOrigin { state, lease, hashes, mode, budget } = origin;
        let range = HashRange::new(hashes);
        let loading = Loading::plan::<K, C>(state, lease.as_ref(), &range, (mode, budget))?;
        let expected = loading.slots_expected();
        let coverage = if loading.is_needed() { Coverage::Partial } else { Coverage::Complete };
        let directory = Directory::new(expected, coverage);
        let slots = match mode {
            SnapshotMode::Delta if loading.is_needed() => Slots::in_parts(range, directory.depth()),
            _ => Slots::new(range, expected as usize),
        };
        let mut table = Self {
            state,
            lease,
            mode,
            budget,
            slots,
            directory,
            current: FIRST,
            durable: CLEAN,
            pending: VecDeque::new(),
            snapshot: None,
            handed_over: mode,
            sides: Sides::default(),
            loading,
            eviction: Eviction::default(),
            generation: 0,
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
        let position = self.slots.range().position(hash);
        match self.slots.probe(position, key) {
            Probe::Live(at) => Ok(Some(at)),
            Probe::Dead(_) => Ok(None),
            Probe::Absent => {
                let index = self.directory.index(position);
                match self.directory.segment(index).coverage {
                    Coverage::Complete => Ok(None),
                    Coverage::Partial => self.find_stored(index, hash, key),
                }
            }
        }
    }

    /// Where a key stands in memory.
    pub(super) fn find_loaded(&self, hash: KeyHash, key: &K::Lookup) -> Probe<At> {
        self.slots.probe(self.slots.range().position(hash), key)
    }

    /// The number of a hash's segment.
    pub(super) fn segment_of(&self, hash: KeyHash) -> usize {
        self.directory.index(self.slots.range().position(hash))
    }

    #[inline]
    pub(crate) fn cell(&self, at: At) -> &C {
        match self.slots.get(at) {
            Some(Slot::Live { cell, .. }) => cell,
            _ => moved(),
        }
    }

    #[inline(always)]
    fn cell_mut(&mut self, at: At) -> &mut C {
        match self.slots.get_mut(at) {
            Some(Slot::Live { cell, .. }) => cell,
            _ => moved(),
        }
    }

    /// A cell to be changed: its rows of the frozen version are handed over first, and it is stamped.
    #[inline]
    pub(crate) fn touch(&mut self, at: At) -> Result<&mut C> {
        match self.slots.get(at) {
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
        let Some(index) = self.slots.get(at).map(|slot| self.segment_of(slot.hash())) else { moved() };
        self.hand_over(index, at)?;
        self.note_written(index);
        let (current, sweepable) = (self.current, self.sweepable());
        if let Some(Slot::Live { stamp, origin, cell, .. }) = self.slots.get_mut(at) {
            *stamp = current;
            *origin = Origin::Stored;
            cell.sweep(sweepable);
        }
        Ok(())
    }

    /// Makes the cell of a key that `find` has just not found.
    pub(crate) fn insert(&mut self, hash: KeyHash, key: &K::Lookup, cell: C) -> Result<At> {
        assert!(
            self.slots.range().contains(hash),
            "I90: records reach the subtask that owns their key's hash"
        );
        self.make_room();
        let (stamp, key_held) = (self.current, K::of(hash, key));
        let at = match self.find_loaded(hash, key) {
            Probe::Absent => {
                let slot = Slot::Live { stamp, origin: Origin::Fresh, key: key_held, cell };
                self.insert_slot(hash, slot)?
            }
            Probe::Dead(at) | Probe::Live(at) => {
                self.hand_over(self.segment_of(hash), at)?;
                if let Some(tombstone) = self.slots.get_mut(at) {
                    *tombstone = Slot::Live { stamp, origin: Origin::Stored, key: key_held, cell };
                }
                at
            }
        };
        let index = self.segment_of(hash);
        self.note_written(index).recency = Recency::Used;
        Ok(at)
    }

    /// Notes that a slot of a segment is of the current version.
    fn note_written(&mut self, index: usize) -> &mut Segment {
        let segment = self.directory.segment_mut(index);
        segment.last = self.current;
        if C::SWEPT {
            segment.litter = Litter::Some;
        }
        segment
    }

    /// Adds a slot; there are more segments if there have to be. The stamp of its segment is left as it is.
    pub(super) fn insert_slot(&mut self, hash: KeyHash, slot: Slot<K, C>) -> Result<At> {
        if self.directory.is_crowded(self.slots.len()) {
            self.divide();
        }
        self.generation += 1;
        self.slots.insert(hash, slot).ok_or_else(hashes_alike::<K>)
    }

    /// Keeps the memory of slots in proportion to them, also where nothing is inserted: passes so many places if slots
    /// must move, and says whether they had to.
    #[inline]
    pub(crate) fn tend_slots(&mut self, places: usize) -> bool {
        let have_moved = self.slots.tend(places);
        self.generation += u64::from(have_moved);
        have_moved
    }

    /// Divides every segment in two.
    fn divide(&mut self) {
        self.directory.double();
        self.slots.double();
        self.eviction.hand *= 2;
        if let Some(snapshot) = &mut self.snapshot {
            snapshot.cursor *= 2;
        }
        for lower in (0..self.directory.len()).step_by(2) {
            let side = self.directory.segment(lower).side;
            if side != NO_SIDE {
                let (directory, range) = (&self.directory, self.slots.range());
                let is_upper = |hash| directory.index(range.position(hash)) > lower;
                let upper = self.sides.divide(side, is_upper);
                self.directory.segment_mut(lower + 1).side = upper;
            }
        }
    }

    /// Deletes a live cell.
    pub(crate) fn remove(&mut self, at: At) -> Result<C> {
        let Some(slot) = self.slots.get(at) else { moved() };
        let index = self.segment_of(slot.hash());
        let is_unknown_below = matches!(
            slot,
            Slot::Live { stamp, origin: Origin::Fresh, .. } if *stamp == self.current
        );
        self.hand_over(index, at)?;
        self.generation += 1;
        if is_unknown_below || self.mode == SnapshotMode::Full {
            return match self.slots.remove(at) {
                Some(Slot::Live { cell, .. }) => Ok(cell),
                _ => moved(),
            };
        }
        let segment = self.directory.segment_mut(index);
        (segment.last, segment.litter) = (self.current, Litter::Some);
        match self.slots.bury(at, self.current) {
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

    /// As `Slots::is_in_parts`: what `PARTS` is to be.
    pub(crate) fn is_in_parts(&self) -> bool {
        self.slots.is_in_parts()
    }

    /// Fetches into the cache the slots that a look-up will read, and says where they are.
    #[inline(always)]
    pub(crate) fn prefetch<const PARTS: bool>(&self, hash: KeyHash) -> Home {
        self.slots.prefetch::<PARTS>(hash)
    }

    /// The cell of a key, to be changed, if its slot is at `home` or soon after and no row of it must be handed over
    /// before.
    #[inline(always)]
    pub(crate) fn touch_at<const PARTS: bool>(
        &mut self,
        home: Home,
        hash: KeyHash,
        key: &K::Lookup,
    ) -> Option<&mut C> {
        let position = self.slots.range().position(hash);
        let (directory, snapshot, current) = (&mut self.directory, &self.snapshot, self.current);
        let may_stamp = || {
            let index = directory.index(position);
            let is_handed_over = snapshot.as_ref().is_none_or(|snapshot| index < snapshot.cursor);
            if C::SWEPT || !is_handed_over {
                return false;
            }
            directory.segment_mut(index).last = current;
            true
        };
        self.slots.touch::<PARTS>(home, key, current, may_stamp)
    }
}

#[cold]
fn hashes_alike<K>() -> Error {
    Error::Codec {
        type_name: type_name::<K>(),
        problem: format!(
            "{ALIKE_MAX} keys of this type have nearly the same hash: their serde forms don't tell them \
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
        self.slots.len()
    }

    fn bytes(&self) -> usize {
        self.slots.bytes() + self.directory.bytes() + self.sides.bytes()
    }
}

//! Reading rows back from the lease: one key at a time, or a segment at once where the state is small.

use crate::error::{Error, Result};
use crate::id::StateId;
use crate::key::KeyHash;
use crate::state::lease::StateLease;
use crate::state::registry::{SnapshotMode, TableBudget};
use crate::state::row::RowRef;
use crate::state::table::array::Probe;
use crate::state::table::cell::{CLEAN, Cell};
use crate::state::table::core::Table;
use crate::state::table::key::TableKey;
use crate::state::table::range::HashRange;
use crate::state::table::segment::Coverage;
use crate::state::table::slot::{Origin, Slot};
use crate::state::table::slots::At;

/// How misses are answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Loading {
    /// The store has no row of this state, so a miss is an absent key.
    Nothing,
    /// The whole state fits: the first misses of a segment load their keys, the next one loads the segment, after
    /// which misses there cost nothing.
    Segments {
        /// Estimated rows.
        rows: u64,
    },
    /// It doesn't fit: a miss loads its key.
    Keys {
        /// Keys that may be in memory.
        rows: u64,
    },
}

/// Rows that are looked at to estimate how many there are.
const SAMPLE_ROWS: u64 = 1_024;
/// Keys of a segment that are read one at a time before the whole segment is: keys that are spread over all segments
/// don't wait for rows that nobody asked for. Recovery with 1 M and 4 M keys, in separate runs under different load:
/// first record after 23 and 69 ms with 8, after 40 and 43 ms with 2; caught up at 4 M after 3.8 s and 1.2 s.
pub(super) const KEYS_READ_MAX: u8 = 2;

impl Loading {
    pub(super) fn plan<K, C>(
        state: StateId,
        lease: &dyn StateLease,
        range: &HashRange,
        (mode, budget): (SnapshotMode, TableBudget),
    ) -> Result<Self> {
        if lease.is_empty(state) {
            return Ok(Loading::Nothing);
        }
        let rows = estimate(state, lease, range)?;
        // Arrays are half full or more.
        let slot = (size_of::<Slot<K, C>>() as u64).saturating_mul(2);
        let fitting = (budget.entries as u64).min(budget.bytes as u64 / slot.max(1));
        if mode == SnapshotMode::Full || rows <= fitting {
            return Ok(Loading::Segments { rows });
        }
        Ok(Loading::Keys { rows: fitting })
    }

    pub(super) fn is_needed(self) -> bool {
        self != Loading::Nothing
    }

    /// What was dropped is read back by the key: with its whole segment it would push out as much again.
    pub(super) fn after_eviction(self) -> Self {
        Loading::Keys { rows: self.slots_expected() }
    }

    pub(super) fn slots_expected(self) -> u64 {
        match self {
            Loading::Nothing => 0,
            Loading::Segments { rows } | Loading::Keys { rows } => rows,
        }
    }
}

/// Estimates the number of rows from the density of the first ones: hashes are even.
fn estimate(state: StateId, lease: &dyn StateLease, range: &HashRange) -> Result<u64> {
    let (mut rows, mut last) = (0u64, range.first());
    let scanned = lease.scan(state, (range.first(), range.last()), &mut |row| {
        rows += 1;
        last = row.key.hash;
        if rows < SAMPLE_ROWS {
            Ok(())
        } else {
            Err(Error::Store { problem: "the sample is taken".to_owned() })
        }
    });
    if rows < SAMPLE_ROWS {
        return scanned.map(|()| rows);
    }
    let seen = last.0 - range.first().0;
    let whole = range.last().0 - range.first().0;
    Ok((u128::from(rows) * u128::from(whole) / u128::from(seen.max(1))) as u64)
}

impl<K: TableKey, C: Cell> Table<K, C> {
    #[cold]
    #[inline(never)]
    pub(super) fn find_stored(&mut self, index: usize, hash: KeyHash, key: &K::Lookup) -> Result<Option<At>> {
        self.make_room();
        match self.loading {
            Loading::Segments { .. } => {
                let segment = self.directory.segment_mut(index);
                if segment.keys_read < KEYS_READ_MAX {
                    segment.keys_read += 1;
                    return self.load_key(hash, key);
                }
                if let Some(hashes) = self.slots.range().hashes(self.directory.span(index)) {
                    self.load_range(hashes)?;
                }
                Ok(match self.find_loaded(hash, key) {
                    Probe::Live(at) => Some(at),
                    Probe::Dead(_) | Probe::Absent => None,
                })
            }
            Loading::Keys { .. } => self.load_key(hash, key),
            Loading::Nothing => Ok(None),
        }
    }

    fn load_key(&mut self, hash: KeyHash, key: &K::Lookup) -> Result<Option<At>> {
        self.scratch.key.clear();
        K::encode(key, &mut self.scratch.key)?;
        let mut found: Option<C> = None;
        self.lease.get(self.state, hash, &self.scratch.key, &mut |row| {
            found = Some(C::load(found.take(), row.key.element, value_of(&row)?)?);
            Ok(())
        })?;
        let Some(cell) = found else { return Ok(None) };
        let (stamp, origin) = (CLEAN, Origin::Stored);
        self.insert_slot(hash, Slot::Live { stamp, origin, key: K::of(hash, key), cell }).map(Some)
    }

    /// Loads the keys of a range that aren't in memory: all of their segments are complete then.
    fn load_range(&mut self, (first, last): (KeyHash, KeyHash)) -> Result<()> {
        let read = self.read_range((first, last))?;
        self.generation += 1;
        self.slots.reserve(self.slots.range().position(first), read.len());
        for (hash, key, cell) in read {
            if let Probe::Absent = self.find_loaded(hash, key.lookup()) {
                let (stamp, origin) = (CLEAN, Origin::Stored);
                self.insert_slot(hash, Slot::Live { stamp, origin, key, cell })?;
            }
        }
        for index in self.segment_of(first)..=self.segment_of(last) {
            self.directory.set_coverage(index, Coverage::Complete);
        }
        if self.directory.is_complete() {
            self.slots.join();
        }
        Ok(())
    }

    pub(super) fn load_all(&mut self) -> Result<()> {
        let (first, last) = (self.slots.range().first(), self.slots.range().last());
        self.load_range((first, last))
    }

    /// The stored keys of a range, in the order of rows.
    pub(super) fn read_range(&self, hashes: (KeyHash, KeyHash)) -> Result<Vec<(KeyHash, K, C)>> {
        let mut read = Vec::new();
        let mut open: Option<(KeyHash, C)> = None;
        let mut open_key = Vec::new();
        self.lease.scan(self.state, hashes, &mut |row| {
            let (hash, key, value) = (row.key.hash, row.key.key, value_of(&row)?);
            let before = match open.take() {
                Some((open_hash, cell)) if open_hash == hash && open_key == key => Some(cell),
                ended => {
                    if let Some((hash, cell)) = ended {
                        read.push((hash, K::decode(hash, &open_key)?, cell));
                    }
                    open_key.clear();
                    open_key.extend_from_slice(key);
                    None
                }
            };
            open = Some((hash, C::load(before, row.key.element, value)?));
            Ok(())
        })?;
        if let Some((hash, cell)) = open {
            read.push((hash, K::decode(hash, &open_key)?, cell));
        }
        Ok(read)
    }
}

fn value_of<'r>(row: &RowRef<'r>) -> Result<&'r [u8]> {
    row.value.ok_or_else(|| Error::Store {
        problem: format!("a read of {} gave a deleted row: a lease gives live rows only", row.key.state),
    })
}

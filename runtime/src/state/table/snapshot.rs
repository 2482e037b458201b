//! Handing over a frozen version: in slices in the order of rows, and row by row when a slot is about to change.

use crate::error::Result;
use crate::id::CheckpointId;
use crate::state::delta::DeltaWriter;
use crate::state::lease::{SlicePace, StateLease};
use crate::state::registry::SnapshotMode;
use crate::state::table::cell::{Cell, Rows, Swept, Version};
use crate::state::table::core::Table;
use crate::state::table::key::TableKey;
use crate::state::table::merge::{Merge, slot_rows};
use crate::state::table::segment::{Coverage, Litter, NO_SIDE};
use crate::state::table::side::Side;
use crate::state::table::slot::Slot;
use crate::state::table::slots::At;

/// A version on its way to the store.
pub(crate) struct Snapshot {
    frozen: Frozen,
    /// The next segment to encode: those before are handed over.
    pub(super) cursor: usize,
    phase: Phase,
    /// What its rows are: `Full` until a live row is met that they don't hold.
    rows: SnapshotMode,
    writer: DeltaWriter,
}

/// What belongs to a snapshot.
#[derive(Clone, Copy, Debug)]
struct Frozen {
    version: Version,
    mode: SnapshotMode,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Encoding,
    /// All rows are encoded; the last chunks are not all taken.
    Submitting,
}

/// Bytes in side buffers that make a slice twice as long, to bring their segments' turn nearer.
const SIDE_BYTES_EASY: usize = 4 * 1024 * 1024;
/// Places that are moved to a new array with each segment, if the array is being replaced.
const PLACES_TENDED: usize = 8_192;
/// Places that are passed in the time in which a row is encoded.
const PLACES_A_ROW: usize = 8;
/// Times that a slice grows at most.
const SLICE_GROWTH_MAX: usize = 8;

impl Snapshot {
    pub(super) fn new<C: Cell>(checkpoint: CheckpointId, version: Version, mode: SnapshotMode) -> Self {
        let frozen = Frozen { version, mode };
        let rows = if C::SWEPT { mode } else { SnapshotMode::Full };
        Self { frozen, cursor: 0, phase: Phase::Encoding, rows, writer: DeltaWriter::new(checkpoint) }
    }
}

impl Frozen {
    /// Whether a slot's rows belong to it.
    fn takes<K: TableKey, C>(self, slot: &Slot<K, C>) -> bool {
        match self.mode {
            SnapshotMode::Delta => slot.stamp() == self.version,
            SnapshotMode::Full => slot.stamp() <= self.version,
        }
    }

    /// Whether a slot was live at the freeze and its row is not among those handed over.
    fn leaves_out<K: TableKey, C>(self, slot: &Slot<K, C>) -> bool {
        matches!(slot, Slot::Live { stamp, .. } if *stamp < self.version) && !self.takes(slot)
    }

    fn which(self) -> Rows {
        match self.mode {
            SnapshotMode::Delta => Rows::WrittenIn(self.version),
            SnapshotMode::Full => Rows::Live,
        }
    }
}

impl<K: TableKey, C: Cell> Table<K, C> {
    /// Puts the frozen rows of a slot that is about to change into its segment's side buffer.
    pub(super) fn hand_over(&mut self, index: usize, at: At) -> Result<()> {
        let Some(snapshot) = self.snapshot.as_mut().filter(|snapshot| index >= snapshot.cursor) else {
            return Ok(());
        };
        let frozen = snapshot.frozen;
        let Some(slot) = self.slots.get(at) else { return Ok(()) };
        if !frozen.takes(slot) {
            if frozen.leaves_out(slot) {
                snapshot.rows = SnapshotMode::Delta;
            }
            return Ok(());
        }
        let which = frozen.which();
        check_codec(&mut self.unchecked, slot)?;
        let segment = self.directory.segment_mut(index);
        if segment.side == NO_SIDE {
            segment.side = self.sides.take();
        }
        let scratch = &mut self.scratch;
        self.sides.fill(segment.side, |side| {
            slot_rows(slot, which, scratch, |hash, key, element, value| side.push(hash, key, element, value))
        })
    }

    pub(super) fn encode_slice(&mut self, lease: &dyn StateLease, pace: SlicePace) -> Result<bool> {
        let Some(mut snapshot) = self.snapshot.take() else { return Ok(true) };
        let result = self.encode_some(&mut snapshot, lease, pace);
        match result {
            Ok(true) => {
                self.sides.release();
                self.handed_over = snapshot.rows;
            }
            _ => self.snapshot = Some(snapshot),
        }
        result
    }

    fn encode_some(
        &mut self,
        snapshot: &mut Snapshot,
        lease: &dyn StateLease,
        pace: SlicePace,
    ) -> Result<bool> {
        if !snapshot.writer.submit(lease)? {
            return Ok(false);
        }
        if snapshot.phase == Phase::Submitting {
            return Ok(true);
        }
        let growth = (1 + self.sides.bytes() / SIDE_BYTES_EASY).min(SLICE_GROWTH_MAX);
        let mut left = pace.entries.saturating_mul(growth).max(1);
        while snapshot.cursor < self.directory.len() {
            if left == 0 {
                return snapshot.writer.submit(lease).map(|_| false);
            }
            let index = snapshot.cursor;
            let rows = self.encode_segment(snapshot, index)?;
            self.sweep(index);
            self.trim(index);
            snapshot.cursor += 1;
            let tended = if self.tend_slots(PLACES_TENDED) { PLACES_TENDED } else { 0 };
            left = left.saturating_sub(rows + tended / PLACES_A_ROW);
        }
        snapshot.writer.finish();
        snapshot.phase = Phase::Submitting;
        snapshot.writer.submit(lease)
    }

    /// Hands a segment's rows over, those of its side buffer among them; returns the work it was, in rows.
    fn encode_segment(&mut self, snapshot: &mut Snapshot, index: usize) -> Result<usize> {
        let (segment, span) = (*self.directory.segment(index), self.directory.span(index));
        let side = segment.side;
        let frozen = snapshot.frozen;
        if snapshot.rows == SnapshotMode::Full
            && (segment.coverage == Coverage::Partial
                || self.slots.span(span).any(|slot| frozen.leaves_out(slot)))
        {
            snapshot.rows = SnapshotMode::Delta;
        }
        let is_untouched = frozen.mode == SnapshotMode::Delta && segment.last < frozen.version;
        if is_untouched && side == NO_SIDE {
            return Ok(1);
        }
        for slot in self.slots.span(span).filter(|slot| frozen.takes(slot)) {
            if self.unchecked == 0 {
                break;
            }
            check_codec(&mut self.unchecked, slot)?;
        }
        let none = Side::default();
        let handed = match side {
            NO_SIDE => &none,
            side => self.sides.sorted(side),
        };
        let slots = self.slots.span(span).filter(|slot| frozen.takes(slot));
        let place = (self.state, frozen.which());
        let merged = Merge::new(place, handed, &mut snapshot.writer, &mut self.scratch).run(slots);
        if side != NO_SIDE {
            self.sides.give_back(side);
            self.directory.segment_mut(index).side = NO_SIDE;
        }
        merged.map(|rows| rows + self.slots.places(span) / PLACES_A_ROW)
    }

    /// Forgets tombstones that are durable.
    fn sweep(&mut self, index: usize) {
        if self.directory.segment(index).litter == Litter::None {
            return;
        }
        let durable = self.sweepable();
        let mut litter = Litter::None;
        self.slots.retain(self.directory.span(index), |slot| {
            let swept = match slot {
                Slot::Live { cell, stamp, .. } => match cell.sweep(durable) {
                    Swept::Vacant if *stamp > durable => Swept::Pending,
                    swept => swept,
                },
                Slot::Dead { stamp, .. } if *stamp > durable => Swept::Pending,
                Slot::Dead { .. } => Swept::Vacant,
            };
            if swept == Swept::Pending {
                litter = Litter::Some;
            }
            swept != Swept::Vacant
        });
        self.directory.segment_mut(index).litter = litter;
        self.generation += 1;
    }
}

/// Encodes, decodes and encodes again the first cells that are written.
fn check_codec<K: TableKey, C: Cell>(unchecked: &mut usize, slot: &Slot<K, C>) -> Result<()> {
    if let Slot::Live { key, cell, .. } = slot
        && *unchecked > 0
    {
        *unchecked -= 1;
        key.check()?;
        cell.check()?;
    }
    Ok(())
}

//! What has changed between two freezes, in parts by the top bits of the hash, so that sorting can be sliced.

use std::collections::VecDeque;

use crate::id::StateId;
use crate::state::delta::DeltaWriter;
use crate::state::row::{RowKey, RowRef};
use crate::state::table::range::Position;
use crate::state::timers::Owner;
use crate::time::Timestamp;

/// Bits of a position that number its part.
const PART_BITS: u32 = 8;
/// The value row of a timer: the tag of a plain value, and nothing.
const VALUE: &[u8] = &[0];

pub(super) struct Change {
    pub(super) owner: Owner,
    pub(super) time: Timestamp,
    pub(super) kind: ChangeKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ChangeKind {
    Registered,
    Deleted,
}

/// Changes in the order in which they happened, within each part.
#[derive(Default)]
pub(super) struct Log {
    parts: Vec<Vec<Change>>,
    len: usize,
}

impl Log {
    pub(super) fn push(&mut self, position: Position, change: Change) {
        if self.parts.is_empty() {
            self.parts.resize_with(1 << PART_BITS, Vec::new);
        }
        self.parts[(position >> (64 - PART_BITS)) as usize].push(change);
        self.len += 1;
    }

    pub(super) fn into_parts(self) -> VecDeque<Vec<Change>> {
        self.parts.into_iter().filter(|part| !part.is_empty()).collect()
    }

    pub(super) fn bytes(&self) -> usize {
        self.len * size_of::<Change>()
    }
}

/// Writes the rows of a part. A timer's changes alternate, so the last of an odd number is what is new, and an even
/// number leaves what was.
pub(super) fn write(state: StateId, mut part: Vec<Change>, writer: &mut DeltaWriter) {
    // Stable: the changes of one timer stay in their order.
    part.sort_by(|a, b| a.owner.cmp(&b.owner).then(a.time.cmp(&b.time)));
    for changes in part.chunk_by(|a, b| a.time == b.time && a.owner == b.owner) {
        let [.., last] = changes else { continue };
        if changes.len() % 2 == 0 {
            continue;
        }
        let Owner { hash, key } = &last.owner;
        let (hash, key, element) = (*hash, key.as_slice(), &encode_time(last.time));
        let value = (last.kind == ChangeKind::Registered).then_some(VALUE);
        writer.push(RowRef { key: RowKey { state, hash, key, element }, value });
    }
}

/// Eight bytes in the order of times, the negative ones first.
pub(super) fn encode_time(time: Timestamp) -> [u8; 8] {
    (time.0 ^ i64::MIN).to_be_bytes()
}

pub(super) fn decode_time(element: &[u8]) -> Option<Timestamp> {
    <[u8; 8]>::try_from(element).ok().map(|bytes| Timestamp(i64::from_be_bytes(bytes) ^ i64::MIN))
}

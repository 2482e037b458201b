//! What a manifest says of state: which runs, in which order, and how they are known to be whole.

use serde::{Deserialize, Serialize};

/// A run of a worker's store; never used again, across restarts too: the high 32 bits count how often the store was
/// opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RunId(pub u64);

impl std::fmt::Display for RunId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "run-{}-{}", self.0 >> 32, self.0 & 0xFFFF_FFFF)
    }
}

/// One run, as a manifest refers to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RunRef {
    /// Which.
    pub id: RunId,
    /// The checksum of its header, which holds those of all its parts.
    pub checksum: u32,
    /// Its rows, tombstones too.
    pub rows: u64,
    /// Its bytes, without the header.
    pub bytes: u64,
    /// How often its rows were folded: 0 for a delta.
    pub level: u8,
}

/// The runs of one subtask, oldest first: all that is needed to restore it.
pub type RunRefs = Vec<RunRef>;

/// What a retained checkpoint needs of a store.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestorePoint {
    /// The runs of all subtasks, in any order.
    pub runs: Vec<RunRef>,
}

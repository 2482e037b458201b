//! Identities: one newtype per thing that is counted or named, so that two of them can't be swapped.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! id {
    ($(#[$doc:meta])* $name:ident($inner:ty), $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "{}"), self.0)
            }
        }
    };
}

id!(
    /// A checkpoint of a run; rises by one with every trigger and never goes back, across restarts too.
    CheckpointId(u64),
    "checkpoint-"
);
id!(
    /// One try at running a region. Stale acknowledgements, reports and commits are told by it.
    AttemptId(u64),
    "attempt-"
);
id!(
    /// A node of the graph, by its position in the order of declaration.
    OperatorId(u32),
    "operator-"
);
id!(
    /// A pipelined region: the subtasks that restart together.
    RegionId(u32),
    "region-"
);
id!(
    /// A range of key hashes that moves as one when a job is rescaled.
    KeyGroup(u16),
    "group-"
);
id!(
    /// One registered state of an operator, by its position in the operator's declaration.
    StateId(u16),
    "state-"
);
id!(
    /// An input channel of a gate: one producer's lane.
    LaneId(u32),
    "lane-"
);

/// One parallel instance of an operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SubtaskId {
    /// The operator that it is an instance of.
    pub operator: OperatorId,
    /// 0-based position among the operator's subtasks.
    pub index: u32,
}

impl fmt::Display for SubtaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.operator, self.index)
    }
}

/// The identity of a run and of all that resumed it: sinks tell their own output from another run's by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Lineage(pub u128);

impl fmt::Display for Lineage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

//! The manifest: what a checkpoint is. It exists iff its manifest does (I12).
//!
//! ```text
//! "TGMF", version u8, length u32 of the body, CRC-32 of the body u32, body (postcard)
//! ```
//! postcard is not self-describing: a new, moved or retyped field changes the format, so it needs a new version and
//! the golden bytes in the tests say when that was forgotten.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::id::{AttemptId, CheckpointId, Lineage};
use crate::key::KeyHash;
use crate::state::{RestorePoint, RunRefs};
use crate::time::Timestamp;

/// The version that is written.
pub const MANIFEST_VERSION: u8 = 1;
const MAGIC: [u8; 4] = *b"TGMF";
const HEADER: usize = 13;

/// Everything that a run needs to go on from one checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Which checkpoint.
    pub checkpoint: CheckpointId,
    /// Of which run.
    pub lineage: Lineage,
    /// Why it was taken.
    pub kind: CheckpointKind,
    /// What it fits.
    pub plan: PlanFingerprint,
    /// The highest attempt so far: the next start counts on from here.
    pub attempt: AttemptId,
    /// The id of the next checkpoint: ids never go back (case 15).
    pub next_checkpoint: CheckpointId,
    /// When its barriers were sent.
    pub triggered: Timestamp,
    /// When the last acknowledgement was in.
    pub completed: Timestamp,
    /// Bytes of state that were written for it.
    pub written_bytes: u64,
    /// Bytes of all state that it refers to.
    pub state_bytes: u64,
    /// By operator name.
    pub operators: BTreeMap<String, OperatorSnapshot>,
    /// The enumerator of each source, by source name.
    pub enumerators: BTreeMap<String, Vec<u8>>,
}

/// Why a checkpoint was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckpointKind {
    /// By the interval, or asked for by a person.
    Periodic,
    /// Before an orderly stop; the run can go on from it.
    Stop,
    /// At the end of bounded input.
    Final,
}

/// What one operator's subtasks said.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperatorSnapshot {
    /// By index.
    pub subtasks: Vec<SubtaskSnapshot>,
}

/// What one subtask said at its barrier.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubtaskSnapshot {
    /// Its operator state, in the operator's own encoding.
    pub operator_state: Vec<u8>,
    /// The splits that it reads, with positions, in the source's own encoding.
    pub splits: Vec<u8>,
    /// The splits that it has read to their end.
    pub finished_splits: Vec<String>,
    /// What its sink has prepared and not yet reported as committed.
    pub committables: Vec<Committable>,
    /// Its event time (case 45).
    pub watermark: Timestamp,
    /// The key hashes that it owned, both ends included; `None` where it has no keyed state.
    pub hashes: Option<(KeyHash, KeyHash)>,
    /// Its keyed state.
    pub runs: RunRefs,
    /// Whether it had ended.
    pub phase: SubtaskPhase,
}

impl Default for SubtaskSnapshot {
    fn default() -> Self {
        Self {
            operator_state: Vec::new(),
            splits: Vec::new(),
            finished_splits: Vec::new(),
            committables: Vec::new(),
            watermark: Timestamp::MIN,
            hashes: None,
            runs: Vec::new(),
            phase: SubtaskPhase::Running,
        }
    }
}

/// Whether a subtask has more to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum SubtaskPhase {
    /// Input may come.
    #[default]
    Running,
    /// All its input has ended and it has emitted all that it had.
    Finished,
}

/// Output that a sink prepared at a barrier.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Committable {
    /// At which.
    pub checkpoint: CheckpointId,
    /// What to commit, in the sink's own encoding.
    pub bytes: Vec<u8>,
}

/// What a run is of: a list of named parts, so that a difference can be told.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanFingerprint {
    /// Label and value, in the order that they are to be shown: plan, source paths, options, output.
    pub parts: Vec<(String, String)>,
}

impl PlanFingerprint {
    /// One line for each part that differs: `label: was OLD, is NEW`.
    pub fn differences(&self, new: &PlanFingerprint) -> Vec<String> {
        let find = |parts: &[(String, String)], label: &str| {
            parts.iter().find(|(other, _)| other == label).map(|(_, value)| value.clone())
        };
        let show =
            |value: Option<String>| value.map_or_else(|| "absent".to_owned(), |value| format!("`{value}`"));
        let gone = self.parts.iter().filter(|(label, _)| find(&new.parts, label).is_none());
        let labels = new.parts.iter().chain(gone).map(|(label, _)| label);
        labels
            .filter_map(|label| {
                let (old, new) = (find(&self.parts, label), find(&new.parts, label));
                (old != new).then(|| format!("{label}: was {}, is {}", show(old), show(new)))
            })
            .collect()
    }
}

impl Manifest {
    /// All runs that it refers to.
    pub fn restore_point(&self) -> RestorePoint {
        let subtasks = self.operators.values().flat_map(|operator| &operator.subtasks);
        RestorePoint { runs: subtasks.flat_map(|subtask| subtask.runs.iter().copied()).collect() }
    }

    /// The encoded form.
    ///
    /// # Errors
    /// If it is 4 GiB or more.
    pub fn encode(&self) -> Result<Vec<u8>> {
        let too_long = |problem: String| Error::Checkpoint { checkpoint: self.checkpoint, problem };
        let body = postcard::to_stdvec(self).map_err(|error| too_long(error.to_string()))?;
        let len = u32::try_from(body.len()).map_err(|_| {
            too_long(format!("its manifest would have {} bytes, 4 GiB are possible", body.len()))
        })?;
        let mut bytes = Vec::with_capacity(HEADER + body.len());
        bytes.extend_from_slice(&MAGIC);
        bytes.push(MANIFEST_VERSION);
        bytes.extend_from_slice(&len.to_le_bytes());
        bytes.extend_from_slice(&crc32fast::hash(&body).to_le_bytes());
        bytes.extend_from_slice(&body);
        Ok(bytes)
    }

    /// Reads the encoded form; `path` is named in errors.
    ///
    /// # Errors
    /// If it is damaged or of another version.
    pub fn decode(path: &Path, bytes: &[u8]) -> Result<Self> {
        let damaged = |problem: String| Error::Damaged { path: path.to_path_buf(), problem };
        let (header, body) = bytes
            .split_at_checked(HEADER)
            .ok_or_else(|| damaged(format!("{} bytes, a manifest has at least {HEADER}", bytes.len())))?;
        if header[..4] != MAGIC {
            return Err(damaged("it does not begin like a manifest".to_owned()));
        }
        if header[4] != MANIFEST_VERSION {
            let problem =
                format!("a manifest of version {}; this program reads version {MANIFEST_VERSION}", header[4]);
            return Err(damaged(problem));
        }
        let number = |at: usize| {
            u32::from_le_bytes(header[at..at + 4].try_into().expect("I72: a slice of 4 bytes is 4 bytes"))
        };
        if number(5) as usize != body.len() {
            return Err(damaged(format!("its body has {} bytes, expected {}", body.len(), number(5))));
        }
        let found = crc32fast::hash(body);
        if found != number(9) {
            return Err(damaged(format!("its checksum is {found:08x}, expected {:08x}", number(9))));
        }
        let (manifest, rest) =
            postcard::take_from_bytes(body).map_err(|error| damaged(format!("its body: {error}")))?;
        if !rest.is_empty() {
            return Err(damaged(format!("{} bytes follow its body", rest.len())));
        }
        Ok(manifest)
    }
}

#[cfg(test)]
pub(crate) mod tests;

//! A store in memory, for tests of tables and of operators.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::sync::{Mutex, MutexGuard};

use crate::error::{Error, Result};
use crate::id::{CheckpointId, StateId};
use crate::key::KeyHash;
use crate::state::lease::{StateLease, SubmitError};
use crate::state::registry::SnapshotMode;
use crate::state::row::{RowKey, RowRef};
use crate::state::run::Chunk;

/// Where a row stands, owned.
pub type OwnedKey = (StateId, KeyHash, Vec<u8>, Vec<u8>);
/// Live rows.
pub type Rows = BTreeMap<OwnedKey, Vec<u8>>;
/// The rows of a delta; `None` is a tombstone.
pub type Delta = BTreeMap<OwnedKey, Option<Vec<u8>>>;

/// A lease over maps: it verifies the order of rows, the life of a checkpoint, and can be rolled back.
#[derive(Default)]
pub struct FakeLease {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    /// All that was submitted, applied in the order of checkpoints.
    rows: Rows,
    deltas: VecDeque<(CheckpointId, Delta)>,
    sealed: BTreeMap<CheckpointId, SnapshotMode>,
    durable: Option<CheckpointId>,
    /// Submissions to refuse before the next is taken, again and again: 0 takes all.
    refuse_each: u32,
    refused: u32,
    gets: u64,
    scans: u64,
}

impl FakeLease {
    /// With the rows of a restored checkpoint.
    pub fn restored(rows: Rows) -> Self {
        Self { inner: Mutex::new(Inner { rows, ..Inner::default() }) }
    }

    /// Answers `n` submissions out of `n + 1` with a full queue.
    pub fn refuse_each(&self, n: u32) {
        self.lock().refuse_each = n;
    }

    /// Says that a checkpoint's rows are durable.
    pub fn set_durable(&self, checkpoint: CheckpointId) {
        self.lock().durable = Some(checkpoint);
    }

    /// The rows as of the last submission.
    pub fn rows(&self) -> Rows {
        self.lock().rows.clone()
    }

    /// The rows of a checkpoint's delta.
    pub fn delta(&self, checkpoint: CheckpointId) -> Delta {
        let inner = self.lock();
        inner
            .deltas
            .iter()
            .find(|(id, _)| *id == checkpoint)
            .map(|(_, delta)| delta.clone())
            .unwrap_or_default()
    }

    /// As what a checkpoint was sealed.
    pub fn sealed(&self, checkpoint: CheckpointId) -> Option<SnapshotMode> {
        self.lock().sealed.get(&checkpoint).copied()
    }

    /// Look-ups of single keys and scans that were answered.
    pub fn reads(&self) -> (u64, u64) {
        let inner = self.lock();
        (inner.gets, inner.scans)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn visit(
        &self,
        from: OwnedKey,
        within: impl Fn(&OwnedKey) -> bool,
        visit: &mut dyn FnMut(RowRef<'_>) -> Result<()>,
    ) -> Result<()> {
        let inner = self.lock();
        for (place, value) in inner.rows.range((Bound::Included(from), Bound::Unbounded)) {
            if !within(place) {
                break;
            }
            let (state, hash, key, element) = place;
            let key = RowKey { state: *state, hash: *hash, key, element };
            visit(RowRef { key, value: Some(value) })?;
        }
        Ok(())
    }
}

impl StateLease for FakeLease {
    fn scan(
        &self,
        state: StateId,
        (first, last): (KeyHash, KeyHash),
        visit: &mut dyn FnMut(RowRef<'_>) -> Result<()>,
    ) -> Result<()> {
        self.lock().scans += 1;
        let from = (state, first, Vec::new(), Vec::new());
        self.visit(from, |place| place.0 == state && place.1 <= last, visit)
    }

    fn get(
        &self,
        state: StateId,
        hash: KeyHash,
        key: &[u8],
        visit: &mut dyn FnMut(RowRef<'_>) -> Result<()>,
    ) -> Result<()> {
        self.lock().gets += 1;
        let from = (state, hash, key.to_vec(), Vec::new());
        self.visit(from, |place| place.0 == state && place.1 == hash && place.2 == key, visit)
    }

    fn is_empty(&self, state: StateId) -> bool {
        !self.lock().rows.keys().any(|place| place.0 == state)
    }

    fn submit(&self, checkpoint: CheckpointId, chunk: Vec<u8>) -> Result<(), SubmitError> {
        let inner = &mut *self.lock();
        if inner.refused < inner.refuse_each {
            inner.refused += 1;
            return Err(SubmitError::Full(chunk));
        }
        inner.refused = 0;
        let problem = |problem: String| SubmitError::Failed(Error::Store { problem });
        if inner.sealed.contains_key(&checkpoint) {
            return Err(problem(format!("a chunk of {checkpoint} after its seal")));
        }
        if inner.deltas.back().is_none_or(|(id, _)| *id < checkpoint) {
            inner.deltas.push_back((checkpoint, Delta::new()));
        }
        let Some((id, delta)) = inner.deltas.back_mut() else { return Ok(()) };
        if *id != checkpoint {
            return Err(problem(format!("a chunk of {checkpoint} after one of {id}")));
        }
        let chunk = Chunk::parse(chunk).map_err(problem)?;
        let mut rows = Vec::new();
        chunk
            .for_each(|row| {
                let RowKey { state, hash, key, element } = row.key;
                rows.push(((state, hash, key.to_vec(), element.to_vec()), row.value.map(<[u8]>::to_vec)));
            })
            .map_err(problem)?;
        for (place, value) in rows {
            if delta.last_key_value().is_some_and(|(last, _)| *last >= place) {
                return Err(problem(format!("row {place:?} of {checkpoint} is out of order")));
            }
            match &value {
                Some(value) => inner.rows.insert(place.clone(), value.clone()),
                None => inner.rows.remove(&place),
            };
            delta.insert(place, value);
        }
        Ok(())
    }

    fn seal(&self, checkpoint: CheckpointId, rows: SnapshotMode) -> Result<()> {
        let inner = &mut *self.lock();
        inner.sealed.insert(checkpoint, rows);
        if rows == SnapshotMode::Full {
            let delta =
                inner.deltas.back().filter(|(id, _)| *id == checkpoint).map(|(_, delta)| delta.clone());
            let live =
                delta.unwrap_or_default().into_iter().filter_map(|(place, value)| Some((place, value?)));
            inner.rows = live.collect();
        }
        Ok(())
    }

    fn durable(&self) -> Option<CheckpointId> {
        self.lock().durable
    }
}

/// A lease that holds nothing and throws away what it is given: for measuring.
pub struct DiscardLease;

impl StateLease for DiscardLease {
    fn scan(
        &self,
        _state: StateId,
        _hashes: (KeyHash, KeyHash),
        _visit: &mut dyn FnMut(RowRef<'_>) -> Result<()>,
    ) -> Result<()> {
        Ok(())
    }

    fn get(
        &self,
        _state: StateId,
        _hash: KeyHash,
        _key: &[u8],
        _visit: &mut dyn FnMut(RowRef<'_>) -> Result<()>,
    ) -> Result<()> {
        Ok(())
    }

    fn is_empty(&self, _state: StateId) -> bool {
        true
    }

    fn submit(&self, _checkpoint: CheckpointId, _chunk: Vec<u8>) -> Result<(), SubmitError> {
        Ok(())
    }

    fn seal(&self, _checkpoint: CheckpointId, _rows: SnapshotMode) -> Result<()> {
        Ok(())
    }

    fn durable(&self) -> Option<CheckpointId> {
        None
    }
}

/// Seeds of a random test: `count` of them, or only the one in the environment variable `SEED`.
pub fn seeds(count: u64) -> Vec<u64> {
    match std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()) {
        Some(seed) => vec![seed],
        None => (0..count).collect(),
    }
}

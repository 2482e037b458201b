//! Timers by key, durable.

use std::marker::PhantomData;

use crate::error::Result;
use crate::id::CheckpointId;
use crate::key::{Key, KeyHash};
use crate::state::lease::{SlicePace, StateLease, StateTable};
use crate::state::registry::TableOrigin;
use crate::time::Timestamp;

/// The timers of one subtask, of one kind of time; all of them are in memory, and durable as rows.
///
/// A key has at most one timer at a time of firing: registering it again does nothing.
pub struct Timers<K: Key>(PhantomData<fn() -> K>);

impl<K: Key> Timers<K> {
    pub(crate) fn open(_origin: TableOrigin) -> Result<Self> {
        Ok(Self(PhantomData))
    }

    /// Registers a timer; returns whether it is new.
    ///
    /// # Errors
    /// If the key can't be encoded.
    pub fn register(&mut self, _time: Timestamp, _hash: KeyHash, _key: &K) -> Result<bool> {
        todo!("timers")
    }

    /// Deletes a timer; returns whether there was one.
    ///
    /// # Errors
    /// If the key can't be encoded.
    pub fn delete(&mut self, _time: Timestamp, _hash: KeyHash, _key: &K) -> Result<bool> {
        todo!("timers")
    }

    /// Takes the earliest timer if it is due at `now` or before: in the order of time, then hash, then encoded key.
    /// A timer that is registered while others fire takes its place among those left.
    ///
    /// # Errors
    /// If the key can't be decoded.
    pub fn pop_due(&mut self, _now: Timestamp) -> Result<Option<(Timestamp, KeyHash, K)>> {
        todo!("timers")
    }

    /// When the earliest timer fires.
    pub fn next(&self) -> Option<Timestamp> {
        todo!("timers")
    }
}

impl<K: Key> StateTable for Timers<K> {
    fn freeze(&mut self, _checkpoint: CheckpointId) {
        todo!("timers")
    }
    fn encode(&mut self, _lease: &dyn StateLease, _pace: SlicePace) -> Result<bool> {
        todo!("timers")
    }
    fn on_durable(&mut self, _checkpoint: CheckpointId) {}
    fn entries(&self) -> usize {
        todo!("timers")
    }
    fn bytes(&self) -> usize {
        todo!("timers")
    }
}

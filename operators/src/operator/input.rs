//! The batch that an operator works on, and how far it has come: records by value, the other columns by position.

use std::sync::Arc;
use std::vec::IntoIter;

use tidegate_runtime::element::{Batch, ErasedBatch, Record};
use tidegate_runtime::key::{Key, KeyHash};
use tidegate_runtime::time::Timestamp;

use crate::key::KeyFunction;

/// The accepted batch of one input port.
pub(crate) struct Input<T> {
    /// Those left.
    pub(crate) records: IntoIter<T>,
    /// Of all records of the batch; empty on an untimed stream.
    pub(crate) timestamps: Vec<Timestamp>,
    /// Of all records of the batch; empty where the edge is not keyed.
    pub(crate) hashes: Vec<KeyHash>,
    len: usize,
}

impl<T> Default for Input<T> {
    fn default() -> Self {
        Self { records: Vec::new().into_iter(), timestamps: Vec::new(), hashes: Vec::new(), len: 0 }
    }
}

impl<T: Record> Input<T> {
    pub(crate) fn accept(&mut self, batch: ErasedBatch) {
        self.set(batch.into_typed());
    }

    fn set(&mut self, batch: Batch<T>) {
        self.len = batch.records.len();
        self.records = batch.records.into_iter();
        self.timestamps = batch.timestamps;
        self.hashes = batch.hashes;
    }

    /// Records taken.
    #[inline]
    pub(crate) fn cursor(&self) -> usize {
        self.len - self.records.len()
    }

    /// The timestamp at a position, or `Timestamp::MIN` on an untimed stream.
    #[inline]
    pub(crate) fn timestamp(&self, at: usize) -> Timestamp {
        self.timestamps.get(at).copied().unwrap_or(Timestamp::MIN)
    }

    /// The next record. Only below the `until` of a call.
    #[inline]
    pub(crate) fn take(&mut self) -> T {
        self.records.next().expect("I65: the step machine names positions within the accepted batch")
    }

    /// Position of the record that was taken last.
    fn last(&self) -> Option<usize> {
        self.cursor().checked_sub(1)
    }

    /// Timestamp of the record that was taken last.
    pub(crate) fn last_timestamp(&self) -> Option<Timestamp> {
        self.last().and_then(|at| self.timestamps.get(at).copied())
    }
}

/// The accepted batch of one keyed input port, with the keys of its records.
pub(crate) struct KeyedInput<K, T> {
    key: Arc<dyn KeyFunction<K, T>>,
    pub(crate) batch: Input<T>,
    pub(crate) keys: Vec<K>,
}

impl<K: Key, T: Record> KeyedInput<K, T> {
    pub(crate) fn new(key: Arc<dyn KeyFunction<K, T>>) -> Self {
        Self { key, batch: Input::default(), keys: Vec::new() }
    }

    /// One dyn call reads the keys of the whole batch.
    pub(crate) fn accept(&mut self, batch: ErasedBatch) {
        let batch: Batch<T> = batch.into_typed();
        assert_eq!(batch.hashes.len(), batch.records.len(), "I2: every record of a keyed edge has its hash");
        self.keys.clear();
        self.key.extract(&batch.records, &mut self.keys);
        self.batch.set(batch);
    }

    /// The key (rendered) and the timestamp of the record that was taken last.
    pub(crate) fn last_element(&self) -> (Option<String>, Option<Timestamp>) {
        let key = self.batch.last().and_then(|at| self.keys.get(at)).and_then(render_key);
        (key, self.batch.last_timestamp())
    }
}

/// A key as a failure's report shows it.
pub(crate) fn render_key<K: Key>(key: &K) -> Option<String> {
    serde_json::to_string(key).ok()
}

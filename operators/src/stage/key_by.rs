//! `key_by`: hashes the key of every record, for the exchange and for the tables behind it.

use std::sync::Arc;

use tidegate_runtime::element::{Batch, Record};
use tidegate_runtime::error::Result;
use tidegate_runtime::exchange::Partitioning;
use tidegate_runtime::key::{Key, KeyHash};
use tidegate_runtime::state::{CHECKED, check_codec};
use tidegate_runtime::time::Timestamp;

use super::whole::{BatchFunction, Whole};
use crate::builder::partitioned;
use crate::event_time::Time;
use crate::key::KeyFunction;
use crate::keyed::KeyedStream;
use crate::stream::Stream;

impl<T: Record, Timing: Time> Stream<T, Timing> {
    /// Divides the stream by key: all records of one key reach the same subtask, in the order of each producer.
    ///
    /// The function must give the same key for the same record, always: it is called on both sides of the exchange.
    ///
    /// ```
    /// # use tidegate_operators::{Dataflow, testing::numbers};
    /// let flow = Dataflow::new("last-digits");
    /// flow.source("numbers", numbers(0..100))
    ///     .key_by(|n| n % 10)
    ///     .stateful_map("count", |count: &mut u64, n| { *count += 1; (n % 10, *count) })
    ///     .print();
    /// assert!(flow.explain()?.contains("hash -> `count`"));
    /// # Ok::<(), tidegate_runtime::Error>(())
    /// ```
    pub fn key_by<K: Key>(self, key: impl Fn(&T) -> K + Send + Sync + 'static) -> KeyedStream<K, T, Timing> {
        let function: Arc<dyn KeyFunction<K, T>> = Arc::new(key);
        let hashing = Arc::clone(&function);
        let keyed: Stream<T, Timing> =
            self.stage("key_by", move || Whole::new(KeyBy::new(Arc::clone(&hashing))));
        let upstreams = keyed
            .upstreams
            .iter()
            .map(|upstream| partitioned::<T>(upstream.node, Partitioning::Hash))
            .collect();
        KeyedStream::of(keyed.graph, upstreams, function)
    }
}

struct KeyBy<K, T> {
    key: Arc<dyn KeyFunction<K, T>>,
    hashes: Vec<KeyHash>,
    timestamps: Vec<Timestamp>,
    /// Keys whose encoding is still to be checked.
    unchecked: usize,
}

impl<K, T> KeyBy<K, T> {
    fn new(key: Arc<dyn KeyFunction<K, T>>) -> Self {
        Self { key, hashes: Vec::new(), timestamps: Vec::new(), unchecked: CHECKED }
    }
}

impl<K: Key, T: Record> KeyBy<K, T> {
    #[cold]
    fn check(&mut self, records: &[T]) -> Result<()> {
        let records = &records[..records.len().min(self.unchecked)];
        let mut keys = Vec::with_capacity(records.len());
        self.key.extract(records, &mut keys);
        self.unchecked -= records.len();
        keys.iter().try_for_each(check_codec)
    }
}

impl<K: Key, T: Record> BatchFunction for KeyBy<K, T> {
    type In = T;
    type Out = T;

    fn apply(&mut self, batch: Batch<T>) -> Result<Batch<T>> {
        self.timestamps = batch.timestamps;
        if self.unchecked > 0 {
            self.check(&batch.records)?;
        }
        // As much room as the records have: the router fills both again.
        self.hashes.reserve(batch.records.capacity());
        self.key.hashes(&batch.records, &mut self.hashes);
        let (hashes, timestamps) = (std::mem::take(&mut self.hashes), std::mem::take(&mut self.timestamps));
        Ok(Batch { records: batch.records, timestamps, hashes, watermarks: batch.watermarks })
    }

    fn failed_timestamp(&self) -> Option<Timestamp> {
        self.timestamps.get(self.hashes.len()).copied()
    }
}

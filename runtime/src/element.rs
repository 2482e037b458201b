//! What travels through a channel: batches of records with sparse watermarks, and the control elements between.

use std::any::Any;
use std::fmt;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::codec::check_codec;
use crate::error::Result;
use crate::id::CheckpointId;
use crate::key::KeyHash;
use crate::time::Timestamp;

/// Every type that a stream carries.
///
/// It is what lets an edge cross processes, a dead letter be replayed and a tap print a record.
#[diagnostic::on_unimplemented(
    message = "`{Self}` can't be the record of a stream",
    note = "a record is `Clone + Send + Serialize + DeserializeOwned + 'static`: derive `Clone, Serialize, Deserialize`"
)]
pub trait Record: Clone + Send + Serialize + DeserializeOwned + 'static {}

impl<T: Clone + Send + Serialize + DeserializeOwned + 'static> Record for T {}

/// A watermark that holds after the first `offset` records of its batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WatermarkAt {
    /// Number of records before it.
    pub offset: usize,
    /// No later record is expected to have a timestamp at or below this.
    pub watermark: Timestamp,
}

/// Records in columns, with the watermarks between them.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch<T> {
    /// The records.
    pub records: Vec<T>,
    /// The event time of each record; empty on an untimed stream.
    pub timestamps: Vec<Timestamp>,
    /// The key hash of each record; empty where the edge is not keyed.
    pub hashes: Vec<KeyHash>,
    /// Rising in offset and in watermark.
    pub watermarks: Vec<WatermarkAt>,
}

impl<T> Default for Batch<T> {
    fn default() -> Self {
        Self { records: Vec::new(), timestamps: Vec::new(), hashes: Vec::new(), watermarks: Vec::new() }
    }
}

impl<T> Batch<T> {
    /// Number of records.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether there is neither a record nor a watermark.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty() && self.watermarks.is_empty()
    }

    /// Appends a watermark after the records so far; it replaces one at the same offset and never goes down.
    pub fn push_watermark(&mut self, watermark: Timestamp) {
        let offset = self.records.len();
        match self.watermarks.last_mut() {
            Some(last) if last.watermark >= watermark => {}
            Some(last) if last.offset == offset => last.watermark = watermark,
            _ => self.watermarks.push(WatermarkAt { offset, watermark }),
        }
    }

    /// An empty batch with room for about as much: batches of one edge are about as long.
    pub(crate) fn with_same_room(&self) -> Batch<T> {
        fn room<C>(column: &[C]) -> Vec<C> {
            // A little more, so that one that is a little longer is not copied when it grows.
            Vec::with_capacity(column.len() + column.len() / 8)
        }
        Batch {
            records: room(&self.records),
            timestamps: room(&self.timestamps),
            hashes: room(&self.hashes),
            watermarks: Vec::new(),
        }
    }

    /// The timestamp of the record at `index`, or `Timestamp::MIN` on an untimed stream.
    pub fn timestamp(&self, index: usize) -> Timestamp {
        self.timestamps.get(index).copied().unwrap_or(Timestamp::MIN)
    }
}

/// A batch whose record type is known to the operators at both ends only.
pub struct ErasedBatch(Box<dyn AnyBatch>);

impl ErasedBatch {
    /// Erases the record type.
    pub fn new<T: Record>(batch: Batch<T>) -> Self {
        Self(Box::new(batch))
    }

    /// The typed batch again.
    ///
    /// # Panics
    /// If `T` is not the type that it was made of: the graph's edges are typed when they are built (I1).
    pub fn into_typed<T: Record>(self) -> Batch<T> {
        *self.0.into_any().downcast::<Batch<T>>().expect("I1: both ends of an edge have one record type")
    }

    /// Number of records.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is neither a record nor a watermark.
    pub fn is_empty(&self) -> bool {
        self.0.len() == 0 && self.0.watermarks().is_empty()
    }

    /// Bytes that it is charged in a gate: exact for plain records, by the first record's encoded size for
    /// those that own heap memory.
    pub fn bytes(&self) -> usize {
        self.0.bytes()
    }

    /// The watermarks between the records.
    pub fn watermarks(&self) -> &[WatermarkAt] {
        self.0.watermarks()
    }

    /// Encodes, decodes and encodes again the first records, `most` at most.
    ///
    /// # Errors
    /// `Error::Codec` if their type does not survive that.
    pub fn check_codec(&self, most: usize) -> Result<()> {
        self.0.check_codec(most)
    }
}

impl Clone for ErasedBatch {
    fn clone(&self) -> Self {
        Self(self.0.clone_box())
    }
}

impl fmt::Debug for ErasedBatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ErasedBatch")
            .field("len", &self.len())
            .field("watermarks", &self.watermarks())
            .finish()
    }
}

trait AnyBatch: Send {
    fn len(&self) -> usize;
    fn bytes(&self) -> usize;
    fn watermarks(&self) -> &[WatermarkAt];
    fn check_codec(&self, most: usize) -> Result<()>;
    fn clone_box(&self) -> Box<dyn AnyBatch>;
    fn into_any(self: Box<Self>) -> Box<dyn Any>;
}

impl<T: Record> AnyBatch for Batch<T> {
    fn len(&self) -> usize {
        self.records.len()
    }

    fn bytes(&self) -> usize {
        let columns = size_of_val(self.timestamps.as_slice())
            + size_of_val(self.hashes.as_slice())
            + size_of_val(self.watermarks.as_slice());
        let heap = if std::mem::needs_drop::<T>() { heap_estimate(self.records.first()) } else { 0 };
        columns + self.records.len() * (size_of::<T>() + heap)
    }

    fn watermarks(&self) -> &[WatermarkAt] {
        &self.watermarks
    }

    fn check_codec(&self, most: usize) -> Result<()> {
        self.records.iter().take(most).try_for_each(check_codec)
    }

    fn clone_box(&self) -> Box<dyn AnyBatch> {
        Box::new(self.clone())
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}

/// What a record owns besides itself, by the size of its encoded form: one record a batch is looked at.
fn heap_estimate<T: Serialize>(sample: Option<&T>) -> usize {
    sample.and_then(|record| postcard::experimental::serialized_size(record).ok()).unwrap_or(0)
}

/// Divides the input in two: what a checkpoint contains and what comes after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Barrier {
    /// The checkpoint that it belongs to.
    pub checkpoint: CheckpointId,
}

/// One entry of a channel.
#[derive(Clone, Debug)]
pub enum Element {
    /// Records and watermarks.
    Batch(ErasedBatch),
    /// A checkpoint's barrier.
    Barrier(Barrier),
    /// The channel promises nothing about time until it is active again.
    Idle,
    /// The channel takes part in the watermark again.
    Active,
    /// No more records follow; barriers still do.
    End,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_watermark_at_one_offset_is_replaced_and_never_goes_down() {
        let mut batch = Batch::<u64>::default();
        batch.push_watermark(Timestamp(5));
        batch.push_watermark(Timestamp(7));
        batch.push_watermark(Timestamp(6));
        batch.records.push(1);
        batch.push_watermark(Timestamp(8));
        assert_eq!(
            batch.watermarks,
            vec![
                WatermarkAt { offset: 0, watermark: Timestamp(7) },
                WatermarkAt { offset: 1, watermark: Timestamp(8) }
            ]
        );
    }

    #[test]
    fn only_the_first_records_are_checked_to_survive_encoding() {
        // What is skipped shifts what follows.
        #[derive(Clone, Serialize, serde::Deserialize)]
        struct Skipping {
            #[serde(skip_serializing_if = "Option::is_none")]
            first: Option<u32>,
            last: u32,
        }
        let good = Skipping { first: Some(1), last: 300 };
        let batch = Batch { records: vec![good, Skipping { first: None, last: 300 }], ..Batch::default() };
        let batch = ErasedBatch::new(batch);
        assert!(batch.check_codec(1).is_ok());
        assert!(batch.check_codec(2).is_err());
    }
}

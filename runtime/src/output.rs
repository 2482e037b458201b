//! Where an operator puts what it emits: one typed column batch per output port.

use crate::element::{Batch, ErasedBatch, Record};
use crate::time::Timestamp;

/// Records that an output holds at most before the operator is asked to stop, apart from what one user call adds.
pub const OUTPUT_RECORDS_MAX: usize = 1_024;

/// A typed output port.
#[derive(Debug)]
pub struct Output<T> {
    batch: Batch<T>,
    timing: Timing,
}

/// Whether the records of a stream carry event time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timing {
    /// Every record has a timestamp.
    Timed,
    /// No record has one.
    Untimed,
}

impl<T: Record> Output<T> {
    /// An empty output.
    pub fn new(timing: Timing) -> Self {
        Self { batch: Batch::default(), timing }
    }

    /// Appends a record; the timestamp is kept on a timed stream only.
    pub fn push(&mut self, record: T, timestamp: Timestamp) {
        self.batch.records.push(record);
        if self.timing == Timing::Timed {
            self.batch.timestamps.push(timestamp);
        }
    }

    /// Appends a watermark after the records so far.
    pub fn push_watermark(&mut self, watermark: Timestamp) {
        self.batch.push_watermark(watermark);
    }

    /// Whether the operator should stop and let what is here go on.
    pub fn is_full(&self) -> bool {
        self.batch.records.len() >= OUTPUT_RECORDS_MAX
    }

    /// Records that it holds.
    pub fn len(&self) -> usize {
        self.batch.records.len()
    }

    /// Whether it holds neither a record nor a watermark.
    pub fn is_empty(&self) -> bool {
        self.batch.is_empty()
    }

    /// The columns themselves, for operators that fill them whole.
    pub fn batch_mut(&mut self) -> &mut Batch<T> {
        &mut self.batch
    }

    /// Whether its records carry event time.
    pub fn timing(&self) -> Timing {
        self.timing
    }

    /// Hands over what it holds, if anything.
    pub fn take(&mut self) -> Option<ErasedBatch> {
        if self.batch.is_empty() {
            return None;
        }
        let next = self.batch.with_same_room();
        Some(ErasedBatch::new(std::mem::replace(&mut self.batch, next)))
    }
}

//! The router of a keyed edge: each record goes to the subtask that owns its key group.

use super::division::Division;
use super::lanes::{Lanes, push_watermark_at};
use super::{Control, Routed, Router, Target, Wakeup};
use crate::element::{Batch, ErasedBatch, Record};
use crate::key::{KeyGroups, KeyHash};

/// Divides by key group.
pub(super) struct HashRouter<T> {
    lanes: Lanes<T>,
    /// The first hash of each destination but the first, in order: a destination owns a contiguous range of hashes.
    bounds: Vec<KeyHash>,
    division: Division,
    records_sent: u64,
}

impl<T: Record> HashRouter<T> {
    pub(super) fn new(targets: Vec<Target>, key_groups: KeyGroups, producer: Wakeup) -> Self {
        let parallelism = targets.len() as u32;
        // An empty range gets the bound of its neighbour above: no hash falls between the two.
        let bounds = (1..parallelism)
            .map(|subtask| key_groups.first_hash(key_groups.range(subtask, parallelism).start))
            .collect();
        Self { lanes: Lanes::new(targets, producer), bounds, division: Division::default(), records_sent: 0 }
    }

    /// Moves all records and watermarks to the lanes, and leaves the batch empty.
    fn divide(&mut self, batch: &mut Batch<T>) {
        self.division.divide(&batch.hashes, &self.bounds);
        for (lane, share) in self.lanes.each.iter_mut().zip(self.division.shares()) {
            let filling = &mut lane.filling;
            let mut passed = 0;
            for at in &batch.watermarks {
                passed += share[passed..].partition_point(|position| (*position as usize) < at.offset);
                push_watermark_at(filling, filling.hashes.len() + passed, at.watermark);
            }
            filling.hashes.extend(share.iter().map(|position| batch.hashes[*position as usize]));
            if !batch.timestamps.is_empty() {
                filling.timestamps.extend(share.iter().map(|position| batch.timestamps[*position as usize]));
            }
        }
        self.divide_records(batch);
        batch.watermarks.clear();
        batch.timestamps.clear();
        batch.hashes.clear();
    }

    /// Records that own nothing are copied in bulk, others are moved one by one.
    fn divide_records(&mut self, batch: &mut Batch<T>) {
        if std::mem::needs_drop::<T>() {
            for (hash, record) in batch.hashes.iter().zip(batch.records.drain(..)) {
                let destination = self.bounds.partition_point(|bound| bound <= hash);
                self.lanes.each[destination].filling.records.push(record);
            }
            return;
        }
        for (lane, share) in self.lanes.each.iter_mut().zip(self.division.shares()) {
            let records = share.iter().map(|position| batch.records[*position as usize].clone());
            lane.filling.records.extend(records);
        }
        batch.records.clear();
    }
}

impl<T: Record> Router for HashRouter<T> {
    fn route(&mut self, batch: ErasedBatch) -> Routed {
        let mut batch: Batch<T> = batch.into_typed();
        assert_eq!(batch.hashes.len(), batch.records.len(), "I2: every record of a keyed edge has its hash");
        self.records_sent += batch.len() as u64;
        let share = batch.len() / self.lanes.each.len();
        self.divide(&mut batch);
        self.lanes.keep_emptied(batch);
        self.lanes.send_due(share)
    }

    fn retry(&mut self) -> Routed {
        self.lanes.retry()
    }

    fn flush(&mut self) -> Routed {
        self.lanes.flush()
    }

    fn broadcast(&mut self, control: Control) {
        self.lanes.force(control);
    }

    fn records_sent(&self) -> u64 {
        self.records_sent
    }
}

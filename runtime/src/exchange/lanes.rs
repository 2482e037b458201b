//! The lanes of a router: what is pending for each destination.

use super::{Control, Refused, Routed, Target, Wakeup};
use crate::element::{Batch, Element, ErasedBatch, Record, WatermarkAt};
use crate::time::Timestamp;

/// Batches routed after which an incomplete one is sent too: a destination that gets few records must not keep its
/// watermark back while the producer is too busy to park.
const HELD_ROUTES_MAX: u32 = 64;

/// The destinations of one producer's edge.
pub(super) struct Lanes<T> {
    pub(super) each: Vec<Lane<T>>,
    /// Batches that were divided, to be filled again: as many as destinations at most.
    emptied: Vec<Batch<T>>,
    producer: Wakeup,
}

/// A destination: its gate, what is being filled and what was refused.
pub(super) struct Lane<T> {
    target: Target,
    pub(super) filling: Batch<T>,
    /// Batches routed since the one being filled was begun.
    held_routes: u32,
    refused: Option<Element>,
}

impl<T: Record> Lanes<T> {
    pub(super) fn new(targets: Vec<Target>, producer: Wakeup) -> Self {
        let lane = |target| Lane { target, filling: Batch::default(), held_routes: 0, refused: None };
        Self { each: targets.into_iter().map(lane).collect(), emptied: Vec::new(), producer }
    }

    /// Appends to what a lane is filling, or sends at once what is large enough by itself.
    pub(super) fn append(&mut self, lane: usize, batch: ErasedBatch) {
        let lane = &mut self.each[lane];
        if lane.filling.is_empty() && batch.len() * 2 >= lane.target.gate.batch_records() {
            lane.send(Element::Batch(batch), &self.producer);
            return;
        }
        append(&mut lane.filling, batch.into_typed());
    }

    /// A divided batch, whose columns are empty now.
    pub(super) fn keep_emptied(&mut self, batch: Batch<T>) {
        if self.emptied.len() < self.each.len() {
            self.emptied.push(batch);
        }
    }

    /// After a batch was routed: sends what is full, or was held back for long. `share` is what one more batch would
    /// add to a lane: full is what that would bring farther from the consumer's wish than it is.
    pub(super) fn send_due(&mut self, share: usize) -> Routed {
        for lane in &mut self.each {
            lane.held_routes = if lane.filling.is_empty() { 0 } else { lane.held_routes + 1 };
            let is_full = lane.filling.len() + share / 2 >= lane.target.gate.batch_records();
            if is_full || lane.held_routes >= HELD_ROUTES_MAX {
                lane.send_filling(&mut self.emptied, &self.producer);
            }
        }
        self.routed()
    }

    /// Offers what was refused again.
    pub(super) fn retry(&mut self) -> Routed {
        self.each.iter_mut().for_each(|lane| lane.retry(&self.producer));
        self.routed()
    }

    /// Offers incomplete batches too.
    pub(super) fn flush(&mut self) -> Routed {
        for lane in &mut self.each {
            lane.retry(&self.producer);
            lane.send_filling(&mut self.emptied, &self.producer);
        }
        self.routed()
    }

    /// Sends what is pending and then the element to every destination, without regard to credits.
    pub(super) fn force(&mut self, control: Control) {
        self.each.iter_mut().for_each(|lane| lane.force(control));
    }

    fn routed(&self) -> Routed {
        if self.each.iter().any(|lane| lane.refused.is_some()) {
            Routed::BackPressured
        } else {
            Routed::Ready
        }
    }
}

impl<T: Record> Lane<T> {
    fn send(&mut self, element: Element, producer: &Wakeup) {
        if let Err(Refused(element)) = self.target.gate.offer(self.target.lane, element, producer) {
            self.refused = Some(element);
        }
    }

    fn retry(&mut self, producer: &Wakeup) {
        if let Some(element) = self.refused.take() {
            self.send(element, producer);
        }
    }

    /// Sends what there is, and goes on with a batch of `emptied` if one has about as much room.
    fn send_filling(&mut self, emptied: &mut Vec<Batch<T>>, producer: &Wakeup) {
        if self.refused.is_some() || self.filling.is_empty() {
            return;
        }
        self.held_routes = 0;
        // Not one with far more room: a gate counts what a batch holds, not what it has room for.
        let len = self.filling.len();
        let next = emptied.pop_if(|batch| (len..=2 * len).contains(&batch.records.capacity()));
        let next = next.unwrap_or_else(|| self.filling.with_same_room());
        let full = std::mem::replace(&mut self.filling, next);
        self.send(Element::Batch(ErasedBatch::new(full)), producer);
    }

    fn force(&mut self, control: Control) {
        if let Some(element) = self.refused.take() {
            self.target.gate.force(self.target.lane, element);
        }
        if !self.filling.is_empty() {
            let batch = ErasedBatch::new(std::mem::take(&mut self.filling));
            self.target.gate.force(self.target.lane, Element::Batch(batch));
        }
        self.target.gate.force(self.target.lane, control.into());
    }
}

/// Appends all columns.
fn append<T>(target: &mut Batch<T>, source: Batch<T>) {
    let base = target.records.len();
    target.records.extend(source.records);
    target.timestamps.extend(source.timestamps);
    target.hashes.extend(source.hashes);
    for at in source.watermarks {
        push_watermark_at(target, base + at.offset, at.watermark);
    }
}

pub(super) fn push_watermark_at<T>(target: &mut Batch<T>, offset: usize, watermark: Timestamp) {
    match target.watermarks.last_mut() {
        Some(last) if last.watermark >= watermark => {}
        Some(last) if last.offset == offset => last.watermark = watermark,
        _ => target.watermarks.push(WatermarkAt { offset, watermark }),
    }
}

//! Routers: the end of an edge at its producer, where records are divided among the consumers' gates.

use std::sync::Arc;

use crate::element::{Barrier, Batch, Element, ErasedBatch, Record};
use crate::exchange::hash_router::HashRouter;
use crate::exchange::{Gate, Refused, Wakeup};
use crate::id::LaneId;
use crate::key::KeyGroups;
use crate::time::Timestamp;

/// How an edge divides records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Partitioning {
    /// Subtask i to subtask i.
    Forward,
    /// By key group.
    Hash,
    /// Batches in turn.
    Rebalance,
    /// Each record to every subtask.
    Broadcast,
}

/// One consumer of an edge.
#[derive(Clone)]
pub struct Target {
    /// Its gate.
    pub gate: Arc<Gate>,
    /// The lane of this producer.
    pub lane: LaneId,
}

/// Whether a router has room for more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Routed {
    /// Give it more.
    Ready,
    /// A gate is full: the producer will be woken.
    BackPressured,
}

/// The producer's end of an edge. What is pending is kept per destination.
pub trait Router: Send {
    /// Divides a batch. Only when the last call said `Ready`.
    fn route(&mut self, batch: ErasedBatch) -> Routed;

    /// Offers what was refused again.
    fn retry(&mut self) -> Routed;

    /// Offers incomplete batches too: the producer is about to park.
    fn flush(&mut self) -> Routed;

    /// Sends what is pending and then the element to every destination, in one step and without regard to credits.
    fn broadcast(&mut self, control: Control);

    /// Records sent so far.
    fn records_sent(&self) -> u64;
}

/// Elements that go to every destination of every output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Control {
    /// See `Element::Barrier`.
    Barrier(Barrier),
    /// See `Element::Idle`.
    Idle,
    /// See `Element::Active`.
    Active,
    /// See `Element::End`.
    End,
}

impl From<Control> for Element {
    fn from(control: Control) -> Self {
        match control {
            Control::Barrier(barrier) => Element::Barrier(barrier),
            Control::Idle => Element::Idle,
            Control::Active => Element::Active,
            Control::End => Element::End,
        }
    }
}

/// Makes the router of an edge for one producer: partitioning, targets in subtask order, and the producer's wake-up.
pub type RouterFactory = fn(Partitioning, Vec<Target>, KeyGroups, Wakeup) -> Box<dyn Router>;

/// The router of an edge of `T`s.
pub fn typed_router<T: Record>(
    partitioning: Partitioning,
    targets: Vec<Target>,
    key_groups: KeyGroups,
    producer: Wakeup,
) -> Box<dyn Router> {
    if targets.len() > 1 && partitioning == Partitioning::Hash {
        return Box::new(HashRouter::<T>::new(targets, key_groups, producer));
    }
    let whole = if partitioning == Partitioning::Broadcast { Whole::Broadcast } else { Whole::Rebalance(0) };
    Box::new(WholeRouter { lanes: lanes::<T>(targets), whole, producer, records_sent: 0 })
}

/// Batches routed after which an incomplete one is sent too: a destination that gets few records must not keep its
/// watermark back while the producer is too busy to park.
const HELD_ROUTES_MAX: u32 = 64;

/// A destination: its gate, what is being filled and what was refused.
pub(super) struct Lane<T> {
    target: Target,
    pub(super) filling: Batch<T>,
    /// Batches routed since the one being filled was begun.
    held_routes: u32,
    refused: Option<Element>,
}

pub(super) fn lanes<T>(targets: Vec<Target>) -> Vec<Lane<T>> {
    targets
        .into_iter()
        .map(|target| Lane { target, filling: Batch::default(), held_routes: 0, refused: None })
        .collect()
}

impl<T: Record> Lane<T> {
    /// Whether the next record must wait.
    fn is_blocked(&self) -> bool {
        self.refused.is_some()
    }

    fn send(&mut self, element: Element, producer: &Wakeup) {
        if let Err(Refused(element)) = self.target.gate.offer(self.target.lane, element, producer) {
            self.refused = Some(element);
        }
    }

    pub(super) fn retry(&mut self, producer: &Wakeup) {
        if let Some(element) = self.refused.take() {
            self.send(element, producer);
        }
    }

    /// After a batch was routed: sends what is full, or was held back for long. `share` is what one more batch would
    /// add: full is what that would bring farther from the consumer's wish than it is.
    pub(super) fn send_due(&mut self, share: usize, emptied: &mut Vec<Batch<T>>, producer: &Wakeup) {
        self.held_routes = if self.filling.is_empty() { 0 } else { self.held_routes + 1 };
        let is_full = self.filling.len() + share / 2 >= self.target.gate.batch_records();
        if is_full || self.held_routes >= HELD_ROUTES_MAX {
            self.send_filling(emptied, producer);
        }
    }

    /// Sends what there is, and goes on with a batch of `emptied` if one has about as much room.
    pub(super) fn send_filling(&mut self, emptied: &mut Vec<Batch<T>>, producer: &Wakeup) {
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

    pub(super) fn force(&mut self, control: Control) {
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

pub(super) fn routed<T: Record>(lanes: &[Lane<T>]) -> Routed {
    if lanes.iter().any(Lane::is_blocked) { Routed::BackPressured } else { Routed::Ready }
}

/// Sends whole batches: to one destination, to each in turn, or to all.
struct WholeRouter<T> {
    lanes: Vec<Lane<T>>,
    whole: Whole,
    producer: Wakeup,
    records_sent: u64,
}

enum Whole {
    Rebalance(usize),
    Broadcast,
}

impl<T: Record> WholeRouter<T> {
    /// Appends to what a lane is filling, or sends at once what is large enough by itself.
    fn append(lane: &mut Lane<T>, batch: ErasedBatch, producer: &Wakeup) {
        let limit = lane.target.gate.batch_records();
        if lane.filling.is_empty() && batch.len() * 2 >= limit {
            lane.send(Element::Batch(batch), producer);
            return;
        }
        append(&mut lane.filling, batch.into_typed());
    }
}

impl<T: Record> Router for WholeRouter<T> {
    fn route(&mut self, batch: ErasedBatch) -> Routed {
        let share = batch.len();
        self.records_sent += share as u64;
        match &mut self.whole {
            Whole::Broadcast => {
                for lane in &mut self.lanes {
                    Self::append(lane, batch.clone(), &self.producer);
                }
            }
            Whole::Rebalance(next) if self.lanes.len() > 1 => {
                let chosen = *next;
                *next = (chosen + 1) % self.lanes.len();
                // A watermark is for every destination, its records for one.
                if let Some(last) = batch.watermarks().last() {
                    for (index, lane) in self.lanes.iter_mut().enumerate() {
                        if index != chosen {
                            lane.filling.push_watermark(last.watermark);
                        }
                    }
                }
                Self::append(&mut self.lanes[chosen], batch, &self.producer);
            }
            Whole::Rebalance(_) => Self::append(&mut self.lanes[0], batch, &self.producer),
        }
        self.lanes.iter_mut().for_each(|lane| lane.send_due(share, &mut Vec::new(), &self.producer));
        routed(&self.lanes)
    }

    fn retry(&mut self) -> Routed {
        self.lanes.iter_mut().for_each(|lane| lane.retry(&self.producer));
        routed(&self.lanes)
    }

    fn flush(&mut self) -> Routed {
        for lane in &mut self.lanes {
            lane.retry(&self.producer);
            lane.send_filling(&mut Vec::new(), &self.producer);
        }
        routed(&self.lanes)
    }

    fn broadcast(&mut self, control: Control) {
        self.lanes.iter_mut().for_each(|lane| lane.force(control));
    }

    fn records_sent(&self) -> u64 {
        self.records_sent
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
        _ => target.watermarks.push(crate::element::WatermarkAt { offset, watermark }),
    }
}

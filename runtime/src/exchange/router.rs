//! Routers: the end of an edge at its producer, where records are divided among the consumers' gates.

use std::sync::Arc;

use crate::element::{Barrier, Element, ErasedBatch, Record};
use crate::exchange::hash_router::HashRouter;
use crate::exchange::lanes::Lanes;
use crate::exchange::{Gate, Wakeup};
use crate::id::LaneId;
use crate::key::KeyGroups;

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
    Box::new(WholeRouter { lanes: Lanes::<T>::new(targets, producer), whole, records_sent: 0 })
}

/// Sends whole batches: to one destination, to each in turn, or to all.
struct WholeRouter<T> {
    lanes: Lanes<T>,
    whole: Whole,
    records_sent: u64,
}

enum Whole {
    Rebalance(usize),
    Broadcast,
}

impl<T: Record> Router for WholeRouter<T> {
    fn route(&mut self, batch: ErasedBatch) -> Routed {
        let share = batch.len();
        self.records_sent += share as u64;
        match &mut self.whole {
            Whole::Broadcast => {
                for lane in 0..self.lanes.each.len() {
                    self.lanes.append(lane, batch.clone());
                }
            }
            Whole::Rebalance(next) => {
                let chosen = *next;
                *next = (chosen + 1) % self.lanes.each.len();
                // A watermark is for every destination, its records for one.
                if let Some(last) = batch.watermarks().last() {
                    for (index, lane) in self.lanes.each.iter_mut().enumerate() {
                        if index != chosen {
                            lane.filling.push_watermark(last.watermark);
                        }
                    }
                }
                self.lanes.append(chosen, batch);
            }
        }
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

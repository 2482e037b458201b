//! A consumer's gate: a lane for each producer, credits in bytes for all of them together, and the ready list.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::element::Element;
use crate::exchange::Wakeup;
use crate::id::LaneId;
use crate::sync::{AtomicUsize, Mutex, Ordering, lock};

/// The input side of one subtask, shared with its producers; locked once a batch.
///
/// Credits belong to the gate, so memory grows with subtasks and not with their square: a batch is admitted while
/// fewer than `budget` bytes are queued. A lane whose queue is empty may always add one batch, so that lanes that are
/// blocked by an alignment can't starve the others (I5, case 3). Control elements, and the rest that a barrier
/// flushes, are always admitted: at most one batch a lane and checkpoint (I6).
pub struct Gate {
    inner: Mutex<Inner>,
    budget: usize,
    /// Records that a producer should put in one batch; set by the consumer from its own cost.
    batch_records: AtomicUsize,
    consumer: Wakeup,
}

struct Inner {
    lanes: Vec<Lane>,
    /// Lanes with something to take, in the order in which they became so.
    ready: VecDeque<u32>,
    queued_bytes: usize,
    queued_bytes_peak: usize,
    is_closed: bool,
}

#[derive(Default)]
struct Lane {
    queue: VecDeque<(Element, usize)>,
    queued_bytes: usize,
    is_blocked: bool,
    /// The producer that was refused and waits for room.
    waiting: Option<Wakeup>,
}

/// The batch that was not admitted.
#[derive(Debug)]
pub struct Refused(pub Element);

/// What a gate holds now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GateFigures {
    /// Bytes queued in each lane.
    pub lane_bytes: Vec<usize>,
    /// Elements queued in each lane.
    pub lane_elements: Vec<usize>,
    /// Which lanes wait for an alignment.
    pub blocked: Vec<bool>,
    /// Most bytes that were ever queued together.
    pub queued_bytes_peak: usize,
}

impl Gate {
    /// A gate with `lanes` producers and room for `budget` bytes that wakes `consumer`.
    pub fn new(lanes: usize, budget: usize, consumer: Wakeup) -> Arc<Self> {
        Arc::new(Self {
            inner: Mutex::new(Inner {
                lanes: (0..lanes).map(|_| Lane::default()).collect(),
                ready: VecDeque::new(),
                queued_bytes: 0,
                queued_bytes_peak: 0,
                is_closed: false,
            }),
            budget,
            batch_records: AtomicUsize::new(crate::output::OUTPUT_RECORDS_MAX),
            consumer,
        })
    }

    /// Offers a batch. When there is no credit it is given back, and `producer` is woken once there is.
    pub fn offer(&self, lane: LaneId, element: Element, producer: &Wakeup) -> Result<(), Refused> {
        let bytes = element_bytes(&element);
        {
            let mut inner = lock(&self.inner);
            let inner = &mut *inner;
            let is_over = inner.queued_bytes > 0 && inner.queued_bytes + bytes > self.budget;
            let target = &mut inner.lanes[lane.0 as usize];
            if is_over && !target.queue.is_empty() && !inner.is_closed {
                target.waiting = Some(producer.clone());
                return Err(Refused(element));
            }
            inner.push(lane, element, bytes);
        }
        self.consumer.wake();
        Ok(())
    }

    /// Adds an element without regard to credits: a control element, or the last batch before one.
    pub fn force(&self, lane: LaneId, element: Element) {
        let bytes = element_bytes(&element);
        lock(&self.inner).push(lane, element, bytes);
        self.consumer.wake();
    }

    /// Takes the next element of the lanes that are not blocked, in turn.
    pub fn take(&self) -> Option<(LaneId, Element)> {
        let mut woken = Vec::new();
        let taken = {
            let mut inner = lock(&self.inner);
            let taken = inner.pop();
            if taken.is_some() {
                inner.collect_waiting(self.budget, &mut woken);
            }
            taken
        };
        for producer in woken {
            producer.wake();
        }
        taken
    }

    /// Takes nothing from this lane until `unblock_all`.
    pub fn block(&self, lane: LaneId) {
        let mut inner = lock(&self.inner);
        inner.lanes[lane.0 as usize].is_blocked = true;
        inner.ready.retain(|ready| *ready != lane.0);
    }

    /// Ends all blocks.
    pub fn unblock_all(&self) {
        let mut inner = lock(&self.inner);
        let inner = &mut *inner;
        for (index, lane) in inner.lanes.iter_mut().enumerate() {
            if std::mem::take(&mut lane.is_blocked) && !lane.queue.is_empty() {
                inner.ready.push_back(index as u32);
            }
        }
    }

    /// Drops what is queued and what comes: the consumer is gone, and a producer that still runs must not wait.
    pub fn close(&self) {
        let woken: Vec<Wakeup> = {
            let mut inner = lock(&self.inner);
            inner.is_closed = true;
            inner.ready.clear();
            inner.queued_bytes = 0;
            inner
                .lanes
                .iter_mut()
                .filter_map(|lane| {
                    lane.queue.clear();
                    lane.queued_bytes = 0;
                    lane.waiting.take()
                })
                .collect()
        };
        for producer in woken {
            producer.wake();
        }
    }

    /// Records that a producer should put in one batch now.
    pub fn batch_records(&self) -> usize {
        self.batch_records.load(Ordering::Relaxed)
    }

    /// Sets what `batch_records` says.
    pub fn set_batch_records(&self, records: usize) {
        self.batch_records.store(records, Ordering::Relaxed);
    }

    /// Room for queued bytes, over which only one batch a lane is admitted.
    pub fn budget(&self) -> usize {
        self.budget
    }

    /// Bytes queued now.
    pub fn queued_bytes(&self) -> usize {
        lock(&self.inner).queued_bytes
    }

    /// What it holds now.
    pub fn figures(&self) -> GateFigures {
        let inner = lock(&self.inner);
        GateFigures {
            lane_bytes: inner.lanes.iter().map(|lane| lane.queued_bytes).collect(),
            lane_elements: inner.lanes.iter().map(|lane| lane.queue.len()).collect(),
            blocked: inner.lanes.iter().map(|lane| lane.is_blocked).collect(),
            queued_bytes_peak: inner.queued_bytes_peak,
        }
    }
}

impl Inner {
    fn push(&mut self, lane: LaneId, element: Element, bytes: usize) {
        if self.is_closed {
            return;
        }
        let target = &mut self.lanes[lane.0 as usize];
        if target.queue.is_empty() && !target.is_blocked {
            self.ready.push_back(lane.0);
        }
        target.queue.push_back((element, bytes));
        target.queued_bytes += bytes;
        self.queued_bytes += bytes;
        self.queued_bytes_peak = self.queued_bytes_peak.max(self.queued_bytes);
    }

    fn pop(&mut self) -> Option<(LaneId, Element)> {
        let index = self.ready.pop_front()?;
        let lane = &mut self.lanes[index as usize];
        let (element, bytes) = lane.queue.pop_front().expect("I7: a lane on the ready list is not empty");
        lane.queued_bytes -= bytes;
        self.queued_bytes -= bytes;
        if !lane.queue.is_empty() {
            self.ready.push_back(index);
        }
        Some((LaneId(index), element))
    }

    /// Producers that were refused and would be admitted now. Half the budget must be free first, so that a full gate
    /// does not wake its producers for each batch.
    fn collect_waiting(&mut self, budget: usize, woken: &mut Vec<Wakeup>) {
        let has_room = self.queued_bytes <= budget / 2;
        for lane in &mut self.lanes {
            if lane.waiting.is_some() && (has_room || lane.queue.is_empty()) {
                woken.extend(lane.waiting.take());
            }
        }
    }
}

fn element_bytes(element: &Element) -> usize {
    match element {
        Element::Batch(batch) => batch.bytes(),
        Element::Barrier(_) | Element::Idle | Element::Active | Element::End => 0,
    }
}

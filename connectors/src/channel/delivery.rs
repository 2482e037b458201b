//! The queue between a sink and its receiver.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use tidegate_runtime::id::{CheckpointId, Lineage};
use tidegate_runtime::sync::lock;

use crate::collect::Parcel;

/// Shared by the sink, its writers and committers, and the receiver.
pub(super) struct Delivery<T> {
    state: Mutex<State<T>>,
    room: Condvar,
    arrival: Condvar,
}

struct State<T> {
    records: VecDeque<T>,
    capacity: usize,
    sink: Presence,
    receiver: Presence,
    /// How far each subtask's commits have come: they come again after a restart.
    delivered: BTreeMap<(Lineage, u32), Delivered>,
}

/// Up to which checkpoint all is delivered, and how much of the next one.
#[derive(Clone, Copy, Debug, Default)]
struct Delivered {
    checkpoint: Option<CheckpointId>,
    records_of_next: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Presence {
    Here,
    Gone,
}

/// Why a record could not be delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Undelivered {
    /// The receiver was dropped.
    ReceiverGone,
    /// It took nothing for too long.
    Stalled,
}

impl<T> Delivery<T> {
    pub(super) fn new(capacity: usize) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State {
                records: VecDeque::new(),
                capacity: capacity.max(1),
                sink: Presence::Here,
                receiver: Presence::Here,
                delivered: BTreeMap::new(),
            }),
            room: Condvar::new(),
            arrival: Condvar::new(),
        })
    }

    /// Delivers a record if there is room and a receiver, otherwise gives it back.
    pub(super) fn try_push(&self, record: T) -> Result<(), T> {
        let mut state = lock(&self.state);
        if state.receiver == Presence::Gone || state.records.len() >= state.capacity {
            return Err(record);
        }
        state.records.push_back(record);
        self.arrival.notify_one();
        Ok(())
    }

    /// Delivers a record, waiting for room until `patience` has passed in which nothing was taken.
    pub(super) fn push(&self, record: T, patience: Duration) -> Result<(), Undelivered> {
        let state = lock(&self.state);
        let is_full =
            |state: &mut State<T>| state.receiver == Presence::Here && state.records.len() >= state.capacity;
        let waited = self.room.wait_timeout_while(state, patience, is_full);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        if state.receiver == Presence::Gone {
            return Err(Undelivered::ReceiverGone);
        }
        if state.records.len() >= state.capacity {
            return Err(Undelivered::Stalled);
        }
        state.records.push_back(record);
        self.arrival.notify_one();
        Ok(())
    }

    /// Delivers what was not delivered yet of a checkpoint's records.
    pub(super) fn deliver(
        &self,
        lineage: Lineage,
        parcel: Parcel<T>,
        patience: Duration,
    ) -> Result<(), Undelivered> {
        let key = (lineage, parcel.subtask);
        let delivered = lock(&self.state).delivered.get(&key).copied().unwrap_or_default();
        if delivered.checkpoint >= Some(parcel.checkpoint) {
            return Ok(());
        }
        for record in parcel.records.into_iter().skip(delivered.records_of_next) {
            self.push(record, patience)?;
            lock(&self.state).delivered.entry(key).or_default().records_of_next += 1;
        }
        let done = Delivered { checkpoint: Some(parcel.checkpoint), records_of_next: 0 };
        lock(&self.state).delivered.insert(key, done);
        Ok(())
    }

    /// No more records will come.
    pub(super) fn close(&self) {
        lock(&self.state).sink = Presence::Gone;
        self.arrival.notify_all();
    }

    fn pop(&self, patience: Option<Duration>) -> Option<T> {
        let state = lock(&self.state);
        let is_empty = |state: &mut State<T>| state.sink == Presence::Here && state.records.is_empty();
        let mut state = match patience {
            None => self.arrival.wait_while(state, is_empty).unwrap_or_else(PoisonError::into_inner),
            Some(patience) => {
                self.arrival
                    .wait_timeout_while(state, patience, is_empty)
                    .unwrap_or_else(PoisonError::into_inner)
                    .0
            }
        };
        let record = state.records.pop_front();
        drop(state);
        self.room.notify_all();
        record
    }
}

/// Takes the results of a job, as an iterator that ends with it.
///
/// Dropped, it fails the job: results would be lost.
pub struct ChannelReceiver<T>(Arc<Delivery<T>>);

impl<T> ChannelReceiver<T> {
    pub(super) fn new(delivery: Arc<Delivery<T>>) -> Self {
        Self(delivery)
    }

    /// Takes the next record, waiting for it; `None` when the job is gone and everything was taken.
    pub fn recv(&self) -> Option<T> {
        self.0.pop(None)
    }

    /// Takes the next record if there is one, waiting at most so long.
    pub fn recv_timeout(&self, patience: Duration) -> Option<T> {
        self.0.pop(Some(patience))
    }

    /// Takes the next record if there is one now.
    pub fn try_recv(&self) -> Option<T> {
        self.0.pop(Some(Duration::ZERO))
    }
}

impl<T> Iterator for ChannelReceiver<T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        self.recv()
    }
}

impl<T> Drop for ChannelReceiver<T> {
    fn drop(&mut self) {
        lock(&self.0.state).receiver = Presence::Gone;
        self.0.room.notify_all();
    }
}

impl<T> fmt::Debug for ChannelReceiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChannelReceiver").field("waiting", &lock(&self.0.state).records.len()).finish()
    }
}

//! The queue between senders and a source: it keeps what was read until a checkpoint contains it.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use tidegate_runtime::exchange::Wakeup;
use tidegate_runtime::sync::lock;

/// Shared by the senders, the source and its readers.
pub(super) struct Queue<T> {
    state: Mutex<State<T>>,
    room: Condvar,
}

/// Records in the order in which they were sent, numbered from 0.
struct State<T> {
    /// Number of `records[0]`.
    first: u64,
    records: VecDeque<T>,
    capacity: usize,
    senders: usize,
    source: Presence,
    /// Set by a reader that found nothing.
    waiting: Option<Wakeup>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Presence {
    Here,
    Gone,
}

/// What a reader found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// So many records.
    Records(usize),
    /// None now; the reader will be woken.
    Nothing,
    /// None, and no sender is left.
    End,
}

impl<T: Clone> Queue<T> {
    pub(super) fn new(capacity: usize) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State {
                first: 0,
                records: VecDeque::new(),
                capacity: capacity.max(1),
                senders: 0,
                source: Presence::Here,
                waiting: None,
            }),
            room: Condvar::new(),
        })
    }

    /// Number of the oldest record that is kept.
    pub(super) fn first(&self) -> u64 {
        lock(&self.state).first
    }

    /// Copies records from number `position` on.
    pub(super) fn read(&self, position: u64, limit: usize, into: &mut Vec<T>, wakeup: &Wakeup) -> Found {
        let mut state = lock(&self.state);
        let skipped = usize::try_from(position.saturating_sub(state.first)).unwrap_or(usize::MAX);
        let until = state.records.len().min(skipped.saturating_add(limit));
        if skipped < until {
            into.extend(state.records.range(skipped..until).cloned());
            return Found::Records(until - skipped);
        }
        if state.senders == 0 {
            return Found::End;
        }
        state.waiting = Some(wakeup.clone());
        Found::Nothing
    }

    /// Lets go of the records before number `position`.
    pub(super) fn release(&self, position: u64) {
        let mut state = lock(&self.state);
        let released = usize::try_from(position.saturating_sub(state.first)).unwrap_or(usize::MAX);
        let released = released.min(state.records.len());
        state.records.drain(..released);
        state.first += released as u64;
        drop(state);
        self.room.notify_all();
    }

    /// Nobody will read any more.
    pub(super) fn close(&self) {
        lock(&self.state).source = Presence::Gone;
        self.room.notify_all();
    }

    fn push(&self, mut state: MutexGuard<'_, State<T>>, record: T) {
        state.records.push_back(record);
        let waiting = state.waiting.take();
        drop(state);
        if let Some(wakeup) = waiting {
            wakeup.wake();
        }
    }
}

/// Sends records into a job; clones send into the same channel. The input ends when the last one is dropped.
pub struct ChannelSender<T: Clone>(Arc<Queue<T>>);

impl<T: Clone> ChannelSender<T> {
    pub(super) fn new(queue: Arc<Queue<T>>) -> Self {
        lock(&queue.state).senders += 1;
        Self(queue)
    }

    /// Sends a record, waiting for room. It blocks the thread: in an async task use [`ChannelSender::try_send`].
    ///
    /// # Errors
    /// Gives the record back when the job has ended.
    pub fn send(&self, record: T) -> Result<(), SendError<T>> {
        let mut state = lock(&self.0.state);
        while state.source == Presence::Here && state.records.len() >= state.capacity {
            state = self.0.room.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if state.source == Presence::Gone {
            return Err(SendError(record));
        }
        self.0.push(state, record);
        Ok(())
    }

    /// Sends a record if there is room now.
    ///
    /// # Errors
    /// Gives the record back when there is none, or the job has ended.
    pub fn try_send(&self, record: T) -> Result<(), TrySendError<T>> {
        let state = lock(&self.0.state);
        if state.source == Presence::Gone {
            return Err(TrySendError::Ended(record));
        }
        if state.records.len() >= state.capacity {
            return Err(TrySendError::Full(record));
        }
        self.0.push(state, record);
        Ok(())
    }
}

impl<T: Clone> Clone for ChannelSender<T> {
    fn clone(&self) -> Self {
        Self::new(Arc::clone(&self.0))
    }
}

impl<T: Clone> Drop for ChannelSender<T> {
    fn drop(&mut self) {
        let mut state = lock(&self.0.state);
        state.senders -= 1;
        let waiting = if state.senders == 0 { state.waiting.take() } else { None };
        drop(state);
        if let Some(wakeup) = waiting {
            wakeup.wake();
        }
    }
}

impl<T: Clone> fmt::Debug for ChannelSender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChannelSender").finish_non_exhaustive()
    }
}

/// The job has ended; the record comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the job that reads this channel has ended")]
pub struct SendError<T>(pub T);

/// A record was not sent and comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TrySendError<T> {
    /// There is no room: the job reads more slowly, or has not completed a checkpoint for long.
    #[error("the channel is full")]
    Full(T),
    /// The job has ended.
    #[error("the job that reads this channel has ended")]
    Ended(T),
}

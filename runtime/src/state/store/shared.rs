//! What the store, its leases and its writer share: the state under its lock, and the signals between them.

use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use super::core::{Refused, Room, State};
use super::options::StoreEvents;
use super::run::{Residence, Shelf};
use super::storage::Spilling;
use crate::error::{Error, Result};
use crate::id::{CheckpointId, SubtaskId};
use crate::state::lease::SubmitError;
use crate::state::registry::SnapshotMode;
use crate::state::run::Chunk;

pub(super) struct Shared {
    pub(super) shelf: Arc<Shelf>,
    pub(super) events: Arc<dyn StoreEvents>,
    pub(super) residence: Residence,
    pending_bytes_max: usize,
    inner: Mutex<Inner>,
    /// The writer has something to do.
    wake: Condvar,
    /// The writer has nothing to do.
    idle: Condvar,
}

pub(super) struct Inner {
    pub(super) state: State,
    pub(super) life: Life,
    pub(super) spill: Spill,
    pub(super) writer: Doing,
    /// Something may have become garbage.
    pub(super) needs_sweep: bool,
}

/// What the writer is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Doing {
    /// Nothing, and nothing is to be done.
    Nothing,
    /// A commit, after which there will be room.
    Writing,
    /// Something else, or it is about to look.
    Something,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Life {
    Running,
    /// The writer is to end.
    Stopping,
    /// The writer has ended, or died of a bug: nothing is written any more.
    Stopped,
}

/// How memory is freed when too much is pending.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Spill {
    No,
    Wanted,
    /// The last write failed, so there may be no way to make room.
    Failed(String),
}

impl Inner {
    /// The writer has not seen this state yet.
    fn note_work(&mut self) {
        if self.writer == Doing::Nothing {
            self.writer = Doing::Something;
        }
    }
}

impl Shared {
    pub(super) fn new(
        shelf: Arc<Shelf>,
        events: Arc<dyn StoreEvents>,
        residence: Residence,
        pending_bytes_max: usize,
        state: State,
    ) -> Self {
        let inner = Inner {
            state,
            life: Life::Running,
            spill: Spill::No,
            writer: Doing::Something,
            needs_sweep: true,
        };
        let (wake, idle) = (Condvar::new(), Condvar::new());
        Self { shelf, events, residence, pending_bytes_max, inner: Mutex::new(inner), wake, idle }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("I70: no panic while the store's state is held")
    }

    /// Changes the state and lets the writer look at it.
    pub(super) fn change<R>(&self, change: impl FnOnce(&mut Inner) -> R) -> R {
        let mut inner = self.lock();
        let result = change(&mut inner);
        inner.note_work();
        self.wake.notify_one();
        result
    }

    /// As `change`, where garbage may come of it.
    pub(super) fn change_and_sweep<R>(&self, change: impl FnOnce(&mut State) -> R) -> R {
        self.change(|inner| {
            inner.needs_sweep = true;
            change(&mut inner.state)
        })
    }

    /// Waits until the writer is told of something.
    pub(super) fn sleep<'a>(&self, mut inner: MutexGuard<'a, Inner>) -> MutexGuard<'a, Inner> {
        inner.writer = Doing::Nothing;
        self.idle.notify_all();
        self.wake.wait(inner).expect("I70: no panic while the store's state is held")
    }

    pub(super) fn wait_idle(&self) {
        let mut inner = self.lock();
        while inner.writer != Doing::Nothing && inner.life == Life::Running {
            inner = self.idle.wait(inner).expect("I70: no panic while the store's state is held");
        }
    }

    pub(super) fn stop(&self) {
        self.change(|inner| inner.life = Life::Stopping);
    }

    pub(super) fn stopped(&self) {
        self.change(|inner| inner.life = Life::Stopped);
        self.idle.notify_all();
    }

    pub(super) fn submit(
        &self,
        lease: (SubtaskId, u64),
        checkpoint: CheckpointId,
        bytes: Vec<u8>,
    ) -> Result<(), SubmitError> {
        let chunk = Chunk::parse(bytes).map_err(|problem| Error::Store {
            problem: format!("{} hands over a chunk that can't be read: {problem}", lease.0),
        })?;
        let mut inner = self.lock();
        running(&inner)?;
        let room = self.room(&mut inner, chunk.bytes_len())?;
        match inner.state.submit(lease, checkpoint, chunk, room) {
            Ok(()) => Ok(()),
            Err(Refused::Failed(error)) => Err(SubmitError::Failed(error)),
            Err(Refused::Full(chunk)) => {
                inner.note_work();
                self.wake.notify_one();
                Err(SubmitError::Full(chunk.into_bytes()))
            }
        }
    }

    fn room(&self, inner: &mut Inner, bytes: usize) -> Result<Room> {
        let pending = inner.state.pending_bytes();
        if pending == 0 || pending + bytes <= self.pending_bytes_max {
            return Ok(Room::Free);
        }
        if inner.writer == Doing::Writing || inner.state.has_commit() {
            return Ok(Room::None);
        }
        if let Spill::Failed(problem) = &inner.spill {
            let problem = format!(
                "{pending} bytes of state wait to be written, {} are allowed, and the last write failed: {problem}",
                self.pending_bytes_max
            );
            return Err(Error::Store { problem });
        }
        match self.shelf.storage.spilling() {
            Spilling::StaysInMemory => Ok(Room::Free),
            Spilling::Possible => {
                inner.spill = Spill::Wanted;
                Ok(Room::None)
            }
        }
    }

    pub(super) fn seal(
        &self,
        of: (SubtaskId, u64),
        checkpoint: CheckpointId,
        rows: SnapshotMode,
    ) -> Result<()> {
        self.change(|inner| {
            running(inner)?;
            inner.state.seal(of, checkpoint, rows)
        })
    }
}

pub(super) fn running(inner: &Inner) -> Result<()> {
    let problem = match inner.life {
        Life::Running => return Ok(()),
        Life::Stopping => "it is closed",
        Life::Stopped => "its writer has ended: if nobody closed it that is a bug, and the log has the panic",
    };
    Err(Error::Store { problem: problem.to_owned() })
}

//! The live directory: actor path -> cell of figures, read by topology and chaos without a message.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use dashmap::DashMap;
use ractor::ActorCell;
use tidegate_runtime::exchange::Gate;
use tidegate_runtime::id::AttemptId;
use tidegate_runtime::metrics::{Activity, SubtaskStatus};
use tidegate_runtime::sync::lock;

use crate::message::Origin;
use crate::topology::{ActorKind, ActorState};

/// All actors of one job.
#[derive(Default)]
pub(crate) struct Directory {
    entries: DashMap<String, Arc<Entry>>,
}

/// One actor, across its restarts.
pub(crate) struct Entry {
    pub(crate) path: String,
    pub(crate) kind: ActorKind,
    /// Path of its supervisor.
    pub(crate) parent: String,
    cell: Mutex<Option<ActorCell>>,
    state: AtomicU8,
    pub(crate) attempt: AtomicU64,
    starts: AtomicU64,
    mailbox: AtomicI64,
    is_kill_asked: AtomicBool,
    /// Of a subtask.
    pub(crate) subtask: Option<SubtaskEntry>,
}

/// What only subtasks have.
pub(crate) struct SubtaskEntry {
    /// Of the current attempt.
    status: Mutex<Arc<SubtaskStatus>>,
    /// The current attempt's gate, with the paths of the producers of its lanes.
    pub(crate) gate: Mutex<Option<(Arc<Gate>, Arc<[String]>)>>,
    pub(crate) rates: Mutex<Rates>,
}

/// Records a second, by the last sample.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Rates {
    pub(crate) records_in: f64,
    pub(crate) records_out: f64,
    pub(crate) sampled: (u64, u64),
}

impl Directory {
    /// The entry of a path, made if it is new.
    pub(crate) fn entry(&self, path: &str, kind: ActorKind, parent: &str) -> Arc<Entry> {
        let make = || {
            let subtask = (kind == ActorKind::Subtask).then(|| SubtaskEntry {
                status: Mutex::default(),
                gate: Mutex::new(None),
                rates: Mutex::new(Rates::default()),
            });
            Arc::new(Entry {
                path: path.to_owned(),
                kind,
                parent: parent.to_owned(),
                cell: Mutex::new(None),
                state: AtomicU8::new(ActorState::Starting as u8),
                attempt: AtomicU64::new(0),
                starts: AtomicU64::new(0),
                mailbox: AtomicI64::new(0),
                is_kill_asked: AtomicBool::new(false),
                subtask,
            })
        };
        Arc::clone(self.entries.entry(path.to_owned()).or_insert_with(make).value())
    }

    pub(crate) fn find(&self, path: &str) -> Option<Arc<Entry>> {
        self.entries.get(path).map(|entry| Arc::clone(entry.value()))
    }

    /// All entries, by path.
    pub(crate) fn all(&self) -> Vec<Arc<Entry>> {
        let mut all: Vec<_> = self.entries.iter().map(|entry| Arc::clone(entry.value())).collect();
        all.sort_by(|a, b| a.path.cmp(&b.path));
        all
    }
}

impl SubtaskEntry {
    /// The figures of the current attempt.
    pub(crate) fn status(&self) -> Arc<SubtaskStatus> {
        Arc::clone(&lock(&self.status))
    }

    /// An attempt begins: its figures.
    pub(crate) fn begin(&self, attempt: AttemptId) -> Arc<SubtaskStatus> {
        let mut status = lock(&self.status);
        *status = Arc::new(status.next_attempt(attempt));
        Arc::clone(&status)
    }
}

impl Entry {
    /// A new actor stands behind the path.
    pub(crate) fn bind(&self, cell: ActorCell) {
        *lock(&self.cell) = Some(cell);
        self.is_kill_asked.store(false, Ordering::Release);
        self.mailbox.store(0, Ordering::Relaxed);
        self.starts.fetch_add(1, Ordering::Relaxed);
        self.set_state(ActorState::Running);
    }

    pub(crate) fn set_state(&self, state: ActorState) {
        self.state.store(state as u8, Ordering::Release);
    }

    /// The actor and its job have ended; that it failed stays to be seen.
    pub(crate) fn end(&self) {
        self.set_state(ActorState::Stopped);
        if let Some(subtask) = &self.subtask
            && subtask.status().activity() != Activity::Failed
        {
            subtask.status().set_activity(Activity::Stopped);
        }
    }

    pub(crate) fn state(&self) -> ActorState {
        ActorState::from_u8(self.state.load(Ordering::Acquire))
    }

    pub(crate) fn restarts(&self) -> u64 {
        self.starts.load(Ordering::Relaxed).saturating_sub(1)
    }

    /// Kills the actor behind the path, by request. Returns whether there is one.
    pub(crate) fn kill(&self) -> bool {
        let Some(cell) = lock(&self.cell).clone() else { return false };
        // A kill during its start would take its supervisor with it.
        if self.state() != ActorState::Running || cell.get_status() != ractor::ActorStatus::Running {
            return false;
        }
        self.is_kill_asked.store(true, Ordering::Release);
        cell.kill();
        true
    }

    /// Whether the death that was just seen was asked for.
    pub(crate) fn was_kill_asked(&self) -> bool {
        self.is_kill_asked.load(Ordering::Acquire)
    }

    /// As `was_kill_asked`.
    pub(crate) fn death_origin(&self) -> Origin {
        if self.was_kill_asked() { Origin::Asked } else { Origin::Failure }
    }

    pub(crate) fn posted(&self) {
        self.mailbox.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn taken(&self) {
        self.mailbox.fetch_sub(1, Ordering::Relaxed);
    }

    pub(crate) fn mailbox_depth(&self) -> u64 {
        u64::try_from(self.mailbox.load(Ordering::Relaxed)).unwrap_or(0)
    }
}

//! Tells when everything that an attempt owns is gone: by our own drop guards, not by join handles.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What a guard stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// A subtask actor, or the job that builds them: user code on the data runtime.
    Subtask,
    /// A thread that prepares or commits.
    Thread,
}

/// Counts what is alive.
pub(crate) struct Alive {
    subtasks: AtomicUsize,
    /// Threads, and one for the owner, released when the attempt ends.
    others: AtomicUsize,
    /// Called by who drops the last.
    on_gone: Box<dyn Fn() + Send + Sync>,
}

/// One thing that is alive.
pub(crate) struct AliveGuard {
    alive: Arc<Alive>,
    part: Part,
}

impl Alive {
    pub(crate) fn new(on_gone: impl Fn() + Send + Sync + 'static) -> Arc<Self> {
        let on_gone = Box::new(on_gone);
        Arc::new(Self { subtasks: AtomicUsize::new(0), others: AtomicUsize::new(0), on_gone })
    }

    pub(crate) fn guard(self: &Arc<Self>, part: Part) -> AliveGuard {
        self.count(part).fetch_add(1, Ordering::AcqRel);
        AliveGuard { alive: Arc::clone(self), part }
    }

    pub(crate) fn subtasks(&self) -> usize {
        self.subtasks.load(Ordering::Acquire)
    }

    pub(crate) fn is_gone(&self) -> bool {
        self.subtasks() == 0 && self.others.load(Ordering::Acquire) == 0
    }

    fn count(&self, part: Part) -> &AtomicUsize {
        match part {
            Part::Subtask => &self.subtasks,
            Part::Thread => &self.others,
        }
    }
}

impl Drop for AliveGuard {
    fn drop(&mut self) {
        self.alive.count(self.part).fetch_sub(1, Ordering::AcqRel);
        if self.alive.is_gone() {
            (self.alive.on_gone)();
        }
    }
}

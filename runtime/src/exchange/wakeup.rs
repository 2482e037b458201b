//! Tells a parked subtask that there is work, with one message however many reasons there are.

use std::sync::Arc;

use crate::sync::{AtomicBool, Ordering};

/// A handle that any thread may use to have a subtask make a step.
///
/// At most one notice is under way: `wake` sends one if none is, `begin` is called when it arrived, before the
/// subtask looks for work. What happens after `begin` sends the next one, so no wake-up is lost (I4).
#[derive(Clone)]
pub struct Wakeup(Arc<Shared>);

struct Shared {
    under_way: AtomicBool,
    notify: Box<dyn Fn() + Send + Sync>,
}

impl Wakeup {
    /// `notify` sends the notice, e.g. casts `Work` to an actor.
    pub fn new(notify: impl Fn() + Send + Sync + 'static) -> Self {
        Self(Arc::new(Shared { under_way: AtomicBool::new(false), notify: Box::new(notify) }))
    }

    /// Sends a notice unless one is under way.
    pub fn wake(&self) {
        if !self.0.under_way.swap(true, Ordering::AcqRel) {
            (self.0.notify)();
        }
    }

    /// The notice has arrived: what comes from now on sends a new one.
    pub fn begin(&self) {
        self.0.under_way.swap(false, Ordering::AcqRel);
    }

    /// Whether a notice was sent and has not arrived.
    pub(super) fn is_under_way(&self) -> bool {
        self.0.under_way.load(Ordering::Acquire)
    }
}

//! The timer service: wakes parked subtasks at their times. One task on the control runtime for a whole job.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use tidegate_runtime::exchange::Wakeup;
use tidegate_runtime::id::SubtaskId;
use tidegate_runtime::sync::lock;
use tidegate_runtime::time::{Clock, Timestamp, millis};
use tokio::sync::Notify;

/// At most one time for each subtask: a new one replaces the old.
#[derive(Default)]
pub(crate) struct Timers {
    due: Mutex<Due>,
    changed: Notify,
}

#[derive(Default)]
struct Due {
    order: BTreeSet<(Timestamp, SubtaskId)>,
    of: BTreeMap<SubtaskId, (Timestamp, Wakeup)>,
}

impl Timers {
    /// Wakes the subtask at `at`, unless a later call says otherwise.
    pub(crate) fn set(&self, subtask: SubtaskId, at: Option<(Timestamp, Wakeup)>) {
        let mut due = lock(&self.due);
        let before = due.order.first().map(|(at, _)| *at);
        if let Some((old, _)) = due.of.remove(&subtask) {
            due.order.remove(&(old, subtask));
        }
        if let Some((at, wakeup)) = at {
            due.order.insert((at, subtask));
            due.of.insert(subtask, (at, wakeup));
            if before.is_none_or(|before| at < before) {
                self.changed.notify_one();
            }
        }
    }

    /// Runs until its runtime ends.
    pub(crate) async fn run(self: Arc<Self>, clock: Clock) {
        loop {
            let now = clock.now();
            for wakeup in self.take_due(now) {
                wakeup.wake();
            }
            let next = lock(&self.due).order.first().map(|(at, _)| *at);
            let Some(next) = next else {
                self.changed.notified().await;
                continue;
            };
            let wait = millis(u64::try_from(next.0.saturating_sub(now.0)).unwrap_or(0).max(1));
            tokio::select! {
                biased;
                () = self.changed.notified() => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    fn take_due(&self, now: Timestamp) -> Vec<Wakeup> {
        let mut due = lock(&self.due);
        let mut woken = Vec::new();
        while let Some((at, subtask)) = due.order.first().copied().filter(|(at, _)| *at <= now) {
            due.order.remove(&(at, subtask));
            woken.extend(due.of.remove(&subtask).map(|(_, wakeup)| wakeup));
        }
        woken
    }
}

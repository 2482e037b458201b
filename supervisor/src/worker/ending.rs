//! How the worker ends attempts: by their guards, or by deadlines.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tidegate_runtime::id::AttemptId;
use tidegate_runtime::sync::lock;

use super::actor::{WorkerActor, WorkerMessage, WorkerState};
use super::deployment::region_failure;
use crate::message::{Origin, WorkerReport};
use crate::post::Post;
use crate::topology::ActorState;

/// How long a subtask may take to come back before the threads that it runs on are given up.
const SUBTASK_DEADLINE: Duration = Duration::from_secs(1);
/// How long a prepare or commit under way may take to come back before the next attempt starts without waiting.
const THREAD_DEADLINE: Duration = Duration::from_secs(10);

impl WorkerActor {
    /// Gives an ending attempt its time.
    pub(super) fn await_end(&self, myself: &Post<WorkerMessage>, attempt: AttemptId) {
        let gone = lock(&self.shared.attempts).get(&attempt).is_some_and(|held| held.alive.is_gone());
        if gone {
            myself.cast(WorkerMessage::AttemptGone(attempt));
        }
        myself.cast_after(SUBTASK_DEADLINE, move || WorkerMessage::SubtaskDeadline(attempt));
        myself.cast_after(THREAD_DEADLINE, move || WorkerMessage::ThreadDeadline(attempt));
    }

    pub(super) fn on_subtask_deadline(&self, id: AttemptId, state: &mut WorkerState) {
        let Some(attempt) = lock(&self.shared.attempts).get(&id).cloned() else { return };
        if attempt.alive.subtasks() == 0 {
            return;
        }
        let generation = attempt.generation.load(Ordering::Acquire);
        let hung = attempt.alive.subtasks();
        tracing::error!(attempt = id.0, hung, "subtasks do not come back: their threads are given up");
        for other in self.shared.all_attempts() {
            if other.generation.load(Ordering::Acquire) == generation {
                let cause = "the threads that it ran on were given up: another region's step hangs";
                other.fail(region_failure(other.region, cause), Origin::Collateral);
            }
        }
        match self.shared.data.abandon(generation) {
            Ok(true) => self.shared.counters.abandoned_runtimes.add(1),
            Ok(false) => {}
            Err(error) => tracing::error!(%error, "no fresh data runtime"),
        }
        self.forget(id, state);
    }

    /// Nothing of the attempt is left, or nothing that could do harm.
    pub(super) fn forget(&self, id: AttemptId, state: &mut WorkerState) {
        let attempt = lock(&self.shared.attempts).remove(&id);
        if let Some(attempt) = attempt {
            attempt.entry.set_state(ActorState::Stopped);
            if let Some(post) = attempt.deployment.get() {
                post.actor().stop(None);
            }
        }
        self.answer(state);
    }

    pub(super) fn answer(&self, state: &mut WorkerState) {
        let held = self.shared.all_attempts();
        state.cancelling.retain(|region, fence| {
            let is_left = held.iter().any(|attempt| attempt.region == *region && attempt.id < *fence);
            if !is_left {
                self.shared.report(WorkerReport::Gone { region: *region, fence: *fence });
            }
            is_left
        });
        if held.is_empty() {
            for done in state.closing.drain(..) {
                let _ = done.send(());
            }
        }
    }
}

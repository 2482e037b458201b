//! Names the steps that hang, and factories: a task on the control runtime that looks at the cells, not at the threads.

use std::sync::Arc;
use std::time::Duration;

use tidegate_runtime::error::Failure;

use super::deployment::region_failure;
use super::shared::WorkerShared;
use crate::message::Origin;

/// Longest time between two looks.
const LOOK_MAX: Duration = Duration::from_secs(1);

/// Fails every attempt with a step that takes longer than the limit, or whose operators are not built by then. Runs until its runtime ends.
pub(crate) async fn watch(worker: Arc<WorkerShared>) {
    let pause = (worker.step_timeout / 4).clamp(Duration::from_millis(5), LOOK_MAX);
    loop {
        tokio::time::sleep(pause).await;
        let now = worker.clock.elapsed();
        for attempt in worker.all_attempts() {
            if attempt.is_ended() {
                continue;
            }
            if let Some(took) = attempt.building_for(now).filter(|took| *took > worker.step_timeout) {
                let cause = format!(
                    "its operators, sources and sinks were not made within {} ms, the limit is {} ms: a factory hangs",
                    took.as_millis(),
                    worker.step_timeout.as_millis()
                );
                attempt.fail(region_failure(attempt.region, &cause), Origin::Failure);
                continue;
            }
            for cell in attempt.subtasks() {
                let began = cell.status.step_began_ns.get();
                let took = now.saturating_sub(Duration::from_nanos(began.saturating_sub(1)));
                if began > 0 && took > worker.step_timeout {
                    let cause = format!(
                        "a step hangs: it did not return for {} ms, the limit is {} ms",
                        took.as_millis(),
                        worker.step_timeout.as_millis()
                    );
                    let failure = Failure::new(cell.operator.clone(), cell.subtask.index, cause);
                    attempt.fail(failure, Origin::Failure);
                    break;
                }
            }
        }
    }
}

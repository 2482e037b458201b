//! What workers report, and to whom of the job it goes.

use tidegate_runtime::checkpoint::coordinator::CoordinatorEvent;
use tidegate_runtime::error::Failure;

use super::actor::{JobActor, JobActorState, tell_region};
use super::checkpoints::CheckpointMessage;
use super::enumerator::EnumeratorMessage;
use super::region::RegionMessage;
use crate::message::{Origin, WorkerReport};

impl JobActor {
    pub(super) fn on_report(&self, report: WorkerReport, state: &mut JobActorState) {
        match report {
            WorkerReport::Up { region, attempt } => tell_region(state, region, RegionMessage::Up(attempt)),
            WorkerReport::Failed { region, attempt, failure, origin } => {
                let attempt = Some(attempt);
                tell_region(state, region, RegionMessage::Failed { attempt, failure, origin });
            }
            WorkerReport::Replaced { origin } => {
                let failure = Failure::new("worker-0", 0, "the worker's actor was replaced");
                // One failure, however many regions it restarts.
                let mut origin = origin;
                for region in state.regions.values() {
                    region.cast(RegionMessage::WorkerReplaced { failure: failure.clone(), origin });
                    origin = Origin::Collateral;
                }
            }
            WorkerReport::Gone { region, fence } => tell_region(state, region, RegionMessage::Gone(fence)),
            WorkerReport::Ack { attempt, checkpoint, subtask, part } => {
                let event = CoordinatorEvent::Ack { attempt, checkpoint, subtask, part };
                state.checkpoints.cast(CheckpointMessage::Event(event));
            }
            WorkerReport::Decline { attempt, checkpoint, cause } => {
                let event = CoordinatorEvent::Decline { attempt, checkpoint, cause };
                state.checkpoints.cast(CheckpointMessage::Event(event));
            }
            WorkerReport::RequestSplit { attempt, subtask } => {
                if let Some(enumerator) = state.enumerators.get(&subtask.operator) {
                    enumerator.cast(EnumeratorMessage::Request { attempt, subtask });
                }
            }
            WorkerReport::Ended { attempt, subtask } => {
                let actions = state.life.on_ended(attempt, subtask);
                self.perform(actions, state);
            }
            WorkerReport::Committed { attempt, checkpoint } => {
                let actions = state.life.on_committed(attempt, checkpoint);
                self.perform(actions, state);
            }
        }
    }
}

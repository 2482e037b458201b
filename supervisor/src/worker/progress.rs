//! What a deployment does as its checkpoints come along: prepares, acknowledges, commits.

use tidegate_runtime::error::Failure;
use tidegate_runtime::id::{CheckpointId, SubtaskId};
use tidegate_runtime::task::{TaskCommand, TaskEvent};

use super::deployment::{DeploymentActor, DeploymentState, region_failure};
use super::snapshots::{Acknowledged, CommitJob, Prepare};
use super::subtask::SubtaskMessage;
use super::threads::{CommitTask, PrepareTask, ThreadEvent};
use crate::message::{Origin, WorkerReport};

impl DeploymentActor {
    pub(super) fn on_event(&self, subtask: SubtaskId, event: TaskEvent, state: &mut DeploymentState) {
        let attempt = self.attempt.id;
        match event {
            TaskEvent::RequestSplit => {
                self.attempt.worker.report(WorkerReport::RequestSplit { attempt, subtask });
            }
            TaskEvent::Ended => {
                state.snapshots.on_ended(subtask);
                self.attempt.worker.report(WorkerReport::Ended { attempt, subtask });
            }
            TaskEvent::Frozen { checkpoint, state: frozen, prepare } => {
                let prepare = match prepare {
                    None => Prepare::None,
                    Some(job) => {
                        let task = PrepareTask { subtask, checkpoint, job };
                        if self.attempt.prepare(task).is_err() {
                            // What it would have prepared is lost with the job: only a restart brings it back.
                            let problem = "more output waits to be made durable than the queue holds";
                            let failure = region_failure(self.attempt.region, problem);
                            return self.attempt.fail(failure, Origin::Failure);
                        }
                        Prepare::UnderWay
                    }
                };
                let acknowledged = state.snapshots.on_frozen(subtask, checkpoint, frozen, prepare);
                self.acknowledge(acknowledged);
            }
        }
    }

    pub(super) fn on_thread(&self, event: ThreadEvent, state: &mut DeploymentState) {
        match event {
            ThreadEvent::Prepared { subtask, checkpoint, result: Ok(prepared) } => {
                let acknowledged = state.snapshots.on_prepared(subtask, checkpoint, prepared);
                self.acknowledge(acknowledged);
            }
            ThreadEvent::Committed { subtask, checkpoint, result: Ok(()) } => {
                let jobs = state.snapshots.on_committed(subtask, checkpoint);
                self.commit(jobs, state);
            }
            ThreadEvent::Prepared { subtask, result: Err(error), .. }
            | ThreadEvent::Committed { subtask, result: Err(error), .. } => {
                // Never retry and trust (case 60): the attempt starts again from what is known to be durable.
                let operator = self.attempt.worker.plan.vertex(subtask.operator).name.clone();
                self.attempt.fail(Failure::of_error(operator, subtask.index, &error), Origin::Failure);
            }
        }
    }

    pub(super) fn on_all(&self, command: &TaskCommand, state: &mut DeploymentState) {
        for cell in self.attempt.subtasks() {
            cell.cast(SubtaskMessage::Command(command.clone()));
        }
        match command {
            TaskCommand::Abort(checkpoint) => state.snapshots.on_abort(*checkpoint),
            TaskCommand::Completed(checkpoint) => {
                let jobs = state.snapshots.on_completed(*checkpoint);
                self.commit(jobs, state);
            }
            _ => {}
        }
    }

    pub(super) fn commit(&self, jobs: Vec<CommitJob>, state: &mut DeploymentState) {
        for job in jobs {
            if !self.attempt.commit(CommitTask::Commit(job)) {
                let problem = "the commit thread does not take a commit";
                return self.attempt.fail(region_failure(self.attempt.region, problem), Origin::Failure);
            }
        }
        if let Some(checkpoint) = state.snapshots.take_committed() {
            let attempt = self.attempt.id;
            self.attempt.worker.report(WorkerReport::Committed { attempt, checkpoint });
        }
    }

    pub(super) fn acknowledge(&self, acknowledged: Vec<Acknowledged>) {
        let attempt = self.attempt.id;
        for Acknowledged { checkpoint, subtask, part } in acknowledged {
            self.attempt.worker.report(WorkerReport::Ack { attempt, checkpoint, subtask, part });
        }
    }

    pub(super) fn decline(&self, checkpoint: CheckpointId, cause: String) {
        let attempt = self.attempt.id;
        self.attempt.worker.report(WorkerReport::Decline { attempt, checkpoint, cause });
    }
}

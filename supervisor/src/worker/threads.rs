//! The helper threads of an attempt: one prepares (fsync), one commits. Both may block; their queues are bounded.

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};

use tidegate_runtime::error::Result;
use tidegate_runtime::id::{CheckpointId, SubtaskId};
use tidegate_runtime::sink::{Committable, Committer, PrepareJob};

use super::snapshots::CommitJob;
use crate::alive::AliveGuard;
use crate::error::Error;
use crate::panics::catching;

/// Prepare jobs that wait: a few checkpoints' worth of many sinks.
const PREPARE_QUEUE_MAX: usize = 1_024;
/// Committers and commits that wait: one commit a sink is under way at a time.
const COMMIT_QUEUE_MAX: usize = 4_096;

/// What the prepare thread takes.
pub(crate) struct PrepareTask {
    pub(crate) subtask: SubtaskId,
    pub(crate) checkpoint: CheckpointId,
    pub(crate) job: PrepareJob,
}

/// What the commit thread takes.
pub(crate) enum CommitTask {
    Committer(SubtaskId, Box<dyn Committer>),
    Commit(CommitJob),
}

/// What the threads tell.
pub(crate) enum ThreadEvent {
    Prepared { subtask: SubtaskId, checkpoint: CheckpointId, result: Result<Vec<Committable>> },
    Committed { subtask: SubtaskId, checkpoint: CheckpointId, result: Result<()> },
}

/// The ends of both queues; dropping them ends the threads after what they are doing.
pub(crate) struct Threads {
    prepare: SyncSender<PrepareTask>,
    commit: SyncSender<CommitTask>,
}

/// Who hears of the threads, and whether they should go on.
pub(crate) trait ThreadOwner: Clone + Send + 'static {
    fn tell(&self, event: ThreadEvent);
    fn is_ended(&self) -> bool;
}

impl Threads {
    /// Starts both.
    ///
    /// # Errors
    /// If the machine refuses a thread.
    pub(crate) fn start(
        label: &str,
        owner: &impl ThreadOwner,
        guards: (AliveGuard, AliveGuard),
    ) -> Result<Self, Error> {
        let (prepare, prepares) = sync_channel(PREPARE_QUEUE_MAX);
        let (commit, commits) = sync_channel(COMMIT_QUEUE_MAX);
        let (a, b) = (owner.clone(), owner.clone());
        spawn(format!("tg-prep-{label}"), move || run_prepares(&prepares, &a, guards.0))?;
        spawn(format!("tg-commit-{label}"), move || run_commits(&commits, &b, guards.1))?;
        Ok(Self { prepare, commit })
    }

    /// Gives the job back when the queue is full.
    pub(crate) fn prepare(&self, task: PrepareTask) -> Result<(), PrepareTask> {
        match self.prepare.try_send(task) {
            Ok(()) => Ok(()),
            Err(TrySendError::Full(task) | TrySendError::Disconnected(task)) => Err(task),
        }
    }

    /// Returns whether it was taken.
    pub(crate) fn commit(&self, task: CommitTask) -> bool {
        self.commit.try_send(task).is_ok()
    }
}

fn spawn(name: String, run: impl FnOnce() + Send + 'static) -> Result<(), Error> {
    let spawned = std::thread::Builder::new().name(name).spawn(run);
    spawned.map(|_| ()).map_err(|source| Error::Start { what: "a helper thread", source })
}

fn run_prepares(tasks: &Receiver<PrepareTask>, owner: &impl ThreadOwner, _guard: AliveGuard) {
    while let Ok(PrepareTask { subtask, checkpoint, job }) = tasks.recv() {
        if owner.is_ended() {
            return;
        }
        let result = catching(job).unwrap_or_else(|panicked| Err(panicked.into_error()));
        owner.tell(ThreadEvent::Prepared { subtask, checkpoint, result });
    }
}

fn run_commits(tasks: &Receiver<CommitTask>, owner: &impl ThreadOwner, _guard: AliveGuard) {
    let mut committers: BTreeMap<SubtaskId, Box<dyn Committer>> = BTreeMap::new();
    while let Ok(task) = tasks.recv() {
        if owner.is_ended() {
            return;
        }
        match task {
            CommitTask::Committer(subtask, committer) => {
                committers.insert(subtask, committer);
            }
            CommitTask::Commit(CommitJob { subtask, checkpoint, committables }) => {
                let result = match committers.get_mut(&subtask) {
                    // A sink that prepares and has nothing to publish with.
                    None => Ok(()),
                    Some(committer) => catching(|| committer.commit(checkpoint, &committables))
                        .unwrap_or_else(|panicked| Err(panicked.into_error())),
                };
                owner.tell(ThreadEvent::Committed { subtask, checkpoint, result });
            }
        }
    }
}

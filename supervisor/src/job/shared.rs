//! What the deciding side keeps across the restarts of its actors.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};

use tidegate_runtime::checkpoint::manifest::Manifest;
use tidegate_runtime::checkpoint::restart::RestartTracker;
use tidegate_runtime::config::JobConfig;
use tidegate_runtime::graph::Plan;
use tidegate_runtime::id::{AttemptId, CheckpointId, Lineage};
use tidegate_runtime::sync::lock;
use tidegate_runtime::time::Clock;

use super::actor::JobMessage;
use super::lifecycle::StopMode;
use super::manifests::ManifestThread;
use super::outcome::Outcome;
use crate::directory::Directory;
use crate::error::{Error, Result};
use crate::message::ControlLink;
use crate::picture::edges;
use crate::post::Slot;
use crate::report::{Counters, History, JobTotals, StopSignal};
use crate::source_state::SourceMemory;
use crate::storage::ManifestStore;
use crate::topology::{JobState, Topology};

/// A job, whoever its actors are.
pub(crate) struct JobShared {
    pub(crate) plan: Arc<Plan>,
    pub(crate) config: JobConfig,
    pub(crate) clock: Clock,
    pub(crate) lineage: Lineage,
    pub(crate) directory: Arc<Directory>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) history: History,
    pub(crate) manifests: Arc<dyn ManifestStore>,
    pub(crate) manifest_thread: ManifestThread,
    pub(crate) link: Arc<dyn ControlLink>,
    pub(crate) outcome: Arc<Outcome>,
    pub(crate) state_dir: PathBuf,
    /// The checkpoint that this process started from.
    pub(crate) started_from: Option<CheckpointId>,
    /// The last attempt id that was given out: never given again, by no actor.
    pub(crate) last_attempt: AtomicU64,
    /// The last checkpoint id that was used (case 15).
    pub(crate) last_checkpoint: AtomicU64,
    /// The newest published checkpoint; set by the manifest thread.
    pub(crate) latest: Mutex<Option<Arc<Manifest>>>,
    /// What the enumerator of each source remembers, by source name.
    pub(crate) sources: Mutex<BTreeMap<String, SourceMemory>>,
    /// What has failed so far, against the restart policy.
    pub(crate) policy: Mutex<RestartTracker>,
    pub(crate) stop: Mutex<Option<StopMode>>,
    /// The signal that asked for the stop.
    pub(crate) signal: Mutex<Option<StopSignal>>,
    pub(crate) state: Mutex<JobState>,
    /// The current job actor.
    pub(crate) post: Arc<Slot<JobMessage>>,
    /// Whether sources have something left to read, for counting kills.
    pub(crate) has_input: AtomicBool,
    /// Whether the handle was dropped: actors and threads may let go of this a moment later.
    pub(crate) is_let_go: AtomicBool,
}

impl JobShared {
    /// Tells the current job actor.
    pub(crate) fn tell(&self, message: JobMessage) {
        self.post.tell(message);
    }

    pub(crate) fn next_attempt(&self) -> AttemptId {
        AttemptId(self.last_attempt.fetch_add(1, Ordering::AcqRel) + 1)
    }

    /// Asks for a stop; the first wish stands.
    pub(crate) fn stop(&self, mode: StopMode) {
        lock(&self.stop).get_or_insert(mode);
        self.tell(JobMessage::Stop);
    }

    /// Kills an actor by its path; the kill counts while there is input left.
    ///
    /// # Errors
    /// If no live actor has this path.
    pub(crate) fn kill(&self, path: &str) -> Result<()> {
        // Before: the kill may be over when `kill` returns.
        let has_input = self.has_input.load(Ordering::Acquire);
        let entry = self.directory.find(path).filter(|entry| entry.kill());
        if entry.is_none() {
            return Err(Error::UnknownActor { path: path.to_owned() });
        }
        if has_input {
            self.counters.kills.add(1);
        }
        tracing::info!(actor = path, "killed by request");
        Ok(())
    }

    /// Totals of this process.
    pub(crate) fn totals(&self) -> JobTotals {
        let mut totals = JobTotals {
            restarts: self.counters.restarts.get(),
            kills: self.counters.kills.get(),
            checkpoints_completed: self.counters.checkpoints_completed.get(),
            checkpoints_aborted: self.counters.checkpoints_aborted.get(),
            stale_messages: self.counters.stale_messages.get(),
            abandoned_runtimes: self.counters.abandoned_runtimes.get(),
            ..JobTotals::default()
        };
        for vertex in &self.plan.vertices {
            for index in 0..vertex.parallelism {
                let entry = self.directory.find(&format!("{}/{index}", vertex.name));
                let Some(status) =
                    entry.as_ref().and_then(|entry| entry.subtask.as_ref()).map(|s| s.status())
                else {
                    continue;
                };
                if vertex.inputs.is_empty() {
                    totals.records_in += status.records_in.get();
                }
                totals.resumed_records += status.resumed_records.get();
                totals.replayed_records += status.replayed_records.get();
                totals.late_records += status.late_records.get();
                totals.disordered_records += status.disordered_records.get();
                totals.skipped_records += status.skipped_records.get();
            }
        }
        totals
    }

    /// Where the job stands.
    pub(crate) fn state(&self) -> JobState {
        *lock(&self.state)
    }

    /// # Errors
    /// If the job has ended.
    pub(crate) fn check_running(&self) -> Result<()> {
        match self.outcome.report() {
            None => Ok(()),
            Some(report) => Err(Error::Ended { state: report.state.to_string() }),
        }
    }

    /// Asks for a checkpoint; the answer comes when it is published or aborted.
    ///
    /// # Errors
    /// If the job has ended.
    pub(crate) fn begin_checkpoint(&self) -> Result<mpsc::Receiver<Result<CheckpointId, String>>> {
        self.check_running()?;
        let (reply, answer) = mpsc::sync_channel(1);
        self.tell(JobMessage::Checkpoint(Box::new(move |result| drop(reply.send(result)))));
        Ok(answer)
    }

    /// The live actor tree.
    pub(crate) fn topology(&self) -> Topology {
        Topology {
            job: self.plan.job.clone(),
            lineage: self.lineage,
            state: self.state(),
            at_ms: self.clock.now().millis(),
            actors: self.directory.actors(),
            edges: edges(&self.plan),
        }
    }

    /// Takes over what readers had finished at the latest checkpoint: before they are told that it is published, because
    /// then they forget it.
    pub(crate) fn remember_finished(&self) {
        let Some(latest) = self.latest() else { return };
        for (name, memory) in &mut *lock(&self.sources) {
            let parts = latest.operators.get(name).map_or(&[][..], |operator| &operator.subtasks);
            memory.finish(parts.iter().flat_map(|part| part.finished_splits.iter().cloned()));
        }
    }

    pub(crate) fn latest(&self) -> Option<Arc<Manifest>> {
        lock(&self.latest).clone()
    }
}

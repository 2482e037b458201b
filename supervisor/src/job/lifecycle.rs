//! The life of a job as a pure core: when the last checkpoint is due, and when the job has ended.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use tidegate_runtime::checkpoint::coordinator::LastKind;
use tidegate_runtime::checkpoint::manifest::CheckpointKind;
use tidegate_runtime::error::Failure;
use tidegate_runtime::id::{AttemptId, CheckpointId, RegionId, SubtaskId};

use crate::topology::JobState;

/// How a job is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StopMode {
    /// The input ends here: windows fire, output is committed, and the run is finished.
    Drain,
    /// A last checkpoint and its commits; a new start goes on from there.
    Suspend,
}

/// How a job has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum JobEnd {
    Finished,
    Stopped,
    Failed(Failure),
}

/// What follows for the job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum LifeAction {
    Pause(AttemptId),
    Drain(AttemptId),
    RequestLast(LastKind),
    End(JobEnd),
}

/// Where the job stands.
#[derive(Debug)]
pub(crate) struct Lifecycle {
    regions: BTreeMap<RegionId, RegionLife>,
    stop: Option<StopMode>,
    /// The run's last checkpoint, once it is published.
    last: Option<(CheckpointId, LastKind)>,
}

#[derive(Debug)]
struct RegionLife {
    subtasks: BTreeSet<SubtaskId>,
    attempt: Option<AttemptId>,
    /// Whether the current or next attempt is not its first.
    is_restart: bool,
    is_up: bool,
    ended: BTreeSet<SubtaskId>,
    committed: Option<CheckpointId>,
}

impl Lifecycle {
    /// Of a job of these regions that was in state `before`, under an actor before this one if it is not `Created`.
    pub(crate) fn new(
        regions: impl IntoIterator<Item = (RegionId, Vec<SubtaskId>)>,
        before: JobState,
    ) -> Self {
        let life = |subtasks: Vec<SubtaskId>| RegionLife {
            subtasks: subtasks.into_iter().collect(),
            attempt: None,
            is_restart: before != JobState::Created,
            is_up: false,
            ended: BTreeSet::new(),
            committed: None,
        };
        let regions = regions.into_iter().map(|(region, subtasks)| (region, life(subtasks))).collect();
        Self { regions, stop: None, last: None }
    }

    /// Whether the run's last checkpoint is published: then nothing runs again, and what is left is committed.
    pub(crate) fn is_last_published(&self) -> bool {
        self.last.is_some()
    }

    pub(crate) fn state(&self) -> JobState {
        let mut down = self.regions.values().filter(|region| !region.is_up).peekable();
        match self.stop {
            Some(_) => JobState::Stopping,
            None if self.last.is_some() || down.peek().is_none() => JobState::Running,
            None if down.any(|region| region.is_restart) => JobState::Restarting,
            None => JobState::Created,
        }
    }

    /// Whether there is input left to read.
    pub(crate) fn has_input(&self) -> bool {
        self.last.is_none() && self.regions.values().any(|region| region.ended.len() < region.subtasks.len())
    }

    /// Regions that are up, with their attempts.
    pub(crate) fn up(&self) -> Vec<(RegionId, AttemptId, Vec<SubtaskId>)> {
        let up = self.regions.iter().filter(|(_, region)| region.is_up);
        up.filter_map(|(id, region)| Some((*id, region.attempt?, region.subtasks.iter().copied().collect())))
            .collect()
    }

    /// An attempt is about to be deployed. Returns whether it is a restart.
    pub(crate) fn on_starting(&mut self, region: RegionId, attempt: AttemptId) -> bool {
        self.on_down(region);
        let Some(life) = self.regions.get_mut(&region) else { return false };
        life.attempt = Some(attempt);
        life.is_restart
    }

    pub(crate) fn on_up(&mut self, region: RegionId, attempt: AttemptId) -> Vec<LifeAction> {
        let Some(life) = self.regions.get_mut(&region).filter(|life| life.attempt == Some(attempt)) else {
            return Vec::new();
        };
        life.is_up = true;
        let mut actions: Vec<_> = self.stop.map(|mode| stop_sources(mode, attempt)).into_iter().collect();
        actions.extend(self.last_due());
        actions
    }

    pub(crate) fn on_down(&mut self, region: RegionId) {
        if let Some(life) = self.regions.get_mut(&region) {
            life.is_up = false;
            life.ended.clear();
            life.is_restart |= life.attempt.is_some();
        }
    }

    pub(crate) fn on_ended(&mut self, attempt: AttemptId, subtask: SubtaskId) -> Vec<LifeAction> {
        let Some(life) = self.regions.values_mut().find(|life| life.attempt == Some(attempt)) else {
            return Vec::new();
        };
        life.ended.insert(subtask);
        self.last_due().into_iter().collect()
    }

    pub(crate) fn on_stop(&mut self, mode: StopMode) -> Vec<LifeAction> {
        // A drain ends the input for good: a later wish to suspend only ends sooner what it would resume.
        if self.stop == Some(StopMode::Drain) || self.last.is_some() {
            return Vec::new();
        }
        self.stop = Some(mode);
        let mut actions: Vec<_> =
            self.up().into_iter().map(|(_, attempt, _)| stop_sources(mode, attempt)).collect();
        actions.extend(self.last_due());
        actions
    }

    /// The coordinator has lost what it was asked for.
    pub(crate) fn ask_again(&self) -> Option<LifeAction> {
        self.last_due()
    }

    pub(crate) fn on_completed(&mut self, checkpoint: CheckpointId, kind: CheckpointKind) -> Vec<LifeAction> {
        let kind = match kind {
            CheckpointKind::Periodic => return Vec::new(),
            CheckpointKind::Stop => LastKind::Stop,
            CheckpointKind::Final => LastKind::Final,
        };
        self.last = Some((checkpoint, kind));
        self.end_due().into_iter().collect()
    }

    pub(crate) fn on_committed(&mut self, attempt: AttemptId, checkpoint: CheckpointId) -> Vec<LifeAction> {
        if let Some(life) = self.regions.values_mut().find(|life| life.attempt == Some(attempt)) {
            life.committed = life.committed.max(Some(checkpoint));
        }
        self.end_due().into_iter().collect()
    }

    fn last_due(&self) -> Option<LifeAction> {
        if self.last.is_some() || !self.regions.values().all(|region| region.is_up) {
            return None;
        }
        if self.regions.values().all(|region| region.ended.len() == region.subtasks.len()) {
            return Some(LifeAction::RequestLast(LastKind::Final));
        }
        (self.stop == Some(StopMode::Suspend)).then_some(LifeAction::RequestLast(LastKind::Stop))
    }

    fn end_due(&self) -> Option<LifeAction> {
        let (last, kind) = self.last?;
        if self.regions.values().any(|region| region.committed < Some(last)) {
            return None;
        }
        Some(LifeAction::End(match kind {
            LastKind::Final => JobEnd::Finished,
            LastKind::Stop => JobEnd::Stopped,
        }))
    }
}

fn stop_sources(mode: StopMode, attempt: AttemptId) -> LifeAction {
    match mode {
        StopMode::Drain => LifeAction::Drain(attempt),
        StopMode::Suspend => LifeAction::Pause(attempt),
    }
}

#[cfg(test)]
mod tests;

//! Collects what each subtask of an attempt adds to a checkpoint, and keeps account of what is to be committed: a pure
//! core.

use std::collections::{BTreeMap, BTreeSet};

use tidegate_runtime::checkpoint::manifest::{Committable, SubtaskPhase, SubtaskSnapshot};
use tidegate_runtime::id::{CheckpointId, SubtaskId};
use tidegate_runtime::key::KeyHash;
use tidegate_runtime::sink;
use tidegate_runtime::state::RunRefs;
use tidegate_runtime::task::{FrozenTask, HasTables};

use crate::source_state::encode_source;

/// A subtask's part of a checkpoint is complete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Acknowledged {
    pub(crate) checkpoint: CheckpointId,
    pub(crate) subtask: SubtaskId,
    pub(crate) part: SubtaskSnapshot,
}

/// Work for a committer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CommitJob {
    pub(crate) subtask: SubtaskId,
    /// Up to and including this.
    pub(crate) checkpoint: CheckpointId,
    pub(crate) committables: Vec<sink::Committable>,
}

/// Whether a prepare job was handed to the thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Prepare {
    UnderWay,
    None,
}

/// The account of one attempt.
#[derive(Debug, Default)]
pub(crate) struct Snapshots {
    under_way: BTreeMap<CheckpointId, BTreeMap<SubtaskId, Progress>>,
    ledgers: BTreeMap<SubtaskId, Ledger>,
    ended: BTreeSet<SubtaskId>,
    hashes: BTreeMap<SubtaskId, (KeyHash, KeyHash)>,
    /// The newest checkpoint that is published.
    completed: Option<CheckpointId>,
    /// The newest for which `Committed` was told.
    committed: Option<CheckpointId>,
}

#[derive(Debug)]
struct Progress {
    part: SubtaskSnapshot,
    tables: HasTables,
}

/// What one sink has prepared and not committed, oldest first.
#[derive(Debug, Default)]
struct Ledger {
    open: Vec<Committable>,
    /// Prepare jobs under way, those of aborted checkpoints too: what comes of them goes with the next checkpoint, so
    /// it waits for them.
    preparing: BTreeSet<CheckpointId>,
    /// The checkpoint up to which a commit is under way.
    committing: Option<CheckpointId>,
}

impl Snapshots {
    pub(crate) fn own_hashes(&mut self, subtask: SubtaskId, hashes: (KeyHash, KeyHash)) {
        self.hashes.insert(subtask, hashes);
    }

    /// What the restored checkpoint says is prepared: to be committed before anything else.
    pub(crate) fn restore(&mut self, subtask: SubtaskId, committables: Vec<Committable>) {
        self.ledgers.entry(subtask).or_default().open = committables;
    }

    pub(crate) fn on_ended(&mut self, subtask: SubtaskId) {
        self.ended.insert(subtask);
    }

    pub(crate) fn on_frozen(
        &mut self,
        subtask: SubtaskId,
        checkpoint: CheckpointId,
        state: FrozenTask,
        prepare: Prepare,
    ) -> Vec<Acknowledged> {
        let (splits, finished_splits) = state.source.map_or_else(Default::default, encode_source);
        let is_ended = self.ended.contains(&subtask);
        let part = SubtaskSnapshot {
            operator_state: state.operator_state,
            splits,
            finished_splits,
            committables: Vec::new(),
            watermark: state.watermark,
            hashes: self.hashes.get(&subtask).copied(),
            runs: Vec::new(),
            phase: if is_ended { SubtaskPhase::Finished } else { SubtaskPhase::Running },
        };
        if prepare == Prepare::UnderWay {
            self.ledgers.entry(subtask).or_default().preparing.insert(checkpoint);
        }
        let progress = Progress { part, tables: state.tables };
        self.under_way.entry(checkpoint).or_default().insert(subtask, progress);
        self.acknowledge(checkpoint, subtask).into_iter().collect()
    }

    /// Prepared output is kept even when its checkpoint was aborted: it goes with the next one (case 16).
    pub(crate) fn on_prepared(
        &mut self,
        subtask: SubtaskId,
        checkpoint: CheckpointId,
        prepared: Vec<sink::Committable>,
    ) -> Vec<Acknowledged> {
        let ledger = self.ledgers.entry(subtask).or_default();
        ledger.open.extend(prepared.into_iter().map(|each| Committable { checkpoint, bytes: each.0 }));
        ledger.preparing.remove(&checkpoint);
        let waiting: Vec<CheckpointId> = self.under_way.range(checkpoint..).map(|(id, _)| *id).collect();
        waiting.into_iter().filter_map(|waiting| self.acknowledge(waiting, subtask)).collect()
    }

    /// The rows of tables are durable.
    pub(crate) fn on_rows(
        &mut self,
        checkpoint: CheckpointId,
        runs: &[(SubtaskId, RunRefs)],
    ) -> Vec<Acknowledged> {
        let mut acknowledged = Vec::new();
        for (subtask, runs) in runs {
            if let Some(progress) = self.progress(checkpoint, *subtask) {
                progress.part.runs.clone_from(runs);
                progress.tables = HasTables::No;
            }
            acknowledged.extend(self.acknowledge(checkpoint, *subtask));
        }
        acknowledged
    }

    /// The checkpoint will not complete.
    pub(crate) fn on_abort(&mut self, checkpoint: CheckpointId) {
        self.under_way.remove(&checkpoint);
    }

    /// The checkpoint is published: what was prepared up to it is to be committed, once (case 17).
    pub(crate) fn on_completed(&mut self, checkpoint: CheckpointId) -> Vec<CommitJob> {
        self.under_way.retain(|id, _| *id > checkpoint);
        self.completed = self.completed.max(Some(checkpoint));
        self.due()
    }

    /// A commit is done.
    pub(crate) fn on_committed(&mut self, subtask: SubtaskId, checkpoint: CheckpointId) -> Vec<CommitJob> {
        let ledger = self.ledgers.entry(subtask).or_default();
        ledger.open.retain(|each| each.checkpoint > checkpoint);
        ledger.committing = None;
        self.due()
    }

    /// Up to where everything is committed, if that is news.
    pub(crate) fn take_committed(&mut self) -> Option<CheckpointId> {
        let completed = self.completed?;
        let is_open = |ledger: &Ledger| ledger.open.iter().any(|each| each.checkpoint <= completed);
        if self.committed >= Some(completed) || self.ledgers.values().any(is_open) {
            return None;
        }
        self.committed = Some(completed);
        Some(completed)
    }

    fn due(&mut self) -> Vec<CommitJob> {
        let Some(completed) = self.completed else { return Vec::new() };
        let mut jobs = Vec::new();
        for (subtask, ledger) in &mut self.ledgers {
            let due = ledger.open.iter().filter(|each| each.checkpoint <= completed);
            let committables: Vec<_> = due.map(|each| sink::Committable(each.bytes.clone())).collect();
            if ledger.committing.is_none() && !committables.is_empty() {
                ledger.committing = Some(completed);
                jobs.push(CommitJob { subtask: *subtask, checkpoint: completed, committables });
            }
        }
        jobs
    }

    fn progress(&mut self, checkpoint: CheckpointId, subtask: SubtaskId) -> Option<&mut Progress> {
        self.under_way.get_mut(&checkpoint)?.get_mut(&subtask)
    }

    fn acknowledge(&mut self, checkpoint: CheckpointId, subtask: SubtaskId) -> Option<Acknowledged> {
        let parts = self.under_way.get_mut(&checkpoint)?;
        let progress = parts.get(&subtask)?;
        let ledger = self.ledgers.get(&subtask);
        let is_preparing =
            ledger.is_some_and(|ledger| ledger.preparing.range(..=checkpoint).next().is_some());
        if is_preparing || progress.tables == HasTables::Yes {
            return None;
        }
        let mut part = parts.remove(&subtask)?.part;
        if let Some(ledger) = self.ledgers.get(&subtask) {
            part.committables = ledger.open.clone();
        }
        Some(Acknowledged { checkpoint, subtask, part })
    }
}

#[cfg(test)]
mod tests;

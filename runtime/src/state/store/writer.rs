//! The store's own thread: commits first, then room, then garbage, then folds in slices.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::core::{CommitPlan, Sealed};
use super::fold::{Below, FOLD_BYTES_MAX, Fold, FoldPlan, FoldProgress};
use super::refs::RunId;
use super::run::{OpenRun, Residence, Run};
use super::shared::{Doing, Life, Shared, Spill};
use super::storage::{Batch, RunWrite};
use crate::error::{Error, Result};

/// Most runs that are dropped in one go, so that a commit never waits long.
const SWEEP_MAX: usize = 8;

/// What to do next.
enum Work {
    Stop,
    Commit(CommitPlan),
    Spill(Vec<RunWrite>),
    Sweep(Vec<RunId>),
    StartFold(FoldPlan),
    Fold,
}

pub(super) fn run(shared: &Arc<Shared>) {
    let _stopped = StoppedOnDrop(shared);
    let mut writer = Writer { shared, fold: None };
    loop {
        match writer.next_work() {
            Work::Stop => return,
            Work::Commit(plan) => writer.commit(plan),
            Work::Spill(runs) => writer.spill(runs),
            Work::Sweep(runs) => writer.sweep(&runs),
            Work::StartFold(plan) => writer.start_fold(plan),
            Work::Fold => writer.fold(),
        }
    }
}

/// Says that the writer has ended, by a panic too.
struct StoppedOnDrop<'a>(&'a Shared);

impl Drop for StoppedOnDrop<'_> {
    fn drop(&mut self) {
        self.0.stopped();
    }
}

struct Writer<'a> {
    shared: &'a Arc<Shared>,
    fold: Option<Fold>,
}

impl Writer<'_> {
    fn next_work(&self) -> Work {
        let mut inner = self.shared.lock();
        loop {
            if inner.life != Life::Running {
                return Work::Stop;
            }
            if let Some(plan) = inner.state.next_commit() {
                inner.writer = Doing::Writing;
                return Work::Commit(plan);
            }
            if inner.spill == Spill::Wanted {
                let ended = inner.state.pending_runs();
                let mut runs: Vec<RunWrite> = ended.iter().filter_map(|run| run.to_write()).collect();
                runs.extend(inner.state.open_runs().map(|open| open.to_spill()));
                inner.writer = Doing::Writing;
                return Work::Spill(runs);
            }
            if inner.needs_sweep {
                let mut garbage = inner.state.garbage(&self.busy());
                inner.needs_sweep = garbage.len() > SWEEP_MAX;
                garbage.truncate(SWEEP_MAX);
                // From here on no lease can take them up again.
                inner.state.removed(&garbage);
                if !garbage.is_empty() {
                    return Work::Sweep(garbage);
                }
            }
            if self.fold.is_some() {
                return Work::Fold;
            }
            if self.shared.residence == Residence::Storage
                && let Some(plan) = inner.state.next_fold()
            {
                return Work::StartFold(plan);
            }
            inner = self.shared.sleep(inner);
        }
    }

    /// Runs that the fold under way reads and writes.
    fn busy(&self) -> BTreeSet<RunId> {
        let inputs = self.fold.iter().flat_map(|fold| &fold.inputs).map(|run| run.id);
        inputs.chain(self.fold.as_ref().map(|fold| fold.out.id)).collect()
    }

    fn commit(&mut self, mut plan: CommitPlan) {
        let checkpoint = plan.checkpoint;
        let outcome = self.write_checkpoint(&mut plan);
        if outcome.is_err() {
            self.recover();
        }
        let shared = self.shared;
        let (report, waiting) = shared.change(|inner| {
            inner.writer = Doing::Something;
            inner.needs_sweep = true;
            match outcome {
                Ok(()) => {
                    inner.spill = Spill::No;
                    inner.state.status.commits += 1;
                    (inner.state.committed(&plan).map(Ok), inner.state.take_waiting())
                }
                Err(error) => {
                    inner.spill = Spill::Failed(error.to_string());
                    inner.state.status.failed_commits += 1;
                    (inner.state.failed(&plan).map(|()| Err(error)), inner.state.take_waiting())
                }
            }
        });
        drop(plan);
        if let Some(report) = report {
            shared.events.on_durable(checkpoint, report);
        }
        waiting.into_iter().for_each(|subtask| shared.events.on_space(subtask));
    }

    fn write_checkpoint(&self, plan: &mut CommitPlan) -> Result<()> {
        let mut replaced = Vec::new();
        if self.shared.residence == Residence::Memory {
            for part in &mut plan.subtasks {
                let inputs = Arc::clone(&part.chain);
                self.merge_all(part)?;
                replaced.push(inputs);
            }
        }
        let chains = plan.subtasks.iter().flat_map(|part| part.chain.iter());
        let mut runs: Vec<Arc<Run>> = chains.filter(|run| !run.is_durable()).cloned().collect();
        runs.sort_unstable_by_key(|run| run.id);
        runs.dedup_by_key(|run| run.id);
        let writes = runs.iter().filter_map(|run| run.to_write()).collect();
        self.shared.shelf.storage.commit(&Batch { checkpoint: Some(plan.checkpoint), runs: writes })?;
        runs.iter().for_each(|run| run.settle(self.shared.residence));
        self.shared.change(|inner| {
            for (part, inputs) in plan.subtasks.iter().zip(&replaced) {
                inner.state.replace((part.subtask, part.token), inputs, part.chain.first());
            }
        });
        Ok(())
    }

    /// A full snapshot: all runs of a subtask become one.
    fn merge_all(&self, part: &mut Sealed) -> Result<()> {
        if part.chain.len() < 2 {
            return Ok(());
        }
        let out = self.new_run(&part.chain);
        let plan = FoldPlan {
            subtask: part.subtask,
            token: part.token,
            inputs: part.chain.to_vec(),
            below: Below::Nothing,
            hashes: part.hashes,
        };
        let merged = Fold::new(plan, out)?.finish(&self.shared.shelf)?;
        part.chain = Arc::new(merged.into_iter().collect());
        Ok(())
    }

    fn new_run(&self, inputs: &[Arc<Run>]) -> OpenRun {
        let id = self.shared.lock().state.next_run();
        let checkpoint = inputs.iter().map(|run| run.checkpoint).max().unwrap_or_default();
        OpenRun::new(id, checkpoint)
    }

    /// After a failed write nothing in memory is trusted: the storage is opened anew (case 60).
    fn recover(&self) {
        let storage = &self.shared.shelf.storage;
        match storage.reopen().and_then(|()| storage.runs()) {
            Ok(runs) => self.shared.change_and_sweep(|state| state.set_stored(runs)),
            Err(error) => {
                tracing::error!(%error, "the state store can't be opened again; the next write tries again")
            }
        }
    }

    /// Writes what is only in memory, so that it need not stay there until its checkpoint is complete.
    fn spill(&mut self, runs: Vec<RunWrite>) {
        let batch = Batch { checkpoint: None, runs };
        let outcome = self.shared.shelf.storage.commit(&batch);
        if outcome.is_err() {
            self.recover();
        }
        let ended = self.shared.lock().state.pending_runs();
        let waiting = self.shared.change(|inner| {
            inner.writer = Doing::Something;
            match &outcome {
                Ok(()) => {
                    inner.spill = Spill::No;
                    inner.state.status.commits += 1;
                    settle_spilled(&batch.runs, &ended, inner);
                }
                Err(error) => {
                    inner.state.status.failed_commits += 1;
                    inner.spill = Spill::Failed(error.to_string());
                }
            }
            inner.state.take_waiting()
        });
        waiting.into_iter().for_each(|subtask| self.shared.events.on_space(subtask));
    }

    fn sweep(&self, runs: &[RunId]) {
        match self.shared.shelf.storage.remove(runs) {
            Ok(()) => self.shared.change(|inner| inner.state.status.removed_runs += runs.len() as u64),
            Err(error) => {
                tracing::warn!(%error, "state that is no longer needed can't be removed now");
                self.recover();
                self.shared.change(|inner| inner.needs_sweep = false);
            }
        }
    }

    fn start_fold(&mut self, plan: FoldPlan) {
        let subtask = plan.subtask;
        let out = self.new_run(&plan.inputs);
        match Fold::new(plan, out) {
            Ok(fold) => self.fold = Some(fold),
            Err(error) => self.give_up_fold(subtask, &error),
        }
    }

    fn fold(&mut self) {
        let Some(mut fold) = self.fold.take() else { return };
        if !self.shared.lock().state.holds(fold.subtask, fold.token) {
            self.shared.change_and_sweep(|_| ());
            return;
        }
        match fold.step() {
            Err(error) => self.give_up_fold(fold.subtask, &error),
            Ok(FoldProgress::Done) => self.finish_fold(fold),
            Ok(FoldProgress::More) => {
                if fold.out.memory_bytes() >= FOLD_BYTES_MAX && self.spill_fold(&mut fold).is_err() {
                    return;
                }
                self.fold = Some(fold);
            }
        }
    }

    fn spill_fold(&self, fold: &mut Fold) -> Result<()> {
        let write = fold.out.to_spill();
        let batch = Batch { checkpoint: None, runs: vec![write] };
        self.write_fold(&batch, fold)?;
        fold.out.spilled(&batch.runs[0].chunks);
        self.shared.change(|inner| inner.state.add_stored(fold.out.id));
        Ok(())
    }

    fn finish_fold(&mut self, fold: Fold) {
        let (subtask, token, inputs) = (fold.subtask, fold.token, fold.inputs.clone());
        let out = fold.out.id;
        let merged = fold.seal(&self.shared.shelf);
        if let Some(run) = &merged {
            let runs = run.to_write().into_iter().collect();
            let outcome = self.shared.shelf.storage.commit(&Batch { checkpoint: None, runs });
            if let Err(error) = outcome {
                tracing::warn!(%error, %out, "a fold could not be written; it is tried again later");
                self.recover();
                self.shared.change_and_sweep(|state| state.pause_folding(subtask));
                return;
            }
            run.settle(self.shared.residence);
        }
        self.shared.change_and_sweep(|state| {
            state.replace((subtask, token), &inputs, merged.as_ref());
            state.status.folds += 1;
            state.status.commits += 1;
        });
    }

    fn write_fold(&self, batch: &Batch, fold: &Fold) -> Result<()> {
        let outcome = self.shared.shelf.storage.commit(batch);
        if let Err(error) = &outcome {
            tracing::warn!(%error, "a fold could not be written; it is tried again later");
            self.recover();
            self.shared.change_and_sweep(|state| state.pause_folding(fold.subtask));
        }
        outcome
    }

    fn give_up_fold(&self, subtask: crate::id::SubtaskId, error: &Error) {
        tracing::error!(%error, %subtask, "runs can't be folded; they stay as they are");
        self.shared.change_and_sweep(|state| state.stop_folding(subtask));
    }
}

fn settle_spilled(writes: &[RunWrite], ended: &[Arc<Run>], inner: &mut super::shared::Inner) {
    for write in writes {
        inner.state.add_stored(write.id);
        if write.end.is_some() {
            let run = ended.iter().find(|run| run.id == write.id);
            run.into_iter().for_each(|run| run.settle(Residence::Storage));
        }
        if let Some(open) = inner.state.open_runs().find(|open| open.id == write.id) {
            open.spilled(&write.chunks);
        }
    }
}

//! What the store knows: who holds which lease over which runs, which checkpoints wait for whom, and what is garbage.
//!
//! Pure bookkeeping under one lock: no I/O here.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};

use super::fold::{Below, FoldPlan, Foldable, plan};
use super::options::{LeaseRequest, StoreStatus};
use super::refs::{RunId, RunRef, RunRefs};
use super::run::{OpenRun, Run, Shelf};
use crate::error::{Error, Result};
use crate::id::{AttemptId, CheckpointId, SubtaskId};
use crate::key::KeyHash;
use crate::state::registry::SnapshotMode;
use crate::state::run::Chunk;

/// Runs of one subtask, oldest first.
pub(super) type Chain = Arc<Vec<Arc<Run>>>;

/// What a lease reads without the store's lock.
#[derive(Default)]
pub(super) struct View {
    chain: Mutex<Chain>,
    /// One more than the newest durable checkpoint's id; 0 for none.
    durable: AtomicU64,
}

impl View {
    pub(super) fn chain(&self) -> Chain {
        Arc::clone(&self.chain.lock().expect("I70: no panic while a chain is held"))
    }

    fn set_chain(&self, chain: Vec<Arc<Run>>) {
        *self.chain.lock().expect("I70: no panic while a chain is held") = Arc::new(chain);
    }

    pub(super) fn durable(&self) -> Option<CheckpointId> {
        self.durable.load(Ordering::Acquire).checked_sub(1).map(CheckpointId)
    }

    fn set_durable(&self, checkpoint: CheckpointId) {
        self.durable.fetch_max(checkpoint.0.saturating_add(1), Ordering::AcqRel);
    }
}

/// One subtask's current lease.
pub(super) struct Subtask {
    attempt: AttemptId,
    /// Tells this lease from every other.
    token: u64,
    hashes: (KeyHash, KeyHash),
    view: Arc<View>,
    open: Option<OpenRun>,
    /// What each sealed checkpoint that is not committed yet consists of.
    sealed: BTreeMap<CheckpointId, Chain>,
    /// A chunk was given back.
    is_waiting: bool,
    folding: Folding,
}

/// Whether the chain of a subtask may be folded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Folding {
    Possible,
    /// A fold could not be written: not before the next commit succeeds.
    Paused,
    /// A run could not be read.
    Off,
}

impl Subtask {
    fn pending_bytes(&self) -> usize {
        let chain = self.view.chain();
        let sealed: usize = chain.iter().map(|run| run.pending_bytes()).sum();
        sealed + self.open.as_ref().map_or(0, OpenRun::memory_bytes)
    }
}

/// A new lease.
pub(super) struct Leased {
    pub(super) token: u64,
    pub(super) view: Arc<View>,
    /// Checkpoints that were begun with the old lease.
    pub(super) lost: Vec<CheckpointId>,
}

/// What to commit.
pub(super) struct CommitPlan {
    pub(super) checkpoint: CheckpointId,
    pub(super) subtasks: Vec<Sealed>,
}

/// One subtask's part of a commit.
pub(super) struct Sealed {
    pub(super) subtask: SubtaskId,
    pub(super) token: u64,
    pub(super) hashes: (KeyHash, KeyHash),
    pub(super) chain: Chain,
}

/// Why a chunk was not taken.
pub(super) enum Refused {
    /// No room; whether the writer should make some.
    Full(Chunk),
    Failed(Error),
}

/// Whether submitted chunks may exceed the bound when no commit is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Room {
    /// There is room, or the bound does not hold for a memory store.
    Free,
    /// Chunks must be written first.
    None,
}

pub(super) struct State {
    shelf: Arc<Shelf>,
    subtasks: BTreeMap<SubtaskId, Subtask>,
    /// By checkpoint: all that must seal it, and those that have not.
    begun: BTreeMap<CheckpointId, (Vec<SubtaskId>, BTreeSet<SubtaskId>)>,
    ready: VecDeque<CheckpointId>,
    /// What durable checkpoints need that are reported or retained.
    pins: BTreeMap<CheckpointId, BTreeSet<RunId>>,
    completed: Option<CheckpointId>,
    /// Runs of which the storage has a piece.
    stored: BTreeSet<RunId>,
    known: BTreeMap<RunId, Weak<Run>>,
    next_run: u64,
    next_token: u64,
    pub(super) status: StoreStatus,
}

impl State {
    pub(super) fn new(shelf: Arc<Shelf>, opened: u64) -> Self {
        Self {
            shelf,
            subtasks: BTreeMap::new(),
            begun: BTreeMap::new(),
            ready: VecDeque::new(),
            pins: BTreeMap::new(),
            completed: None,
            stored: BTreeSet::new(),
            known: BTreeMap::new(),
            next_run: opened << 32,
            next_token: 0,
            status: StoreStatus::default(),
        }
    }

    pub(super) fn next_run(&mut self) -> RunId {
        self.next_run += 1;
        RunId(self.next_run)
    }

    // Leases.

    /// Makes the lease; returns also the checkpoints that can't be completed any more, for the old lease took part.
    pub(super) fn lease(&mut self, request: LeaseRequest) -> Result<Leased> {
        let subtask = request.subtask;
        if let Some(current) = self.subtasks.get(&subtask)
            && current.attempt > request.attempt
        {
            let problem = format!(
                "{} asks for the state of {subtask}, which {} holds: it is too late",
                request.attempt, current.attempt
            );
            return Err(Error::Store { problem });
        }
        let mut chain = Vec::with_capacity(request.restore.len());
        for reference in &request.restore {
            chain.push(self.restored(subtask, *reference)?);
        }
        let view = Arc::new(View::default());
        view.set_chain(chain);
        self.next_token += 1;
        let token = self.next_token;
        let lease = Subtask {
            attempt: request.attempt,
            token,
            hashes: request.hashes,
            view: Arc::clone(&view),
            open: None,
            sealed: BTreeMap::new(),
            is_waiting: false,
            folding: Folding::Possible,
        };
        // The old lease's runs that no manifest lists are garbage from now on: that is the whole roll-back.
        let lost = match self.subtasks.insert(subtask, lease) {
            Some(_) => self.drop_checkpoints_of(subtask),
            None => Vec::new(),
        };
        Ok(Leased { token, view, lost })
    }

    fn drop_checkpoints_of(&mut self, subtask: SubtaskId) -> Vec<CheckpointId> {
        let lost: Vec<CheckpointId> = self
            .begun
            .iter()
            .filter(|(_, (expected, _))| expected.contains(&subtask))
            .map(|(checkpoint, _)| *checkpoint)
            .collect();
        for checkpoint in &lost {
            self.begun.remove(checkpoint);
            self.ready.retain(|ready| ready != checkpoint);
        }
        lost
    }

    fn restored(&mut self, subtask: SubtaskId, reference: RunRef) -> Result<Arc<Run>> {
        if !self.stored.contains(&reference.id) {
            let problem = format!("{} of {subtask}, which the manifest lists, is missing", reference.id);
            return Err(Error::Damaged { path: self.shelf.storage.path().to_path_buf(), problem });
        }
        // A run that is still known need not have its header read again.
        if let Some(run) = self.known.get(&reference.id).and_then(Weak::upgrade)
            && run.is_durable()
            && run.reference() == reference
        {
            return Ok(run);
        }
        let run = Run::stored(Arc::clone(&self.shelf), reference, CheckpointId(0));
        self.known.insert(run.id, Arc::downgrade(&run));
        Ok(run)
    }

    fn current(&mut self, subtask: SubtaskId, token: u64) -> Result<&mut Subtask> {
        match self.subtasks.get_mut(&subtask) {
            Some(lease) if lease.token == token => Ok(lease),
            _ => {
                let problem = format!("the lease of {subtask} was superseded by a newer attempt");
                Err(Error::Store { problem })
            }
        }
    }

    pub(super) fn pending_bytes(&self) -> usize {
        self.subtasks.values().map(Subtask::pending_bytes).sum()
    }

    // Deltas.

    pub(super) fn submit(
        &mut self,
        (subtask, token): (SubtaskId, u64),
        checkpoint: CheckpointId,
        chunk: Chunk,
        room: Room,
    ) -> Result<(), Refused> {
        let lease = self.current(subtask, token).map_err(Refused::Failed)?;
        if room == Room::None {
            lease.is_waiting = true;
            return Err(Refused::Full(chunk));
        }
        if let Some(open) = &lease.open
            && open.checkpoint > checkpoint
        {
            let problem =
                format!("{subtask} hands over rows of {checkpoint} after rows of {}", open.checkpoint);
            return Err(Refused::Failed(Error::Store { problem }));
        }
        if lease.open.as_ref().is_some_and(|open| open.checkpoint < checkpoint) {
            self.close(subtask);
        }
        let chunk = match self.open_of(subtask, checkpoint).push(chunk) {
            Ok(()) => return Ok(()),
            Err(chunk) => chunk,
        };
        // Tables that are encoded by turns: the rows of each are in order, so a further run holds them.
        self.close(subtask);
        self.open_of(subtask, checkpoint).push(chunk).map_err(|_| {
            Refused::Failed(Error::Store { problem: format!("{subtask} hands over a chunk without rows") })
        })
    }

    fn open_of(&mut self, subtask: SubtaskId, checkpoint: CheckpointId) -> &mut OpenRun {
        let id = RunId(self.next_run + 1);
        let lease = self.subtasks.get_mut(&subtask).expect("I76: the caller has looked the lease up");
        if lease.open.is_none() {
            self.next_run += 1;
        }
        lease.open.get_or_insert_with(|| OpenRun::new(id, checkpoint))
    }

    /// Ends the open run of a subtask and appends it to the chain.
    fn close(&mut self, subtask: SubtaskId) {
        let Some(lease) = self.subtasks.get_mut(&subtask) else { return };
        let Some(open) = lease.open.take().filter(|open| !open.is_empty()) else { return };
        let run = open.seal(Arc::clone(&self.shelf), 0);
        self.known.insert(run.id, Arc::downgrade(&run));
        let mut chain = lease.view.chain().to_vec();
        chain.push(run);
        lease.view.set_chain(chain);
    }

    pub(super) fn seal(
        &mut self,
        (subtask, token): (SubtaskId, u64),
        checkpoint: CheckpointId,
        rows: SnapshotMode,
    ) -> Result<()> {
        self.current(subtask, token)?;
        self.close(subtask);
        let lease = self.current(subtask, token)?;
        if rows == SnapshotMode::Full {
            // All rows are in the runs of this checkpoint: the older ones are no part of it.
            let chain = lease.view.chain();
            lease.view.set_chain(chain.iter().filter(|run| run.checkpoint == checkpoint).cloned().collect());
        }
        lease.sealed.insert(checkpoint, lease.view.chain());
        if let Some((_, waiting)) = self.begun.get_mut(&checkpoint)
            && waiting.remove(&subtask)
            && waiting.is_empty()
        {
            self.ready.push_back(checkpoint);
        }
        Ok(())
    }

    // Checkpoints.

    pub(super) fn begin(&mut self, checkpoint: CheckpointId, expected: Vec<SubtaskId>) {
        let sealed = |subtask: &SubtaskId| {
            self.subtasks.get(subtask).is_some_and(|lease| lease.sealed.contains_key(&checkpoint))
        };
        let waiting: BTreeSet<SubtaskId> =
            expected.iter().copied().filter(|subtask| !sealed(subtask)).collect();
        if waiting.is_empty() {
            self.ready.push_back(checkpoint);
        }
        self.begun.insert(checkpoint, (expected, waiting));
    }

    pub(super) fn abort(&mut self, checkpoint: CheckpointId) {
        self.begun.remove(&checkpoint);
        self.ready.retain(|ready| *ready != checkpoint);
        self.pins.remove(&checkpoint);
        for lease in self.subtasks.values_mut() {
            // Only the promise ends: the delta stays in the chain, for the next checkpoint builds on it.
            lease.sealed.remove(&checkpoint);
        }
    }

    pub(super) fn pin(&mut self, checkpoint: CheckpointId, runs: BTreeSet<RunId>) {
        self.pins.insert(checkpoint, runs);
    }

    pub(super) fn completed(&mut self, checkpoint: CheckpointId) {
        self.completed = self.completed.max(Some(checkpoint));
    }

    pub(super) fn retain(&mut self, retained: &[CheckpointId]) {
        let completed = self.completed;
        self.pins.retain(|checkpoint, _| Some(*checkpoint) > completed || retained.contains(checkpoint));
    }

    /// The next checkpoint whose deltas are all there.
    pub(super) fn next_commit(&mut self) -> Option<CommitPlan> {
        let checkpoint = self.ready.pop_front()?;
        let expected =
            self.begun.get(&checkpoint).map(|(expected, _)| expected.as_slice()).unwrap_or_default();
        let part = |subtask: &SubtaskId| {
            let lease = self.subtasks.get(subtask)?;
            let chain = Arc::clone(lease.sealed.get(&checkpoint)?);
            Some(Sealed { subtask: *subtask, token: lease.token, hashes: lease.hashes, chain })
        };
        Some(CommitPlan { checkpoint, subtasks: expected.iter().filter_map(part).collect() })
    }

    /// A commit is durable. Returns what to report, `None` if the checkpoint was aborted meanwhile.
    pub(super) fn committed(&mut self, plan: &CommitPlan) -> Option<Vec<(SubtaskId, RunRefs)>> {
        let mut report = Vec::with_capacity(plan.subtasks.len());
        let mut pinned = BTreeSet::new();
        for part in &plan.subtasks {
            self.stored.extend(part.chain.iter().map(|run| run.id));
            pinned.extend(part.chain.iter().map(|run| run.id));
            report.push((part.subtask, part.chain.iter().map(|run| run.reference()).collect()));
            if let Ok(lease) = self.current(part.subtask, part.token) {
                lease.view.set_durable(plan.checkpoint);
                lease.sealed.retain(|checkpoint, _| *checkpoint > plan.checkpoint);
                if lease.folding == Folding::Paused {
                    lease.folding = Folding::Possible;
                }
            }
        }
        self.begun.remove(&plan.checkpoint)?;
        self.pins.insert(plan.checkpoint, pinned);
        Some(report)
    }

    /// A commit failed: its runs stay pending. Returns whether anybody waits for the checkpoint.
    pub(super) fn failed(&mut self, plan: &CommitPlan) -> Option<()> {
        for lease in self.subtasks.values_mut() {
            lease.sealed.remove(&plan.checkpoint);
        }
        self.begun.remove(&plan.checkpoint).map(|_| ())
    }

    // Spilling.

    /// Those whose chunk was given back, if there is room again.
    pub(super) fn take_waiting(&mut self) -> Vec<SubtaskId> {
        let waiting = self.subtasks.iter_mut().filter(|(_, lease)| lease.is_waiting);
        waiting
            .map(|(subtask, lease)| {
                lease.is_waiting = false;
                *subtask
            })
            .collect()
    }

    pub(super) fn has_commit(&self) -> bool {
        !self.ready.is_empty()
    }

    /// The open run of each subtask.
    pub(super) fn open_runs(&mut self) -> impl Iterator<Item = &mut OpenRun> {
        self.subtasks.values_mut().filter_map(|lease| lease.open.as_mut())
    }

    /// The ended runs that are not durable, oldest first of each subtask.
    pub(super) fn pending_runs(&self) -> Vec<Arc<Run>> {
        let chains = self.subtasks.values().map(|lease| lease.view.chain());
        chains
            .flat_map(|chain| chain.iter().filter(|run| !run.is_durable()).cloned().collect::<Vec<_>>())
            .collect()
    }

    // Folding.

    /// The next fold, of runs that no roll-back can need un-folded: those up to the last completed checkpoint.
    pub(super) fn next_fold(&self) -> Option<FoldPlan> {
        let completed = self.completed?;
        for (subtask, lease) in &self.subtasks {
            if lease.folding != Folding::Possible {
                continue;
            }
            let chain = lease.view.chain();
            let foldable: Vec<Foldable> = chain
                .iter()
                .take_while(|run| run.is_durable() && run.checkpoint <= completed)
                .map(|run| Foldable { bytes: run.reference().bytes, level: run.level })
                .collect();
            if let Some(range) = plan(&foldable) {
                let below = if range.start == 0 { Below::Nothing } else { Below::Rows };
                let inputs = chain[range].to_vec();
                let (subtask, token, hashes) = (*subtask, lease.token, lease.hashes);
                return Some(FoldPlan { subtask, token, inputs, below, hashes });
            }
        }
        None
    }

    pub(super) fn holds(&self, subtask: SubtaskId, token: u64) -> bool {
        self.subtasks.get(&subtask).is_some_and(|lease| lease.token == token)
    }

    /// Puts a merged run in the place of its inputs, where they still stand in the chain.
    pub(super) fn replace(
        &mut self,
        (subtask, token): (SubtaskId, u64),
        inputs: &[Arc<Run>],
        by: Option<&Arc<Run>>,
    ) {
        if let Some(run) = by {
            self.stored.insert(run.id);
            self.known.insert(run.id, Arc::downgrade(run));
        }
        let Ok(lease) = self.current(subtask, token) else { return };
        let mut chain = lease.view.chain().to_vec();
        let Some(first) = inputs.first() else { return };
        let Some(start) = chain.iter().position(|run| run.id == first.id) else { return };
        let end = start + inputs.len();
        if chain.len() < end || chain[start..end].iter().zip(inputs).any(|(run, input)| run.id != input.id) {
            return;
        }
        chain.splice(start..end, by.cloned());
        lease.view.set_chain(chain);
    }

    pub(super) fn pause_folding(&mut self, subtask: SubtaskId) {
        if let Some(lease) = self.subtasks.get_mut(&subtask) {
            lease.folding = Folding::Paused;
        }
    }

    pub(super) fn stop_folding(&mut self, subtask: SubtaskId) {
        if let Some(lease) = self.subtasks.get_mut(&subtask) {
            lease.folding = Folding::Off;
        }
    }

    // Garbage.

    pub(super) fn set_stored(&mut self, stored: Vec<RunId>) {
        self.stored = stored.into_iter().collect();
    }

    pub(super) fn add_stored(&mut self, run: RunId) {
        self.stored.insert(run);
    }

    /// Runs that nothing leads to: no chain, no checkpoint, no reader and none of `busy`.
    pub(super) fn garbage(&mut self, busy: &BTreeSet<RunId>) -> Vec<RunId> {
        self.known.retain(|_, run| run.strong_count() > 0);
        let open: BTreeSet<RunId> =
            self.subtasks.values().filter_map(|lease| lease.open.as_ref()).map(|open| open.id).collect();
        let is_live = |run: &RunId| {
            // Whatever holds a run, a chain or a reader of an old one, keeps it known.
            self.known.contains_key(run)
                || open.contains(run)
                || busy.contains(run)
                || self.pins.values().any(|pinned| pinned.contains(run))
        };
        self.stored.iter().copied().filter(|run| !is_live(run)).collect()
    }

    pub(super) fn removed(&mut self, runs: &[RunId]) {
        for run in runs {
            self.stored.remove(run);
        }
    }

    pub(super) fn status(&self) -> StoreStatus {
        let chains = self.subtasks.values().map(|lease| lease.view.chain().len());
        StoreStatus {
            runs: self.stored.len(),
            longest_chain: chains.max().unwrap_or(0),
            pending_bytes: self.pending_bytes(),
            ..self.status
        }
    }
}

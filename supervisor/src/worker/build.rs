//! Builds the subtasks of an attempt from the plan and starts their actors on the data runtime.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use ractor::ActorCell;
use tidegate_runtime::checkpoint::manifest::SubtaskSnapshot;
use tidegate_runtime::error::{Error, Result};
use tidegate_runtime::exchange::{Turn, Turns, Wakeup};
use tidegate_runtime::graph::{DeployContext, DeployedSubtask, NodeKind, SubtaskHooks, Vertex, deploy};
use tidegate_runtime::id::SubtaskId;
use tidegate_runtime::key::KeyHash;
use tidegate_runtime::metrics::SubtaskStatus;
use tidegate_runtime::state::{StateLease, StateRegistry};
use tidegate_runtime::sync::lock;
use tidegate_runtime::task::{Reporter, Restore};
use tokio::runtime::Handle;

use super::attempt::{Attempt, AttemptThreads, SubtaskCell};
use super::deployment::DeploymentMessage;
use super::subtask::{Body, Opened, Presence, SubtaskActor, SubtaskMessage};
use super::threads::Threads;
use crate::alive::Part;
use crate::child::spawn_child;
use crate::directory::{Entry, SubtaskEntry};
use crate::message::{DeployMode, Deployment};
use crate::post::Post;
use crate::source_state::decode_source;
use crate::storage::TableRequest;
use crate::topology::ActorKind;

/// What the deployment must know of what was built.
pub(crate) struct Built {
    /// Subtasks that are to be opened.
    pub(crate) opening: Vec<SubtaskId>,
    /// The key hashes of those with keyed state.
    pub(crate) hashes: Vec<(SubtaskId, (KeyHash, KeyHash))>,
}

/// Builds, starts and installs all subtasks.
pub(crate) fn build(
    attempt: &Arc<Attempt>,
    deployment: &Deployment,
    runtime: &Handle,
    supervisor: &ActorCell,
) -> Result<Built> {
    let worker = &attempt.worker;
    let hooks = Hooks::new(attempt, deployment);
    let context = DeployContext {
        attempt: attempt.id,
        lineage: worker.lineage,
        clock: worker.clock.clone(),
        seed: worker.seed,
    };
    let deployed = deploy(&worker.plan, attempt.region, &context, &hooks)?;
    let mut built = Built { opening: Vec::new(), hashes: Vec::new() };
    let mut actors = Vec::new();
    let mut turns = hooks.turns();
    for DeployedSubtask { subtask, task, gate, producers } in deployed {
        let vertex = worker.plan.vertex(subtask.operator);
        if deployment.mode == DeployMode::Run || matches!(vertex.root.kind, NodeKind::Sink(..)) {
            built.opening.push(subtask);
        }
        built.hashes.extend(hooks.hashes(vertex, subtask).map(|hashes| (subtask, hashes)));
        let entry = hooks.entry(subtask);
        let figures = figures(&entry);
        let paths: Arc<[String]> = producers.iter().map(|producer| worker.path(*producer)).collect();
        *lock(&figures.gate) = gate.clone().map(|gate| (gate, paths));
        let cell = Arc::new(SubtaskCell {
            subtask,
            operator: vertex.name.clone(),
            entry: Arc::clone(&entry),
            status: figures.status(),
            gate,
            post: OnceLock::new(),
        });
        let restore = hooks.restore(deployment, subtask)?;
        let status = Arc::clone(&cell.status);
        let wakeup = hooks.wakeup(subtask);
        let turn = turns.remove(&subtask);
        let body =
            Body { task, restore, mode: deployment.mode, opened: Opened::NotYet, wakeup, turn, status };
        let guard = attempt.alive.guard(Part::Subtask);
        let presence = Presence { attempt: Arc::clone(attempt), cell: Arc::clone(&cell), _guard: guard };
        actors.push((cell, SubtaskActor::new(body, presence)));
    }
    let cells: Vec<_> = actors.iter().map(|(cell, _)| Arc::clone(cell)).collect();
    let guards = (attempt.alive.guard(Part::Thread), attempt.alive.guard(Part::Thread));
    let label = format!("{}", attempt.id.0);
    let threads =
        Threads::start(&label, &AttemptThreads(Arc::clone(attempt)), guards).map_err(start_error)?;
    let mut failed = None;
    let slots = hooks.slots;
    attempt.install(threads, cells, || failed = spawn(actors, &slots, runtime, supervisor).err());
    failed.map_or(Ok(built), Err)
}

type Slots = BTreeMap<SubtaskId, Arc<OnceLock<Post<SubtaskMessage>>>>;

fn spawn(
    actors: Vec<(Arc<SubtaskCell>, SubtaskActor)>,
    slots: &Slots,
    runtime: &Handle,
    supervisor: &ActorCell,
) -> Result<()> {
    let _context = runtime.enter();
    for (cell, actor) in actors {
        let spawned = spawn_child(supervisor.clone(), Arc::clone(&cell.entry), actor, ());
        let post = spawned.map_err(|error| Error::User(error.to_string().into()))?;
        if let Some(slot) = slots.get(&cell.subtask) {
            let _ = slot.set(post.clone());
        }
        let _ = cell.post.set(post);
    }
    Ok(())
}

fn start_error(error: crate::error::Error) -> Error {
    Error::User(error.into())
}

fn figures(entry: &Entry) -> &SubtaskEntry {
    entry.subtask.as_ref().expect("I81: the entry of a subtask has figures")
}

/// What the plan's deployment asks of us.
struct Hooks<'a> {
    attempt: &'a Arc<Attempt>,
    parts: BTreeMap<SubtaskId, &'a SubtaskSnapshot>,
    /// Where the wake-up of a subtask finds its actor, once it is there.
    slots: Slots,
    wakeups: BTreeMap<SubtaskId, Wakeup>,
}

impl<'a> Hooks<'a> {
    fn new(attempt: &'a Arc<Attempt>, deployment: &'a Deployment) -> Self {
        let subtasks = attempt.worker.plan.subtasks(attempt.region);
        let slots: Slots = subtasks.iter().map(|id| (*id, Arc::new(OnceLock::new()))).collect();
        let wakeup = |id: &SubtaskId| {
            let slot: Arc<OnceLock<Post<SubtaskMessage>>> = Arc::clone(&slots[id]);
            Wakeup::new(move || {
                // Before the actor is there nothing is lost: its first message has it look for work.
                if let Some(post) = slot.get() {
                    post.cast(SubtaskMessage::Work);
                }
            })
        };
        let wakeups = subtasks.iter().map(|id| (*id, wakeup(id))).collect();
        let parts = deployment.parts.iter().map(|(id, part)| (*id, part)).collect();
        Self { attempt, parts, slots, wakeups }
    }

    fn entry(&self, subtask: SubtaskId) -> Arc<Entry> {
        let worker = &self.attempt.worker;
        let entry =
            worker.directory.entry(&worker.path(subtask), ActorKind::Subtask, &self.attempt.entry.path);
        entry.attempt.store(self.attempt.id.0, std::sync::atomic::Ordering::Relaxed);
        entry
    }

    /// Of sources with several subtasks. Their figures are those of this attempt once it is deployed.
    fn turns(&self) -> BTreeMap<SubtaskId, Turn> {
        let plan = &self.attempt.worker.plan;
        let subtasks = plan.subtasks(self.attempt.region);
        let is_source = |id: SubtaskId| matches!(plan.vertex(id.operator).root.kind, NodeKind::Source(_));
        let seat = |id: &SubtaskId| (self.wakeup(*id), figures(&self.entry(*id)).status());
        let operators = subtasks.chunk_by(|a, b| a.operator == b.operator);
        operators
            .filter(|subtasks| subtasks.len() > 1 && is_source(subtasks[0]))
            .flat_map(|subtasks| subtasks.iter().copied().zip(Turns::of(subtasks.iter().map(seat).collect())))
            .collect()
    }

    /// Of a subtask with keyed state.
    fn hashes(&self, vertex: &Vertex, subtask: SubtaskId) -> Option<(KeyHash, KeyHash)> {
        let groups = self.attempt.worker.plan.key_groups;
        (!vertex.root.states.is_empty())
            .then(|| groups.hashes(groups.range(subtask.index, vertex.parallelism)))
            .flatten()
    }

    fn restore(&self, deployment: &Deployment, subtask: SubtaskId) -> Result<Restore> {
        let Some(part) = self.parts.get(&subtask) else {
            return Ok(Restore { checkpoint: deployment.checkpoint, ..Restore::default() });
        };
        let source = decode_source(&part.splits, &part.finished_splits)?;
        Ok(Restore {
            checkpoint: deployment.checkpoint,
            operator_states: vec![part.operator_state.clone()],
            sources: source.into_iter().collect(),
            watermark: Some(part.watermark),
        })
    }
}

impl SubtaskHooks for Hooks<'_> {
    fn wakeup(&self, subtask: SubtaskId) -> Wakeup {
        self.wakeups[&subtask].clone()
    }

    fn reporter(&self, subtask: SubtaskId) -> Reporter {
        let attempt = Arc::clone(self.attempt);
        Arc::new(move |event| attempt.tell(DeploymentMessage::Event(subtask, event)))
    }

    fn status(&self, subtask: SubtaskId) -> Arc<SubtaskStatus> {
        figures(&self.entry(subtask)).begin(self.attempt.id)
    }

    fn states(&self, vertex: &Vertex, subtask: SubtaskId) -> Result<(StateRegistry, Arc<dyn StateLease>)> {
        let Some(hashes) = self.hashes(vertex, subtask) else {
            let states = StateRegistry::without_store();
            let lease = Arc::clone(states.lease());
            return Ok((states, lease));
        };
        let restore = self.parts.get(&subtask).map_or_else(Vec::new, |part| part.runs.clone());
        let attempt = self.attempt.id;
        self.attempt.worker.tables.open(TableRequest { subtask, attempt, hashes, restore })
    }
}

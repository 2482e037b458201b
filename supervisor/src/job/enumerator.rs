//! The actor of a source's splits: discovers off the actor and assigns on request.

use std::collections::BTreeSet;
use std::sync::Arc;

use ractor::{Actor, ActorProcessingErr, ActorRef};
use tidegate_runtime::checkpoint::manifest::Manifest;
use tidegate_runtime::error::{Failure, Result};
use tidegate_runtime::graph::NodeKind;
use tidegate_runtime::id::{AttemptId, OperatorId, SubtaskId};
use tidegate_runtime::source::{Discovered, ErasedSource};
use tidegate_runtime::sync::lock;

use super::actor::JobMessage;
use super::shared::JobShared;
use super::splits::{Discovery, SplitAction, SplitReaders, Splits};
use crate::directory::Entry;
use crate::message::WorkerCommand;
use crate::panics::catching;
use crate::post::Post;
use crate::source_state::{KnownSplits, SourceMemory, decode_memory, decode_source};

/// What an enumerator is told.
pub(crate) enum EnumeratorMessage {
    /// An attempt of its region starts from this checkpoint.
    Reset { attempt: AttemptId, from: Option<Arc<Manifest>> },
    /// Discovery has come back.
    Found { attempt: AttemptId, found: Result<Found, Failure> },
    /// It is time to look again.
    Again(AttemptId),
    /// A reader has nothing to read.
    Request { attempt: AttemptId, subtask: SubtaskId },
}

/// What discovery and a checkpoint say.
pub(crate) struct Found {
    look: Look,
    /// What readers held or had finished at the checkpoint: the restored one, or the latest.
    held: BTreeSet<String>,
    splits: KnownSplits,
    /// Of these splits and of those that the checkpoint kept.
    readers: SplitReaders,
    again_after: Option<std::time::Duration>,
}

/// Which look of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Look {
    First,
    Later,
}

/// The actor.
pub(crate) struct EnumeratorActor {
    pub(crate) shared: Arc<JobShared>,
    pub(crate) operator: OperatorId,
    pub(crate) entry: Arc<Entry>,
}

/// The attempt that it serves.
#[derive(Default)]
pub(crate) struct EnumeratorState {
    attempt: Option<AttemptId>,
    splits: Option<Splits>,
    /// Who asked before the first discovery came back.
    early: Vec<SubtaskId>,
}

impl Actor for EnumeratorActor {
    type Msg = EnumeratorMessage;
    type State = EnumeratorState;
    type Arguments = ();

    async fn pre_start(
        &self,
        _: ActorRef<EnumeratorMessage>,
        (): (),
    ) -> Result<EnumeratorState, ActorProcessingErr> {
        Ok(EnumeratorState::default())
    }

    async fn handle(
        &self,
        myself: ActorRef<EnumeratorMessage>,
        message: EnumeratorMessage,
        state: &mut EnumeratorState,
    ) -> Result<(), ActorProcessingErr> {
        self.entry.taken();
        let myself = Post::new(myself, Arc::clone(&self.entry));
        match message {
            EnumeratorMessage::Reset { attempt, from } => {
                *state = EnumeratorState { attempt: Some(attempt), ..EnumeratorState::default() };
                self.entry.attempt.store(attempt.0, std::sync::atomic::Ordering::Relaxed);
                self.restore_memory(from.as_deref());
                self.discover(myself, attempt, (Look::First, from));
            }
            EnumeratorMessage::Again(attempt) if state.attempt == Some(attempt) => {
                self.discover(myself, attempt, (Look::Later, self.shared.latest()));
            }
            EnumeratorMessage::Found { attempt, found } if state.attempt == Some(attempt) => match found {
                Ok(found) => self.on_found(&myself, attempt, found, state),
                Err(failure) => {
                    self.shared.tell(JobMessage::SourceFailed { attempt, failure });
                }
            },
            EnumeratorMessage::Request { attempt, subtask } if state.attempt == Some(attempt) => {
                match &mut state.splits {
                    Some(splits) => {
                        let actions = splits.on_request(subtask);
                        self.perform(attempt, actions);
                    }
                    None => state.early.push(subtask),
                }
            }
            // Of another attempt.
            EnumeratorMessage::Again(_)
            | EnumeratorMessage::Found { .. }
            | EnumeratorMessage::Request { .. } => self.shared.counters.stale_messages.add(1),
        }
        Ok(())
    }
}

impl EnumeratorActor {
    fn name(&self) -> &str {
        &self.shared.plan.vertex(self.operator).name
    }

    /// Until discovery is back, a checkpoint keeps what the restored one kept.
    fn restore_memory(&self, from: Option<&Manifest>) {
        let kept = from.and_then(|manifest| manifest.enumerators.get(self.name()));
        // Bytes that don't decode are an error of the first look.
        let memory = kept.and_then(|bytes| decode_memory(bytes).ok()).unwrap_or_default();
        lock(&self.shared.sources).insert(self.name().to_owned(), memory);
    }

    /// Asks the source on a thread that may block, and sees what readers hold by a checkpoint.
    fn discover(
        &self,
        myself: Post<EnumeratorMessage>,
        attempt: AttemptId,
        (look, checkpoint): (Look, Option<Arc<Manifest>>),
    ) {
        let vertex = self.shared.plan.vertex(self.operator);
        let NodeKind::Source(source) = &vertex.root.kind else { return };
        let (source, name, parallelism) = (Arc::clone(source), vertex.name.clone(), vertex.parallelism);
        drop(tokio::runtime::Handle::current().spawn_blocking(move || {
            let outcome = catching(|| {
                let (held, kept) = held(source.as_ref(), &name, checkpoint.as_deref())?;
                let Discovered { splits, again_after } = source.discover(parallelism)?;
                let readers = readers(source.as_ref(), splits.iter().chain(&kept), parallelism)?;
                Ok(Found { look, held, splits, readers, again_after })
            });
            let found = match outcome {
                Ok(Ok(found)) => Ok(found),
                Ok(Err(error)) => {
                    let error: tidegate_runtime::Error = error;
                    Err(Failure::of_error(name, 0, &error))
                }
                Err(panicked) => Err(Failure {
                    panic_location: panicked.location,
                    ..Failure::new(name, 0, format!("discovery panicked: {}", panicked.message))
                }),
            };
            myself.cast(EnumeratorMessage::Found { attempt, found });
        }));
    }

    fn on_found(
        &self,
        myself: &Post<EnumeratorMessage>,
        attempt: AttemptId,
        found: Found,
        state: &mut EnumeratorState,
    ) {
        let early = std::mem::take(&mut state.early);
        let splits = self.take_note(&found, state);
        let discovery = if found.again_after.is_some() { Discovery::MoreLater } else { Discovery::Complete };
        let mut actions = splits.on_discovered(found.splits, &found.readers, discovery);
        for subtask in early {
            actions.extend(splits.on_request(subtask));
        }
        // Before a reader can have any of them: a checkpoint in between must not lose one. To assign changes nothing of it.
        lock(&self.shared.sources).entry(self.name().to_owned()).or_default().known = splits.known();
        self.perform(attempt, actions);
        if let Some(after) = found.again_after {
            myself.cast_after(after, move || EnumeratorMessage::Again(attempt));
        }
    }

    /// What is with readers or finished, and what may be forgotten of it.
    fn take_note<'a>(&self, found: &Found, state: &'a mut EnumeratorState) -> &'a mut Splits {
        let mut sources = lock(&self.shared.sources);
        let memory = sources.entry(self.name().to_owned()).or_default();
        let restore = |memory: &SourceMemory| {
            let seen = found.held.iter().chain(memory.finished()).cloned().collect();
            Splits::new(seen, memory.known.clone(), &found.readers)
        };
        if found.look == Look::First {
            state.splits = Some(restore(memory));
        }
        let splits = state.splits.get_or_insert_with(|| restore(memory));
        splits.confirm(|id| found.held.contains(id) || memory.has_finished(id));
        let listed = found.splits.iter().map(|(id, _)| id.as_str()).collect();
        splits.forget(&memory.forget_unlisted(&listed));
        splits
    }

    fn perform(&self, attempt: AttemptId, actions: Vec<SplitAction>) {
        for action in actions {
            self.shared.link.command(match action {
                SplitAction::Assign(subtask, split) => WorkerCommand::AssignSplit { attempt, subtask, split },
                SplitAction::NoMore(subtask) => {
                    let after = self.shared.config.after_last_record;
                    WorkerCommand::NoMoreSplits { attempt, subtask, after }
                }
            });
        }
    }
}

/// Ids that readers hold or have finished by a checkpoint, and what that kept for the enumerator.
fn held(
    source: &dyn ErasedSource,
    name: &str,
    checkpoint: Option<&Manifest>,
) -> Result<(BTreeSet<String>, KnownSplits)> {
    let mut held = BTreeSet::new();
    let Some(manifest) = checkpoint else { return Ok((held, Vec::new())) };
    let kept = manifest.enumerators.get(name).map(|bytes| decode_memory(bytes)).transpose()?;
    let subtasks = manifest.operators.get(name).map_or(&[][..], |operator| &operator.subtasks);
    for part in subtasks {
        if let Some(snapshot) = decode_source(&part.splits, &part.finished_splits)? {
            for split in &snapshot.splits {
                held.insert(source.split_id(split)?);
            }
            held.extend(snapshot.finished);
        }
    }
    Ok((held, kept.map(|memory| memory.known).unwrap_or_default()))
}

/// Who alone may read which split.
fn readers<'a>(
    source: &dyn ErasedSource,
    splits: impl Iterator<Item = &'a (String, Vec<u8>)>,
    parallelism: u32,
) -> Result<SplitReaders> {
    let mut readers = SplitReaders::new();
    for (id, split) in splits {
        if let Some(reader) = source.split_reader(split)? {
            readers.insert(id.clone(), reader % parallelism.max(1));
        }
    }
    Ok(readers)
}

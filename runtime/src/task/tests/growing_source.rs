//! A source whose splits grow: it takes further ones while it waits, and hears what is published.

use std::sync::{Arc, Mutex};

use super::fakes::{Mailbox, Numbers, router};
use crate::config::AfterLastRecord;
use crate::error::Result;
use crate::exchange::{Gate, Partitioning, Wakeup};
use crate::id::CheckpointId;
use crate::source::{Discovered, Polled, ReaderContext, Source, SourceOutput, SourceReader, Split};
use crate::task::{
    Chain, Park, ParkReason, Restore, SourceParts, SourceTask, StepBudget, StepOutcome, Task, TaskCommand,
    TaskEvent,
};
use crate::time::{Clock, Timestamp};

/// What its reader was given and heard of.
#[derive(Clone, Default)]
struct Growing(Arc<Mutex<Heard>>);

#[derive(Default)]
struct Heard {
    splits: Vec<Numbers>,
    confirmed: Vec<usize>,
}

impl Source for Growing {
    type Record = u64;
    type Split = Numbers;
    type Reader = Self;

    fn discover(&self, _parallelism: u32) -> Result<Discovered<Numbers>> {
        Ok(Discovered { splits: Vec::new(), again_after: None })
    }

    fn reader(&self, _cx: &ReaderContext) -> Result<Self> {
        Ok(self.clone())
    }

    fn identity(&self) -> Vec<(String, String)> {
        Vec::new()
    }
}

impl SourceReader for Growing {
    type Record = u64;
    type Split = Numbers;

    fn add_split(&mut self, split: Numbers) -> Result<()> {
        self.0.lock().expect("no panic while held").splits.push(split);
        Ok(())
    }

    fn poll(&mut self, _out: &mut SourceOutput<'_, u64>) -> Result<Polled> {
        Ok(Polled::WantsSplit(Timestamp(500)))
    }

    fn snapshot(&self) -> Vec<Numbers> {
        self.0.lock().expect("no panic while held").splits.clone()
    }

    fn on_checkpoint_completed(&mut self, splits: Vec<Numbers>) -> Result<()> {
        self.0.lock().expect("no panic while held").confirmed.push(splits.len());
        Ok(())
    }

    fn position(&self) -> Option<String> {
        None
    }
}

fn split() -> TaskCommand {
    let numbers = Numbers { next: 0, end: 1 };
    assert_eq!(numbers.id(), "to 1");
    TaskCommand::AssignSplit(postcard::to_stdvec(&numbers).expect("numbers encode"))
}

#[test]
fn a_waiting_reader_takes_splits_and_hears_of_published_checkpoints_only() {
    let (source, mailbox) = (Growing::default(), Mailbox::new());
    let output = Gate::new(1, 1 << 20, Wakeup::new(|| {}));
    let nodes = vec![router(Partitioning::Forward, std::slice::from_ref(&output), 0, &mailbox.wakeup)];
    let chain = Chain::new(nodes, vec![vec![0]]);
    let shared = Arc::new(source.clone());
    let mut subtask = mailbox.subtask(&Clock::manual(Timestamp(0)), |context| {
        Task::Source(Box::new(SourceTask::new(SourceParts { context, source: shared, chain })))
    });
    subtask.task.open(&Restore::default()).expect("the source opens");
    let mut run = |commands: Vec<TaskCommand>| {
        for command in commands {
            subtask.task.command(command).expect("a source takes commands");
        }
        loop {
            if let StepOutcome::Parked(park) =
                subtask.task.step(&StepBudget::Turns(1)).expect("it can be read")
            {
                return park;
            }
        }
    };
    let waits = Park { reason: ParkReason::Idle, wake_at: Some(Timestamp(500)) };
    assert_eq!(run(vec![]), waits);
    assert_eq!(run(vec![split(), TaskCommand::Trigger(CheckpointId(1))]), waits);
    assert_eq!(run(vec![split(), TaskCommand::Trigger(CheckpointId(2))]), waits);
    assert_eq!(
        run(vec![TaskCommand::NoMoreSplits(AfterLastRecord::End), TaskCommand::Trigger(CheckpointId(3))]),
        waits
    );
    run(vec![TaskCommand::Abort(CheckpointId(1))]);
    run(vec![TaskCommand::Completed(CheckpointId(1)), TaskCommand::Completed(CheckpointId(3))]);
    run(vec![TaskCommand::Completed(CheckpointId(2))]);
    let heard = source.0.lock().expect("no panic while held");
    assert_eq!((heard.splits.len(), heard.confirmed.clone()), (2, vec![2]));
    let events = subtask.events.lock().expect("no panic while held");
    let requests = events.iter().filter(|event| matches!(event, TaskEvent::RequestSplit)).count();
    assert_eq!(requests, 3, "one after each split that came");
}

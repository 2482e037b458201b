//! Drives sources and sinks by hand in tests: no actors, a clock that stands still.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tidegate_runtime::exchange::Wakeup;
use tidegate_runtime::id::{AttemptId, Lineage, OperatorId, SubtaskId};
use tidegate_runtime::metrics::SubtaskStatus;
use tidegate_runtime::output::{Output, Timing};
use tidegate_runtime::sink::SinkContext;
use tidegate_runtime::source::{
    DeadLetter, Polled, ReaderContext, Source, SourceOutput, SourceReader, Split,
};
use tidegate_runtime::time::Clock;
use tidegate_runtime::{Result, Timestamp};

/// A context for subtask `index` of a sink with four, in attempt `attempt`.
pub(crate) fn sink_context(index: u32, attempt: u64) -> SinkContext {
    SinkContext {
        operator: "sink".to_owned(),
        subtask: SubtaskId { operator: OperatorId(9), index },
        parallelism: 4,
        attempt: AttemptId(attempt),
        lineage: Lineage(7),
        restored: None,
        clock: Clock::manual(Timestamp(0)),
    }
}

/// All subtasks of a source.
pub(crate) struct Drive<'a, S: Source> {
    source: &'a S,
    clock: Clock,
    pub(crate) status: Arc<SubtaskStatus>,
    readers: Vec<S::Reader>,
    unassigned: VecDeque<S::Split>,
    records: Output<S::Record>,
    pub(crate) dead_letters: Vec<DeadLetter>,
    dead: Output<DeadLetter>,
}

/// What one round over all readers came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Round {
    Worked,
    AllPending,
    AllDone,
}

impl<'a, S: Source> Drive<'a, S> {
    pub(crate) fn new(source: &'a S, parallelism: u32) -> Self {
        let found = source.discover(parallelism).expect("discovery succeeds");
        Self::with_splits(source, parallelism, found.splits)
    }

    pub(crate) fn with_splits(source: &'a S, parallelism: u32, splits: Vec<S::Split>) -> Self {
        let clock = Clock::manual(Timestamp(1_000));
        let status = Arc::new(SubtaskStatus::default());
        let context = |index| ReaderContext {
            operator: "source".to_owned(),
            subtask: SubtaskId { operator: OperatorId(1), index },
            parallelism,
            clock: clock.clone(),
            wakeup: Wakeup::new(|| {}),
            status: Arc::clone(&status),
        };
        let readers =
            (0..parallelism).map(|index| source.reader(&context(index)).expect("a reader is made")).collect();
        Self {
            source,
            readers,
            unassigned: splits.into(),
            records: Output::new(Timing::Untimed),
            dead_letters: Vec::new(),
            dead: Output::new(Timing::Untimed),
            clock,
            status,
        }
    }

    pub(crate) fn advance_ms(&self, ms: u64) {
        self.clock.advance(Duration::from_millis(ms));
    }

    pub(crate) fn read_all(&mut self) -> Vec<S::Record> {
        self.try_read_all().expect("the source can be read")
    }

    pub(crate) fn try_read_all(&mut self) -> Result<Vec<S::Record>> {
        let mut all = Vec::new();
        loop {
            match self.round(&mut all)? {
                Round::Worked => {}
                Round::AllPending => panic!("the source waits"),
                Round::AllDone => return Ok(all),
            }
        }
    }

    pub(crate) fn read_until_pending(&mut self) -> Vec<S::Record> {
        let mut all = Vec::new();
        while self.round(&mut all).expect("the source can be read") == Round::Worked {}
        all
    }

    pub(crate) fn position(&self) -> Option<String> {
        self.readers[0].position()
    }

    /// The splits as they would be restored.
    pub(crate) fn snapshot(&self) -> Vec<S::Split> {
        self.readers.iter().flat_map(SourceReader::snapshot).chain(self.unassigned.iter().cloned()).collect()
    }

    /// Discovery runs again; what is new waits to be assigned.
    pub(crate) fn discover_again(&mut self, known: &mut std::collections::BTreeSet<String>) {
        let found = self.source.discover(self.readers.len() as u32).expect("discovery succeeds");
        self.unassigned.extend(found.splits.into_iter().filter(|split| known.insert(split.id())));
    }

    pub(crate) fn round(&mut self, all: &mut Vec<S::Record>) -> Result<Round> {
        let mut round = Round::AllDone;
        for index in 0..self.readers.len() {
            match self.poll(index, all)? {
                Polled::Ready | Polled::SplitFinished(_) => round = Round::Worked,
                Polled::Pending(_) if round == Round::AllDone => round = Round::AllPending,
                Polled::Pending(_) => {}
                polled @ (Polled::NoSplit | Polled::WantsSplit(_)) => {
                    if let Some(split) = self.unassigned.pop_front() {
                        self.readers[index].add_split(split)?;
                        round = Round::Worked;
                    } else if polled != Polled::NoSplit && round == Round::AllDone {
                        round = Round::AllPending;
                    }
                }
            }
        }
        Ok(round)
    }

    fn poll(&mut self, index: usize, all: &mut Vec<S::Record>) -> Result<Polled> {
        let mut out = SourceOutput { records: &mut self.records, dead_letters: &mut self.dead };
        let polled = self.readers[index].poll(&mut out);
        all.append(&mut self.records.batch_mut().records);
        self.dead_letters.append(&mut self.dead.batch_mut().records);
        polled
    }

    /// After every poll: what was read, and what new readers read from the snapshot, is everything once.
    pub(crate) fn check_every_resume(mut self) {
        let expected = sorted(&Self::new(self.source, 1).read_all());
        let mut all = Vec::new();
        loop {
            let bytes = postcard::to_stdvec(&self.snapshot()).expect("splits encode");
            let splits = postcard::from_bytes(&bytes).expect("splits decode");
            let rest = Self::with_splits(self.source, self.readers.len() as u32, splits).read_all();
            assert!(sorted(&[all.clone(), rest].concat()) == expected, "after {} records", all.len());
            if self.round(&mut all).expect("the source can be read") == Round::AllDone {
                return;
            }
        }
    }
}

fn sorted<T: serde::Serialize>(records: &[T]) -> Vec<Vec<u8>> {
    let mut rows: Vec<_> =
        records.iter().map(|record| postcard::to_stdvec(record).expect("records encode")).collect();
    rows.sort();
    rows
}

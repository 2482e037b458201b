//! The reader of sources whose records are numbered: which indices come next, and how fast.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use tidegate_runtime::output::OUTPUT_RECORDS_MAX;
use tidegate_runtime::source::{Polled, ReaderContext, SourceOutput, SourceReader};
use tidegate_runtime::time::Clock;
use tidegate_runtime::{Record, Result};

use crate::index_split::{IndexSplit, IndexSplits};
use crate::pace::{Grant, Lane, Pacer};

/// Records by their index.
pub trait Indexed: Send + 'static {
    /// What stands at an index.
    type Record: Record;

    /// Appends the records of a range.
    fn append(&self, range: Range<u64>, records: &mut Vec<Self::Record>);
}

/// Reads the records of a [`Collection`](crate::Collection) or a [`Generator`](crate::Generator).
pub struct IndexReader<R> {
    records: R,
    splits: IndexSplits,
    lane: Lane,
    clock: Clock,
    last: Option<u64>,
}

impl<R> fmt::Debug for IndexReader<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IndexReader").field("splits", &self.splits).finish_non_exhaustive()
    }
}

impl<R> IndexReader<R> {
    pub(crate) fn new(records: R, pacer: &Arc<Pacer>, cx: &ReaderContext) -> Self {
        let lane = pacer.lane(cx.subtask);
        Self { records, splits: IndexSplits::default(), lane, clock: cx.clock.clone(), last: None }
    }
}

impl<R: Indexed> SourceReader for IndexReader<R> {
    type Record = R::Record;
    type Split = IndexSplit;

    fn add_split(&mut self, split: IndexSplit) -> Result<()> {
        self.splits.add(split);
        Ok(())
    }

    fn poll(&mut self, out: &mut SourceOutput<'_, R::Record>) -> Result<Polled> {
        if let Some(id) = self.splits.take_finished() {
            return Ok(Polled::SplitFinished(id));
        }
        if self.splits.current().is_none() {
            self.lane.leave();
            return Ok(Polled::NoSplit);
        }
        let room = OUTPUT_RECORDS_MAX.saturating_sub(out.records.len());
        let mut granted = match self.lane.grant(&self.clock, room) {
            Grant::Now(granted) => granted,
            Grant::At(time) => return Ok(Polled::Pending(Some(time))),
        };
        let target = &mut out.records.batch_mut().records;
        target.reserve(granted);
        while granted > 0 {
            let Some(split) = self.splits.current().filter(|split| !split.is_finished()) else { break };
            let run = split.run(granted);
            granted -= (run.end - run.start) as usize;
            // Noted first: if user code panics at it, the report names the index.
            self.last = Some(run.end - 1);
            self.records.append(run.clone(), target);
            split.advance(&run);
        }
        self.lane.give_back(granted);
        Ok(Polled::Ready)
    }

    fn snapshot(&self) -> Vec<IndexSplit> {
        self.splits.snapshot()
    }

    fn position(&self) -> Option<String> {
        self.last.map(|index| format!("up to index {index}"))
    }
}

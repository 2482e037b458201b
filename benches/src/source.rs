//! A source that goes through records in memory again and again.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tidegate::runtime::Result;
use tidegate::runtime::source::{
    Discovered, Polled, ReaderContext, Source, SourceOutput, SourceReader, Split,
};

use crate::data::{CHUNK, Cyclic, Work};
use crate::stopwatch::Stopwatch;

/// Emits the chunks of a work; n subtasks take every n-th chunk each.
#[derive(Clone)]
pub(crate) struct Cycle<T> {
    pub(crate) work: Work<T>,
    pub(crate) stopwatch: Arc<Stopwatch>,
}

/// Every `step`-th chunk, the next of which is `next`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Chunks {
    lane: u64,
    next: u64,
    step: u64,
}

impl Split for Chunks {
    fn id(&self) -> String {
        format!("lane {} of {}", self.lane, self.step)
    }
}

impl<T: Cyclic> Source for Cycle<T> {
    type Record = T;
    type Split = Chunks;
    type Reader = CycleReader<T>;

    fn discover(&self, parallelism: u32) -> Result<Discovered<Chunks>> {
        let step = u64::from(parallelism);
        let splits = (0..step).map(|lane| Chunks { lane, next: lane, step }).collect();
        Ok(Discovered { splits, again_after: None })
    }

    fn reader(&self, _cx: &ReaderContext) -> Result<CycleReader<T>> {
        Ok(CycleReader { source: self.clone(), splits: Vec::new() })
    }

    fn identity(&self) -> Vec<(String, String)> {
        vec![("records".to_owned(), self.work.total.to_string())]
    }
}

/// Reads one or more splits, one after the other.
pub(crate) struct CycleReader<T> {
    source: Cycle<T>,
    splits: Vec<Chunks>,
}

impl<T: Cyclic> SourceReader for CycleReader<T> {
    type Record = T;
    type Split = Chunks;

    fn add_split(&mut self, split: Chunks) -> Result<()> {
        self.splits.push(split);
        Ok(())
    }

    fn poll(&mut self, out: &mut SourceOutput<'_, T>) -> Result<Polled> {
        let Some(split) = self.splits.first_mut() else { return Ok(Polled::NoSplit) };
        if self.source.work.is_measured(split.next) {
            self.source.stopwatch.begin();
        }
        let Some((records, shift)) = self.source.work.chunk(split.next) else {
            return Ok(Polled::SplitFinished(self.splits.remove(0).id()));
        };
        split.next += split.step;
        out.records.batch_mut().records.extend(records.iter().map(|record| record.shifted(shift)));
        debug_assert_eq!(out.records.len(), CHUNK);
        Ok(Polled::Ready)
    }

    fn snapshot(&self) -> Vec<Chunks> {
        self.splits.clone()
    }

    fn position(&self) -> Option<String> {
        self.splits.first().map(|split| format!("chunk {}", split.next))
    }
}

//! A source of records in memory, as fast as they can be copied.

use std::sync::Arc;

use tidegate_runtime::output::OUTPUT_RECORDS_MAX;
use tidegate_runtime::source::{Discovered, Polled, ReaderContext, Source, SourceOutput, SourceReader};
use tidegate_runtime::time::Clock;
use tidegate_runtime::{Record, Result};

use crate::index_split::{IndexSplit, IndexSplits};
use crate::pace::{Grant, Lane, Pacer};

/// A source of the given records, in their order at parallelism 1.
///
/// With more subtasks each reads every n-th block of 1,024 records (or an n-th part of fewer), so that all stand at
/// about the same place. The records are shared, never moved: every attempt reads the same ones.
///
/// ```
/// let numbers = tidegate_connectors::collection(vec![1_u64, 2, 3]);
/// ```
pub fn collection<T: Record + Sync>(records: impl Into<Arc<[T]>>) -> Collection<T> {
    Collection { records: records.into(), pacer: Arc::default() }
}

/// See [`collection`].
#[derive(Clone, Debug)]
pub struct Collection<T> {
    records: Arc<[T]>,
    pacer: Arc<Pacer>,
}

impl<T> Collection<T> {
    /// Emits so many records per second, over all subtasks.
    pub fn rate(mut self, records_per_second: u64) -> Self {
        self.pacer = Arc::new(Pacer::new(Some(records_per_second)));
        self
    }
}

impl<T: Record + Sync> Source for Collection<T> {
    type Record = T;
    type Split = IndexSplit;
    type Reader = CollectionReader<T>;

    fn discover(&self, parallelism: u32) -> Result<Discovered<IndexSplit>> {
        let end = self.records.len() as u64;
        let block = end.div_ceil(u64::from(parallelism.max(1))).clamp(1, OUTPUT_RECORDS_MAX as u64);
        Ok(Discovered { splits: IndexSplit::lanes(parallelism, block, end), again_after: None })
    }

    fn reader(&self, cx: &ReaderContext) -> Result<CollectionReader<T>> {
        Ok(CollectionReader {
            records: Arc::clone(&self.records),
            splits: IndexSplits::default(),
            lane: self.pacer.lane(cx.subtask),
            clock: cx.clock.clone(),
            last: None,
        })
    }

    fn identity(&self) -> Vec<(String, String)> {
        let what = format!("{} records of {}", self.records.len(), std::any::type_name::<T>());
        vec![("collection".to_owned(), what)]
    }
}

/// Reads a [`Collection`].
#[derive(Debug)]
pub struct CollectionReader<T> {
    records: Arc<[T]>,
    splits: IndexSplits,
    lane: Lane,
    clock: Clock,
    last: Option<u64>,
}

impl<T: Record + Sync> SourceReader for CollectionReader<T> {
    type Record = T;
    type Split = IndexSplit;

    fn add_split(&mut self, split: IndexSplit) -> Result<()> {
        self.splits.add(split);
        Ok(())
    }

    fn poll(&mut self, out: &mut SourceOutput<'_, T>) -> Result<Polled> {
        if let Some(id) = self.splits.take_finished() {
            return Ok(Polled::SplitFinished(id));
        }
        let Some(split) = self.splits.current() else {
            self.lane.leave();
            return Ok(Polled::NoSplit);
        };
        let room = OUTPUT_RECORDS_MAX.saturating_sub(out.records.len());
        let mut granted = match self.lane.grant(&self.clock, room) {
            Grant::Now(granted) => granted,
            Grant::At(time) => return Ok(Polled::Pending(Some(time))),
        };
        let target = &mut out.records.batch_mut().records;
        target.reserve(granted);
        while granted > 0 && !split.is_finished() {
            let run = split.run(granted);
            target.extend_from_slice(&self.records[run.start as usize..run.end as usize]);
            granted -= (run.end - run.start) as usize;
            self.last = Some(run.end - 1);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drive::Drive;

    #[test]
    fn all_records_come_once_at_any_parallelism() {
        for (count, parallelism) in [(0_u64, 1), (1, 3), (10, 3), (5_000, 1), (5_000, 2), (4_096, 4)] {
            let source = collection((0..count).collect::<Vec<_>>());
            let mut all = Drive::new(&source, parallelism).read_all();
            if parallelism > 1 {
                all.sort_unstable();
            }
            assert_eq!(all, (0..count).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_restored_reader_goes_on_at_its_index() {
        let source = collection((0..5_000_u64).collect::<Vec<_>>());
        Drive::new(&source, 2).check_every_resume();
    }

    #[test]
    fn a_rate_is_kept_by_the_clock() {
        let source = collection((0..100_u64).collect::<Vec<_>>()).rate(10);
        let mut drive = Drive::new(&source, 1);
        assert_eq!(drive.read_until_pending(), vec![0]);
        drive.advance_ms(100);
        assert_eq!(drive.read_until_pending(), vec![1]);
    }
}

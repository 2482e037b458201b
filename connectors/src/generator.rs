//! A source of records that are computed from their index.

use std::fmt;
use std::sync::Arc;

use tidegate_runtime::output::OUTPUT_RECORDS_MAX;
use tidegate_runtime::source::{Discovered, Polled, ReaderContext, Source, SourceOutput, SourceReader};
use tidegate_runtime::time::Clock;
use tidegate_runtime::{Record, Result};

use crate::index_split::{IndexSplit, IndexSplits};
use crate::pace::{Grant, Lane, Pacer};

/// A source that emits `record(0)`, `record(1)`, ... without end, or up to [`Generator::count`].
///
/// With n subtasks each computes every n-th record. `record` must give the same record for the same index each time:
/// after a restart it is asked again.
///
/// ```
/// let squares = tidegate_connectors::generate(|index| index * index).count(1_000).rate(100);
/// ```
pub fn generate<T: Record>(
    record: impl Fn(u64) -> T + Send + Sync + 'static,
) -> Generator<impl Fn(u64) -> T + Send + Sync + 'static> {
    Generator { record: Arc::new(record), count: None, pacer: Arc::default() }
}

/// See [`generate`].
pub struct Generator<F> {
    record: Arc<F>,
    count: Option<u64>,
    pacer: Arc<Pacer>,
}

impl<F> Generator<F> {
    /// Ends after so many records.
    pub fn count(mut self, records: u64) -> Self {
        self.count = Some(records);
        self
    }

    /// Emits so many records per second, over all subtasks.
    pub fn rate(mut self, records_per_second: u64) -> Self {
        self.pacer = Arc::new(Pacer::new(Some(records_per_second)));
        self
    }
}

impl<F> Clone for Generator<F> {
    fn clone(&self) -> Self {
        Self { record: Arc::clone(&self.record), count: self.count, pacer: Arc::clone(&self.pacer) }
    }
}

impl<F> fmt::Debug for Generator<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Generator")
            .field("count", &self.count)
            .field("pacer", &self.pacer)
            .finish_non_exhaustive()
    }
}

impl<T: Record, F: Fn(u64) -> T + Send + Sync + 'static> Source for Generator<F> {
    type Record = T;
    type Split = IndexSplit;
    type Reader = GeneratorReader<F>;

    fn discover(&self, parallelism: u32) -> Result<Discovered<IndexSplit>> {
        let splits = IndexSplit::lanes(parallelism, 1, self.count.unwrap_or(u64::MAX));
        Ok(Discovered { splits, again_after: None })
    }

    fn reader(&self, cx: &ReaderContext) -> Result<GeneratorReader<F>> {
        Ok(GeneratorReader {
            record: Arc::clone(&self.record),
            splits: IndexSplits::default(),
            lane: self.pacer.lane(cx.subtask),
            clock: cx.clock.clone(),
            last: None,
        })
    }

    fn identity(&self) -> Vec<(String, String)> {
        let count = self.count.map_or_else(|| "without end".to_owned(), |count| count.to_string());
        vec![("generated records".to_owned(), count)]
    }
}

/// Computes the records of a [`Generator`].
pub struct GeneratorReader<F> {
    record: Arc<F>,
    splits: IndexSplits,
    lane: Lane,
    clock: Clock,
    last: Option<u64>,
}

impl<T: Record, F: Fn(u64) -> T + Send + Sync + 'static> SourceReader for GeneratorReader<F> {
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
        let room = OUTPUT_RECORDS_MAX.saturating_sub(out.records.len());
        if self.splits.current().is_none() {
            self.lane.leave();
            return Ok(Polled::NoSplit);
        }
        let granted = match self.lane.grant(&self.clock, room) {
            Grant::Now(granted) => granted,
            Grant::At(time) => return Ok(Polled::Pending(Some(time))),
        };
        let target = &mut out.records.batch_mut().records;
        for emitted in 0..granted {
            let Some(split) = self.splits.current().filter(|split| !split.is_finished()) else {
                self.lane.give_back(granted - emitted);
                break;
            };
            let run = split.run(1);
            // Noted first: if the closure panics, the report names the index.
            self.last = Some(run.start);
            target.push((self.record)(run.start));
            split.advance(&run);
        }
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
    fn the_records_are_the_same_at_any_parallelism() {
        for parallelism in [1, 2, 5] {
            let source = generate(|index| index * 3).count(4_000);
            let mut all = Drive::new(&source, parallelism).read_all();
            all.sort_unstable();
            assert_eq!(all, (0..4_000).map(|index| index * 3).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_restored_reader_goes_on_at_its_index() {
        Drive::new(&generate(|index| index).count(3_000), 2).check_every_resume();
    }

    #[test]
    fn fewer_records_than_subtasks_are_no_trouble() {
        assert_eq!(Drive::new(&generate(|index| index).count(2), 8).read_all().len(), 2);
        assert_eq!(Drive::new(&generate(|index| index).count(0), 2).read_all(), Vec::<u64>::new());
    }

    #[test]
    fn the_rate_holds_over_all_subtasks() {
        let source = generate(|index| index).rate(1_000);
        let mut drive = Drive::new(&source, 2);
        let first = drive.read_until_pending().len();
        drive.advance_ms(100);
        assert_eq!(first + drive.read_until_pending().len(), 101);
    }
}

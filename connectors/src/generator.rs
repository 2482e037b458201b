//! A source of records that are computed from their index.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use tidegate_runtime::source::{Discovered, ReaderContext, Source};
use tidegate_runtime::{Record, Result};

use crate::index_reader::{IndexReader, Indexed};
use crate::index_split::IndexSplit;
use crate::pace::Pacer;

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

impl<T: Record, F: Fn(u64) -> T + Send + Sync + 'static> Indexed for Generator<F> {
    type Record = T;

    fn append(&self, range: Range<u64>, records: &mut Vec<T>) {
        records.extend(range.map(&*self.record));
    }
}

impl<T: Record, F: Fn(u64) -> T + Send + Sync + 'static> Source for Generator<F> {
    type Record = T;
    type Split = IndexSplit;
    type Reader = IndexReader<Self>;

    fn discover(&self, parallelism: u32) -> Result<Discovered<IndexSplit>> {
        let splits = IndexSplit::lanes(parallelism, 1, self.count.unwrap_or(u64::MAX));
        Ok(Discovered { splits, again_after: None })
    }

    fn reader(&self, cx: &ReaderContext) -> Result<IndexReader<Self>> {
        Ok(IndexReader::new(self.clone(), &self.pacer, cx))
    }

    fn identity(&self) -> Vec<(String, String)> {
        let count = self.count.map_or_else(|| "without end".to_owned(), |count| count.to_string());
        vec![("generated records".to_owned(), count)]
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

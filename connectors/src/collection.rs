//! A source of records in memory, as fast as they can be copied.

use std::ops::Range;
use std::sync::Arc;

use tidegate_runtime::output::OUTPUT_RECORDS_MAX;
use tidegate_runtime::source::{Discovered, ReaderContext, Source};
use tidegate_runtime::{Record, Result};

use crate::index_reader::{IndexReader, Indexed};
use crate::index_split::IndexSplit;
use crate::pace::Pacer;

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

impl<T: Record + Sync> Indexed for Collection<T> {
    type Record = T;

    fn append(&self, range: Range<u64>, records: &mut Vec<T>) {
        records.extend_from_slice(&self.records[range.start as usize..range.end as usize]);
    }
}

impl<T: Record + Sync> Source for Collection<T> {
    type Record = T;
    type Split = IndexSplit;
    type Reader = IndexReader<Self>;

    fn discover(&self, parallelism: u32) -> Result<Discovered<IndexSplit>> {
        let end = self.records.len() as u64;
        let block = end.div_ceil(u64::from(parallelism.max(1))).clamp(1, OUTPUT_RECORDS_MAX as u64);
        Ok(Discovered { splits: IndexSplit::lanes(parallelism, block, end), again_after: None })
    }

    fn reader(&self, cx: &ReaderContext) -> Result<IndexReader<Self>> {
        Ok(IndexReader::new(self.clone(), &self.pacer, cx))
    }

    fn identity(&self) -> Vec<(String, String)> {
        let what = format!("{} records of {}", self.records.len(), std::any::type_name::<T>());
        vec![("collection".to_owned(), what)]
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

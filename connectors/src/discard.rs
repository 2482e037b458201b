//! A sink that counts what it is given and keeps nothing: for benchmarks and trials.

use std::fmt;
use std::marker::PhantomData;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tidegate_runtime::element::Batch;
use tidegate_runtime::id::CheckpointId;
use tidegate_runtime::sink::{PrepareJob, Sink, SinkContext, SinkWriter};
use tidegate_runtime::{Record, Result};

/// A sink that drops its records, and a handle that counts them. Records that are replayed after a restart count
/// again.
pub fn discard<T: Record>() -> (Discard<T, fn(&T) -> u64>, Discarded) {
    discard_with(|_| 0)
}

/// Like [`discard`], and adds up (wrapping) what `fold` makes of each record, so that the work before it can be
/// compared and not be optimised away.
pub fn discard_with<T: Record, F>(fold: F) -> (Discard<T, F>, Discarded)
where
    F: Fn(&T) -> u64 + Clone + Send + Sync + 'static,
{
    let discarded = Discarded::default();
    (Discard { fold, discarded: discarded.clone(), record: PhantomData }, discarded)
}

/// See [`discard`].
#[derive(Clone)]
pub struct Discard<T, F> {
    fold: F,
    discarded: Discarded,
    record: PhantomData<fn(T)>,
}

impl<T, F> fmt::Debug for Discard<T, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Discard").field("discarded", &self.discarded).finish_non_exhaustive()
    }
}

/// What a [`Discard`] sink was given so far; clones share the figures.
#[derive(Clone, Debug, Default)]
pub struct Discarded(Arc<Totals>);

#[derive(Debug, Default)]
struct Totals {
    records: AtomicU64,
    checksum: AtomicU64,
}

impl Discarded {
    /// Number of records, those that were replayed included.
    pub fn records(&self) -> u64 {
        self.0.records.load(Ordering::Relaxed)
    }

    /// Sum of what the fold made of them.
    pub fn checksum(&self) -> u64 {
        self.0.checksum.load(Ordering::Relaxed)
    }
}

impl<T: Record, F: Fn(&T) -> u64 + Clone + Send + Sync + 'static> Sink for Discard<T, F> {
    type Record = T;
    type Writer = DiscardWriter<T, F>;

    fn writer(&self, _cx: &SinkContext, _state: &[Vec<u8>]) -> Result<DiscardWriter<T, F>> {
        Ok(DiscardWriter(self.clone()))
    }

    fn identity(&self) -> Vec<(String, String)> {
        vec![("discards".to_owned(), std::any::type_name::<T>().to_owned())]
    }
}

/// Counts the records of one subtask.
pub struct DiscardWriter<T, F>(Discard<T, F>);

impl<T: Record, F: Fn(&T) -> u64 + Clone + Send + Sync + 'static> SinkWriter for DiscardWriter<T, F> {
    type Record = T;

    fn write(&mut self, batch: &mut Batch<T>, range: Range<usize>) -> Result<()> {
        let records = &batch.records[range];
        let sum = records.iter().fold(0_u64, |sum, record| sum.wrapping_add((self.0.fold)(record)));
        let totals = &self.0.discarded.0;
        totals.records.fetch_add(records.len() as u64, Ordering::Relaxed);
        totals.checksum.fetch_add(sum, Ordering::Relaxed);
        Ok(())
    }

    fn freeze(&mut self, _checkpoint: CheckpointId) -> Result<(Vec<u8>, Option<PrepareJob>)> {
        Ok((Vec::new(), None))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drive::sink_context;

    #[test]
    fn records_are_counted_and_folded() -> Result<()> {
        let (sink, discarded) = discard_with(|record: &u64| *record);
        let mut writer = sink.writer(&sink_context(0, 1), &[])?;
        let mut batch = Batch { records: vec![1, 2, 3, 4], ..Batch::default() };
        writer.write(&mut batch, 1..3)?;
        writer.write(&mut batch, 3..4)?;
        assert_eq!((discarded.records(), discarded.checksum()), (3, 9));
        Ok(())
    }
}

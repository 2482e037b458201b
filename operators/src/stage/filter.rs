//! `filter` and `try_filter`: records that a predicate refuses are left out.

use std::marker::PhantomData;
use std::sync::Arc;

use tidegate_runtime::element::{Batch, Record, WatermarkAt};
use tidegate_runtime::error::{BoxError, Result};
use tidegate_runtime::time::Timestamp;

use super::whole::{BatchFunction, Whole};
use crate::event_time::Time;
use crate::stream::Stream;

impl<T: Record, Timing: Time> Stream<T, Timing> {
    /// Keeps the records for which `predicate` is true. Watermarks go on all the same.
    ///
    /// ```
    /// # use tidegate_operators::{Dataflow, testing::numbers};
    /// let flow = Dataflow::new("even");
    /// flow.source("numbers", numbers(0..10)).filter(|n| n % 2 == 0).print();
    /// # flow.explain()?;
    /// # Ok::<(), tidegate_runtime::Error>(())
    /// ```
    pub fn filter(self, predicate: impl Fn(&T) -> bool + Send + Sync + 'static) -> Stream<T, Timing> {
        let predicate = Arc::new(predicate);
        self.stage("filter", move || Whole::new(Filter::new(Arc::clone(&predicate), judge_all)))
    }

    /// As `filter`, with a predicate that can fail: an error fails the attempt, with the record's timestamp.
    pub fn try_filter(
        self,
        predicate: impl Fn(&T) -> Result<bool, BoxError> + Send + Sync + 'static,
    ) -> Stream<T, Timing> {
        let predicate = Arc::new(predicate);
        self.stage("try_filter", move || Whole::new(Filter::new(Arc::clone(&predicate), try_judge_all)))
    }
}

/// Appends the predicate's answer for each record.
type JudgeAll<T, F> = fn(&F, &[T], &mut Vec<bool>) -> Result<()>;

struct Filter<T, F> {
    predicate: Arc<F>,
    judge: JudgeAll<T, F>,
    /// The answer for each record of the batch.
    kept: Vec<bool>,
    timestamps: Vec<Timestamp>,
    types: PhantomData<fn(T)>,
}

impl<T, F> Filter<T, F> {
    fn new(predicate: Arc<F>, judge: JudgeAll<T, F>) -> Self {
        Self { predicate, judge, kept: Vec::new(), timestamps: Vec::new(), types: PhantomData }
    }
}

fn judge_all<T, F: Fn(&T) -> bool>(predicate: &F, records: &[T], kept: &mut Vec<bool>) -> Result<()> {
    kept.extend(records.iter().map(predicate));
    Ok(())
}

fn try_judge_all<T, F: Fn(&T) -> Result<bool, BoxError>>(
    predicate: &F,
    records: &[T],
    kept: &mut Vec<bool>,
) -> Result<()> {
    for record in records {
        kept.push(predicate(record)?);
    }
    Ok(())
}

impl<T: Record, F: Send + Sync> BatchFunction for Filter<T, F> {
    type In = T;
    type Out = T;

    fn apply(&mut self, mut batch: Batch<T>) -> Result<Batch<T>> {
        self.kept.clear();
        self.timestamps = std::mem::take(&mut batch.timestamps);
        (self.judge)(&self.predicate, &batch.records, &mut self.kept)?;
        batch.timestamps = std::mem::take(&mut self.timestamps);
        batch.hashes = Vec::new();
        if self.kept.iter().any(|kept| !kept) {
            shift_watermarks(&mut batch.watermarks, &self.kept);
            retain(&mut batch.timestamps, &self.kept);
            retain(&mut batch.records, &self.kept);
        }
        Ok(batch)
    }

    fn failed_timestamp(&self) -> Option<Timestamp> {
        self.timestamps.get(self.kept.len()).copied()
    }
}

fn retain<V>(column: &mut Vec<V>, kept: &[bool]) {
    let mut kept = kept.iter();
    column.retain(|_| kept.next().copied().unwrap_or(true));
}

/// Moves watermarks to where they stand among the kept records; of several that come to one place the last holds.
pub(super) fn shift_watermarks(watermarks: &mut Vec<WatermarkAt>, kept: &[bool]) {
    let (mut counted, mut offset) = (0, 0);
    for at in watermarks.iter_mut() {
        offset += kept[counted..at.offset].iter().filter(|kept| **kept).count();
        counted = at.offset;
        at.offset = offset;
    }
    watermarks.dedup_by(|later, earlier| {
        let is_same = later.offset == earlier.offset;
        if is_same {
            earlier.watermark = later.watermark;
        }
        is_same
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn watermarks_keep_their_place_among_the_kept_records() {
        let kept = |n: &u64| !n.is_multiple_of(2);
        let mut filter = Filter::new(Arc::new(kept), judge_all::<u64, _>);
        let mut batch = Batch { records: (0..6).collect(), ..Batch::default() };
        batch.timestamps = (0..6).map(Timestamp).collect();
        batch.watermarks = [(0, 1), (2, 5), (3, 6), (6, 9)]
            .map(|(offset, at)| WatermarkAt { offset, watermark: Timestamp(at) })
            .into();
        let out = filter.apply(batch).expect("the predicate can't fail");
        assert_eq!(out.records, [1, 3, 5]);
        assert_eq!(out.timestamps, [1, 3, 5].map(Timestamp));
        let marks: Vec<_> = out.watermarks.iter().map(|at| (at.offset, at.watermark.0)).collect();
        assert_eq!(marks, [(0, 1), (1, 6), (3, 9)]);
    }

    #[test]
    fn a_predicate_that_fails_leaves_the_timestamp_of_its_record() {
        let judge = |n: &u64| if *n == 3 { Err("three".into()) } else { Ok(true) };
        let mut filter = Filter::new(Arc::new(judge), try_judge_all::<u64, _>);
        let timestamps = (10..16).map(Timestamp).collect();
        assert!(filter.apply(Batch { records: (0..6).collect(), timestamps, ..Batch::default() }).is_err());
        assert_eq!(filter.failed_timestamp(), Some(Timestamp(13)));
    }
}

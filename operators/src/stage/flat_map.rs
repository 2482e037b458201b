//! `flat_map` and `try_flat_map`: one record in, any number out; stops in the middle of them when enough is out.

use std::marker::PhantomData;
use std::sync::Arc;

use tidegate_runtime::element::{Batch, ErasedBatch, Record};
use tidegate_runtime::error::{BoxError, Result};
use tidegate_runtime::operator::{Progress, Stage, StepContext};
use tidegate_runtime::output::{OUTPUT_RECORDS_MAX, Timing as OutputTiming};
use tidegate_runtime::time::Timestamp;

use crate::event_time::Time;
use crate::stream::Stream;

impl<T: Record, Timing: Time> Stream<T, Timing> {
    /// Turns each record into none, one or several, returned as `Option`, `Vec`, array or any iterator that owns what
    /// it gives; they keep its timestamp.
    ///
    /// ```
    /// # use tidegate_operators::{Dataflow, testing::numbers};
    /// let flow = Dataflow::new("twice-if-even");
    /// flow.source("numbers", numbers(0..10)).flat_map(|n| (n % 2 == 0).then_some(n * 2)).print();
    /// # flow.explain()?;
    /// # Ok::<(), tidegate_runtime::Error>(())
    /// ```
    pub fn flat_map<I>(self, function: impl Fn(T) -> I + Send + Sync + 'static) -> Stream<I::Item, Timing>
    where
        I: IntoIterator<Item: Record, IntoIter: Send + 'static> + 'static,
    {
        let function = Arc::new(move |record: T| -> Result<I, BoxError> { Ok(function(record)) });
        self.stage("flat_map", move || FlatMap::<T, I, _>::new(Arc::clone(&function), Timing::TIMING))
    }

    /// As `flat_map`, with a function that can fail: an error fails the attempt, with the record's timestamp.
    pub fn try_flat_map<I>(
        self,
        function: impl Fn(T) -> Result<I, BoxError> + Send + Sync + 'static,
    ) -> Stream<I::Item, Timing>
    where
        I: IntoIterator<Item: Record, IntoIter: Send + 'static> + 'static,
    {
        let function = Arc::new(function);
        self.stage("try_flat_map", move || FlatMap::<T, I, _>::new(Arc::clone(&function), Timing::TIMING))
    }
}

struct FlatMap<T, I: IntoIterator, F> {
    function: Arc<F>,
    timing: OutputTiming,
    input: Option<Taken<T>>,
    /// What the record taken last still gives.
    giving: Option<I::IntoIter>,
    failed_at: Option<Timestamp>,
    types: PhantomData<fn() -> I>,
}

/// A batch that is being used up.
struct Taken<T> {
    batch: Batch<()>,
    records: std::vec::IntoIter<T>,
    len: usize,
    /// Watermarks passed on.
    passed: usize,
}

impl<T> Taken<T> {
    fn new(batch: Batch<T>) -> Self {
        let len = batch.records.len();
        let columns =
            Batch { timestamps: batch.timestamps, watermarks: batch.watermarks, ..Batch::default() };
        Self { batch: columns, records: batch.records.into_iter(), len, passed: 0 }
    }

    /// Records taken.
    fn cursor(&self) -> usize {
        self.len - self.records.len()
    }

    /// Timestamp of the record taken last.
    fn timestamp(&self) -> Timestamp {
        self.batch.timestamp(self.cursor().saturating_sub(1))
    }

    /// The next watermark, if it stands where the cursor is.
    fn due_watermark(&mut self) -> Option<Timestamp> {
        let at = self.batch.watermarks.get(self.passed)?;
        if at.offset > self.cursor() {
            return None;
        }
        self.passed += 1;
        Some(at.watermark)
    }
}

impl<T, I: IntoIterator, F> FlatMap<T, I, F> {
    fn new(function: Arc<F>, timing: OutputTiming) -> Self {
        Self { function, timing, input: None, giving: None, failed_at: None, types: PhantomData }
    }
}

impl<T: Record, I, F> FlatMap<T, I, F>
where
    I: IntoIterator<Item: Record>,
    F: Fn(T) -> Result<I, BoxError>,
{
    /// Fills `out` up to its limit. Returns whether the input is used up.
    fn fill(&mut self, out: &mut Batch<I::Item>) -> Result<Progress> {
        let Some(input) = &mut self.input else { return Ok(Progress::Done) };
        loop {
            if let Some(giving) = &mut self.giving {
                let room = OUTPUT_RECORDS_MAX.saturating_sub(out.records.len());
                out.records.extend(giving.by_ref().take(room));
                if self.timing == OutputTiming::Timed {
                    out.timestamps.resize(out.records.len(), input.timestamp());
                }
                if out.records.len() >= OUTPUT_RECORDS_MAX {
                    return Ok(Progress::More);
                }
                self.giving = None;
            }
            while let Some(watermark) = input.due_watermark() {
                out.push_watermark(watermark);
            }
            let Some(record) = input.records.next() else { return Ok(Progress::Done) };
            self.failed_at = input.batch.timestamps.get(input.cursor() - 1).copied();
            self.giving = Some((self.function)(record)?.into_iter());
        }
    }
}

impl<T: Record, I, F> Stage for FlatMap<T, I, F>
where
    I: IntoIterator<Item: Record, IntoIter: Send + 'static>,
    F: Fn(T) -> Result<I, BoxError> + Send + Sync,
{
    fn accept(&mut self, batch: ErasedBatch) {
        self.input = Some(Taken::new(batch.into_typed()));
    }

    fn run(&mut self, _cx: &mut StepContext<'_>) -> Result<(Option<ErasedBatch>, Progress)> {
        let mut out = Batch::default();
        let progress = self.fill(&mut out)?;
        self.failed_at = None;
        if progress == Progress::Done {
            self.input = None;
        }
        Ok(((!out.is_empty()).then(|| ErasedBatch::new(out)), progress))
    }

    fn is_pending(&self) -> bool {
        self.input.is_some()
    }

    fn current_timestamp(&self) -> Option<Timestamp> {
        self.failed_at
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate_runtime::time::Clock;

    #[test]
    fn it_stops_in_the_middle_of_one_record_and_watermarks_stay_behind_all_that_it_gives() {
        let many = |n: usize| Ok(vec![n; n]);
        let mut stage = FlatMap::<usize, Vec<usize>, _>::new(Arc::new(many), OutputTiming::Timed);
        let mut batch = Batch { records: vec![2_usize, 2_500, 0, 1], ..Batch::default() };
        batch.timestamps = [10, 11, 12, 13].map(Timestamp).into();
        batch.watermarks = [(0, 5), (2, 7), (3, 8), (4, 9)]
            .map(|(offset, at)| tidegate_runtime::element::WatermarkAt { offset, watermark: Timestamp(at) })
            .into();
        stage.accept(ErasedBatch::new(batch));
        let clock = Clock::manual(Timestamp(0));
        let mut cx = StepContext { clock: &clock, watermark: Timestamp::MIN };
        let (mut seen, mut marks, mut batches) = (Vec::new(), Vec::new(), 0);
        while stage.is_pending() {
            let (out, _) = stage.run(&mut cx).expect("the function can't fail");
            let out: Batch<usize> = out.map(ErasedBatch::into_typed).unwrap_or_default();
            assert!(out.len() <= OUTPUT_RECORDS_MAX);
            let before = seen.len();
            marks.extend(out.watermarks.iter().map(|at| (before + at.offset, at.watermark.0)));
            seen.extend(out.records.into_iter().zip(out.timestamps.iter().map(|at| at.0)));
            batches += 1;
        }
        let mut expected = vec![(2, 10); 2];
        expected.extend(vec![(2_500, 11); 2_500]);
        expected.push((1, 13));
        assert_eq!(seen, expected);
        assert_eq!(marks, [(0, 5), (2_502, 8), (2_503, 9)]);
        assert!(batches >= 3);
    }
}

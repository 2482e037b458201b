//! A sink that looks at its records, or adds them up when results are compared, and keeps nothing.

use std::hint::black_box;
use std::marker::PhantomData;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tidegate::runtime::element::Batch;
use tidegate::runtime::id::CheckpointId;
use tidegate::runtime::sink::{PrepareJob, Sink, SinkContext, SinkWriter};
use tidegate::runtime::{Record, Result};

use crate::stopwatch::Stopwatch;

/// What is done with results.
pub(crate) enum Check<O> {
    /// Nothing.
    Off,
    /// The sum of these; it does not depend on the order.
    Sum(fn(&O) -> u64),
}

impl<O> Clone for Check<O> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<O> Copy for Check<O> {}

impl<O> Check<O> {
    /// The sum over a slice.
    pub(crate) fn sum(self, records: &[O]) -> u64 {
        match self {
            Check::Off => 0,
            Check::Sum(of) => records.iter().fold(0, |sum: u64, record| sum.wrapping_add(of(record))),
        }
    }
}

/// See the module.
pub(crate) struct Measured<O> {
    pub(crate) stopwatch: Arc<Stopwatch>,
    pub(crate) check: Check<O>,
    pub(crate) sum: Arc<AtomicU64>,
    pub(crate) types: PhantomData<fn(O)>,
}

impl<O> Clone for Measured<O> {
    fn clone(&self) -> Self {
        let (stopwatch, sum) = (Arc::clone(&self.stopwatch), Arc::clone(&self.sum));
        Self { stopwatch, check: self.check, sum, types: PhantomData }
    }
}

impl<O: Record> Sink for Measured<O> {
    type Record = O;
    type Writer = MeasuredWriter<O>;

    fn writer(&self, _cx: &SinkContext, _state: &[Vec<u8>]) -> Result<MeasuredWriter<O>> {
        Ok(MeasuredWriter(self.clone()))
    }

    fn identity(&self) -> Vec<(String, String)> {
        Vec::new()
    }
}

/// One subtask's half.
pub(crate) struct MeasuredWriter<O>(Measured<O>);

impl<O: Record> SinkWriter for MeasuredWriter<O> {
    type Record = O;

    fn write(&mut self, batch: &mut Batch<O>, range: Range<usize>) -> Result<()> {
        let records = black_box(&batch.records[range]);
        if let Check::Sum(_) = self.0.check {
            self.0.sum.fetch_add(self.0.check.sum(records), Ordering::Relaxed);
        }
        self.0.stopwatch.lap();
        Ok(())
    }

    fn freeze(&mut self, _checkpoint: CheckpointId) -> Result<(Vec<u8>, Option<PrepareJob>)> {
        Ok((Vec::new(), None))
    }
}

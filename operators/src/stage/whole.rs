//! The stage of a function from one batch to one batch.

use tidegate_runtime::element::{Batch, ErasedBatch, Record};
use tidegate_runtime::error::Result;
use tidegate_runtime::operator::{FlushReason, Progress, Stage, StageContext, StepContext};
use tidegate_runtime::time::Timestamp;

/// Turns a batch into one that is not longer.
pub(crate) trait BatchFunction: Send {
    type In: Record;
    type Out: Record;

    fn apply(&mut self, batch: Batch<Self::In>) -> Result<Batch<Self::Out>>;

    fn open(&mut self, _cx: &StageContext) {}

    /// A batch is about to be worked on.
    fn begin(&mut self) {}

    fn flush(&mut self, _reason: FlushReason, _cx: &StepContext<'_>) -> Option<Batch<Self::Out>> {
        None
    }

    fn next_processing_time(&self) -> Option<Timestamp> {
        None
    }

    fn is_idle(&self) -> bool {
        false
    }

    /// Timestamp of the record that a call failed or panicked at.
    fn failed_timestamp(&self) -> Option<Timestamp> {
        None
    }
}

pub(crate) struct Whole<F: BatchFunction> {
    function: F,
    batch: Option<ErasedBatch>,
}

impl<F: BatchFunction> Whole<F> {
    pub(crate) fn new(function: F) -> Self {
        Self { function, batch: None }
    }
}

impl<F: BatchFunction> Stage for Whole<F> {
    fn open(&mut self, cx: &StageContext) {
        self.function.open(cx);
    }

    fn accept(&mut self, batch: ErasedBatch) {
        self.batch = Some(batch);
    }

    fn run(&mut self, _cx: &mut StepContext<'_>) -> Result<(Option<ErasedBatch>, Progress)> {
        let Some(batch) = self.batch.take() else { return Ok((None, Progress::Done)) };
        self.function.begin();
        let out = self.function.apply(batch.into_typed())?;
        Ok(((!out.is_empty()).then(|| ErasedBatch::new(out)), Progress::Done))
    }

    fn is_pending(&self) -> bool {
        self.batch.is_some()
    }

    fn flush(&mut self, reason: FlushReason, cx: &mut StepContext<'_>) -> Result<Option<ErasedBatch>> {
        Ok(self.function.flush(reason, cx).filter(|out| !out.is_empty()).map(ErasedBatch::new))
    }

    fn next_processing_time(&self) -> Option<Timestamp> {
        self.function.next_processing_time()
    }

    fn is_idle(&self) -> bool {
        self.function.is_idle()
    }

    fn current_timestamp(&self) -> Option<Timestamp> {
        self.function.failed_timestamp()
    }
}

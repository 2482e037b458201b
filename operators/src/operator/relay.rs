//! Passes records on: what stands behind an explicit partitioning, for stages to be fused to.

use tidegate_runtime::element::{ErasedBatch, Record};
use tidegate_runtime::error::Result;
use tidegate_runtime::operator::{OpenContext, Operator, Progress, StepContext};
use tidegate_runtime::output::{Output, Timing};
use tidegate_runtime::time::Timestamp;

use super::input::Input;

pub(crate) struct Relay<T: Record> {
    input: Input<T>,
    output: Output<T>,
}

impl<T: Record> Relay<T> {
    pub(crate) fn new(timing: Timing) -> Self {
        Self { input: Input::default(), output: Output::new(timing) }
    }
}

impl<T: Record> Operator for Relay<T> {
    fn open(&mut self, _cx: &mut OpenContext<'_>) -> Result<()> {
        Ok(())
    }

    fn accept(&mut self, _port: usize, batch: ErasedBatch) {
        self.input.accept(batch);
    }

    fn process(&mut self, until: usize, _cx: &mut StepContext<'_>) -> Result<usize> {
        let range = self.input.cursor()..until;
        let output = self.output.batch_mut();
        output.records.extend(self.input.records.by_ref().take(range.len()));
        if let Some(timestamps) = self.input.timestamps.get(range) {
            output.timestamps.extend_from_slice(timestamps);
        }
        Ok(until)
    }

    fn on_watermark(&mut self, watermark: Timestamp, _cx: &mut StepContext<'_>) -> Result<Progress> {
        self.output.push_watermark(watermark);
        Ok(Progress::Done)
    }

    fn outputs(&self) -> usize {
        1
    }

    fn take_output(&mut self, _port: usize) -> Option<ErasedBatch> {
        self.output.take()
    }
}

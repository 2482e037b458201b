//! `event_time`: reads timestamps off records and makes watermarks of them.

use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use tidegate_runtime::element::{Batch, Record};
use tidegate_runtime::error::Result;
use tidegate_runtime::metrics::SubtaskStatus;
use tidegate_runtime::operator::{FlushReason, StageContext, StepContext};
use tidegate_runtime::time::Timestamp;
use tidegate_runtime::time::watermark::{Generation, WatermarkGenerator, WatermarkStrategy};

use super::whole::{BatchFunction, Whole};
use crate::event_time::{Time, Timed};
use crate::stream::Stream;

impl<T: Record, Timing: Time> Stream<T, Timing> {
    /// Gives each record its event time (milliseconds, or anything that turns into a `Timestamp`), and the stream
    /// watermarks by a strategy. Records that are more out of order than a bounded strategy allows are counted.
    ///
    /// At the end of the input the watermark is `Timestamp::MAX`: everything fires.
    ///
    /// ```
    /// # use tidegate_operators::{Dataflow, WatermarkStrategy, seconds, testing::numbers};
    /// let flow = Dataflow::new("timed");
    /// flow.source("numbers", numbers(0..10))
    ///     .event_time(WatermarkStrategy::bounded_out_of_orderness(seconds(10)), |n| *n as i64)
    ///     .print();
    /// # flow.explain()?;
    /// # Ok::<(), tidegate_runtime::Error>(())
    /// ```
    pub fn event_time<At: Into<Timestamp>>(
        self,
        strategy: WatermarkStrategy<T>,
        timestamp: impl Fn(&T) -> At + Send + Sync + 'static,
    ) -> Stream<T, Timed> {
        let read = Arc::new(move |record: &T| timestamp(record).into());
        self.stage("event_time", move || Whole::new(EventTime::new(&strategy, Arc::clone(&read))))
    }
}

struct EventTime<T, F> {
    read: Arc<F>,
    timestamps: Vec<Timestamp>,
    making: Making<T>,
    /// The watermark that was emitted last.
    emitted: Timestamp,
    idleness: Option<Idleness>,
    status: Option<Arc<SubtaskStatus>>,
    types: PhantomData<fn(T)>,
}

enum Making<T> {
    Bounded { bound: Duration, highest: Timestamp },
    None,
    Custom(Box<dyn WatermarkGenerator<T>>),
}

/// When a subtask that has nothing to do counts as idle. Time under back pressure doesn't count: then it has.
struct Idleness {
    after: Duration,
    parked_at: Option<Timestamp>,
    is_idle: bool,
}

impl<T: Record, F> EventTime<T, F> {
    fn new(strategy: &WatermarkStrategy<T>, read: Arc<F>) -> Self {
        let making = match strategy.generation() {
            Generation::Bounded(bound) => Making::Bounded { bound, highest: Timestamp::MIN },
            Generation::None => Making::None,
            Generation::Custom(generator) => Making::Custom(generator),
        };
        let idleness = strategy.idle_after().map(|after| Idleness { after, parked_at: None, is_idle: false });
        Self {
            read,
            timestamps: Vec::new(),
            making,
            emitted: Timestamp::MIN,
            idleness,
            status: None,
            types: PhantomData,
        }
    }

    fn show_watermark(&self) {
        if let Some(status) = &self.status {
            status.set_emitted_watermark(self.emitted);
        }
    }

    /// Makes the watermarks of a batch that is not empty.
    fn mark(&mut self, span: (Timestamp, Timestamp), batch: &mut Batch<T>) {
        match &mut self.making {
            Making::None => {}
            Making::Bounded { bound, highest } => {
                let disordered = disordered(&self.timestamps, span, *bound, highest);
                if let Some(status) = self.status.as_ref().filter(|_| disordered > 0) {
                    status.disordered_records.add(disordered);
                }
                emit(&mut self.emitted, before(*highest - *bound), batch);
            }
            Making::Custom(generator) => {
                let mut marks = Batch::<()>::default();
                for (record, at) in batch.records.iter().zip(&self.timestamps) {
                    marks.records.push(());
                    if let Some(watermark) = generator.on_record(record, *at) {
                        emit(&mut self.emitted, watermark, &mut marks);
                    }
                }
                if let Some(watermark) = generator.on_period() {
                    emit(&mut self.emitted, watermark, &mut marks);
                }
                batch.watermarks = marks.watermarks;
            }
        }
    }
}

/// Appends a watermark if it is higher than the last one.
fn emit<R>(emitted: &mut Timestamp, watermark: Timestamp, batch: &mut Batch<R>) {
    if watermark > *emitted {
        *emitted = watermark;
        batch.push_watermark(watermark);
    }
}
/// The lowest and the highest.
fn span(timestamps: &[Timestamp]) -> Option<(Timestamp, Timestamp)> {
    let first = *timestamps.first()?;
    Some(timestamps.iter().fold((first, first), |(low, high), at| (low.min(*at), high.max(*at))))
}

/// How many of a batch's timestamps are more than `bound` below the highest before them; raises that.
fn disordered(
    timestamps: &[Timestamp],
    (low, high): (Timestamp, Timestamp),
    bound: Duration,
    highest: &mut Timestamp,
) -> u64 {
    let before = *highest;
    *highest = before.max(high);
    // Nearly always none is: the lowest and the highest of the batch show it, or that they are in order.
    if low >= *highest - bound || (low >= before - bound && timestamps.is_sorted()) {
        return 0;
    }
    let mut highest = before;
    let below = timestamps.iter().filter(|at| {
        let is_below = **at < highest - bound;
        highest = highest.max(**at);
        is_below
    });
    below.count() as u64
}

/// One before, saturating: the watermark says that nothing at or below it is expected.
fn before(timestamp: Timestamp) -> Timestamp {
    Timestamp(timestamp.0.saturating_sub(1))
}

impl<T: Record, F: Fn(&T) -> Timestamp + Send + Sync> BatchFunction for EventTime<T, F> {
    type In = T;
    type Out = T;

    fn open(&mut self, cx: &StageContext) {
        self.status = Some(Arc::clone(&cx.status));
        if let Some(idleness) = &mut self.idleness {
            idleness.parked_at = Some(cx.clock.now());
        }
    }

    fn apply(&mut self, mut batch: Batch<T>) -> Result<Batch<T>> {
        batch.watermarks.clear();
        if let Some(idleness) = self.idleness.as_mut().filter(|_| !batch.records.is_empty()) {
            (idleness.parked_at, idleness.is_idle) = (None, false);
        }
        // Those of an earlier `event_time` are replaced: their vector is used again.
        self.timestamps.clear();
        let read = &*self.read;
        self.timestamps.extend(batch.records.iter().map(read));
        if let Some(span) = span(&self.timestamps) {
            if let Some(status) = &self.status {
                status.raise_event_time(span.1);
            }
            self.mark(span, &mut batch);
        }
        batch.timestamps = std::mem::take(&mut self.timestamps);
        self.show_watermark();
        Ok(batch)
    }

    fn flush(&mut self, reason: FlushReason, cx: &StepContext<'_>) -> Option<Batch<T>> {
        let mut batch = Batch::default();
        match reason {
            FlushReason::Barrier => {}
            FlushReason::End => {
                if let Some(idleness) = &mut self.idleness {
                    (idleness.parked_at, idleness.is_idle) = (None, false);
                }
                emit(&mut self.emitted, Timestamp::MAX, &mut batch);
            }
            FlushReason::Park => {
                if let Making::Custom(generator) = &mut self.making
                    && let Some(watermark) = generator.on_period()
                {
                    emit(&mut self.emitted, watermark, &mut batch);
                }
                if let Some(idleness) = self.idleness.as_mut().filter(|idleness| !idleness.is_idle) {
                    idleness.parked_at.get_or_insert_with(|| cx.clock.now());
                }
            }
            FlushReason::Time => {
                if let Some(idleness) = &mut self.idleness
                    && idleness.parked_at.is_some_and(|at| at + idleness.after <= cx.clock.now())
                {
                    (idleness.parked_at, idleness.is_idle) = (None, true);
                }
            }
        }
        self.show_watermark();
        Some(batch)
    }

    fn next_processing_time(&self) -> Option<Timestamp> {
        let idleness = self.idleness.as_ref()?;
        idleness.parked_at.map(|at| at + idleness.after)
    }

    fn is_idle(&self) -> bool {
        self.idleness.as_ref().is_some_and(|idleness| idleness.is_idle)
    }
}

#[cfg(test)]
mod tests;

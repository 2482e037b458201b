//! The stage between `key_by` and the exchange that adds up.

use std::sync::Arc;
use std::time::Duration;
use std::vec::IntoIter;

use tidegate_runtime::element::{Batch, ErasedBatch};
use tidegate_runtime::error::Result;
use tidegate_runtime::key::KeyHash;
use tidegate_runtime::operator::{FlushReason, Progress, Stage, StepContext};
use tidegate_runtime::output::OUTPUT_RECORDS_MAX;
use tidegate_runtime::time::Timestamp;

use super::grouping::{Divides, Grouping, Span};
use super::pace::{Pace, Treatment};
use super::partial::Partial;
use super::round::{Open, Round, spread};
use crate::key::KeyFunction;
use crate::window::function::WindowFunction;

type PartialOf<F> =
    Partial<<F as WindowFunction>::Key, <F as WindowFunction>::In, <F as WindowFunction>::Acc>;

/// Records of a round. Twice as many would be added up to only a little less, as most keys that come again do so soon.
const RECORDS_MAX: usize = 8 * 1_024;
/// How long a round is held back at most while there is more input, so that a slow producer's results are not late.
const HELD_MAX: Duration = Duration::from_millis(1);

/// Adds up the records of each key and group. A partial stands where its first record stood, so no record moves behind
/// a watermark, and those of a key stay in order.
pub(crate) struct Combine<F: WindowFunction, G> {
    function: Arc<F>,
    key: Arc<dyn KeyFunction<F::Key, F::In>>,
    grouping: G,
    pace: Pace,
    round: Round<F::Key, F::Acc>,
    /// When the round began, by the clock's measure.
    began: Duration,
    batch: Option<ErasedBatch>,
    /// Of the batch's records.
    keys: Vec<F::Key>,
    /// Of the batch's records; none when they are added up.
    timestamps: Vec<Timestamp>,
    /// Of the batch, those left.
    records: IntoIter<F::In>,
}

impl<F: WindowFunction, G: Grouping> Combine<F, G> {
    pub(crate) fn new(function: Arc<F>, key: Arc<dyn KeyFunction<F::Key, F::In>>, grouping: G) -> Self {
        Self {
            function,
            key,
            grouping,
            pace: Pace::default(),
            round: Round::default(),
            began: Duration::ZERO,
            batch: None,
            keys: Vec::new(),
            timestamps: Vec::new(),
            records: Vec::new().into_iter(),
        }
    }

    /// Adds a batch to the round.
    fn add_up(&mut self, batch: Batch<F::In>) {
        let total = batch.records.len();
        self.round.expect(total);
        self.keys.clear();
        self.records = batch.records.into_iter();
        self.key.extract(self.records.as_slice(), &mut self.keys);
        for mark in batch.watermarks {
            self.add_stretch(mark.offset, &batch.hashes);
            self.round.push_watermark(mark.watermark);
            if self.grouping.on_watermark(mark.watermark.0) == Divides::Yes {
                self.round.close();
            }
        }
        self.add_stretch(total, &batch.hashes);
        self.timestamps.clear();
    }

    /// Adds the records up to a position, between which there is no watermark.
    fn add_stretch(&mut self, until: usize, hashes: &[KeyHash]) {
        let from = self.timestamps.len() - self.records.len();
        let Self { function, grouping, round, keys, timestamps, records, .. } = self;
        let columns = hashes[from..until].iter().zip(&timestamps[from..until]).zip(&keys[from..until]);
        for ((hash, Timestamp(timestamp)), key) in columns {
            let record = records.next().expect("I2: every record of a keyed edge has its hash");
            let Some(pane) = grouping.pane(*timestamp) else { continue };
            let spread = spread(*hash, pane);
            let place = round.find(spread, key);
            if let Some(position) = place.found {
                let (open, since) = round.partial(position);
                if grouping.grow(&mut open.span, *timestamp, since) {
                    function.add(&mut open.acc, record);
                    open.records += 1;
                    continue;
                }
            }
            let span = Span { pane, start: *timestamp, last: *timestamp };
            let acc = function.begin(record);
            round.begin(&place, Open { spread, key: key.clone(), span, records: 1, acc });
        }
    }

    fn pass(&mut self, batch: Batch<F::In>) -> Batch<PartialOf<F>> {
        if let Some(last) = batch.watermarks.last() {
            self.grouping.on_watermark(last.watermark.0);
        }
        Batch {
            records: batch.records.into_iter().map(Partial::Record).collect(),
            timestamps: std::mem::take(&mut self.timestamps),
            hashes: batch.hashes,
            watermarks: batch.watermarks,
        }
    }

    /// Whether what there is of the round must go.
    fn is_over(&self, cx: &StepContext<'_>) -> bool {
        self.round.partials() >= OUTPUT_RECORDS_MAX
            || self.round.records() >= RECORDS_MAX
            || cx.clock.elapsed().saturating_sub(self.began) >= HELD_MAX
    }

    fn end_round(&mut self) -> Option<ErasedBatch> {
        if self.round.is_empty() {
            return None;
        }
        self.pace.learn(self.round.records(), self.round.partials());
        let out: Batch<PartialOf<F>> = self.round.take();
        (!out.is_empty()).then(|| ErasedBatch::new(out))
    }
}

impl<F: WindowFunction, G: Grouping> Stage for Combine<F, G> {
    fn accept(&mut self, batch: ErasedBatch) {
        self.batch = Some(batch);
    }

    fn run(&mut self, cx: &mut StepContext<'_>) -> Result<(Option<ErasedBatch>, Progress)> {
        let Some(batch) = self.batch.take() else { return Ok((None, Progress::Done)) };
        let mut batch: Batch<F::In> = batch.into_typed();
        self.timestamps = std::mem::take(&mut batch.timestamps);
        if self.round.is_empty() {
            if self.pace.next() == Treatment::Pass {
                return Ok((Some(ErasedBatch::new(self.pass(batch))), Progress::Done));
            }
            self.began = cx.clock.elapsed();
        }
        self.add_up(batch);
        let out = if self.is_over(cx) { self.end_round() } else { None };
        Ok((out, Progress::Done))
    }

    fn is_pending(&self) -> bool {
        self.batch.is_some()
    }

    fn flush(&mut self, reason: FlushReason, _cx: &mut StepContext<'_>) -> Result<Option<ErasedBatch>> {
        Ok(match reason {
            FlushReason::Barrier | FlushReason::End | FlushReason::Park => self.end_round(),
            FlushReason::Time => None,
        })
    }

    fn current_timestamp(&self) -> Option<Timestamp> {
        let taken = self.timestamps.len() - self.records.len().min(self.timestamps.len());
        self.timestamps.get(taken.saturating_sub(1)).copied()
    }
}

//! Windows whose records are added up before the exchange: their results are those of records one by one.

use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use tidegate_runtime::element::{Batch, ErasedBatch};
use tidegate_runtime::graph::Graph;
use tidegate_runtime::key::hash_key;
use tidegate_runtime::operator::{FlushReason, Stage, StageFactory, StepContext};
use tidegate_runtime::time::Clock;

use super::{Emitted, Event, Ids, Step, keyed, legal, plain, session_model, steps, window_model};
use crate::testing::{Harness, operator_of, stage_of};
use crate::window::combine::Partial;
use crate::{Dataflow, Session, Sliding, Timestamp, millis};

type Part = Partial<u8, Event, Vec<usize>>;

/// A stage in front of the exchange, and the watermark that it sent last.
struct Producer {
    stage: Box<dyn Stage>,
    batch: Batch<Event>,
    watermark: Timestamp,
}

/// Producers and the operator that they send to.
struct Flow {
    make: StageFactory,
    producers: Vec<Producer>,
    harness: Harness,
    clock: Clock,
    /// Partials of more than one record, and records.
    sums: usize,
    sent: usize,
}

impl Flow {
    fn new(graph: &Graph, producers: usize) -> Self {
        let make = stage_of(graph, "pre-aggregate");
        let harness = Harness::new(operator_of(graph, "op")).expect("it opens");
        let producer = |_| Producer { stage: make(), batch: Batch::default(), watermark: Timestamp::MIN };
        let producers = (0..producers).map(producer).collect();
        Self {
            make: Arc::clone(&make),
            producers,
            harness,
            clock: Clock::manual(Timestamp(0)),
            sums: 0,
            sent: 0,
        }
    }

    /// Ends the batch of a producer.
    fn cut(&mut self, at: usize) {
        let mut cx = StepContext { clock: &self.clock, watermark: Timestamp::MIN };
        let producer = &mut self.producers[at];
        producer.stage.accept(ErasedBatch::new(std::mem::take(&mut producer.batch)));
        let (out, _) = producer.stage.run(&mut cx).expect("it adds up");
        self.send(at, out);
    }

    /// Ends the batch of a producer, and what it holds back with it.
    fn flush(&mut self, at: usize, reason: FlushReason) {
        self.cut(at);
        let mut cx = StepContext { clock: &self.clock, watermark: Timestamp::MIN };
        let out = self.producers[at].stage.flush(reason, &mut cx).expect("it adds up");
        self.send(at, out);
    }

    /// The operator's watermark is the least of the producers'.
    fn send(&mut self, at: usize, out: Option<ErasedBatch>) {
        let Some(out) = out else { return };
        let mut out: Batch<Part> = out.into_typed();
        let is_sum = |part: &&Part| matches!(part, Partial::Sum(sum) if sum.records > 1);
        self.sums += out.records.iter().filter(is_sum).count();
        self.sent += out.records.len();
        for mark in &mut out.watermarks {
            self.producers[at].watermark = mark.watermark;
            let least = self.producers.iter().map(|producer| producer.watermark).min();
            mark.watermark = least.expect("there is a producer");
        }
        self.harness.feed_batch(0, ErasedBatch::new(out)).expect("it merges");
    }

    fn flush_all(&mut self, reason: FlushReason) {
        (0..self.producers.len()).for_each(|at| self.flush(at, reason));
    }

    fn run(mut self, steps: &[Step]) -> Self {
        let producers = self.producers.len();
        for (id, step) in steps.iter().enumerate() {
            match step {
                Step::Record { key, at, value, port } => {
                    let batch = &mut self.producers[port % producers].batch;
                    batch.records.push(Event { key: *key, id, value: *value });
                    batch.timestamps.push(Timestamp(*at));
                    batch.hashes.push(hash_key(key));
                }
                Step::Watermark(at) => {
                    self.producers
                        .iter_mut()
                        .for_each(|producer| producer.batch.push_watermark(Timestamp(*at)));
                }
                Step::Cut if id % 3 == 0 => self.flush(id % producers, FlushReason::Park),
                Step::Cut => self.cut(id % producers),
                Step::Restart => {
                    self.flush_all(FlushReason::Barrier);
                    self.harness.restart().expect("it restarts");
                    for producer in &mut self.producers {
                        producer.stage = (self.make)();
                        producer.batch.push_watermark(producer.watermark);
                    }
                }
            }
        }
        self.producers.iter_mut().for_each(|producer| producer.batch.push_watermark(Timestamp::MAX));
        self.flush_all(FlushReason::End);
        self
    }

    fn late(&self) -> usize {
        self.harness.status().late_records.get() as usize
    }

    /// What was emitted, without order.
    fn take<U: tidegate_runtime::Record + std::fmt::Debug>(&mut self) -> Emitted {
        let all = self.harness.take::<U>(0);
        sorted(all.into_iter().map(|(record, at)| (format!("{record:?}"), at)).collect())
    }
}

fn sorted(mut emitted: Emitted) -> Emitted {
    emitted.sort();
    emitted
}

/// Steps whose watermarks rise, as those of a producer do.
fn rising(steps: &[Step]) -> Vec<Step> {
    let mut watermark = i64::MIN;
    let rise = |step: &Step| match step {
        Step::Watermark(at) => {
            watermark = watermark.max(*at);
            Step::Watermark(watermark)
        }
        other => other.clone(),
    };
    steps.iter().map(rise).collect()
}

fn sliding(size: i64, slide: i64) -> Graph {
    let flow = Dataflow::new("laws");
    let windows = Sliding::of(millis(size as u64)).every(millis(slide as u64));
    let _ = keyed(&flow)
        .window(windows)
        .aggregate_then("op", Ids, |key, window, ids| Some((*key, window.start.0, ids)));
    flow.graph()
}

fn sessions(gap: i64) -> Graph {
    let flow = Dataflow::new("laws");
    let _ = keyed(&flow).window(Session::with_gap(millis(gap as u64))).aggregate_then(
        "op",
        Ids,
        |key, window, ids| Some((*key, window.start.0, window.end.0, ids)),
    );
    flow.graph()
}

fn records(steps: &[Step]) -> usize {
    steps.iter().filter(|step| matches!(step, Step::Record { .. })).count()
}

type Window = (u8, i64, Vec<usize>);
type Found = (u8, i64, i64, Vec<usize>);

#[test]
fn records_of_one_key_and_slice_become_one_partial_at_the_place_of_the_first() {
    let record = |key, at| Step::Record { key, at, value: 0, port: 0 };
    let steps = [
        Step::Watermark(1),
        record(1, 3),
        record(2, 4),
        record(1, 5),
        Step::Watermark(2),
        record(1, 1),
        record(1, 11),
        record(2, 1),
    ];
    let mut flow = Flow::new(&sliding(20, 10), 1).run(&steps);
    assert_eq!((flow.sent, flow.sums), (3, 2));
    // In the order of hashes.
    let expected = [((2, -10, vec![2, 7]), 9), ((1, -10, vec![1, 3, 5]), 9)];
    assert_eq!(flow.harness.take::<Window>(0)[..2], expected);
    // A watermark that closes a window of the slice divides.
    let steps = [record(1, 3), record(1, 5), Step::Watermark(9), record(1, 6), record(1, 7)];
    let mut flow = Flow::new(&sliding(20, 10), 1).run(&steps);
    assert_eq!((flow.sent, flow.sums), (2, 2));
    assert_eq!(flow.take::<Window>(), sorted(window_model(&steps, 20, 10).0));
}

#[test]
fn a_record_is_not_moved_ahead_into_a_session_that_fired_before_it() {
    let record = |at| Step::Record { key: 1, at, value: 0, port: 0 };
    let steps = [record(0), record(0), Step::Cut, record(15), Step::Watermark(9), record(8)];
    let mut flow = Flow::new(&sessions(10), 1).run(&steps);
    assert_eq!(flow.take::<Found>(), sorted(session_model(&steps, 10).0));
}

#[test]
fn many_slices_of_one_key_in_one_batch_stay_apart() {
    let steps: Vec<Step> =
        (0..1_200).map(|at| Step::Record { key: 1, at: at % 600, value: 0, port: 0 }).collect();
    let mut flow = Flow::new(&sliding(1, 1), 1).run(&steps);
    assert_eq!((flow.sent, flow.sums), (600, 600));
    assert_eq!(flow.take::<Window>(), sorted(window_model(&steps, 1, 1).0));
    // More than are found again.
    let steps: Vec<Step> =
        (0..6_000).map(|at| Step::Record { key: 1, at: at % 3_000, value: 0, port: 0 }).collect();
    let mut flow = Flow::new(&sliding(1, 1), 1).run(&steps);
    assert_eq!(flow.take::<Window>(), sorted(window_model(&steps, 1, 1).0));
}

#[test]
fn batches_of_many_keys_pass_as_they_are() {
    let mut flow = Flow::new(&sliding(20, 10), 1);
    for batch in 0..33u8 {
        for id in 0..4u8 {
            // Two of the four have one key.
            let key = id.max(1);
            flow.producers[0].batch.records.push(Event { key, id: usize::from(batch), value: 0 });
            flow.producers[0].batch.timestamps.push(Timestamp(1));
            flow.producers[0].batch.hashes.push(hash_key(&key));
        }
        flow.flush(0, FlushReason::Park);
    }
    assert_eq!((flow.sent, flow.sums), (2 * 3 + 31 * 4, 2));
}

#[test]
fn batches_are_added_up_together_until_they_are_many_or_old_or_a_barrier_comes() {
    let mut flow = Flow::new(&sliding(20, 10), 1);
    let cut = |flow: &mut Flow, records: usize| {
        let batch = &mut flow.producers[0].batch;
        for id in 0..records {
            batch.records.push(Event { key: (id % 2) as u8, id, value: 0 });
            batch.timestamps.push(Timestamp(1));
            batch.hashes.push(hash_key(&((id % 2) as u8)));
        }
        batch.push_watermark(Timestamp(1));
        flow.cut(0);
        std::mem::take(&mut flow.sent)
    };
    // What comes before the first watermark is divided from what comes after.
    cut(&mut flow, 0);
    flow.flush(0, FlushReason::Park);
    assert_eq!((cut(&mut flow, 4_000), cut(&mut flow, 4_000), cut(&mut flow, 1_000)), (0, 0, 2));
    assert_eq!(cut(&mut flow, 1_000), 0);
    flow.clock.advance(Duration::from_millis(1));
    assert_eq!((cut(&mut flow, 1_000), cut(&mut flow, 1_000)), (2, 0));
    flow.flush(0, FlushReason::Time);
    assert_eq!(flow.sent, 0);
    flow.flush(0, FlushReason::Barrier);
    assert_eq!(flow.sent, 2);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn sliding_windows_of_one_producer_are_those_of_a_model(steps in steps(), size in 1i64..60, slide in 1i64..60) {
        let steps = rising(&steps);
        let mut flow = Flow::new(&sliding(size, slide), 1).run(&steps);
        let (expected, late) = window_model(&steps, size, slide);
        prop_assert_eq!(flow.take::<Window>(), sorted(expected));
        prop_assert!(slide > size || flow.late() == late.len());
        prop_assert_eq!(flow.harness.state_rows().expect("a checkpoint"), 0, "fired windows leave no state (case 55)");
    }

    #[test]
    fn sessions_of_one_producer_are_those_of_a_model(steps in steps(), gap in 1i64..40) {
        let steps = rising(&steps);
        let mut flow = Flow::new(&sessions(gap), 1).run(&steps);
        let (expected, late) = session_model(&steps, gap);
        prop_assert_eq!(flow.take::<Found>(), sorted(expected));
        prop_assert_eq!(flow.late(), late.len());
        prop_assert_eq!(flow.harness.state_rows().expect("a checkpoint"), 0, "fired sessions leave no state (case 55)");
    }

    #[test]
    fn windows_of_two_producers_without_late_records_are_those_of_a_model(
        steps in steps(), size in 1i64..60, slide in 1i64..60
    ) {
        let steps = rising(&legal(&steps));
        let mut flow = Flow::new(&sliding(size, slide), 2).run(&steps);
        let (expected, _) = window_model(&plain(&steps), size, slide);
        prop_assert_eq!(flow.take::<Window>(), sorted(expected));
        prop_assert_eq!(flow.late(), 0);
    }

    #[test]
    fn sessions_of_two_producers_without_late_records_are_those_of_a_model(steps in steps(), half in 0i64..20) {
        // Two records exactly the gap apart are one session only while the first has not fired, so no two are.
        let even = |step: &Step| match *step {
            Step::Record { key, at, value, port } => Step::Record { key, at: at * 2, value, port },
            ref other => other.clone(),
        };
        let steps = rising(&legal(&steps.iter().map(even).collect::<Vec<_>>()));
        let mut flow = Flow::new(&sessions(half * 2 + 1), 2).run(&steps);
        let (expected, _) = session_model(&plain(&steps), half * 2 + 1);
        prop_assert_eq!(flow.take::<Found>(), sorted(expected));
        prop_assert_eq!(flow.late(), 0);
    }

    #[test]
    fn every_record_of_two_producers_is_in_its_window_or_late(steps in steps(), size in 1i64..60, gap in 1i64..40) {
        let steps = rising(&steps);
        let mut flow = Flow::new(&sliding(size, size), 2).run(&steps);
        let counted: usize = flow.harness.take::<Window>(0).iter().map(|((_, _, ids), _)| ids.len()).sum();
        prop_assert_eq!(counted + flow.late(), records(&steps));
        let mut flow = Flow::new(&sessions(gap), 2).run(&steps);
        let counted: usize = flow.harness.take::<Found>(0).iter().map(|((_, _, _, ids), _)| ids.len()).sum();
        prop_assert_eq!(counted + flow.late(), records(&steps));
    }
}

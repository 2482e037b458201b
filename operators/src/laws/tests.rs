//! The laws of every stateful operator: batches split anywhere and restarts anywhere change nothing, not even the
//! order; watermarks anywhere that is legal change only when something is emitted.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde::{Deserialize, Serialize};
use tidegate_derive::States;
use tidegate_runtime::element::{Batch, ErasedBatch};
use tidegate_runtime::graph::Graph;
use tidegate_runtime::key::hash_key;
use tidegate_runtime::operator::{FlushReason, Stage, StepContext};
use tidegate_runtime::state::{ListState, ValueState};
use tidegate_runtime::time::Clock;

use crate::testing::{Harness, numbers, operator_of, stage_of};
use crate::{
    Aggregate, BoxError, CoProcess, Context, Dataflow, KeyedStream, Pattern, Process, Session, SideOutput,
    SideOutputs, Sliding, Stream, Timed, Timestamp, Tumbling, WatermarkStrategy, millis,
};

mod combined;

/// A record: its key, its place in the input, and a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
struct Event {
    key: u8,
    id: usize,
    value: u8,
}

/// What happens to an instance.
#[derive(Clone, Debug)]
enum Step {
    Record {
        key: u8,
        at: i64,
        value: u8,
        port: usize,
    },
    Watermark(i64),
    /// The batch ends here.
    Cut,
    /// A checkpoint and a restart happen here.
    Restart,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let record = (0u8..4, -50i64..150, 0u8..4, 0usize..2).prop_map(|(key, at, value, port)| Step::Record {
        key,
        at,
        value,
        port,
    });
    let step = prop_oneof![
        8 => record,
        2 => (-60i64..160).prop_map(Step::Watermark),
        1 => Just(Step::Cut),
        1 => Just(Step::Restart),
    ];
    prop::collection::vec(step, 0..80)
}

/// Whether cuts and restarts happen.
#[derive(Clone, Copy, PartialEq)]
enum Trouble {
    Some,
    None,
}

type Emitted = Vec<(String, i64)>;

/// Runs steps, then the end of input. Returns what each output port emitted, in order.
fn run<U: tidegate_runtime::Record + std::fmt::Debug>(
    graph: &Graph,
    steps: &[Step],
    trouble: Trouble,
    side: impl Fn(&mut Harness) -> Emitted,
) -> (Emitted, Emitted, Harness) {
    let mut harness = Harness::new(operator_of(graph, "op")).expect("it opens");
    let ports = if graph.edges.iter().any(|edge| edge.to_port == 1) { 2 } else { 1 };
    let mut batch: Vec<(Event, i64)> = Vec::new();
    let mut batch_port = 0;
    let flush = |harness: &mut Harness, batch: &mut Vec<(Event, i64)>, port: usize| {
        harness.feed(port, batch, |event| event.key).expect("records are processed");
        batch.clear();
    };
    for (id, step) in steps.iter().enumerate() {
        match step {
            Step::Record { key, at, value, port } => {
                let port = port % ports;
                if port != batch_port {
                    flush(&mut harness, &mut batch, batch_port);
                    batch_port = port;
                }
                batch.push((Event { key: *key, id, value: *value }, *at));
            }
            Step::Watermark(at) => {
                flush(&mut harness, &mut batch, batch_port);
                harness.watermark(*at).expect("windows fire");
            }
            Step::Cut if trouble == Trouble::Some => flush(&mut harness, &mut batch, batch_port),
            Step::Restart if trouble == Trouble::Some => {
                flush(&mut harness, &mut batch, batch_port);
                harness.restart().expect("it restarts");
            }
            Step::Cut | Step::Restart => {}
        }
    }
    flush(&mut harness, &mut batch, batch_port);
    harness.watermark(i64::MAX).expect("everything fires");
    let main = harness.take::<U>(0).into_iter().map(|(record, at)| (format!("{record:?}"), at)).collect();
    let side = side(&mut harness);
    (main, side, harness)
}

/// Runs steps through the two stages of `window_all`. Cuts park the first stage, restarts send a barrier and replace
/// it. Returns what was emitted, and how many records were late.
fn run_all(graph: &Graph, steps: &[Step]) -> (Emitted, u64) {
    let clock = Clock::manual(Timestamp(0));
    let mut cx = StepContext { clock: &clock, watermark: Timestamp::MIN };
    let make = stage_of(graph, "pre-aggregate");
    let mut harness = Harness::new(operator_of(graph, "op")).expect("it opens");
    let mut stage = make();
    let mut batch = Batch::default();
    let mut give = |stage: &mut dyn Stage, batch: Batch<Event>, harness: &mut Harness| {
        stage.accept(ErasedBatch::new(batch));
        let (out, _) = stage.run(&mut cx).expect("it adds up");
        out.into_iter().for_each(|out| harness.feed_batch(0, out).expect("it merges"));
    };
    let flush = |stage: &mut dyn Stage, reason: FlushReason, harness: &mut Harness| {
        let mut cx = StepContext { clock: &clock, watermark: Timestamp::MIN };
        let out = stage.flush(reason, &mut cx).expect("it flushes");
        out.into_iter().for_each(|out| harness.feed_batch(0, out).expect("it merges"));
    };
    for (id, step) in steps.iter().enumerate() {
        match step {
            Step::Record { key, at, value, .. } => {
                batch.records.push(Event { key: *key, id, value: *value });
                batch.timestamps.push(Timestamp(*at));
            }
            Step::Watermark(at) => batch.push_watermark(Timestamp(*at)),
            Step::Cut => {
                give(stage.as_mut(), std::mem::take(&mut batch), &mut harness);
                flush(stage.as_mut(), FlushReason::Park, &mut harness);
            }
            Step::Restart => {
                give(stage.as_mut(), std::mem::take(&mut batch), &mut harness);
                flush(stage.as_mut(), FlushReason::Barrier, &mut harness);
                harness.restart().expect("it restarts");
                stage = make();
            }
        }
    }
    batch.push_watermark(Timestamp::MAX);
    give(stage.as_mut(), batch, &mut harness);
    let main = harness.take::<(u8, i64, Vec<usize>)>(0);
    let main = main.into_iter().map(|(record, at)| (format!("{record:?}"), at)).collect();
    (main, harness.status().late_records.get())
}

fn no_side(_: &mut Harness) -> Emitted {
    Vec::new()
}

fn late(harness: &mut Harness) -> Emitted {
    harness.take::<Event>(1).into_iter().map(|(event, at)| (format!("{event:?}"), at)).collect()
}

/// Steps whose watermarks are legal: none at or above a later record's timestamp. With the same records and other
/// watermarks the bag must be the same.
fn legal(steps: &[Step]) -> Vec<Step> {
    let mut lowest = i64::MAX;
    let mut legal: Vec<Step> = Vec::new();
    for step in steps.iter().rev() {
        legal.push(match step {
            Step::Record { at, .. } => {
                lowest = lowest.min(*at);
                step.clone()
            }
            Step::Watermark(at) => Step::Watermark((*at).min(lowest - 1)),
            other => other.clone(),
        });
    }
    legal.reverse();
    legal
}

/// Without watermarks and trouble, but with every step in its place, so that ids stay.
fn plain(steps: &[Step]) -> Vec<Step> {
    let keep = |step: &Step| match step {
        Step::Watermark(_) => Step::Cut,
        other => other.clone(),
    };
    steps.iter().map(keep).collect()
}

/// Checks all laws on one graph.
fn check<U: tidegate_runtime::Record + std::fmt::Debug>(
    graph: &Graph,
    steps: &[Step],
    side: impl Fn(&mut Harness) -> Emitted + Copy,
) -> Result<(), TestCaseError> {
    let (main, beside, _) = run::<U>(graph, steps, Trouble::None, side);
    let (main_cut, beside_cut, mut harness) = run::<U>(graph, steps, Trouble::Some, side);
    prop_assert_eq!(main, main_cut, "cuts and restarts change nothing");
    prop_assert_eq!(beside, beside_cut, "cuts and restarts change nothing on the side");
    let _ = harness.state_rows().expect("a checkpoint at the end");
    let legal = legal(steps);
    let (mut some, mut beside_some, _) = run::<U>(graph, &legal, Trouble::Some, side);
    let (mut none, mut beside_none, _) = run::<U>(graph, &plain(&legal), Trouble::None, side);
    for emitted in [&mut some, &mut beside_some, &mut none, &mut beside_none] {
        emitted.sort();
    }
    prop_assert_eq!(some, none, "legal watermarks change nothing");
    prop_assert_eq!(beside_some, beside_none, "legal watermarks change nothing on the side");
    Ok(())
}

fn events(flow: &Dataflow, name: &str) -> Stream<Event, Timed> {
    flow.source(name, numbers(0..1))
        .map(|n| Event { key: 0, id: n as usize, value: 0 })
        .event_time(WatermarkStrategy::monotonic(), |event| event.id as i64)
}

fn keyed(flow: &Dataflow) -> KeyedStream<u8, Event, Timed> {
    events(flow, "events").key_by(|event| event.key)
}

/// Keeps ids in the order in which they were added.
struct Ids;

impl Aggregate for Ids {
    type In = Event;
    type Acc = Vec<usize>;
    type Out = Vec<usize>;

    fn create(&self) -> Vec<usize> {
        Vec::new()
    }

    fn add(&self, ids: &mut Vec<usize>, event: Event) {
        ids.push(event.id);
    }

    fn merge(&self, ids: &mut Vec<usize>, other: Vec<usize>) {
        ids.extend(other);
    }

    fn finish(&self, ids: &Vec<usize>) -> Vec<usize> {
        let mut sorted = ids.clone();
        sorted.sort_unstable();
        sorted
    }
}

static ODD: SideOutput<Event> = SideOutput::new("odd");

/// Waits: each element sets a timer at a multiple of 20, which emits what has come; odd values go to the side.
struct Waiting;

#[derive(States)]
#[states(crate = "tidegate_runtime")]
struct WaitingState {
    count: ValueState<u64>,
    waiting: ListState<Event>,
}

impl Waiting {
    fn take(event: Event, state: &mut WaitingState, cx: &mut Context<u8, String>) -> Result<(), BoxError> {
        state.count.update(|count| *count += 1)?;
        if event.value % 2 == 1 {
            cx.emit_to(&ODD, event);
        }
        if event.value == 3 {
            cx.delete_event_timer(Timestamp(cx.timestamp().0.div_euclid(20) * 20 + 20));
        } else {
            cx.set_event_timer(Timestamp(cx.timestamp().0.div_euclid(20) * 20 + 20));
        }
        state.waiting.push(event)?;
        Ok(())
    }

    fn give(at: Timestamp, state: &mut WaitingState, cx: &mut Context<u8, String>) -> Result<(), BoxError> {
        let mut ids: Vec<usize> = state.waiting.iter()?.map(|event| event.id).collect();
        ids.sort_unstable();
        if at.0 % 40 == 0 {
            state.waiting.clear()?;
            state.count.clear()?;
        }
        cx.emit(format!("{} at {at}: {ids:?}", cx.key()));
        Ok(())
    }
}

impl Process<u8, Event> for Waiting {
    type State = WaitingState;
    type Out = String;

    fn on_element(
        &self,
        event: Event,
        state: &mut WaitingState,
        cx: &mut Context<u8, String>,
    ) -> Result<(), BoxError> {
        Self::take(event, state, cx)
    }

    fn on_timer(
        &self,
        at: Timestamp,
        state: &mut WaitingState,
        cx: &mut Context<u8, String>,
    ) -> Result<(), BoxError> {
        Self::give(at, state, cx)
    }

    fn side_outputs(&self, declare: &mut SideOutputs) {
        declare.add(&ODD);
    }
}

impl CoProcess<u8, Event, Event> for Waiting {
    type State = WaitingState;
    type Out = String;

    fn on_left(
        &self,
        event: Event,
        state: &mut WaitingState,
        cx: &mut Context<u8, String>,
    ) -> Result<(), BoxError> {
        Self::take(event, state, cx)
    }

    fn on_right(
        &self,
        _: Event,
        state: &mut WaitingState,
        cx: &mut Context<u8, String>,
    ) -> Result<(), BoxError> {
        let count = state.count.get()?.copied();
        cx.emit(format!("{count:?} {}", state.waiting.len()?));
        Ok(())
    }

    fn on_timer(
        &self,
        at: Timestamp,
        state: &mut WaitingState,
        cx: &mut Context<u8, String>,
    ) -> Result<(), BoxError> {
        let _ = at;
        cx.emit(format!("{} has {}", cx.key(), state.waiting.len()?));
        Ok(())
    }

    fn side_outputs(&self, declare: &mut SideOutputs) {
        declare.add(&ODD);
    }
}

/// Windows and late records by the rule itself, for one size and slide.
fn window_model(steps: &[Step], size: i64, slide: i64) -> (Emitted, Emitted) {
    let mut windows: BTreeMap<(i64, u8), Vec<usize>> = BTreeMap::new();
    let (mut late, mut watermark) = (Vec::new(), i64::MIN);
    for (id, step) in steps.iter().enumerate() {
        match step {
            Step::Record { key, at, value, .. } => {
                let starts = (*at - size + 1..=*at).filter(|start| start.rem_euclid(slide) == 0);
                let open: Vec<i64> = starts.filter(|start| start + size - 1 > watermark).collect();
                if open.is_empty() {
                    late.push((format!("{:?}", Event { key: *key, id, value: *value }), *at));
                }
                open.into_iter().for_each(|start| windows.entry((start, *key)).or_default().push(id));
            }
            Step::Watermark(at) => watermark = watermark.max(*at),
            Step::Cut | Step::Restart => {}
        }
    }
    let rows =
        windows.into_iter().map(|((start, key), ids)| (format!("{:?}", (key, start, ids)), start + size - 1));
    (rows.collect(), late)
}

/// Sessions and late records by the rule itself: a record joins all open sessions that it touches, then is judged.
fn session_model(steps: &[Step], gap: i64) -> (Emitted, Emitted) {
    let mut open: Vec<(u8, i64, i64, Vec<usize>)> = Vec::new();
    let (mut fired, mut late, mut watermark) = (Vec::new(), Vec::new(), i64::MIN);
    let end = [Step::Watermark(i64::MAX)];
    for (id, step) in steps.iter().chain(&end).enumerate() {
        match step {
            Step::Record { key, at, value, .. } => {
                let touches =
                    |s: &(u8, i64, i64, Vec<usize>)| s.0 == *key && *at <= s.2 + gap && *at + gap >= s.1;
                let (touched, others): (Vec<_>, Vec<_>) = open.drain(..).partition(touches);
                open = others;
                let merged = touched.into_iter().fold((*key, *at, *at, vec![id]), |mut sum, session| {
                    sum.3.extend(session.3);
                    (sum.0, sum.1.min(session.1), sum.2.max(session.2), sum.3)
                });
                if merged.2 + gap - 1 <= watermark {
                    late.push((format!("{:?}", Event { key: *key, id, value: *value }), *at));
                } else {
                    open.push(merged);
                }
            }
            Step::Watermark(at) => {
                watermark = watermark.max(*at);
                let (due, others): (Vec<_>, Vec<_>) =
                    open.drain(..).partition(|s| s.2 + gap - 1 <= watermark);
                open = others;
                fired.extend(due.into_iter().map(|(key, start, last, mut ids)| {
                    ids.sort_unstable();
                    (format!("{:?}", (key, start, last + gap, ids)), last + gap - 1)
                }));
            }
            Step::Cut | Step::Restart => {}
        }
    }
    (fired, late)
}

#[test]
fn windows_of_many_keys_fire_in_the_order_of_hashes_over_several_calls() {
    let flow = Dataflow::new("laws");
    let by_id = events(&flow, "events").key_by(|event| event.id);
    let windowed = by_id.window(Tumbling::of(millis(10)));
    let _ = windowed.late();
    let _ = windowed.aggregate_then("op", Ids, |id, _, _| Some(*id));
    let mut harness = Harness::new(operator_of(&flow.graph(), "op")).expect("it opens");
    let all: Vec<(Event, i64)> =
        (0..3_000).map(|id| (Event { key: 0, id, value: 0 }, id as i64 % 20)).collect();
    harness.feed(0, &all, |event| event.id).expect("records are processed");
    harness.restart().expect("it restarts");
    harness.watermark(100).expect("windows fire");
    let mut expected: Vec<(usize, i64)> =
        (0..3_000).map(|id| (id, if id % 20 < 10 { 9 } else { 19 })).collect();
    expected.sort_by_key(|(id, at)| (*at, hash_key(id)));
    assert_eq!(harness.take::<usize>(0), expected);
}

/// Emits the time and the element of each processing-time timer.
struct Alarm;

impl Process<u8, Event> for Alarm {
    type State = ();
    type Out = (i64, u8);

    fn on_element(&self, event: Event, _: &mut (), cx: &mut Context<u8, (i64, u8)>) -> Result<(), BoxError> {
        cx.set_processing_timer(cx.processing_time() + millis(u64::from(event.value)));
        Ok(())
    }

    fn on_processing_timer(
        &self,
        at: Timestamp,
        _: &mut (),
        cx: &mut Context<u8, (i64, u8)>,
    ) -> Result<(), BoxError> {
        cx.emit((at.0, *cx.key()));
        Ok(())
    }
}

#[test]
fn processing_time_timers_due_while_it_was_down_fire_once_in_order_case_49() {
    let flow = Dataflow::new("laws");
    let _ = keyed(&flow).process("op", Alarm);
    let mut harness = Harness::new(operator_of(&flow.graph(), "op")).expect("it opens");
    let event = |key, value| (Event { key, id: 0, value }, 0);
    harness
        .feed(0, &[event(1, 30), event(2, 10), event(1, 30), event(3, 90)], |event| event.key)
        .expect("set");
    harness.processing_time(5).expect("nothing is due");
    assert_eq!(harness.take::<(i64, u8)>(0), []);
    harness.restart().expect("it restarts");
    harness.processing_time(40).expect("two are due");
    let fired: Vec<_> = harness.take::<(i64, u8)>(0).into_iter().map(|(emitted, _)| emitted).collect();
    assert_eq!(fired, [(10, 2), (30, 1)]);
    harness.restart().expect("it restarts");
    harness.processing_time(200).expect("one is due");
    let fired: Vec<_> = harness.take::<(i64, u8)>(0).into_iter().map(|(emitted, _)| emitted).collect();
    assert_eq!(fired, [(90, 3)]);
}

#[test]
fn a_failure_names_the_key_and_the_timestamp_of_its_record() {
    let flow = Dataflow::new("laws");
    let _ =
        keyed(&flow).try_stateful_map(
            "op",
            |_: &mut u8, event| {
                if event.value == 3 { Err("three".into()) } else { Ok(event) }
            },
        );
    let mut harness = Harness::new(operator_of(&flow.graph(), "op")).expect("it opens");
    let event = |key, value, at| (Event { key, id: 0, value }, at);
    let failed = harness.feed(0, &[event(1, 1, 10), event(7, 3, 11), event(2, 1, 12)], |event| event.key);
    assert_eq!(failed.map_err(|error| error.to_string()), Err("three".to_owned()));
    assert_eq!(harness.current_element(), (Some("7".to_owned()), Some(Timestamp(11))));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn a_stateful_map_obeys(steps in steps()) {
        let flow = Dataflow::new("laws");
        let _ = keyed(&flow).stateful_map("op", |seen: &mut Vec<usize>, event| { seen.push(event.id); seen.clone() });
        check::<Vec<usize>>(&flow.graph(), &steps, no_side)?;
    }

    #[test]
    fn a_stateful_flat_map_obeys(steps in steps()) {
        let flow = Dataflow::new("laws");
        let _ = keyed(&flow).stateful_flat_map("op", |seen: &mut usize, event| {
            *seen += 1;
            vec![(event.id, *seen); if event.value == 3 { 1_500 } else { *seen % 3 }]
        });
        check::<(usize, usize)>(&flow.graph(), &steps, no_side)?;
    }

    #[test]
    fn a_rolling_reduce_and_aggregate_obey(steps in steps()) {
        let flow = Dataflow::new("laws");
        let _ = keyed(&flow).reduce("op", |best, event| if event.value > best.value { *best = event });
        check::<Event>(&flow.graph(), &steps, no_side)?;
        let flow = Dataflow::new("laws");
        let _ = keyed(&flow).aggregate("op", Ids);
        check::<Vec<usize>>(&flow.graph(), &steps, no_side)?;
    }

    #[test]
    fn a_process_function_with_timers_obeys(steps in steps()) {
        let flow = Dataflow::new("laws");
        let _ = keyed(&flow).process("op", Waiting);
        // When a late timer fires depends on the watermark: only cuts and restarts are without effect.
        let (main, odd, _) = run::<String>(&flow.graph(), &steps, Trouble::None, late);
        let (main_cut, odd_cut, _) = run::<String>(&flow.graph(), &steps, Trouble::Some, late);
        prop_assert_eq!((main, odd), (main_cut, odd_cut));
    }

    #[test]
    fn a_co_process_function_obeys(steps in steps()) {
        let flow = Dataflow::new("laws");
        let other = events(&flow, "others").key_by(|event| event.key);
        let _ = keyed(&flow).connect(other).process("op", Waiting);
        let (main, odd, _) = run::<String>(&flow.graph(), &steps, Trouble::None, late);
        let (main_cut, odd_cut, _) = run::<String>(&flow.graph(), &steps, Trouble::Some, late);
        prop_assert_eq!((main, odd), (main_cut, odd_cut));
    }

    #[test]
    fn sliding_windows_obey_and_are_those_of_a_model(steps in steps(), size in 1i64..60, slide in 1i64..60) {
        let flow = Dataflow::new("laws");
        let windows = Sliding::of(millis(size as u64)).every(millis(slide as u64));
        let windowed = keyed(&flow).window(windows);
        let _ = windowed.late();
        let _ = windowed.aggregate_then("op", Ids, |key, window, ids| Some((*key, window.start.0, ids)));
        check::<(u8, i64, Vec<usize>)>(&flow.graph(), &steps, late)?;
        let (mut main, beside, mut harness) = run::<(u8, i64, Vec<usize>)>(&flow.graph(), &steps, Trouble::Some, late);
        let (mut expected, mut expected_late) = window_model(&steps, size, slide);
        main.sort();
        expected.sort();
        prop_assert_eq!(main, expected);
        if slide > size {
            // A record between two windows is in none; it is left out without being late.
            expected_late = beside.clone();
        }
        prop_assert_eq!(harness.status().late_records.get(), beside.len() as u64);
        prop_assert_eq!(beside, expected_late);
        prop_assert_eq!(harness.state_rows().expect("a checkpoint"), 0, "fired windows leave no state (case 55)");
    }

    /// Cases 52 and 53: sessions that were merged come back as they are, and a late record makes no new one.
    #[test]
    fn sessions_obey_and_are_those_of_a_model(steps in steps(), gap in 1i64..40) {
        let flow = Dataflow::new("laws");
        let windowed = keyed(&flow).window(Session::with_gap(millis(gap as u64)));
        let _ = windowed.late();
        let _ = windowed.aggregate_then("op", Ids, |key, window, ids| Some((*key, window.start.0, window.end.0, ids)));
        let (mut main, beside, mut harness) = run::<(u8, i64, i64, Vec<usize>)>(&flow.graph(), &steps, Trouble::Some, late);
        let (mut expected, expected_late) = session_model(&steps, gap);
        main.sort();
        expected.sort();
        prop_assert_eq!(main, expected);
        prop_assert_eq!(beside, expected_late);
        prop_assert_eq!(harness.state_rows().expect("a checkpoint"), 0, "fired sessions leave no state (case 55)");
    }

    #[test]
    fn sessions_obey_watermarks(steps in steps(), half in 0i64..20) {
        // Two records exactly the gap apart are one session only while the first has not fired, so no two are.
        let even = |step: &Step| match *step {
            Step::Record { key, at, value, port } => Step::Record { key, at: at * 2, value, port },
            ref other => other.clone(),
        };
        let steps: Vec<Step> = steps.iter().map(even).collect();
        let flow = Dataflow::new("laws");
        let windowed = keyed(&flow).window(Session::with_gap(millis(half as u64 * 2 + 1)));
        let _ = windowed.late();
        let _ = windowed.aggregate_then("op", Ids, |key, window, ids| Some((*key, window.start.0, window.end.0, ids)));
        check::<(u8, i64, i64, Vec<usize>)>(&flow.graph(), &steps, late)?;
    }

    #[test]
    fn windows_without_keys_are_those_of_a_model_wherever_the_first_stage_is_flushed(
        steps in steps(), size in 1i64..60, slide in 1i64..60
    ) {
        let flow = Dataflow::new("laws");
        let windows = Sliding::of(millis(size as u64)).every(millis(slide as u64));
        let _ = events(&flow, "events").window_all(windows).aggregate_then("op", Ids, |window, ids| Some((0u8, window.start.0, ids)));
        let steps: Vec<Step> = steps.iter().map(|step| match step {
            Step::Record { at, value, .. } => Step::Record { key: 0, at: *at, value: *value, port: 0 },
            other => other.clone(),
        }).collect();
        let (mut main, late) = run_all(&flow.graph(), &steps);
        let (mut expected, expected_late) = window_model(&steps, size, slide);
        main.sort();
        expected.sort();
        prop_assert_eq!(main, expected);
        prop_assert!(slide > size || late == expected_late.len() as u64);
    }

    #[test]
    fn a_pattern_obeys(steps in steps(), within in 1u64..60) {
        let flow = Dataflow::new("laws");
        let pattern = Pattern::begin("a", |event: &Event| event.value == 0)
            .next("b", |event| event.value <= 1)
            .followed_by("c", |event| event.value >= 2)
            .within(millis(within))
            .order_by(|event| event.id);
        let _ = keyed(&flow).pattern("op", pattern, |found| (found["a"][0].id, found["b"][0].id, found["c"][0].id));
        check::<(usize, usize, usize)>(&flow.graph(), &steps, no_side)?;
        let (_, _, mut harness) = run::<(usize, usize, usize)>(&flow.graph(), &steps, Trouble::Some, no_side);
        prop_assert_eq!(harness.state_rows().expect("a checkpoint"), 0, "what can't match leaves no state (case 55)");
    }
}

//! Chaos: whatever is killed, panics or hangs, the committed output equals the sequential model, as a bag.
//!
//! Every seed is a run with its own mode and its own moments; `SEED=17 cargo test --test chaos` replays one.

mod support;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use serde::{Deserialize, Deserializer, Serialize};
use support::{bag, seeds};
use tidegate::prelude::*;
use tidegate::testing::Chaos;

/// Records of one run.
const RECORDS: u64 = 12_000;
/// Their pace: a run takes about 0.3 s, long enough for several kills and checkpoints.
const RATE: u64 = 40_000;
const KEYS: u64 = 61;

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Event {
    index: u64,
    key: u64,
    at: i64,
}

/// Event times rise, with disorder below 100 ms.
fn event(index: u64) -> Event {
    let mixed = index.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    Event { index, key: (mixed >> 32) % KEYS, at: index as i64 * 3 + (mixed >> 50) as i64 % 90 }
}

/// How often the run is to be disturbed from inside user code: each trap goes off once, when its index comes by.
#[derive(Clone)]
struct Traps(Arc<Vec<AtomicI64>>);

impl Traps {
    fn none() -> Self {
        Self(Arc::new(Vec::new()))
    }

    fn at(indices: impl IntoIterator<Item = u64>) -> Self {
        Self(Arc::new(indices.into_iter().map(|index| AtomicI64::new(index as i64)).collect()))
    }

    fn springs(&self, index: u64) -> bool {
        let at = index as i64;
        self.0.iter().any(|trap| trap.compare_exchange(at, -1, Ordering::AcqRel, Ordering::Acquire).is_ok())
    }
}

/// A count whose decoding panics as often as it is armed.
#[derive(Clone, Debug, Default, Serialize)]
struct Fragile(u64);

static ARMED_DECODES: AtomicI64 = AtomicI64::new(0);

impl<'de> Deserialize<'de> for Fragile {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let armed =
            ARMED_DECODES.fetch_update(Ordering::AcqRel, Ordering::Acquire, |n| (n > 0).then_some(n - 1));
        assert!(armed.is_err(), "the state's decode panics on purpose");
        u64::deserialize(deserializer).map(Fragile)
    }
}

/// Gathers the elements of each second of event time and emits their number when it is over.
struct PerSecond;

#[derive(States)]
struct PerSecondState {
    waiting: ListState<Event>,
    seconds: MapState<i64, u64>,
}

impl Process<u64, Event> for PerSecond {
    type State = PerSecondState;
    type Out = (u64, i64, u64, u64);

    fn on_element(
        &self,
        event: Event,
        state: &mut PerSecondState,
        cx: &mut Context<u64, Self::Out>,
    ) -> Result<(), BoxError> {
        let end = event.at.div_euclid(1_000) * 1_000 + 999;
        let count = state.seconds.get(&end)?.copied().unwrap_or(0);
        state.seconds.insert(end, count + 1)?;
        state.waiting.push(event)?;
        cx.set_event_timer(Timestamp(end));
        Ok(())
    }

    fn on_timer(
        &self,
        at: Timestamp,
        state: &mut PerSecondState,
        cx: &mut Context<u64, Self::Out>,
    ) -> Result<(), BoxError> {
        let counted = state.seconds.remove(&at.millis())?.unwrap_or(0);
        let (due, later): (Vec<Event>, Vec<Event>) =
            state.waiting.drain()?.partition(|event| event.at <= at.millis());
        for event in later {
            state.waiting.push(event)?;
        }
        cx.emit((*cx.key(), at.millis(), counted, due.len() as u64));
        Ok(())
    }
}

type Rows = BTreeMap<String, usize>;

/// What the flow must have committed.
fn model() -> Rows {
    let mut rows = Vec::new();
    let mut counts = BTreeMap::<u64, u64>::new();
    let mut seconds = BTreeMap::<(u64, i64), (u64, u64)>::new();
    for event in (0..RECORDS).map(event) {
        let count = counts.entry(event.key).or_default();
        *count += 1;
        rows.push(format!("running {} {count}", event.key));
        let second = seconds.entry((event.key, event.at.div_euclid(1_000))).or_default();
        *second = (second.0 + 1, second.1 + event.index);
    }
    for ((key, second), (count, sum)) in seconds {
        rows.push(format!("timer {key} {} {count} {count}", second * 1_000 + 999));
        rows.push(format!("window {key} {} {sum}", second * 1_000));
    }
    bag(rows)
}

struct SumOfIndices;

impl Aggregate for SumOfIndices {
    type In = Event;
    type Acc = u64;
    type Out = u64;

    fn create(&self) -> u64 {
        0
    }

    fn add(&self, acc: &mut u64, event: Event) {
        *acc += event.index;
    }

    fn merge(&self, acc: &mut u64, other: u64) {
        *acc += other;
    }

    fn finish(&self, acc: &u64) -> u64 {
        *acc
    }
}

fn build(panics: Traps, hangs: Traps) -> (Dataflow, Collected<String>) {
    let flow = Dataflow::new("chaos");
    let events = flow
        .source("events", generate(event).count(RECORDS).rate(RATE))
        .map(move |event| {
            assert!(!panics.springs(event.index), "user code panics on purpose");
            if hangs.springs(event.index) {
                #[expect(clippy::disallowed_methods, reason = "a hanging step is what is tested")]
                std::thread::sleep(std::time::Duration::from_millis(600));
            }
            event
        })
        .event_time(WatermarkStrategy::bounded_out_of_orderness(millis(100)), |event| event.at)
        .key_by(|event| event.key);
    let running = events.clone().stateful_map("running", |count: &mut Fragile, event| {
        count.0 += 1;
        format!("running {} {}", event.key, count.0)
    });
    let timers = events
        .clone()
        .process("timers", PerSecond)
        .map(|(key, at, counted, due)| format!("timer {key} {at} {counted} {due}"));
    let windows = events.window(Tumbling::of(seconds(1))).aggregate_then(
        "windows",
        SumOfIndices,
        |key, window, sum| Some(format!("window {key} {} {sum}", window.start.millis())),
    );
    let (sink, collected) = collect();
    running.union(timers).union(windows).sink("rows", sink);
    (flow, collected)
}

fn check(seed: u64, model: &Rows) {
    let spread = |n: u64| (0..n).map(move |i| (seed.wrapping_mul(7_919) + i * 3_001) % RECORDS);
    let (panics, hangs, kills) = match seed % 5 {
        0 | 1 => (Traps::none(), Traps::none(), 12),
        2 => (Traps::at(spread(3)), Traps::none(), 0),
        3 => {
            ARMED_DECODES.fetch_add(2, Ordering::AcqRel);
            (Traps::none(), Traps::none(), 6)
        }
        _ => (Traps::at(spread(1)), Traps::at(spread(1).map(|index| index + 1)), 2),
    };
    let (flow, collected) = build(panics, hangs);
    let dir = tempfile::tempdir().expect("a temporary directory");
    let config = JobConfig::new()
        .parallelism(1 + (seed % 3) as u32)
        .state_dir(dir.path())
        .checkpoint_interval(millis(10 + seed % 30))
        .step_timeout(millis(200))
        .restart(RestartPolicy::FixedDelay { attempts: 1_000, delay: millis(1) })
        .table_entries_max(if seed.is_multiple_of(2) { 6 } else { 1_000_000 })
        .seed(seed)
        .endpoint(Endpoint::Off);
    let job = flow.with_config(config).launch().unwrap_or_else(|error| panic!("SEED={seed}: {error}"));
    let every = millis(7 + seed % 25);
    let killing =
        (kills > 0).then(|| Chaos::new(seed).at_most(kills).kill_random(&job, every).expect("a thread"));
    let report = job.wait().unwrap_or_else(|error| panic!("SEED={seed}: {error}"));
    drop(killing);
    assert_eq!(report.state, JobState::Finished, "SEED={seed}");
    let rows = bag(collected.take());
    let missing: Vec<_> = model.iter().filter(|(row, n)| rows.get(*row) != Some(n)).take(5).collect();
    let doubled: Vec<_> = rows.iter().filter(|(row, n)| model.get(*row) != Some(n)).take(5).collect();
    assert!(
        missing.is_empty() && doubled.is_empty(),
        "SEED={seed}: missing {missing:?}, too many {doubled:?}"
    );
}

#[test]
fn output_equals_the_model_whatever_is_killed() {
    let model = model();
    for seed in seeds(100) {
        check(seed, &model);
        println!("SEED={seed} passed");
    }
}

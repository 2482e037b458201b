//! Properties of gates and routers against naive models.

use std::collections::VecDeque;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use proptest::prelude::{Just, Strategy, any, prop, prop_oneof, proptest};

use super::{Control, Gate, Partitioning, Refused, Routed, Router, Target, Turns, Wakeup, typed_router};
use crate::element::{Barrier, Batch, Element, ErasedBatch, Record};
use crate::id::{CheckpointId, LaneId};
use crate::key::{KeyGroups, KeyHash};
use crate::metrics::SubtaskStatus;
use crate::time::Timestamp;

const LANES: usize = 3;
const BATCH_BYTES_MAX: usize = 9;

fn silent() -> Wakeup {
    Wakeup::new(|| {})
}

fn counting() -> (Arc<AtomicUsize>, Wakeup) {
    let count = Arc::new(AtomicUsize::new(0));
    let sender = Arc::clone(&count);
    let wakeup = Wakeup::new(move || {
        sender.fetch_add(1, Ordering::Relaxed);
    });
    (count, wakeup)
}

/// A batch of `bytes` bytes that begins with `id`.
fn batch_of(id: u8, bytes: usize) -> Element {
    Element::Batch(ErasedBatch::new(Batch { records: vec![id; bytes], ..Batch::default() }))
}

#[derive(Clone, Debug)]
enum Step {
    Offer { lane: usize, bytes: usize },
    Force(usize),
    Take,
    Block(usize),
    UnblockAll,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0..LANES, 1..=BATCH_BYTES_MAX).prop_map(|(lane, bytes)| Step::Offer { lane, bytes }),
        1 => (0..LANES).prop_map(Step::Force),
        5 => Just(Step::Take),
        1 => (0..LANES).prop_map(Step::Block),
        1 => Just(Step::UnblockAll),
    ];
    prop::collection::vec(step, 0..120)
}

/// What a gate must hold: entries of (id, bytes); a control element has neither.
#[derive(Default)]
struct Model {
    lanes: [VecDeque<(Option<u8>, usize)>; LANES],
    blocked: [bool; LANES],
    refused: [bool; LANES],
}

impl Model {
    fn bytes(&self) -> usize {
        self.lanes.iter().flatten().map(|entry| entry.1).sum()
    }

    fn may_take(&self) -> bool {
        (0..LANES).any(|lane| !self.blocked[lane] && !self.lanes[lane].is_empty())
    }
}

struct Checked {
    gate: Arc<Gate>,
    budget: usize,
    model: Model,
    producers: Vec<(Arc<AtomicUsize>, Wakeup)>,
    next_id: u8,
}

impl Checked {
    fn new(budget: usize) -> Self {
        let producers = (0..LANES).map(|_| counting()).collect();
        let gate = Gate::new(LANES, budget, silent());
        Self { gate, budget, model: Model::default(), producers, next_id: 0 }
    }

    fn offer(&mut self, lane: usize, bytes: usize) {
        self.next_id = self.next_id.wrapping_add(1);
        let id = self.next_id;
        let queued = self.model.bytes();
        let has_credit = queued == 0 || queued + bytes <= self.budget;
        let must_admit = has_credit || self.model.lanes[lane].is_empty();
        let (_, producer) = &self.producers[lane];
        let offered = self.gate.offer(LaneId(lane as u32), batch_of(id, bytes), producer);
        assert_eq!(offered.is_ok(), must_admit, "{queued} bytes queued, {bytes} offered");
        match offered {
            Ok(()) => self.model.lanes[lane].push_back((Some(id), bytes)),
            Err(Refused(element)) => {
                self.model.refused[lane] = true;
                assert_eq!(id_of(element), Some(id), "the refused batch comes back");
            }
        }
    }

    fn take(&mut self) {
        let woken_before = self.woken();
        match self.gate.take() {
            None => assert!(!self.model.may_take(), "something could be taken"),
            Some((lane, element)) => {
                let lane = lane.0 as usize;
                assert!(!self.model.blocked[lane], "a blocked lane is left alone");
                let (id, _) = self.model.lanes[lane].pop_front().expect("the lane held something");
                assert_eq!(id_of(element), id, "in the order of its lane");
                self.check_woken(&woken_before);
            }
        }
    }

    /// A refused producer is woken once its lane is empty or half the budget is free.
    fn check_woken(&mut self, before: &[usize]) {
        let has_room = self.model.bytes() <= self.budget / 2;
        let after = self.woken();
        for lane in 0..LANES {
            let due = self.model.refused[lane] && (has_room || self.model.lanes[lane].is_empty());
            assert_eq!(after[lane] > before[lane], due, "lane {lane}");
            if due {
                self.model.refused[lane] = false;
                self.producers[lane].1.begin();
            }
        }
    }

    fn woken(&self) -> Vec<usize> {
        self.producers.iter().map(|(count, _)| count.load(Ordering::Relaxed)).collect()
    }

    fn check(&self) {
        let figures = self.gate.figures();
        for lane in 0..LANES {
            let entries = &self.model.lanes[lane];
            assert_eq!(figures.lane_elements[lane], entries.len());
            assert_eq!(figures.lane_bytes[lane], entries.iter().map(|entry| entry.1).sum::<usize>());
        }
        assert_eq!(figures.blocked, self.model.blocked);
        assert_eq!(self.gate.queued_bytes(), self.model.bytes());
        assert!(
            figures.queued_bytes_peak <= self.budget + LANES * BATCH_BYTES_MAX,
            "one batch a lane at most"
        );
    }
}

fn id_of(element: Element) -> Option<u8> {
    match element {
        Element::Batch(batch) => Some(batch.into_typed::<u8>().records[0]),
        _ => None,
    }
}

proptest! {
    #[test]
    fn a_gate_conserves_credits_and_keeps_each_lane_in_order_case_3(steps in steps(), budget in 1..40_usize) {
        let mut checked = Checked::new(budget);
        for step in steps {
            match step {
                Step::Offer { lane, bytes } => checked.offer(lane, bytes),
                Step::Force(lane) => {
                    checked.gate.force(LaneId(lane as u32), Element::Idle);
                    checked.model.lanes[lane].push_back((None, 0));
                }
                Step::Take => checked.take(),
                Step::Block(lane) => {
                    checked.gate.block(LaneId(lane as u32));
                    checked.model.blocked[lane] = true;
                }
                Step::UnblockAll => {
                    checked.gate.unblock_all();
                    checked.model.blocked = [false; LANES];
                }
            }
            checked.check();
        }
        checked.gate.unblock_all();
        checked.model.blocked = [false; LANES];
        while checked.model.may_take() {
            checked.take();
            checked.check();
        }
        assert!(checked.gate.take().is_none());
        assert_eq!(checked.gate.queued_bytes(), 0);
    }
}

#[test]
fn lanes_are_served_in_turn() {
    let gate = Gate::new(2, 1_000, silent());
    for id in 0..3 {
        gate.offer(LaneId(0), batch_of(id, 1), &silent()).expect("there is room");
        gate.offer(LaneId(1), batch_of(10 + id, 1), &silent()).expect("there is room");
    }
    let order: Vec<u32> = std::iter::from_fn(|| gate.take()).map(|(lane, _)| lane.0).collect();
    assert_eq!(order, [0, 1, 0, 1, 0, 1]);
}

#[test]
fn a_closed_gate_wakes_who_waits_and_swallows_what_comes() {
    let (woken, producer) = counting();
    let gate = Gate::new(1, 1, silent());
    gate.offer(LaneId(0), batch_of(1, 1), &producer).expect("the lane is empty");
    let refused = gate.offer(LaneId(0), batch_of(2, 1), &producer);
    assert!(refused.is_err());
    gate.close();
    assert_eq!(woken.load(Ordering::Relaxed), 1);
    gate.offer(LaneId(0), batch_of(2, 1), &producer).expect("a closed gate refuses nothing");
    gate.force(LaneId(0), Element::End);
    assert_eq!((gate.queued_bytes(), gate.take().is_none()), (0, true));
}

#[test]
fn notices_do_not_pile_up() {
    let (count, wakeup) = counting();
    for _ in 0..5 {
        wakeup.wake();
    }
    assert_eq!(count.load(Ordering::Relaxed), 1);
    wakeup.begin();
    wakeup.wake();
    assert_eq!(count.load(Ordering::Relaxed), 2);
}

/// A record that says its number: one that owns nothing, and one that owns heap memory.
trait Numbered: Record {
    fn of(number: u64) -> Self;
    fn number(&self) -> u64;
}

impl Numbered for u64 {
    fn of(number: u64) -> Self {
        number
    }

    fn number(&self) -> u64 {
        *self
    }
}

impl Numbered for String {
    fn of(number: u64) -> Self {
        number.to_string()
    }

    fn number(&self) -> u64 {
        self.parse().expect("it was made of a number")
    }
}

/// A source batch: for each record its hash, and whether a watermark follows it.
type Spec = Vec<(u64, bool)>;

fn specs() -> impl Strategy<Value = Vec<Spec>> {
    prop::collection::vec(prop::collection::vec((any::<u64>(), prop::bool::weighted(0.2)), 0..40), 1..30)
}

/// Numbers records through all batches; a record's timestamp is its number, a watermark's is that of the last record.
fn build<T: Numbered>(specs: &[Spec]) -> Vec<Batch<T>> {
    let mut number = 0;
    let mut batches = Vec::new();
    for spec in specs {
        let mut batch = Batch::default();
        for (hash, has_watermark) in spec {
            number += 1;
            batch.records.push(T::of(number));
            batch.timestamps.push(Timestamp(number as i64));
            batch.hashes.push(KeyHash(*hash));
            if *has_watermark {
                batch.push_watermark(Timestamp(number as i64));
            }
        }
        batches.push(batch);
    }
    batches
}

/// What came out of a gate.
#[derive(Clone, Debug, PartialEq)]
enum Seen {
    /// A record and the watermark that it is judged against.
    Record(u64, Timestamp),
    Barrier(u64),
}

/// What one destination received.
#[derive(Default)]
struct Received {
    seen: Vec<Seen>,
    watermark: Option<Timestamp>,
}

impl Received {
    fn take<T: Numbered>(&mut self, gate: &Gate, hashes: &[u64]) -> bool {
        let Some((_, element)) = gate.take() else { return false };
        match element {
            Element::Batch(batch) => self.batch(&batch.into_typed::<T>(), hashes),
            Element::Barrier(barrier) => self.seen.push(Seen::Barrier(barrier.checkpoint.0)),
            other => panic!("nothing sends {other:?}"),
        }
        true
    }

    fn batch<T: Numbered>(&mut self, batch: &Batch<T>, hashes: &[u64]) {
        assert_eq!(batch.timestamps.len(), batch.records.len(), "columns stay aligned");
        assert_eq!(batch.hashes.len(), batch.records.len(), "columns stay aligned");
        assert!(batch.watermarks.is_sorted_by(|a, b| a.offset < b.offset && a.watermark < b.watermark));
        let mut watermarks = batch.watermarks.iter().peekable();
        for index in 0..=batch.records.len() {
            while let Some(at) = watermarks.next_if(|at| at.offset <= index) {
                assert!(Some(at.watermark) > self.watermark, "watermarks rise");
                self.watermark = Some(at.watermark);
            }
            let Some(record) = batch.records.get(index).map(T::number) else { continue };
            assert_eq!(batch.timestamps[index], Timestamp(record as i64));
            assert_eq!(batch.hashes[index], KeyHash(hashes[record as usize - 1]));
            self.seen.push(Seen::Record(record, self.watermark.unwrap_or(Timestamp::MIN)));
        }
        assert!(watermarks.peek().is_none(), "no watermark behind the end");
    }
}

/// A router and its destinations, small enough that back pressure is common.
struct Rig<T> {
    router: Box<dyn Router>,
    gates: Vec<Arc<Gate>>,
    received: Vec<Received>,
    hashes: Vec<u64>,
    records: PhantomData<T>,
}

impl<T: Numbered> Rig<T> {
    fn new(partitioning: Partitioning, destinations: usize, budget: usize, batch_records: usize) -> Self {
        let gates: Vec<Arc<Gate>> = (0..destinations).map(|_| Gate::new(1, budget, silent())).collect();
        gates.iter().for_each(|gate| gate.set_batch_records(batch_records));
        let targets = gates.iter().map(|gate| Target { gate: Arc::clone(gate), lane: LaneId(0) }).collect();
        let router = typed_router::<T>(partitioning, targets, KeyGroups::DEFAULT, silent());
        let received = (0..destinations).map(|_| Received::default()).collect();
        Self { router, gates, received, hashes: Vec::new(), records: PhantomData }
    }

    fn take(&mut self) -> bool {
        let mut any = false;
        for (gate, received) in self.gates.iter().zip(&mut self.received) {
            any |= received.take::<T>(gate, &self.hashes);
        }
        any
    }

    /// Routes everything, with a barrier before the batch at `barrier_before`, also when one was just refused, then
    /// flushes and drains.
    fn run(&mut self, batches: Vec<Batch<T>>, barrier_before: usize) {
        for (index, batch) in batches.into_iter().enumerate() {
            if index == barrier_before {
                self.router.broadcast(Control::Barrier(Barrier { checkpoint: CheckpointId(7) }));
            }
            let mut routed = self.router.route(ErasedBatch::new(batch));
            while routed == Routed::BackPressured && index + 1 != barrier_before {
                assert!(self.take(), "a refusal means that something is queued");
                routed = self.router.retry();
            }
        }
        while self.router.flush() == Routed::BackPressured {
            assert!(self.take(), "a refusal means that something is queued");
        }
        while self.take() {}
    }
}

/// What a destination must see of a source: the records that `is_mine`, each with the watermark before it.
fn expected<T: Numbered>(
    batches: &[Batch<T>],
    barrier_before: usize,
    is_mine: impl Fn(u64) -> bool,
) -> Vec<Seen> {
    let mut watermark = Timestamp::MIN;
    let mut seen = Vec::new();
    for (index, batch) in batches.iter().enumerate() {
        if index == barrier_before {
            seen.push(Seen::Barrier(7));
        }
        for (position, record) in batch.records.iter().enumerate() {
            if is_mine(record.number()) {
                seen.push(Seen::Record(record.number(), watermark));
            }
            for at in batch.watermarks.iter().filter(|at| at.offset == position + 1) {
                watermark = at.watermark;
            }
        }
    }
    seen
}

/// Routes all batches to gates of (number, budget, wish for the records of a batch), and checks what came out.
fn route_by_hash<T: Numbered>(specs: &[Spec], gates: (usize, usize, usize), barrier_before: usize) {
    let (destinations, budget, batch_records) = gates;
    let batches = build::<T>(specs);
    let mut rig = Rig::new(Partitioning::Hash, destinations, budget, batch_records);
    rig.hashes = specs.iter().flatten().map(|(hash, _)| *hash).collect();
    let hashes = rig.hashes.clone();
    rig.run(batches.clone(), barrier_before);
    let groups = KeyGroups::DEFAULT;
    let owner = |record: u64| {
        groups.owner(groups.group_of(KeyHash(hashes[record as usize - 1])), destinations as u32) as usize
    };
    for destination in 0..destinations {
        let mine = expected(&batches, barrier_before, |record| owner(record) == destination);
        assert_eq!(rig.received[destination].seen, mine, "destination {destination}");
        let last = batches.iter().filter_map(|batch| batch.watermarks.last()).next_back();
        assert_eq!(rig.received[destination].watermark, last.map(|at| at.watermark));
    }
    assert_eq!(rig.router.records_sent(), hashes.len() as u64);
}

proptest! {
    #[test]
    fn a_hash_router_sends_each_record_once_to_the_owner_of_its_key_group(
        specs in specs(), destinations in 1..10_usize, budget in 1..600_usize, batch_records in 1..60_usize,
        barrier_before in 0..30_usize
    ) {
        route_by_hash::<u64>(&specs, (destinations, budget, batch_records), barrier_before);
        route_by_hash::<String>(&specs, (destinations, budget, batch_records), barrier_before);
    }

    #[test]
    fn whole_batches_reach_one_or_all_destinations_with_every_watermark(
        specs in specs(), destinations in 1..5_usize, budget in 1..600_usize, batch_records in 1..60_usize,
        barrier_before in 0..30_usize, is_broadcast in any::<bool>()
    ) {
        let batches = build::<u64>(&specs);
        let partitioning = if is_broadcast { Partitioning::Broadcast } else { Partitioning::Rebalance };
        let mut rig = Rig::new(partitioning, destinations, budget, batch_records);
        rig.hashes = specs.iter().flatten().map(|(hash, _)| *hash).collect();
        rig.run(batches.clone(), barrier_before);
        let batch_of = |record: u64| {
            batches.iter().position(|batch| batch.records.contains(&record)).expect("every record has a batch")
        };
        for destination in 0..destinations {
            let is_mine = |record| is_broadcast || batch_of(record) % destinations == destination;
            let mine = expected(&batches, barrier_before, is_mine);
            assert_eq!(rig.received[destination].seen, mine, "destination {destination}");
        }
    }
}

#[test]
fn a_destination_without_records_gets_its_watermarks_while_the_producer_is_busy() {
    let mut rig = Rig::<u64>::new(Partitioning::Hash, 2, 1 << 20, 1_024);
    for number in 1..=200_u64 {
        rig.hashes.push(0);
        let mut batch = Batch {
            records: vec![number],
            timestamps: vec![Timestamp(number as i64)],
            hashes: vec![KeyHash(0)],
            watermarks: Vec::new(),
        };
        batch.push_watermark(Timestamp(number as i64));
        assert_eq!(rig.router.route(ErasedBatch::new(batch)), Routed::Ready);
    }
    while rig.take() {}
    assert!(rig.received[1].watermark >= Some(Timestamp(100)), "{:?}", rig.received[1].watermark);
    assert!(rig.received[1].seen.is_empty());
}

/// Subtasks of a source that have come to these watermarks, with how often each was woken.
fn seats<const N: usize>(watermarks: [i64; N]) -> [(Arc<AtomicUsize>, Wakeup, Arc<SubtaskStatus>); N] {
    watermarks.map(|watermark| {
        let (count, wakeup) = counting();
        let status = Arc::new(SubtaskStatus::default());
        status.set_emitted_watermark(Timestamp(watermark));
        (count, wakeup, status)
    })
}

#[test]
fn a_source_that_is_ahead_gives_way_until_the_one_behind_has_begun() {
    let [ahead, behind] = seats([20, 10]);
    let both = [&ahead, &behind].map(|(_, wakeup, status)| (wakeup.clone(), Arc::clone(status)));
    let turns = Turns::of(both.into());
    assert!(!turns[0].begin(), "the other wants no turn");
    behind.1.wake();
    assert!(turns[0].begin());
    assert_eq!(ahead.0.load(Ordering::Relaxed), 0);
    behind.1.begin();
    assert!(!turns[1].begin(), "it is behind");
    assert_eq!(ahead.0.load(Ordering::Relaxed), 1, "woken");
    ahead.1.begin();
    assert!(!turns[0].begin(), "the other has its turn");
    turns[1].begin();
    assert_eq!(ahead.0.load(Ordering::Relaxed), 1, "it did not give way");
    behind.1.wake();
    behind.2.step_began_ns.set(1);
    assert!(!turns[0].begin(), "the other is in a step, and was woken meanwhile");
    behind.2.step_began_ns.set(0);
    behind.2.set_emitted_watermark(Timestamp(20));
    assert!(!turns[0].begin(), "none is behind");
}

#[test]
fn sources_without_watermarks_never_give_way() {
    let both = seats([Timestamp::MIN.0; 2]);
    both.iter().for_each(|(_, wakeup, _)| wakeup.wake());
    let turns = Turns::of(both.map(|(_, wakeup, status)| (wakeup, status)).into());
    assert!(turns.iter().all(|turn| !turn.begin()));
}

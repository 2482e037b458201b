//! Handles against maps of plain collections; hashes collide, so keys are told apart by their bytes.

use std::collections::BTreeMap;
use std::sync::Arc;

use tidegate_derive::States;

use super::{AggregatingState, ListState, MapState, ReducingState, ValueState};
use crate as tidegate_runtime;
use crate::error::Result;
use crate::id::CheckpointId;
use crate::key::KeyHash;
use crate::state::testing::{FakeLease, Rows, seeds};
use crate::state::{
    Aggregate, Reduce, SlicePace, SnapshotMode, StateLease, StateRegistry, States, TableBudget,
};

#[derive(Default)]
struct Sum;

impl Reduce<u64> for Sum {
    fn reduce(&self, into: &mut u64, value: u64) {
        *into += value;
    }
}

#[derive(Default)]
struct Mean;

impl Aggregate for Mean {
    type In = u64;
    type Acc = (u64, u64);
    type Out = u64;

    fn create(&self) -> (u64, u64) {
        (0, 0)
    }

    fn add(&self, acc: &mut (u64, u64), value: u64) {
        *acc = (acc.0 + value, acc.1 + 1);
    }

    fn merge(&self, acc: &mut (u64, u64), other: (u64, u64)) {
        *acc = (acc.0 + other.0, acc.1 + other.1);
    }

    fn finish(&self, acc: &(u64, u64)) -> u64 {
        acc.0 / acc.1
    }
}

#[derive(States)]
#[states(crate = "tidegate_runtime")]
struct All {
    value: ValueState<String>,
    list: ListState<u64>,
    map: MapState<u16, u64>,
    sum: ReducingState<u64, Sum>,
    mean: AggregatingState<Mean>,
}

/// What a key should hold.
#[derive(Clone, Debug, Default, PartialEq)]
struct Held {
    value: Option<String>,
    list: Vec<u64>,
    map: BTreeMap<u16, u64>,
    sum: Option<u64>,
    mean: Option<(u64, u64)>,
}

type Model = BTreeMap<u64, Held>;

struct Run {
    keys: u64,
    mode: SnapshotMode,
    budget: TableBudget,
    random: u64,
    lease: Arc<FakeLease>,
    states: All,
    model: Model,
    frozen: Option<Model>,
    checkpoint: u64,
    completed: (Rows, Model),
}

fn open(lease: &Arc<FakeLease>, mode: SnapshotMode, budget: TableBudget) -> Result<All> {
    let lease = Arc::clone(lease);
    All::open(
        &mut StateRegistry::new(lease, (KeyHash(0), KeyHash(u64::MAX))).with_mode(mode).with_budget(budget),
    )
}

/// Few hashes, and keys of several lengths.
fn place(key: u64) -> (KeyHash, Vec<u8>) {
    (KeyHash((key % 7) << 60 | (key % 3)), vec![key as u8; 1 + key as usize % 30])
}

impl Run {
    fn new(keys: u64, seed: u64, mode: SnapshotMode, budget: TableBudget) -> Result<Self> {
        let lease = Arc::new(FakeLease::default());
        let states = open(&lease, mode, budget)?;
        let completed = (Rows::new(), Model::new());
        let (model, frozen) = (Model::new(), None);
        Ok(Self { keys, mode, budget, random: seed, lease, states, model, frozen, checkpoint: 0, completed })
    }

    fn draw(&mut self, below: u64) -> u64 {
        self.random =
            self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((u128::from(self.random ^ self.random >> 29) * u128::from(below)) >> 64) as u64
    }

    fn step(&mut self) -> Result<()> {
        let (key, drawn) = (self.draw(self.keys), self.draw(1_000));
        let (hash, bytes) = place(key);
        self.states.set_key(hash, &bytes);
        let operation = self.draw(18);
        let held = self.model.entry(key).or_default();
        let states = &mut self.states;
        match operation {
            0 => {
                states.value.set(drawn.to_string())?;
                held.value = Some(drawn.to_string());
            }
            1 => assert_eq!(states.value.take()?, held.value.take()),
            2 => {
                states.value.update(|value| value.push('x'))?;
                held.value.get_or_insert_default().push('x');
            }
            3..6 => {
                states.list.push(drawn)?;
                held.list.push(drawn);
            }
            6 => assert_eq!(states.list.drain()?.collect::<Vec<_>>(), std::mem::take(&mut held.list)),
            7 => {
                states.list.extend([drawn, drawn + 1])?;
                held.list.extend([drawn, drawn + 1]);
            }
            8..11 => {
                let element = drawn as u16 % 300;
                assert_eq!(states.map.insert(element, drawn)?, held.map.insert(element, drawn));
            }
            11 => {
                let element = drawn as u16 % 300;
                assert_eq!(states.map.remove(&element)?, held.map.remove(&element));
            }
            12 => {
                states.map.clear()?;
                held.map.clear();
            }
            13 => {
                if let Some(value) = states.map.get_mut(&(drawn as u16 % 300))? {
                    *value += 1;
                }
                held.map.entry(drawn as u16 % 300).and_modify(|value| *value += 1);
            }
            14 => {
                states.sum.add(drawn)?;
                held.sum = Some(held.sum.unwrap_or(0) + drawn);
            }
            15 => {
                states.mean.add(drawn)?;
                let (sum, count) = held.mean.unwrap_or((0, 0));
                held.mean = Some((sum + drawn, count + 1));
            }
            16 => {
                states.sum.clear()?;
                held.sum = None;
            }
            _ => {
                states.mean.clear()?;
                held.mean = None;
            }
        }
        self.check(key)
    }

    fn check(&mut self, key: u64) -> Result<()> {
        let (hash, bytes) = place(key);
        let held = self.model.get(&key).cloned().unwrap_or_default();
        let states = &mut self.states;
        states.set_key(hash, &bytes);
        assert_eq!(states.value.get()?, held.value.as_ref());
        assert_eq!(states.list.iter()?.copied().collect::<Vec<_>>(), held.list);
        assert_eq!(states.list.len()?, held.list.len());
        let entries: BTreeMap<u16, u64> = states.map.iter()?.map(|(key, value)| (*key, *value)).collect();
        assert_eq!(entries, held.map);
        assert_eq!(states.map.len()?, held.map.len());
        assert_eq!(states.sum.get()?.copied(), held.sum);
        assert_eq!(states.mean.get()?, held.mean.map(|(sum, count)| sum / count));
        Ok(())
    }

    fn slice(&mut self, pace: SlicePace) -> Result<bool> {
        let (mut is_done, mut result) = (true, Ok(()));
        let lease = &self.lease;
        self.states.visit_tables(&mut |table| {
            if is_done && result.is_ok() {
                match table.encode(lease.as_ref(), pace) {
                    Ok(done) => is_done = done,
                    Err(error) => result = Err(error),
                }
            }
        });
        result?;
        if is_done && let Some(frozen) = self.frozen.take() {
            let mut rows = SnapshotMode::Full;
            self.states.visit_tables(&mut |table| rows = rows.and(table.handed_over()));
            self.lease.seal(CheckpointId(self.checkpoint), rows)?;
            self.completed = (self.lease.rows(), frozen);
            self.lease.set_durable(CheckpointId(self.checkpoint));
        }
        Ok(is_done)
    }

    fn freeze(&mut self) -> Result<()> {
        while !self.slice(SlicePace::default())? {}
        self.checkpoint += 1;
        let checkpoint = CheckpointId(self.checkpoint);
        self.frozen = Some(self.model.clone());
        self.states.visit_tables(&mut |table| table.freeze(checkpoint));
        Ok(())
    }

    fn run(&mut self, steps: u64) -> Result<()> {
        for _ in 0..steps {
            self.step()?;
            match self.draw(100) {
                0 => self.freeze()?,
                1..20 => {
                    self.slice(SlicePace { entries: 3 })?;
                }
                20 => {
                    let (rows, model) = self.completed.clone();
                    self.lease = Arc::new(FakeLease::restored(rows));
                    self.states = open(&self.lease, self.mode, self.budget)?;
                    (self.model, self.frozen) = (model, None);
                    (0..self.keys).try_for_each(|key| self.check(key))?;
                }
                _ => {}
            }
        }
        Ok(())
    }
}

#[test]
fn handles_are_plain_collections_across_freezes_and_roll_backs() -> Result<()> {
    for seed in seeds(30) {
        println!("SEED={seed}");
        Run::new(40, seed, SnapshotMode::Delta, TableBudget::UNLIMITED)?.run(2_000)?;
    }
    Ok(())
}

#[test]
fn elements_that_did_not_change_are_not_lost_when_their_key_did() -> Result<()> {
    for seed in seeds(10) {
        println!("SEED={seed}");
        Run::new(1, seed, SnapshotMode::Delta, TableBudget::UNLIMITED)?.run(4_000)?;
    }
    Ok(())
}

#[test]
fn handles_with_few_keys_in_memory_are_the_same_collections() -> Result<()> {
    for seed in seeds(30) {
        println!("SEED={seed}");
        let budget = TableBudget { entries: 4, ..TableBudget::UNLIMITED };
        Run::new(40, seed, SnapshotMode::Delta, budget)?.run(2_000)?;
    }
    Ok(())
}

#[test]
fn full_snapshots_of_handles_hold_every_element() -> Result<()> {
    for seed in seeds(20) {
        println!("SEED={seed}");
        Run::new(40, seed, SnapshotMode::Full, TableBudget::UNLIMITED)?.run(2_000)?;
    }
    Ok(())
}

#[test]
fn a_push_writes_one_row_and_a_drain_tombstones() -> Result<()> {
    let lease = Arc::new(FakeLease::default());
    let mut states = open(&lease, SnapshotMode::Delta, TableBudget::UNLIMITED)?;
    let mut checkpoint = 0;
    let mut rows = |states: &mut All| -> Result<Vec<bool>> {
        checkpoint += 1;
        states.visit_tables(&mut |table| table.freeze(CheckpointId(checkpoint)));
        let mut result = Ok(true);
        states.visit_tables(&mut |table| {
            let done = table.encode(lease.as_ref(), SlicePace::default());
            if !matches!(done, Ok(true)) {
                result = done;
            }
        });
        assert!(result?);
        Ok(lease.delta(CheckpointId(checkpoint)).values().map(Option::is_some).collect())
    };
    states.set_key(KeyHash(9), b"k");
    states.list.extend([1, 2, 3])?;
    assert_eq!(rows(&mut states)?, [true; 3]);
    states.list.push(4)?;
    assert_eq!(rows(&mut states)?, [true]);
    states.list.push(5)?;
    assert_eq!(states.list.drain()?.sum::<u64>(), 15);
    assert_eq!(rows(&mut states)?, [false; 4], "the fifth was never written");
    states.map.insert(1, 1)?;
    states.map.insert(2, 2)?;
    assert_eq!(rows(&mut states)?, [true; 2]);
    states.map.insert(2, 3)?;
    assert_eq!(rows(&mut states)?, [true]);
    states.map.clear()?;
    assert_eq!(rows(&mut states)?, [false; 2]);
    assert_eq!(rows(&mut states)?, [false; 0]);
    Ok(())
}

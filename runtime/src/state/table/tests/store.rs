//! Tables and timers on the real store: changes, checkpoints of which some are aborted, new attempts.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Mutex;

use super::*;
use crate::files::{FaultyFiles, FileLayer, create_dirs};
use crate::id::{AttemptId, OperatorId, SubtaskId};
use crate::state::{LeaseRequest, RunRefs, StateLease, Store, StoreEvents, StoreOptions, Timers};
use crate::time::Timestamp;

type Outcome = Result<Vec<(SubtaskId, RunRefs)>>;

#[derive(Default)]
struct Recorder(Mutex<BTreeMap<CheckpointId, Outcome>>);

impl StoreEvents for Recorder {
    fn on_durable(&self, checkpoint: CheckpointId, outcome: Outcome) {
        self.0.lock().expect("no panic").insert(checkpoint, outcome);
    }
}

struct World {
    store: Store,
    events: Arc<Recorder>,
    mode: SnapshotMode,
    budget: TableBudget,
    attempt: u64,
    next: u64,
    lease: Arc<dyn StateLease>,
    tables: (KeyedTable<u64, u64>, Timers<u64>),
    model: (Model, BTreeSet<(i64, u64)>),
    published: (RunRefs, (Model, BTreeSet<(i64, u64)>)),
}

const SUBTASK: SubtaskId = SubtaskId { operator: OperatorId(1), index: 0 };

impl World {
    fn new(mode: SnapshotMode, budget: TableBudget) -> Result<Self> {
        let files = FaultyFiles::new();
        create_dirs(&files, Path::new("/state"))?;
        let files: Arc<dyn FileLayer> = Arc::new(files);
        let options = match mode {
            SnapshotMode::Delta => StoreOptions::redb(files, "/state/store.redb"),
            SnapshotMode::Full => StoreOptions::memory(files, "/state/store"),
        };
        let events = Arc::new(Recorder::default());
        let store = Store::open(options, Arc::clone(&events) as Arc<dyn StoreEvents>, &[])?;
        let (lease, tables) = start(&store, 1, Vec::new(), (mode, budget))?;
        let (model, published) = <_>::default();
        Ok(Self { store, events, mode, budget, attempt: 1, next: 1, lease, tables, model, published })
    }

    fn change(&mut self, random: &mut u64, keys: u64, changes: u32) -> Result<()> {
        for _ in 0..changes {
            *random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let (key, kind, time) = ((*random >> 33) % keys, *random >> 29 & 7, (*random >> 20 & 63) as i64);
            let hash = hash_key(&key);
            if kind == 0 {
                assert_eq!(self.tables.0.remove(hash, &key)?, self.model.0.remove(&key));
            } else {
                *self.tables.0.update_or_default(hash, &key)? += kind;
                *self.model.0.entry(key).or_default() += kind;
            }
            if kind < 3 {
                let is_new = self.model.1.insert((time, key));
                assert_eq!(self.tables.1.register(Timestamp(time), hash, &key)?, is_new);
            } else if kind == 3
                && let Some((time, _, key)) = self.tables.1.pop_due(Timestamp(20))?
            {
                assert!(self.model.1.remove(&(time.0, key)));
            }
        }
        Ok(())
    }

    fn checkpoint(&mut self, random: &mut u64, keys: u64, fate: Fate) -> Result<()> {
        let id = CheckpointId(self.next);
        self.next += 1;
        self.store.begin(id, vec![SUBTASK]);
        let frozen = self.model.clone();
        self.tables.0.freeze(id);
        self.tables.1.freeze(id);
        let pace = SlicePace { entries: 200 };
        let lease = Arc::clone(&self.lease);
        while !(self.tables.0.encode(lease.as_ref(), pace)? && self.tables.1.encode(lease.as_ref(), pace)?) {
            self.change(random, keys, 20)?;
        }
        if fate == Fate::Aborted {
            self.store.abort(id);
        }
        let are_full = [self.tables.0.handed_over(), self.tables.1.handed_over()] == [SnapshotMode::Full; 2];
        self.lease.seal(id, if are_full { SnapshotMode::Full } else { SnapshotMode::Delta })?;
        self.store.wait_idle();
        if let Some(outcome) = self.events.0.lock().expect("no panic").remove(&id)
            && fate == Fate::Completed
        {
            let runs = outcome?.into_iter().flat_map(|(_, runs)| runs).collect();
            self.store.completed(id);
            self.store.retain(&[id]);
            self.published = (runs, frozen);
        }
        Ok(())
    }

    fn start_again(&mut self) -> Result<()> {
        self.attempt += 1;
        let (runs, model) = self.published.clone();
        (self.lease, self.tables) = start(&self.store, self.attempt, runs, (self.mode, self.budget))?;
        self.model = model;
        self.check()
    }

    fn check(&self) -> Result<()> {
        let mut seen = Model::new();
        self.tables.0.for_each(&mut |key, value| {
            assert_eq!(seen.insert(*key, *value), None);
            Ok(())
        })?;
        assert_eq!(seen, self.model.0);
        assert_eq!(self.tables.1.len(), self.model.1.len());
        Ok(())
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Completed,
    Aborted,
}

type Started = (Arc<dyn StateLease>, (KeyedTable<u64, u64>, Timers<u64>));

fn start(store: &Store, attempt: u64, runs: RunRefs, how: (SnapshotMode, TableBudget)) -> Result<Started> {
    let request = LeaseRequest::new(AttemptId(attempt), SUBTASK);
    let lease = store.lease(request.with_restore(runs))?;
    let hashes = (KeyHash(0), KeyHash(u64::MAX));
    let mut registry = StateRegistry::new(Arc::clone(&lease), hashes).with_mode(how.0).with_budget(how.1);
    Ok((lease, (registry.keyed_table("table")?, registry.timers("timers")?)))
}

fn run(mode: SnapshotMode, budget: TableBudget) -> Result<()> {
    for seed in seeds(3) {
        println!("SEED={seed}");
        let mut random = seed;
        let mut world = World::new(mode, budget)?;
        for round in 0..16 {
            world.change(&mut random, 3_000, 1_000)?;
            let fate = if (round + seed) % 4 == 1 { Fate::Aborted } else { Fate::Completed };
            world.checkpoint(&mut random, 3_000, fate)?;
            if round % 5 == 4 {
                world.change(&mut random, 3_000, 200)?;
                world.start_again()?;
            }
        }
        world.check()?;
    }
    Ok(())
}

#[test]
fn tables_and_timers_come_back_from_the_redb_store() -> Result<()> {
    run(SnapshotMode::Delta, TableBudget::UNLIMITED)
}

#[test]
fn a_tenth_of_the_keys_in_memory_is_enough_with_the_redb_store() -> Result<()> {
    run(SnapshotMode::Delta, TableBudget { entries: 300, ..TableBudget::UNLIMITED })
}

#[test]
fn tables_and_timers_come_back_from_the_memory_store() -> Result<()> {
    run(SnapshotMode::Full, TableBudget::UNLIMITED)
}

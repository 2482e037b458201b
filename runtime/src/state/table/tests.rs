//! The keyed table against a map: random changes, freezes, slices, roll-backs, with and without a budget.

mod slots;
mod store;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::error::Result;
use crate::id::{CheckpointId, StateId};
use crate::key::{KeyHash, hash_key};
use crate::state::table::load::KEYS_READ_MAX;
use crate::state::testing::{FakeLease, Rows, seeds};
use crate::state::{
    KeyedTable, Retention, SlicePace, SnapshotMode, StateLease, StateRegistry, StateTable, TableBudget, codec,
};

type Model = BTreeMap<u64, u64>;

/// A table, what it should hold, and what its checkpoints should.
struct Run {
    setting: Setting,
    seed: u64,
    random: u64,
    lease: Arc<FakeLease>,
    table: KeyedTable<u64, u64>,
    model: Model,
    /// The model at the freeze whose version is being handed over.
    frozen: Option<Model>,
    checkpoint: u64,
    /// Checkpoints that are whole: rows and model.
    completed: Vec<(u64, Rows, Model)>,
    /// Those of which nothing older is needed.
    full: u64,
}

#[derive(Clone, Copy)]
struct Setting {
    keys: u64,
    mode: SnapshotMode,
    budget: TableBudget,
    hashes: (KeyHash, KeyHash),
}

impl Setting {
    fn of(keys: u64) -> Self {
        let hashes = (KeyHash(0), KeyHash(u64::MAX));
        Self { keys, mode: SnapshotMode::Delta, budget: TableBudget::UNLIMITED, hashes }
    }

    fn open(self, lease: &Arc<FakeLease>) -> Result<KeyedTable<u64, u64>> {
        let lease = Arc::clone(lease);
        StateRegistry::new(lease, self.hashes).with_mode(self.mode).with_budget(self.budget).keyed_table("t")
    }
}

impl Run {
    fn new(setting: Setting, seed: u64) -> Result<Self> {
        let lease = Arc::new(FakeLease::default());
        lease.refuse_each((seed % 3) as u32);
        let table = setting.open(&lease)?;
        Ok(Self {
            setting,
            seed,
            random: seed,
            lease,
            table,
            model: Model::new(),
            frozen: None,
            checkpoint: 0,
            completed: vec![(0, Rows::new(), Model::new())],
            full: 0,
        })
    }

    fn draw(&mut self, below: u64) -> u64 {
        self.random =
            self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((u128::from(self.random ^ self.random >> 29) * u128::from(below)) >> 64) as u64
    }

    /// A key of the subtask.
    fn key(&mut self) -> (KeyHash, u64) {
        loop {
            let key = self.draw(self.setting.keys);
            let hash = hash_key(&key);
            if (self.setting.hashes.0..=self.setting.hashes.1).contains(&hash) {
                return (hash, key);
            }
        }
    }

    fn update_batch(&mut self) -> Result<()> {
        let keys: Vec<u64> = (0..self.draw(12)).map(|_| self.key().1).collect();
        let hashes: Vec<KeyHash> = keys.iter().map(hash_key).collect();
        let default = self.draw(u64::MAX);
        self.table.update_batch(
            &hashes,
            &keys,
            || default,
            |at, value| {
                *value = value.wrapping_add(keys[at]);
                Ok(())
            },
        )?;
        for key in keys {
            let value = self.model.entry(key).or_insert(default);
            *value = value.wrapping_add(key);
        }
        Ok(())
    }

    fn step(&mut self) -> Result<()> {
        let (hash, key) = self.key();
        match self.draw(100) {
            0..35 => {
                *self.table.update_or_default(hash, &key)? += 1;
                *self.model.entry(key).or_default() += 1;
            }
            35..45 => self.update_batch()?,
            45..60 => {
                let value = self.draw(u64::MAX);
                self.table.insert(hash, &key, value)?;
                self.model.insert(key, value);
            }
            60..66 => {
                let retention = if self.draw(2) == 0 { Retention::Delete } else { Retention::Keep };
                self.table.announce(hash);
                let changed = self.table.change(hash, &key, |value| {
                    *value ^= 1;
                    (retention, *value)
                })?;
                let expected = self.model.get(&key).map(|value| value ^ 1);
                assert_eq!(changed, expected, "seed {}, key {key}", self.seed);
                match (expected, retention) {
                    (Some(value), Retention::Keep) => self.model.insert(key, value),
                    _ => self.model.remove(&key),
                };
            }
            66..75 => {
                assert_eq!(self.table.remove(hash, &key)?, self.model.remove(&key), "seed {}", self.seed)
            }
            75..90 => {
                assert_eq!(
                    self.table.get(hash, &key)?,
                    self.model.get(&key),
                    "seed {}, key {key}",
                    self.seed
                );
            }
            90..95 => {
                if let Some(value) = self.table.update(hash, &key)? {
                    *value ^= 1;
                }
                self.model.entry(key).and_modify(|value| *value ^= 1);
            }
            _ => {
                let pace = SlicePace { entries: 1 + self.draw(200) as usize };
                if self.table.encode(self.lease.as_ref(), pace)? {
                    self.complete()?;
                }
            }
        }
        Ok(())
    }

    fn freeze(&mut self) -> Result<()> {
        self.finish()?;
        self.checkpoint += 1;
        self.frozen = Some(self.model.clone());
        self.table.freeze(CheckpointId(self.checkpoint));
        Ok(())
    }

    fn finish(&mut self) -> Result<()> {
        while !self.table.encode(self.lease.as_ref(), SlicePace::default())? {}
        self.complete()
    }

    /// The contents of a snapshot are those of the model at its freeze.
    fn complete(&mut self) -> Result<()> {
        let Some(frozen) = self.frozen.take() else { return Ok(()) };
        let checkpoint = CheckpointId(self.checkpoint);
        self.lease.seal(checkpoint, self.table.handed_over())?;
        self.full += u64::from(self.table.handed_over() == SnapshotMode::Full);
        let rows = self.lease.rows();
        assert_eq!(decoded(&rows)?, frozen, "seed {}, {checkpoint}", self.seed);
        // One in three is aborted: its delta stays, but nothing says that it is durable.
        if self.draw(3) > 0 {
            self.lease.set_durable(checkpoint);
            self.completed.push((self.checkpoint, rows, frozen));
        }
        Ok(())
    }

    /// A new attempt from any of the last completed checkpoints.
    fn roll_back(&mut self) -> Result<()> {
        let back = self.draw(2) as usize;
        let keep = self.completed.len().saturating_sub(back).max(1);
        self.completed.truncate(keep);
        let Some((_, rows, model)) = self.completed.last().cloned() else { return Ok(()) };
        self.lease = Arc::new(FakeLease::restored(rows));
        self.table = self.setting.open(&self.lease)?;
        self.model = model;
        self.frozen = None;
        Ok(())
    }

    fn check_all(&self) -> Result<()> {
        let mut seen = Vec::new();
        self.table.for_each(&mut |key, value| {
            seen.push((*key, *value));
            Ok(())
        })?;
        assert!(seen.is_sorted_by_key(|(key, _)| hash_key(key)), "seed {}: out of order", self.seed);
        let len = seen.len();
        let seen: Model = seen.into_iter().collect();
        assert_eq!(seen.len(), len, "seed {}: a key was visited twice", self.seed);
        assert_eq!(seen, self.model, "seed {}", self.seed);
        Ok(())
    }

    fn run(mut self, steps: u64) -> Result<Self> {
        for step in 0..steps {
            self.step()?;
            if self.draw(steps / 12) == 0 {
                self.freeze()?;
            }
            if self.draw(steps / 4) == 0 {
                self.roll_back()?;
            }
            if step % (steps / 8) == 0 {
                self.check_all()?;
            }
        }
        self.freeze()?;
        self.finish()?;
        self.check_all()?;
        Ok(self)
    }
}

fn decoded(rows: &Rows) -> Result<Model> {
    rows.iter()
        .map(|((state, hash, key, element), value)| {
            let key: u64 = codec::decode_bare(key)?;
            assert_eq!((*state, *hash, element.as_slice()), (StateId(0), hash_key(&key), &[][..]));
            Ok((key, codec::decode_value(value)?))
        })
        .collect()
}

#[test]
fn a_table_is_a_map_across_freezes_aborts_and_roll_backs_case_75() -> Result<()> {
    for seed in seeds(24) {
        Run::new(Setting::of(1 + 200 * (seed % 7)), seed)?.run(4_000)?;
    }
    Ok(())
}

#[test]
fn a_delta_that_holds_every_live_row_needs_nothing_older() -> Result<()> {
    let (mut full, mut taken) = (0, 0);
    for seed in seeds(40) {
        let budget =
            TableBudget { entries: if seed % 4 == 0 { 8 } else { usize::MAX }, ..TableBudget::UNLIMITED };
        let run = Run::new(Setting { budget, ..Setting::of(4 + seed) }, seed)?.run(3_000)?;
        (full, taken) = (full + run.full, taken + run.checkpoint);
    }
    assert!(full > taken / 10 && full < taken / 10 * 9, "{full} of {taken}");
    Ok(())
}

#[test]
fn one_key_that_is_left_alone_makes_a_delta_of_a_snapshot() -> Result<()> {
    let (lease, mut table) = filled(3_000, TableBudget::UNLIMITED)?;
    checkpoint(&mut table, &lease, 1)?;
    assert_eq!(table.handed_over(), SnapshotMode::Full, "all are new");
    let touch = |table: &mut KeyedTable<u64, u64>, keys: std::ops::Range<u64>| -> Result<()> {
        for key in keys {
            *table.update_or_default(hash_key(&key), &key)? += 1;
        }
        Ok(())
    };
    touch(&mut table, 0..2_999)?;
    checkpoint(&mut table, &lease, 2)?;
    assert_eq!(table.handed_over(), SnapshotMode::Delta);
    touch(&mut table, 0..2_999)?;
    // It is too late for what is written after the freeze.
    table.freeze(CheckpointId(3));
    touch(&mut table, 2_999..3_000)?;
    while !table.encode(lease.as_ref(), SlicePace::default())? {}
    assert_eq!(table.handed_over(), SnapshotMode::Delta);
    touch(&mut table, 0..3_000)?;
    checkpoint(&mut table, &lease, 4)?;
    assert_eq!(table.handed_over(), SnapshotMode::Full);
    touch(&mut table, 0..2_999)?;
    table.remove(hash_key(&2_999), &2_999)?;
    checkpoint(&mut table, &lease, 5)?;
    assert_eq!(table.handed_over(), SnapshotMode::Full, "what is deleted needs no row");
    Ok(())
}

#[test]
fn a_table_grows_and_divides_while_it_is_handed_over() -> Result<()> {
    for seed in seeds(3) {
        let run = Run::new(Setting::of(60_000), seed)?.run(60_000)?;
        assert!(run.table.entries() > 1_000, "seed {seed}");
    }
    Ok(())
}

#[test]
fn a_table_with_a_tenth_of_its_keys_in_memory_is_the_same_map() -> Result<()> {
    for seed in seeds(8) {
        let budget = TableBudget { entries: 1_000, ..TableBudget::UNLIMITED };
        let run = Run::new(Setting { budget, ..Setting::of(10_000) }, seed)?.run(40_000)?;
        let (gets, scans) = run.lease.reads();
        assert!(gets + scans > 0, "seed {seed}: nothing was read back");
    }
    Ok(())
}

#[test]
fn a_table_within_its_budget_of_bytes_is_the_same_map() -> Result<()> {
    for seed in seeds(4) {
        let budget = TableBudget { bytes: 20_000, ..TableBudget::UNLIMITED };
        Run::new(Setting { budget, ..Setting::of(3_000) }, seed)?.run(20_000)?;
    }
    Ok(())
}

#[test]
fn full_snapshots_hold_every_live_entry() -> Result<()> {
    for seed in seeds(12) {
        Run::new(Setting { mode: SnapshotMode::Full, ..Setting::of(2_000) }, seed)?.run(10_000)?;
    }
    Ok(())
}

#[test]
fn a_subtask_of_a_small_range_keeps_the_order_of_rows_case_69() -> Result<()> {
    for seed in seeds(4) {
        let first = (seed.wrapping_mul(0x9e37_79b9_7f4a_7c15)) >> 1;
        let hashes = (KeyHash(first), KeyHash(first + (u64::MAX >> 4) + seed));
        Run::new(Setting { hashes, ..Setting::of(40_000) }, seed)?.run(12_000)?;
    }
    Ok(())
}

fn filled(keys: u64, budget: TableBudget) -> Result<(Arc<FakeLease>, KeyedTable<u64, u64>)> {
    let lease = Arc::new(FakeLease::default());
    let mut table = Setting { budget, ..Setting::of(keys) }.open(&lease)?;
    for key in 0..keys {
        table.insert(hash_key(&key), &key, key)?;
    }
    Ok((lease, table))
}

fn checkpoint(table: &mut KeyedTable<u64, u64>, lease: &FakeLease, id: u64) -> Result<()> {
    table.freeze(CheckpointId(id));
    while !table.encode(lease, SlicePace::default())? {}
    lease.set_durable(CheckpointId(id));
    Ok(())
}

#[test]
fn entries_leave_only_when_they_are_durable() -> Result<()> {
    let budget = TableBudget { entries: 1_000, ..TableBudget::UNLIMITED };
    let (lease, mut table) = filled(10_000, budget)?;
    assert_eq!(table.entries(), 10_000, "nothing is durable, so all must stay");
    table.freeze(CheckpointId(1));
    while !table.encode(lease.as_ref(), SlicePace::default())? {}
    for key in 10_000..10_500 {
        table.insert(hash_key(&key), &key, key)?;
    }
    assert_eq!(table.entries(), 10_500, "handed over is not durable");
    lease.set_durable(CheckpointId(1));
    for key in 10_500..11_500 {
        table.insert(hash_key(&key), &key, key)?;
    }
    assert!(table.entries() < 2_500, "{} entries of a budget of 1,000 and 1,500 dirty", table.entries());
    Ok(())
}

#[test]
fn a_loop_over_more_keys_than_fit_stays_within_its_budget() -> Result<()> {
    let budget = TableBudget { entries: 1_000, ..TableBudget::UNLIMITED };
    let (lease, mut table) = filled(10_000, budget)?;
    for id in 1..=3 {
        checkpoint(&mut table, &lease, id)?;
    }
    for round in 0..3 {
        for key in 0..10_000 {
            assert_eq!(table.get(hash_key(&key), &key)?, Some(&key), "round {round}");
        }
        assert!(table.entries() <= 1_300, "{} entries", table.entries());
    }
    Ok(())
}

#[test]
fn deleted_keys_leave_no_memory_behind_case_55() -> Result<()> {
    let (lease, mut table) = filled(20_000, TableBudget::UNLIMITED)?;
    checkpoint(&mut table, &lease, 1)?;
    let full = table.bytes();
    for key in 0..20_000 {
        table.remove(hash_key(&key), &key)?;
    }
    checkpoint(&mut table, &lease, 2)?;
    // The tombstones are durable now: the next pass sweeps them.
    checkpoint(&mut table, &lease, 3)?;
    assert_eq!(table.entries(), 0);
    assert!(table.bytes() < full / 4, "{} bytes of {full} are left", table.bytes());
    assert!(lease.rows().is_empty());
    Ok(())
}

#[test]
fn keys_made_and_deleted_between_two_freezes_leave_no_row() -> Result<()> {
    let (lease, mut table) = filled(100, TableBudget::UNLIMITED)?;
    for key in 0..100 {
        assert_eq!(table.remove(hash_key(&key), &key)?, Some(key));
    }
    checkpoint(&mut table, &lease, 1)?;
    assert!(lease.delta(CheckpointId(1)).is_empty());
    Ok(())
}

#[test]
fn a_fresh_table_never_asks_the_store() -> Result<()> {
    let (lease, mut table) = filled(5_000, TableBudget::UNLIMITED)?;
    checkpoint(&mut table, &lease, 1)?;
    for key in 0..10_000 {
        table.get(hash_key(&key), &key)?;
    }
    assert_eq!(lease.reads(), (0, 0));
    Ok(())
}

#[test]
fn the_first_keys_of_a_segment_are_read_alone() -> Result<()> {
    let (lease, mut table) = filled(20_000, TableBudget::UNLIMITED)?;
    checkpoint(&mut table, &lease, 1)?;
    let lease = Arc::new(FakeLease::restored(lease.rows()));
    let mut table = Setting::of(0).open(&lease)?;
    let (first, (_, scans)) = (u64::from(KEYS_READ_MAX), lease.reads());
    for key in 0..first {
        assert_eq!(table.get(hash_key(&key), &key)?.copied(), Some(key));
    }
    assert_eq!(lease.reads(), (first, scans), "not a row more than was asked for");
    Ok(())
}

#[test]
fn a_small_state_is_read_back_by_segments_and_absent_keys_then_cost_nothing() -> Result<()> {
    let (lease, mut table) = filled(20_000, TableBudget::UNLIMITED)?;
    checkpoint(&mut table, &lease, 1)?;
    let lease = Arc::new(FakeLease::restored(lease.rows()));
    let mut table = Setting::of(0).open(&lease)?;
    for key in 0..40_000 {
        assert_eq!(table.get(hash_key(&key), &key)?.copied(), (key < 20_000).then_some(key));
    }
    let (gets, scans) = lease.reads();
    let first = u64::from(KEYS_READ_MAX);
    assert!(gets >= first && gets <= scans * first, "{gets} keys were read before {scans} segments");
    assert!(scans < 600, "{scans} scans for 20,000 keys");
    Ok(())
}

/// A third of the hashes leaves half of the positions empty, and the first segment that is read alone says little
/// about how many entries there are.
#[test]
fn a_subtask_of_any_range_reads_its_state_back_segment_by_segment_case_69() -> Result<()> {
    for width in [u64::MAX, u64::MAX / 2, u64::MAX / 3, u64::MAX / 7, (1 << 60) + 1, 1 << 60] {
        let setting = Setting { hashes: (KeyHash(11), KeyHash(width)), ..Setting::of(0) };
        for entries in [200, 1_100, 1_250, 2_400, 9_000] {
            let owned = (0u64..).map(|key| (hash_key(&key), key));
            let owned = owned.filter(|(hash, _)| (setting.hashes.0..=setting.hashes.1).contains(hash));
            let mut owned: Vec<(KeyHash, u64)> = owned.take(entries).collect();
            owned.sort();
            let lease = Arc::new(FakeLease::default());
            let mut table = setting.open(&lease)?;
            for (hash, key) in &owned {
                table.insert(*hash, key, *key)?;
            }
            checkpoint(&mut table, &lease, 1)?;
            let mut table = setting.open(&Arc::new(FakeLease::restored(lease.rows())))?;
            for (hash, key) in &owned {
                assert_eq!(table.get(*hash, key)?, Some(key), "{entries} entries up to hash {width:x}");
            }
        }
    }
    Ok(())
}

#[test]
fn batches_are_the_same_as_single_updates() -> Result<()> {
    let (lease, mut table) = filled(0, TableBudget::UNLIMITED)?;
    let mut model = Model::new();
    for seed in seeds(40) {
        let keys: Vec<u64> = (0..seed % 133).map(|n| (n * n + seed * 7) % 3_000).collect();
        let hashes: Vec<KeyHash> = keys.iter().map(hash_key).collect();
        table.update_batch(
            &hashes,
            &keys,
            || 5,
            |at, value| {
                *value += keys[at];
                Ok(())
            },
        )?;
        for key in &keys {
            *model.entry(*key).or_insert(5) += key;
        }
        if seed % 8 == 0 {
            checkpoint(&mut table, &lease, seed + 1)?;
        }
    }
    let mut seen = Model::new();
    table.for_each(&mut |key, value| {
        seen.insert(*key, *value);
        Ok(())
    })?;
    assert_eq!(seen, model);
    Ok(())
}

#[test]
fn a_type_that_cannot_be_read_back_fails_the_first_checkpoint_by_name() -> Result<()> {
    #[derive(serde::Serialize, serde::Deserialize)]
    struct Odd {
        #[serde(skip_serializing_if = "Option::is_none")]
        middle: Option<u32>,
        last: u32,
    }
    let lease = Arc::new(FakeLease::default());
    let mut table: KeyedTable<u64, Odd> =
        StateRegistry::new(Arc::<FakeLease>::clone(&lease), (KeyHash(0), KeyHash(u64::MAX)))
            .keyed_table("odd")?;
    table.insert(hash_key(&1u64), &1, Odd { middle: None, last: 300 })?;
    table.freeze(CheckpointId(1));
    let error = table.encode(lease.as_ref(), SlicePace::default()).expect_err("it can't be read back");
    assert!(
        error.to_string().contains("Odd") && error.to_string().contains("skip_serializing_if"),
        "{error}"
    );
    Ok(())
}

#[test]
fn keys_that_their_serde_form_does_not_tell_apart_are_an_error_and_no_flood_of_memory() -> Result<()> {
    #[derive(Clone, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
    struct Careless {
        #[serde(skip)]
        id: u64,
    }
    let lease = Arc::new(FakeLease::default());
    let mut table: KeyedTable<Careless, u64> =
        StateRegistry::new(lease, (KeyHash(0), KeyHash(u64::MAX))).keyed_table("careless")?;
    let mut insert = |id| table.insert(hash_key(&Careless { id }), &Careless { id }, id);
    let error = (0..3_000).find_map(|id| insert(id).err()).expect("the hashes are one");
    assert!(error.to_string().contains("Careless") && error.to_string().contains("skip"), "{error}");
    assert!(table.bytes() < 1_000_000, "{} bytes", table.bytes());
    Ok(())
}

//! Any history of deltas, aborts, failures, roll-backs, restarts and folds shows the rows of a naive model.

use proptest::collection::vec;
use proptest::prelude::{ProptestConfig, Strategy, any, prop_assert_eq, proptest};
use proptest::test_runner::TestCaseError;
use proptest::{option, prop_oneof};

use super::*;
use crate::files::Fault;

#[derive(Clone, Debug)]
enum Step {
    /// A delta, or all rows, and what becomes of its checkpoint.
    Checkpoint(Vec<(u16, u64, u8, Option<u16>)>, SnapshotMode, Fate),
    /// A new attempt from one of the retained checkpoints.
    RollBack(u8),
    /// The process dies; the next one goes on from the newest checkpoint.
    Restart(u64),
    /// Reads one place.
    Get(u16, u64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Completed,
    AbortedBefore,
    AbortedAfter,
    /// The n-th operation of its write fails.
    Faulty(u8),
}

fn step() -> impl Strategy<Value = Step> {
    let row = (0..3_u16, 0..12_u64, 0..3_u8, option::of(0..400_u16));
    let fate = prop_oneof![
        6 => Just(Fate::Completed), 1 => Just(Fate::AbortedBefore), 1 => Just(Fate::AbortedAfter),
        1 => (0..12_u8).prop_map(Fate::Faulty)
    ];
    let mode = prop_oneof![4 => Just(SnapshotMode::Delta), 1 => Just(SnapshotMode::Full)];
    prop_oneof![
        12 => (vec(row, 0..30), mode, fate).prop_map(|(rows, mode, fate)| Step::Checkpoint(rows, mode, fate)),
        1 => any::<u8>().prop_map(Step::RollBack),
        1 => any::<u64>().prop_map(Step::Restart),
        2 => (0..3_u16, 0..14_u64).prop_map(|(state, hash)| Step::Get(state, hash)),
    ]
}

use proptest::prelude::Just;

/// A published checkpoint, as a manifest would hold it.
struct Published {
    id: u64,
    runs: RunRefs,
    rows: Rows,
}

struct World {
    files: FaultyFiles,
    kind: Kind,
    /// `None` only while the machine is off.
    running: Option<Opened>,
    lease: Arc<dyn StateLease>,
    attempt: u64,
    next: u64,
    rows: Rows,
    published: Vec<Published>,
}

impl World {
    fn new(kind: Kind) -> Result<Self> {
        let files = FaultyFiles::new();
        let opened = open(&files, kind, &[])?;
        let lease = opened.store.lease(request(1, 0))?;
        let running = Some(opened);
        Ok(Self {
            files,
            kind,
            running,
            lease,
            attempt: 1,
            next: 1,
            rows: Rows::new(),
            published: Vec::new(),
        })
    }

    fn perform(&mut self, step: &Step) -> Result<(), TestCaseError> {
        let error = |error: crate::error::Error| TestCaseError::fail(error.to_string());
        match step {
            Step::Checkpoint(rows, mode, fate) => self.checkpoint(rows, *mode, *fate).map_err(error)?,
            Step::RollBack(which) => self.roll_back(*which).map_err(error)?,
            Step::Restart(seed) => self.restart(*seed).map_err(error)?,
            Step::Get(state, hash) => {
                for key in 0..3_u8 {
                    let asked = (*state, *hash, vec![key], vec![]);
                    let expected: Rows = self
                        .rows
                        .iter()
                        .filter(|((s, h, k, _), _)| (s, h, k) == (&asked.0, &asked.1, &asked.2))
                        .map(|(place, value)| (place.clone(), value.clone()))
                        .collect();
                    prop_assert_eq!(get(&*self.lease, &asked).map_err(error)?, expected);
                }
            }
        }
        prop_assert_eq!(&scan(&*self.lease).map_err(error)?, &self.rows, "{:?} after {:?}", self.kind, step);
        Ok(())
    }

    fn checkpoint(
        &mut self,
        rows: &[(u16, u64, u8, Option<u16>)],
        mode: SnapshotMode,
        fate: Fate,
    ) -> Result<()> {
        let id = self.next;
        self.next += 1;
        let delta: Delta = rows
            .iter()
            .map(|(state, hash, key, value)| {
                let element = value.unwrap_or(0) % 3;
                let place = (*state, *hash, vec![*key], vec![1; usize::from(element)]);
                (place, value.map(|value| vec![value as u8; usize::from(value)]))
            })
            .collect();
        if mode == SnapshotMode::Full {
            self.rows.clear();
        }
        apply(&mut self.rows, &delta);
        let Opened { store, events } = self.running.as_ref().expect("the machine is on");
        store.begin(CheckpointId(id), vec![subtask(0)]);
        if fate == Fate::AbortedBefore {
            store.abort(CheckpointId(id));
        }
        if let Fate::Faulty(after) = fate {
            let at = self.files.operations() + u64::from(after);
            self.files.fail(at..at + 1, if after % 2 == 0 { Fault::Io } else { Fault::Full });
        }
        write_as(mode, &*self.lease, id, &delta)?;
        store.wait_idle();
        self.files.heal();
        if fate == Fate::AbortedAfter {
            store.abort(CheckpointId(id));
            events.take(id);
        }
        if let Some(Ok(mut report)) = events.take(id) {
            self.published.push(Published { id, runs: report.remove(0).1, rows: self.rows.clone() });
            store.completed(CheckpointId(id));
            if self.published.len() > 3 {
                self.published.remove(0);
            }
            let kept: Vec<CheckpointId> = self.published.iter().map(|kept| CheckpointId(kept.id)).collect();
            store.retain(&kept);
            store.wait_idle();
        }
        Ok(())
    }

    fn roll_back(&mut self, which: u8) -> Result<()> {
        let keep = if self.published.is_empty() { 0 } else { usize::from(which) % self.published.len() + 1 };
        // The newer ones are given up, as an operator who goes back would.
        let store = &self.running.as_ref().expect("the machine is on").store;
        for given_up in self.published.split_off(keep) {
            store.abort(CheckpointId(given_up.id));
        }
        self.attempt += 1;
        let (runs, rows) = self.newest();
        self.lease = store.lease(request(self.attempt, 0).with_restore(runs))?;
        self.rows = rows;
        Ok(())
    }

    fn restart(&mut self, seed: u64) -> Result<()> {
        let (runs, rows) = self.newest();
        // Power goes while the store may be folding or sweeping; nothing of the old process acts after that.
        self.files.crash_at(self.files.operations());
        drop(self.running.take());
        self.files.crash(seed);
        let retained: Vec<_> =
            self.published.iter().map(|kept| (CheckpointId(kept.id), point(&kept.runs))).collect();
        let opened = open(&self.files, self.kind, &retained)?;
        self.attempt += 1;
        self.lease = opened.store.lease(request(self.attempt, 0).with_restore(runs))?;
        self.running = Some(opened);
        self.rows = rows;
        Ok(())
    }

    fn newest(&self) -> (RunRefs, Rows) {
        self.published.last().map_or_else(Default::default, |kept| (kept.runs.clone(), kept.rows.clone()))
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_redb_store_shows_the_rows_of_the_model(steps in vec(step(), 1..60)) {
        let mut world = World::new(Kind::Redb).expect("opens");
        for step in &steps {
            world.perform(step)?;
        }
    }

    #[test]
    fn a_memory_store_shows_the_rows_of_the_model(steps in vec(step(), 1..60)) {
        let mut world = World::new(Kind::Memory).expect("opens");
        for step in &steps {
            world.perform(step)?;
        }
    }
}

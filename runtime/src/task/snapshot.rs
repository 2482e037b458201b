//! Hands the rows of frozen tables to the store in slices, between batches.

use std::sync::Arc;
use std::time::Duration;

use crate::error::Result;
use crate::id::CheckpointId;
use crate::operator::Operator;
use crate::state::{SlicePace, SnapshotMode, StateLease};
use crate::task::HasTables;
use crate::time::Clock;

/// Time that a slice should not exceed: half of a step's budget.
const SLICE_BUDGET: Duration = Duration::from_micros(500);
/// Entries of the first slice: small, for what a row costs is not known.
const ENTRIES_FIRST: usize = 512;
/// Fewest entries of a slice, however costly its rows are.
const ENTRIES_MIN: usize = 16;

/// The snapshots of one subtask's tables.
pub struct TableSnapshots {
    lease: Arc<dyn StateLease>,
    /// The checkpoint whose rows are being handed over.
    encoding: Option<CheckpointId>,
    pace: SlicePace,
}

impl TableSnapshots {
    /// Through a lease.
    pub fn new(lease: Arc<dyn StateLease>) -> Self {
        Self { lease, encoding: None, pace: SlicePace { entries: ENTRIES_FIRST } }
    }

    /// Whether a checkpoint's rows are not all handed over.
    pub fn is_encoding(&self) -> bool {
        self.encoding.is_some()
    }

    /// Starts a checkpoint's version in every table. The one before is handed over.
    pub(super) fn freeze(&mut self, operator: &mut dyn Operator, checkpoint: CheckpointId) -> HasTables {
        let mut tables = 0;
        operator.visit_tables(&mut |table| {
            table.freeze(checkpoint);
            tables += 1;
        });
        if tables == 0 {
            return HasTables::No;
        }
        self.encoding = Some(checkpoint);
        HasTables::Yes
    }

    /// Hands over the next rows. Returns whether that moved anything: not when the store's queue is full.
    pub(super) fn slice(&mut self, operator: &mut dyn Operator, clock: &Clock) -> Result<Sliced> {
        let Some(checkpoint) = self.encoding else { return Ok(Sliced::Done) };
        let began = clock.elapsed();
        let mut is_done = true;
        let mut result = Ok(());
        operator.visit_tables(&mut |table| {
            if is_done && result.is_ok() {
                match table.encode(self.lease.as_ref(), self.pace) {
                    Ok(done) => is_done = done,
                    Err(error) => result = Err(error),
                }
            }
        });
        result?;
        if !is_done {
            self.pace = next_pace(self.pace, clock.elapsed().saturating_sub(began));
            return Ok(Sliced::More);
        }
        let mut rows = SnapshotMode::Full;
        operator.visit_tables(&mut |table| rows = rows.and(table.handed_over()));
        self.lease.seal(checkpoint, rows)?;
        self.encoding = None;
        Ok(Sliced::Done)
    }
}

/// Sizes the next slice by what the last one took: down at once, up by and by, for one that met a full queue was short
/// without a reason in its rows.
fn next_pace(pace: SlicePace, took: Duration) -> SlicePace {
    let most = SlicePace::default().entries;
    let entries = if took > SLICE_BUDGET {
        (pace.entries as f64 * SLICE_BUDGET.as_secs_f64() / took.as_secs_f64()) as usize
    } else if took < SLICE_BUDGET / 2 {
        pace.entries + pace.entries / 4
    } else {
        pace.entries
    };
    SlicePace { entries: entries.clamp(ENTRIES_MIN, most) }
}

/// What a slice came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sliced {
    /// Rows are left.
    More,
    /// All rows are handed over.
    Done,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::element::ErasedBatch;
    use crate::key::{KeyHash, hash_key};
    use crate::operator::{OpenContext, Progress, StepContext};
    use crate::state::testing::FakeLease;
    use crate::state::{KeyedTable, StateRegistry, StateTable};
    use crate::time::Timestamp;

    /// An operator that only has tables.
    struct Tables(Vec<KeyedTable<u64, u64>>);

    impl Operator for Tables {
        fn open(&mut self, _cx: &mut OpenContext<'_>) -> Result<()> {
            Ok(())
        }

        fn accept(&mut self, _port: usize, _batch: ErasedBatch) {}

        fn process(&mut self, until: usize, _cx: &mut StepContext<'_>) -> Result<usize> {
            Ok(until)
        }

        fn on_watermark(&mut self, _watermark: Timestamp, _cx: &mut StepContext<'_>) -> Result<Progress> {
            Ok(Progress::Done)
        }

        fn outputs(&self) -> usize {
            0
        }

        fn take_output(&mut self, _port: usize) -> Option<ErasedBatch> {
            None
        }

        fn visit_tables(&mut self, visit: &mut dyn FnMut(&mut dyn StateTable)) {
            self.0.iter_mut().for_each(|table| visit(table));
        }
    }

    #[test]
    fn nothing_older_is_needed_when_every_table_says_so() -> Result<()> {
        let lease = Arc::new(FakeLease::default());
        let mut registry = StateRegistry::new(lease.clone(), (KeyHash(0), KeyHash(u64::MAX)));
        let tables = vec![registry.keyed_table("first")?, registry.keyed_table("second")?];
        let (mut operator, mut snapshots) = (Tables(tables), TableSnapshots::new(lease.clone()));
        let clock = Clock::system();
        for (checkpoint, written, expected) in [
            (1, [true, true], SnapshotMode::Full),
            (2, [true, false], SnapshotMode::Delta),
            (3, [false, true], SnapshotMode::Delta),
            (4, [true, true], SnapshotMode::Full),
        ] {
            for (table, written) in operator.0.iter_mut().zip(written) {
                if written {
                    table.insert(hash_key(&7u64), &7, checkpoint)?;
                }
            }
            snapshots.freeze(&mut operator, CheckpointId(checkpoint));
            while snapshots.slice(&mut operator, &clock)? == Sliced::More {}
            assert_eq!(lease.sealed(CheckpointId(checkpoint)), Some(expected), "checkpoint {checkpoint}");
        }
        Ok(())
    }

    /// Slices until the size settles, of rows that cost this much.
    fn settled(mut pace: SlicePace, row: Duration) -> SlicePace {
        for _ in 0..100 {
            pace = next_pace(pace, row * u32::try_from(pace.entries).expect("a slice is small"));
        }
        pace
    }

    #[test]
    fn a_slice_is_as_long_as_its_rows_allow_and_never_far_over_its_time() {
        let first = SlicePace { entries: ENTRIES_FIRST };
        assert_eq!(settled(first, Duration::from_nanos(25)), SlicePace::default());
        let costly = settled(first, Duration::from_micros(10));
        let took = Duration::from_micros(10) * u32::try_from(costly.entries).expect("small");
        assert!(took > SLICE_BUDGET / 2 && took <= SLICE_BUDGET, "{took:?}");
        assert_eq!(settled(costly, Duration::from_nanos(25)), SlicePace::default(), "cheap again");
        let huge = settled(first, Duration::from_millis(5));
        assert_eq!(huge.entries, ENTRIES_MIN);
        // One slice is enough to come down.
        assert!(next_pace(SlicePace::default(), Duration::from_millis(41)).entries <= 50);
    }
}

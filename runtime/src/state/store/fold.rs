//! Folding: which runs of a chain are merged into one, and the merge in slices.
//!
//! Tiers of eight runs, and the base rewritten in sequence when the other runs are as large: so a row is written a
//! few times in its life and a look-up meets few runs.

use std::ops::Range;
use std::sync::Arc;

use super::run::{OpenRun, Run, Shelf};
use crate::error::Result;
use crate::id::SubtaskId;
use crate::key::KeyHash;
use crate::state::row::RowRef;
use crate::state::run::{Chunk, Cursor, FIRST_PLACE, LAST_PLACE, Merge, RunBuilder};

/// Runs of one level that are merged into one of the next.
pub(super) const TIER: usize = 8;
/// Fewest runs besides the base that make a rewriting of the base worth its reading.
const REWRITE_RUNS_MIN: usize = 2;
/// Rows that a slice looks at: about a millisecond.
const SLICE_ROWS: usize = 32 * 1024;
/// Bytes that a fold holds before it writes them.
pub(super) const FOLD_BYTES_MAX: usize = 8 << 20;

/// What planning needs to know of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Foldable {
    pub(super) bytes: u64,
    pub(super) level: u8,
}

/// Which runs to merge, of the leading runs of a chain that may be folded: oldest first.
pub(super) fn plan(runs: &[Foldable]) -> Option<Range<usize>> {
    let (base, deltas) = runs.split_first()?;
    let sum: u64 = deltas.iter().map(|run| run.bytes).sum();
    if deltas.len() >= REWRITE_RUNS_MIN && sum >= base.bytes {
        return Some(0..runs.len());
    }
    let tier = deltas.windows(TIER).position(|tier| tier.iter().all(|run| run.level == tier[0].level))?;
    Some(tier + 1..tier + 1 + TIER)
}

/// Whether older rows may lie below the merged runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Below {
    /// Tombstones must stay, for they hide rows.
    Rows,
    /// Tombstones hide nothing.
    Nothing,
}

/// A merge of runs into one, by and by.
pub(super) struct Fold {
    pub(super) subtask: SubtaskId,
    pub(super) token: u64,
    pub(super) inputs: Vec<Arc<Run>>,
    pub(super) out: OpenRun,
    pub(super) level: u8,
    below: Below,
    hashes: (KeyHash, KeyHash),
    merge: Merge,
    builder: RunBuilder,
}

/// What is to be merged for whom.
pub(super) struct FoldPlan {
    pub(super) subtask: SubtaskId,
    pub(super) token: u64,
    /// Oldest first.
    pub(super) inputs: Vec<Arc<Run>>,
    pub(super) below: Below,
    /// The hashes that the subtask owns: rows of others are left out.
    pub(super) hashes: (KeyHash, KeyHash),
}

/// How far a fold has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FoldProgress {
    More,
    Done,
}

impl Fold {
    pub(super) fn new(plan: FoldPlan, mut out: OpenRun) -> Result<Self> {
        let mut cursors = Vec::with_capacity(plan.inputs.len());
        for run in &plan.inputs {
            cursors.extend(Cursor::open(run, FIRST_PLACE, LAST_PLACE)?);
        }
        out.checkpoint = plan.inputs.iter().map(|run| run.checkpoint).max().unwrap_or(out.checkpoint);
        let level = plan.inputs.iter().map(|run| run.level).max().unwrap_or(0).saturating_add(1);
        Ok(Self {
            subtask: plan.subtask,
            token: plan.token,
            inputs: plan.inputs,
            out,
            level,
            below: plan.below,
            hashes: plan.hashes,
            merge: Merge::new(cursors),
            builder: RunBuilder::new(),
        })
    }

    /// Merges the next rows.
    pub(super) fn step(&mut self) -> Result<FoldProgress> {
        for _ in 0..SLICE_ROWS {
            let (below, hashes, builder) = (self.below, self.hashes, &mut self.builder);
            let mut chunk = None;
            let more = self.merge.next(&mut |row: RowRef<'_>| {
                let is_dead = row.value.is_none() && below == Below::Nothing;
                if !is_dead && (hashes.0..=hashes.1).contains(&row.key.hash) {
                    chunk = builder.push(row);
                }
                Ok(())
            })?;
            if let Some(chunk) = chunk {
                self.put(chunk);
                return Ok(FoldProgress::More);
            }
            if !more {
                if let Some(rest) = self.builder.finish() {
                    self.put(rest);
                }
                return Ok(FoldProgress::Done);
            }
        }
        Ok(FoldProgress::More)
    }

    fn put(&mut self, chunk: Vec<u8>) {
        let chunk = Chunk::parse(chunk).expect("I74: a builder's chunk can be read");
        assert!(self.out.push(chunk).is_ok(), "I75: a merge gives rows in order");
    }

    /// Merges all at once and ends the run; `None` if no row is left.
    pub(super) fn finish(mut self, shelf: &Arc<Shelf>) -> Result<Option<Arc<Run>>> {
        while self.step()? == FoldProgress::More {}
        Ok(self.seal(shelf))
    }

    /// Ends the run; `None` if no row is left.
    pub(super) fn seal(self, shelf: &Arc<Shelf>) -> Option<Arc<Run>> {
        (!self.out.is_empty()).then(|| self.out.seal(Arc::clone(shelf), self.level))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runs(list: &[(u64, u8)]) -> Vec<Foldable> {
        list.iter().map(|&(bytes, level)| Foldable { bytes, level }).collect()
    }

    #[test]
    fn the_base_is_rewritten_when_the_others_are_as_large() {
        assert_eq!(plan(&runs(&[])), None);
        assert_eq!(plan(&runs(&[(10, 0), (10, 0)])), None, "one run is not worth it");
        assert_eq!(plan(&runs(&[(10, 0), (5, 0), (5, 0)])), Some(0..3));
        assert_eq!(plan(&runs(&[(11, 0), (5, 0), (5, 0)])), None);
    }

    #[test]
    fn eight_runs_of_one_level_become_one_of_the_next() {
        let mut list = vec![(10_000, 9), (100, 1), (90, 1)];
        list.extend([(10, 0); 7]);
        assert_eq!(plan(&runs(&list)), None);
        list.push((10, 0));
        assert_eq!(plan(&runs(&list)), Some(3..11));
    }

    #[test]
    fn chains_stay_short_and_write_amplification_low() {
        for (delta, bound) in [(1, 40), (10, 30), (100, 16), (500, 8), (1_000, 4)] {
            let mut chain = runs(&[(1_000, 0)]);
            let (mut written, mut longest) = (0, 0);
            for _ in 0..1_000 {
                chain.push(Foldable { bytes: delta, level: 0 });
                while let Some(range) = plan(&chain) {
                    let sum: u64 = chain[range.clone()].iter().map(|run| run.bytes).sum();
                    // Rows of the base are overwritten: it does not grow.
                    let bytes = if range.start == 0 { 1_000 } else { sum };
                    let level = chain[range.clone()].iter().map(|run| run.level).max().unwrap_or(0) + 1;
                    written += bytes;
                    chain.splice(range, [Foldable { bytes, level: level.min(200) }]);
                }
                longest = longest.max(chain.len());
            }
            let amplification = written as f64 / (1_000.0 * delta as f64);
            assert!(longest <= bound, "delta {delta}: {longest} runs");
            assert!(amplification < 5.0, "delta {delta}: {amplification} times written");
        }
    }
}

//! The split of sources whose records are numbered: a lane of blocks of indices.

use std::ops::Range;

use serde::{Deserialize, Serialize};
use tidegate_runtime::source::Split;

/// Every `lanes`-th block of indices, from block `lane` on, and the next index to read.
///
/// Lanes are interleaved, so that subtasks which read at the same speed stand at nearly the same index: records in
/// order of time then stay nearly in order over all subtasks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndexSplit {
    lane: u64,
    lanes: u64,
    block: u64,
    end: u64,
    next: u64,
}

impl Split for IndexSplit {
    fn id(&self) -> String {
        format!("lane-{}-of-{}-by-{}-to-{}", self.lane, self.lanes, self.block, self.end)
    }

    /// Each subtask reads one lane: a second one, read after it, would begin again at the first indices.
    fn reader(&self) -> Option<u32> {
        u32::try_from(self.lane).ok()
    }
}

impl IndexSplit {
    /// All lanes of the indices below `end`, in blocks of `block`; lanes without an index are left out.
    pub(crate) fn lanes(lanes: u32, block: u64, end: u64) -> Vec<Self> {
        let (lanes, block) = (u64::from(lanes.max(1)), block.max(1));
        let lane = |lane: u64| Self { lane, lanes, block, end, next: lane.saturating_mul(block) };
        (0..lanes).map(lane).filter(|split| !split.is_finished()).collect()
    }

    pub(crate) fn is_finished(&self) -> bool {
        self.next >= self.end
    }

    /// The next indices that lie side by side, at most `limit`.
    pub(crate) fn run(&self, limit: usize) -> Range<u64> {
        let block_end = (self.next / self.block).saturating_add(1).saturating_mul(self.block);
        let until = block_end.min(self.end).min(self.next.saturating_add(limit as u64));
        self.next..until.max(self.next)
    }

    /// Moves on by a run.
    pub(crate) fn advance(&mut self, run: &Range<u64>) {
        self.next = run.end;
        if self.next.is_multiple_of(self.block) && self.next > run.start {
            self.next = self.next.saturating_add(self.block.saturating_mul(self.lanes - 1));
        }
    }
}

/// The splits of one subtask; the one that is furthest behind is read first.
#[derive(Debug, Default)]
pub(crate) struct IndexSplits(Vec<IndexSplit>);

impl IndexSplits {
    pub(crate) fn add(&mut self, split: IndexSplit) {
        self.0.push(split);
    }

    pub(crate) fn current(&mut self) -> Option<&mut IndexSplit> {
        self.0.iter_mut().min_by_key(|split| split.next)
    }

    /// Takes out a split that is read to its end and returns its id.
    pub(crate) fn take_finished(&mut self) -> Option<String> {
        let at = self.0.iter().position(IndexSplit::is_finished)?;
        Some(self.0.remove(at).id())
    }

    pub(crate) fn snapshot(&self) -> Vec<IndexSplit> {
        self.0.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lanes_cover_every_index_once() {
        for (lanes, block, end) in [(1, 4, 10), (2, 4, 10), (3, 1, 10), (4, 1_024, 10), (3, 3, 27), (2, 5, 0)]
        {
            let mut seen = Vec::new();
            for mut split in IndexSplit::lanes(lanes, block, end) {
                while !split.is_finished() {
                    let run = split.run(3);
                    assert!(!run.is_empty());
                    seen.extend(run.clone());
                    split.advance(&run);
                }
            }
            seen.sort_unstable();
            assert_eq!(seen, (0..end).collect::<Vec<_>>(), "{lanes} lanes of {block} to {end}");
        }
    }

    /// A subtask that read a second lane after its own would find it late.
    #[test]
    fn each_subtask_has_one_lane() {
        let readers: Vec<_> = IndexSplit::lanes(3, 1, 10).iter().map(Split::reader).collect();
        assert_eq!(readers, [Some(0), Some(1), Some(2)]);
    }
}

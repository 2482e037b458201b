//! Barrier alignment (Chandy and Lamport's snapshots as asynchronous barrier snapshotting does them): which lanes
//! wait, and when a checkpoint's cut is complete.

use std::collections::BTreeSet;

use crate::id::{CheckpointId, LaneId};

/// Aborted checkpoints that are remembered one by one; older ones all count as over.
const ABORTED_MAX: usize = 64;

/// The alignment of one subtask's lanes. Pure: it says what to do to the gate.
#[derive(Debug)]
pub struct Alignment {
    lanes: usize,
    /// The checkpoint being aligned and the lanes that its barrier came by.
    current: Option<(CheckpointId, Vec<LaneId>)>,
    /// Barriers at or below this belong to what is over.
    passed: Option<CheckpointId>,
    /// Aborted ones above `passed`: an older checkpoint may still be under way.
    aborted: BTreeSet<CheckpointId>,
}

/// What a barrier leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aligned {
    /// A barrier of a checkpoint that is over: as if it had not come (case 1).
    Ignored,
    /// Block the lane.
    Block,
    /// A newer checkpoint overtakes the one being aligned: unblock all lanes, then block this one (case 2).
    Overtaken,
    /// The cut is complete: snapshot, then unblock all lanes.
    Complete,
}

impl Alignment {
    /// No alignment under way; `restored` is the checkpoint that the attempt started from.
    pub fn new(lanes: usize, restored: Option<CheckpointId>) -> Self {
        Self { lanes, current: None, passed: restored, aborted: BTreeSet::new() }
    }

    /// A barrier has come by a lane.
    pub fn on_barrier(&mut self, lane: LaneId, checkpoint: CheckpointId) -> Aligned {
        if self.passed >= Some(checkpoint) || self.aborted.contains(&checkpoint) {
            return Aligned::Ignored;
        }
        let mut overtaken = false;
        match &mut self.current {
            Some((current, arrived)) if *current == checkpoint => arrived.push(lane),
            Some((current, _)) if *current > checkpoint => return Aligned::Ignored,
            other => {
                overtaken = other.is_some();
                *other = Some((checkpoint, vec![lane]));
            }
        }
        let is_complete = self.current.as_ref().is_some_and(|(_, arrived)| arrived.len() == self.lanes);
        match (is_complete, overtaken) {
            (true, _) => {
                self.current = None;
                self.pass(checkpoint);
                Aligned::Complete
            }
            (false, true) => Aligned::Overtaken,
            (false, false) => Aligned::Block,
        }
    }

    /// The checkpoint was aborted. Returns whether all lanes are to be unblocked.
    pub fn on_abort(&mut self, checkpoint: CheckpointId) -> Unblock {
        self.aborted.insert(checkpoint);
        if self.aborted.len() > ABORTED_MAX
            && let Some(oldest) = self.aborted.pop_first()
        {
            self.pass(oldest);
        }
        if self.current() != Some(checkpoint) {
            return Unblock::Nothing;
        }
        self.current = None;
        Unblock::All
    }

    fn pass(&mut self, checkpoint: CheckpointId) {
        self.passed = self.passed.max(Some(checkpoint));
        self.aborted.retain(|aborted| *aborted > checkpoint);
    }

    /// The checkpoint being aligned.
    pub fn current(&self) -> Option<CheckpointId> {
        self.current.as_ref().map(|(checkpoint, _)| *checkpoint)
    }
}

/// What an abort does to the gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unblock {
    /// Every lane is open again.
    All,
    /// Nothing was blocked for it.
    Nothing,
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::{any, prop, proptest};

    use super::*;

    #[test]
    fn a_barrier_after_its_abort_is_ignored_case_1() {
        let mut alignment = Alignment::new(2, None);
        assert_eq!(alignment.on_barrier(LaneId(0), CheckpointId(1)), Aligned::Block);
        assert_eq!(alignment.on_abort(CheckpointId(1)), Unblock::All);
        assert_eq!(alignment.on_barrier(LaneId(1), CheckpointId(1)), Aligned::Ignored);
    }

    #[test]
    fn an_abort_leaves_the_other_checkpoints_alone() {
        let mut alignment = Alignment::new(2, None);
        assert_eq!(alignment.on_barrier(LaneId(0), CheckpointId(1)), Aligned::Block);
        assert_eq!(alignment.on_abort(CheckpointId(2)), Unblock::Nothing);
        assert_eq!(alignment.on_barrier(LaneId(1), CheckpointId(1)), Aligned::Complete);
        assert_eq!(alignment.on_barrier(LaneId(0), CheckpointId(2)), Aligned::Ignored);
        assert_eq!(alignment.on_barrier(LaneId(0), CheckpointId(3)), Aligned::Block);
    }

    proptest! {
        /// Lanes carry barriers 1..=3 in order, each may leave some out (aborted before they were sent); any
        /// interleaving of deliverable lanes must end with every lane open and complete exactly the checkpoints that
        /// all lanes carry and that were not overtaken.
        #[test]
        fn any_interleaving_ends_open_case_2(
            lanes in 2..5_usize, left_out in prop::collection::vec(any::<u8>(), 4),
            order in prop::collection::vec(any::<u8>(), 64)
        ) {
            let mut queues: Vec<VecDeque<u64>> = (0..lanes)
                .map(|lane| (1..=3).filter(|id| *id == 3 || left_out[lane] & (1 << id) == 0).collect())
                .collect();
            let mut blocked = vec![false; lanes];
            let mut alignment = Alignment::new(lanes, None);
            let mut completed = Vec::new();
            for choice in order {
                let open: Vec<usize> = (0..lanes).filter(|l| !blocked[*l] && !queues[*l].is_empty()).collect();
                let Some(lane) = open.get(usize::from(choice) % open.len().max(1)).copied() else { break };
                let id = queues[lane].pop_front().expect("chosen among the non-empty");
                match alignment.on_barrier(LaneId(lane as u32), CheckpointId(id)) {
                    Aligned::Ignored => {}
                    Aligned::Block => blocked[lane] = true,
                    Aligned::Overtaken => {
                        blocked.fill(false);
                        blocked[lane] = true;
                    }
                    Aligned::Complete => {
                        blocked.fill(false);
                        completed.push(id);
                    }
                }
            }
            assert!(queues.iter().all(VecDeque::is_empty), "an open lane is left: {queues:?}");
            assert_eq!(completed.last(), Some(&3));
            assert!(completed.is_sorted());
            for id in completed {
                assert!((0..lanes).all(|lane| id == 3 || left_out[lane] & (1 << id) == 0));
            }
        }
    }
}

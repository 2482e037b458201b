//! Which reader gets which split, as a pure core.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use tidegate_runtime::id::SubtaskId;

use crate::source_state::KnownSplits;

/// What is to be told to a reader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SplitAction {
    Assign(SubtaskId, Vec<u8>),
    NoMore(SubtaskId),
}

/// Whether discovery may find more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Discovery {
    UnderWay,
    MoreLater,
    Complete,
}

/// The splits of one source in one attempt.
#[derive(Debug)]
pub(crate) struct Splits {
    discovery: Discovery,
    /// Ids that need no assignment: with a reader, read to the end, or queued here.
    seen: BTreeSet<String>,
    queue: VecDeque<Queued>,
    /// What was assigned in this attempt: a checkpoint may fall before the reader takes it.
    assigned: KnownSplits,
    waiting: VecDeque<SubtaskId>,
}

#[derive(Debug)]
struct Queued {
    id: String,
    split: Vec<u8>,
    /// The index of the only subtask that may read it, if there is one.
    reader: Option<u32>,
}

/// Index of the only subtask that may read a split, by the split's id; the others are anybody's.
pub(crate) type SplitReaders = BTreeMap<String, u32>;

impl Splits {
    /// At the start of an attempt: `seen` are the ids that readers hold or have finished, `known` what the restored
    /// checkpoint kept with concrete positions (case 29, 30).
    pub(crate) fn new(seen: BTreeSet<String>, known: KnownSplits, readers: &SplitReaders) -> Self {
        let mut splits = Self {
            discovery: Discovery::UnderWay,
            seen,
            queue: VecDeque::new(),
            assigned: Vec::new(),
            waiting: VecDeque::new(),
        };
        splits.add(known, readers);
        splits
    }

    /// Discovery found these; those already known are ignored.
    pub(crate) fn on_discovered(
        &mut self,
        found: KnownSplits,
        readers: &SplitReaders,
        discovery: Discovery,
    ) -> Vec<SplitAction> {
        self.add(found, readers);
        self.discovery = discovery;
        self.serve()
    }

    /// A reader has nothing to read.
    pub(crate) fn on_request(&mut self, subtask: SubtaskId) -> Vec<SplitAction> {
        if !self.waiting.contains(&subtask) {
            self.waiting.push_back(subtask);
        }
        self.serve()
    }

    /// These are with readers, by a published checkpoint, or were read to their ends: every later one holds them too.
    pub(crate) fn confirm(&mut self, is_held: impl Fn(&str) -> bool) {
        self.assigned.retain(|(id, _)| !is_held(id));
    }

    /// These were finished and are remembered no more.
    pub(crate) fn forget(&mut self, ids: &[String]) {
        for id in ids {
            self.seen.remove(id);
        }
    }

    /// What a checkpoint must keep: everything that no reader may hold yet.
    pub(crate) fn known(&self) -> KnownSplits {
        let queued = self.queue.iter().map(|queued| (queued.id.clone(), queued.split.clone()));
        self.assigned.iter().cloned().chain(queued).collect()
    }

    fn add(&mut self, found: KnownSplits, readers: &SplitReaders) {
        for (id, split) in found {
            if self.seen.insert(id.clone()) {
                let reader = readers.get(&id).copied();
                self.queue.push_back(Queued { id, split, reader });
            }
        }
    }

    fn serve(&mut self) -> Vec<SplitAction> {
        let mut actions = Vec::new();
        // What the checkpoint kept is assigned before discovery is done; that nothing is left is known only after.
        for subtask in std::mem::take(&mut self.waiting) {
            let is_for_it = |queued: &Queued| queued.reader.is_none_or(|reader| reader == subtask.index);
            match self.queue.iter().position(is_for_it).and_then(|at| self.queue.remove(at)) {
                Some(Queued { id, split, .. }) => {
                    self.assigned.push((id, split.clone()));
                    actions.push(SplitAction::Assign(subtask, split));
                }
                None if self.discovery == Discovery::Complete => actions.push(SplitAction::NoMore(subtask)),
                None => self.waiting.push_back(subtask),
            }
        }
        actions
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate_runtime::id::OperatorId;

    fn reader(index: u32) -> SubtaskId {
        SubtaskId { operator: OperatorId(0), index }
    }

    fn named(names: &[&str]) -> KnownSplits {
        names.iter().map(|name| ((*name).to_owned(), name.as_bytes().to_vec())).collect()
    }

    fn assign(index: u32, name: &str) -> SplitAction {
        SplitAction::Assign(reader(index), name.as_bytes().to_vec())
    }

    #[test]
    fn splits_are_assigned_in_order_and_then_readers_hear_that_no_more_come() {
        let mut splits = Splits::new(BTreeSet::new(), Vec::new(), &SplitReaders::new());
        assert_eq!(splits.on_request(reader(1)), []);
        let found = splits.on_discovered(named(&["a", "b"]), &SplitReaders::new(), Discovery::Complete);
        assert_eq!(found, [assign(1, "a")]);
        assert_eq!(splits.on_request(reader(0)), [assign(0, "b")]);
        assert_eq!(splits.on_request(reader(1)), [SplitAction::NoMore(reader(1))]);
    }

    /// Cases 30 and 31: what readers hold or have finished is not assigned again, what nobody holds keeps its start.
    #[test]
    fn after_a_restore_only_what_no_reader_holds_is_assigned_from_where_it_was_found_first() {
        let seen = ["a", "b"].map(str::to_owned).into();
        let mut splits = Splits::new(seen, named(&["a", "c"]), &SplitReaders::new());
        assert_eq!(splits.on_request(reader(0)), [assign(0, "c")]);
        let later = vec![("c".to_owned(), b"c at a later start".to_vec()), ("d".to_owned(), b"d".to_vec())];
        assert_eq!(splits.on_discovered(later, &SplitReaders::new(), Discovery::Complete), []);
        assert_eq!(splits.on_request(reader(0)), [assign(0, "d")]);
        assert_eq!(splits.known(), named(&["c", "d"]));
    }

    /// A fast reader must not take what the slow one is to read beside it: it would find it late.
    #[test]
    fn a_split_that_belongs_to_a_subtask_waits_for_it() {
        let readers = SplitReaders::from([("a".to_owned(), 0), ("b".to_owned(), 1)]);
        let mut splits = Splits::new(BTreeSet::new(), named(&["b"]), &readers);
        splits.on_discovered(named(&["a", "b"]), &readers, Discovery::Complete);
        assert_eq!(splits.on_request(reader(0)), [assign(0, "a")]);
        assert_eq!(splits.on_request(reader(0)), [SplitAction::NoMore(reader(0))]);
        assert_eq!(splits.on_request(reader(1)), [assign(1, "b")]);
        assert_eq!(splits.known(), named(&["a", "b"]));
    }

    #[test]
    fn what_a_checkpoint_has_with_a_reader_is_not_kept_here_too_and_not_assigned_again() {
        let mut splits = Splits::new(BTreeSet::new(), Vec::new(), &SplitReaders::new());
        splits.on_discovered(named(&["a", "b", "c"]), &SplitReaders::new(), Discovery::MoreLater);
        splits.on_request(reader(0));
        splits.on_request(reader(1));
        assert_eq!(splits.known(), named(&["a", "b", "c"]));
        splits.confirm(|id| id == "a");
        assert_eq!(splits.known(), named(&["b", "c"]));
        assert_eq!(splits.on_request(reader(0)), [assign(0, "c")]);
        assert_eq!(splits.on_request(reader(0)), []);
        assert_eq!(splits.on_discovered(named(&["a"]), &SplitReaders::new(), Discovery::MoreLater), []);
        splits.forget(&["a".to_owned()]);
        assert_eq!(
            splits.on_discovered(named(&["a"]), &SplitReaders::new(), Discovery::MoreLater),
            [assign(0, "a")]
        );
    }

    #[test]
    fn a_reader_that_waits_gets_what_a_later_discovery_finds() {
        let mut splits = Splits::new(BTreeSet::new(), Vec::new(), &SplitReaders::new());
        assert_eq!(splits.on_discovered(Vec::new(), &SplitReaders::new(), Discovery::MoreLater), []);
        assert_eq!(splits.on_request(reader(0)), []);
        assert_eq!(
            splits.on_discovered(named(&["x"]), &SplitReaders::new(), Discovery::MoreLater),
            [assign(0, "x")]
        );
    }
}

//! The sessions of one key: pure, and what is kept in state.

use serde::{Deserialize, Serialize};
use tidegate_runtime::time::Timestamp;

use super::spec::Window;

/// The first and the last timestamp of one record or of several that belong together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stretch {
    pub(crate) start: i64,
    pub(crate) last: i64,
}

/// One session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct OpenSession<Acc> {
    start: i64,
    last: i64,
    pub(crate) acc: Acc,
}

impl<Acc> OpenSession<Acc> {
    pub(crate) fn window(&self, gap: i64) -> Window {
        Window { start: Timestamp(self.start), end: Timestamp(self.last.saturating_add(gap)) }
    }

    /// The last timestamp of its window.
    fn due(&self, gap: i64) -> i64 {
        self.last.saturating_add(gap - 1)
    }

    /// Whether what is at `at` belongs to it: sessions whose windows only touch are one, too.
    fn takes(&self, at: Stretch, gap: i64) -> bool {
        at.start <= self.last.saturating_add(gap) && at.last.saturating_add(gap) >= self.start
    }
}

/// The sessions of one key, more than the gap apart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Sessions<Acc> {
    /// When the key is looked at next: never after its first session is due, and before if that has grown since. Only
    /// what is held at all is registered, so it says nothing without sessions.
    registered: i64,
    newest: Option<OpenSession<Acc>>,
    /// Rising.
    #[expect(
        clippy::box_collection,
        reason = "8 bytes of an entry in place of 24: most keys have one session"
    )]
    older: Option<Box<Vec<OpenSession<Acc>>>>,
}

/// No session is due at the first of all timestamps, but for a gap of 1 ms: such a key is registered once too often.
const UNREGISTERED: i64 = i64::MIN;

impl<Acc> Default for Sessions<Acc> {
    fn default() -> Self {
        Self { registered: UNREGISTERED, newest: None, older: None }
    }
}

impl<Acc> Sessions<Acc> {
    /// The accumulator of the newest session, grown, if `at` is in it or goes on with it.
    #[inline(always)]
    pub(crate) fn grow_newest(&mut self, at: Stretch, gap: i64) -> Option<&mut Acc> {
        match &mut self.newest {
            Some(session) if at.start >= session.start && at.start <= session.last.saturating_add(gap) => {
                session.last = session.last.max(at.last);
                Some(&mut session.acc)
            }
            _ => None,
        }
    }

    fn older(&self) -> &[OpenSession<Acc>] {
        self.older.as_deref().map_or(&[], Vec::as_slice)
    }

    /// Whether what is at `at` would belong to a session that is there.
    pub(crate) fn has_for(&self, at: Stretch, gap: i64) -> bool {
        self.older().iter().chain(&self.newest).any(|session| session.takes(at, gap))
    }

    /// Adds anywhere; merges what it connects.
    pub(crate) fn add(&mut self, at: Stretch, gap: i64, acc: Acc, merge: impl Fn(&mut Acc, Acc)) {
        let Some(newest) = self.newest.take() else {
            self.newest = Some(OpenSession { start: at.start, last: at.last, acc });
            return;
        };
        let all = self.older.get_or_insert_default();
        all.push(newest);
        let first = all.partition_point(|session| session.last.saturating_add(gap) < at.start);
        let count = all[first..].iter().take_while(|session| session.takes(at, gap)).count();
        let mut taken = all.drain(first..first + count);
        let joined = match taken.next() {
            None => OpenSession { start: at.start, last: at.last, acc },
            Some(mut session) => {
                session.start = session.start.min(at.start);
                session.last = session.last.max(at.last);
                merge(&mut session.acc, acc);
                for later in taken.by_ref() {
                    session.last = session.last.max(later.last);
                    merge(&mut session.acc, later.acc);
                }
                session
            }
        };
        drop(taken);
        all.insert(first, joined);
        self.newest = all.pop();
        self.shrink();
    }

    /// Gives back what older sessions took when there are none.
    fn shrink(&mut self) {
        if self.older().is_empty() {
            self.older = None;
        }
    }

    /// When the first session is due.
    pub(crate) fn due(&self, gap: i64) -> Option<i64> {
        self.older().first().or(self.newest.as_ref()).map(|session| session.due(gap))
    }

    /// Takes the first session out.
    pub(crate) fn take_first(&mut self) -> Option<OpenSession<Acc>> {
        let Some(older) = &mut self.older else { return self.newest.take() };
        let first = older.remove(0);
        self.shrink();
        Some(first)
    }

    /// When the key is looked at next.
    pub(crate) fn registered(&self) -> Option<i64> {
        self.newest.as_ref().map(|_| self.registered)
    }

    /// Says that the key is looked at now.
    pub(crate) fn forget_registration(&mut self) {
        self.registered = UNREGISTERED;
    }

    /// Says that the key must be looked at when its first session is due, if no earlier look is registered.
    pub(crate) fn register(&mut self, gap: i64) -> Option<i64> {
        let due = self.due(gap)?;
        if self.registered <= due && self.registered != UNREGISTERED {
            return None;
        }
        self.registered = due;
        Some(due)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Sessions of a bag of timestamps: sorted, cut where two neighbours are more than the gap apart.
    fn model(mut all: Vec<i64>, gap: i64) -> Vec<Vec<i64>> {
        all.sort_unstable();
        let mut sessions: Vec<Vec<i64>> = Vec::new();
        for at in all {
            match sessions.last_mut() {
                Some(session) if session.last().is_some_and(|last| at - last <= gap) => session.push(at),
                _ => sessions.push(vec![at]),
            }
        }
        sessions
    }

    proptest! {
        #[test]
        fn sessions_are_those_of_sorted_timestamps_cut_at_gaps(
            gap in 1i64..20, all in prop::collection::vec(-200i64..200, 0..60)
        ) {
            let mut sessions: Sessions<Vec<i64>> = Sessions::default();
            for at in &all {
                let stretch = Stretch { start: *at, last: *at };
                match sessions.grow_newest(stretch, gap) {
                    Some(acc) => acc.push(*at),
                    None => sessions.add(stretch, gap, vec![*at], |acc, more| acc.extend(more)),
                }
                prop_assert!(sessions.has_for(stretch, gap));
            }
            for expected in model(all, gap) {
                let (first, last) = (expected[0], expected[expected.len() - 1]);
                prop_assert_eq!(sessions.due(gap), Some(last + gap - 1));
                let mut session = sessions.take_first().expect("there is one more");
                let window = session.window(gap);
                prop_assert_eq!((window.start.0, window.end.0), (first, last + gap));
                session.acc.sort_unstable();
                prop_assert_eq!(session.acc, expected);
            }
            prop_assert!(sessions.take_first().is_none());
        }
    }

    #[test]
    fn sessions_at_the_ends_of_time_do_not_overflow_case_54() {
        let mut sessions: Sessions<u64> = Sessions::default();
        for at in [i64::MIN, i64::MAX, i64::MAX - 1, i64::MIN + 1] {
            sessions.add(Stretch { start: at, last: at }, 10, 1, |acc, more| *acc += more);
        }
        assert_eq!(sessions.take_first().map(|session| session.acc), Some(2));
        assert_eq!(sessions.take_first().map(|session| session.window(10).end), Some(Timestamp::MAX));
    }
}

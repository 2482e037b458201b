//! Holds a source to a number of records per second, over all its subtasks in this process.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tidegate_runtime::Timestamp;
use tidegate_runtime::id::SubtaskId;
use tidegate_runtime::sync::lock;
use tidegate_runtime::time::Clock;

/// What is granted at most after a pause: more would be a burst that no rate was asked for.
const CATCH_UP: Duration = Duration::from_millis(100);

/// How far one reader may be ahead of another that wants to read, so that none starves.
const AHEAD: Duration = Duration::from_millis(20);
/// A reader that hasn't asked for so long, across restarts, doesn't hold the others back.
const ACTIVE: Duration = Duration::from_millis(500);

/// The rate of a source, shared by its readers.
#[derive(Debug, Default)]
pub(crate) struct Pacer {
    records_per_second: Option<u64>,
    account: Mutex<Account>,
}

/// One subtask's share of a source's rate; without a rate it costs a branch. All share alike: who asks first after a
/// pause doesn't get everything that the pause left.
#[derive(Debug)]
pub(crate) struct Lane {
    pacer: Arc<Pacer>,
    subtask: u32,
}

#[derive(Debug, Default)]
struct Account {
    start: Option<Duration>,
    granted: u64,
    readers: BTreeMap<u32, Reader>,
}

#[derive(Debug, Default)]
struct Reader {
    taken: u64,
    /// When it last asked; `None` if it has nothing to read.
    asked: Option<Duration>,
}

/// What a reader may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Grant {
    /// Emit up to so many records now.
    Now(usize),
    /// Come back at this processing time.
    At(Timestamp),
}

impl Pacer {
    /// Records per second, at least one; `None` is as fast as they are taken.
    pub(crate) fn new(records_per_second: Option<u64>) -> Self {
        Self { records_per_second: records_per_second.map(|rate| rate.max(1)), account: Mutex::default() }
    }

    /// The share of one subtask.
    pub(crate) fn lane(self: &Arc<Self>, subtask: SubtaskId) -> Lane {
        Lane { pacer: Arc::clone(self), subtask: subtask.index }
    }

    fn account(&self) -> MutexGuard<'_, Account> {
        lock(&self.account)
    }
}

impl Lane {
    /// Takes up to `wanted` records from the account.
    pub(crate) fn grant(&self, clock: &Clock, wanted: usize) -> Grant {
        match self.pacer.records_per_second {
            None => Grant::Now(wanted),
            Some(rate) => self.pacer.account().grant(self.subtask, rate, clock, wanted),
        }
    }

    /// Gives back what was granted and not read: there is nothing more to read now.
    pub(crate) fn give_back(&self, records: usize) {
        if self.pacer.records_per_second.is_some() && records > 0 {
            let mut account = self.pacer.account();
            account.granted = account.granted.saturating_sub(records as u64);
            let reader = account.readers.entry(self.subtask).or_default();
            (reader.taken, reader.asked) = (reader.taken.saturating_sub(records as u64), None);
        }
    }

    /// The reader has no split: the others needn't wait for it.
    pub(crate) fn leave(&self) {
        if self.pacer.records_per_second.is_some() {
            self.pacer.account().readers.entry(self.subtask).or_default().asked = None;
        }
    }
}

impl Account {
    fn grant(&mut self, subtask: u32, rate: u64, clock: &Clock, wanted: usize) -> Grant {
        let now = clock.elapsed();
        let start = *self.start.get_or_insert(now);
        let due = records_within(now.saturating_sub(start), rate) + 1;
        let mut open = due.saturating_sub(self.granted);
        let most = records_within(CATCH_UP, rate).max(1);
        if open > most {
            self.granted += open - most;
            open = most;
        }
        let share = self.share(subtask, rate, now);
        if open == 0 || share == 0 {
            let next = if share == 0 { now } else { start + time_of(self.granted, rate) };
            let wait_ms = next.saturating_sub(now).as_micros().div_ceil(1_000).max(1);
            return Grant::At(Timestamp(clock.now().0.saturating_add(wait_ms as i64)));
        }
        let granted = open.min(share).min(wanted as u64);
        self.granted += granted;
        self.readers.entry(subtask).or_default().taken += granted;
        Grant::Now(granted as usize)
    }

    /// What a reader may take until it is as far ahead of the last of the others as is allowed.
    fn share(&mut self, subtask: u32, rate: u64, now: Duration) -> u64 {
        let is_active =
            |reader: &Reader| reader.asked.is_some_and(|asked| now.saturating_sub(asked) <= ACTIVE);
        let others = self.readers.iter().filter(|(other, reader)| **other != subtask && is_active(reader));
        let last = others.map(|(_, reader)| reader.taken).min();
        let reader = self.readers.entry(subtask).or_default();
        if !is_active(reader) {
            // It starts beside the others: what it has not read before is not owed to it.
            reader.taken = reader.taken.max(last.unwrap_or(0));
        }
        reader.asked = Some(now);
        last.map_or(u64::MAX, |last| (last + records_within(AHEAD, rate).max(1)).saturating_sub(reader.taken))
    }
}

fn records_within(time: Duration, rate: u64) -> u64 {
    u64::try_from(time.as_nanos() * u128::from(rate) / 1_000_000_000).unwrap_or(u64::MAX)
}

fn time_of(records: u64, rate: u64) -> Duration {
    let nanoseconds = (u128::from(records) * 1_000_000_000).div_ceil(u128::from(rate));
    Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate_runtime::id::OperatorId;

    fn lane(pacer: &Arc<Pacer>, index: u32) -> Lane {
        pacer.lane(SubtaskId { operator: OperatorId(0), index })
    }

    #[test]
    fn a_rate_is_kept_and_a_pause_gives_no_burst() {
        let clock = Clock::manual(Timestamp(5_000));
        let pacer = lane(&Arc::new(Pacer::new(Some(1_000))), 0);
        assert_eq!(pacer.grant(&clock, 10), Grant::Now(1));
        assert_eq!(pacer.grant(&clock, 10), Grant::At(Timestamp(5_001)));
        clock.advance(Duration::from_millis(50));
        assert_eq!(pacer.grant(&clock, 30), Grant::Now(30));
        assert_eq!(pacer.grant(&clock, 30), Grant::Now(20));
        pacer.give_back(5);
        assert_eq!(pacer.grant(&clock, 30), Grant::Now(5));
        clock.advance(Duration::from_secs(60));
        assert_eq!(pacer.grant(&clock, 10_000), Grant::Now(100));
        assert_eq!(pacer.grant(&clock, 10_000), Grant::At(Timestamp(65_051)));
    }

    #[test]
    fn a_low_rate_waits_for_its_next_record() {
        let clock = Clock::manual(Timestamp(0));
        let pacer = lane(&Arc::new(Pacer::new(Some(2))), 0);
        assert_eq!(pacer.grant(&clock, 1), Grant::Now(1));
        assert_eq!(pacer.grant(&clock, 1), Grant::At(Timestamp(500)));
        clock.advance(Duration::from_millis(500));
        assert_eq!(pacer.grant(&clock, 1), Grant::Now(1));
    }

    #[test]
    fn no_rate_grants_everything() {
        let pacer = Arc::new(Pacer::new(None));
        assert_eq!(lane(&pacer, 0).grant(&Clock::manual(Timestamp(0)), 7), Grant::Now(7));
    }

    /// Otherwise a restart that comes often enough keeps a split at its place, and with it the watermark.
    #[test]
    fn the_reader_that_asks_first_after_each_pause_does_not_starve_the_others() {
        let clock = Clock::manual(Timestamp(0));
        let pacer = Arc::new(Pacer::new(Some(10_000)));
        let lanes = [lane(&pacer, 0), lane(&pacer, 1)];
        let mut read = [0, 0];
        for _ in 0..50 {
            clock.advance(Duration::from_millis(100));
            for _ in 0..10 {
                for (reader, records) in lanes.iter().zip(&mut read) {
                    if let Grant::Now(granted) = reader.grant(&clock, 1_024) {
                        *records += granted;
                    }
                }
            }
        }
        let [first, second] = read;
        assert!(first + second > 49_000 && first.abs_diff(second) <= 200 + 1_024, "{read:?}");
    }

    #[test]
    fn a_reader_with_nothing_to_read_leaves_the_rate_to_the_others() {
        let clock = Clock::manual(Timestamp(0));
        let pacer = Arc::new(Pacer::new(Some(1_000)));
        let (one, other) = (lane(&pacer, 0), lane(&pacer, 1));
        assert_eq!(one.grant(&clock, 10), Grant::Now(1));
        assert_eq!(other.grant(&clock, 10), Grant::At(Timestamp(1)));
        clock.advance(Duration::from_millis(100));
        assert_eq!(one.grant(&clock, 1_000), Grant::Now(20));
        assert_eq!(one.grant(&clock, 1_000), Grant::At(Timestamp(101)));
        other.leave();
        assert_eq!(one.grant(&clock, 1_000), Grant::Now(80));
        clock.advance(Duration::from_millis(10));
        assert_eq!(other.grant(&clock, 1_000), Grant::Now(10));
        other.give_back(4);
        assert_eq!(one.grant(&clock, 1_000), Grant::Now(4));
    }
}

//! Holds a source to a number of records per second, over all its subtasks in this process.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tidegate_runtime::Timestamp;
use tidegate_runtime::time::Clock;

/// What is granted at most after a pause: more would be a burst that no rate was asked for.
const CATCH_UP: Duration = Duration::from_millis(100);

/// Shared by the readers of a source; without a rate it costs a branch.
#[derive(Debug, Default)]
pub(crate) struct Pacer {
    records_per_second: Option<u64>,
    account: Mutex<Account>,
}

#[derive(Debug, Default)]
struct Account {
    start: Option<Duration>,
    granted: u64,
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

    /// Takes up to `wanted` records from the account.
    pub(crate) fn grant(&self, clock: &Clock, wanted: usize) -> Grant {
        let Some(rate) = self.records_per_second else { return Grant::Now(wanted) };
        let mut account = self.account.lock().unwrap_or_else(PoisonError::into_inner);
        account.grant(rate, clock, wanted)
    }

    /// Gives back what was granted and not read.
    pub(crate) fn give_back(&self, records: usize) {
        if self.records_per_second.is_some() && records > 0 {
            let mut account = self.account.lock().unwrap_or_else(PoisonError::into_inner);
            account.granted = account.granted.saturating_sub(records as u64);
        }
    }
}

impl Account {
    fn grant(&mut self, rate: u64, clock: &Clock, wanted: usize) -> Grant {
        let now = clock.elapsed();
        let start = *self.start.get_or_insert(now);
        let due = records_within(now.saturating_sub(start), rate) + 1;
        let mut open = due.saturating_sub(self.granted);
        let most = records_within(CATCH_UP, rate).max(1);
        if open > most {
            self.granted += open - most;
            open = most;
        }
        if open == 0 {
            let next = start + time_of(self.granted, rate);
            let wait_ms = next.saturating_sub(now).as_micros().div_ceil(1_000).max(1);
            return Grant::At(Timestamp(clock.now().0.saturating_add(wait_ms as i64)));
        }
        let granted = open.min(wanted as u64);
        self.granted += granted;
        Grant::Now(granted as usize)
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

    #[test]
    fn a_rate_is_kept_and_a_pause_gives_no_burst() {
        let clock = Clock::manual(Timestamp(5_000));
        let pacer = Pacer::new(Some(1_000));
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
        let pacer = Pacer::new(Some(2));
        assert_eq!(pacer.grant(&clock, 1), Grant::Now(1));
        assert_eq!(pacer.grant(&clock, 1), Grant::At(Timestamp(500)));
        clock.advance(Duration::from_millis(500));
        assert_eq!(pacer.grant(&clock, 1), Grant::Now(1));
    }

    #[test]
    fn no_rate_grants_everything() {
        assert_eq!(Pacer::new(None).grant(&Clock::manual(Timestamp(0)), 7), Grant::Now(7));
    }
}

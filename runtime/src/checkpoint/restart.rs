//! Whether and when a failed region is started again: a pure core over the restart policy.

use std::collections::VecDeque;
use std::time::Duration;

use crate::config::RestartPolicy;
use crate::time::Timestamp;

/// What follows from a failure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RestartDecision {
    /// Start again after this wait.
    After(Duration),
    /// The job fails; says which limit was reached.
    GiveUp(String),
}

/// Counts failures against a policy. Kills that a person or chaos asked for are not told to it.
#[derive(Clone, Debug)]
pub struct RestartTracker {
    policy: RestartPolicy,
    /// Restarts in a row.
    streak: u32,
    last_failure: Option<Timestamp>,
    /// Times of failures within the policy's interval, oldest first; bounded by the policy's count.
    recent: VecDeque<Timestamp>,
    random: u64,
}

impl RestartTracker {
    /// Nothing has failed yet; `seed` is that of the jitter.
    pub fn new(policy: RestartPolicy, seed: u64) -> Self {
        Self { policy, streak: 0, last_failure: None, recent: VecDeque::new(), random: seed }
    }

    /// A region has failed by itself.
    pub fn on_failure(&mut self, now: Timestamp) -> RestartDecision {
        let quiet_since = self.last_failure.replace(now);
        match self.policy {
            RestartPolicy::None => RestartDecision::GiveUp("the restart policy is `none`".to_owned()),
            RestartPolicy::FixedDelay { attempts, delay } => self.within(attempts, delay),
            RestartPolicy::ExponentialBackoff { initial, max, multiplier, jitter, reset_after, attempts } => {
                if quiet_since.is_some_and(|last| last + reset_after <= now) {
                    self.streak = 0;
                }
                let power = i32::try_from(self.streak).unwrap_or(i32::MAX);
                let grown = initial.as_secs_f64() * multiplier.powi(power);
                let spread = 1.0 + jitter * (self.next_random() * 2.0 - 1.0);
                let wait = (grown.min(max.as_secs_f64()) * spread).clamp(0.0, max.as_secs_f64());
                self.within(attempts, Duration::from_secs_f64(wait))
            }
            RestartPolicy::FailureRate { failures, interval, delay } => {
                self.recent.retain(|at| *at + interval > now);
                self.recent.push_back(now);
                if self.recent.len() > failures as usize {
                    self.recent.pop_front();
                    return RestartDecision::GiveUp(format!(
                        "more than {failures} failures within {} ms",
                        interval.as_millis()
                    ));
                }
                RestartDecision::After(delay)
            }
        }
    }

    /// A checkpoint has completed: progress, which ends a run of failures under a fixed delay.
    pub fn on_checkpoint(&mut self) {
        if matches!(self.policy, RestartPolicy::FixedDelay { .. }) {
            self.streak = 0;
        }
    }

    fn within(&mut self, attempts: u32, delay: Duration) -> RestartDecision {
        if self.streak >= attempts {
            return RestartDecision::GiveUp(format!("{attempts} restarts in a row did not help"));
        }
        self.streak += 1;
        RestartDecision::After(delay)
    }

    /// Within 0 and 1 (splitmix64).
    fn next_random(&mut self) -> f64 {
        self.random = self.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::millis;

    fn at(ms: i64) -> Timestamp {
        Timestamp(ms)
    }

    fn gives_up(decision: &RestartDecision) -> bool {
        matches!(decision, RestartDecision::GiveUp(_))
    }

    #[test]
    fn without_a_policy_the_first_failure_is_the_last() {
        let mut tracker = RestartTracker::new(RestartPolicy::None, 1);
        assert!(gives_up(&tracker.on_failure(at(0))));
    }

    #[test]
    fn a_completed_checkpoint_ends_a_run_of_failures_under_a_fixed_delay() {
        let policy = RestartPolicy::FixedDelay { attempts: 2, delay: millis(10) };
        let mut tracker = RestartTracker::new(policy, 1);
        assert_eq!(tracker.on_failure(at(0)), RestartDecision::After(millis(10)));
        assert_eq!(tracker.on_failure(at(1)), RestartDecision::After(millis(10)));
        tracker.on_checkpoint();
        assert_eq!(tracker.on_failure(at(2)), RestartDecision::After(millis(10)));
        assert_eq!(tracker.on_failure(at(3)), RestartDecision::After(millis(10)));
        assert!(gives_up(&tracker.on_failure(at(4))));
    }

    #[test]
    fn the_backoff_grows_to_its_limit_and_starts_over_after_a_quiet_time() {
        let policy = RestartPolicy::ExponentialBackoff {
            initial: millis(10),
            max: millis(50),
            multiplier: 2.0,
            jitter: 0.0,
            reset_after: millis(1_000),
            attempts: 5,
        };
        let mut tracker = RestartTracker::new(policy, 1);
        let waits: Vec<_> = (0..5).map(|n| tracker.on_failure(at(n))).collect();
        let expected: Vec<_> =
            [10, 20, 40, 50, 50].iter().map(|ms| RestartDecision::After(millis(*ms))).collect();
        assert_eq!(waits, expected);
        assert_eq!(tracker.on_failure(at(2_000)), RestartDecision::After(millis(10)));
    }

    #[test]
    fn jitter_spreads_the_wait_around_the_delay_and_depends_on_the_seed_only() {
        let policy = RestartPolicy::ExponentialBackoff {
            initial: millis(100),
            max: millis(10_000),
            multiplier: 1.0,
            jitter: 0.5,
            reset_after: millis(1),
            attempts: 1_000,
        };
        let waits = |seed| {
            let mut tracker = RestartTracker::new(policy, seed);
            (0..100).map(|n| tracker.on_failure(at(n * 10))).collect::<Vec<_>>()
        };
        assert_eq!(waits(7), waits(7));
        assert_ne!(waits(7), waits(8));
        for wait in waits(7) {
            let RestartDecision::After(wait) = wait else { panic!("it must not give up: {wait:?}") };
            assert!(wait >= millis(50) && wait <= millis(150), "{wait:?}");
        }
    }

    #[test]
    fn a_failure_rate_counts_only_what_is_within_its_interval() {
        let policy = RestartPolicy::FailureRate { failures: 2, interval: millis(100), delay: millis(1) };
        let mut tracker = RestartTracker::new(policy, 1);
        assert_eq!(tracker.on_failure(at(0)), RestartDecision::After(millis(1)));
        assert_eq!(tracker.on_failure(at(50)), RestartDecision::After(millis(1)));
        assert_eq!(tracker.on_failure(at(101)), RestartDecision::After(millis(1)));
        assert!(gives_up(&tracker.on_failure(at(102))));
    }
}

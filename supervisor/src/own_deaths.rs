//! Counts supervising actors that end by themselves: our bugs, over which a job is given up before it restarts them for
//! ever.

use crate::message::Origin;

/// Deaths without a completed checkpoint in between over which the job is given up.
const OWN_DEATHS_MAX: u32 = 10;

/// The count.
#[derive(Debug, Default)]
pub(crate) struct OwnDeaths(u32);

/// Whether to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    GoOn,
    GiveUp,
}

impl OwnDeaths {
    /// An actor has ended; those that a person or chaos asked for don't count (case 116).
    pub(crate) fn on_death(&mut self, origin: Origin) -> Verdict {
        self.0 += u32::from(origin == Origin::Failure);
        if self.0 > OWN_DEATHS_MAX { Verdict::GiveUp } else { Verdict::GoOn }
    }

    /// A checkpoint has completed.
    pub(crate) fn on_progress(&mut self) {
        self.0 = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_deaths_of_our_own_without_progress_end_the_job() {
        let mut deaths = OwnDeaths::default();
        for _ in 0..OWN_DEATHS_MAX {
            assert_eq!(deaths.on_death(Origin::Asked), Verdict::GoOn);
            assert_eq!(deaths.on_death(Origin::Failure), Verdict::GoOn);
        }
        deaths.on_progress();
        for _ in 0..OWN_DEATHS_MAX {
            assert_eq!(deaths.on_death(Origin::Failure), Verdict::GoOn);
        }
        assert_eq!(deaths.on_death(Origin::Failure), Verdict::GiveUp);
    }
}

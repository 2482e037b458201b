//! When it pays to add up: measured on the rounds themselves.

/// Batches that go on as they are after a round that did not get shorter by half. A try costs a look-up a record, about
/// half of what one through the exchange costs, so one in 32 tried in vain costs one or two percent.
const PASSED_BATCHES: u32 = 31;

/// Says what is done with a batch that begins a round.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// Batches that still pass.
    left: u32,
}

/// What is done with a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Treatment {
    /// Its records are added up.
    AddUp,
    /// Its records go on one by one.
    Pass,
}

impl Pace {
    pub(super) fn next(&mut self) -> Treatment {
        if self.left == 0 {
            return Treatment::AddUp;
        }
        self.left -= 1;
        Treatment::Pass
    }

    /// Learns what a round came to.
    pub(super) fn learn(&mut self, records: usize, partials: usize) {
        if 2 * partials > records {
            self.left = PASSED_BATCHES;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_that_do_not_get_shorter_are_tried_once_in_32_batches() {
        let mut pace = Pace::default();
        let treatments: Vec<Treatment> = (0..65)
            .map(|_| {
                let treatment = pace.next();
                if treatment == Treatment::AddUp {
                    pace.learn(100, 51);
                }
                treatment
            })
            .collect();
        let tried: Vec<usize> = (0..65).filter(|at| treatments[*at] == Treatment::AddUp).collect();
        assert_eq!(tried, [0, 32, 64]);
        let mut pace = Pace::default();
        for _ in 0..10 {
            assert_eq!(pace.next(), Treatment::AddUp);
            pace.learn(100, 50);
        }
    }
}

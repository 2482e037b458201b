//! How long a step may take before the subtask yields to the scheduler.

use std::time::Duration;

use crate::time::Clock;

/// The budget of one step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StepBudget {
    /// By the context's clock.
    Time(Duration),
    /// By turns, for reproducible tests.
    Turns(u32),
}

/// Turns between two looks at the clock.
const TURNS_PER_LOOK: u32 = 2;

impl Default for StepBudget {
    fn default() -> Self {
        // Long enough that the scheduler's share stays under 1 %, short enough that a kill is not late.
        Self::Time(Duration::from_millis(1))
    }
}

impl StepBudget {
    pub(super) fn is_spent(&self, turns: u32, began: Duration, clock: &Clock) -> bool {
        match self {
            Self::Turns(most) => turns >= *most,
            Self::Time(most) => {
                turns.is_multiple_of(TURNS_PER_LOOK) && clock.elapsed().saturating_sub(began) >= *most
            }
        }
    }

    /// Whether a step took so long that one user call must have done it.
    pub(super) fn is_overshot(&self, took: Duration) -> bool {
        matches!(self, Self::Time(most) if took > *most * 8)
    }
}

//! Lets the subtask of a source that is behind in event time go first.
//!
//! Where there are fewer processors than subtasks, one subtask of a source may get more of them than another for long,
//! and what is downstream has to hold all that one is ahead of the other. So a subtask that is ahead gives way as long as
//! one behind waits for a processor. None waits for another's input, so no processor is idle for it, and a source whose
//! input is ahead is not held up for more than a turn.

use std::sync::Arc;

use super::Wakeup;
use crate::metrics::SubtaskStatus;
use crate::sync::{Mutex, lock};
use crate::time::Timestamp;

/// The subtasks of one source.
pub struct Turns {
    seats: Vec<Seat>,
    /// Who has given way and waits to be woken.
    waiting: Mutex<Vec<bool>>,
}

struct Seat {
    wakeup: Wakeup,
    status: Arc<SubtaskStatus>,
}

/// One subtask's place among them.
pub struct Turn {
    turns: Arc<Turns>,
    index: usize,
}

impl Turns {
    /// Of subtasks with these wake-ups and figures.
    pub fn of(subtasks: Vec<(Wakeup, Arc<SubtaskStatus>)>) -> Vec<Turn> {
        let waiting = Mutex::new(vec![false; subtasks.len()]);
        let seats = subtasks.into_iter().map(|(wakeup, status)| Seat { wakeup, status }).collect();
        let turns = Arc::new(Self { seats, waiting });
        (0..turns.seats.len()).map(|index| Turn { turns: Arc::clone(&turns), index }).collect()
    }

    /// Whether one behind `watermark` waits for its turn. One that is in a step has it, also if it was woken since.
    fn is_behind(&self, watermark: Timestamp) -> bool {
        self.seats.iter().any(|Seat { wakeup, status }| {
            status.emitted_watermark() < watermark && wakeup.is_under_way() && status.step_began_ns.get() == 0
        })
    }
}

impl Turn {
    /// The subtask has a turn, and its notice has been begun with: those that gave way go on. Returns whether it gives way
    /// itself: then it is woken when another has begun.
    pub fn begin(&self) -> bool {
        let Turns { seats, waiting } = &*self.turns;
        let mut waiting = lock(waiting);
        // Whoever has begun before the lock is seen to have, and whoever begins after it wakes this one (I4).
        let gives_way = self.turns.is_behind(seats[self.index].status.emitted_watermark());
        waiting[self.index] = gives_way;
        for (index, seat) in seats.iter().enumerate() {
            if index != self.index && std::mem::take(&mut waiting[index]) {
                seat.wakeup.wake();
            }
        }
        gives_way
    }
}

//! The one place that reads the machine's clocks.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use super::Timestamp;
use super::timestamp::duration_ms;

/// Where processing time and elapsed time come from: the machine, or a test's hand.
///
/// Both readings never go back, whatever the wall clock does (case 51).
#[derive(Clone, Debug)]
pub struct Clock(Source);

#[derive(Clone, Debug)]
enum Source {
    System { start: std::time::Instant, wall_start_ms: i64 },
    Manual(Arc<AtomicI64>),
}

impl Clock {
    /// The machine's clocks: wall time is read once, then advanced by the monotonic clock.
    #[expect(clippy::disallowed_methods, reason = "the one reader of the machine's clocks")]
    pub fn system() -> Self {
        let wall = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Self(Source::System { start: std::time::Instant::now(), wall_start_ms: duration_ms(wall) })
    }

    /// A clock that stands still until `advance` is called; clones share it.
    pub fn manual(start: Timestamp) -> Self {
        Self(Source::Manual(Arc::new(AtomicI64::new(start.0))))
    }

    /// Processing time.
    pub fn now(&self) -> Timestamp {
        match &self.0 {
            Source::System { start, wall_start_ms } => {
                Timestamp(wall_start_ms.saturating_add(duration_ms(start.elapsed())))
            }
            Source::Manual(now) => Timestamp(now.load(Ordering::Acquire)),
        }
    }

    /// Time since the clock was made; for measuring, at nanosecond resolution.
    pub fn elapsed(&self) -> Duration {
        match &self.0 {
            Source::System { start, .. } => start.elapsed(),
            Source::Manual(now) => {
                Duration::from_millis(u64::try_from(now.load(Ordering::Acquire)).unwrap_or(0))
            }
        }
    }

    /// Moves a manual clock on; a system clock can't be moved.
    pub fn advance(&self, by: Duration) {
        if let Source::Manual(now) = &self.0 {
            now.fetch_add(duration_ms(by), Ordering::AcqRel);
        }
    }
}

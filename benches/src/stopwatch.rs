//! Times a pipeline from the first record that is measured to its last write, so that start, warming up, last
//! checkpoint and stop don't count.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tidegate::runtime::time::Clock;

/// Shared by the sources and sinks of one run.
pub(crate) struct Stopwatch {
    clock: Clock,
    /// 0: not yet.
    began_ns: AtomicU64,
    last_ns: AtomicU64,
}

impl Stopwatch {
    pub(crate) fn new(clock: &Clock) -> Self {
        Self { clock: clock.clone(), began_ns: AtomicU64::new(0), last_ns: AtomicU64::new(0) }
    }

    /// A record that is measured is about to be read.
    pub(crate) fn begin(&self) {
        if self.began_ns.load(Ordering::Relaxed) == 0 {
            let now = self.now_ns();
            // Of two sources the first counts; whoever loses the race was not first by much.
            let _ = self.began_ns.compare_exchange(0, now, Ordering::Relaxed, Ordering::Relaxed);
        }
    }

    /// A sink has written, or a loop has ended. Returns the time so far.
    pub(crate) fn lap(&self) -> Duration {
        self.last_ns.fetch_max(self.now_ns(), Ordering::Relaxed);
        self.elapsed()
    }

    /// From the first that is measured to the last write.
    pub(crate) fn elapsed(&self) -> Duration {
        let began = self.began_ns.load(Ordering::Relaxed);
        Duration::from_nanos(self.last_ns.load(Ordering::Relaxed).saturating_sub(began))
    }

    fn now_ns(&self) -> u64 {
        self.clock.elapsed().as_nanos() as u64
    }
}

//! A source that first emits some records at once and then so many a second, each with the time of its emission.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tidegate::runtime::Result;
use tidegate::runtime::source::{
    Discovered, Polled, ReaderContext, Source, SourceOutput, SourceReader, Split,
};
use tidegate::runtime::time::{Clock, millis};

use crate::data::{CHUNK, mix};

/// One record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Tick {
    pub(crate) key: u64,
    pub(crate) number: u64,
    pub(crate) emitted_ns: u64,
}

/// See the module. Lane l of n emits the numbers l, l + n, l + 2 n, ...
#[derive(Clone)]
pub(crate) struct Paced {
    /// Numbers that are emitted at once, each with a key of its own; later ones have a random one of these keys.
    pub(crate) keys: u64,
    /// Whether those are emitted first, at full speed.
    pub(crate) preload: Preload,
    /// Records a second over all lanes.
    pub(crate) rate: u64,
    pub(crate) progress: Arc<Progress>,
}

/// What is emitted at full speed first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Preload {
    EveryKey,
    Nothing,
}

/// How far a source has come, over all attempts; at most two lanes.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    /// When pacing began, in nanoseconds of the clock plus 1.
    paced_from_ns: AtomicU64,
    /// The number after the highest emitted, by lane.
    pub(crate) emitted: [AtomicU64; 2],
}

/// The next number of a lane.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct LaneNext {
    lane: u64,
    next: u64,
    step: u64,
}

impl Split for LaneNext {
    fn id(&self) -> String {
        format!("lane {} of {}", self.lane, self.step)
    }
}

impl Paced {
    fn preloaded(&self) -> u64 {
        if self.preload == Preload::EveryKey { self.keys } else { 0 }
    }

    /// Numbers below this are due.
    fn due(&self, clock: &Clock) -> u64 {
        let now = clock.elapsed().as_nanos() as u64;
        let emitted: u64 =
            self.progress.emitted.iter().map(|lane| lane.load(Ordering::Relaxed)).max().unwrap_or(0);
        let from = &self.progress.paced_from_ns;
        if emitted < self.preloaded() && from.load(Ordering::Relaxed) == 0 {
            return self.preloaded();
        }
        let _ = from.compare_exchange(0, now + 1, Ordering::Relaxed, Ordering::Relaxed);
        let paced = Duration::from_nanos((now + 1).saturating_sub(from.load(Ordering::Relaxed)));
        self.preloaded() + (paced.as_secs_f64() * self.rate as f64) as u64
    }

    fn tick(&self, number: u64, clock: &Clock) -> Tick {
        let key = if number < self.keys { number } else { mix(number) % self.keys };
        Tick { key: mix(key), number, emitted_ns: clock.elapsed().as_nanos() as u64 }
    }
}

impl Source for Paced {
    type Record = Tick;
    type Split = LaneNext;
    type Reader = PacedReader;

    fn discover(&self, parallelism: u32) -> Result<Discovered<LaneNext>> {
        let step = u64::from(parallelism);
        let splits = (0..step).map(|lane| LaneNext { lane, next: lane, step }).collect();
        Ok(Discovered { splits, again_after: None })
    }

    fn reader(&self, cx: &ReaderContext) -> Result<PacedReader> {
        Ok(PacedReader { source: self.clone(), clock: cx.clock.clone(), splits: Vec::new() })
    }

    fn identity(&self) -> Vec<(String, String)> {
        vec![("keys".to_owned(), self.keys.to_string())]
    }
}

/// Reads lanes, the first that has something due.
pub(crate) struct PacedReader {
    source: Paced,
    clock: Clock,
    splits: Vec<LaneNext>,
}

impl SourceReader for PacedReader {
    type Record = Tick;
    type Split = LaneNext;

    fn add_split(&mut self, split: LaneNext) -> Result<()> {
        self.splits.push(split);
        Ok(())
    }

    fn poll(&mut self, out: &mut SourceOutput<'_, Tick>) -> Result<Polled> {
        if self.splits.is_empty() {
            return Ok(Polled::NoSplit);
        }
        let due = self.source.due(&self.clock);
        let Some(split) = self.splits.iter_mut().find(|split| split.next < due) else {
            return Ok(Polled::Pending(Some(self.clock.now() + millis(1))));
        };
        for _ in 0..CHUNK {
            if split.next >= due {
                break;
            }
            out.emit(self.source.tick(split.next, &self.clock));
            split.next += split.step;
        }
        self.source.progress.emitted[split.lane as usize].fetch_max(split.next, Ordering::Relaxed);
        Ok(Polled::Ready)
    }

    fn snapshot(&self) -> Vec<LaneNext> {
        self.splits.clone()
    }

    fn position(&self) -> Option<String> {
        self.splits.first().map(|split| format!("number {}", split.next))
    }
}

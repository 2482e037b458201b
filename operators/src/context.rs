//! What a process function may do besides its state: emit, set timers, read time and randomness.

use tidegate_runtime::element::Record;
use tidegate_runtime::error::{Error, Result};
use tidegate_runtime::key::{Key, KeyHash};
use tidegate_runtime::operator::{OpenContext, StepContext};
use tidegate_runtime::output::{Output, Timing as OutputTiming};
use tidegate_runtime::state::Timers;
use tidegate_runtime::time::{Clock, Timestamp};

use crate::side_output::{SideBuffers, SideOutput};

/// The context of one call of a process function: bound to a key, and to the element or timer that it is about.
pub struct Context<K: Key, Out: Record> {
    pub(crate) output: Output<Out>,
    pub(crate) sides: SideBuffers,
    pub(crate) key: Option<K>,
    pub(crate) hash: KeyHash,
    pub(crate) timestamp: Timestamp,
    pub(crate) event_timers: Option<Timers<K>>,
    pub(crate) processing_timers: Option<Timers<K>>,
    /// What went wrong in a call that could not return it.
    failed: Option<Error>,
    watermark: Timestamp,
    clock: Option<Clock>,
    random: u64,
}

/// Which timers.
#[derive(Clone, Copy)]
enum Kind {
    Event,
    Processing,
}

impl<K: Key, Out: Record> Context<K, Out> {
    pub(crate) fn new(timing: OutputTiming, sides: SideBuffers) -> Self {
        Self {
            output: Output::new(timing),
            sides,
            key: None,
            hash: KeyHash(0),
            timestamp: Timestamp::MIN,
            event_timers: None,
            processing_timers: None,
            failed: None,
            watermark: Timestamp::MIN,
            clock: None,
            random: 0,
        }
    }

    pub(crate) fn open(&mut self, cx: &mut OpenContext<'_>) -> Result<()> {
        self.event_timers = Some(cx.states.timers("event-timers")?);
        self.processing_timers = Some(cx.states.timers("processing-timers")?);
        self.clock = Some(cx.clock.clone());
        self.random = cx.seed;
        self.watermark = cx.restored_watermark;
        Ok(())
    }

    pub(crate) fn begin(&mut self, step: &StepContext<'_>) {
        self.watermark = step.watermark;
    }

    pub(crate) fn is_full(&self) -> bool {
        self.output.is_full() || self.sides.is_full()
    }

    /// Reports what went wrong in a call that could not return it.
    pub(crate) fn settle(&mut self) -> Result<()> {
        self.failed.take().map_or(Ok(()), Err)
    }

    /// Emits a record with the timestamp of the current element or timer.
    #[inline]
    pub fn emit(&mut self, record: Out) {
        self.output.push(record, self.timestamp);
    }

    /// Emits a record with a timestamp of its own. One at or below the watermark is late where windows follow.
    #[inline]
    pub fn emit_at(&mut self, timestamp: Timestamp, record: Out) {
        self.output.push(record, timestamp);
    }

    /// Emits a record to a side output, with the timestamp of the current element or timer.
    ///
    /// # Panics
    /// If the function does not declare the tag in `side_outputs`.
    pub fn emit_to<T: Record>(&mut self, tag: &SideOutput<T>, record: T) {
        self.sides.push(tag, record, self.timestamp);
    }

    /// Emits a record to a side output, with a timestamp of its own.
    ///
    /// # Panics
    /// If the function does not declare the tag in `side_outputs`.
    pub fn emit_to_at<T: Record>(&mut self, tag: &SideOutput<T>, timestamp: Timestamp, record: T) {
        self.sides.push(tag, record, timestamp);
    }

    /// The current key.
    pub fn key(&self) -> &K {
        self.key.as_ref().expect("I66: user code is called with a key bound")
    }

    /// Event time of the current element or timer; `Timestamp::MIN` on an untimed stream. In a processing-time timer,
    /// the timer's.
    pub fn timestamp(&self) -> Timestamp {
        self.timestamp
    }

    /// The watermark that the operator stands at.
    pub fn watermark(&self) -> Timestamp {
        self.watermark
    }

    /// The wall clock; never goes back.
    pub fn processing_time(&self) -> Timestamp {
        self.clock.as_ref().map_or(Timestamp::MIN, Clock::now)
    }

    /// The next of a sequence of random numbers that is the same in each attempt of the instance.
    pub fn random_u64(&mut self) -> u64 {
        // SplitMix64 (Steele, Lea and Flood).
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.random ^ (self.random >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Has `on_timer` called for the current key when the watermark comes to `at`; at the next watermark if it has.
    /// Setting the same timer again does nothing.
    pub fn set_event_timer(&mut self, at: impl Into<Timestamp>) {
        self.with_timers(Kind::Event, |timers, hash, key| timers.register(at.into(), hash, key));
    }

    /// Takes a timer of the current key back, if there is one at `at`.
    pub fn delete_event_timer(&mut self, at: impl Into<Timestamp>) {
        self.with_timers(Kind::Event, |timers, hash, key| timers.delete(at.into(), hash, key));
    }

    /// Has `on_processing_timer` called for the current key when the wall clock comes to `at`. What was due while the
    /// job was down is called after the restart.
    pub fn set_processing_timer(&mut self, at: impl Into<Timestamp>) {
        self.with_timers(Kind::Processing, |timers, hash, key| timers.register(at.into(), hash, key));
    }

    /// Takes a processing-time timer of the current key back, if there is one at `at`.
    pub fn delete_processing_timer(&mut self, at: impl Into<Timestamp>) {
        self.with_timers(Kind::Processing, |timers, hash, key| timers.delete(at.into(), hash, key));
    }

    fn with_timers(&mut self, kind: Kind, change: impl FnOnce(&mut Timers<K>, KeyHash, &K) -> Result<bool>) {
        let timers = match kind {
            Kind::Event => &mut self.event_timers,
            Kind::Processing => &mut self.processing_timers,
        };
        if let (Some(timers), Some(key)) = (timers, &self.key)
            && let Err(error) = change(timers, self.hash, key)
        {
            self.failed.get_or_insert(error);
        }
    }
}

//! Watermark strategies: how event time is read off records, and how far it may be out of order.

use std::sync::Arc;
use std::time::Duration;

use super::Timestamp;

/// How watermarks come from the timestamps of a stream of `T`s.
///
/// The closures make one generator for each subtask of the source.
pub struct WatermarkStrategy<T> {
    kind: Kind<T>,
    idle_after: Option<Duration>,
}

enum Kind<T> {
    BoundedOutOfOrderness(Duration),
    None,
    Custom(Arc<dyn Fn() -> Box<dyn WatermarkGenerator<T>> + Send + Sync>),
}

impl<T> Clone for WatermarkStrategy<T> {
    fn clone(&self) -> Self {
        let kind = match &self.kind {
            Kind::BoundedOutOfOrderness(bound) => Kind::BoundedOutOfOrderness(*bound),
            Kind::None => Kind::None,
            Kind::Custom(make) => Kind::Custom(Arc::clone(make)),
        };
        Self { kind, idle_after: self.idle_after }
    }
}

/// Makes watermarks of its own kind.
pub trait WatermarkGenerator<T>: Send {
    /// Called for every record, in order. A watermark returned holds from the next record on (punctuated).
    fn on_record(&mut self, record: &T, timestamp: Timestamp) -> Option<Timestamp>;

    /// Called after each batch of records, and before the subtask parks (periodic).
    fn on_period(&mut self) -> Option<Timestamp>;
}

/// What a strategy comes to for a batch loop.
pub enum Generation<T> {
    /// The watermark is the highest timestamp less the bound less 1, after each batch. Records below are counted as
    /// disordered.
    Bounded(Duration),
    /// No watermark before the end of input.
    None,
    /// A generator of the user's.
    Custom(Box<dyn WatermarkGenerator<T>>),
}

impl<T> WatermarkStrategy<T> {
    /// Records are at most `bound` behind the highest timestamp before them.
    pub fn bounded_out_of_orderness(bound: Duration) -> Self {
        Self { kind: Kind::BoundedOutOfOrderness(bound), idle_after: None }
    }

    /// Timestamps never go down within a split.
    pub fn monotonic() -> Self {
        Self::bounded_out_of_orderness(Duration::ZERO)
    }

    /// No watermarks until the input ends: event-time windows fire at the end.
    pub fn none() -> Self {
        Self { kind: Kind::None, idle_after: None }
    }

    /// A generator of one's own, periodic or punctuated.
    pub fn custom<G: WatermarkGenerator<T> + 'static>(make: impl Fn() -> G + Send + Sync + 'static) -> Self {
        Self { kind: Kind::Custom(Arc::new(move || Box::new(make()))), idle_after: None }
    }

    /// A subtask without records for this long is idle: it does not hold the watermark until its next record.
    pub fn with_idleness(mut self, after: Duration) -> Self {
        self.idle_after = Some(after);
        self
    }

    /// After how long without records a subtask is idle.
    pub fn idle_after(&self) -> Option<Duration> {
        self.idle_after
    }

    /// A generator for one subtask.
    pub fn generation(&self) -> Generation<T> {
        match &self.kind {
            Kind::BoundedOutOfOrderness(bound) => Generation::Bounded(*bound),
            Kind::None => Generation::None,
            Kind::Custom(make) => Generation::Custom(make()),
        }
    }
}

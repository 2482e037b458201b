//! The windows that a user can ask for.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tidegate_runtime::time::Timestamp;

/// One window: from `start`, included, to `end`, excluded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Window {
    /// The first timestamp in it.
    pub start: Timestamp,
    /// The first timestamp after it; of a session: its last timestamp and the gap.
    pub end: Timestamp,
}

impl Window {
    /// The timestamp of what the window emits: one before its end.
    pub fn last_timestamp(self) -> Timestamp {
        if self.end == Timestamp::MAX { self.end } else { Timestamp(self.end.0 - 1) }
    }
}

/// Windows of one size, one after the other.
///
/// ```
/// use tidegate_operators::{Tumbling, hours, minutes};
/// let daily_from_six = Tumbling::of(hours(24)).offset(hours(6));
/// let every_five_minutes = Tumbling::of(minutes(5));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tumbling {
    size: Duration,
    offset: Duration,
}

impl Tumbling {
    /// Windows of `size`, aligned to the epoch.
    pub const fn of(size: Duration) -> Self {
        Self { size, offset: Duration::ZERO }
    }

    /// Windows that begin `offset` after the epoch's multiples of the size.
    #[must_use]
    pub const fn offset(self, offset: Duration) -> Self {
        Self { offset, ..self }
    }
}

/// Windows of one size that begin at a shorter (or longer) interval: a record is in several (or in one, or none).
///
/// ```
/// use tidegate_operators::{Sliding, minutes};
/// let half_hours = Sliding::of(minutes(30)).every(minutes(5));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sliding {
    size: Duration,
    slide: Duration,
    offset: Duration,
}

/// The size of sliding windows, before it is said how often they begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlidingSize(Duration);

impl Sliding {
    /// Windows of `size`; say with `every` how often they begin.
    pub const fn of(size: Duration) -> SlidingSize {
        SlidingSize(size)
    }

    /// Windows that begin `offset` after the epoch's multiples of the interval.
    #[must_use]
    pub const fn offset(self, offset: Duration) -> Self {
        Self { offset, ..self }
    }
}

impl SlidingSize {
    /// Windows that begin every `slide`, aligned to the epoch.
    pub const fn every(self, slide: Duration) -> Sliding {
        Sliding { size: self.0, slide, offset: Duration::ZERO }
    }
}

/// Windows that end when a key has had no record for a while: a session's end is its last timestamp and the gap.
///
/// Two records that are exactly the gap apart are in one session, unless the first one's has fired before the second
/// comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Session {
    gap: Duration,
}

impl Session {
    /// Sessions that end `gap` after their last record.
    pub const fn with_gap(gap: Duration) -> Self {
        Self { gap }
    }
}

/// `Tumbling`, `Sliding` or `Session`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WindowSpec(pub(crate) Kind);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Sliced { size: Duration, slide: Duration, offset: Duration },
    Session { gap: Duration },
}

impl From<Tumbling> for WindowSpec {
    fn from(Tumbling { size, offset }: Tumbling) -> Self {
        Self(Kind::Sliced { size, slide: size, offset })
    }
}

impl From<Sliding> for WindowSpec {
    fn from(Sliding { size, slide, offset }: Sliding) -> Self {
        Self(Kind::Sliced { size, slide, offset })
    }
}

impl From<Session> for WindowSpec {
    fn from(Session { gap }: Session) -> Self {
        Self(Kind::Session { gap })
    }
}

impl WindowSpec {
    /// What is wrong with it, if anything.
    pub(crate) fn problem(self) -> Option<String> {
        let too_short = |what: &str, duration: Duration| {
            (millis(duration) < 1)
                .then(|| format!("the {what} of a window is {duration:?}, but must be at least 1 ms"))
        };
        match self.0 {
            Kind::Sliced { size, slide, .. } => too_short("size", size).or_else(|| too_short("slide", slide)),
            Kind::Session { gap } => too_short("gap", gap),
        }
    }

    /// Milliseconds of the gap between sessions; 0 for other windows.
    pub(crate) fn gap(self) -> i64 {
        match self.0 {
            Kind::Sliced { .. } => 0,
            Kind::Session { gap } => millis(gap),
        }
    }

    /// For the plan.
    pub(crate) fn description(self) -> String {
        match self.0 {
            Kind::Sliced { size, slide, .. } if size == slide => format!("tumbling window of {size:?}"),
            Kind::Sliced { size, slide, .. } => format!("sliding window of {size:?} every {slide:?}"),
            Kind::Session { gap } => format!("session window with a gap of {gap:?}"),
        }
    }
}

/// Whole milliseconds, saturating.
pub(crate) fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

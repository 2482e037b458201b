//! Whether a stream carries event time, as a type: what cannot work without it does not compile.

use tidegate_runtime::output::Timing;

mod sealed {
    pub trait Sealed {}
}

/// The records of the stream have no event time yet.
#[derive(Clone, Copy, Debug)]
pub struct Untimed;

/// Every record of the stream has a timestamp, and watermarks travel with them.
#[derive(Clone, Copy, Debug)]
pub struct Timed;

/// `Timed` or `Untimed`.
pub trait Time: sealed::Sealed + 'static {
    /// The time of what comes of this stream and another one: timed if both are.
    type With<Other: Time>: Time;

    /// The same as a value.
    const TIMING: Timing;
}

/// A stream whose records carry event time.
#[diagnostic::on_unimplemented(
    message = "this stream has no event time",
    label = "needs event time",
    note = "call `.event_time(..)` first: it says how to read a timestamp off a record, and how far records may be out of order"
)]
pub trait HasEventTime: Time {}

impl sealed::Sealed for Untimed {}
impl sealed::Sealed for Timed {}

impl Time for Untimed {
    type With<Other: Time> = Untimed;
    const TIMING: Timing = Timing::Untimed;
}

impl Time for Timed {
    type With<Other: Time> = Other;
    const TIMING: Timing = Timing::Timed;
}

impl HasEventTime for Timed {}

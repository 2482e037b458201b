//! Event time and processing time: timestamps, watermarks and the clock.

mod clock;
mod combine;
mod timestamp;
pub mod watermark;

pub use clock::Clock;
pub use combine::{InputState, WatermarkCombiner};
pub use timestamp::{Timestamp, hours, millis, minutes, seconds};

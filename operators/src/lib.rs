//! The typed API of Tidegate and its operators: `Dataflow`, `Stream`, `KeyedStream`, windows and patterns.
//!
//! A program builds a graph with these types; the facade crate runs it. Each operator is one file; what it decides is
//! in pure cores (`window::slices`, `window::session`, `pattern::matcher`) with property tests.

mod builder;
mod connected;
mod context;
mod dataflow;
mod event_time;
mod key;
mod keyed;
#[cfg(test)]
mod laws;
mod naming;
mod operator;
mod pattern;
#[cfg(test)]
mod shape_tests;
mod side_output;
mod sink;
mod stage;
mod stream;
#[doc(hidden)]
pub mod testing;
mod window;
mod windowed;

pub use connected::{CoProcess, ConnectedStreams};
pub use context::Context;
pub use dataflow::Dataflow;
pub use event_time::{HasEventTime, Time, Timed, Untimed};
pub use key::SameKey;
pub use keyed::KeyedStream;
pub use operator::process::Process;
pub use pattern::{Found, Pattern};
pub use side_output::{SideOutput, SideOutputs};
pub use sink::SinkHandle;
pub use stream::Stream;
pub use window::all::AllWindowedStream;
pub use window::{Session, Sliding, SlidingSize, Tumbling, Window, WindowSpec};
pub use windowed::WindowedStream;

pub use tidegate_runtime::error::BoxError;
pub use tidegate_runtime::state::Aggregate;
pub use tidegate_runtime::time::watermark::{WatermarkGenerator, WatermarkStrategy};
pub use tidegate_runtime::time::{Timestamp, hours, millis, minutes, seconds};

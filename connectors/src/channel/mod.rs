//! Bounded channels between a program and a job that it embeds.

mod delivery;
mod queue;
mod sink;
mod source;
#[cfg(test)]
mod tests;

pub use delivery::ChannelReceiver;
pub use queue::{ChannelSender, SendError, TrySendError};
pub use sink::{ChannelSink, ChannelWriter, channel_sink};
pub use source::{ChannelReader, ChannelSource, ChannelSplit, channel};

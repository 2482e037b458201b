//! Sources and sinks of Tidegate: in memory, channels, generated records and files.
//!
//! | what | source | sink |
//! |---|---|---|
//! | memory | [`collection`] | [`collect`], [`discard`] |
//! | channels | [`channel`] | [`channel_sink`] |
//! | generated | [`generate`] | |
//! | files | [`files()`] | [`json_lines`], [`csv()`], [`lines`] |

pub mod files;

mod channel;
mod collect;
mod collection;
mod discard;
mod error;
mod generator;
mod index_reader;
mod index_split;
mod pace;
mod uncommitted;

#[cfg(test)]
mod drive;

/// The snippets of the guides compile and run.
#[cfg(doctest)]
mod guides {
    #[doc = include_str!("../../docs/write-a-source.md")]
    mod write_a_source {}
    #[doc = include_str!("../../docs/write-a-sink.md")]
    mod write_a_sink {}
}

pub use channel::{
    ChannelReader, ChannelReceiver, ChannelSender, ChannelSink, ChannelSource, ChannelSplit, ChannelWriter,
    SendError, TrySendError, channel, channel_sink,
};
pub use collect::{CollectSink, CollectWriter, Collected, collect};
pub use collection::{Collection, collection};
pub use discard::{Discard, DiscardWriter, Discarded, discard, discard_with};
pub use error::Error;
pub use files::{FileSink, FileSource, OnBadRecord, csv, files, json_lines, lines};
pub use generator::{Generator, generate};
pub use index_reader::{IndexReader, Indexed};
pub use index_split::IndexSplit;

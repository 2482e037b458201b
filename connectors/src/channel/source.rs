//! The source at the end of a channel.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tidegate_runtime::exchange::Wakeup;
use tidegate_runtime::output::OUTPUT_RECORDS_MAX;
use tidegate_runtime::source::{
    Discovered, Polled, ReaderContext, Source, SourceOutput, SourceReader, Split,
};
use tidegate_runtime::time::Clock;
use tidegate_runtime::{Record, Result};

use super::queue::{ChannelSender, Found, Queue};
use crate::error::Error;

/// A channel into a job: the handle that sends, and the source.
///
/// The channel keeps a record until a completed checkpoint contains it, so that a restart within the process loses
/// nothing. `capacity` is the number of records it keeps at most, those that wait and those that were read since the last
/// checkpoint: choose several checkpoints' worth. A job that makes no checkpoints needs
/// [`ChannelSource::without_replay`]. What is in the channel when the process ends is gone.
///
/// One subtask reads the channel, in the order of sending.
///
/// ```
/// let (sender, source) = tidegate_connectors::channel::<u64>(100_000);
/// sender.send(1)?;
/// # Ok::<(), tidegate_connectors::SendError<u64>>(())
/// ```
pub fn channel<T: Record>(capacity: usize) -> (ChannelSender<T>, ChannelSource<T>) {
    let queue = Queue::new(capacity);
    let sender = ChannelSender::new(Arc::clone(&queue));
    // Two channels of one process are told apart by their addresses, those of two processes by the time.
    let address = Arc::as_ptr(&queue) as usize as u64;
    let id = address ^ (Clock::system().now().0 as u64).rotate_left(32) ^ u64::from(std::process::id());
    (sender, ChannelSource { queue, id, keeping: Keeping::UntilCheckpoint })
}

/// See [`channel`].
pub struct ChannelSource<T: Record> {
    queue: Arc<Queue<T>>,
    id: u64,
    keeping: Keeping,
}

/// When the channel lets go of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Keeping {
    UntilCheckpoint,
    UntilRead,
}

impl<T: Record> ChannelSource<T> {
    /// Lets go of records as soon as they are read: a restart loses those since the last checkpoint.
    pub fn without_replay(mut self) -> Self {
        self.keeping = Keeping::UntilRead;
        self
    }
}

impl<T: Record> Drop for ChannelSource<T> {
    fn drop(&mut self) {
        self.queue.close();
    }
}

impl<T: Record> fmt::Debug for ChannelSource<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChannelSource").field("keeping", &self.keeping).finish_non_exhaustive()
    }
}

/// The one split of a channel: which channel, and the number of the next record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChannelSplit {
    channel: u64,
    position: u64,
}

impl Split for ChannelSplit {
    fn id(&self) -> String {
        "channel".to_owned()
    }
}

impl<T: Record> Source for ChannelSource<T> {
    type Record = T;
    type Split = ChannelSplit;
    type Reader = ChannelReader<T>;

    fn discover(&self, _parallelism: u32) -> Result<Discovered<ChannelSplit>> {
        let split = ChannelSplit { channel: self.id, position: 0 };
        Ok(Discovered { splits: vec![split], again_after: None })
    }

    fn reader(&self, cx: &ReaderContext) -> Result<ChannelReader<T>> {
        Ok(ChannelReader {
            queue: Arc::clone(&self.queue),
            channel: self.id,
            keeping: self.keeping,
            operator: cx.operator.clone(),
            wakeup: cx.wakeup.clone(),
            split: None,
        })
    }

    fn identity(&self) -> Vec<(String, String)> {
        vec![("channel of".to_owned(), std::any::type_name::<T>().to_owned())]
    }
}

/// Reads a [`ChannelSource`].
pub struct ChannelReader<T> {
    queue: Arc<Queue<T>>,
    channel: u64,
    keeping: Keeping,
    operator: String,
    wakeup: Wakeup,
    split: Option<ChannelSplit>,
}

impl<T: Record> SourceReader for ChannelReader<T> {
    type Record = T;
    type Split = ChannelSplit;

    fn add_split(&mut self, split: ChannelSplit) -> Result<()> {
        let first = self.queue.first();
        let position = if split.channel != self.channel {
            tracing::warn!(source = %self.operator, "the records of an earlier process's channel are gone; this one begins anew");
            first
        } else if split.position < first && self.keeping == Keeping::UntilCheckpoint {
            let problem =
                format!("record {} of the channel was let go, the first is {first}", split.position);
            return Err(Error::Channel { operator: self.operator.clone(), problem }.into());
        } else {
            split.position.max(first)
        };
        self.split = Some(ChannelSplit { channel: self.channel, position });
        Ok(())
    }

    fn poll(&mut self, out: &mut SourceOutput<'_, T>) -> Result<Polled> {
        let Some(split) = &mut self.split else { return Ok(Polled::NoSplit) };
        let room = OUTPUT_RECORDS_MAX.saturating_sub(out.records.len());
        match self.queue.read(split.position, room, &mut out.records.batch_mut().records, &self.wakeup) {
            Found::Records(records) => {
                split.position += records as u64;
                if self.keeping == Keeping::UntilRead {
                    self.queue.release(split.position);
                }
                Ok(Polled::Ready)
            }
            Found::Nothing => Ok(Polled::Pending(None)),
            Found::End => {
                let id = split.id();
                self.split = None;
                Ok(Polled::SplitFinished(id))
            }
        }
    }

    fn snapshot(&self) -> Vec<ChannelSplit> {
        self.split.iter().cloned().collect()
    }

    fn on_checkpoint_completed(&mut self, splits: Vec<ChannelSplit>) -> Result<()> {
        for split in splits.into_iter().filter(|split| split.channel == self.channel) {
            self.queue.release(split.position);
        }
        Ok(())
    }

    fn position(&self) -> Option<String> {
        self.split.as_ref().map(|split| format!("before record {} of the channel", split.position))
    }
}

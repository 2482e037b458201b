//! The sink at the beginning of a channel.

use std::collections::VecDeque;
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tidegate_runtime::element::Batch;
use tidegate_runtime::id::{CheckpointId, Lineage};
use tidegate_runtime::sink::{Committable, Committer, PrepareJob, Sink, SinkContext, SinkWriter};
use tidegate_runtime::sync::lock;
use tidegate_runtime::{Record, Result};

use super::delivery::{ChannelReceiver, Delivery, Undelivered};
use crate::collect::Parcel;
use crate::error::Error;
use crate::uncommitted::{Halves, Uncommitted};

/// How long a receiver may take nothing from a full channel, unless set.
const PATIENCE_DEFAULT: Duration = Duration::from_secs(60);

/// A channel out of a job: the sink, and the handle that receives.
///
/// Exactly once within a process: records are delivered when their checkpoint is published, and travel in its manifest
/// until then. `capacity` is the number of delivered records that wait to be taken; a commit waits for room, so take
/// them while the job runs, on another thread than the one that waits for it.
///
/// ```
/// let (sink, receiver) = tidegate_connectors::channel_sink::<u64>(1_000);
/// ```
pub fn channel_sink<T: Record>(capacity: usize) -> (ChannelSink<T>, ChannelReceiver<T>) {
    let delivery = Delivery::new(capacity);
    let sink = ChannelSink {
        delivery: Arc::clone(&delivery),
        guarantee: Guarantee::ExactlyOnce,
        patience: PATIENCE_DEFAULT,
        halves: Halves::default(),
    };
    (sink, ChannelReceiver::new(delivery))
}

/// See [`channel_sink`].
pub struct ChannelSink<T> {
    delivery: Arc<Delivery<T>>,
    guarantee: Guarantee,
    patience: Duration,
    halves: Halves,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Guarantee {
    ExactlyOnce,
    AtLeastOnce,
}

impl<T> ChannelSink<T> {
    /// Delivers records at once instead of with their checkpoint; after a restart those since the last one come again.
    pub fn at_least_once(mut self) -> Self {
        self.guarantee = Guarantee::AtLeastOnce;
        self
    }

    /// How long the receiver may take nothing while the channel is full before the attempt fails; default 60 s.
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }
}

impl<T> Drop for ChannelSink<T> {
    fn drop(&mut self) {
        self.delivery.close();
    }
}

impl<T> fmt::Debug for ChannelSink<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChannelSink").field("guarantee", &self.guarantee).finish_non_exhaustive()
    }
}

impl<T: Record> Sink for ChannelSink<T> {
    type Record = T;
    type Writer = ChannelWriter<T>;

    fn writer(&self, cx: &SinkContext, _state: &[Vec<u8>]) -> Result<ChannelWriter<T>> {
        Ok(ChannelWriter {
            place: Place {
                delivery: Arc::clone(&self.delivery),
                patience: self.patience,
                operator: cx.operator.clone(),
            },
            guarantee: self.guarantee,
            subtask: cx.subtask.index,
            backlog: Arc::default(),
            uncommitted: self.halves.of(cx),
        })
    }

    fn committer(&self, cx: &SinkContext) -> Result<Option<Box<dyn Committer>>> {
        let place = Place {
            delivery: Arc::clone(&self.delivery),
            patience: self.patience,
            operator: cx.operator.clone(),
        };
        Ok(match self.guarantee {
            Guarantee::AtLeastOnce => None,
            Guarantee::ExactlyOnce => Some(Box::new(ChannelCommitter { place, lineage: cx.lineage })),
        })
    }

    fn identity(&self) -> Vec<(String, String)> {
        vec![
            ("channel of".to_owned(), std::any::type_name::<T>().to_owned()),
            ("guarantee".to_owned(), format!("{:?}", self.guarantee)),
        ]
    }
}

/// Where records are delivered, and how errors are told.
struct Place<T> {
    delivery: Arc<Delivery<T>>,
    patience: Duration,
    operator: String,
}

impl<T> Place<T> {
    fn undelivered(&self, why: Undelivered) -> tidegate_runtime::Error {
        let problem = match why {
            Undelivered::ReceiverGone => {
                "the receiver was dropped; keep it as long as the job runs".to_owned()
            }
            Undelivered::Stalled => {
                format!("the channel is full and the receiver has taken nothing for {:?}", self.patience)
            }
        };
        Error::Channel { operator: self.operator.clone(), problem }.into()
    }
}

/// Writes the records of one subtask into a channel.
pub struct ChannelWriter<T> {
    place: Place<T>,
    guarantee: Guarantee,
    subtask: u32,
    /// Not delivered: until the barrier, or, at least once, as long as there is no room.
    backlog: Arc<Mutex<Backlog<T>>>,
    uncommitted: Uncommitted,
}

/// Records in order, and who delivers them: one at a time, or the order would be lost.
struct Backlog<T> {
    records: VecDeque<T>,
    deliverer: Deliverer,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Deliverer {
    Writer,
    Job,
}

impl<T> Default for Backlog<T> {
    fn default() -> Self {
        Self { records: VecDeque::new(), deliverer: Deliverer::Writer }
    }
}

impl<T: Record> SinkWriter for ChannelWriter<T> {
    type Record = T;

    fn write(&mut self, batch: &mut Batch<T>, range: Range<usize>) -> Result<()> {
        self.uncommitted.check_failed()?;
        let mut backlog = lock(&self.backlog);
        backlog.records.extend(batch.records[range].iter().cloned());
        if self.guarantee == Guarantee::AtLeastOnce && backlog.deliverer == Deliverer::Writer {
            while let Some(record) = backlog.records.pop_front() {
                if let Err(record) = self.place.delivery.try_push(record) {
                    backlog.records.push_front(record);
                    break;
                }
            }
        }
        Ok(())
    }

    fn freeze(&mut self, checkpoint: CheckpointId) -> Result<(Vec<u8>, Option<PrepareJob>)> {
        self.uncommitted.check_failed()?;
        let job = match self.guarantee {
            Guarantee::ExactlyOnce => {
                let records = std::mem::take(&mut lock(&self.backlog).records).into();
                let parcel = Parcel { subtask: self.subtask, checkpoint, records };
                let prepare =
                    move || Ok(if parcel.records.is_empty() { Vec::new() } else { vec![parcel.encode()?] });
                self.uncommitted.enter(checkpoint, prepare)
            }
            Guarantee::AtLeastOnce => {
                let backlog = Arc::clone(&self.backlog);
                lock(&backlog).deliverer = Deliverer::Job;
                let place = Place {
                    delivery: Arc::clone(&self.place.delivery),
                    patience: self.place.patience,
                    operator: self.place.operator.clone(),
                };
                self.uncommitted.enter(checkpoint, move || deliver_backlog(&place, &backlog))
            }
        };
        Ok((Vec::new(), Some(job)))
    }
}

/// Delivers all that is left at a barrier; on a helper thread, which may wait.
fn deliver_backlog<T>(place: &Place<T>, backlog: &Mutex<Backlog<T>>) -> Result<Vec<Committable>> {
    loop {
        let mut open = lock(backlog);
        let Some(record) = open.records.pop_front() else {
            open.deliverer = Deliverer::Writer;
            return Ok(Vec::new());
        };
        drop(open);
        place.delivery.push(record, place.patience).map_err(|why| place.undelivered(why))?;
    }
}

struct ChannelCommitter<T> {
    place: Place<T>,
    lineage: Lineage,
}

impl<T: Record> Committer for ChannelCommitter<T> {
    fn commit(&mut self, _checkpoint: CheckpointId, committables: &[Committable]) -> Result<()> {
        for committable in committables {
            let parcel = Parcel::decode(committable)?;
            let delivered = self.place.delivery.deliver(self.lineage, parcel, self.place.patience);
            delivered.map_err(|why| self.place.undelivered(why))?;
        }
        Ok(())
    }
}

//! A sink that collects committed records in memory: for tests.

use std::collections::BTreeSet;
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex};

use serde::{Deserialize, Serialize};
use tidegate_runtime::element::Batch;
use tidegate_runtime::id::{CheckpointId, Lineage};
use tidegate_runtime::sink::{Committable, Committer, PrepareJob, Sink, SinkContext, SinkWriter};
use tidegate_runtime::sync::lock;
use tidegate_runtime::{Error, Record, Result};

use crate::uncommitted::{Halves, Uncommitted};

/// A sink that collects, and the handle to what was committed.
///
/// Exactly once: a record shows up when the checkpoint that contains it is published. Records of a checkpoint travel
/// in its manifest, so that they arrive even if the process ended between publication and commit; not for large
/// outputs.
pub fn collect<T: Record>() -> (CollectSink<T>, Collected<T>) {
    let collected = Collected(Arc::default());
    (CollectSink { collected: collected.clone(), halves: Halves::default() }, collected)
}

/// See [`collect`].
pub struct CollectSink<T> {
    collected: Collected<T>,
    halves: Halves,
}

/// What a [`collect`] sink has committed so far; clones see the same records.
pub struct Collected<T>(Arc<Mutex<Shelf<T>>>);

struct Shelf<T> {
    records: Vec<T>,
    /// Commits come again after a restart: run, subtask and checkpoint of those that are in.
    committed: BTreeSet<(Lineage, u32, CheckpointId)>,
}

impl<T> Default for Shelf<T> {
    fn default() -> Self {
        Self { records: Vec::new(), committed: BTreeSet::new() }
    }
}

impl<T> Collected<T> {
    /// Takes the committed records: those of one subtask in their order, checkpoint by checkpoint.
    pub fn take(&self) -> Vec<T> {
        std::mem::take(&mut lock(&self.0).records)
    }

    /// Number of committed records that were not taken.
    pub fn len(&self) -> usize {
        lock(&self.0).records.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<T: Clone> Collected<T> {
    /// A copy of the committed records, leaving them.
    pub fn records(&self) -> Vec<T> {
        lock(&self.0).records.clone()
    }
}

impl<T> Clone for Collected<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Clone for CollectSink<T> {
    fn clone(&self) -> Self {
        Self { collected: self.collected.clone(), halves: self.halves.clone() }
    }
}

impl<T> fmt::Debug for Collected<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Collected").field("len", &self.len()).finish()
    }
}

impl<T> fmt::Debug for CollectSink<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CollectSink").field("collected", &self.collected).finish_non_exhaustive()
    }
}

impl<T: Record> Sink for CollectSink<T> {
    type Record = T;
    type Writer = CollectWriter<T>;

    fn writer(&self, cx: &SinkContext, _state: &[Vec<u8>]) -> Result<CollectWriter<T>> {
        Ok(CollectWriter { subtask: cx.subtask.index, records: Vec::new(), uncommitted: self.halves.of(cx) })
    }

    fn committer(&self, cx: &SinkContext) -> Result<Option<Box<dyn Committer>>> {
        Ok(Some(Box::new(CollectCommitter {
            collected: self.collected.clone(),
            lineage: cx.lineage,
            uncommitted: self.halves.of(cx),
        })))
    }

    fn identity(&self) -> Vec<(String, String)> {
        vec![("collects".to_owned(), std::any::type_name::<T>().to_owned())]
    }
}

/// The records of one checkpoint, as they travel in the manifest.
#[derive(Serialize, Deserialize)]
pub(crate) struct Parcel<T> {
    pub(crate) subtask: u32,
    pub(crate) checkpoint: CheckpointId,
    pub(crate) records: Vec<T>,
}

impl<T: Record> Parcel<T> {
    pub(crate) fn encode(&self) -> Result<Committable> {
        postcard::to_stdvec(self).map(Committable).map_err(|error| codec_error::<T>(&error))
    }

    pub(crate) fn decode(committable: &Committable) -> Result<Self> {
        postcard::from_bytes(&committable.0).map_err(|error| codec_error::<T>(&error))
    }
}

fn codec_error<T>(error: &postcard::Error) -> Error {
    Error::Codec {
        type_name: std::any::type_name::<T>(),
        problem: format!("a record does not encode and decode: {error}"),
    }
}

/// Keeps the records of one subtask until their checkpoint.
pub struct CollectWriter<T> {
    subtask: u32,
    records: Vec<T>,
    uncommitted: Uncommitted,
}

impl<T: Record> SinkWriter for CollectWriter<T> {
    type Record = T;

    fn write(&mut self, batch: &mut Batch<T>, range: Range<usize>) -> Result<()> {
        self.records.extend_from_slice(&batch.records[range]);
        Ok(())
    }

    fn freeze(&mut self, checkpoint: CheckpointId) -> Result<(Vec<u8>, Option<PrepareJob>)> {
        let records = std::mem::take(&mut self.records);
        let parcel = Parcel { subtask: self.subtask, checkpoint, records };
        let prepare = move || Ok(if parcel.records.is_empty() { Vec::new() } else { vec![parcel.encode()?] });
        Ok((Vec::new(), Some(self.uncommitted.enter(checkpoint, prepare))))
    }
}

struct CollectCommitter<T> {
    collected: Collected<T>,
    lineage: Lineage,
    uncommitted: Uncommitted,
}

impl<T: Record> Committer for CollectCommitter<T> {
    fn commit(&mut self, checkpoint: CheckpointId, committables: &[Committable]) -> Result<()> {
        for committable in committables {
            let parcel = Parcel::<T>::decode(committable)?;
            let mut shelf = lock(&self.collected.0);
            if shelf.committed.insert((self.lineage, parcel.subtask, parcel.checkpoint)) {
                shelf.records.extend(parcel.records);
            }
        }
        self.uncommitted.settle(checkpoint);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drive::sink_context;

    fn write(writer: &mut CollectWriter<u64>, records: &[u64]) -> Result<()> {
        let mut batch = Batch { records: records.to_vec(), ..Batch::default() };
        writer.write(&mut batch, 0..records.len())
    }

    fn prepare(writer: &mut CollectWriter<u64>, checkpoint: u64) -> Result<Vec<Committable>> {
        let (_, job) = writer.freeze(CheckpointId(checkpoint))?;
        job.map_or(Ok(Vec::new()), |job| job())
    }

    #[test]
    fn records_show_up_at_their_commit_and_once() -> Result<()> {
        let (sink, collected) = collect::<u64>();
        let cx = sink_context(0, 1);
        let mut writer = sink.writer(&cx, &[])?;
        let mut committer = sink.committer(&cx)?.expect("it commits");
        write(&mut writer, &[1, 2])?;
        let first = prepare(&mut writer, 1)?;
        write(&mut writer, &[3])?;
        assert!(collected.is_empty());
        committer.commit(CheckpointId(1), &first)?;
        committer.commit(CheckpointId(1), &first)?;
        assert_eq!(collected.take(), vec![1, 2]);
        // After a restart the same committables come again, to another attempt (case 96).
        let mut committer = sink.committer(&sink_context(0, 2))?.expect("it commits");
        committer.commit(CheckpointId(1), &first)?;
        assert_eq!(collected.take(), Vec::<u64>::new());
        Ok(())
    }

    #[test]
    fn what_an_aborted_checkpoint_did_not_prepare_is_not_lost() -> Result<()> {
        let (sink, collected) = collect::<u64>();
        let cx = sink_context(0, 1);
        let mut writer = sink.writer(&cx, &[])?;
        let mut committer = sink.committer(&cx)?.expect("it commits");
        write(&mut writer, &[1])?;
        drop(writer.freeze(CheckpointId(1))?);
        write(&mut writer, &[2])?;
        let second = prepare(&mut writer, 2)?;
        committer.commit(CheckpointId(2), &second)?;
        assert_eq!(collected.take(), vec![1, 2]);
        Ok(())
    }
}

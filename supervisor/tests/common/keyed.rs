//! Keyed counts in the store, and an exactly-once sink on the sink traits.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use tidegate_operators::Dataflow;
use tidegate_runtime::element::Batch;
use tidegate_runtime::error::{BoxError, Result as RuntimeResult};
use tidegate_runtime::id::CheckpointId;
use tidegate_runtime::sink::{Committable, Committer, PrepareJob, Sink, SinkContext, SinkWriter};

use super::{Controls, Numbers};

const KEYS: u64 = 97;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Counted {
    pub key: u64,
    pub count: u64,
}

/// Exactly once into memory: committed by (subtask, attempt, checkpoint).
#[derive(Clone, Default)]
pub struct Memory {
    committed: Arc<Mutex<BTreeMap<(u32, u64, u64), Vec<Counted>>>>,
}

pub struct MemoryWriter {
    subtask: u32,
    attempt: u64,
    open: Vec<Counted>,
}

impl Memory {
    pub fn output(&self) -> Vec<Counted> {
        let committed = self.committed.lock().unwrap_or_else(PoisonError::into_inner);
        let mut all: Vec<_> = committed.values().flatten().copied().collect();
        all.sort_unstable();
        all
    }
}

impl Sink for Memory {
    type Record = Counted;
    type Writer = MemoryWriter;

    fn writer(&self, cx: &SinkContext, _: &[Vec<u8>]) -> RuntimeResult<MemoryWriter> {
        Ok(MemoryWriter { subtask: cx.subtask.index, attempt: cx.attempt.0, open: Vec::new() })
    }

    fn committer(&self, _: &SinkContext) -> RuntimeResult<Option<Box<dyn Committer>>> {
        Ok(Some(Box::new(self.clone())))
    }

    fn identity(&self) -> Vec<(String, String)> {
        Vec::new()
    }
}

type Prepared = (u32, u64, u64, Vec<Counted>);

impl SinkWriter for MemoryWriter {
    type Record = Counted;

    fn write(&mut self, batch: &mut Batch<Counted>, range: std::ops::Range<usize>) -> RuntimeResult<()> {
        self.open.extend_from_slice(&batch.records[range]);
        Ok(())
    }

    fn freeze(&mut self, checkpoint: CheckpointId) -> RuntimeResult<(Vec<u8>, Option<PrepareJob>)> {
        let prepared: Prepared = (self.subtask, self.attempt, checkpoint.0, std::mem::take(&mut self.open));
        let prepare = move || {
            let bytes = postcard::to_stdvec(&prepared).map_err(|error| BoxError::from(error.to_string()))?;
            Ok(vec![Committable(bytes)])
        };
        Ok((Vec::new(), Some(Box::new(prepare))))
    }
}

impl Committer for Memory {
    fn commit(&mut self, _: CheckpointId, committables: &[Committable]) -> RuntimeResult<()> {
        let mut committed = self.committed.lock().unwrap_or_else(PoisonError::into_inner);
        for committable in committables {
            let (subtask, attempt, checkpoint, records): Prepared =
                postcard::from_bytes(&committable.0).map_err(|error| BoxError::from(error.to_string()))?;
            committed.insert((subtask, attempt, checkpoint), records);
        }
        Ok(())
    }
}

pub fn counting(controls: &Arc<Controls>, memory: &Memory, each: u64) -> Dataflow {
    let flow = Dataflow::new("counting");
    flow.source("numbers", Numbers { splits: 4, each, first: 0, controls: Arc::clone(controls) })
        .key_by(|number| number % KEYS)
        .stateful_map("count", |count: &mut u64, number| {
            *count += 1;
            Counted { key: number % KEYS, count: *count }
        })
        .sink("out", memory.clone());
    flow
}

/// Every key's counts, one after the other.
pub fn expected(total: u64) -> Vec<Counted> {
    let mut counts: BTreeMap<u64, u64> = BTreeMap::new();
    let mut all = Vec::new();
    for number in 0..total {
        let count = counts.entry(number % KEYS).or_default();
        *count += 1;
        all.push(Counted { key: number % KEYS, count: *count });
    }
    all.sort_unstable();
    all
}

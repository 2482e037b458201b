//! Drives one operator by hand, as the step machine would: records, watermarks, time, restarts.

use std::sync::Arc;

use tidegate_runtime::element::{Batch, ErasedBatch, Record};
use tidegate_runtime::error::Result;
use tidegate_runtime::exchange::Wakeup;
use tidegate_runtime::graph::{Graph, NodeKind};
use tidegate_runtime::id::{AttemptId, CheckpointId, Lineage, OperatorId, SubtaskId};
use tidegate_runtime::key::{Key, KeyGroupRange, KeyGroups, KeyHash, hash_key};
use tidegate_runtime::metrics::SubtaskStatus;
use tidegate_runtime::operator::{
    OpenContext, Operator, OperatorFactory, Progress, StageFactory, StepContext,
};
use tidegate_runtime::state::testing::{FakeLease, Rows};
use tidegate_runtime::state::{SlicePace, StateLease, StateRegistry};
use tidegate_runtime::time::{Clock, Timestamp};

/// Makes the operator of a node, by its name.
///
/// # Panics
/// If there is no operator of that name.
pub fn operator_of(graph: &Graph, name: &str) -> OperatorFactory {
    let found = graph.nodes.iter().find(|node| node.name.as_deref() == Some(name));
    match found.map(|node| &node.kind) {
        Some(NodeKind::Operator(factory) | NodeKind::Relay(factory) | NodeKind::Sink(factory, _)) => {
            Arc::clone(factory)
        }
        _ => panic!("the graph has no operator named `{name}`"),
    }
}

/// Makes the last stage with a description.
///
/// # Panics
/// If there is none.
pub fn stage_of(graph: &Graph, description: &str) -> StageFactory {
    let stages = graph.nodes.iter().rev().filter(|node| node.description == description);
    let mut found = stages.filter_map(|node| match &node.kind {
        NodeKind::Stage(factory) => Some(Arc::clone(factory)),
        _ => None,
    });
    found.next().unwrap_or_else(|| panic!("the graph has no stage described as `{description}`"))
}

/// One instance of an operator that owns all keys, over a store in memory.
pub struct Harness {
    factory: OperatorFactory,
    operator: Box<dyn Operator>,
    lease: Arc<FakeLease>,
    clock: Clock,
    watermark: Timestamp,
    checkpoints: u64,
    status: Arc<SubtaskStatus>,
    taken: Vec<(usize, ErasedBatch)>,
}

impl Harness {
    /// Opens an instance without state.
    ///
    /// # Errors
    /// Of `open`.
    pub fn new(factory: OperatorFactory) -> Result<Self> {
        let mut harness = Self {
            operator: factory()?,
            factory,
            lease: Arc::default(),
            clock: Clock::manual(Timestamp(0)),
            watermark: Timestamp::MIN,
            checkpoints: 0,
            status: Arc::default(),
            taken: Vec::new(),
        };
        harness.open(Rows::new(), &[])?;
        Ok(harness)
    }

    fn open(&mut self, rows: Rows, restored: &[Vec<u8>]) -> Result<()> {
        self.lease = Arc::new(FakeLease::restored(rows));
        self.operator = (self.factory)()?;
        let lease: Arc<dyn StateLease> = Arc::clone(&self.lease) as Arc<dyn StateLease>;
        let mut states = StateRegistry::new(lease, (KeyHash(0), KeyHash(u64::MAX)));
        let key_groups = KeyGroups::DEFAULT;
        self.operator.open(&mut OpenContext {
            operator: "under-test",
            subtask: SubtaskId { operator: OperatorId(0), index: 0 },
            parallelism: 1,
            key_groups,
            key_group_range: KeyGroupRange { start: 0, end: key_groups.count() },
            clock: self.clock.clone(),
            wakeup: Wakeup::new(|| {}),
            states: &mut states,
            status: Arc::clone(&self.status),
            seed: 7,
            restored,
            restored_watermark: self.watermark,
            attempt: AttemptId(self.checkpoints),
            lineage: Lineage(1),
            restored_checkpoint: (self.checkpoints > 0).then_some(CheckpointId(self.checkpoints)),
        })
    }

    /// Gives one keyed batch to an input port.
    ///
    /// # Errors
    /// Of the operator.
    pub fn feed<K: Key, T: Record>(
        &mut self,
        port: usize,
        records: &[(T, i64)],
        key: impl Fn(&T) -> K,
    ) -> Result<()> {
        let batch = Batch {
            records: records.iter().map(|(record, _)| record.clone()).collect(),
            timestamps: records.iter().map(|(_, at)| Timestamp(*at)).collect(),
            hashes: records.iter().map(|(record, _)| hash_key(&key(record))).collect(),
            watermarks: Vec::new(),
        };
        self.feed_batch(port, ErasedBatch::new(batch))
    }

    /// Gives a batch as it is to an input port; the watermarks in it are the operator's.
    ///
    /// # Errors
    /// Of the operator.
    pub fn feed_batch(&mut self, port: usize, batch: ErasedBatch) -> Result<()> {
        let (len, watermarks) = (batch.len(), batch.watermarks().to_vec());
        self.operator.accept(port, batch);
        let mut cursor = 0;
        for at in watermarks {
            cursor = self.process(cursor, at.offset)?;
            self.watermark(at.watermark.0)?;
        }
        self.process(cursor, len).map(|_| ())
    }

    fn process(&mut self, from: usize, until: usize) -> Result<usize> {
        let mut cursor = from;
        while cursor < until {
            let clock = self.clock.clone();
            let mut cx = StepContext { clock: &clock, watermark: self.watermark };
            cursor = self.operator.process(until, &mut cx)?;
            self.take_outputs();
        }
        Ok(cursor)
    }

    /// Raises the combined watermark and fires what is due.
    ///
    /// # Errors
    /// Of the operator.
    pub fn watermark(&mut self, at: i64) -> Result<()> {
        if Timestamp(at) <= self.watermark {
            return Ok(());
        }
        self.watermark = Timestamp(at);
        loop {
            let clock = self.clock.clone();
            let mut cx = StepContext { clock: &clock, watermark: self.watermark };
            let progress = self.operator.on_watermark(Timestamp(at), &mut cx)?;
            self.take_outputs();
            if progress == Progress::Done {
                return Ok(());
            }
        }
    }

    /// Moves the clock to a time and fires what is due.
    ///
    /// # Errors
    /// Of the operator.
    pub fn processing_time(&mut self, at: i64) -> Result<()> {
        let by = at - self.clock.now().0;
        self.clock.advance(std::time::Duration::from_millis(u64::try_from(by).unwrap_or(0)));
        let clock = self.clock.clone();
        while self.operator.next_processing_time().is_some_and(|due| due <= clock.now()) {
            let mut cx = StepContext { clock: &clock, watermark: self.watermark };
            self.operator.on_processing_time(clock.now(), &mut cx)?;
            self.take_outputs();
        }
        Ok(())
    }

    /// Takes a checkpoint and goes on with a new instance that was restored from it.
    ///
    /// # Errors
    /// Of the operator, or of its tables.
    pub fn restart(&mut self) -> Result<()> {
        self.checkpoints += 1;
        let checkpoint = CheckpointId(self.checkpoints);
        let frozen = self.operator.freeze(checkpoint)?;
        let lease = Arc::clone(&self.lease);
        let mut result = Ok(());
        self.operator.visit_tables(&mut |table| {
            table.freeze(checkpoint);
            while result.is_ok() {
                match table.encode(lease.as_ref(), SlicePace::default()) {
                    Ok(true) => break,
                    Ok(false) => {}
                    Err(error) => result = Err(error),
                }
            }
        });
        result?;
        self.open(lease.rows(), &[frozen.operator_state])
    }

    fn take_outputs(&mut self) {
        for port in 0..self.operator.outputs() {
            if let Some(batch) = self.operator.take_output(port) {
                self.taken.push((port, batch));
            }
        }
    }

    /// What an output port has emitted since it was last asked.
    ///
    /// # Panics
    /// If it emits another type.
    pub fn take<U: Record>(&mut self, port: usize) -> Vec<(U, i64)> {
        let (of_port, others) = std::mem::take(&mut self.taken).into_iter().partition(|(of, _)| *of == port);
        self.taken = others;
        let batches: Vec<(usize, ErasedBatch)> = of_port;
        let typed = batches.into_iter().map(|(_, batch)| batch.into_typed::<U>());
        typed
            .flat_map(|batch| {
                let times: Vec<i64> = (0..batch.len()).map(|at| batch.timestamp(at).0).collect();
                batch.records.into_iter().zip(times)
            })
            .collect()
    }

    /// Rows that a checkpoint taken now would hold: takes one and restarts.
    ///
    /// # Errors
    /// Of the operator, or of its tables.
    pub fn state_rows(&mut self) -> Result<usize> {
        self.restart()?;
        Ok(self.lease.rows().len())
    }

    /// Live figures of the instance.
    pub fn status(&self) -> &SubtaskStatus {
        &self.status
    }

    /// The element that is reported when a call fails.
    pub fn current_element(&self) -> (Option<String>, Option<Timestamp>) {
        self.operator.current_element()
    }
}

impl std::fmt::Debug for Harness {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Harness").field("watermark", &self.watermark).finish_non_exhaustive()
    }
}

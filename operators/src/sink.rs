//! `sink` and `print`: where a stream leaves the job.

use std::marker::PhantomData;
use std::ops::Range;
use std::sync::Arc;

use tidegate_runtime::element::{Batch, ErasedBatch, Record};
use tidegate_runtime::error::Result;
use tidegate_runtime::graph::{NodeIndex, NodeKind, SinkChecks};
use tidegate_runtime::id::{CheckpointId, Lineage};
use tidegate_runtime::operator::{
    FrozenState, OpenContext, Operator, OperatorFactory, Progress, StepContext,
};
use tidegate_runtime::sink::{Committer, PrepareJob, RunStart, Sink, SinkContext, SinkWriter};
use tidegate_runtime::time::Timestamp;

use crate::builder::{GraphBuilder, node};
use crate::event_time::Time;
use crate::stream::Stream;

/// A sink in the graph, to be set further.
#[derive(Clone)]
pub struct SinkHandle {
    graph: GraphBuilder,
    node: NodeIndex,
}

impl SinkHandle {
    /// Runs the sink with `subtasks` subtasks instead of the job's parallelism.
    pub fn parallelism(self, subtasks: u32) -> Self {
        self.graph.graph().node_mut(self.node).parallelism = Some(subtasks);
        self
    }
}

impl<T: Record, Timing: Time> Stream<T, Timing> {
    /// Ends the stream in a sink. Its name is unique in the graph and the identity of what it has written.
    ///
    /// ```
    /// # use tidegate_operators::{Dataflow, testing::{numbers, Discard}};
    /// let flow = Dataflow::new("to-nowhere");
    /// flow.source("numbers", numbers(0..10)).sink("nowhere", Discard::default());
    /// # flow.explain()?;
    /// # Ok::<(), tidegate_runtime::Error>(())
    /// ```
    pub fn sink<S: Sink<Record = T>>(self, name: &str, sink: S) -> SinkHandle {
        let sink = Arc::new(sink);
        let checks: Arc<dyn SinkChecks> = Arc::new(Checks(Arc::clone(&sink)));
        let factory: OperatorFactory = Arc::new(move || Ok(Box::new(SinkOperator::new(Arc::clone(&sink)))));
        let mut node = node("sink", NodeKind::Sink(factory, checks));
        node.name = Some(name.to_owned());
        let index = self.graph.add(node, &[&self.upstreams]);
        SinkHandle { graph: self.graph, node: index }
    }

    /// Ends the stream on standard output, a line of JSON for each record. After a restart replayed records are
    /// printed again.
    pub fn print(self) -> SinkHandle {
        let name = {
            let graph = self.graph.graph();
            let taken = |name: &str| graph.nodes.iter().any(|node| node.name.as_deref() == Some(name));
            (1..)
                .map(|n| if n == 1 { "print".to_owned() } else { format!("print-{n}") })
                .find(|name| !taken(name))
        };
        self.sink(&name.unwrap_or_default(), Print(PhantomData))
    }
}

struct Checks<S>(Arc<S>);

impl<S: Sink> SinkChecks for Checks<S> {
    fn check(&self, lineage: Lineage, start: RunStart) -> Result<()> {
        self.0.check(lineage, start)
    }

    fn identity(&self) -> Vec<(String, String)> {
        self.0.identity()
    }
}

/// A sink as the step machine sees it: an operator without outputs.
struct SinkOperator<S: Sink> {
    sink: Arc<S>,
    writer: Option<S::Writer>,
    committer: Option<Box<dyn Committer>>,
    batch: Batch<S::Record>,
    cursor: usize,
}

impl<S: Sink> SinkOperator<S> {
    fn new(sink: Arc<S>) -> Self {
        Self { sink, writer: None, committer: None, batch: Batch::default(), cursor: 0 }
    }

    fn writer(&mut self) -> &mut S::Writer {
        self.writer.as_mut().expect("I9: a task is opened before its first step")
    }
}

impl<S: Sink> Operator for SinkOperator<S> {
    fn open(&mut self, cx: &mut OpenContext<'_>) -> Result<()> {
        let sink_cx = SinkContext {
            operator: cx.operator.to_owned(),
            subtask: cx.subtask,
            parallelism: cx.parallelism,
            attempt: cx.attempt,
            lineage: cx.lineage,
            restored: cx.restored_checkpoint,
            clock: cx.clock.clone(),
        };
        self.committer = self.sink.committer(&sink_cx)?;
        self.writer = Some(self.sink.writer(&sink_cx, cx.restored)?);
        Ok(())
    }

    fn accept(&mut self, _port: usize, batch: ErasedBatch) {
        self.batch = batch.into_typed();
        self.cursor = 0;
    }

    fn process(&mut self, until: usize, _cx: &mut StepContext<'_>) -> Result<usize> {
        let range = self.cursor..until;
        let writer = self.writer.as_mut().expect("I9: a task is opened before its first step");
        writer.write(&mut self.batch, range)?;
        self.cursor = until;
        Ok(until)
    }

    fn on_watermark(&mut self, _watermark: Timestamp, _cx: &mut StepContext<'_>) -> Result<Progress> {
        Ok(Progress::Done)
    }

    fn on_end_of_input(&mut self, _port: usize, _cx: &mut StepContext<'_>) -> Result<Progress> {
        self.writer().on_end_of_input()?;
        Ok(Progress::Done)
    }

    fn outputs(&self) -> usize {
        0
    }

    fn take_output(&mut self, _port: usize) -> Option<ErasedBatch> {
        None
    }

    fn freeze(&mut self, checkpoint: CheckpointId) -> Result<FrozenState> {
        let (operator_state, prepare) = self.writer().freeze(checkpoint)?;
        Ok(FrozenState { operator_state, prepare })
    }

    fn committer(&mut self) -> Option<Box<dyn Committer>> {
        self.committer.take()
    }

    fn current_element(&self) -> (Option<String>, Option<Timestamp>) {
        (None, self.batch.timestamps.get(self.cursor).copied())
    }
}

/// Prints records.
struct Print<T>(PhantomData<fn(T)>);

impl<T: Record> Sink for Print<T> {
    type Record = T;
    type Writer = Printing<T>;

    fn writer(&self, _cx: &SinkContext, _state: &[Vec<u8>]) -> Result<Printing<T>> {
        Ok(Printing(PhantomData))
    }

    fn identity(&self) -> Vec<(String, String)> {
        vec![("sink".to_owned(), "print".to_owned())]
    }
}

struct Printing<T>(PhantomData<fn(T)>);

impl<T: Record> SinkWriter for Printing<T> {
    type Record = T;

    fn write(&mut self, batch: &mut Batch<T>, range: Range<usize>) -> Result<()> {
        let mut lines = String::new();
        for record in &batch.records[range] {
            let line =
                serde_json::to_string(record).map_err(|error| tidegate_runtime::Error::User(error.into()))?;
            lines.push_str(&line);
            lines.push('\n');
        }
        print!("{lines}");
        Ok(())
    }

    fn freeze(&mut self, _checkpoint: CheckpointId) -> Result<(Vec<u8>, Option<PrepareJob>)> {
        Ok((Vec::new(), None))
    }
}

//! Side outputs: streams beside the main one, told apart by typed tags.

use std::any::{Any, type_name};
use std::marker::PhantomData;

use tidegate_runtime::element::{ErasedBatch, Record};
use tidegate_runtime::graph::OutputPort;
use tidegate_runtime::output::{Output, Timing as OutputTiming};
use tidegate_runtime::time::Timestamp;

use crate::builder::{port, upstream};
use crate::event_time::Time;
use crate::stream::Stream;

/// Names a side output of `T`s. A process function declares it, emits to it, and `Stream::side_output` gives its
/// stream.
///
/// ```
/// use tidegate_operators::SideOutput;
/// static UNKNOWN: SideOutput<u64> = SideOutput::new("unknown");
/// ```
pub struct SideOutput<T> {
    name: &'static str,
    record: PhantomData<fn() -> T>,
}

impl<T> SideOutput<T> {
    /// A tag; the name is unique among the outputs of an operator, and not `main`.
    pub const fn new(name: &'static str) -> Self {
        Self { name, record: PhantomData }
    }

    /// Its name.
    pub fn name(&self) -> &'static str {
        self.name
    }
}

/// The side outputs that a process function declares.
#[derive(Default)]
pub struct SideOutputs {
    declared: Vec<Declared>,
}

struct Declared {
    port: OutputPort,
    make: fn(OutputTiming) -> Box<dyn AnyOutput>,
}

impl SideOutputs {
    /// Declares one.
    pub fn add<T: Record>(&mut self, tag: &SideOutput<T>) {
        let make = |timing| -> Box<dyn AnyOutput> { Box::new(Output::<T>::new(timing)) };
        self.declared.push(Declared { port: port::<T>(tag.name), make });
    }

    /// What is wrong with them, if anything.
    pub(crate) fn problem(&self, operator: &str) -> Option<String> {
        let mut names = vec!["main"];
        for declared in &self.declared {
            let name = declared.port.name.as_str();
            if names.contains(&name) {
                return Some(format!("`{operator}` declares two outputs named `{name}`: rename one"));
            }
            names.push(name);
        }
        None
    }

    pub(crate) fn ports(&self) -> impl Iterator<Item = OutputPort> {
        self.declared.iter().map(|declared| declared.port.clone())
    }

    pub(crate) fn make(&self, timing: OutputTiming) -> SideBuffers {
        let make = |declared: &Declared| (declared.port.name.clone(), (declared.make)(timing));
        SideBuffers(self.declared.iter().map(make).collect())
    }
}

/// What waits in the side outputs of one instance.
pub(crate) struct SideBuffers(Vec<(String, Box<dyn AnyOutput>)>);

impl SideBuffers {
    /// # Panics
    /// If the tag was not declared: the user's bug, reported as the function's failure.
    pub(crate) fn push<T: Record>(&mut self, tag: &SideOutput<T>, record: T, timestamp: Timestamp) {
        let found = self.0.iter_mut().find(|(name, _)| name == tag.name);
        match found.and_then(|(_, output)| output.as_any_mut().downcast_mut::<Output<T>>()) {
            Some(output) => output.push(record, timestamp),
            None => panic!(
                "a record was emitted to the side output `{}` of `{}`, which the function does not declare: add it in `side_outputs`",
                tag.name,
                type_name::<T>()
            ),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn is_full(&self) -> bool {
        self.0.iter().any(|(_, output)| output.is_full())
    }

    pub(crate) fn push_watermark(&mut self, watermark: Timestamp) {
        self.0.iter_mut().for_each(|(_, output)| output.push_watermark(watermark));
    }

    pub(crate) fn take(&mut self, index: usize) -> Option<ErasedBatch> {
        self.0.get_mut(index).and_then(|(_, output)| output.take())
    }
}

pub(crate) trait AnyOutput: Send {
    fn is_full(&self) -> bool;
    fn push_watermark(&mut self, watermark: Timestamp);
    fn take(&mut self) -> Option<ErasedBatch>;
    fn as_any_mut(&mut self) -> &mut dyn Any;
}

impl<T: Record> AnyOutput for Output<T> {
    fn is_full(&self) -> bool {
        Output::is_full(self)
    }

    fn push_watermark(&mut self, watermark: Timestamp) {
        Output::push_watermark(self, watermark);
    }

    fn take(&mut self) -> Option<ErasedBatch> {
        Output::take(self)
    }

    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }
}

impl<T: Record, Timing: Time> Stream<T, Timing> {
    /// The side output of the process function that this stream comes from. A tag that the function does not declare
    /// is reported when the graph is run or explained.
    pub fn side_output<U: Record>(&self, tag: &SideOutput<U>) -> Stream<U, Timing> {
        let found = match self.upstreams.as_slice() {
            [one] if one.port == 0 => {
                let graph = self.graph.graph();
                let outputs = &graph.node(one.node).outputs;
                let wanted = port::<U>(tag.name);
                outputs.iter().skip(1).position(|output| *output == wanted).map(|at| (one.node, at + 1))
            }
            _ => None,
        };
        if found.is_none() {
            self.graph.problem(format!(
                "there is no side output `{}` of `{}`: declare it in the process function's `side_outputs`, and ask the stream that `.process(..)` returned for it",
                tag.name,
                type_name::<U>()
            ));
        }
        let (node, port) = found.unwrap_or((self.upstreams[0].node, 0));
        Stream::of(self.graph.clone(), vec![upstream::<U>(node, port)])
    }
}

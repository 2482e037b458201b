//! What the crate's tests and examples need: a source and a sink in memory, and a way to drive one operator by hand.

mod harness;

pub use harness::{Harness, operator_of, stage_of};

use std::marker::PhantomData;
use std::ops::Range;

use serde::{Deserialize, Serialize};
use tidegate_runtime::element::{Batch, Record};
use tidegate_runtime::error::Result;
use tidegate_runtime::id::CheckpointId;
use tidegate_runtime::sink::{PrepareJob, Sink, SinkContext, SinkWriter};
use tidegate_runtime::source::{
    Discovered, Polled, ReaderContext, Source, SourceOutput, SourceReader, Split,
};

/// A source of whole numbers.
pub fn numbers(range: Range<u64>) -> Numbers {
    Numbers(range)
}

/// See `numbers`.
pub struct Numbers(Range<u64>);

/// What is left of a range.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Span {
    first: u64,
    next: u64,
    end: u64,
}

impl Split for Span {
    fn id(&self) -> String {
        self.first.to_string()
    }
}

impl Source for Numbers {
    type Record = u64;
    type Split = Span;
    type Reader = Counting;

    fn discover(&self, _parallelism: u32) -> Result<Discovered<Span>> {
        let split = Span { first: self.0.start, next: self.0.start, end: self.0.end };
        Ok(Discovered { splits: vec![split], again_after: None })
    }

    fn reader(&self, _cx: &ReaderContext) -> Result<Counting> {
        Ok(Counting(None))
    }

    fn identity(&self) -> Vec<(String, String)> {
        vec![("numbers".to_owned(), format!("{:?}", self.0))]
    }
}

/// Reads a `Span`.
pub struct Counting(Option<Span>);

impl SourceReader for Counting {
    type Record = u64;
    type Split = Span;

    fn add_split(&mut self, split: Span) -> Result<()> {
        self.0 = Some(split);
        Ok(())
    }

    fn poll(&mut self, out: &mut SourceOutput<'_, u64>) -> Result<Polled> {
        let Some(span) = &mut self.0 else { return Ok(Polled::NoSplit) };
        while span.next < span.end && !out.is_full() {
            out.emit(span.next);
            span.next += 1;
        }
        if span.next < span.end {
            return Ok(Polled::Ready);
        }
        let id = span.id();
        self.0 = None;
        Ok(Polled::SplitFinished(id))
    }

    fn snapshot(&self) -> Vec<Span> {
        self.0.iter().cloned().collect()
    }

    fn position(&self) -> Option<String> {
        self.0.as_ref().map(|span| span.next.to_string())
    }
}

/// A sink that keeps nothing.
pub struct Discard<T>(PhantomData<fn(T)>);

impl<T> Default for Discard<T> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T: Record> Sink for Discard<T> {
    type Record = T;
    type Writer = Self;

    fn writer(&self, _cx: &SinkContext, _state: &[Vec<u8>]) -> Result<Self> {
        Ok(Self::default())
    }

    fn identity(&self) -> Vec<(String, String)> {
        Vec::new()
    }
}

impl<T: Record> SinkWriter for Discard<T> {
    type Record = T;

    fn write(&mut self, _batch: &mut Batch<T>, _range: Range<usize>) -> Result<()> {
        Ok(())
    }

    fn freeze(&mut self, _checkpoint: CheckpointId) -> Result<(Vec<u8>, Option<PrepareJob>)> {
        Ok((Vec::new(), None))
    }
}

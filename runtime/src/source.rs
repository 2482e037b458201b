//! Sources: where splits come from, and the readers that turn them into records at concrete positions.

use std::sync::Arc;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::element::{ErasedBatch, Record};
use crate::error::Result;
use crate::exchange::Wakeup;
use crate::id::SubtaskId;
use crate::metrics::SubtaskStatus;
use crate::output::Output;
use crate::time::{Clock, Timestamp};

/// A part of a source's input that one reader reads at a time, with the position to start or resume from.
///
/// The position is part of the split and always concrete (an offset, never "latest"; case 29).
pub trait Split: Clone + Send + Serialize + DeserializeOwned + 'static {
    /// The same for every position within the split, and across restarts.
    fn id(&self) -> String;

    /// The index of the subtask that is to read it; `None` where any may. For splits that lie beside each other in
    /// time: a subtask that read two of them one after the other would find the second late.
    fn reader(&self) -> Option<u32> {
        None
    }
}

/// What discovery found.
#[derive(Clone, Debug)]
pub struct Discovered<S> {
    /// All splits known now, in the order in which they are to be assigned; those already known are ignored.
    pub splits: Vec<S>,
    /// When to look again; `None` when no more can come.
    pub again_after: Option<Duration>,
}

/// A source: a factory that is called in every attempt.
pub trait Source: Send + Sync + 'static {
    /// What it emits.
    type Record: Record;
    /// Its unit of assignment.
    type Split: Split;
    /// What reads splits.
    type Reader: SourceReader<Record = Self::Record, Split = Self::Split>;

    /// Lists the splits. Runs off the actors and may block.
    ///
    /// # Errors
    /// Names the file, topic or setting that is wrong.
    fn discover(&self, parallelism: u32) -> Result<Discovered<Self::Split>>;

    /// Makes a reader for one subtask.
    ///
    /// # Errors
    /// What keeps it from reading.
    fn reader(&self, cx: &ReaderContext) -> Result<Self::Reader>;

    /// What makes this source another source: paths and options, as (label, value) pairs. A state directory made
    /// with others is refused.
    fn identity(&self) -> Vec<(String, String)>;
}

/// What a reader is told.
#[derive(Clone)]
pub struct ReaderContext {
    /// Name of the source.
    pub operator: String,
    /// Which subtask.
    pub subtask: SubtaskId,
    /// How many there are.
    pub parallelism: u32,
    /// Time.
    pub clock: Clock,
    /// Tells the subtask from any thread that there is something to read.
    pub wakeup: Wakeup,
    /// Live counters of the subtask.
    pub status: Arc<SubtaskStatus>,
}

/// What a poll came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Polled {
    /// Poll again: there may be more at once.
    Ready,
    /// Nothing now: the reader wakes the subtask, or wants to be polled again at this processing time.
    Pending(Option<Timestamp>),
    /// This split (by id) is read to its end; its last records are in the output. Poll again.
    SplitFinished(String),
    /// There is no split to read: assign one.
    NoSplit,
    /// The splits that it has grow and have nothing now: poll again at this processing time, and assign another one
    /// if there is one.
    WantsSplit(Timestamp),
}

/// Reads the splits assigned to one subtask. Synchronous: what blocks lives on a thread of its own and wakes the
/// subtask.
pub trait SourceReader: Send + 'static {
    /// What it emits.
    type Record: Record;
    /// Its unit of assignment.
    type Split: Split;

    /// Takes a split, to start or resume at its position.
    ///
    /// # Errors
    /// E.g. the file is another one than at the checkpoint (case 38).
    fn add_split(&mut self, split: Self::Split) -> Result<()>;

    /// Emits records until the output is full or nothing is there.
    ///
    /// # Errors
    /// Names the position: file, line, offset, column.
    fn poll(&mut self, out: &mut SourceOutput<'_, Self::Record>) -> Result<Polled>;

    /// The assigned, unfinished splits at the position after the last emitted record.
    fn snapshot(&self) -> Vec<Self::Split>;

    /// A checkpoint is published whose `snapshot` these splits were: nothing before their positions is read again, so
    /// what is kept for a replay may be let go, and positions may be confirmed outside (case 32).
    ///
    /// # Errors
    /// Fails the attempt.
    fn on_checkpoint_completed(&mut self, splits: Vec<Self::Split>) -> Result<()> {
        let _ = splits;
        Ok(())
    }

    /// Where the record emitted last came from, for a failure's report.
    fn position(&self) -> Option<String>;
}

/// A record that could not be read, as it is sent to a dead-letter stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadLetter {
    /// Name of the source.
    pub source: String,
    /// File, line and byte offset, or the like.
    pub position: String,
    /// What is wrong with it.
    pub error: String,
    /// The bytes as they came.
    pub raw: Vec<u8>,
}

/// Where a reader puts what it read.
pub struct SourceOutput<'a, T> {
    /// Good records.
    pub records: &'a mut Output<T>,
    /// Bad ones, under the policy that keeps them.
    pub dead_letters: &'a mut Output<DeadLetter>,
}

impl<T: Record> SourceOutput<'_, T> {
    /// Emits a record of an untimed source; event time is given by `.event_time(..)`.
    pub fn emit(&mut self, record: T) {
        self.records.push(record, Timestamp::MIN);
    }

    /// Whether the reader should return.
    pub fn is_full(&self) -> bool {
        self.records.is_full() || self.dead_letters.is_full()
    }
}

/// A source as the step machine sees it. Output port 0 is records, port 1 dead letters.
pub trait ErasedReader: Send {
    /// Takes an encoded split.
    ///
    /// # Errors
    /// See `SourceReader::add_split`.
    fn add_split(&mut self, split: &[u8]) -> Result<()>;
    /// See `SourceReader::poll`.
    ///
    /// # Errors
    /// See `SourceReader::poll`.
    fn poll(&mut self) -> Result<Polled>;
    /// Takes what an output port holds.
    fn take_output(&mut self, port: usize) -> Option<ErasedBatch>;
    /// Encoded unfinished splits.
    ///
    /// # Errors
    /// When a split can't be encoded.
    fn snapshot(&self) -> Result<Vec<Vec<u8>>>;
    /// See `SourceReader::on_checkpoint_completed`; the splits are encoded.
    ///
    /// # Errors
    /// See `SourceReader::on_checkpoint_completed`.
    fn on_checkpoint_completed(&mut self, splits: &[Vec<u8>]) -> Result<()>;
    /// Where the record emitted last came from.
    fn position(&self) -> Option<String>;
}

/// A source as the supervisor and the graph see it.
pub trait ErasedSource: Send + Sync {
    /// Discovered splits as (id, encoded) pairs.
    ///
    /// # Errors
    /// See `Source::discover`.
    fn discover(&self, parallelism: u32) -> Result<Discovered<(String, Vec<u8>)>>;
    /// The id of an encoded split.
    ///
    /// # Errors
    /// When it was encoded by another type.
    fn split_id(&self, split: &[u8]) -> Result<String>;
    /// See `Split::reader`; the split is encoded.
    ///
    /// # Errors
    /// When it was encoded by another type.
    fn split_reader(&self, split: &[u8]) -> Result<Option<u32>>;
    /// Makes a reader.
    ///
    /// # Errors
    /// See `Source::reader`.
    fn reader(&self, cx: &ReaderContext) -> Result<Box<dyn ErasedReader>>;
    /// See `Source::identity`.
    fn identity(&self) -> Vec<(String, String)>;
}

impl<S: Source> ErasedSource for S {
    fn discover(&self, parallelism: u32) -> Result<Discovered<(String, Vec<u8>)>> {
        let found = Source::discover(self, parallelism)?;
        let splits =
            found.splits.iter().map(|split| Ok((split.id(), encode_split(split)?))).collect::<Result<_>>()?;
        Ok(Discovered { splits, again_after: found.again_after })
    }

    fn split_id(&self, split: &[u8]) -> Result<String> {
        Ok(decode_split::<S::Split>(split)?.id())
    }

    fn split_reader(&self, split: &[u8]) -> Result<Option<u32>> {
        Ok(decode_split::<S::Split>(split)?.reader())
    }

    fn reader(&self, cx: &ReaderContext) -> Result<Box<dyn ErasedReader>> {
        let untimed = crate::output::Timing::Untimed;
        Ok(Box::new(TypedReader {
            reader: Source::reader(self, cx)?,
            records: Output::new(untimed),
            dead_letters: Output::new(untimed),
        }))
    }

    fn identity(&self) -> Vec<(String, String)> {
        Source::identity(self)
    }
}

struct TypedReader<R: SourceReader> {
    reader: R,
    records: Output<R::Record>,
    dead_letters: Output<DeadLetter>,
}

impl<R: SourceReader> ErasedReader for TypedReader<R> {
    fn add_split(&mut self, split: &[u8]) -> Result<()> {
        self.reader.add_split(decode_split(split)?)
    }

    fn poll(&mut self) -> Result<Polled> {
        self.reader
            .poll(&mut SourceOutput { records: &mut self.records, dead_letters: &mut self.dead_letters })
    }

    fn take_output(&mut self, port: usize) -> Option<ErasedBatch> {
        if port == 0 { self.records.take() } else { self.dead_letters.take() }
    }

    fn snapshot(&self) -> Result<Vec<Vec<u8>>> {
        self.reader.snapshot().iter().map(encode_split).collect()
    }

    fn on_checkpoint_completed(&mut self, splits: &[Vec<u8>]) -> Result<()> {
        let splits = splits.iter().map(|split| decode_split(split)).collect::<Result<_>>()?;
        self.reader.on_checkpoint_completed(splits)
    }

    fn position(&self) -> Option<String> {
        self.reader.position()
    }
}

fn encode_split<S: Split>(split: &S) -> Result<Vec<u8>> {
    postcard::to_stdvec(split).map_err(|error| codec_error::<S>(&error))
}

fn decode_split<S: Split>(bytes: &[u8]) -> Result<S> {
    postcard::from_bytes(bytes).map_err(|error| codec_error::<S>(&error))
}

fn codec_error<S>(error: &postcard::Error) -> crate::error::Error {
    crate::error::Error::Codec {
        type_name: std::any::type_name::<S>(),
        problem: format!("a split does not encode and decode: {error}"),
    }
}

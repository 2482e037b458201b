//! Reads the splits of files that are assigned to one subtask.

use std::sync::Arc;

use tidegate_runtime::source::{Polled, ReaderContext, SourceOutput, SourceReader, Split};
use tidegate_runtime::time::Clock;
use tidegate_runtime::{Result, Timestamp};

use super::lines_before::LinesBefore;
use super::open_split::{OpenSplit, Progress, Reading};
use super::source::FileSource;
use super::split::FileSplit;
use crate::files::format::Format;
use crate::pace::{Grant, Lane};
use tidegate_runtime::output::OUTPUT_RECORDS_MAX;

/// Reads a [`FileSource`].
///
/// A poll reads at most one output's worth of records. It reads local files in place: a block that the machine has not
/// cached makes the step wait for the disk.
pub struct FileReader<F: Format> {
    reading: Reading<F>,
    splits: Vec<OpenSplit<F>>,
    /// The split to read next.
    current: usize,
    /// Splits in a row that had nothing.
    drained: usize,
    last: Option<Span>,
    lane: Lane,
    clock: Clock,
    look_every_ms: i64,
}

/// The bytes that a poll read.
struct Span {
    split: Arc<FileSplit>,
    from: u64,
    until: u64,
}

impl<F: Format> FileReader<F> {
    pub(crate) fn new(source: FileSource<F>, cx: &ReaderContext) -> Self {
        Self {
            reading: Reading {
                format: source.format,
                record_bytes_max: source.record_bytes_max,
                on_bad_record: source.on_bad_record,
                source: cx.operator.clone(),
                status: Arc::clone(&cx.status),
            },
            splits: Vec::new(),
            current: 0,
            drained: 0,
            last: None,
            lane: source.pacer.lane(cx.subtask),
            clock: cx.clock.clone(),
            look_every_ms: i64::try_from(source.look_every.as_millis()).unwrap_or(i64::MAX),
        }
    }

    fn next_look(&self) -> Timestamp {
        Timestamp(self.clock.now().0.saturating_add(self.look_every_ms))
    }

    /// Reads the current split.
    fn read(&mut self, limit: usize, out: &mut SourceOutput<'_, F::Record>) -> Result<Progress> {
        let split = &mut self.splits[self.current];
        let (from, records) = (split.position(), out.records.len());
        let progress = split.read(&self.reading, limit, out);
        let emitted = out.records.len() - records;
        self.lane.give_back(limit - emitted);
        let until = split.position();
        // After an error the bad record is the error's to name.
        if emitted > 0 {
            self.last = Some(Span { split: Arc::clone(split.split()), from, until });
        }
        Ok(progress?)
    }
}

impl<F: Format> SourceReader for FileReader<F> {
    type Record = F::Record;
    type Split = FileSplit;

    fn add_split(&mut self, split: FileSplit) -> Result<()> {
        self.splits.push(OpenSplit::open(split, &self.reading)?);
        self.drained = 0;
        Ok(())
    }

    fn poll(&mut self, out: &mut SourceOutput<'_, F::Record>) -> Result<Polled> {
        if self.splits.is_empty() {
            self.lane.leave();
            return Ok(Polled::NoSplit);
        }
        let room = OUTPUT_RECORDS_MAX.saturating_sub(out.records.len());
        let limit = match self.lane.grant(&self.clock, room) {
            Grant::Now(records) => records,
            Grant::At(time) => return Ok(Polled::Pending(Some(time))),
        };
        self.current %= self.splits.len();
        match self.read(limit, out)? {
            Progress::More => {
                self.drained = 0;
                Ok(Polled::Ready)
            }
            Progress::Finished => {
                self.drained = 0;
                let split = self.splits.remove(self.current);
                Ok(Polled::SplitFinished(split.split().id()))
            }
            Progress::Drained => {
                self.current += 1;
                self.drained += 1;
                if self.drained < self.splits.len() {
                    return Ok(Polled::Ready);
                }
                self.drained = 0;
                Ok(Polled::WantsSplit(self.next_look()))
            }
        }
    }

    fn snapshot(&self) -> Vec<FileSplit> {
        self.splits.iter().map(OpenSplit::snapshot).collect()
    }

    fn position(&self) -> Option<String> {
        let Span { split, from, until } = self.last.as_ref()?;
        let mut lines = LinesBefore::default();
        let first = lines.line_of(split, *from);
        let last = lines.line_of(split, until.saturating_sub(1)).max(first);
        Some(format!("{}: lines {first} to {last} (bytes {from} to {until})", split.path))
    }
}

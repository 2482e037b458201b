//! One split being read: bytes to records, bad records by policy, the end of it.

use std::io;
use std::ops::Range;
use std::os::unix::fs::MetadataExt as _;
use std::sync::Arc;

use tidegate_runtime::Timestamp;
use tidegate_runtime::metrics::SubtaskStatus;
use tidegate_runtime::source::{DeadLetter, SourceOutput};

use super::buffer::{Found, RecordBuffer};
use super::input::Input;
use super::lines_before::LinesBefore;
use super::source::OnBadRecord;
use super::split::{Extent, FileSplit};
use crate::error::Error;
use crate::files::format::{Decoder, EmptyLines, FirstLine, Format, RecordProblem};

/// Bytes of a record that is too long which go to the dead letters: enough to see what it is.
const TOO_LONG_SHOWN_BYTES: usize = 1 << 10;

/// How records of a source are read, the same for all its splits.
pub(crate) struct Reading<F> {
    pub(crate) format: F,
    pub(crate) record_bytes_max: usize,
    pub(crate) on_bad_record: OnBadRecord,
    /// The source's name, for dead letters.
    pub(crate) source: String,
    pub(crate) status: Arc<SubtaskStatus>,
}

/// A split with its file open.
pub(crate) struct OpenSplit<F: Format> {
    split: Arc<FileSplit>,
    input: Input,
    buffer: RecordBuffer,
    /// None until the header of a growing file is written.
    decoder: Option<F::Decoder>,
    /// Where a record begins that is too long and whose end was not found yet.
    skipping_from: Option<u64>,
    presence: Presence,
    lines: LinesBefore,
}

/// Whether a growing file may still grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Presence {
    AtItsPath,
    /// Nobody finds it any more; what was appended before is read to the end.
    MovedAway,
}

/// What reading came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// There may be more at once.
    More,
    /// A growing file has no more now.
    Drained,
    /// The split is read to its end.
    Finished,
}

impl<F: Format> OpenSplit<F> {
    /// Opens the file, checks that it is the one, and goes to the split's position.
    pub(crate) fn open(split: FileSplit, reading: &Reading<F>) -> Result<Self, Error> {
        let input = Input::open(&split)?;
        let buffer = RecordBuffer::new(reading.format.breaks(), reading.record_bytes_max, 0);
        let mut open = Self {
            split: Arc::new(split),
            input,
            buffer,
            decoder: None,
            skipping_from: None,
            presence: Presence::AtItsPath,
            lines: LinesBefore::default(),
        };
        open.prepare(reading)?;
        Ok(open)
    }

    pub(crate) fn split(&self) -> &Arc<FileSplit> {
        &self.split
    }

    /// The split as it has to be read on.
    pub(crate) fn snapshot(&self) -> FileSplit {
        FileSplit { position: self.position(), ..FileSplit::clone(&self.split) }
    }

    /// Offset of the next record.
    pub(crate) fn position(&self) -> u64 {
        match &self.decoder {
            Some(_) => self.skipping_from.unwrap_or_else(|| self.buffer.position()),
            None => self.split.position,
        }
    }

    /// Emits at most `limit` records.
    pub(crate) fn read(
        &mut self,
        reading: &Reading<F>,
        limit: usize,
        out: &mut SourceOutput<'_, F::Record>,
    ) -> Result<Progress, Error> {
        if self.decoder.is_none() && !self.prepare(reading)? {
            return self.at_end_of_growing();
        }
        let full_at = out.records.len() + limit;
        while out.records.len() < full_at && !out.is_full() {
            if self.skipping_from.is_some() && !self.skip_record()? {
                return self.at_end(reading, out);
            }
            if self.buffer.position() >= self.split.end() {
                return Ok(Progress::Finished);
            }
            match self.buffer.next(&mut self.input) {
                Ok(Found::Record { bytes, offset }) => self.emit(bytes, offset, reading, out)?,
                Ok(Found::TooLong { offset }) => self.too_long(offset, reading, out)?,
                Ok(Found::Drained) => return self.at_end(reading, out),
                Err(cause) => return Err(self.read_error(cause)),
            }
        }
        Ok(Progress::More)
    }

    /// Reads the header, makes the decoder and goes to the position. Returns whether the header is there.
    fn prepare(&mut self, reading: &Reading<F>) -> Result<bool, Error> {
        self.go_to(0)?;
        let mut buffer = RecordBuffer::new(reading.format.breaks(), reading.record_bytes_max, 0);
        buffer.skip_byte_order_mark(&mut self.input).map_err(|cause| self.read_error(cause))?;
        let decoder = match reading.format.first_line() {
            FirstLine::Record => reading.format.decoder(None),
            FirstLine::Header => {
                let found = match buffer.next(&mut self.input).map_err(|cause| self.read_error(cause))? {
                    Found::Drained if self.split.extent == Extent::Growing => return Ok(false),
                    Found::Drained => buffer.take_rest(),
                    found => Some(found),
                };
                match found {
                    Some(Found::Record { bytes, .. }) => reading.format.decoder(Some(buffer.bytes(bytes))),
                    Some(_) => Err(RecordProblem::new("the header is too long: is this a file of lines?")),
                    None => reading.format.decoder(Some(b"")),
                }
            }
        };
        let decoder = decoder.map_err(|problem| self.bad_record(0, problem))?;
        self.go_to_first_record(buffer.position())?;
        self.decoder = Some(decoder);
        Ok(true)
    }

    /// `head_end` is where the first record of the file begins.
    fn go_to_first_record(&mut self, head_end: u64) -> Result<(), Error> {
        let FileSplit { start, position, .. } = *self.split;
        if position > start || start <= head_end {
            return self.go_to(position.max(head_end));
        }
        // A range begins with the first record that begins in it: the byte before tells whether one does here.
        self.go_to(start - 1)?;
        self.buffer.skip_record(&mut self.input).map_err(|cause| self.read_error(cause))?;
        Ok(())
    }

    fn go_to(&mut self, offset: u64) -> Result<(), Error> {
        if self.input.offset() > offset && self.split.extent == Extent::Compressed {
            self.input = Input::open(&self.split)?;
        }
        self.input.skip_to(offset).map_err(|cause| self.read_error(cause))?;
        self.buffer.restart(offset);
        Ok(())
    }

    fn emit(
        &mut self,
        bytes: Range<usize>,
        offset: u64,
        reading: &Reading<F>,
        out: &mut SourceOutput<'_, F::Record>,
    ) -> Result<(), Error> {
        if bytes.is_empty() && reading.format.empty_lines() == EmptyLines::Skipped {
            return Ok(());
        }
        let decoder = self.decoder.as_mut().expect("I51: a split is prepared before it is read");
        match decoder.decode(self.buffer.bytes(bytes.clone())) {
            Ok(record) => {
                out.emit(record);
                Ok(())
            }
            Err(problem) => {
                let raw = self.buffer.bytes(bytes).to_vec();
                self.on_bad_record((offset, raw), problem, reading, out)
            }
        }
    }

    fn too_long(
        &mut self,
        offset: u64,
        reading: &Reading<F>,
        out: &mut SourceOutput<'_, F::Record>,
    ) -> Result<(), Error> {
        self.skipping_from = Some(offset);
        let max = reading.record_bytes_max;
        let problem = RecordProblem::new(format!(
            "no line break within {max} bytes; `.record_bytes_max(..)` sets the longest record"
        ));
        let raw = self.buffer.unread(TOO_LONG_SHOWN_BYTES).to_vec();
        self.on_bad_record((offset, raw), problem, reading, out)
    }

    fn skip_record(&mut self) -> Result<bool, Error> {
        match self.buffer.skip_record(&mut self.input) {
            Ok(true) => self.skipping_from = None,
            Ok(false) => return Ok(false),
            Err(cause) => return Err(self.read_error(cause)),
        }
        Ok(true)
    }

    /// The file has no more bytes.
    fn at_end(
        &mut self,
        reading: &Reading<F>,
        out: &mut SourceOutput<'_, F::Record>,
    ) -> Result<Progress, Error> {
        if self.split.extent == Extent::Growing {
            let progress = self.at_end_of_growing()?;
            if progress != Progress::Finished {
                return Ok(progress);
            }
        }
        if let Extent::Until(end) = self.split.extent
            && self.buffer.end() < end
        {
            let problem = format!("it ends at byte {} and had {end}: it was truncated", self.buffer.end());
            return Err(Error::FileChanged { path: self.split.path.clone().into(), problem });
        }
        if self.skipping_from.take().is_none()
            && let Some(Found::Record { bytes, offset }) = self.buffer.take_rest()
        {
            self.emit(bytes, offset, reading, out)?;
        }
        Ok(Progress::Finished)
    }

    /// A growing file ends when another one stands at its path, or none.
    fn at_end_of_growing(&mut self) -> Result<Progress, Error> {
        if self.presence == Presence::MovedAway {
            return Ok(Progress::Finished);
        }
        let position = self.position();
        self.split.identity.check_growing(self.split.path.as_ref(), self.input.file(), position)?;
        let open = self.input.file().metadata().map_err(|cause| self.read_error(cause))?;
        match std::fs::metadata(&self.split.path) {
            Ok(found) if found.ino() == open.ino() && found.dev() == open.dev() => {
                return Ok(Progress::Drained);
            }
            Err(cause) if cause.kind() != io::ErrorKind::NotFound => return Err(self.read_error(cause)),
            _ => {}
        }
        // Something may have been appended between the last look and the move.
        self.presence = Presence::MovedAway;
        Ok(Progress::More)
    }

    fn on_bad_record(
        &mut self,
        (offset, raw): (u64, Vec<u8>),
        problem: RecordProblem,
        reading: &Reading<F>,
        out: &mut SourceOutput<'_, F::Record>,
    ) -> Result<(), Error> {
        match reading.on_bad_record {
            OnBadRecord::Fail => return Err(self.bad_record(offset, problem)),
            OnBadRecord::Skip => reading.status.skipped_records.add(1),
            OnBadRecord::DeadLetter => {
                let line = self.lines.line_of(&self.split, offset);
                let position = format!("{}:{line} (byte offset {offset})", self.split.path);
                let error = problem.to_string();
                let letter = DeadLetter { source: reading.source.clone(), position, error, raw };
                out.dead_letters.push(letter, Timestamp::MIN);
            }
        }
        Ok(())
    }

    fn bad_record(&mut self, offset: u64, problem: RecordProblem) -> Error {
        let line = self.lines.line_of(&self.split, offset);
        let RecordProblem { column, cause } = problem;
        Error::BadRecord { path: self.split.path.clone().into(), line, offset, column, cause }
    }

    fn read_error(&self, cause: io::Error) -> Error {
        Error::Read { action: "read", path: self.split.path.clone().into(), cause }
    }
}

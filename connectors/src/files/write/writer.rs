//! Writes the records of one subtask into parts.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use tidegate_runtime::Result;
use tidegate_runtime::element::Batch;
use tidegate_runtime::files::{FileHandle, FileLayer};
use tidegate_runtime::id::CheckpointId;
use tidegate_runtime::sink::{Committable, PrepareJob, SinkContext, SinkWriter};

use super::encoding::{Beginning, Encoder, Encoding};
use super::layout::{Layout, PartName};
use super::part::Part;
use super::restore::Restored;
use super::snapshot::{PartLength, Publication, WriterSnapshot};
use crate::error::Error;
use crate::uncommitted::Uncommitted;

/// When a part is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rolling {
    /// At every checkpoint.
    EachCheckpoint,
    /// When it has so many bytes or is so old, whichever is first; it stays open over checkpoints until then.
    At { bytes: u64, age: Duration },
}

/// What the writer of a subtask is made of.
#[derive(Clone, Debug)]
pub(crate) struct WriterParts<E> {
    pub(crate) files: Arc<dyn FileLayer>,
    pub(crate) layout: Layout,
    pub(crate) encoding: E,
    pub(crate) rolling: Rolling,
    pub(crate) uncommitted: Uncommitted,
}

/// Writes the records of one subtask of a file sink.
pub struct FileWriter<E: Encoding> {
    parts: WriterParts<E>,
    cx: SinkContext,
    current: Option<(Part, E::Encoder)>,
    /// Closed since the last checkpoint.
    closed: Vec<Part>,
    /// Closed and named in a checkpoint, by the first that does.
    pending: Vec<(CheckpointId, PartLength)>,
    /// Parts of an older attempt that the next commit may remove.
    copied: Vec<String>,
    next_number: u64,
    input: Input,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Input {
    Open,
    Ended,
}

impl<E: Encoding> FileWriter<E> {
    pub(crate) fn open(parts: WriterParts<E>, cx: &SinkContext, states: &[Vec<u8>]) -> Result<Self> {
        let restored = Restored::of(cx, states)?;
        restored.check_mark(cx, &*parts.files, &parts.layout)?;
        restored.remove_orphans(cx, &*parts.files, &parts.layout)?;
        let mut writer = Self {
            parts,
            cx: cx.clone(),
            current: None,
            closed: Vec::new(),
            pending: Vec::new(),
            copied: Vec::new(),
            next_number: 0,
            input: Input::Open,
        };
        let checkpoint = cx.restored.unwrap_or_default();
        writer.pending = restored.pending.into_iter().map(|part| (checkpoint, part)).collect();
        for part in restored.in_progress {
            writer.copy(part)?;
        }
        Ok(writer)
    }

    /// Goes on with a copy of a part that an older attempt had in progress.
    fn copy(&mut self, older: PartLength) -> Result<()> {
        self.close_current();
        let mut part = self.new_part()?;
        let path = self.parts.layout.unpublished(&older.name);
        part.copy_from(&*self.parts.files, &path, older.bytes)?;
        self.copied.push(older.name);
        self.current = Some((part, self.parts.encoding.encoder(Beginning::Continued)));
        Ok(())
    }

    fn new_part(&mut self) -> Result<Part> {
        let (files, layout) = (&self.parts.files, &self.parts.layout);
        loop {
            let name = PartName {
                subtask: self.cx.subtask.index,
                attempt: self.cx.attempt,
                number: self.next_number,
            };
            self.next_number += 1;
            let name = name.file_name(self.parts.encoding.extension());
            let path = layout.unpublished(&name);
            // A name that is taken is never written over, whoever took it.
            if files.file_len(&path)?.is_none() && files.file_len(&layout.published(&name))?.is_none() {
                return Ok(Part::new(name, path, self.cx.clock.now()));
            }
        }
    }

    fn close_current(&mut self) {
        if let Some((part, _)) = self.current.take() {
            self.closed.push(part);
        }
    }

    fn is_due(&self) -> bool {
        let Some((part, _)) = &self.current else { return false };
        match self.parts.rolling {
            Rolling::EachCheckpoint => false,
            Rolling::At { bytes, age } => {
                let age_ms = i64::try_from(age.as_millis()).unwrap_or(i64::MAX);
                part.bytes() >= bytes || self.cx.clock.now().0.saturating_sub(part.began().0) >= age_ms
            }
        }
    }
}

impl<E: Encoding> SinkWriter for FileWriter<E> {
    type Record = E::Record;

    fn write(&mut self, batch: &mut Batch<E::Record>, range: Range<usize>) -> Result<()> {
        self.parts.uncommitted.check_failed()?;
        if range.is_empty() {
            return Ok(());
        }
        if self.current.is_none() {
            let part = self.new_part()?;
            self.current = Some((part, self.parts.encoding.encoder(Beginning::Empty)));
        }
        let (part, encoder) = self.current.as_mut().expect("I53: it was set above");
        encoder.encode(&batch.records[range], part.buffer()).map_err(|problem| Error::Encode {
            type_name: std::any::type_name::<E::Record>(),
            format: self.parts.encoding.extension(),
            problem,
        })?;
        part.relieve(&*self.parts.files)?;
        if self.is_due() {
            self.close_current();
            if let Some(part) = self.closed.last_mut() {
                part.flush(&*self.parts.files)?;
            }
        }
        Ok(())
    }

    fn freeze(&mut self, checkpoint: CheckpointId) -> Result<(Vec<u8>, Option<PrepareJob>)> {
        self.parts.uncommitted.check_failed()?;
        if self.parts.rolling == Rolling::EachCheckpoint || self.input == Input::Ended || self.is_due() {
            self.close_current();
        }
        if let Some((part, _)) = &mut self.current {
            part.flush(&*self.parts.files)?;
        }
        let published = self.parts.uncommitted.settled();
        self.pending.retain(|(prepared, _)| Some(*prepared) > published);
        let publish: Vec<PartLength> = self.closed.iter().map(Part::length).collect();
        self.pending.extend(publish.iter().map(|part| (checkpoint, part.clone())));
        let snapshot = WriterSnapshot {
            parallelism: self.cx.parallelism,
            in_progress: self.current.iter().map(|(part, _)| part.length()).collect(),
            pending: self.pending.iter().map(|(_, part)| part.clone()).collect(),
        };
        let publication = Publication { checkpoint, publish, remove: std::mem::take(&mut self.copied) };
        let preparation = Preparation {
            files: Arc::clone(&self.parts.files),
            layout: self.parts.layout.clone(),
            closed: std::mem::take(&mut self.closed),
            in_progress: self.current.as_ref().and_then(|(part, _)| part.file()),
            publication,
        };
        Ok((snapshot.encode(), Some(self.parts.uncommitted.enter(checkpoint, || preparation.run()))))
    }

    fn on_end_of_input(&mut self) -> Result<()> {
        self.input = Input::Ended;
        Ok(())
    }
}

/// What has to be durable before a checkpoint is acknowledged.
struct Preparation {
    files: Arc<dyn FileLayer>,
    layout: Layout,
    closed: Vec<Part>,
    in_progress: Option<Arc<dyn FileHandle>>,
    publication: Publication,
}

impl Preparation {
    fn run(self) -> Result<Vec<Committable>> {
        let has_files = !self.closed.is_empty() || self.in_progress.is_some();
        for part in self.closed {
            part.close(&*self.files)?;
        }
        if let Some(file) = self.in_progress {
            file.sync()?;
        }
        if has_files {
            self.files.sync_dir(&self.layout.pending)?;
        }
        let is_empty = self.publication.publish.is_empty() && self.publication.remove.is_empty();
        Ok(if is_empty { Vec::new() } else { vec![self.publication.encode()] })
    }
}

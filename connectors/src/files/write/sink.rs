//! What a user writes: where to, in which form, how long a file grows.

use std::fmt;
use std::marker::PhantomData;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tidegate_runtime::files::{FileLayer, RealFiles};
use tidegate_runtime::id::Lineage;
use tidegate_runtime::sink::{Committer, RunStart, Sink, SinkContext};
use tidegate_runtime::sync::lock;
use tidegate_runtime::{Record, Result};

use super::committer::FileCommitter;
use super::encoding::{CsvRows, Encoding, JsonLines, TextLines};
use super::layout::{Layout, shown};
use super::place::{self, Hold};
use super::writer::{FileWriter, Rolling, WriterParts};
use crate::uncommitted::Halves;

/// A sink of JSON lines in files of a directory, exactly once.
///
/// Results are in `DIR/part-*.jsonl` once the checkpoint that contains them is complete; until then they are under
/// `DIR/.pending`. A run refuses a directory that holds another's output.
///
/// ```
/// let sink = tidegate_connectors::json_lines::<(u64, String)>("out");
/// ```
pub fn json_lines<T: Record>(directory: impl Into<PathBuf>) -> FileSink<JsonLines<T>> {
    FileSink::new(directory.into(), JsonLines(PhantomData))
}

/// A sink of CSV in files of a directory, exactly once; each file begins with the names of the fields. As
/// [`json_lines`] otherwise.
pub fn csv<T: Record>(directory: impl Into<PathBuf>) -> FileSink<CsvRows<T>> {
    FileSink::new(directory.into(), CsvRows { delimiter: b',', record: PhantomData })
}

/// A sink of lines of text in files of a directory, exactly once. As [`json_lines`] otherwise.
pub fn lines(directory: impl Into<PathBuf>) -> FileSink<TextLines> {
    FileSink::new(directory.into(), TextLines)
}

/// See [`json_lines`].
pub struct FileSink<E> {
    files: Arc<dyn FileLayer>,
    layout: Layout,
    encoding: E,
    rolling: Rolling,
    halves: Halves,
    /// Kept as long as the sink lives.
    hold: Arc<Mutex<Option<Hold>>>,
}

impl<E> FileSink<E> {
    fn new(directory: PathBuf, encoding: E) -> Self {
        Self {
            files: Arc::new(RealFiles),
            layout: Layout::new(directory),
            encoding,
            rolling: Rolling::EachCheckpoint,
            halves: Halves::default(),
            hold: Arc::default(),
        }
    }

    /// Lets a file grow over checkpoints until it has so many bytes (or is as old as [`FileSink::roll_after`] says),
    /// instead of closing it at each. Its records are visible only then; a restart copies what it has so far.
    pub fn roll_at_bytes(mut self, bytes: u64) -> Self {
        let age = match self.rolling {
            Rolling::EachCheckpoint => Duration::MAX,
            Rolling::At { age, .. } => age,
        };
        self.rolling = Rolling::At { bytes: bytes.max(1), age };
        self
    }

    /// Lets a file grow over checkpoints until it is so old (or as large as [`FileSink::roll_at_bytes`] says): closed
    /// with the first record or checkpoint after that.
    pub fn roll_after(mut self, age: Duration) -> Self {
        let bytes = match self.rolling {
            Rolling::EachCheckpoint => u64::MAX,
            Rolling::At { bytes, .. } => bytes,
        };
        self.rolling = Rolling::At { bytes, age };
        self
    }

    /// Through which the files are written; for tests of crash safety.
    pub fn file_layer(mut self, files: Arc<dyn FileLayer>) -> Self {
        self.files = files;
        self
    }
}

impl<T> FileSink<CsvRows<T>> {
    /// What stands between fields; default `,`.
    pub fn delimiter(mut self, delimiter: u8) -> Self {
        self.encoding.delimiter = delimiter;
        self
    }
}

impl<E: Encoding> Sink for FileSink<E> {
    type Record = E::Record;
    type Writer = FileWriter<E>;

    fn writer(&self, cx: &SinkContext, state: &[Vec<u8>]) -> Result<FileWriter<E>> {
        let parts = WriterParts {
            files: Arc::clone(&self.files),
            layout: self.layout.clone(),
            encoding: self.encoding.clone(),
            rolling: self.rolling,
            uncommitted: self.halves.of(cx),
        };
        FileWriter::open(parts, cx, state)
    }

    fn committer(&self, cx: &SinkContext) -> Result<Option<Box<dyn Committer>>> {
        Ok(Some(Box::new(FileCommitter {
            files: Arc::clone(&self.files),
            layout: self.layout.clone(),
            subtask: cx.subtask.index,
            uncommitted: self.halves.of(cx),
        })))
    }

    fn check(&self, lineage: Lineage, start: RunStart) -> Result<()> {
        let mut hold = lock(&self.hold);
        // A lock that is held already would be in its own way.
        *hold = None;
        *hold = place::take(&*self.files, &self.layout, lineage, start)?;
        Ok(())
    }

    fn identity(&self) -> Vec<(String, String)> {
        vec![
            ("directory".to_owned(), shown(&self.layout.directory)),
            ("format".to_owned(), self.encoding.extension().to_owned()),
        ]
    }
}

impl<E> fmt::Debug for FileSink<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileSink")
            .field("layout", &self.layout)
            .field("rolling", &self.rolling)
            .finish_non_exhaustive()
    }
}

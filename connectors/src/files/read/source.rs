//! What a user writes: which files, in which form, read how.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tidegate_runtime::source::{Discovered, ReaderContext, Source};
use tidegate_runtime::{Record, Result};

use super::identity::FileIdentity;
use super::reader::FileReader;
use super::split::{Extent, FileSplit};
use crate::error::Error;
use crate::files::format::{Breaks, Csv, Format, Json, Lines};
use crate::files::pattern::{matching_files, nothing_matches};
use crate::pace::Pacer;

/// Bytes of a split unless set: large enough that opening it costs nothing, small enough to share out.
const SPLIT_BYTES_DEFAULT: u64 = 64 << 20;
/// Bytes of a record unless set: a longer one is taken for a file without line breaks.
const RECORD_BYTES_MAX_DEFAULT: usize = 16 << 20;
/// How often growing files are looked at unless set.
const LOOK_EVERY_DEFAULT: Duration = Duration::from_millis(200);

/// A source of the lines of files: a path, a directory, or a pattern with `*` and `?`.
///
/// Files are read in the order of their names, in parallel by ranges of bytes; files that end in `.gz` are
/// decompressed and read whole. Lines may end in `\n` or `\r\n`, the last needs no break, and a byte order mark is left
/// out. A job that resumes refuses a file that was changed since.
///
/// ```
/// use tidegate_connectors::files;
/// let lines = files("logs/*.txt");
/// let people = files("people.csv").csv::<(u64, String)>();
/// let events = files("events.jsonl").json::<(u64, String)>().follow();
/// ```
pub fn files(pattern: impl Into<String>) -> FileSource<Lines> {
    FileSource {
        pattern: pattern.into(),
        format: Lines,
        split_bytes: SPLIT_BYTES_DEFAULT,
        record_bytes_max: RECORD_BYTES_MAX_DEFAULT,
        coverage: Coverage::Whole,
        look_every: LOOK_EVERY_DEFAULT,
        on_bad_record: OnBadRecord::Fail,
        pacer: Arc::default(),
    }
}

/// What is done with a record that can't be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnBadRecord {
    /// The job fails and names file, line, offset, column and cause.
    #[default]
    Fail,
    /// It is left out and counted (`skipped_records`).
    Skip,
    /// It goes to the source's dead letters.
    DeadLetter,
}

/// See [`files`].
#[derive(Clone, Debug)]
pub struct FileSource<F> {
    pub(crate) pattern: String,
    pub(crate) format: F,
    split_bytes: u64,
    pub(crate) record_bytes_max: usize,
    pub(crate) coverage: Coverage,
    pub(crate) look_every: Duration,
    pub(crate) on_bad_record: OnBadRecord,
    pub(crate) pacer: Arc<Pacer>,
}

/// How much of the files is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Coverage {
    /// What is there at the start.
    Whole,
    /// Also what comes later.
    Following,
}

impl FileSource<Lines> {
    /// Reads CSV: the columns of the header are the fields of `T`.
    pub fn csv<T: Record>(self) -> FileSource<Csv<T>> {
        self.in_format(Csv::default())
    }

    /// Reads JSON lines: each line is a `T`.
    pub fn json<T: Record>(self) -> FileSource<Json<T>> {
        self.in_format(Json::default())
    }
}

impl<T> FileSource<Csv<T>> {
    /// What stands between fields; default `,`.
    pub fn delimiter(mut self, delimiter: u8) -> Self {
        self.format = self.format.with_delimiter(delimiter);
        self
    }

    /// There is no header: the columns are the fields of `T` in the order of its declaration.
    pub fn without_header(mut self) -> Self {
        self.format = self.format.without_header();
        self
    }

    /// Quoted fields may hold line breaks. Each file is then read whole by one subtask, because a range of bytes
    /// can't tell whether it begins within quotes.
    pub fn quoted_line_breaks(mut self) -> Self {
        self.format = self.format.with_quoted_line_breaks();
        self
    }
}

impl<F> FileSource<F> {
    /// Emits so many records per second, over all subtasks of this process.
    pub fn rate(mut self, records_per_second: u64) -> Self {
        self.pacer = Arc::new(Pacer::new(Some(records_per_second)));
        self
    }

    /// Length of the ranges that files are split into; default 64 MiB.
    pub fn split_bytes(mut self, bytes: u64) -> Self {
        self.split_bytes = bytes.max(1);
        self
    }

    /// Length that no record may exceed; default 16 MiB.
    pub fn record_bytes_max(mut self, bytes: usize) -> Self {
        self.record_bytes_max = bytes.max(1);
        self
    }

    /// What is done with a record that can't be read; default: the job fails.
    pub fn on_bad_record(mut self, policy: OnBadRecord) -> Self {
        self.on_bad_record = policy;
        self
    }

    /// Goes on when the files are read: waits for more lines at their ends and for more files that match.
    ///
    /// A line counts once its line break is written. A file must only grow: one that is truncated fails the job; one
    /// that is moved away or removed is read to its end, and a new one at its path is read from its beginning, so the
    /// pattern must not match the name that a file is moved to. Compressed files are read once. A file that was read to
    /// its end and is moved back is not read again, unless 4,096 others went after it.
    pub fn follow(mut self) -> Self {
        self.coverage = Coverage::Following;
        self
    }

    /// How often growing files and the pattern are looked at; default 200 ms.
    pub fn look_every(mut self, interval: Duration) -> Self {
        self.look_every = interval.max(Duration::from_millis(1));
        self
    }

    fn in_format<G>(self, format: G) -> FileSource<G> {
        FileSource {
            pattern: self.pattern,
            format,
            split_bytes: self.split_bytes,
            record_bytes_max: self.record_bytes_max,
            coverage: self.coverage,
            look_every: self.look_every,
            on_bad_record: self.on_bad_record,
            pacer: self.pacer,
        }
    }
}

impl<F: Format> FileSource<F> {
    fn splits_of(&self, path: &Path) -> Result<Vec<FileSplit>, Error> {
        let identity = FileIdentity::of(path)?;
        let size = identity.size;
        let split = |extent, start| FileSplit {
            path: path.to_string_lossy().into_owned(),
            identity: identity.clone(),
            extent,
            start,
            position: start,
        };
        if path.extension().is_some_and(|extension| extension == "gz") {
            return Ok(vec![split(Extent::Compressed, 0)]);
        }
        if self.coverage == Coverage::Following {
            return Ok(vec![split(Extent::Growing, 0)]);
        }
        let step = if self.format.breaks() == Breaks::Lines { self.split_bytes } else { u64::MAX };
        let mut splits = Vec::new();
        let mut start = 0;
        while start < size {
            let end = start.saturating_add(step).min(size);
            splits.push(split(Extent::Until(end), start));
            start = end;
        }
        Ok(splits)
    }
}

impl<F: Format> Source for FileSource<F> {
    type Record = F::Record;
    type Split = FileSplit;
    type Reader = FileReader<F>;

    fn discover(&self, _parallelism: u32) -> Result<Discovered<FileSplit>> {
        let paths = matching_files(&self.pattern)?;
        let again_after = match self.coverage {
            Coverage::Whole if paths.is_empty() => return Err(nothing_matches(&self.pattern).into()),
            Coverage::Whole => None,
            Coverage::Following => Some(self.look_every),
        };
        let mut splits = Vec::new();
        for path in paths {
            match self.splits_of(&path) {
                Ok(found) => splits.extend(found),
                // Moved away since it was listed.
                Err(error) if self.coverage == Coverage::Following && error.is_not_found() => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(Discovered { splits, again_after })
    }

    fn reader(&self, cx: &ReaderContext) -> Result<FileReader<F>> {
        Ok(FileReader::new(self.clone(), cx))
    }

    fn identity(&self) -> Vec<(String, String)> {
        let mut identity = vec![("files".to_owned(), self.pattern.clone())];
        identity.extend(self.format.identity());
        identity.push(("split bytes".to_owned(), self.split_bytes.to_string()));
        identity.push(("coverage".to_owned(), format!("{:?}", self.coverage)));
        identity.push(("bad records".to_owned(), format!("{:?}", self.on_bad_record)));
        identity
    }
}

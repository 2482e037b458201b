//! Files as source and as sink.

mod format;
mod pattern;
mod read;
mod row;

pub use format::{
    Breaks, Csv, CsvDecoder, Decoder, EmptyLines, FirstLine, Format, Json, JsonDecoder, Lines, LinesDecoder,
    RecordProblem,
};
pub use read::{FileReader, FileSource, FileSplit, OnBadRecord, files};

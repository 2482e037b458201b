//! Files as source and as sink.

mod format;
mod pattern;
mod read;
mod row;
mod write;

pub use format::{
    Breaks, Csv, CsvDecoder, Decoder, EmptyLines, FirstLine, Format, Json, JsonDecoder, Lines, LinesDecoder,
    RecordProblem,
};
pub use read::{FileReader, FileSource, FileSplit, OnBadRecord, files};
pub use write::{
    Beginning, CsvEncoder, CsvRows, Encoder, Encoding, FileSink, FileWriter, JsonEncoder, JsonLines,
    TextEncoder, TextLines, csv, json_lines, lines,
};

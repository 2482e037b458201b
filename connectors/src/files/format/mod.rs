//! How the bytes of a file become records: lines, JSON lines, CSV.

mod csv;
mod json;
mod lines;

use std::fmt;

use tidegate_runtime::Record;

pub use csv::{Csv, CsvDecoder};
pub use json::{Json, JsonDecoder};
pub use lines::{Lines, LinesDecoder};

/// A form of records in files.
pub trait Format: Clone + Send + Sync + 'static {
    /// What a record is read as.
    type Record: Record;
    /// What reads it.
    type Decoder: Decoder<Record = Self::Record>;

    /// What makes it another format, as (label, value) pairs; a run is not resumed with another one.
    fn identity(&self) -> Vec<(String, String)>;

    /// How the first line of each file is to be taken.
    fn first_line(&self) -> FirstLine {
        FirstLine::Record
    }

    /// Where a record ends.
    fn breaks(&self) -> Breaks {
        Breaks::Lines
    }

    /// Whether an empty line is a record.
    fn empty_lines(&self) -> EmptyLines {
        EmptyLines::Skipped
    }

    /// Makes a decoder for a file; `header` is its first line, if that is one.
    ///
    /// # Errors
    /// What is wrong with the header.
    fn decoder(&self, header: Option<&[u8]>) -> Result<Self::Decoder, RecordProblem>;
}

/// Reads records of one file.
pub trait Decoder: Send + 'static {
    /// What a record is read as.
    type Record: Record;

    /// Reads one record from its bytes, without the line break.
    ///
    /// # Errors
    /// What is wrong with it.
    fn decode(&mut self, bytes: &[u8]) -> Result<Self::Record, RecordProblem>;
}

/// What is wrong with the bytes of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordProblem {
    /// Name or number of the column, where it is known.
    pub column: Option<String>,
    /// What is wrong.
    pub cause: String,
}

impl RecordProblem {
    /// A problem of the record as a whole.
    pub fn new(cause: impl Into<String>) -> Self {
        Self { column: None, cause: cause.into() }
    }
}

impl fmt::Display for RecordProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.column {
            Some(column) => write!(f, "column {column}: {}", self.cause),
            None => f.write_str(&self.cause),
        }
    }
}

/// What the first line of a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FirstLine {
    /// A record like the others.
    Record,
    /// The names of the columns.
    Header,
}

/// Where a record ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Breaks {
    /// At every line break.
    Lines,
    /// At a line break outside of quotes; a quote opens a quoted field right after this delimiter or a break.
    Quoted {
        /// Between fields.
        delimiter: u8,
    },
}

/// Whether an empty line is a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EmptyLines {
    /// It is.
    Records,
    /// It is passed over.
    Skipped,
}

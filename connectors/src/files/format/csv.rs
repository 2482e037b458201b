//! CSV: a header that names the columns, one record a line, fields in quotes where they need it.

use std::fmt;
use std::marker::PhantomData;

use tidegate_runtime::Record;

use super::super::row::{Columns, Fields, FieldsOf};
use super::lines::not_utf8;
use super::{Breaks, Decoder, FirstLine, Format, RecordProblem};

/// Each line is a record whose columns are read as the fields of `T`; empty lines are passed over.
///
/// The first line of each file names the columns, in any order; columns that `T` has no field for are left out. An
/// empty field is `None` for an `Option`. A field in double quotes may hold the delimiter, and a quote written twice.
pub struct Csv<T> {
    delimiter: u8,
    first_line: FirstLine,
    line_breaks: LineBreaks,
    record: PhantomData<fn() -> T>,
}

/// Whether a quoted field may hold a line break.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LineBreaks {
    EndRecords,
    MayBeQuoted,
}

impl<T> Csv<T> {
    /// Between fields; default `,`.
    pub(crate) fn with_delimiter(self, delimiter: u8) -> Self {
        Self { delimiter, ..self }
    }

    /// The first line is a record; the columns are the fields of `T` in the order of its declaration.
    pub(crate) fn without_header(self) -> Self {
        Self { first_line: FirstLine::Record, ..self }
    }

    /// A line break within quotes is part of its field.
    pub(crate) fn with_quoted_line_breaks(self) -> Self {
        Self { line_breaks: LineBreaks::MayBeQuoted, ..self }
    }
}

impl<T> Default for Csv<T> {
    fn default() -> Self {
        Self {
            delimiter: b',',
            first_line: FirstLine::Header,
            line_breaks: LineBreaks::EndRecords,
            record: PhantomData,
        }
    }
}

impl<T> Clone for Csv<T> {
    fn clone(&self) -> Self {
        Self { record: PhantomData, ..*self }
    }
}

impl<T> fmt::Debug for Csv<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Csv").field("delimiter", &char::from(self.delimiter)).finish_non_exhaustive()
    }
}

impl<T: Record> Format for Csv<T> {
    type Record = T;
    type Decoder = CsvDecoder<T>;

    fn identity(&self) -> Vec<(String, String)> {
        let delimiter = char::from(self.delimiter);
        let format = format!("csv, delimiter `{delimiter}`, {:?}, {:?}", self.first_line, self.line_breaks);
        vec![("format".to_owned(), format)]
    }

    fn first_line(&self) -> FirstLine {
        self.first_line
    }

    fn breaks(&self) -> Breaks {
        match self.line_breaks {
            LineBreaks::EndRecords => Breaks::Lines,
            LineBreaks::MayBeQuoted => Breaks::Quoted { delimiter: self.delimiter },
        }
    }

    fn decoder(&self, header: Option<&[u8]>) -> Result<CsvDecoder<T>, RecordProblem> {
        let mut fields = Fields::new(self.delimiter);
        let columns = match header {
            Some(header) => {
                fields.split(header)?;
                Columns::named::<T>(names(&fields.of(header))?)
            }
            None => Columns::in_order(),
        };
        Ok(CsvDecoder { fields, columns, record: PhantomData })
    }
}

fn names(fields: &FieldsOf<'_>) -> Result<Vec<String>, RecordProblem> {
    let text = |field: &[u8]| std::str::from_utf8(field).map(str::to_owned).map_err(not_utf8);
    (0..fields.len()).filter_map(|index| fields.field(index)).map(text).collect()
}

/// Reads [`Csv`].
#[derive(Debug)]
pub struct CsvDecoder<T> {
    fields: Fields,
    columns: Columns,
    record: PhantomData<fn() -> T>,
}

impl<T: Record> Decoder for CsvDecoder<T> {
    type Record = T;

    fn decode(&mut self, bytes: &[u8]) -> Result<T, RecordProblem> {
        self.fields.split(bytes)?;
        self.columns.read(&self.fields.of(bytes))
    }
}
